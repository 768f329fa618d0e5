"""Pages of lists, filled from what an index gives, and their cursors.

What does not fit the query costs a read too. So a page looks at a bounded number of things; if it is not full by then
it ends there, perhaps empty, with a cursor that goes on. A cursor is bound to the query that it was given for.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from moneta.adapters.aws.buckets import MILLIS_DIGITS, MOMENT_END
from moneta.application.ports import Page
from moneta.domain.errors import InvalidParameterError, MalformedJWSError
from moneta.signing import base64url

Listed = TypeVar("Listed")

FINGERPRINT_BYTES: Final = 6
PLACE_END: Final = f"{MOMENT_END:0{MILLIS_DIGITS}d}~"
"""After every place of a list."""
_PLACE: Final = re.compile(f"[0-9]{{{MILLIS_DIGITS}}}#[!-~]{{0,300}}", re.ASCII)
COST_MAX: Final = 4_000
"""How many items and partitions one page looks at."""


@dataclass(frozen=True, slots=True)
class Seen(Generic[Listed]):
    """Something that a list looked at: the place it stands at, and itself if it fits.

    Below a place everything is older. ``cost``: how many items or partitions had to be asked for.
    """

    place: str
    item: Listed | None = None
    cost: int = 1


def fill_page(query: object, seen: Iterator[Seen[Listed]], limit: int) -> Page[Listed]:
    """Return a page of the first ``limit`` items that fit, the latest first. ``query``: see ``encode_cursor``."""
    items: list[Listed] = []
    cost, last = 0, ""
    for one in seen:
        if one.item is not None and len(items) == limit:
            return Page(items=items, next_cursor=encode_cursor(query, last))
        if one.item is not None:
            items.append(one.item)
            last = one.place
        cost += one.cost
        if cost >= COST_MAX:
            return Page(items=items, next_cursor=encode_cursor(query, one.place))
    return Page(items=items, next_cursor=None)


def encode_cursor(query: object, position: str) -> str:
    """Return the cursor that goes on after ``position``; ``query``: what was asked, without limit and cursor."""
    return base64url.encode(msgspec.json.encode([_fingerprint(query), position]))


def decode_cursor(query: object, cursor: str | None) -> str | None:
    """Return the position that ``encode_cursor`` was given for the same query; None without a cursor.

    Raises:
        InvalidParameterError: It is none of ours, or another query's.
    """
    if cursor is None:
        return None
    try:
        fingerprint, position = msgspec.json.decode(base64url.decode(cursor, what="cursor"), type=tuple[str, str])
    except (MalformedJWSError, msgspec.DecodeError) as error:
        raise _not_ours() from error
    if fingerprint != _fingerprint(query) or _PLACE.fullmatch(position) is None:
        raise _not_ours()
    return position


def _not_ours() -> InvalidParameterError:
    return InvalidParameterError("cursor: not one that this list gave", field="cursor")


def _fingerprint(query: object) -> str:
    return base64url.encode(hashlib.sha256(repr(query).encode("utf-8")).digest()[:FINGERPRINT_BYTES])
