"""SQS and DynamoDB throttle, fail, do things twice, and answer nobody: each event still has exactly one outcome."""

from types import SimpleNamespace

import pytest

from moneta.application.ports import EventStatus
from moneta.domain.errors import StoreUnavailableError
from tests.aws.faults import Faults
from tests.conformance.builders import MO, new_event, submitted

pytestmark = pytest.mark.dynamodb

EVENTS = 40
ROUNDS_MAX = 60
LEASE_S = 60


@pytest.mark.parametrize("seed", range(4))
def test_every_event_comes_to_one_outcome_whatever_the_services_do(services, open_store, clock, monkeypatch, seed):
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    faults = Faults(seed=seed, throttled=0.1, failed=0.1, lost=0.1, twice=0.1)
    for client in (services.dynamodb, services.sqs._client):
        faults.beset(client)
    store = open_store()
    names = [f"{seed}-{number}" for number in range(EVENTS)]
    events = {name: new_event(name, contract_id=f"c-{name}") for name in names}
    committed = []
    waiting = list(events.values())
    for _ in range(ROUNDS_MAX):
        try:
            store.events.accept(waiting)
            waiting = []
            for event in store.queue.take(limit=10, lease_s=LEASE_S):
                change = submitted(event.contract_id, event=events[event.event_id])
                committed += [event.event_id for answer in store.contracts.commit([change]) if answer == "committed"]
        except StoreUnavailableError:
            store = open_store()
        clock.advance(LEASE_S)
        if not waiting and store.queue.depth() == 0:
            break
    faults.throttled = faults.failed = faults.lost = faults.twice = 0
    assert faults.happened.keys() == {"throttled", "failed", "lost", "twice"}
    assert sorted(committed) == sorted(set(committed))
    assert {store.events.find(MO, name).status for name in names} == {EventStatus.PROCESSED}
    assert {contract.revision for contract in store.contracts.read([f"c-{name}" for name in names]).values()} == {1}
    assert store.queue.depth() == 0
