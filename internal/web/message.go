package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

const (
	// maxElements is how many elements of a message its table shows, maxPretty how many bytes are shown as JSON. The download has all.
	maxElements = 4000
	maxPretty   = 512 << 10
)

// messagePage is a message with what it answers or what answered it.
type messagePage struct {
	Message store.Message
	// Other are the messages of the same exchange.
	Other []store.Message
	// Private: this person may see bodies; Content then has what is in this one.
	Private bool
	Content content
}

// content is a body made readable.
type content struct {
	Size int
	// Facts are what a person asks first, one a line.
	Facts  []fact
	Groups []elementGroup
	// More: there are more elements than are shown. Pretty is "" when the body is too large or no JSON.
	More   bool
	Pretty string
	// Unreadable says why the body is no JSON.
	Unreadable bool
}

type fact struct{ Name, Value string }

// elementGroup is a resource of a bundle, or what is beside them.
type elementGroup struct {
	Name string
	Rows []element
}

// element is one value of a message. Display is what the message says that a code means, System where the code is from.
type element struct{ Path, Value, Display, System string }

func (s *Server) messagePage(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p := messagePage{Private: signedIn(r.Context()).Privacy()}
	if p.Message, err = s.opt.Store.Message(r.Context(), id); err != nil {
		s.failed(w, r, err)
		return
	}
	if p.Other, err = s.opt.Store.Exchange(r.Context(), p.Message); err != nil {
		s.failed(w, r, err)
		return
	}
	if p.Private {
		// On record before it is shown; live refreshing does not look again.
		body, err := s.opt.Store.ViewMessage(r.Context(), id, signedIn(r.Context()).Actor(), Source, "page")
		if err != nil {
			s.notShown(w, r, err)
			return
		}
		p.Content = readable(body)
	}
	s.render(w, r, http.StatusOK, "message", say("Message %s", id.String()[:8]), p)
}

// messageBody gives the exact bytes of a message to those who may have them.
func (s *Server) messageBody(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	who := signedIn(r.Context())
	if !who.Privacy() {
		s.forbidden(r, "view", r.URL.Path)
		s.problem(w, r, http.StatusForbidden, "Messages hold personal health data. Only people with the role privacy see them.")
		return
	}
	if _, err := s.opt.Store.Message(r.Context(), id); err != nil {
		s.failed(w, r, err)
		return
	}
	body, err := s.opt.Store.ViewMessage(r.Context(), id, who.Actor(), Source, "download")
	if err != nil {
		s.notShown(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="message-`+id.String()+`.json"`)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) //nolint:gosec // saved as a file, never shown
}

// notShown says that a body stays closed because looking at it could not be put on record.
func (s *Server) notShown(w http.ResponseWriter, r *http.Request, err error) {
	s.opt.Log.ErrorContext(r.Context(), "message not shown", slog.String("path", r.URL.Path), slog.String("error", err.Error()))
	s.problem(w, r, http.StatusServiceUnavailable, "That you look at this message could not be put on record, so it is not shown. Try again.")
}

// readable takes a body apart.
func readable(body []byte) content {
	c := content{Size: len(body)}
	if in, err := nphiesclient.Inspect(body); err == nil {
		var b bytes.Buffer
		if err := in.WriteText(&b); err == nil {
			for line := range strings.Lines(b.String()) {
				line = strings.TrimRight(line, "\n")
				name, value, _ := strings.Cut(strings.TrimLeft(line, " "), "  ")
				if strings.TrimSpace(value) == "" && len(line) > 18 { // a long name has one blank after it
					name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
				}
				c.Facts = append(c.Facts, fact{strings.TrimSpace(name), strings.TrimSpace(value)})
			}
		}
	}
	var err error
	c.Groups, c.More, err = elements(body)
	c.Unreadable = err != nil
	if len(body) <= maxPretty && err == nil {
		var b bytes.Buffer
		if json.Indent(&b, body, "", "  ") == nil {
			c.Pretty = b.String()
		}
	}
	return c
}

var errEnough = errors.New("enough")

// elements lists the values of a JSON document in their order, by resource.
func elements(body []byte) (groups []elementGroup, more bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	root, err := readNode(dec, 0)
	if err != nil {
		return nil, false, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, false, errors.New("more than one document")
	}
	l := &lister{}
	rest := elementGroup{Name: root.kind("Message")}
	for _, f := range root.fields {
		if f.name != "entry" {
			if err = l.walk(&rest, f.name, f.value); err != nil {
				break
			}
		}
	}
	groups = append(groups, rest)
	if entries := root.get("entry"); entries != nil {
		for i, e := range entries.items {
			resource := e.get("resource")
			if resource == nil {
				resource = e
			}
			g := elementGroup{Name: fmt.Sprintf("entry[%d] %s", i, resource.kind("?"))}
			if err == nil {
				for _, f := range resource.fields {
					if err = l.walk(&g, f.name, f.value); err != nil {
						break
					}
				}
				groups = append(groups, g)
			}
		}
	}
	return groups, err != nil, nil
}

// jsonNode is a JSON value with its order kept.
type jsonNode struct {
	fields []jsonField
	items  []*jsonNode
	object bool
	list   bool
	leaf   string
}

type jsonField struct {
	name  string
	value *jsonNode
}

func (n *jsonNode) get(name string) *jsonNode {
	for _, f := range n.fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

func (n *jsonNode) kind(otherwise string) string {
	if k := n.get("resourceType"); k != nil && k.leaf != "" {
		return k.leaf
	}
	return otherwise
}

func (n *jsonNode) str(name string) string {
	if v := n.get(name); v != nil {
		return v.leaf
	}
	return ""
}

const deepest = 200

func readNode(dec *json.Decoder, depth int) (*jsonNode, error) {
	if depth > deepest {
		return nil, errors.New("nested too deeply")
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	n := &jsonNode{}
	switch v := token.(type) {
	case json.Delim:
		n.object, n.list = v == '{', v == '['
		for dec.More() {
			f := jsonField{}
			if n.object {
				key, err := dec.Token()
				if err != nil {
					return nil, err
				}
				f.name, _ = key.(string)
			}
			if f.value, err = readNode(dec, depth+1); err != nil {
				return nil, err
			}
			if n.object {
				n.fields = append(n.fields, f)
			} else {
				n.items = append(n.items, f.value)
			}
		}
		_, err = dec.Token()
		return n, err
	case nil:
		n.leaf = "null"
	default:
		n.leaf = fmt.Sprint(v)
	}
	return n, nil
}

// lister writes elements down, codes with their displays on one line.
type lister struct{ count int }

func (l *lister) put(g *elementGroup, e element) error {
	if l.count >= maxElements {
		return errEnough
	}
	l.count++
	if e.Value = nphiesclient.Printable(e.Value); len(e.Value) > 2000 {
		e.Value = strings.ToValidUTF8(e.Value[:2000], "") + "…"
	}
	e.Display = nphiesclient.Printable(e.Display)
	g.Rows = append(g.Rows, e)
	return nil
}

func (l *lister) walk(g *elementGroup, path string, n *jsonNode) error {
	switch {
	case n.object && n.get("code") != nil && n.get("code").leaf != "" && onlyCode(n):
		return l.put(g, element{Path: path, Value: n.str("code"), Display: n.str("display"), System: n.str("system")})
	case n.object:
		for _, f := range n.fields {
			if err := l.walk(g, path+"."+f.name, f.value); err != nil {
				return err
			}
		}
	case n.list:
		for i, v := range n.items {
			if err := l.walk(g, fmt.Sprintf("%s[%d]", path, i), v); err != nil {
				return err
			}
		}
	default:
		return l.put(g, element{Path: path, Value: n.leaf})
	}
	return nil
}

// onlyCode reports whether an object is a coding and nothing else.
func onlyCode(n *jsonNode) bool {
	for _, f := range n.fields {
		switch f.name {
		case "code", "display", "system", "version", "userSelected":
			if f.value.object || f.value.list {
				return false
			}
		default:
			return false
		}
	}
	return true
}
