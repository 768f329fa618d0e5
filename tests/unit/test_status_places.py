"""Places in status lists: each position has its own, in an order that only who knows the secret can tell."""

from itertools import pairwise

import pytest

from moneta.domain.limits import STATUS_LIST_PLACES
from moneta.domain.status_places import TakenPositions, list_id, parse_list_id, places_of

SECRET = bytes(range(32))


def places(first, count, secret=SECRET):
    return places_of(TakenPositions(first=first, count=count, sealed_secret=b""), secret)


def test_a_list_gives_every_place_once():
    given = places(0, STATUS_LIST_PLACES)
    assert {place.index for place in given} == set(range(STATUS_LIST_PLACES))
    assert {place.list_number for place in given} == {0}


def test_the_next_list_begins_where_one_is_full():
    before, after = places(STATUS_LIST_PLACES - 1, 2)
    assert (before.list_number, after.list_number) == (0, 1)


def test_places_do_not_depend_on_how_many_are_taken_at_once():
    assert [*places(0, 3), *places(3, 4)] == list(places(0, 7))


def test_neighbours_in_time_are_no_neighbours_in_the_list():
    given = [place.index for place in places(0, 1000)]
    near = sum(abs(one - other) < 64 for one, other in pairwise(given))
    assert near < 20  # by chance two in a thousand are so near


@pytest.mark.parametrize("other", [places(0, 50, bytes(32)), places(STATUS_LIST_PLACES, 50)], ids=["secret", "list"])
def test_each_list_of_each_mo_has_an_order_of_its_own(other):
    assert [place.index for place in other] != [place.index for place in places(0, 50)]


def test_the_order_stays_what_it_is():
    # Places of passes that are issued are never computed again; that the rule stays the same is for the next ones.
    assert [place.index for place in places(0, 3)] == [8143, 16145, 14894]


def test_an_id_names_its_list():
    assert parse_list_id(list_id("mo.1", 12)) == ("mo.1", 12)


@pytest.mark.parametrize(
    "text", ["", "mo-1", "mo-1.", ".1", "mo-1.01", "mo-1.-1", "mo-1.1234567890", "m o.1", "mo-1.1\n"]
)
def test_what_no_list_has_is_no_id(text):
    assert parse_list_id(text) is None
