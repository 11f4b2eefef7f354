package web_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testidp"
	"github.com/claimlinc/nphiesq/internal/web"
)

// chromium finds the browser. It fails the test where there is none: what it shows is part of what is promised.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell", "/usr/bin/chromium", "/snap/bin/chromium",
		"/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium found: apt-get install -y --no-install-recommends chromium fonts-liberation fonts-noto-core (or brew install --cask chromium)")
	return ""
}

// watcher notes what goes wrong in a tab and where its requests go.
type watcher struct {
	mu       sync.Mutex
	troubles []string
	hosts    map[string]bool
}

func (w *watcher) see(ev any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch ev := ev.(type) {
	case *log.EventEntryAdded:
		// hibiken's charts compute negative sizes while the window is resized; that is theirs and does no harm.
		ownChart := ev.Entry.Source == "rendering" && strings.Contains(ev.Entry.URL, "/queues/static/")
		if (ev.Entry.Level == "error" || ev.Entry.Level == "warning") && !ownChart {
			w.troubles = append(w.troubles, fmt.Sprintf("%s %s: %s %s", ev.Entry.Source, ev.Entry.Level, ev.Entry.Text, ev.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		w.troubles = append(w.troubles, "exception: "+ev.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if ev.Type == "error" {
			text := "console.error:"
			for _, a := range ev.Args {
				text += " " + string(a.Value) + a.Description
			}
			w.troubles = append(w.troubles, text)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(ev.Request.URL); err == nil && u.Scheme != "data" {
			w.hosts[u.Host] = true
		}
	}
}

// browser starts Chromium; it ends with the test.
func browser(t *testing.T) (context.Context, *watcher) {
	t.Helper()
	path := chromium(t)
	seen := &watcher{hosts: map[string]bool{}}
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true),
	}
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(opts...), chromedp.WithListener(seen.see))
	t.Cleanup(cancel)

	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate("about:blank"))) // the browser lives as long as the context of the first step
	return ctx, seen
}

func TestInABrowser(t *testing.T) {
	s := open(t)
	fill(t, s)
	ctx, seen := browser(t)
	shots := t.ArtifactDir()
	// do runs steps, and leaves a picture of the page they got stuck on.
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		short, stop := context.WithTimeout(ctx, 20*time.Second)
		defer stop()
		if err := chromedp.Do(short, steps...); err != nil {
			if png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
				_ = os.WriteFile(filepath.Join(shots, "stuck.png"), png, 0o600)
			}
			seen.mu.Lock()
			defer seen.mu.Unlock()
			require.NoError(t, err, "stuck; the page says %v; %s/stuck.png is kept with -artifacts", seen.troubles, shots)
		}
	}
	picture := func(name string) {
		long, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.documentElement.scrollHeight > innerHeight`))
		require.NoError(t, err)
		shot := chromedp.CaptureScreenshot() // of a short page that runs from right to left the full one is shifted
		if long {
			shot = chromedp.FullScreenshot(100)
		}
		png, err := chromedp.Run(ctx, shot)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(shots, name+".png"), png, 0o600))
	}
	shoot := func(name string, look func(dark bool, width int64)) {
		for _, v := range []struct {
			suffix, lang string
			dark         bool
			width        int64
		}{{"wide-light", "en", false, 1280}, {"narrow-dark", "en", true, 390}, {"narrow-light", "ar", false, 390}, {"wide-dark", "ar", true, 1280}} {
			now, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.documentElement.lang`))
			require.NoError(t, err)
			if now != v.lang {
				do(chromedp.Click("a.language"), chromedp.WaitVisible("html[lang="+v.lang+"] main"))
			}
			scheme := "light"
			if v.dark {
				scheme = "dark"
			}
			do(chromedp.EmulateViewport(v.width, 900))
			_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			require.NoError(t, err)
			look(v.dark, v.width)
			picture(name + "-" + v.lang + "-" + v.suffix)
		}
		do(chromedp.EmulateViewport(1280, 900), chromedp.Click("a.language"), chromedp.WaitVisible("html[lang=en] main"))
	}
	// fits holds our own pages to the width of the screen and to the colours of the scheme.
	fits := func(dark bool, width int64) {
		over, err := chromedp.Run(ctx, chromedp.Evaluate[float64](`document.documentElement.scrollWidth`))
		require.NoError(t, err)
		require.LessOrEqual(t, int64(over), width, "wider than the screen")
		colour, err := chromedp.Run(ctx, chromedp.Evaluate[string](`getComputedStyle(document.body).backgroundColor`))
		require.NoError(t, err)
		require.Equal(t, map[bool]string{false: "rgb(244, 246, 245)", true: "rgb(17, 23, 20)"}[dark], colour)
		faint, err := chromedp.Run(ctx, chromedp.Evaluate[string](contrast))
		require.NoError(t, err)
		require.Empty(t, faint, "contrast below AA")
		unnamed, err := chromedp.Run(ctx, chromedp.Evaluate[float64](`[...document.querySelectorAll('input:not([type=hidden]),select,textarea')].filter(e => !e.labels.length).length`))
		require.NoError(t, err)
		require.Zero(t, unnamed, "fields without a label")
		audit(t, ctx)
	}
	visit := func(path string) {
		do(chromedp.Navigate(s.URL+path), chromedp.WaitVisible("main"))
	}

	visit("/")
	shoot("login", fits)
	do(chromedp.SendKeys("#name", "huda"), chromedp.SendKeys("#password", password), chromedp.Click("main button"), chromedp.WaitVisible("#needs"))
	shoot("overview", fits)
	open, err := s.store.DeadLetters(ctx, store.LetterFilter{States: []store.LetterState{store.LetterOpen}})
	require.NoError(t, err)
	c, err := s.store.Claim(ctx, *open[0].ClaimID)
	require.NoError(t, err)
	s.mailbox(t, c)
	_, _, err = s.store.Pause(ctx, store.NewPause{License: c.License, Trouble: store.Trouble{Kind: "api", Code: "GE-00030", Text: "NPHIES refused the message: provider account blocked"}}, nil)
	require.NoError(t, err)
	payments, err := s.store.Payments(ctx, 0)
	require.NoError(t, err)
	_, wire := s.exchange(t)
	notes, err := s.store.Notifications(ctx, nil, 1)
	require.NoError(t, err)
	_, err = s.store.Raise(ctx, store.Condition{Type: cards.QueueBacklogEvent, Identity: "nphies-submit", Details: cards.Backlog{Queue: "nphies-submit", State: "growing", Pending: 1200, Active: 4}}) // waits
	require.NoError(t, err)
	for name, path := range map[string]string{
		"conditions": "/", "message": "/messages/" + wire[0].ID.String(), "reply": "/messages/" + wire[1].ID.String(), "notification": "/notifications/" + notes[0].ID.String(), "bulk": "/dead/bulk?queue=nphies-submit",
		"search": "/claims?q=CLM-&state=partial", "check": "/eligibility/" + s.check(t),
		"inbox": "/inbox", "payments": "/payments", "payment": "/payments/" + payments[0].MessageID.String(), "pauses": "/pauses",
		"claims": "/claims", "claim": "/claims/" + open[0].ClaimID.String(), "answered": "/claims?state=partial", "dead": "/dead", "letter": "/dead/" + open[0].ID.String(),
		"notifications": "/notifications", "audit": "/audit", "eligibility": "/eligibility",
	} {
		visit(path)
		if name == "answered" {
			do(chromedp.Click("tbody a"), chromedp.WaitVisible("#answers"))
		}
		shoot(name, fits)
	}
	// A decision, with the keyboard and the mouse only.
	visit("/dead/" + open[0].ID.String())
	do(chromedp.SendKeys("#retry-reason", "the line is back"), chromedp.Click("form[action$='/retry'] button"), chromedp.WaitVisible(".result[role=status]"))
	shoot("decided", fits)

	// asynqmon's own pages are shown wide only: its charts do not fit a phone.
	do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(s.URL+"/queues/"), chromedp.WaitVisible(`//a[contains(., "nphies-submit")]`))
	picture("queues")
	do(chromedp.Navigate(s.URL+"/queues/queues/nphies-submit?status=archived"), chromedp.WaitVisible(`//p[contains(., "Archived")] | //button[contains(., "Archived")] | //span[contains(., "Archived")]`))
	picture("archive")
	do(chromedp.Navigate(s.URL+"/queues/queues/nphies-submit/tasks/"+open[1].TaskID), chromedp.WaitVisible(`//code[contains(., "claim_id=")]`))
	picture("task")
	home, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector('body > a').getAttribute('href')`))
	require.NoError(t, err)
	require.Equal(t, "/", home)
	s.walk(t, do, picture, func(js string) string {
		out, err := chromedp.Run(ctx, chromedp.Evaluate[string](js))
		require.NoError(t, err)
		return out
	})
	audit(t, ctx)

	seen.mu.Lock()
	defer seen.mu.Unlock()
	require.Empty(t, seen.troubles)
	require.Equal(t, map[string]bool{strings.TrimPrefix(s.URL, "http://"): true}, seen.hosts)
	t.Log("screenshots (kept with -artifacts):", shots)
}

// TestSingleSignOnInABrowser walks to a real provider and back. The browser holds us to the cookies' rules and to our own policy.
func TestSingleSignOnInABrowser(t *testing.T) {
	idp := testidp.Start(t, testidp.User{Name: "nora@contoso.example", Password: password, ID: "oid-nora", Tenant: "t", Roles: []string{"ops", "phi"}})
	s := open(t, func(o *web.Options) {
		roles, err := signin.ParseRoleMapping("operator=ops privacy=phi")
		require.NoError(t, err)
		o.Provider, err = signin.NewProvider(signin.ProviderSettings{
			Issuer: idp.Issuer, ClientID: idp.ClientID, ClientSecret: idp.ClientSecret, Name: "Contoso", Scopes: []string{"openid"}, Tenants: []string{"t"}, RoleClaim: "roles", Roles: roles,
		})
		require.NoError(t, err)
	})
	letter, _ := s.deadLetter(t, s.claim(t))
	ctx, seen := browser(t)
	page := s.URL + "/dead/" + letter.ID.String()
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		short, stop := context.WithTimeout(ctx, 20*time.Second)
		defer stop()
		require.NoError(t, chromedp.Do(short, steps...))
	}
	do(chromedp.EmulateViewport(390, 700), chromedp.Navigate(page), chromedp.WaitVisible("#password"))
	low, err := chromedp.Run(ctx, chromedp.Evaluate[string](contrast))
	require.NoError(t, err)
	require.Empty(t, low)
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(t.ArtifactDir(), "sign-in.png"), png, 0o600))
	do(chromedp.Click("a.button"), chromedp.WaitVisible("#username"))
	do(chromedp.SendKeys("#username", "nora@contoso.example"), chromedp.SendKeys("#password", password), chromedp.Click("#submit"), chromedp.WaitVisible("#retry-reason"))
	at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href`))
	require.NoError(t, err)
	require.Equal(t, page, at)
	role, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector('.who').innerText`))
	require.NoError(t, err)
	require.Contains(t, role, "nora@contoso.example")
	require.Contains(t, role, "operator, privacy")
	do(chromedp.SendKeys("#retry-reason", "the line is back"), chromedp.Click("form[action$='/retry'] button"), chromedp.WaitVisible(".result[role=status]"))
	require.Equal(t, "nora@contoso.example (oid-nora)", s.actions(t)[0].Actor)
	do(chromedp.Click(".who button"), chromedp.WaitVisible("a.button"))
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, trouble := range seen.troubles { // the provider has no icon
		require.Contains(t, trouble, idp.Issuer+"/favicon.ico")
	}
}

// audit runs axe-core on the page that is shown: no violation of WCAG 2.2 AA, nor of its own good practice.
func audit(t *testing.T, ctx context.Context) { //nolint:revive // the test first, as everywhere here
	t.Helper()
	source, err := os.ReadFile("testdata/axe.min.js")
	require.NoError(t, err)
	_, err = chromedp.Run(ctx, chromedp.Evaluate[bool](string(source)+"; true"))
	require.NoError(t, err)
	found, err := chromedp.Run(ctx, chromedp.Evaluate[string](`axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => v.id + ": " + v.help + "\n" + v.nodes.map(n => "  " + n.target + "  " + n.html + "  " + n.failureSummary).join("\n")).join("\n"))`, chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.pathname + " " + document.documentElement.lang + " " + innerWidth`))
	require.NoError(t, err)
	require.Empty(t, found, at)
}

// check makes an eligibility check that was answered, and returns its id.
func (s *site) check(t *testing.T) string {
	t.Helper()
	check, _, err := s.store.CreateCheck(t.Context(), store.NewCheck{License: "PR-1", Identifier: store.Identifier{System: "http://p.example/e", Value: "ELG-0002"}, Payer: "INS-1", HeaderID: "h", BundleID: "b", SourceHash: "s", Body: []byte("{}")})
	require.NoError(t, err)
	answer, err := os.ReadFile("../../nphiesclient/testdata/messages/eligibility-response-eligible.json")
	require.NoError(t, err)
	_, err = s.store.SaveMessage(t.Context(), store.Message{Direction: store.In, Event: "eligibility-response", License: "PR-1", EligibilityID: &check.ID, Body: answer})
	require.NoError(t, err)
	_, _, err = s.store.RecordCheck(t.Context(), store.CheckAnswer{ID: check.ID, State: store.CheckEligible, SiteEligibility: "eligible"})
	require.NoError(t, err)
	return check.ID.String()
}

// walk goes the ways that people go: search to timeline to message, preview to bulk run, and waits for news.
func (s *site) walk(t *testing.T, do func(...chromedp.Action[chromedp.Void]), picture func(string), text func(js string) string) {
	t.Helper()
	c, _ := s.exchange(t)
	// With the keyboard alone: past the navigation, into the search field, and Enter.
	do(chromedp.Navigate(s.URL+"/claims"), chromedp.WaitVisible("#q"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	require.Equal(t, "#main", text(`location.hash`))
	do(chromedp.KeyEvent(kb.Tab))
	require.Equal(t, "q", text(`document.activeElement.id`))
	do(chromedp.KeyEvent(c.Identifier.Value[:9]), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(`//input[@id="q"][@value="`+c.Identifier.Value[:9]+`"]`)) // the claim was in the list before, too
	require.Contains(t, text(`location.search`), "q="+c.Identifier.Value[:9])
	do(chromedp.Click(`tbody a`), chromedp.WaitVisible("#timeline"), chromedp.Click(".order a"), chromedp.WaitVisible(`//p[contains(., "The newest first.")]`))
	before := len(s.actions(t))
	do(chromedp.Click(`.timeline .in a`), chromedp.WaitVisible("#says"))
	picture("message-view")
	seen := s.actions(t)
	require.Len(t, seen, before+1)
	require.Equal(t, []string{"huda", "view"}, []string{seen[0].Actor, seen[0].Verb})

	// News arrive by themselves: a new dead letter is seen without a click.
	do(chromedp.Navigate(s.URL+"/dead"), chromedp.WaitVisible("#live.on"))
	l, _ := s.deadLetter(t, s.claim(t))
	do(chromedp.WaitVisible(`a[href="/dead/` + l.ID.String() + `"]`))

	// From the groups to a preview to a run that is over.
	s.work(t)
	do(chromedp.Click(`a[href^="/dead/bulk?code="]`), chromedp.WaitVisible("#rate"))
	picture("bulk-preview")
	text(`document.querySelector("#rate").value = "6000"`)
	do(chromedp.SendKeys("#reason", "the line is back"), chromedp.Click("main form button"), chromedp.WaitVisible(".badge.done"))
	picture("bulk-run")
}

// fill makes pages worth looking at.
func fill(t *testing.T, s *site) {
	t.Helper()
	for range 6 {
		s.answered(t, s.claim(t))
	}
	for range 4 {
		s.claim(t)
	}
	for range 3 {
		s.deadLetter(t, s.claim(t))
	}
	notes, err := s.store.Notifications(t.Context(), nil, 10)
	require.NoError(t, err)
	for i, n := range notes {
		if i%2 == 0 {
			require.NoError(t, s.store.MarkSent(t.Context(), store.Sent{ID: n.ID, StatusCode: 202, At: time.Now(), WebhookURL: "https://hooks.example/…#1"}))
		}
	}
	status := 400
	require.NoError(t, s.store.MarkFailed(t.Context(), store.SendFailed{ID: notes[1].ID, StatusCode: &status, Text: "post card: invalid HTTP 400: the webhook refuses the card", NextAttemptAt: time.Now(), Dead: true}))
	_, err = s.store.PollFailed(t.Context(), "PR-1", store.Trouble{Kind: "network", Text: "poll: network: no connection to NPHIES"}, time.Time{}, nil)
	require.NoError(t, err)
	old := s.claim(t)
	letter, _ := s.deadLetter(t, old)
	_, err = s.store.DiscardLetter(t.Context(), store.Decision{ID: letter.ID, Actor: "olga", Source: "cli", Reason: "billed on paper"})
	require.NoError(t, err)
	require.NoError(t, s.queue.Inspector().PauseQueue("teams"))
	_, _, err = s.store.CreateCheck(t.Context(), store.NewCheck{License: "PR-1", Identifier: store.Identifier{System: "http://p.example/e", Value: "ELG-0001"}, Payer: "INS-1", PayerName: "Demo Insurance", HeaderID: "h", BundleID: "b", SourceHash: "s", Body: []byte("{}")})
	require.NoError(t, err)
}

// contrast returns the texts whose contrast with what is behind them is below 4.5, or 3 where they are large.
const contrast = `(() => {
  const rgb = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const lum = c => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
  const back = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  const out = [];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const s = getComputedStyle(e), a = lum(rgb(s.color)), b = lum(back(e)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const size = parseFloat(s.fontSize), large = size >= 24 || (size >= 18.66 && s.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) out.push(e.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return out.join('; ');
})()`
