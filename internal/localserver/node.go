package localserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Node is a server on a loopback port that can be ended by a fault and started again in its folder, on its address. It is
// safe for concurrent use.
type Node struct {
	mu     sync.Mutex
	dir    string
	addr   string
	launch func(context.Context) (*Server, error)
	server *Server
}

// Dir is the node's folder.
func (n *Node) Dir() string { return n.dir }

// Addr is host:port.
func (n *Node) Addr() string { return n.addr }

func (n *Node) current() *Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server
}

// PID is the process id of the running server, 0 when there is none.
func (n *Node) PID() int {
	if !n.Running() {
		return 0
	}
	return n.current().PID()
}

// Running reports whether the process is there; a frozen one is.
func (n *Node) Running() bool {
	s := n.current()
	if s == nil {
		return false
	}
	select {
	case <-s.Exited():
		return false
	default:
		return true
	}
}

// Log returns the last part of what the server printed since its last start.
func (n *Node) Log() string {
	if s := n.current(); s != nil {
		return s.Log()
	}
	return ""
}

// Start starts the server again, with the data in its folder, and waits until it answers. A running one is left alone.
func (n *Node) Start(ctx context.Context) error {
	if n.Running() {
		return nil
	}
	for {
		s, err := n.launch(ctx)
		switch {
		case err == nil:
			n.mu.Lock()
			n.server = s
			n.mu.Unlock()
			return nil
		case ctx.Err() == nil && strings.Contains(err.Error(), "still in use"):
			// The processes of a killed PostgreSQL take a moment to notice.
			if err := pause(ctx); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// Kill ends the server with all its processes at once (SIGKILL), frozen or not, and waits until it is gone.
func (n *Node) Kill() {
	s := n.current()
	if s == nil || !n.Running() {
		return
	}
	family := children(s.PID())
	_ = s.cmd.Process.Kill() // gone already: fine
	for _, pid := range family {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.Exited()
}

// Freeze halts the server with all its processes (SIGSTOP): connections stay open and are accepted by the kernel, nothing is
// answered. Thaw lets it go on.
func (n *Node) Freeze() error {
	s := n.current()
	if s == nil || !n.Running() {
		return errors.New("not running")
	}
	// The parent first, so that no child is missed.
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for _, pid := range children(s.PID()) {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // ended meanwhile: fine
	}
	return nil
}

// Thaw undoes Freeze. It does nothing to a server that is not frozen.
func (n *Node) Thaw() {
	s := n.current()
	if s == nil || !n.Running() {
		return
	}
	for _, pid := range children(s.PID()) {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
}

// Stop ends the server in good order; its folder stays.
func (n *Node) Stop() {
	if s := n.current(); s != nil {
		n.Thaw()
		s.Stop()
	}
}

// Remove ends the server at once and deletes its folder.
func (n *Node) Remove() error {
	n.Kill()
	return os.RemoveAll(n.dir)
}

// removeAll removes nodes, those that were never made left out.
func removeAll[N interface{ Remove() error }](nodes []N) error {
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.Remove())
	}
	return errors.Join(errs...)
}

// pause is the time between two looks at a condition.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

// until asks cond until it returns nil. The error of a ctx that ends first holds cond's last.
func until(ctx context.Context, what string, cond func(context.Context) error) error {
	for {
		err := cond(ctx)
		if err == nil {
			return nil
		}
		if perr := pause(ctx); perr != nil {
			return fmt.Errorf("%s: %w", what, errors.Join(perr, err))
		}
	}
}

var (
	portsMu sync.Mutex
	ports   = map[int]bool{}
)

// freePort finds a loopback port that nobody listens on and that this process gives out once. It is below the range from which
// systems take ports for outgoing connections: a client that dials a dead server's port in that range may be given this very
// port, is then connected to itself, and the server cannot come back.
func freePort(ctx context.Context) (int, error) {
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 200 {
		port := 20000 + rand.IntN(12000) //nolint:gosec // any will do
		if ports[port] {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", loopback(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		ports[port] = true
		return port, nil
	}
	return 0, errors.New("no free port on loopback")
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// onFreePort calls start with free ports until none was taken by another process in between, at most three times.
func onFreePort(ctx context.Context, start func(port int) error) error {
	for try := 1; ; try++ {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		err = start(port)
		if err == nil || try == 3 || !strings.Contains(strings.ToLower(err.Error()), "in use") {
			return err
		}
	}
}

// children lists the processes whose parent is pid.
func children(pid int) []int {
	var out []int
	for child, parent := range parents() {
		if parent == pid {
			out = append(out, child)
		}
	}
	return out
}
