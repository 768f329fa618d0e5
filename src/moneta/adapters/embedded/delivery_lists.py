"""Deliveries with their attempts, one or a page of them, each query by the index that fits it."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import apsw

from moneta.adapters.embedded.cursors import Filter, bad_cursor, make_cursor, read_cursor
from moneta.adapters.embedded.database import Row, rows, value
from moneta.adapters.embedded.schema import DELIVERY_STATUSES, owed_delivery, ref_of
from moneta.application.ports import Attempt, DeliveryQuery, DeliveryRecord, DeliveryStatus, Page, ReplayQuery
from moneta.domain.identifiers import ContractId, OrganizationId, WebhookId

_NEWEST: Final = 2**63 - 1
OUT_OF_ORDER_MS_MAX: Final = 60_000
"""How far ``owed_at`` may be out of the order in which rows are numbered: by the time from its stamp to its commit, and
by a clock that is set back."""

# fmt: off
SOURCES: Final = (
    # The first row whose filters are all there; "open" is a status other than delivered.
    ({"contract"},              "deliveries AS walked INDEXED BY deliveries_contract"),
    ({"organization", "open"},  "deliveries AS walked INDEXED BY deliveries_open"),
    ({"pending"},               "pending AS walked CROSS JOIN deliveries USING (delivery)"),
    ({"dead"},                  "deliveries AS walked INDEXED BY deliveries_dead"),
    ({"organization"},          "deliveries AS walked INDEXED BY deliveries_organization"),
    (set[str](),                "deliveries AS walked NOT INDEXED"),
)
CONDITIONS_OF_STATUS: Final = {
    # The numbers stand in the text, since a partial index is used only for a condition that implies its own.
    DeliveryStatus.PENDING:    " AND status = 0 AND status <> 1",
    DeliveryStatus.DELIVERED:  " AND status = 1",
    DeliveryStatus.DEAD:       " AND status = 2 AND status <> 1",
}
# fmt: on


def read_delivery(connection: apsw.Connection, webhook_id: WebhookId) -> DeliveryRecord | None:
    """Return one delivery with its attempts."""
    delivery = _number_of(connection, webhook_id)
    return None if delivery is None else _record(connection, delivery)


def list_deliveries(connection: apsw.Connection, query: DeliveryQuery) -> Page[DeliveryRecord]:
    """See DeliveryStore.list."""
    filters = (query.visible_to, query.contract_id, query.status)
    after = _NEWEST if query.cursor is None else _number_at(connection, query.cursor, filters)
    numbers = _numbers(connection, query, after)
    items = [_record(connection, number) for number in numbers[: query.limit]]
    if len(numbers) <= query.limit:
        return Page(items=items, next_cursor=None)
    return Page(items=items, next_cursor=make_cursor(0, items[-1].owed.webhook_id, filters=filters))


def _number_at(connection: apsw.Connection, cursor: str, filters: Sequence[Filter]) -> int:
    number = _number_of(connection, read_cursor(cursor, filters=filters).name)
    if number is None:
        raise bad_cursor()
    return number


def _number_of(connection: apsw.Connection, webhook_id: str) -> int | None:
    return value(connection, "SELECT delivery FROM deliveries WHERE webhook_id = ?", (webhook_id,))


def _numbers(connection: apsw.Connection, query: DeliveryQuery, after: int) -> Sequence[int]:
    """Return the numbers of up to ``limit`` + 1 deliveries older than ``after``, newest first."""
    columns = _columns(connection, contract_id=query.contract_id, organization_id=query.visible_to)
    has = {*columns, *(() if query.status is None else (str(query.status),))}
    if query.status in {DeliveryStatus.PENDING, DeliveryStatus.DEAD}:
        has.add("open")
    conditions = "".join(f" AND walked.{column} = :{column}" for column in columns)
    if query.status is not None:
        conditions += CONDITIONS_OF_STATUS[query.status]
    statement = _PAGE.format(source=_source(has), conditions=conditions)
    found = rows(connection, statement, {**columns, "after": after, "limit": query.limit + 1})
    return [number for (number,) in found]


def _columns(
    connection: apsw.Connection, *, contract_id: ContractId | None, organization_id: OrganizationId | None
) -> dict[str, int | None]:
    """Return the columns that a query filters by, with their values; a name that no row names gives None."""
    names = {"contract": contract_id, "organization": organization_id}
    return {column: ref_of(connection, name) for column, name in names.items() if name is not None}


def _source(has: AbstractSet[str]) -> str:
    return next(source for needed, source in SOURCES if needed <= has)


_PAGE: Final = """
SELECT walked.delivery FROM {source} WHERE walked.delivery < :after{conditions}
ORDER BY walked.delivery DESC LIMIT :limit
"""
"""Formatted with texts from the tables above, and names of columns."""


def list_to_replay(connection: apsw.Connection, query: ReplayQuery) -> Page[WebhookId]:
    """See DeliveryStore.to_replay."""
    filters = (query.visible_to, query.contract_id, query.owed_from, query.owed_to)
    after = 0 if query.cursor is None else _number_at(connection, query.cursor, filters)
    columns = _columns(connection, contract_id=query.contract_id, organization_id=query.visible_to)
    conditions = "".join(f" AND walked.{column} = :{column}" for column in columns)
    bounds = {"after": after, "end": _NEWEST, "owed_from": 0, "owed_end": _NEWEST, **_bounds(connection, query, after)}
    statement = _TO_REPLAY.format(source=_source({*columns}), conditions=conditions)
    found = [one for (one,) in rows(connection, statement, {**columns, **bounds, "limit": query.limit + 1})]
    items = found[: query.limit]
    cursor = make_cursor(0, items[-1], filters=filters) if len(found) > query.limit else None
    return Page(items=items, next_cursor=cursor)


_TO_REPLAY: Final = """
SELECT walked.webhook_id FROM {source} WHERE walked.delivery > :after AND walked.delivery < :end{conditions}
    AND walked.owed_at >= :owed_from AND walked.owed_at < :owed_end
ORDER BY walked.delivery LIMIT :limit
"""
"""Formatted like ``_PAGE``."""


def _bounds(connection: apsw.Connection, query: ReplayQuery, after: int) -> Mapping[str, int]:
    """Return a range of time, and the range of numbers that all of it lies in, so that it needs no index of its own."""
    if query.owed_from is None or query.owed_to is None:
        return {}
    owed_from, owed_end = query.owed_from * 1000, query.owed_to * 1000 + 1000
    first = _first_owed(connection, owed_from - OUT_OF_ORDER_MS_MAX)
    end = _first_owed(connection, owed_end + OUT_OF_ORDER_MS_MAX)
    return {"after": max(after, first - 1), "end": end, "owed_from": owed_from, "owed_end": owed_end}


def _first_owed(connection: apsw.Connection, moment: int) -> int:
    """Return the number from which on deliveries are owed at ``moment`` or later, as if they were numbered by time."""
    last = value(connection, "SELECT max(delivery) FROM deliveries") or 0
    return bisect_left(range(last + 1), moment, key=lambda number: value(connection, _OWED_FROM, (number,)) or 0)


_OWED_FROM: Final = "SELECT owed_at FROM deliveries WHERE delivery >= ? ORDER BY delivery LIMIT 1"


def _record(connection: apsw.Connection, delivery: int) -> DeliveryRecord:
    *owed, status, due_at = rows(connection, _RECORD, (delivery,))[0]
    return DeliveryRecord(
        owed=owed_delivery(owed),
        status=DELIVERY_STATUSES[status],
        next_attempt_at=due_at,
        attempts=tuple(_attempt(one) for one in rows(connection, _ATTEMPTS, (delivery,))),
    )


_RECORD: Final = """
SELECT webhook_id, receiver.name, type, subject.name, revision, owed_at, problem, status, due_at
FROM deliveries
LEFT JOIN pending ON pending.delivery = deliveries.delivery
JOIN names AS receiver ON receiver.ref = deliveries.organization
JOIN names AS subject ON subject.ref = deliveries.contract
WHERE deliveries.delivery = ?
"""
_ATTEMPTS: Final = """
SELECT at, duration_ms, http_status, failure, snippet FROM attempts WHERE delivery = ? ORDER BY attempt
"""


def _attempt(found: Row) -> Attempt:
    at, duration_ms, http_status, failure, snippet = found
    return Attempt(at=at, duration_ms=duration_ms, http_status=http_status, failure=failure, snippet=snippet or b"")
