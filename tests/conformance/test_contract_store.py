"""The port ``ContractStore``: changes, each whole or not at all."""

from dataclasses import replace

import pytest

from moneta.application.ports import Change, Committed, DeliveryQuery, EventStatus
from moneta.domain.contracts import assemble
from moneta.domain.templates import Role
from tests.conformance.builders import (
    MO,
    NOW,
    PUBLISHER,
    body_bytes,
    decline_step,
    declined,
    finalized,
    first_step,
    last_step,
    new_event,
    owed_delivery,
    processed,
    race,
    rejected,
    signature,
    submitted,
)

COMMITTED, DUPLICATE, CONFLICT = Committed


def commit(store, *changes):
    return list(store.contracts.commit(changes))


def accepted(store, *events):
    store.events.accept(events)
    return events if len(events) > 1 else events[0]


def contract_of(store, contract_id="contract-1"):
    return store.contracts.read([contract_id])[contract_id]


def test_a_committed_contract_is_read_as_its_steps_add_up(store):
    assert commit(store, submitted()) == [COMMITTED]
    assert contract_of(store) == assemble([first_step("contract-1")])
    assert commit(store, finalized()) == [COMMITTED]
    assert contract_of(store) == assemble([first_step("contract-1"), last_step("contract-1")])


def test_an_act_is_read_as_it_was_committed(store):
    commit(
        store,
        submitted(),
    )
    commit(store, declined())
    assert contract_of(store) == assemble([first_step("contract-1"), decline_step("contract-1")])


@pytest.mark.parametrize(
    "actor", ["moneta_core", "mo-1", "0a9d1c1e-7c36-4b6f-9f0e-3f6b1f9b2d11", "0A9D1C1E-7C36-4B6F-9F0E-3F6B1F9B2D11"]
)
def test_whoever_acted_is_read_by_the_same_name(store, actor):
    commit(store, submitted(actor=actor))
    assert [line.actor for line in contract_of(store).log] == [actor, actor, "moneta_core"]


def test_the_bodys_bytes_come_back_as_they_were(store):
    raw = body_bytes("contract-1").replace(b'"version": 1', b'"version"\t:  1') + b"\n"
    commit(store, submitted(raw_body=raw))
    assert contract_of(store).body_bytes == raw


def test_a_contract_of_the_largest_size_fits(store):
    step = first_step("contract-1", description="d" * 900)
    raw = step.start.body_bytes[:-1] + b" " * (128 * 1024 - len(step.start.body_bytes)) + b"}"
    many = tuple(signature(Role.MO, algorithm="RS256", signed_at=number, prev="x" * 1300) for number in range(16))
    step = replace(step, start=replace(step.start, body_bytes=raw), signatures=many)
    assert commit(store, replace(submitted(), step=step)) == [COMMITTED]
    assert contract_of(store) == assemble([step])


def test_what_does_not_exist_is_left_out(store):
    commit(store, submitted("contract-1"), submitted("contract-2"))
    found = store.contracts.read(["contract-2", "contract-0", "contract-1"])
    assert found.keys() == {"contract-1", "contract-2"}
    assert found["contract-2"].contract_id == "contract-2"
    assert store.contracts.read([]) == {}


def test_many_contracts_are_read_at_once(store):
    names = [f"contract-{number}" for number in range(130)]
    commit(store, *(submitted(name) for name in names))
    found = store.contracts.read([*names, "another"])
    assert {name: contract.contract_id for name, contract in found.items()} == {name: name for name in names}


def test_a_contract_is_read_as_it_was_at_a_revision(store):
    commit(store, submitted(), submitted("contract-2"))
    commit(store, finalized())
    places = [("contract-1", 1), ("contract-1", 2), ("contract-1", 3), ("contract-2", 1), ("contract-9", 1)]
    found = store.contracts.read_at(places)
    assert found == {
        ("contract-1", 1): assemble([first_step("contract-1")]),
        ("contract-1", 2): assemble([first_step("contract-1"), last_step("contract-1")]),
        ("contract-2", 1): assemble([first_step("contract-2")]),
    }


def test_an_outcome_is_recorded_with_what_the_event_caused(store):
    event = accepted(store, new_event())
    owed = owed_delivery()
    assert commit(store, submitted(event=event, owed=[owed])) == [COMMITTED]
    found = store.events.find(MO, "event-1")
    assert (found.status, found.processed_at, found.problem) == (EventStatus.PROCESSED, NOW + 5, None)
    assert found.digest == event.digest
    assert store.deliveries.find("msg-1").owed == owed


def test_a_rejected_event_creates_no_contract_and_is_reported(store):
    event = accepted(store, new_event())
    owed = replace(owed_delivery(to=MO, revision=0), problem=b'{"code":"wrong_signer"}')
    change = Change(contract_id="contract-1", read_revision=0, outcome=rejected(event), owed=(owed,))
    assert commit(store, change) == [COMMITTED]
    found = store.events.find(MO, "event-1")
    assert (found.status, found.problem) == (EventStatus.REJECTED, b'{"code":"wrong_signer"}')
    assert store.contracts.read(["contract-1"]) == {}
    assert store.deliveries.find("msg-1").owed == owed


def test_an_event_has_one_outcome(store):
    event = accepted(store, new_event())
    commit(store, submitted(event=event))
    late = Change(contract_id="contract-1", read_revision=1, outcome=rejected(event), owed=(owed_delivery("msg-2"),))
    assert commit(store, late) == [DUPLICATE]
    assert store.events.find(MO, "event-1").status is EventStatus.PROCESSED
    assert store.deliveries.find("msg-2") is None


def test_committing_the_same_change_again_changes_nothing(store):
    event = accepted(store, new_event())
    change = submitted(event=event, owed=[owed_delivery()])
    assert [commit(store, change), commit(store, change)] == [[COMMITTED], [DUPLICATE]]
    assert contract_of(store).revision == 1
    assert len(store.deliveries.list(DeliveryQuery(visible_to=None, limit=10)).items) == 1


def test_what_a_timer_causes_needs_no_event_and_happens_once(store):
    commit(store, submitted())
    change = declined(owed=[owed_delivery("msg-end", revision=2)])
    assert [commit(store, change), commit(store, change)] == [[COMMITTED], [CONFLICT]]
    assert contract_of(store).revision == 2


@pytest.mark.parametrize("read_revision", [0, 2, 3])
def test_a_change_that_was_judged_on_another_revision_changes_nothing(store, read_revision):
    commit(store, submitted())
    event = accepted(store, new_event("event-2", source=PUBLISHER))
    step = last_step("contract-1", revision=read_revision + 1)
    if read_revision == 0:
        step = first_step("contract-1", description="another")
    change = Change(
        contract_id="contract-1",
        read_revision=read_revision,
        outcome=processed(event),
        step=step,
        owed=(owed_delivery("msg-2", revision=2),),
        status="finalized",
    )
    assert commit(store, change) == [CONFLICT]
    assert contract_of(store) == assemble([first_step("contract-1")])
    assert store.events.find(PUBLISHER, "event-2").status is EventStatus.ACCEPTED
    assert store.deliveries.find("msg-2") is None


def test_a_change_of_a_contract_that_does_not_exist_is_a_conflict(store):
    assert commit(store, finalized()) == [CONFLICT]
    assert store.contracts.read(["contract-1"]) == {}


def test_without_a_step_the_revision_is_not_checked(store):
    commit(store, submitted())
    commit(store, finalized())
    event = accepted(store, new_event("event-3"))
    assert commit(store, Change(contract_id="contract-1", read_revision=1, outcome=rejected(event))) == [COMMITTED]
    assert contract_of(store).revision == 2


def test_each_change_of_a_batch_has_its_own_outcome(store):
    events = accepted(store, *(new_event(f"event-{number}", contract_id=f"contract-{number}") for number in range(5)))
    commit(store, submitted("contract-0", event=events[0]), submitted("contract-1"))
    batch = [
        submitted("contract-0", event=events[0]),
        submitted("contract-1", event=events[1]),
        submitted("contract-2", event=events[2]),
        Change(contract_id="contract-3", read_revision=0, outcome=rejected(events[3])),
        finalized("contract-4", event=events[4]),
    ]
    assert commit(store, *batch) == [DUPLICATE, CONFLICT, COMMITTED, COMMITTED, CONFLICT]
    statuses = [store.events.find(MO, event.event_id).status for event in events]
    assert statuses == ["processed", "accepted", "processed", "rejected", "accepted"]
    assert store.contracts.read([f"contract-{number}" for number in range(5)]).keys() == {
        "contract-0",
        "contract-1",
        "contract-2",
    }


def test_no_changes_are_no_work(store):
    assert commit(store) == []


def test_a_delivery_that_is_owed_already_is_owed_once(store):
    commit(store, submitted(owed=[owed_delivery()]))
    commit(store, finalized(owed=[owed_delivery(), owed_delivery("msg-2", revision=2)]))
    found = store.deliveries.list(DeliveryQuery(visible_to=None, limit=10)).items
    assert sorted(record.owed.webhook_id for record in found) == ["msg-1", "msg-2"]


def test_of_a_race_on_one_contract_exactly_one_wins(store):
    commit(store, submitted())
    events = accepted(store, *(new_event(f"event-{number}", source=PUBLISHER) for number in range(8)))
    changes = [
        finalized(event=event, at=NOW + number, owed=[owed_delivery(f"msg-{number}", revision=2)])
        for number, event in enumerate(events)
    ]
    answers = [answer for (answer,) in race([lambda one=one: commit(store, one) for one in changes])]
    assert sorted(answers) == [COMMITTED] + [CONFLICT] * 7
    winner = answers.index(COMMITTED)
    assert contract_of(store) == assemble([first_step("contract-1"), changes[winner].step])
    has_outcome = [store.events.find(PUBLISHER, event.event_id).processed_at is not None for event in events]
    is_owed = [store.deliveries.find(f"msg-{number}") is not None for number in range(8)]
    assert has_outcome == is_owed == [number == winner for number in range(8)]


def test_of_a_race_for_one_contract_id_exactly_one_wins(store):
    changes = [submitted(description=f"of thread {number}") for number in range(8)]
    answers = [answer for (answer,) in race([lambda one=one: commit(store, one) for one in changes])]
    assert sorted(answers) == [COMMITTED] + [CONFLICT] * 7
    assert contract_of(store).body.description == f"of thread {answers.index(COMMITTED)}"


def test_of_a_race_with_one_event_exactly_one_is_committed(store):
    event = accepted(store, new_event())
    answers = [answer for (answer,) in race([lambda: commit(store, submitted(event=event))] * 8)]
    assert sorted(answers) == [COMMITTED] + [DUPLICATE] * 7


def test_contracts_change_in_parallel_without_a_loss(store):
    names = [f"contract-{number}" for number in range(8)]

    def live(name):
        return commit(store, submitted(name)) + commit(store, finalized(name))

    assert race([lambda name=name: live(name) for name in names]) == [[COMMITTED, COMMITTED]] * 8
    assert {contract.revision for contract in store.contracts.read(names).values()} == {2}
