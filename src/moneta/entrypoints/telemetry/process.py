"""What one process of a hub tells of itself, put together from the settings.

Nothing of OpenTelemetry is imported unless a collector is configured: it is an extra, and most hubs go without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from moneta.bootstrap import system_clock
from moneta.entrypoints.telemetry.figures import Figures
from moneta.entrypoints.telemetry.metrics import Source
from moneta.entrypoints.telemetry.observing import HubObserver
from moneta.entrypoints.telemetry.tracing import Traces
from moneta.settings import Settings

EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A process's figures, its traces if they are wanted, and the observer that fills both."""

    figures: Figures
    traces: Traces | None
    observer: HubObserver


@contextmanager
def telemetry_of(settings: Settings, source: Source) -> Iterator[Telemetry]:
    """Give the telemetry of this process. It may start a thread: a process that forks others calls it after that."""
    figures = Figures(source)
    with _traces_of(settings, figures) as traces:
        is_verbose = settings.log_level == "debug"
        yield Telemetry(figures, traces, HubObserver(figures, system_clock(), traces=traces, is_verbose=is_verbose))


@contextmanager
def _traces_of(settings: Settings, figures: Figures) -> Iterator[Traces | None]:
    if settings.otlp_endpoint is None:
        yield None
        return
    from moneta.entrypoints.telemetry.export import SpanExport  # noqa: PLC0415  # see the module's docstring

    export = SpanExport(settings.otlp_endpoint, figures)
    try:
        yield Traces(export.take, ratio=settings.trace_ratio)
    finally:
        export.close()


def prepare_to_export(endpoint: str) -> None:
    """Import what sends spans, for all processes that are forked after this. See ``can_export``."""
    from moneta.entrypoints.telemetry.export import otlp_exporter  # noqa: PLC0415  # see the module's docstring

    otlp_exporter(endpoint).shutdown()


def can_export() -> bool:
    """Tell whether what sends spans is installed."""
    try:
        return find_spec(EXPORTER) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
