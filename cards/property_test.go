package cards

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hostile are pieces that texts of others are made of at their worst.
var hostile = []string{
	"[click me](https://evil.example)", "<at>All</at>", "**b**", "_i_", "`c`", "\x00", "\x1b[31m", "\u202e", "\u200b", "\u2066",
	"\xff\xfe", "\u2028", "\n", "\r\n- ", "1. ", "| a | b |", "{{DATE(2017-02-14T06:08:39Z)}}", "\"}],\"x\":", "</script>",
	"الاسم الكامل", "🏥", "\\", "\\\\", "&amp;", "x", "claim", "987654321", "e\u0301", "\ufeff", "#", "~~", "\t", "12.5",
}

func hostileText(r *rand.Rand) string {
	n := 0
	switch r.IntN(6) {
	case 0:
	case 1, 2, 3:
		n = r.IntN(8)
	case 4:
		n = r.IntN(300)
	case 5:
		n = r.IntN(6000)
	}
	var b strings.Builder
	for range n {
		b.WriteString(hostile[r.IntN(len(hostile))])
	}
	return b.String()
}

// fill sets every field under v.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostileText(r))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64N(1<<50) - 1<<20)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<33), 0)))
			return
		}
		for _, f := range v.Fields() {
			fill(r, f)
		}
	case reflect.Slice:
		n := r.IntN(40)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	default:
		panic("no filling for " + v.Kind().String())
	}
}

// choose gives the fields that decide what a builder shows one of their values, now and then.
func choose(r *rand.Rand, v reflect.Value) {
	for name, values := range map[string][]string{
		"ErrorType": {ErrorCertificate, ErrorJWT, ErrorNetwork, ErrorAPI}, "Outcome": {string(Approved), string(Partial)}, "Severity": {"critical", "high"},
		"Operation": {OperationEligibility, OperationPoll},
	} {
		if f := v.FieldByName(name); f.IsValid() && r.IntN(4) > 0 {
			f.SetString(values[r.IntN(len(values))])
		}
	}
}

// TestAnyInputGivesAGoodCard: whatever the details hold, in every form, language and priority, the card is small enough, valid,
// keeps every action and its id.
func TestAnyInputGivesAGoodCard(t *testing.T) {
	schema := cardSchema(t)
	long := testLinks
	long.Grafana += strings.Repeat("a", maxURL-len(long.Grafana))
	long.Kibana += strings.Repeat("b", maxURL-len(long.Kibana))
	long.QueueRunbook += strings.Repeat("c", maxURL-len(long.QueueRunbook))
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		var d Digest
		links := testLinks
		if seed%2 == 0 {
			links = long
		}
		if seed%4 < 2 {
			links.Language = Arabic
		}
		details := "Details"
		if links.Language == Arabic {
			details = arabic["Details"]
		}
		for _, row := range Table() {
			of := reflect.New(reflect.TypeOf(row.Details)).Elem()
			fill(r, of)
			choose(r, of)
			e := Event{
				ID: "6f1c2d3e-4a5b-4c6d-8e7f-000000000033", Type: row.Type, CorrelationID: hostileText(r), Priority: Priorities()[r.IntN(5)],
				Environment: hostileText(r), At: time.Unix(r.Int64N(1<<33), 0), Details: of.Interface(), Seen: r.IntN(3), SeenSince: time.Unix(r.Int64N(1<<33), 0),
			}
			switch r.IntN(6) {
			case 0:
				e.Resolved = &Resolution{At: time.Unix(r.Int64N(1<<33), 0), AcknowledgedBy: hostileText(r)}
			case 1:
				e.Acknowledged = &Acknowledgement{At: time.Unix(r.Int64N(1<<33), 0), By: hostileText(r), Decision: Decision(hostileText(r)), Reason: hostileText(r)}
			}
			card, err := Render(e, links)
			require.NoError(t, err)
			s := checkCard(t, schema, card)
			c, err := e.content(links)
			require.NoError(t, err)
			require.Len(t, s.actions, min(len(c.actions), 5), "%s: an action is missing", row.Type)
			require.Equal(t, details, s.titles[len(s.titles)-1])
			require.LessOrEqual(t, len(c.facts), maxFacts, "%s: facts are lost", row.Type)
			require.Contains(t, strings.Join(s.texts[len(s.texts)-3:], " "), e.ID)
			checkInert(t, s)

			small, err := Minimal(card)
			require.NoError(t, err)
			checkCard(t, schema, small)
			for range r.IntN(30) {
				d.Entries = append(d.Entries, DigestEntry{ID: e.ID, Type: e.Type, Priority: e.Priority, Card: card})
			}
		}
		d.ID, d.At, d.Channel, d.Environment = "d", time.Unix(1, 0), hostileText(r), hostileText(r)
		d.Entries = append(d.Entries, DigestEntry{ID: hostileText(r), Type: EventType(hostileText(r))})
		card, err := RenderDigest(d, links)
		require.NoError(t, err)
		checkInert(t, checkCard(t, schema, card))
	}
}

var mentions = regexp.MustCompile(`(?i)<at[\s>]`)

// checkInert asserts that no text can act on its reader. It runs over megabytes: assertions only where something is wrong.
func checkInert(t *testing.T, s shown) {
	t.Helper()
	for _, text := range append(s.texts, s.literals...) {
		if mentions.MatchString(text) || strings.ContainsAny(text, "\x00\x1b\u202e\u200b\u2066\u2028\ufeff") {
			require.Failf(t, "not inert", "%q", text)
		}
		for one := range strings.Lines(text) {
			if one = strings.TrimSuffix(one, "\n"); balance(one) != one {
				require.Failf(t, "reaches beyond its end", "%q", one)
			}
		}
	}
	for _, text := range s.texts {
		escaped := false
		for _, r := range text {
			if r == '\n' || (!escaped && strings.ContainsRune("`*_[]()<>#~|", r)) {
				require.Failf(t, "not inert", "%q in %q", r, text)
			}
			escaped = r == '\\' && !escaped
		}
		require.False(t, escaped, "a backslash at the end of %q would escape what follows", text)
	}
}

func FuzzFreeText(f *testing.F) {
	for _, h := range hostile {
		f.Add(h, 10)
	}
	schema := cardSchema(f)
	f.Fuzz(func(t *testing.T, text string, n int) {
		require.LessOrEqual(t, len([]rune(cut(text, n&0xff))), n&0xff+len("… (+9999999999 bytes)"))
		card, err := Render(Event{
			ID: "a", Type: ClaimRejectedEvent, At: time.Unix(1, 0), Environment: text,
			Details: ClaimRejected{ClaimRef: text, Payer: text, Disposition: text, Reasons: []Reason{{Code: text, Display: text}}},
		}, testLinks)
		require.NoError(t, err)
		checkInert(t, checkCard(t, schema, card))
	})
}

// TestNoPlaceForPatients: the details structs have no field for a person's data, and what arrives in JSON beside their fields
// is dropped.
func TestNoPlaceForPatients(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Slice:
			walk(typ.Elem())
		case reflect.Struct:
			if typ == reflect.TypeFor[time.Time]() {
				return
			}
			for f := range typ.Fields() {
				name := strings.ToLower(f.Name)
				for _, bad := range []string{"patient", "member", "birth", "national", "diagnos", "gender", "phone", "beneficiary"} {
					require.NotContains(t, name, bad, "%s.%s", typ.Name(), f.Name)
				}
				walk(f.Type)
			}
		case reflect.Map, reflect.Interface:
			t.Errorf("%s could carry anything", typ)
		default: // numbers and texts
		}
	}
	for _, row := range Table() {
		walk(reflect.TypeOf(row.Details))
	}

	var e Event
	require.NoError(t, json.Unmarshal([]byte(`{"id":"a","type":"nphies.claim.submitted","at":"2026-01-01T00:00:00Z",
		"details":{"claim_ref":"C1","patient_name":"Layla Hassan","patient":{"national_id":"1098765432","birthDate":"1980-02-03"}}}`), &e))
	card, err := Render(e, testLinks)
	require.NoError(t, err)
	for _, leak := range []string{"Layla", "1098765432", "1980-02-03"} {
		require.NotContains(t, string(card), leak)
	}
}
