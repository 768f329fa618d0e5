"""The port ``RetentionStore``: what is over is forgotten in its time, and nothing else ever.

Both stores are asked to forget; DynamoDB's has nothing to do, and shows no more what it would have had to forget. The
newest of each kind is left out of what is claimed: the embedded store keeps it, for its number.
"""

from collections import Counter
from dataclasses import replace

import pytest

from moneta.application.ports import DeliveryQuery, DeliveryStatus, EventStatus, Reused, Taken
from moneta.domain.retention import Past, Retention
from tests.conformance.builders import (
    MO,
    NOW,
    change,
    dead,
    delivered,
    failed,
    new_event,
    organization,
    owed_delivery,
    owing,
    processed,
    rejected,
    remembered,
    submitted,
)

DAY_S = 24 * 3600
RETENTION = Retention()


def forget(store, clock, *, limit=2):
    """Ask for everything, in looks so small that the cursor matters; return how many of each kind."""
    counts = {}
    for past in Past:
        counts[past], after = 0, ""
        while after is not None:
            before = RETENTION.forgotten_before(past, now=clock.now_ms())
            found = store.retention.forget(past, before=before, after=after, limit=limit)
            counts[past] += found.count
            after = found.after
    return counts


def owe(store, *owed):
    for one in owed:
        store.contracts.commit([owing(one)])
        store.deliveries.take_due(now=NOW + 400 * DAY_S * 1000, limit=10, lease_s=60)


def settle(store, event, outcome):
    store.events.accept([event])
    store.contracts.commit([replace(submitted(event.contract_id, event=event), outcome=outcome, step=None)])


def deliveries(count):
    return [owed_delivery(f"msg-{number}", contract_id=f"c{number}") for number in range(count)]


def listed(store, **filters):
    page = store.deliveries.list(DeliveryQuery(visible_to=None, limit=50, **filters))
    return sorted(one.owed.webhook_id for one in page.items)


def test_a_delivered_message_is_forgotten_30_days_after_its_last_attempt(store, clock):
    first, second, newest = deliveries(3)
    owe(store, first, second, newest)
    store.deliveries.record([failed(first, retry_at=NOW + 1, at=NOW), delivered(second, at=NOW)])
    store.deliveries.record([delivered(first, at=NOW + 5 * DAY_S * 1000)])
    clock.advance(30 * DAY_S + 1)
    forget(store, clock)
    assert store.deliveries.find("msg-1") is None
    assert len(store.deliveries.find("msg-0").attempts) == 2
    assert listed(store) == ["msg-0", "msg-2"]
    clock.advance(5 * DAY_S)
    forget(store, clock)
    assert listed(store) == ["msg-2"]
    assert listed(store, contract_id="c0") == []


def test_a_dead_message_is_kept_for_90_days(store, clock):
    given_up, newest = deliveries(2)
    owe(store, given_up, newest)
    store.deliveries.record([dead(given_up)])
    clock.advance(90 * DAY_S)
    forget(store, clock)
    assert store.deliveries.find("msg-0").status is DeliveryStatus.DEAD
    clock.advance(1)
    forget(store, clock)
    assert store.deliveries.find("msg-0") is None


def test_a_message_that_waits_is_never_forgotten(store, clock):
    untried, tried, newest = deliveries(3)
    owe(store, untried, tried, newest)
    store.deliveries.record([failed(tried, retry_at=NOW + 1), delivered(newest)])
    clock.advance(10_000 * DAY_S)
    forget(store, clock)
    assert [store.deliveries.find(one.webhook_id).status for one in (untried, tried)] == [DeliveryStatus.PENDING] * 2
    due = store.deliveries.take_due(now=clock.now_ms(), limit=10, lease_s=60)
    assert {one.owed.webhook_id for one in due} == {"msg-0", "msg-1"}


def test_a_message_that_is_sent_again_is_not_forgotten_on_its_way(store, clock):
    again, newest = deliveries(2)
    owe(store, again, newest)
    store.deliveries.record([delivered(again)])
    clock.advance(29 * DAY_S)
    assert store.deliveries.owe_again(["msg-0"], now=clock.now_ms()) == 1
    clock.advance(60 * DAY_S)
    forget(store, clock)
    assert store.deliveries.find("msg-0").status is DeliveryStatus.PENDING
    store.deliveries.record([delivered(again, at=clock.now_ms())])
    clock.advance(29 * DAY_S)
    forget(store, clock)
    assert len(store.deliveries.find("msg-0").attempts) == 2
    clock.advance(1 * DAY_S + 1)
    forget(store, clock)
    assert store.deliveries.find("msg-0") is None


def test_what_is_left_is_counted_right_and_new_ones_on_top(store, clock):
    owe(store, *deliveries(6))
    store.deliveries.record([delivered(one) for one in deliveries(3)])
    store.deliveries.record([dead(deliveries(4)[3])])
    clock.advance(31 * DAY_S)
    forget(store, clock)
    owe(store, owed_delivery("msg-new", contract_id="new"))
    found = store.deliveries.list(DeliveryQuery(visible_to=None, limit=10)).items
    assert Counter(one.status for one in found) == {DeliveryStatus.PENDING: 3, DeliveryStatus.DEAD: 1}
    backlog = store.deliveries.backlog()
    assert (backlog.pending, backlog.dead) == (3, 1)


def test_the_messages_behind_a_forgotten_one_go_on_in_their_order(store, clock):
    first, second = owed_delivery(), owed_delivery("msg-2", revision=2, at=NOW + 1)
    owe(store, first)
    store.deliveries.record([delivered(first)])
    clock.advance(31 * DAY_S)
    store.contracts.commit([owing(second)])
    forget(store, clock)
    assert listed(store, contract_id="contract-1") == ["msg-2"]
    (due,) = store.deliveries.take_due(now=clock.now_ms(), limit=10, lease_s=60)
    assert due.owed == second


def test_an_event_is_known_for_400_days_after_its_outcome(store, clock):
    event, newest = new_event(), new_event("event-2")
    settle(store, event, rejected(event, at=NOW))
    settle(store, newest, processed(newest, at=NOW))
    clock.advance(400 * DAY_S)
    forget(store, clock)
    assert store.events.find(MO, "event-1").status is EventStatus.REJECTED
    assert store.events.accept([event]) == [Taken(received_at=NOW, is_replay=True)]
    assert store.events.accept([new_event(raw=b"other")]) == [Reused()]
    clock.advance(1)
    forget(store, clock)
    assert store.events.find(MO, "event-1") is None


def test_a_forgotten_event_is_new_when_it_comes_again(store, clock):
    event, newest = new_event(), new_event("event-2")
    settle(store, event, rejected(event, at=NOW))
    settle(store, newest, processed(newest, at=NOW))
    clock.advance(401 * DAY_S)
    forget(store, clock)
    assert store.events.accept([event]) == [Taken(received_at=clock.now_ms(), is_replay=False)]
    assert store.events.find(MO, "event-1").status is EventStatus.ACCEPTED


def test_what_is_owed_for_a_forgotten_cause_is_owed_anew(store, clock):
    """A refusal's message has its id from the event: it is told again when the event is refused again."""
    message = owed_delivery("msg-of-event-1", revision=0)
    owe(store, message, owed_delivery("msg-newest", contract_id="other"))
    store.deliveries.record([delivered(message)])
    store.contracts.commit([owing(message)])
    assert store.deliveries.find("msg-of-event-1").status is DeliveryStatus.DELIVERED
    clock.advance(31 * DAY_S)
    forget(store, clock)
    again = replace(message, owed_at=clock.now_ms())
    store.contracts.commit([owing(again)])
    record = store.deliveries.find("msg-of-event-1")
    assert (record.status, record.owed, record.attempts) == (DeliveryStatus.PENDING, again, ())


def test_an_event_without_an_outcome_is_never_forgotten(store, clock):
    waiting, newest = new_event(), new_event("event-2", contract_id="contract-2")
    store.events.accept([waiting])
    settle(store, newest, processed(newest, at=NOW))
    clock.advance(10_000 * DAY_S)
    forget(store, clock)
    assert store.events.find(MO, "event-1").status is EventStatus.ACCEPTED
    assert store.events.has_unprocessed("contract-1", received_before=clock.now_ms())


def test_an_answer_to_an_idempotency_key_is_kept_for_30_days(store, clock):
    store.directory.apply(change(organization=organization(), remember=remembered()))
    clock.advance(30 * DAY_S)
    forget(store, clock)
    assert store.directory.remembered(MO, "once") == remembered()
    clock.advance(1)
    forget(store, clock)
    assert store.directory.remembered(MO, "once") is None
    again = replace(remembered(body=b'{"id":"2"}'), at=clock.now_ms())
    store.directory.apply(change(organization=organization(revision=2), remember=again))
    assert store.directory.remembered(MO, "once") == again


def test_contracts_and_their_steps_outlive_everything(store, clock):
    event, newest = new_event(), new_event("event-2", contract_id="contract-2")
    store.events.accept([event, newest])
    store.contracts.commit([submitted(event=event), submitted("contract-2", event=newest)])
    before = store.contracts.read(["contract-1"])
    clock.advance(30_000 * DAY_S)
    forget(store, clock)
    assert store.events.find(MO, "event-1") is None
    assert store.contracts.read(["contract-1"]) == before


# The embedded store alone, which does it by hand.


def test_a_trial_counts_and_forgets_nothing(embedded, clock):
    owe(embedded, *deliveries(3))
    embedded.deliveries.record([delivered(one) for one in deliveries(3)])
    clock.advance(31 * DAY_S)
    before = RETENTION.forgotten_before(Past.DELIVERIES, now=clock.now_ms())
    found = embedded.retention.forget(Past.DELIVERIES, before=before, after="", limit=10, is_trial=True)
    assert (found.count, found.after) == (2, None)
    assert listed(embedded) == ["msg-0", "msg-1", "msg-2"]


def test_a_look_goes_through_no_more_rows_than_its_limit(embedded, clock):
    owe(embedded, *deliveries(5))
    embedded.deliveries.record([delivered(one) for one in deliveries(5)])
    clock.advance(31 * DAY_S)
    before = RETENTION.forgotten_before(Past.DELIVERIES, now=clock.now_ms())
    found = embedded.retention.forget(Past.DELIVERIES, before=before, after="", limit=3)
    assert (found.count, found.after) == (3, "3")
    found = embedded.retention.forget(Past.DELIVERIES, before=before, after=found.after, limit=3)
    assert (found.count, found.after) == (1, None)
    assert listed(embedded) == ["msg-4"]


def test_numbers_are_never_given_twice(embedded, clock):
    owe(embedded, *deliveries(3))
    embedded.deliveries.record([delivered(one) for one in deliveries(3)])
    clock.advance(31 * DAY_S)
    forget(embedded, clock)
    owe(embedded, owed_delivery("msg-new", contract_id="new"))
    with embedded.database.read() as connection:
        assert connection.execute("SELECT delivery FROM deliveries ORDER BY 1").fetchall() == [(3,), (4,)]


@pytest.mark.parametrize("past", Past)
def test_an_empty_store_has_nothing_to_forget(store, past):
    found = store.retention.forget(past, before=NOW, after="", limit=10)
    assert (found.count, found.after) == (0, None)


def test_a_moment_far_ahead_that_a_wrong_clock_wrote_does_not_keep_the_rest(embedded, clock):
    """Of a look in which one row claims to be young, the others are forgotten, and those after it are looked at."""
    owed = deliveries(6)
    owed[1] = replace(owed[1], owed_at=NOW + 5_000 * DAY_S * 1000)
    for one in owed:
        embedded.contracts.commit([owing(one)])
    embedded.deliveries.record([delivered(one) for one in owed])
    clock.advance(31 * DAY_S)
    forget(embedded, clock, limit=4)
    assert listed(embedded) == ["msg-5"]
