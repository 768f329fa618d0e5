"""What is due to an organization that nothing is taken for is passed over once, and holds up nobody."""

import uuid
from dataclasses import replace

import pytest

from moneta.adapters.aws.due_index import INDEX_LAG_MS, SWEEP_MS, Bounds, DueIndex
from moneta.adapters.aws.endpoint_notes import EndpointNotes
from moneta.application.ports import DeliveryStatus
from tests.conformance.builders import NOW, owed_delivery, owing, result

pytestmark = pytest.mark.dynamodb

DEAD, OTHER, LATE = "org-dead", "org-other", "org-late"
MANY = 60
BOUNDS = Bounds(ahead=25, behind=25, passed=5)
LATER = NOW + 60_000
NOBODY = frozenset()


@pytest.fixture
def own(services):
    """The services, on tables that nobody else owes anything in."""
    names = replace(services.names, table_prefix=f"due-{uuid.uuid4().hex[:12]}-")
    return replace(services, names=names)


@pytest.fixture
def store(own, clock):
    """A store that nobody else owes anything in."""
    store = own.store(clock)
    store.create_tables()
    owe(store, DEAD, MANY, at=NOW)
    owe(store, OTHER, 1, at=NOW + 1_000)
    yield store
    store.delete_tables()


def owe(store, to, count, *, at):
    for number in range(count):
        name = f"{to}-{at + number}"
        store.contracts.commit([owing(owed_delivery(name, to=to, contract_id=name, at=at + number))])


def index_of(store):
    return DueIndex(store.db, EndpointNotes(store.directory), BOUNDS)


def look(index, *, now=LATER, limit=4, busy=NOBODY, probed=NOBODY):
    """Return for whom there are lines, in turn."""
    lines = index.lines(now=now, limit=limit, busy=frozenset(busy), probed=frozenset(probed))
    return [line.organization_id for line, _ in lines]


def looks(index, count, **options):
    return [look(index, **options) for _ in range(count)]


def test_what_is_passed_over_is_not_gone_through_again(store):
    index = index_of(store)
    assert looks(index, 3, busy=[DEAD]) == [[], [], [OTHER]]
    owe(store, LATE, 1, at=NOW + 2_000)
    assert look(index, busy=[DEAD]) == [OTHER, LATE]


def test_a_disabled_endpoint_is_passed_over_like_a_busy_one(store):
    gone = owed_delivery(f"{DEAD}-{NOW}", to=DEAD, contract_id=f"{DEAD}-{NOW}", at=NOW)
    disabling = result(gone, DeliveryStatus.PENDING, at=NOW, http_status=410, retry_at=NOW + 9, disables_endpoint=True)
    store.deliveries.record([disabling])
    assert looks(index_of(store), 3) == [[], [], [OTHER]]


def test_nobody_waits_behind_more_than_can_be_taken(store):
    assert looks(index_of(store), 3) == [[DEAD] * 4, [DEAD] * 4, [DEAD, OTHER, DEAD, DEAD, DEAD]]


def test_who_may_be_sent_to_again_is_found_at_once(store):
    index = index_of(store)
    looks(index, 3, busy=[DEAD])
    assert look(index) == [DEAD] * 4
    assert look(index, probed=[DEAD]) == [OTHER]
    assert look(index, probed=[DEAD]) == [DEAD]


def test_who_has_little_among_much_is_found_in_turn(store):
    """Both were busy, and both may be sent to again; what the one has stands amidst the other's."""
    owe(store, OTHER, 2, at=NOW + 30)
    index = index_of(store)
    looks(index, 3, busy=[DEAD, OTHER])
    (due,) = store.deliveries.take_due(now=LATER, limit=1, lease_s=600, busy=frozenset({DEAD}))
    assert due.owed.organization_id == OTHER
    found = looks(index, 8)
    assert all(set(one) <= {DEAD, OTHER} for one in found)
    assert sum(DEAD in one for one in found) >= 4
    assert sum(OTHER in one for one in found) >= 2


def test_what_is_taken_is_not_looked_for_again(store):
    index = index_of(store)
    looks(index, 3)
    for _ in range(MANY // 10):
        assert len(store.deliveries.take_due(now=LATER, limit=10, lease_s=600, busy=frozenset({OTHER}))) == 10
    assert look(index) in ([OTHER], [])
    assert [OTHER] in looks(index, 3)
    assert index._behind.keys() <= {OTHER}


def test_a_look_that_remembers_asks_each_shard_once(own, store, clock):
    hooked = own.hooked()
    index = index_of(hooked.store(clock))
    looks(index, 3, busy=[DEAD])
    del hooked.dynamodb.operations[:]
    look(index, busy=[DEAD])
    assert (
        hooked.dynamodb.operations.count("query") == 32
    )  # sixteen shards, before and after the front: OTHER stands before


def test_what_the_index_shows_late_is_found_by_a_sweep(store):
    index = index_of(store)
    looks(index, 3, busy=[DEAD])
    owe(store, LATE, 1, at=NOW)
    assert look(index, busy=[DEAD, OTHER]) == []
    assert look(index, busy=[DEAD, OTHER], now=LATER + SWEEP_MS) == [LATE]


def test_what_the_index_shows_within_its_lag_is_found_at_once(store):
    index = index_of(store)
    now = NOW + INDEX_LAG_MS + 500
    owe(store, DEAD, MANY, at=NOW + 1_000)
    looks(index, 9, busy=[DEAD], now=now)
    owe(store, LATE, 1, at=NOW + 501)
    assert LATE in look(index, busy=[DEAD], now=now)


def test_it_is_known_when_the_next_is_due_or_that_nobody_has_looked(store):
    index = index_of(store)
    assert index.next_due(busy=frozenset({DEAD})) == NOW + BOUNDS.ahead - 1
    looks(index, 3, busy=[DEAD])
    assert index.next_due(busy=frozenset({DEAD})) == NOW + 1_000
    assert index.next_due(busy=frozenset({DEAD, OTHER})) is None
    assert index.next_due(busy=NOBODY) == NOW


def test_a_clock_that_is_set_back_begins_anew(store):
    index = index_of(store)
    looks(index, 3, busy=[DEAD])
    assert look(index, now=NOW) == [DEAD]
