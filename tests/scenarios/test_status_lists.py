"""Status lists: what is done to an mPass, or to its MO, is what its MO's list says from then on."""

import pytest

from moneta.application import mpasses
from moneta.application.status_lists import build_status_list, place_in_lists, status_list_uri
from moneta.domain.errors import NotFoundError
from moneta.domain.limits import STATUS_LIST_PLACES
from moneta.domain.status_places import ListedStatus, list_id
from moneta.signing.status_list import verify_status_list
from tests.hub import MO, PUBLISHER

VALID, INVALID, SUSPENDED = ListedStatus


@pytest.fixture
def mo(house):
    return house.register(MO, "ACME")


def change(house, holder, mpass_id, status, **members):
    mpasses.change_mpass_status(house.hub, house.caller(holder), mpass_id, {"status": status, **members})


def place_of(house, mpass_id):
    return house.hub.directory.mpasses([mpass_id])[mpass_id].status_place


def read_list(house, mo, number=0):
    uri = status_list_uri(house.hub, mo.organization_id, number)
    token = build_status_list(house.hub, list_id(mo.organization_id, number)).token
    key = house.hub.signer.current().public
    return verify_status_list(token, lambda _kid, _iat: key, uri=uri, now=house.hub.now_s())


def told(house, mo, mpass_id):
    place = place_of(house, mpass_id)
    return read_list(house, mo, place.list_number).status(place.index)


LOCK, UNLOCK, REVOKE = ("Locked", {}), ("Active", {}), ("Revoked", {})
BY_USER = {"on_behalf_of": "user"}
STEPS = {
    "as it was issued": ([], VALID),
    "locked": ([LOCK], SUSPENDED),
    "unlocked": ([LOCK, UNLOCK], VALID),
    "locked by two, unlocked by one": ([LOCK, ("Locked", BY_USER), UNLOCK], SUSPENDED),
    "unlocked by both": ([LOCK, ("Locked", BY_USER), UNLOCK, ("Active", BY_USER)], VALID),
    "revoked": ([REVOKE], INVALID),
    "locked, then revoked": ([LOCK, REVOKE], INVALID),
}


@pytest.mark.parametrize("steps", STEPS)
def test_the_list_says_what_was_done_to_the_mpass(house, mo, steps):
    mpass_id, other = house.issue_mpass(mo), house.issue_mpass(mo)
    done, expected = STEPS[steps]
    for status, members in done:
        change(house, mo, mpass_id, status, **members)
    assert (told(house, mo, mpass_id), told(house, mo, other)) == (expected, VALID)


# The MO's own status, and what the list then says of a valid, a locked and a revoked mPass.
OF_THE_MO = {
    "Active": (VALID, SUSPENDED, INVALID),
    "Suspended": (SUSPENDED, SUSPENDED, INVALID),
    "Destroyed": (INVALID, INVALID, INVALID),
}


@pytest.mark.parametrize("status", OF_THE_MO)
def test_what_the_mo_is_goes_for_its_whole_list(house, mo, status):
    valid, locked, revoked = (house.issue_mpass(mo) for _ in range(3))
    change(house, mo, locked, "Locked")
    change(house, mo, revoked, "Revoked")
    if status != "Active":
        house.set_status(mo, status)
    assert tuple(told(house, mo, one) for one in (valid, locked, revoked)) == OF_THE_MO[status]


def test_a_reactivated_mos_list_says_again_what_its_passes_are(house, mo):
    valid, locked = house.issue_mpass(mo), house.issue_mpass(mo)
    change(house, mo, locked, "Locked")
    for status in ("Suspended", "Active"):
        house.set_status(mo, status)
    assert (told(house, mo, valid), told(house, mo, locked)) == (VALID, SUSPENDED)


def test_a_list_has_a_place_for_each_of_its_passes_and_no_more(house, mo):
    house.issue_mpass(mo)
    found = read_list(house, mo)
    assert len(found.statuses) * 4 == STATUS_LIST_PLACES


def test_every_mpass_of_a_batch_gets_a_place_of_its_own(house, mo):
    one = house.hub.directory.mpasses([house.issue_mpass(mo)])
    batch = place_in_lists(house.hub, tuple(one.values()) * 500)
    places = {(each.status_place.list_number, each.status_place.index) for each in batch}
    assert len(places) == 500
    assert house.hub.directory.status_positions_given(mo.organization_id) == 501


def test_the_next_list_begins_when_one_is_full(house, mo):
    house.hub.directory.take_status_positions(
        mo.organization_id, STATUS_LIST_PLACES, sealed_secret=house.hub.sealer.seal(b"secret")
    )
    mpass_id = house.issue_mpass(mo)
    change(house, mo, mpass_id, "Locked")
    assert place_of(house, mpass_id).list_number == 1
    assert told(house, mo, mpass_id) == SUSPENDED
    assert read_list(house, mo, 0).status(place_of(house, mpass_id).index) == VALID


def test_there_is_no_list_in_which_nothing_was_given(house, mo):
    publisher = house.register(PUBLISHER, "NEWS")
    house.issue_mpass(mo)
    asked = [list_id(mo.organization_id, 1), list_id(publisher.organization_id, 0), list_id("stranger", 0), "no list"]
    for one in asked:
        with pytest.raises(NotFoundError):
            build_status_list(house.hub, one)
