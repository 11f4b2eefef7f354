// Command generate writes the dashboards of deploy/grafana from the tables in pages.go: what a panel asks, and in what unit. How Grafana
// wants that said is here.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run . ../dashboards

func main() {
	if len(os.Args) != 2 {
		_, _ = fmt.Fprintln(os.Stderr, "usage: generate FOLDER")
		os.Exit(2)
	}
	for _, p := range pages {
		body, err := json.MarshalIndent(p.dashboard(), "", "  ")
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[1], p.name+".json"), append(body, '\n'), 0o644) //nolint:gosec // for everybody to read
		}
		if err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "generate:", err)
			os.Exit(1)
		}
	}
}

// page is a dashboard.
type page struct {
	name, title, say string
	vars             []variable
	rows             []row
}

// row is a line of panels that is folded together.
type row struct {
	title  string
	panels []panel
}

// variable is a choice at the head of a page: the values that a label has.
type variable struct{ name, title, metric string }

// kind is Grafana's name of a visualization.
type kind string

const (
	lines kind = "timeseries"
	bars  kind = "timeseries " // lines, drawn as stacked bars
	stat  kind = "stat"
	gauge kind = "bargauge"
	table kind = "table"
	chart kind = "barchart"
)

// panel asks Prometheus (ask) or PostgreSQL (sql).
type panel struct {
	kind             kind
	title, say, unit string
	ask              []query
	sql              string
	// series: the answer of sql has a column time.
	series bool
	// wide is the width of 24; 8 unless given.
	wide int
	// units of columns of a table that have another one than the rest.
	units map[string]string
	// warn and alarm colour what is as high; where alarm is the lower, what is below; where they are the same, what is below is red.
	warn, alarm float64
	// words stand for values.
	words map[string]string
}

// query is PromQL, and how a line is called.
type query struct{ expr, legend string }

type object = map[string]any

var (
	prometheus = object{"type": "prometheus", "uid": "prometheus"}
	postgresql = object{"type": "postgres", "uid": "nphiesq-postgres"}
)

// least is the shortest time that a bar stands for: several scrapes. Each bar counts its own time, $__interval, and no more: $__rate_interval
// is longer, so that one would be counted in several bars.
const least = "1m"

const (
	height = 8
	width  = 24
)

func (p page) dashboard() object {
	var panels []object
	id, y := 0, 0
	next := func() int { id++; return id }
	for _, r := range p.rows {
		panels = append(panels, object{"id": next(), "type": "row", "title": r.title, "collapsed": false, "gridPos": object{"x": 0, "y": y, "w": width, "h": 1}, "panels": []object{}})
		y++
		x := 0
		for _, q := range r.panels {
			w := q.wide
			if w == 0 {
				w = 8
			}
			if x+w > width {
				x, y = 0, y+height
			}
			panels = append(panels, q.object(next(), object{"x": x, "y": y, "w": w, "h": height}))
			x += w
		}
		y += height
	}
	list := []object{}
	for _, v := range p.vars {
		ask := fmt.Sprintf("label_values(%s, %s)", v.metric, v.name)
		list = append(list, object{
			"name": v.name, "label": v.title, "type": "query", "datasource": prometheus, "definition": ask,
			"query": object{"query": ask, "refId": "variable"}, "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
			"current": object{"text": []string{"All"}, "value": []string{"$__all"}},
		})
	}
	return object{
		"uid": "nphiesq-" + p.name, "title": "nphiesq: " + p.title, "description": p.say, "tags": []string{"nphiesq"}, "schemaVersion": 39, "editable": false,
		"graphTooltip": 1, "refresh": "1m", "time": object{"from": "now-6h", "to": "now"}, "timezone": "browser", "panels": panels,
		"templating": object{"list": list}, "annotations": object{"list": []object{}},
		"links": []object{{
			"type": "dashboards", "tags": []string{"nphiesq"}, "title": "nphiesq", "asDropdown": true, "includeVars": false, "keepTime": true, "targetBlank": false,
			"icon": "external link", "tooltip": "",
		}},
	}
}

func (p panel) object(id int, at object) object {
	source := prometheus
	var targets []object
	for i, q := range p.ask {
		t := object{"refId": string(rune('A' + i)), "datasource": prometheus, "expr": q.expr, "legendFormat": q.legend, "editorMode": "code", "range": true, "instant": false}
		if p.kind != lines && p.kind != bars {
			t["range"], t["instant"] = false, true
		}
		if p.kind == table {
			t["format"] = "table"
		}
		if p.kind == bars {
			t["interval"] = least
		}
		targets = append(targets, t)
	}
	if p.sql != "" {
		source = postgresql
		format := "table"
		if p.series {
			format = "time_series"
		}
		targets = []object{{"refId": "A", "datasource": postgresql, "rawSql": p.sql, "format": format, "rawQuery": true, "editorMode": "code"}}
	}
	custom, options := p.drawn()
	defaults := object{"unit": p.unit, "custom": custom, "noValue": "none", "mappings": p.mappings(), "thresholds": p.thresholds()}
	if p.warn != 0 || p.alarm != 0 {
		defaults["color"] = object{"mode": "thresholds"}
		if p.kind == lines {
			defaults["color"] = object{"mode": "palette-classic"}
			custom["thresholdsStyle"] = object{"mode": "line"}
		}
	}
	overrides := []object{}
	for _, name := range sorted(p.units) {
		overrides = append(overrides, object{
			"matcher":    object{"id": "byName", "options": name},
			"properties": []object{{"id": "unit", "value": p.units[name]}},
		})
	}
	out := object{
		"id": id, "type": string(p.kind), "title": p.title, "description": p.say, "datasource": source, "gridPos": at, "targets": targets, "options": options,
		"fieldConfig": object{"defaults": defaults, "overrides": overrides},
	}
	if p.kind == bars {
		out["type"], out["interval"] = string(lines), least
	}
	if p.kind == table && p.sql == "" {
		out["transformations"] = []object{{"id": "organize", "options": object{"excludeByName": object{"Time": true, "Value": true, "__name__": true, "alertstate": true}}}}
	}
	return out
}

// drawn is what a visualization wants to be told besides.
func (p panel) drawn() (custom, options object) {
	custom, options = object{}, object{}
	legend := object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}}
	reduce := object{"values": false, "calcs": []string{"lastNotNull"}, "fields": ""}
	switch p.kind {
	case lines:
		custom = object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false}
		options = object{"legend": legend, "tooltip": object{"mode": "multi", "sort": "desc"}}
	case bars:
		custom = object{"drawStyle": "bars", "lineWidth": 1, "fillOpacity": 60, "showPoints": "never", "stacking": object{"mode": "normal", "group": "A"}}
		options = object{"legend": legend, "tooltip": object{"mode": "multi", "sort": "desc"}}
	case stat:
		options = object{
			"graphMode": "none", "colorMode": "value", "justifyMode": "auto", "textMode": "auto", "wideLayout": true, "showPercentChange": false, "orientation": "auto",
			"percentChangeColorMode": "standard", "reduceOptions": reduce,
		}
	case gauge:
		options = object{
			"displayMode": "basic", "valueMode": "color", "namePlacement": "auto", "showUnfilled": true, "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300,
			"orientation": "horizontal", "legend": object{"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []string{}}, "reduceOptions": reduce,
		}
	case table:
		custom = object{"align": "auto", "inspect": false}
		options = object{"showHeader": true, "cellHeight": "sm", "frameIndex": 0, "showTypeIcons": false}
	case chart:
		custom = object{"lineWidth": 1, "fillOpacity": 80}
		options = object{
			"orientation": "auto", "xTickLabelRotation": 0, "xTickLabelSpacing": 0, "xTickLabelMaxLength": 20, "stacking": "none", "showValue": "auto", "barWidth": 0.9, "groupWidth": 0.7, "fullHighlight": false,
			"legend": legend, "tooltip": object{"mode": "single", "sort": "none"},
		}
	}
	return custom, options
}

func (p panel) mappings() []object {
	if len(p.words) == 0 {
		return []object{}
	}
	words := object{}
	for value, text := range p.words {
		words[value] = object{"text": text}
	}
	return []object{{"type": "value", "options": words}}
}

func (p panel) thresholds() object {
	step := func(colour string, v any) object { return object{"color": colour, "value": v} }
	steps := []object{step("green", nil)}
	switch {
	case p.alarm > p.warn:
		if p.warn != 0 {
			steps = append(steps, step("orange", p.warn))
		}
		steps = append(steps, step("red", p.alarm))
	case p.warn == p.alarm && p.warn != 0:
		steps = []object{step("red", nil), step("green", p.alarm)}
	case p.warn > p.alarm:
		steps = []object{step("red", nil), step("orange", p.alarm), step("green", p.warn)}
	}
	return object{"mode": "absolute", "steps": steps}
}
