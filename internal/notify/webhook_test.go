package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/signing"
)

const (
	legacyURL = "https://prod-12.westeurope.logic.azure.com:443/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=LegacySecret_-x"
	midURL    = "https://prod-12.westeurope.logic.azure.com/powerautomate/automations/direct/cu/3/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=2022-03-01-preview&sig=MidSecret"
	nowURL    = "https://default0123456789.ab.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=NowSecret"
)

func TestParseWebhookURL(t *testing.T) {
	for _, good := range []string{legacyURL, midURL, nowURL, " " + nowURL + "\n"} {
		w, err := ParseWebhookURL(good, false)
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(good), w.Reveal(), "byte for byte")
	}
	for _, bad := range []string{
		"", "x", "https://", "http" + nowURL[5:], strings.Replace(nowURL, ":443", ":8443", 1), nowURL + "#f", nowURL + "#",
		strings.Replace(nowURL, "https://", "https://u:p@", 1), "https://evil.example/.api.powerplatform.com",
		"https://evilenvironment.api.powerplatform.com/x", "https://x.logic.azure.com.evil.example/x", "https://evil-logic.azure.com/",
		"https://x.logic.azure.com@evil.example/", "https://x.logic.azure.com/a b", "https://x.logic.azure.com/\x00", "https://x.logic.azure.com/é",
		"http://127.0.0.1:8080/x", "https://localhost/x", "https://169.254.169.254/", "ftp://x.logic.azure.com/",
	} {
		_, err := ParseWebhookURL(bad, false)
		require.ErrorIs(t, err, ErrWebhookURL, bad)
		require.NotContains(t, err.Error(), "Secret")
	}
	for _, old := range []string{"https://org.webhook.office.com/webhookb2/a@b/IncomingWebhook/c/d", "https://outlook.office.com/webhook/x"} {
		_, err := ParseWebhookURL(old, false)
		require.ErrorIs(t, err, ErrRetiredConnector)
	}
	for _, local := range []string{"http://127.0.0.1:8080/x", "http://localhost:1/x", "https://[::1]:2/x", nowURL} {
		_, err := ParseWebhookURL(local, true)
		require.NoError(t, err)
	}
	for _, bad := range []string{"http://10.0.0.1/x", "http://evil.example/x", "http://localhost.evil.example/", "http" + nowURL[5:]} {
		_, err := ParseWebhookURL(bad, true)
		require.ErrorIs(t, err, ErrWebhookURL)
	}
	_, err := ParseWebhookURL("https://x.workflows.sovereign.example/y", false, ".workflows.sovereign.example")
	require.NoError(t, err)
}

// TestWebhookURLCannotBePrinted tries every usual way to print a value, alone and inside others.
func TestWebhookURLCannotBePrinted(t *testing.T) {
	w, err := ParseWebhookURL(nowURL, false)
	require.NoError(t, err)
	d, _, err := NewDirectory(map[cards.Stakeholder]string{cards.SRE: nowURL}, false)
	require.NoError(t, err)
	keys, err := signing.ParseKeys("NowSecretNowSecret")
	require.NoError(t, err)
	hidden := struct {
		u WebhookURL
		p *WebhookURL
		k []signing.Key
	}{w, &w, keys}
	login, err := NewLogin(LoginSettings{Tenant: "t", ClientID: "NowSecret", ClientSecret: "NowSecret"})
	require.NoError(t, err)
	post := Post{URL: w, WebhookID: "x", Login: login}
	hook := Hook{URL: w, Previous: w, Login: login}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10v"} {
		for _, v := range []any{w, &w, hidden, &hidden, post, login, hook, &hook, d, *d.current.Load(), []WebhookURL{w}, map[string]WebhookURL{"u": w}, keys, keys[0]} {
			s := fmt.Sprintf(verb, v)
			require.NotContains(t, s, "NowSecret", verb)
			require.NotContains(t, strings.ToLower(s), fmt.Sprintf("%x", "NowSecret"), verb)
			require.NotContains(t, s, "78 111 119 83", verb)
		}
	}
	for _, v := range []any{w, &w, post, hook, map[string]any{"u": w}, keys} {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		require.NotContains(t, string(b), "NowSecret")
	}
	for _, h := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(h(&b)).Info("x", slog.Any("u", w), slog.Any("p", post), slog.Any("h", hidden), slog.Any("k", keys[0]), slog.Any("l", login), slog.Any("hook", hook))
		require.NotContains(t, b.String(), "NowSecret")
	}
	require.Regexp(t, `^https://default0123456789\.ab\.environment\.api\.powerplatform\.com/…#[0-9a-f]{8}$`, w.String())
	require.Equal(t, `"`+w.String()+`"`, string(must(json.Marshal(w))))
	require.Empty(t, WebhookURL{}.String()+WebhookURL{}.Fingerprint()+WebhookURL{}.Key()+WebhookURL{}.Reveal()+WebhookURL{}.Host())
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestDirectory(t *testing.T) {
	d, warnings, err := NewDirectory(map[cards.Stakeholder]string{
		cards.SRE: nowURL, cards.NPHIESIntegration: legacyURL, cards.PMO: legacyURL, cards.RuntimeEng: nowURL, cards.Compliance: "",
	}, false)
	require.NoError(t, err)
	require.Len(t, warnings, 4)
	require.Equal(t, cards.SecurityEng, warnings[0].Stakeholder)

	now, err := ParseWebhookURL(nowURL, false)
	require.NoError(t, err)
	require.Equal(t, []Channel{
		{Name: "RUNTIME_ENG", Stakeholders: []cards.Stakeholder{cards.SRE}, Redacted: now.String()},
	}, d.Channels([]cards.Stakeholder{cards.SRE}), "named by the first that shares it, wished for or not")

	channels := d.Channels([]cards.Stakeholder{cards.PMO, cards.Compliance, cards.NPHIESIntegration, cards.PMO})
	require.Len(t, channels, 2)
	require.Equal(t, Channel{Name: "COMPLIANCE", Stakeholders: []cards.Stakeholder{cards.Compliance}}, channels[0], "missing, yet a channel")
	require.Equal(t, "NPHIES_INTEGRATION", channels[1].Name)
	require.Equal(t, []cards.Stakeholder{cards.NPHIESIntegration, cards.PMO}, channels[1].Stakeholders)

	require.Equal(t, []string{"SECURITY_ENG", "CLOUDOPS", "RUNTIME_ENG", "DEVOPS", "COMPLIANCE", "NPHIES_INTEGRATION"}, d.Names())

	h, ok := d.Hook("RUNTIME_ENG")
	require.True(t, ok)
	require.Equal(t, nowURL, h.URL.Reveal())
	_, ok = d.Hook("COMPLIANCE")
	require.False(t, ok)
	_, ok = d.Hook("nobody")
	require.False(t, ok)

	_, err = d.Replace(map[cards.Stakeholder]string{cards.SRE: "http://x.example/?sig=NowSecret"})
	require.ErrorIs(t, err, ErrWebhookURL)
	require.ErrorContains(t, err, "SRE")
	require.NotContains(t, err.Error(), "NowSecret")
	_, ok = d.Hook("RUNTIME_ENG")
	require.True(t, ok, "the old ones stay")

	_, err = d.Replace(map[cards.Stakeholder]string{cards.RuntimeEng: midURL, cards.SRE: nowURL})
	require.NoError(t, err)
	require.Equal(t, "SRE", d.Channels([]cards.Stakeholder{cards.SRE})[0].Name)
	h, ok = d.Hook("RUNTIME_ENG")
	require.True(t, ok, "rows written before the split still find a webhook")
	require.Equal(t, midURL, h.URL.Reveal())

	_, _, err = NewDirectory(map[cards.Stakeholder]string{"sre": nowURL}, false)
	require.ErrorIs(t, err, ErrWebhookURL)
}

func TestHooks(t *testing.T) {
	d, _, err := NewDirectory(map[cards.Stakeholder]string{cards.SRE: nowURL + " " + legacyURL}, false)
	require.NoError(t, err)
	h, ok := d.Hook("SRE")
	require.True(t, ok)
	require.Equal(t, legacyURL, h.Previous.Reveal())
	_, err = d.Replace(map[cards.Stakeholder]string{cards.SRE: nowURL + " " + legacyURL + " " + midURL})
	require.ErrorIs(t, err, ErrWebhookURL)
	_, err = d.Replace(map[cards.Stakeholder]string{cards.SRE: nowURL + " https://x.example/?sig=NowSecret"})
	require.ErrorIs(t, err, ErrWebhookURL)
	require.NotContains(t, err.Error(), "Secret")

	login, err := NewLogin(LoginSettings{Tenant: "t", ClientID: "c", ClientSecret: "s"})
	require.NoError(t, err)
	h.Login = login
	shared, err := d.Parse(cards.RuntimeEng, nowURL)
	require.NoError(t, err)
	warnings := d.Use(map[cards.Stakeholder]Hook{cards.SRE: h, cards.RuntimeEng: shared, "nobody": h})
	require.Len(t, warnings, 6)
	h, ok = d.Hook("RUNTIME_ENG")
	require.True(t, ok)
	require.Equal(t, legacyURL, h.Previous.Reveal(), "what one of them says about the webhook holds for all that share it")
	require.False(t, h.Login.IsZero())

	require.True(t, d.Known())
	d.SetKnown(false)
	require.False(t, d.Known())
}

func TestFallback(t *testing.T) {
	d, _, err := NewDirectory(map[cards.Stakeholder]string{cards.SRE: nowURL, cards.RuntimeEng: nowURL, cards.PMO: midURL}, false)
	require.NoError(t, err)
	for channel, want := range map[string]string{"PMO": "RUNTIME_ENG", "RUNTIME_ENG": "PMO", "SRE": "PMO", "COMPLIANCE": "RUNTIME_ENG"} {
		c, ok := d.Fallback(channel, cards.SRE)
		require.True(t, ok)
		require.Equal(t, want, c.Name, "in place of %s: another webhook, under its channel's name", channel)
		require.NotEmpty(t, c.Redacted)
	}
	_, err = d.Replace(map[cards.Stakeholder]string{cards.SRE: nowURL})
	require.NoError(t, err)
	_, ok := d.Fallback("SRE", cards.SRE)
	require.False(t, ok)
	c, ok := d.Fallback("PMO", cards.DevOps)
	require.True(t, ok, "the preferred one has no webhook")
	require.Equal(t, "SRE", c.Name)
}

func TestDirectoryWithBots(t *testing.T) {
	bots, err := ParseBotChannels("sre=19:ops@thread.tacv2, CLOUDOPS=19:ops@thread.tacv2\npmo=19:pmo_1-x@thread.skype")
	require.NoError(t, err)
	d, _, err := NewDirectory(nil, false)
	require.NoError(t, err)
	d.SetBots(bots)
	warnings, err := d.Replace(map[cards.Stakeholder]string{cards.SRE: nowURL, cards.RuntimeEng: nowURL})
	require.NoError(t, err)
	for _, w := range warnings {
		require.NotContains(t, []cards.Stakeholder{cards.SRE, cards.CloudOps, cards.PMO, cards.RuntimeEng}, w.Stakeholder, "the bot is a way")
	}
	var names []string
	for _, c := range d.Channels([]cards.Stakeholder{cards.SRE, cards.RuntimeEng, cards.CloudOps, cards.PMO}) {
		names = append(names, c.Name)
	}
	require.Equal(t, []string{"CLOUDOPS", "RUNTIME_ENG", "PMO"}, names, "those that share a conversation share a channel, those with another way do not")
	conversation, ok := d.Bot("CLOUDOPS")
	require.True(t, ok)
	require.Equal(t, "19:ops@thread.tacv2", conversation)
	_, ok = d.Bot("RUNTIME_ENG")
	require.False(t, ok)
	to, ok := d.Fallback("CLOUDOPS", cards.SRE)
	require.True(t, ok)
	require.Equal(t, "RUNTIME_ENG", to.Name, "SRE is the same conversation")
	for _, bad := range []string{"sre", "sre=", "sre=x", "king=19:x@thread.tacv2", "sre=19:x@thread.tacv2 sre=19:y@thread.tacv2", "sre=19:a/b@thread.tacv2", "sre=https://x"} {
		_, err := ParseBotChannels(bad)
		require.Error(t, err, bad)
	}
}

func TestConversationURL(t *testing.T) {
	for service, want := range map[string]string{
		"https://smba.trafficmanager.net/emea/": "https://smba.trafficmanager.net/emea/v3/conversations/19:x@thread.tacv2/activities",
		"https://smba.trafficmanager.net/emea":  "https://smba.trafficmanager.net/emea/v3/conversations/19:x@thread.tacv2/activities",
	} {
		w, err := ConversationURL(service, "19:x@thread.tacv2")
		require.NoError(t, err)
		require.Equal(t, want, w.Reveal())
		require.NotContains(t, w.String(), "19:x")
	}
	w, err := ConversationURL("https://smba.trafficmanager.net/", "../a?b#c")
	require.NoError(t, err)
	require.Equal(t, "https://smba.trafficmanager.net/v3/conversations/..%2Fa%3Fb%23c/activities", w.Reveal())
	for _, bad := range []string{"", "x", "://"} {
		_, err := ConversationURL(bad, "c")
		require.ErrorIs(t, err, ErrServiceURL)
	}
}
