"""Accepted events as messages of their queue: the bytes that came as the body, all else as attributes.

SQS takes texts, and not every character: what is no such text goes as base64, and says so.
"""

import base64
from enum import StrEnum
from typing import Final

import msgspec

from moneta.adapters.aws.sqs import Message, Received, can_be_sent
from moneta.application.ports import EventType, QueuedEvent
from moneta.domain.identifiers import ContractId, EventId, OrganizationId, RegistrySeq, UnixMillis


class _Encoding(StrEnum):
    TEXT = "text"
    BASE64 = "base64"


class EventMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way, but for its bytes. ``ready_at``: since when it can be taken."""

    source: OrganizationId
    event_id: EventId
    type: EventType
    contract_id: ContractId
    received_at: UnixMillis
    ready_at: UnixMillis
    registry_seq: RegistrySeq
    encoding: _Encoding = _Encoding.TEXT


HANDLE_MARK: Final = "."
NEVER_MS: Final = 2**62
"""The end of a lease that nobody here keeps: a function ends before its message is shown again."""


def message_of(event: EventMessage, raw: bytes) -> Message:
    """Return the message that brings an event."""
    body, encoding = _encoded(raw)
    facts = msgspec.structs.asdict(msgspec.structs.replace(event, encoding=encoding))
    return Message(body=body, group=event.source, attributes={name: str(value) for name, value in facts.items()})


def event_of(received: Received, *, lease_ends_at: int = NEVER_MS) -> QueuedEvent:
    """Return the event that a message brings. Its handle says until when it is its taker's.

    Raises:
        ValueError: ``message_of`` did not make it.
    """
    try:
        facts = msgspec.convert(dict(received.attributes), EventMessage, strict=False)
        raw = _decoded(received.body, facts.encoding)
    except (msgspec.ValidationError, ValueError) as error:
        raise ValueError(f"not an event's message: {error}") from error
    return QueuedEvent(
        source=facts.source,
        event_id=facts.event_id,
        type=facts.type,
        contract_id=facts.contract_id,
        raw=raw,
        received_at=facts.received_at,
        registry_seq=facts.registry_seq,
        tries=received.count,
        handle=f"{lease_ends_at}{HANDLE_MARK}{received.handle}",
        ready_at=facts.ready_at,
    )


def parse_handle(handle: str) -> tuple[int, str]:
    """Return the end of the lease, and the service's handle."""
    ends_at, _, receipt = handle.partition(HANDLE_MARK)
    return int(ends_at), receipt


def _encoded(raw: bytes) -> tuple[str, _Encoding]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if can_be_sent(text):
        return text, _Encoding.TEXT
    return base64.b64encode(raw).decode("ascii"), _Encoding.BASE64


def _decoded(body: str, encoding: _Encoding) -> bytes:
    return body.encode("utf-8") if encoding is _Encoding.TEXT else base64.b64decode(body, validate=True)
