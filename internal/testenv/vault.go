package testenv

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/claimlinc/nphiesq/internal/localserver"
)

// EnvVault and EnvVaultToken name a Vault for tests only, with KV v2 at secret/, and a root token of it. EnvVaultNeed, set to
// anything, makes a missing Vault a failure: make check sets it.
const (
	EnvVault      = "TEST_VAULT_ADDR"
	EnvVaultToken = "TEST_VAULT_TOKEN"
	EnvVaultNeed  = "TEST_VAULT_REQUIRED"
)

// VaultServer is a Vault with KV v2 at secret/, shared by the tests of a package: each uses paths and roles of its own.
type VaultServer struct {
	Addr, Token string
	// UnsealKey is "" when it is not known.
	UnsealKey string
}

// Vault returns the package's Vault: that of the environment, else one in a container, else bin/vaultdev. Unlike Redis and
// PostgreSQL it takes minutes to build, so a test without it is skipped, unless EnvVaultNeed is set.
func Vault(t testing.TB) *VaultServer {
	t.Helper()
	v, err := vaultServer()
	if err != nil && os.Getenv(EnvVaultNeed) == "" {
		t.Skipf("no Vault: make test does not build one, it takes five minutes; make vaultdev does, and make check tests with it (%v)", err)
	}
	require.NoError(t, err, "no Vault: run make vaultdev")
	return v
}

// Root is a client of Vault that may do everything.
func (v *VaultServer) Root(t testing.TB) *api.Client {
	t.Helper()
	c, err := api.NewClient(&api.Config{Address: v.Addr, HttpClient: &http.Client{Timeout: time.Minute}})
	require.NoError(t, err)
	c.SetToken(v.Token)
	return c
}

var vaultServer = sync.OnceValues(func() (*VaultServer, error) {
	if a := os.Getenv(EnvVault); a != "" {
		return &VaultServer{Addr: a, Token: os.Getenv(EnvVaultToken)}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if hasEngine() {
		if v, err := vaultContainer(ctx); err == nil {
			return v, nil
		}
	}
	return vaultDev(ctx)
})

func vaultContainer(ctx context.Context) (*VaultServer, error) {
	c, err := testcontainers.Run(ctx, "hashicorp/vault:1.21",
		testcontainers.WithEnv(map[string]string{"VAULT_DEV_ROOT_TOKEN_ID": "root", "SKIP_SETCAP": "true"}), testcontainers.WithExposedPorts("8200/tcp"),
		testcontainers.WithWaitStrategy(wait.ForHTTP("/v1/sys/health").WithPort("8200/tcp")))
	if c != nil {
		cleanup.add(func() { _ = testcontainers.TerminateContainer(c) })
	}
	if err != nil {
		return nil, err
	}
	addr, err := c.PortEndpoint(ctx, "8200/tcp", "http")
	return &VaultServer{Addr: addr, Token: "root"}, err
}

// vaultDev starts the program that make vaultdev builds.
func vaultDev(ctx context.Context) (*VaultServer, error) {
	bin, err := inRepository("bin/vaultdev")
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	listen := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "nv")
	if err != nil {
		return nil, err
	}
	cleanup.add(func() { _ = os.RemoveAll(dir) })
	v := &VaultServer{Addr: "http://" + listen, Token: "root"}
	s, err := localserver.Start(ctx, "vaultdev", dir, exec.Command(bin, "-listen", listen, "-root-token", v.Token), syscall.SIGTERM, v.healthy) //nolint:noctx // outlives ctx
	if err != nil {
		return nil, err
	}
	cleanup.add(s.Stop)
	for line := range strings.Lines(s.Log()) {
		if key, ok := strings.CutPrefix(strings.TrimSpace(line), "VAULT_UNSEAL_KEY="); ok {
			v.UnsealKey = key
		}
	}
	return v, nil
}

// healthy asks whether Vault is unsealed and active.
func (v *VaultServer) healthy(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.Addr+"/v1/sys/health", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health %d", resp.StatusCode)
	}
	return nil
}

// inRepository finds a file of the repository the test runs in.
func inRepository(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s: not in the repository", name)
		}
	}
	path := filepath.Join(dir, name)
	_, err = os.Stat(path)
	return path, err
}
