"""The thread that completes what was committed and not finished, beside the processor, on a store where that can be.

At the start it is what a processor that died had in hand; then what others leave, who may be on other machines.
"""

import threading
from typing import Final

import structlog

from moneta.application.ports import Relay
from moneta.domain.errors import StoreUnavailableError

COMPLETE_EVERY_S: Final = 60.0
"""As often as the sweep of a deployed hub."""

log = structlog.get_logger()


class Completing:
    """Completes now and every ``every_s``, until stopped."""

    def __init__(self, relay: Relay, *, every_s: float = COMPLETE_EVERY_S) -> None:
        self._relay = relay
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="completing", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it, after the changes under way."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():  # until stopped
            try:
                count = self._relay.complete_waiting()
            except StoreUnavailableError as error:
                log.warning("store_unavailable", detail=str(error))
            except Exception as error:  # a bug: shown, and not the end of the processor
                log.exception("completing_failed", error=type(error).__name__)
            else:
                if count:
                    log.info("changes_completed", count=count)
            self._stopped.wait(self._every_s)
