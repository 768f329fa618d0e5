"""A thread beside the work of a process, which does something again and again until it is stopped."""

import threading
from collections.abc import Callable

import structlog

from moneta.domain.errors import StoreUnavailableError

log = structlog.get_logger()


class Repeating:
    """Does ``turn`` ``first_s`` after the start, then every ``every_s``. ``name``: of the thread, and in the log.

    ``turn`` is given what to pause with: it sleeps for so many seconds, or until it is time to stop, and tells whether
    it is.
    """

    def __init__(
        self, name: str, turn: Callable[[Callable[[float], bool]], None], *, first_s: float, every_s: float
    ) -> None:
        self._failure = f"{name}_failed"
        self._turn = turn
        self._first_s = first_s
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it, after what is under way."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = self._first_s
        while not self._stopped.wait(pause_s):  # until stopped
            pause_s = self._every_s
            try:
                self._turn(self._stopped.wait)
            except StoreUnavailableError as error:
                log.warning("store_unavailable", detail=str(error))
            except Exception as error:  # a bug: shown, and not the end of the process
                log.exception(self._failure, error=type(error).__name__)
