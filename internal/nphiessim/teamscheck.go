package nphiessim

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxPrimaryActions = 6
	maxActionTitle    = 24
	priorityHeader    = "X-Priority"
	correlationHeader = "X-Correlation-Id"
)

// cardRule is one condition on a post; it returns what is wrong, "" if nothing.
type cardRule func(h http.Header, post, card node) string

// cardRules are section 2 of the Teams protocol.
var cardRules = []cardRule{
	func(h http.Header, _, _ node) string {
		return unless(isJSONWithCharset(h.Get("Content-Type")), "Content-Type must be application/json; charset=utf-8")
	},
	func(h http.Header, _, _ node) string {
		return problem(checkSignatureHeaders(h))
	},
	func(h http.Header, _, _ node) string {
		return unless(h.Get(correlationHeader) != "", "X-Correlation-ID is missing")
	},
	func(h http.Header, _, _ node) string {
		return unless(slices.Contains([]string{"CRITICAL", "HIGH", "MEDIUM", "LOW", "INFO"}, h.Get(priorityHeader)), "X-Priority must be CRITICAL, HIGH, MEDIUM, LOW or INFO")
	},
	func(_ http.Header, post, _ node) string {
		return unless(post.get("type").str() == "message", `type must be "message"`)
	},
	func(_ http.Header, post, _ node) string {
		return unless(len(post.get("attachments").list()) == 1, "there must be exactly one attachment")
	},
	func(_ http.Header, post, _ node) string {
		a := post.get("attachments").at(0)
		return unless(a.get("contentType").str() == "application/vnd.microsoft.card.adaptive", "attachment.contentType is wrong")
	},
	func(_ http.Header, post, _ node) string {
		a, _ := post.get("attachments").at(0).v.(map[string]any)
		u, there := a["contentUrl"]
		return unless(there && u == nil, "attachment.contentUrl must be null")
	},
	func(_ http.Header, _, card node) string {
		return unless(card.get("type").str() == "AdaptiveCard", "content.type must be AdaptiveCard")
	},
	func(_ http.Header, _, card node) string {
		return unless(slices.Contains([]string{"1.0", "1.1", "1.2", "1.3", "1.4"}, card.get("version").str()), "content.version must be at most 1.4")
	},
	func(_ http.Header, _, card node) string {
		return unless(len(card.get("body").list()) > 0, "content.body must be a list of elements, not empty")
	},
	func(_ http.Header, _, card node) string {
		return unless(len(card.get("actions").list()) <= maxPrimaryActions, "at most 6 actions are shown")
	},
	func(_ http.Header, _, card node) string { return checkElements(card) },
}

// inspectPost finds everything that Teams would refuse in a post, or silently not show.
func inspectPost(h http.Header, body []byte) (card node, reasons []string) {
	if !utf8.Valid(body) {
		return node{}, []string{"the body is not UTF-8"}
	}
	v, err := parseJSON(body)
	if err != nil {
		return node{}, []string{"the body is not JSON"}
	}
	post := rooted(v, "body")
	card = post.get("attachments").at(0).get("content")
	for _, check := range cardRules {
		if why := check(h, post, card); why != "" {
			reasons = append(reasons, why)
		}
	}
	return card, reasons
}

func unless(ok bool, why string) string {
	if ok {
		return ""
	}
	return why
}

func problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// knownElements are the element and action types that a webhook card of version 1.4 may hold.
var knownElements = []string{
	"AdaptiveCard", "TextBlock", "RichTextBlock", "TextRun", "Image", "ImageSet", "Container", "ColumnSet", "Column", "FactSet",
	"ActionSet", "Action.OpenUrl", "Action.ShowCard", "Action.ToggleVisibility",
}

// checkElements looks at everything inside a card and returns the first mistake.
func checkElements(card node) string {
	why := ""
	ids := map[string]bool{}
	card.walk(func(n node) {
		if why != "" {
			return
		}
		why = checkElement(n, ids)
	})
	return why
}

func checkElement(n node, ids map[string]bool) string {
	kind := n.get("type").str()
	if kind == "" || n.lastName() == "entities" || n.lastName() == "mentioned" {
		return ""
	}
	if id := n.get("id").str(); id != "" {
		if ids[id] {
			return fmt.Sprintf("id %q is used twice", id)
		}
		ids[id] = true
	}
	parent := n.lastName()
	isAction := strings.HasPrefix(kind, "Action.")
	switch {
	case !slices.Contains(knownElements, kind):
		return fmt.Sprintf("%s is not allowed in a webhook card of version 1.4", kind)
	case isAction && parent != "actions" && parent != "selectAction" && parent != "inlineAction":
		return kind + " must stand in actions, beside body"
	case isAction && utf8.RuneCountInString(n.get("title").str()) > maxActionTitle:
		return fmt.Sprintf("action title %q is longer than 24 characters", n.get("title").str())
	case kind == "Action.OpenUrl" && !openable(n.get("url").str()):
		return "Action.OpenUrl needs an https URL, or http on a loopback host"
	case kind == "Image" && !openable(n.get("url").str()):
		return "Image needs an https URL"
	case kind == "FactSet" && len(n.get("facts").list()) == 0:
		return "FactSet is empty"
	}
	return ""
}

// openable accepts https URLs and, for tests and the demo, http on a loopback host.
func openable(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return u.Scheme == "http" && (host == "localhost" || (ip != nil && ip.IsLoopback()))
}
