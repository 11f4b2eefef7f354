// Command generate writes what the Helm chart takes from elsewhere: the schema and the reference of its values (from the comments in values.yaml
// and the settings of internal/config), the names of the queues, the alerts and the dashboards. Run it by make generate.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/tasks"
)

func main() {
	if err := run("../.."); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	chart := filepath.Join(root, "deploy/helm/nphiesq")
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("values.yaml: %w", err)
	}
	schema, err := json.MarshalIndent(schemaOf(doc.Content[0]), "", "  ")
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"values.schema.json": append(schema, '\n'),
		"README.md":          reference(doc.Content[0]),
		"files/queues.txt":   []byte(strings.Join(tasks.Queues(), "\n") + "\n"),
	}
	// A chart reads nothing outside itself.
	rules, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/rules/nphiesq.yml"))
	switch {
	case err == nil:
		files["files/rules.yml"] = rules
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.RemoveAll(filepath.Join(chart, "files/dashboards")); err != nil { // those that are gone
		return err
	}
	dashboards, err := filepath.Glob(filepath.Join(root, "deploy/grafana/dashboards/*.json"))
	if err != nil {
		return err
	}
	for _, d := range dashboards {
		if files["files/dashboards/"+filepath.Base(d)], err = os.ReadFile(d); err != nil {
			return err
		}
	}
	for name, body := range files {
		name = filepath.Join(chart, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, body, 0o644); err != nil {
			return err
		}
	}
	return nil
}

type schema map[string]any

// addresses are set by the chart, whose services and probes know them.
var addresses = map[string]bool{"HTTP_ADDR": true, "MONITOR_ADDR": true, "ACTIONS_ADDR": true, "MONITOR_HTTP_ADDR": true}

// digits are settings that look like numbers and are none: they must stand in quotes, or zeros and digits get lost.
var digits = map[string]bool{"NPHIES_PROVIDER_LICENSE": true}

// stop is what the end of a worker may take in seconds: the longest task, 5 to put back what did not end, 5 to close its listener, ten to spare, and 1.
func stop() int {
	var longest time.Duration
	for _, t := range tasks.Table() {
		longest = max(longest, t.Timeout)
	}
	return int(longest.Seconds()) + 21
}

func settings() schema {
	properties := schema{}
	for _, s := range config.Settings() {
		if s.Secret || addresses[s.Name] {
			continue
		}
		for _, name := range []string{s.Name, s.Alias} {
			if name != "" {
				properties[name] = schema{"type": []string{"string", "number", "boolean"}, "description": s.Doc}
				if digits[name] {
					properties[name] = schema{"type": "string", "description": s.Doc}
				}
			}
		}
	}
	return schema{"type": "object", "properties": properties, "additionalProperties": false}
}

func schemaOf(values *yaml.Node) schema {
	s := object(values)
	properties := s["properties"].(schema)
	worker := properties["worker"].(schema)
	worker["properties"].(schema)["terminationGracePeriodSeconds"].(schema)["minimum"] = stop()
	group := schema{}
	for name, p := range worker["properties"].(schema) {
		group[name] = p
	}
	group["queues"] = schema{"type": "array", "minItems": 1, "uniqueItems": true, "items": schema{"enum": tasks.Queues()}}
	properties["workers"] = schema{
		"type": "object", "minProperties": 1, "propertyNames": schema{"pattern": "^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$"}, "description": properties["workers"].(schema)["description"],
		// A group of values.yaml is taken out by null.
		"additionalProperties": schema{"type": []string{"object", "null"}, "properties": group, "required": []string{"queues"}, "additionalProperties": false},
	}
	secrets := properties["vault"].(schema)["properties"].(schema)["agent"].(schema)["properties"].(schema)["secrets"].(schema)
	secrets["propertyNames"] = schema{"enum": names()}
	secrets["additionalProperties"] = schema{
		"type": "object", "properties": schema{"path": schema{"type": "string"}, "key": schema{"type": "string"}},
		"required": []string{"path", "key"}, "additionalProperties": false,
	}
	properties["global"] = schema{"type": "object"} // Helm's own
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	return s
}

func names() []string {
	var out []string
	for _, s := range config.Settings() {
		out = append(out, s.Name)
	}
	return out
}

// object is the schema of a map: what values.yaml has is allowed, with the same type; an empty map is free.
func object(node *yaml.Node) schema {
	properties := schema{}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		var p schema
		switch {
		case key.Value == "config":
			p = settings()
		case key.Value == "resources":
			p = schema{"type": "object"}
		case value.Kind == yaml.MappingNode && len(value.Content) == 0:
			p = schema{"type": "object"}
		case value.Kind == yaml.MappingNode:
			p = object(value)
		case value.Kind == yaml.SequenceNode:
			p = schema{"type": "array"}
		default:
			p = schema{"type": map[string]string{"!!str": "string", "!!int": "integer", "!!bool": "boolean"}[value.Tag]}
		}
		if text := comment(key); text != "" {
			p["description"] = text
		}
		properties[key.Value] = p
	}
	return schema{"type": "object", "properties": properties, "additionalProperties": false}
}

func comment(key *yaml.Node) string {
	var out []string
	for line := range strings.Lines(key.HeadComment) {
		out = append(out, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#")))
	}
	return strings.TrimSpace(strings.Join(out, " "))
}

func reference(values *yaml.Node) []byte {
	var b bytes.Buffer
	b.WriteString(`# Chart of nphiesq

How to use it is in [docs/deployment.md](../../../docs/deployment.md#kubernetes-with-helm). Helm refuses values that are not here, and settings that do not exist. This page is
generated from ` + "`values.yaml`" + ` by ` + "`make generate`" + `.

| value | default | meaning |
|---|---|---|
`)
	rows(&b, "", values)
	return b.Bytes()
}

func rows(b *bytes.Buffer, prefix string, node *yaml.Node) {
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := prefix + key.Value
		text := strings.ReplaceAll(comment(key), "|", "\\|")
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && value.Style&yaml.FlowStyle == 0 && key.Value != "resources" {
			if text != "" {
				fmt.Fprintf(b, "| `%s` |  | %s |\n", name, text)
			}
			rows(b, name+".", value)
			continue
		}
		var v any
		err := value.Decode(&v)
		def, merr := json.Marshal(v)
		if err = errors.Join(err, merr); err != nil {
			def = []byte(err.Error()) // seen in the page: all values of a YAML file can be written as JSON
		}
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", name, def, text)
	}
}
