package nphiessim

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// BotFramework stands in for the Bot Framework, the connector of Teams and the token endpoint of Entra: it has the metadata and keys that
// inbound activities are signed with, gives out tokens, takes activities and their updates, and says what is wrong with them. It shares no
// code with the bot. Safe for concurrent use.
type BotFramework struct {
	// AppID and Secret are the bot's, Tenant its directory. They are set before use.
	AppID, Secret, Tenant string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Answer may say another status for a request of the connector before it is looked at, 0 for none. It may be nil.
	Answer func(r *http.Request) int

	mu       sync.Mutex
	base     string
	keys     map[string]*rsa.PrivateKey
	hidden   map[string]bool
	endorse  map[string][]string
	reads    int
	tokens   map[string]time.Time
	given    int
	refused  []string
	messages []*BotMessage
}

// BotMessage is an activity that the connector took.
type BotMessage struct {
	ID, Conversation string
	// Body is the newest version; Versions counts them.
	Body     json.RawMessage
	Versions int
	// ReplyTo is the activity it answers, "" for none.
	ReplyTo string
}

// Card is the card that the message shows now.
func (m BotMessage) Card() map[string]any {
	var b struct {
		Attachments []struct {
			Content map[string]any `json:"content"`
		} `json:"attachments"`
	}
	_ = json.Unmarshal(m.Body, &b) // it was looked at when it came
	if len(b.Attachments) == 0 {
		return nil
	}
	return b.Attachments[0].Content
}

// NewBotFramework returns a stand-in with one key, "key-1", that is endorsed for Teams.
func NewBotFramework(appID, secret, tenant string) (*BotFramework, error) {
	f := &BotFramework{AppID: appID, Secret: secret, Tenant: tenant, keys: map[string]*rsa.PrivateKey{}, hidden: map[string]bool{}, endorse: map[string][]string{}, tokens: map[string]time.Time{}}
	return f, f.AddKey("key-1", "msteams", "directline")
}

// AddKey makes a key that is endorsed for channels.
func (f *BotFramework) AddKey(id string, endorsements ...string) error {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[id], f.endorse[id] = k, endorsements
	return nil
}

// HideKey leaves a key out of the key set: it signs all the same.
func (f *BotFramework) HideKey(id string, hidden bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hidden[id] = hidden
}

// PublicKey is a key as others know it.
func (f *BotFramework) PublicKey(id string) *rsa.PublicKey {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &f.keys[id].PublicKey
}

// Reads is how often the key set was fetched, Tokens how many were given out.
func (f *BotFramework) Reads() int { f.mu.Lock(); defer f.mu.Unlock(); return f.reads }

// Tokens is how many tokens were given out.
func (f *BotFramework) Tokens() int { f.mu.Lock(); defer f.mu.Unlock(); return f.given }

// Refused says what was wrong with requests.
func (f *BotFramework) Refused() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.refused)
}

// Messages are the activities taken, oldest first.
func (f *BotFramework) Messages() []BotMessage {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]BotMessage, 0, len(f.messages))
	for _, m := range f.messages {
		out = append(out, *m)
	}
	return out
}

func (f *BotFramework) now() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

// Claims are those of a token that the Bot Framework makes for an activity from a service URL.
func (f *BotFramework) Claims(serviceURL string) map[string]any {
	now := f.now()
	return map[string]any{
		"iss": "https://api.botframework.com", "aud": f.AppID, "serviceurl": serviceURL, "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// Sign makes a token with a key; header goes over the usual one.
func (f *BotFramework) Sign(keyID string, claims map[string]any, header map[string]any) (string, error) {
	h := map[string]any{"typ": "JWT", "alg": "RS256", "kid": keyID}
	maps.Copy(h, header)
	input, err := signingInput(h, claims)
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	k := f.keys[keyID]
	f.mu.Unlock()
	if k == nil {
		return "", fmt.Errorf("no key %q", keyID)
	}
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// SignHS256 makes a token with a shared key, as forgers do.
func SignHS256(secret []byte, claims, header map[string]any) (string, error) {
	h := map[string]any{"typ": "JWT", "alg": "HS256"}
	maps.Copy(h, header)
	input, err := signingInput(h, claims)
	if err != nil {
		return "", err
	}
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil)), nil
}

func signingInput(header, claims map[string]any) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c), nil
}

// ServeHTTP serves /.well-known/openidconfiguration, /keys, /<tenant>/oauth2/v2.0/token and /v3/conversations/….
func (f *BotFramework) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.base == "" {
		f.base = "http://" + r.Host
	}
	f.mu.Unlock()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openidconfiguration", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"issuer": "https://api.botframework.com", "jwks_uri": "http://" + r.Host + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("GET /keys", f.keySet)
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", f.token)
	mux.HandleFunc("POST /v3/conversations/{conversation}/activities", f.post)
	mux.HandleFunc("POST /v3/conversations/{conversation}/activities/{activity}", f.post)
	mux.HandleFunc("PUT /v3/conversations/{conversation}/activities/{activity}", f.update)
	mux.ServeHTTP(w, r)
}

func (f *BotFramework) keySet(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	keys := []any{map[string]any{"kty": "EC", "crv": "P-256", "kid": "curve", "x": "AA", "y": "AA"}}
	for _, id := range slices.Sorted(maps.Keys(f.keys)) {
		if k := f.keys[id]; !f.hidden[id] {
			keys = append(keys, map[string]any{
				"kty": "RSA", "use": "sig", "kid": id, "n": base64.RawURLEncoding.EncodeToString(k.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes()),
				"endorsements": f.endorse[id],
			})
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
}

func (f *BotFramework) refuse(w http.ResponseWriter, status int, why string) {
	f.mu.Lock()
	f.refused = append(f.refused, strconv.Itoa(status)+" "+why)
	f.mu.Unlock()
	writeJSON(w, status, map[string]any{"error": map[string]string{"code": http.StatusText(status), "message": why}})
}

func (f *BotFramework) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		f.refuse(w, http.StatusBadRequest, "no form")
		return
	}
	want := map[string]string{"grant_type": "client_credentials", "client_id": f.AppID, "client_secret": f.Secret, "scope": "https://api.botframework.com/.default"}
	for name, value := range want {
		if r.PostForm.Get(name) != value {
			f.refuse(w, http.StatusUnauthorized, name+" is wrong")
			return
		}
	}
	if r.PathValue("tenant") != f.Tenant {
		f.refuse(w, http.StatusBadRequest, "another tenant")
		return
	}
	token := "bot-token-" + rand.Text()
	f.mu.Lock()
	f.given++
	f.tokens[token] = f.now().Add(time.Hour)
	f.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": 3600, "access_token": token})
}

// admit checks what a request of the connector needs, and returns its body.
func (f *BotFramework) admit(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	if f.Answer != nil {
		if status := f.Answer(r); status != 0 {
			f.refuse(w, status, "as the test wishes")
			return nil, false
		}
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	f.mu.Lock()
	until, known := f.tokens[token]
	f.mu.Unlock()
	if !ok || !known || !f.now().Before(until) {
		f.refuse(w, http.StatusUnauthorized, "no token of ours")
		return nil, false
	}
	if !isJSONWithCharset(r.Header.Get("Content-Type")) {
		f.refuse(w, http.StatusUnsupportedMediaType, "not JSON in UTF-8")
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTeamsRead))
	if err != nil || len(body) > maxCardBytes {
		f.refuse(w, http.StatusRequestEntityTooLarge, "too large")
		return nil, false
	}
	if why := inspectActivity(body); why != "" {
		f.refuse(w, http.StatusBadRequest, why)
		return nil, false
	}
	return body, true
}

func (f *BotFramework) post(w http.ResponseWriter, r *http.Request) {
	body, ok := f.admit(w, r)
	if !ok {
		return
	}
	f.mu.Lock()
	id := "1:" + strconv.Itoa(len(f.messages)+1) + "-" + rand.Text()[:8]
	f.messages = append(f.messages, &BotMessage{ID: id, Conversation: r.PathValue("conversation"), Body: body, Versions: 1, ReplyTo: r.PathValue("activity")})
	f.mu.Unlock()
	writeJSON(w, http.StatusCreated, map[string]string{"id": id})
}

func (f *BotFramework) update(w http.ResponseWriter, r *http.Request) {
	body, ok := f.admit(w, r)
	if !ok {
		return
	}
	f.mu.Lock()
	i := slices.IndexFunc(f.messages, func(m *BotMessage) bool {
		return m.ID == r.PathValue("activity") && m.Conversation == r.PathValue("conversation")
	})
	if i >= 0 {
		f.messages[i].Body, f.messages[i].Versions = body, f.messages[i].Versions+1
	}
	f.mu.Unlock()
	if i < 0 {
		f.refuse(w, http.StatusNotFound, "no such activity")
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"id": r.PathValue("activity")})
}

// inspectActivity says what is wrong with a message for Teams, "" for nothing.
func inspectActivity(body []byte) string {
	var m struct {
		Type        string `json:"type"`
		Text        string `json:"text"`
		Attachments []struct {
			ContentType string         `json:"contentType"`
			Content     map[string]any `json:"content"`
		} `json:"attachments"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return "not JSON"
	}
	switch {
	case m.Type != "message":
		return "its type is not message"
	case len(m.Attachments) == 0 && m.Text != "":
		return ""
	case len(m.Attachments) != 1:
		return "not one attachment"
	case m.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive":
		return "no adaptive card"
	}
	return InspectBotCard(m.Attachments[0].Content)
}

// InspectBotCard says what is wrong with a card that a bot shows, "" for nothing.
func InspectBotCard(card map[string]any) string {
	version, _ := card["version"].(string)
	switch {
	case card["type"] != "AdaptiveCard":
		return "its content is no AdaptiveCard"
	case !slices.Contains([]string{"1.2", "1.3", "1.4", "1.5"}, version):
		return "version " + version
	}
	return inspectActions(card, "", false)
}

func inspectActions(v any, inside string, fallback bool) string {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if why := inspectActions(e, inside, false); why != "" {
				return why
			}
		}
	case map[string]any:
		kind, _ := v["type"].(string)
		if kind == "Action.Execute" {
			verb, _ := v["verb"].(string)
			data, _ := v["data"].(map[string]any)
			switch {
			case verb == "":
				return "an Action.Execute without a verb is not routed"
			case data["a"] == nil || data["t"] == nil:
				return "an Action.Execute without its data"
			case inside != "ActionSet" && inside != "refresh":
				return "an Action.Execute outside an ActionSet: older clients pass over its fallback"
			}
		}
		if kind == "Action.Submit" && !fallback {
			return "an Action.Submit that is no fallback"
		}
		for name, e := range v {
			in := inside
			if kind == "ActionSet" {
				in = "ActionSet"
			} else if name == "refresh" {
				in = "refresh"
			} else if kind != "" && name != "actions" && !strings.HasPrefix(kind, "Action.") {
				in = ""
			}
			if why := inspectActions(e, in, name == "fallback"); why != "" {
				return why
			}
		}
	default:
	}
	return ""
}
