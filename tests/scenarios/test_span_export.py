"""The queue of spans and the thread that empties it: nothing waits for it, whatever the collector does."""

import pytest
import structlog

from moneta.domain.limits import SPANS_SENT_MAX, SPANS_WAITING_MAX
from moneta.entrypoints.telemetry import metrics
from moneta.entrypoints.telemetry.correlation import SpanId
from moneta.entrypoints.telemetry.export import SpanExport
from moneta.entrypoints.telemetry.figures import Figures
from moneta.entrypoints.telemetry.metrics import Source
from moneta.entrypoints.telemetry.spans import Link, Span, SpanKind
from tests.collector import HANG, OK, UNAVAILABLE, collecting
from tests.running_hub import wait_until

AT = 1_800_000_000_000_000_000


def span(number, **changed):
    members = {
        "name": "test",
        "kind": SpanKind.INTERNAL,
        "trace_id": f"{number + 1:032x}",
        "span_id": SpanId(number + 1),
        "parent_id": None,
        "started_ns": AT,
        "ended_ns": AT + 1_000,
        **changed,
    }
    return Span(**members)


class Exporting:
    """An exporter with the collector that it sends to."""

    def __init__(self, collector, url):
        self.collector = collector
        self.figures = Figures(Source.DELIVERER)
        self.export = SpanExport(url, self.figures)

    def value(self, metric, *labels):
        wanted = (Source.DELIVERER, *labels)
        return sum(one.values[0] for one in self.figures.taken() if (one.name, one.labels) == (metric.name, wanted))


@pytest.fixture
def exporting(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with collecting() as (collector, url):
        exporting = Exporting(collector, url)
        yield exporting
        exporting.export.close()


def test_a_span_comes_as_it_was_given(exporting):
    link = Link(trace_id=7, span_id=8, is_sampled=True)
    attributes = {"moneta.contract.id": "c-1", "moneta.contract.revision": 2}
    exporting.export.take(
        span(0, parent_id=SpanId(5), kind=SpanKind.CLIENT, error="503", link=link, attributes=attributes)
    )
    assert exporting.export.flush(30)
    (seen,) = exporting.collector.spans
    assert (seen.name, seen.kind, seen.duration_ns, seen.is_error) == ("test", "CLIENT", 1_000, True)
    assert (seen.trace_id, seen.span_id, seen.parent_id) == (f"{1:032x}", f"{1:016x}", f"{5:016x}")
    assert seen.links == [(f"{7:032x}", f"{8:016x}")]
    assert seen.attributes == {**attributes, "error.type": "503"}
    assert exporting.value(metrics.SPANS_SENT) == 1


def test_a_clock_that_was_set_back_makes_no_span_that_ends_before_it_begins(exporting):
    exporting.export.take(span(0, ended_ns=AT - 5_000_000))
    assert exporting.export.flush(30)
    assert exporting.collector.spans[0].duration_ns == 1


def test_what_waits_is_bounded_and_what_finds_no_place_is_counted(exporting):
    exporting.collector.answer = HANG
    more = 100
    for number in range(SPANS_SENT_MAX):  # which the thread takes out, and waits with for an answer
        exporting.export.take(span(number))
    wait_until(lambda: exporting.collector.requests)
    for number in range(SPANS_WAITING_MAX + more):
        exporting.export.take(span(number))
    assert exporting.value(metrics.SPANS_DROPPED, "queue_full") >= more
    assert exporting.export._waiting <= SPANS_WAITING_MAX
    exporting.collector.answer = OK
    exporting.collector.released.set()
    assert exporting.export.flush(30)
    sent, lost = exporting.value(metrics.SPANS_SENT), exporting.value(metrics.SPANS_DROPPED, "not_taken")
    full = exporting.value(metrics.SPANS_DROPPED, "queue_full")
    assert sent + lost + full == SPANS_SENT_MAX + SPANS_WAITING_MAX + more
    assert sent == len(exporting.collector.spans) > 0


def test_nothing_waits_longer_than_it_wants_for_a_collector_that_hangs(exporting):
    exporting.collector.answer = HANG
    exporting.export.take(span(0))
    assert not exporting.export.flush(0.05)


def test_an_end_is_not_held_up_and_tells_what_was_not_sent(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
    with collecting() as (collector, url), structlog.testing.capture_logs() as log:
        collector.answer = HANG
        exporting = Exporting(collector, url)
        for number in range(SPANS_SENT_MAX):
            exporting.export.take(span(number))
        wait_until(lambda: collector.requests)
        for number in range(3):
            exporting.export.take(span(number))
        exporting.export.close()
    dropped = {"event": "spans_dropped", "count": SPANS_SENT_MAX + 3, "reason": "closed", "log_level": "warning"}
    assert dropped in log


def test_a_collector_that_fails_is_told_once_and_again_when_it_is_back(exporting):
    with structlog.testing.capture_logs() as log:
        for answer in (UNAVAILABLE, UNAVAILABLE, OK, OK):
            exporting.collector.answer = answer
            exporting.export.take(span(0))
            assert exporting.export.flush(30)
    told = [entry["event"] for entry in log if entry["event"] != "library_logged"]
    assert told == ["collector_failed", "collector_recovered"]
    assert (exporting.value(metrics.SPANS_SENT), exporting.value(metrics.SPANS_DROPPED, "not_taken")) == (2, 2)


def test_the_last_spans_are_sent_at_the_end(exporting):
    exporting.export.take(span(0))
    exporting.export.close()
    assert len(exporting.collector.spans) == 1
