package cards

import (
	"encoding/json"
	"slices"
	"strings"
)

// Row is what the table says about one event type.
type Row struct {
	Type EventType
	// Priority is the default; the details can change it (a certificate error is HIGH) and Event.Priority overrides it.
	Priority Priority
	// Stakeholders are the groups that always hear of it, the owner first. The details can add groups.
	Stakeholders []Stakeholder
	// Title heads the card unless its builder has a better one.
	Title string
	// Details is the zero value of the struct Event.Details must be.
	Details any

	route   func(details any, p Priority, s []Stakeholder) (Priority, []Stakeholder)
	build   func(e Event, l Links) content
	accepts func(details any) bool
	decode  func(raw json.RawMessage) (any, error)
}

// Table returns a row for every event type, in the order of the documentation. The caller owns the slice.
func Table() []Row { return slices.Clone(table) }

var (
	claimGroups = []Stakeholder{NPHIESIntegration, PMO, Compliance}
	taskGroups  = []Stakeholder{RuntimeEng, SRE}
	fleetGroups = []Stakeholder{RuntimeEng, SRE, PMO}
)

// groups returns base and more as a new slice.
func groups(base []Stakeholder, more ...Stakeholder) []Stakeholder {
	return append(slices.Clone(base), more...)
}

var table = []Row{
	row(Row{Type: ClaimSubmittedEvent, Priority: Info, Stakeholders: claimGroups, Title: "Claim submitted"}, buildClaimSubmitted, nil),
	row(Row{Type: ClaimApprovedEvent, Priority: Info, Stakeholders: claimGroups, Title: "Claim approved"}, buildClaimApproved, nil),
	row(Row{Type: ClaimRejectedEvent, Priority: High, Stakeholders: claimGroups, Title: "Claim rejected"}, buildClaimRejected, nil),
	row(Row{
		Type: EligibilityDeniedEvent, Priority: Medium, Title: "Eligibility denied",
		Stakeholders: []Stakeholder{NPHIESIntegration, Compliance},
	}, buildEligibilityDenied, nil),
	row(Row{
		Type: APIErrorEvent, Priority: Medium, Title: "NPHIES API error",
		Stakeholders: []Stakeholder{NPHIESIntegration, SRE},
	}, buildAPIError, routeAPIError),

	row(Row{Type: TaskRetryEvent, Priority: Low, Stakeholders: taskGroups, Title: "Task failing"}, buildTaskFailure, routeTaskFailure),
	row(Row{Type: TaskTimeoutEvent, Priority: Medium, Stakeholders: taskGroups, Title: "Task timed out"}, buildTaskFailure, routeTaskFailure),
	row(Row{Type: TaskFailedEvent, Priority: High, Stakeholders: taskGroups, Title: "Task failed for good"}, buildTaskFailure, routeTaskFailure),
	row(Row{Type: TaskDLQEvent, Priority: High, Stakeholders: taskGroups, Title: "Dead letter"}, buildDeadLetter, routeDeadLetter),

	row(Row{Type: DLQThresholdEvent, Priority: High, Stakeholders: fleetGroups, Title: "Too many dead letters"}, buildDeadLetters, nil),
	row(Row{Type: QueueBacklogEvent, Priority: Medium, Stakeholders: fleetGroups, Title: "Queue backlog"}, buildBacklog, nil),
	row(Row{
		Type: WorkerOfflineEvent, Priority: Critical, Title: "Worker offline",
		Stakeholders: groups(fleetGroups, CloudOps),
	}, buildWorkerOffline, nil),

	row(Row{
		Type: VaultSealEvent, Priority: Critical, Title: "Vault sealed",
		Stakeholders: []Stakeholder{SecurityEng, SRE, CloudOps},
	}, buildVaultSeal, nil),
	row(Row{
		Type: VaultUnsealFailedEvent, Priority: Critical, Title: "Vault unseal failed",
		Stakeholders: []Stakeholder{SecurityEng, SRE, CloudOps},
	}, buildVaultSeal, nil),
	row(Row{
		Type: VaultTokenRenewalFailedEvent, Priority: High, Title: "Vault token renewal failed",
		Stakeholders: []Stakeholder{SecurityEng, SRE},
	}, buildVaultToken, nil),
	row(Row{
		Type: VaultSecretRotatedEvent, Priority: Info, Title: "Secret rotated",
		Stakeholders: []Stakeholder{SecurityEng, SRE},
	}, buildSecretRotation, nil),
	row(Row{
		Type: VaultCertificateEvent, Priority: Low, Title: "Certificate expires",
		Stakeholders: []Stakeholder{SecurityEng, SRE, NPHIESIntegration},
	}, buildCertificate, routeCertificate),

	row(Row{
		Type: RedisNodeDownEvent, Priority: Critical, Title: "Redis node down",
		Stakeholders: []Stakeholder{SRE, CloudOps, RuntimeEng},
	}, buildRedis, nil),
	row(Row{
		Type: RedisReplicaLagEvent, Priority: Medium, Title: "Redis replica lagging",
		Stakeholders: []Stakeholder{SRE, CloudOps},
	}, buildRedis, nil),
	row(Row{
		Type: PostgresConnectionsEvent, Priority: Critical, Title: "PostgreSQL connections exhausted",
		Stakeholders: []Stakeholder{SRE, CloudOps, RuntimeEng},
	}, buildPostgres, nil),
	row(Row{
		Type: PostgresReplicationLagEvent, Priority: High, Title: "PostgreSQL replication lag",
		Stakeholders: []Stakeholder{SRE, CloudOps},
	}, buildPostgres, nil),
	row(Row{
		Type: PodCrashLoopEvent, Priority: High, Title: "Pod crash loop",
		Stakeholders: []Stakeholder{SRE, CloudOps, DevOps},
	}, buildPod, nil),
	row(Row{
		Type: PrometheusAlertEvent, Priority: Medium, Title: "Alert firing",
		Stakeholders: []Stakeholder{SRE, CloudOps},
	}, buildAlert, routeAlert),
	row(Row{
		Type: BackupFailedEvent, Priority: High, Title: "Backup failed",
		Stakeholders: []Stakeholder{SRE, CloudOps, DevOps},
	}, buildBackup, nil),
	row(Row{Type: HeartbeatEvent, Priority: Info, Stakeholders: Stakeholders(), Title: "Channel works"}, buildHeartbeat, routeHeartbeat),

	row(Row{Type: ChannelFailingEvent, Priority: High, Stakeholders: []Stakeholder{SRE}, Title: "Teams channel failing"}, buildChannelTrouble, nil),
}

var rows = func() map[EventType]Row {
	m := make(map[EventType]Row, len(table))
	for _, r := range table {
		m[r.Type] = r
	}
	return m
}()

// row completes r with a builder for details of type D and, where the details change the routing, route.
func row[D any](r Row, build func(D, Event, Links) content, route func(D, Priority, []Stakeholder) (Priority, []Stakeholder)) Row {
	var zero D
	r.Details = zero
	r.accepts = func(details any) bool { _, ok := details.(D); return ok }
	r.build = func(e Event, l Links) content { d, _ := e.Details.(D); return build(d, e, l) }
	r.decode = func(raw json.RawMessage) (any, error) {
		var d D
		if len(raw) == 0 {
			return d, nil
		}
		err := json.Unmarshal(raw, &d) // what the struct does not name is dropped: it is the allow-list
		return d, err
	}
	if route != nil {
		r.route = func(details any, p Priority, s []Stakeholder) (Priority, []Stakeholder) {
			d, _ := details.(D)
			return route(d, p, s)
		}
	}
	return r
}

// nphiesTask reports whether a task type belongs to the exchange with NPHIES.
func nphiesTask(taskType string) bool { return strings.HasPrefix(taskType, "nphies:") }
