package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/config"
)

func TestDefaults(t *testing.T) {
	c, err := config.LoadFrom(nil)
	require.NoError(t, err)
	require.Equal(t, 65*time.Second, c.ExchangeTimeout.D())
	require.Equal(t, 60, c.RateRequests)
	require.Equal(t, time.Minute, c.RatePeriod.D())
	require.Equal(t, 10, c.RateBurst)
	require.Equal(t, 3, c.MaxRetries)
	require.Equal(t, 30*time.Second, c.PostTimeout.D())
	require.Equal(t, 24*time.Hour, c.EventTTL.D())
	require.Equal(t, 90, c.RetentionDays)
	require.True(t, c.Enabled)
	require.Equal(t, ":9090", c.HTTPAddr)
	require.Empty(t, c.Webhooks())
	require.Empty(t, c.Licenses())
}

func TestFormerNamesStayValid(t *testing.T) {
	c, err := config.LoadFrom(map[string]string{
		"FLOWER_URL": "https://flower.example", "CELERY_RUNBOOK_URL": "https://runbook.example", "TEAMS_WEBHOOK_SRE": "https://x.example/?sig=1",
		"NPHIES_PROVIDER_LICENSE": "A, B", "TEAMS_CONNECTION_TIMEOUT": "2.5", "NPHIES_POLL_INTERVAL": "250ms", "TEAMS_RATE_LIMIT_BURST": "",
	})
	require.NoError(t, err)
	require.Equal(t, "https://flower.example", c.MonitorURL)
	require.Equal(t, "https://runbook.example", c.QueueRunbook)
	require.Equal(t, []string{"A", "B"}, c.Licenses())
	require.Equal(t, 2500*time.Millisecond, c.PostTimeout.D())
	require.Equal(t, 250*time.Millisecond, c.PollInterval.D())
	require.Equal(t, 10, c.RateBurst, "set to empty is not set")
	require.Equal(t, "https://x.example/?sig=1", c.Webhooks()["SRE"].Reveal())
}

func TestWebhookHosts(t *testing.T) {
	c, err := config.LoadFrom(map[string]string{"TEAMS_WEBHOOK_ALLOWED_HOSTS": ".Logic.azure.example, flow.example"})
	require.NoError(t, err)
	require.Equal(t, []string{".logic.azure.example", "flow.example"}, c.WebhookHosts())
	for _, bad := range []string{"*", ".com", "https://x.example", "x.example/", "a_b.example"} {
		_, err := config.LoadFrom(map[string]string{"TEAMS_WEBHOOK_ALLOWED_HOSTS": bad})
		require.ErrorContains(t, err, "TEAMS_WEBHOOK_ALLOWED_HOSTS", bad)
	}
}

func TestWrongSettingIsNamedWithWhatIsAllowed(t *testing.T) {
	for name, tt := range map[string]struct{ value, want string }{
		"NPHIES_POLL_COUNT":       {"101", "NPHIES_POLL_COUNT: 101 is not allowed; want 1 to 100"},
		"TEAMS_MAX_RETRIES":       {"4", "TEAMS_MAX_RETRIES: 4 is not allowed; want 0 to 3"},
		"TEAMS_RATE_LIMIT_PERIOD": {"soon", "TEAMS_RATE_LIMIT_PERIOD: not allowed; want seconds (65) or a duration (1m5s)"},
		"TEAMS_WEBHOOK_ENABLED":   {"yep", "TEAMS_WEBHOOK_ENABLED: not allowed; want true or false"},
		"TEAMS_TOTAL_CONNECTIONS": {"many", "TEAMS_TOTAL_CONNECTIONS: not allowed; want a whole number"},
		"LOG_LEVEL":               {"loud", `LOG_LEVEL: "loud" is not allowed; want debug, info, warn, error`},
		"NPHIES_BASE_URL":         {"hsb.nphies.sa", "NPHIES_BASE_URL: not an address; want http:// or https://"},
		"HTTP_ADDR":               {"9090", `HTTP_ADDR: "9090" is not an address; want host:port or :port`},
		"TEAMS_TLS_MIN_VERSION":   {"1.1", `TEAMS_TLS_MIN_VERSION: "1.1" is not allowed; want 1.2, 1.3`},
		"TEAMS_FALLBACK_CHANNEL":  {"sre", `TEAMS_FALLBACK_CHANNEL: "sre" is not allowed; want SECURITY_ENG, CLOUDOPS, RUNTIME_ENG, DEVOPS, SRE, COMPLIANCE, NPHIES_INTEGRATION, PMO`},
		"TEAMS_BREAK_AFTER":       {"0", "TEAMS_BREAK_AFTER: 0 is not allowed; want 1 to 1000"},
		"TEAMS_WEBHOOK_RELOAD":    {"0", "TEAMS_WEBHOOK_RELOAD: must be more than 0"},
		"TEAMS_AUDIT_TABLE":       {"other", `TEAMS_AUDIT_TABLE: "other" is not allowed; want teams_notifications`},
		"NPHIES_CLIENT_CERT_FILE": {"x.pem", "NPHIES_CLIENT_CERT_FILE: set it together with NPHIES_CLIENT_KEY_FILE"},
		"REDIS_KEY_FILE":          {"x.key", "REDIS_CERT_FILE: set it together with REDIS_KEY_FILE"},
		"TEAMS_RETRY_FACTOR":      {"0.5", "TEAMS_RETRY_FACTOR: 0.5 is not allowed; want 1 to 10"},
		"NPHIES_TIMEOUT":          {"abc", "NPHIES_TIMEOUT: not allowed; want seconds (65) or a duration (1m5s)"},
		"CARDS_LANGUAGE":          {"fr", `CARDS_LANGUAGE: "fr" is not allowed; want en, ar`},
		"GODEBUG":                 {"gctrace=1,http2debug=2", "GODEBUG: http2debug prints the secrets of webhook addresses; take it out"},
		"NPHIES_POLL_INTERVAL":    {"0", "NPHIES_POLL_INTERVAL: must be more than 0"},
		"ESCALATION_CHAIN":        {"SRE,OPS", `ESCALATION_CHAIN: "OPS" is not allowed; want some of SECURITY_ENG, CLOUDOPS, RUNTIME_ENG, DEVOPS, SRE, COMPLIANCE, NPHIES_INTEGRATION, PMO`},
		"ESCALATE_HIGH_AFTER":     {"-1", "ESCALATE_HIGH_AFTER: not allowed; want seconds (65) or a duration (1m5s)"},
		"PAGERDUTY_URL":           {"http://events.pagerduty.com", "PAGERDUTY_URL: not allowed; want https://host (http for loopback hosts only), without user and query"},
		"PAGERDUTY_TIMEOUT":       {"60", "PAGERDUTY_TIMEOUT: 1m0s is not allowed; want more than 0, up to 45 s"},
		"PAGERDUTY_ROUTING_KEYS":  {"sre=hunter2", "PAGERDUTY_ROUTING_KEYS: the key of sre is not one; want the 32 letters and digits of an Events API v2 integration"},
	} {
		_, err := config.LoadFrom(map[string]string{name: tt.value})
		require.EqualError(t, err, tt.want)
	}
	_, err := config.LoadFrom(map[string]string{"NPHIES_POLL_COUNT": "0", "LOG_FORMAT": "xml"})
	require.ErrorContains(t, err, "NPHIES_POLL_COUNT")
	require.ErrorContains(t, err, "LOG_FORMAT", "all wrong settings are named at once")
	c, err := config.LoadFrom(nil)
	require.NoError(t, err)
	require.ErrorContains(t, c.Require("DATABASE_URL", "REDIS_URL"), "DATABASE_URL: is needed and not set")
	require.NotContains(t, c.Require("DATABASE_URL", "REDIS_URL").Error(), "REDIS_URL:")
}

func TestSignInSettings(t *testing.T) {
	whole := map[string]string{
		"OIDC_ISSUER": "https://login.microsoftonline.com/6babcaad-604b-40ac-a9d7-9fd97c0b779f/v2.0", "OIDC_CLIENT_ID": "c", "OIDC_CLIENT_SECRET": "s",
		"OIDC_ROLES": "operator=nphiesq.operator", "OIDC_TENANTS": "a, b c", "MONITOR_URL": "https://monitor.example/", "ACTION_BASE_URL": "https://actions.example",
	}
	for name, c := range map[string]struct {
		name, value, want string
	}{
		"whole":             {"", "", ""},
		"loopback":          {"ACTION_BASE_URL", "http://127.0.0.1:8081", ""},
		"localhost":         {"MONITOR_URL", "http://localhost:8080", ""},
		"off, roles left":   {"OIDC_ISSUER", "", "OIDC_ROLES: set it together with OIDC_ISSUER"},
		"no id":             {"OIDC_CLIENT_ID", "", "OIDC_CLIENT_ID: is needed with OIDC_ISSUER"},
		"no secret":         {"OIDC_CLIENT_SECRET", "", "OIDC_CLIENT_SECRET: is needed with OIDC_ISSUER"},
		"no roles":          {"OIDC_ROLES", "", "OIDC_ROLES: is needed with OIDC_ISSUER"},
		"no monitor":        {"MONITOR_URL", "", "MONITOR_URL: is needed with OIDC_ISSUER"},
		"plain monitor":     {"MONITOR_URL", "http://monitor.example", "MONITOR_URL: not a public address; want https://host"},
		"monitor with path": {"MONITOR_URL", "https://ops.example/monitor", "MONITOR_URL: not a public address"},
		"plain actions":     {"ACTION_BASE_URL", "http://actions.example", "ACTION_BASE_URL: not a public address; want https://host without a path (http:// for loopback hosts only)"},
		"like loopback":     {"ACTION_BASE_URL", "http://127.0.0.1.evil.example", "ACTION_BASE_URL: not a public address"},
		"with a name":       {"ACTION_BASE_URL", "https://a@actions.example", "ACTION_BASE_URL: not a public address"},
		"with a query":      {"ACTION_BASE_URL", "https://actions.example?x=1", "ACTION_BASE_URL: not a public address"},
		"no scheme":         {"ACTION_BASE_URL", "actions.example", "ACTION_BASE_URL: not a public address"},
		"plain issuer":      {"OIDC_ISSUER", "http://idp.example", "OIDC_ISSUER: not an address; want https:// (http:// for loopback hosts only)"},
		"any directory":     {"OIDC_ISSUER", "https://login.microsoftonline.com/common/v2.0", "OIDC_ISSUER: names no directory; want https://login.microsoftonline.com/<directory id>/v2.0"},
		"no openid":         {"OIDC_SCOPES", "profile", "OIDC_SCOPES: openid must be among them"},
	} {
		environ := maps.Clone(whole)
		environ[c.name] = c.value
		got, err := config.LoadFrom(environ)
		if c.want == "" {
			require.NoError(t, err, name)
			require.Equal(t, []string{"a", "b", "c"}, got.Tenants())
			continue
		}
		require.ErrorContains(t, err, c.want, name)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	environ := map[string]string{}
	for _, s := range config.Settings() {
		if s.Secret {
			environ[s.Name] = "hunter2-and-long-enough-for-any"
		}
		if s.Name == "PAGERDUTY_ROUTING_KEYS" { // its form is checked
			environ[s.Name] = "default=hunter2andlongenoughfora32letter"
		}
	}
	environ["TEAMS_OUTGOING_TOKEN"] = "hunter2hunter2hunter2hunter2hunter2A" // base64
	environ["TEAMS_BOT_APP_ID"], environ["TEAMS_BOT_TENANT"], environ["BOT_OPERATORS"] = "app", "tenant", "*"
	require.Greater(t, len(environ), 10)
	c, err := config.LoadFrom(environ)
	require.NoError(t, err)
	js, err := json.Marshal(c)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).InfoContext(t.Context(), "x", slog.Any("config", c), slog.Any("url", c.DatabaseURL))
	for _, s := range []string{string(js), log.String(), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c.DatabaseURL, c.DatabaseURL)} {
		require.NotContains(t, s, "hunter2")
		require.Contains(t, s, "secret")
	}
	_, err = config.LoadFrom(map[string]string{"DATABASE_URL": "hunter2", "NPHIES_POLL_COUNT": "x"})
	require.NotContains(t, err.Error(), "hunter2")
}

func TestEscalation(t *testing.T) {
	c, err := config.LoadFrom(nil)
	require.NoError(t, err)
	require.Equal(t, []string{"SRE", "CLOUDOPS", "SECURITY_ENG", "PMO"}, c.Chain())
	require.Equal(t, 5*time.Minute, c.EscalateCritical.D())
	require.Equal(t, 30*time.Minute, c.EscalateHigh.D())
	keys, err := c.PagerKeys()
	require.NoError(t, err)
	require.Empty(t, keys)

	const key, other = "0123456789abcdefghijABCDEFGHIJ01", "1123456789abcdefghijABCDEFGHIJ01"
	c, err = config.LoadFrom(map[string]string{"PAGERDUTY_ROUTING_KEYS": "sre=" + key + ",\n default=" + other, "ESCALATION_CHAIN": "cloudops sre", "ESCALATE_HIGH_AFTER": "0"})
	require.NoError(t, err)
	require.Equal(t, []string{"CLOUDOPS", "SRE"}, c.Chain())
	require.Zero(t, c.EscalateHigh)
	keys, err = c.PagerKeys()
	require.NoError(t, err)
	require.Equal(t, map[string]config.Secret{"sre": key, "default": other}, keys)
	for _, bad := range []string{key, "sre=" + key + " sre=" + other, "SRE=" + key, "ops=" + key, "sre=" + key + "0", "=" + key, "sre=" + key[:31] + "-"} {
		_, err := config.LoadFrom(map[string]string{"PAGERDUTY_ROUTING_KEYS": bad})
		require.ErrorContains(t, err, "PAGERDUTY_ROUTING_KEYS", bad)
		require.NotContains(t, err.Error(), key[:31])
	}
	for _, bad := range []string{"SRE SRE", " , "} {
		_, err := config.LoadFrom(map[string]string{"ESCALATION_CHAIN": bad})
		require.ErrorContains(t, err, "ESCALATION_CHAIN", bad)
	}
}

func TestEachSettingIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range config.Settings() {
		require.NotEmpty(t, s.Name, s.Field)
		require.NotEmpty(t, s.Doc, s.Name)
		require.False(t, s.Secret && s.Default != "" && s.Name != "REDIS_URL", "%s: a secret has no default", s.Name)
		require.False(t, seen[s.Name], "%s twice", s.Name)
		seen[s.Name] = true
	}
}

func TestGeneratedFilesAreCurrent(t *testing.T) {
	for path, want := range map[string]string{"../../.env.example": config.EnvExample(), "../../docs/settings.md": config.Markdown()} {
		have, err := os.ReadFile(path)
		require.NoError(t, err, "run make generate")
		require.Equal(t, want, string(have), "%s: run make generate", path)
	}
}

func TestHalfSetWaysFromTeams(t *testing.T) {
	whole := map[string]string{
		"TEAMS_BOT_APP_ID": "a", "TEAMS_BOT_APP_SECRET": "s", "TEAMS_BOT_TENANT": "t", "BOT_OPERATORS": "*", "ACTION_LINK_KEYS": "k1:x", "TEAMS_OUTGOING_TOKEN": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		"FLOW_AUDIENCE": "api://x", "FLOW_APPS": "y",
	}
	c, err := config.LoadFrom(whole)
	require.NoError(t, err)
	require.Equal(t, []string{"t"}, c.ActingTenants())
	for _, missing := range []struct{ name, want string }{
		{"TEAMS_BOT_APP_ID", "TEAMS_BOT_APP_ID: is needed with TEAMS_BOT_APP_SECRET"},
		{"TEAMS_BOT_APP_SECRET", "TEAMS_BOT_APP_SECRET: is needed with TEAMS_BOT_APP_ID"},
		{"TEAMS_BOT_TENANT", "TEAMS_TENANTS: is needed with TEAMS_OUTGOING_TOKEN"},
		{"BOT_OPERATORS", "BOT_OPERATORS: is needed with TEAMS_BOT_APP_ID"},
		{"ACTION_LINK_KEYS", "ACTION_LINK_KEYS: is needed with FLOW_AUDIENCE"},
		{"FLOW_APPS", "FLOW_APPS: is needed with FLOW_AUDIENCE"},
		{"FLOW_AUDIENCE", "FLOW_AUDIENCE: is needed with FLOW_APPS"},
	} {
		environ := maps.Clone(whole)
		delete(environ, missing.name)
		_, err := config.LoadFrom(environ)
		require.ErrorContains(t, err, missing.want)
	}
	_, err = config.LoadFrom(map[string]string{"TEAMS_BOT_CHANNELS": "sre=19:x@thread.tacv2"})
	require.ErrorContains(t, err, "TEAMS_BOT_APP_ID: is needed with TEAMS_BOT_CHANNELS")
	for name, value := range map[string]string{"TEAMS_OUTGOING_TOKEN": "short", "TEAMS_BOT_METADATA_URL": "http://login.botframework.com/", "TEAMS_BOT_TOKEN_URL": "x", "FLOW_METADATA_URL": "http://127.0.0.1/"} {
		environ := maps.Clone(whole)
		environ[name] = value
		_, err := config.LoadFrom(environ)
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "short")
	}
}

func TestCredentialsDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{"DATABASE_URL": "postgres://db/nphiesq\n", "REDIS_URL": "redis://file/0", "LOG_LEVEL": "", "OTHER": "x"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600))
	}
	c, err := config.LoadFrom(map[string]string{"CREDENTIALS_DIRECTORY": dir, "REDIS_URL": "redis://environment/0"})
	require.NoError(t, err)
	require.Equal(t, "postgres://db/nphiesq", c.DatabaseURL.Reveal())
	require.Equal(t, "redis://environment/0", c.RedisURL.Reveal(), "the environment goes first")
	require.Equal(t, "info", c.LogLevel, "an empty file is not set")

	require.NoError(t, os.Mkdir(filepath.Join(dir, "TEAMS_HMAC_SECRET_KEY"), 0o700))
	_, err = config.LoadFrom(map[string]string{"CREDENTIALS_DIRECTORY": dir})
	require.ErrorContains(t, err, "TEAMS_HMAC_SECRET_KEY: cannot be read as a file")
}
