package cards

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

func presses(verbs ...Verb) (out []Press) {
	for _, v := range verbs {
		out = append(out, Press{v, "v1.k1." + strings.Repeat("x", 300)})
	}
	return out
}

// checkBotCard asserts what holds for every card of the bot.
func checkBotCard(t *testing.T, schema *jsonschema.Schema, card json.RawMessage) shown {
	t.Helper()
	request, err := BotEnvelope("", card)
	require.NoError(t, err)
	require.LessOrEqual(t, len(request), SoftLimit)
	_, err = Envelope("", card)
	require.ErrorIs(t, err, ErrActionNotSupportedByTransport, "a webhook never carries it")
	top, s := read(t, card)
	require.Equal(t, "1.5", top["version"])
	delete(top, "msteams")
	stripped, err := json.Marshal(top)
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(stripped))
	require.NoError(t, err)
	require.NoError(t, schema.Validate(doc))
	slices.Sort(s.ids)
	require.Len(t, slices.Compact(slices.Clone(s.ids)), len(s.ids), "element ids repeat")
	return s
}

func TestCardsOfTheBot(t *testing.T) {
	schema := cardSchema(t)
	standings := []Standing{
		{},
		{State: "acknowledged", By: "Amal *b* [x](https://evil.example)", At: time.Now(), Note: "Done <at>all</at>"},
		{State: "escalated"},
		{State: "retrying", By: "x", Reason: strings.Repeat("ü", 600)},
		{State: "discarded", By: "أمل", Reason: "[x](https://evil.example)"},
		{State: "resolved"},
	}
	n := 0
	for _, language := range []Language{English, Arabic} {
		l := testLinks
		l.Language = language
		for name, c := range goldenCases(t) {
			if len(c.Event) == 0 {
				continue
			}
			n++
			card, err := Render(c.event(t), l)
			require.NoError(t, err)
			for _, s := range []Standing{standings[n%len(standings)], standings[(n+1)%len(standings)]} { // all of them, not each on every card
				out, err := Interactive(card, s, "0190a8f0-0000-7000-8000-000000000000", presses(VerbAcknowledge, VerbEscalate, VerbRetry, VerbResolve, VerbDiscard, VerbView))
				require.NoError(t, err, name)
				seen := checkBotCard(t, schema, out)
				require.NotContains(t, strings.Join(seen.texts, "\n"), "[x](https", "names are no links")
				require.NotContains(t, strings.Join(seen.texts, "\n"), "<at>")
				require.Contains(t, seen.ids, "actions")
				require.Contains(t, string(out), `"refresh"`)
				_, own := actionsOf(t, card)
				_, kept := actionsOf(t, out)
				require.Equal(t, own, kept, "its links stay")
			}
			for _, verb := range []Verb{VerbDiscard, VerbRetry} {
				form, err := Ask(card, Press{verb, "t"}, Press{VerbView, "t"}, "id", "A reason is needed.")
				require.NoError(t, err)
				checkBotCard(t, schema, form)
				require.Contains(t, string(form), `"Input.Text"`)
			}
			confirm, err := Confirm(card, Press{VerbDiscard, "t"}, Press{VerbView, "t"}, "id", "because [x](https://evil.example)")
			require.NoError(t, err)
			seen := checkBotCard(t, schema, confirm)
			require.NotContains(t, strings.Join(seen.texts, "\n"), "because")
			require.Contains(t, strings.Join(seen.literals, "\n"), "because [x](https://evil.example)")
		}
	}
}

func TestWhatTheBotDoesNotPost(t *testing.T) {
	for name, card := range map[string]string{
		"an Execute without a verb": `{"type":"AdaptiveCard","body":[{"type":"ActionSet","actions":[{"type":"Action.Execute","title":"x"}]}]}`,
		"an Execute of others":      `{"type":"AdaptiveCard","body":[{"type":"ActionSet","actions":[{"type":"Action.Execute","verb":"drop"}]}]}`,
		"a Submit alone":            `{"type":"AdaptiveCard","body":[],"actions":[{"type":"Action.Submit","title":"x"}]}`,
		"a Submit as select action": `{"type":"AdaptiveCard","body":[{"type":"Container","items":[],"selectAction":{"type":"Action.Submit"}}]}`,
		"an Http":                   `{"type":"AdaptiveCard","body":[],"actions":[{"type":"Action.Http"}]}`,
		"a fallback to an Http":     `{"type":"AdaptiveCard","body":[],"actions":[{"type":"Action.Execute","verb":"alert.retry","fallback":{"type":"Action.Http"}}]}`,
		"a link to http":            `{"type":"AdaptiveCard","body":[],"actions":[{"type":"Action.OpenUrl","url":"http://x.example"}]}`,
	} {
		_, err := BotEnvelope("", json.RawMessage(card))
		require.ErrorIs(t, err, ErrActionNotSupportedByTransport, name)
		_, err = Envelope("", json.RawMessage(card))
		require.ErrorIs(t, err, ErrActionNotSupportedByTransport, name)
	}
	_, err := Interactive(json.RawMessage(`{"body":[]}`), Standing{}, "id", presses("drop"))
	require.ErrorIs(t, err, ErrEvent)
	for _, bad := range []string{"", "[]", "{}", `{"body":1}`} {
		_, err := Interactive(json.RawMessage(bad), Standing{}, "id", nil)
		require.ErrorIs(t, err, ErrCard, bad)
	}
}
