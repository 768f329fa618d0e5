"""Events: one item each under ``<source>#<event_id>``, put where none is, which makes ``POST /event`` idempotent.

Until its outcome an item holds the event's bytes, and ``waiting_for``, which puts it into the sparse index ``waiting``
under its contract. That is where an event can be taken from for now; sending it to its SQS queue after the put, and
again for a repeat that has no outcome yet, comes with the functions that receive it.

``received_at`` is stamped before the put, since a condition can't read the service's clock, and an index lags. Both are
over within ``limits.EXPIRY_GRACE_S``, which ``end_contracts`` waits after a term before it asks ``has_unprocessed``.
A put that took longer, with its retries, would be recorded with a moment that an expiry has already been decided for:
then the expiry stands, and the event, though received in time, gets ``contract_closed``, as if it had lost the race.
"""

from collections.abc import Sequence
from typing import Final

from moneta.adapters.aws.attributes import Item
from moneta.adapters.aws.contract_items import event_key
from moneta.adapters.aws.dynamodb import DynamoDB, Query, Table
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
from moneta.domain.identifiers import ContractId, EventId, OrganizationId, UnixMillis

OWING: Final = "#owing"
"""What a rejected event waits for until its sender's message is in the deliveries table; no contract's id."""


class DynamoDBEventStore:
    """See ``ports.EventStore``."""

    def __init__(self, db: DynamoDB, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def accept(self, events: Sequence[NewEvent]) -> Sequence[Taken | Reused]:
        """See EventStore.accept."""
        places: dict[str, int] = {}
        for place, event in enumerate(events):
            places.setdefault(event_key(event.source, event.event_id), place)
        firsts = list(places.values())
        answers = dict(zip(firsts, self._db.each(lambda place: self.accept_one(events[place]), firsts), strict=True))
        # A repeat within the call meets what the first one left, like any other repeat.
        return [answers.get(place) or self.accept_one(event) for place, event in enumerate(events)]

    def accept_one(self, event: NewEvent) -> Taken | Reused:
        """Accept one event: one conditional write. See EventStore.accept."""
        received_at = self._clock.now_ms()
        earlier = self._db.put_new(Table.EVENTS, event_item(event, received_at=received_at))
        if earlier is None:
            return Taken(received_at=received_at, is_replay=False)
        is_same = earlier["digest"] == event.digest
        return Taken(received_at=earlier["received_at"], is_replay=True) if is_same else Reused()

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


def event_item(event: NewEvent, *, received_at: UnixMillis) -> Item:
    """Return the item of an event that is accepted now."""
    return {
        "event": event_key(event.source, event.event_id),
        "type": event.type,
        "contract_id": event.contract_id,
        "digest": event.digest,
        "status": EventStatus.ACCEPTED,
        "received_at": received_at,
        "registry_seq": event.registry_seq,
        "raw": event.raw,
        "waiting_for": event.contract_id,
    }
