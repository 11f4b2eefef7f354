package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

func TestRetryTwiceIsTold(t *testing.T) {
	s := open(t)
	letter, task := s.deadLetter(t, s.claim(t))
	path := "/dead/" + letter.ID.String()
	amal, olga := s.signIn(t, "amal"), s.signIn(t, "olga")
	_, page := amal.get(path)
	require.Contains(t, page, path+"/retry")

	r, _ := amal.post(path+"/retry", url.Values{"csrf": {amal.csrf()}, "reason": {" the line \n is back "}})
	require.Equal(t, http.StatusSeeOther, r.StatusCode)
	require.Equal(t, path+"?result=retry", r.Header.Get("Location"))
	_, page = amal.get(r.Header.Get("Location"))
	require.Contains(t, page, "fresh budget of attempts")
	require.NotContains(t, page, path+"/retry")
	require.Empty(t, s.taskState(t, task))
	require.Equal(t, "pending", s.taskState(t, tasks.NewSubmit(*letter.ClaimID, 2)))

	r, _ = olga.post(path+"/discard", url.Values{"csrf": {olga.csrf()}, "reason": {"too old"}})
	require.Equal(t, path+"?result=already", r.Header.Get("Location"))
	_, page = olga.get(r.Header.Get("Location"))
	require.Contains(t, page, "Somebody decided before you")
	require.Contains(t, page, "<strong>amal</strong>")
	require.Contains(t, page, "the line is back")

	list := s.actions(t)
	require.Len(t, list, 2)
	require.Equal(t, []string{"olga", "discard", "already"}, []string{list[0].Actor, list[0].Verb, list[0].Outcome})
	require.Equal(t, []string{"amal", "retry", "applied", "monitor"}, []string{list[1].Actor, list[1].Verb, list[1].Outcome, list[1].Source})
	_, page = amal.get("/audit")
	require.Contains(t, page, "The trail is whole: 2 rows")
	_, page = amal.get("/claims/" + letter.ClaimID.String())
	require.Contains(t, page, "amal: retry")
}

func TestOfTwoAtOnceOneDecides(t *testing.T) {
	s := open(t)
	letter, _ := s.deadLetter(t, s.claim(t))
	v := s.signIn(t, "amal")
	form := url.Values{"csrf": {v.csrf()}, "reason": {"now"}}
	var wg sync.WaitGroup
	got := make(chan string, 8)
	for i := range 8 {
		verb := []string{"retry", "discard"}[i%2]
		wg.Go(func() {
			r, _ := v.post("/dead/"+letter.ID.String()+"/"+verb, form)
			got <- strings.TrimPrefix(r.Header.Get("Location"), "/dead/"+letter.ID.String()+"?result=")
		})
	}
	wg.Wait()
	close(got)
	count := map[string]int{}
	for g := range got {
		count[g]++
	}
	require.Equal(t, 7, count["already"], count)
}

func TestDiscardEndsTheClaim(t *testing.T) {
	s := open(t)
	letter, task := s.deadLetter(t, s.claim(t))
	v := s.signIn(t, "amal")
	r, _ := v.post("/dead/"+letter.ID.String()+"/discard", url.Values{"csrf": {v.csrf()}, "reason": {"billed on paper"}})
	require.Equal(t, "/dead/"+letter.ID.String()+"?result=discard", r.Header.Get("Location"))
	require.Empty(t, s.taskState(t, task))
	c, err := s.store.Claim(t.Context(), *letter.ClaimID)
	require.NoError(t, err)
	require.Equal(t, store.Failed, c.State)
	_, page := v.get("/claims/" + c.ID.String())
	require.Contains(t, page, "given up by amal: billed on paper")
}

func TestWhoMayDecide(t *testing.T) {
	s := open(t)
	letter, task := s.deadLetter(t, s.claim(t))
	path := "/dead/" + letter.ID.String()
	vera, amal := s.signIn(t, "vera"), s.signIn(t, "amal")
	_, page := vera.get(path)
	require.NotContains(t, page, "/retry")
	require.Contains(t, page, "It waits for somebody with the role operator")

	good := url.Values{"csrf": {amal.csrf()}, "reason": {"x"}}
	for name, c := range map[string]struct {
		who     *visitor
		form    url.Values
		headers []string
	}{
		"viewer":                 {vera, url.Values{"csrf": {vera.csrf()}, "reason": {"x"}}, nil},
		"no token":               {amal, url.Values{"reason": {"x"}}, nil},
		"another's token":        {amal, url.Values{"csrf": {vera.csrf()}, "reason": {"x"}}, nil},
		"another origin":         {amal, good, []string{"Origin", "https://evil.example"}},
		"another site":           {amal, good, []string{"Sec-Fetch-Site", "cross-site"}},
		"sibling of the site":    {amal, good, []string{"Sec-Fetch-Site", "same-site"}},
		"token in the address":   {amal, url.Values{"reason": {"x"}}, []string{"X-Csrf", amal.csrf()}},
		"origin null, like data": {amal, good, []string{"Origin", "null"}},
	} {
		for _, verb := range []string{"retry", "discard"} {
			r, _ := c.who.post(path+"/"+verb, c.form, c.headers...)
			require.Equal(t, http.StatusForbidden, r.StatusCode, name)
		}
	}
	for form, want := range map[string]string{"": "no-reason", " \n": "no-reason", strings.Repeat("x", 501): "reason-long"} {
		r, _ := amal.post(path+"/retry", url.Values{"csrf": {amal.csrf()}, "reason": {form}})
		require.Equal(t, path+"?result="+want, r.Header.Get("Location"))
	}
	for _, a := range s.actions(t) { // what the role does not permit is on record, the rest proves nothing about anybody
		require.Equal(t, []string{"vera", "refused"}, []string{a.Actor, a.Outcome})
	}
	require.Len(t, s.actions(t), 2)
	require.Equal(t, "archived", s.taskState(t, task))
	r, _ := s.visitor(t).post("/signin", url.Values{"name": {"amal"}, "password": {password}}, "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, r.StatusCode)
}

func TestBrokenTrailIsShown(t *testing.T) {
	s := open(t)
	letter, _ := s.deadLetter(t, s.claim(t))
	_, err := s.store.DiscardLetter(t.Context(), store.Decision{ID: letter.ID, Actor: "amal", Source: "cli", Reason: "x"})
	require.NoError(t, err)
	_, err = s.pool.Exec(t.Context(), `ALTER TABLE operator_actions DISABLE TRIGGER USER`)
	require.NoError(t, err)
	_, err = s.pool.Exec(t.Context(), `UPDATE operator_actions SET actor = 'eve'`)
	require.NoError(t, err)
	_, page := s.signIn(t, "vera").get("/audit")
	require.Contains(t, page, "the audit trail is broken at row 1")
}
