package localserver_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/localserver"
)

func TestMain(m *testing.M) {
	if err := localserver.Install(context.Background(), os.Stderr); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func authority(t *testing.T) *localserver.Authority {
	t.Helper()
	a, err := localserver.NewAuthority(t.TempDir())
	require.NoError(t, err)
	return a
}

// bounded is generous: the machine may be busy.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually is testenv's, which imports this package.
func eventually(t *testing.T, cond func() bool, what string) {
	t.Helper()
	require.Eventually(t, cond, time.Minute, 20*time.Millisecond, what)
}

func TestRedisComesBackAfterKill(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	n, err := localserver.StartRedis(ctx, localserver.RedisOptions{
		Authority: authority(t), ClientCertificates: true, Users: []string{"user reader on >pw ~* +get"},
		Args: []string{"--appendonly", "yes", "--appendfsync", "always"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Remove()) })
	_, err = n.Do(ctx, "SET", "k", "kept")
	require.NoError(t, err)
	require.NotZero(t, n.PID())
	n.Kill()
	require.False(t, n.Running())
	require.Zero(t, n.PID())
	_, err = n.Do(ctx, "GET", "k")
	require.Error(t, err)
	require.NoError(t, n.Start(ctx))
	answer, err := n.Do(ctx, "GET", "k")
	require.NoError(t, err)
	require.Equal(t, "kept", answer)
	require.NoError(t, n.Freeze())
	_, err = n.Do(ctx, "GET", "k")
	require.Error(t, err)
	n.Thaw()
	eventually(t, func() bool { _, err := n.Do(ctx, "GET", "k"); return err == nil }, "it answers again")
	require.NoError(t, n.Freeze())
	n.Stop() // a frozen one, too, in good order
	require.False(t, n.Running())
}

func TestSentinelReplacesTheMaster(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	g, err := localserver.StartSentinel(ctx, localserver.SentinelOptions{RedisOptions: localserver.RedisOptions{
		Authority: authority(t), Users: []string{"user default off"},
	}, SentinelUsers: []string{"user default off"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Remove()) })
	first, err := g.Master(ctx)
	require.NoError(t, err)
	first.Kill()
	eventually(t, func() bool { m, err := g.Master(ctx); return err == nil && m != first }, "another master")
	require.NoError(t, first.Start(ctx))
	eventually(t, func() bool {
		info, err := first.Info(ctx, "replication")
		return err == nil && info["role"] == "slave" && info["master_link_status"] == "up"
	}, "the former master is a replica")
}

func TestClusterReplacesAMaster(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	c, err := localserver.StartCluster(ctx, localserver.RedisOptions{Authority: authority(t)}, true)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Remove()) })
	first, err := c.MasterOf(ctx, "asynq:{teams}:pending")
	require.NoError(t, err)
	first.Kill()
	eventually(t, func() bool { m, err := c.MasterOf(ctx, "asynq:{teams}:pending"); return err == nil && m != first }, "its replica is the master")
}

func TestStandbyIsPromotedAndTheFormerPrimaryRejoins(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	p, err := localserver.StartPostgresPair(ctx, localserver.PostgresOptions{Synchronous: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Remove()) })
	primary, standby := p.Nodes[0], p.Nodes[1]
	require.NoError(t, primary.Exec(ctx, `CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)`))
	require.ErrorContains(t, standby.Exec(ctx, `INSERT INTO kept VALUES (2)`), "25006")
	require.NoError(t, primary.Freeze())
	require.Error(t, primary.Exec(ctx, `SELECT 1`))
	primary.Thaw()
	eventually(t, func() bool { return primary.Exec(ctx, `SELECT 1`) == nil }, "it answers again")
	primary.Kill()
	require.NoError(t, p.Promote(ctx, standby))
	now, err := p.Primary(ctx)
	require.NoError(t, err)
	require.Same(t, standby, now)
	require.NoError(t, standby.Exec(ctx, `INSERT INTO kept VALUES (3)`))
	require.NoError(t, p.Rejoin(ctx, primary))
	is, err := primary.InRecovery(ctx)
	require.NoError(t, err)
	require.True(t, is)
	// Killed and started again it finds its data: a crash, no loss.
	standby.Kill()
	require.NoError(t, standby.Start(ctx))
	require.NoError(t, standby.Exec(ctx, `DO $$ BEGIN ASSERT (SELECT count(*) FROM kept) = 2; END $$`))
}
