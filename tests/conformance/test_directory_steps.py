"""The port ``ContractStore``: what a step does to the directory is there with the step, or neither is."""

from dataclasses import replace

import pytest

from moneta.application.ports import DirectoryChange
from moneta.domain.keys import KeyStatus
from moneta.domain.mpasses import MPassStatus
from moneta.domain.organizations import OrganizationStatus
from tests.conformance.builders import (
    MO,
    NOW,
    PUBLISHER,
    change,
    finalized,
    key_with,
    locked,
    mpass,
    new_event,
    organization,
    processed,
    race,
    registered_key,
    revoked,
    submitted,
)

BATCH = 500


def with_directory(contract, **parts):
    return replace(contract, directory=DirectoryChange(**parts))


def committed(store, *changes):
    return list(store.contracts.commit(changes))


def is_there(store, contract_id="contract-1"):
    return contract_id in store.contracts.read([contract_id])


def suspended(one):
    history = (*one.history, (NOW + 1, OrganizationStatus.SUSPENDED))
    return replace(one, history=history, updated_at=NOW + 1, revision=one.revision + 1)


def many(count, *, mo=MO):
    return tuple(mpass(f"mpass-{number}", mo=mo, number=f"{mo}{number}") for number in range(count))


def test_everything_that_a_step_does_is_there_with_it(store):
    store.directory.apply(change(organization=organization()))
    key = registered_key()
    parts = {"organization": suspended(organization()), "keys": (key,), "mpasses": many(3)}
    assert committed(store, with_directory(submitted(), **parts)) == ["committed"]
    assert is_there(store)
    assert store.directory.organizations([MO]) == {MO: parts["organization"]}
    assert store.directory.keys_of([MO]) == {MO: {key.key_id: key}}
    assert store.directory.registry_position() == 1
    assert store.directory.mpasses([one.mpass_id for one in many(4)]) == {one.mpass_id: one for one in many(3)}


# fmt: off
STALE = {
    "an organization":       {"organization": organization()},
    "a key's position":      {"keys": (registered_key("another", owner=PUBLISHER),)},
    "a key that is taken":   {"keys": (registered_key(seq=2),)},
    "a changed key":         {"keys": (key_with(registered_key("never there"), KeyStatus.RETIRED, seq=2),)},
    "an mPass":              {"mpasses": (locked(mpass()), )},
    "a number":              {"mpasses": (mpass("mpass-2", number=mpass().number),)},
    "one of many numbers":   {"mpasses": (*many(BATCH), mpass("mpass-x", number=mpass().number))},
}
# fmt: on


@pytest.mark.parametrize("what", STALE)
def test_a_step_whose_directory_is_no_longer_as_it_was_read_changes_nothing(store, what):
    store.directory.apply(change(organization=organization(), keys=(registered_key(),), mpasses=(mpass(),)))
    store.directory.apply(change(mpasses=(revoked(mpass()),)))
    event = new_event()
    store.events.accept([event])
    assert committed(store, with_directory(submitted(event=event), **STALE[what])) == ["conflict"]
    assert not is_there(store)
    assert store.events.has_unprocessed(event.contract_id, received_before=NOW + 1)
    assert store.directory.organizations([MO]) == {MO: organization()}
    assert store.directory.registry_position() == 1
    assert store.directory.mpasses(["mpass-0", "mpass-1", "mpass-2", "mpass-x"]) == {"mpass-1": revoked(mpass())}


def test_the_directory_is_untouched_by_a_step_of_another_revision(store):
    committed(store, submitted())
    assert committed(store, with_directory(submitted(), mpasses=many(1))) == ["conflict"]
    assert committed(store, with_directory(replace(finalized(), read_revision=9, step=None), mpasses=())) == [
        "committed"
    ]
    assert store.directory.mpasses(["mpass-0"]) == {}


def test_the_same_step_again_does_nothing_to_the_directory(store):
    event = new_event()
    store.events.accept([event])
    once = with_directory(submitted(event=event), mpasses=many(2))
    assert committed(store, once) == ["committed"]
    store.directory.apply(change(mpasses=(locked(many(1)[0]),)))
    assert committed(store, once) == ["duplicate"]
    assert store.directory.mpasses(["mpass-0"])["mpass-0"].status_at(NOW + 1) is MPassStatus.LOCKED


def test_a_batch_of_500_mpasses_is_there_with_its_step(store):
    policy = {"limits": [{"currency": "EUR", "per": "day", "amount": "100.00"}] * 9}
    batch = tuple(replace(one, policy=policy) for one in many(BATCH))
    event = new_event()
    store.events.accept([event])
    once = with_directory(submitted(event=event), mpasses=batch)
    assert committed(store, once) == ["committed"]
    assert committed(store, once) == ["duplicate"]
    assert store.directory.mpasses([one.mpass_id for one in batch]) == {one.mpass_id: one for one in batch}
    page = store.directory.list_mpasses(mo_id=MO, status=None, now=NOW, limit=200, cursor=None)
    assert (len(page.items), page.next_cursor is None) == (200, False)
    one_more = with_directory(submitted("contract-2"), mpasses=(mpass("other", number=batch[7].number),))
    assert committed(store, one_more) == ["conflict"]


def test_of_a_race_of_steps_for_one_number_exactly_one_gets_it(store):
    def issue(number):
        one = mpass(f"mpass-{number}", number="ACME1")
        return committed(store, with_directory(submitted(f"contract-{number}"), mpasses=(one,)))[0]

    assert (
        sorted(race([lambda number=number: issue(number) for number in range(6)])) == ["committed"] + ["conflict"] * 5
    )
    issued = store.directory.list_mpasses(mo_id=MO, status=None, now=NOW, limit=9, cursor=None).items
    assert [is_there(store, one.mpass_id.replace("mpass", "contract")) for one in issued] == [True]


def test_of_a_race_of_steps_for_one_mpass_exactly_one_changes_it(store):
    store.directory.apply(change(mpasses=(mpass(),)))

    def change_it(number):
        return committed(store, with_directory(submitted(f"contract-{number}"), mpasses=(locked(mpass()),)))[0]

    answers = race([lambda number=number: change_it(number) for number in range(6)])
    assert sorted(answers) == ["committed"] + ["conflict"] * 5
    assert store.directory.mpasses(["mpass-1"]) == {"mpass-1": locked(mpass())}


def test_two_steps_of_a_batch_that_touch_one_mpass_are_one_after_the_other(store):
    store.directory.apply(change(mpasses=(mpass(),)))
    first, second = (
        with_directory(submitted(name), mpasses=(locked(mpass()),)) for name in ("contract-1", "contract-2")
    )
    assert sorted(committed(store, first, second)) == ["committed", "conflict"]


def test_a_rejection_beside_a_step_goes_its_own_way(store):
    event = new_event()
    store.events.accept([event])
    outcome = replace(submitted(), step=None, outcome=processed(event))
    assert committed(store, outcome, with_directory(submitted("contract-2"), mpasses=many(1))) == ["committed"] * 2
