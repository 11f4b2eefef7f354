package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/web"
)

const api = "/queues/api/queues/nphies-submit"

func TestQueuePagesAreOnRecord(t *testing.T) {
	s := open(t)
	again, away := s.claim(t), s.claim(t)
	toRun, runTask := s.deadLetter(t, again)
	toDrop, dropTask := s.deadLetter(t, away)
	v := s.signIn(t, "amal")

	r, _ := v.do(http.MethodPost, api+"/archived_tasks/"+runTask.ID+":run", nil, "X-Reason", "line is back")
	require.Equal(t, http.StatusNoContent, r.StatusCode)
	require.Equal(t, "pending", s.taskState(t, runTask))
	l, err := s.store.DeadLetter(t.Context(), toRun.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"retrying", "amal", "line is back"}, []string{string(l.State), l.DecidedBy, l.Reason})
	list := s.actions(t)
	require.Len(t, list, 2)
	require.Equal(t, []string{"applied", "requested"}, []string{list[0].Outcome, list[1].Outcome})
	require.Equal(t, list[0].CommandID, list[1].CommandID)
	require.Equal(t, []string{"monitor", "run", "task", "nphies-submit/" + runTask.ID}, []string{list[1].Source, list[1].Verb, list[1].TargetKind, list[1].Target})
	require.Equal(t, "204", list[0].Detail["status"])

	body := fmt.Sprintf(`{"task_ids":[%q]}`, dropTask.ID)
	r, text := v.do(http.MethodPost, api+"/archived_tasks:batch_delete", strings.NewReader(body))
	require.Equal(t, http.StatusConflict, r.StatusCode)
	require.Contains(t, text, "/dead/"+toDrop.ID.String(), "nothing is given up without a reason")
	r, text = v.do(http.MethodPost, api+"/archived_tasks:batch_delete", strings.NewReader(body), "X-Reason", "billed on paper")
	require.Equal(t, http.StatusOK, r.StatusCode, text)
	require.Empty(t, s.taskState(t, dropTask))
	l, err = s.store.DeadLetter(t.Context(), toDrop.ID)
	require.NoError(t, err)
	require.Equal(t, store.LetterDiscarded, l.State)
	c, err := s.store.Claim(t.Context(), away.ID)
	require.NoError(t, err)
	require.Equal(t, store.Failed, c.State) // else it would wish for a new task

	r, _ = v.do(http.MethodPost, api+":pause", nil)
	require.Equal(t, http.StatusNoContent, r.StatusCode)
	_, page := v.get("/")
	require.Contains(t, page, "Queue nphies-submit is paused")
	_, page = v.get("/audit")
	require.Contains(t, page, "The trail is whole: 7 rows") // run 2, delete 2 and the decision, pause 2
	_, page = v.get("/claims/" + again.ID.String())
	require.Contains(t, page, "nphies-submit/"+runTask.ID)
}

func TestNoRecordNoQueueAction(t *testing.T) {
	s := open(t)
	_, task := s.deadLetter(t, s.claim(t))
	v := s.signIn(t, "amal")
	_, err := s.pool.Exec(t.Context(), `ALTER TABLE operator_actions RENAME TO away`)
	require.NoError(t, err)
	r, _ := v.do(http.MethodDelete, api+"/archived_tasks/"+task.ID, nil, "X-Reason", "x")
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	require.Equal(t, "archived", s.taskState(t, task))
}

// TestVerbsHaveTheirRolesEverywhere: on the dead letter's page, for many at once, and on the queue pages. What is refused is on record.
func TestVerbsHaveTheirRolesEverywhere(t *testing.T) {
	s := open(t, func(o *web.Options) { o.Roles = actions.Permissions{actions.Discard: "supervisor"} })
	letter, task := s.deadLetter(t, s.claim(t))
	v := s.signIn(t, "amal")
	form := url.Values{"csrf": {v.csrf()}, "reason": {"bypass"}, "verb": {"discard"}, "rate": {"60"}, "until": {time.Now().Add(time.Hour).Format(time.RFC3339Nano)}}
	r, _ := v.post("/dead/"+letter.ID.String()+"/discard", form)
	require.Equal(t, http.StatusForbidden, r.StatusCode)
	r, _ = v.post("/dead/bulk", form)
	require.Equal(t, http.StatusForbidden, r.StatusCode)
	r, _ = v.do(http.MethodDelete, api+"/archived_tasks/"+task.ID, nil, "X-Reason", "bypass")
	require.Equal(t, http.StatusForbidden, r.StatusCode)
	require.Equal(t, "archived", s.taskState(t, task))
	l, err := s.store.DeadLetter(t.Context(), letter.ID)
	require.NoError(t, err)
	require.Equal(t, store.LetterOpen, l.State)
	list := s.actions(t)
	require.Len(t, list, 3)
	for _, a := range list {
		require.Equal(t, []string{"amal", "refused"}, []string{a.Actor, a.Outcome})
	}
}

func TestViewersMayNotTouchQueues(t *testing.T) {
	s := open(t)
	_, task := s.deadLetter(t, s.claim(t))
	v := s.signIn(t, "vera")
	r, body := v.get(api + "/archived_tasks")
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Contains(t, body, task.ID)
	for _, path := range []string{"/archived_tasks/" + task.ID + ":run", ":pause", "/archived_tasks:run_all"} {
		r, _ = v.do(http.MethodPost, api+path, nil)
		require.Equal(t, http.StatusForbidden, r.StatusCode, path)
	}
	_, page := v.get("/queues/")
	require.Contains(t, page, `window.FLAG_READ_ONLY="true"`)
	require.Equal(t, "archived", s.taskState(t, task))
	tried := s.actions(t)
	require.Len(t, tried, 3, "what they tried is on record")
	for _, a := range tried {
		require.Equal(t, []string{"vera", "refused"}, []string{a.Actor, a.Outcome})
	}
}
