package store

import (
	"context"
	"crypto/x509"
	"errors"
	"math"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// How long a PostgreSQL that hangs may cost, and for how long a program of ours that hangs may hold up the others. The first
// four stand unless DATABASE_URL says otherwise.
const (
	connectTimeout    = 5 * time.Second // for each host
	statementTimeout  = "30s"
	lockTimeout       = "10s"
	transactionIdle   = "60s"
	grace             = 5 * time.Second // what the server has, beyond its statement_timeout, to say so
	pingTimeout       = 5 * time.Second
	pingAfter         = time.Second // idle for longer, a connection is tried before it is used
	healthCheckPeriod = 15 * time.Second
	connLifetime      = 30 * time.Minute
)

// Open makes a pool for dsn and checks that the database answers. maxConns 0 leaves the default.
//
// Several hosts may be given, with target_session_attrs=read-write: the pool is then on whichever takes writes. Connections that
// were lost, that hang or that lead to a server which takes no writes any more are thrown away, and new ones look for the primary.
//
// Errors are faults: Config for what a person must change, else Unavailable.
func Open(ctx context.Context, dsn string, maxConns int32) (*pgxpool.Pool, error) {
	bad := func(problem string) error {
		return &fault.Error{Op: "DATABASE_URL", Kind: fault.Config, Safe: problem, Permanent: true}
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if file, ok := errors.AsType[*os.PathError](err); ok {
		return nil, bad("cannot read a file that it names (sslrootcert, sslcert, sslkey): " + file.Err.Error())
	}
	if err != nil {
		return nil, bad("not a PostgreSQL address; want postgres://user:password@host:5432/db, or several hosts: postgres://user:password@h1:5432,h2:5432/db?target_session_attrs=read-write")
	}
	if maxConns > 0 {
		cfg.MaxConns = maxConns
	}
	cfg.HealthCheckPeriod, cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = healthCheckPeriod, connLifetime, connLifetime/10
	cc := &cfg.ConnConfig.Config
	for name, value := range map[string]string{
		"statement_timeout": statementTimeout, "lock_timeout": lockTimeout, "idle_in_transaction_session_timeout": transactionIdle, "application_name": "nphiesq",
	} {
		if _, ok := cc.RuntimeParams[name]; !ok {
			cc.RuntimeParams[name] = value
		}
	}
	longest, ok := duration(cc.RuntimeParams["statement_timeout"])
	if !ok {
		return nil, bad("statement_timeout is not a time of PostgreSQL; want 30s, 500ms or 1min")
	}
	if longest > 0 {
		longest += min(grace, longest)
	}
	if cc.ConnectTimeout == 0 {
		cc.ConnectTimeout = connectTimeout
	}
	dialer := &net.Dialer{Timeout: cc.ConnectTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	cc.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &boundedConn{Conn: c, longest: longest}, nil
	}

	// One connection that has seen the server leave tells of all: they are thrown away together.
	var made atomic.Pointer[pgxpool.Pool]
	reset := func() {
		if p := made.Load(); p != nil {
			p.Reset()
		}
	}
	fatal := cc.OnPgError
	cc.OnPgError = func(c *pgconn.PgConn, e *pgconn.PgError) bool {
		switch e.Code {
		case readOnly:
			reset()
			return false
		case "57P01", "57P02": // shut down, crashed
			reset()
		}
		return fatal(c, e)
	}
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // PrepareConn does, and draws its conclusion
	cfg.AfterRelease = func(c *pgx.Conn) bool {
		c.PgConn().CustomData()[released] = time.Now()
		return true
	}
	cfg.PrepareConn = func(ctx context.Context, c *pgx.Conn) (bool, error) {
		at, ok := c.PgConn().CustomData()[released].(time.Time)
		if !ok || time.Since(at) < pingAfter {
			return true, nil
		}
		patient, cancel := context.WithTimeout(ctx, pingTimeout)
		defer cancel()
		if err := c.Ping(patient); err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			reset()
			return false, nil
		}
		return true, nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, wrap("connect to PostgreSQL", err)
	}
	made.Store(pool)
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, wrap("connect to PostgreSQL", err)
	}
	return pool, nil
}

const (
	// readOnly is SQLSTATE read_only_sql_transaction: the server is a standby, or became one.
	readOnly = "25006"
	// released is where a connection keeps the time of its last use.
	released = "nphiesq.released"
)

// boundedConn gives up when the other side is silent for longer than any statement may take. TCP notices a host that is gone, but
// not a process that hangs, and most of our statements have no deadline of their own.
type boundedConn struct {
	net.Conn
	longest time.Duration // 0 is for ever

	mu       sync.Mutex
	deadline time.Time // of whoever uses the connection; zero is none
}

func (c *boundedConn) bound(set func(time.Time) error) error {
	if c.longest == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Now().Add(c.longest)
	if !c.deadline.IsZero() && c.deadline.Before(at) {
		at = c.deadline
	}
	return set(at)
}

// Read reads within the limit.
func (c *boundedConn) Read(p []byte) (int, error) {
	if err := c.bound(c.Conn.SetReadDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write writes within the limit.
func (c *boundedConn) Write(p []byte) (int, error) {
	if err := c.bound(c.Conn.SetWriteDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetDeadline is how pgx ends what is under way when a context does. It holds for later reads and writes, too.
func (c *boundedConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline is SetDeadline: nobody here wants one of the two only.
func (c *boundedConn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// SetWriteDeadline is SetDeadline.
func (c *boundedConn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }

var durationForm = regexp.MustCompile(`^\s*(\d{1,9})\s*(us|ms|s|min|h|d)?\s*$`)

// duration reads a time as PostgreSQL writes it; a bare number is milliseconds.
func duration(s string) (time.Duration, bool) {
	m := durationForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	unit := map[string]time.Duration{"us": time.Microsecond, "": time.Millisecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]]
	if err != nil || n > math.MaxInt64/int64(unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// connectFault tells apart what only a person can change about a connection; nil for the rest.
func connectFault(op string, err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var safe string
	switch {
	case errors.As(err, &unknown):
		safe = "the certificate of PostgreSQL is signed by an authority that is not known: name it with sslrootcert in DATABASE_URL"
	case errors.As(err, &name):
		safe = "the certificate of PostgreSQL is for another host name"
	default:
		return nil
	}
	return &fault.Error{Op: op, Kind: fault.Config, Safe: safe, Err: err}
}
