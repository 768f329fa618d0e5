"""The figures of a run as a table, beside what they are held to (``docs/benchmarks.md``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Line:
    """One row. ``names``: its figures in ``latest.json``, shown one after the other."""

    title: str
    names: Sequence[str]
    unit: str
    aim: str = ""


# fmt: off
LINES: Final = (
    Line("half flows, closed loop of 32",          ("half_flows_per_s",),                        "a second", "2,000"),
    Line("  CPU of the hub",                       ("cpu_ms_per_half_flow",),                    "ms a flow", "0.8"),
    Line("  on disk",                              ("bytes_per_half_flow",),                  "bytes a flow", "4,096"),
    Line("  fsyncs",                               ("fsyncs_per_flow",),                         "a flow"),
    Line("  memory (PSS)",                         ("pss_mb",),                                  "MiB", "200"),
    Line("full flows, closed loop of 64",          ("full_flows_per_s",),                        "a second", "1,200"),
    Line("  CPU of the hub",                       ("cpu_ms_per_full_flow",),                    "ms a flow", "1.3"),
    Line("  backlog at start, at end",             ("backlog_start", "backlog_end"),             "messages", "+ 64"),
    Line("at 100/s: to the 202",                   ("accept_p50_ms_100", "accept_p99_ms_100"),   "ms p50, p99", "3, 7"),
    Line("  to the webhook",                       ("webhook_p50_ms_100", "webhook_p99_ms_100"), "ms p50, p99"),
    Line("  from the 202 to the webhook", ("webhook_after_accept_p50_ms_100", "webhook_after_accept_p99_ms_100"),
         "ms p50, p99", "4, 9"),
    Line("at 400/s: to the 202",                   ("accept_p50_ms_400", "accept_p99_ms_400"),   "ms p50, p99"),
    Line("  to the webhook",                       ("webhook_p50_ms_400", "webhook_p99_ms_400"), "ms p50, p99"),
    Line("at 1,000/s: to the 202",                 ("accept_p50_ms_1000", "accept_p99_ms_1000"),
         "ms p50, p99", "p99 50"),
    Line("  to the webhook",                       ("webhook_p50_ms_1000", "webhook_p99_ms_1000"), "ms p50, p99"),
    Line("  from the 202 to the webhook", ("webhook_after_accept_p50_ms_1000", "webhook_after_accept_p99_ms_1000"),
         "ms p50, p99", "p99 250"),
    Line("  accepted, delivered",                  ("accepted_per_s_1000", "delivered_per_s_1000"),
         "a second", ">= 0.95"),
    Line("synchronous, receivers of 0 ms; the hub",   ("sync_flows_per_s_0ms", "beside_sync_flows_per_s_0ms"),
         "a second"),
    Line("  of 50 ms; the hub",                    ("sync_flows_per_s", "beside_sync_flows_per_s"),  "a second"),
    Line("  of 500 ms; the hub",                   ("sync_flows_per_s_500ms", "beside_sync_flows_per_s_500ms"),
         "a second"),
    Line("  its answer, of 500 ms; the hub's",     ("sync_answer_p50_ms_500ms", "beside_sync_answer_p50_ms_500ms"),
         "ms p50"),
    Line("bare echo of the web server",            ("echo_requests_per_s",),                     "a second"),
    Line("3 times the load: accepted, delivered",  ("overload_accepted_per_s", "overload_delivered_per_s"), "a second",
         ">= 0.95"),
    Line("contract by id, 10k, 100k, 1M",
         ("query_contract_p99_ms_10k", "query_contract_p99_ms_100k", "query_contract_p99_ms_1M"), "ms p99", "5"),
    Line("list by MO, 10k, 100k, 1M",
         ("query_mo_p99_ms_10k", "query_mo_p99_ms_100k", "query_mo_p99_ms_1M"), "ms p99", "5"),
    Line("list by MO and status, 10k, 100k, 1M",
         ("query_status_p99_ms_10k", "query_status_p99_ms_100k", "query_status_p99_ms_1M"), "ms p99", "5"),
    Line("start to ready with 1M contracts",       ("start_s_1M",),                              "s", "1"),
    Line("memory: first minute, largest, last", ("memory_first_mb", "memory_max_mb", "memory_last_mb"), "MiB", "200"),
    Line("half flows accepted, missing, unfinished",
         ("half_accepted", "half_missing_in_store", "half_unfinished_in_store"), "in the store", "0, 0"),
    Line("full flows accepted, missing, unfinished",
         ("full_accepted", "full_missing_in_store", "full_unfinished_in_store"), "in the store", "0, 0"),
)
# fmt: on


def print_table(figures: Mapping[str, float | str | None], console: Console) -> None:
    """Print what was measured; what was not has no row."""
    table = Table(title="Moneta Core", title_justify="left")
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("")
    table.add_column("aim", justify="right")
    for line in LINES:
        values = [figures.get(name) for name in line.names]
        if any(value is not None for value in values):
            table.add_row(line.title, ", ".join(map(_shown, values)), line.unit, line.aim)
    console.print(table)


def _shown(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:,.2f}"  # noqa: PLR2004  # four digits are enough
