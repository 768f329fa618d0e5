"""The thread that completes what was committed and not finished, beside the processor, on a store where that can be.

At the start it is what a processor that died had in hand; then what others leave, who may be on other machines.
"""

from collections.abc import Callable
from typing import Final

import structlog

from moneta.application.ports import Relay
from moneta.entrypoints.repeating import Repeating

COMPLETE_EVERY_S: Final = 60.0
"""As often as the sweep of a deployed hub."""

log = structlog.get_logger()


def completing_thread(relay: Relay, *, every_s: float = COMPLETE_EVERY_S) -> Repeating:
    """Return the thread: it completes now and every ``every_s``, until stopped."""

    def turn(_pause: Callable[[float], bool]) -> None:
        count = relay.complete_waiting()
        if count:
            log.info("changes_completed", count=count)

    return Repeating("completing", turn, first_s=0.0, every_s=every_s)
