"""One id by which everything about a contract is found, in every process, in logs and in traces.

It derives from the contract's own id, so nothing has to be stored or handed on for it, and what is logged of a contract
a month later still carries it. It tells nothing that the contract's id doesn't.

The ids of spans derive from what they are spans of. So each process knows those of the others' spans without being
told, and a span names its parent though another process made it, or will.
"""

import hashlib
from functools import lru_cache
from typing import Final, NewType

from moneta.domain.identifiers import ContractId, EventId, OrganizationId, Revision, UnixMillis, WebhookId

SpanId = NewType("SpanId", int)

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8
_TRACE: Final = b"moneta trace\x00"


@lru_cache(maxsize=1_024)
def trace_id_of(contract_id: str) -> str:
    """Return the contract's trace id in hexadecimal, as W3C Trace Context and OpenTelemetry write it."""
    return hashlib.sha256(_TRACE + contract_id.encode("utf-8")).hexdigest()[: 2 * TRACE_ID_BYTES]


def event_span(source: OrganizationId, event_id: EventId) -> SpanId:
    """Return the id of the span of an event's acceptance."""
    return _span("event", source, event_id)


def outcome_span(source: OrganizationId, event_id: EventId) -> SpanId:
    """Return the id of the span of an outcome that changed nothing and told nobody."""
    return _span("outcome", source, event_id)


def try_span(source: OrganizationId, event_id: EventId, at_ns: int) -> SpanId:
    """Return the id of the span of a try at an event that met a bug; its number may come again after a redrive."""
    return _span("try", source, event_id, str(at_ns))


def step_span(contract_id: ContractId, revision: Revision) -> SpanId:
    """Return the id of the span of what made a step of a contract."""
    return _span("step", contract_id, str(revision))


def rejection_span(webhook_id: WebhookId) -> SpanId:
    """Return the id of the span of a rejection; ``webhook_id``: of the message that tells of it."""
    return _span("rejection", webhook_id)


def attempt_span(webhook_id: WebhookId, at: UnixMillis) -> SpanId:
    """Return the id of the span of an attempt; by its moment, since its number comes again after a redelivery."""
    return _span("attempt", webhook_id, str(at))


def _span(*cause: str) -> SpanId:
    digest = hashlib.sha256("\x00".join(("moneta span", *cause)).encode("utf-8")).digest()
    return SpanId(int.from_bytes(digest[:SPAN_ID_BYTES], "big") or 1)  # 0 is no id, says W3C Trace Context
