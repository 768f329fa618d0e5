"""Ids of traces and spans, and W3C Trace Context: what derives from what, and what is read of outsiders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from moneta.entrypoints.telemetry.correlation import attempt_span, event_span, rejection_span, step_span, trace_id_of
from moneta.entrypoints.telemetry.spans import Link, link_of, traceparent
from moneta.entrypoints.telemetry.tracing import Traces

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
LINK = Link(trace_id=int(TRACE, 16), span_id=int(SPAN, 16), is_sampled=True)


@given(trace_id=st.integers(1, 2**128 - 1), ratio=st.floats(0, 1))
def test_the_sample_is_that_of_opentelemetrys_own_sampler(trace_id, ratio):
    sampled = TraceIdRatioBased(ratio).should_sample(None, trace_id, "").decision is Decision.RECORD_AND_SAMPLE
    assert Traces(lambda _: None, ratio=ratio).is_sampled(f"{trace_id:032x}") is sampled


@pytest.mark.parametrize(
    ("ratio", "least", "most"), [(0, 0, 0), (0.01, 60, 150), (0.5, 4_800, 5_200), (1, 10_000, 10_000)]
)
def test_of_many_contracts_about_the_ratio_is_sampled(ratio, least, most):
    traces = Traces(lambda _: None, ratio=ratio)
    assert least <= sum(traces.is_sampled(trace_id_of(f"contract-{number}")) for number in range(10_000)) <= most


@pytest.mark.parametrize(
    ("header", "link"),
    [
        (f"00-{TRACE}-{SPAN}-01", LINK),
        (f"00-{TRACE}-{SPAN}-00", Link(trace_id=LINK.trace_id, span_id=LINK.span_id, is_sampled=False)),
        (f"00-{TRACE}-{SPAN}-03", LINK),
        (f"01-{TRACE}-{SPAN}-01", LINK),
        (f"fe-{TRACE}-{SPAN}-01-and-more", LINK),
        (f"00-{TRACE}-{SPAN}-01-and-more", None),
        (f"01-{TRACE}-{SPAN}-01and-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE[1:]}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f" 00-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        ("", None),
    ],
)
def test_only_a_header_of_the_standards_form_makes_a_link(header, link):
    assert link_of(header.encode("ascii")) == link


def test_without_a_header_there_is_no_link():
    assert link_of(None) is None


def test_what_we_tell_a_receiver_is_read_as_what_we_meant():
    header = traceparent(TRACE, attempt_span("w-1", 1), is_sampled=True)
    assert link_of(header.encode()) == Link(trace_id=LINK.trace_id, span_id=attempt_span("w-1", 1), is_sampled=True)


def test_no_two_causes_have_one_span():
    spans = [
        event_span("a", "b"),
        event_span("b", "a"),
        event_span("ab", ""),
        step_span("a", 1),
        step_span("a", 11),
        step_span("a1", 1),
        rejection_span("a"),
        attempt_span("a", 1),
        attempt_span("a", 2),
    ]
    assert len(set(spans)) == len(spans)
    assert all(0 < span < 2**64 for span in spans)


def test_the_ids_stay_what_they_are():  # whoever searches a month later derives the same
    assert trace_id_of("contract-1") == "b6b4b5229c2229aa5c474bafd557f187"
    assert f"{event_span('org-1', 'event-1'):016x}" == "6a89bdf329629831"
