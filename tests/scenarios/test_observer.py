"""What an operator can count: every accepted event, outcome, end and attempt, once, and each in its class."""

from dataclasses import replace

import pytest
import structlog

from moneta.adapters.embedded.store import EmbeddedStore
from moneta.application.deliver_webhooks import prepare_attempts, record_attempts
from moneta.application.end_contracts import expire_contracts
from moneta.application.ports import Answer, EventType, NoAnswer
from moneta.application.process_events import process_events
from moneta.entrypoints.telemetry import metrics
from moneta.entrypoints.telemetry.figures import Figures
from moneta.entrypoints.telemetry.metrics import Source
from moneta.entrypoints.telemetry.observing import HubObserver
from tests.scenarios.play import Play


class Watched:
    """A play whose hub is observed."""

    def __init__(self, house):
        self.figures = Figures(Source.PROCESSOR)
        house.hub = replace(house.hub, observer=HubObserver(self.figures, house.clock))
        self.house, self.play = house, Play(house)

    def values(self, metric):
        """The values of each of a metric's series that is not all 0, by its labels."""
        return {one.labels: one.values for one in self.figures.taken() if one.name == metric.name and any(one.values)}

    def submit(self, event_id="e-1", **changed):
        data = {"contract": self.house.sign_first(self.play.mo, self.play.body, **changed)}
        raw = self.house.event(self.play.mo, EventType.SUBMIT, self.play.contract_id, data, event_id)
        self.house.send(self.play.mo, raw)

    def deliver(self, came):
        """Send what is due; ``came`` is what comes of each. Return how many there were."""
        hub = self.house.hub
        due = hub.deliveries.take_due(now=hub.clock.now_ms(), limit=10, lease_s=60)
        record_attempts(hub, [(one, came) for one in prepare_attempts(hub, due)])
        return len(due)


@pytest.fixture
def watched(house):
    return Watched(house)


def answered(status, body=b""):
    return Answer(status=status, content_type="", retry_after=None, body=body, is_truncated=False, duration_ms=20)


def test_an_outcome_is_counted_with_its_time_and_its_commit(watched):
    watched.submit()
    watched.house.clock.advance(0.03)
    watched.house.process()
    assert watched.values(metrics.EVENTS_PROCESSED) == {("processed",): [1]}
    total, *counts = watched.values(metrics.EVENT_OUTCOME_SECONDS)[()]
    assert (total, sum(counts)) == (0.03, 1)
    assert watched.values(metrics.CHANGES_PER_COMMIT)[()][:2] == [1, 1]
    assert watched.values(metrics.CONTRACTS_ENDED) == {}


def test_a_refusal_after_the_202_is_counted_by_its_code(watched):
    watched.submit(aud="https://another.example")
    watched.house.process()
    assert watched.values(metrics.EVENTS_PROCESSED) == {("rejected",): [1]}
    assert watched.values(metrics.EVENTS_REJECTED) == {("invalid_signature",): [1]}


def test_an_expiry_is_an_end_without_an_event(watched):
    members = {"expires_at": watched.house.hub.now_s() + 60}
    watched.play.body = watched.house.body(watched.play.mo, watched.play.publisher, watched.play.mpass_id, **members)
    watched.submit()
    watched.house.process()
    watched.house.clock.advance(63)
    assert expire_contracts(watched.house.hub) == 1
    assert watched.values(metrics.CONTRACTS_ENDED) == {("expired",): [1]}
    assert watched.values(metrics.EVENTS_PROCESSED) == {("processed",): [1]}


def test_what_was_committed_before_is_not_counted_twice(watched):
    watched.submit()
    taken = watched.house.hub.queue.take(limit=10, lease_s=60)
    process_events(watched.house.hub, taken)
    process_events(watched.house.hub, taken)
    assert watched.values(metrics.EVENTS_PROCESSED) == {("processed",): [1]}
    assert watched.values(metrics.CHANGES_REPEATED) == {(): [1]}


@pytest.mark.parametrize(
    ("came", "result"),
    [
        (answered(204), "2xx"),
        (answered(301), "3xx"),
        (answered(404), "4xx"),
        (answered(503), "5xx"),
        (NoAnswer(reason="timeout", detail="", duration_ms=15_000), "timeout"),
        (NoAnswer(reason="refused_address", detail="", duration_ms=1), "refused_address"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_attempt_is_counted_in_its_class(watched, came, result):
    watched.submit()
    watched.house.process()
    watched.house.clock.advance(2)
    assert watched.deliver(came) == 1
    assert watched.values(metrics.DELIVERY_ATTEMPTS) == {(result,): [1]}
    assert watched.values(metrics.DELIVERY_FIRST_SECONDS)[()][0] == 2
    assert watched.values(metrics.DELIVERY_ATTEMPT_SECONDS)[()][0] == came.duration_ms / 1000
    assert watched.values(metrics.ATTEMPTS_PER_WRITE)[()][0] == 1
    assert watched.values(metrics.DELIVERIES_SETTLED) == ({("delivered",): [1]} if result == "2xx" else {})


def test_a_dead_delivery_and_a_disabled_endpoint_are_counted(watched):
    hub = watched.house.hub
    watched.house.hub = replace(hub, retry_schedule_s=(0,))
    watched.submit()
    watched.house.process()
    watched.deliver(answered(410))
    assert watched.values(metrics.DELIVERIES_SETTLED) == {("dead",): [1]}
    assert watched.values(metrics.ENDPOINTS_DISABLED) == {("gone",): [1]}


def test_only_the_first_attempt_tells_how_late_deliveries_begin(watched):
    watched.submit()
    watched.house.process()
    watched.deliver(answered(500))
    watched.house.clock.advance(3_600)
    watched.deliver(answered(200))
    assert sum(watched.values(metrics.DELIVERY_ATTEMPT_SECONDS)[()][1:]) == 2
    assert sum(watched.values(metrics.DELIVERY_FIRST_SECONDS).get((), [0, 1])[1:]) == 1


def test_a_signature_in_the_answer_is_counted(watched):
    watched.submit()
    watched.house.process()
    watched.deliver(answered(200, b'{"contract": {}}'))
    assert watched.values(metrics.ANSWERS_ACCEPTED) == {(): [1]}


def test_tries_that_met_a_bug_and_dead_letters_are_counted(watched):
    watched.submit()
    [event] = watched.house.hub.queue.take(limit=10, lease_s=60)
    watched.house.hub.observer.failed(event, reason="ValueError", is_buried=False)
    watched.house.hub.observer.failed(event, reason="ValueError", is_buried=True)
    assert watched.values(metrics.EVENTS_FAILED) == {(): [2]}
    assert watched.values(metrics.EVENTS_BURIED) == {(): [1]}


def test_a_fault_of_the_observer_s_stops_nothing(watched):
    watched.house.hub = replace(watched.house.hub, observer=HubObserver(None, watched.house.clock))
    watched.submit()
    with structlog.testing.capture_logs() as log:
        watched.house.process()
    assert [entry["event"] for entry in log] == ["observer_failed"]
    assert watched.house.hub.queue.depth() == 0


def test_durable_writes_are_timed(tmp_path, house):
    figures = Figures(Source.WEB)
    observer = HubObserver(figures, house.clock)
    EmbeddedStore.create(tmp_path, base_url="https://hub.example", clock=house.clock).close()
    store = EmbeddedStore.open(tmp_path, clock=house.clock, observer=observer)
    store.events.accept(())
    store.close()
    counts = {one.name: sum(one.values[1:]) for one in figures.taken() if one.labels == ("web",)}
    assert counts == {
        "moneta_store_wait_seconds": 1,
        "moneta_store_write_seconds": 1,
        "moneta_store_sync_seconds": 1,
    }
