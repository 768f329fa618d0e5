"""What was in hand when a process died is taken at once by the one after it (the embedded store alone)."""

import pytest

from moneta.adapters.embedded.store import EmbeddedStore
from tests.conformance.builders import NOW, delivered, failed, new_event, owed_delivery, owing, submitted


@pytest.fixture
def successor(embedded, tmp_path, clock):
    """Return what opens the store as the process after this one would."""
    opened = []

    def open_again():
        opened.append(EmbeddedStore.open(tmp_path / "store", clock=clock))
        opened[-1].queue.reclaim()
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


def take(store):
    return [event.tries for event in store.queue.take(limit=10, lease_s=60)]


def take_due(store, now=NOW):
    return [due.owed.webhook_id for due in store.deliveries.take_due(now=now, limit=10, lease_s=60)]


def test_an_event_in_hand_is_taken_at_once_and_its_try_counts(embedded, successor):
    embedded.events.accept([new_event()])
    assert (take(embedded), take(embedded)) == ([1], [])
    assert take(successor()) == [2]


def test_an_event_that_was_not_in_hand_counts_no_try(embedded, successor):
    embedded.events.accept([new_event(), new_event("event-2")])
    assert [event.tries for event in embedded.queue.take(limit=1, lease_s=60)] == [1]
    assert sorted(take(successor())) == [1, 2]


def test_an_event_that_processors_keep_dying_of_lets_the_others_go_first(embedded, successor, clock):
    embedded.events.accept([new_event()])
    store = embedded
    for tries in (1, 2, 3):
        assert take(store) == [tries]
        store = successor()
    assert take(store) == []
    clock.advance(60)
    assert take(store) == [4]


def test_what_had_an_outcome_before_the_death_is_not_taken(embedded, successor):
    event = new_event()
    embedded.events.accept([event])
    take(embedded)
    embedded.contracts.commit([submitted(event=event)])
    assert take(successor()) == []


def test_a_damaged_note_of_what_was_in_hand_is_none(embedded, successor, tmp_path):
    embedded.events.accept([new_event()])
    take(embedded)
    (tmp_path / "store" / "moneta.db-in-hand").write_bytes(b"\x05")
    assert take(successor()) == [1]


def test_a_delivery_in_hand_is_taken_at_once(embedded, successor):
    embedded.contracts.commit([owing(owed_delivery())])
    assert (take_due(embedded), take_due(embedded)) == (["msg-1"], [])
    assert take_due(successor()) == ["msg-1"]


def test_what_waits_for_its_next_attempt_keeps_its_time(embedded, successor):
    owed = owed_delivery()
    embedded.contracts.commit([owing(owed)])
    take_due(embedded)
    embedded.deliveries.record([failed(owed, retry_at=NOW + 5_000)])
    store = successor()
    assert take_due(store) == []
    assert take_due(store, NOW + 5_000) == ["msg-1"]


def test_what_stands_behind_an_earlier_message_stays_there(embedded, successor):
    first, second = owed_delivery(), owed_delivery("msg-2", revision=2)
    embedded.contracts.commit([owing(first)])
    embedded.contracts.commit([owing(second)])
    take_due(embedded)
    store = successor()
    assert take_due(store) == ["msg-1"]
    store.deliveries.record([delivered(first)])
    assert take_due(store) == ["msg-2"]
