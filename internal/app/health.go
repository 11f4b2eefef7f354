package app

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/internal/config"
)

// healthWithin is longer than a program takes to ask its servers before it says that it is not ready (3 s).
const healthWithin = 5 * time.Second

// Health is the command health of a program: it asks the one that runs on this machine at the address that a setting gives it, so that a
// container without a shell can have a health check. It prints what it was answered and returns the exit status.
func Health(ctx context.Context, program string, args []string, stdout, stderr io.Writer, help string, at func(*config.Config) (setting, address string)) int {
	fs := flag.NewFlagSet("health", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	live := fs.Bool("live", false, "")
	if err := fs.Parse(args); err != nil || fs.NArg() > 0 {
		_, _ = fmt.Fprintf(stderr, "%s: unknown arguments: health %s\n\n%s", program, strings.Join(args, " "), help)
		return 2
	}
	cfg, err := config.Load()
	if err == nil {
		path := "/readyz"
		if *live {
			path = "/livez"
		}
		setting, address := at(cfg)
		var answer string
		if answer, err = ask(ctx, setting, address, path); err == nil {
			_, _ = fmt.Fprintln(stdout, answer)
			return 0
		}
	}
	for line := range strings.Lines(err.Error()) {
		_, _ = fmt.Fprintf(stderr, "%s: %s\n", program, strings.TrimSpace(line))
	}
	return 1
}

func ask(ctx context.Context, setting, address, path string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return "", &config.SettingError{Name: setting, Problem: "names no port that could be asked"}
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost" // it listens on all addresses
	}
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return "", &config.SettingError{Name: setting, Problem: err.Error()}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy: it is this machine
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	answer := strings.TrimSpace(string(body))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s says %d: %s", path, resp.StatusCode, answer)
	}
	return answer, err
}
