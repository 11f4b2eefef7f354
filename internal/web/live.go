package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/claimlinc/nphiesq/internal/store"
)

const (
	// maxStreams bounds the pages that listen at a time, maxStreamsEach those of one sign-in.
	maxStreams, maxStreamsEach = 200, 12
	// liveLook is how often the record is looked at while any page listens.
	liveLook = time.Second
	// liveBeat is how often a silent stream shows that it lives, and looks whether its reader is still signed in.
	liveBeat = 15 * time.Second
)

// topics are what pages may listen to, see store.Pulse.
var topics = []string{"claims", "dead", "notifications", "audit", "bulk", "pauses", "conditions"}

// live tells pages that what they show has changed. While nobody listens nobody looks.
type live struct {
	feel func(context.Context) (store.Pulse, error)
	log  *slog.Logger
	look time.Duration

	mu      sync.Mutex
	streams map[*stream]bool
	// looking is true while the record is looked at.
	looking bool
	closed  bool
	ended   chan struct{}
}

// stream is a page that listens.
type stream struct {
	who    string
	topics []string
	// changed holds at most one piece of news: a page that is slow misses none, it sees several as one.
	changed chan struct{}
}

func newLive(feel func(context.Context) (store.Pulse, error), log *slog.Logger) *live {
	return &live{feel: feel, log: log, look: liveLook, streams: map[*stream]bool{}, ended: make(chan struct{})}
}

// join adds a listener; ok is false when there are too many.
func (l *live) join(who string, of []string) (st *stream, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	each := 0
	for s := range l.streams {
		if s.who == who {
			each++
		}
	}
	if l.closed || len(l.streams) >= maxStreams || each >= maxStreamsEach {
		return nil, false
	}
	st = &stream{who: who, topics: of, changed: make(chan struct{}, 1)}
	l.streams[st] = true
	if !l.looking {
		l.looking = true
		go l.watch()
	}
	return st, true
}

func (l *live) leave(st *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, st)
}

// close ends all streams: a server that is to end does not wait for pages.
func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.ended)
	}
}

// watch looks at the record until nobody listens.
func (l *live) watch() {
	tick := time.NewTicker(l.look)
	defer tick.Stop()
	var before store.Pulse
	for failing := false; ; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		now, err := l.feel(ctx)
		cancel()
		if err != nil && !failing {
			l.log.Warn("live pages: the record does not answer", slog.String("error", err.Error()))
		}
		if failing = err != nil; !failing {
			if before != nil {
				l.tell(before, now)
			}
			before = now
		}
		l.mu.Lock()
		if len(l.streams) == 0 || l.closed {
			l.looking = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		select {
		case <-tick.C:
		case <-l.ended:
		}
	}
}

func (l *live) tell(before, now store.Pulse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.streams {
		if slices.ContainsFunc(s.topics, func(t string) bool { return before[t] != now[t] }) {
			select {
			case s.changed <- struct{}{}:
			default:
			}
		}
	}
}

// stream answers GET /live?of=topics with server-sent events: hello, change, bye.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	var of []string
	for t := range strings.FieldsSeq(r.FormValue("of")) {
		if slices.Contains(topics, t) && !slices.Contains(of, t) {
			of = append(of, t)
		}
	}
	if len(of) == 0 {
		s.problem(w, r, http.StatusBadRequest, "There is no such page.")
		return
	}
	st, ok := s.live.join(signedIn(r.Context()).Actor(), of) //nolint:contextcheck // who looks serves all listeners, and outlives the first
	if !ok {
		w.Header().Set("Retry-After", "30")
		s.problem(w, r, http.StatusServiceUnavailable, "Too many pages listen at the moment. This one is still good; reload it to see what is new.")
		return
	}
	defer s.live.leave(st)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // else the server's ReadTimeout would count as the reader's leaving
	send := func(text string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(liveBeat)) // not every writer knows deadlines
		if _, err := fmt.Fprint(w, text); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	if !send("retry: 3000\nevent: hello\ndata: 1\n\n") {
		return
	}
	beat := time.NewTicker(liveBeat)
	defer beat.Stop()
	for {
		text := ": still here\n\n"
		select {
		case <-r.Context().Done():
			return
		case <-s.live.ended:
			return
		case <-st.changed:
			text = "event: change\ndata: 1\n\n"
		case <-beat.C:
		}
		if !s.stillIn(r) {
			send("event: bye\ndata: 1\n\n")
			return
		}
		if !send(text) {
			return
		}
	}
}

// stillIn reports whether the reader of a stream is signed in still. While the record does not answer nobody is sent away.
func (s *Server) stillIn(r *http.Request) bool {
	found, err := s.door.Session(r)
	return found != nil || err != nil
}
