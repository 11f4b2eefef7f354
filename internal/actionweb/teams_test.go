package actionweb_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/actionlink"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/actionweb"
	"github.com/claimlinc/nphiesq/internal/bot"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signing"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

const (
	outgoingToken = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	directory     = "22222222-aaaa-4bbb-8ccc-000000000002"
)

func operators(t *testing.T) bot.Operators {
	t.Helper()
	needs, err := actions.ParsePermissions("discard=supervisor", "operator", "supervisor")
	require.NoError(t, err)
	o, err := bot.ParseOperators("oid-amal oid-boss=supervisor", needs)
	require.NoError(t, err)
	return o
}

// TestOutgoingVector: the bytes of the protocol's page.
func TestOutgoingVector(t *testing.T) {
	key, err := actionweb.ParseOutgoingKey(outgoingToken)
	require.NoError(t, err)
	body := []byte(`{"type":"message","text":"<at>ops</at> ack alr_01JH8W9V3T0000000000000000"}`)
	const good = "HMAC UT1iy9c5214aqAlZslR6D6/bYKPGQOmUQQrTtF4wmcM="
	require.True(t, key.Signed(good, body))
	for _, bad := range []string{
		"", "HMAC", "HMAC ", "hmac UT1iy9c5214aqAlZslR6D6/bYKPGQOmUQQrTtF4wmcM=", "HMAC UT1iy9c5214aqAlZslR6D6/bYKPGQOmUQQrTtF4wmcN=", "Bearer UT1iy9c5214aqAlZslR6D6/bYKPGQOmUQQrTtF4wmcM=",
		"HMAC UT1iy9c5214aqAlZslR6D6/bYKPGQOmUQQrTtF4wmcM", "HMAC UT1iy9c5214aqAlZslR6D6/\nbYKPGQOmUQQrTtF4wmcM=",
	} {
		require.False(t, key.Signed(bad, body), bad)
	}
	require.False(t, key.Signed(good, append(body, ' ')))
	require.False(t, actionweb.OutgoingKey{}.Signed(good, body))
	require.Equal(t, "<secret> <secret> <secret>", fmt.Sprintf("%v %+v %#v", key, key, key))
	for _, bad := range []string{"", "abc", "c2hvcnQ=", "not base64 at all, is it"} {
		_, err := actionweb.ParseOutgoingKey(bad)
		require.Error(t, err, bad)
	}
}

// outgoing is the route with a counter of activities.
type outgoing struct {
	*site
	url    string
	number int
}

func openOutgoing(t *testing.T, rc redis.UniversalClient) *outgoing {
	t.Helper()
	s := open(t)
	if rc == nil {
		rc = s.redis
	}
	key, err := actionweb.ParseOutgoingKey(outgoingToken)
	require.NoError(t, err)
	srv := httptest.NewServer(&actionweb.Outgoing{
		Key: key, Core: &actions.Core{Store: s.store, Queue: broker.New(s.redis), Log: testenv.Discard()}, Operators: operators(t), Tenants: []string{directory},
		Replays: signing.NewReplays(rc), Failures: ratelimit.NewFailures(rc, "outgoing", ratelimit.FailureSettings{Limit: 4, Window: time.Minute}), Metrics: s, Log: testenv.Logger(t),
	})
	t.Cleanup(srv.Close)
	return &outgoing{site: s, url: srv.URL}
}

func (o *outgoing) activity(text string, change map[string]any) []byte {
	o.t.Helper()
	o.number++
	a := map[string]any{
		"type": "message", "id": fmt.Sprint("14859", o.number), "timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "text": text,
		"from": map[string]any{"id": "29:x", "name": "Amal", "aadObjectId": "oid-amal"}, "channelData": map[string]any{"tenant": map[string]any{"id": directory}},
	}
	maps.Copy(a, change)
	b, err := json.Marshal(a)
	require.NoError(o.t, err)
	return b
}

func (o *outgoing) send(body []byte, header string) (int, string) {
	o.t.Helper()
	if header == "" {
		raw, err := base64.StdEncoding.DecodeString(outgoingToken)
		require.NoError(o.t, err)
		h := hmac.New(sha256.New, raw)
		h.Write(body)
		header = "HMAC " + base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	r, err := http.NewRequestWithContext(o.t.Context(), http.MethodPost, o.url, bytes.NewReader(body))
	require.NoError(o.t, err)
	r.Header.Set("Authorization", header)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	require.NoError(o.t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(o.t, err)
	var m struct {
		Type, Text string
	}
	if res.StatusCode == http.StatusOK {
		require.NoError(o.t, json.Unmarshal(raw, &m))
		require.Equal(o.t, "message", m.Type)
		return res.StatusCode, m.Text
	}
	return res.StatusCode, string(raw)
}

func (o *outgoing) say(text string, change map[string]any) string {
	o.t.Helper()
	status, answer := o.send(o.activity(text, change), "")
	require.Equal(o.t, http.StatusOK, status, answer)
	return answer
}

func TestTypedCommands(t *testing.T) {
	o := openOutgoing(t, nil)
	_, _, n := o.dead()
	id := n.ID.String()
	for text, want := range map[string]string{
		"":                                   "Type: ack",
		"<at>ops</at>":                       "Type: ack",
		"<at>ops</at> help me":               "I don't know that word.",
		"<at>ops</at> drop " + id:            "I don't know that word.",
		"ack alr_01":                         "not the id",
		"ack " + strings.ToUpper(id)[:35]:    "not the id",
		"ack {" + id + "}":                   "not the id",
		"ack " + uuid.NewString():            "There is no such alert any more.",
		"retry " + id:                        "Nothing was done. A reason is needed",
		"<p>discard " + id + " too late</p>": "Nothing was done. Your role does not permit that.",
	} {
		require.Contains(t, o.say(text, nil), want, text)
	}
	require.Equal(t, store.AlertOpen, o.alert(n.ID).State)
	require.Contains(t, o.say("<div><at id=\"0\">ops</at>&nbsp;<b>ACK</b>&#160;"+id+"</div>\n", nil), "Acknowledged: it is not told again")
	require.Equal(t, store.AlertAcknowledged, o.alert(n.ID).State)
	require.Contains(t, o.say("ack "+id, map[string]any{"from": map[string]any{"name": "Boss", "aadObjectId": "oid-boss"}}), "It was acknowledged before: Amal")
	require.Contains(t, o.say("retry "+id+" NPHIES &amp; the payer are back", nil), "It is tried again")
	list, err := o.store.Actions(t.Context(), o.alert(n.ID).ID.String(), 100)
	require.NoError(t, err)
	found := false
	for _, a := range list {
		if a.Verb == "retry" && a.Outcome == "applied" && a.TargetKind == "alert" {
			found = true
			require.Equal(t, "NPHIES & the payer are back", a.Reason)
			require.Equal(t, "outgoing", a.Source)
			require.Equal(t, "oid-amal", a.Detail["actor_id"])
			require.Equal(t, directory, a.Detail["tenant"])
		}
	}
	require.True(t, found)
}

func TestTypedCommandsAreNotReplayed(t *testing.T) {
	o := openOutgoing(t, nil)
	_, _, n := o.dead()
	same := o.activity("escalate "+n.ID.String(), nil)
	_, first := o.send(same, "")
	_, second := o.send(same, "")
	require.Contains(t, first, "Escalated")
	require.Equal(t, first, second, "a repetition gets the same answer")
	require.Equal(t, 1, o.alert(n.ID).Version)
	require.Equal(t, int64(1), o.redis.Exists(t.Context(), "replay:outgoing:148591").Val())
	o.number--
	status, _ := o.send(o.activity("ack "+n.ID.String(), nil), "")
	require.Equal(t, http.StatusUnauthorized, status, "the same id with another body")
	for name, change := range map[string]map[string]any{
		"old":           {"timestamp": time.Now().Add(-301 * time.Second).UTC().Format(time.RFC3339)},
		"of the future": {"timestamp": time.Now().Add(310 * time.Second).UTC().Format(time.RFC3339)},
		"without time":  {"timestamp": nil},
		"elsewhere":     {"channelData": map[string]any{"tenant": map[string]any{"id": "other"}}},
		"nowhere":       {"channelData": map[string]any{}},
		"two tenants":   {"conversation": map[string]any{"tenantId": "other"}},
		"nobody":        {"from": map[string]any{"name": "Amal"}},
		"no id":         {"id": ""},
		"a strange id":  {"id": "a b\n"},
	} {
		status, body := o.send(o.activity("ack "+n.ID.String(), change), "")
		require.Contains(t, []int{400, 401, 403}, status, name)
		require.NotContains(t, body, "Amal")
	}
	require.Equal(t, store.AlertEscalated, o.alert(n.ID).State)
	require.Contains(t, o.fails, "outgoing timestamp")
	require.Contains(t, o.fails, "outgoing tenant")

	for range 4 {
		status, _ = o.send(same, "HMAC "+base64.StdEncoding.EncodeToString(make([]byte, 32)))
		require.Equal(t, http.StatusUnauthorized, status)
	}
	status, _ = o.send(same, "")
	require.Equal(t, http.StatusTooManyRequests, status)
}

func TestTypedCommandsWithoutRedis(t *testing.T) {
	away := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialTimeout: time.Second})
	t.Cleanup(func() { _ = away.Close() })
	o := openOutgoing(t, away)
	_, _, n := o.dead()
	require.Contains(t, o.say("ack "+n.ID.String(), nil), "nothing was done", "what may be a replay is not carried out")
	require.Equal(t, store.AlertOpen, o.alert(n.ID).State)
	status, _ := o.send(bytes.Repeat([]byte("x"), 65<<10), "")
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
}

func TestFlow(t *testing.T) {
	s := open(t)
	const app, api = "33333333-aaaa-4bbb-8ccc-000000000003", "api://nphiesq"
	authority, err := nphiessim.NewBotFramework("x", "y", directory)
	require.NoError(t, err)
	keys := httptest.NewServer(authority)
	t.Cleanup(keys.Close)
	entra, err := bot.NewEntra(bot.EntraSettings{
		Metadata: keys.URL + "/.well-known/openidconfiguration", Issuers: []string{"https://login.microsoftonline.com/<tenant>/v2.0", "https://sts.windows.net/<tenant>/"},
		Audiences: []string{api}, Tenants: []string{directory}, Apps: []string{app}, Insecure: true,
	})
	require.NoError(t, err)
	srv := httptest.NewServer(&actionweb.Flow{
		Entra: entra, Keys: s.keys, Core: &actions.Core{Store: s.store, Queue: broker.New(s.redis), Log: testenv.Discard()}, Record: s.store, Operators: operators(t),
		Tenants: []string{directory}, Failures: ratelimit.NewFailures(s.redis, "flow", ratelimit.FailureSettings{Limit: 3, Window: time.Minute}), Metrics: s, Log: testenv.Logger(t),
	})
	t.Cleanup(srv.Close)
	call := func(claims map[string]any, body map[string]any) (int, string) {
		t.Helper()
		all := map[string]any{
			"iss": "https://login.microsoftonline.com/" + directory + "/v2.0", "aud": api, "tid": directory, "azp": app, "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		}
		maps.Copy(all, claims)
		token, err := authority.Sign("key-1", all, nil)
		require.NoError(t, err)
		raw, err := json.Marshal(body)
		require.NoError(t, err)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, bytes.NewReader(raw))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		if claims["none"] == nil {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(answer)
	}
	_, _, n := s.dead()
	mint := func(verb, audience string, life time.Duration) string {
		t.Helper()
		token, err := s.keys.Mint(actionlink.Token{Alert: n.ID.String(), Verb: verb, Audience: audience, Issued: time.Now().Add(-time.Hour), Expires: time.Now().Add(life)})
		require.NoError(t, err)
		return token
	}
	body := func(verb, token string, responder map[string]any) map[string]any {
		who := map[string]any{"objectId": "oid-amal", "email": "amal@example.com", "displayName": "Amal", "tenantId": directory}
		maps.Copy(who, responder)
		return map[string]any{"data": map[string]any{"verb": "alert." + verb, "a": n.ID.String(), "t": token, "reason": ""}, "submitActionId": "x", "responder": who, "more": 1}
	}
	good := mint("acknowledge", "SRE", time.Hour)
	for name, c := range map[string]struct {
		claims map[string]any
		body   map[string]any
		want   int
	}{
		"another app":             {map[string]any{"azp": "other"}, body("acknowledge", good, nil), 403},
		"another audience":        {map[string]any{"aud": "other"}, body("acknowledge", good, nil), 401},
		"another tenant":          {map[string]any{"tid": "other"}, body("acknowledge", good, nil), 401},
		"no token of Entra":       {map[string]any{"none": true}, body("acknowledge", good, nil), 401},
		"no action token":         {nil, body("acknowledge", "", nil), 403},
		"a token of another verb": {nil, body("escalate", good, nil), 403},
		"a token for elsewhere":   {nil, body("acknowledge", mint("acknowledge", "PMO", time.Hour), nil), 403},
		"a token of the bot":      {nil, body("acknowledge", mint("alert.acknowledge", actionlink.Audience("19:x"), time.Hour), nil), 403},
		"an old token":            {nil, body("acknowledge", mint("acknowledge", "SRE", -time.Minute), nil), 410},
		"no such verb":            {nil, body("drop", good, nil), 400},
		"nobody":                  {nil, body("acknowledge", good, map[string]any{"objectId": ""}), 400},
		"a stranger's tenant":     {nil, body("acknowledge", good, map[string]any{"tenantId": "other"}), 403},
		"no operator":             {nil, body("acknowledge", good, map[string]any{"objectId": "oid-vera"}), 403},
		"no reason":               {nil, body("retry", mint("retry", "SRE", time.Hour), nil), 422},
	} {
		status, answer := call(c.claims, c.body)
		require.Equal(t, c.want, status, "%s: %s", name, answer)
	}
	require.Equal(t, store.AlertOpen, s.alert(n.ID).State)
	status, answer := call(map[string]any{"iss": "https://sts.windows.net/" + directory + "/", "azp": "", "appid": app}, body("acknowledge", good, nil))
	require.Equal(t, http.StatusOK, status, answer)
	require.Contains(t, answer, `"outcome":"applied"`)
	status, answer = call(nil, body("acknowledge", good, nil))
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, answer, `"repeated":true`, "a flow that tries again")
	list, err := s.store.Actions(t.Context(), s.alert(n.ID).ID.String(), 100)
	require.NoError(t, err)
	applied := 0
	for _, a := range list {
		if a.Outcome == "applied" {
			applied++
			require.Equal(t, "flow", a.Source)
			require.Equal(t, app, a.Detail["asserted_by"])
			require.Equal(t, "oid-amal", a.Detail["actor_id"])
		}
	}
	require.Equal(t, 1, applied)
}

func (s *site) alert(n uuid.UUID) store.Alert {
	s.t.Helper()
	a, err := s.store.AlertOf(s.t.Context(), n)
	require.NoError(s.t, err)
	return a
}
