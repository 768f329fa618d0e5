"""Lines that were announced are taken one by one, and twice is no more than once."""

import uuid

import pytest

from moneta.application.ports import Line, OwedDelivery, WebhookType
from tests.conformance.builders import NOW, delivered, organization, owed_delivery, owing, race, result
from tests.conformance.builders import change as directory_change

pytestmark = pytest.mark.dynamodb


class Case:
    """A line of two messages about one contract."""

    def __init__(self, store):
        self.store = store
        self.to = f"org-{uuid.uuid4().hex}"
        name = f"contract-{uuid.uuid4().hex}"
        self.first = owed_delivery(f"msg-{uuid.uuid4().hex}", to=self.to, contract_id=name)
        self.second = owed_delivery(f"msg-{uuid.uuid4().hex}", to=self.to, contract_id=name, revision=2, at=NOW + 5)
        self.line = Line(organization_id=self.to, contract_id=name)
        store.contracts.commit([owing(self.first, self.second)])

    def take(self, *lines, now=NOW, lease_s=60):
        return [due.owed for due in self.store.deliveries.take(lines or [self.line], now=now, lease_s=lease_s)]


@pytest.fixture
def case(open_store):
    return Case(open_store())


def test_the_oldest_of_a_line_is_taken_and_what_follows_waits_for_it(case):
    assert case.take() == [case.first]
    assert case.take(now=NOW + 59_999) == []
    case.store.deliveries.record([delivered(case.first, at=NOW + 60_000)])
    assert case.take(now=NOW + 60_000) == [case.second]


def test_a_line_that_is_announced_twice_is_taken_once(case):
    assert case.take(case.line, case.line) == [case.first]
    assert case.take() == []


def test_of_a_race_for_a_line_one_taker_has_it(case, open_store):
    stores = [open_store() for _ in range(6)]
    takings = race([lambda one=one: one.deliveries.take([case.line], now=NOW, lease_s=60) for one in stores])
    assert sorted(map(len, takings)) == [0, 0, 0, 0, 0, 1]


def test_a_delivery_whose_lease_ended_is_taken_again(case):
    case.take(lease_s=60)
    assert case.take(now=NOW + 60_000) == [case.first]


def test_what_is_not_due_is_not_taken(case):
    assert case.take(now=NOW - 1) == []


def test_a_line_with_nothing_in_it_gives_nothing(case):
    assert case.take(Line(organization_id=case.to, contract_id="contract-none")) == []


def test_what_goes_to_a_disabled_endpoint_is_left_but_its_test_is_taken(case):
    case.store.directory.apply(directory_change(organization=organization(case.to, code=case.to)))
    case.take()
    case.store.deliveries.record([result(case.first, "dead", at=NOW, http_status=410, disables_endpoint=True)])
    trial = OwedDelivery(
        webhook_id=f"msg-{uuid.uuid4().hex}",
        organization_id=case.to,
        type=WebhookType.ENDPOINT_TEST,
        contract_id=None,
        revision=0,
        owed_at=NOW,
    )
    case.store.deliveries.owe(trial)
    tests = Line(organization_id=case.to, contract_id=None)
    assert case.take(case.line, tests) == [trial]
