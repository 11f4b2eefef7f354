package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// How long a Redis that hangs may cost. asynq calls without a deadline, so these are all that bounds it: a call is tried three
// times, each at most the dial or the read long, which is some ten seconds. go-redis' own defaults dial five times for five
// seconds and try four times, which is minutes.
const (
	dialTimeout = 3 * time.Second
	ioTimeout   = 3 * time.Second
	poolTimeout = 3 * time.Second
	// retries are further tries of a command. They bridge a dropped connection; an outage is for asynq and the reconciler.
	retries    = 2
	minBackoff = 50 * time.Millisecond
	maxBackoff = 500 * time.Millisecond
	// poolSize is a limit: each asynq server has half a dozen loops that ask now and then.
	poolSize = 50
)

// Option adds to REDIS_URL what does not fit into it.
type Option func(*connection)

// TLSFiles names PEM files: the authorities that Redis' certificate may be signed by ("": the system's), and the certificate and
// key that we show ("": none). The last two are read again for each connection, so that they may be renewed.
func TLSFiles(ca, cert, key string) Option {
	return func(c *connection) { c.caFile, c.certFile, c.keyFile = ca, cert, key }
}

// SentinelLogin is the login to the sentinels, which know none of Redis' own users. Without a user it is their requirepass.
func SentinelLogin(user, password string) Option {
	return func(c *connection) { c.sentinelUser, c.sentinelPassword = user, password }
}

type connection struct {
	caFile, certFile, keyFile      string
	sentinelUser, sentinelPassword string
	tls                            *tls.Config // nil without TLS
}

const urlForms = "; want redis://user:password@host:6379/0, rediss://…, unix:///path, redis+sentinel://h1,h2/master/0 or redis+cluster://h1,h2" //nolint:gosec // a form, no credentials

func badURL(problem string) error {
	return badSetting("REDIS_URL", problem+urlForms)
}

func badSetting(name, problem string) error {
	return &fault.Error{Op: name, Kind: fault.Config, Permanent: true, Safe: problem}
}

// Connect makes a client for REDIS_URL: redis://, rediss://, unix://, redis+sentinel://h1,h2/master/db and
// redis+cluster://h1,h2, the last two also as rediss+… It does not dial. The caller closes the client. asynq's own parser is
// not used: it drops the user name.
//
// Errors are faults of Kind Config that name the setting.
func Connect(address string, opts ...Option) (redis.UniversalClient, error) {
	var c connection
	for _, o := range opts {
		o(&c)
	}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return nil, badURL("not an address")
	}
	kind := strings.TrimPrefix(strings.TrimPrefix(scheme, "rediss"), "redis")
	switch scheme {
	case "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster":
	default:
		return nil, badURL("unknown scheme " + strconv.Quote(scheme))
	}
	if err := c.loadTLS(strings.HasPrefix(scheme, "rediss")); err != nil {
		return nil, err
	}
	if (c.sentinelUser != "" || c.sentinelPassword != "") && kind != "+sentinel" {
		return nil, badSetting("REDIS_SENTINEL_PASSWORD", "is for an address redis+sentinel:// or rediss+sentinel:// only")
	}
	if c.sentinelUser != "" && c.sentinelPassword == "" {
		return nil, badSetting("REDIS_SENTINEL_USERNAME", "set REDIS_SENTINEL_PASSWORD with it")
	}
	switch kind {
	case "+sentinel":
		return c.sentinel(rest)
	case "+cluster":
		return c.cluster(rest)
	default:
		return c.single(address)
	}
}

// loadTLS makes the TLS configuration, if the scheme asks for one, and refuses files that would go unused: whoever names an
// authority believes to be encrypted.
func (c *connection) loadTLS(wanted bool) error {
	if !wanted {
		for name, file := range map[string]string{"REDIS_CA_FILE": c.caFile, "REDIS_CERT_FILE": c.certFile, "REDIS_KEY_FILE": c.keyFile} {
			if file != "" {
				return badSetting(name, "is for TLS, and REDIS_URL has none; want rediss://, rediss+sentinel:// or rediss+cluster:// there")
			}
		}
		return nil
	}
	c.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.caFile != "" {
		body, err := os.ReadFile(c.caFile)
		if err != nil {
			return badSetting("REDIS_CA_FILE", "cannot read the file: "+cause(err))
		}
		c.tls.RootCAs = x509.NewCertPool()
		if !c.tls.RootCAs.AppendCertsFromPEM(body) {
			return badSetting("REDIS_CA_FILE", "holds no certificate; want PEM")
		}
	}
	switch {
	case c.certFile == "" && c.keyFile == "":
		return nil
	case c.keyFile == "":
		return badSetting("REDIS_CERT_FILE", "set it together with REDIS_KEY_FILE")
	case c.certFile == "":
		return badSetting("REDIS_KEY_FILE", "set it together with REDIS_CERT_FILE")
	}
	certFile, keyFile := c.certFile, c.keyFile
	load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		return &pair, err
	}
	if _, err := load(nil); err != nil {
		problem := "not a certificate with its key; want PEM"
		if _, ok := errors.AsType[*os.PathError](err); ok {
			problem = "cannot read it or REDIS_KEY_FILE: " + cause(err)
		}
		return badSetting("REDIS_CERT_FILE", problem)
	}
	c.tls.GetClientCertificate = load
	return nil
}

func cause(err error) string {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err.Error()
	}
	return "unreadable"
}

// noMaintenance switches off a handshake that only Redis' own cloud answers.
func noMaintenance() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func (c *connection) single(address string) (redis.UniversalClient, error) {
	if u, err := url.Parse(address); err == nil && u.Query().Has("skip_verify") {
		return nil, badURL("skip_verify is not allowed: name the authority in REDIS_CA_FILE")
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, badURL("not an address of Redis; special characters in user and password need percent-encoding")
	}
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = noMaintenance()
	o.DialerRetries = 1
	// What the address says in its query stays.
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&o.DialTimeout, dialTimeout},
		{&o.ReadTimeout, ioTimeout},
		{&o.WriteTimeout, ioTimeout},
		{&o.PoolTimeout, poolTimeout},
		{&o.MinRetryBackoff, minBackoff},
		{&o.MaxRetryBackoff, maxBackoff},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if o.MaxRetries == 0 {
		o.MaxRetries = retries
	}
	if o.PoolSize == 0 {
		o.PoolSize = poolSize
	}
	if o.TLSConfig != nil && c.tls != nil {
		c.tls.ServerName = o.TLSConfig.ServerName
		o.TLSConfig = c.tls
	}
	return redis.NewClient(o), nil
}

func (c *connection) sentinel(rest string) (redis.UniversalClient, error) {
	user, password, hosts, path, err := takeApart(rest, "26379")
	if err != nil {
		return nil, err
	}
	master, db, _ := strings.Cut(path, "/")
	number := 0
	if db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return nil, badURL("the database is not a number")
		}
		number = n
	}
	if master, err = url.PathUnescape(master); err != nil || master == "" {
		return nil, badURL("the name of the master is missing")
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: master, SentinelAddrs: hosts, Username: user, Password: password, DB: number,
		SentinelUsername: c.sentinelUser, SentinelPassword: c.sentinelPassword, TLSConfig: c.tls,
		ContextTimeoutEnabled: true, DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: poolTimeout,
		MaxRetries: retries, MinRetryBackoff: minBackoff, MaxRetryBackoff: maxBackoff, PoolSize: poolSize,
	}), nil
}

func (c *connection) cluster(rest string) (redis.UniversalClient, error) {
	user, password, hosts, path, err := takeApart(rest, "6379")
	if err != nil {
		return nil, err
	}
	if path != "" && path != "0" {
		return nil, badURL("a cluster has database 0 only")
	}
	cc := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: hosts, Username: user, Password: password, TLSConfig: c.tls,
		ContextTimeoutEnabled: true, DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: poolTimeout,
		MaxRedirects: retries + 1, MinRetryBackoff: minBackoff, MaxRetryBackoff: maxBackoff, PoolSize: poolSize,
		MaintNotificationsConfig: noMaintenance(),
	})
	cc.AddHook(follow{cc})
	return cc, nil
}

// follow looks for the new master of a cluster after an error of the network. go-redis itself does so only when a node redirects
// it, and a lost one does not: until its next look, up to a minute later, it would go on asking the lost one.
type follow struct{ cc *redis.ClusterClient }

func (f follow) after(ctx context.Context, err error) {
	if _, answered := errors.AsType[redis.Error](err); err != nil && (!answered || redis.HasErrorPrefix(err, "CLUSTERDOWN")) {
		f.cc.ReloadState(ctx) // in the background, at most five times a second
	}
}

// DialHook changes nothing.
func (follow) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook looks at the outcome of each command.
func (f follow) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		f.after(ctx, err)
		return err
	}
}

// ProcessPipelineHook looks at the outcome of each pipeline.
func (f follow) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		f.after(ctx, err)
		return err
	}
}

// takeApart reads what follows the scheme. Several hosts are no host to net/url.
func takeApart(rest, defaultPort string) (user, password string, hosts []string, path string, err error) {
	if strings.ContainsAny(rest, "?#") {
		return "", "", nil, "", badURL("nothing may follow the path, and special characters in user and password need percent-encoding")
	}
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		u, err := url.Parse("redis://" + authority[:i] + "@h")
		if err != nil || u.User == nil {
			return "", "", nil, "", badURL("the user or password needs percent-encoding")
		}
		user = u.User.Username()
		password, _ = u.User.Password()
		authority = authority[i+1:]
	}
	for h := range strings.SplitSeq(authority, ",") {
		addr, err := hostPort(h, defaultPort)
		if err != nil {
			return "", "", nil, "", err
		}
		hosts = append(hosts, addr)
	}
	return user, password, hosts, path, nil
}

func hostPort(h, defaultPort string) (string, error) {
	if h == "" {
		return "", badURL("a host is empty")
	}
	host, port, err := net.SplitHostPort(h)
	if err != nil { // no port, or an IPv6 address
		host, port = strings.Trim(h, "[]"), defaultPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", badURL("a host is not host:port")
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || host == "" {
		return "", badURL("a host is not host:port")
	}
	return net.JoinHostPort(host, port), nil
}
