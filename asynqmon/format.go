package asynqmon

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// payloads shows the ids in a payload and nothing else.
type payloads []string

var idLike = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)

// FormatPayload returns `key=value` of the known keys, on one line: asynqmon's page hides a payload that has several.
func (keys payloads) FormatPayload(_ string, payload []byte) string {
	var object map[string]any
	if err := json.Unmarshal(payload, &object); err != nil {
		return hidden(payload)
	}
	var shown []string
	for key, value := range object {
		if text, ok := value.(string); ok && slices.Contains(keys, key) && idLike.MatchString(text) {
			shown = append(shown, key+"="+text)
		}
	}
	if len(shown) == 0 {
		return hidden(payload)
	}
	slices.Sort(shown)
	return strings.Join(shown, " ")
}

// results shows how long a result is.
type results struct{}

// FormatResult hides the result.
func (results) FormatResult(_ string, result []byte) string { return hidden(result) }

func hidden(b []byte) string {
	if len(b) == 0 {
		return "(empty)"
	}
	return fmt.Sprintf("(%d bytes, not shown)", len(b))
}
