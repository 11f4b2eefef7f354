package cards

import (
	"strconv"
	"strings"
	"time"
)

// Redis is the details of "redis.node.down" and "redis.replica.lagging".
type Redis struct {
	Instance   string        `json:"instance"` // host and port
	Role       string        `json:"role"`     // "master", "replica"
	State      string        `json:"state"`    // "down", "failover", "lagging"
	Since      time.Time     `json:"since,omitzero"`
	MemoryUsed int64         `json:"memory_used,omitempty"` // bytes
	MemoryMax  int64         `json:"memory_max,omitempty"`  // bytes
	Evictions  int           `json:"evictions,omitempty"`
	Clients    int           `json:"clients,omitempty"`
	Lag        time.Duration `json:"lag,omitempty"`         // in JSON nanoseconds
	LagAllowed time.Duration `json:"lag_allowed,omitempty"` // in JSON nanoseconds
	LagBytes   int64         `json:"lag_bytes,omitempty"`
	LastSave   time.Time     `json:"last_save,omitzero"`
	Version    string        `json:"version,omitempty"`
	Detail     string        `json:"detail,omitempty"` // safe text
}

func buildRedis(d Redis, e Event, l Links) content {
	w := l.Language
	lag := lagging(w, d.Lag, d.LagAllowed, d.LagBytes)
	return content{
		object:  d.Instance,
		counter: w.span(d.Lag),
		facts: []fact{
			must("Instance", d.Instance),
			must("Role", w.word(d.Role)),
			must("Condition", w.word(d.State)),
			must("Since", since(d.Since, e, w)),
			may("Replication lag", lag),
			may("Memory", usedOf(size(d.MemoryUsed), size(d.MemoryMax))),
			may("Evictions", count(d.Evictions)),
			may("Clients", count(d.Clients)),
			may("Last save", moment(d.LastSave)),
			may("Version", d.Version),
		},
		detail:  []block{free("Detail", d.Detail)},
		actions: fleetActions(l, l.Monitor),
	}
}

// Postgres is the details of "postgres.connection.exhausted" and "system.postgres.replication_lag". Never SQL with values.
type Postgres struct {
	Instance           string        `json:"instance"` // host and port
	Database           string        `json:"database"`
	State              string        `json:"state"` // "exhausted", "lagging"
	Since              time.Time     `json:"since,omitzero"`
	Connections        int           `json:"connections,omitempty"`
	MaxConnections     int           `json:"max_connections,omitempty"`
	Lag                time.Duration `json:"lag,omitempty"`         // in JSON nanoseconds
	LagAllowed         time.Duration `json:"lag_allowed,omitempty"` // in JSON nanoseconds
	LagBytes           int64         `json:"lag_bytes,omitempty"`
	LongestTransaction time.Duration `json:"longest_transaction,omitempty"` // in JSON nanoseconds
	LocksWaiting       int           `json:"locks_waiting,omitempty"`
	DiskPercent        int           `json:"disk_percent,omitempty"` // used
	Version            string        `json:"version,omitempty"`
	Detail             string        `json:"detail,omitempty"` // safe text
}

func buildPostgres(d Postgres, e Event, l Links) content {
	w := l.Language
	connections := of(d.Connections, d.MaxConnections)
	counter := plain(connections)
	if d.Lag > 0 {
		counter = w.span(d.Lag)
	}
	disk := ""
	if d.DiskPercent > 0 {
		disk = strconv.Itoa(d.DiskPercent) + " %"
	}
	return content{
		object:  strings.TrimSuffix(line(d.Instance)+"/"+line(d.Database), "/"),
		counter: counter,
		facts: []fact{
			must("Instance", d.Instance),
			must("Database", d.Database),
			must("Condition", w.word(d.State)),
			must("Since", since(d.Since, e, w)),
			may("Connections", connections),
			may("Replication lag", lagging(w, d.Lag, d.LagAllowed, d.LagBytes)),
			may("Longest transaction", w.span(d.LongestTransaction)),
			may("Locks waiting", count(d.LocksWaiting)),
			may("Disk used", disk),
			may("Version", d.Version),
		},
		detail:  []block{free("Detail", d.Detail)},
		actions: fleetActions(l, l.Monitor),
	}
}

// since writes when a condition began, and how long it had lasted when the event was written.
func since(t time.Time, e Event, w Language) said {
	if t.IsZero() {
		t = e.At
	}
	if lasting := w.span(e.At.Sub(t)); lasting != "" {
		return w.say("%s (for %s)", moment(t), lasting)
	}
	return moment(t)
}

// lagging writes how far a replica is behind: time and allowed time, bytes.
func lagging(w Language, lag, allowed time.Duration, bytes int64) said {
	s := w.within(w.span(lag), w.span(allowed))
	switch b := plain(size(bytes)); {
	case s == "":
		return b
	case b == "":
		return s
	default:
		return w.say("%s; %s", s, b)
	}
}

// usedOf writes "used/max", or what of it is known.
func usedOf(used, limit string) string {
	if limit == "" {
		return used
	}
	return strings.TrimPrefix(used+"/"+limit, "/")
}

// Pod is the details of "kubernetes.pod.crashloop".
type Pod struct {
	Cluster   string    `json:"cluster"`
	Namespace string    `json:"namespace"`
	Workload  string    `json:"workload"` // "deployment/nphiesq-worker"
	Pod       string    `json:"pod,omitempty"`
	Reason    string    `json:"reason"`             // "CrashLoopBackOff", "OOMKilled"
	Ready     int       `json:"ready,omitempty"`    // replicas that serve
	Replicas  int       `json:"replicas,omitempty"` // replicas there should be
	Restarts  int       `json:"restarts,omitempty"`
	Node      string    `json:"node,omitempty"`
	Image     string    `json:"image,omitempty"`     // its tag
	ExitCode  int       `json:"exit_code,omitempty"` // the last one; 0 is not shown
	Since     time.Time `json:"since,omitzero"`
	Detail    string    `json:"detail,omitempty"` // the last event's message, safe text
}

func buildPod(d Pod, e Event, l Links) content {
	exit := ""
	if d.ExitCode != 0 {
		exit = strconv.Itoa(d.ExitCode)
	}
	object := d.Pod
	if object == "" {
		object = d.Workload
	}
	return content{
		object:  object,
		counter: plain(of(d.Ready, d.Replicas)),
		facts: []fact{
			must("Cluster", d.Cluster),
			must("Namespace", d.Namespace),
			must("Workload", d.Workload),
			must("Reason", d.Reason),
			may("Ready", of(d.Ready, d.Replicas)),
			may("Restarts", count(d.Restarts)),
			may("Node", d.Node),
			may("Image", d.Image),
			may("Last exit code", exit),
			may("Since", since(d.Since, e, l.Language)),
		},
		detail:  []block{free("Last event", d.Detail)},
		actions: fleetActions(l, l.Monitor),
	}
}
