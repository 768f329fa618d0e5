"""The figures of one process: plain numbers under a lock, so that one costs less than half a microsecond.

prometheus_client renders them, in the web process, when somebody asks. Its own counters would cost each process 70 ms
of imports, and in the mode for several processes two to five times as much a figure (docs/adr/0038).
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec

from moneta.entrypoints.telemetry.metrics import METRICS, Kind, Metric, Source


class Figure(msgspec.Struct, array_like=True):
    """One series. ``values``: the number; of a histogram the sum, then how many fell into each bucket."""

    name: str
    labels: tuple[str, ...]
    values: list[float]


class Figures:
    """Counts, sets and observes; safe from any thread. ``labels`` stand in the order of the metric's.

    What ``source`` measures without labels is there from the start, as 0: a counter that appears with its first event
    has no rate of it.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._series: dict[tuple[str, tuple[str, ...]], list[float]] = {}
        for metric in METRICS:
            if metric.source is source and not metric.labels:
                self._values(metric, ())

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._values(metric, labels)[0] += by

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """Set a gauge, or a counter that somebody else keeps."""
        with self._lock:
            self._values(metric, labels)[0] = to

    def observe(self, metric: Metric, values: Iterable[float], *labels: str) -> None:
        """Add ``values`` to a histogram, all under one lock."""
        with self._lock:
            series = self._values(metric, labels)
            for value in values:
                series[0] += value
                series[1 + bisect_left(metric.buckets, value)] += 1

    def taken(self) -> Sequence[Figure]:
        """Return every series as it is now."""
        with self._lock:
            return [Figure(name, labels, list(values)) for (name, labels), values in self._series.items()]

    def _values(self, metric: Metric, labels: tuple[str, ...]) -> list[float]:
        key = (metric.name, labels)
        values = self._series.get(key)
        if values is None:
            size = len(metric.buckets) + 2 if metric.kind is Kind.HISTOGRAM else 1
            values = self._series[key] = [0.0] * size
        return values
