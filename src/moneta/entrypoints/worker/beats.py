"""The thread that shows how a worker process is getting on, whatever its main loop is at."""

import threading
from collections.abc import Callable
from typing import Final

from moneta.entrypoints.heartbeats import Heartbeat, HeartbeatFile

BEAT_S: Final = 0.25


class Beats:
    """Writes ``measure()`` to ``file`` every ``BEAT_S``, until stopped."""

    def __init__(self, file: HeartbeatFile, measure: Callable[[], Heartbeat]) -> None:
        self._file = file
        self._measure = measure
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        """Show the first, and start the thread."""
        self._file.write(self._measure())
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(BEAT_S):  # until stopped
            self._file.write(self._measure())
