"""The thread that forgets what is over, beside the processor, so slowly that nobody notices.

A write takes a few milliseconds of the one writer's place; after each the thread leaves it to the others for many times
as long. On a slow disk, or under load, the writes take longer, and so do the pauses.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from moneta.application.forget_past import forget_past
from moneta.application.ports import Hub
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.limits import FORGET_EVERY_S
from moneta.domain.retention import Past, Retention

FIRST_S: Final = 60.0
"""After the start: whatever waited while the hub was down comes first."""
PAUSES_PER_WRITE: Final = 19
"""So that forgetting takes one part in twenty of the writer's time at most."""

log = structlog.get_logger()


class Forgetting:
    """Forgets every ``every_s``, until stopped; ``first_s`` after the start for the first time."""

    def __init__(
        self, hub: Hub, retention: Retention, *, first_s: float = FIRST_S, every_s: float = FORGET_EVERY_S
    ) -> None:
        self._hub = hub
        self._retention = retention
        self._first_s = first_s
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forgetting", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it, after the write under way."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = self._first_s
        while not self._stopped.wait(pause_s):  # until stopped
            pause_s = self._every_s
            try:
                counts = forget_slowly(self._hub, self._retention, pause=self._stopped.wait)
            except StoreUnavailableError as error:
                log.warning("store_unavailable", detail=str(error))
            except Exception as error:  # a bug: shown, and not the end of the processor
                log.exception("forgetting_failed", error=type(error).__name__)
            else:
                log.info("past_forgotten", **counts)


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
