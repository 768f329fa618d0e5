"""Lines of deliveries: what an organization gets about one contract, in order, taken by condition and from the front.

A line is read from the table itself, never from an index, so that a message is never sent ahead of an older one that an
index does not show yet. Who moves the first of a line moves what follows it; if a crash comes between, what follows is
looked at too early or at the old time, and put right then.

A lease is written in one of two places, and both are looked at. Who finds by the index what is due writes it there, as
the time to look again. Where lines are announced, nobody looks at the index but from time to time: then it stands in
``leased_until``, outside of it, which costs one write unit instead of three.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from moneta.adapters.aws.attributes import Item, Key, Value
from moneta.adapters.aws.delivery_items import (
    attempts_since_owed,
    delivery_key,
    is_pending,
    owed_of_item,
    partition_of,
)
from moneta.adapters.aws.dynamodb import ConditionFailedError, DynamoDB, Query, Table
from moneta.application.ports import DeliveryStatus, DueDelivery, Line
from moneta.domain.identifiers import UnixMillis, WebhookId
from moneta.domain.limits import CACHE_ENTRIES_MAX


class Lines:
    """The lines of the deliveries table. Remembers the keys of what it took, since the index of them lags."""

    def __init__(self, db: DynamoDB) -> None:
        self._db = db
        self._taken: dict[WebhookId, Key] = {}

    def take(self, lines: Sequence[Line], *, now: UnixMillis, lease_s: int, in_index: bool) -> Sequence[DueDelivery]:
        """Take the first pending delivery of each line, if it is due and no other took it."""
        take = partial(self._take, now=now, lease_ends_at=UnixMillis(now + lease_s * 1000), in_index=in_index)
        return [due for due in self._db.each(take, lines) if due is not None]

    def _take(self, line: Line, *, now: UnixMillis, lease_ends_at: UnixMillis, in_index: bool) -> DueDelivery | None:
        pending = self.pending(line)
        if not pending:
            return None
        first, *behind = pending
        if first["due_at"] > now:
            self.align(behind, first["due_at"])
            return None
        if first.get("leased_until", 0) > now:
            return None
        if not (self.move(first, lease_ends_at) if in_index else self._lease(first, lease_ends_at)):
            return None
        if in_index:
            self.align(behind, lease_ends_at)
        self._remember(first)
        return DueDelivery(
            owed=owed_of_item(first), attempts_done=attempts_since_owed(first), due_at=UnixMillis(first["due_at"])
        )

    def taken(self, webhook_id: WebhookId) -> Key | None:
        """Return the key of a delivery that this process took."""
        return self._taken.get(webhook_id)

    def pending(self, line: Line) -> list[Item]:
        """Return what is pending in a line, the oldest first, as it is now."""
        return [item for item in self._items(line) if is_pending(item)]

    def first_pending(self, line: Line) -> Item | None:
        """Return the oldest pending delivery of a line."""
        return next((item for item in self._items(line) if is_pending(item)), None)

    def _items(self, line: Line) -> Iterator[Item]:
        return self._db.query(
            Query(
                table=Table.DELIVERIES,
                where="#contract_id = :contract AND begins_with(#place, :line)",
                values={"contract": partition_of(line), "line": f"{line.organization_id}#"},
            )
        )

    def move(self, item: Item, due_at: UnixMillis) -> bool:
        """Change when a delivery is looked at next, if it is still as it was read; tell whether it was."""
        values: dict[str, Value] = {"due_at": due_at, "before": item["due_at"], "pending": DeliveryStatus.PENDING}
        return self._change(item, "SET #due_at = :due_at", values, "#status = :pending AND #due_at = :before")

    def _lease(self, item: Item, until: UnixMillis) -> bool:
        """Note a lease outside of the index, if the delivery is still as it was read; tell whether it was."""
        before = item.get("leased_until")
        is_free = "attribute_not_exists(#leased_until)" if before is None else "#leased_until = :lease"
        values: dict[str, Value] = {"until": until, "before": item["due_at"], "pending": DeliveryStatus.PENDING}
        return self._change(
            item,
            "SET #leased_until = :until",
            values | ({} if before is None else {"lease": before}),
            f"#status = :pending AND #due_at = :before AND {is_free}",
        )

    def free(self, item: Item) -> None:
        """End a lease that is noted outside of the index."""
        if "leased_until" in item:
            values = {"lease": item["leased_until"], "past": 0}
            self._change(item, "SET #leased_until = :past", values, "#leased_until = :lease")

    def _change(self, item: Item, expression: str, values: Mapping[str, Value], condition: str) -> bool:
        try:
            self._db.update(Table.DELIVERIES, delivery_key(item), expression, values=values, condition=condition)
        except ConditionFailedError:
            return False
        return True

    def align(self, behind: Sequence[Item], due_at: UnixMillis) -> None:
        """Let what stands behind be looked at when the first of its line is."""
        for item in behind:
            if item["due_at"] != due_at:
                self.move(item, due_at)

    def _remember(self, item: Item) -> None:
        if len(self._taken) >= CACHE_ENTRIES_MAX:
            self._taken.clear()
        self._taken[item["webhook_id"]] = delivery_key(item)
