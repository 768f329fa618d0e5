"""The port ``EventStore``: what was accepted once is never accepted anew."""

import pytest

from moneta.application.ports import Change, EventStatus, EventType, Reused, Taken
from tests.conformance.builders import MO, NOW, new_event, processed, race, rejected, submitted


def accept(store, *events):
    return list(store.events.accept(events))


def test_an_accepted_event_is_found_as_it_was_recorded(store):
    event = new_event(kind=EventType.DECLINE)
    assert accept(store, event) == [Taken(received_at=NOW, is_replay=False)]
    found = store.events.find(MO, "event-1")
    assert (found.source, found.event_id, found.type) == (MO, "event-1", EventType.DECLINE)
    assert (found.contract_id, found.digest, found.status) == ("contract-1", event.digest, EventStatus.ACCEPTED)
    assert (found.received_at, found.processed_at, found.problem) == (NOW, None, None)


def test_an_event_that_nobody_sent_is_not_found(store):
    accept(store, new_event())
    assert store.events.find(MO, "event-2") is None
    assert store.events.find("mo-2", "event-1") is None


def test_no_events_are_no_work(store):
    assert accept(store) == []


def test_the_same_bytes_again_give_the_first_answer(store, clock):
    accept(store, new_event())
    clock.advance(60)
    assert accept(store, new_event()) == [Taken(received_at=NOW, is_replay=True)]


def test_a_replay_after_the_outcome_still_gives_the_first_answer(store, clock):
    event = new_event()
    accept(store, event)
    store.contracts.commit([submitted(event=event)])
    clock.advance(60)
    assert accept(store, event) == [Taken(received_at=NOW, is_replay=True)]
    assert store.events.find(MO, "event-1").status is EventStatus.PROCESSED


def test_other_bytes_under_the_same_id_are_refused_and_change_nothing(store, clock):
    accept(store, new_event())
    before = store.events.find(MO, "event-1")
    clock.advance(60)
    assert accept(store, new_event(raw=b"other", contract_id="contract-2")) == [Reused()]
    assert store.events.find(MO, "event-1") == before


def test_two_sources_may_use_the_same_id(store):
    assert accept(store, new_event(), new_event(source="publisher-1")) == [
        Taken(received_at=NOW, is_replay=False),
        Taken(received_at=NOW, is_replay=False),
    ]
    assert store.events.find("publisher-1", "event-1").source == "publisher-1"


def test_the_first_of_two_in_one_call_wins(store):
    answers = accept(store, new_event(), new_event(), new_event(raw=b"other"))
    assert answers == [Taken(received_at=NOW, is_replay=False), Taken(received_at=NOW, is_replay=True), Reused()]


def test_a_batch_is_answered_in_its_order(store, clock):
    accept(store, new_event("known"), new_event("reused"))
    clock.advance(1)
    batch = [new_event("new-1"), new_event("known"), new_event("reused", raw=b"other"), new_event("new-2")]
    assert accept(store, *batch) == [
        Taken(received_at=NOW + 1000, is_replay=False),
        Taken(received_at=NOW, is_replay=True),
        Reused(),
        Taken(received_at=NOW + 1000, is_replay=False),
    ]


def test_a_batch_of_a_whole_gathering_is_accepted(store):
    answers = accept(store, *(new_event(f"event-{number}") for number in range(256)))
    assert answers == [Taken(received_at=NOW, is_replay=False)] * 256


@pytest.mark.parametrize("name", ["a", "A", "~", "a.b_c:d~e-f", "z" * 128])
def test_every_id_that_the_protocol_allows_is_kept_apart(store, name):
    accept(store, new_event("event-1"), new_event(name))
    assert store.events.find(MO, name).event_id == name


def test_of_a_race_for_one_id_exactly_one_is_recorded(store):
    events = [new_event(raw=f"bytes of thread {number}".encode()) for number in range(8)]
    answers = [answer for (answer,) in race([lambda event=event: accept(store, event) for event in events])]
    winners = [event for event, answer in zip(events, answers, strict=True) if isinstance(answer, Taken)]
    assert len(winners) == 1
    assert answers.count(Reused()) == 7
    assert store.events.find(MO, "event-1").digest == winners[0].digest


def test_of_a_race_with_the_same_bytes_one_is_new_and_all_have_one_answer(store):
    answers = [answer for (answer,) in race([lambda: accept(store, new_event())] * 8)]
    assert sorted(answer.is_replay for answer in answers) == [False] + [True] * 7
    assert {answer.received_at for answer in answers} == {NOW}


@pytest.mark.parametrize(
    ("contract_id", "received_before", "expected"),
    [
        ("contract-1", NOW + 1, True),
        ("contract-1", NOW, False),
        ("contract-1", NOW - 1, False),
        ("contract-2", NOW + 1, False),
        ("contract-3", NOW + 1, False),
    ],
)
def test_an_accepted_event_waits_for_its_outcome(store, contract_id, received_before, expected):
    event = new_event("event-2", contract_id="contract-2")
    accept(store, new_event(), event)
    store.contracts.commit([Change(contract_id="contract-2", read_revision=0, outcome=rejected(event))])
    assert store.events.has_unprocessed(contract_id, received_before=received_before) is expected


def test_one_event_of_two_waits_still(store):
    first, second = new_event(), new_event("event-2", source="publisher-1")
    accept(store, first, second)
    store.contracts.commit([Change(contract_id="contract-1", read_revision=0, outcome=processed(first))])
    assert store.events.has_unprocessed("contract-1", received_before=NOW + 1)
    store.contracts.commit([Change(contract_id="contract-1", read_revision=0, outcome=processed(second))])
    assert not store.events.has_unprocessed("contract-1", received_before=NOW + 1)


def test_no_events_are_accepted_as_such_and_leave_nothing(store):
    assert store.events.accept([]) == []
    assert store.queue.depth() == 0
