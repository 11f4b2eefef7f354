// Package config reads the settings from the environment, once, at start. It is the only package that does. .env.example and
// docs/settings.md are generated from the structs here (make generate).
package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/caarlos0/env/v11"
)

// Secret is a value that never prints: fmt, JSON, text and slog show <secret>.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "<secret>"
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the value from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

// Seconds is a duration written as a number of seconds ("65") or with a unit ("1m5s", "250ms").
type Seconds time.Duration

// UnmarshalText reads "65" or "1m5s".
func (s *Seconds) UnmarshalText(text []byte) error {
	t := string(text)
	if t != "" && strings.Trim(t, "0123456789.") == "" {
		t += "s"
	}
	d, err := time.ParseDuration(t)
	if err != nil || d < 0 {
		return fmt.Errorf("want seconds (65) or a duration (1m5s), not %q", string(text))
	}
	*s = Seconds(d)
	return nil
}

// D is the duration.
func (s Seconds) D() time.Duration { return time.Duration(s) }

// String writes it as a duration.
func (s Seconds) String() string { return time.Duration(s).String() }

// Config holds every setting. Each field's tags give name (env), default (envDefault) and meaning (doc); alias names a former
// name that stays valid.
type Config struct {
	Servers
	NPHIES
	Vault
	Teams
	Escalation
	Bot
	Links
	Process
	SignIn
}

// Servers are the record and the schedule.
type Servers struct {
	DatabaseURL      Secret `env:"DATABASE_URL" doc:"PostgreSQL, the record: postgres://user:password@host:5432/db. Several hosts, of which the one that takes writes is used: postgres://user:password@h1:5432,h2:5432/db?target_session_attrs=read-write. sslmode, sslrootcert, connect_timeout (5 s unless given), statement_timeout (30 s), lock_timeout (10 s) and idle_in_transaction_session_timeout (60 s) may follow. See docs/high-availability.md."`
	RedisURL         Secret `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0" doc:"Redis 6.2 or later with maxmemory-policy noeviction, the schedule: redis://user:password@host:6379/0, unix:///path, redis+sentinel://user:password@h1,h2/master/0 (the hosts are the sentinels), redis+cluster://user:password@h1,h2; with TLS rediss://, rediss+sentinel://, rediss+cluster://. Special characters in user and password are percent-encoded."`
	RedisCAFile      string `env:"REDIS_CA_FILE" doc:"PEM with the authorities that the certificates of Redis and its sentinels may be signed by; the system's when empty."`
	RedisCertFile    string `env:"REDIS_CERT_FILE" doc:"Client certificate for Redis as PEM, if it wants one. Read again for each connection."`
	RedisKeyFile     string `env:"REDIS_KEY_FILE" doc:"Its key as PEM."`
	SentinelUsername string `env:"REDIS_SENTINEL_USERNAME" doc:"User at the sentinels, which know none of Redis' own users. Empty: their requirepass, or no login."`
	SentinelPassword Secret `env:"REDIS_SENTINEL_PASSWORD" doc:"Password at the sentinels."`
}

// NPHIES is the exchange.
type NPHIES struct {
	BaseURL         string  `env:"NPHIES_BASE_URL" doc:"Address of NPHIES; /$process-message is appended."`
	License         string  `env:"NPHIES_PROVIDER_LICENSE" doc:"Our provider licence. Several, separated by commas, are polled each."`
	ExchangeTimeout Seconds `env:"NPHIES_TIMEOUT" envDefault:"65" doc:"Longest time for one exchange. NPHIES itself gives up after 60 s and answers so."`
	PollInterval    Seconds `env:"NPHIES_POLL_INTERVAL" envDefault:"300" doc:"Time between two looks into the mailbox of a licence. Waiting messages are fetched at once regardless."`
	PollCount       int     `env:"NPHIES_POLL_COUNT" envDefault:"50" doc:"Messages asked for in one poll, 1 to 100."`
	RecheckAfter    Seconds `env:"NPHIES_RECHECK_AFTER" envDefault:"24h" doc:"A claim pending for longer is overdue: its mailbox is polled, then the payer is asked (status-check), then it is sent again, byte for byte, which NPHIES answers with its latest response."`
	OverdueStep     Seconds `env:"NPHIES_OVERDUE_STEP" envDefault:"10m" doc:"Time between these three steps."`
	BreakAfter      int     `env:"NPHIES_BREAK_AFTER" envDefault:"5" doc:"Failures in a row, over all workers, after which NPHIES (for a licence) or a payer counts as away: sending pauses, one card tells it, polls try until they get through. 0: never."`
	PKCS12File      string  `env:"NPHIES_CLIENT_PKCS12_FILE" doc:"Client certificate with key as PKCS#12 (.p12, .pfx)."`
	PKCS12Pass      Secret  `env:"NPHIES_CLIENT_PKCS12_PASSWORD" doc:"Its passphrase."`
	CertFile        string  `env:"NPHIES_CLIENT_CERT_FILE" doc:"Client certificate as PEM, instead of PKCS#12."`
	KeyFile         string  `env:"NPHIES_CLIENT_KEY_FILE" doc:"Its key as PEM."`
	CertDir         string  `env:"NPHIES_CLIENT_CERT_DIR" doc:"Folder with one certificate per provider licence: <licence>.p12 with <licence>.pass, or <licence>.crt with <licence>.key (PEM). A licence without one uses the certificate above."`
	CertVaultPath   string  `env:"NPHIES_CLIENT_VAULT_PATH" doc:"The same in Vault (KV version 2): below this path one secret per provider licence, with pkcs12 (base64) and passphrase, or certificate and key (PEM); optionally ca. Example: secret/nphies/certificates."`
	CertReload      Seconds `env:"NPHIES_CLIENT_CERT_RELOAD" envDefault:"60" doc:"How often certificates are looked at for changes. Files are also looked at before each message."`
	MaxAnswerBytes  int64   `env:"NPHIES_MAX_ANSWER_BYTES" envDefault:"10485760" doc:"Largest answer that is read, in bytes, 1 MB to 1 GB. NPHIES' own limit is 10 MB."`
	CAFile          string  `env:"NPHIES_CA_FILE" doc:"PEM with the authorities that NPHIES' own certificate may be signed by; the system's when empty."`
	IdentifierURL   string  `env:"NPHIES_IDENTIFIER_BASE" envDefault:"http://nphiesq.example" doc:"Base of our own identifier systems (poll requests): <base>/task."`
	OfflineRetry    Seconds `env:"NPHIES_OFFLINE_RETRY" envDefault:"60" doc:"Least delay before the same claim is sent again after NPHIES answered that the payer is offline."`
	PollProfile     string  `env:"NPHIES_POLL_PROFILE" envDefault:"task" doc:"Profile of the Task in polls: task, or poll-request once NPHIES takes it."`
	ProfileVersion  string  `env:"NPHIES_PROFILE_VERSION" envDefault:"1.0.0" doc:"Version behind each profile address."`
	EncounterClass  bool    `env:"NPHIES_ENCOUNTER_PROFILE_PER_CLASS" envDefault:"false" doc:"Writes the newer profiles encounter-claim-AMB and so on instead of encounter."`
	PriorAuthExt    string  `env:"NPHIES_PRIORAUTH_EXTENSION" envDefault:"priorauth-response" doc:"Name of the extension that quotes an authorization answer: priorauth-response, or priorauthresponse as one onboarding integration has to write it."`
	Rules           string  `env:"NPHIES_RULES" doc:"Pre-flight rules to change, since NPHIES changes them: BV-00803=off, BV-01010=warning, BV-00501=error, separated by commas or blanks. docs/conformance.md lists them."`
	Concurrency     int     `env:"NPHIES_SUBMIT_CONCURRENCY" envDefault:"4" doc:"Submissions one worker runs at a time, 1 to 100."`
}

// Vault is where secrets may be kept, instead of files and the environment.
type Vault struct {
	VaultAddr      string `env:"VAULT_ADDR" doc:"Address of HashiCorp Vault. Empty: Vault is not used."`
	VaultNamespace string `env:"VAULT_NAMESPACE" doc:"Namespace, for Vault Enterprise."`
	VaultCACert    string `env:"VAULT_CACERT" doc:"PEM file with the authorities that Vault's own certificate may be signed by; the system's when empty."`
	VaultToken     Secret `env:"VAULT_TOKEN" doc:"Login by token."`
	VaultTokenFile string `env:"VAULT_TOKEN_FILE" doc:"Login by the token in a file, as Vault Agent keeps it."`
	VaultRoleID    string `env:"VAULT_ROLE_ID" doc:"Login by AppRole: the role id."`
	VaultSecretID  Secret `env:"VAULT_SECRET_ID" doc:"Its secret id."`
	VaultSecretIDF string `env:"VAULT_SECRET_ID_FILE" doc:"File with the secret id, instead."`
	VaultAppRole   string `env:"VAULT_APPROLE_MOUNT" envDefault:"approle" doc:"Where the AppRole method is mounted."`
	VaultK8sRole   string `env:"VAULT_K8S_ROLE" doc:"Login by Kubernetes: the role."`
	VaultK8sMount  string `env:"VAULT_K8S_MOUNT" envDefault:"kubernetes" doc:"Where the Kubernetes method is mounted."`
	VaultK8sToken  string `env:"VAULT_K8S_TOKEN_FILE" envDefault:"/var/run/secrets/kubernetes.io/serviceaccount/token" doc:"File with the service account's token."`
}

// Teams is notifying.
type Teams struct {
	Enabled       bool    `env:"TEAMS_WEBHOOK_ENABLED" envDefault:"true" doc:"false: events are not written and nothing is posted."`
	VaultPath     string  `env:"TEAMS_WEBHOOK_VAULT_PATH" envDefault:"secret/teams/webhooks" doc:"Where Vault (KV version 2) keeps the webhooks: a key per stakeholder in lower case (sre), sre_previous while one is being changed. Read with VAULT_ADDR; it goes before the settings below."`
	VaultReload   Seconds `env:"TEAMS_WEBHOOK_RELOAD" envDefault:"30" doc:"How often they are read again."`
	AllowedHosts  string  `env:"TEAMS_WEBHOOK_ALLOWED_HOSTS" doc:"More domains that webhooks may be at, besides .logic.azure.com and .environment.api.powerplatform.com, separated by commas: those of a sovereign cloud."`
	TLSMin        string  `env:"TEAMS_TLS_MIN_VERSION" envDefault:"1.2" doc:"Lowest version of TLS for posts: 1.2 or 1.3. The highest that both sides know is used."`
	Fallback      string  `env:"TEAMS_FALLBACK_CHANNEL" envDefault:"SRE" doc:"Stakeholder whose channel gets the CRITICAL notifications of a channel that is out of order, and hears of it. Is it that one itself, another one is taken."`
	TripAfter     int     `env:"TEAMS_BREAK_AFTER" envDefault:"5" doc:"Refusals in a row that a person must mend (401, 403, 404) after which nothing is posted to a channel for a time."`
	TripFor       Seconds `env:"TEAMS_BREAK_FOR" envDefault:"600" doc:"That time. Another address ends it at once."`
	OAuthChannels string  `env:"TEAMS_OAUTH_CHANNELS" doc:"Stakeholders whose trigger demands a login, separated by commas, or all. Also as oauth_channels in Vault."`
	OAuthTenant   string  `env:"TEAMS_OAUTH_TENANT" doc:"The login: directory id or domain. Also as oauth_tenant in Vault."`
	OAuthClientID string  `env:"TEAMS_OAUTH_CLIENT_ID" doc:"Its client id. Also as oauth_client_id in Vault."`
	OAuthSecret   Secret  `env:"TEAMS_OAUTH_CLIENT_SECRET" doc:"Its client secret. Also as oauth_client_secret in Vault."`
	OAuthScope    string  `env:"TEAMS_OAUTH_SCOPE" envDefault:"https://service.flow.microsoft.com//.default" doc:"What the token is for: the audience of the public cloud; the double slash is right."`
	OAuthTokenURL string  `env:"TEAMS_OAUTH_TOKEN_URL" envDefault:"https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token" doc:"Where tokens come from."`
	RateRequests  int     `env:"TEAMS_RATE_LIMIT_REQUESTS" envDefault:"60" doc:"Posts to one webhook in any span of the period, all workers together."`
	RatePeriod    Seconds `env:"TEAMS_RATE_LIMIT_PERIOD" envDefault:"60" doc:"That period."`
	RateBurst     int     `env:"TEAMS_RATE_LIMIT_BURST" envDefault:"10" doc:"Posts that may leave at once after a quiet time; those after them are evenly spread."`
	HMACKey       Secret  `env:"TEAMS_HMAC_SECRET_KEY" doc:"Key that signs each post (Standard Webhooks): whsec_ and base64 of 24 to 64 bytes, or any text of at least 16. Up to three, separated by blanks, while one is changed: each post is signed with all. whsec_…@2027-01-31T00:00:00Z counts until then."`
	MaxRetries    int     `env:"TEAMS_MAX_RETRIES" envDefault:"3" doc:"Failed posts before a notification is given up, 0 to 3. What an outage of the channel killed is tried again when the channel is back."`
	RetryBase     Seconds `env:"TEAMS_RETRY_BASE" envDefault:"15" doc:"Delay after the first failed post of a notification."`
	RetryFactor   float64 `env:"TEAMS_RETRY_FACTOR" envDefault:"2" doc:"Growth of that delay."`
	MaxRetryDelay Seconds `env:"TEAMS_MAX_RETRY_DELAY" envDefault:"60" doc:"Its upper limit."`
	PostTimeout   Seconds `env:"TEAMS_CONNECTION_TIMEOUT" envDefault:"30" doc:"Longest time for one post."`
	TotalConns    int     `env:"TEAMS_TOTAL_CONNECTIONS" envDefault:"100" doc:"Posts under way at a time, all hosts together."`
	ConnsPerHost  int     `env:"TEAMS_CONNECTIONS_PER_HOST" envDefault:"10" doc:"Connections to one host."`
	DigestAbove   int     `env:"TEAMS_DIGEST_ABOVE" envDefault:"20" doc:"More waiting INFO to MEDIUM notifications than this in one channel are sent as one digest card; HIGH ones of one event type likewise, by themselves and first; CRITICAL ones always alone. 0 switches digests off."`
	AllowInsecure bool    `env:"TEAMS_WEBHOOK_ALLOW_INSECURE" envDefault:"false" doc:"Allows http and loopback hosts. For tests and the demo only."`
	SecurityEng   Secret  `env:"TEAMS_WEBHOOK_SECURITY_ENG" doc:"Workflows webhook of the channel of SECURITY_ENG, when Vault has none. While it is being changed: the new address, a blank, the one before. Stakeholders may share a webhook."`
	CloudOps      Secret  `env:"TEAMS_WEBHOOK_CLOUDOPS" doc:"The same for CLOUDOPS."`
	RuntimeEng    Secret  `env:"TEAMS_WEBHOOK_RUNTIME_ENG" doc:"The same for RUNTIME_ENG."`
	DevOps        Secret  `env:"TEAMS_WEBHOOK_DEVOPS" doc:"The same for DEVOPS."`
	SRE           Secret  `env:"TEAMS_WEBHOOK_SRE" doc:"The same for SRE."`
	Compliance    Secret  `env:"TEAMS_WEBHOOK_COMPLIANCE" doc:"The same for COMPLIANCE."`
	Integration   Secret  `env:"TEAMS_WEBHOOK_NPHIES_INTEGRATION" doc:"The same for NPHIES_INTEGRATION."`
	PMO           Secret  `env:"TEAMS_WEBHOOK_PMO" doc:"The same for PMO."`
	ChannelPrefix string  `env:"TEAMS_REDIS_CHANNEL_PREFIX" envDefault:"teams:events:" doc:"Redis channel on which each event is published, with the type appended."`
	EventTTL      Seconds `env:"TEAMS_EVENT_TTL" envDefault:"86400" doc:"How long a published event is also kept as a key."`
	RetentionDays int     `env:"TEAMS_AUDIT_RETENTION_DAYS" envDefault:"90" doc:"Days that sent notifications are kept. What Teams did not take, and CRITICAL or HIGH ones that nobody acknowledged, stay."`
	Silence       Seconds `env:"TEAMS_HEARTBEAT_AFTER" envDefault:"168h" doc:"A channel in which nothing happened for so long shows a small card: flows that nobody uses are switched off, and this shows that it works. 0: never."`
	AuditTable    string  `env:"TEAMS_AUDIT_TABLE" envDefault:"teams_notifications" doc:"Kept for compatibility; only teams_notifications is allowed."`
}

// Escalation is what happens when nobody acknowledges, and how PagerDuty is reached.
type Escalation struct {
	EscalateCritical Seconds `env:"ESCALATE_CRITICAL_AFTER" envDefault:"5m" doc:"A CRITICAL alert that nobody has acknowledged for so long since Teams took its card is escalated by itself. 0: never."`
	EscalateHigh     Seconds `env:"ESCALATE_HIGH_AFTER" envDefault:"30m" doc:"The same for HIGH ones. Rejected claims are not escalated."`
	ChainList        string  `env:"ESCALATION_CHAIN" envDefault:"SRE,CLOUDOPS,SECURITY_ENG,PMO" doc:"Stakeholders in the order in which they hear of what is escalated: the first that has not heard of it is next. Separated by commas or blanks."`
	PagerURL         string  `env:"PAGERDUTY_URL" envDefault:"https://events.pagerduty.com" doc:"PagerDuty's Events API v2; /v2/enqueue is appended. Service region Europe: https://events.eu.pagerduty.com."`
	PagerKeyList     Secret  `env:"PAGERDUTY_ROUTING_KEYS" doc:"Integration keys of PagerDuty by stakeholder in lower case, separated by blanks or commas: sre=<32 characters> cloudops=<32 characters>, default=<32 characters> for all others. Empty: PagerDuty is not used. Only the names are kept in the record."`
	PagerTimeout     Seconds `env:"PAGERDUTY_TIMEOUT" envDefault:"15" doc:"Longest time for one event to PagerDuty."`
}

// Bot is acting on alerts from within Teams: our own bot, an outgoing webhook, a flow that waits. Each is off until it is set. See docs/teams-bot.md.
type Bot struct {
	BotAppID      string `env:"TEAMS_BOT_APP_ID" doc:"Application id of our Azure Bot. With it ACTIONS_ADDR takes the bot's messages at /api/messages. Needs TEAMS_BOT_APP_SECRET, TEAMS_BOT_TENANT, BOT_OPERATORS and ACTION_LINK_KEYS."`
	BotSecret     Secret `env:"TEAMS_BOT_APP_SECRET" doc:"Its client secret."`
	BotTenant     string `env:"TEAMS_BOT_TENANT" doc:"Directory id of its registration (single tenant)."`
	BotChannels   string `env:"TEAMS_BOT_CHANNELS" doc:"Stakeholders whose cards the bot posts instead of a webhook, each with its channel's id, separated by blanks or commas: sre=19:…@thread.tacv2. Their webhooks stay as what is used when the bot cannot post."`
	BotTeams      string `env:"TEAMS_BOT_TEAMS" doc:"Ids of the teams (19:…@thread.tacv2) whose activities the bot takes, separated by blanks or commas. Empty: all teams and chats of the directories."`
	TeamsTenants  string `env:"TEAMS_TENANTS" doc:"Directory ids whose people may act through the bot, the outgoing webhook or a flow, separated by blanks or commas. Empty: TEAMS_BOT_TENANT."`
	BotOperators  string `env:"BOT_OPERATORS" doc:"Who may act from within Teams: Entra object ids, separated by blanks or commas, each an operator unless a role follows (<object id>=supervisor); * stands for everyone in the allowed directories and teams."`
	BotMetadata   string `env:"TEAMS_BOT_METADATA_URL" envDefault:"https://login.botframework.com/v1/.well-known/openidconfiguration" doc:"Metadata of the keys that the Bot Framework signs with; other clouds have another one."`
	BotIssuer     string `env:"TEAMS_BOT_ISSUER" envDefault:"https://api.botframework.com" doc:"Issuer of its tokens."`
	BotHosts      string `env:"TEAMS_BOT_SERVICE_HOSTS" envDefault:"smba.trafficmanager.net" doc:"Domains at which Teams may be reached by the bot, separated by blanks or commas. Tokens are sent nowhere else."`
	BotTokenURL   string `env:"TEAMS_BOT_TOKEN_URL" envDefault:"https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token" doc:"Where the bot gets its tokens."`
	BotScope      string `env:"TEAMS_BOT_SCOPE" envDefault:"https://api.botframework.com/.default" doc:"What they are for."`
	OutgoingToken Secret `env:"TEAMS_OUTGOING_TOKEN" doc:"Security token of an outgoing webhook of Teams, as Teams showed it (base64). With it ACTIONS_ADDR takes typed commands at /api/outgoing. Needs TEAMS_TENANTS and BOT_OPERATORS."`
	FlowAudience  string `env:"FLOW_AUDIENCE" doc:"What our API is called in Entra (api://…, or its application id; several separated by blanks or commas). With it ACTIONS_ADDR takes the answers of flows at /api/v1/flow-actions. Needs FLOW_APPS, TEAMS_TENANTS, BOT_OPERATORS and ACTION_LINK_KEYS."`
	FlowApps      string `env:"FLOW_APPS" doc:"Application ids that flows may call with, separated by blanks or commas."`
	FlowMetadata  string `env:"FLOW_METADATA_URL" envDefault:"https://login.microsoftonline.com/<tenant>/v2.0/.well-known/openid-configuration" doc:"Metadata of the keys that Entra signs with."`
	FlowIssuers   string `env:"FLOW_ISSUERS" envDefault:"https://login.microsoftonline.com/<tenant>/v2.0 https://sts.windows.net/<tenant>/" doc:"Issuers of its tokens: version 2, version 1."`
}

// Links are what cards say and the addresses that their buttons open; an empty one leaves its button out.
type Links struct {
	CardsLanguage string `env:"CARDS_LANGUAGE" envDefault:"en" doc:"Language of the cards: en, or ar (right to left). What others wrote stays as it is."`
	MonitorURL    string `env:"MONITOR_URL" alias:"FLOWER_URL" doc:"Public address of the monitor."`
	PrometheusURL string `env:"PROMETHEUS_URL" doc:"Prometheus with our metrics, as the monitor reaches it: its queue pages then have charts. Empty: they have none."`
	GrafanaURL    string `env:"GRAFANA_URL" doc:"Grafana."`
	KibanaURL     string `env:"KIBANA_URL" doc:"Kibana."`
	PortalURL     string `env:"NPHIES_PORTAL_URL" doc:"NPHIES portal."`
	StatusURL     string `env:"NPHIES_STATUS_URL" doc:"NPHIES status page."`
	DocsURL       string `env:"NPHIES_DOCS_URL" doc:"NPHIES documentation."`
	ClaimLincURL  string `env:"CLAIMLINC_URL" doc:"ClaimLinc."`
	VaultRunbook  string `env:"VAULT_RUNBOOK_URL" doc:"Runbook for Vault."`
	QueueRunbook  string `env:"QUEUE_RUNBOOK_URL" alias:"CELERY_RUNBOOK_URL" doc:"Runbook for the queues. Does it end in /, it is a folder with a page for each kind of dead letter (network.md), as docs/runbooks/dead-letters is, and the monitor leads there."`
	NPHIESRunbook string `env:"NPHIES_RUNBOOK_URL" doc:"Runbook for NPHIES."`
}

// Process is about the programs themselves.
type Process struct {
	HTTPAddr        string  `env:"HTTP_ADDR" envDefault:":9090" doc:"Worker: /metrics, /livez, /readyz."`
	MonitorAddr     string  `env:"MONITOR_ADDR" envDefault:":8080" doc:"Monitor: pages for people."`
	MonitorHTTPAddr string  `env:"MONITOR_HTTP_ADDR" envDefault:":9092" doc:"Monitor: /metrics and /livez for machines."`
	ActionsAddr     string  `env:"ACTIONS_ADDR" envDefault:":8081" doc:"Monitor: public routes for action links."`
	TrustedProxies  string  `env:"TRUSTED_PROXIES" doc:"Monitor: networks or addresses of proxies before it, separated by blanks; of what they send X-Forwarded-For is believed. Failures are counted by the address found so."`
	ActionBaseURL   string  `env:"ACTION_BASE_URL" doc:"Public address of ACTIONS_ADDR, without a path: https://host (http:// for loopback hosts only). Empty: people cannot sign in there."`
	LinkKeys        Secret  `env:"ACTION_LINK_KEYS" doc:"Keys of the links on cards: id:base64 of 32 bytes (openssl rand -base64 32), the new one before the old one, separated by a blank. With ACTION_BASE_URL cards get buttons; empty: none."`
	APIKeys         Secret  `env:"ACTION_API_KEYS" doc:"Keys of those who may post to /api/v1/actions on ACTIONS_ADDR: whsec_ and base64, one to three. Empty: nobody may."`
	VerbRoles       string  `env:"ACTION_VERB_ROLES" doc:"Roles that verbs need, such as discard=supervisor; verbs acknowledge, escalate, retry, discard, poll, resolve. Not named: operator."`
	Environment     string  `env:"ENVIRONMENT" envDefault:"production" doc:"Name of this installation, shown on cards."`
	WatchInterval   Seconds `env:"WATCH_INTERVAL" envDefault:"15" doc:"How often the workers look after Vault, Redis, PostgreSQL, queues and each other."`
	DeadThreshold   int     `env:"DLQ_THRESHOLD" envDefault:"50" doc:"More open dead letters than this are told (dlq.threshold). 0: never."`
	BacklogSize     int     `env:"QUEUE_BACKLOG_SIZE" envDefault:"1000" doc:"More pending tasks of a queue than this are told (queue.backlog). 0: never."`
	BacklogAge      Seconds `env:"QUEUE_BACKLOG_AGE" envDefault:"15m" doc:"Work that waits for longer is told (queue.backlog). 0: never."`
	ReplicaLag      Seconds `env:"REPLICA_LAG_ALLOWED" envDefault:"30" doc:"How far a replica of Redis or PostgreSQL may be behind."`
	AlertToken      Secret  `env:"ALERTMANAGER_TOKEN" doc:"Token (24 characters or more) with which Alertmanager may post to /api/v1/alertmanager on ACTIONS_ADDR. Empty: it may not."`
	StartWait       Seconds `env:"START_WAIT" envDefault:"5m" doc:"How long worker and monitor wait at their start for PostgreSQL, its schema, Redis and Vault before they give up. 0: not at all."`
	LogLevel        string  `env:"LOG_LEVEL" envDefault:"info" doc:"debug, info, warn or error."`
	PayerGroups     string  `env:"METRICS_PAYER_GROUPS" doc:"Groups of payers in metrics: pairs <payer licence>=<group>, separated by blanks or commas, such as 10000000000001=tpa_a. A group is a word of small letters, digits and _; at most 30. Payers in none count as other."`
	TraceEndpoint   string  `env:"OTEL_EXPORTER_OTLP_ENDPOINT" doc:"Base address of an OpenTelemetry receiver (OTLP over HTTP), such as http://collector:4318; /v1/traces is appended. Empty: no traces. See docs/tracing.md."`
	TraceHeaders    Secret  `env:"OTEL_EXPORTER_OTLP_HEADERS" doc:"Headers for it: name=value pairs, separated by commas, values percent-encoded."`
	TraceRatio      float64 `env:"OTEL_TRACES_SAMPLER_ARG" envDefault:"1" doc:"Share of the traces that begin here which is kept, 0 to 1. What is linked to a kept one is kept, too."`
	LogFormat       string  `env:"LOG_FORMAT" envDefault:"json" doc:"json or text."`
	Reconcile       Seconds `env:"RECONCILE_INTERVAL" envDefault:"10" doc:"How often the record and the queues are compared."`
}

// SignIn is who may use the monitor. See docs/sign-in.md.
type SignIn struct {
	MonitorUsers     Secret `env:"MONITOR_USERS" doc:"Who may sign in with a password: name:role:hash, separated by blanks or new lines; role viewer, operator, supervisor or privacy, or several joined by +; the hash bcrypt (monitor hash, htpasswd -nbB) or argon2id."`
	MonitorUsersFile string `env:"MONITOR_USERS_FILE" doc:"File with more such entries, one a line; # begins a comment. Read again when it changes."`
	MonitorInsecure  bool   `env:"MONITOR_INSECURE_COOKIES" envDefault:"false" doc:"Lets the session cookie travel over http. For loopback and the demo only."`
	OIDCIssuer       string `env:"OIDC_ISSUER" doc:"Provider of single sign-on (OpenID Connect), exactly as its tokens name it; Microsoft Entra: https://login.microsoftonline.com/<directory id>/v2.0. It leads back to MONITOR_URL and ACTION_BASE_URL, each with /signin/callback. Empty: none."`
	OIDCName         string `env:"OIDC_NAME" doc:"What the sign-in page calls it; its host when empty."`
	OIDCClientID     string `env:"OIDC_CLIENT_ID" doc:"Our client id there."`
	OIDCClientSecret Secret `env:"OIDC_CLIENT_SECRET" doc:"Our client secret there."`
	OIDCScopes       string `env:"OIDC_SCOPES" envDefault:"openid profile email" doc:"Scopes to ask for, separated by blanks; openid is needed."`
	OIDCTenants      string `env:"OIDC_TENANTS" doc:"Directory ids (tid) whose people may sign in, separated by commas or blanks. Empty: the one that is part of OIDC_ISSUER; a provider whose tokens have no tid needs none."`
	OIDCRoleClaim    string `env:"OIDC_ROLE_CLAIM" envDefault:"roles" doc:"Claim of the ID token with app roles (roles) or groups (groups)."`
	OIDCRoles        string `env:"OIDC_ROLES" doc:"What its values mean: pairs role=value, separated by blanks or commas, such as operator=nphiesq.operator viewer=nphiesq.viewer; several values for a role are several pairs. Who has none of them may not sign in."`
}

// SettingError is one wrong setting.
type SettingError struct {
	Name    string
	Problem string
}

func (e *SettingError) Error() string { return e.Name + ": " + e.Problem }

// Load reads all settings from the environment and checks their form. The error joins one *SettingError for each wrong one.
func Load() (*Config, error) { return LoadFrom(env.ToMap(os.Environ())) }

// LoadFrom is Load on a given environment.
func LoadFrom(environ map[string]string) (*Config, error) {
	known := map[string]string{}
	for _, s := range Settings() {
		// A variable set to empty counts as not set: the default holds.
		v := environ[s.Name]
		if v == "" && s.Alias != "" {
			v = environ[s.Alias]
		}
		if v == "" {
			var err error
			if v, err = credential(environ[credentialsDirectory], s.Name); err != nil {
				return nil, err
			}
		}
		if v != "" {
			known[s.Name] = v
		}
	}
	// http2debug writes every request's path to stderr, and the signature of a webhook is in there.
	if v := environ["GODEBUG"]; strings.Contains(v, "http2debug") && !strings.Contains(v, "http2debug=0") {
		return nil, &SettingError{Name: "GODEBUG", Problem: "http2debug prints the secrets of webhook addresses; take it out"}
	}
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: known}); err != nil {
		return nil, parseErrors(err)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return &c, nil
}

// credentialsDirectory names the folder in which systemd (LoadCredential) shows a service its secrets; Docker and Kubernetes have the like.
const credentialsDirectory = "CREDENTIALS_DIRECTORY"

// credential reads a setting from the file of its name, without the new line at its end. It is empty when there is none.
func credential(dir, name string) (string, error) {
	if dir == "" {
		return "", nil
	}
	body, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // the names are ours
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", &SettingError{Name: name, Problem: "cannot be read as a file: " + err.Error()}
	}
	return strings.TrimSuffix(string(body), "\n"), nil
}

// parseErrors turns the library's errors, which name Go fields, into ones that name settings.
func parseErrors(err error) error {
	var agg env.AggregateError
	if !errors.As(err, &agg) {
		return err
	}
	var out []error
	for _, e := range agg.Errors {
		var pe env.ParseError
		if !errors.As(e, &pe) {
			out = append(out, e)
			continue
		}
		name, want := pe.Name, "a valid "+pe.Type.String()
		for _, s := range Settings() {
			if s.Field == pe.Name {
				name = s.Name
			}
		}
		switch pe.Type.Kind() { //nolint:exhaustive // only what the structs use
		case reflect.Bool:
			want = "true or false"
		case reflect.Int:
			want = "a whole number"
		case reflect.Float64:
			want = "a number"
		case reflect.Int64:
			want = "seconds (65) or a duration (1m5s)"
		}
		out = append(out, &SettingError{Name: name, Problem: "not allowed; want " + want})
	}
	return errors.Join(out...)
}

func (c *Config) check() error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, &SettingError{Name: name, Problem: fmt.Sprintf(format, args...)})
	}
	between := func(name string, v, lo, hi int) {
		if v < lo || v > hi {
			bad(name, "%d is not allowed; want %d to %d", v, lo, hi)
		}
	}
	oneOf := func(name, v string, allowed ...string) {
		if slices.Contains(allowed, v) {
			return
		}
		bad(name, "%q is not allowed; want %s", v, strings.Join(allowed, ", "))
	}
	link := func(name, v string) {
		if v == "" {
			return
		}
		u, err := url.Parse(v)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			bad(name, "not an address; want http:// or https://")
		}
	}
	positive := func(name string, d Seconds) {
		if d <= 0 {
			bad(name, "must be more than 0")
		}
	}
	between("NPHIES_POLL_COUNT", c.PollCount, 1, 100)
	between("NPHIES_SUBMIT_CONCURRENCY", c.Concurrency, 1, 100)
	between("TEAMS_MAX_RETRIES", c.MaxRetries, 0, 3)
	between("TEAMS_RATE_LIMIT_REQUESTS", c.RateRequests, 1, 1_000_000)
	between("TEAMS_RATE_LIMIT_BURST", c.RateBurst, 1, 1_000_000)
	between("TEAMS_TOTAL_CONNECTIONS", c.TotalConns, 1, 10_000)
	between("TEAMS_CONNECTIONS_PER_HOST", c.ConnsPerHost, 1, 10_000)
	between("TEAMS_DIGEST_ABOVE", c.DigestAbove, 0, 1_000_000)
	between("TEAMS_AUDIT_RETENTION_DAYS", c.RetentionDays, 1, 36_500)
	if c.PagerTimeout <= 0 || c.PagerTimeout.D() > 45*time.Second {
		bad("PAGERDUTY_TIMEOUT", "%s is not allowed; want more than 0, up to 45 s", c.PagerTimeout)
	}
	if u, err := url.Parse(c.PagerURL); err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || (u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()))) {
		bad("PAGERDUTY_URL", "not allowed; want https://host (http for loopback hosts only), without user and query")
	}
	if _, err := c.PagerKeys(); err != nil {
		bad("PAGERDUTY_ROUTING_KEYS", "%s", err)
	}
	if len(c.Chain()) == 0 {
		bad("ESCALATION_CHAIN", "is empty; want some of %s", strings.Join(stakeholders(), ", "))
	}
	for i, s := range c.Chain() {
		if !slices.Contains(stakeholders(), s) {
			bad("ESCALATION_CHAIN", "%q is not allowed; want some of %s", s, strings.Join(stakeholders(), ", "))
		} else if slices.Contains(c.Chain()[:i], s) {
			bad("ESCALATION_CHAIN", "%s is in it twice", s)
		}
	}
	if c.RetryFactor < 1 || c.RetryFactor > 10 {
		bad("TEAMS_RETRY_FACTOR", "%v is not allowed; want 1 to 10", c.RetryFactor)
	}
	positive("NPHIES_TIMEOUT", c.ExchangeTimeout)
	positive("NPHIES_POLL_INTERVAL", c.PollInterval)
	positive("NPHIES_RECHECK_AFTER", c.RecheckAfter)
	positive("NPHIES_OVERDUE_STEP", c.OverdueStep)
	between("NPHIES_BREAK_AFTER", c.BreakAfter, 0, 1000)
	positive("TEAMS_RATE_LIMIT_PERIOD", c.RatePeriod)
	positive("TEAMS_MAX_RETRY_DELAY", c.MaxRetryDelay)
	positive("TEAMS_CONNECTION_TIMEOUT", c.PostTimeout)
	positive("TEAMS_RETRY_BASE", c.RetryBase)
	positive("TEAMS_EVENT_TTL", c.EventTTL)
	positive("RECONCILE_INTERVAL", c.Reconcile)
	positive("WATCH_INTERVAL", c.WatchInterval)
	positive("REPLICA_LAG_ALLOWED", c.ReplicaLag)
	between("DLQ_THRESHOLD", c.DeadThreshold, 0, 10_000_000)
	between("QUEUE_BACKLOG_SIZE", c.BacklogSize, 0, 10_000_000)
	if c.AlertToken != "" && len(c.AlertToken) < 24 {
		bad("ALERTMANAGER_TOKEN", "too short; want 24 characters or more")
	}
	oneOf("NPHIES_POLL_PROFILE", c.PollProfile, "task", "poll-request")
	oneOf("NPHIES_PRIORAUTH_EXTENSION", c.PriorAuthExt, "priorauth-response", "priorauthresponse")
	oneOf("LOG_LEVEL", c.LogLevel, "debug", "info", "warn", "error")
	oneOf("LOG_FORMAT", c.LogFormat, "json", "text")
	oneOf("CARDS_LANGUAGE", c.CardsLanguage, "en", "ar")
	oneOf("TEAMS_TLS_MIN_VERSION", c.TLSMin, "1.2", "1.3")
	oneOf("TEAMS_FALLBACK_CHANNEL", c.Fallback, stakeholders()...)
	between("TEAMS_BREAK_AFTER", c.TripAfter, 1, 1000)
	positive("TEAMS_BREAK_FOR", c.TripFor)
	positive("TEAMS_WEBHOOK_RELOAD", c.VaultReload)
	for _, h := range c.WebhookHosts() {
		if strings.Trim(h, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" || !strings.Contains(strings.Trim(h, "."), ".") {
			bad("TEAMS_WEBHOOK_ALLOWED_HOSTS", "%q is not a domain; want some like .logic.azure.example", h)
		}
	}
	oneOf("TEAMS_AUDIT_TABLE", c.AuditTable, "teams_notifications")
	c.checkSignIn(bad)
	c.checkBot(bad)
	link("NPHIES_BASE_URL", c.BaseURL)
	link("VAULT_ADDR", c.VaultAddr)
	link("OTEL_EXPORTER_OTLP_ENDPOINT", c.TraceEndpoint)
	if !(c.TraceRatio >= 0 && c.TraceRatio <= 1) {
		bad("OTEL_TRACES_SAMPLER_ARG", "%v is not allowed; want 0 to 1", c.TraceRatio)
	}
	link("NPHIES_IDENTIFIER_BASE", c.IdentifierURL)
	for _, l := range []struct{ name, v string }{
		{"MONITOR_URL", c.MonitorURL},
		{"PROMETHEUS_URL", c.PrometheusURL},
		{"GRAFANA_URL", c.GrafanaURL},
		{"KIBANA_URL", c.KibanaURL},
		{"NPHIES_PORTAL_URL", c.PortalURL},
		{"NPHIES_STATUS_URL", c.StatusURL},
		{"NPHIES_DOCS_URL", c.DocsURL},
		{"CLAIMLINC_URL", c.ClaimLincURL},
		{"VAULT_RUNBOOK_URL", c.VaultRunbook},
		{"QUEUE_RUNBOOK_URL", c.QueueRunbook},
		{"NPHIES_RUNBOOK_URL", c.NPHIESRunbook},
	} {
		link(l.name, l.v)
	}
	for _, a := range []struct{ name, v string }{{"HTTP_ADDR", c.HTTPAddr}, {"MONITOR_ADDR", c.MonitorAddr}, {"ACTIONS_ADDR", c.ActionsAddr}} {
		if _, _, err := net.SplitHostPort(a.v); err != nil {
			bad(a.name, "%q is not an address; want host:port or :port", a.v)
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("NPHIES_CLIENT_CERT_FILE", "set it together with NPHIES_CLIENT_KEY_FILE")
	}
	if (c.RedisCertFile == "") != (c.RedisKeyFile == "") {
		bad("REDIS_CERT_FILE", "set it together with REDIS_KEY_FILE")
	}
	if c.CertFile != "" && c.PKCS12File != "" {
		bad("NPHIES_CLIENT_PKCS12_FILE", "set either this or NPHIES_CLIENT_CERT_FILE")
	}
	if c.CertDir != "" && c.CertVaultPath != "" {
		bad("NPHIES_CLIENT_CERT_DIR", "set either this or NPHIES_CLIENT_VAULT_PATH")
	}
	if c.CertVaultPath != "" && c.VaultAddr == "" {
		bad("NPHIES_CLIENT_VAULT_PATH", "set VAULT_ADDR, too")
	}
	if c.MaxAnswerBytes < 1<<20 || c.MaxAnswerBytes > 1<<30 {
		bad("NPHIES_MAX_ANSWER_BYTES", "%d is not allowed; want 1048576 to 1073741824", c.MaxAnswerBytes)
	}
	positive("NPHIES_CLIENT_CERT_RELOAD", c.CertReload)
	var logins []string
	for _, l := range []struct{ name, value string }{
		{"VAULT_TOKEN", string(c.VaultToken)},
		{"VAULT_TOKEN_FILE", c.VaultTokenFile},
		{"VAULT_ROLE_ID", c.VaultRoleID},
		{"VAULT_K8S_ROLE", c.VaultK8sRole},
	} {
		if l.value != "" {
			logins = append(logins, l.name)
		}
	}
	switch {
	case c.VaultAddr != "" && len(logins) == 0:
		bad("VAULT_ADDR", "needs a login: set VAULT_TOKEN, VAULT_TOKEN_FILE, VAULT_ROLE_ID or VAULT_K8S_ROLE")
	case len(logins) > 1:
		bad(logins[1], "set only one login, %s is set, too", logins[0])
	}
	if c.VaultRoleID != "" && (c.VaultSecretID == "") == (c.VaultSecretIDF == "") {
		bad("VAULT_ROLE_ID", "set either VAULT_SECRET_ID or VAULT_SECRET_ID_FILE with it")
	}
	return errors.Join(errs...)
}

// checkSignIn checks what single sign-on needs together, and addresses that a session's cookie or a code of the provider travels to.
func (c *Config) checkSignIn(bad func(name, format string, args ...any)) {
	public := func(name, v string) {
		u, err := url.Parse(v)
		if v == "" || (err == nil && u.Host != "" && u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == "" && secureOrLoopback(u)) {
			return
		}
		bad(name, "not a public address; want https://host without a path (http:// for loopback hosts only)")
	}
	public("ACTION_BASE_URL", c.ActionBaseURL)
	if c.OIDCIssuer == "" {
		for _, s := range []struct{ name, v string }{{"OIDC_CLIENT_ID", c.OIDCClientID}, {"OIDC_ROLES", c.OIDCRoles}} {
			if s.v != "" {
				bad(s.name, "set it together with OIDC_ISSUER")
			}
		}
		return
	}
	switch u, err := url.Parse(c.OIDCIssuer); {
	case err != nil || u.Host == "" || !secureOrLoopback(u):
		bad("OIDC_ISSUER", "not an address; want https:// (http:// for loopback hosts only)")
	case u.Hostname() == "login.microsoftonline.com" && slices.Contains([]string{"common", "organizations", "consumers"}, strings.Split(u.Path+"/", "/")[1]):
		bad("OIDC_ISSUER", "names no directory; want https://login.microsoftonline.com/<directory id>/v2.0")
	}
	for _, s := range []struct{ name, v string }{
		{"OIDC_CLIENT_ID", c.OIDCClientID},
		{"OIDC_CLIENT_SECRET", string(c.OIDCClientSecret)},
		{"OIDC_ROLES", c.OIDCRoles},
		{"MONITOR_URL", c.MonitorURL},
	} {
		if s.v == "" {
			bad(s.name, "is needed with OIDC_ISSUER")
		}
	}
	public("MONITOR_URL", c.MonitorURL)
	if !slices.Contains(strings.Fields(c.OIDCScopes), "openid") {
		bad("OIDC_SCOPES", "openid must be among them")
	}
}

// checkBot names what is missing where one of several settings that belong together is set.
func (c *Config) checkBot(bad func(name, format string, args ...any)) {
	type pair struct{ name, v string }
	operators, keys := pair{"BOT_OPERATORS", c.BotOperators}, pair{"ACTION_LINK_KEYS", string(c.LinkKeys)}
	tenants := pair{"TEAMS_TENANTS", strings.Join(c.ActingTenants(), " ")}
	for _, group := range []struct{ switches, needs []pair }{
		{
			[]pair{{"TEAMS_BOT_APP_ID", c.BotAppID}, {"TEAMS_BOT_APP_SECRET", string(c.BotSecret)}, {"TEAMS_BOT_TENANT", c.BotTenant}, {"TEAMS_BOT_CHANNELS", c.BotChannels}, {"TEAMS_BOT_TEAMS", c.BotTeams}},
			[]pair{{"TEAMS_BOT_APP_ID", c.BotAppID}, {"TEAMS_BOT_APP_SECRET", string(c.BotSecret)}, {"TEAMS_BOT_TENANT", c.BotTenant}, operators, keys},
		},
		{[]pair{{"TEAMS_OUTGOING_TOKEN", string(c.OutgoingToken)}}, []pair{tenants, operators}},
		{[]pair{{"FLOW_AUDIENCE", c.FlowAudience}, {"FLOW_APPS", c.FlowApps}}, []pair{{"FLOW_AUDIENCE", c.FlowAudience}, {"FLOW_APPS", c.FlowApps}, tenants, operators, keys}},
	} {
		on := slices.IndexFunc(group.switches, func(p pair) bool { return p.v != "" })
		if on < 0 {
			continue
		}
		for _, p := range group.needs {
			if p.v == "" {
				bad(p.name, "is needed with %s", group.switches[on].name)
			}
		}
	}
	if c.OutgoingToken != "" {
		if key, err := base64.StdEncoding.DecodeString(c.OutgoingToken.Reveal()); err != nil || len(key) < 16 {
			bad("TEAMS_OUTGOING_TOKEN", "not a security token of Teams; want base64 of 16 bytes or more")
		}
	}
	for _, a := range []pair{{"TEAMS_BOT_METADATA_URL", c.BotMetadata}, {"TEAMS_BOT_TOKEN_URL", c.BotTokenURL}, {"FLOW_METADATA_URL", c.FlowMetadata}} {
		if u, err := url.Parse(strings.ReplaceAll(a.v, "<tenant>", "t")); err != nil || u.Host == "" || (u.Scheme != "https" && (!c.AllowInsecure || !secureOrLoopback(u))) {
			bad(a.name, "not an address; want https://")
		}
	}
}

// ActingTenants are the directories whose people may act from within Teams.
func (c *Config) ActingTenants() []string {
	if list := List(c.TeamsTenants); len(list) > 0 {
		return list
	}
	return List(c.BotTenant)
}

// List splits a setting at blanks and commas.
func List(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

// secureOrLoopback allows http for loopback hosts only.
func secureOrLoopback(u *url.URL) bool {
	host := u.Hostname()
	return u.Scheme == "https" || (u.Scheme == "http" && (host == "localhost" || net.ParseIP(host).IsLoopback()))
}

// Require returns an error that names each of the given settings that is empty.
func (c *Config) Require(names ...string) error {
	var errs []error
	v := reflect.ValueOf(*c)
	for _, name := range names {
		for _, s := range Settings() {
			if s.Name == name && v.FieldByIndex(s.index).IsZero() {
				errs = append(errs, &SettingError{Name: name, Problem: "is needed and not set: " + s.Doc})
			}
		}
	}
	return errors.Join(errs...)
}

// Licenses are the provider licences to poll.
func (c *Config) Licenses() []string {
	return strings.FieldsFunc(c.License, func(r rune) bool { return r == ',' || r == ' ' })
}

// Webhooks maps stakeholders to the webhooks given in the environment.
func (c *Config) Webhooks() map[string]Secret {
	out := map[string]Secret{}
	for name, v := range map[string]Secret{
		"SECURITY_ENG": c.SecurityEng, "CLOUDOPS": c.CloudOps, "RUNTIME_ENG": c.RuntimeEng, "DEVOPS": c.DevOps, "SRE": c.SRE,
		"COMPLIANCE": c.Compliance, "NPHIES_INTEGRATION": c.Integration, "PMO": c.PMO,
	} {
		if v != "" {
			out[name] = v
		}
	}
	return out
}

// stakeholders lists the groups, as the settings name them.
func stakeholders() []string {
	return []string{"SECURITY_ENG", "CLOUDOPS", "RUNTIME_ENG", "DEVOPS", "SRE", "COMPLIANCE", "NPHIES_INTEGRATION", "PMO"}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// listed takes a list apart at commas, blanks and new lines.
func listed(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// Chain are the stakeholders of ESCALATION_CHAIN, in their order.
func (c *Config) Chain() []string { return listed(strings.ToUpper(c.ChainList)) }

// PagerDefault is the name of the integration key for stakeholders without one of their own.
const PagerDefault = "default"

// PagerKeys maps names (stakeholders in lower case, and PagerDefault) to integration keys. The error shows no key.
func (c *Config) PagerKeys() (map[string]Secret, error) {
	out := map[string]Secret{}
	for i, entry := range listed(c.PagerKeyList.Reveal()) {
		name, key, ok := strings.Cut(entry, "=")
		switch {
		case !ok: // it may be a key
			return nil, fmt.Errorf("entry %d has no name; want name=key, as default=<32 characters>", i+1)
		case name != PagerDefault && !slices.Contains(stakeholders(), strings.ToUpper(name)) || name != strings.ToLower(name):
			return nil, fmt.Errorf("the name of entry %d is not allowed; want %s or one of %s", i+1, PagerDefault, strings.ToLower(strings.Join(stakeholders(), ", ")))
		case len(key) != 32 || strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "":
			return nil, fmt.Errorf("the key of %s is not one; want the 32 letters and digits of an Events API v2 integration", name)
		case out[name] != "":
			return nil, fmt.Errorf("%s is there twice", name)
		}
		out[name] = Secret(key)
	}
	return out, nil
}

// WebhookHosts are the further domains of webhooks.
func (c *Config) WebhookHosts() []string {
	return strings.FieldsFunc(strings.ToLower(c.AllowedHosts), func(r rune) bool { return r == ',' || r == ' ' })
}

// Tenants are the directories of OIDC_TENANTS.
func (c *Config) Tenants() []string {
	return strings.FieldsFunc(c.OIDCTenants, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

// HMACKeys are the signing keys, the current one first.
func (c *Config) HMACKeys() []string { return strings.Fields(c.HMACKey.Reveal()) }

// Setting describes one field of Config.
type Setting struct {
	Group, Name, Alias, Default, Doc, Field string
	Secret                                  bool
	index                                   []int
}

// Settings lists all settings in the order of the structs.
func Settings() []Setting {
	var out []Setting
	root := reflect.TypeFor[Config]()
	for i := range root.NumField() {
		group := root.Field(i)
		for j := range group.Type.NumField() {
			f := group.Type.Field(j)
			out = append(out, Setting{
				Group: group.Name, Name: f.Tag.Get("env"), Alias: f.Tag.Get("alias"), Default: f.Tag.Get("envDefault"), Doc: f.Tag.Get("doc"),
				Field: f.Name, Secret: f.Type == reflect.TypeFor[Secret](), index: []int{i, j},
			})
		}
	}
	return out
}
