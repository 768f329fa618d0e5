"""How many new events the hub takes while it is behind: the rule, and nothing but the rule.

While what was accepted is sent on in time, everything is taken. When it is not, so many are that what waits goes back
to a quarter of a second's worth: as many as are being sent on, and the difference over ``CORRECTION_S``; and that goes
on until all that is asked for fits. A rule of on and off would swing between the two: one that lets everything in again
as soon as little waits lets in a thousand events before it looks again. One that follows the age of the oldest alone
learns of a change only an age later.

What is taken is divided so that nobody gets more while somebody else gets less than it asks for (max-min fairness).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, inf
from typing import Final

from moneta.domain.limits import BACKLOG_EVENTS_MAX, BACKLOG_EVENTS_MIN, BACKLOG_LAG_MS_MIN, BUSY_RETRY_S_MAX

WANTED_S: Final = 0.25
CORRECTION_S: Final = 1.0
"""So everything new is refused when ``WANTED_S + CORRECTION_S``, five quarters of a second's worth, wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How the hub is getting on.

    ``lag_ms``: for how long what is sent now had waited for the hub. ``backlog``: events that were accepted, or wait to
    be, and are not yet sent on. ``sent_per_s``: events sent on, a second.
    """

    lag_ms: int = 0
    backlog: float = 0.0
    sent_per_s: float = 0.0


def admitted_per_s(load: Load, *, asked_per_s: float, is_holding_back: bool) -> float:
    """Return how many new events a second may be accepted under ``load``; infinity for any number.

    ``asked_per_s``: how many all callers would send. ``is_holding_back``: whether fewer than that were taken until now.
    """
    if load.backlog >= BACKLOG_EVENTS_MAX:
        return 0.0
    wanted = max(BACKLOG_EVENTS_MIN, load.sent_per_s * WANTED_S)
    held = max(0.0, load.sent_per_s + (wanted - load.backlog) / CORRECTION_S)
    is_late = load.lag_ms >= BACKLOG_LAG_MS_MIN and load.backlog >= BACKLOG_EVENTS_MIN
    return held if is_late or (is_holding_back and asked_per_s > held) else inf


def fair_share(demands: Iterable[float], capacity: float) -> float:
    """Return the most that each may have, so that all together have no more than ``capacity``; infinity if all fit.

    Who asks for less than the share gets all it asks for; what it leaves goes to the others.
    """
    left, rising = capacity, sorted(demands)
    for place, demand in enumerate(rising):
        share = left / (len(rising) - place)
        if demand > share:
            return share
        left -= demand
    return inf


def retry_spread_s(asked: float, admitted: float) -> int:
    """Return over how many seconds those who are refused must come back, so that each second's can be taken."""
    times = asked / admitted if admitted else inf
    return ceil(min(max(1.0, times), BUSY_RETRY_S_MAX))
