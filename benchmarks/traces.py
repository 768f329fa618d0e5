"""What traces cost: half flows without them, with one contract in a hundred traced, and with all; in turns.

The collector is the web server's echo, which takes what comes and reads nothing of it. It shares the machine's cores.
"""

import re
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final, TypeAlias

from benchmarks.generator import HALF
from benchmarks.hub_process import HubProcess, free_port, running_hub
from benchmarks.progress import Tell
from benchmarks.sections import HALF_CONCURRENCY, closed_loop
from benchmarks.serving import running_baseline
from benchmarks.session import Load, Measured, Session, running_receiver, signing_pool
from benchmarks.traders import register_market

Figures: TypeAlias = dict[str, float | int | str | None]

ROUNDS: Final = 3
TRACED_S: Final = 6.0
RATIOS: Final = {"off": None, "1_percent": "0.01", "all": "1"}
_SPANS: Final = re.compile(rb"^moneta_spans_(sent|dropped)_total\{[^}]*\} ([0-9.e+]+)", re.MULTILINE)


def traces_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Measure rounds of each in turn, so that what else the machine does meets all alike; medians of their ratios."""
    rounds: list[dict[str, Measured]] = []
    spans = {"sent": 0, "dropped": 0}
    with running_hub(folder) as hub:
        market = register_market(hub, folder / "keys")
    with (
        signing_pool() as pool,
        running_baseline("echo", port=free_port(), data=folder) as collector,
        running_receiver(folder, hub.url, market, delay_ms=0) as receiver,
    ):
        running = Session(folder=folder, hub=hub, market=market, pool=pool, on_progress=on_progress, receiver=receiver)
        load = Load(parts=HALF, seconds=seconds or TRACED_S, concurrency=HALF_CONCURRENCY)
        for number in range(1, ROUNDS + 1):
            found: dict[str, Measured] = {}
            for name, ratio in RATIOS.items():
                options = () if ratio is None else ("--otlp-endpoint", collector.url, "--trace-ratio", ratio)
                with running_hub(folder, port=hub.port, options=options) as running.hub:
                    found[name] = closed_loop(running, market.silent, load, f"traces, {name}, round {number}")
                    _add_spans(spans, running.hub)
            rounds.append(found)
    return _figures(rounds) | {f"traces_spans_{name}": count for name, count in spans.items()}


def _figures(rounds: list[dict[str, Measured]]) -> Figures:
    figures: Figures = {}
    for name in RATIOS:
        pace = [one[name].flows_per_s / one["off"].flows_per_s for one in rounds]
        cpu = [one[name].hub_cpu_ms_per_flow / one["off"].hub_cpu_ms_per_flow for one in rounds]
        figures |= {
            f"traces_{name}_flows_per_s": round(median(one[name].flows_per_s for one in rounds), 1),
            f"traces_{name}_cpu_ms_per_flow": round(median(one[name].hub_cpu_ms_per_flow for one in rounds), 3),
            f"traces_{name}_flows_ratio": round(median(pace), 3),
            f"traces_{name}_cpu_ratio": round(median(cpu), 3),
        }
    return figures


def _add_spans(spans: dict[str, int], hub: HubProcess) -> None:
    """Add what this hub has sent and dropped so far: a hub counts from its start."""
    connection = HTTPConnection("127.0.0.1", hub.port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        for name, count in _SPANS.findall(connection.getresponse().read()):
            spans[name.decode()] += int(float(count))
    finally:
        connection.close()
