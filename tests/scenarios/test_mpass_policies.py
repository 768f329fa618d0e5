"""What an mPass's policy lets through, from the event to the counter: reserved, given back, never beyond."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from moneta.application.end_contracts import expire_contracts
from moneta.application.ports import EventStatus, EventType
from moneta.application.process_events import process_events
from moneta.domain.contracts import ActName, status_of
from moneta.domain.identifiers import ContractId, EventId
from moneta.signing import chain, statements
from tests.hub import MO, PUBLISHER

DAY_S = 86_400


def limits(*rows):
    return {"limits": [dict(zip(("currency", "per", "amount"), row, strict=True)) for row in rows]}


class Card:
    """An mPass with a policy, and transactions on it."""

    def __init__(self, house, policy):
        self.house, self.count = house, 0
        self.mo, self.publisher = house.register(MO, "ACME"), house.register(PUBLISHER, "PUBA")
        self.mpass_id = house.issue_mpass(self.mo, policy=policy)

    def body(self, amount, name, **members):
        payload = {"transaction": {"amount": amount, "currency": "EUR", **members.pop("transaction", {})}}
        return self.house.body(
            self.mo, self.publisher, self.mpass_id, contract_id=name, **{"payload": payload, **members}
        )

    def spend(self, amount, **members):
        """Submit a transaction, and return its status, or the code of what refused it."""
        self.count += 1
        name = ContractId(f"c{self.count}")
        self.house.submit(self.mo, self.body(amount, name, **members), event_id=f"e{self.count}")
        record = self.house.hub.events.find(self.mo.organization_id, EventId(f"e{self.count}"))
        if record.status is EventStatus.REJECTED:
            return json.loads(record.problem)["code"]
        return status_of(self.house.contract(name))

    def decline(self, name):
        """Let the publisher decline, and return what became of the event."""
        self.count += 1
        contract = self.house.contract(ContractId(name))
        act = statements.make_act(
            self.publisher.key,
            name=ActName.DECLINE,
            contract_id=contract.contract_id,
            reason_code="changed_mind",
            reason="",
            prev=chain.head_of(contract.signatures[:1]),
            issued_at=self.house.hub.now_s(),
            audience=self.house.hub.base_url,
        )
        event_id = f"e{self.count}"
        raw = self.house.event(self.publisher, EventType.DECLINE, contract.contract_id, {"act": act}, event_id)
        self.house.send(self.publisher, raw)
        self.house.process()
        return str(self.house.hub.events.find(self.publisher.organization_id, EventId(event_id)).status)

    def spent(self, period):
        key = (self.mpass_id, "EUR", period)
        return self.house.hub.directory.spent([key]).get(key, 0) / 1_000_000


PENDING = "pending_publisher_signature"


@pytest.fixture
def house(house_on_each_store):
    return house_on_each_store


def today(house):
    return datetime.fromtimestamp(house.hub.now_s(), UTC).strftime("%Y-%m-%d")


def test_a_limit_for_each_day_is_used_up_and_begins_anew(house):
    card = Card(house, limits(("EUR", "day", "100.00"), ("EUR", "month", "150.00")))
    assert [card.spend("60.00"), card.spend("40.01"), card.spend("40.00"), card.spend("0.01")] == [
        PENDING,
        "mpass_limit_exceeded",
        PENDING,
        "mpass_limit_exceeded",
    ]
    assert card.spent(today(house)) == 100
    house.clock.advance(DAY_S)
    assert [card.spend("50.01"), card.spend("50.00")] == ["mpass_limit_exceeded", PENDING]
    assert (card.spent(today(house)), card.spent(today(house)[:7])) == (50, 150)


BETS = {"transaction": {"service": "bets"}}
MUCH = {"transaction": {"amount": "much"}}
# fmt: off
RULES = {
    "within a transaction's":    (limits(("EUR", "transaction", "10.00")), {}, PENDING),
    "beyond a transaction's":    (limits(("EUR", "transaction", "9.99")), {}, "mpass_limit_exceeded"),
    "another currency":          (limits(("USD", "day", "900.00")), {}, "mpass_policy_refused"),
    "a service that is denied":  ({"services": {"denied": ["bets"]}}, BETS, "mpass_policy_refused"),
    "a publisher not allowed":   ({"publishers": {"allowed": ["p"]}}, {}, "mpass_policy_refused"),
    "not valid yet":             ({"valid_from": 4_000_000_000}, {}, "mpass_policy_refused"),
    "an amount that is none":    (limits(("EUR", "day", "9.00")), MUCH, "invalid_amount"),
    "no rule at all":            ({}, {}, PENDING),
}
# fmt: on


@pytest.mark.parametrize("what", RULES)
def test_each_rule_is_asked(house, what):
    policy, members, expected = RULES[what]
    assert Card(house, policy).spend("10.00", **members) == expected


def test_what_a_declined_contract_reserved_is_given_back_to_the_day_it_was_taken_from(house):
    card = Card(house, limits(("EUR", "day", "100.00")))
    assert card.spend("100.00") == PENDING
    first = today(house)
    house.clock.advance(DAY_S)
    assert card.spend("30.00") == PENDING
    assert card.decline("c1") == "processed"
    assert (card.spent(first), card.spent(today(house))) == (0, 30)
    assert card.decline("c1") == "processed"
    assert card.spent(first) == 0


def test_what_an_expired_contract_reserved_is_given_back(house):
    card = Card(house, limits(("EUR", "day", "100.00")))
    assert card.spend("100.00", expires_at=house.hub.now_s() + 60) == PENDING
    assert card.spend("1.00") == "mpass_limit_exceeded"
    house.clock.advance(120)
    assert expire_contracts(house.hub) == 1
    assert card.spend("100.00") == PENDING


def test_what_a_finalized_contract_reserved_stays_spent(house):
    card = Card(house, limits(("EUR", "day", "100.00")))
    card.spend("100.00")
    house.sign(card.publisher, ContractId("c1"))
    assert status_of(house.contract(ContractId("c1"))) == "finalized"
    assert card.spent(today(house)) == 100


def test_where_the_publisher_starts_a_limit_is_taken_when_moneta_signs(house):
    card = Card(house, limits(("EUR", "day", "15.00")))
    for number in (1, 2):
        body = card.body("10.00", f"charge-{number}", template_id="charge-contract")
        house.submit(card.publisher, body)
    statuses = [house.hub.contracts.read([f"charge-{number}"]) for number in (1, 2)]
    assert [len(found) for found in statuses] == [1, 0]
    assert card.spent(today(house)) == 10


def test_of_many_at_once_no_more_are_let_through_than_there_is_room_for(house):
    """100 transactions on one pass: whoever is judged by what others have overtaken is judged anew."""
    card = Card(house, limits(("EUR", "day", "60.00")))
    names = [ContractId(f"many-{number}") for number in range(100)]
    for name in names:
        data = {"contract": house.sign_first(card.mo, card.body("1.00", name))}
        house.send(card.mo, house.event(card.mo, EventType.SUBMIT, name, data, f"event-{name}"))
    batches = [house.hub.queue.take(limit=10, lease_s=60) for _ in range(10)]
    with ThreadPoolExecutor(4) as pool:
        left = [event for rest in pool.map(lambda one: process_events(house.hub, one), batches) for event in rest]
    process_events(house.hub, left)
    assert len(house.hub.contracts.read(names)) == 60
    assert card.spent(today(house)) == 60
    records = [house.hub.events.find(card.mo.organization_id, EventId(f"event-{name}")) for name in names]
    refused = [json.loads(one.problem)["code"] for one in records if one.status is EventStatus.REJECTED]
    assert refused == ["mpass_limit_exceeded"] * 40


def test_an_amount_in_another_place_is_no_way_around_a_limit(house):
    card = Card(house, limits(("EUR", "month", "100.00")))
    lines = {"lines": [{"amount": "5000.00", "currency": "EUR"}]}
    payload = {"transaction": {"amount": "1.00", "currency": "EUR"}, **lines}
    assert card.spend("1.00", payload=payload) == "mpass_limit_exceeded"
    assert card.spend("1.00") == PENDING


def test_a_second_service_is_no_way_around_a_policy(house):
    card = Card(house, {"services": {"allowed": ["books"]}})
    payload = {"transaction": {"amount": "1.00", "currency": "EUR", "service": "books"}, "service": "games"}
    assert card.spend("1.00", payload=payload) == "mpass_policy_refused"
    assert card.spend("1.00", transaction={"service": "books"}) == PENDING
