"""Deliveries with their attempts, one or a page of them, each query by the index that fits it."""

from collections.abc import Sequence
from typing import Final

import apsw

from moneta.adapters.embedded.cursors import bad_cursor, make_cursor, read_cursor
from moneta.adapters.embedded.database import Row, rows, value
from moneta.adapters.embedded.schema import DELIVERY_STATUSES, owed_delivery, ref_of
from moneta.application.ports import Attempt, DeliveryQuery, DeliveryRecord, DeliveryStatus, Page
from moneta.domain.identifiers import WebhookId

_NEWEST: Final = 2**63 - 1

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
    after = _NEWEST
    if query.cursor is not None:
        number = _number_of(connection, read_cursor(query.cursor, filters=filters).name)
        if number is None:
            raise bad_cursor()
        after = number
    numbers = _numbers(connection, query, after)
    items = [_record(connection, number) for number in numbers[: query.limit]]
    if len(numbers) <= query.limit:
        return Page(items=items, next_cursor=None)
    return Page(items=items, next_cursor=make_cursor(0, items[-1].owed.webhook_id, filters=filters))


def _number_of(connection: apsw.Connection, webhook_id: str) -> int | None:
    return value(connection, "SELECT delivery FROM deliveries WHERE webhook_id = ?", (webhook_id,))


def _numbers(connection: apsw.Connection, query: DeliveryQuery, after: int) -> Sequence[int]:
    """Return the numbers of up to ``limit`` + 1 deliveries older than ``after``, newest first."""
    columns: dict[str, int | None] = {
        column: ref_of(connection, name)
        for column, name in (("contract", query.contract_id), ("organization", query.visible_to))
        if name is not None
    }
    has = {*columns, *(() if query.status is None else (str(query.status),))}
    if query.status in {DeliveryStatus.PENDING, DeliveryStatus.DEAD}:
        has.add("open")
    source = next(source for needed, source in SOURCES if needed <= has)
    conditions = "".join(f" AND walked.{column} = :{column}" for column in columns)
    if query.status is not None:
        conditions += CONDITIONS_OF_STATUS[query.status]
    statement = _PAGE.format(source=source, conditions=conditions)
    found = rows(connection, statement, {**columns, "after": after, "limit": query.limit + 1})
    return [number for (number,) in found]


_PAGE: Final = """
SELECT walked.delivery FROM {source} WHERE walked.delivery < :after{conditions}
ORDER BY walked.delivery DESC LIMIT :limit
"""
"""Formatted with texts from the tables above, and names of columns."""


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
