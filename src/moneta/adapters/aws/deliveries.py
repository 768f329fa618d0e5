"""Deliveries: one item each, in the partition of its contract, sorted by organization, revision and time.

That order is the line in which an organization gets the messages of a contract. It is read from the table itself, never
from an index, so that a message is never sent ahead of an older one that an index does not show yet.

A pending delivery stands in the index ``due`` under the time when it is looked at next: its next attempt or the end of
its lease, and behind another in its line whenever that one is. Who moves the first of a line moves what follows it; if
a crash comes between, what follows is looked at too early or at the old time, and put right then.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from moneta.adapters.aws.attributes import Item, Key, Value
from moneta.adapters.aws.buckets import Calendar, shard_of
from moneta.adapters.aws.delivery_items import (
    attempts_since_owed,
    delivery_item,
    delivery_key,
    due_bucket,
    line_of,
    note_delivery,
    organization_of_place,
    owed_of_item,
    pack_attempt,
    record_of,
)
from moneta.adapters.aws.delivery_lists import DeliveryLists
from moneta.adapters.aws.directory import DynamoDBDirectoryStore
from moneta.adapters.aws.due_index import DueIndex, Line
from moneta.adapters.aws.dynamodb import ConditionFailedError, DynamoDB, Query, Table
from moneta.adapters.aws.endpoint_notes import EndpointNotes
from moneta.adapters.aws.events import DynamoDBEventStore
from moneta.adapters.aws.lifetimes import FORGET_AT, Lifetimes
from moneta.adapters.aws.tables import WEBHOOK_ID
from moneta.application.ports import (
    AttemptResult,
    DeliveryBacklog,
    DeliveryQuery,
    DeliveryRecord,
    DeliveryStatus,
    DueDelivery,
    OwedDelivery,
    Page,
    ReplayQuery,
    WebhookType,
)
from moneta.domain.endpoints import DisabledReason
from moneta.domain.identifiers import ContractId, OrganizationId, UnixMillis, UnixSeconds, WebhookId
from moneta.domain.limits import ATTEMPTS_MAX, BACKLOG_COUNTED_MAX, CACHE_ENTRIES_MAX
from moneta.domain.retention import Past


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
    ) -> None:
        self._db = db
        self._lifetimes = lifetimes
        self._calendar = calendar
        self._endpoints = EndpointNotes(directory)
        self._due = DueIndex(db, self._endpoints)
        self._events = events
        self._lists = DeliveryLists(db, calendar=calendar)
        self._taken: dict[WebhookId, Key] = {}

    def owe(self, owed: OwedDelivery) -> None:
        """See DeliveryStore.owe."""
        note_delivery(self._calendar, owed)
        due_at = owed.owed_at
        if owed.revision != 1 or owed.type is WebhookType.REJECTED:  # else it is the first of its line
            first = next((one for one in self._line(*line_of(owed)) if is_pending(one)), None)
            due_at = owed.owed_at if first is None else first["due_at"]
        self._db.put_new(Table.DELIVERIES, delivery_item(owed, due_at=due_at))

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
        lease_ends_at = UnixMillis(now + lease_s * 1000)
        taken: list[DueDelivery] = []
        while chunk := list(islice(lines, limit - len(taken))):
            found = self._db.each(lambda line: self._take(line, now=now, lease_ends_at=lease_ends_at), chunk)
            taken += [due for due in found if due is not None]
        return taken

    def record(self, results: Sequence[AttemptResult]) -> Mapping[OrganizationId, DisabledReason]:
        """See DeliveryStore.record.

        The answer is accepted first: if a crash comes before the attempt is written, the message is sent again, and
        the answer to that, whatever it says, is the same event.
        """
        self._db.each(self._record, results)
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
        return sum(self._db.each(lambda webhook_id: self._owe_again(webhook_id, now), webhook_ids))

    def backlog(self) -> DeliveryBacklog:
        """See DeliveryStore.backlog. Reads the whole table: for tests and small hubs; the deployed one has metrics."""
        statuses = (one["status"] for one in self._db.scan(Table.DELIVERIES, attributes=("status", FORGET_AT)))
        counts = {status: min(count, BACKLOG_COUNTED_MAX) for status, count in Counter(statuses).items()}
        pending, dead = (counts.get(status, 0) for status in (DeliveryStatus.PENDING, DeliveryStatus.DEAD))
        return DeliveryBacklog(pending=pending, due_at=self.next_due(), dead=dead)

    # Taking.

    def _take(self, line: Line, *, now: UnixMillis, lease_ends_at: UnixMillis) -> DueDelivery | None:
        """Take the first pending delivery of a line, if it is due; None if it is not, or another took it."""
        pending = [item for item in self._line(*line) if is_pending(item)]
        if not pending:
            return None
        first, *behind = pending
        if first["due_at"] > now:
            self._align(behind, first["due_at"])
            return None
        if not self._move(first, lease_ends_at):
            return None
        self._align(behind, lease_ends_at)
        self._remember(first)
        return DueDelivery(
            owed=owed_of_item(first), attempts_done=attempts_since_owed(first), due_at=UnixMillis(first["due_at"])
        )

    def _line(self, contract_id: ContractId, organization: OrganizationId) -> Iterator[Item]:
        """Give the deliveries of a line, the oldest first, as they are now."""
        return self._db.query(
            Query(
                table=Table.DELIVERIES,
                where="#contract_id = :contract AND begins_with(#place, :line)",
                values={"contract": contract_id, "line": f"{organization}#"},
            )
        )

    def _move(self, item: Item, due_at: UnixMillis) -> bool:
        """Change when a delivery is looked at next, if it is still as it was read; tell whether it was."""
        try:
            self._db.update(
                Table.DELIVERIES,
                delivery_key(item),
                "SET #due_at = :due_at",
                values={"due_at": due_at, "before": item["due_at"], "pending": DeliveryStatus.PENDING},
                condition="#status = :pending AND #due_at = :before",
            )
        except ConditionFailedError:
            return False
        return True

    def _align(self, behind: Sequence[Item], due_at: UnixMillis) -> None:
        """Let what stands behind be looked at when the first of its line is."""
        for item in behind:
            if item["due_at"] != due_at:
                self._move(item, due_at)

    # Recording.

    def _record(self, result: AttemptResult) -> None:
        key = self._key_of(result.webhook_id)
        if key is None:
            raise ValueError(f"delivery {result.webhook_id}: an attempt, but it is not owed")
        if result.answer is not None:
            self._events.accept_one(result.answer)
        if self._write_attempt(key, result):
            self._move_line(key, result)

    def _write_attempt(self, key: Key, result: AttemptResult) -> bool:
        """Write an attempt of a pending delivery, and tell whether it was pending. Once, however often it is called."""
        attempt = pack_attempt(result.attempt)
        values: dict[str, Value] = {"attempts": [attempt], "attempt": attempt, "pending": DeliveryStatus.PENDING}
        if result.status is DeliveryStatus.PENDING:
            change, values["due_at"] = ", #due_at = :due_at", result.retry_at or result.attempt.at
        else:
            change = ", #status = :status, #forget_at = :forget_at REMOVE #due_bucket, #due_at"
            values["status"], values["forget_at"] = result.status, self._end(result)
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
            expression += ", #status = :status, #forget_at = :forget_at"
            values |= {"status": result.status, "forget_at": self._end(result)}
        self._db.update(Table.DELIVERIES, key, expression, values=values)

    def _end(self, result: AttemptResult) -> UnixSeconds:
        """Return when to forget a delivery that this attempt settled."""
        past = Past.DELIVERIES if result.status is DeliveryStatus.DELIVERED else Past.DEAD_DELIVERIES
        return self._lifetimes.end(past, over_since=result.attempt.at)

    def _move_line(self, key: Key, result: AttemptResult) -> None:
        """Bring forward what stood behind a delivery that is settled, or let it wait for the next attempt."""
        line = self._line(ContractId(str(key["contract_id"])), organization_of_place(str(key["place"])))
        pending = [item for item in line if is_pending(item)]
        if pending and result.status is not DeliveryStatus.PENDING:
            self._move(pending[0], result.attempt.at)
            self._align(pending[1:], result.attempt.at)
        elif pending:
            self._align(pending[1:], pending[0]["due_at"])

    # Owing again.

    def _owe_again(self, webhook_id: WebhookId, now: UnixMillis) -> bool:
        """Make a delivery pending and its line due now; tell whether it is pending."""
        key = self._key_of(webhook_id)
        item = None if key is None else self._db.get(Table.DELIVERIES, key)
        if item is None or not (is_pending(item) or self._reopen(item, now)):
            return False
        pending = [one for one in self._line(*line_of(owed_of_item(item))) if is_pending(one)]
        if pending:  # else it has been sent in the meantime
            self._align(pending, min(pending[0]["due_at"], now))
        return True

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
        if webhook_id in self._taken:
            return self._taken[webhook_id]
        keys = list(self._keys_of(webhook_id))
        if len(keys) > 1:  # what was forgotten and is owed anew may stand beside its former self for some days
            keys = [key for key in keys if self._db.get(Table.DELIVERIES, key) is not None]
        return keys[0] if keys else None

    def _keys_of(self, webhook_id: WebhookId) -> Iterator[Key]:
        """Give the keys under which a delivery may be found: the one that this process took, and those of the index."""
        if webhook_id in self._taken:
            yield self._taken[webhook_id]
        values = {"webhook_id": webhook_id}
        query = Query(
            table=Table.DELIVERIES, index=WEBHOOK_ID, where="#webhook_id = :webhook_id", values=values, page=2
        )
        yield from map(delivery_key, self._db.query(query))

    def _remember(self, item: Item) -> None:
        if len(self._taken) >= CACHE_ENTRIES_MAX:
            self._taken.clear()
        self._taken[item["webhook_id"]] = delivery_key(item)


def is_pending(item: Item) -> bool:
    """Tell whether a delivery is pending."""
    return bool(item["status"] == DeliveryStatus.PENDING)
