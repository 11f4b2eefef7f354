package tasks

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/hibiken/asynq"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// RetryDelay is asynq's RetryDelayFunc: exponential from the type's RetryBase to its RetryCap, spread by a quarter up and down,
// and never sooner than a fault's RetryIn. A task whose worker died goes on at once.
func RetryDelay(retried int, err error, t *asynq.Task) time.Duration {
	if errors.Is(err, asynq.ErrLeaseExpired) {
		return 0
	}
	s, ok := SpecOf(t.Type())
	if !ok {
		s = Spec{RetryBase: 5 * time.Second, RetryCap: 30 * time.Minute}
	}
	return max(Backoff(retried, s.RetryBase, 2, s.RetryCap), fault.Of(err).RetryIn)
}

// IsFailure is asynq's: an attempt that failed because one of our own servers is away uses up no retry. The work is not to blame, and
// an outage may be longer than all its retries.
func IsFailure(err error) bool { return !fault.Is(err, fault.Unavailable) }

// Backoff returns the delay before retry number n (0 is the first): base*factor^n up to limit, spread by +-25 %.
func Backoff(n int, base time.Duration, factor float64, limit time.Duration) time.Duration {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(base), backoff.WithMultiplier(factor), backoff.WithMaxInterval(limit),
		backoff.WithRandomizationFactor(0.25), backoff.WithMaxElapsedTime(0),
	)
	d := b.NextBackOff()
	for range min(n, 64) {
		d = b.NextBackOff()
	}
	return d
}

// Jitter returns d shortened by up to a tenth, so that many of the same do not fall due together.
func Jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/10+1)) //nolint:gosec // spreading load needs no secrecy
}

// Attempt tells where a task stands: retried counts failed attempts before this one, maxRetry the attempts allowed after the
// first. Outside a handler both are 0.
func Attempt(ctx context.Context) (retried, maxRetry int) {
	retried, _ = asynq.GetRetryCount(ctx)
	maxRetry, _ = asynq.GetMaxRetry(ctx)
	return retried, maxRetry
}

// Final reports whether err, returned by a handler running under ctx, ends the task in the archive: its retries are used up or
// it asked for no more. A revoked task is not archived, and a worker that lost its lease no longer speaks for the task.
func Final(ctx context.Context, err error) bool {
	switch {
	case err == nil, errors.Is(err, asynq.RevokeTask), errors.Is(err, asynq.ErrLeaseExpired):
		return false
	case errors.Is(err, asynq.SkipRetry):
		return true
	}
	retried, maxRetry := Attempt(ctx)
	return retried >= maxRetry
}

// HalfUsed reports whether this failing attempt is the one that uses half of the retries: the moment to tell people once.
func HalfUsed(ctx context.Context) bool {
	retried, maxRetry := Attempt(ctx)
	return maxRetry > 1 && retried == maxRetry/2
}
