"""Where an mPass stands in its MO's status lists: positions are given in order, places are not in order.

1. A position is given once and never again, in whatever order passes are made; one that was taken for an mPass that
   was then not made stays empty.
2. The place of a position is a permutation of the list, keyed with a secret of the MO's: whoever sees the places of
   two passes can't tell whether they were issued one after the other.
3. A list is full at ``STATUS_LIST_PLACES``, and the next one begins.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from moneta.domain.identifiers import OrganizationId
from moneta.domain.limits import STATUS_LIST_PLACES

STATUS_BITS: Final = 2
_HALF_BITS: Final = 8
_HALF: Final = 2**_HALF_BITS
_ROUNDS: Final = 8
"""Twice the four from which on Luby and Rackoff's construction is a strong permutation, since the halves are small."""

_LIST_ID: Final = re.compile(r"(?P<mo>[A-Za-z0-9._:~-]{1,128})\.(?P<number>0|[1-9][0-9]{0,8})", re.ASCII)


class ListedStatus(IntEnum):
    """What a place of a list says (Token Status List, section 7.1)."""

    VALID = 0
    INVALID = 1
    SUSPENDED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPlace:
    """A place in one of an MO's status lists."""

    list_number: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenPositions:
    """Positions that an MO was just given: ``count`` of them from ``first``, and its secret, sealed."""

    first: int
    count: int
    sealed_secret: bytes


def places_of(positions: TakenPositions, secret: bytes) -> Sequence[StatusPlace]:
    """Return the place of each position. ``secret``: what ``positions`` has sealed."""
    return [_place(secret, position) for position in range(positions.first, positions.first + positions.count)]


def list_id(mo_id: OrganizationId, list_number: int) -> str:
    """Return the id of one of an MO's status lists."""
    return f"{mo_id}.{list_number}"


def parse_list_id(text: str) -> tuple[OrganizationId, int] | None:
    """Return whose list it is and which; None if that is no list's id."""
    found = _LIST_ID.fullmatch(text)
    return None if found is None else (OrganizationId(found["mo"]), int(found["number"]))


def _place(secret: bytes, position: int) -> StatusPlace:
    """Return a position's place: a Feistel network over the two halves of the position within its list."""
    number, within = divmod(position, STATUS_LIST_PLACES)
    left, right = divmod(within, _HALF)
    for step in range(_ROUNDS):
        message = number.to_bytes(8, "big") + bytes((step, right))
        left, right = right, left ^ hmac.digest(secret, message, hashlib.sha256)[0]
    return StatusPlace(list_number=number, index=left * _HALF + right)
