package web_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/web"
	"github.com/claimlinc/nphiesq/tasks"
)

// TestAnAlertIsActedOn from its notification: each button by who may, with a reason, once, and on the claim's page afterwards.
func TestAnAlertIsActedOn(t *testing.T) {
	s := open(t, func(o *web.Options) { o.Roles = actions.Permissions{actions.Discard: "supervisor"} })
	c := s.claim(t)
	letter, _ := s.deadLetter(t, c)
	_, err := s.store.Tell(t.Context(), store.Event{
		Event: cards.Event{Type: cards.TaskDLQEvent, Details: cards.DeadLetter{ID: letter.ID.String(), ClaimRef: letter.Reference}}, Key: "dead/x", ClaimID: &c.ID, DeadLetterID: &letter.ID,
	})
	require.NoError(t, err)
	list, err := s.store.ListNotifications(t.Context(), store.NotificationFilter{EventType: string(cards.TaskDLQEvent)})
	require.NoError(t, err)
	path := "/notifications/" + list[0].ID.String()
	vera, amal := s.signIn(t, "vera"), s.signIn(t, "amal")
	_, page := vera.get(path)
	require.NotContains(t, page, path+"/alert", "who only looks has no buttons")
	_, page = amal.get(path)
	for _, v := range []string{"acknowledge", "escalate", "retry", "poll", "resolve"} {
		require.Contains(t, page, `name="verb" value="`+v+`"`)
	}
	require.NotContains(t, page, `value="discard"`, "that needs a supervisor here")

	press := func(who *visitor, verb, reason string, headers ...string) (int, string) {
		r, _ := who.post(path+"/alert", url.Values{"csrf": {who.csrf()}, "verb": {verb}, "reason": {reason}}, headers...)
		return r.StatusCode, r.Header.Get("Location")
	}
	status, _ := press(vera, "acknowledge", "x")
	require.Equal(t, http.StatusForbidden, status)
	status, _ = press(amal, "discard", "x")
	require.Equal(t, http.StatusForbidden, status)
	status, _ = press(amal, "acknowledge", "x", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, status)
	status, _ = press(amal, "format", "x")
	require.Equal(t, http.StatusBadRequest, status)
	for _, x := range []struct{ verb, reason, result string }{
		{"retry", "", "no-reason"},
		{"acknowledge", "", "alert-acknowledge"},
		{"acknowledge", "", "already"},
		{"retry", "NPHIES is back", "alert-retry"},
		{"retry", "again", "already"},
		{"resolve", "", "alert-resolve"},
		{"escalate", "", "not-possible"},
	} {
		status, to := press(amal, x.verb, x.reason)
		require.Equal(t, http.StatusSeeOther, status)
		require.Equal(t, path+"?result="+x.result, to, x.verb)
	}
	require.Equal(t, "pending", s.taskState(t, tasks.NewSubmit(c.ID, 2)))
	for _, where := range []string{path, "/claims/" + c.ID.String()} {
		_, page = amal.get(where)
		require.Contains(t, page, "NPHIES is back", where)
		require.Contains(t, page, "acknowledge", where)
	}
	refused := 0
	for _, a := range s.actions(t) {
		if a.Outcome == "refused" {
			refused++
			require.Contains(t, []string{"vera", "amal"}, a.Actor)
		}
	}
	require.Equal(t, 3, refused, "who may not is on record, too")
}
