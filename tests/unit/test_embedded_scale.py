"""What waits, however much of it, costs nothing to whoever does not wait: counted in steps of SQLite's machine.

Steps are the same on every machine and under every load, where milliseconds are not.
"""

from dataclasses import replace

import pytest

from moneta.adapters.embedded.database import FULL, NORMAL
from moneta.adapters.embedded.store import EmbeddedStore
from moneta.application.ports import ContractQuery
from tests.conformance.builders import (
    HUB,
    MO,
    NOW,
    PUBLISHER,
    StillClock,
    delivered,
    new_event,
    owed_delivery,
    owing,
    submitted,
)

FEW, MANY = 30, 3_000


class Meter:
    """Counts, to the hundred, the steps that the connections of a store take."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.hundreds = 0
        connections = [store.database._writer(FULL), store.database._writer(NORMAL)]
        with store.database.read() as reader:
            connections.append(reader)
        for connection in connections:
            connection.set_progress_handler(self.count, 100)

    def count(self) -> bool:
        self.hundreds += 1
        return False

    def steps_of(self, call) -> int:
        before = self.hundreds
        call()
        return (self.hundreds - before) * 100


@pytest.fixture
def steps_with(tmp_path):
    """Return the steps of a call on a store that was filled with so many of something."""
    stores = []

    def measure(fill, call, size):
        store = EmbeddedStore.create(tmp_path / str(size), base_url=HUB, clock=StillClock())
        stores.append(store)
        fill(store, size)
        return Meter(store).steps_of(lambda: call(store))

    yield measure
    for store in stores:
        store.close()


def fill_dead_endpoint(store, size):
    """Two deliveries a contract, the second behind the first, all due."""
    pairs = [(owed_delivery(f"m{one}-1", to="dead", contract_id=f"c{one}"), one) for one in range(size // 2)]
    store.contracts.commit([owing(first, replace(first, webhook_id=f"m{one}-2", revision=2)) for first, one in pairs])


def fill_backlog(store, size):
    store.events.accept([new_event(f"waiting-{number}", contract_id=f"w{number}") for number in range(size)])


def fill_contracts(store, size):
    changes = [submitted(f"c{number}", mo=f"mo-{number % 3}", received_at=NOW + number) for number in range(size)]
    store.contracts.commit(changes)


def fill_a_pair(store, size):
    """Contracts of one pair, all but one of them ended the same way, and that one is another pair's."""
    ended = [replace(submitted(f"c{number}", received_at=NOW + number), status="finalized") for number in range(size)]
    store.contracts.commit([*ended, replace(submitted("other", mo="another-mo"), status="declined")])


def find_none_of_a_pair(store):
    wanted = ContractQuery(visible_to=None, mo_id=MO, publisher_id=PUBLISHER, status="declined", limit=5)
    assert store.contracts.list(wanted).items == []
    assert len(store.contracts.list(replace(wanted, status="finalized")).items) == 5


def deliver_to_another(store):
    owed = [owed_delivery(f"live-{number}", to=f"org-{number}", contract_id=f"live-{number}") for number in range(8)]
    store.contracts.commit([owing(one) for one in owed])
    taken = store.deliveries.take_due(now=NOW, limit=64, lease_s=60, busy=frozenset({"dead"}))
    assert len(taken) == 8
    store.deliveries.record([delivered(one) for one in owed])
    assert store.deliveries.next_due() == NOW


def process_one(store):
    event = new_event()
    store.events.accept([event])
    store.contracts.commit([submitted(event=event)])


CASES = {
    "deliveries to another endpoint": (fill_dead_endpoint, deliver_to_another),
    "a look at the dead endpoint": (
        fill_dead_endpoint,
        lambda store: store.deliveries.take_due(now=NOW, limit=8, lease_s=1),
    ),
    "a probe of the dead endpoint": (
        fill_dead_endpoint,
        lambda store: store.deliveries.take_due(now=NOW, limit=8, lease_s=1, probed=frozenset({"dead"})),
    ),
    "an event beside a backlog": (fill_backlog, process_one),
    "a taking from a backlog": (fill_backlog, lambda store: store.queue.take(limit=8, lease_s=60)),
    "a contract among many": (fill_contracts, process_one),
    "a page of many": (fill_contracts, lambda store: store.contracts.list(ContractQuery(visible_to="mo-1", limit=5))),
    "a page of a pair's in a status that none of them has": (fill_a_pair, find_none_of_a_pair),
    "the next expiry": (fill_contracts, lambda store: store.contracts.next_expiry()),
}


@pytest.mark.parametrize("case", CASES)
def test_it_takes_as_many_steps_with_many_waiting_as_with_few(steps_with, case):
    few, many = (steps_with(*CASES[case], size) for size in (FEW, MANY))
    assert many <= few * 1.5 + 200
