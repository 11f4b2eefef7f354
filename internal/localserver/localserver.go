// Package localserver runs private Redis and PostgreSQL servers as child processes in temporary folders, reached over unix
// sockets or loopback only, for tests, drills and the demo. On Debian as root it installs what is missing. It never talks to a
// server it did not start.
//
// Redis and Postgres start the plain single server. StartRedis, StartSentinel, StartCluster and StartPostgresPair start what
// production runs (TLS, ACL users, groups that fail over), as a Node each: a server that can be killed or frozen and started
// again in its folder, on its address.
package localserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Server is one running child process.
type Server struct {
	name string
	dir  string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
	err  error
	stop os.Signal
	once sync.Once
}

// Dir is the server's folder: sockets and data.
func (s *Server) Dir() string { return s.dir }

// PID is the process id, for faults.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Exited is closed when the process has ended, whoever ended it.
func (s *Server) Exited() <-chan struct{} { return s.done }

// Log returns the last part of what the server printed.
func (s *Server) Log() string { return s.log.String() }

// Stop ends the process and waits for it; its folder stays. It is safe to call twice.
func (s *Server) Stop() {
	s.once.Do(func() {
		_ = s.cmd.Process.Signal(s.stop)          // already gone: Wait tells
		_ = s.cmd.Process.Signal(syscall.SIGCONT) // a frozen one would not hear it
		select {
		case <-s.done:
		case <-time.After(10 * time.Second):
			_ = s.cmd.Process.Kill()
			<-s.done
		}
	})
}

// Start runs cmd in dir as a child that dies with this process, and waits until ready returns nil. stop is the signal that ends
// it. What the child prints is kept in part, see Log.
func Start(ctx context.Context, name, dir string, cmd *exec.Cmd, stop os.Signal, ready func(context.Context) error) (*Server, error) {
	s := &Server{name: name, dir: dir, cmd: cmd, log: &tail{}, done: make(chan struct{}), stop: stop}
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = s.log, s.log
	bindToParent(cmd)
	// Pdeathsig follows the thread that forked: keep that thread for as long as the child lives.
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.err = cmd.Wait()
		close(s.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		if last = ready(ctx); last == nil {
			return s, nil
		}
		select {
		case <-s.done:
			return nil, fmt.Errorf("%s ended at once: %w\n%s", name, errors.Join(s.err, last), s.log.String())
		case <-ctx.Done():
			s.Stop()
			return nil, fmt.Errorf("%s did not become ready: %w\n%s", name, errors.Join(ctx.Err(), last), s.log.String())
		case <-tick.C:
		}
	}
}

// tail keeps the last 16 KiB written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - 16<<10; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}

// MissingError names programs that are not on this machine and how to get them.
type MissingError struct{ Programs []string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("not on this machine: %s. Install them: Debian/Ubuntu `apt-get install redis-server postgresql`, Mac `brew install redis postgresql@15`",
		strings.Join(e.Programs, ", "))
}

var installOnce sync.Mutex

// Install makes sure that redis-server and PostgreSQL's programs are on this machine. On Debian as root it installs what is
// missing with apt-get, writing its progress to w; elsewhere it returns a *MissingError that names what to install.
func Install(ctx context.Context, w io.Writer) error {
	installOnce.Lock()
	defer installOnce.Unlock()
	var missing, packages []string
	if _, err := RedisBinary(); err != nil {
		missing, packages = append(missing, "redis-server"), append(packages, "redis-server")
	}
	if _, err := PostgresBinary("initdb"); err != nil {
		missing, packages = append(missing, "PostgreSQL (initdb, postgres)"), append(packages, "postgresql")
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return &MissingError{Programs: missing}
	}
	_, _ = fmt.Fprintf(w, "installing %s with apt-get\n", strings.Join(packages, " "))
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-y", "-q", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...) //nolint:gosec // fixed package names
		// The packages would start servers on the default ports and make a cluster: neither is wanted.
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// RedisBinary finds redis-server.
func RedisBinary() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
	}
	return firstGlob("/opt/homebrew/opt/redis*/bin/redis-server", "/usr/local/opt/redis*/bin/redis-server")
}

// PostgresBinary finds one of PostgreSQL's programs (initdb, postgres, psql), the newest version first.
func PostgresBinary(name string) (string, error) {
	// initdb looks for its neighbours, so the folder of the installation goes before a link in PATH.
	if p, err := firstGlob("/usr/lib/postgresql/*/bin/"+name, "/opt/homebrew/opt/postgresql@*/bin/"+name, "/usr/local/opt/postgresql@*/bin/"+name); err == nil {
		return p, nil
	}
	p, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(p)
}

func firstGlob(patterns ...string) (string, error) {
	for _, pat := range patterns {
		found, err := filepath.Glob(pat)
		if err != nil || len(found) == 0 {
			continue
		}
		sort.Slice(found, func(i, j int) bool { return versionOf(found[i]) > versionOf(found[j]) })
		return found[0], nil
	}
	return "", exec.ErrNotFound
}

// versionOf reads the first number in a path: ".../postgresql/15/bin/initdb" gives 15.
func versionOf(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, err := strconv.Atoi(digits[0])
	if err != nil {
		return 0
	}
	return n
}

// Redis starts a Redis on a unix socket in a new folder under base ("" for the system's temporary folder). args are added to
// its command line ("--appendonly", "yes").
func Redis(ctx context.Context, base string, args ...string) (*Server, error) {
	dir, err := os.MkdirTemp(base, "nr")
	if err != nil {
		return nil, err
	}
	return RedisIn(ctx, dir, args...)
}

// RedisIn starts a Redis in an existing folder, with the data found there.
func RedisIn(ctx context.Context, dir string, args ...string) (*Server, error) {
	bin, err := RedisBinary()
	if err != nil {
		return nil, &MissingError{Programs: []string{"redis-server"}}
	}
	sock := RedisSocket(dir)
	all := append([]string{
		"--port", "0", "--unixsocket", sock, "--dir", dir, "--save", "", "--appendonly", "no",
		"--maxmemory-policy", "noeviction", "--daemonize", "no",
	}, args...)
	cmd := exec.Command(bin, all...) //nolint:gosec,noctx // the binary was found by us; the child outlives ctx and is ended by Stop
	return Start(ctx, "redis-server", dir, cmd, os.Interrupt, func(ctx context.Context) error {
		return redisAccess{network: "unix", addr: sock}.ping(ctx)
	})
}

// RedisSocket is the path of the socket of a Redis in dir.
func RedisSocket(dir string) string { return filepath.Join(dir, "r.sock") }

// RedisURL is the address of a Redis in dir, in the form that REDIS_URL takes.
func RedisURL(dir string) string { return "unix://" + RedisSocket(dir) }

// Postgres starts a PostgreSQL on a unix socket in a new folder under base ("" for the system's temporary folder). settings
// are added as -c options ("fsync=on"). As root the server runs under the account postgres, or nobody.
func Postgres(ctx context.Context, base string, settings ...string) (*Server, error) {
	dir, err := postgresDir(base)
	if err != nil {
		return nil, err
	}
	if err := initdb(ctx, filepath.Join(dir, "data")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return PostgresIn(ctx, dir, settings...)
}

// postgresDir makes a folder that the servers' account may write.
func postgresDir(base string) (string, error) {
	dir, err := os.MkdirTemp(base, "np")
	if err != nil {
		return "", err
	}
	if uid, gid, ok := serverAccount(); ok {
		if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, uid, gid)); err != nil { //nolint:gosec // the socket must be reachable for our own account
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// initdb makes the data folder of a new PostgreSQL.
func initdb(ctx context.Context, data string) error {
	bin, err := PostgresBinary("initdb")
	if err != nil {
		return &MissingError{Programs: []string{"PostgreSQL (initdb)"}}
	}
	return asServer(ctx, filepath.Dir(data), bin, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
}

// PostgresIn starts PostgreSQL on the cluster that Postgres made in dir before.
func PostgresIn(ctx context.Context, dir string, settings ...string) (*Server, error) {
	bin, err := PostgresBinary("postgres")
	if err != nil {
		return nil, &MissingError{Programs: []string{"PostgreSQL (postgres)"}}
	}
	isReady, err := PostgresBinary("pg_isready")
	if err != nil {
		return nil, &MissingError{Programs: []string{"PostgreSQL (pg_isready)"}}
	}
	args := []string{"-D", filepath.Join(dir, "data"), "-p", "5432", "-k", dir}
	for _, s := range append([]string{"listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=64MB", "max_connections=200"}, settings...) {
		args = append(args, "-c", s)
	}
	cmd := exec.Command(bin, args...) //nolint:gosec,noctx // found by us; the child outlives ctx and is ended by Stop
	asServerAccount(cmd)
	return Start(ctx, "postgres", dir, cmd, os.Interrupt, func(ctx context.Context) error {
		return exec.CommandContext(ctx, isReady, "-q", "-h", dir, "-p", "5432").Run() //nolint:gosec // found by us
	})
}

// PostgresURL is the address of database db of a PostgreSQL in dir, in the form that DATABASE_URL takes.
func PostgresURL(dir, db string) string {
	return "postgres:///" + db + "?host=" + dir + "&port=5432&user=postgres"
}

// serverAccount returns the account to run PostgreSQL under; ok is false when we are not root and no change is needed.
func serverAccount() (uid, gid int, ok bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil {
			return uid, gid, true
		}
	}
	return 0, 0, false
}
