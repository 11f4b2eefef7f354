// Package web is the monitor's pages for people: claims, dead letters, notifications, queues and the audit trail. They are
// rendered here and need no JavaScript; only the queue pages, which are asynqmon's, do. Everything but signing in and the health
// routes is behind that, and what changes anything needs the role operator and ends up in the audit trail.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/asynqmon"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Source is what the audit trail calls decisions made on these pages, and what sign-ins to them are kept under.
const Source = "monitor"

// queuesPath is where asynqmon's pages are.
const queuesPath = "/queues"

// Options is what the pages need.
type Options struct {
	Store *store.Store
	Queue *broker.Queue
	Redis redis.UniversalClient
	// Users sign in with passwords, those of Provider there. One of them may be nil. Address is where people find the pages
	// (https://host); Provider leads back to it.
	Users    *signin.Users
	Provider *signin.Provider
	Address  string
	Log      *slog.Logger
	// Environment and Version are shown at the foot of each page.
	Environment, Version string
	// Runbook is where the runbook of dead letters is, "" for nowhere. One that ends in / is a folder with a page for each kind of error.
	Runbook string
	// Core carries out decisions; nil makes one that escalates in the order of actions.DefaultChain and pages nobody.
	Core *actions.Core
	// Roles are what verbs about alerts need.
	Roles actions.Permissions
	// Prometheus is the base address of a Prometheus with our metrics, for the charts of the queue pages; "" for none.
	Prometheus string
	// InsecureCookies lets the session travel over http.
	InsecureCookies bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Server serves the pages. It is safe for concurrent use.
type Server struct {
	opt    Options
	core   *actions.Core
	door   *signin.Door
	queues *queueWatch
	pages  *pages
	claims claimWatch
	live   *live
	// bulkBegun wakes those who work bulk runs off.
	bulkBegun chan struct{}
	handler   http.Handler
}

// New makes the pages. It does not dial.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Core == nil {
		o.Core = &actions.Core{Store: o.Store, Queue: o.Queue, Log: o.Log}
	}
	s := &Server{opt: o, core: o.Core, queues: newQueueWatch(o.Queue.Inspector(), o.Now)}
	s.live, s.bulkBegun = newLive(o.Store.Pulse, o.Log), make(chan struct{}, 1)
	var err error
	s.door, err = signin.New(signin.Options{
		Record: o.Store, Redis: o.Redis, Site: Source, Base: o.Address, Users: o.Users, Provider: o.Provider, Pages: signInPages{s}, NoPage: noPage,
		Forbidden:       func(r *http.Request) { s.forbidden(r, "post", r.URL.Path) },
		InsecureCookies: o.InsecureCookies, Log: o.Log, Now: o.Now,
	})
	if err != nil {
		return nil, err
	}
	if s.pages, err = parsePages(o.Now); err != nil {
		return nil, err
	}
	queues, err := asynqmon.New(asynqmon.Options{
		Redis: o.Redis, RootPath: queuesPath, Log: o.Log, Role: queueRole, Audit: queueAudit{s}, Home: "/", Prometheus: o.Prometheus,
		PayloadKeys: []string{"claim_id", "check_id", "task_id", "license", "channel"},
	})
	if err != nil {
		return nil, err
	}
	s.handler = secured(s.speaking(s.door.SameOrigin(s.routes(queues))))
	return s, nil
}

// roleOf is the role that a verb needs.
func (s *Server) roleOf(v actions.Verb) signin.Role { return signin.Role(s.opt.Roles.Role(v)) }

// Run works bulk runs off until ctx ends. Pages are served without it, too.
func (s *Server) Run(ctx context.Context) { s.core.WorkOffBulk(ctx, s.bulkBegun, s.opt.Log) }

// EndStreams ends the streams of pages that listen, which would keep a server from ending. New ones are refused.
func (s *Server) EndStreams() { s.live.close() }

// ServeHTTP serves the pages.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Server) routes(queues http.Handler) http.Handler {
	own := http.NewServeMux()
	own.HandleFunc("GET /{$}", s.overview)
	own.HandleFunc("GET /claims", s.claimList)
	own.HandleFunc("GET /claims/{id}", s.claimPage)
	own.HandleFunc("GET /messages/{id}", s.messagePage)
	own.HandleFunc("GET /messages/{id}/body", s.messageBody)
	own.HandleFunc("GET /live", s.stream)
	own.HandleFunc("GET /eligibility", s.checkList)
	own.HandleFunc("GET /eligibility/{id}", s.checkPage)
	own.HandleFunc("GET /dead", s.letterList)
	own.HandleFunc("GET /dead/bulk", s.bulkPreview)
	own.HandleFunc("POST /dead/bulk", s.door.Form(signin.Viewer, s.bulkBegin))
	own.HandleFunc("GET /dead/bulk/{id}", s.bulkRun)
	own.HandleFunc("POST /dead/bulk/{id}/stop", s.door.Form(signin.Operator, s.bulkStop))
	own.HandleFunc("GET /dead/{id}", s.letterPage)
	own.HandleFunc("POST /dead/{id}/retry", s.form(s.roleOf(actions.Retry), s.decide("retry", s.core.Retry)))
	own.HandleFunc("POST /dead/{id}/discard", s.form(s.roleOf(actions.Discard), s.decide("discard", s.core.Discard)))
	own.HandleFunc("GET /notifications", s.notificationList)
	own.HandleFunc("GET /notifications/{id}", s.notificationPage)
	own.HandleFunc("POST /notifications/{id}/resend", s.door.Form(signin.Operator, s.resend))
	own.HandleFunc("POST /notifications/{id}/alert", s.door.Form(signin.Viewer, s.act))
	own.HandleFunc("GET /inbox", s.inbox)
	own.HandleFunc("GET /payments", s.paymentList)
	own.HandleFunc("GET /payments/{id}", s.paymentPage)
	own.HandleFunc("GET /pauses", s.pauses)
	own.HandleFunc("POST /pauses/resume", s.form(signin.Operator, s.resume))
	own.HandleFunc("GET /audit", s.audit)
	own.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, http.StatusNotFound, "There is no such page.")
	})

	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", Livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /static/", http.HandlerFunc(static))
	mux.HandleFunc("GET /login", formerLogin)
	s.door.Mount(mux)
	mux.Handle(queuesPath+"/", s.door.Wall(s.noted(queues)))
	mux.Handle("GET "+queuesPath+"/{$}", s.door.Wall(queues))
	mux.Handle("/", s.door.Wall(own))
	return mux
}

// secured sets the headers of our own pages; asynqmon sets its own over them.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// Livez says that the process answers.
func Livez(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") }

// readyz says whether the record answers. Redis does not count: the pages work without it and say so.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	if err := s.opt.Store.Ping(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// failed shows an error of the record: 404 for what does not exist, 503 for the rest.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case store.IsNotFound(err):
		s.problem(w, r, http.StatusNotFound, "There is no such entry.")
	case errors.Is(err, context.Canceled):
	default:
		s.opt.Log.ErrorContext(r.Context(), "page failed", slog.String("path", r.URL.Path), slog.String("error", err.Error()))
		s.problem(w, r, http.StatusServiceUnavailable, "The record does not answer at the moment. Try again; if this stays, look at PostgreSQL and the log.")
	}
}
