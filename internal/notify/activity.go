package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
)

// ErrServiceURL says that a conversation cannot be reached at an address.
var ErrServiceURL = errors.New("notify: not an address of Teams for bots")

// ConversationURL is the address at which the bot posts to a conversation. It prints like that of a webhook. The caller has checked that tokens
// may be sent to the service.
//
// The error is ErrServiceURL.
func ConversationURL(service, conversation string) (WebhookURL, error) {
	u, err := url.Parse(service)
	if err != nil || u.Host == "" || conversation == "" {
		return WebhookURL{}, ErrServiceURL
	}
	address := strings.TrimSuffix(service, "/") + "/v3/conversations/" + url.PathEscape(conversation) + "/activities"
	return WebhookURL{reveal: func() string { return address }, host: strings.ToLower(u.Hostname())}, nil
}

// Activity is a message of the bot.
type Activity struct {
	// To is what ConversationURL made.
	To WebhookURL
	// Update is the message to be changed, "" for a new one.
	Update string
	// Body is the whole request: what cards.BotEnvelope made.
	Body  []byte
	Login Login
}

// Activity posts or changes a message once, and says what became of it and which message it is; it never retries. The token is kept until 5
// minutes before its end, and dropped when it is refused.
func (p *Poster) Activity(ctx context.Context, a Activity) (r Result, id string) {
	if a.To.IsZero() || a.Login.IsZero() {
		return Result{Class: Config, Safe: "the bot is not set up for this channel"}, ""
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return Result{Class: Temporary, Safe: "gave up waiting for a connection"}, ""
	}
	bearer, refused := p.token(ctx, a.Login)
	if refused != nil {
		refused.Safe = strings.Replace(refused.Safe, "for the webhook", "for the bot", 1)
		return *refused, ""
	}
	method, address := http.MethodPost, a.To.Reveal()
	if a.Update != "" {
		method, address = http.MethodPut, address+"/"+url.PathEscape(a.Update)
	}
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := http.NewRequestWithContext(traced, method, address, bytes.NewReader(a.Body))
	if err != nil {
		return Result{Class: Config, Safe: "the address of the conversation cannot be used"}, ""
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", p.userAgent)
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := p.client.Do(req)
	if err != nil {
		return failed(err, connected.Load(), "Teams"), ""
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // one that breaks off names no message
	if res.StatusCode == http.StatusUnauthorized {
		p.tokens.forget(a.Login, bearer)
	}
	r = Classify(a.To.Host(), res.StatusCode, res.Header, body, p.now())
	if res.StatusCode == http.StatusPreconditionFailed { // the conversation is being changed by another request
		r.Class, r.RetryAfter = Temporary, retryAfter(Temporary, res.Header, p.now())
	}
	var answer struct {
		ID string `json:"id"`
	}
	if r.Class == Accepted && json.Unmarshal(body, &answer) == nil && len(answer.ID) <= 256 {
		id = answer.ID
	}
	return r, id
}
