"""What a party can decide about a contract that is its turn to sign. There is no default: somebody must decide."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from moneta.client.verified import VerifiedContract


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign it: the amounts are those of our own records."""


@dataclass(frozen=True, slots=True)
class Decline:
    """End it. ``reason_code``: 1 to 64 of ``a-z 0-9 _ -``; ``reason``: at most 500 characters, for a person."""

    reason_code: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """Only say that the message came; sign or decline later with ``HubClient``, or let it expire."""


Decision: TypeAlias = Sign | Decline | Later
Decide: TypeAlias = Callable[[VerifiedContract], Decision]
