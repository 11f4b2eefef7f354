package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Check refuses a Redis that would lose or hide tasks: older than 6.2, or with eviction on. In a cluster each master is asked.
// warnings name what is allowed but unwise (no append-only file, no replica).
//
// Errors are faults: Config when a person must change something, at Redis or in our settings, Unavailable when Redis is away or
// is a replica.
func Check(ctx context.Context, rc redis.UniversalClient) (warnings []string, err error) {
	cluster, ok := rc.(*redis.ClusterClient)
	if !ok {
		info, err := rc.Info(ctx).Result()
		if err != nil {
			return nil, away("check Redis", err)
		}
		return check(info)
	}
	var mu sync.Mutex
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		info, err := c.Info(ctx).Result()
		if err != nil {
			return err
		}
		w, err := check(info)
		mu.Lock()
		defer mu.Unlock()
		warnings = append(warnings, w...)
		return err
	})
	if _, ok := errors.AsType[*fault.Error](err); !ok && err != nil {
		err = away("check Redis", err)
	}
	slices.Sort(warnings)
	return slices.Compact(warnings), err
}

func check(info string) (warnings []string, err error) {
	fields := map[string]string{}
	for line := range strings.Lines(info) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[k] = v
		}
	}
	refuse := func(problem string) error {
		return &fault.Error{Op: "check Redis", Kind: fault.Config, Safe: problem, Permanent: true}
	}
	version := fields["redis_version"]
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return nil, refuse("Redis does not tell its version")
	}
	if major < 6 || (major == 6 && minor < 2) {
		return nil, refuse("Redis " + version + " is too old: it never archives failed tasks; want 6.2 or later")
	}
	if p := fields["maxmemory_policy"]; p != "noeviction" {
		return nil, refuse("maxmemory-policy is " + p + ": Redis would drop tasks when memory runs short; set it to noeviction")
	}
	if fields["role"] == "slave" {
		return nil, &fault.Error{Op: "check Redis", Kind: fault.Unavailable, Safe: "this Redis is a replica and takes no tasks: REDIS_URL must lead to the master"}
	}
	if fields["aof_enabled"] == "0" {
		warnings = append(warnings, "Redis has no append-only file: after its restart the tasks are made anew from PostgreSQL, which takes a while")
	}
	if fields["cluster_enabled"] == "1" && fields["connected_slaves"] == "0" {
		warnings = append(warnings, "a master of the Redis Cluster has no replica: while it is away its queues stand still")
	}
	return warnings, nil
}

// Ping asks Redis for an answer. Errors are those of Check.
func Ping(ctx context.Context, rc redis.UniversalClient) error {
	if err := rc.Ping(ctx).Err(); err != nil {
		return away("ping Redis", err)
	}
	return nil
}

// away tells apart what only a person can change from a Redis that will come back.
func away(op string, err error) error {
	f := &fault.Error{Op: op, Kind: fault.Config, Err: err}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert *net.OpError // what crypto/tls makes of an alert
	switch {
	case errors.As(err, &unknown):
		f.Safe = "the certificate of Redis is signed by an authority that is not known: name it in REDIS_CA_FILE"
	case errors.As(err, &name):
		f.Safe = "the certificate of Redis is for another host name"
	case errors.As(err, &invalid):
		f.Safe = "the certificate of Redis is not valid (expired?)"
	case errors.As(err, &record):
		f.Safe = "Redis speaks no TLS on this port: want redis:// in REDIS_URL, or the port with TLS"
	case errors.As(err, &alert) && alert.Op == "remote error":
		f.Safe = "Redis refused the TLS connection: it may want a certificate, see REDIS_CERT_FILE"
	case redis.HasErrorPrefix(err, "WRONGPASS"), redis.HasErrorPrefix(err, "NOAUTH"):
		f.Safe = "Redis refuses the user or password of REDIS_URL (or, of the sentinels, REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD)"
	case redis.HasErrorPrefix(err, "NOPERM"):
		f.Safe = "the Redis user lacks a right: docs/high-availability.md lists them"
	default:
		f.Kind, f.Safe = fault.Unavailable, "Redis does not answer"
	}
	return f
}
