package nphiessim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	vectorSecret    = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	vectorSecret2   = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	vectorID        = "act_01JH8W9V3T0000000000000001"
	vectorTimestamp = 1767225600
	vectorBody      = `{"type":"alert.acknowledge","alert_id":"alr_01JH8W9V3T0000000000000000","actor":{"id":"a.user@example.com"}}`
	vectorSig       = "v1,H38HfWFZt2Bs4f6fyin+XzUozfilVMmn7YooFyalFhM="
	vectorSig2      = "v1,B7Suyy+Zqi90lOw7XZnJaKCLtOYdQaoizLzBp57Rmn8="
)

func TestVerifySignature(t *testing.T) {
	t.Parallel()
	both := []string{vectorSecret, vectorSecret2}
	for _, tc := range []struct {
		name      string
		secrets   []string
		id        string
		signature string
		body      string
		age       time.Duration
		want      error
	}{
		{"first key", both[:1], vectorID, vectorSig, vectorBody, 0, nil},
		{"second key", both[1:], vectorID, vectorSig2, vectorBody, 0, nil},
		{"either key", both, vectorID, vectorSig2, vectorBody, 0, nil},
		{"several signatures", both[:1], vectorID, "v2,x " + vectorSig2 + " " + vectorSig, vectorBody, 0, nil},
		{"other key", both[:1], vectorID, vectorSig2, vectorBody, 0, errSignature},
		{"other body", both, vectorID, vectorSig, vectorBody + " ", 0, errSignature},
		{"other id", both, vectorID + "2", vectorSig, vectorBody, 0, errSignature},
		{"other version", both, vectorID, "v2" + vectorSig[2:], vectorBody, 0, errSignature},
		{"not base64", both, vectorID, "v1,%", vectorBody, 0, errSignature},
		{"299 s old", both, vectorID, vectorSig, vectorBody, 299 * time.Second, nil},
		{"299 s early", both, vectorID, vectorSig, vectorBody, -299 * time.Second, nil},
		{"301 s old", both, vectorID, vectorSig, vectorBody, 301 * time.Second, errSignatureTime},
		{"301 s early", both, vectorID, vectorSig, vectorBody, -301 * time.Second, errSignatureTime},
		{"nine signatures", both, vectorID, strings.Repeat("v2,x ", 8) + vectorSig, vectorBody, 0, errSignatureHeaders},
		{"no signature", both, vectorID, "", vectorBody, 0, errSignatureHeaders},
		{"bad id", both, "a.b", vectorSig, vectorBody, 0, errSignatureHeaders},
		{"no key", nil, vectorID, vectorSig, vectorBody, 0, errSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var keys [][]byte
			for _, s := range tc.secrets {
				k, err := parseSigningKey(s)
				require.NoError(t, err)
				keys = append(keys, k)
			}
			h := http.Header{}
			h.Set("webhook-id", tc.id)
			h.Set("webhook-timestamp", strconv.Itoa(vectorTimestamp))
			if tc.signature != "" {
				h.Set("webhook-signature", tc.signature)
			}
			err := verifySignature(h, []byte(tc.body), keys, time.Unix(vectorTimestamp, 0).Add(tc.age))
			require.ErrorIs(t, err, tc.want)
		})
	}
	for _, bad := range []string{"", "x", "whsec_", "whsec_%", "whsec_AAAA"} {
		require.Error(t, CheckSigningKey(bad), bad)
	}
}

const goodCard = `{"type":"AdaptiveCard","version":"1.4","body":[
 {"type":"Container","style":"attention","bleed":true,"items":[{"type":"TextBlock","text":"HIGH · Claim rejected","weight":"Bolder"}]},
 {"type":"FactSet","facts":[{"title":"Claim","value":"CLM\\-1"}]},
 {"type":"RichTextBlock","inlines":[{"type":"TextRun","text":"<b>no markup</b>","fontType":"Monospace"}]}],
 "actions":[{"type":"Action.OpenUrl","title":"Details","url":"https://monitor.example/c/1"}]}`

func envelope(card string) string {
	return `{"type":"message","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","contentUrl":null,"content":` + card + `}]}`
}

// card posts a body to a channel with good headers, changed by set.
func (b *bench) card(t *testing.T, channel, id, body string, set ...func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		b.teams+"/workflows/"+channel+"/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=secret", bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", "1767225600")
	req.Header.Set("X-Correlation-ID", "c-1")
	req.Header.Set("X-Priority", "HIGH")
	for _, f := range set {
		f(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(raw)
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		if value == "" {
			r.Header.Del(name)
			return
		}
		r.Header.Set(name, value)
	}
}

func TestCardAccepted(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	status, _, body := b.card(t, "sre", "ntf_1", envelope(goodCard), header("webhook-signature", "v1,c2VjcmV0"))
	require.Equal(t, http.StatusAccepted, status, body)
	require.Empty(t, body)
	status, _, _ = b.card(t, "sre", "ntf_1", envelope(goodCard))
	require.Equal(t, http.StatusAccepted, status)
	status, _, _ = b.card(t, "pmo", "ntf_1", envelope(goodCard))
	require.Equal(t, http.StatusAccepted, status)
	cards := b.Cards()
	require.Len(t, cards, 2)
	require.Equal(t, 1, cards[0].Duplicates)
	require.False(t, cards[0].Changed)
	require.Equal(t, "HIGH", cards[0].Headers["x-priority"])
	require.NotContains(t, cards[0].Headers, "webhook-signature")
	require.JSONEq(t, envelope(goodCard), string(cards[0].Body))
	require.Equal(t, 1, b.Stats().Duplicates)
}

func TestCardRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	element := func(e string) string {
		return envelope(`{"type":"AdaptiveCard","version":"1.4","body":[` + e + `]}`)
	}
	actions := func(n int) string {
		return envelope(strings.Replace(goodCard, `"actions":[`, `"actions":[`+strings.Repeat(`{"type":"Action.OpenUrl","title":"x","url":"https://a.example"},`, n), 1))
	}
	same := envelope(goodCard)
	for name, tc := range map[string]struct {
		body   string
		set    func(*http.Request)
		status int
		why    string
	}{
		"no JSON":           {"{", nil, 400, "not JSON"},
		"not UTF-8":         {"\"\xff\"", nil, 400, "not UTF-8"},
		"no charset":        {same, header("Content-Type", "application/json"), 400, "charset"},
		"no id":             {same, header("webhook-id", ""), 400, "webhook-id"},
		"bad id":            {same, header("webhook-id", "a b"), 400, "webhook-id"},
		"no correlation":    {same, header("X-Correlation-ID", ""), 400, "X-Correlation-ID"},
		"bad priority":      {same, header("X-Priority", "high"), 400, "X-Priority"},
		"no sig":            {same, func(r *http.Request) { r.URL.RawQuery = "api-version=1" }, 401, "sig"},
		"no message":        {strings.Replace(same, `"message"`, `"massage"`, 1), nil, 400, "type must be"},
		"two attachments":   {`{"type":"message","attachments":[{},{}]}`, nil, 400, "exactly one"},
		"content type":      {strings.Replace(same, ".adaptive", ".thumbnail", 1), nil, 400, "contentType"},
		"contentUrl":        {strings.Replace(same, `"contentUrl":null`, `"contentUrl":""`, 1), nil, 400, "contentUrl"},
		"no contentUrl":     {strings.Replace(same, `"contentUrl":null,`, ``, 1), nil, 400, "contentUrl"},
		"card type":         {strings.Replace(same, `"AdaptiveCard"`, `"Card"`, 1), nil, 400, "AdaptiveCard"},
		"version":           {strings.Replace(same, `"1.4"`, `"1.5"`, 1), nil, 400, "version"},
		"empty body":        {element(""), nil, 400, "content.body"},
		"execute":           {strings.Replace(same, "Action.OpenUrl", "Action.Execute", 1), nil, 400, "Action.Execute"},
		"submit":            {strings.Replace(same, "Action.OpenUrl", "Action.Submit", 1), nil, 400, "Action.Submit"},
		"http action":       {strings.Replace(same, "Action.OpenUrl", "Action.Http", 1), nil, 400, "Action.Http"},
		"table":             {element(`{"type":"Table"}`), nil, 400, "Table"},
		"action in body":    {element(`{"type":"Action.OpenUrl","title":"x","url":"https://a.example"}`), nil, 400, "beside body"},
		"seven actions":     {actions(6), nil, 400, "6 actions"},
		"http URL":          {strings.Replace(same, "https://monitor", "http://monitor", 1), nil, 400, "https"},
		"script URL":        {strings.Replace(same, "https://monitor.example/c/1", "javascript:alert(1)", 1), nil, 400, "https"},
		"same id twice":     {element(`{"type":"TextBlock","id":"a","text":"x"},{"type":"TextBlock","id":"a","text":"y"}`), nil, 400, "twice"},
		"long title":        {strings.Replace(same, `"Details"`, `"A title of many characters"`, 1), nil, 400, "24"},
		"too large":         {element(`{"type":"TextBlock","text":"` + strings.Repeat("x", maxCardBytes) + `"}`), nil, 413, "28000"},
		"very much":         {strings.Repeat(" ", maxTeamsRead+1), nil, 413, "large"},
		"content no object": {envelope(`[1,2]`), nil, 400, "AdaptiveCard"},
	} {
		set := tc.set
		if set == nil {
			set = func(*http.Request) {}
		}
		status, _, body := b.card(t, "sre", "ntf_1", tc.body, set)
		require.Equal(t, tc.status, status, name+body)
		require.Contains(t, body, tc.why, name)
	}
	require.Empty(t, b.Cards())
	status, _, body := b.card(t, "sre", "ntf_2", actions(5))
	require.Equal(t, http.StatusAccepted, status, body)
	status, _, body = b.card(t, "sre", "ntf_3", strings.Replace(same, "https://monitor.example", "http://127.0.0.1:8081", 1))
	require.Equal(t, http.StatusAccepted, status, body)
}

func TestCardRate(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{TeamsRate: 4, TeamsBurst: 2, TeamsWindow: 10 * time.Second})
	sent := 0
	try := func(channel string) (int, string) {
		sent++
		status, h, _ := b.card(t, channel, fmt.Sprintf("ntf_%d", sent), envelope(goodCard))
		return status, h.Get("Retry-After")
	}
	expect := func(channel string, status int, retry string) {
		t.Helper()
		got, after := try(channel)
		require.Equal(t, status, got)
		require.Equal(t, retry, after)
	}
	expect("sre", 202, "")
	expect("sre", 202, "")
	expect("sre", 429, "1")
	expect("pmo", 202, "")
	b.clock.add(time.Second)
	expect("sre", 202, "")
	expect("sre", 202, "")
	b.clock.add(time.Second)
	expect("sre", 429, "8")
	b.clock.add(8 * time.Second)
	expect("sre", 202, "")
}

func TestCardSignature(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{SigningKeys: []string{vectorSecret}, TeamsSig: "secret", Now: func() time.Time { return time.Unix(vectorTimestamp, 0) }})
	status, _, body := b.card(t, "sre", vectorID, vectorBody, header("webhook-signature", vectorSig))
	require.Equal(t, http.StatusBadRequest, status, "well signed, but no card")
	require.Contains(t, body, "attachment")
	for _, sig := range []string{vectorSig2, ""} {
		status, _, _ = b.card(t, "sre", vectorID, vectorBody, header("webhook-signature", sig))
		require.Equal(t, http.StatusUnauthorized, status)
	}
	status, _, _ = b.card(t, "sre", vectorID, vectorBody, header("webhook-signature", vectorSig), func(r *http.Request) { r.URL.RawQuery = "sig=other" })
	require.Equal(t, http.StatusUnauthorized, status)
}

func TestTeamsFaults(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.SetFaults(Fault{Match: "teams:sre", Kind: Fault429, Count: 1}, Fault{Match: "teams", Kind: Fault500, Count: 1},
		Fault{Match: "teams:sre", Kind: FaultCutBefore, Count: 1}, Fault{Match: "teams:sre", Kind: FaultCutAfter, Count: 1}, Fault{Match: "*", Kind: Fault503})
	var got []int
	for i := range 5 {
		status, _, _ := b.card(t, "sre", "ntf_1", envelope(goodCard))
		got = append(got, status)
		if i == 2 {
			require.Empty(t, b.Cards())
		}
	}
	require.Equal(t, []int{429, 500, 0, 0, 202}, got)
	require.Len(t, b.Cards(), 1)
	require.Equal(t, 1, b.Cards()[0].Duplicates, "the cut came after the card was taken")
	require.Equal(t, 3, b.Stats().TeamsRefused)
}

func get(t *testing.T, h http.Handler, path string) (int, http.Header, string) {
	t.Helper()
	return call(t, h, http.MethodGet, path, "")
}

func TestCardsPage(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	hostile := strings.ReplaceAll(goodCard, "<b>no markup</b>", `<script>alert(1)</script>`)
	b.card(t, "sre", "ntf_1", envelope(hostile))
	b.card(t, "%3Cb%3E", "ntf_2", envelope(goodCard))
	b.card(t, "sre", "ntf_3", "{")
	status, h, body := get(t, b.Teams(), "/")
	require.Equal(t, 200, status)
	require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, body, "CLM-1")
	require.Contains(t, body, "container attention bleed")
	require.Contains(t, body, `href="https://monitor.example/c/1"`)
	require.NotContains(t, body, "<script")
	require.NotContains(t, body, "<b>")
	require.Contains(t, body, "the body is not JSON")
	_, _, body = get(t, b.Teams(), "/cards.json")
	var cards []Card
	require.NoError(t, json.Unmarshal([]byte(body), &cards))
	require.Len(t, cards, 2)
	require.NotContains(t, body, "sig=")
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]run{
		`a\*b`:                        {{Text: "a*b"}},
		`a **b** c`:                   {{Text: "a "}, {Text: "b", Class: "bolder"}, {Text: " c"}},
		`2**3`:                        {{Text: "2**3"}},
		`[x](https://a.example) y`:    {{Text: "x", URL: "https://a.example"}, {Text: " y"}},
		`[x](javascript:alert(1))`:    {{Text: "[x](javascript:alert(1))"}},
		`\[x\](https://evil.example)`: {{Text: "[x](https://evil.example)"}},
		`[`:                           {{Text: "["}},
		`\`:                           {{Text: `\`}},
		``:                            nil,
	} {
		require.Equal(t, want, markdown(text), text)
	}
}
