"""What a span says, before OpenTelemetry knows of it, and what is read of W3C Trace Context.

Attributes are named by OpenTelemetry's semantic conventions where those have a name, and else begin with ``moneta.``;
docs/telemetry.md has the list, and a test compares. None is a payload, a secret or a URL, whose path may be one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from moneta.entrypoints.telemetry.correlation import SpanId

VERSION: Final = b"00"
SAMPLED: Final = 1
NO_VERSION: Final = b"ff"
_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)

Attributes = Mapping[str, str | int]


class SpanKind(StrEnum):
    """Who waits for whom; the names of OpenTelemetry's SpanKind."""

    SERVER = "SERVER"
    CONSUMER = "CONSUMER"
    CLIENT = "CLIENT"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Another trace that a caller says it is part of."""

    trace_id: int
    span_id: int
    is_sampled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that has happened. Times in Unix nanoseconds; ``trace_id`` in hexadecimal.

    ``error``: what went wrong, of few kinds; None if nothing did.
    """

    name: str
    kind: SpanKind
    trace_id: str
    span_id: SpanId
    parent_id: SpanId | None
    started_ns: int
    ended_ns: int
    attributes: Attributes = field(default_factory=dict)
    error: str | None = None
    link: Link | None = None


def traceparent(trace_id: str, span_id: SpanId, *, is_sampled: bool) -> str:
    """Return the header that makes a span the parent of what its receiver does."""
    return f"{VERSION.decode()}-{trace_id}-{span_id:016x}-{SAMPLED if is_sampled else 0:02x}"


def link_of(header: bytes | None) -> Link | None:
    """Return what a ``traceparent`` header says; None for none, and for what is not one. W3C Trace Context, 3.2.

    A version that we don't know may go on after what all versions begin with.
    """
    match = _TRACEPARENT.fullmatch(header or b"")
    if match is None or match[1] == NO_VERSION or (match[1] == VERSION and match[5] is not None):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    is_sampled = bool(int(match[4], 16) & SAMPLED)
    return Link(trace_id=trace_id, span_id=span_id, is_sampled=is_sampled) if trace_id and span_id else None
