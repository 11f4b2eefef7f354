package web

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"github.com/claimlinc/nphiesq/tasks"
)

const (
	// queueWait is how long a page waits for Redis before it is shown without the queues.
	queueWait = 2 * time.Second
	// queueFresh is how long an answer serves all pages: each one costs Redis two scripts per queue.
	queueFresh = 2 * time.Second
)

// queueState is what Redis says about the queues.
type queueState struct {
	Queues []*asynq.QueueInfo
	// Workers is the number of running asynq servers, each a class of queues of a worker.
	Workers int
	Away    bool
	at      time.Time
}

// queueWatch asks Redis, once for all pages that want to know at the same time.
type queueWatch struct {
	insp *asynq.Inspector
	now  func() time.Time

	mu   sync.Mutex
	last queueState
	// asking is closed when the question under way is answered; nil when there is none.
	asking chan struct{}
}

func newQueueWatch(insp *asynq.Inspector, now func() time.Time) *queueWatch {
	return &queueWatch{insp: insp, now: now}
}

// look returns the state of the queues, at most two seconds old; Away when Redis does not answer within two.
func (q *queueWatch) look(ctx context.Context) queueState {
	q.mu.Lock()
	if !q.last.Away && !q.last.at.IsZero() && q.now().Sub(q.last.at) < queueFresh {
		defer q.mu.Unlock()
		return q.last
	}
	if q.asking == nil {
		q.asking = make(chan struct{})
		go q.ask(q.asking)
	}
	asking := q.asking
	q.mu.Unlock()
	timeout := time.NewTimer(queueWait)
	defer timeout.Stop()
	select {
	case <-asking:
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.last
	case <-timeout.C:
	case <-ctx.Done():
	}
	return queueState{Away: true}
}

// ask lives as long as Redis lets it; the inspector takes no context.
func (q *queueWatch) ask(done chan struct{}) {
	next := queueState{}
	for _, name := range tasks.Queues() {
		info, err := q.insp.GetQueueInfo(name)
		if errors.Is(err, asynq.ErrQueueNotFound) {
			info, err = &asynq.QueueInfo{Queue: name}, nil
		}
		if err != nil {
			next = queueState{Away: true}
			break
		}
		next.Queues = append(next.Queues, info)
	}
	if !next.Away {
		servers, err := q.insp.Servers()
		next.Away = err != nil
		next.Workers = len(slices.DeleteFunc(servers, func(s *asynq.ServerInfo) bool { return s.Status != "active" }))
	}
	next.at = q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last, q.asking = next, nil
	close(done)
}
