package localserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// MasterName is what the master of a SentinelGroup is called.
const MasterName = "nphiesq"

// SentinelOptions says how a SentinelGroup is to be.
type SentinelOptions struct {
	RedisOptions
	// SentinelUsers are the lines of the sentinels' own ACL file, which knows none of the users of Redis.
	SentinelUsers []string
	// User and Password are the sentinels' login at the servers and at each other; "" means a user who may do everything.
	User, Password string
}

// SentinelGroup is a master with two replicas, watched by three sentinels. A master that is gone for half a second is replaced.
type SentinelGroup struct {
	// Redis are the servers; the first began as the master.
	Redis []*RedisNode
	// Sentinels are the sentinels.
	Sentinels []*RedisNode
	site      *site
}

// StartSentinel starts a group and waits until everybody knows everybody.
func StartSentinel(ctx context.Context, o SentinelOptions) (g *SentinelGroup, err error) {
	if len(o.SentinelUsers) > 0 && len(o.Users) == 0 {
		return nil, errors.New("SentinelUsers need Users")
	}
	s, err := o.site()
	if err != nil {
		return nil, err
	}
	g = &SentinelGroup{site: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Remove())
		}
	}()
	var replicaOf []string
	for range 3 {
		// Without the delay a replica waits 5 s for others that might want the same copy.
		n, err := s.start(ctx, append([]string{"--repl-diskless-sync-delay", "0"}, replicaOf...)...)
		if err != nil {
			return g, err
		}
		g.Redis = append(g.Redis, n)
		if replicaOf == nil {
			host, port, _ := net.SplitHostPort(n.addr)
			replicaOf = []string{"--replicaof", host + " " + port}
		}
	}
	// A sentinel learns of replicas from the master, every ten seconds: they must be there when it first asks.
	if err := until(ctx, "replicas", func(ctx context.Context) error {
		info, err := g.Redis[0].Info(ctx, "replication")
		if err == nil && (!strings.Contains(info["slave0"], "state=online") || !strings.Contains(info["slave1"], "state=online")) {
			return errors.New("the replicas are not online")
		}
		return err
	}); err != nil {
		return g, err
	}
	for range 3 {
		n, err := g.startSentinel(ctx, o)
		if err != nil {
			return g, err
		}
		g.Sentinels = append(g.Sentinels, n)
	}
	return g, until(ctx, "sentinels", g.settled)
}

// settled returns nil when each running sentinel knows two replicas and two other sentinels.
func (g *SentinelGroup) settled(ctx context.Context) error {
	for _, n := range g.Sentinels {
		m, err := n.Do(ctx, "SENTINEL", "MASTER", MasterName)
		if err != nil {
			return err
		}
		list, _ := m.([]any)
		fields := map[string]string{}
		for i := 0; i+1 < len(list); i += 2 {
			fields[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
		}
		if fields["num-slaves"] != "2" || fields["num-other-sentinels"] != "2" {
			return errors.New("a sentinel does not know the others yet")
		}
	}
	return nil
}

func (g *SentinelGroup) startSentinel(ctx context.Context, o SentinelOptions) (n *RedisNode, err error) {
	bin, err := RedisBinary()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(g.site.Base, "ns")
	if err != nil {
		return nil, err
	}
	s, users := *g.site, o.SentinelUsers
	if o.User == "" {
		o.User, o.Password = control, s.password
	}
	host, master, _ := net.SplitHostPort(g.Redis[0].addr)
	err = onFreePort(ctx, func(port int) error {
		var conf strings.Builder
		for args := s.listen(port); len(args) > 0; args = args[2:] {
			fmt.Fprintf(&conf, "%s %s\n", strings.TrimPrefix(args[0], "--"), args[1])
		}
		fmt.Fprintf(&conf, "bind 127.0.0.1\ndir %s\nsentinel monitor %s %s %s 2\nsentinel down-after-milliseconds %s 500\nsentinel failover-timeout %s 2000\n",
			dir, MasterName, host, master, MasterName, MasterName)
		if s.password != "" {
			fmt.Fprintf(&conf, "sentinel auth-user %s %s\nsentinel auth-pass %s %s\n", MasterName, o.User, MasterName, o.Password)
		}
		if len(users) > 0 {
			file, err := s.writeUsers(dir, users)
			if err != nil {
				return err
			}
			fmt.Fprintf(&conf, "aclfile %s\nsentinel sentinel-user %s\nsentinel sentinel-pass %s\n", file, o.User, o.Password)
		}
		file := filepath.Join(dir, "sentinel.conf")
		if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
			return err
		}
		open := s
		if len(users) == 0 {
			open.password = "" // the sentinels know no users
		}
		n, err = open.node(ctx, dir, port, func() *exec.Cmd {
			return exec.Command(bin, file, "--sentinel") //nolint:gosec,noctx // found by us; ended by Stop
		})
		return err
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return n, nil
}

// Master asks the sentinels which server is the master now. One that is gone or frozen is none, whatever a sentinel still says.
func (g *SentinelGroup) Master(ctx context.Context) (*RedisNode, error) {
	errs := []error{errors.New("no sentinel knows the master")}
	for _, s := range g.Sentinels {
		answer, err := s.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName)
		list, _ := answer.([]any)
		if err != nil || len(list) != 2 {
			errs = append(errs, err)
			continue
		}
		addr := net.JoinHostPort(fmt.Sprint(list[0]), fmt.Sprint(list[1]))
		for _, n := range g.Redis {
			if n.addr != addr || !n.Running() {
				continue
			}
			info, err := n.Info(ctx, "replication")
			if err == nil && info["role"] == "master" {
				return n, nil
			}
			errs = append(errs, err)
		}
	}
	return nil, errors.Join(errs...)
}

// URL is the group's address in the form that REDIS_URL takes; user "" leaves the login to the servers out.
func (g *SentinelGroup) URL(user, password string) string {
	return redisURL("+sentinel", g.site.Authority != nil, user, password, addrs(g.Sentinels), "/"+MasterName+"/0")
}

// Remove ends all processes at once and deletes their folders.
func (g *SentinelGroup) Remove() error {
	return errors.Join(removeAll(g.Sentinels), removeAll(g.Redis))
}

func addrs(nodes []*RedisNode) string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.addr)
	}
	return strings.Join(list, ",")
}
