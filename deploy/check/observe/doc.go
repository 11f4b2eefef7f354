// Package observe tests what deploy/prometheus, deploy/grafana and docs/runbooks say about nphiesq's metrics: that each name, label and value
// is in the catalogue (internal/metric), and that an alert has all that belongs to it.
package observe
