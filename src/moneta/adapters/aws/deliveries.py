"""Deliveries: one item each, in the partition of its contract, sorted by organization, revision and time.

That order is the line in which an organization gets the messages of a contract (``lines``). A pending delivery stands
in the index ``due`` under the time when it is looked at next: its next attempt or the end of its lease, and behind
another in its line whenever that one is.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from moneta.adapters.aws.announcements import Announcer
from moneta.adapters.aws.attributes import Item, Key, Value
from moneta.adapters.aws.buckets import Calendar, shard_of
from moneta.adapters.aws.delivery_items import (
    dead_bucket,
    delivery_item,
    delivery_key,
    due_bucket,
    is_pending,
    line_of,
    line_of_item,
    note_delivery,
    pack_attempt,
    record_of,
)
from moneta.adapters.aws.delivery_lists import DeliveryLists
from moneta.adapters.aws.directory import DynamoDBDirectoryStore
from moneta.adapters.aws.due_index import DueIndex
from moneta.adapters.aws.dynamodb import ConditionFailedError, DynamoDB, Query, Table
from moneta.adapters.aws.endpoint_notes import EndpointNotes
from moneta.adapters.aws.events import DynamoDBEventStore
from moneta.adapters.aws.lifetimes import Lifetimes
from moneta.adapters.aws.lines import Lines
from moneta.adapters.aws.tables import WEBHOOK_ID
from moneta.application.ports import (
    AttemptResult,
    DeliveryBacklog,
    DeliveryQuery,
    DeliveryRecord,
    DeliveryStatus,
    DueDelivery,
    Line,
    OwedDelivery,
    Page,
    ReplayQuery,
    WebhookType,
)
from moneta.domain.endpoints import DisabledReason
from moneta.domain.identifiers import OrganizationId, UnixMillis, UnixSeconds, WebhookId
from moneta.domain.limits import ANNOUNCE_S_MAX, ATTEMPTS_MAX
from moneta.domain.retention import Past

ANNOUNCED_MAX: Final = 2_000
"""How many lines that are due one look announces, and how many that will be."""


class DynamoDBDeliveryStore:
    """See ``ports.DeliveryStore``."""

    def __init__(
        self,
        db: DynamoDB,
        lifetimes: Lifetimes,
        *,
        calendar: Calendar,
        directory: DynamoDBDirectoryStore,
        events: DynamoDBEventStore,
        announcer: Announcer | None,
    ) -> None:
        self._db = db
        self._lifetimes = lifetimes
        self._calendar = calendar
        self._endpoints = EndpointNotes(directory)
        self._due = DueIndex(db, self._endpoints)
        self._events = events
        self._announcer = announcer
        self._lines = Lines(db)
        self._lists = DeliveryLists(db, calendar=calendar)

    def owe(self, owed: OwedDelivery) -> None:
        """See DeliveryStore.owe."""
        self.owe_each([owed])

    def owe_each(self, owed: Sequence[OwedDelivery]) -> None:
        """Owe messages, and announce their lines: again too, since who owed them before may not have come to it."""
        due = [line_of(one) for one in owed if self._put(one)]
        self._announce(dict.fromkeys(due, 0))

    def _put(self, owed: OwedDelivery) -> bool:
        """Put a delivery where none is, and tell whether it may be the first that is pending in its line."""
        note_delivery(self._calendar, owed)
        first = None
        if owed.revision != 1 or owed.type is WebhookType.REJECTED:  # else it is the first of its line
            first = self._lines.first_pending(line_of(owed))
        due_at = owed.owed_at if first is None else first["due_at"]
        earlier = self._db.put_new(Table.DELIVERIES, delivery_item(owed, due_at=due_at))
        if earlier is not None:
            return is_pending(earlier)
        return first is None

    def _announce(self, delays_s: Mapping[Line, int]) -> None:
        if self._announcer is not None and delays_s:
            self._announcer.announce(delays_s)

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
        lines = self._due.lines(now=now, limit=limit, busy=busy, probed=probed)
        taken: list[DueDelivery] = []
        while chunk := [line for line, _ in islice(lines, limit - len(taken))]:
            taken += self._lines.take(chunk, now=now, lease_s=lease_s, in_index=True)
        return taken

    def take(self, lines: Sequence[Line], *, now: UnixMillis, lease_s: int) -> Sequence[DueDelivery]:
        """See DeliveryLines.take."""
        of_contracts = {line.organization_id for line in lines if line.contract_id is not None}
        left = self._endpoints.look_at(of_contracts)
        chosen = [one for one in dict.fromkeys(lines) if one.contract_id is None or one.organization_id not in left]
        return self._lines.take(chosen, now=now, lease_s=lease_s, in_index=False)

    def due_lines(self, *, now: UnixMillis, until: UnixMillis) -> Mapping[Line, UnixMillis]:
        """Return the lines that are due now or by ``until``, and since when: see DeliveryLines.announce_due."""
        nobody: frozenset[OrganizationId] = frozenset()
        due = islice(self._due.lines(now=now, limit=ANNOUNCED_MAX, busy=nobody, probed=nobody), ANNOUNCED_MAX)
        return {**self._due.coming(after=now, until=until, limit=ANNOUNCED_MAX), **dict(due)}

    def record(self, results: Sequence[AttemptResult]) -> Mapping[OrganizationId, DisabledReason]:
        """See DeliveryStore.record.

        The answer is accepted first: if a crash comes before the attempt is written, the message is sent again, and
        the answer to that, whatever it says, is the same event.
        """
        self._events.accept_answers([result.answer for result in results if result.answer is not None])
        found = self._db.each(self._record, results)
        self._announce({line: delay_s for moved in found for line, delay_s in moved.items()})
        return self._endpoints.note(results)

    def next_due(self, *, busy: frozenset[OrganizationId] = frozenset()) -> UnixMillis | None:
        """See DeliveryStore.next_due."""
        return self._due.next_due(busy=busy)

    def find(self, webhook_id: WebhookId) -> DeliveryRecord | None:
        """See DeliveryStore.find."""
        found = (self._db.get(Table.DELIVERIES, key) for key in self._keys_of(webhook_id))
        return next((record_of(item) for item in found if item is not None), None)

    def list(self, query: DeliveryQuery) -> Page[DeliveryRecord]:
        """See DeliveryStore.list."""
        return self._lists.list(query)

    def to_replay(self, query: ReplayQuery) -> Page[WebhookId]:
        """See DeliveryStore.to_replay."""
        return self._lists.to_replay(query)

    def owe_again(self, webhook_ids: Sequence[WebhookId], *, now: UnixMillis) -> int:
        """See DeliveryStore.owe_again. Each delivery is a write of its own: after a crash those before it are owed."""
        found = self._db.each(lambda webhook_id: self._owe_again(webhook_id, now), webhook_ids)
        lines = [line for line in found if line is not None]
        self._announce(dict.fromkeys(lines, 0))
        return len(lines)

    def backlog(self) -> DeliveryBacklog:
        """See DeliveryStore.backlog."""
        return DeliveryBacklog(
            pending=self._due.count(due_bucket),
            due_at=self.next_due(),
            dead=self._due.count(dead_bucket, since=self._lifetimes.kept_since(Past.DEAD_DELIVERIES)),
        )

    # Recording.

    def _record(self, result: AttemptResult) -> Mapping[Line, int]:
        """Write an attempt; return when to look at the line again, unless that is for another or too far off."""
        key = self._key_of(result.webhook_id)
        if key is None:
            raise ValueError(f"delivery {result.webhook_id}: an attempt, but it is not owed")
        due_at = self._move_line(key, result) if self._write_attempt(key, result) else None
        delay_s = ANNOUNCE_S_MAX + 1 if due_at is None else seconds_until(due_at, result.attempt.at)
        return {line_of_item(key): delay_s} if delay_s <= ANNOUNCE_S_MAX else {}

    def _write_attempt(self, key: Key, result: AttemptResult) -> bool:
        """Write an attempt of a pending delivery, and tell whether it was pending. Once, however often it is called."""
        attempt = pack_attempt(result.attempt)
        values: dict[str, Value] = {"attempts": [attempt], "attempt": attempt, "pending": DeliveryStatus.PENDING}
        if result.status is DeliveryStatus.PENDING:
            change, values["due_at"] = ", #due_at = :due_at REMOVE #leased_until", result.retry_at or result.attempt.at
        else:
            values["status"], values["forget_at"] = result.status, self._end(result)
            change = ", #status = :status, #forget_at = :forget_at"
            if result.status is DeliveryStatus.DEAD:
                change += ", #due_bucket = :bucket, #due_at = :died_at REMOVE #leased_until"
                values |= {"bucket": dead_bucket(shard_of(str(key["contract_id"]))), "died_at": result.attempt.at}
            else:
                change += " REMOVE #due_bucket, #due_at, #leased_until"
        try:
            self._db.update(
                Table.DELIVERIES,
                key,
                f"SET #attempts = list_append(#attempts, :attempts){change}",
                values=values,
                condition="#status = :pending AND NOT contains(#attempts, :attempt)",
            )
        except ConditionFailedError as error:
            if error.item is not None and attempt not in error.item["attempts"]:
                self._write_late_attempt(key, result)
            return False
        return True

    def _write_late_attempt(self, key: Key, result: AttemptResult) -> None:
        """Add the attempt of a lease that ran out; what is settled stays so, save that what did arrive is delivered."""
        values: dict[str, Value] = {"attempts": [pack_attempt(result.attempt)]}
        expression = "SET #attempts = list_append(#attempts, :attempts)"
        if result.status is DeliveryStatus.DELIVERED:
            expression += ", #status = :status, #forget_at = :forget_at REMOVE #due_bucket, #due_at"
            values |= {"status": result.status, "forget_at": self._end(result)}
        self._db.update(Table.DELIVERIES, key, expression, values=values)

    def _end(self, result: AttemptResult) -> UnixSeconds:
        """Return when to forget a delivery that this attempt settled."""
        past = Past.DELIVERIES if result.status is DeliveryStatus.DELIVERED else Past.DEAD_DELIVERIES
        return self._lifetimes.end(past, over_since=result.attempt.at)

    def _move_line(self, key: Key, result: AttemptResult) -> UnixMillis | None:
        """Bring forward what stood behind a delivery that is settled, or let it wait for the next attempt.

        Returns when the line is due then; None if nothing is pending in it.
        """
        pending = self._lines.pending(line_of_item(key))
        if not pending:
            return None
        first, *behind = pending
        due_at = UnixMillis(first["due_at"])
        if result.status is not DeliveryStatus.PENDING and due_at > result.attempt.at:
            self._lines.move(first, result.attempt.at)
            due_at = result.attempt.at
        self._lines.align(behind, due_at)
        return due_at

    # Owing again.

    def _owe_again(self, webhook_id: WebhookId, now: UnixMillis) -> Line | None:
        """Make a delivery pending and its line due now; return the line, None if it is not pending."""
        key = self._key_of(webhook_id)
        item = None if key is None else self._db.get(Table.DELIVERIES, key)
        if item is None or not (is_pending(item) or self._reopen(item, now)):
            return None
        pending = self._lines.pending(line_of_item(item))
        if pending:  # else it has been sent in the meantime
            self._lines.align(pending, min(pending[0]["due_at"], now))
            self._lines.free(pending[0])
        return line_of_item(item)

    def _reopen(self, item: Item, now: UnixMillis) -> bool:
        """Make a settled delivery pending again, due now; tell whether it is pending."""
        done = len(item["attempts"])
        if done >= ATTEMPTS_MAX:
            return False
        change = "#status = :pending, #due_bucket = :bucket, #due_at = :now, #attempts_before = :done"
        values: dict[str, Value] = {"pending": DeliveryStatus.PENDING, "now": now, "done": done}
        values |= {"bucket": due_bucket(shard_of(item["contract_id"])), "before": item["status"]}
        try:
            self._db.update(
                Table.DELIVERIES,
                delivery_key(item),
                f"SET {change} REMOVE #forget_at",
                values=values,
                condition="#status = :before AND size(#attempts) = :done",
            )
        except ConditionFailedError as error:  # Another was here first, or a late attempt came.
            found = error.item
            return found is not None and (is_pending(found) or self._reopen(found, now))
        return True

    def _key_of(self, webhook_id: WebhookId) -> Key | None:
        """Return the key of a delivery: what this process took it does not look up, since the index lags."""
        if (taken := self._lines.taken(webhook_id)) is not None:
            return taken
        keys = list(self._keys_of(webhook_id))
        if len(keys) > 1:  # what was forgotten and is owed anew may stand beside its former self for some days
            keys = [key for key in keys if self._db.get(Table.DELIVERIES, key) is not None]
        return keys[0] if keys else None

    def _keys_of(self, webhook_id: WebhookId) -> Iterator[Key]:
        """Give the keys under which a delivery may be found: the one that this process took, and those of the index."""
        if (taken := self._lines.taken(webhook_id)) is not None:
            yield taken
        values = {"webhook_id": webhook_id}
        query = Query(
            table=Table.DELIVERIES, index=WEBHOOK_ID, where="#webhook_id = :webhook_id", values=values, page=2
        )
        yield from map(delivery_key, self._db.query(query))


def seconds_until(moment: UnixMillis, now: UnixMillis) -> int:
    """Return the seconds until ``moment``, rounded up so that it has come then; 0 if it has."""
    return max(0, -((now - moment) // 1000))
