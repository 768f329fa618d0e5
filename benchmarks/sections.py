"""The sections of a run: each measures one thing and returns its figures under the names that ``latest.json`` has."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from benchmarks.generator import ANSWER_ONLY, FULL, HALF
from benchmarks.hub_process import free_port, running_hub
from benchmarks.observations import Observations, percentile
from benchmarks.progress import Tell
from benchmarks.recount import Recount, recount
from benchmarks.serving import running_baseline
from benchmarks.session import Load, Measured, Session, running_receiver, session, signing_pool
from benchmarks.traders import Trader, register_market

Figures: TypeAlias = dict[str, float | int | str | None]

HALF_CONCURRENCY: Final = 32
FULL_CONCURRENCY: Final = 64
HALF_S: Final = 20.0
FULL_S: Final = 60.0
BASELINE_S: Final = 6.0
OPEN_S: Final = {100: 20.0, 400: 12.0, 1000: 10.0}
"""How long an open loop runs at each rate; 1,000 a second is what ADR-021 asks for."""
SYNC_DELAYS_MS: Final = (0, 50, 500)
SHORT_NAMED_DELAY_MS: Final = 50
"""Its figures' names say nothing of it."""
TRIAL_FLOWS, SYNC_TRIAL_FLOWS = 2_000, 250
TRIAL_S_MAX, TRIAL_WARMUP_S = 60.0, 0.3
SIGNED_IN_ADVANCE: Final = 1.25
ECHO_EVENTS, ECHO_ROUNDS = 400, 1_000
FSYNC_FLOWS: Final = 2_000
MEGABYTE: Final = 1_000_000


def half_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Measure half flows in a closed loop, and count their fsyncs in another run."""
    with session(folder, on_progress) as running:
        figures = _half_loop(running, seconds or HALF_S)
    counted = recount(folder)
    figures["store"] = str(folder / "hub")
    figures["bytes_per_half_flow"] = round(counted.database_bytes / max(1, counted.contracts))
    return figures | _counted("half", counted) | _fsyncs(folder.with_name("fsyncs"), on_progress)


def open_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Measure half flows in open loops, one rate after the other."""
    figures: Figures = {}
    with session(folder, on_progress) as running:
        for rate, own_s in OPEN_S.items():
            figures |= _open_loop(running, rate, seconds or own_s)
    figures["store_open"] = str(folder / "hub")
    return figures | _counted("open", recount(folder))


def full_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Measure full flows in a closed loop."""
    load = Load(parts=FULL, seconds=seconds or FULL_S, concurrency=FULL_CONCURRENCY)
    with session(folder, on_progress) as running:
        measured = closed_loop(running, running.market.signing, load, "full")
    figures: Figures = {
        "full_flows_per_s": round(measured.flows_per_s, 1),
        "full_seconds": round(measured.seen.seconds, 1),
        "cpu_ms_per_full_flow": round(measured.hub_cpu_ms_per_flow, 3),
        "full_flow_p50_ms": milliseconds(measured.seen.latencies_ms(measured.seen.done, measured.seen.scheduled), 50),
        "full_flow_p99_ms": milliseconds(measured.seen.latencies_ms(measured.seen.done, measured.seen.scheduled), 99),
        "backlog_start": measured.backlog_start,
        "backlog_end": measured.backlog_end,
        "backlog_drained": measured.backlog_drained,
        "pss_mb_full": megabytes(measured.pss_bytes),
        **_harness("full", measured),
        "full_duplicates": sum(measured.seen.duplicates),
        "full_refused": measured.seen.refusals().total(),
        "store_full": str(folder / "hub"),
    }
    return figures | _counted("full", recount(folder))


def sync_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Measure half flows through the synchronous handler and through the hub, in turn, by how long receivers take."""
    figures: Figures = {}
    with running_hub(folder) as hub:
        market = register_market(hub, folder / "keys")
    with signing_pool() as pool:
        running = Session(folder=folder, hub=hub, market=market, pool=pool, on_progress=on_progress)
        for delay_ms in SYNC_DELAYS_MS:
            figures |= _side_by_side(running, delay_ms, seconds or BASELINE_S)
    return figures


def _side_by_side(running: Session, delay_ms: int, seconds: float) -> Figures:
    folder, hub, market = running.folder, running.hub, running.market
    suffix = "" if delay_ms == SHORT_NAMED_DELAY_MS else f"_{delay_ms}ms"
    figures: Figures = {}
    with running_receiver(folder, hub.url, market, delay_ms=delay_ms) as receiver:
        for name, target, trial_flows in (
            ("sync", running_baseline("synchronous", port=hub.port, data=hub.data), SYNC_TRIAL_FLOWS),
            # As many as to the handler would be over before the trial's warm-up is.
            ("beside_sync", running_hub(folder, port=hub.port), TRIAL_FLOWS),
        ):
            with target as process:
                running.hub, running.receiver = process, receiver
                label = f"{name}, {delay_ms} ms"
                load = Load(parts=HALF, seconds=seconds, concurrency=HALF_CONCURRENCY)
                measured = closed_loop(running, market.silent, load, label, trial_flows=trial_flows)
            answers = measured.seen.latencies_ms(measured.seen.answered, measured.seen.scheduled)
            figures |= {
                f"{name}_flows_per_s{suffix}": round(measured.flows_per_s, 1),
                f"{name}_answer_p50_ms{suffix}": milliseconds(answers, 50),
                f"{name}_answer_p99_ms{suffix}": milliseconds(answers, 99),
                f"{name}_cpu_ms_per_flow{suffix}": round(measured.hub_cpu_ms_per_flow, 3),
            }
    return figures


def echo_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Measure the web server alone: the same requests, sent back."""
    with session(folder, on_progress) as running:
        events = running.presigned(running.market.silent, ECHO_EVENTS, "echo")
        load = Load(parts=ANSWER_ONLY, seconds=seconds or BASELINE_S, concurrency=HALF_CONCURRENCY, rounds=ECHO_ROUNDS)
        with running_baseline("echo", port=free_port(), data=folder) as target:
            running.on_progress("echo: load", 0, 0)
            measured = running.measure(events, load, hub=target)
    return {
        "echo_requests_per_s": round(measured.flows_per_s, 1),
        "echo_cpu_ms_per_request": round(measured.hub_cpu_ms_per_flow, 3),
    }


def _fsyncs(folder: Path, on_progress: Tell) -> Figures:
    """Count the fsyncs of half flows in a closed loop, in a run of its own, since watching them takes time."""
    strace = shutil.which("strace")
    if strace is None:
        return {"fsyncs_per_flow": None, "fsyncs_per_flow_reason": "strace is not installed"}
    trace = folder.with_suffix(".strace")
    prefix = (strace, "-f", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", str(trace))
    try:
        with session(folder, on_progress, prefix=prefix) as running:
            events = running.presigned(running.market.silent, FSYNC_FLOWS, "fsyncs")
            before = _calls(trace)
            load = Load(parts=HALF, seconds=60, concurrency=HALF_CONCURRENCY, warmup_s=0)
            running.on_progress("fsyncs: load", 0, 0)
            seen = running.measure(events, load).seen
            calls = _calls(trace) - before
    except RuntimeError as error:  # a container may not let one process watch another
        return {"fsyncs_per_flow": None, "fsyncs_per_flow_reason": f"strace can't watch the hub: {error}"}
    return {"fsyncs_per_flow": round(calls / max(1, _done(seen)), 3)}


def _half_loop(running: Session, seconds: float) -> Figures:
    load = Load(parts=HALF, seconds=seconds, concurrency=HALF_CONCURRENCY)
    measured = closed_loop(running, running.market.silent, load, "half")
    seen = measured.seen
    return {
        "half_flows_per_s": round(measured.flows_per_s, 1),
        "cpu_ms_per_half_flow": round(measured.hub_cpu_ms_per_flow, 3),
        "half_accept_p50_ms": milliseconds(seen.latencies_ms(seen.answered, seen.scheduled), 50),
        "half_accept_p99_ms": milliseconds(seen.latencies_ms(seen.answered, seen.scheduled), 99),
        "half_webhook_p50_ms": milliseconds(seen.latencies_ms(seen.requested, seen.scheduled), 50),
        "half_webhook_p99_ms": milliseconds(seen.latencies_ms(seen.requested, seen.scheduled), 99),
        "half_backlog_start": measured.backlog_start,
        "half_backlog_end": measured.backlog_end,
        "half_duplicates": sum(seen.duplicates),
        "half_refused": seen.refusals().total(),
        "pss_mb_half": megabytes(measured.pss_bytes),
        **_harness("half", measured),
    }


def _open_loop(running: Session, rate: int, seconds: float) -> Figures:
    load = Load(parts=HALF, seconds=seconds, rate=rate)
    count = int(rate * (seconds + load.warmup_s)) + 1
    events = running.presigned(running.market.silent, count, f"open, {rate}/s")
    running.on_progress(f"open, {rate}/s: load", 0, 0)
    measured = running.measure(events, load)
    seen = measured.seen
    figures: Figures = {}
    for name, until, since in (
        ("accept", seen.answered, seen.scheduled),
        ("webhook", seen.requested, seen.scheduled),
        ("webhook_after_accept", seen.requested, seen.answered),
    ):
        latencies = seen.latencies_ms(until, since)
        figures |= {f"{name}_p{percent}_ms_{rate}": milliseconds(latencies, percent) for percent in (50, 99)}
    return figures | {
        f"accepted_per_s_{rate}": round(seen.answered_within() / seen.seconds, 1),
        f"delivered_per_s_{rate}": round(measured.flows_per_s, 1),
        f"refused_{rate}": seen.refusals().total(),
        f"cpu_ms_per_flow_{rate}": round(measured.hub_cpu_ms_per_flow, 3),
        f"backlog_end_{rate}": measured.backlog_end,
        f"pss_mb_{rate}": megabytes(measured.pss_bytes),
    }


def trial_pace(
    running: Session, publishers: Sequence[Trader], load: Load, label: str, *, flows: int = TRIAL_FLOWS
) -> float:
    """Return how many flows a second a closed loop carries, by a few of them."""
    trial = running.presigned(publishers, flows, f"{label}, trial")
    return running.measure(trial, replace(load, seconds=TRIAL_S_MAX, warmup_s=TRIAL_WARMUP_S)).flows_per_s


def closed_loop(
    running: Session, publishers: Sequence[Trader], load: Load, label: str, *, trial_flows: int = TRIAL_FLOWS
) -> Measured:
    """Run a few flows to warm up and to learn how many the loop will need at their pace, and then as many."""
    pace = trial_pace(running, publishers, load, label, flows=trial_flows)
    count = int(pace * (load.seconds + load.warmup_s) * SIGNED_IN_ADVANCE) + trial_flows
    events = running.presigned(publishers, count, label)
    running.on_progress(f"{label}: load", 0, 0)
    return running.measure(events, load)


def _harness(name: str, measured: Measured) -> Figures:
    """Return what measuring itself cost, which the hub's processes had to do without."""
    flows = max(1, measured.seen.done_within())
    return {
        f"generator_cpu_ms_per_{name}_flow": round(1000 * measured.generator_cpu_s / flows, 3),
        f"receiver_cpu_ms_per_{name}_flow": round(1000 * measured.receiver_cpu_s / flows, 3),
    }


def _counted(name: str, counted: Recount) -> Figures:
    return {
        f"{name}_accepted": counted.accepted,
        f"{name}_missing_in_store": counted.missing,
        f"{name}_unfinished_in_store": counted.unfinished,
    }


def _calls(trace: Path) -> int:
    """Return how many calls a trace shows; one that was interrupted by another's line is shown twice."""
    return sum("(" in line and "resumed" not in line for line in trace.read_text().splitlines())


def _done(seen: Observations) -> int:
    return sum(at > 0 for at in seen.done)


def milliseconds(latencies: Sequence[float], percent: float) -> float | None:
    """Return a percentile as the tables tell it; None where there is nothing."""
    found = percentile(latencies, percent)
    return None if found is None else round(found, 2)


def megabytes(size: int) -> float:
    """Return a size as the tables tell it."""
    return round(size / MEGABYTE, 1)
