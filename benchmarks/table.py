"""The figures of a run as a table, beside what they are held to (``docs/benchmarks.md``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from rich.console import Console
from rich.table import Table

from benchmarks.cold import FUNCTIONS
from benchmarks.sizes import QUERIES, SIZES

Figure: TypeAlias = float | int | str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One row. ``names``: its figures in ``latest.json``, shown one after the other."""

    title: str
    names: Sequence[str]
    unit: str
    aim: str = ""


# fmt: off
RATIOS: Final = {
    # of what to what, in one run
    "hub_to_sync_ratio_0ms":   ("beside_sync_flows_per_s_0ms",   "sync_flows_per_s_0ms"),
    "hub_to_sync_ratio":       ("beside_sync_flows_per_s",       "sync_flows_per_s"),
    "hub_to_sync_ratio_500ms": ("beside_sync_flows_per_s_500ms", "sync_flows_per_s_500ms"),
    "half_to_echo_ratio":      ("half_flows_per_s",              "echo_requests_per_s"),
    "delivered_to_accepted_ratio_1000": ("delivered_per_s_1000", "accepted_per_s_1000"),
    "overload_delivered_to_accepted_ratio": ("overload_delivered_per_s", "overload_accepted_per_s"),
}
LINES: Final = (
    Line("half flows, closed loop of 32",          ("half_flows_per_s",),                        "a second", "2,000"),
    Line("  CPU of the hub",                       ("cpu_ms_per_half_flow",),                    "ms a flow", "0.8"),
    Line("  CPU of load generator, of receiver",
         ("generator_cpu_ms_per_half_flow", "receiver_cpu_ms_per_half_flow"),                    "ms a flow"),
    Line("  on disk",                              ("bytes_per_half_flow",),                  "bytes a flow", "4,096"),
    Line("  fsyncs",                               ("fsyncs_per_flow",),                         "a flow"),
    Line("full flows, closed loop of 64",          ("full_flows_per_s",),                        "a second", "1,200"),
    Line("  CPU of the hub",                       ("cpu_ms_per_full_flow",),                    "ms a flow", "1.3"),
    Line("  CPU of load generator, of receiver",
         ("generator_cpu_ms_per_full_flow", "receiver_cpu_ms_per_full_flow"),                    "ms a flow"),
    Line("  backlog at start, at end",             ("backlog_start", "backlog_end"),          "messages", "+ 64 flows"),
    Line("memory of all processes, largest",       ("pss_mb",),                                  "MB", "200"),
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
    Line("  accepted, delivered, ratio",
         ("accepted_per_s_1000", "delivered_per_s_1000", "delivered_to_accepted_ratio_1000"),    "a second", ">= 0.95"),
    Line("synchronous, receivers of 0 ms; the hub; ratio",
         ("sync_flows_per_s_0ms", "beside_sync_flows_per_s_0ms", "hub_to_sync_ratio_0ms"),       "/s, /s, times"),
    Line("  of 50 ms",  ("sync_flows_per_s", "beside_sync_flows_per_s", "hub_to_sync_ratio"),    "/s, /s, times"),
    Line("  of 500 ms",
         ("sync_flows_per_s_500ms", "beside_sync_flows_per_s_500ms", "hub_to_sync_ratio_500ms"), "/s, /s, times"),
    Line("  its answer, of 500 ms; the hub's",     ("sync_answer_p50_ms_500ms", "beside_sync_answer_p50_ms_500ms"),
         "ms p50"),
    Line("bare echo of the web server; half flows to it", ("echo_requests_per_s", "half_to_echo_ratio"), "/s, times"),
    Line("3 times the load: accepted, delivered, ratio",
         ("overload_accepted_per_s", "overload_delivered_per_s", "overload_delivered_to_accepted_ratio"),
         "a second", ">= 0.95"),
    Line("  refused: 429, 503, anything else",
         ("overload_refused_429_per_s", "overload_refused_503_per_s", "overload_failed"),        "/s, /s, in all"),
    Line("  to the refusal", ("overload_refusal_p50_ms", "overload_refusal_p99_ms"),           "ms p50, p99", "p99 50"),
    Line("  refused without Retry-After; waiting, at most",
         ("overload_without_retry_after", "overload_backlog_max"), "in all, events", "0, 10,000"),
    Line("  CPU of a refusal; of a half flow",
         ("overload_cpu_ms_per_refusal", "overload_cpu_ms_per_flow"),                            "ms, ms"),
    Line("  from the 202 to the webhook",
         ("overload_webhook_after_accept_p50_ms", "overload_webhook_after_accept_p99_ms"),       "ms p50, p99"),
    Line("  until all is delivered; refused after it", ("overload_recovery_s", "overload_after_refused"), "s", "10, 0"),
    Line("healthy endpoint, all healthy",
         ("faults_none_webhook_p50_ms", "faults_none_webhook_p99_ms"),                           "ms p50, p99"),
    Line("  beside one that hangs, a slow one, a 500",
         ("faults_webhook_p50_ms", "faults_webhook_p99_ms", "faults_p99_ratio"),           "ms p50, p99, times", "1.2"),
    Line("  beside each alone: hangs, slow, 500",
         ("faults_hang_p99_ratio", "faults_slow_p99_ratio", "faults_error_p99_ratio"),         "p99, times", "1.2"),
    Line("  refused, not delivered", ("faults_refused", "faults_undelivered"),                            "", "0, 0"),
    *(line for limit in ("within", "beyond") for line in (
        Line(f"one floods, {limit} its limit: others accepted", (f"flood_{limit}_others_accepted_share",), "of 1", "1"),
        Line("  to their 202; without the flood",
             (f"flood_{limit}_others_accept_p99_ms", f"flood_{limit}_others_alone_accept_p99_ms"), "ms, ms p99"),
        Line("  from it to their webhook; without",
             (f"flood_{limit}_others_webhook_p99_ms", f"flood_{limit}_others_alone_webhook_p99_ms"), "ms, ms p99"),
        Line("  of the flood: accepted; refused 429, 503",
             (f"flood_{limit}_accepted_per_s", f"flood_{limit}_refused_429", f"flood_{limit}_refused_503"),
             "/s, in all, in all"))),
    Line("to the 202 at 100/s; beside slow clients",
         ("slow_alone_accept_p99_ms", "slow_beside_accept_p99_ms", "slow_p99_ratio"),        "ms, ms p99, times", "2"),
    Line("  all of them closed; one kept, at most", ("slow_gone_s", "slow_kept_s_max"),                  "s", "15, 15"),
    *(Line(f"read {query}: 10k, 100k, 1M", tuple(f"query_{query}_p99_ms_{size}" for size in SIZES), "ms p99", "5")
      for query in QUERIES),
    Line("start to ready: 10k, 100k, 1M",          tuple(f"start_s_{size}" for size in SIZES),   "s", "1"),
    Line("memory: at start, first minute, largest, last",
         ("memory_start_mb", "memory_first_mb", "memory_max_mb", "memory_last_mb"),              "MB", "200"),
    Line("  slope after the first third",          ("memory_slope_mb_per_h",),                   "MB an hour"),
    Line("  descriptors: first minute, last",      ("descriptors_first", "descriptors_last"),    ""),
    *(Line(f"cold start of {name}: elapsed, CPU", (f"cold_ms_{name}", f"cold_cpu_ms_{name}"), "ms",
           "500" if name == "ingestor" else "") for name in FUNCTIONS),
    *(Line(f"half flows, {shown} traced: CPU, ratio",
           (f"traces_{name}_flows_per_s", f"traces_{name}_cpu_ms_per_flow", f"traces_{name}_cpu_ratio"),
           "/s, ms, times")
      for name, shown in (("off", "none"), ("1_percent", "1 %"), ("all", "all"))),
    *(Line(f"{flow} flows accepted, missing, unfinished",
           (f"{flow}_accepted", f"{flow}_missing_in_store", f"{flow}_unfinished_in_store"), "in the store", "0, 0")
      for flow in ("half", "open", "full")),
)
# fmt: on


def with_ratios(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """Return the figures with those ratios that they give."""
    known = {name: value for name, value in figures.items() if isinstance(value, (int, float))}
    pairs = {name: (known.get(over), known.get(under)) for name, (over, under) in RATIOS.items()}
    return {**figures, **{name: round(over / under, 2) for name, (over, under) in pairs.items() if over and under}}


def print_table(figures: Mapping[str, Figure], console: Console) -> None:
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


def _shown(value: Figure) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:,.2f}"  # noqa: PLR2004  # four digits are enough
