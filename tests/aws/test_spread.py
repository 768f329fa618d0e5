"""What is listed stands in many partitions, by hour and month and shard; a reader sees one list, and stops in time."""

import uuid
from dataclasses import replace
from itertools import islice

import pytest

from moneta.adapters.aws.dynamodb import Table
from moneta.adapters.aws.pages import COST_MAX, Seen, decode_cursor, fill_page
from moneta.application.ports import ContractQuery, DeliveryQuery
from tests.conformance.builders import NOW, NOW_S, PENDING_STATUS, finalized, owed_delivery, owing, submitted
from tests.emulated import REGION

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MOMENTS = [NOW, NOW - 1, NOW - 40 * 60_000, NOW - HOUR_MS, NOW - 30 * HOUR_MS, NOW - 40 * DAY_MS, NOW - 400 * DAY_MS]
"""Within an hour, over hours, over months, over a year; newest first."""


def pages(page_after):
    found, cursor = [], None
    for _ in range(500):
        page = page_after(cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError("the list does not end")


@pytest.mark.dynamodb
@pytest.mark.parametrize("limit", [2, 50])
@pytest.mark.parametrize("by", ["mo_id", "publisher_id", "mpass_id", "visible_to", "status", "received_from"])
def test_contracts_of_many_hours_and_months_are_one_list(open_store, by, limit):
    store, mo, publisher, mpass = open_store(), *(str(uuid.uuid4()) for _ in range(3))
    names = [str(uuid.uuid4()) for _ in MOMENTS]
    parties = {"mo": mo, "publisher": publisher, "mpass": mpass}
    changes = [submitted(name, received_at=at, **parties) for name, at in zip(names, MOMENTS, strict=True)]
    store.contracts.commit(changes)
    values = {"mo_id": mo, "publisher_id": publisher, "mpass_id": mpass, "visible_to": publisher}
    chosen = {by: values.get(by), "status": PENDING_STATUS if by == "status" else None}
    chosen |= {"received_from": MOMENTS[-1] // 1000} if by == "received_from" else {}
    query = replace(ContractQuery(visible_to=None, limit=limit), **chosen)
    found = pages(lambda cursor: open_store().contracts.list(replace(query, cursor=cursor)))
    assert [item.contract_id for item in found if item.contract_id in names] == names


@pytest.mark.dynamodb
@pytest.mark.parametrize("limit", [2, 50])
@pytest.mark.parametrize("is_operator", [False, True])
def test_deliveries_of_many_months_are_one_list(open_store, limit, is_operator):
    store, to = open_store(), str(uuid.uuid4())
    names = [f"msg-{uuid.uuid4().hex}" for _ in MOMENTS]
    for name, at in zip(names, MOMENTS, strict=True):
        store.contracts.commit([owing(owed_delivery(name, to=to, contract_id=name, at=at))])
    query = DeliveryQuery(visible_to=None if is_operator else to, limit=limit)
    found = pages(lambda cursor: open_store().deliveries.list(replace(query, cursor=cursor)))
    assert [record.owed.webhook_id for record in found if record.owed.webhook_id in names] == names


@pytest.mark.dynamodb
def test_a_contract_leaves_the_list_of_a_status_that_it_left(open_store):
    store, name, mo = open_store(), str(uuid.uuid4()), str(uuid.uuid4())
    store.contracts.commit([submitted(name, mo=mo)])
    store.contracts.commit([finalized(name)])
    for status, expected in ((PENDING_STATUS, []), ("finalized", [name])):
        for visible_to in (mo, None):
            query = ContractQuery(visible_to=visible_to, limit=200, status=status)
            found = [item.contract_id for item in store.contracts.list(query).items]
            assert [one for one in found if one == name] == expected


@pytest.mark.dynamodb
def test_a_sweep_begins_where_the_last_one_had_ended_everything(open_store, clock):
    store = open_store()
    store.contracts.commit([submitted("early", expires_at=NOW_S + 60), submitted("later", expires_at=NOW_S + 7_200)])
    assert store.contracts.next_expiry() == NOW_S + 60
    clock.advance(5 * 3_600)
    now_s = clock.now_ms() // 1000
    assert list(store.contracts.due_to_expire(before=now_s, limit=9)) == ["early", "later"]
    store.contracts.commit([finalized("early"), finalized("later")])
    assert list(store.contracts.due_to_expire(before=now_s, limit=9)) == []

    late = submitted("late", expires_at=NOW_S + 90)  # its term was over before it was committed
    assert list(store.contracts.commit([late])) == ["committed"]
    assert list(open_store().contracts.due_to_expire(before=now_s, limit=9)) == ["late"]
    assert open_store().contracts.next_expiry() == NOW_S + 90


def place_of(number):
    return f"{10**14 - number:015d}#{number}"


def test_a_page_that_finds_little_ends_and_its_cursor_goes_on():
    seen = [Seen(place_of(number), number if number % 1_000 == 999 else None) for number in range(10_000)]

    def page_after(cursor):
        high = decode_cursor("query", cursor)
        rest = (one for one in seen if high is None or one.place < high)
        page = fill_page("query", rest, limit=50)
        assert len(page.items) <= COST_MAX / 1_000
        return page

    assert pages(page_after) == list(range(999, 10_000, 1_000))


def test_a_page_looks_no_farther_than_it_must():
    seen = (Seen(place_of(number), number) for number in range(COST_MAX))
    assert fill_page("query", seen, limit=3).items == [0, 1, 2]
    assert next(islice(seen, 1)).item == 4


@pytest.mark.dynamodb
def test_a_contract_has_its_home_in_its_first_step_and_its_head(open_store, services):
    name = str(uuid.uuid4())
    open_store().contracts.commit([submitted(name)])
    elsewhere = replace(services, names=replace(services.names, region="us-east-2"))
    open_store(elsewhere).contracts.commit([finalized(name)])
    items = [open_store().db.get(Table.CONTRACTS, {"contract_id": name, "seq": seq}) for seq in range(3)]
    assert [item.get("home") for item in items] == [REGION, REGION, None]
