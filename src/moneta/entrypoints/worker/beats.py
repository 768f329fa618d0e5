"""The thread that shows how a worker process is getting on, whatever its main loop is at, and its figures."""

import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

from moneta.entrypoints.heartbeats import Heartbeat, HeartbeatFile
from moneta.entrypoints.pipes import WakeFile
from moneta.entrypoints.telemetry.figures import Figures
from moneta.entrypoints.telemetry.snapshots import SnapshotFile, measure_process

BEAT_S: Final = 0.1
FIGURES_BEATS: Final = 10


class Beats:
    """Writes ``measure()`` to its file every ``BEAT_S``, and every ``FIGURES_BEATS``-th time the figures to theirs.

    ``on_asked`` is called when a command beside the hub has asked the process to look at the store.
    """

    def __init__(
        self,
        data_dir: Path,
        figures: Figures,
        measure: Callable[[], Heartbeat],
        *,
        on_asked: Callable[[], None] = lambda: None,
    ) -> None:
        self._file = HeartbeatFile(data_dir, figures.source)
        self._snapshot = SnapshotFile(data_dir, figures.source)
        self._figures = figures
        self._measure = measure
        self._wake_file = WakeFile(data_dir, figures.source)
        self._on_asked = on_asked
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        """Show a first time, and start the thread that goes on."""
        self._show(0)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._thread.join()
        self._show(0)

    def _run(self) -> None:
        for beat in count(1):  # until stopped
            if self._stopped.wait(BEAT_S):
                return
            self._show(beat)
            if self._wake_file.take():
                self._on_asked()

    def _show(self, beat: int) -> None:
        self._file.write(self._measure())
        if beat % FIGURES_BEATS == 0:
            measure_process(self._figures)
            self._snapshot.write(self._figures.taken())
