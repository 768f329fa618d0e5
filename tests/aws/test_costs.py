"""What a flow costs: calls, units and bytes, by the documented formula. ``pytest -s`` prints the bills."""

import json
import uuid
from collections import Counter
from dataclasses import replace

import pytest

from moneta.application.ports import ContractQuery, EventType, Line
from moneta.signing import base64url
from tests.aws.capacity import Bill, MeteringClient
from tests.conformance.builders import (
    HUB,
    NOW,
    StillClock,
    delivered,
    finalized,
    first_step,
    new_event,
    owed_delivery,
    submitted,
)
from tests.emulated import HookedClient, emulated_services

pytestmark = pytest.mark.dynamodb


class Flow:
    """A contract with ids of the length that real ones have, between two organizations."""

    def __init__(self, store, mo, publisher):
        self.store, self.mo, self.publisher = store, mo, publisher
        self.name = f"contract_{uuid.uuid4()}"
        self.requested = self.owed(1, to=publisher)

    def owed(self, revision, *, to):
        webhook_id = f"msg_{base64url.encode(uuid.uuid4().bytes)}"
        return owed_delivery(webhook_id, to=to, contract_id=self.name, revision=revision, at=NOW + revision)

    def submit(self):
        """Accept, read, commit, deliver: the half flow. An event of an RS256 key's is the larger kind."""
        step = first_step(self.name, mo=self.mo, publisher=self.publisher, mpass=str(uuid.uuid4()))
        entry = {"protected": step.signatures[0].protected, "signature": step.signatures[0].signature}
        jws = {"payload": base64url.encode(step.start.body_bytes), "signatures": [entry]}
        event = new_event(str(uuid.uuid4()), source=self.mo, contract_id=self.name, raw=self.raw(jws, self.mo))
        self.store.events.accept([event])
        self.store.contracts.read([self.name])
        parties = {"mo": self.mo, "publisher": self.publisher, "mpass": str(uuid.uuid4())}
        change = submitted(self.name, event=event, owed=[self.requested], expires_at=NOW // 1000 + 86_400, **parties)
        assert self.store.contracts.commit([change]) == ["committed"]

    def deliver(self, to, **more):
        """What a function does for a line that was announced."""
        line = Line(organization_id=to, contract_id=self.name)
        (due,) = self.store.lines.take([line], now=NOW + 9, lease_s=60)
        self.store.contracts.read_at([(due.owed.contract_id, due.owed.revision)])
        self.store.deliveries.record([delivered(due.owed, at=NOW + 10, **more)])

    def complete(self):
        """The publisher signs in its answer; the contract is finalized and both are told."""
        raw = self.raw({"payload": "x" * 700, "signatures": ["x" * 600] * 3}, self.publisher)
        facts = {"source": self.publisher, "contract_id": self.name, "raw": raw, "kind": EventType.SIGN}
        event = new_event(self.requested.webhook_id, **facts)
        self.deliver(self.publisher, answer=event)
        self.store.contracts.read([self.name])
        owed = [self.owed(2, to=self.mo), self.owed(2, to=self.publisher)]
        assert self.store.contracts.commit([finalized(self.name, event=event, owed=owed)]) == ["committed"]
        self.deliver(self.mo)
        self.deliver(self.publisher)

    def raw(self, jws, source):
        head = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": source, "type": "moneta.contract.submit"}
        return json.dumps({**head, "subject": self.name, "data": {"contract": jws}, "aud": HUB}).encode()


@pytest.fixture
def metered(services, open_store):
    """A store with a bill, whose process has worked before, so that its calendar's notes are made."""
    meter = MeteringClient(services.dynamodb, prefix=services.names.table_prefix)
    sqs = HookedClient(services.sqs, [])
    store = open_store(replace(services, dynamodb=meter, sqs=sqs))
    parties = str(uuid.uuid4()), str(uuid.uuid4())
    full = Flow(store, *parties)
    full.submit()
    full.complete()
    meter.bill = Bill()
    sqs.operations.clear()
    return store, meter, parties, sqs


def show(title, bill):
    print(f"\n{title}: {bill.calls.total()} calls {dict(bill.calls)}")  # noqa: T201  # what -s is for
    print(f"  {bill.write_units.total()} write units {dict(+bill.write_units)}")  # noqa: T201  # likewise
    print(f"  {sum(bill.read_units.values())} read units {dict(bill.read_units)}, bytes {bill.item_bytes}")  # noqa: T201


def test_a_half_flow_costs_no_more_than_is_known(metered):
    store, meter, parties, _ = metered
    flow = Flow(store, *parties)
    flow.submit()
    show("half flow, to the commit", meter.bill)
    assert meter.bill.calls == {"put_item": 4, "update_item": 1, "batch_get_item": 1, "query": 1}
    assert meter.bill.write_units.total() <= 17
    flow.deliver(flow.publisher)
    show("half flow, delivered", meter.bill)
    assert meter.bill.write_units.total() <= 20


def test_a_full_flow_costs_no_more_than_is_known(metered):
    store, meter, parties, sqs = metered
    flow = Flow(store, *parties)
    flow.submit()
    flow.complete()
    show("full flow", meter.bill)
    print(f"  SQS: {Counter(sqs.operations)}")  # noqa: T201  # likewise
    assert meter.bill.write_units.total() <= 50
    assert max(meter.bill.item_bytes.values()) < 4096


def test_a_step_that_is_finished_costs_the_relay_one_read(metered):
    store, meter, parties, _ = metered
    flow = Flow(store, *parties)
    flow.submit()
    meter.bill = Bill()
    assert store.relay.complete([(flow.name, 1)] * 3) == 0
    assert (meter.bill.calls, meter.bill.read_units) == ({"get_item": 1}, {"contracts": 1})


LATER = NOW + 40 * 86_400_000
"""A month with nothing but what these queries are asked about."""
HOURS, EACH_HOUR, PAGE = 4, 30, 50
THIRD_HOUR_S = LATER // 1000 + 2 * 3_600


class Listed:
    """Contracts of four hours of one MO's: with one publisher but for every third, half of them finalized."""

    def __init__(self, store):
        self.mo, self.publisher, self.other, self.mpass = (str(uuid.uuid4()) for _ in range(4))
        changes = [self.begun(number) for number in range(HOURS * EACH_HOUR)]
        store.contracts.commit(changes)
        ended = [finalized(one.contract_id, at=one.step.committed_at + 9) for one in changes[::2]]
        store.contracts.commit(ended)

    def begun(self, number):
        received_at = LATER + (number // EACH_HOUR) * 3_600_000 + (number % EACH_HOUR) * 100_000
        parties = {"mo": self.mo, "publisher": self.other if number % 3 == 0 else self.publisher}
        mpass = self.mpass if number % 5 else str(uuid.uuid4())
        expires_at = received_at // 1000 + 86_400
        facts = {"received_at": received_at, "expires_at": expires_at, "mpass": mpass, **parties}
        return submitted(f"contract_{uuid.uuid4()}", **facts)


@pytest.fixture(scope="module")
def listed(prefix):
    clock = StillClock()
    clock.advance(LATER // 1000 - NOW // 1000 + HOURS * 3_600)
    with emulated_services(clock, table_prefix=prefix) as services:
        return Listed(services.store(clock)), clock.now_ms()


THIRD_HOUR = {"received_from": THIRD_HOUR_S, "received_to": THIRD_HOUR_S + 3_599}

# What is asked for; how many are on the page; calls; units read, of the index and of the heads. fmt: off
QUERIES = {
    "MO": (lambda of: {"mo_id": of.mo}, 50, 3, 53.5),
    "publisher": (lambda of: {"publisher_id": of.publisher}, 50, 3, 53.5),
    "mPass": (lambda of: {"mpass_id": of.mpass}, 50, 3, 53.5),
    "whoever asks": (lambda of: {"visible_to": of.publisher}, 50, 4, 54.0),
    "MO, publisher, time": (lambda of: {"mo_id": of.mo, "publisher_id": of.publisher, **THIRD_HOUR}, 20, 3, 32.0),
    "MO, status": (lambda of: {"mo_id": of.mo, "status": "finalized"}, 50, 5, 106.0),
    "status": (lambda of: {"status": "finalized"}, 50, 69, 93.0),
    "time": (lambda of: THIRD_HOUR, 30, 66, 63.0),
    "status, time": (lambda of: {"status": "finalized", **THIRD_HOUR}, 15, 34, 32.0),
}
# fmt: on


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_of_the_adrs_costs_no_more_than_is_known(services, open_store, listed, clock, name):
    contracts, now = listed
    clock.advance((now - clock.now_ms()) // 1000)
    meter = MeteringClient(services.dynamodb, prefix=services.names.table_prefix)
    store = open_store(replace(services, dynamodb=meter))
    asked, count, calls, units = QUERIES[name]
    query = ContractQuery(**{"visible_to": None, "limit": PAGE, **asked(contracts)})
    store.contracts.list(query)  # a process that has worked before knows which months and hours there are
    meter.bill = Bill()
    assert len(store.contracts.list(query).items) == count
    show(f"{name}: {count} contracts", meter.bill)
    assert meter.bill.calls.total() <= calls
    assert sum(meter.bill.read_units.values()) <= units
