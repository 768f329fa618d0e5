"""Lists of contracts: each query by the index that fits it, by name: SQLite's planner has no statistics to go by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import apsw

from moneta.adapters.embedded.cursors import Filter, bad_cursor, make_cursor, read_cursor
from moneta.adapters.embedded.database import Row, rows
from moneta.adapters.embedded.schema import ref_of
from moneta.application.ports import ContractQuery, ContractSummary, Page
from moneta.domain.identifiers import ContractId, OrganizationId

# fmt: off
INDEXES: Final = (
    # The first row whose columns are all filtered on.
    (("mpass",),                     "contracts_mpass"),
    (("mo", "publisher", "status"),  "contracts_parties_status"),
    (("mo", "publisher"),            "contracts_parties"),
    (("mo", "status"),               "contracts_mo_status"),
    (("publisher", "status"),        "contracts_publisher_status"),
    (("org", "status"),              "contracts_org_status"),
    (("mo",),                        "contracts_mo"),
    (("publisher",),                 "contracts_publisher"),
    (("org",),                       "contracts_org"),
    (("status",),                    "contracts_status"),
    ((),                             "contracts_received"),
)
# fmt: on

Place = tuple[int, int]
"""``received_at`` and the contract's number: the order of every list, and unique."""
_NEWEST: Final[Place] = (2**63 - 1, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class _Arm:
    """The equalities of one scan, by column; None where the name has no number yet, which no row can equal."""

    columns: Mapping[str, int | None]

    @property
    def is_empty(self) -> bool:
        return None in self.columns.values()


def list_contracts(connection: apsw.Connection, query: ContractQuery) -> Page[ContractSummary]:
    """See ContractStore.list."""
    filters = _filters(query)
    after = _NEWEST if query.cursor is None else _place_of(connection, query.cursor, filters)
    found: dict[int, Row] = {}
    for arm in _arms(connection, query):
        if not arm.is_empty:
            found |= {one[0]: one for one in _scan(connection, arm, query, after)}
    newest_first = sorted(found.values(), key=lambda one: (one[1], one[0]), reverse=True)
    items = [_summary(one) for one in newest_first[: query.limit]]
    has_more = len(newest_first) > query.limit
    last = items[-1] if has_more else None
    cursor = None if last is None else make_cursor(last.received_at, last.contract_id, filters=filters)
    return Page(items=items, next_cursor=cursor)


def _filters(query: ContractQuery) -> Sequence[Filter]:
    return (
        query.visible_to,
        query.mo_id,
        query.publisher_id,
        query.mpass_id,
        query.status,
        query.received_from,
        query.received_to,
    )


def _place_of(connection: apsw.Connection, cursor: str, filters: Sequence[Filter]) -> Place:
    place = read_cursor(cursor, filters=filters)
    contract = ref_of(connection, place.name)
    if contract is None:
        raise bad_cursor()
    return place.at, contract


def _arms(connection: apsw.Connection, query: ContractQuery) -> Sequence[_Arm]:
    """Return the scans that together find the query's contracts.

    One, or three where only an organization's own count: the MO, the publisher or the ``org_id`` of a contract.
    """
    wanted: dict[str, str] = {
        column: name
        for column, name in (("mo", query.mo_id), ("publisher", query.publisher_id), ("mpass", query.mpass_id))
        if name is not None
    }
    scopes: Sequence[dict[str, str]] = [wanted]
    if query.visible_to is not None:
        own = query.visible_to
        scopes = [wanted | {role: own} for role in ("mo", "publisher", "org") if wanted.get(role, own) == own]
    arms = [{column: ref_of(connection, name) for column, name in scope.items()} for scope in scopes]
    if query.status is not None:
        status = _status_ref(connection, query.status)
        arms = [arm | {"status": status} for arm in arms]
    return [_Arm(arm) for arm in arms]


def _status_ref(connection: apsw.Connection, status: str) -> int | None:
    found = rows(connection, "SELECT status FROM statuses WHERE name = ?", (status,))
    return found[0][0] if found else None


def _scan(connection: apsw.Connection, arm: _Arm, query: ContractQuery, after: Place) -> Sequence[Row]:
    index = next(name for columns, name in INDEXES if arm.columns.keys() >= set(columns))
    equalities = "".join(f" AND {column} = :{column}" for column in arm.columns)
    statement = _SCAN.format(index=index, equalities=equalities)
    bindings = {
        **arm.columns,
        "from_ms": (query.received_from or 0) * 1000,
        "to_ms": after[0] if query.received_to is None else (query.received_to + 1) * 1000 - 1,
        "after_at": after[0],
        "after_contract": after[1],
        "limit": query.limit + 1,
    }
    return rows(connection, statement, bindings)


_SCAN: Final = """
SELECT contract, received_at, subject.name, template.name, version, mo.name, publisher.name, mpass.name,
    statuses.name, created_at, finalized_at, revision
FROM (
    SELECT * FROM contracts INDEXED BY {index}
    WHERE received_at BETWEEN :from_ms AND :to_ms
        AND (received_at, contract) < (:after_at, :after_contract){equalities}
    ORDER BY received_at DESC, contract DESC LIMIT :limit
) AS head
JOIN names AS subject ON subject.ref = head.contract
JOIN names AS template ON template.ref = head.template
JOIN statuses ON statuses.status = head.status
LEFT JOIN names AS mo ON mo.ref = head.mo
LEFT JOIN names AS publisher ON publisher.ref = head.publisher
LEFT JOIN names AS mpass ON mpass.ref = head.mpass
"""
"""Formatted with names from ``INDEXES`` and of columns only."""


def _summary(found: Row) -> ContractSummary:
    _, received_at, contract_id, template_id, version, mo_id, publisher_id, mpass_id, *rest = found
    status, created_at, finalized_at, revision = rest
    return ContractSummary(
        contract_id=contract_id,
        template_id=template_id,
        version=version,
        mo_id=mo_id,
        publisher_id=publisher_id,
        mpass_id=mpass_id,
        status=status,
        created_at=created_at,
        received_at=received_at,
        finalized_at=finalized_at,
        revision=revision,
    )


def list_pending(
    connection: apsw.Connection, organization: OrganizationId, *, limit: int, cursor: str | None
) -> Page[ContractId]:
    """See ContractStore.pending_with."""
    filters = ("pending_with", organization)
    after = (0, 0) if cursor is None else _place_of(connection, cursor, filters)
    party = ref_of(connection, organization)
    found = rows(connection, _PENDING, {"party": party, "after": after[1], "limit": limit + 1})
    items = [ContractId(name) for (name,) in found[:limit]]
    next_cursor = make_cursor(0, items[-1], filters=filters) if len(found) > limit else None
    return Page(items=items, next_cursor=next_cursor)


_PENDING: Final = """
WITH pending AS (SELECT status FROM statuses WHERE name GLOB 'pending_*')
SELECT name FROM (
    SELECT contract FROM contracts INDEXED BY contracts_mo_status
    WHERE mo = :party AND status IN pending AND finalized_at IS NULL AND contract > :after
    UNION
    SELECT contract FROM contracts INDEXED BY contracts_publisher_status
    WHERE publisher = :party AND status IN pending AND finalized_at IS NULL AND contract > :after
    UNION
    SELECT contract FROM contracts INDEXED BY contracts_org_status
    WHERE org = :party AND status IN pending AND finalized_at IS NULL AND contract > :after
    ORDER BY contract LIMIT :limit
) AS head
JOIN names ON names.ref = head.contract
ORDER BY contract
"""
