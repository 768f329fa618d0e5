"""A worker that starts takes at once what the one before it had taken when it died (the embedded store alone)."""

from tests.conformance.builders import NOW, delivered, failed, new_event, owed_delivery, owing


def take(store):
    return [event.tries for event in store.queue.take(limit=10, lease_s=60)]


def take_due(store, now=NOW):
    return [due.owed.webhook_id for due in store.deliveries.take_due(now=now, limit=10, lease_s=60)]


def test_an_event_under_lease_can_be_taken_at_once(embedded):
    embedded.events.accept([new_event()])
    assert (take(embedded), take(embedded)) == ([1], [])
    embedded.forget_event_leases()
    assert take(embedded) == [2]


def test_an_event_that_the_worker_keeps_dying_of_waits_for_the_end_of_its_lease(embedded, clock):
    embedded.events.accept([new_event()])
    for tries in (1, 2, 3):
        assert take(embedded) == [tries]
        embedded.forget_event_leases()
    assert take(embedded) == []
    clock.moment += 60_000
    assert take(embedded) == [4]


def test_a_delivery_under_lease_can_be_taken_at_once(embedded):
    embedded.contracts.commit([owing(owed_delivery())])
    assert (take_due(embedded), take_due(embedded)) == (["msg-1"], [])
    embedded.forget_delivery_leases()
    assert take_due(embedded) == ["msg-1"]


def test_what_waits_for_its_next_attempt_keeps_its_time(embedded):
    owed = owed_delivery()
    embedded.contracts.commit([owing(owed)])
    take_due(embedded)
    embedded.deliveries.record([failed(owed, retry_at=NOW + 5_000)])
    embedded.forget_delivery_leases()
    assert take_due(embedded) == []
    assert take_due(embedded, NOW + 5_000) == ["msg-1"]


def test_what_stands_behind_an_earlier_message_stays_there(embedded):
    first, second = owed_delivery(), owed_delivery("msg-2", revision=2)
    embedded.contracts.commit([owing(first)])
    embedded.contracts.commit([owing(second)])
    take_due(embedded)
    embedded.forget_delivery_leases()
    assert take_due(embedded) == ["msg-1"]
    embedded.deliveries.record([delivered(first)])
    assert take_due(embedded) == ["msg-2"]
