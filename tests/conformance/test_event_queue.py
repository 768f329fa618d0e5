"""The port ``EventQueue``: accepted events are taken under a lease, given back, buried and redriven."""

import pytest

from moneta.application.ports import Change, EventBacklog, EventStatus, EventType
from moneta.domain.errors import InvalidParameterError
from tests.conformance.builders import (
    MO,
    NOW,
    PUBLISHER,
    delivered,
    new_event,
    owed_delivery,
    owing,
    processed,
    race,
    rejected,
    submitted,
)


def accept(store, *events):
    store.events.accept(events)


def take(store, *, limit=10, lease_s=60):
    return list(store.queue.take(limit=limit, lease_s=lease_s))


def letters(store, **page):
    return store.queue.dead_letters(**{"limit": 10, **page}).items


def bury(store, count):
    """Let as many events die, the one after the other."""
    accept(store, *(new_event(f"event-{number}") for number in range(count)))
    for event in sorted(take(store, limit=count), key=lambda event: event.event_id):
        store.queue.bury(event, reason="poison")


def ids(events):
    return [event.event_id for event in events]


def test_a_taken_event_has_all_that_came_with_it(store):
    accept(store, new_event(kind=EventType.CANCEL, raw=b"\x00 bytes", seq=41))
    (taken,) = take(store)
    assert (taken.source, taken.event_id, taken.type, taken.contract_id) == (
        MO,
        "event-1",
        "moneta.contract.cancel",
        "contract-1",
    )
    assert (taken.raw, taken.received_at, taken.registry_seq, taken.tries) == (b"\x00 bytes", NOW, 41, 1)


def test_a_sender_with_many_waiting_keeps_nobody_else_waiting(embedded):
    flood = [new_event(f"flood-{number:03}", contract_id=f"c-{number}") for number in range(40)]
    accept(embedded, *flood, *(new_event(f"other-{number}", source=PUBLISHER) for number in range(3)))
    first = take(embedded, limit=10)
    assert ids(first) == ["flood-000", "other-0", "flood-001", "other-1", "flood-002", "other-2"] + [
        f"flood-{number:03}" for number in range(3, 7)
    ]
    assert ids(take(embedded, limit=40)) == [f"flood-{number:03}" for number in range(7, 40)]


def test_the_largest_event_comes_back_whole(store):
    raw = bytes(range(256)) * 1024
    accept(store, new_event(raw=raw))
    assert take(store)[0].raw == raw


def test_an_empty_queue_gives_nothing(store):
    assert take(store) == []
    assert store.queue.depth() == 0


def test_no_more_than_the_limit_is_taken(store):
    accept(store, *(new_event(f"event-{number}") for number in range(5)))
    assert [len(take(store, limit=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_an_event_under_lease_is_nobody_elses_until_the_lease_ends(store, clock):
    accept(store, new_event())
    take(store, lease_s=60)
    clock.advance(59.999)
    assert take(store) == []
    clock.advance(0.001)
    assert [event.tries for event in take(store)] == [2]


def test_tries_are_counted_at_each_taking(store, clock):
    accept(store, new_event())
    tries = []
    for _ in range(4):
        tries += [event.tries for event in take(store, lease_s=1)]
        clock.advance(1)
    assert tries == [1, 2, 3, 4]


def test_a_replayed_event_is_queued_once(store):
    accept(store, new_event(), new_event())
    accept(store, new_event())
    assert ids(take(store)) == ["event-1"]


def test_a_released_event_is_taken_again_after_the_delay(store, clock):
    accept(store, new_event(), new_event("event-2"))
    store.queue.release(take(store), delay_s=5)
    clock.advance(4.999)
    assert take(store) == []
    clock.advance(0.001)
    assert sorted(ids(take(store))) == ["event-1", "event-2"]


def test_an_event_with_an_outcome_is_gone(store, clock):
    first, second = new_event(), new_event("event-2", contract_id="contract-2")
    accept(store, first, second)
    store.contracts.commit(
        [submitted(event=first), Change(contract_id="contract-2", read_revision=0, outcome=rejected(second))]
    )
    clock.advance(3600)
    assert take(store) == []
    assert store.queue.depth() == 0


def test_a_taken_event_is_gone_with_its_outcome(store):
    event = new_event()
    accept(store, event, new_event("event-2", contract_id="contract-2"))
    take(store)
    store.contracts.commit([submitted(event=event)])
    assert store.queue.depth() == 1


def test_releasing_an_event_with_an_outcome_brings_nothing_back(store):
    event = new_event()
    accept(store, event)
    taken = take(store)
    store.contracts.commit([submitted(event=event)])
    store.queue.release(taken, delay_s=0)
    store.queue.bury(taken[0], reason="late")
    assert take(store) == []
    assert letters(store) == []


def test_a_taker_whose_lease_ended_gives_nothing_back(store, clock):
    accept(store, new_event())
    stale = take(store, lease_s=1)
    clock.advance(1)
    take(store, lease_s=60)
    store.queue.release(stale, delay_s=0)
    store.queue.bury(stale[0], reason="stale")
    assert take(store) == []
    assert store.queue.depth() == 1


def test_a_buried_event_is_a_dead_letter_and_its_record_stays(store, clock):
    accept(store, new_event())
    (taken,) = take(store)
    clock.advance(1)
    store.queue.bury(taken, reason="RecursionError in process_events")
    clock.advance(3600)
    assert take(store) == []
    assert store.queue.depth() == 0
    (letter,) = letters(store)
    assert (letter.source, letter.event_id, letter.contract_id) == (MO, "event-1", "contract-1")
    assert (letter.tries, letter.died_at, letter.reason) == (1, NOW + 1000, "RecursionError in process_events")
    assert store.events.find(MO, "event-1").status is EventStatus.ACCEPTED
    assert store.events.has_unprocessed("contract-1", received_before=NOW + 1)


def test_an_outcome_clears_the_dead_letter(store):
    event = new_event()
    accept(store, event)
    store.queue.bury(take(store)[0], reason="a bug that was mended")
    store.contracts.commit([Change(contract_id="contract-1", read_revision=0, outcome=processed(event))])
    assert letters(store) == []


def test_dead_letters_come_oldest_first_and_not_more_than_asked(store, clock):
    accept(store, *(new_event(f"event-{number}") for number in range(4)))
    for event in sorted(take(store), key=lambda event: event.event_id, reverse=True):
        clock.advance(1)
        store.queue.bury(event, reason="poison")
    assert ids(letters(store, limit=3)) == ["event-3", "event-2", "event-1"]


def test_the_depth_counts_what_waits_and_what_is_under_lease(store):
    accept(store, *(new_event(f"event-{number}") for number in range(5)))
    take(store, limit=2)
    assert store.queue.depth() == 5


def test_an_answer_in_a_webhook_is_queued(store):
    owed = owed_delivery()
    store.contracts.commit([owing(owed)])
    answer = new_event(owed.webhook_id, source=owed.organization_id, kind=EventType.SIGN)
    store.deliveries.record([delivered(owed, answer=answer)])
    assert ids(take(store)) == [owed.webhook_id]


def test_of_a_race_nobody_takes_what_another_took(store):
    accept(store, *(new_event(f"event-{number}") for number in range(40)))
    takings = race([lambda: take(store, limit=10)] * 8)
    taken = [event for taking in takings for event in ids(taking)]
    assert sorted(taken) == sorted({f"event-{number}" for number in range(40)})


def test_the_backlog_is_as_old_as_its_oldest_event(store, clock):
    assert store.queue.backlog() == EventBacklog(waiting=0, oldest_at=None, dead_letters=0)
    accept(store, new_event("event-1"))
    clock.advance(5)
    accept(store, new_event("event-2"))
    assert store.queue.backlog() == EventBacklog(waiting=2, oldest_at=NOW, dead_letters=0)
    first, _ = take(store)
    store.queue.bury(first, reason="planted")
    assert store.queue.backlog() == EventBacklog(waiting=1, oldest_at=NOW + 5000, dead_letters=1)


def test_pages_of_dead_letters_add_up_to_the_list(store):
    bury(store, 5)
    for limit in (1, 2, 5):
        found, cursor = [], None
        for _ in range(6):
            page = store.queue.dead_letters(limit=limit, cursor=cursor)
            found, cursor = found + ids(page.items), page.next_cursor
            if cursor is None:
                break
        assert found == [f"event-{number}" for number in range(5)]


def test_a_page_goes_on_though_the_letter_that_it_ended_with_is_gone(store):
    bury(store, 4)
    first = store.queue.dead_letters(limit=2)
    for letter in first.items:
        store.queue.redrive(letter.letter_id)
    assert ids(store.queue.dead_letters(limit=2, cursor=first.next_cursor).items) == ["event-2", "event-3"]


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "not base64!"])
def test_what_is_no_cursor_of_dead_letters_is_refused(store, cursor):
    with pytest.raises(InvalidParameterError):
        store.queue.dead_letters(limit=1, cursor=cursor)


def test_a_redriven_event_is_ready_at_once_and_as_if_never_tried(store, clock):
    accept(store, new_event(raw=b"\x00 bytes", seq=41))
    take(store, lease_s=1)
    clock.advance(1)
    (taken,) = take(store)
    assert taken.tries == 2
    store.queue.bury(taken, reason="poison")
    (letter,) = letters(store)
    clock.advance(3600)
    assert store.queue.redrive(letter.letter_id) == letter
    assert (letters(store), store.queue.depth()) == ([], 1)
    (again,) = take(store)
    assert (again.tries, again.raw, again.registry_seq, again.received_at) == (1, b"\x00 bytes", 41, NOW)


def test_a_letter_is_redriven_once(store):
    bury(store, 1)
    (letter,) = letters(store)
    assert race([lambda: store.queue.redrive(letter.letter_id)] * 6).count(letter) == 1
    assert (store.queue.depth(), ids(take(store)), take(store)) == (1, ["event-0"], [])


def test_an_event_that_dies_again_is_another_letter(store):
    bury(store, 1)
    (first,) = letters(store)
    store.queue.redrive(first.letter_id)
    store.queue.bury(take(store)[0], reason="still")
    (second,) = letters(store)
    assert (second.event_id, second.reason, second.tries) == ("event-0", "still", 1)
    assert second.letter_id != first.letter_id
    assert store.queue.redrive(first.letter_id) is None
    assert letters(store) == [second]


@pytest.mark.parametrize("letter_id", ["2", "0", "01", "-1", "x", "1" * 30, ""])
def test_what_is_no_letter_is_not_redriven(store, letter_id):
    bury(store, 1)
    assert store.queue.redrive(letter_id) is None
    assert len(letters(store)) == 1


def test_a_letter_whose_event_has_an_outcome_is_not_redriven(store):
    event = new_event()
    accept(store, event)
    store.queue.bury(take(store)[0], reason="poison")
    (letter,) = letters(store)
    store.contracts.commit([Change(contract_id="contract-1", read_revision=0, outcome=processed(event))])
    assert store.queue.redrive(letter.letter_id) is None
    assert store.queue.depth() == 0


def test_an_event_says_since_when_it_could_be_taken(store, clock):
    accept(store, new_event())
    clock.advance(5)
    (taken,) = take(store)
    assert taken.ready_at == NOW
    store.queue.release([taken], delay_s=10)
    clock.advance(20)
    (taken,) = take(store)
    assert taken.ready_at == NOW + 15_000
    store.queue.bury(taken, reason="poison")
    clock.advance(3600)
    store.queue.redrive(letters(store)[0].letter_id)
    assert [one.ready_at for one in take(store)] == [NOW + 3_625_000]
