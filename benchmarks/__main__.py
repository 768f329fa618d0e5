"""``python -m benchmarks``: measures, prints a table, and writes ``benchmarks/latest.json``; at most eight minutes.

The stores are kept (``--keep``), so that what is claimed of them can be counted again: ``python -m benchmarks.recount
DIR``. They must lie on a real disk: on a tmpfs an fsync costs nothing.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from os import cpu_count, getloadavg
from pathlib import Path
from platform import machine, python_version
from time import monotonic
from typing import Final, TypeAlias

import msgspec
from rich.console import Console

from benchmarks.cold import cold_section
from benchmarks.faults import faults_section
from benchmarks.flood import flood_section
from benchmarks.memory import RATE, memory_section
from benchmarks.overload import overload_section
from benchmarks.progress import Tell, progress_line
from benchmarks.sections import (
    Figures,
    echo_section,
    full_section,
    half_section,
    open_section,
    sync_section,
)
from benchmarks.sizes import size_section
from benchmarks.slow import slow_section
from benchmarks.table import print_table, with_ratios
from benchmarks.traces import traces_section

LATEST: Final = Path(__file__).with_name("latest.json")
KEPT: Final = Path(".data/benchmark")
Section: TypeAlias = Callable[[Path, Tell, float | None], Figures]
"""Measures one thing in a folder of its own; the last argument: how long each load runs, None for its own time."""

# fmt: off
SHORT: Final[dict[str, Section]] = {
    "half":     half_section,
    "open":     open_section,
    "full":     full_section,
    "sync":     sync_section,
    "echo":     echo_section,
}
LONG: Final[dict[str, Section]] = {
    "cold":     cold_section,
    "faults":   faults_section,
    "flood":    flood_section,
    "overload": overload_section,
    "slow":     slow_section,
    "sizes":    size_section,
    "memory":   memory_section,
    "traces":   traces_section,
}
# fmt: on
# What ``latest.json`` always has, null where it was not measured.
NAMES: Final = (
    "half_flows_per_s",
    "full_flows_per_s",
    "accept_p50_ms_100",
    "accept_p99_ms_100",
    "webhook_p50_ms_100",
    "webhook_p99_ms_100",
    "accept_p99_ms_1000",
    "webhook_p99_ms_1000",
    "echo_requests_per_s",
    "sync_flows_per_s",
    "cpu_ms_per_half_flow",
    "cpu_ms_per_full_flow",
    "bytes_per_half_flow",
    "fsyncs_per_flow",
    "pss_mb",
    "backlog_start",
    "backlog_end",
    "store",
)
UNFINISHED: Final = ("missing_in_store", "unfinished_in_store")


def main(arguments: Sequence[str]) -> int:
    """Run; return 1 if something that was accepted is not in the store."""
    options = _options(arguments)
    started, load_before = monotonic(), getloadavg()[0]
    console = Console()
    folder = options.keep.absolute()
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    figures: Figures = dict.fromkeys(NAMES) | _measured(options, folder, console)
    figures |= {
        "cpus": cpu_count(),
        "machine": machine(),
        "python": python_version(),
        "load_before": round(load_before, 2),
        "run_seconds": round(monotonic() - started),
    }
    figures = with_ratios(figures)
    LATEST.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
    print_table(figures, console)
    console.print(f"{LATEST.name}: all figures; stores kept in {folder}; {figures['run_seconds']} s", highlight=False)
    return int(any(value for name, value in figures.items() if name.endswith(UNFINISHED)))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the hub.")
    parser.add_argument("--only", choices=(*SHORT, *LONG), help="measure one part alone")
    parser.add_argument("--seconds", type=float, help="how long each load runs, instead of its own time")
    parser.add_argument("--rate", type=int, default=RATE, help="contracts a second while memory is measured")
    parser.add_argument("--long", action="store_true", help=f"measure {', '.join(LONG)} instead")
    parser.add_argument("--keep", type=Path, default=KEPT, help="folder for the stores; emptied first")
    return parser.parse_args(arguments)


def _measured(options: argparse.Namespace, folder: Path, console: Console) -> Figures:
    every = SHORT | LONG | {"memory": partial(memory_section, rate=options.rate)}
    names = [options.only] if options.only else [*(LONG if options.long else SHORT)]
    figures: Figures = {}
    with progress_line(console, len(names)) as begin:
        for number, name in enumerate(names, start=1):
            figures |= every[name](folder / name, begin(name, number), options.seconds)
    memory = [value for name, value in figures.items() if name.startswith("pss_mb") and isinstance(value, float)]
    return figures | ({"pss_mb": max(memory)} if memory else {})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
