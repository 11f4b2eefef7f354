package notify

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/cards"
)

// Class says what to do after a post. It is a closed set.
type Class string

// The five classes.
const (
	// Accepted: Teams took the message. It is not proof that people see it.
	Accepted Class = "accepted"
	// Temporary: not taken; the same post can succeed later.
	Temporary Class = "temporary"
	// Ambiguous: no answer came although the message may have arrived; repeating it may show it twice.
	Ambiguous Class = "ambiguous"
	// Permanent: this message will never be taken.
	Permanent Class = "permanent"
	// Config: the webhook is wrong, gone or wants a login: a person must act, for every message to this channel.
	Config Class = "config"
)

// Result is what became of one post.
type Result struct {
	Class Class
	// Status is the HTTP status, 0 without an answer.
	Status int
	// RetryAfter is how long Teams asks to leave the channel alone, 0 if it did not say.
	RetryAfter time.Duration
	// Throttled: Teams asks to come later, as there were too many posts. It is not the message's failure.
	Throttled bool
	// Code is the error code in the answer's body, if any.
	Code string
	// Safe says what happened in at most 200 runes, without the address, secrets or control characters. It is empty when the
	// post was accepted.
	Safe string
}

const maxSafe = 180 // with the note of what is missing below 200

// legacyError is how the retired connectors report a failure under status 200.
var legacyError = regexp.MustCompile(`returned HTTP error (\d{3})`)

// Classify says what an answer means.
func Classify(host string, status int, header http.Header, body []byte, now time.Time) Result {
	legacy := within(host, "webhook.office.com")
	if legacy && status == http.StatusOK {
		if strings.TrimSpace(string(body)) == "1" {
			return Result{Class: Accepted, Status: status}
		}
		inner := 0
		if m := legacyError.FindSubmatch(body); m != nil {
			inner, _ = strconv.Atoi(string(m[1])) // three digits
		}
		r := Result{Class: classOf(inner), Status: status, Code: fmt.Sprintf("HTTP %d", inner), Throttled: inner == http.StatusTooManyRequests}
		switch {
		case inner < 400:
			r.Class, r.Code = Permanent, ""
		case inner == http.StatusPreconditionFailed:
			r.Class = Temporary
		}
		r.RetryAfter = retryAfter(r.Class, header, now)
		r.Safe = safeText(status, r.Code, string(body))
		return r
	}
	r := Result{Class: classOf(status), Status: status, Throttled: status == http.StatusTooManyRequests}
	if r.Class == Accepted {
		return r
	}
	r.RetryAfter = retryAfter(r.Class, header, now)
	var answer struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	text := ""
	if json.Unmarshal(body, &answer) == nil {
		r.Code = cards.SafeLine(answer.Error.Code, 64)
		text = answer.Error.Message
	}
	if status == http.StatusBadRequest && r.Code == flowOff {
		r.Class = Config
	}
	r.Safe = safeText(status, r.Code, text)
	return r
}

// flowOff is the code with which Power Automate answers, under status 400, while the flow is switched off or deleted: the message is
// not at fault.
const flowOff = "WorkflowTriggerIsNotEnabled"

// classOf is the class of an HTTP status.
func classOf(status int) Class {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return Temporary
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return Config
	}
	switch {
	case status >= 200 && status < 300:
		return Accepted
	case status >= 500:
		return Temporary
	}
	return Permanent // redirects are not followed; 400, 413 and the like will not change
}

func safeText(status int, code, text string) string {
	s := fmt.Sprintf("Teams answered HTTP %d", status)
	if code != "" {
		s += " " + code
	}
	if text != "" {
		s += ": " + text
	}
	return cards.SafeLine(s, maxSafe)
}

// Bounds of Retry-After.
const (
	minRetryAfter = time.Second
	maxRetryAfter = time.Hour
)

// retryAfter reads the header of a temporary answer: seconds or a date, clamped to a second and an hour.
func retryAfter(c Class, header http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(header.Get("Retry-After"))
	if c != Temporary || v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		seconds, err := strconv.ParseUint(v, 10, 64)
		if err != nil { // more digits than fit
			return maxRetryAfter
		}
		return min(max(time.Duration(min(seconds, 3600))*time.Second, minRetryAfter), maxRetryAfter)
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), minRetryAfter), maxRetryAfter)
}
