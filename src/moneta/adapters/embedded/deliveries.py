"""Deliveries: owed in the commit that causes them, taken in order, and what became of each attempt.

The rules:

1. Of one contract and organization only the oldest pending delivery has a ``due_at``; the one behind it gets its own
   when the first is settled. So what is behind is never looked at, however much of it there is.
2. Each look goes from organization to organization, never through the deliveries of one that is busy or disabled: a
   hundred thousand pending to a dead endpoint cost the others one step of an index.
3. What is settled stays so until it is owed again: the late result of a lease that ran out adds its attempt and changes
   nothing else, save that a dead delivery which did arrive is delivered.
4. What is about an endpoint and no contract stands in ``pending`` under the organization's number, negated: a group of
   their own, which no endpoint's row disables, nobody names as busy, and which gets a share like any other.
5. A lease is kept by the one process that delivers, and written nowhere (see ``in_hand``).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import apsw

from moneta.adapters.embedded.database import Database, Row, insert, row, rows, value
from moneta.adapters.embedded.delivery_lists import list_deliveries, list_to_replay, read_delivery
from moneta.adapters.embedded.endpoint_health import note_attempt
from moneta.adapters.embedded.events import accept_event
from moneta.adapters.embedded.in_hand import InHand
from moneta.adapters.embedded.schema import (
    DELIVERY_STATUS_CODES,
    DELIVERY_STATUSES,
    NO_CONTRACT,
    WEBHOOK_TYPE_CODES,
    Writing,
    owed_delivery,
    ref_of,
)
from moneta.application.ports import (
    OF_ENDPOINT,
    AttemptResult,
    Clock,
    DeliveryBacklog,
    DeliveryQuery,
    DeliveryRecord,
    DeliveryStatus,
    DueDelivery,
    OwedDelivery,
    Page,
    ReplayQuery,
)
from moneta.domain.endpoints import DisabledReason
from moneta.domain.identifiers import OrganizationId, UnixMillis, WebhookId
from moneta.domain.limits import ATTEMPTS_MAX, BACKLOG_COUNTED_MAX


def owe(writing: Writing, owed: OwedDelivery) -> None:
    """Write what is owed; once for each ``webhook_id``."""
    connection, organization = writing.connection, writing.ref(owed.organization_id)
    contract = writing.ref(NO_CONTRACT if owed.contract_id is None else owed.contract_id)
    facts = (WEBHOOK_TYPE_CODES[owed.type], contract, owed.revision, owed.owed_at, owed.problem)
    delivery = insert(connection, _OWE, (owed.webhook_id, organization, *facts))
    if delivery is not None:
        group = -organization if owed.type in OF_ENDPOINT else organization
        is_behind = value(connection, _IN_LINE, (contract, group)) is not None
        due_at = None if is_behind else owed.owed_at
        connection.execute(_WAIT, (delivery, group, contract, due_at))


_OWE: Final = """
INSERT INTO deliveries (webhook_id, organization, type, contract, revision, owed_at, problem)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_IN_LINE: Final = "SELECT delivery FROM pending WHERE contract = ? AND organization = ? ORDER BY delivery LIMIT 1"
_WAIT: Final = "INSERT INTO pending (delivery, organization, contract, due_at) VALUES (?, ?, ?, ?)"


class SQLiteDeliveryStore:
    """See ``ports.DeliveryStore``."""

    def __init__(self, database: Database, clock: Clock, in_hand: InHand) -> None:
        self._database = database
        self._clock = clock
        self._in_hand = in_hand

    def owe(self, owed: OwedDelivery) -> None:
        """See DeliveryStore.owe."""
        with self._database.write() as connection:
            owe(Writing(connection), owed)

    def take_due(
        self,
        *,
        now: UnixMillis,
        limit: int,
        lease_s: int,
        busy: frozenset[OrganizationId] = frozenset(),
        probed: frozenset[OrganizationId] = frozenset(),
    ) -> Sequence[DueDelivery]:
        """See DeliveryStore.take_due."""
        with self._in_hand.taking:
            self._in_hand.ended(now)
            held = self._in_hand.groups()
            with self._database.read() as connection:
                busy_refs, probed_refs = _refs_of(connection, busy), _refs_of(connection, probed)
                organizations = _due_organizations(connection, now, busy_refs)
                taken = _take_fairly(connection, organizations, probed_refs, held, now=now, limit=limit)
                due = [_due(rows(connection, _DUE, (delivery,))[0]) for delivery in taken]
            self._in_hand.hold(taken, until=UnixMillis(now + lease_s * 1000))
        return due

    def record(self, results: Sequence[AttemptResult]) -> Mapping[OrganizationId, DisabledReason]:
        """See DeliveryStore.record. A power cut may forget what was not synced by then: whatever follows from it is."""
        disabled: dict[OrganizationId, DisabledReason] = {}
        with self._database.write_unsynced() as connection:
            writing, received_at = Writing(connection), self._clock.now_ms()
            done = [_record(connection, result) for result in results]
            for result in results:
                if result.answer is not None:
                    accept_event(writing, result.answer, received_at=received_at)
                reason = note_attempt(writing, result)
                if reason is not None:
                    disabled[result.organization_id] = reason
        self._in_hand.put_down(done)
        return disabled

    def next_due(self, *, busy: frozenset[OrganizationId] = frozenset()) -> UnixMillis | None:
        """See DeliveryStore.next_due."""
        ends, held = self._in_hand.next_end(), self._in_hand.groups()
        with self._database.read() as connection:
            busy_refs = _refs_of(connection, busy)
            due = [
                _next_due(connection, organization, due_at, held)
                for organization, due_at in rows(connection, _ORGANIZATIONS)
                if organization not in busy_refs
            ]
        return min([moment for moment in (ends, *due) if moment is not None], default=None)

    def find(self, webhook_id: WebhookId) -> DeliveryRecord | None:
        """See DeliveryStore.find."""
        with self._database.read() as connection:
            return read_delivery(connection, webhook_id)

    def list(self, query: DeliveryQuery) -> Page[DeliveryRecord]:
        """See DeliveryStore.list."""
        with self._database.read() as connection:
            return list_deliveries(connection, query)

    def to_replay(self, query: ReplayQuery) -> Page[WebhookId]:
        """See DeliveryStore.to_replay."""
        with self._database.read() as connection:
            return list_to_replay(connection, query)

    def owe_again(self, webhook_ids: Sequence[WebhookId], *, now: UnixMillis) -> int:
        """See DeliveryStore.owe_again."""
        with self._database.write() as connection:
            again = [line for one in webhook_ids if (line := _owe_again(connection, one)) is not None]
            for line in dict.fromkeys(again):
                _bring_forward(connection, line, now=now)
        return len(again)

    def backlog(self) -> DeliveryBacklog:
        """See DeliveryStore.backlog."""
        with self._database.read() as connection:
            pending, dead = rows(connection, _BACKLOG, (BACKLOG_COUNTED_MAX, BACKLOG_COUNTED_MAX))[0]
        return DeliveryBacklog(pending=pending, due_at=self.next_due(), dead=dead)


_ORGANIZATIONS: Final = """
WITH RECURSIVE waiting (organization) AS (
    SELECT min(organization) FROM pending INDEXED BY pending_due WHERE due_at IS NOT NULL
    UNION ALL
    SELECT (
        SELECT min(organization) FROM pending INDEXED BY pending_due
        WHERE due_at IS NOT NULL AND organization > waiting.organization
    ) FROM waiting WHERE organization IS NOT NULL
)
SELECT waiting.organization, (
    SELECT min(due_at) FROM pending INDEXED BY pending_due
    WHERE due_at IS NOT NULL AND organization = waiting.organization
) FROM waiting
LEFT JOIN endpoints ON endpoints.organization = waiting.organization
WHERE waiting.organization IS NOT NULL AND disabled_at IS NULL
"""
"""Each organization that something is due to, now or later, with the earliest moment: a step of the index for each."""
_DUE_OF: Final = """
SELECT delivery FROM pending INDEXED BY pending_due
WHERE organization = ? AND due_at <= ? ORDER BY due_at, delivery LIMIT ?
"""
_FIRST_OF: Final = """
SELECT delivery, due_at FROM pending INDEXED BY pending_due
WHERE organization = ? AND due_at IS NOT NULL ORDER BY due_at, delivery LIMIT ?
"""
_DUE: Final = """
SELECT webhook_id, receiver.name, type, subject.name, revision, owed_at, problem, attempts, due_at
FROM deliveries
JOIN pending ON pending.delivery = deliveries.delivery
JOIN names AS receiver ON receiver.ref = deliveries.organization
JOIN names AS subject ON subject.ref = deliveries.contract
WHERE deliveries.delivery = ?
"""
_BACKLOG: Final = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM pending LIMIT ?)),
    (SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_dead WHERE status = 2 LIMIT ?))
"""


def _refs_of(connection: apsw.Connection, organizations: AbstractSet[OrganizationId]) -> AbstractSet[int | None]:
    return {ref_of(connection, organization) for organization in organizations}


def _due_organizations(connection: apsw.Connection, now: UnixMillis, busy: AbstractSet[int | None]) -> Sequence[int]:
    """Return the organizations that something is due to, the one that waits longest first."""
    found = [
        (due_at, organization)
        for organization, due_at in rows(connection, _ORGANIZATIONS)
        if due_at <= now and organization not in busy
    ]
    return [organization for _, organization in sorted(found)]


def _take_fairly(
    connection: apsw.Connection,
    organizations: Sequence[int],
    probed: AbstractSet[int | None],
    held: Mapping[int, int],
    *,
    now: UnixMillis,
    limit: int,
) -> dict[int, int]:
    """Return up to ``limit`` due deliveries, each with its organization; none of those that are ``held``.

    An equal share for each organization, then whatever is left over; of each one that is ``probed`` at most one.
    """
    share = max(1, limit // max(1, len(organizations)))
    held_of = Counter(held.values())
    taken: dict[int, int] = {}
    for size, offset in ((share, 0), (limit, share)):
        for organization in organizations:
            most = 1 - offset if organization in probed else size
            room = min(size, most, limit - len(taken))
            if room > 0:
                most_read = held_of[organization] + offset + room
                found = [one for (one,) in rows(connection, _DUE_OF, (organization, now, most_read)) if one not in held]
                taken.update(dict.fromkeys(found[offset : offset + room], organization))
    return taken


def _next_due(
    connection: apsw.Connection, organization: int, due_at: UnixMillis, held: Mapping[int, int]
) -> UnixMillis | None:
    """Return when the first delivery to an organization is due that is not ``held``. ``due_at``: the first of all."""
    held_of = sum(1 for group in held.values() if group == organization)
    if not held_of:
        return due_at
    found = rows(connection, _FIRST_OF, (organization, held_of + 1))
    return next((moment for delivery, moment in found if delivery not in held), None)


def _due(found: Row) -> DueDelivery:
    *owed, attempts, due_at = found
    return DueDelivery(owed=owed_delivery(owed), attempts_done=attempts, due_at=due_at)


def _record(connection: apsw.Connection, result: AttemptResult) -> int:
    """Write an attempt and what came of it; return the delivery's number."""
    found = row(connection, _OWED, (result.webhook_id,))
    if found is None:
        raise ValueError(f"delivery {result.webhook_id}: an attempt, but it is not owed")
    delivery, code, *line = found
    attempt = result.attempt
    told = (attempt.at, attempt.duration_ms, attempt.http_status, attempt.failure, attempt.snippet or None)
    connection.execute(_ATTEMPT, (delivery, delivery, *told))
    before = DELIVERY_STATUSES[code]
    if before is DeliveryStatus.PENDING and result.status is DeliveryStatus.PENDING:
        connection.execute(_TRY_AGAIN, (result.retry_at, delivery))
    elif before is DeliveryStatus.PENDING:
        _settle(connection, delivery, line, result=result)
    elif result.status is DeliveryStatus.DELIVERED:
        connection.execute(_SET_STATUS, (DELIVERY_STATUS_CODES[result.status], delivery))
    return int(delivery)


_OF_ENDPOINT: Final = ", ".join(str(WEBHOOK_TYPE_CODES[one]) for one in sorted(OF_ENDPOINT))
_OWED: Final = f"""
SELECT delivery, status, contract, iif(type IN ({_OF_ENDPOINT}), -organization, organization)
FROM deliveries WHERE webhook_id = ?
"""  # noqa: S608  # numbers
_ATTEMPT: Final = """
INSERT INTO attempts (delivery, attempt, at, duration_ms, http_status, failure, snippet)
VALUES (?, (SELECT count(*) + 1 FROM attempts WHERE delivery = ?), ?, ?, ?, ?, ?)
"""
# While it was being sent, an older one of its line may have been owed again; then it waits behind that one.
_TRY_AGAIN: Final = """
UPDATE pending SET due_at = iif(due_at IS NULL, NULL, ?), attempts = attempts + 1 WHERE delivery = ?
"""
_SET_STATUS: Final = "UPDATE deliveries SET status = ? WHERE delivery = ?"
_STEP_UP: Final = "UPDATE pending SET due_at = ? WHERE delivery = ? AND due_at IS NULL"


def _settle(connection: apsw.Connection, delivery: int, line: Sequence[int], *, result: AttemptResult) -> None:
    """End a pending delivery, and let the next in its ``line`` (contract, organization) be due at once."""
    connection.execute(_SET_STATUS, (DELIVERY_STATUS_CODES[result.status], delivery))
    connection.execute("DELETE FROM pending WHERE delivery = ?", (delivery,))
    behind = value(connection, _IN_LINE, line)
    if behind is not None:
        connection.execute(_STEP_UP, (result.attempt.at, behind))


def _owe_again(connection: apsw.Connection, webhook_id: WebhookId) -> tuple[int, int] | None:
    """Make a delivery pending, behind whatever it is behind, and return its line; None if it stays as it is."""
    found = row(connection, _OWED, (webhook_id,))
    if found is None:
        return None
    delivery, code, contract, organization = found
    if DELIVERY_STATUSES[code] is not DeliveryStatus.PENDING:
        if rows(connection, _ATTEMPTS_MADE, (delivery,))[0][0] >= ATTEMPTS_MAX:
            return None
        connection.execute(_SET_STATUS, (DELIVERY_STATUS_CODES[DeliveryStatus.PENDING], delivery))
        connection.execute(_WAIT, (delivery, organization, contract, None))
    return contract, organization


def _bring_forward(connection: apsw.Connection, line: tuple[int, int], *, now: UnixMillis) -> None:
    """Let the first of a line be due now if it is not yet, and nothing behind it."""
    first = value(connection, _IN_LINE, line)
    connection.execute(_STEP_BACK, (*line, first))
    connection.execute(_STEP_FORWARD, (now, now, first))


_ATTEMPTS_MADE: Final = "SELECT count(*) FROM attempts WHERE delivery = ?"
_STEP_BACK: Final = """
UPDATE pending SET due_at = NULL WHERE contract = ? AND organization = ? AND delivery <> ? AND due_at IS NOT NULL
"""
_STEP_FORWARD: Final = "UPDATE pending SET due_at = ? WHERE ifnull(due_at, 9e18) > ? AND delivery = ?"
