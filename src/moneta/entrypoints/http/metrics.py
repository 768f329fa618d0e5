"""What ``GET /metrics`` tells Prometheus: the figures of every process of the hub, and of its store at that moment.

prometheus_client is imported at the first scrape: its import would take a tenth of the time from start to ready.
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from platform import python_version
from typing import Final

import moneta
from moneta.application.ports import Hub
from moneta.domain.limits import PROBE_AGE_S_MAX
from moneta.entrypoints.heartbeats import WORKERS, HeartbeatFile
from moneta.entrypoints.http.readiness import Finding
from moneta.entrypoints.http.recent import Recent
from moneta.entrypoints.telemetry import metrics
from moneta.entrypoints.telemetry.backlog import measure_backlog
from moneta.entrypoints.telemetry.figures import Figure, Figures
from moneta.entrypoints.telemetry.metrics import Source
from moneta.entrypoints.telemetry.snapshots import SOURCES, SnapshotFile, measure_process

CONTENT_TYPE: Final = b"text/plain; version=1.0.0; charset=utf-8"
"""prometheus_client's own name for what it writes; a test compares."""
STORE_SUFFIXES: Final = frozenset({".db", ".db-wal"})


class Metrics:
    """The web process's own figures, and the way to everybody's. ``data_dir``: where the other processes' files are."""

    def __init__(self, data_dir: Path, figures: Figures | None = None) -> None:
        self.figures = Figures(Source.WEB) if figures is None else figures
        self.waiting: Callable[[], int] = lambda: 0
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._recent: Recent[bytes] = Recent(PROBE_AGE_S_MAX)

    def accepted(self, *, is_replay: bool) -> None:
        """Count an event that is durable."""
        self.figures.count(metrics.EVENTS_REPLAYED if is_replay else metrics.EVENTS_ACCEPTED)

    def event_answered(self, seconds: float) -> None:
        """Count the time that a ``POST /event`` took."""
        self.figures.observe(metrics.EVENT_SECONDS, (seconds,))

    def refused(self, route: str, code: str) -> None:
        """Count a refusal."""
        self.figures.count(metrics.REQUESTS_REFUSED, route, code)

    def answered(self, route: str, seconds: float) -> None:
        """Count the time that another request took."""
        self.figures.observe(metrics.REQUEST_SECONDS, (seconds,), route)

    def gathered(self, events: int) -> None:
        """Count events that are made durable or refused together."""
        self.figures.observe(metrics.EVENTS_PER_WRITE, (events,))

    def fresh(self) -> bytes | None:
        """Return the last exposition if it is fresh; never waits."""
        return self._recent.fresh()

    def exposition(self, hub: Hub, findings: Sequence[Finding]) -> bytes:
        """Return every figure in Prometheus' text format, at most ``PROBE_AGE_S_MAX`` old.

        Anybody may ask, and as often as he likes: the store is read, and the figures are written out, once for all.
        """
        from moneta.entrypoints.http.exposition import rendered  # noqa: PLC0415  # see the module's docstring

        with self._lock:
            shown = self.fresh()
            if shown is None:
                shown = self._recent.keep(rendered([*self._of_processes(), *self._of_the_hub(hub, findings)]))
            return shown

    def _of_processes(self) -> Iterator[Figure]:
        self.figures.set(metrics.EVENTS_WAITING, to=self.waiting())
        measure_process(self.figures)
        yield from self.figures.taken()
        for source in SOURCES:
            yield from SnapshotFile(self._data_dir, source).read()

    def _of_the_hub(self, hub: Hub, findings: Sequence[Finding]) -> Sequence[Figure]:
        now_ms, found = hub.clock.now_ms(), Figures(Source.SCRAPE)
        measure_backlog(found, hub)
        self._measure_workers(found, now_ms)
        current, *others = hub.signer.published()
        next_ones = [one for one in others if one.not_before > current.not_before and one.revoked_at is None]
        found.set(metrics.KEY_NOT_BEFORE, to=current.not_before)
        found.set(metrics.KEY_EXPIRES, to=max(one.expires_at for one in (current, *next_ones)))
        found.set(metrics.BUILD_INFO, moneta.__version__, python_version(), to=1)
        found.set(metrics.DISK_FREE, to=shutil.disk_usage(self._data_dir).free)
        for one in findings:
            found.set(metrics.READY, one.check.name, to=int(one.fault is None))
        for path in self._data_dir.iterdir():
            if path.suffix in STORE_SUFFIXES:
                found.set(metrics.STORE_BYTES, path.name, to=path.stat().st_size)
        return found.taken()

    def _measure_workers(self, found: Figures, now_ms: int) -> None:
        found.set(metrics.PROCESS_UP, Source.WEB, to=1)
        for name in WORKERS:
            beat = HeartbeatFile(self._data_dir, name).alive(now_ms)
            found.set(metrics.PROCESS_UP, name, to=int(beat is not None))
            if beat is not None:
                found.set(metrics.PROCESS_TURN, name, to=beat.turn_ms / 1000)
                found.set(metrics.PROCESS_LAG, name, to=beat.lag_ms / 1000)
                found.set(metrics.PROCESS_IN_HAND, name, to=beat.depth)
