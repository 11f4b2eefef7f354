package main_test

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/internal/testidp"
	"github.com/claimlinc/nphiesq/tasks"
)

// TestAPersonBringsAClaimBackFromItsCard: NPHIES refuses every connection until the claim's submission has died. In Teams a person presses
// Retry on its card, signs in at the company's provider, gives a reason, and the claim's stored bytes are sent: it ends approved.
func TestAPersonBringsAClaimBackFromItsCard(t *testing.T) {
	s := newSite(t)
	idp := testidp.Start(t, testidp.User{Name: "noura@hospital.example", Password: "her password", ID: "oid-noura", Tenant: "hospital", Roles: []string{"nphiesq.operator"}})
	teams := httptest.NewServer(s.sim.Teams())
	t.Cleanup(teams.Close)
	away, actions, pages := address(t), address(t), address(t)
	maps.Copy(s.env, map[string]string{
		"NPHIES_BASE_URL": "http://" + away, "NPHIES_BREAK_AFTER": "0", "ACTION_BASE_URL": "http://" + actions, "ACTIONS_ADDR": actions,
		"ACTION_LINK_KEYS": "k1:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=", "MONITOR_ADDR": pages, "MONITOR_URL": "http://" + pages, "MONITOR_HTTP_ADDR": "127.0.0.1:0",
		"OIDC_ISSUER": idp.Issuer, "OIDC_NAME": "the hospital", "OIDC_CLIENT_ID": idp.ClientID, "OIDC_CLIENT_SECRET": idp.ClientSecret, "OIDC_TENANTS": "hospital",
		"OIDC_ROLES": "operator=nphiesq.operator", "MONITOR_INSECURE_COOKIES": "true",
	})
	w := s.worker()
	monitor := s.startMonitor()
	claim := strings.Fields(s.enqueue("submit", "../../examples/claims/01-professional-approved.json"))[0]
	rc, err := broker.Connect(s.env["REDIS_URL"])
	require.NoError(t, err)
	t.Cleanup(func() { _ = rc.Close() })
	q := broker.New(rc)
	testenv.Eventually(t, func() bool { // the waits between attempts are not waited for
		_, _ = q.Inspector().RunAllRetryTasks(tasks.QueueSubmit)
		return s.count(`SELECT count(*) FROM dead_letters WHERE state = 'open' AND claim_id IS NOT NULL`) == 1
	}, "the submission dies")
	testenv.Eventually(t, func() bool {
		return s.count(`SELECT count(*) FROM teams_notifications WHERE event_type = 'task.dlq' AND sent_at IS NOT NULL AND 'RUNTIME_ENG' = ANY (stakeholders)`) == 1
	}, "its card has arrived")

	ctx, step, picture, troubles := browse(t)
	step(chromedp.Navigate(teams.URL))
	picture("teams-card")
	var links string
	links, err = chromedp.Run(ctx, chromedp.Evaluate[string](`[...document.querySelectorAll('a')].filter(a => a.textContent.trim() === 'Retry').map(a => a.href).join(' ')`))
	require.NoError(t, err)
	require.Len(t, strings.Fields(links), 2, "the owners' cards have the button, the others lead to the details")
	require.True(t, strings.HasPrefix(links, "http://"+actions+"/a/v1.k1."), links)
	step(chromedp.Navigate(strings.Fields(links)[1]), chromedp.WaitVisible("a.sso"))
	picture("sign-in")
	step(chromedp.Click("a.sso"), chromedp.WaitVisible("#username"), chromedp.SendKeys("#username", "noura@hospital.example"), chromedp.SendKeys("#password", "her password"),
		chromedp.Click("#submit"), chromedp.WaitVisible("#reason"))
	picture("confirm")

	// NPHIES is back.
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", away)
	require.NoError(t, err)
	nphies := &http.Server{Handler: s.sim.NPHIES(), ReadHeaderTimeout: time.Minute}
	go func() { _ = nphies.Serve(l) }()
	t.Cleanup(func() { _ = nphies.Close() })
	step(chromedp.SendKeys("#reason", "NPHIES is back"), chromedp.Click("main button"), chromedp.WaitVisible("p[role=status]"))
	picture("done")
	testenv.Eventually(t, func() bool { return s.count(`SELECT count(*) FROM claims WHERE state = 'approved'`) == 1 }, "the claim is approved")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM messages WHERE direction = 'out' AND event = 'claim-request'`), "its bytes were built once")
	require.Len(t, s.sim.Claims(), 1)
	require.Equal(t, 1, s.sim.Claims()[0].DistinctBodies)
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE target_kind = 'alert' AND verb = 'retry' AND outcome = 'applied' AND reason = 'NPHIES is back'
		AND source = 'link' AND detail->>'actor_id' = 'oid-noura' AND detail->>'auth_method' = 'oidc'`))
	testenv.Eventually(t, func() bool {
		return s.count(`SELECT count(*) FROM teams_notifications WHERE event_type = 'task.dlq' AND state = 'resolved'`) > 0 && s.count(`SELECT count(*) FROM teams_notifications WHERE state = 'retrying'`) == 0
	}, "the answer ends the alert")
	require.Zero(t, s.count(`SELECT count(*) FROM teams_notifications WHERE card_payload::text LIKE '%/a/v1.%' OR event::text LIKE '%/a/v1.%'`), "no link is kept")

	// The whole trail is on the claim's page.
	step(chromedp.Navigate("http://"+pages+"/claims/"+claim), chromedp.WaitVisible("main a.button"), chromedp.Click("main a.button"), chromedp.WaitVisible("#username"),
		chromedp.SendKeys("#username", "noura@hospital.example"), chromedp.SendKeys("#password", "her password"), chromedp.Click("#submit"), chromedp.WaitVisible("#timeline"))
	picture("claim")
	text, err := chromedp.Run(ctx, chromedp.Text("main"))
	require.NoError(t, err)
	for _, want := range []string{"approved", "NPHIES is back", "noura@hospital.example", "task.dlq", "claim-request"} {
		require.Contains(t, strings.ToLower(text), strings.ToLower(want))
	}
	require.Empty(t, troubles())
	s.env["OIDC_CLIENT_SECRET"] = ""
	for name, program := range map[string]string{"worker": w.log.String(), "monitor": monitor.String()} {
		for _, secret := range []string{"/a/v1.k1", idp.ClientSecret, "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA"} {
			require.NotContains(t, program, secret, "%s's log", name)
		}
	}
}

// address is one that nobody listens on.
func address(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// startMonitor starts the real program with the site's settings and returns its log.
func (s *site) startMonitor() *syncBuffer {
	s.t.Helper()
	dir := s.t.TempDir()
	out, err := exec.CommandContext(s.t.Context(), "go", "build", "-o", dir, "../monitor").CombinedOutput()
	require.NoError(s.t, err, string(out))
	cmd := s.command("monitor")
	cmd.Path = filepath.Join(dir, "monitor")
	log := &syncBuffer{}
	cmd.Stderr = log
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Log(log.String())
		}
	})
	testenv.Eventually(s.t, func() bool { return strings.Contains(log.String(), "monitor started") }, "the monitor is there")
	return log
}

// browse starts a browser. step does something in it, picture keeps what it shows, troubles are what went wrong in the pages.
func browse(t *testing.T) (ctx context.Context, step func(...chromedp.Action[chromedp.Void]), picture func(string), troubles func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(testenv.Chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true),
	}
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(opts...), chromedp.WithListener(func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *log.EventEntryAdded:
			if ev.Entry.Level == "error" && !strings.Contains(ev.Entry.URL, "favicon") {
				seen = append(seen, ev.Entry.Text+" "+ev.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			seen = append(seen, "exception: "+ev.ExceptionDetails.Text)
		}
	}))
	t.Cleanup(cancel)
	shots := t.ArtifactDir()
	picture = func(name string) {
		png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(shots, name+".png"), png, 0o600))
	}
	step = func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		short, stop := context.WithTimeout(ctx, 30*time.Second)
		defer stop()
		if err := chromedp.Do(short, steps...); err != nil {
			picture("stuck")
			require.NoError(t, err, "stuck; %s/stuck.png is kept with -artifacts", shots)
		}
	}
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate("about:blank"))) // the browser lives as long as the context of the first step
	return ctx, step, picture, func() []string { mu.Lock(); defer mu.Unlock(); return append([]string{}, seen...) }
}
