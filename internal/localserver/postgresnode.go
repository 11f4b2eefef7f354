package localserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresNode is one PostgreSQL server of a Node. Everybody on loopback may sign in as any role, without a password.
type PostgresNode struct{ *Node }

// URL is the address of database db in the form that DATABASE_URL takes; user "" means postgres, who may do everything.
func (n *PostgresNode) URL(user, db string) string { return postgresURL(user, n.addr, db, "") }

func postgresURL(user, hosts, db, query string) string {
	if user == "" {
		user = "postgres"
	}
	return "postgres://" + url.User(user).String() + "@" + hosts + "/" + db + query
}

// Exec runs SQL on the database postgres of this very server, as postgres. Several statements may be given; they are one
// transaction.
func (n *PostgresNode) Exec(ctx context.Context, sql string) error {
	c, err := n.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, sql)
	return err
}

// InRecovery reports whether the server is a standby.
func (n *PostgresNode) InRecovery(ctx context.Context) (bool, error) {
	c, err := n.connect(ctx)
	if err != nil {
		return false, err
	}
	defer c.Close(ctx)
	var standby bool
	return standby, c.QueryRow(ctx, `SELECT pg_is_in_recovery()`).Scan(&standby)
}

func (n *PostgresNode) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(n.URL("", "postgres"))
	if err != nil {
		return nil, err
	}
	cfg.ConnectTimeout = callTimeout
	return pgx.ConnectConfig(ctx, cfg)
}

// PostgresOptions says how the servers of StartPostgres and StartPostgresPair are to be.
type PostgresOptions struct {
	// Base is the folder in which the servers' own are made; "" means the system's temporary folder.
	Base string
	// Authority, when set, makes them speak TLS to those who want it, with a certificate of it.
	Authority *Authority
	// Synchronous, of a pair, makes a commit wait until the standby has written it: none that was acknowledged is lost when the standby is
	// promoted, and none is acknowledged while the standby is away.
	Synchronous bool
	// Settings are added as -c options ("max_connections=50").
	Settings []string
}

// PostgresPair is a primary with a streaming standby. Nobody watches them: Promote is what a cluster manager would do.
type PostgresPair struct {
	// Nodes are the servers; the first began as the primary.
	Nodes []*PostgresNode
	opt   PostgresOptions
}

// StartPostgres starts one PostgreSQL on a loopback port, in a new folder.
func StartPostgres(ctx context.Context, o PostgresOptions) (*PostgresNode, error) {
	return startPostgresNode(ctx, o, initdb)
}

// StartPostgresPair starts a primary and a standby that is a copy of it, and waits until it streams.
func StartPostgresPair(ctx context.Context, o PostgresOptions) (p *PostgresPair, err error) {
	p = &PostgresPair{opt: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Remove())
		}
	}()
	primary, err := StartPostgres(ctx, o)
	if err != nil {
		return p, err
	}
	p.Nodes = append(p.Nodes, primary)
	standby, err := startPostgresNode(ctx, o, func(ctx context.Context, data string) error { return copyOf(ctx, primary, data) })
	if err != nil {
		return p, err
	}
	p.Nodes = append(p.Nodes, standby)
	return p, p.streaming(ctx, primary)
}

// streaming waits until the other server follows primary, and makes commits wait for it if they shall.
func (p *PostgresPair) streaming(ctx context.Context, primary *PostgresNode) error {
	want := "streaming"
	if p.opt.Synchronous {
		for _, sql := range []string{`ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`} {
			if err := primary.Exec(ctx, sql); err != nil {
				return err
			}
		}
		want = "sync"
	}
	return until(ctx, "standby", func(ctx context.Context) error {
		c, err := primary.connect(ctx)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		var n int
		if err := c.QueryRow(ctx, `SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND $1 IN (state, sync_state)`, want).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return errors.New("the standby does not follow yet")
		}
		return nil
	})
}

// Primary returns the running server that takes writes.
func (p *PostgresPair) Primary(ctx context.Context) (*PostgresNode, error) {
	errs := []error{errors.New("no running server takes writes")}
	for _, n := range p.Nodes {
		if !n.Running() {
			continue
		}
		standby, err := n.InRecovery(ctx)
		if err == nil && !standby {
			return n, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Promote makes a standby the primary. End or fence the former one first: both would take writes.
func (p *PostgresPair) Promote(ctx context.Context, n *PostgresNode) error {
	if err := n.Exec(ctx, `SELECT pg_promote(true, 60)`); err != nil {
		return err
	}
	return until(ctx, "promotion", func(ctx context.Context) error {
		standby, err := n.InRecovery(ctx)
		if err == nil && standby {
			return errors.New("still a standby")
		}
		return err
	})
}

// Rejoin throws away the data of n, which must not be the primary, and makes it the standby of the primary.
func (p *PostgresPair) Rejoin(ctx context.Context, n *PostgresNode) error {
	n.Kill()
	primary, err := p.Primary(ctx)
	if err != nil {
		return err
	}
	data := filepath.Join(n.dir, "data")
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	if err := copyOf(ctx, primary, data); err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	return p.streaming(ctx, primary)
}

// URL is the address of database db with both hosts, whichever takes writes being wanted; user "" means postgres.
func (p *PostgresPair) URL(user, db string) string {
	hosts := make([]string, 0, len(p.Nodes))
	for _, n := range p.Nodes {
		hosts = append(hosts, n.addr)
	}
	return postgresURL(user, strings.Join(hosts, ","), db, "?target_session_attrs=read-write")
}

// Remove ends all processes at once and deletes their folders.
func (p *PostgresPair) Remove() error { return removeAll(p.Nodes) }

func startPostgresNode(ctx context.Context, o PostgresOptions, fill func(ctx context.Context, data string) error) (*PostgresNode, error) {
	bin, err := PostgresBinary("postgres")
	if err != nil {
		return nil, &MissingError{Programs: []string{"PostgreSQL (postgres)"}}
	}
	isReady, err := PostgresBinary("pg_isready")
	if err != nil {
		return nil, &MissingError{Programs: []string{"PostgreSQL (pg_isready)"}}
	}
	dir, err := postgresDir(o.Base)
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, filepath.Join(dir, "data")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	settings := []string{"listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=32MB", "max_connections=100", "wal_keep_size=64MB"}
	if o.Authority != nil {
		if err := certificateIn(dir, o.Authority); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		settings = append(settings, "ssl=on", "ssl_cert_file="+filepath.Join(dir, "server.crt"), "ssl_key_file="+filepath.Join(dir, "server.key"))
	}
	n := &PostgresNode{Node: &Node{dir: dir}}
	err = onFreePort(ctx, func(port int) error {
		n.addr = loopback(port)
		args := []string{"-D", filepath.Join(dir, "data"), "-p", strconv.Itoa(port), "-k", dir}
		// Without fsync a killed process loses nothing, only a crashed machine would.
		for _, s := range slices.Concat(settings, o.Settings) {
			args = append(args, "-c", s)
		}
		n.launch = func(ctx context.Context) (*Server, error) {
			cmd := exec.Command(bin, args...) //nolint:gosec,noctx // found by us; ended by Stop
			asServerAccount(cmd)
			return Start(ctx, "postgres", dir, cmd, os.Interrupt, func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				return exec.CommandContext(ctx, isReady, "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(port)).Run() //nolint:gosec // found by us
			})
		}
		return n.Start(ctx)
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return n, nil
}

// certificateIn puts a certificate of a server into its folder, as files of its account.
func certificateIn(dir string, a *Authority) error {
	cert, key, err := a.Issue("postgres-" + filepath.Base(dir))
	if err != nil {
		return err
	}
	uid, gid, other := serverAccount()
	for from, to := range map[string]string{cert: "server.crt", key: "server.key"} {
		body, err := os.ReadFile(from) //nolint:gosec // our own file
		if err != nil {
			return err
		}
		file := filepath.Join(dir, to)
		if err := os.WriteFile(file, body, 0o600); err != nil { //nolint:gosec // in the folder we made
			return err
		}
		if other {
			if err := os.Chown(file, uid, gid); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyOf makes the data folder of a standby of primary.
func copyOf(ctx context.Context, primary *PostgresNode, data string) error {
	bin, err := PostgresBinary("pg_basebackup")
	if err != nil {
		return &MissingError{Programs: []string{"PostgreSQL (pg_basebackup)"}}
	}
	host, port, _ := net.SplitHostPort(primary.addr)
	return asServer(ctx, filepath.Dir(data), bin, "-D", data, "-h", host, "-p", port, "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync")
}

// asServer runs a program of PostgreSQL under the servers' account.
func asServer(ctx context.Context, dir, bin string, args ...string) error {
	cmd := exec.CommandContext(ctx, bin, args...) //nolint:gosec // found by us
	cmd.Dir = dir
	asServerAccount(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(bin), err, bytes.TrimSpace(out))
	}
	return nil
}
