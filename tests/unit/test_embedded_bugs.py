"""What can only come of a bug crashes and changes nothing; what can only come of a forger is refused."""

from dataclasses import replace

import pytest

from moneta.adapters.embedded import directory_rows
from moneta.adapters.embedded.cursors import make_cursor, read_cursor
from moneta.adapters.embedded.store import EmbeddedStore
from moneta.application.ports import Change, ContractQuery, DeliveryQuery
from moneta.domain.errors import InvalidParameterError
from moneta.domain.limits import CACHE_ENTRIES_MAX
from moneta.domain.organizations import OrganizationKind
from tests.conformance.builders import (
    HUB,
    MO,
    NOW,
    StillClock,
    change,
    delivered,
    first_step,
    last_step,
    new_event,
    organization,
    owed_delivery,
    processed,
    submitted,
)


@pytest.fixture
def store(tmp_path):
    made = EmbeddedStore.create(tmp_path, base_url=HUB, clock=StillClock())
    yield made
    made.close()


@pytest.mark.parametrize(
    "wrong",
    [
        replace(submitted(), step=last_step("contract-1", revision=1)),
        replace(submitted(), step=last_step("contract-1", revision=2)),
        replace(submitted(), step=replace(first_step("contract-1"), revision=2)),
    ],
    ids=["no start in the first", "a gap", "a start in the second"],
)
def test_a_step_that_can_not_follow_is_a_bug(store, wrong):
    good = submitted("contract-2")
    with pytest.raises(ValueError, match="cannot follow 0"):
        store.contracts.commit([good, wrong])
    assert store.contracts.read(["contract-1", "contract-2"]) == {}


def test_an_outcome_of_an_event_that_was_never_accepted_is_a_bug(store):
    orphan = Change(contract_id="contract-1", read_revision=0, outcome=processed(new_event()))
    with pytest.raises(ValueError, match="never accepted"):
        store.contracts.commit([submitted("contract-2"), orphan])
    assert store.contracts.read(["contract-2"]) == {}


def test_an_attempt_at_what_is_not_owed_is_a_bug(store):
    owed = owed_delivery()
    store.contracts.commit([submitted(owed=[owed])])
    with pytest.raises(ValueError, match="not owed"):
        store.deliveries.record([delivered(owed), delivered(owed_delivery("msg-9"))])
    assert store.deliveries.find("msg-1").attempts == ()


# Cursors.


def test_a_cursor_is_read_as_it_was_made():
    place = read_cursor(make_cursor(NOW, "contract-1", filters=("a", None, 3)), filters=("a", None, 3))
    assert (place.at, place.name) == (NOW, "contract-1")


@pytest.mark.parametrize("filters", [("a", None), ("a", 3, None), (None, "a", 3), ("a", "3", None), ()])
def test_a_cursor_is_for_its_own_filters(filters):
    with pytest.raises(InvalidParameterError):
        read_cursor(make_cursor(NOW, "contract-1", filters=("a", None, 3)), filters=filters)


@pytest.mark.parametrize("moment", [-1, 2**53, 2**63])
def test_a_cursor_of_an_impossible_moment_is_refused(moment):
    with pytest.raises(InvalidParameterError):
        read_cursor(make_cursor(moment, "contract-1", filters=()), filters=())


def test_a_cursor_that_names_what_was_never_there_is_refused(store):
    everyone = make_cursor(NOW, "nothing", filters=(None,) * 7)
    deliveries = make_cursor(0, "nothing", filters=(None,) * 3)
    sweep = make_cursor(0, "nothing", filters=("pending_with", MO))
    organizations = make_cursor(NOW, "nothing", filters=("organizations", "mo", None, None))
    for call in (
        lambda: store.contracts.list(ContractQuery(visible_to=None, limit=1, cursor=everyone)),
        lambda: store.contracts.pending_with(MO, limit=1, cursor=sweep),
        lambda: store.deliveries.list(DeliveryQuery(visible_to=None, limit=1, cursor=deliveries)),
        lambda: store.directory.list_organizations(
            OrganizationKind.MO, code=None, status=None, limit=1, cursor=organizations
        ),
    ):
        with pytest.raises(InvalidParameterError):
            call()


# The directory's cache.


def test_what_the_directory_keeps_in_memory_has_a_limit(store):
    store.directory.apply(change(organization=organization()))
    assert store.directory.organizations([MO]).keys() == {MO}
    assert store.directory.organizations([f"mo-{number}" for number in range(2, CACHE_ENTRIES_MAX + 9)]) == {}
    assert len(store.directory._cache.organizations) < CACHE_ENTRIES_MAX
    assert store.directory.organizations([MO]).keys() == {MO}


def test_what_is_kept_is_not_read_again(store):
    store.directory.apply(change(organization=organization()))
    first, second = (store.directory.organizations([MO])[MO] for _ in range(2))
    assert first is second


def test_a_value_of_an_unknown_extension_is_refused():
    with pytest.raises(ValueError, match="extension type 9"):
        directory_rows._from_extension(9, memoryview(b""))
