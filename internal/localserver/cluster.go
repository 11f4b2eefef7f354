package localserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// RedisCluster is a Redis Cluster of three masters, with a replica each when asked for. A master that is gone for a second is
// replaced by its replica.
type RedisCluster struct {
	// Nodes are the servers: the first three began as masters, the others as their replicas in the same order.
	Nodes []*RedisNode
	site  *site
}

// slots is the number of hash slots.
const slots = 16384

// StartCluster starts a cluster and waits until every server says that it is complete.
func StartCluster(ctx context.Context, o RedisOptions, replicas bool) (c *RedisCluster, err error) {
	s, err := o.site()
	if err != nil {
		return nil, err
	}
	c = &RedisCluster{site: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Remove())
		}
	}()
	count := 3
	if replicas {
		count = 6
	}
	for range count {
		n, err := c.startNode(ctx)
		if err != nil {
			return c, err
		}
		c.Nodes = append(c.Nodes, n)
	}
	// What redis-cli --cluster create does, without its waiting and its questions.
	for i, n := range c.Nodes {
		if i < 3 {
			if _, err := n.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/3), strconv.Itoa((i+1)*slots/3-1)); err != nil {
				return c, err
			}
		}
		if _, err := n.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
			return c, err
		}
	}
	if err := c.meet(ctx); err != nil {
		return c, err
	}
	for i := 3; i < count; i++ {
		id, err := c.Nodes[i-3].Do(ctx, "CLUSTER", "MYID")
		if err != nil {
			return c, err
		}
		if _, err := c.Nodes[i].Do(ctx, "CLUSTER", "REPLICATE", fmt.Sprint(id)); err != nil {
			return c, err
		}
	}
	return c, until(ctx, "cluster", c.settled)
}

func (c *RedisCluster) startNode(ctx context.Context) (n *RedisNode, err error) {
	err = onFreePort(ctx, func(bus int) error {
		n, err = c.site.start(ctx, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "1000",
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0", "--tls-cluster", map[bool]string{true: "yes", false: "no"}[c.site.Authority != nil])
		return err
	})
	return n, err
}

// meet introduces all nodes to each other and waits until each knows all.
func (c *RedisCluster) meet(ctx context.Context) error {
	for _, n := range c.Nodes[1:] {
		host, port, _ := net.SplitHostPort(n.addr)
		info, err := n.Do(ctx, "CONFIG", "GET", "cluster-port")
		if err != nil {
			return err
		}
		bus, _ := info.([]any)
		if len(bus) != 2 {
			return errors.New("redis does not tell its cluster port")
		}
		if _, err := c.Nodes[0].Do(ctx, "CLUSTER", "MEET", host, port, fmt.Sprint(bus[1])); err != nil {
			return err
		}
	}
	return until(ctx, "cluster meets", func(ctx context.Context) error {
		for _, n := range c.Nodes {
			list, err := n.members(ctx)
			if err != nil {
				return err
			}
			if len(list) != len(c.Nodes) || slices.ContainsFunc(list, func(m member) bool { return strings.Contains(m.flags, "handshake") }) {
				return errors.New("a node does not know the others yet")
			}
		}
		return nil
	})
}

// settled returns nil when each node sees a complete cluster and each replica has its copy.
func (c *RedisCluster) settled(ctx context.Context) error {
	for i, n := range c.Nodes {
		answer, err := n.Do(ctx, "CLUSTER", "INFO")
		if err != nil {
			return err
		}
		if text := fmt.Sprint(answer); !strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, "cluster_slots_ok:16384") {
			return errors.New("the cluster is not complete")
		}
		if i < 3 {
			continue
		}
		info, err := n.Info(ctx, "replication")
		if err != nil {
			return err
		}
		if info["master_link_status"] != "up" {
			return errors.New("a replica has no copy yet")
		}
	}
	return nil
}

// member is a line of CLUSTER NODES.
type member struct {
	addr, flags string
	slots       []string
}

func (n *RedisNode) members(ctx context.Context) ([]member, error) {
	answer, err := n.Do(ctx, "CLUSTER", "NODES")
	if err != nil {
		return nil, err
	}
	var out []member
	for line := range strings.Lines(fmt.Sprint(answer)) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		addr, _, _ := strings.Cut(f[1], "@")
		out = append(out, member{addr: addr, flags: f[2], slots: f[8:]})
	}
	return out, nil
}

// MasterOf returns the running node that is the master of a key's slot now.
func (c *RedisCluster) MasterOf(ctx context.Context, key string) (*RedisNode, error) {
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		answer, err := n.Do(ctx, "CLUSTER", "KEYSLOT", key)
		if err != nil {
			continue
		}
		slot, _ := answer.(int64)
		list, err := n.members(ctx)
		if err != nil {
			continue
		}
		for _, m := range list {
			if !strings.Contains(m.flags, "master") || strings.Contains(m.flags, "fail") || !holds(m.slots, slot) {
				continue
			}
			for _, candidate := range c.Nodes {
				if candidate.addr == m.addr && candidate.Running() {
					return candidate, nil
				}
			}
		}
	}
	return nil, errors.New("no running master holds the key")
}

func holds(ranges []string, slot int64) bool {
	return slices.ContainsFunc(ranges, func(r string) bool {
		from, to, ok := strings.Cut(r, "-")
		if !ok {
			to = from
		}
		a, err1 := strconv.ParseInt(from, 10, 64)
		b, err2 := strconv.ParseInt(to, 10, 64)
		return err1 == nil && err2 == nil && a <= slot && slot <= b
	})
}

// URL is the cluster's address in the form that REDIS_URL takes; user "" leaves the login out.
func (c *RedisCluster) URL(user, password string) string {
	return redisURL("+cluster", c.site.Authority != nil, user, password, addrs(c.Nodes), "")
}

// Remove ends all processes at once and deletes their folders.
func (c *RedisCluster) Remove() error { return removeAll(c.Nodes) }
