"""Contracts from submission to both receivers while both services throttle, fail, lag, repeat and answer nobody.

What is sent, taken and told goes astray too: messages are lost, doubled and reordered, receivers don't answer.
"""

import json
import random
from collections import Counter
from types import SimpleNamespace

import pytest

from moneta.application.deliver_webhooks import prepare_each, record_each
from moneta.application.ports import Answer, DeliveryQuery, DeliveryStatus, EventType, NoAnswer
from moneta.application.process_events import process_or_return
from moneta.domain.contracts import status_of
from moneta.domain.errors import StoreUnavailableError
from tests.aws.faults import Faults
from tests.hub import MO, PUBLISHER, make_hub

pytestmark = pytest.mark.dynamodb

CONTRACTS = 6
TURNS_MAX = 80
LEASE_S = 60
LAG = 300
TOLD = {"moneta.contract.signature_requested": 1, "moneta.contract.finalized": 2}


class Flow:
    """A hub on both services, an MO that submits, and a publisher that signs in its answers."""

    def __init__(self, house, seed):
        self.house, self.hub, self.store = house, house.hub, house.store
        self.random = random.Random(seed)  # noqa: S311  # replays by its seed, guards nothing
        self.mo, self.publisher = house.register(MO, "MOA"), house.register(PUBLISHER, "PUBA")
        mpass = house.issue_mpass(self.mo)
        self.names = [f"c-{number}" for number in range(CONTRACTS)]
        bodies = {name: house.body(self.mo, self.publisher, mpass, contract_id=name) for name in self.names}
        self.unsent = {
            name: house.event(
                self.mo, EventType.SUBMIT, name, {"contract": house.sign_first(self.mo, body)}, f"e-{name}"
            )
            for name, body in bodies.items()
        }
        self.told = Counter()

    def turn(self):
        """Do some of everything. Whoever fails does it again in the next turn."""
        for do in (self.submit, self.process, self.deliver, self.sweep):
            try:
                do()
            except StoreUnavailableError:
                continue
        self.house.clock.advance(LEASE_S)

    def submit(self):
        for name, raw in list(self.unsent.items()):
            self.house.send(self.mo, raw)
            if self.random.random() < 0.9:  # else its answer got lost, and it is sent again
                del self.unsent[name]

    def process(self):
        events = self.hub.queue.take(limit=10, lease_s=LEASE_S)
        again = process_or_return(self.hub, self.random.sample(events, len(events)), on_bug=self.bug)
        self.hub.queue.release(again, delay_s=0)

    def deliver(self):
        announced = [line for line in self.store.services.announced() for _ in range(self.random.choice((0, 1, 1, 2)))]
        self.random.shuffle(announced)
        due = self.store.lines.take(announced, now=self.hub.clock.now_ms(), lease_s=LEASE_S)
        prepared = prepare_each(self.hub, due, self.bug)
        record_each(self.hub, [(one, self.answer(one.request.body)) for one in prepared], self.bug)

    def answer(self, body):
        message = json.loads(body)
        self.told[message["subject"], message["type"], message["id"]] += 1
        if self.random.random() < 0.2:
            return NoAnswer(reason="timeout", detail="", duration_ms=15_000)
        signed = b""
        if message["type"] == "moneta.contract.signature_requested":
            contract = self.house.contract(message["subject"])
            signed = json.dumps({"contract": self.house.sign_next(self.publisher, contract)}).encode()
        return Answer(status=200, content_type="", retry_after=None, body=signed, is_truncated=False, duration_ms=1)

    def sweep(self):
        now = self.hub.clock.now_ms()
        self.store.lines.announce_due(now=now, until=now)
        self.store.relay.complete_waiting()

    def is_done(self):
        found = self.hub.contracts.read(self.names)
        are_final = len(found) == CONTRACTS and all(status_of(one) == "finalized" for one in found.values())
        return are_final and all(one.status is DeliveryStatus.DELIVERED for name in self.names for one in self.of(name))

    def of(self, name):
        return self.hub.deliveries.list(DeliveryQuery(visible_to=None, contract_id=name, limit=20)).items

    def bug(self, what, error):
        raise AssertionError(what) from error


@pytest.mark.parametrize("seed", range(2))
def test_every_contract_is_finalized_and_told_once_whatever_happens(tmp_path, monkeypatch, seed):
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    house = make_hub(tmp_path, store="aws")
    flow = Flow(house, seed)
    faults = Faults(seed=seed, throttled=0.04, failed=0.03, lost=0.04, twice=0.04, lag=LAG)
    for client in (house.store.services.dynamodb, house.store.services.sqs._client):
        faults.beset(client)
    turns = 0
    while turns < TURNS_MAX and not flow.is_done():
        flow.turn()
        turns += 1
    faults.throttled = faults.failed = faults.lost = faults.twice = faults.lag = 0
    assert faults.happened.keys() == {"throttled", "failed", "lost", "twice", "lag"}
    assert flow.is_done()
    revisions = {contract.revision for contract in house.hub.contracts.read(flow.names).values()}
    assert revisions == {2}
    for name in flow.names:
        assert Counter(one.owed.type for one in flow.of(name)) == TOLD
        told = [(kind, message) for subject, kind, message in flow.told if subject == name]
        assert Counter(kind for kind, _ in told) == TOLD
    house.close()
