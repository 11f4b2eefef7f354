// Command vaultdev is HashiCorp Vault's core in memory behind its own HTTP handler, for tests: KV v2 at secret/; AppRole,
// userpass and Kubernetes login can be enabled. It prints VAULT_ADDR and VAULT_UNSEAL_KEY and ends with SIGTERM or SIGINT.
//
// It is a module of its own so that Vault's packages stay out of the project's go.mod. Vault is BUSL 1.1: a tool for tests,
// never part of an image.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	k8s "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/userpass"
	"github.com/hashicorp/vault/helper/builtinplugins"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:0", "address to serve on")
	root := flag.String("root-token", "root", "id of the root token")
	level := flag.String("log-level", "error", "log level")
	flag.Parse()
	if err := run(*addr, *root, *level); err != nil {
		log.Fatal(err)
	}
}

func run(addr, root, level string) error {
	ctx := namespace.RootContext(context.Background())
	lg := hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(level)})
	phys, err := inmem.NewInmem(nil, lg)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical: phys, Logger: lg, DisableMlock: true, BuiltinRegistry: builtinplugins.Registry,
		LogicalBackends: map[string]logical.Factory{"kv": kv.VersionedKVFactory},
		AuditBackends:   map[string]audit.Factory{"file": audit.NewFileBackend},
		CredentialBackends: map[string]logical.Factory{
			"approle": approle.Factory, "userpass": userpass.Factory, "kubernetes": k8s.Factory,
		},
	})
	if err != nil {
		return err
	}
	res, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}})
	if err != nil {
		return err
	}
	if ok, err := core.Unseal(res.SecretShares[0]); err != nil || !ok {
		return fmt.Errorf("unseal: %v %v", ok, err)
	}
	write := func(path string, data map[string]any) error {
		r, err := core.HandleRequest(ctx, &logical.Request{Operation: logical.UpdateOperation, Path: path, ClientToken: res.RootToken, Data: data})
		if err == nil && r != nil && r.IsError() {
			err = r.Error()
		}
		return err
	}
	if err := write("sys/mounts/secret", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}}); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := write("auth/token/create", map[string]any{"id": root, "policies": []string{"root"}, "no_parent": true}); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("VAULT_ADDR=http://%s\nVAULT_UNSEAL_KEY=%s\n", l.Addr(), base64.StdEncoding.EncodeToString(res.SecretShares[0]))
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}, DisablePrintableCheck: true})}
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-sig
		_ = srv.Close()
	}()
	err = srv.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, core.Shutdown())
}
