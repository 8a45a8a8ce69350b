"""Traces for OpenTelemetry: a payment's way through the API, the drain and the ledger, sent by OTLP over HTTP.

Only a process with `OTEL_EXPORTER_OTLP_ENDPOINT` imports this. The library reads its own variables: the endpoint,
`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER` and so on.

The drain continues a payment's trace, because its intent takes the context along (`Origin.as_text`). A drain posts
many payments at once. The batch is a span of the one payment's trace, if only one is traced; else it is a trace of its
own with links to the payments', and each of these gets a span of the same time with a link to the batch.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.domain.origin import Origin, current_origin, traceparent_of

_TRACEPARENT = "traceparent"
_propagator = TraceContextTextMapPropagator()


class Tracing:
    """Writes the spans of one process, and sends them from a thread of its own."""

    def __init__(self, process: str) -> None:
        """`process` becomes the service's name, `holdfast-<process>`, unless `OTEL_SERVICE_NAME` gives another."""
        self._provider = TracerProvider(resource=Resource.create({"service.name": f"holdfast-{process}"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("holdfast")

    def stop(self) -> None:
        """Send what is left, and end."""
        self._provider.shutdown()

    # Calls of the API

    def begin_call(self, origin: Origin, traceparent: str | None) -> None:
        """Begin a call's span; its client's trace goes on where the client sends one."""
        span = self._tracer.start_span(
            origin.method or "", _context_of(traceparent), SpanKind.SERVER, {"holdfast.request_id": origin.request_id}
        )
        origin.span = span
        if span.get_span_context().trace_flags.sampled:
            carrier: dict[str, str] = {}
            _propagator.inject(carrier, trace.set_span_in_context(span, Context()))
            origin.traceparent = carrier[_TRACEPARENT]

    def end_call(self, origin: Origin, status: int) -> None:
        """End a call's span, whose route is known by now."""
        span = origin.span
        assert isinstance(span, Span)
        if origin.route is not None:
            span.update_name(f"{origin.method} {origin.route}")
            span.set_attribute("http.route", origin.route)
        span.set_attribute("http.request.method", origin.method or "")
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    # Within a call or a batch

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, str | int]) -> Iterator[None]:
        """A span of what is being done in this thread; none where that is not traced."""
        context = None
        if not trace.get_current_span().get_span_context().is_valid:
            origin = current_origin()
            if origin is None or not isinstance(origin.span, Span):
                yield
                return
            context = trace.set_span_in_context(origin.span, Context())
        with self._tracer.start_as_current_span(name, context, SpanKind.CLIENT, attributes):
            yield

    @contextmanager
    def batch(self, name: str, origins: Sequence[str]) -> Iterator[None]:
        """A span of a batch, in the traces of those of its payments that are traced."""
        contexts = [_context_of(found) for text in origins if (found := traceparent_of(text))]
        if not contexts:
            yield
            return
        [parent, *others] = contexts
        links = [Link(_span_context(one)) for one in contexts] if others else []
        began_ns = time.time_ns()
        with self._tracer.start_as_current_span(
            name, Context() if others else parent, SpanKind.CONSUMER, {"holdfast.payments": len(origins)}, links
        ) as span:
            yield
        if others:
            for context in contexts:
                link = Link(span.get_span_context())
                self._tracer.start_span(name, context, SpanKind.CONSUMER, None, [link], began_ns).end()


def _context_of(traceparent: str | None) -> Context:
    """The context that a `traceparent` gives; an empty one, which begins a trace, for none and for a bad one."""
    return _propagator.extract({_TRACEPARENT: traceparent} if traceparent else {}, Context())


def _span_context(context: Context) -> trace.SpanContext:
    return trace.get_current_span(context).get_span_context()
