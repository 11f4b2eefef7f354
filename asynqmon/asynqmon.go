// Package asynqmon mounts github.com/hibiken/asynqmon so that it may stand in front of a real installation: behind the login of
// whoever mounts it, read only for viewers, without the verbs that lose tasks, with a record of every change written before the
// change, with payloads masked, and under a content security policy that reaches no foreign host.
package asynqmon

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	upstream "github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"
)

// Audit keeps the record of what people change through the queue pages.
type Audit interface {
	// Before is asked to put an action on record before it is carried out. After an error nothing is carried out.
	Before(ctx context.Context, a Action) error
	// After is told what came of it. Its context outlives the request.
	After(ctx context.Context, a Action, r Result)
}

// Options is what a Handler needs.
type Options struct {
	// Redis is the client of the schedule. The Handler never closes it.
	Redis redis.UniversalClient
	// RootPath is where the Handler is mounted, "/queues" for a mount at "/queues/".
	RootPath string
	// Log receives what goes wrong.
	Log *slog.Logger
	// Role says who makes a request and whether they may change anything. An empty name means that nobody is signed in: such a
	// request is refused, for the login belongs in front of the Handler.
	Role func(*http.Request) (name string, operator bool)
	// Audit keeps the record.
	Audit Audit
	// PayloadKeys are the keys whose values are shown of a payload that is a JSON object. They must be ids.
	PayloadKeys []string
	// Prometheus is the base address of a Prometheus that has our metrics; with it there is a page with charts of the queues. May be "".
	Prometheus string
	// Home, if set, is the address that a small link back on every page leads to.
	Home string
}

// Handler serves the queue pages. It is safe for concurrent use.
type Handler struct {
	opt      Options
	viewer   http.Handler
	operator http.Handler
	insp     *asynq.Inspector
	guarded  http.Handler
}

var rootPath = regexp.MustCompile(`^(/[A-Za-z0-9_-]+)+$`)

// New makes a Handler. The error names the option that is missing or wrong.
func New(o Options) (*Handler, error) {
	switch {
	case o.Redis == nil:
		return nil, errors.New("asynqmon: Redis is missing")
	case o.Role == nil:
		return nil, errors.New("asynqmon: Role is missing")
	case o.Audit == nil:
		return nil, errors.New("asynqmon: Audit is missing")
	case o.Log == nil:
		return nil, errors.New("asynqmon: Log is missing")
	case !rootPath.MatchString(o.RootPath):
		return nil, errors.New("asynqmon: RootPath is not a path like /queues")
	}
	up := upstream.Options{
		RootPath: o.RootPath, RedisConnOpt: shared{o.Redis}, PayloadFormatter: payloads(o.PayloadKeys), ResultFormatter: results{}, ReadOnly: true,
		PrometheusAddress: o.Prometheus,
	}
	h := &Handler{opt: o, viewer: upstream.New(up), insp: asynq.NewInspectorFromRedisClient(o.Redis)}
	up.ReadOnly = false
	h.operator = upstream.New(up)
	h.guarded = http.NewCrossOriginProtection().Handler(http.HandlerFunc(h.serve))
	return h, nil
}

// shared hands out one client. asynqmon's Close would close it, so nobody calls that.
type shared struct{ rc redis.UniversalClient }

// MakeRedisClient returns the client.
func (s shared) MakeRedisClient() any { return s.rc }

// ServeHTTP refuses writes from other sites (403) and serves the rest.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.guarded.ServeHTTP(w, r) }

// maxPage is the most entries one page may list; the pages themselves ask for 100 at most.
const maxPage = 200

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	name, operator := h.opt.Role(r)
	path, mounted := strings.CutPrefix(r.URL.Path, h.opt.RootPath+"/")
	switch {
	case name == "":
		refuse(w, http.StatusUnauthorized, "sign in first")
	case !mounted || strings.HasSuffix(path, ".map"):
		refuse(w, http.StatusNotFound, "not found")
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		if n, err := strconv.Atoi(r.URL.Query().Get("size")); err == nil && (n < 1 || n > maxPage) {
			refuse(w, http.StatusBadRequest, "size must be 1 to "+strconv.Itoa(maxPage))
			return
		}
		if path == "api/metrics" && !h.chart(w, r) {
			return
		}
		h.read(w, r, path, operator)
	case !operator:
		refuse(w, http.StatusForbidden, "your role may look but not change anything")
	default:
		h.write(w, r, path, name)
	}
}

// read serves a page, a file of it or an answer of the API.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, path string, operator bool) {
	inner := h.viewer
	if operator {
		inner = h.operator
	}
	if r.Method == http.MethodHead { // asynqmon knows GET only
		r = r.Clone(r.Context())
		r.Method = http.MethodGet
	}
	rec := capture(inner, r)
	h.answer(w, r, path, rec)
}

// longest is how far back charts go.
const longest = 90 * 24 * time.Hour

var queueNames = regexp.MustCompile(`^[A-Za-z0-9_-]*(,[A-Za-z0-9_-]+)*$`)

// chart reports whether a request for charts may go on to Prometheus: asynqmon puts the names of queues into its queries as they are.
func (h *Handler) chart(w http.ResponseWriter, r *http.Request) bool {
	if h.opt.Prometheus == "" {
		refuse(w, http.StatusNotFound, "there are no charts: PROMETHEUS_URL is not set")
		return false
	}
	q := r.URL.Query()
	if n, err := strconv.Atoi(q.Get("duration")); q.Get("duration") != "" && (err != nil || n < 1 || time.Duration(n)*time.Second > longest) {
		refuse(w, http.StatusBadRequest, "duration must be 1 to "+strconv.Itoa(int(longest.Seconds()))+" seconds")
		return false
	}
	if !queueNames.MatchString(q.Get("queues")) {
		refuse(w, http.StatusBadRequest, "queues must be names separated by commas")
		return false
	}
	return true
}

// write carries out a change, once it is on record.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, path, name string) {
	a, err := parse(r, path)
	if err != nil {
		refuse(w, statusOf(err), err.Error())
		return
	}
	a.User = name
	if err := h.check(a); err != nil {
		refuse(w, statusOf(err), err.Error())
		return
	}
	if err := h.opt.Audit.Before(r.Context(), a); err != nil {
		if no, ok := errors.AsType[*refusal](err); ok {
			refuse(w, no.status, no.text)
			return
		}
		h.opt.Log.ErrorContext(r.Context(), "queue action not on record, so not carried out", slog.String("verb", a.Verb), slog.String("queue", a.Queue), slog.String("error", err.Error()))
		refuse(w, http.StatusServiceUnavailable, "the action could not be put on record, so it was not carried out")
		return
	}
	rec := capture(h.operator, r)
	after, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	h.opt.Audit.After(after, a, resultOf(a, rec))
	h.answer(w, r, path, rec)
}

// refuse answers with a sentence.
func refuse(w http.ResponseWriter, status int, text string) {
	harden(w.Header(), "")
	http.Error(w, text, status)
}

// nonce is fresh for each page.
func nonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawStdEncoding.EncodeToString(b[:])
}
