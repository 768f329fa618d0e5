"""One organization floods, three others send a little: what do those notice?

In turns without and with the flood, which is several times what the hub carries: once within everybody's rate limit,
so that only the shares under back-pressure protect the others, and once far beyond it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.generator import HALF
from benchmarks.observations import Observations
from benchmarks.presigning import EventFile
from benchmarks.progress import Tell
from benchmarks.sections import HALF_CONCURRENCY, Figures, milliseconds, trial_pace
from benchmarks.session import Load, Session, observations_path, session
from benchmarks.traders import Trader

FLOOD: Final = 3
"""Times what a closed loop carries."""
OTHERS_RATE: Final = 150
"""Of the three together."""
LOAD_S: Final = 10.0
ROUNDS: Final = 2
BEFORE_S, AFTER_S = 1.0, 2.0
"""How much earlier the flood begins, and how much later it ends."""
LIMIT, BURST = 200, 400
# fmt: off
LIMITS: Final[Mapping[str, Sequence[str]]] = {
    "within": ("--rate-limit", "0"),
    "beyond": ("--rate-limit", str(LIMIT), "--rate-burst", str(BURST)),
}
# fmt: on


@dataclass(slots=True)
class Others:
    """What the three met. Milliseconds."""

    accept_ms: list[float] = field(default_factory=list)
    webhook_ms: list[float] = field(default_factory=list)
    sent: int = 0
    accepted: int = 0

    def add(self, seen: Observations) -> None:
        """Add what was seen in one turn."""
        accepted = seen.latencies_ms(seen.answered, seen.scheduled)
        self.accept_ms.extend(accepted)
        self.webhook_ms.extend(seen.latencies_ms(seen.requested, seen.answered))
        self.accepted += len(accepted)
        self.sent += sum(seen.begin_ns <= at < seen.end_ns for at in seen.scheduled)


def flood_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Measure what three organizations notice of a fourth that floods."""
    figures: Figures = {}
    rate = 0.0
    for limit, options in LIMITS.items():
        with session(folder / limit, on_progress, options=options) as running:
            closed = Load(parts=HALF, seconds=0, concurrency=HALF_CONCURRENCY)
            rate = rate or FLOOD * trial_pace(running, running.market.silent, closed, "closed loop")
            figures |= _turns(running, f"flood_{limit}", rate, seconds or LOAD_S)
    return {"flood_offered_per_s": round(rate, 1), **figures}


def _turns(running: Session, prefix: str, rate: float, seconds: float) -> Figures:
    ordinary = Load(parts=HALF, seconds=seconds, rate=OTHERS_RATE)
    flood = Load(parts=HALF, seconds=seconds + AFTER_S, rate=rate, warmup_s=BEFORE_S)
    (flooding, *others), alone, beside = running.market.mos, Others(), Others()
    floods: list[Observations] = []
    for number in range(ROUNDS):
        label = f"{prefix}, round {number + 1} of {ROUNDS}"
        first, second = (_signed(running, ordinary, others, label) for _ in range(2))
        flood_events = _signed(running, flood, [flooding], label)
        running.on_progress(f"{label}: load", 0, 0)
        alone.add(running.measure(first, ordinary).seen)
        with running.beside(flood_events, flood):
            beside.add(running.measure(second, ordinary).seen)
        floods.append(Observations.read(observations_path(flood_events)))
    return _of_flood(prefix, floods) | _of_others(prefix, alone, beside)


def _signed(running: Session, load: Load, mos: Sequence[Trader], label: str) -> EventFile:
    count = int(load.rate * (load.seconds + load.warmup_s)) + 1
    return running.presigned(running.market.silent, count, label, mos=mos)


def _of_flood(prefix: str, floods: Sequence[Observations]) -> Figures:
    seconds = sum(seen.seconds for seen in floods)
    statuses = sum((seen.refusals() for seen in floods), Counter[int]())
    refused = sorted(one for seen in floods for one in seen.refusals_ms())
    return {
        f"{prefix}_accepted_per_s": round(sum(seen.answered_within() for seen in floods) / seconds, 1),
        f"{prefix}_refused_429": statuses[429],
        f"{prefix}_refused_503": statuses[503],
        f"{prefix}_failed": statuses.total() - statuses[429] - statuses[503],
        f"{prefix}_refusal_p99_ms": milliseconds(refused, 99),
    }


def _of_others(prefix: str, alone: Others, beside: Others) -> Figures:
    figures: Figures = {f"{prefix}_others_accepted_share": round(beside.accepted / max(1, beside.sent), 4)}
    for what in ("accept", "webhook"):
        before, after = (sorted(getattr(others, f"{what}_ms")) for others in (alone, beside))
        figures |= {
            f"{prefix}_others_alone_{what}_p99_ms": milliseconds(before, 99),
            f"{prefix}_others_{what}_p50_ms": milliseconds(after, 50),
            f"{prefix}_others_{what}_p99_ms": milliseconds(after, 99),
        }
    return figures
