"""Three times the load that a closed loop carries, by several organizations, and then an ordinary one.

What is accepted must be delivered meanwhile, second by second; the rest must be refused at once; and when it is over,
the hub must be itself again.
"""

from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Final

from benchmarks.generator import ANSWER_ONLY, HALF
from benchmarks.observations import NS_PER_S, Observations, is_accepted
from benchmarks.progress import Tell
from benchmarks.sections import HALF_CONCURRENCY, TRIAL_S_MAX, Figures, megabytes, milliseconds
from benchmarks.session import Load, Measured, session

OVERLOAD: Final = 3
OVERLOAD_S: Final = 60.0
AFTER_RATE: Final = 100
AFTER_S: Final = 10.0
TRIAL_FLOWS: Final = 6_000
REFUSALS_S, REFUSALS_RATE, REFUSALS_ROUNDS = 5.0, 2_000, 20
REFUSING: Final = ("--rate-limit", "1", "--rate-burst", "60")
"""As much as an organization needs to be registered."""
FIRST_SECONDS: Final = 5
"""Of the overload, which are told apart: nobody can refuse before it is seen that too much comes."""


def overload_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Offer three times what a closed loop carries, then 100 a second."""
    with session(folder, on_progress) as running:
        publishers = running.market.silent
        closed = Load(parts=HALF, seconds=TRIAL_S_MAX, concurrency=HALF_CONCURRENCY)
        trial = running.measure(running.presigned(publishers, TRIAL_FLOWS, "closed loop"), closed)
        during = Load(parts=HALF, seconds=seconds or OVERLOAD_S, rate=OVERLOAD * trial.flows_per_s, warmup_s=0)
        after = Load(parts=HALF, seconds=AFTER_S, rate=AFTER_RATE, warmup_s=0)
        flood, ordinary = (
            running.presigned(publishers, int(load.rate * load.seconds) + 1, label)
            for load, label in ((during, "overload"), (after, "after"))
        )
        running.on_progress("load", 0, 0)
        overloaded = running.measure(flood, during)
        afterwards = running.measure(ordinary, after)
    return {
        "overload_capacity_per_s": round(trial.flows_per_s, 1),
        "overload_cpu_ms_per_flow": round(trial.hub_cpu_ms_per_flow, 3),
        "overload_cpu_ms_per_refusal": _cpu_ms_per_refusal(folder.with_name("refusals"), on_progress),
        "overload_offered_per_s": round(during.rate, 1),
        **_during(overloaded),
        **_after(afterwards.seen),
    }


def _cpu_ms_per_refusal(folder: Path, on_progress: Tell) -> float:
    """Return what a refusal costs a hub that refuses everything: the same events again and again, beyond a limit."""
    load = Load(parts=ANSWER_ONLY, seconds=REFUSALS_S, rate=REFUSALS_RATE, rounds=REFUSALS_ROUNDS)
    with session(folder, on_progress, options=REFUSING) as running:
        count = ceil(load.rate * (load.seconds + load.warmup_s) / load.rounds)
        events = running.presigned(running.market.silent, count, "refusals")
        running.on_progress("refusals: load", 0, 0)
        measured = running.measure(events, load)
    seen = measured.seen
    refused = sum(seen.begin_ns <= at < seen.end_ns for at in seen.answered)
    return round(1000 * measured.hub_cpu_s / max(1, refused), 3)


def _during(measured: Measured) -> Figures:
    seen = measured.seen
    refused, delivered = seen.refusals_ms(), seen.latencies_ms(seen.requested, seen.answered)
    late = [row for row in _by_second(seen)[FIRST_SECONDS:] if row[0]]
    statuses = seen.refusals()
    return {
        "overload_accepted_per_s": round(seen.answered_within() / seen.seconds, 1),
        "overload_delivered_per_s": round(measured.flows_per_s, 1),
        "overload_delivered_share": round(measured.flows_per_s * seen.seconds / max(1, seen.answered_within()), 3),
        "overload_accepted_per_s_min": min((accepted for accepted, _ in late), default=0),
        "overload_accepted_per_s_max": max((accepted for accepted, _ in late), default=0),
        "overload_refused_429_per_s": round(statuses[429] / seen.seconds, 1),
        "overload_refused_503_per_s": round(statuses[503] / seen.seconds, 1),
        "overload_failed": statuses.total() - statuses[429] - statuses[503],
        "overload_without_retry_after": seen.without_retry_after(),
        "overload_backlog_max": seen.waiting_max(),
        "overload_refusal_p50_ms": milliseconds(refused, 50),
        "overload_refusal_p99_ms": milliseconds(refused, 99),
        "overload_accept_p99_ms": milliseconds(seen.latencies_ms(seen.answered, seen.scheduled), 99),
        "overload_webhook_after_accept_p50_ms": milliseconds(delivered, 50),
        "overload_webhook_after_accept_p99_ms": milliseconds(delivered, 99),
        "overload_webhook_after_accept_max_ms": milliseconds(delivered, 100),
        "overload_recovery_s": round(max(0, max(seen.requested) - seen.end_ns) / NS_PER_S, 2),
        "overload_lost": measured.lost,
        "overload_backlog_end": measured.backlog_end,
        "overload_hub_cpu_s": round(measured.hub_cpu_s / seen.seconds, 2),
        "overload_pss_mb": megabytes(measured.pss_bytes),
    }


def _after(seen: Observations) -> Figures:
    delivered = seen.latencies_ms(seen.requested, seen.scheduled)
    return {
        "overload_after_refused": seen.refusals().total(),
        "overload_after_webhook_p50_ms": milliseconds(delivered, 50),
        "overload_after_webhook_p99_ms": milliseconds(delivered, 99),
    }


def _by_second(seen: Observations) -> Sequence[tuple[int, int]]:
    """Return how many events were accepted, and how many webhooks came, in each whole second."""
    accepted = Counter(
        (at - seen.begin_ns) // NS_PER_S
        for at, status in zip(seen.answered, seen.status, strict=True)
        if is_accepted(status)
    )
    delivered = Counter((at - seen.begin_ns) // NS_PER_S for at in seen.requested if at)
    return [(accepted[second], delivered[second]) for second in range(int(seen.seconds))]
