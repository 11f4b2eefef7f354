// Command nphiessim serves a stand-in for NPHIES with a control API and a stand-in for Microsoft Teams.
//
// On start it prints one line of JSON with the addresses to stdout; its log goes to stderr. It exits 0 on SIGINT and
// SIGTERM, 1 if it cannot serve and 2 on wrong usage.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/claimlinc/nphiesq/internal/build"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
)

const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2

	readHeaderTimeout = 10 * time.Second
	shutdownTimeout   = 2 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// config is the command line.
type config struct {
	addr, teamsAddr           string
	tlsCert, tlsKey, clientCA string
	clientCertOptional        bool
	http1                     bool
	logLevel                  slog.Level
	sim                       nphiessim.Options
}

// run serves until ctx ends and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "certs" {
		return certs(args[1:], stdout, stderr)
	}
	if len(args) == 1 && (args[0] == "--version" || args[0] == "-version") {
		_, _ = fmt.Fprintln(stdout, build.Get().Line())
		return exitOK
	}
	cfg, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "nphiessim: %v\nRun nphiessim --help for the flags.\n", err)
		return exitUsage
	}
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: cfg.logLevel}))
	cfg.sim.Logger = logger
	if err := serve(ctx, cfg, stdout); err != nil {
		logger.ErrorContext(ctx, "cannot serve", slog.Any("error", err))
		return exitError
	}
	return exitOK
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// parse reads the command line. With --help it prints the usage and returns flag.ErrHelp.
func parse(args []string, stdout io.Writer) (config, error) {
	var cfg config
	var keys, groups list
	spelling := ""
	fs := flag.NewFlagSet("nphiessim", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&cfg.addr, "addr", "127.0.0.1:8180", "`address` of NPHIES and of the control API below /sim/")
	fs.StringVar(&cfg.teamsAddr, "teams-addr", "127.0.0.1:8181", "`address` of the Teams stand-in")
	fs.Int64Var(&cfg.sim.Seed, "seed", 1, "varies what the protocol leaves open")
	fs.DurationVar(&cfg.sim.AnswerDelay, "answer-delay", 0, "how long every NPHIES answer takes")
	fs.DurationVar(&cfg.sim.MailboxDelay, "mailbox-delay", 0, "how long after the request a later answer enters the mailbox")
	fs.IntVar(&cfg.sim.TeamsRate, "teams-rate", 0, "posts a channel takes per window before it answers 429; 0 is without limit")
	fs.DurationVar(&cfg.sim.TeamsWindow, "teams-window", time.Minute, "window of --teams-rate")
	fs.IntVar(&cfg.sim.TeamsBurst, "teams-burst", 0, "posts a channel takes per second; 0 is without limit")
	fs.StringVar(&cfg.sim.TeamsSig, "teams-sig", "", "value of the URL parameter sig that posts need; empty accepts any")
	fs.Var(&keys, "teams-signing-key", "`whsec_…` secret; posts need a webhook-signature made with it; may be repeated")
	fs.StringVar(&cfg.tlsCert, "tls-cert", "", "PEM `file` with the server certificate of NPHIES")
	fs.StringVar(&cfg.tlsKey, "tls-key", "", "PEM `file` with its key")
	fs.StringVar(&cfg.clientCA, "client-ca", "", "PEM `file` with the CA of client certificates; they become necessary and must name the sender's license")
	fs.BoolVar(&cfg.clientCertOptional, "client-cert-optional", false, "with --client-ca: let connections without a certificate in, and answer GE-00019")
	fs.Var(&groups, "certificate-licenses", "`NAME=LICENSE,LICENSE`: the certificate with this organization, serial number or common name may send for these licenses; may be repeated")
	fs.BoolVar(&cfg.http1, "http1", false, "offer no HTTP/2 over TLS: there, faults that cut connections end streams only")
	fs.StringVar(&spelling, "spelling", "guide", "how answers are written where sources of the protocol differ: guide, oba or samples")
	fs.BoolVar(&cfg.sim.Settings.StatusConcept, "status-concept", false, "write the state in a status-response as valueCodeableConcept")
	fs.TextVar(&cfg.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			usage(fs, stdout)
		}
		return cfg, err
	}
	cfg.sim.SigningKeys = keys
	cfg.sim.VerifyClient = cfg.clientCA != ""
	cfg.sim.Settings.Spelling = nphiessim.Spelling(spelling)
	cfg.sim.CertificateLicenses = map[string][]string{}
	for _, g := range groups {
		name, licenses, ok := strings.Cut(g, "=")
		if !ok || name == "" || licenses == "" {
			return cfg, fmt.Errorf("--certificate-licenses %q: want NAME=LICENSE,LICENSE", g)
		}
		cfg.sim.CertificateLicenses[name] = append(cfg.sim.CertificateLicenses[name], strings.Split(licenses, ",")...)
	}
	return cfg, cfg.check(fs.Args())
}

func usage(fs *flag.FlagSet, w io.Writer) {
	fs.SetOutput(w)
	_, _ = fmt.Fprint(w, "Usage: nphiessim [flags]\n       nphiessim certs [flags] DIR\n       nphiessim --version\n\nServes a stand-in for NPHIES and for Microsoft Teams; certs makes throwaway certificates for mutual TLS.\n\nFlags:\n")
	fs.PrintDefaults()
	_, _ = fmt.Fprint(w, "\nA business identifier that contains one of these chooses what becomes of its message:\n")
	_ = nphiessim.WriteBehaviours(w)
}

func (c config) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case c.clientCA != "" && c.tlsCert == "":
		return errors.New("--client-ca needs --tls-cert and --tls-key")
	case c.clientCA == "" && (c.clientCertOptional || len(c.sim.CertificateLicenses) > 0):
		return errors.New("--client-cert-optional and --certificate-licenses need --client-ca")
	case !slices.Contains(nphiessim.Spellings(), c.sim.Settings.Spelling):
		return fmt.Errorf("--spelling %q: want guide, oba or samples", c.sim.Settings.Spelling)
	}
	for _, k := range c.sim.SigningKeys {
		if err := nphiessim.CheckSigningKey(k); err != nil {
			return fmt.Errorf("--teams-signing-key: %w", err)
		}
	}
	return nil
}

// addresses is the line on stdout.
type addresses struct {
	NPHIES  string `json:"nphies_url"`
	Control string `json:"control_url"`
	Teams   string `json:"teams_url"`
}

func serve(ctx context.Context, cfg config, stdout io.Writer) error {
	sim := nphiessim.New(cfg.sim)
	defer sim.Close()
	tlsConfig, err := cfg.tls()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	nphiesListener, err := lc.Listen(ctx, "tcp", cfg.addr)
	if err != nil {
		return err
	}
	teamsListener, err := lc.Listen(ctx, "tcp", cfg.teamsAddr)
	if err != nil {
		_ = nphiesListener.Close()
		return err
	}
	scheme := "http://"
	if tlsConfig != nil {
		scheme = "https://"
		nphiesListener = tls.NewListener(nphiesListener, tlsConfig)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.Handle("/sim/", sim.Control())
	mux.Handle("/", sim.NPHIES())
	base := scheme + nphiesListener.Addr().String()
	line := addresses{NPHIES: base, Control: base + "/sim/", Teams: "http://" + teamsListener.Addr().String()}

	nphies := &http.Server{Handler: mux, ReadHeaderTimeout: readHeaderTimeout}
	teams := &http.Server{Handler: sim.Teams(), ReadHeaderTimeout: readHeaderTimeout}
	failed := make(chan error, 2)
	go func() { failed <- nphies.Serve(nphiesListener) }()
	go func() { failed <- teams.Serve(teamsListener) }()
	if err := json.NewEncoder(stdout).Encode(line); err != nil {
		return err
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
		err = nil
	}
	sim.Close()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	for _, server := range []*http.Server{nphies, teams} {
		if server.Shutdown(end) != nil {
			_ = server.Close()
		}
	}
	return err
}

// tls is nil without --tls-cert. HTTP/2 is offered first unless --http1 is given.
func (c config) tls() (*tls.Config, error) {
	if c.tlsCert == "" {
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	cert, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if c.http1 {
		cfg.NextProtos = nil
	}
	if c.clientCA == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(c.clientCA)
	if err != nil {
		return nil, err
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", c.clientCA)
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	if c.clientCertOptional {
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return cfg, nil
}
