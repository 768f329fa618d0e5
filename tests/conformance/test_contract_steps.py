"""The port ``ContractStore``: a step on two contracts at once, and ends by silence."""

from dataclasses import replace

import pytest

from moneta.application.ports import Committed, ContractQuery
from moneta.domain.contracts import status_of
from tests.conformance.builders import NOW_S, finalized, new_event, race, submitted, superseding, waiting

COMMITTED, DUPLICATE, CONFLICT = Committed.COMMITTED, Committed.DUPLICATE, Committed.CONFLICT


@pytest.fixture
def old(store):
    """Commit a finalized contract ``old``, and a pending ``contract-1`` and ``other``."""
    assert set(store.contracts.commit([submitted("old"), submitted("contract-1"), submitted("other")])) == {COMMITTED}
    assert store.contracts.commit([finalized("old")]) == [COMMITTED]
    return store


def listed(store, status):
    page = store.contracts.list(ContractQuery(visible_to=None, limit=9, status=status))
    return {item.contract_id: (item.revision, item.finalized_at) for item in page.items}


def test_the_step_on_the_older_contract_is_written_with_the_later_one_s(old):
    finalized_at = old.contracts.read(["old"])["old"].finalized_at
    change = replace(finalized("contract-1"), supersedes=superseding())
    assert old.contracts.commit([change]) == [COMMITTED]
    found = old.contracts.read(["old", "contract-1"])
    assert (status_of(found["old"]), found["old"].superseded_by) == ("superseded", "contract-1")
    assert (found["old"].revision, found["old"].finalized_at) == (3, finalized_at)
    assert found["old"].receipt is not None
    assert listed(old, "superseded") == {"old": (3, finalized_at)}
    assert list(listed(old, "finalized")) == ["contract-1"]


def test_both_steps_are_written_or_none_is(old):
    assert old.contracts.commit([replace(finalized("other"), supersedes=superseding(by="other"))]) == [COMMITTED]
    assert old.contracts.commit([replace(finalized("contract-1"), supersedes=superseding())]) == [CONFLICT]
    found = old.contracts.read(["old", "contract-1"])
    assert (found["old"].superseded_by, found["contract-1"].revision) == ("other", 1)
    assert old.contracts.commit([replace(finalized("other"), supersedes=superseding(revision=4))]) == [CONFLICT]
    assert old.contracts.read(["old"])["old"].revision == 3


def test_of_a_race_for_the_older_contract_exactly_one_wins(old):
    changes = [replace(finalized(one), supersedes=superseding(by=one)) for one in ("contract-1", "other")]
    answers = race([lambda change=change: old.contracts.commit([change])[0] for change in changes])
    assert sorted(answers) == [COMMITTED, CONFLICT]
    found = old.contracts.read(["old", "contract-1", "other"])
    winner = changes[answers.index(COMMITTED)].contract_id
    assert found["old"].superseded_by == winner
    revisions = {name: found[name].revision for name in ("contract-1", "other")}
    assert revisions == {"contract-1": 1, "other": 1, winner: 2}


def test_committing_it_again_changes_nothing(old):
    event = new_event(contract_id="contract-1")
    old.events.accept([event])
    change = replace(finalized("contract-1", event=event), supersedes=superseding())
    assert old.contracts.commit([change]) == [COMMITTED]
    assert old.contracts.commit([change]) == [DUPLICATE]
    assert old.contracts.read(["old"])["old"].revision == 3


@pytest.mark.parametrize("term", [None, NOW_S + 5_000, NOW_S + 100])
def test_a_contract_ends_by_its_term_or_by_silence_whichever_is_earlier(store, term):
    deem_at = NOW_S + 1_000
    ends_at = deem_at if term is None else min(term, deem_at)
    store.contracts.commit([submitted(expires_at=term)])
    assert store.contracts.commit([waiting(deem_at=deem_at)]) == [COMMITTED]
    assert store.contracts.read(["contract-1"])["contract-1"].ends_at == ends_at
    assert store.contracts.next_expiry() == ends_at
    assert store.contracts.due_to_expire(before=ends_at - 1, limit=9) == []
    assert store.contracts.due_to_expire(before=ends_at, limit=9) == ["contract-1"]
    assert store.contracts.commit([replace(finalized(revision=3), read_revision=2)]) == [COMMITTED]
    assert store.contracts.next_expiry() is None
    assert store.contracts.due_to_expire(before=ends_at, limit=9) == []


def test_a_contract_that_begins_with_what_silence_counts_for_has_its_moment_from_the_first_step(store):
    change = submitted()
    assert store.contracts.commit([replace(change, step=replace(change.step, deem_at=NOW_S + 50))]) == [COMMITTED]
    assert store.contracts.next_expiry() == NOW_S + 50
    assert store.contracts.due_to_expire(before=NOW_S + 50, limit=9) == ["contract-1"]
