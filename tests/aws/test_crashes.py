"""A process dies before or after any of its calls: whoever comes next completes the change, once and whole."""

import uuid
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from moneta.adapters.aws.dynamodb import Table
from moneta.application.ports import (
    Change,
    ContractQuery,
    DeliveryQuery,
    DeliveryStatus,
    DirectoryChange,
    EventStatus,
    EventType,
    Line,
)
from moneta.domain.mpass_policies import Spending
from tests.aws.conftest import Crash, crash_at
from tests.conformance.builders import (
    NOW,
    NOW_S,
    PUBLISHER,
    declined,
    delivered,
    finalized,
    mpass,
    new_event,
    owed_delivery,
    owing,
    rejected,
    submitted,
)

pytestmark = pytest.mark.dynamodb

CALLS_MAX = 60
"""More than any change makes: a scenario that does not end by then fails."""
MOMENTS = ["before", "after"]


class Scenario:
    """A change of a contract of its own, with what must be there before it and after it."""

    def __init__(self, store):
        self.name = uuid.uuid4().hex
        self.mo, self.publisher = f"mo-{self.name}", f"publisher-{self.name}"
        self.event = new_event(f"event-{self.name}", source=self.mo, contract_id=self.name)
        self.owed = owed_delivery(f"msg-{self.name}", to=self.publisher, contract_id=self.name)
        self.parties = {"mo": self.mo, "publisher": self.publisher, "mpass": f"mpass-{self.name}"}
        self.prepare(store)

    def prepare(self, store):
        store.events.accept([self.event])

    def again(self):
        """What the event is judged to be when its own step stands already."""
        return Change(contract_id=self.name, read_revision=0, outcome=rejected(self.event))

    def check(self, store):
        self.check_event(store, EventStatus.PROCESSED)
        assert [record.owed for record in self.deliveries(store)] == [self.owed]

    def check_event(self, store, status):
        assert store.events.find(self.event.source, self.event.event_id).status is status
        assert not store.events.has_unprocessed(self.name, received_before=NOW + 1)

    def deliveries(self, store):
        return store.deliveries.list(DeliveryQuery(visible_to=None, limit=10, contract_id=self.name)).items

    def listed(self, store):
        """Return status and revision of the contract in every list that must show it."""
        (contract,) = store.contracts.read([self.name]).values()
        queries = [{"mo_id": self.mo}, {"publisher_id": self.publisher}, {"mpass_id": self.parties["mpass"]}]
        pages = [store.contracts.list(ContractQuery(visible_to=None, limit=2, **one)).items for one in queries]
        assert [[item.contract_id for item in items] for items in pages] == [[self.name]] * 3
        ((summary,), _, _) = pages
        by_status = ContractQuery(visible_to=self.mo, limit=9, status=summary.status, mo_id=self.mo)
        assert [item.contract_id for item in store.contracts.list(by_status).items] == [self.name]
        assert summary.revision == contract.revision
        return summary.status, summary.revision


class Submission(Scenario):
    def change(self):
        return submitted(self.name, event=self.event, owed=[self.owed], expires_at=NOW_S + 60, **self.parties)

    def check(self, store):
        super().check(store)
        assert self.listed(store) == ("pending_publisher_signature", 1)


class Completion(Scenario):
    def prepare(self, store):
        store.contracts.commit([submitted(self.name, expires_at=NOW_S + 60, **self.parties)])
        self.event = replace(self.event, source=self.publisher)
        self.owed = replace(self.owed, organization_id=self.mo, revision=2)
        store.events.accept([self.event])

    def change(self):
        return finalized(self.name, event=self.event, owed=[self.owed])

    def check(self, store):
        super().check(store)
        assert self.listed(store) == ("finalized", 2)


class Issuance(Submission):
    """A submission whose step issues an mPass, in one transaction."""

    COUNT = 1

    def change(self):
        return replace(super().change(), directory=DirectoryChange(mpasses=self.mpasses))

    @property
    def mpasses(self):
        numbers = range(self.COUNT)
        return tuple(mpass(f"{self.name}-{one}", mo=self.mo, number=f"{self.name}{one}") for one in numbers)

    def check(self, store):
        super().check(store)
        assert store.directory.mpasses([one.mpass_id for one in self.mpasses]) == {
            one.mpass_id: one for one in self.mpasses
        }


class BatchIssuance(Issuance):
    """The same with more of them than a transaction takes: what the step carries is put after it."""

    COUNT = 60


class Purchase(Submission):
    """A submission that spends of an mPass's limits: counted once, whoever dies."""

    @property
    def spending(self):
        mpass_id = self.parties["mpass"]
        return tuple(
            Spending(mpass_id=mpass_id, currency="EUR", period=period, units=7, limit_units=10)
            for period in ("2026-11-18", "2026-11")
        )

    def change(self):
        return replace(super().change(), spending=self.spending)

    def check(self, store):
        super().check(store)
        assert store.directory.spent([one.key for one in self.spending]) == {one.key: 7 for one in self.spending}


class Rejection(Scenario):
    def prepare(self, store):
        super().prepare(store)
        self.owed = replace(self.owed, organization_id=self.mo, revision=0, problem=b"{}")

    def change(self):
        return Change(contract_id=self.name, read_revision=0, outcome=rejected(self.event), owed=(self.owed,))

    def check(self, store):
        self.check_event(store, EventStatus.REJECTED)
        assert [record.owed for record in self.deliveries(store)] == [self.owed]
        assert store.contracts.read([self.name]) == {}


EVENT_SCENARIOS = [Submission, Completion, Issuance, BatchIssuance, Purchase, Rejection]


def crashed_stores(open_store, services, moment):
    """Give, call by call, a store whose process dies there; ``survived`` says when no call is left to die at."""
    for number in range(CALLS_MAX):
        yield open_store(services.hooked(**{moment: crash_at(number)}))
    raise AssertionError(f"the change makes more than {CALLS_MAX} calls")


def dies(store, change):
    """Commit, and tell whether the process died of it."""
    try:
        store.contracts.commit([change])
    except Crash:
        return True
    return False


def issued(store, scenario):
    return store.directory.list_mpasses(mo_id=scenario.mo, status=None, now=NOW, limit=9, cursor=None).items


def raws(store):
    """Take what is in the queue, and return the bytes of each event."""
    return [event.raw for event in store.queue.take(limit=100, lease_s=1)]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", EVENT_SCENARIOS)
def test_the_same_change_again_completes_it(open_store, services, kind, moment):
    for crashing in crashed_stores(open_store, services, moment):
        scenario = kind(open_store())
        change = scenario.change()
        is_dead = dies(crashing, change)
        (answer,) = open_store().contracts.commit([change])
        assert answer in ({"committed", "duplicate"} if is_dead else {"duplicate"})
        scenario.check(open_store())
        assert Line(organization_id=scenario.owed.organization_id, contract_id=scenario.name) in services.announced()
        if not is_dead:
            return


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", [Submission, Completion, Issuance, BatchIssuance, Purchase])
def test_an_event_that_is_judged_anew_after_its_step_keeps_its_first_outcome(open_store, services, kind, moment):
    for crashing in crashed_stores(open_store, services, moment):
        scenario = kind(open_store())
        before = open_store().contracts.read([scenario.name])
        is_dead = dies(crashing, scenario.change())
        has_step = open_store().contracts.read([scenario.name]) != before
        (answer,) = open_store().contracts.commit([scenario.again()])
        assert answer == ("duplicate" if has_step else "committed")
        if has_step:
            scenario.check(open_store())
        else:
            scenario.check_event(open_store(), EventStatus.REJECTED)
            assert scenario.deliveries(open_store()) == []
            assert issued(open_store(), scenario) == []
        if not is_dead:
            return


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", EVENT_SCENARIOS)
def test_the_relay_completes_what_was_committed_and_nothing_else(open_store, services, kind, moment):
    for crashing in crashed_stores(open_store, services, moment):
        scenario = kind(open_store())
        before = open_store().contracts.read([scenario.name])
        is_dead = dies(crashing, scenario.change())
        open_store().relay.complete_waiting()
        event = open_store().events.find(scenario.event.source, scenario.event.event_id)
        if event.status is EventStatus.ACCEPTED:
            assert open_store().contracts.read([scenario.name]) == before
            assert scenario.deliveries(open_store()) == []
        else:
            scenario.check(open_store())
        if not is_dead:
            return


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", [Submission, Completion, Issuance, BatchIssuance, Purchase])
def test_a_step_that_the_stream_tells_of_is_finished_but_for_what_the_queue_brings_back(
    open_store, services, kind, moment
):
    for crashing in crashed_stores(open_store, services, moment):
        scenario = kind(open_store())
        change = scenario.change()
        before = open_store().contracts.read([scenario.name])
        is_dead = dies(crashing, change)
        if open_store().contracts.read([scenario.name]) != before:
            steps = [(scenario.name, change.step.revision)]
            first = open_store().relay.complete(steps * 2)
            assert (first in {0, 1}, open_store().relay.complete(steps)) == (True, 0)
            assert [record.owed for record in scenario.deliveries(open_store())] == [scenario.owed]
            assert list(open_store().contracts.commit([scenario.again()])) == ["duplicate"]
            scenario.check(open_store())
        if not is_dead:
            return


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("sweep", ["due_to_expire", "pending_with"])
def test_an_end_by_a_timer_is_completed_by_the_next_sweep(open_store, services, sweep, moment):
    for crashing in crashed_stores(open_store, services, moment):
        scenario = Submission(open_store())
        open_store().contracts.commit([scenario.change()])
        owed = replace(scenario.owed, webhook_id=f"end-{scenario.name}", revision=2, owed_at=NOW + 1)
        change = declined(scenario.name, owed=[owed])
        is_dead = dies(crashing, change)
        store = open_store()
        if sweep == "pending_with":
            found = store.contracts.pending_with(scenario.mo, limit=10, cursor=None).items
        else:
            found = store.contracts.due_to_expire(before=NOW_S + 60, limit=1000)
        is_open = scenario.name in found
        assert is_open == (store.contracts.read([scenario.name])[scenario.name].revision == 1)
        if is_open:
            assert list(open_store().contracts.commit([change])) == ["committed"]
        assert [record.owed.webhook_id for record in scenario.deliveries(store)] == [
            owed.webhook_id,
            scenario.owed.webhook_id,
        ]
        assert scenario.listed(open_store()) == ("declined", 2)
        if not is_dead:
            return


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_attempt_and_the_event_in_its_answer_are_both_written_in_the_end(open_store, services, moment):
    for crashing in crashed_stores(open_store, services, moment):
        name = uuid.uuid4().hex
        first = owed_delivery(f"msg-{name}", contract_id=name)
        second = owed_delivery(f"end-{name}", contract_id=name, revision=2, at=NOW + 1)
        open_store().contracts.commit([owing(first, second)])
        answer = new_event(first.webhook_id, source=first.organization_id, contract_id=name, kind=EventType.SIGN)
        result = delivered(first, answer=answer, at=NOW + 2)
        try:
            crashing.deliveries.record([result])
            is_dead = False
        except Crash:
            is_dead = True
        store = open_store()
        store.deliveries.record([result])
        record = store.deliveries.find(first.webhook_id)
        assert (record.status, len(record.attempts)) == (DeliveryStatus.DELIVERED, 1)
        assert store.events.find(PUBLISHER, first.webhook_id).digest == answer.digest
        assert raws(store) == [answer.raw]
        due = store.deliveries.take_due(now=NOW + 2, limit=1000, lease_s=60)
        assert second in [one.owed for one in due]
        if not is_dead:
            return


@pytest.mark.parametrize("number", range(12))
def test_a_step_stands_over_a_rejection_that_overtook_it(open_store, services, number):
    """Another worker settles the same event as rejected, at any point of the first one's commit."""
    scenario = Submission(open_store())

    def reject(at):
        if at == number:
            open_store().contracts.commit([scenario.again()])

    (answer,) = open_store(services.hooked(before=reject)).contracts.commit([scenario.change()])
    store = open_store()
    if store.contracts.read([scenario.name]):
        scenario.check(store)
    else:
        assert answer == "duplicate"
        assert store.events.find(scenario.mo, scenario.event.event_id).status is EventStatus.REJECTED


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_messages_of_an_unfinished_step_go_into_line_before_those_of_the_next(open_store, services, moment):
    for crashing in crashed_stores(open_store, services, moment):
        scenario = Submission(open_store())
        is_dead = dies(crashing, scenario.change())
        store = open_store()
        if store.contracts.read([scenario.name]):
            owed = replace(scenario.owed, webhook_id=f"end-{scenario.name}", revision=2, owed_at=NOW + 1)
            assert list(store.contracts.commit([declined(scenario.name, owed=[owed])])) == ["committed"]
            taken = [one.owed for one in store.deliveries.take_due(now=NOW + 1, limit=1000, lease_s=60)]
            assert scenario.owed in taken
            assert owed not in taken
            assert scenario.listed(store) == ("declined", 2)
        if not is_dead:
            return


def test_tables_are_made_and_dropped_once_however_often_a_call_is_tried(services, clock):
    names = replace(services.names, table_prefix=f"twice-{uuid.uuid4().hex[:12]}-")
    store = replace(services, names=names).store(clock)
    store.create_tables()
    store.create_tables()
    store.delete_tables()
    store.delete_tables()
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        services.dynamodb.describe_table(TableName=store.db.table_name(Table.EVENTS))
