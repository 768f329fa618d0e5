"""The port ``DeliveryStore``: owed once, in order, and never forgotten."""

from dataclasses import replace
from itertools import chain

import pytest

from moneta.application.ports import (
    OF_ENDPOINT,
    DeliveryBacklog,
    DeliveryQuery,
    DeliveryStatus,
    EventStatus,
    EventType,
    ReplayQuery,
    WebhookType,
)
from moneta.domain.endpoints import DisabledReason, EndpointHealth
from moneta.domain.errors import InvalidParameterError
from moneta.domain.limits import ATTEMPTS_MAX
from tests.conformance.builders import (
    MO,
    NOW,
    NOW_S,
    PUBLISHER,
    attempt,
    change,
    dead,
    delivered,
    failed,
    new_event,
    organization,
    owed_delivery,
    owing,
    race,
    result,
)

PENDING, DELIVERED, DEAD = DeliveryStatus


def owe(store, *owed):
    for one in owed:
        assert list(store.contracts.commit([owing(one)])) == ["committed"]


def take(store, *, now=NOW, limit=10, lease_s=60, busy=(), probed=()):
    taken = store.deliveries.take_due(
        now=now, limit=limit, lease_s=lease_s, busy=frozenset(busy), probed=frozenset(probed)
    )
    return sorted(due.owed.webhook_id for due in taken)


def statuses(store, *webhook_ids):
    return [store.deliveries.find(webhook_id).status for webhook_id in webhook_ids]


def test_an_owed_delivery_is_due_at_once_and_whole(store):
    owed = replace(owed_delivery(kind=WebhookType.REJECTED, revision=0), problem=b'{"code":"wrong_signer"}')
    owe(store, owed)
    (due,) = store.deliveries.take_due(now=NOW, limit=10, lease_s=60)
    assert (due.owed, due.attempts_done, due.due_at) == (owed, 0, owed.owed_at)
    record = store.deliveries.find("msg-1")
    assert (record.owed, record.status, record.attempts) == (owed, PENDING, ())


def test_a_delivery_that_nobody_is_owed_is_not_found(store):
    assert store.deliveries.find("msg-9") is None


def test_nothing_is_due_where_nothing_is_owed(store):
    assert take(store) == []
    assert store.deliveries.next_due() is None


def test_no_more_than_the_limit_is_taken(store):
    owe(store, *(owed_delivery(f"msg-{number}", contract_id=f"c{number}") for number in range(5)))
    assert [len(take(store, limit=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_a_taken_delivery_is_nobody_elses_until_its_lease_ends(store):
    owe(store, owed_delivery())
    assert take(store, lease_s=60) == ["msg-1"]
    assert take(store, now=NOW + 59_999) == []
    assert store.deliveries.next_due() == NOW + 60_000
    assert take(store, now=NOW + 60_000) == ["msg-1"]


def test_of_a_race_nobody_takes_what_another_took(store):
    owe(store, *(owed_delivery(f"msg-{number}", contract_id=f"c{number}") for number in range(24)))
    takings = race([lambda: take(store, limit=8)] * 6)
    taken = list(chain.from_iterable(takings))
    assert sorted(taken) == sorted(set(taken))
    assert set(taken) | set(take(store, limit=50)) == {f"msg-{number}" for number in range(24)}


# What became of an attempt.


def test_a_delivered_message_is_done(store):
    owed = owed_delivery()
    owe(store, owed)
    take(store)
    store.deliveries.record([delivered(owed, at=NOW + 20)])
    record = store.deliveries.find("msg-1")
    assert (record.status, record.next_attempt_at, record.attempts) == (DELIVERED, None, (attempt(NOW + 20),))
    assert take(store, now=NOW + 10**9) == []
    assert store.deliveries.next_due() is None


def test_a_failed_message_is_due_again_when_it_should_be_tried_again(store):
    owed = owed_delivery()
    owe(store, owed)
    take(store)
    store.deliveries.record([failed(owed, retry_at=NOW + 5000)])
    assert store.deliveries.find("msg-1").next_attempt_at == NOW + 5000
    assert store.deliveries.next_due() == NOW + 5000
    assert take(store, now=NOW + 4999) == []
    (due,) = store.deliveries.take_due(now=NOW + 5500, limit=1, lease_s=60)
    assert (due.owed, due.attempts_done, due.due_at) == (owed, 1, NOW + 5000)


def test_a_dead_message_is_never_due(store):
    owed = owed_delivery()
    owe(store, owed)
    store.deliveries.record([dead(owed)])
    assert statuses(store, "msg-1") == [DEAD]
    assert take(store, now=NOW + 10**9) == []


def test_attempts_are_kept_oldest_first_with_all_they_say(store):
    owed = owed_delivery()
    owe(store, owed)
    attempts = [
        replace(attempt(NOW), http_status=None, failure="connect_timeout"),
        replace(attempt(NOW + 5000), http_status=500, snippet=bytes(range(256)) * 4),
        replace(attempt(NOW + 9000), duration_ms=0, http_status=204),
    ]
    for one in attempts[:2]:
        store.deliveries.record([replace(failed(owed, retry_at=one.at + 1), attempt=one)])
    store.deliveries.record([replace(delivered(owed), attempt=attempts[2])])
    assert store.deliveries.find("msg-1").attempts == tuple(attempts)


def test_the_late_result_of_a_lost_lease_does_not_bring_back_what_is_settled(store):
    first, second = owed_delivery("msg-1", contract_id="c1"), owed_delivery("msg-2", contract_id="c2")
    owe(store, first, second)
    store.deliveries.record([delivered(first), dead(second)])
    store.deliveries.record([failed(first, retry_at=NOW + 1), failed(second, retry_at=NOW + 1)])
    assert statuses(store, "msg-1", "msg-2") == [DELIVERED, DEAD]
    assert take(store, now=NOW + 10**9) == []


def test_a_batch_of_results_is_written_as_one(store):
    owed = [owed_delivery(f"msg-{number}", contract_id=f"c{number}") for number in range(3)]
    owe(store, *owed)
    store.deliveries.record([delivered(owed[0]), failed(owed[1], retry_at=NOW + 5000), dead(owed[2])])
    assert statuses(store, "msg-0", "msg-1", "msg-2") == [DELIVERED, PENDING, DEAD]
    assert store.deliveries.backlog() == DeliveryBacklog(pending=1, due_at=NOW + 5000, dead=1)


def test_the_backlog_begins_at_zero_and_follows(store):
    assert store.deliveries.backlog() == DeliveryBacklog(pending=0, due_at=None, dead=0)
    owe(store, *(owed_delivery(f"msg-{number}", contract_id=f"c{number}") for number in range(3)))
    assert store.deliveries.backlog() == DeliveryBacklog(pending=3, due_at=NOW, dead=0)


# Order.


def test_of_one_contract_and_organization_only_the_oldest_is_taken(store):
    owed = [owed_delivery(f"msg-{number}", revision=number, at=NOW + number) for number in (1, 2, 3)]
    owe(store, *owed)
    assert take(store, now=NOW + 10) == ["msg-1"]
    assert take(store, now=NOW + 10) == []
    store.deliveries.record([failed(owed[0], retry_at=NOW + 5000)])
    assert take(store, now=NOW + 4000) == []
    assert take(store, now=NOW + 5000) == ["msg-1"]
    store.deliveries.record([delivered(owed[0], at=NOW + 5010)])
    assert take(store, now=NOW + 5010) == ["msg-2"]
    store.deliveries.record([dead(owed[1], at=NOW + 5020)])
    assert take(store, now=NOW + 5020) == ["msg-3"]


def test_what_is_owed_behind_another_becomes_due_when_that_one_is_settled(store):
    first, second = owed_delivery("msg-1", at=NOW), owed_delivery("msg-2", revision=2, at=NOW + 1)
    owe(store, first)
    take(store)
    owe(store, second)
    store.deliveries.record([delivered(first, at=NOW + 100)])
    assert store.deliveries.next_due() <= NOW + 100
    assert take(store, now=NOW + 100) == ["msg-2"]


def test_one_contracts_failure_holds_up_no_other(store):
    blocked, behind = owed_delivery("msg-1"), owed_delivery("msg-2", revision=2, at=NOW + 1)
    others = [owed_delivery("msg-3", contract_id="contract-2"), owed_delivery("msg-4", to=MO)]
    owe(store, blocked, behind)
    store.deliveries.record([failed(blocked, retry_at=NOW + 10**6)])
    owe(store, *others)
    assert take(store, now=NOW + 10) == ["msg-3", "msg-4"]


def test_busy_organizations_are_left(store):
    owe(store, owed_delivery("msg-1"), owed_delivery("msg-2", to=MO))
    assert take(store, busy=[PUBLISHER, "nobody"]) == ["msg-2"]
    assert take(store, busy=[MO]) == ["msg-1"]


def test_of_a_probed_organization_one_delivery_is_taken(store):
    owe(store, *(owed_delivery(f"msg-{number}", contract_id=f"c{number}", at=NOW + number) for number in range(4)))
    owe(store, *(owed_delivery(f"other-{number}", to=MO, contract_id=f"c{number}") for number in range(4)))
    others = [f"other-{number}" for number in range(4)]
    assert take(store, now=NOW + 9, probed=[PUBLISHER, "nobody"]) == ["msg-0", *others]
    assert take(store, now=NOW + 9, probed=[PUBLISHER], limit=2) == ["msg-1"]
    assert take(store, now=NOW + 9, probed=[PUBLISHER], busy=[PUBLISHER]) == []


def test_what_busy_organizations_are_owed_is_not_next(store):
    owe(store, owed_delivery("msg-1"), owed_delivery("msg-2", to=MO, at=NOW + 7))
    assert store.deliveries.next_due() == NOW
    assert store.deliveries.next_due(busy=frozenset({PUBLISHER, "nobody"})) == NOW + 7
    assert store.deliveries.next_due(busy=frozenset({PUBLISHER, MO})) is None


# fmt: off
HOW_MANY_ARE_TAKEN = {
    # of the organization that many are due to
    "in turn": ({},                       range(1, 10)),
    "left":    ({"busy":   [PUBLISHER]},  range(1)),
    "probed":  ({"probed": [PUBLISHER]},  range(1, 2)),
}
# fmt: on


@pytest.mark.parametrize("name", HOW_MANY_ARE_TAKEN)
def test_many_due_to_one_organization_leave_room_for_the_others(store, name):
    options, expected = HOW_MANY_ARE_TAKEN[name]
    owe(store, *(owed_delivery(f"many-{number}", contract_id=f"c{number}", at=NOW + number) for number in range(150)))
    owe(store, owed_delivery("single-1", to=MO, at=NOW + 200), owed_delivery("single-2", to="mo-2", at=NOW + 201))
    many, single = partition(take(store, now=NOW + 60_000, limit=10, **options))
    assert len(many) in expected
    assert single == ["single-1", "single-2"]


def partition(webhook_ids):
    """Return those of the organization that many are due to, and the others."""
    return [[one for one in webhook_ids if one.startswith(name)] for name in ("many", "single")]


# A 410.


def test_deliveries_to_a_disabled_endpoint_stay_and_are_not_taken(store):
    gone, waiting, other = (
        owed_delivery("msg-1", contract_id="c1"),
        owed_delivery("msg-2", contract_id="c2"),
        owed_delivery("msg-3", to=MO),
    )
    owe(store, gone, waiting, other)
    store.deliveries.record([result(gone, PENDING, at=NOW, http_status=410, retry_at=NOW + 5, disables_endpoint=True)])
    assert take(store, now=NOW + 10) == ["msg-3"]
    assert statuses(store, "msg-1", "msg-2") == [PENDING, PENDING]
    assert store.deliveries.next_due() == NOW + 10 + 60_000  # The lease on msg-3: what is disabled is not due.


def test_an_endpoint_that_is_enabled_again_gets_what_waited(store):
    store.directory.apply(change(organization=organization(PUBLISHER)))
    owed = owed_delivery()
    owe(store, owed)
    store.deliveries.record(
        [result(owed, PENDING, at=NOW + 3, http_status=410, retry_at=NOW + 5, disables_endpoint=True)]
    )
    assert health(store).disabled_at == NOW + 3
    store.directory.apply(change(enables_endpoint=PUBLISHER))
    assert health(store) == EndpointHealth()
    assert take(store, now=NOW + 10) == ["msg-1"]


# Nothing but failures.

DAY = 86_400_000


def health(store, organization=PUBLISHER):
    return store.directory.endpoint_health([organization])[organization]


def try_at(store, at, status, *, limit=None, **more):
    """Record an attempt of a delivery of its own."""
    owed = owed_delivery(f"msg-{at}", contract_id=f"c{at}", at=at)
    owe(store, owed)
    one = {PENDING: failed, DELIVERED: delivered, DEAD: dead}[status]
    kept = {"retry_at": at + 5} if status is PENDING else {}
    return store.deliveries.record([replace(one(owed, at=at, **kept), failing_limit=limit, **more)])


def test_an_endpoint_that_was_never_tried_has_nothing_against_it(store):
    assert store.directory.endpoint_health([PUBLISHER, MO]) == {PUBLISHER: EndpointHealth(), MO: EndpointHealth()}
    assert store.directory.endpoint_counts() == {"failing": 0, "disabled": 0}


@pytest.mark.parametrize("status", [PENDING, DEAD])
def test_the_first_failure_after_a_success_is_remembered_until_the_next_success(store, status):
    for at, outcome, since in [
        (NOW, DELIVERED, None),
        (NOW + 1, status, NOW + 1),
        (NOW + 2, status, NOW + 1),
        (NOW + 3, DELIVERED, None),
        (NOW + 4, status, NOW + 4),
    ]:
        assert try_at(store, at, outcome) == {}
        assert health(store) == EndpointHealth(failing_since=since)
    assert store.directory.endpoint_counts() == {"failing": 1, "disabled": 0}


def test_attempts_of_one_batch_count_in_their_order(store):
    owed = [owed_delivery(f"msg-{number}", contract_id=f"c{number}") for number in range(3)]
    owe(store, *owed)
    store.deliveries.record(
        [dead(owed[0], at=NOW + 1), delivered(owed[1], at=NOW + 2), failed(owed[2], at=NOW + 3, retry_at=NOW + 9)]
    )
    assert health(store).failing_since == NOW + 3


def test_an_endpoint_that_has_failed_for_too_long_is_disabled_once(store):
    try_at(store, NOW, PENDING)
    assert try_at(store, NOW + DAY, PENDING, limit=NOW - 1) == {}
    assert try_at(store, NOW + DAY + 1, PENDING, limit=NOW) == {PUBLISHER: "failing"}
    assert try_at(store, NOW + DAY + 2, PENDING, limit=NOW + 1) == {}
    assert health(store) == EndpointHealth(failing_since=NOW, disabled_at=NOW + DAY + 1, reason=DisabledReason.FAILING)
    assert store.directory.endpoint_counts() == {"failing": 0, "disabled": 1}
    assert take(store, now=NOW + 9 * DAY) == []


def test_an_endpoint_that_answers_late_stays_disabled_and_is_counted_so(store):
    try_at(store, NOW, PENDING)
    assert try_at(store, NOW + DAY, PENDING, limit=NOW) == {PUBLISHER: "failing"}
    try_at(store, NOW + DAY + 1, DELIVERED)
    assert health(store).status == "disabled"
    assert store.directory.endpoint_counts() == {"failing": 0, "disabled": 1}


def test_one_endpoint_s_failures_are_not_another_s(store):
    try_at(store, NOW, PENDING)
    owed = owed_delivery("msg-mo", to=MO, contract_id="c9")
    owe(store, owed)
    store.deliveries.record([replace(failed(owed, at=NOW + DAY, retry_at=NOW + DAY + 1), failing_limit=NOW + 1)])
    assert (health(store).disabled_at, health(store, MO)) == (None, EndpointHealth(failing_since=NOW + DAY))


def test_an_answer_of_410_disables_at_once_and_says_so(store):
    assert try_at(store, NOW, PENDING, disables_endpoint=True) == {PUBLISHER: "gone"}
    assert try_at(store, NOW + 1, PENDING, disables_endpoint=True) == {}
    assert health(store) == EndpointHealth(failing_since=NOW, disabled_at=NOW, reason=DisabledReason.GONE)


def test_an_endpoint_that_is_enabled_again_begins_anew(store):
    store.directory.apply(change(organization=organization(PUBLISHER)))
    try_at(store, NOW, PENDING)
    try_at(store, NOW + DAY, PENDING, limit=NOW)
    store.directory.apply(change(enables_endpoint=PUBLISHER))
    assert health(store) == EndpointHealth()
    assert len(take(store, now=NOW + 2 * DAY)) == 2
    assert try_at(store, NOW + 2 * DAY, PENDING, limit=NOW + DAY) == {}
    assert health(store) == EndpointHealth(failing_since=NOW + 2 * DAY)


# Sign in the answer.


def test_an_answer_is_accepted_as_an_event_in_the_same_write(store, clock):
    owed = owed_delivery()
    owe(store, owed)
    clock.advance(2)
    answer = new_event("msg-1", source=PUBLISHER, kind=EventType.SIGN)
    store.deliveries.record([delivered(owed, answer=answer)])
    found = store.events.find(PUBLISHER, "msg-1")
    assert (found.status, found.type, found.digest) == (EventStatus.ACCEPTED, EventType.SIGN, answer.digest)
    assert found.received_at == NOW + 2000
    assert store.events.has_unprocessed("contract-1", received_before=NOW + 2001)


def test_only_the_first_answer_to_a_message_is_taken(store):
    owed = owed_delivery()
    owe(store, owed)
    first = new_event("msg-1", source=PUBLISHER, kind=EventType.SIGN)
    store.deliveries.record([delivered(owed, answer=first)])
    store.deliveries.record([delivered(owed, answer=replace(first, raw=b"later", digest=b"\x00" * 32))])
    assert store.events.find(PUBLISHER, "msg-1").digest == first.digest
    assert statuses(store, "msg-1") == [DELIVERED]


# Lists.

ALL = DeliveryQuery(visible_to=None, limit=50)


@pytest.fixture
def post(store):
    """Six deliveries, oldest m0, to two organizations about two contracts; m0 and m3 delivered, m1 dead."""
    owed = [
        owed_delivery(
            f"m{number}",
            to=(PUBLISHER, MO)[number % 2],
            contract_id=f"c{number // 3}",
            revision=number,
            at=NOW + number * 1000,
        )
        for number in range(6)
    ]
    owe(store, *owed)
    store.deliveries.record([delivered(owed[0]), dead(owed[1]), delivered(owed[3])])
    return store


def listed(store, **members):
    return [record.owed.webhook_id for record in store.deliveries.list(replace(ALL, **members)).items]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "m5 m4 m3 m2 m1 m0"),
        ({"visible_to": PUBLISHER}, "m4 m2 m0"),
        ({"contract_id": "c1"}, "m5 m4 m3"),
        ({"contract_id": "c1", "visible_to": MO}, "m5 m3"),
        ({"status": PENDING}, "m5 m4 m2"),
        ({"status": DELIVERED}, "m3 m0"),
        ({"status": DEAD}, "m1"),
        ({"status": PENDING, "visible_to": MO}, "m5"),
        ({"status": DELIVERED, "visible_to": MO}, "m3"),
        ({"status": DEAD, "visible_to": MO}, "m1"),
        ({"status": DEAD, "visible_to": PUBLISHER}, ""),
        ({"status": PENDING, "contract_id": "c0"}, "m2"),
        ({"status": PENDING, "contract_id": "c1", "visible_to": PUBLISHER}, "m4"),
        ({"visible_to": "nobody"}, ""),
        ({"contract_id": "c9"}, ""),
    ],
    ids=str,
)
def test_deliveries_are_listed_newest_first(post, members, expected):
    assert listed(post, **members) == expected.split()


@pytest.mark.parametrize("limit", [1, 2, 4, 6])
@pytest.mark.parametrize("members", [{}, {"visible_to": MO}, {"status": PENDING}, {"contract_id": "c0"}], ids=str)
def test_pages_of_deliveries_add_up_to_the_list(post, limit, members):
    found, cursor = [], None
    for _ in range(10):
        page = post.deliveries.list(replace(ALL, limit=limit, cursor=cursor, **members))
        found += [record.owed.webhook_id for record in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == listed(post, **members)


def test_a_listed_delivery_has_its_attempts(post):
    records = {record.owed.webhook_id: record for record in post.deliveries.list(ALL).items}
    assert records["m0"] == post.deliveries.find("m0")
    assert records["m0"].attempts == (attempt(NOW),)


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "not base64!"])
def test_what_is_no_cursor_of_deliveries_is_refused(post, cursor):
    with pytest.raises(InvalidParameterError) as refusal:
        post.deliveries.list(replace(ALL, cursor=cursor))
    assert refusal.value.facts["field"] == "cursor"


def test_the_cursor_of_anothers_deliveries_is_refused(post):
    cursor = post.deliveries.list(replace(ALL, visible_to=MO, limit=1)).next_cursor
    with pytest.raises(InvalidParameterError):
        post.deliveries.list(replace(ALL, visible_to=PUBLISHER, cursor=cursor))


# Owed again.


def owe_again(store, *webhook_ids, now=NOW):
    return store.deliveries.owe_again(webhook_ids, now=now)


@pytest.mark.parametrize("settle", [delivered, dead])
def test_what_is_settled_and_owed_again_is_due_at_once_with_a_fresh_count_and_its_attempts(store, settle):
    owed = owed_delivery()
    owe(store, owed)
    store.deliveries.record([failed(owed, retry_at=NOW + 1)])
    store.deliveries.record([settle(owed, at=NOW + 2)])
    assert owe_again(store, "msg-1", now=NOW + 10) == 1
    record = store.deliveries.find("msg-1")
    assert (record.status, record.next_attempt_at, len(record.attempts)) == (PENDING, NOW + 10, 2)
    (due,) = store.deliveries.take_due(now=NOW + 10, limit=10, lease_s=60)
    assert (due.owed, due.attempts_done) == (owed, 0)
    store.deliveries.record([failed(owed, at=NOW + 20, retry_at=NOW + 30)])
    (due,) = store.deliveries.take_due(now=NOW + 30, limit=10, lease_s=60)
    assert due.attempts_done == 1
    store.deliveries.record([delivered(owed, at=NOW + 40)])
    record = store.deliveries.find("msg-1")
    assert (record.status, record.next_attempt_at) == (DELIVERED, None)
    assert [one.at for one in record.attempts] == [NOW, NOW + 2, NOW + 20, NOW + 40]


def test_what_is_pending_and_owed_again_is_due_at_once_and_keeps_its_count(store):
    owed = owed_delivery()
    owe(store, owed)
    store.deliveries.record([failed(owed, retry_at=NOW + 10**6)])
    assert owe_again(store, "msg-1", now=NOW + 10) == 1
    (due,) = store.deliveries.take_due(now=NOW + 10, limit=10, lease_s=60)
    assert due.attempts_done == 1


def test_what_is_due_already_keeps_its_moment(store):
    owe(store, owed_delivery())
    owe_again(store, "msg-1", now=NOW + 500)
    assert store.deliveries.next_due() == NOW


def test_owing_again_is_counted_and_listed_as_pending(store):
    owed = [owed_delivery(f"msg-{number}", contract_id=f"c{number}") for number in range(3)]
    owe(store, *owed)
    store.deliveries.record([delivered(owed[0]), dead(owed[1]), delivered(owed[2])])
    assert owe_again(store, "msg-0", "msg-1", "msg-9") == 2
    assert (store.deliveries.backlog().pending, store.deliveries.backlog().dead) == (2, 0)
    assert listed(store, status=PENDING) == ["msg-1", "msg-0"]
    assert listed(store, status=DEAD) == []


def test_owing_again_twice_owes_once(store):
    owed = owed_delivery()
    owe(store, owed)
    store.deliveries.record([delivered(owed)])
    assert [owe_again(store, "msg-1"), owe_again(store, "msg-1", "msg-1")] == [1, 2]
    assert take(store) == ["msg-1"]
    assert take(store) == []


def test_an_older_message_owed_again_goes_before_what_is_pending_in_its_line(store):
    first, second, third = (owed_delivery(f"msg-{number}", revision=number, at=NOW + number) for number in (1, 2, 3))
    owe(store, first, second, third)
    store.deliveries.record([delivered(first, at=NOW + 5)])
    owe_again(store, "msg-1", now=NOW + 10)
    assert take(store, now=NOW + 10) == ["msg-1"]
    assert take(store, now=NOW + 10) == []
    store.deliveries.record([delivered(first, at=NOW + 20)])
    assert take(store, now=NOW + 20) == ["msg-2"]
    store.deliveries.record([delivered(second, at=NOW + 30)])
    assert take(store, now=NOW + 30) == ["msg-3"]


def test_a_newer_message_owed_again_waits_for_the_older_ones_which_are_due_at_once(store):
    first, second = owed_delivery("msg-1", at=NOW), owed_delivery("msg-2", revision=2, at=NOW + 1)
    owe(store, first)
    store.deliveries.record([dead(first)])
    owe(store, second)
    store.deliveries.record([delivered(second, at=NOW + 2)])
    owe_again(store, "msg-1", now=NOW + 3)
    store.deliveries.record([failed(first, at=NOW + 4, retry_at=NOW + 10**6)])
    owe_again(store, "msg-2", now=NOW + 10)
    assert take(store, now=NOW + 10) == ["msg-1"]
    assert take(store, now=NOW + 10) == []
    store.deliveries.record([delivered(first, at=NOW + 20)])
    assert take(store, now=NOW + 20) == ["msg-2"]


def test_a_message_that_fails_while_an_older_one_is_owed_again_waits_behind_it(store):
    first, second = owed_delivery("msg-1", at=NOW), owed_delivery("msg-2", revision=2, at=NOW + 1)
    owe(store, first, second)
    store.deliveries.record([delivered(first, at=NOW + 2)])
    assert take(store, now=NOW + 2) == ["msg-2"]
    owe_again(store, "msg-1", now=NOW + 3)
    store.deliveries.record([failed(second, at=NOW + 4, retry_at=NOW + 5)])
    assert take(store, now=NOW + 6) == ["msg-1"]
    assert take(store, now=NOW + 7) == []
    store.deliveries.record([delivered(first, at=NOW + 8)])
    assert take(store, now=NOW + 8) == ["msg-2"]
    store.deliveries.record([delivered(second, at=NOW + 9)])
    assert statuses(store, "msg-1", "msg-2") == [DELIVERED, DELIVERED]


def test_the_late_result_of_a_message_put_behind_settles_it(store):
    first, second = owed_delivery("msg-1", at=NOW), owed_delivery("msg-2", revision=2, at=NOW + 1)
    owe(store, first, second)
    store.deliveries.record([delivered(first, at=NOW + 2)])
    take(store, now=NOW + 2)
    owe_again(store, "msg-1", now=NOW + 3)
    store.deliveries.record([delivered(second, at=NOW + 4)])
    assert statuses(store, "msg-1", "msg-2") == [PENDING, DELIVERED]
    assert take(store, now=NOW + 5) == ["msg-1"]


def test_what_has_all_its_attempts_is_not_owed_again(store):
    owed = owed_delivery()
    owe(store, owed)
    for number in range(ATTEMPTS_MAX - 1):
        store.deliveries.record([failed(owed, at=NOW + number, retry_at=NOW + number)])
    assert owe_again(store, "msg-1") == 1
    store.deliveries.record([dead(owed, at=NOW + ATTEMPTS_MAX)])
    assert owe_again(store, "msg-1") == 0
    assert statuses(store, "msg-1") == [DEAD]


def test_many_are_owed_again_at_once_by_a_race(store):
    owed = [owed_delivery(f"msg-{number}", revision=number + 1, at=NOW + number) for number in range(6)]
    owe(store, *owed)
    for one in owed:
        store.deliveries.record([delivered(one, at=NOW + 10)])
    ids = [one.webhook_id for one in owed]
    assert race([lambda: owe_again(store, *ids, now=NOW + 20)] * 4) == [6] * 4
    order = []
    for _ in owed:
        order += take(store, now=NOW + 20)
        store.deliveries.record([delivered(one, at=NOW + 20) for one in owed if one.webhook_id == order[-1]])
    assert order == ids


REPLAY = ReplayQuery(visible_to=None, limit=50)


def to_replay(store, **members):
    found, cursor = [], None
    for _ in range(20):
        page = store.deliveries.to_replay(replace(REPLAY, **{"cursor": cursor, **members}))
        assert len(page.items) <= members.get("limit", REPLAY.limit)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


@pytest.mark.parametrize("limit", [1, 2, 50])
@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"contract_id": "c1"}, "m3 m4 m5"),
        ({"contract_id": "c1", "visible_to": MO}, "m3 m5"),
        ({"contract_id": "c9"}, ""),
        ({"contract_id": "c1", "visible_to": "nobody"}, ""),
        ({"owed_from": NOW_S, "owed_to": NOW_S + 5}, "m0 m1 m2 m3 m4 m5"),
        ({"owed_from": NOW_S + 1, "owed_to": NOW_S + 4}, "m1 m2 m3 m4"),
        ({"owed_from": NOW_S + 1, "owed_to": NOW_S + 4, "visible_to": PUBLISHER}, "m2 m4"),
        ({"owed_from": NOW_S + 3, "owed_to": NOW_S + 3}, "m3"),
        ({"owed_from": 0, "owed_to": NOW_S - 1}, ""),
        ({"owed_from": NOW_S + 6, "owed_to": 253_402_300_799}, ""),
        ({"owed_from": 0, "owed_to": 253_402_300_799, "visible_to": MO}, "m1 m3 m5"),
    ],
    ids=str,
)
def test_a_replay_goes_through_its_range_in_the_order_of_owing(post, members, expected, limit):
    assert to_replay(post, limit=limit, **members) == expected.split()


def test_a_replay_of_nothing_is_empty(store):
    assert to_replay(store, owed_from=0, owed_to=NOW_S) == []
    assert to_replay(store, contract_id="c1") == []


def test_a_range_has_what_was_committed_out_of_its_order(store):
    """Its moment is stamped before its commit, so the last of a second may be committed after the first of the next."""
    owe(store, owed_delivery("late", at=NOW + 2_000), owed_delivery("early", at=NOW + 500, contract_id="c2"))
    owe(store, owed_delivery("early-too", at=NOW - 1, contract_id="c3"))
    assert to_replay(store, owed_from=NOW_S, owed_to=NOW_S) == ["early"]
    assert sorted(to_replay(store, owed_from=NOW_S - 1, owed_to=NOW_S)) == ["early", "early-too"]


def test_a_range_over_months_is_whole(store):
    month_s = 31 * 24 * 3600
    owed = [owed_delivery(f"m{n}", contract_id=f"c{n}", at=NOW + n * month_s * 1000) for n in range(4)]
    owe(store, *owed)
    found = to_replay(store, limit=2, owed_from=NOW_S + month_s, owed_to=NOW_S + 3 * month_s)
    assert found == ["m1", "m2", "m3"]


def test_the_cursor_of_another_replay_is_refused(post):
    cursor = post.deliveries.to_replay(replace(REPLAY, contract_id="c1", limit=1)).next_cursor
    for members in ({"contract_id": "c0"}, {"contract_id": "c1", "visible_to": MO}, {"owed_from": 0, "owed_to": NOW_S}):
        with pytest.raises(InvalidParameterError):
            post.deliveries.to_replay(replace(REPLAY, cursor=cursor, **members))


# Tests of an endpoint.


def endpoint_test(webhook_id="test-1", *, to=PUBLISHER, at=NOW, kind=WebhookType.ENDPOINT_TEST):
    return owed_delivery(webhook_id, to=to, contract_id=None, revision=0, at=at, kind=kind)


def disable(store, organization=PUBLISHER):
    gone = owed_delivery("msg-gone", to=organization, contract_id="contract-gone")
    owe(store, gone)
    store.deliveries.record(
        [result(gone, PENDING, at=NOW, http_status=410, retry_at=NOW + 10**9, disables_endpoint=True)]
    )


def test_a_test_is_owed_once_and_is_about_no_contract(store):
    owed = endpoint_test()
    store.deliveries.owe(owed)
    store.deliveries.owe(owed)
    (due,) = store.deliveries.take_due(now=NOW, limit=10, lease_s=60)
    assert (due.owed, due.attempts_done) == (owed, 0)
    assert take(store) == []
    store.deliveries.record([delivered(owed, at=NOW + 5)])
    record = store.deliveries.find("test-1")
    assert (record.owed, record.status, record.attempts) == (owed, DELIVERED, (attempt(NOW + 5),))
    assert listed(store, visible_to=PUBLISHER) == ["test-1"]
    assert to_replay(store, owed_from=NOW_S, owed_to=NOW_S, visible_to=PUBLISHER) == ["test-1"]


@pytest.mark.parametrize("kind", sorted(OF_ENDPOINT))
def test_whatever_is_about_an_endpoint_goes_to_a_disabled_one_and_is_owed_again(store, kind):
    disable(store)
    owed = endpoint_test(kind=kind)
    store.deliveries.owe(owed)
    assert take(store) == ["test-1"]
    store.deliveries.record([dead(owed)])
    assert store.deliveries.find("test-1").owed == owed
    assert owe_again(store, "test-1", now=NOW + 10) == 1
    assert take(store, now=NOW + 10) == ["test-1"]


def test_an_address_that_was_checked_stays_with_its_endpoint_until_that_is_enabled_anew(store):
    store.directory.apply(change(organization=organization(PUBLISHER)))
    for at, url in ((NOW + 5, "https://old.example/hook"), (NOW + 9, "https://new.example/hook")):
        owed = endpoint_test(f"check-{at}", kind=WebhookType.ENDPOINT_CHECK)
        store.deliveries.owe(owed)
        store.deliveries.record([delivered(owed, at=at, checked_url=url)])
        assert health(store) == EndpointHealth(checked_at=at, checked_url=url)
    other = owed_delivery("msg-1")
    owe(store, other)
    store.deliveries.record([failed(other, at=NOW + 10, retry_at=NOW + 20)])
    assert health(store).checked_url == "https://new.example/hook"
    store.directory.apply(change(enables_endpoint=PUBLISHER))
    assert health(store) == EndpointHealth()


def test_a_test_goes_to_a_disabled_endpoint_and_enables_nothing(store):
    disable(store)
    owe(store, owed_delivery("msg-1", at=NOW + 1))
    store.deliveries.owe(endpoint_test(at=NOW + 2))
    assert store.deliveries.next_due() == NOW + 2
    assert take(store, now=NOW + 2) == ["test-1"]
    store.deliveries.record([delivered(endpoint_test(at=NOW + 2), at=NOW + 3)])
    assert take(store, now=NOW + 10) == []
    assert statuses(store, "test-1", "msg-1") == [DELIVERED, PENDING]


def test_a_test_goes_to_a_busy_and_to_a_probed_organization(store):
    owe(store, owed_delivery("msg-1"), owed_delivery("msg-2", contract_id="c2"))
    store.deliveries.owe(endpoint_test())
    assert take(store, busy=[PUBLISHER]) == ["test-1"]
    store.deliveries.record([dead(endpoint_test())])
    store.deliveries.owe(endpoint_test("test-2"))
    taken = store.deliveries.take_due(now=NOW, limit=10, lease_s=60, probed=frozenset({PUBLISHER}))
    assert len(taken) == 2
    assert "test-2" in {due.owed.webhook_id for due in taken}


def test_tests_of_an_endpoint_go_one_after_the_other_and_hold_up_nothing_else(store):
    first, second = endpoint_test("test-1"), endpoint_test("test-2", at=NOW + 1)
    store.deliveries.owe(first)
    store.deliveries.owe(second)
    owe(store, owed_delivery("msg-1"))
    assert take(store, now=NOW + 2) == ["msg-1", "test-1"]
    store.deliveries.record([dead(first, at=NOW + 3)])
    assert take(store, now=NOW + 3) == ["test-2"]
    store.deliveries.record([delivered(second, at=NOW + 4)])
    assert statuses(store, "test-1", "test-2", "msg-1") == [DEAD, DELIVERED, PENDING]
    assert store.deliveries.backlog() == DeliveryBacklog(pending=1, due_at=NOW + 60_002, dead=1)


def test_a_test_that_is_owed_again_still_goes_to_a_disabled_endpoint(store):
    disable(store)
    owed = endpoint_test()
    store.deliveries.owe(owed)
    store.deliveries.record([dead(owed)])
    assert owe_again(store, "test-1", now=NOW + 10) == 1
    assert take(store, now=NOW + 10) == ["test-1"]


def test_the_tests_of_one_endpoint_do_not_wait_for_those_of_another(store):
    store.deliveries.owe(endpoint_test("test-1"))
    store.deliveries.owe(endpoint_test("test-2", to=MO))
    assert take(store) == ["test-1", "test-2"]
