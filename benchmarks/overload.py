"""Three times the load that a closed loop carries, for a minute: what is accepted must be delivered meanwhile."""

from pathlib import Path
from typing import Final

from benchmarks.generator import HALF
from benchmarks.progress import Tell
from benchmarks.sections import HALF_CONCURRENCY, TRIAL_FLOWS, TRIAL_S_MAX, TRIAL_WARMUP_S, Figures, megabytes
from benchmarks.session import Load, session

OVERLOAD: Final = 3
OVERLOAD_S: Final = 60.0


def overload_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Offer three times what a closed loop carries."""
    with session(folder, on_progress) as running:
        publishers = running.market.silent
        trial = running.presigned(publishers, TRIAL_FLOWS, "overload, trial")
        closed = Load(parts=HALF, seconds=TRIAL_S_MAX, concurrency=HALF_CONCURRENCY, warmup_s=TRIAL_WARMUP_S)
        rate = OVERLOAD * running.measure(trial, closed).flows_per_s
        load = Load(parts=HALF, seconds=seconds or OVERLOAD_S, rate=rate)
        events = running.presigned(publishers, int(rate * (load.seconds + load.warmup_s)) + 1, "overload")
        running.on_progress("overload: load", 0, 0)
        measured = running.measure(events, load)
    seen = measured.seen
    refusals = seen.refusals()
    return {
        "overload_offered_per_s": round(rate, 1),
        "overload_accepted_per_s": round(seen.answered_within() / seen.seconds, 1),
        "overload_delivered_per_s": round(measured.flows_per_s, 1),
        "overload_refused_429": refusals[429],
        "overload_refused_503": refusals[503],
        "overload_failed": refusals.total() - refusals[429] - refusals[503],
        "overload_backlog_end": measured.backlog_end,
        "overload_pss_mb": megabytes(measured.pss_bytes),
    }
