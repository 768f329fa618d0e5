"""The thread that forgets what is over, beside the processor, so slowly that nobody notices.

A write takes a few milliseconds of the one writer's place; after each the thread leaves it to the others for many times
as long. On a slow disk, or under load, the writes take longer, and so do the pauses.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from moneta.application.forget_past import forget_past
from moneta.application.ports import Hub
from moneta.domain.limits import FORGET_EVERY_S
from moneta.domain.retention import Past, Retention
from moneta.entrypoints.repeating import Repeating

FIRST_S: Final = 60.0
"""After the start: whatever waited while the hub was down comes first."""
PAUSES_PER_WRITE: Final = 19
"""So that forgetting takes one part in twenty of the writer's time at most."""

log = structlog.get_logger()


def forgetting_thread(
    hub: Hub, retention: Retention, *, first_s: float = FIRST_S, every_s: float = FORGET_EVERY_S
) -> Repeating:
    """Return the thread: it forgets ``first_s`` after the start, and then every ``every_s``, until stopped."""

    def turn(pause: Callable[[float], bool]) -> None:
        log.info("past_forgotten", **forget_slowly(hub, retention, pause=pause))

    return Repeating("forgetting", turn, first_s=first_s, every_s=every_s)


def forget_slowly(
    hub: Hub, retention: Retention, *, pause: Callable[[float], bool], is_trial: bool = False
) -> dict[Past, int]:
    """Forget what is over with pauses in between, until ``pause`` says to stop; return how many of each kind."""
    counts: Counter[Past] = Counter(dict.fromkeys(Past, 0))
    began_at = time.monotonic()
    for past, count in forget_past(hub, retention, is_trial=is_trial):
        counts[past] += count
        if pause((time.monotonic() - began_at) * PAUSES_PER_WRITE if count else 0.0):
            break
        began_at = time.monotonic()
    return dict(counts)
