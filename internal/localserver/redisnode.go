package localserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// RedisOptions says how a Redis of a Node is to be.
type RedisOptions struct {
	// Base is the folder in which the node's own is made; "" means the system's temporary folder.
	Base string
	// Authority, when set, makes the node speak TLS only, with a certificate of it.
	Authority *Authority
	// ClientCertificates makes the node refuse clients that show no certificate of Authority.
	ClientCertificates bool
	// Users are lines of an ACL file ("user worker on >secret ~asynq:* +@read"). When there are any, the user default is off
	// unless one of them says otherwise, and a user of our own may do everything: replicas and Do use it.
	Users []string
	// Args are added to the command line ("--appendonly", "yes").
	Args []string
}

// RedisNode is one Redis server of a Node.
type RedisNode struct {
	*Node
	access redisAccess
}

// Do runs one command as a user who may do everything and returns its answer: string, int64, nil or []any of these.
func (n *RedisNode) Do(ctx context.Context, args ...string) (any, error) {
	return n.access.do(ctx, args...)
}

// Info returns the fields of a section of INFO ("replication").
func (n *RedisNode) Info(ctx context.Context, section string) (map[string]string, error) {
	return n.access.info(ctx, section)
}

// URL is the node's address in the form that REDIS_URL takes; user "" leaves the login out.
func (n *RedisNode) URL(user, password string) string {
	return redisURL("", n.access.tls != nil, user, password, n.addr, "/0")
}

func redisURL(kind string, secure bool, user, password, hosts, path string) string {
	scheme := "redis"
	if secure {
		scheme = "rediss"
	}
	login := ""
	if user != "" {
		login = url.UserPassword(user, password).String() + "@"
	}
	return scheme + kind + "://" + login + hosts + path
}

// control is the user through whom we look after our own servers.
const control = "localserver"

// site is what the nodes of one group have in common.
type site struct {
	RedisOptions
	password          string // of control; "" without Users
	certFile, keyFile string
}

func (o RedisOptions) site() (*site, error) {
	s := &site{RedisOptions: o}
	if len(o.Users) > 0 {
		s.password = rand.Text()
	}
	if o.Authority != nil {
		var err error
		if s.certFile, s.keyFile, err = o.Authority.Issue("redis-" + rand.Text()[:8]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// access is the way to a server of the site.
func (s *site) access(addr string) (redisAccess, error) {
	a := redisAccess{network: "tcp", addr: addr}
	if s.password != "" {
		a.user, a.password = control, s.password
	}
	if s.Authority != nil {
		var err error
		if a.tls, err = s.Authority.client(s.certFile, s.keyFile); err != nil {
			return a, err
		}
	}
	return a, nil
}

// writeUsers writes an ACL file and returns its name.
func (s *site) writeUsers(dir string, users []string) (string, error) {
	lines := []string{fmt.Sprintf("user %s on >%s ~* &* +@all", control, s.password)}
	if !slices.ContainsFunc(users, func(l string) bool { return strings.HasPrefix(l, "user default ") }) {
		lines = append(lines, "user default off")
	}
	file := filepath.Join(dir, "users.acl")
	return file, os.WriteFile(file, []byte(strings.Join(append(lines, users...), "\n")+"\n"), 0o600)
}

// listen are the arguments that say where a server listens and how.
func (s *site) listen(port int) []string {
	if s.Authority == nil {
		return []string{"--port", strconv.Itoa(port)}
	}
	clients := "no"
	if s.ClientCertificates {
		clients = "yes"
	}
	return []string{
		"--port", "0", "--tls-port", strconv.Itoa(port), "--tls-cert-file", s.certFile, "--tls-key-file", s.keyFile,
		"--tls-ca-cert-file", s.Authority.CAFile(), "--tls-auth-clients", clients, "--tls-replication", "yes",
	}
}

// StartRedis starts one Redis on a loopback port, in a new folder.
func StartRedis(ctx context.Context, o RedisOptions) (*RedisNode, error) {
	s, err := o.site()
	if err != nil {
		return nil, err
	}
	return s.start(ctx)
}

// start starts a Redis with more arguments.
func (s *site) start(ctx context.Context, more ...string) (n *RedisNode, err error) {
	bin, err := RedisBinary()
	if err != nil {
		return nil, &MissingError{Programs: []string{"redis-server"}}
	}
	dir, err := os.MkdirTemp(s.Base, "nr")
	if err != nil {
		return nil, err
	}
	args := []string{"--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--daemonize", "no"}
	if len(s.Users) > 0 {
		file, err := s.writeUsers(dir, s.Users)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		args = append(args, "--aclfile", file, "--masteruser", control, "--masterauth", s.password)
	}
	err = onFreePort(ctx, func(port int) error {
		n, err = s.node(ctx, dir, port, func() *exec.Cmd {
			return exec.Command(bin, slices.Concat(s.listen(port), args, s.Args, more)...) //nolint:gosec,noctx // found by us; ended by Stop
		})
		return err
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return n, nil
}

// node starts what command makes and gives it the form of a node.
func (s *site) node(ctx context.Context, dir string, port int, command func() *exec.Cmd) (*RedisNode, error) {
	n := &RedisNode{Node: &Node{dir: dir, addr: loopback(port)}}
	var err error
	if n.access, err = s.access(n.addr); err != nil {
		return nil, err
	}
	n.launch = func(ctx context.Context) (*Server, error) {
		return Start(ctx, "redis-server", dir, command(), os.Interrupt, n.access.ping)
	}
	return n, n.Start(ctx)
}
