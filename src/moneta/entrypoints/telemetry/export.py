"""Sends spans to a collector by OTLP over HTTP: the only module that knows OpenTelemetry, imported only if configured.

It never holds up the hub: a span waits in a queue of bounded length, one thread sends what waits, and what has no place
or is not taken is counted and forgotten. ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES`` and the ``_HEADERS``,
``_TIMEOUT``, ``_COMPRESSION`` and certificates of ``OTEL_EXPORTER_OTLP`` are read from the environment by
OpenTelemetry's own code.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from typing_extensions import override

import moneta
from moneta.domain.limits import SPANS_CLOSE_S_MAX, SPANS_SENT_MAX, SPANS_TURN_S, SPANS_WAITING_MAX
from moneta.entrypoints.telemetry import metrics
from moneta.entrypoints.telemetry.observing import Tally
from moneta.entrypoints.telemetry.spans import Span

TRACES_PATH: Final = "/v1/traces"
SERVICE: Final = "moneta"
SHOWN: Final = TraceFlags(TraceFlags.SAMPLED)
SCOPE: Final = InstrumentationScope("moneta", moneta.__version__)

log = structlog.get_logger()


class SpanExport:
    """The queue, and the thread that empties it. What is being sent counts as waiting.

    ``endpoint``: the collector's base URL; ``figures``: the process's.

    It may be used without the rest of a hub's process: ``flush`` is for those that are stopped between two calls.
    """

    def __init__(self, endpoint: str, figures: Tally) -> None:
        self._figures = figures
        self._lock = threading.Lock()
        self._waiting = 0
        self._resource = _resource(figures.source)
        self._exporter = _Watched(otlp_exporter(endpoint), figures, on_done=self._make_room)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=SPANS_WAITING_MAX,
            max_export_batch_size=SPANS_SENT_MAX,
            schedule_delay_millis=SPANS_TURN_S * 1_000,
        )

    def take(self, span: Span) -> None:
        """Queue a span, or count it as dropped if the queue is full. Safe from any thread; never waits."""
        with self._lock:
            has_room = self._waiting < SPANS_WAITING_MAX
            self._waiting += has_room
        if has_room:
            self._processor.on_end(_readable(span, self._resource))
        else:
            self._figures.count(metrics.SPANS_DROPPED, self._figures.source, "queue_full")

    def flush(self, timeout_s: float) -> bool:
        """Send what waits; tell whether that was done in time."""
        return _within(timeout_s, self._processor.force_flush)

    def close(self) -> None:
        """Send what waits, for ``SPANS_CLOSE_S_MAX`` at most, and end."""
        if not _within(SPANS_CLOSE_S_MAX, self._processor.shutdown):
            self._exporter.shutdown()  # it waits to try again no more
        if self._waiting:
            log.warning("spans_dropped", count=self._waiting, reason="closed")

    def _make_room(self, spans: int) -> None:
        with self._lock:
            self._waiting -= spans


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Return what sends to a collector. The first one imports the HTTP client; none starts a thread."""
    return OTLPSpanExporter(endpoint=endpoint.rstrip("/") + TRACES_PATH)


class _Watched(SpanExporter):
    """Counts what the collector takes, and logs when it begins to fail and when it is there again."""

    def __init__(self, inner: SpanExporter, figures: Tally, *, on_done: Callable[[int], None]) -> None:
        self._inner = inner
        self._figures = figures
        self._on_done = on_done
        self._is_failing = False

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception as error:
            log.exception("export_failed", error=type(error).__name__)
            result = SpanExportResult.FAILURE
        self._on_done(len(spans))
        self._note(len(spans), is_taken=result is SpanExportResult.SUCCESS)
        return result

    @override
    def shutdown(self) -> None:
        self._inner.shutdown()

    @override
    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True

    def _note(self, spans: int, *, is_taken: bool) -> None:
        source = self._figures.source
        if is_taken:
            self._figures.count(metrics.SPANS_SENT, source, by=spans)
        else:
            self._figures.count(metrics.SPANS_DROPPED, source, "not_taken", by=spans)
        if is_taken is self._is_failing:
            self._is_failing = not is_taken
            if is_taken:
                log.info("collector_recovered")
            else:
                log.warning("collector_failed", spans_dropped=spans)


def _resource(process: str) -> Resource:
    """Return who sends: what the environment says goes before what we say."""
    own = {"service.name": SERVICE, "service.version": moneta.__version__, "moneta.process": process}
    return Resource.create(own).merge(OTELResourceDetector().detect())


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    trace_id = int(span.trace_id, 16)
    error = {} if span.error is None else {"error.type": span.error}
    return ReadableSpan(
        span.name,
        context=SpanContext(trace_id, span.span_id, is_remote=False, trace_flags=SHOWN),
        parent=None if span.parent_id is None else SpanContext(trace_id, span.parent_id, is_remote=True),
        kind=SpanKind[span.kind],
        resource=resource,
        instrumentation_scope=SCOPE,
        attributes={**span.attributes, **error},
        links=_links(span),
        status=Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR),
        start_time=span.started_ns,
        end_time=max(span.ended_ns, span.started_ns + 1),  # the clock may have been set back in between
    )


def _links(span: Span) -> Sequence[Link]:
    if span.link is None:
        return ()
    flags = SHOWN if span.link.is_sampled else TraceFlags(TraceFlags.DEFAULT)
    return (Link(SpanContext(span.link.trace_id, span.link.span_id, is_remote=True, trace_flags=flags)),)


def _within(seconds: float, do: Callable[[], object]) -> bool:
    """Do something for so long at most, and tell whether it was done. What is not, ends with the process."""
    thread = threading.Thread(target=do, name="spans-closing", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
