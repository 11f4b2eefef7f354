package cards

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEveryEventInEveryForm: every event type gives a card at every priority, in both languages and in every form, even with
// details that hold nothing.
func TestEveryEventInEveryForm(t *testing.T) {
	schema := cardSchema(t)
	at := time.Date(2026, 3, 14, 21, 26, 53, 0, time.UTC)
	for _, row := range Table() {
		for _, p := range Priorities() {
			for _, language := range []Language{English, Arabic} {
				links := testLinks
				links.Language = language
				word := func(s phrase) string { return string(language.say(s)) }
				e := Event{ID: "a", Type: row.Type, Priority: p, At: at, Details: row.Details, Seen: 3, SeenSince: at.Add(-time.Hour)}
				card, err := Render(e, links)
				require.NoError(t, err)
				s := checkCard(t, schema, card)
				require.Contains(t, s.texts[0], word(phrase(p))+" · ")
				require.Contains(t, Summary(card), word(phrase(p))+": ")

				e.Resolved = &Resolution{At: at.Add(90 * time.Minute), AcknowledgedBy: "Noura"}
				card, err = Render(e, links)
				require.NoError(t, err)
				s = checkCard(t, schema, card)
				require.Contains(t, string(card), `"style":"good"`)
				require.Contains(t, s.texts[0], word("RESOLVED")+" · ")
				require.Contains(t, Summary(card), word("RESOLVED")+": ")
				require.Equal(t, []string{word("Details")}, s.titles)
				require.Contains(t, s.values, string(language.isolate(language.span(90*time.Minute))))
				require.Contains(t, s.values, string(language.isolate("Noura")))

				e.Resolved, e.Acknowledged = nil, &Acknowledgement{By: "Noura", At: at.Add(time.Minute)}
				card, err = Render(e, links)
				require.NoError(t, err)
				s = checkCard(t, schema, card)
				require.Contains(t, s.texts[0], word("ACKNOWLEDGED")+" · ")
				require.Equal(t, []string{word("Details")}, s.titles)
				require.Contains(t, s.values, string(language.isolate("Noura")))
			}
		}
	}
}

func TestSeen(t *testing.T) {
	e := Event{ID: "a", Type: TaskRetryEvent, At: time.Unix(1, 0), Details: TaskFailure{}, Seen: 1, SeenSince: time.Unix(1, 0)}
	card, err := Render(e, Links{})
	require.NoError(t, err)
	require.NotContains(t, string(card), "seen")
	e.Seen = 1200
	card, err = Render(e, Links{})
	require.NoError(t, err)
	require.Contains(t, string(card), "seen 1,200 times since 1970-01-01T00:00:01Z")
}

func TestFollowUpsNeedATime(t *testing.T) {
	e := Event{ID: "a", Type: TaskRetryEvent, At: time.Unix(1, 0), Details: TaskFailure{}, Resolved: &Resolution{}}
	_, err := Render(e, Links{})
	require.ErrorIs(t, err, ErrEvent)
	e.Resolved, e.Acknowledged = nil, &Acknowledgement{By: "x"}
	_, err = Render(e, Links{})
	require.ErrorIs(t, err, ErrEvent)
}

// TestPeopleWriteInertText: what persons wrote is as inert as what machines wrote.
func TestPeopleWriteInertText(t *testing.T) {
	for _, language := range []Language{English, Arabic} {
		card, err := Render(Event{
			ID: "a", Type: TaskDLQEvent, At: time.Unix(1, 0), Details: DeadLetter{}, Acknowledged: &Acknowledgement{
				At: time.Unix(2, 0), By: "[x](https://evil.example)\u202e<at>All</at>", Decision: DecisionDiscarded, Reason: "**b** 1098765432 \u2067 password=hunter2",
			},
		}, Links{Language: language})
		require.NoError(t, err)
		_, s := read(t, card)
		checkInert(t, s)
		for _, leak := range []string{"1098765432", "hunter2", "](https"} {
			require.NotContains(t, string(card), leak)
		}
	}
}
