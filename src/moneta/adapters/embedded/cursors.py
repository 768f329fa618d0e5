"""Cursors: where a page of a list ended, as one opaque text.

base64url of the last item's moment and id, and a digest of the filters it was given for, which name the caller: a
cursor of another query, or of another's, is refused. It holds nothing that its page did not show, so it needs no key.
"""

import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from moneta.domain.errors import InvalidParameterError
from moneta.domain.limits import (
    CURSOR_CHARS_MAX,
    JSON_INTEGER_MAX,
)

_DIGEST_BYTES: Final = 8

Filter = str | int | None


class Place(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The last item of a page: the moment that the list is ordered by, and the item's id."""

    at: Annotated[int, msgspec.Meta(ge=0, le=JSON_INTEGER_MAX)]
    name: str
    filters_digest: bytes


_decoder: Final = msgspec.msgpack.Decoder(Place)


def make_cursor(at: int, name: str, *, filters: Sequence[Filter]) -> str:
    """Return the cursor of a page that ends with the item ``name`` of the moment ``at``."""
    return urlsafe_b64encode(msgspec.msgpack.encode(Place(at, name, _digest(filters)))).rstrip(b"=").decode("ascii")


def read_cursor(cursor: str, *, filters: Sequence[Filter]) -> Place:
    """Return the place that ``make_cursor`` was given.

    Raises:
        InvalidParameterError: Not a cursor, or not one for these filters (``field="cursor"``).
    """
    try:
        raw = b64decode(cursor[:CURSOR_CHARS_MAX] + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = _decoder.decode(raw)
    except ValueError as error:
        raise bad_cursor() from error
    if place.filters_digest != _digest(filters) or make_cursor(place.at, place.name, filters=filters) != cursor:
        raise bad_cursor()
    return place


def bad_cursor() -> InvalidParameterError:
    """Return the one answer to every cursor that was not given for this query."""
    return InvalidParameterError("cursor: not one that this list gave", field="cursor")


def _digest(filters: Sequence[Filter]) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(filters)).digest()[:_DIGEST_BYTES]
