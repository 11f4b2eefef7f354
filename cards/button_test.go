package cards

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func actionsOf(t *testing.T, card json.RawMessage) (titles []string, all []map[string]any) {
	t.Helper()
	var c struct {
		Actions []map[string]any `json:"actions"`
	}
	require.NoError(t, json.Unmarshal(card, &c))
	for _, a := range c.Actions {
		titles = append(titles, a["title"].(string))
	}
	return titles, c.Actions
}

func buttonsFor(verbs ...Verb) (out []Button) {
	for _, v := range verbs {
		out = append(out, Button{v, "https://actions.example/a/" + string(v)})
	}
	return out
}

// TestButtons stand before the card's own, "Details" stays the last of five, and what a webhook cannot show is not in it.
func TestButtons(t *testing.T) {
	schema := cardSchema(t)
	for _, language := range []Language{English, Arabic} {
		l := testLinks
		l.Language = language
		for name, c := range goldenCases(t) {
			if len(c.Event) == 0 {
				continue
			}
			card, err := Render(c.event(t), l)
			require.NoError(t, err)
			_, own := actionsOf(t, card)
			with, err := WithButtons(card, buttonsFor(VerbAcknowledge, VerbEscalate, VerbRetry, VerbDiscard))
			require.NoError(t, err)
			titles, all := actionsOf(t, with)
			require.LessOrEqual(t, len(titles), maxActions)
			require.Equal(t, own[len(own)-1], all[len(all)-1], "Details stays the last one")
			for _, title := range titles {
				require.LessOrEqual(t, len([]rune(title)), maxTitle)
			}
			checkCard(t, schema, with)
			require.Equal(t, "Action.ShowCard", all[3]["type"], "%s: what cannot be taken back comes with a warning", name)
			require.Contains(t, string(with), "https://actions.example/a/discard")
		}
	}
	card, err := Render(oneEvent(t), testLinks)
	require.NoError(t, err)
	same, err := WithButtons(card, nil)
	require.NoError(t, err)
	require.Equal(t, string(card), string(same))
	titles, _ := actionsOf(t, mustButtons(t, card, buttonsFor(VerbAcknowledge)...))
	require.Equal(t, "Acknowledge", titles[0])
	require.Equal(t, "Details", titles[len(titles)-1])
}

func oneEvent(t *testing.T) Event {
	t.Helper()
	return goldenCases(t)["task_dlq"].event(t)
}

func mustButtons(t *testing.T, card json.RawMessage, b ...Button) json.RawMessage {
	t.Helper()
	out, err := WithButtons(card, b)
	require.NoError(t, err)
	return out
}

func TestButtonsThatCannotBe(t *testing.T) {
	card, err := Render(oneEvent(t), testLinks)
	require.NoError(t, err)
	_, err = WithButtons(card, []Button{{VerbAcknowledge, "javascript:alert(1)"}})
	require.ErrorIs(t, err, ErrActionNotSupportedByTransport)
	_, err = WithButtons(card, []Button{{VerbAcknowledge, "http://actions.example/a"}})
	require.ErrorIs(t, err, ErrActionNotSupportedByTransport)
	_, err = WithButtons(card, []Button{{"format", "https://actions.example/a"}})
	require.ErrorIs(t, err, ErrEvent)
	_, err = WithButtons(json.RawMessage(`[]`), buttonsFor(VerbRetry))
	require.ErrorIs(t, err, ErrCard)
	_, err = Envelope("", json.RawMessage(`{"type":"AdaptiveCard","actions":[{"type":"Action.ShowCard","card":{"actions":[{"type":"Action.Submit"}]}}]}`))
	require.ErrorIs(t, err, ErrActionNotSupportedByTransport, "not even when it is hidden in one that unfolds")
}

// TestACardThatIsFullBecomesMinimal with its buttons.
func TestACardThatIsFullBecomesMinimal(t *testing.T) {
	e := oneEvent(t)
	card, err := Render(e, testLinks)
	require.NoError(t, err)
	var top map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(card, &top))
	var body []any
	require.NoError(t, json.Unmarshal(top["body"], &body))
	body = append(body, map[string]string{"type": "TextBlock", "id": "long", "text": strings.Repeat("x", SoftLimit-len(card)-600)})
	top["body"], err = json.Marshal(body)
	require.NoError(t, err)
	full, err := json.Marshal(top)
	require.NoError(t, err)
	long := []Button{{VerbAcknowledge, "https://actions.example/a/" + strings.Repeat("t", 500)}, {VerbDiscard, "https://actions.example/a/" + strings.Repeat("d", 500)}}
	with := mustButtons(t, full, long...)
	request, err := Envelope("", with)
	require.NoError(t, err)
	require.LessOrEqual(t, len(request), SoftLimit)
	titles, _ := actionsOf(t, with)
	require.Equal(t, []string{"Acknowledge", "Discard…"}, titles[:2])
	require.NotContains(t, string(with), "xxxx")
}
