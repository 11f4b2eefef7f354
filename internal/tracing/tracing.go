// Package tracing shows the way of one claim as OpenTelemetry traces: from enqueue through the tasks to the post of its cards. Each
// task is a trace of its own, linked to those that led to it, since hours may lie between them. It is off unless an endpoint is set.
//
// Spans hold ids, codes and durations: no message, no address of a link or webhook, no name.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Names of attributes. Those of messaging are OpenTelemetry's conventions, which are still in development: they stand here alone.
const (
	System      = "messaging.system"
	Operation   = "messaging.operation.name"
	OperationOf = "messaging.operation.type"
	Destination = "messaging.destination.name"
	MessageID   = "messaging.message.id"
	ErrorType   = "error.type"
	HTTPStatus  = "http.response.status_code"
	TaskType    = "asynq.task.type"
	RetryCount  = "asynq.retry_count"

	Claim         = "nphiesq.claim_id"
	Check         = "nphiesq.check_id"
	License       = "nphiesq.license"
	Event         = "nphies.event"
	Channel       = "nphiesq.channel"
	EventType     = "nphiesq.event_type"
	Notifications = "nphiesq.notifications"
)

// Settings are where traces go.
type Settings struct {
	// Endpoint is the base address of an OTLP receiver over HTTP; /v1/traces is appended. "" switches tracing off.
	Endpoint string
	// Headers go with each request: name=value pairs, separated by commas, values percent-encoded.
	Headers string
	// Ratio of the traces that begin here is kept, 0 to 1. What is linked to a kept one is kept, too.
	Ratio float64
	// Service and Version name the program; Environment the installation.
	Service, Version, Environment string
	// Log is told when spans cannot be sent.
	Log *slog.Logger
}

// Start begins sending spans. The caller calls stop at its end, which sends what is left.
//
// Errors say which part of the settings is wrong. A receiver that does not answer is no error: spans are dropped then.
func Start(ctx context.Context, s Settings) (stop func(context.Context) error, err error) {
	if s.Endpoint == "" {
		return func(context.Context) error { return nil }, nil
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("want the address of an OTLP receiver, such as http://collector:4318")
	}
	headers, err := parseHeaders(s.Headers)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.JoinPath("v1", "traces").String()), otlptracehttp.WithHeaders(headers))
	if err != nil {
		return nil, fmt.Errorf("the exporter refuses it: %w", err)
	}
	about := resource.NewSchemaless(attribute.String("service.name", s.Service), attribute.String("service.version", s.Version),
		attribute.String("deployment.environment.name", s.Environment))
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about), sdktrace.WithSampler(sdktrace.ParentBased(linked{sdktrace.TraceIDRatioBased(s.Ratio)})))
	otel.SetTracerProvider(p)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		s.Log.WarnContext(ctx, "traces are not sent", slog.String("error", err.Error()))
	}))
	return p.Shutdown, nil
}

func parseHeaders(text string) (map[string]string, error) {
	out := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		plain, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !ok || name == "" || err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS: want name=value pairs, separated by commas") // not the text: it holds a token
		}
		out[name] = plain
	}
	return out, nil
}

// linked keeps a trace whose links lead to one that is kept, and drops one whose links all lead to dropped ones, so that the way of a
// claim is there whole or not at all.
type linked struct{ sdktrace.Sampler }

func (l linked) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	for _, x := range p.Links {
		if x.SpanContext.IsSampled() {
			return sdktrace.AlwaysSample().ShouldSample(p)
		}
	}
	if len(p.Links) > 0 {
		return sdktrace.NeverSample().ShouldSample(p)
	}
	return l.Sampler.ShouldSample(p)
}

func tracer() trace.Tracer { return otel.Tracer("github.com/claimlinc/nphiesq") }

// Begin begins a span. What follows from it is begun with the context that is returned; End ends it.
func Begin(ctx context.Context, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	return tracer().Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
}

// BeginLinked begins a trace of its own, linked to those whose contexts are given, as Context returned them. What is none is left out.
func BeginLinked(ctx context.Context, name string, kind trace.SpanKind, to []string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	return tracer().Start(ctx, name, trace.WithNewRoot(), trace.WithSpanKind(kind), trace.WithAttributes(attrs...), trace.WithLinks(links(ctx, to)...))
}

// most is how many links a span gets: a digest may stand for thousands.
const most = 32

func links(ctx context.Context, to []string) (out []trace.Link) {
	seen := map[string]bool{}
	for _, c := range to {
		if x := parse(ctx, c); x.IsValid() && !seen[c] && len(out) < most {
			out, seen[c] = append(out, trace.Link{SpanContext: x}), true
		}
	}
	return out
}

// About says what the span of ctx is about, and links it to the trace in which that began, "" if that is not known.
func About(ctx context.Context, to string, attrs ...attribute.KeyValue) {
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attrs...)
	if x := parse(ctx, to); x.IsValid() && x.TraceID() != span.SpanContext().TraceID() {
		span.AddLink(trace.Link{SpanContext: x})
	}
}

// End ends a span; err, if any, shows as its kind and code, never as a text that may hold more.
func End(span trace.Span, err error) {
	if err != nil {
		f := fault.Of(err)
		code := f.Code
		if !plainCode.MatchString(code) {
			code = "other"
		}
		span.SetAttributes(attribute.String(ErrorType, strings.TrimSpace(string(f.Kind)+" "+code)))
		span.SetStatus(codes.Error, string(f.Kind))
	}
	span.End()
}

// plainCode is what may stand in a span: a code is made by others, and could be a sentence.
var plainCode = regexp.MustCompile(`^([A-Za-z]+ )?[A-Za-z0-9._/-]{0,32}$`)

// TraceParent is the name of the header that carries a context: W3C Trace Context.
const TraceParent = "traceparent"

// Context is the span of ctx as a W3C traceparent, "" without one.
func Context(ctx context.Context) string {
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c[TraceParent]
}

func parse(ctx context.Context, traceparent string) trace.SpanContext {
	if traceparent == "" {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), propagation.MapCarrier{TraceParent: traceparent}))
}
