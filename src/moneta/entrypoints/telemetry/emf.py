"""The figures of a function: lines of CloudWatch's embedded metric format, which it makes metrics of by itself.

What was noted in a call is written at its end, and begins anew: a process that is frozen between two calls can't be
asked. Labels are members of a line and no dimensions: each combination of dimensions would be a metric of its own, and
billed as one; Logs Insights counts by them all the same.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from moneta.entrypoints.telemetry.metrics import Kind, Metric, Source

NAMESPACE: Final = "Moneta"
VALUES_MAX: Final = 100
"""Of one metric in one line."""
UNITS: Final[Mapping[str, str]] = {"seconds": "Seconds", "bytes": "Bytes", "": "None"}
COUNT: Final = "Count"

Labels = tuple[tuple[str, str], ...]
Values = list[float]

_encoder: Final = msgspec.json.Encoder()


class EmbeddedFigures:
    """See ``observing.Tally``. ``dimensions`` stand in every line, and are those of every metric."""

    def __init__(self, source: Source, dimensions: Mapping[str, str]) -> None:
        self.source = source
        self._dimensions = dimensions
        self._lock = threading.Lock()
        self._noted: dict[Labels, dict[Metric, Values]] = {}

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """See Tally.count."""
        with self._lock:
            values = self._values(metric, labels)
            values[:] = [sum(values) + by]

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """See Tally.set."""
        with self._lock:
            self._values(metric, labels)[:] = [to]

    def observe(self, metric: Metric, values: Iterable[float], *labels: str) -> None:
        """See Tally.observe."""
        with self._lock:
            self._values(metric, labels).extend(values)

    def take_lines(self, now_ms: int) -> Sequence[bytes]:
        """Return what was noted since the last time, as lines without their ends."""
        with self._lock:
            noted, self._noted = self._noted, {}
        return [
            _encoder.encode(self._document(part, dict(labels), now_ms))
            for labels, figures in noted.items()
            for part in _parts(figures)
        ]

    def _values(self, metric: Metric, labels: Sequence[str]) -> Values:
        named = tuple(zip(metric.labels, labels, strict=True))
        return self._noted.setdefault(named, {}).setdefault(metric, [])

    def _document(self, figures: Mapping[Metric, Values], labels: Mapping[str, str], now_ms: int) -> dict[str, object]:
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [list(self._dimensions)],
            "Metrics": [{"Name": one.shown_name, "Unit": UNITS.get(one.unit, COUNT)} for one in figures],
        }
        shown = {one.shown_name: values if one.kind is Kind.HISTOGRAM else values[0] for one, values in figures.items()}
        described = {"Timestamp": now_ms, "CloudWatchMetrics": [directive]}
        return {"_aws": described, **self._dimensions, **labels, **shown}


def _parts(figures: Mapping[Metric, Values]) -> Sequence[Mapping[Metric, Values]]:
    """Divide what has more values than a line may."""
    longest = max(len(values) for values in figures.values())
    starts = range(0, longest, VALUES_MAX)
    return [
        {one: values[start : start + VALUES_MAX] for one, values in figures.items() if len(values) > start}
        for start in starts
    ]
