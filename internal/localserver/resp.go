package localserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// redisAccess asks one Redis one thing at a time, without a client library: no pool, no retries, nothing that outlives a
// half-started server.
type redisAccess struct {
	network, addr  string
	tls            *tls.Config // nil without TLS
	user, password string
}

// callTimeout bounds one call; a loading or frozen server is asked again by whoever waits for it.
const callTimeout = 2 * time.Second

// do sends one command and returns its answer: string, int64, nil or []any of these.
func (a redisAccess) do(ctx context.Context, args ...string) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, a.network, a.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if a.tls != nil {
		t := tls.Client(c, a.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c = t
	}
	r := bufio.NewReader(c)
	if a.user != "" {
		if _, err := exchange(c, r, "AUTH", a.user, a.password); err != nil {
			return nil, err
		}
	}
	return exchange(c, r, args...)
}

func (a redisAccess) ping(ctx context.Context) error {
	answer, err := a.do(ctx, "PING")
	if err != nil {
		return err
	}
	if answer != "PONG" {
		return errors.New("redis is still loading")
	}
	return nil
}

// info returns the fields of INFO's section.
func (a redisAccess) info(ctx context.Context, section string) (map[string]string, error) {
	answer, err := a.do(ctx, "INFO", section)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(fmt.Sprint(answer)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[k] = v
		}
	}
	return fields, nil
}

func exchange(w io.Writer, r *bufio.Reader, args ...string) (any, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return nil, err
	}
	return readAnswer(r)
}

func readAnswer(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return nil, errors.New("redis: an empty answer")
	}
	switch kind, rest := line[0], line[1:]; kind {
	case '+':
		return rest, nil
	case '-':
		return nil, errors.New(rest)
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return nil, err
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(r, body); err != nil {
			return nil, err
		}
		return string(body[:n]), nil
	case '*':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return nil, err
		}
		list := make([]any, n)
		for i := range list {
			// An error inside an array (EXEC) is a value there; none of our commands has one.
			if list[i], err = readAnswer(r); err != nil {
				return nil, err
			}
		}
		return list, nil
	default:
		return nil, fmt.Errorf("redis: unknown answer %q", line)
	}
}
