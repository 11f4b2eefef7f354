package nphiesclient

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Input is one value of an input file. Exactly one part is set.
type Input struct {
	Claim       *ClaimDocument
	Eligibility *EligibilityDocument
	// Message is a ready message Bundle, its exact bytes.
	Message []byte
}

// ParseInput recognises and reads one value: a claim document, an eligibility document ("document" tells them apart) or a
// FHIR message Bundle ("resourceType").
//
// Errors are *InvalidError with path and line.
func ParseInput(data []byte) (*Input, error) {
	var head struct {
		ResourceType any `json:"resourceType"`
		Document     any `json:"document"`
	}
	if err := json.Unmarshal(trimBOM(data), &head); err != nil && !json.Valid(trimBOM(data)) {
		return nil, syntaxError(data)
	}
	switch {
	case head.ResourceType == "Bundle":
		return &Input{Message: bytes.Clone(bytes.TrimSpace(trimBOM(data)))}, nil
	case head.ResourceType != nil:
		return nil, oneFinding("resourceType", "must be Bundle: a message, not a single resource")
	case head.Document == DocumentEligibility:
		d, err := DecodeEligibility(data)
		if err != nil {
			return nil, err
		}
		return &Input{Eligibility: d}, nil
	case head.Document == DocumentClaim:
		d, err := DecodeClaim(data)
		if err != nil {
			return nil, err
		}
		return &Input{Claim: d}, nil
	default:
		return nil, oneFinding("document",
			"must be "+DocumentClaim+" or "+DocumentEligibility+", or the value a FHIR message Bundle")
	}
}

func oneFinding(path, text string) error {
	return &InvalidError{Findings: []Finding{{Rule: ruleDocument, Path: path, Line: 0, Text: text, Severity: SeverityError}}}
}

// Request builds the message of a document, or reads a ready one and checks it as CheckWith does. o.License is what a ready
// message's sender must equal, too.
func (in *Input) Request(o BuildOptions) (*Request, error) {
	switch {
	case in.Claim != nil:
		return BuildClaim(in.Claim, o)
	case in.Eligibility != nil:
		return BuildEligibility(in.Eligibility, o)
	}
	r, err := ReadRequest(in.Message)
	if err != nil {
		return nil, err
	}
	if o.License != "" && r.License != o.License {
		var f findings
		f.add("GE-00020", "Bundle.entry[0].resource.sender", "differs from the licence this system sends for")
		return nil, f.err()
	}
	r.Warnings = CheckWith(r, CheckOptions{Rules: o.Rules, Now: o.Now})
	if err := invalid(r.Warnings); err != nil {
		return nil, err
	}
	return r, nil
}

// RawInput is one value of an input file, unread.
type RawInput struct {
	// Name is the file, Line where the value starts, from 1.
	Name string
	Line int
	// Data is the value's exact text; nil together with an error.
	Data []byte
}

// Parse reads the value as ParseInput does; lines in its findings are those of the file.
func (r RawInput) Parse() (*Input, error) {
	in, err := ParseInput(r.Data)
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		for i := range invalid.Findings {
			if invalid.Findings[i].Line > 0 {
				invalid.Findings[i].Line += r.Line - 1
			}
		}
	}
	return in, err
}

// Pos returns "file:line".
func (r RawInput) Pos() string { return fmt.Sprintf("%s:%d", r.Name, r.Line) }

// maxInputLine bounds one line of NDJSON, and maxInputFile a file of any other form, which is held in memory.
const (
	maxInputLine = MaxMessageBytes + 1<<20
	maxInputFile = 1 << 30
)

// SplitInputs yields the values of a file: one JSON value over several lines, several of them one after another, a JSON
// array, or NDJSON (one value a line; read as a stream, so of any length). A value that is damaged is yielded as an
// *InvalidError with its place, and does not stop the rest, as far as its end can be found. The caller reads each value with
// ParseInput.
//
// An error of r is yielded as it is and ends the sequence. An empty file yields one error.
func SplitInputs(r io.Reader, name string) iter.Seq2[RawInput, error] {
	return func(yield func(RawInput, error) bool) {
		s := &splitter{name: name, r: bufio.NewReaderSize(r, 64<<10), yield: yield}
		s.run()
	}
}

type splitter struct {
	name  string
	r     *bufio.Reader
	line  int // lines read so far
	yield func(RawInput, error) bool
	count int
}

func (s *splitter) emit(line int, data []byte) bool {
	s.count++
	return s.yield(RawInput{Name: s.name, Line: line, Data: data}, nil)
}

func (s *splitter) bad(line int, text string) bool {
	s.count++
	return s.yield(RawInput{Name: s.name, Line: line}, &InvalidError{Findings: []Finding{{
		Rule: ruleDocument, Text: text, Severity: SeverityError,
	}}})
}

var errLineTooLong = errors.New("line too long")

// readLine returns the next line without its end. A line over the limit is skipped to its end and errLineTooLong returned.
func (s *splitter) readLine() ([]byte, error) {
	var line []byte
	tooLong := false
	for {
		part, err := s.r.ReadSlice('\n')
		if !tooLong {
			line = append(line, part...)
			tooLong = len(line) > maxInputLine
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (!errors.Is(err, io.EOF) || len(part) == 0 && len(line) == 0) {
			return nil, err
		}
		s.line++
		if s.line == 1 {
			line = trimBOM(line)
		}
		if tooLong {
			return nil, errLineTooLong
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
}

func (s *splitter) run() {
	if s.startsArray() {
		s.whole(nil)
		return
	}
	// Lines are gathered until the form of the file is clear.
	var head [][]byte
	for {
		line, err := s.readLine()
		if errors.Is(err, io.EOF) {
			s.whole(head)
			return
		}
		if err != nil {
			s.failed(err)
			return
		}
		head = append(head, line)
		first := firstLine(head)
		switch {
		case len(first) == 0:
		case complete(first):
			s.lines(head)
			return
		case complete(line) && line[0] == '{': // a damaged first line, a whole second one
			s.lines(head)
			return
		case len(bytes.TrimSpace(line)) > 0 && len(head) > 1:
			s.whole(head)
			return
		}
	}
}

// startsArray looks whether the first thing in the file is a bracket; an array may be one line of any length.
func (s *splitter) startsArray() bool {
	start, _ := s.r.Peek(4 << 10) // an error shows again when reading
	start = bytes.TrimLeft(trimBOM(start), " \t\r\n")
	return len(start) > 0 && start[0] == '['
}

func (s *splitter) failed(err error) {
	if errors.Is(err, errLineTooLong) {
		s.bad(s.line, "a line of more than 11 MB: NPHIES takes messages of 10 MB")
		return
	}
	s.yield(RawInput{Name: s.name, Line: s.line}, err)
}

func firstLine(lines [][]byte) []byte {
	for _, l := range lines {
		if t := bytes.TrimSpace(l); len(t) > 0 {
			return t
		}
	}
	return nil
}

func complete(line []byte) bool {
	t := bytes.TrimSpace(line)
	return len(t) > 0 && json.Valid(t)
}

// lines treats every line as a value of its own.
func (s *splitter) lines(head [][]byte) {
	one := func(n int, line []byte) bool {
		t := bytes.TrimSpace(line)
		switch {
		case len(t) == 0:
			return true
		case !json.Valid(t):
			return s.bad(n, "not well-formed JSON")
		default:
			return s.emit(n, t)
		}
	}
	for i, l := range head {
		if !one(i+1, l) {
			return
		}
	}
	for {
		line, err := s.readLine()
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.Is(err, errLineTooLong):
			if !s.bad(s.line, "a line of more than 11 MB: NPHIES takes messages of 10 MB") {
				return
			}
		case err != nil:
			s.failed(err)
			return
		case !one(s.line, line):
			return
		}
	}
}

// whole reads the rest and cuts the text into values.
func (s *splitter) whole(head [][]byte) {
	data, err := io.ReadAll(io.LimitReader(s.r, maxInputFile))
	if err != nil {
		s.failed(err)
		return
	}
	if len(head) > 0 {
		data = append(append(bytes.Join(head, []byte("\n")), '\n'), data...)
	}
	data = trimBOM(data)
	c := cutter{data: data}
	c.space()
	if c.i == len(data) {
		s.bad(1, "empty file")
		return
	}
	if data[c.i] == '[' {
		c.i++
		s.array(&c)
		return
	}
	for c.space(); c.i < len(data); c.space() {
		if !s.next(&c, false) {
			return
		}
	}
}

func (s *splitter) array(c *cutter) {
	for {
		c.space()
		switch {
		case c.i == len(c.data):
			s.bad(c.line(c.i), "the array does not end")
			return
		case c.data[c.i] == ']':
			c.i++
			if c.space(); c.i < len(c.data) {
				s.bad(c.line(c.i), "more text after the end of the array")
			} else if s.count == 0 {
				s.bad(1, "empty array")
			}
			return
		case c.data[c.i] == ',':
			c.i++
		default:
			if !s.next(c, true) {
				return
			}
		}
	}
}

// next cuts one value and yields it.
func (s *splitter) next(c *cutter, inArray bool) bool {
	start := c.i
	c.skip(inArray)
	value := bytes.TrimSpace(c.data[start:c.i])
	line := c.line(start)
	var whole json.RawMessage
	if err := json.Unmarshal(value, &whole); err != nil {
		if at, ok := errors.AsType[*json.SyntaxError](err); ok && at.Offset > 0 {
			lead := bytes.Index(c.data[start:c.i], value)
			line = c.line(start + max(lead, 0) + min(int(at.Offset)-1, len(value)))
		}
		if !inArray {
			c.resync(start)
		}
		return s.bad(line, "not well-formed JSON")
	}
	return s.emit(line, value)
}

// cutter finds the ends of JSON values by their brackets and quotes, so that a damaged value does not hide the next.
type cutter struct {
	data        []byte
	i           int
	seen, lines int // newlines counted up to seen
}

func (c *cutter) line(at int) int {
	if at < c.seen {
		c.seen, c.lines = 0, 0
	}
	c.lines += bytes.Count(c.data[c.seen:at], []byte("\n"))
	c.seen = at
	return c.lines + 1
}

func (c *cutter) space() {
	for c.i < len(c.data) && bytes.IndexByte([]byte(" \t\r\n"), c.data[c.i]) >= 0 {
		c.i++
	}
}

// skip moves behind the value that starts here.
func (c *cutter) skip(inArray bool) {
	depth, quoted := 0, false
	for ; c.i < len(c.data); c.i++ {
		switch b := c.data[c.i]; {
		case quoted && b == '\\':
			c.i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			depth++
		case (b == '}' || b == ']') && depth > 0:
			if depth--; depth == 0 {
				c.i++
				return
			}
		case depth == 0 && inArray && (b == ',' || b == ']'):
			return
		case depth == 0 && !inArray && b == '\n':
			return
		}
	}
	c.i = min(c.i, len(c.data))
}

// resync moves to the next line that starts an object, or the end.
func (c *cutter) resync(start int) {
	if j := bytes.Index(c.data[start:], []byte("\n{")); j >= 0 {
		c.i = start + j + 1
		return
	}
	c.i = len(c.data)
}
