"""What a hub forgets when it is over, and what comes of whatever comes again after that: nothing happens twice."""

import threading
from dataclasses import replace

import pytest

from moneta.application.forget_past import forget_past
from moneta.application.ports import AttemptResult, DeliveryQuery, DeliveryStatus, EventType, Hub
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.retention import Past, Retention
from moneta.entrypoints.forgetting import forget_slowly, forgetting_thread
from tests.conformance.builders import attempt
from tests.scenarios.play import Play
from tests.scenarios.test_worker import Failing, wait_until

DAY_S = 24 * 3600
NOTHING = dict.fromkeys(Past, 0)
SHORT = Retention(deliveries_days=1, dead_days=1, events_days=7)


@pytest.fixture
def play(house):
    return Play(house)


def deliver_all(hub: Hub):
    while due := hub.deliveries.take_due(now=hub.clock.now_ms(), limit=100, lease_s=60):
        hub.deliveries.record(
            [
                AttemptResult(
                    webhook_id=one.owed.webhook_id,
                    organization_id=one.owed.organization_id,
                    attempt=attempt(at=hub.clock.now_ms()),
                    status=DeliveryStatus.DELIVERED,
                )
                for one in due
            ]
        )


def owed_types(play):
    page = play.house.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=200))
    return sorted(one.owed.type.rpartition(".")[2] for one in page.items)


def forget(play, retention=SHORT):
    return forget_slowly(play.house.hub, retention, pause=lambda _: False)


def test_a_finished_contract_outlives_its_events_and_deliveries(play):
    for words in ("mo submits", "publisher signs"):
        assert play.does(words) == "processed"
    deliver_all(play.house.hub)
    before = play.contract
    play.house.clock.advance(8 * DAY_S)
    assert forget(play) == NOTHING | {Past.DELIVERIES: 2, Past.EVENTS: 1}  # of each the newest stays
    assert play.contract == before
    assert forget(play) == NOTHING


def test_a_submission_that_is_repeated_after_its_event_was_forgotten_changes_nothing(play):
    """It is judged anew, since its id is unknown; its contract is there, and its signature is long too old."""
    raw = play.house.event(
        play.mo,
        EventType.SUBMIT,
        play.contract_id,
        {"contract": play.house.sign_first(play.mo, play.body)},
        "event-old",
    )
    play.house.send(play.mo, raw)
    play.house.process()
    play.does("publisher signs")
    deliver_all(play.house.hub)
    before = play.contract
    play.house.clock.advance(8 * DAY_S)
    forget(play)
    assert play.house.send(play.mo, raw).is_replay is False
    play.house.process()
    assert play.outcome("mo", "event-old") == "contract_exists"
    assert play.contract == before
    assert owed_types(play) == ["finalized", "rejected"]


def test_a_repeated_signature_after_its_event_was_forgotten_changes_nothing(play):
    play.does("mo submits")
    signed = {"contract": play.house.sign_next(play.publisher, play.contract)}
    raw = play.house.event(play.publisher, EventType.SIGN, play.contract_id, signed, "event-sign")
    play.house.send(play.publisher, raw)
    play.house.process()
    play.does("mo submits")  # a later event, which is the newest and stays
    deliver_all(play.house.hub)
    before = play.contract
    play.house.clock.advance(8 * DAY_S)
    forget(play)
    assert play.house.send(play.publisher, raw).is_replay is False
    play.house.process()
    assert play.outcome("publisher", "event-sign") == "processed"  # the contract says already what it asks for
    assert play.contract == before
    assert owed_types(play) == ["rejected"]  # of the later submission: there is no second "finalized"


def test_a_trial_forgets_nothing(play):
    play.does("mo submits")
    play.does("publisher signs")
    deliver_all(play.house.hub)
    play.house.clock.advance(8 * DAY_S)
    counted = forget_slowly(play.house.hub, SHORT, pause=lambda _: False, is_trial=True)
    assert counted == NOTHING | {Past.DELIVERIES: 2, Past.EVENTS: 1}
    assert forget(play) == counted


def test_each_write_is_followed_by_a_pause_of_many_times_its_length(play):
    play.does("mo submits")
    play.does("publisher signs")
    deliver_all(play.house.hub)
    play.house.clock.advance(8 * DAY_S)
    pauses = []
    forget_slowly(play.house.hub, SHORT, pause=pauses.append)
    assert len([seconds for seconds in pauses if seconds > 0]) == 2  # the deliveries' and the events'


def test_forgetting_ends_between_two_writes_when_it_is_told_to(play):
    assert len(list(forget_past(play.house.hub, SHORT))) == len(Past)
    asked = []
    forget_slowly(play.house.hub, SHORT, pause=lambda _: asked.append(1) is None)
    assert asked == [1]


@pytest.mark.parametrize("error", [StoreUnavailableError("planted"), ZeroDivisionError("planted")])
def test_the_thread_forgets_beside_the_processor_and_goes_on_after_a_fault(play, error):
    play.does("mo submits")
    play.does("publisher signs")
    deliver_all(play.house.hub)
    play.house.clock.advance(8 * DAY_S)
    hub = replace(play.house.hub, retention=Failing(play.house.hub.retention, "forget", error))
    forgetting = forgetting_thread(hub, SHORT, first_s=0.0, every_s=0.01)
    forgetting.start()
    try:
        wait_until(lambda: owed_types(play) == ["finalized"])
    finally:
        forgetting.stop()
    assert "forgetting" not in {thread.name for thread in threading.enumerate()}
