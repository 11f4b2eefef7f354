package cards

import (
	"strconv"
	"strings"
	"time"
)

// DeadLetters is the details of "dlq.threshold": more dead letters wait than the settings allow.
type DeadLetters struct {
	Queue     string    `json:"queue"` // "all" for all of them together
	Waiting   int       `json:"waiting"`
	Threshold int       `json:"threshold"`
	OldestAt  time.Time `json:"oldest_at,omitzero"`
	LastHour  int       `json:"last_hour,omitempty"` // written within it
	TopError  string    `json:"top_error,omitempty"` // class of most of them
	TopTask   string    `json:"top_task,omitempty"`  // task type of most of them
}

func buildDeadLetters(d DeadLetters, e Event, l Links) content {
	w := l.Language
	var age said
	if !d.OldestAt.IsZero() {
		age = w.span(e.At.Sub(d.OldestAt))
	}
	return content{
		object:  d.Queue,
		counter: plain(count(d.Waiting)),
		facts: []fact{
			must("Queue", w.word(d.Queue)),
			must("Dead letters", count(d.Waiting)),
			must("Threshold", count(d.Threshold)),
			may("Oldest", moment(d.OldestAt)),
			may("Waiting for", age),
			may("In the last hour", count(d.LastHour)),
			may("Most frequent error", d.TopError),
			may("Most frequent task", d.TopTask),
		},
		actions: fleetActions(l, page(l.Monitor, "dead", "")),
	}
}

// fleetActions are the buttons of a card about queues and servers.
func fleetActions(l Links, details string) []action {
	return []action{
		{"Queue runbook", l.QueueRunbook},
		{"Grafana", l.Grafana},
		{"Kibana", l.Kibana},
		{"Details", details},
	}
}

// Backlog is the details of "queue.backlog": a queue is longer or older than the settings allow.
type Backlog struct {
	Queue   string `json:"queue"`
	State   string `json:"state"` // "growing", "stopped", "paused"
	Pending int    `json:"pending"`
	Active  int    `json:"active"`
	Retry   int    `json:"retry"`
	// Archived tasks of the queue, asynq's word for dead ones.
	Archived  int           `json:"archived"`
	Oldest    time.Duration `json:"oldest,omitempty"`    // age of the oldest pending task; in JSON nanoseconds
	Threshold string        `json:"threshold,omitempty"` // "5000 pending", "15 m"
	Workers   int           `json:"workers,omitempty"`   // alive
	Expected  int           `json:"expected,omitempty"`  // workers there should be
	PerMinute int           `json:"per_minute,omitempty"`
	Drain     time.Duration `json:"drain,omitempty"` // estimate; in JSON nanoseconds
	Since     time.Time     `json:"since,omitzero"`
}

func buildBacklog(d Backlog, _ Event, l Links) content {
	w := l.Language
	workers := of(d.Workers, d.Expected)
	if workers == "" {
		workers = count(d.Workers)
	}
	var rate said
	if d.PerMinute > 0 {
		rate = w.say("%s per minute", count(d.PerMinute))
	}
	counts := make([]string, 0, 4)
	for _, n := range []int{d.Pending, d.Active, d.Retry, d.Archived} {
		counts = append(counts, grouped(n))
	}
	return content{
		object:  d.Queue,
		counter: plain(grouped(d.Pending)),
		facts: []fact{
			must("Queue", d.Queue),
			must("State", w.word(d.State)),
			must("Pending / active / retry / archived", strings.Join(counts, " / ")),
			must("Oldest pending", w.span(d.Oldest)),
			may("Threshold", d.Threshold),
			may("Workers alive", workers),
			may("Throughput", rate),
			may("Empty in", w.span(d.Drain)),
			may("Since", moment(d.Since)),
		},
		actions: fleetActions(l, l.Monitor),
	}
}

// grouped writes a number with thousands separators.
func grouped(n int) string {
	if n < 0 {
		return strconv.Itoa(n)
	}
	return thousands(strconv.Itoa(n))
}

// WorkerOffline is the details of "worker.offline": a worker stopped reporting.
type WorkerOffline struct {
	Worker   string    `json:"worker"` // host and process
	Host     string    `json:"host,omitempty"`
	LastSeen time.Time `json:"last_seen,omitzero"`
	Alive    int       `json:"alive,omitempty"`    // workers that still report
	Expected int       `json:"expected,omitempty"` // workers there should be
	InHand   int       `json:"in_hand,omitempty"`  // tasks it was working on
	Queues   []string  `json:"queues,omitempty"`
	Version  string    `json:"version,omitempty"`
	Detail   string    `json:"detail,omitempty"` // safe text
}

func buildWorkerOffline(d WorkerOffline, e Event, l Links) content {
	w := l.Language
	var silent said
	if !d.LastSeen.IsZero() {
		silent = w.span(e.At.Sub(d.LastSeen))
	}
	return content{
		object:  d.Worker,
		counter: plain(of(d.Alive, d.Expected)),
		facts: []fact{
			must("Worker", d.Worker),
			must("Last seen", moment(d.LastSeen)),
			may("Silent for", silent),
			may("Workers alive", of(d.Alive, d.Expected)),
			may("Tasks in hand", count(d.InHand)),
			may("Queues", w.list(plains(d.Queues), 5, ", ")),
			may("Host", d.Host),
			may("Version", d.Version),
		},
		detail:  []block{free("Detail", d.Detail)},
		actions: fleetActions(l, l.Monitor),
	}
}
