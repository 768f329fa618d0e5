"""Lines are announced whenever something is due in them, and taken; twice is no more than once."""

import uuid
from dataclasses import replace

import pytest

from moneta.application.ports import Line, OwedDelivery, WebhookType
from tests.conformance.builders import NOW, dead, delivered, failed, organization, owed_delivery, owing, race, result
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
def case(open_store, services):
    case = Case(open_store())
    assert services.announced() == [case.line]
    return case


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


def test_what_follows_a_delivery_that_is_settled_is_announced(case, services):
    case.take()
    case.store.deliveries.record([delivered(case.first, at=NOW + 10)])
    assert services.announced() == [case.line]
    case.take(now=NOW + 10)
    case.store.deliveries.record([dead(case.second, at=NOW + 20)])
    assert services.announced() == []


def test_an_attempt_in_the_near_future_is_announced_for_its_time(case, services, clock):
    case.take()
    case.store.deliveries.record([failed(case.first, at=NOW, retry_at=NOW + 4_500)])
    clock.advance(4.999)
    assert services.announced() == []
    clock.advance(0.001)
    assert services.announced() == [case.line]
    assert case.take(now=clock.now_ms()) == [case.first]


def test_an_attempt_that_is_too_far_off_is_left_to_the_look_of_every_minute(case, services, clock):
    case.take()
    retry_at = NOW + 900_001
    case.store.deliveries.record([failed(case.first, at=NOW, retry_at=retry_at)])
    clock.advance(901)
    assert services.announced() == []
    case.store.lines.announce_due(now=clock.now_ms(), until=clock.now_ms())
    assert case.line in services.announced()


def test_a_look_announces_what_is_due_at_once_and_what_will_be_at_its_time(case, services, clock):
    later = Case(case.store)
    later.take()
    case.store.deliveries.record([failed(later.first, at=NOW, retry_at=NOW + 1_800_000)])
    services.announced()
    clock.advance(1_790)
    assert case.store.lines.announce_due(now=clock.now_ms(), until=clock.now_ms() + 9_999) >= 1
    now = services.announced()
    assert (case.line in now, later.line in now) == (True, False)
    assert case.store.lines.announce_due(now=clock.now_ms(), until=clock.now_ms() + 10_000) == 1
    assert services.announced() == []
    clock.advance(10)
    assert services.announced() == [later.line]


def test_what_a_look_has_announced_the_next_ones_leave_alone_for_five_minutes(case, services, clock, open_store):
    def looks(store):
        store.lines.announce_due(now=clock.now_ms(), until=clock.now_ms())
        return services.announced().count(case.line)

    store = open_store()
    assert [looks(store), looks(store)] == [1, 0]
    clock.advance(299)
    assert looks(store) == 0
    clock.advance(1)
    assert looks(store) == 1
    assert looks(open_store()) == 1  # another process knows of nothing, and does no harm


def test_what_is_under_lease_is_not_taken_however_often_it_is_announced(case):
    case.take(lease_s=60)
    case.store.lines.announce_due(now=NOW + 1, until=NOW + 1)
    assert case.take(now=NOW + 1) == []


def test_what_is_owed_again_is_announced_and_taken_though_it_was_under_lease(case, services):
    case.take(lease_s=60)
    assert case.store.deliveries.owe_again([case.first.webhook_id], now=NOW + 1) == 1
    assert services.announced() == [case.line]
    assert case.take(now=NOW + 1) == [case.first]


def test_a_lease_by_announcement_holds_for_those_who_look_at_the_index(case, open_store):
    case.take(lease_s=60)
    looking = open_store().deliveries
    assert case.first not in [due.owed for due in looking.take_due(now=NOW + 59_999, limit=1_000, lease_s=60)]
    assert case.first in [due.owed for due in looking.take_due(now=NOW + 60_000, limit=1_000, lease_s=60)]
    assert case.take(now=NOW + 60_000) == []


def test_a_message_that_stands_behind_another_is_not_announced(case, services):
    case.store.deliveries.owe(
        owed_delivery("msg-3" + case.to, to=case.to, contract_id=case.line.contract_id, revision=3)
    )
    assert services.announced() == []


def test_lines_are_announced_in_tens(case, services, open_store):
    hooked = services.hooked()
    lines = [Line(organization_id=case.to, contract_id=f"contract-{number}") for number in range(25)]
    open_store(hooked).lines.announce(lines, delay_s=3)
    assert hooked.sqs.operations == ["send_message_batch"] * 3
    assert services.announced() == []


def test_a_store_whose_deliverer_looks_for_itself_tells_nobody(services, open_store):
    names = replace(services.names, announces=False)
    Case(open_store(replace(services, names=names)))
    assert services.announced() == []
