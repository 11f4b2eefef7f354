package nphiesclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// tlsServer is a real server without client certificates that speaks HTTP/1.1 or HTTP/2 and counts connections.
func tlsServer(t *testing.T, proto string, h http.HandlerFunc) (c *Client, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = proto == "HTTP/2.0"
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return newTestClient(t, Config{BaseURL: s.URL, TLS: &tls.Config{RootCAs: roots}}), connections
}

var protocols = []string{"HTTP/1.1", "HTTP/2.0"}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	for _, proto := range protocols {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			c, connections := tlsServer(t, proto, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, r.Proto)
			})
			for range 50 {
				a, err := c.Send(t.Context(), []byte("{}"))
				require.NoError(t, err)
				require.Equal(t, proto, string(a.Body))
			}
			require.EqualValues(t, 1, connections.Load())
			for range 20 {
				var wg sync.WaitGroup
				for range 8 {
					wg.Go(func() {
						if _, err := c.Send(t.Context(), []byte("{}")); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
			}
			// Some dials are overtaken by a connection that falls idle meanwhile, and are kept.
			require.LessOrEqual(t, connections.Load(), int32(40), "about as many as exchanges at a time, not the 160 there were")
		})
	}
}

func TestTenMegabytesEachWay(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789abcdef"), MaxMessageBytes/16)
	for _, proto := range protocols {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			c, _ := tlsServer(t, proto, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				got, err := io.ReadAll(r.Body)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes arrived: %v", len(got), err)
				}
				_, _ = w.Write(body)
				if calls.Load() > 1 {
					_, _ = w.Write([]byte("x"))
				}
			})
			a, err := c.Send(t.Context(), body)
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, a.Body))

			a, err = c.Send(t.Context(), body)
			requireFault(t, err, fault.Network, DeliveryAnswered)
			require.True(t, bytes.Equal(body, a.Body), "what came is kept")

			_, err = c.Send(t.Context(), append(body, 'x'))
			requireFault(t, err, fault.Invalid, DeliveryNotSent)
			require.EqualValues(t, 2, calls.Load())
		})
	}
}

func TestHostNameThatDoesNotResolve(t *testing.T) {
	t.Parallel()
	_, err := newTestClient(t, Config{BaseURL: "http://two..dots"}).Send(t.Context(), []byte("{}"))
	requireFault(t, err, fault.Network, DeliveryNotSent)
	require.ErrorContains(t, err, "cannot be resolved")
}

// rawServer hands each connection, with its number from 1, to f and closes it afterwards.
func rawServer(t *testing.T, f func(n int, c net.Conn)) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serveRaw(t, l, f)
	return l.Addr().String()
}

func serveRaw(t *testing.T, l net.Listener, f func(n int, c net.Conn)) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { f(n, c); _ = c.Close() })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// TestDeliveryOverHTTP1: how far a request got, for each way in which a server lets go of it. What may have been processed is
// never sent twice.
func TestDeliveryOverHTTP1(t *testing.T) {
	t.Parallel()
	read := func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}
	stall := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) } // until the other side goes
	for name, tt := range map[string]struct {
		serve func(c net.Conn)
		part  string
		say   string
	}{
		"closed at the first byte": {func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, "", "lost after sending"},
		"closed after reading":     {func(c net.Conn) { read(c) }, "", "lost after sending"},
		"stalled in headers": {func(c net.Conn) {
			read(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le")
			stall(c)
		}, "", "no answer in time"},
		"stalled in body": {func(c net.Conn) {
			read(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"resourceType\"")
			stall(c)
		}, "{\"resourceType\"", "no answer in time"},
		"closed in body": {func(c net.Conn) {
			read(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"resource")
		}, "{\"resource", "cut off"},
		"no HTTP": {func(c net.Conn) {
			read(c)
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var connections atomic.Int32
			address := rawServer(t, func(_ int, c net.Conn) {
				connections.Add(1)
				tt.serve(c)
			})
			a, err := newTestClient(t, Config{BaseURL: "http://" + address, Timeout: time.Second}).Send(t.Context(), []byte("{}"))
			requireFault(t, err, fault.Network, DeliveryUnknown)
			require.ErrorContains(t, err, tt.say)
			require.ErrorContains(t, err, "may have been processed")
			require.EqualValues(t, 1, connections.Load())
			if tt.part != "" {
				require.Equal(t, tt.part, string(a.Body), "what came is kept")
			}
		})
	}
}

// TestClosedBeforeReading: whether anything was sent depends on who is faster; it is told, and only what was not sent is sent
// again.
func TestClosedBeforeReading(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	address := rawServer(t, func(int, net.Conn) { connections.Add(1) })
	for range 20 {
		connections.Store(0)
		_, err := newTestClient(t, Config{BaseURL: "http://" + address}).Send(t.Context(), []byte("{}"))
		require.Equal(t, fault.Network, fault.KindOf(err))
		if DeliveryOf(err) == DeliveryNotSent {
			require.EqualValues(t, 3, connections.Load())
			continue
		}
		require.Equal(t, DeliveryUnknown, DeliveryOf(err))
	}
}

// TestReusedConnectionIsNotAnExcuse: a server that reads the second request of a connection and closes it may have processed
// it; Go's transport repeats some requests in that case.
func TestReusedConnectionIsNotAnExcuse(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	address := rawServer(t, func(_ int, c net.Conn) {
		b := bufio.NewReader(c)
		for range 2 {
			r, err := http.ReadRequest(b)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if requests.Add(1) == 1 {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
			}
		}
	})
	c := newTestClient(t, Config{BaseURL: "http://" + address})
	_, err := c.Send(t.Context(), []byte("{}"))
	require.NoError(t, err)
	_, err = c.Send(t.Context(), []byte("{}"))
	requireFault(t, err, fault.Network, DeliveryUnknown)
	require.EqualValues(t, 2, requests.Load())
}

// h2Server speaks HTTP/2 frame by frame: answer is called when request n, counted over all connections from 1, has arrived
// whole. It ends the connection by returning false.
func h2Server(t *testing.T, answer func(n int, f *http2.Framer, stream uint32) bool) (c *Client, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	a := newAuthority(t)
	cert, err := LoadPEM(a.issue(t, "server"))
	require.NoError(t, err)
	plain, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
	serveRaw(t, l, func(_ int, conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(conn, conn)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
				_ = f.WriteSettingsAck()
			}
			if d, ok := frame.(*http2.DataFrame); ok && d.StreamEnded() && !answer(int(requests.Add(1)), f, d.StreamID) {
				return
			}
		}
	})
	return newTestClient(t, Config{BaseURL: "https://" + l.Addr().String(), Timeout: 5 * time.Second, TLS: &tls.Config{RootCAs: a.pool}}), requests
}

func h2OK(f *http2.Framer, stream uint32, body string, end bool) bool {
	var b bytes.Buffer
	_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true})
	_ = f.WriteData(stream, end, []byte(body))
	return true
}

// TestDeliveryOverHTTP2: a stream that the server refused, or that came after the last it will serve, was not processed and is
// sent again; after any other end nothing is sent twice, whatever Go's transport would like.
func TestDeliveryOverHTTP2(t *testing.T) {
	t.Parallel()
	reset := func(code http2.ErrCode) func(f *http2.Framer, stream uint32) bool {
		return func(f *http2.Framer, stream uint32) bool { _ = f.WriteRSTStream(stream, code); return true }
	}
	goAway := func(code http2.ErrCode, before uint32, stay bool) func(f *http2.Framer, stream uint32) bool {
		return func(f *http2.Framer, stream uint32) bool { _ = f.WriteGoAway(stream-before, code, nil); return stay }
	}
	for name, tt := range map[string]struct {
		end  func(f *http2.Framer, stream uint32) bool
		want Delivery
	}{
		"refused stream":                  {reset(http2.ErrCodeRefusedStream), DeliveryNotSent},
		"going away, stream not served":   {goAway(http2.ErrCodeNo, 1, true), DeliveryNotSent},
		"going away in anger, not served": {goAway(http2.ErrCodeEnhanceYourCalm, 1, true), DeliveryNotSent},
		"going away, stream perhaps":      {goAway(http2.ErrCodeNo, 0, false), DeliveryUnknown},
		"going away in anger, perhaps":    {goAway(http2.ErrCodeInternal, 0, false), DeliveryUnknown},
		"reset: cancel":                   {reset(http2.ErrCodeCancel), DeliveryUnknown},
		"reset: internal error":           {reset(http2.ErrCodeInternal), DeliveryUnknown},
		"reset: protocol error":           {reset(http2.ErrCodeProtocol), DeliveryUnknown},
		"reset: enhance your calm":        {reset(http2.ErrCodeEnhanceYourCalm), DeliveryUnknown},
		"connection closed":               {func(*http2.Framer, uint32) bool { return false }, DeliveryUnknown},
		"connection closed in mid-answer": {func(f *http2.Framer, s uint32) bool { h2OK(f, s, "{", false); return false }, DeliveryUnknown},
		"stream reset in mid-answer":      {func(f *http2.Framer, s uint32) bool { h2OK(f, s, "{", false); return reset(http2.ErrCodeCancel)(f, s) }, DeliveryUnknown},
		"stream refused in mid-answer (!)": {func(f *http2.Framer, s uint32) bool {
			h2OK(f, s, "{", false)
			return reset(http2.ErrCodeRefusedStream)(f, s)
		}, DeliveryUnknown},
	} {
		for _, reused := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reused %t", name, reused), func(t *testing.T) {
				t.Parallel()
				first := 1
				var healthy atomic.Bool
				if reused {
					first = 2
				}
				c, requests := h2Server(t, func(n int, f *http2.Framer, stream uint32) bool {
					if n < first || healthy.Load() {
						return h2OK(f, stream, "{}", true)
					}
					return tt.end(f, stream)
				})
				if reused {
					_, err := c.Send(t.Context(), []byte("{}"))
					require.NoError(t, err)
				}
				before := requests.Load()
				_, err := c.Send(t.Context(), []byte("{}"))
				requireFault(t, err, fault.Network, tt.want)
				if tt.want == DeliveryUnknown {
					require.EqualValues(t, 1, requests.Load()-before, "sent once")
					return
				}
				require.EqualValues(t, 3, requests.Load()-before, "sent again by us, three times in all")
				healthy.Store(true)
				a, err := c.Send(t.Context(), []byte("{}"))
				require.NoError(t, err)
				require.Equal(t, "{}", string(a.Body))
			})
		}
	}
}

func TestStallOverHTTP2(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"", "{\"resourceType\""} {
		c, requests := h2Server(t, func(_ int, f *http2.Framer, stream uint32) bool {
			if part != "" {
				h2OK(f, stream, part, false)
			}
			return true
		})
		c.timeout = time.Second
		a, err := c.Send(t.Context(), []byte("{}"))
		requireFault(t, err, fault.Network, DeliveryUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualValues(t, 1, requests.Load())
		if part != "" {
			require.Equal(t, part, string(a.Body))
		}
	}
}

func TestOldTLSIsNotSpoken(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := a.server(t, tls.VersionTLS11, func(http.ResponseWriter, *http.Request) { t.Error("was asked") })
	own, err := LoadPEM(a.issue(t, "hospital"))
	require.NoError(t, err)
	id := &Identity{Certificate: own}
	for _, base := range []*tls.Config{{RootCAs: a.pool}, {RootCAs: a.pool, MinVersion: tls.VersionTLS10}} {
		c := newTestClient(t, Config{BaseURL: s.URL, TLS: base, Identity: func(context.Context) (*Identity, error) { return id, nil }})
		_, err = c.Send(t.Context(), []byte("{}"))
		requireFault(t, err, fault.Certificate, DeliveryNotSent)
	}
}

// TestProxyOfTheEnvironment runs itself in another process: Go reads the settings of the proxy once, and never uses one for
// loopback.
func TestProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	if os.Getenv("NPHIESCLIENT_TEST_PROXIED") != "" {
		a, err := newTestClient(t, Config{BaseURL: "http://nphies.example"}).Send(t.Context(), []byte("{}"))
		require.NoError(t, err)
		require.Equal(t, "http://nphies.example/$process-message", string(a.Body))
		return
	}
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.String()) })
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestProxyOfTheEnvironment$", "-test.v")
	cmd.Env = append(os.Environ(), "NPHIESCLIENT_TEST_PROXIED=1", "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestProxyOfTheEnvironment")
}
