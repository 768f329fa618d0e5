"""The figures in Prometheus' text format. A module of its own, since prometheus_client is slow to import."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from typing_extensions import override

from moneta.entrypoints.telemetry.figures import Figure
from moneta.entrypoints.telemetry.metrics import METRICS, Kind, Metric


def rendered(figures: Iterable[Figure]) -> bytes:
    """Return the text that shows ``figures``, each metric's series beside one another, in the order of the table."""
    by_name: defaultdict[str, list[Figure]] = defaultdict(list)
    for figure in figures:
        by_name[figure.name].append(figure)
    registry = CollectorRegistry()
    registry.register(_Families([_family(metric, by_name[metric.name]) for metric in METRICS]))
    return generate_latest(registry)


@dataclass(frozen=True, slots=True, eq=False)  # the registry wants it hashable
class _Families(Collector):
    families: Sequence[Family]

    @override
    def collect(self) -> Iterator[Family]:
        yield from self.families


def _family(metric: Metric, series: Sequence[Figure]) -> Family:
    if metric.kind is Kind.HISTOGRAM:
        return _histogram(metric, series)
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = make(metric.name, metric.meaning, labels=metric.labels)
    for one in series:
        family.add_metric(one.labels, one.values[0])
    return family


def _histogram(metric: Metric, series: Sequence[Figure]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    bounds = [*map(str, metric.buckets), "+Inf"]
    for one in series:
        total, *counts = one.values
        family.add_metric(one.labels, list(zip(bounds, accumulate(counts), strict=True)), total)
    return family
