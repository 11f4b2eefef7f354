package asynqmon

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
)

// Verbs of an Action.
const (
	Run         = "run"
	Delete      = "delete"
	BatchRun    = "batch_run"
	BatchDelete = "batch_delete"
	Pause       = "pause"
	Resume      = "resume"
)

// Action is one change that somebody wants to make.
type Action struct {
	// ID joins what Before and After were told.
	ID   uuid.UUID
	User string
	Verb string
	// Queue is the queue; State the list in which the tasks stand (archived, retry, scheduled, pending, completed), "" for Pause
	// and Resume.
	Queue string
	State string
	// Tasks are the ids of the tasks.
	Tasks []string
	// Reason is that of the header X-Reason; asynqmon's own pages send none.
	Reason string
}

// Result is what came of an Action.
type Result struct {
	// Status is the HTTP status.
	Status int
	// Done and Failed are the ids of Action.Tasks with and without the change.
	Done, Failed []string
}

// OK reports whether everything was done.
func (r Result) OK() bool { return r.Status < 300 && len(r.Failed) == 0 }

// refusal is an error with the HTTP status it is told with.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

// Refuse is an error of Audit.Before that refuses an action: its text is shown to whoever wanted it.
func Refuse(status int, text string) error { return &refusal{status, text} }

func statusOf(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status
	}
	return http.StatusInternalServerError
}

var (
	errNotAllowed = &refusal{http.StatusForbidden, "this change is not allowed here: allowed are run and delete of chosen tasks, pause and resume of a queue"}
	errBody       = &refusal{http.StatusBadRequest, "the request does not name the tasks"}
	errTooMany    = &refusal{http.StatusBadRequest, "too many tasks at once"}
	errState      = &refusal{http.StatusConflict, "the task has left this list; reload the page"}
	errUnreadable = &refusal{http.StatusServiceUnavailable, "Redis does not answer"}
)

// What may be changed. Everything that names no task (…_all), archiving by hand, cancelling and the deletion of queues is left
// out: those lose tasks, or leave them where neither running nor deleting works.
var routes = []struct {
	method string
	path   *regexp.Regexp
	verb   string
}{
	{http.MethodPost, regexp.MustCompile(`^api/queues/([^/:]+):pause$`), Pause},
	{http.MethodPost, regexp.MustCompile(`^api/queues/([^/:]+):resume$`), Resume},
	{http.MethodPost, regexp.MustCompile(`^api/queues/([^/:]+)/(scheduled|retry|archived)_tasks/([^/]+):run$`), Run},
	{http.MethodDelete, regexp.MustCompile(`^api/queues/([^/:]+)/(pending|scheduled|retry|archived|completed)_tasks/([^/]+)$`), Delete},
	{http.MethodPost, regexp.MustCompile(`^api/queues/([^/:]+)/(scheduled|retry|archived)_tasks:batch_run$`), BatchRun},
	{http.MethodPost, regexp.MustCompile(`^api/queues/([^/:]+)/(pending|scheduled|retry|archived|completed)_tasks:batch_delete$`), BatchDelete},
}

const (
	maxBody   = 64 << 10
	maxTasks  = 200
	maxReason = 500
)

// parse reads an Action from a request below RootPath, and leaves the request's body to be read again.
func parse(r *http.Request, path string) (Action, error) {
	for _, rt := range routes {
		m := rt.path.FindStringSubmatch(path)
		if m == nil || rt.method != r.Method {
			continue
		}
		a := Action{ID: uuid.New(), Verb: rt.verb, Queue: m[1], Reason: reason(r)}
		if len(m) > 2 {
			a.State = m[2]
		}
		if len(m) > 3 {
			a.Tasks = []string{m[3]}
		}
		if rt.verb == BatchRun || rt.verb == BatchDelete {
			var err error
			if a.Tasks, err = taskIDs(r); err != nil {
				return Action{}, err
			}
		}
		return a, nil
	}
	return Action{}, errNotAllowed
}

func reason(r *http.Request) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(r.Header.Get("X-Reason"), "")), " ")
	if runes := []rune(text); len(runes) > maxReason {
		text = string(runes[:maxReason])
	}
	return text
}

// taskIDs reads {"task_ids": [...]} and puts the very same list back as the body, so that what is carried out is what is on record.
func taskIDs(r *http.Request) ([]string, error) {
	var list struct {
		TaskIDs []string `json:"task_ids"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil || len(body) > maxBody || json.Unmarshal(body, &list) != nil || len(list.TaskIDs) == 0 {
		return nil, errBody
	}
	if len(list.TaskIDs) > maxTasks {
		return nil, errTooMany
	}
	body, err = json.Marshal(list)
	if err != nil {
		return nil, errBody
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return list.TaskIDs, nil
}

// check refuses a change of tasks that are no longer in the list it was asked for: asynq would run a completed task once more.
func (h *Handler) check(a Action) error {
	for _, id := range a.Tasks {
		info, err := h.insp.GetTaskInfo(a.Queue, id)
		switch {
		case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound):
			return errState
		case err != nil:
			return errUnreadable
		case info.State.String() != a.State:
			return errState
		}
	}
	return nil
}

// resultOf reads what asynqmon answered.
func resultOf(a Action, rec *recorder) Result {
	r := Result{Status: rec.status}
	if r.Status >= 300 {
		r.Failed = a.Tasks
		return r
	}
	switch a.Verb {
	case BatchRun, BatchDelete:
		var lists struct {
			Deleted []string `json:"deleted_ids"`
			Pending []string `json:"pending_ids"`
			Failed  []string `json:"failed_ids"`
			Errors  []string `json:"error_ids"`
		}
		if err := json.Unmarshal(rec.body.Bytes(), &lists); err != nil {
			r.Failed = a.Tasks
			return r
		}
		r.Done, r.Failed = append(lists.Deleted, lists.Pending...), append(lists.Failed, lists.Errors...)
	default:
		r.Done = a.Tasks
	}
	return r
}
