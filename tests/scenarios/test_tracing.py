"""Which spans are made of what happens, and with which attributes. ``test_traces.py``: as a collector sees them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from moneta.application.deliver_webhooks import prepare_attempts, record_attempts
from moneta.application.end_contracts import expire_contracts
from moneta.application.endpoint_tests import send_endpoint_test
from moneta.application.ports import Answer, EventType, NoAnswer
from moneta.application.redelivery import redeliver
from moneta.domain.limits import DELIVER_LEASE_S
from moneta.entrypoints.telemetry.correlation import event_span, step_span, trace_id_of
from moneta.entrypoints.telemetry.figures import Figures
from moneta.entrypoints.telemetry.metrics import Source
from moneta.entrypoints.telemetry.observing import HubObserver
from moneta.entrypoints.telemetry.tracing import Traces
from tests.scenarios.play import Play

PAGE = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| ((?:`[a-z.]+[a-z_.]*`(?:, )?)+) \|", PAGE.partition("| attribute |")[2].partition("\n\n")[0], re.MULTILINE
)
DOCUMENTED = {name for row in ROWS for name in re.findall("`(.*?)`", row)}
MS = 1_000_000


class Traced:
    """A play whose hub is traced."""

    def __init__(self, house, ratio=1.0):
        self.spans = []
        self.traces = Traces(self.spans.append, ratio=ratio, now_ns=lambda: house.clock.moment * MS + 400_000)
        observer = HubObserver(Figures(Source.PROCESSOR), house.clock, traces=self.traces)
        house.hub = replace(house.hub, observer=observer)
        self.house, self.play = house, Play(house)

    @property
    def attempts(self):
        return [span for span in self.spans if span.name == "POST webhook"]

    def submit(self, event_id="e-1", **changed):
        data = {"contract": self.house.sign_first(self.play.mo, self.play.body, **changed)}
        raw = self.house.event(self.play.mo, EventType.SUBMIT, self.play.contract_id, data, event_id)
        accepted = self.house.send(self.play.mo, raw)
        self.traces.accepted(accepted, self.play.mo.organization_id, scheme="https", took_s=0.002, link=None)

    def deliver(self, came):
        """Send what is due; ``came`` is what comes of each. Return the prepared attempts."""
        hub = self.house.hub
        due = hub.deliveries.take_due(now=hub.clock.now_ms(), limit=10, lease_s=DELIVER_LEASE_S)
        prepared = prepare_attempts(hub, due)
        record_attempts(hub, [(one, came) for one in prepared])
        return prepared


@pytest.fixture
def traced(house):
    return Traced(house)


def answered(status, body=b"", duration_ms=20):
    return Answer(
        status=status, content_type="", retry_after=None, body=body, is_truncated=False, duration_ms=duration_ms
    )


NOBODY = NoAnswer(reason="timeout", detail="", duration_ms=15_000)


def test_an_event_leads_to_a_step_and_a_step_to_its_attempts(traced):
    traced.submit()
    traced.house.process()
    (prepared,) = traced.deliver(answered(200))
    posted, judged, attempt = traced.spans
    mo, contract_id = traced.play.mo.organization_id, traced.play.contract_id
    assert (posted.span_id, posted.parent_id) == (event_span(mo, "e-1"), None)
    assert (judged.span_id, judged.parent_id) == (step_span(contract_id, 1), posted.span_id)
    assert attempt.parent_id == judged.span_id
    assert {span.trace_id for span in traced.spans} == {trace_id_of(contract_id)}
    header = traced.traces.traceparent(prepared.due.owed, prepared.started_at)
    assert header == f"00-{attempt.trace_id}-{attempt.span_id:016x}-01"


def test_a_span_lasts_as_long_as_what_it_shows(traced):
    traced.submit()
    traced.house.process()
    traced.deliver(answered(200, duration_ms=20))
    assert [span.ended_ns - span.started_ns for span in traced.spans] == [2 * MS, 400_000, 20 * MS]


def test_an_attempt_shorter_than_a_millisecond_is_shown_as_one(traced):
    traced.submit()
    traced.house.process()
    traced.deliver(answered(200, duration_ms=0))
    assert traced.attempts[0].ended_ns - traced.attempts[0].started_ns == MS


def test_an_event_that_comes_again_makes_no_second_span(traced):
    traced.submit()
    traced.submit()
    traced.house.process()
    traced.house.process()
    assert [span.name for span in traced.spans] == ["POST /event", "process events"]


def test_an_event_that_changes_nothing_has_a_span_of_its_own(traced):
    traced.submit("e-1")
    traced.submit("e-2")
    traced.house.process()
    spans = [span for span in traced.spans if span.name == "process events"]
    assert [span.attributes.get("moneta.contract.revision") for span in spans] == [1, None]
    assert len({span.span_id for span in traced.spans}) == 4


def test_an_expiry_begins_at_the_root_and_leads_to_its_messages(traced):
    members = {"expires_at": traced.house.hub.now_s() + 60}
    play = traced.play
    play.body = traced.house.body(play.mo, play.publisher, play.mpass_id, **members)
    traced.submit()
    traced.house.process()
    traced.deliver(answered(200))
    traced.house.clock.advance(63)
    assert expire_contracts(traced.house.hub) == 1
    traced.deliver(answered(200))
    (ended,) = (span for span in traced.spans if span.name == "end contract")
    assert ended.parent_id is None
    assert ended.attributes["moneta.contract.status"] == "expired"
    assert [span.parent_id for span in traced.attempts[1:]] == [ended.span_id, ended.span_id]


@pytest.mark.parametrize(("came", "error"), [(answered(503), "503"), (answered(302), "302"), (NOBODY, "timeout")])
def test_an_attempt_that_is_not_delivered_is_an_error(traced, came, error):
    traced.submit()
    traced.house.process()
    traced.deliver(came)
    assert [span.error for span in traced.spans] == [None, None, error]


def test_each_attempt_has_a_span_of_its_own_after_a_redelivery_too(traced):
    traced.submit()
    traced.house.process()
    traced.deliver(answered(500))
    traced.house.clock.advance(3_600)
    (prepared,) = traced.deliver(answered(200))
    traced.house.clock.advance(3_600)
    redeliver(traced.house.hub, traced.house.operator, prepared.due.owed.webhook_id)
    traced.deliver(answered(200))
    assert [span.attributes.get("http.request.resend_count") for span in traced.attempts] == [None, 1, None]
    assert len({span.span_id for span in traced.attempts}) == 3
    assert len({span.parent_id for span in traced.attempts}) == 1


def test_a_test_of_an_endpoint_has_a_trace_of_its_own(traced):
    mo = traced.play.mo
    send_endpoint_test(traced.house.hub, traced.house.caller(mo), mo.kind, mo.organization_id)
    (prepared,) = traced.deliver(answered(204))
    (attempt,) = traced.attempts
    assert attempt.parent_id is None
    assert attempt.trace_id == trace_id_of(prepared.due.owed.webhook_id)
    assert "moneta.contract.id" not in attempt.attributes


def test_a_try_that_met_a_bug_is_an_error_under_its_event(traced):
    traced.submit()
    [event] = traced.house.hub.queue.take(limit=10, lease_s=60)
    traced.house.hub.observer.failed(event, reason="KeyError", is_buried=False)
    posted, failed = traced.spans
    assert (failed.parent_id, failed.error) == (posted.span_id, "KeyError")


def test_of_what_is_not_sampled_only_what_failed_is_shown(house):
    traced = Traced(house, ratio=0.0)
    traced.submit()
    [event] = house.hub.queue.take(limit=10, lease_s=60)
    house.hub.observer.failed(event, reason="KeyError", is_buried=False)
    house.hub.queue.release([event], delay_s=0)
    house.process()
    (prepared,) = traced.deliver(answered(500))
    house.clock.advance(3_600)
    traced.deliver(answered(200, b'{"contract": {}}'))
    house.process()
    assert [span.error for span in traced.spans] == ["KeyError", "500"]
    assert traced.traces.traceparent(prepared.due.owed, prepared.started_at).endswith("-00")


def test_a_fault_of_the_traces_stops_nothing(house):
    def fail(_span):
        raise RuntimeError

    traced = Traced(house)
    traced.traces._take = fail
    traced.submit()
    house.process()
    traced.deliver(answered(200))
    assert house.hub.queue.depth() == 0


def test_every_attribute_is_documented_and_every_documented_one_is_there(traced):
    traced.submit("e-1")
    queue = traced.house.hub.queue
    queue.release(queue.take(limit=10, lease_s=60), delay_s=0)
    traced.house.process()
    traced.deliver(answered(500))
    traced.house.clock.advance(3_600)
    traced.deliver(answered(200, b'{"contract": {}}'))
    traced.house.process()
    traced.submit("e-2", aud="https://another.example")
    traced.house.process()
    shown = {name for span in traced.spans for name in span.attributes}
    assert shown | {"error.type"} == DOCUMENTED  # which the exporter adds to every error
