"""The processor: every message is done or kept, and an event has one outcome however often it comes."""

import pytest
from structlog.testing import capture_logs

from moneta.application.ports import Committed, DeliveryQuery, EventStatus
from moneta.domain.errors import MisconfiguredError, StoreUnavailableError
from moneta.domain.limits import PROCESS_TRIES_MAX
from moneta.entrypoints.aws_lambda import dead_letters, processor
from tests.aws_lambda.loopback import CALLS_MAX, Away, Broken, BrokenFor, Crash, Dying, ids, kept


def process(loopback, batch, **changed):
    return kept(processor.handle(lambda: loopback.serverless(**changed), batch))


def status_of(loopback, event_id):
    return loopback.test_hub.hub.events.find(loopback.test_hub.mo.organization_id, event_id).status


def owed_for(loopback, contract_id):
    found = loopback.test_hub.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=10, contract_id=contract_id))
    return [record.owed.type for record in found.items]


def check_done_once(loopback, name):
    hub = loopback.test_hub.hub
    assert status_of(loopback, f"e-{name}") is EventStatus.PROCESSED
    assert hub.contracts.read([name])[name].revision == 1
    assert owed_for(loopback, name) == ["moneta.contract.signature_requested"]
    assert hub.queue.depth() == 0


def test_a_batch_is_brought_to_its_outcomes(loopback, send):
    events = [send("c-1"), send("c-2"), send("c-3", version=99)]
    assert process(loopback, loopback.events()) == []
    assert [status_of(loopback, one) for one in events] == ["processed", "processed", "rejected"]
    assert loopback.test_hub.hub.queue.depth() == 0


def test_an_empty_batch_is_done(loopback):
    assert process(loopback, {"Records": []}) == []


def test_a_message_that_comes_twice_changes_nothing(loopback, send):
    send("c-1")
    batch = loopback.events()
    twice = {"Records": batch["Records"] * 2}
    assert process(loopback, twice) == []
    assert process(loopback, batch) == []
    check_done_once(loopback, "c-1")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_event_whose_process_dies_at_any_call_has_one_outcome_in_the_end(loopback, send, moment):
    for number in range(CALLS_MAX):
        name = f"c-{number}"
        send(name)
        dying = Dying(loopback.test_hub.hub, number, moment)
        try:
            process(loopback, loopback.events(), **dying.ports)
        except Crash:
            loopback.again()
            assert process(loopback, loopback.events()) == []
        check_done_once(loopback, name)
        if dying.calls <= number:
            return
    raise AssertionError(f"the processor makes more than {CALLS_MAX} calls")


@pytest.mark.parametrize("port", ["contracts", "directory"])
def test_whoever_cannot_reach_the_store_keeps_every_message(loopback, send, port):
    send("c-1")
    send("c-2")
    batch = loopback.events()
    assert process(loopback, batch, **{port: Away()}) == ids(batch)
    assert process(loopback, batch) == []


class Conflicting:
    """A store of contracts whose every commit comes after another's."""

    def __init__(self, port):
        self._port = port

    def __getattr__(self, name):
        return getattr(self._port, name)

    def commit(self, changes):
        return [Committed.CONFLICT for _ in changes]


def test_an_event_that_others_were_always_faster_than_is_kept(loopback, send):
    send("c-1")
    batch = loopback.events()
    assert process(loopback, batch, contracts=Conflicting(loopback.test_hub.hub.contracts)) == ids(batch)
    assert status_of(loopback, "e-c-1") is EventStatus.ACCEPTED
    assert process(loopback, batch) == []
    check_done_once(loopback, "c-1")


def test_a_hub_that_cannot_be_made_keeps_every_message(loopback, send):
    def make():
        raise MisconfiguredError("ResourceNotFoundException")

    send("c-1")
    batch = loopback.events()
    for handle in (processor.handle, dead_letters.handle):
        assert kept(handle(make, batch)) == ids(batch)


def test_an_event_that_meets_a_bug_is_kept_for_later_and_stops_no_other(loopback, send):
    events = [send("c-1"), send("c-bad"), send("c-2")]
    batch = loopback.events()
    broken = BrokenFor(loopback.test_hub.hub.contracts, "c-bad")
    with capture_logs() as logs:
        assert process(loopback, batch, contracts=broken) == [ids(batch)[1]]
    assert [status_of(loopback, one) for one in events] == ["processed", "accepted", "processed"]
    (entry,) = [entry for entry in logs if entry["event"] == "event_failed"]
    assert (entry["contract_id"], entry["tries"]) == ("c-bad", 1)
    assert loopback.events() == {"Records": []}  # not at once
    loopback.again()
    assert process(loopback, loopback.events()) == []
    check_done_once(loopback, "c-bad")


def test_an_event_that_no_try_can_process_is_a_dead_letter_and_its_message_is_done(loopback, send):
    send("c-bad")
    broken = BrokenFor(loopback.test_hub.hub.contracts, "c-bad")
    for _ in range(PROCESS_TRIES_MAX - 1):
        assert len(process(loopback, loopback.events(), contracts=broken)) == 1
        loopback.again()
    assert process(loopback, loopback.events(), contracts=broken) == []
    (letter,) = loopback.test_hub.hub.queue.dead_letters(limit=10).items
    assert (letter.event_id, letter.tries, letter.reason) == ("e-c-bad", PROCESS_TRIES_MAX, "RuntimeError")
    loopback.test_hub.hub.queue.redrive(letter.letter_id)
    assert process(loopback, loopback.events()) == []
    check_done_once(loopback, "c-bad")


def test_a_letter_that_cannot_be_written_keeps_its_message(loopback, send):
    class CannotBury:
        def __getattr__(self, name):
            return getattr(loopback.test_hub.hub.queue, name)

        def bury(self, _event, *, reason):
            raise StoreUnavailableError(reason)

    send("c-bad")
    broken = BrokenFor(loopback.test_hub.hub.contracts, "c-bad")
    for _ in range(PROCESS_TRIES_MAX - 1):
        process(loopback, loopback.events(), contracts=broken)
        loopback.again()
    batch = loopback.events()
    assert process(loopback, batch, contracts=broken, queue=CannotBury()) == ids(batch)


def test_a_message_that_the_hub_did_not_send_is_kept_for_whoever_looks(loopback, send):
    send("c-1")
    batch = loopback.events()
    foreign = {"messageId": "foreign", "body": "hello"}
    assert process(loopback, {"Records": [foreign, *batch["Records"]]}) == ["foreign"]
    check_done_once(loopback, "c-1")


# What killed its function: SQS has put it aside.


def record(loopback, batch, **changed):
    return kept(dead_letters.handle(lambda: loopback.serverless(**changed), batch))


def letters(loopback):
    return [(one.event_id, one.reason) for one in loopback.test_hub.hub.queue.dead_letters(limit=10).items]


def test_what_killed_its_function_is_recorded_as_a_dead_letter(loopback, send):
    send("c-1")
    assert record(loopback, loopback.events()) == []
    assert letters(loopback) == [("e-c-1", dead_letters.REASON)]
    assert status_of(loopback, "e-c-1") is EventStatus.ACCEPTED


def test_what_has_its_outcome_is_no_dead_letter(loopback, send):
    send("c-1")
    batch = loopback.events()
    process(loopback, batch)
    assert record(loopback, batch, queue=Broken()) == []  # the queue is not even asked


def test_a_letter_that_is_not_recorded_is_kept_and_stops_no_other(loopback, send):
    send("c-bad")
    send("c-2")
    batch = loopback.events()
    hub = loopback.test_hub.hub
    assert record(loopback, batch, events=BrokenFor(hub.events, "c-bad")) == [ids(batch)[0]]
    assert letters(loopback) == [("e-c-2", dead_letters.REASON)]
    for faulty in (Away(), Broken()):
        assert record(loopback, {"Records": batch["Records"][:1]}, queue=faulty) == [ids(batch)[0]]
    assert record(loopback, {"Records": [{"messageId": "foreign"}]}) == ["foreign"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_letter_whose_process_dies_at_any_call_is_recorded_once(loopback, send, moment):
    for number in range(CALLS_MAX):
        send(f"c-{number}")
        batch = loopback.events()
        dying = Dying(loopback.test_hub.hub, number, moment)
        try:
            record(loopback, batch, **dying.ports)
        except Crash:
            assert record(loopback, batch) == []
        assert len(letters(loopback)) == number + 1
        if dying.calls <= number:
            return
    raise AssertionError(f"the function makes more than {CALLS_MAX} calls")
