"""A delivery as the item of its table.

``place``, the sort key, holds whom it is for, the contract's revision and the time, in this order, and its own id; so
none of them is stored twice. The attempts stand in the item, a byte string each, 1 KiB or a little more: there are ten
at most, and more only of what was owed again (``attempts_before`` tells how many there were then).
"""

from typing import Final

import msgspec

from moneta.adapters.aws.attributes import Item, Key
from moneta.adapters.aws.buckets import (
    DELIVERY_MONTHS,
    MILLIS_DIGITS,
    Calendar,
    month_bucket,
    month_of,
    shard_of,
    time_key,
)
from moneta.application.ports import (
    Attempt,
    DeliveryRecord,
    DeliveryStatus,
    Line,
    OwedDelivery,
    WebhookType,
)
from moneta.domain.identifiers import ContractId, OrganizationId, Revision, UnixMillis, WebhookId

REVISION_DIGITS: Final = 10
OF_ENDPOINT: Final = "#endpoint#"
"""What the partition of messages about an endpoint begins with; no contract's id."""


class _Attempt(msgspec.Struct, array_like=True, frozen=True):
    at: UnixMillis
    duration_ms: int
    http_status: int | None
    failure: str | None
    snippet: bytes


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Attempt)


def delivery_item(owed: OwedDelivery, *, due_at: UnixMillis) -> Item:
    """Return the item of a delivery that was never tried."""
    return {
        "contract_id": partition_of(line_of(owed)),
        "place": _place(owed),
        "webhook_id": owed.webhook_id,
        "organization_id": month_bucket(owed.organization_id, month_of(owed.owed_at)),
        "owed_key": time_key(owed.owed_at, owed.webhook_id),
        "type": owed.type,
        "problem": owed.problem,
        "status": DeliveryStatus.PENDING,
        "attempts": [],
        "due_bucket": due_bucket(shard_of(partition_of(line_of(owed)))),
        "due_at": due_at,
    }


def _place(owed: OwedDelivery) -> str:
    moment = f"{owed.owed_at:0{MILLIS_DIGITS}d}"
    return f"{owed.organization_id}#{owed.revision:0{REVISION_DIGITS}d}#{moment}#{owed.webhook_id}"


def due_bucket(shard: int) -> str:
    """Return the partition of the index ``due`` that has the pending deliveries of a shard."""
    return f"due#{shard}"


def dead_bucket(shard: int) -> str:
    """Return the partition of that index that has the dead ones, by the time of their last attempt, to be counted."""
    return f"dead#{shard}"


def delivery_key(item: Item) -> Key:
    """Return the key of a delivery."""
    return {"contract_id": item["contract_id"], "place": item["place"]}


def line_of(owed: OwedDelivery) -> Line:
    """Return the line that a delivery stands in."""
    return Line(organization_id=owed.organization_id, contract_id=owed.contract_id)


def line_of_item(item: Item) -> Line:
    """Return the line that a delivery stands in, from its item, its key or an index's entry."""
    contract_id = None if is_of_endpoint(item["contract_id"]) else ContractId(item["contract_id"])
    return Line(organization_id=organization_of_place(item["place"]), contract_id=contract_id)


def partition_of(line: Line) -> ContractId:
    """Return the partition that a line stands in."""
    return ContractId(f"{OF_ENDPOINT}{line.organization_id}") if line.contract_id is None else line.contract_id


def is_of_endpoint(contract_id: str) -> bool:
    """Tell whether that is the partition of messages about an endpoint, not of those about a contract."""
    return contract_id.startswith(OF_ENDPOINT)


def organization_of_place(place: str) -> OrganizationId:
    """Return whom a delivery is for."""
    return OrganizationId(place.split("#", 1)[0])


def webhook_id_of_place(place: str) -> WebhookId:
    """Return the id of the message."""
    return WebhookId(place.split("#", 3)[3])


def deliveries_kind(shard: int) -> str:
    """Return the calendar's kind that knows, by month, the organizations of a shard with deliveries."""
    return f"{DELIVERY_MONTHS}#{shard}"


def note_delivery(calendar: Calendar, owed: OwedDelivery) -> None:
    """Let the calendar know of a delivery's month and organization."""
    kind = deliveries_kind(shard_of(owed.organization_id))
    calendar.note(kind, month_of(owed.owed_at), owed.organization_id)


def owed_of_item(item: Item) -> OwedDelivery:
    """Return what a delivery's item says is owed."""
    organization, revision, moment, webhook_id = item["place"].split("#", 3)
    return OwedDelivery(
        webhook_id=WebhookId(webhook_id),
        organization_id=OrganizationId(organization),
        type=WebhookType(item["type"]),
        contract_id=None if is_of_endpoint(item["contract_id"]) else item["contract_id"],
        revision=Revision(int(revision)),
        owed_at=UnixMillis(int(moment)),
        problem=item.get("problem"),
    )


def record_of(item: Item) -> DeliveryRecord:
    """Return a delivery with its attempts."""
    return DeliveryRecord(
        owed=owed_of_item(item),
        status=DeliveryStatus(item["status"]),
        next_attempt_at=item["due_at"] if is_pending(item) else None,
        attempts=tuple(map(attempt_of, item["attempts"])),
    )


def is_pending(item: Item) -> bool:
    """Tell whether a delivery is pending."""
    return bool(item["status"] == DeliveryStatus.PENDING)


def attempts_since_owed(item: Item) -> int:
    """Return how many attempts were made since a delivery was owed, or owed again."""
    return len(item["attempts"]) - int(item.get("attempts_before", 0))


def pack_attempt(attempt: Attempt) -> bytes:
    """Return an attempt as it stands in its delivery's item."""
    packed = _Attempt(attempt.at, attempt.duration_ms, attempt.http_status, attempt.failure, attempt.snippet)
    return _encoder.encode(packed)


def attempt_of(raw: bytes) -> Attempt:
    """Return the attempt that ``pack_attempt`` was given."""
    packed = _decoder.decode(raw)
    return Attempt(
        at=packed.at,
        duration_ms=packed.duration_ms,
        http_status=packed.http_status,
        failure=packed.failure,
        snippet=packed.snippet,
    )
