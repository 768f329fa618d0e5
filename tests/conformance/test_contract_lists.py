"""The port ``ContractStore``: lists, pages and terms."""

import base64
from dataclasses import replace
from itertools import chain

import pytest

from moneta.application.ports import ContractQuery
from moneta.domain.errors import InvalidParameterError
from tests.conformance.builders import MPASS, NOW, NOW_S, PENDING_STATUS, declined, finalized, submitted

EVERYTHING = ContractQuery(visible_to=None, limit=50)


def commit(store, *changes):
    assert set(store.contracts.commit(changes)) == {"committed"}


def names(store, query=EVERYTHING, **members):
    return [item.contract_id for item in store.contracts.list(replace(query, **members)).items]


def pages(store, query):
    """Return the names of each page until there is none."""
    found, cursor = [], None
    for _ in range(100):
        page = store.contracts.list(replace(query, cursor=cursor))
        found.append([item.contract_id for item in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError("the list does not end")


@pytest.fixture
def market(store):
    """Six contracts, one a second, between two MOs and two publishers; c3 is finalized and c4 declined."""
    parties = [
        ("mo-1", "pub-1"),
        ("mo-1", "pub-2"),
        ("mo-2", "pub-1"),
        ("mo-1", "pub-1"),
        ("mo-2", "pub-2"),
        ("mo-1", "pub-1"),
    ]
    for number, (mo, publisher) in enumerate(parties):
        received_at, mpass = NOW + number * 1000, f"mpass-of-{mo}"
        commit(store, submitted(f"c{number}", mo=mo, publisher=publisher, mpass=mpass, received_at=received_at))
    commit(store, finalized("c3"), declined("c4"))
    return store


def test_a_summary_has_what_a_list_shows(store):
    commit(store, submitted("c1", received_at=NOW + 7, created_at=NOW_S - 5))
    commit(store, finalized("c1", at=NOW + 9000))
    (item,) = store.contracts.list(EVERYTHING).items
    assert (item.contract_id, item.template_id, item.version) == ("c1", "transaction-contract", 1)
    assert (item.mo_id, item.publisher_id, item.mpass_id) == ("mo-1", "publisher-1", MPASS)
    assert (item.status, item.revision, item.finalized_at) == ("finalized", 2, NOW_S + 9)
    assert (item.created_at, item.received_at) == (NOW_S - 5, NOW + 7)


def test_a_contract_without_a_member_has_none_in_its_summary(store):
    commit(store, submitted("c1", mpass=None))
    (item,) = store.contracts.list(EVERYTHING).items
    assert (item.mpass_id, item.finalized_at, item.status) == (None, None, PENDING_STATUS)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "c5 c4 c3 c2 c1 c0"),
        ({"mo_id": "mo-1"}, "c5 c3 c1 c0"),
        ({"publisher_id": "pub-2"}, "c4 c1"),
        ({"mpass_id": "mpass-of-mo-2"}, "c4 c2"),
        ({"status": "finalized"}, "c3"),
        ({"status": PENDING_STATUS}, "c5 c2 c1 c0"),
        ({"status": "expired"}, ""),
        ({"mo_id": "mo-1", "publisher_id": "pub-1"}, "c5 c3 c0"),
        ({"mo_id": "mo-2", "status": "declined"}, "c4"),
        ({"publisher_id": "pub-1", "status": PENDING_STATUS}, "c5 c2 c0"),
        ({"mpass_id": "mpass-of-mo-1", "publisher_id": "pub-1", "status": "finalized"}, "c3"),
        ({"mo_id": "nobody"}, ""),
        ({"visible_to": "mo-1"}, "c5 c3 c1 c0"),
        ({"visible_to": "pub-1"}, "c5 c3 c2 c0"),
        ({"visible_to": "pub-1", "mo_id": "mo-2"}, "c2"),
        ({"visible_to": "pub-1", "publisher_id": "pub-2"}, ""),
        ({"visible_to": "mo-2", "mo_id": "mo-1"}, ""),
        ({"visible_to": "mo-2", "mpass_id": "mpass-of-mo-1"}, ""),
        ({"visible_to": "mo-1", "status": "finalized"}, "c3"),
        ({"visible_to": "nobody"}, ""),
        ({"received_from": NOW_S + 2}, "c5 c4 c3 c2"),
        ({"received_to": NOW_S + 2}, "c2 c1 c0"),
        ({"received_from": NOW_S + 1, "received_to": NOW_S + 3, "mo_id": "mo-1"}, "c3 c1"),
        ({"received_from": NOW_S + 4, "received_to": NOW_S + 3}, ""),
    ],
    ids=str,
)
def test_filters_combine_and_the_newest_comes_first(market, members, expected):
    assert names(market, **members) == expected.split()


def test_both_ends_of_a_window_are_whole_seconds(store):
    moments = {"before": NOW - 1, "first": NOW, "last": NOW + 1999, "after": NOW + 2000}
    commit(store, *(submitted(name, received_at=moment) for name, moment in moments.items()))
    assert names(store, received_from=NOW_S, received_to=NOW_S + 1) == ["last", "first"]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize(
    "members", [{}, {"visible_to": "mo-1"}, {"publisher_id": "pub-1"}, {"status": PENDING_STATUS}], ids=str
)
def test_pages_add_up_to_the_list(market, limit, members):
    query = replace(EVERYTHING, limit=limit, **members)
    found = pages(market, query)
    assert list(chain.from_iterable(found)) == names(market, **members)
    assert all(len(page) == limit for page in found[:-1])
    assert 0 < len(found[-1]) <= limit


def test_contracts_of_one_moment_are_neither_lost_nor_doubled_between_pages(store):
    commit(store, *(submitted(f"c{number}") for number in range(20)))
    found = list(chain.from_iterable(pages(store, replace(EVERYTHING, limit=3))))
    assert sorted(found) == sorted(f"c{number}" for number in range(20))


def test_what_comes_in_between_does_not_move_a_page(market):
    first = market.contracts.list(replace(EVERYTHING, limit=2))
    commit(market, submitted("new", received_at=NOW + 60_000))
    second = market.contracts.list(replace(EVERYTHING, limit=2, cursor=first.next_cursor))
    assert [item.contract_id for item in second.items] == ["c3", "c2"]


def test_a_page_may_be_of_another_size_than_the_one_before(market):
    first = market.contracts.list(replace(EVERYTHING, limit=1))
    assert names(market, limit=50, cursor=first.next_cursor) == ["c4", "c3", "c2", "c1", "c0"]


def test_a_full_last_page_has_no_cursor(market):
    assert market.contracts.list(replace(EVERYTHING, limit=6)).next_cursor is None


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "=", "not base64!", "AAAA", "é", "\x00", base64.urlsafe_b64encode(b"[1,2]").decode(), "A" * 10_000],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_no_cursor_is_refused(market, cursor):
    with pytest.raises(InvalidParameterError) as refusal:
        market.contracts.list(replace(EVERYTHING, cursor=cursor))
    assert refusal.value.facts["field"] == "cursor"


@pytest.mark.parametrize(
    "members",
    [
        {"visible_to": "mo-1"},
        {"mo_id": "mo-1"},
        {"publisher_id": "pub-1"},
        {"mpass_id": "mpass-of-mo-1"},
        {"status": PENDING_STATUS},
        {"received_from": NOW_S},
        {"received_to": NOW_S + 9},
    ],
    ids=str,
)
def test_the_cursor_of_another_query_is_refused(market, members):
    cursor = market.contracts.list(replace(EVERYTHING, limit=1)).next_cursor
    with pytest.raises(InvalidParameterError):
        market.contracts.list(replace(EVERYTHING, cursor=cursor, **members))


def test_the_cursor_of_another_caller_is_refused(market):
    own = replace(EVERYTHING, visible_to="mo-1", limit=1)
    cursor = market.contracts.list(own).next_cursor
    with pytest.raises(InvalidParameterError):
        market.contracts.list(replace(own, visible_to="pub-1", cursor=cursor))


def test_a_cursor_that_was_changed_is_refused_or_leads_nowhere_new(market):
    cursor = market.contracts.list(replace(EVERYTHING, limit=1)).next_cursor
    for place in range(len(cursor)):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        try:
            found = names(market, cursor=changed)
        except InvalidParameterError:
            continue
        assert set(found) <= {"c5", "c4", "c3", "c2", "c1", "c0"}


# Terms.


def test_contracts_come_due_to_expire_earliest_first(store):
    terms = {"c1": NOW_S + 30, "c2": NOW_S + 10, "c3": NOW_S + 20, "c4": None, "c5": NOW_S + 40}
    commit(store, *(submitted(name, expires_at=term) for name, term in terms.items()))
    assert list(store.contracts.due_to_expire(before=NOW_S + 30, limit=10)) == ["c2", "c3", "c1"]
    assert list(store.contracts.due_to_expire(before=NOW_S + 30, limit=2)) == ["c2", "c3"]
    assert list(store.contracts.due_to_expire(before=NOW_S + 9, limit=10)) == []
    assert store.contracts.next_expiry() == NOW_S + 10


def test_what_has_ended_does_not_expire(store):
    commit(store, *(submitted(name, expires_at=NOW_S + 10) for name in ("c1", "c2", "c3")))
    commit(store, finalized("c1"), declined("c2"))
    assert list(store.contracts.due_to_expire(before=NOW_S + 60, limit=10)) == ["c3"]
    commit(store, declined("c3"))
    assert list(store.contracts.due_to_expire(before=NOW_S + 60, limit=10)) == []
    assert store.contracts.next_expiry() is None


def test_without_a_term_nothing_expires(store):
    commit(store, submitted("c1"))
    assert store.contracts.next_expiry() is None
    assert list(store.contracts.due_to_expire(before=NOW_S + 10**8, limit=10)) == []


# Pending with an organization.


def pending_with(store, organization, limit=50):
    found, cursor = [], None
    for _ in range(100):
        page = store.contracts.pending_with(organization, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError("the list does not end")


@pytest.mark.parametrize("limit", [1, 2, 50])
@pytest.mark.parametrize(
    ("organization", "expected"),
    [("mo-1", "c0 c1 c5"), ("mo-2", "c2"), ("pub-1", "c0 c2 c5"), ("pub-2", "c1"), ("nobody", "")],
)
def test_pending_contracts_are_found_by_each_organization_they_name(market, organization, expected, limit):
    assert sorted(pending_with(market, organization, limit)) == expected.split()


def test_the_sweep_of_an_organization_refuses_the_cursor_of_another(market):
    cursor = market.contracts.pending_with("mo-1", limit=1, cursor=None).next_cursor
    with pytest.raises(InvalidParameterError):
        market.contracts.pending_with("pub-1", limit=1, cursor=cursor)


def test_a_sweep_goes_on_while_it_ends_what_it_finds(market):
    page = market.contracts.pending_with("mo-1", limit=2, cursor=None)
    commit(market, *(declined(name) for name in page.items))
    rest = market.contracts.pending_with("mo-1", limit=2, cursor=page.next_cursor)
    assert sorted([*page.items, *rest.items]) == ["c0", "c1", "c5"]


ORG_PLACES = {
    "alone": {"mo": None, "publisher": None, "org": "org-1", "mpass": None},
    "beside an MO": {"publisher": None, "org": "org-1"},
    "beside a publisher": {"mo": None, "org": "org-1", "mpass": None},
    "as the MO too": {"mo": "org-1", "org": "org-1"},
    "as the publisher too": {"publisher": "org-1", "org": "org-1"},
}


@pytest.mark.parametrize("place", ORG_PLACES)
def test_a_contract_is_listed_once_for_the_organization_that_it_names_as_org(store, place):
    commit(store, submitted("other"), submitted("c1", received_at=NOW + 1000, **ORG_PLACES[place]))
    own = replace(EVERYTHING, visible_to="org-1")
    assert names(store, own) == ["c1"]
    assert names(store, own, status=PENDING_STATUS) == ["c1"]
    assert names(store, own, status="finalized") == []
    assert store.contracts.pending_with("org-1", limit=9, cursor=None).items == ["c1"]
    assert names(store) == ["c1", "other"]


def test_an_organization_named_as_org_is_no_mo_and_no_publisher_of_it(store):
    commit(store, submitted("c1", **ORG_PLACES["alone"]))
    assert names(store, mo_id="org-1") == names(store, publisher_id="org-1") == []
    assert names(store, visible_to="org-1", mo_id="org-1") == []
    assert names(store, visible_to="mo-1") == []


def test_a_page_of_the_organization_s_own_goes_on_where_the_one_before_ended(store):
    for number in range(5):
        member = "org" if number % 2 else "mo"
        parties = {"mo": None, "publisher": None, "mpass": None, member: "org-1"}
        commit(store, submitted(f"c{number}", received_at=NOW + number * 1000, **parties))
    assert pages(store, replace(EVERYTHING, visible_to="org-1", limit=2)) == [["c4", "c3"], ["c2", "c1"], ["c0"]]
