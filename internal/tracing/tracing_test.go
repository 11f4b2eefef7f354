package tracing_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/tracing"
)

// receiver takes traces as a collector does.
type receiver struct {
	*httptest.Server
	spans  chan *otlp.Span
	header chan http.Header
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{spans: make(chan *otlp.Span, 1000), header: make(chan http.Header, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var in collector.ExportTraceServiceRequest
		if err != nil || req.URL.Path != "/base/v1/traces" || proto.Unmarshal(body, &in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.header <- req.Header
		for _, rs := range in.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					r.spans <- s
				}
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() map[string]*otlp.Span {
	out := map[string]*otlp.Span{}
	for {
		select {
		case s := <-r.spans:
			out[s.GetName()] = s
		default:
			return out
		}
	}
}

func TestNothingIsMadeWithoutAnEndpoint(t *testing.T) {
	stop, err := tracing.Start(t.Context(), tracing.Settings{Ratio: 1})
	require.NoError(t, err)
	ctx, span := tracing.Begin(t.Context(), "x", trace.SpanKindInternal)
	require.Empty(t, tracing.Context(ctx))
	tracing.End(span, errors.New("x"))
	require.NoError(t, stop(t.Context()))
}

func TestWrongSettings(t *testing.T) {
	for _, bad := range []tracing.Settings{{Endpoint: "collector:4318"}, {Endpoint: "grpc://collector:4317"}, {Endpoint: "http://"}, {Endpoint: "http://c", Headers: "authorization s3cret"}} {
		_, err := tracing.Start(t.Context(), bad)
		require.ErrorContains(t, err, "want")
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func TestSpansArriveLinkedAndWithoutTexts(t *testing.T) {
	r := newReceiver(t)
	stop, err := tracing.Start(t.Context(), tracing.Settings{
		Endpoint: r.URL + "/base", Headers: "authorization=Bearer%20abc", Ratio: 1, Service: "nphiesq-test", Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	ctx, parent := tracing.Begin(t.Context(), "first", trace.SpanKindProducer)
	first := tracing.Context(ctx)
	require.Regexp(t, `^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`, first)
	var log bytes.Buffer
	l := slog.New(tracing.Logs(slog.NewJSONHandler(&log, nil)).WithAttrs([]slog.Attr{slog.String("always", "a")}))
	ctx = tracing.With(tracing.With(ctx, slog.String("correlation_id", "one"), slog.Int("attempt", 1)), slog.String("correlation_id", "two"))
	l.InfoContext(ctx, "hello")
	require.Contains(t, log.String(), `"attempt":1,"correlation_id":"two","trace_id":"`+first[3:35]+`","span_id":"`)
	require.NotContains(t, log.String(), "one")
	tracing.End(parent, nil)

	lctx, second := tracing.BeginLinked(ctx, "second", trace.SpanKindConsumer, []string{first, first, "", "nonsense"})
	tracing.About(lctx, first, attribute.String(tracing.Claim, "c"))
	tracing.About(lctx, tracing.Context(lctx)) // its own trace is no link
	_, third := tracing.BeginLinked(ctx, "third", trace.SpanKindConsumer, nil)
	tracing.End(third, &fault.Error{Kind: fault.API, Code: "GE-1 Patient Salma"})
	tracing.End(second, &fault.Error{Kind: fault.Network, Code: "HTTP 503", Safe: "safe text", Err: errors.New("Patient Salma")})
	require.NoError(t, stop(context.WithoutCancel(t.Context())))

	spans := r.all()
	require.Len(t, spans, 3)
	require.Contains(t, spans["third"].String(), "api other")
	require.NotContains(t, spans["third"].String(), "Salma")
	require.Equal(t, "Bearer abc", (<-r.header).Get("Authorization"))
	two := spans["second"]
	require.Empty(t, two.GetParentSpanId())
	require.NotEqual(t, spans["first"].GetTraceId(), two.GetTraceId())
	require.Len(t, two.GetLinks(), 2, "once at the start, once when it was known what it is about")
	require.Equal(t, spans["first"].GetSpanId(), two.GetLinks()[0].GetSpanId())
	require.Contains(t, two.String(), "network HTTP 503")
	require.NotContains(t, two.String(), "Salma")
	require.NotContains(t, two.String(), "safe text")
}

// TestALinkedTraceIsKeptOrDroppedWithTheOneBefore: the way of a claim is there whole or not at all.
func TestALinkedTraceIsKeptOrDroppedWithTheOneBefore(t *testing.T) {
	r := newReceiver(t)
	stop, err := tracing.Start(t.Context(), tracing.Settings{Endpoint: r.URL + "/base", Ratio: 0, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, dropped := tracing.Begin(t.Context(), "dropped", trace.SpanKindInternal)
	_, after := tracing.BeginLinked(ctx, "after a dropped one", trace.SpanKindInternal, []string{tracing.Context(ctx)})
	kept := "00-" + strings.Repeat("1", 32) + "-" + strings.Repeat("2", 16) + "-01"
	_, linked := tracing.BeginLinked(ctx, "after a kept one", trace.SpanKindInternal, []string{tracing.Context(ctx), kept})
	for _, s := range []trace.Span{linked, after, dropped} {
		tracing.End(s, nil)
	}
	require.NoError(t, stop(context.WithoutCancel(t.Context())))
	spans := r.all()
	require.Len(t, spans, 1)
	require.Contains(t, spans, "after a kept one")
}
