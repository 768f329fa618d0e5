"""``python -m benchmarks``: measures, prints a table, and writes ``benchmarks/latest.json``; at most eight minutes.

The stores of the half and of the full flows are kept (``--keep``), so that what is claimed of them can be counted
again: ``python -m benchmarks.recount DIR``. They must lie on a real disk: on a tmpfs an fsync costs nothing.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from os import cpu_count, getloadavg
from pathlib import Path
from platform import machine, python_version
from time import monotonic
from typing import Final

import msgspec
from rich.console import Console
from rich.status import Status

from benchmarks.long import long_sections
from benchmarks.sections import (
    BASELINE_S,
    FULL_S,
    HALF_S,
    OPEN_S,
    Figures,
    Progress,
    echo_section,
    fsync_section,
    full_section,
    half_sections,
    sync_section,
)
from benchmarks.table import print_table

LATEST: Final = Path(__file__).with_name("latest.json")
KEPT: Final = Path(".data/benchmark")
PARTS: Final = ("half", "full", "open", "sync", "echo")
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
    figures: Figures = dict.fromkeys(NAMES)
    with console.status("") as status:
        figures |= _measured(options, folder, _progress(status))
    figures |= {
        "cpus": cpu_count(),
        "machine": machine(),
        "python": python_version(),
        "load_before": round(load_before, 2),
        "run_seconds": round(monotonic() - started),
    }
    LATEST.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
    print_table(figures, console)
    console.print(f"{LATEST.name}: all figures; stores kept in {folder}; {figures['run_seconds']} s", highlight=False)
    return int(any(value for name, value in figures.items() if name.endswith(UNFINISHED)))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the hub.")
    parser.add_argument("--only", choices=PARTS, help="measure one part alone")
    parser.add_argument("--seconds", type=float, help="how long each load runs, instead of its own time")
    parser.add_argument("--long", action="store_true", help="measure what takes hours or a million contracts instead")
    parser.add_argument("--keep", type=Path, default=KEPT, help="folder for the stores; emptied first")
    return parser.parse_args(arguments)


def _measured(options: argparse.Namespace, folder: Path, on_progress: Progress) -> Figures:
    if options.long:
        return long_sections(folder, on_progress, options.seconds)
    wanted = PARTS if options.only is None else (options.only,)
    seconds = options.seconds
    figures: Figures = {}
    if {"half", "open"} & set(wanted):
        closed_s = (seconds or HALF_S) if "half" in wanted else None
        open_s = {rate: seconds or own_s for rate, own_s in OPEN_S.items()} if "open" in wanted else {}
        figures |= half_sections(folder / "half", on_progress, closed_s=closed_s, open_s=open_s)
    if "half" in wanted:
        figures |= fsync_section(folder / "fsyncs", on_progress)
    if "full" in wanted:
        figures |= full_section(folder / "full", on_progress, seconds or FULL_S)
    if "sync" in wanted:
        figures |= sync_section(folder / "sync", on_progress, seconds or BASELINE_S)
    if "echo" in wanted:
        figures |= echo_section(folder / "echo", on_progress, seconds or BASELINE_S)
    return figures


def _progress(status: Status) -> Progress:
    def tell(label: str, done: int, count: int) -> None:
        status.update(f"{label} {done:,} of {count:,}" if count else label)

    return tell


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
