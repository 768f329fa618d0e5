"""A healthy endpoint beside one that hangs, one that is slow and one that answers 500: is it told any later?

Four publishers, four endpoints, the same number of contracts for each. In turns everything is well, all three faults
are there, or one alone; each turn has a hub of its own, since what is owed to a faulty endpoint is still owed to it in
the next turn. The receivers of faulty endpoints are processes of their own, so that what they do costs the healthy one
nothing but its share of the machine. One publisher is healthy in every turn: only its webhooks are looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.generator import HALF
from benchmarks.hub_process import running_hub
from benchmarks.observations import NS_PER_MS, Observations, is_accepted, percentile
from benchmarks.progress import Tell
from benchmarks.receiver import EndpointConfig
from benchmarks.sections import Figures, milliseconds
from benchmarks.session import NOTIFY, Load, Session, receiving, signing_pool
from benchmarks.traders import Trader, register_market

RATE: Final = 400
LOAD_S: Final = 20.0
"""More than one attempt at an endpoint that hangs."""
TURNS: Final = ("none", "all", "hang", "none", "all", "slow", "none", "all", "error")
DRAIN_S: Final = 3.0
HEALTHY: Final = 3
"""Which of the four publishers is healthy in every turn."""
SLOW_MS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with an endpoint; as it stands, nothing."""

    delay_ms: int = 0
    status: int = 200
    hangs: bool = False


WELL: Final = Fault()
# fmt: off
FAULTS: Final[Mapping[str, Sequence[Fault]]] = {
    # of the first, second and third publisher
    "none":  (),
    "all":   (Fault(hangs=True), Fault(delay_ms=SLOW_MS), Fault(status=500)),
    "hang":  (Fault(hangs=True),),
    "slow":  (Fault(delay_ms=SLOW_MS),),
    "error": (Fault(status=500),),
}
# fmt: on


@dataclass(slots=True)
class Told:
    """What became of the healthy publisher's contracts. Milliseconds."""

    accept_ms: list[float] = field(default_factory=list)
    webhook_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    refused: int = 0
    undelivered: int = 0

    def add(self, seen: Observations, of: Sequence[int]) -> None:
        """Add what was seen, of the contracts at the indices ``of``."""
        rows = [(seen.scheduled[at], seen.answered[at], seen.requested[at], seen.status[at]) for at in of]
        within = [row for row in rows if seen.begin_ns <= row[0] < seen.end_ns]
        accepted = [row for row in within if is_accepted(row[3])]
        webhooks = sorted((told - answered) / NS_PER_MS for _, answered, told, _ in accepted if told)
        self.accept_ms += ((answered - scheduled) / NS_PER_MS for scheduled, answered, _, _ in accepted)
        self.webhook_ms += webhooks
        self.p99_ms += [percentile(webhooks, 99) or 0.0]
        self.refused += len(within) - len(accepted)
        self.undelivered += len(accepted) - len(webhooks)


def faults_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Measure what the healthy endpoint notices of the faulty ones."""
    load = Load(parts=HALF, seconds=seconds or LOAD_S, rate=RATE, drain_s=DRAIN_S)
    told = {name: Told() for name in FAULTS}
    with signing_pool() as pool:
        for number, name in enumerate(TURNS, start=1):
            tell = _labelled(on_progress, f"turn {number} of {len(TURNS)}, faults: {name}")
            with _session(folder / f"{number}-{name}", pool, name, tell) as running:
                told[name].add(*_measure(running, load))
    figures: Figures = {"faults_rate": RATE}
    for name, one in told.items():
        figures |= _figures(name, one, told["none"])
    return figures


def _measure(running: Session, load: Load) -> tuple[Observations, Sequence[int]]:
    publishers = running.market.silent
    events = running.presigned(publishers, int(load.rate * (load.seconds + load.warmup_s)) + 1, "contracts")
    running.on_progress("load", 0, 0)
    seen = running.measure(events, load).seen
    mos = len(events.mos)
    # As ``presigning`` deals them out.
    return seen, [index for index in range(events.count) if index // mos % len(publishers) == HEALTHY]


@contextmanager
def _session(folder: Path, pool: ProcessPoolExecutor, name: str, on_progress: Tell) -> Iterator[Session]:
    """Start a hub and its traders' receivers; a process for each endpoint with a fault."""
    with ExitStack() as stack:
        hub = stack.enter_context(running_hub(folder))
        market = register_market(hub, folder / "keys")
        faults = FAULTS[name]
        for number, fault in enumerate(faults):
            faulty = [_endpoint(market.silent[number], fault)]
            stack.enter_context(receiving(folder / f"fault-{number}.sock", hub.url, faulty))
        healthy = [_endpoint(one) for one in (*market.mos, *market.silent[len(faults) :])]
        receiver = stack.enter_context(receiving(folder / NOTIFY, hub.url, healthy))
        yield Session(folder=folder, hub=hub, market=market, pool=pool, receiver=receiver, on_progress=on_progress)


def _endpoint(trader: Trader, fault: Fault = WELL) -> EndpointConfig:
    return EndpointConfig(port=trader.port, role=trader.party.role, **asdict(fault))


def _figures(name: str, told: Told, well: Told) -> Figures:
    """Return the figures of one kind of turn; the name of those with every fault says nothing of it."""
    webhook, prefix = sorted(told.webhook_ms), "faults" if name == "all" else f"faults_{name}"
    p99, p99_well = percentile(webhook, 99), percentile(sorted(well.webhook_ms), 99)
    return {
        f"{prefix}_accept_p99_ms": milliseconds(sorted(told.accept_ms), 99),
        f"{prefix}_webhook_p50_ms": milliseconds(webhook, 50),
        f"{prefix}_webhook_p99_ms": milliseconds(webhook, 99),
        f"{prefix}_webhook_p99_ms_min": round(min(told.p99_ms), 2),
        f"{prefix}_webhook_p99_ms_max": round(max(told.p99_ms), 2),
        f"{prefix}_p99_ratio": round(p99 / p99_well, 3) if p99 and p99_well else None,
        f"{prefix}_refused": told.refused,
        f"{prefix}_undelivered": told.undelivered,
    }


def _labelled(on_progress: Tell, label: str) -> Tell:
    return lambda step, done, count: on_progress(f"{label}: {step}", done, count)
