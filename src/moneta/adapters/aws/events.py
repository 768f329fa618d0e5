"""Events: one item each under ``<source>#<event_id>``, put where none is, which makes ``POST /event`` idempotent.

An event is accepted so:

1. Put its item, if there is none. It has no bytes: a digest tells whether a repeat is one.
2. Send its message, which has them. Only then is it known to be durable, and answered.

Who dies between the two has answered nothing; so the event comes again, and is sent again, as is every repeat without
an outcome: a message too many is harmless. Should no repeat come, what could not be sent is not left to hold up its
contract: its bytes are kept in the item, and ``send_unsent`` sends them.

An event out of a webhook's answer may come again with other bytes (an ECDSA signature is never the same twice), or not
at all, so its item keeps the first ones until its outcome, and those are sent.

Until its outcome an item has ``waiting_for``, which puts it into the sparse index ``waiting`` under its contract.

``received_at`` is stamped before the put, since a condition can't read the service's clock, and an index lags. Both are
over within ``limits.EXPIRY_GRACE_S``, which ``end_contracts`` waits after a term before it asks ``has_unprocessed``.
A put that took longer, with its retries, would be recorded with a moment that an expiry has already been decided for:
then the expiry stands, and the event, though received in time, gets ``contract_closed``, as if it had lost the race.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from moneta.adapters.aws.attributes import Item, Value
from moneta.adapters.aws.contract_items import event_key, parse_event_key
from moneta.adapters.aws.dynamodb import ConditionFailedError, DynamoDB, Query, Table
from moneta.adapters.aws.event_messages import EventMessage, message_of
from moneta.adapters.aws.sqs import Message, Queue, batches
from moneta.adapters.aws.store_check import NOBODY
from moneta.adapters.aws.tables import WAITING
from moneta.application.ports import (
    Clock,
    EventRecord,
    EventStatus,
    EventType,
    NewEvent,
    Reused,
    Taken,
)
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.identifiers import ContractId, EventId, OrganizationId, UnixMillis

OWING: Final = "#owing"
"""What a rejected event waits for until its sender's message is in the deliveries table; no contract's id."""
MESSAGE_LIFE_MS: Final = 14 * 24 * 3_600_000
"""How long SQS keeps a message: the longest that it offers."""
UNSENT_MS: Final = 60_000
"""For how long an event waits before it is sent again: its sender, or whoever is at it, has been faster as a rule."""
SENT_AGAIN: Final = "sent_again_at"
LETTER: Final = "letter_bucket"
"""The attribute that an event has while it is a dead letter."""


class DynamoDBEventStore:
    """See ``ports.EventStore``."""

    def __init__(self, db: DynamoDB, clock: Clock, queue: Queue) -> None:
        self._db = db
        self._clock = clock
        self._queue = queue

    def accept(self, events: Sequence[NewEvent]) -> Sequence[Taken | Reused]:
        """See EventStore.accept."""
        if not events:
            self._ask_whether_it_could()
        return [one.answer() for one in self._accept(events, keeps_bytes=False)]

    def _ask_whether_it_could(self) -> None:
        """Write to no item, which is permitted, throttled and answered like any write, and look at the queue."""
        with suppress(ConditionFailedError):
            nobody = {"event": NOBODY}
            self._db.update(Table.EVENTS, nobody, "REMOVE #raw", values={}, condition="attribute_exists(#event)")
        self._queue.depth()

    def accept_answers(self, events: Sequence[NewEvent]) -> None:
        """Accept events that receivers gave in their answers. Of two answers to a message the first one counts."""
        self._accept(events, keeps_bytes=True)

    def _accept(self, events: Sequence[NewEvent], *, keeps_bytes: bool) -> Sequence["_Recorded"]:
        record = partial(self._record, keeps_bytes=keeps_bytes)
        places: dict[str, int] = {}
        for place, event in enumerate(events):
            places.setdefault(event_key(event.source, event.event_id), place)
        firsts = list(places.values())
        found = dict(zip(firsts, self._db.each(lambda place: record(events[place]), firsts), strict=True))  # (1)
        # A repeat within the call meets what the first one left, like any other repeat.
        recorded = [found.get(place) or record(event) for place, event in enumerate(events)]
        unprocessed = {one.item["event"]: one for one in recorded if one.is_unprocessed()}
        try:
            self._send([one.message() for one in unprocessed.values()])  # (2)
        except StoreUnavailableError:
            self._keep_bytes([one for one in unprocessed.values() if "raw" not in one.item])
            raise
        return recorded

    def _send(self, messages: Sequence[Message]) -> None:
        self._db.each(self._queue.send, list(batches(messages)))

    def _keep_bytes(self, recorded: Sequence["_Recorded"]) -> None:
        """Keep the bytes of what may not have been sent, as far as the table can be reached."""
        with suppress(StoreUnavailableError):
            self._db.each(self._keep, recorded)

    def _keep(self, one: "_Recorded") -> None:
        values: dict[str, Value] = {"raw": one.event.raw, "accepted": EventStatus.ACCEPTED}
        self._update(one.item, "SET #raw = :raw", values, "#status = :accepted AND attribute_not_exists(#raw)")

    def send_unsent(self, waiting: Sequence[Item]) -> int:
        """Send what has waited for ``UNSENT_MS`` and has its bytes, once; return how much it was.

        ``waiting``: entries of the index. An event out of an answer has its bytes even if it was sent.
        """
        now = self._clock.now_ms()
        keys = [{"event": one["event"]} for one in waiting if one["received_at"] <= now - UNSENT_MS]
        found = [item for item in self._db.batch_get(Table.EVENTS, keys) if _is_unsent(item)]
        self._send([message_of(event_message(item, ready_at=item["received_at"]), item["raw"]) for item in found])
        for item in found:
            self._update(item, f"SET #{SENT_AGAIN} = :now", {"now": now}, "attribute_exists(#raw)")
        return len(found)

    def _update(self, item: Item, expression: str, values: Mapping[str, Value], condition: str) -> None:
        """Change an event unless its outcome was faster."""
        with suppress(ConditionFailedError):
            self._db.update(Table.EVENTS, {"event": item["event"]}, expression, values=values, condition=condition)

    def _record(self, event: NewEvent, *, keeps_bytes: bool) -> "_Recorded":
        item = event_item(event, received_at=self._clock.now_ms(), keeps_bytes=keeps_bytes)
        earlier = self._db.put_new(Table.EVENTS, item)
        return _Recorded(event=event, item=earlier or item, is_replay=earlier is not None)

    def find(self, source: OrganizationId, event_id: EventId) -> EventRecord | None:
        """See EventStore.find."""
        item = self._db.get(Table.EVENTS, {"event": event_key(source, event_id)})
        if item is None:
            return None
        return EventRecord(
            source=source,
            event_id=event_id,
            type=EventType(item["type"]),
            contract_id=item["contract_id"],
            digest=item["digest"],
            status=EventStatus(item["status"]),
            received_at=item["received_at"],
            processed_at=item.get("processed_at"),
            problem=item.get("problem"),
        )

    def has_unprocessed(self, contract_id: ContractId, *, received_before: UnixMillis) -> bool:
        """See EventStore.has_unprocessed."""
        query = Query(
            table=Table.EVENTS,
            index=WAITING,
            where="#waiting_for = :contract AND #received_at < :before",
            values={"contract": contract_id, "before": received_before},
            page=1,
        )
        return next(self._db.query(query), None) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recorded:
    """An event that came, and the item that stands for it."""

    event: NewEvent
    item: Item
    is_replay: bool

    def answer(self) -> Taken | Reused:
        if self.event.digest != self.item["digest"]:
            return Reused()
        return Taken(received_at=self.item["received_at"], is_replay=self.is_replay)

    def is_unprocessed(self) -> bool:
        """Tell whether the event must be sent, perhaps again: here are its bytes, and it has no outcome."""
        has_bytes = "raw" in self.item or self.event.digest == self.item["digest"]
        return has_bytes and "processed_at" not in self.item and LETTER not in self.item

    def message(self) -> Message:
        facts = event_message(self.item, ready_at=self.item["received_at"])
        return message_of(facts, self.item.get("raw", self.event.raw))


def _is_unsent(item: Item) -> bool:
    """Tell whether an event is to be sent, and may never have been."""
    return "raw" in item and not {"processed_at", LETTER, SENT_AGAIN} & item.keys()


def event_message(item: Item, *, ready_at: UnixMillis) -> EventMessage:
    """Return what a message says of an event, beside its bytes."""
    source, event_id = parse_event_key(item["event"])
    return EventMessage(
        source=source,
        event_id=event_id,
        type=item["type"],
        contract_id=item["contract_id"],
        received_at=item["received_at"],
        ready_at=ready_at,
        registry_seq=item["registry_seq"],
    )


def event_item(event: NewEvent, *, received_at: UnixMillis, keeps_bytes: bool) -> Item:
    """Return the item of an event that is accepted now."""
    item = {
        "event": event_key(event.source, event.event_id),
        "type": event.type,
        "contract_id": event.contract_id,
        "digest": event.digest,
        "status": EventStatus.ACCEPTED,
        "received_at": received_at,
        "registry_seq": event.registry_seq,
        "waiting_for": event.contract_id,
    }
    return item | ({"raw": event.raw} if keeps_bytes else {})
