"""How long the hub keeps what is over. Contracts, their steps, keys and the audit log are kept for ever.

What is forgotten holds no evidence: a contract's steps say all that was ever signed. It is what the hub answers with
when something comes twice (events, answers), and what it shows of its own work (deliveries with their attempts).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from moneta.domain.errors import RetentionError
from moneta.domain.identifiers import UnixMillis
from moneta.domain.limits import (
    KEEP_ANSWERS_DAYS,
    KEEP_DEAD_DAYS,
    KEEP_DELIVERIES_DAYS,
    KEEP_EVENTS_DAYS,
    KEEP_EVENTS_DAYS_MIN,
)

DAY_MS: Final = 24 * 3600 * 1000


class Past(StrEnum):
    """The kinds of things that are over at some time, in the order in which they are forgotten."""

    DELIVERIES = "deliveries"
    DEAD_DELIVERIES = "dead_deliveries"
    EVENTS = "events"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """For how many days each kind is kept: a delivery since its last attempt, an event since its outcome.

    ``answers_days``: an answer to an ``Idempotency-Key``, since it was given.

    Raises:
        RetentionError: An event would be forgotten while a webhook that names it as its cause, or can be answered by
            it, is still kept; or before the protocol allows it (section 5: 7 days).
    """

    deliveries_days: int = KEEP_DELIVERIES_DAYS
    dead_days: int = KEEP_DEAD_DAYS
    events_days: int = KEEP_EVENTS_DAYS
    answers_days: int = KEEP_ANSWERS_DAYS

    def __post_init__(self) -> None:
        """Refuse what would break a promise."""
        needed = max(self.deliveries_days, self.dead_days, KEEP_EVENTS_DAYS_MIN)
        if self.events_days < needed:
            raise RetentionError(
                f"events: expected to be kept for {needed} days or more, no shorter than any delivery, "
                f"got {self.events_days}"
            )

    def days(self) -> Mapping[Past, int]:
        """Return the days of each kind."""
        return {
            Past.DELIVERIES: self.deliveries_days,
            Past.DEAD_DELIVERIES: self.dead_days,
            Past.EVENTS: self.events_days,
            Past.ANSWERS: self.answers_days,
        }

    def forgotten_before(self, past: Past, *, now: UnixMillis) -> UnixMillis:
        """Return the moment before which what was over is forgotten ``now``."""
        return UnixMillis(now - self.days()[past] * DAY_MS)
