package signing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"
)

// MaxBody is how large a signed body may be unless a Receiver says otherwise.
const MaxBody = 64 << 10

// remembered is how long an id cannot be used again with another body.
const remembered = 24 * time.Hour

// Errors of Receiver.Check beside ErrSignature. Status says what to answer.
var (
	// ErrTooLarge: the body is larger than the limit.
	ErrTooLarge = errors.New("signing: the body is too large")
	// ErrBody: the body could not be read.
	ErrBody = errors.New("signing: the body could not be read")
	// ErrReused: the id was used before with another body.
	ErrReused = errors.New("signing: the id was used before with another body")
	// ErrUnavailable: whether the id was used before cannot be found out now.
	ErrUnavailable = errors.New("signing: the ids used before cannot be looked up")
)

// Reason names an error of Check in a word: a closed set, for logs and metric labels. It is "" for nil.
func Reason(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrSignature):
		return "signature"
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, ErrReused):
		return "reused_id"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	}
	return "body"
}

// Status is the HTTP status that answers an error of Check.
func Status(err error) int {
	switch Reason(err) {
	case "":
		return http.StatusOK
	case "signature":
		return http.StatusUnauthorized
	case "too_large":
		return http.StatusRequestEntityTooLarge
	case "reused_id":
		return http.StatusConflict
	case "unavailable":
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// Replays remembers ids and the bodies they came with. It is safe for concurrent use.
type Replays interface {
	// Remember notes that id came with a body of this sum, unless it is known already; then it returns the sum it came with
	// first, "" otherwise. What it notes it keeps for a day.
	Remember(ctx context.Context, route, id, sum string) (before string, err error)
}

// NewReplays remembers in Redis, under "replay:<route>:<id>".
func NewReplays(rc redis.UniversalClient) Replays { return replays{rc} }

type replays struct{ redis redis.UniversalClient }

func (r replays) Remember(ctx context.Context, route, id, sum string) (string, error) {
	key := "replay:" + route + ":" + id
	for range 2 {
		// SetArgs and not SetNX: a reply that says no is an answer, not an error.
		err := r.redis.SetArgs(ctx, key, sum, redis.SetArgs{Mode: "NX", TTL: remembered}).Err()
		if !errors.Is(err, redis.Nil) {
			return "", err
		}
		before, err := r.redis.Get(ctx, key).Result()
		if !errors.Is(err, redis.Nil) { // else its day has ended just now
			return before, err
		}
	}
	return "", errors.New("the key comes and goes")
}

// Receiver checks signed requests. Its fields are set before its use; then it is safe for concurrent use.
type Receiver struct {
	// Route names where requests come in: 1 to 32 of a-z, 0-9, "_" and "-". The same id may be used once on each.
	Route string
	// Keys are the senders' keys.
	Keys []Key
	// Replays remembers ids. It is needed: without it every request is refused with ErrUnavailable.
	Replays Replays
	// MaxBody is the largest body taken, in bytes; 0 stands for the constant MaxBody.
	MaxBody int64
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
	// Refused is told of each request refused by Handler, with the Reason; it may be nil. It is for metrics.
	Refused func(reason string)
	// Log gets a line for each request refused by Handler; nil for none.
	Log *slog.Logger
}

// Request is one that was checked.
type Request struct {
	// ID is its webhook-id: the key under which the caller does the work once.
	ID string
	// Key is the ID of the key it was signed with.
	Key string
	// Body is what was signed, byte for byte.
	Body []byte
	// Repeated: the same id came with the same body before. The caller gives the answer it gave then; it may not have come to the
	// work then, so the work must be one that is done once under ID.
	Repeated bool
}

var route = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// Check reads the body of r and checks the request: size, signature, and that its id is not used again for something else. An
// id counts as used only once its signature was good.
//
// Errors, in this order: ErrTooLarge, ErrBody, ErrSignature, ErrUnavailable, ErrReused. Nothing of them but their Status is for the
// sender.
//
// Source: section 3.2 of the protocol.
func (v *Receiver) Check(w http.ResponseWriter, r *http.Request) (Request, error) {
	limit := v.MaxBody
	if limit == 0 {
		limit = MaxBody
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return Request{}, ErrTooLarge
	}
	if err != nil {
		return Request{}, fmt.Errorf("%w: %w", ErrBody, err)
	}
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	id, key, err := verify(v.Keys, r.Header, body, now())
	if err != nil {
		return Request{}, err
	}
	if v.Replays == nil || !route.MatchString(v.Route) {
		return Request{}, fmt.Errorf("%w: the receiver is not complete", ErrUnavailable)
	}
	hash := sha256.Sum256(body)
	sum := hex.EncodeToString(hash[:])
	before, err := v.Replays.Remember(r.Context(), v.Route, id, sum)
	switch {
	case err != nil:
		return Request{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case before != "" && before != sum:
		return Request{}, ErrReused
	}
	return Request{ID: id, Key: key, Body: body, Repeated: before != ""}, nil
}

// Handler calls next with each request that Check lets pass and answers the others itself: with the Status, and a text that is the
// same for all reasons of one Status.
func (v *Receiver) Handler(next func(w http.ResponseWriter, r *http.Request, signed Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		signed, err := v.Check(w, r)
		if err == nil {
			next(w, r, signed)
			return
		}
		if v.Refused != nil {
			v.Refused(Reason(err))
		}
		if v.Log != nil {
			v.Log.LogAttrs(r.Context(), slog.LevelWarn, "signed request refused", slog.String("route", v.Route), slog.String("reason", err.Error()))
		}
		if Status(err) == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		http.Error(w, http.StatusText(Status(err)), Status(err))
	})
}
