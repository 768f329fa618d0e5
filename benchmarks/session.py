"""A hub with its traders and their receiver, and one measured load after the other on it."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.generator import ANSWER_ONLY, GeneratorConfig
from benchmarks.hub_process import HubProcess, cpu_s, running_hub, stop
from benchmarks.observations import Observations
from benchmarks.presigning import EventFile, presign
from benchmarks.progress import Tell
from benchmarks.receiver import EndpointConfig, ReceiverConfig
from benchmarks.traders import Market, Trader, register_market

DRAIN_S: Final = 30.0
EXIT_S_MAX: Final = 60.0
NOTIFY: Final = "sightings.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load. ``concurrency`` 0: an open loop at ``rate`` a second. ``parts``, ``rounds``: see ``generator``.

    ``drain_s``: how long what is under way at the end is waited for.
    """

    parts: int
    seconds: float
    concurrency: int = 0
    rate: float = 0.0
    warmup_s: float = 1.0
    rounds: int = 1
    drain_s: float = DRAIN_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a load did, and what it cost. CPU seconds are those of the measured time alone."""

    seen: Observations
    hub_cpu_s: float
    generator_cpu_s: float
    receiver_cpu_s: float
    pss_bytes: int
    backlog_start: int
    backlog_end: int
    backlog_drained: int

    @property
    def flows_per_s(self) -> float:
        """Flows that ended, a second."""
        return self.seen.done_within() / self.seen.seconds

    @property
    def hub_cpu_ms_per_flow(self) -> float:
        """CPU of all the hub's processes, a flow that ended."""
        return 1000 * self.hub_cpu_s / max(1, self.seen.done_within())

    @property
    def lost(self) -> int:
        """How many were accepted and did not end, long after the load did."""
        return sum(1 for index in self.seen.accepted() if not self.seen.done[index])


@dataclass(slots=True, kw_only=True)
class Session:
    """What measuring needs. ``hub`` may be a baseline in its place; ``receiver`` None: nothing comes back."""

    folder: Path
    hub: HubProcess
    market: Market
    pool: ProcessPoolExecutor
    on_progress: Tell
    receiver: "subprocess.Popen[str] | None" = None
    sections: int = 0

    def presigned(
        self, publishers: Sequence[Trader], count: int, label: str, *, mos: Sequence[Trader] = ()
    ) -> EventFile:
        """Sign ``count`` contracts with one of ``publishers`` each, by ``mos`` or all MOs in turn."""
        self.sections += 1
        done = 0

        def on_progress(more: int) -> None:
            nonlocal done
            done += more
            self.on_progress(f"{label}: sign", done, count)

        path = self.folder / f"section-{self.sections}.events"
        return presign(
            self.pool,
            mos or self.market.mos,
            publishers,
            path=path,
            section=self.sections,
            count=count,
            on_progress=on_progress,
        )

    def measure(self, events: EventFile, load: Load, *, hub: HubProcess | None = None) -> Measured:
        """Send ``events`` as ``load`` says."""
        hub = hub or self.hub
        path = self._config(events, load, hub)
        backlog_start = hub.backlog()
        program = _generator(path)
        try:
            await_line(program, "begin")
            before = self._cpu_s(hub, program)
            await_line(program, "end")
            used = [after - earlier for after, earlier in zip(self._cpu_s(hub, program), before, strict=True)]
            backlog_end, pss_bytes = hub.backlog(), hub.pss_bytes()
            await_line(program, "drained")
            program.wait(EXIT_S_MAX)
            backlog_drained = hub.backlog()
        finally:
            stop(program)
        seen = Observations.read(observations_path(events))
        events.path.unlink()  # gigabytes after a few runs; what was accepted stands in the observations
        return Measured(
            seen=seen,
            hub_cpu_s=used[0],
            generator_cpu_s=used[1],
            receiver_cpu_s=used[2],
            pss_bytes=pss_bytes,
            backlog_start=backlog_start,
            backlog_end=backlog_end,
            backlog_drained=backlog_drained,
        )

    @contextmanager
    def beside(self, events: EventFile, load: Load) -> Iterator[None]:
        """Send ``events`` as ``load`` says, by a generator of its own, beside whatever the block measures.

        The block ends when the load has; then what it saw lies at ``observations_path``.
        """
        program = _generator(self._config(events, load, self.hub))
        try:
            await_line(program, "begin")
            yield
            for line in ("end", "drained"):
                await_line(program, line)
            program.wait(EXIT_S_MAX)
        finally:
            stop(program)
        events.path.unlink()

    def _cpu_s(self, hub: HubProcess, generator: "subprocess.Popen[str]") -> Sequence[float]:
        receiver_s = 0.0 if self.receiver is None else cpu_s(self.receiver.pid)
        return hub.cpu_s(), cpu_s(generator.pid), receiver_s

    def _config(self, events: EventFile, load: Load, hub: HubProcess) -> Path:
        config = GeneratorConfig(
            port=hub.port,
            heads=[request_head(hub.port, mo) for mo in events.mos],
            events=str(events.path),
            lengths=str(events.lengths_path),
            section=events.section,
            parts=load.parts,
            concurrency=load.concurrency,
            rate=load.rate,
            warmup_s=load.warmup_s,
            seconds=load.seconds,
            drain_s=load.drain_s if load.parts > ANSWER_ONLY else 1.0,
            notify=str(self.folder / NOTIFY),
            observations=str(observations_path(events)),
            rounds=load.rounds,
        )
        path = events.path.with_suffix(".json")
        path.write_bytes(msgspec.json.encode(config))
        return path


def observations_path(events: EventFile) -> Path:
    """Return where the generator leaves what it saw of ``events``."""
    return events.path.with_suffix(".seen")


def _generator(config: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-m", "benchmarks.generator", str(config)], stdout=subprocess.PIPE, text=True
    )


def request_head(port: int, mo: Trader) -> str:
    """Return the head of a request by ``mo``, up to the content's length."""
    lines = (
        "POST /event HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        "content-type: application/cloudevents+json",
        f"authorization: Bearer {mo.token()}",
        "content-length: ",
    )
    return "\r\n".join(lines)


@contextmanager
def session(
    folder: Path, on_progress: Tell, *, prefix: Sequence[str] = (), options: Sequence[str] = ()
) -> Iterator[Session]:
    """Start a hub in ``folder``, register the traders, and start their receiver.

    ``prefix``, ``options``: see ``running_hub``.
    """
    with ExitStack() as stack:
        hub = stack.enter_context(running_hub(folder, prefix=prefix, options=options))
        market = register_market(hub, folder / "keys")
        receiver = stack.enter_context(running_receiver(folder, hub.url, market))
        pool = stack.enter_context(signing_pool())
        yield Session(folder=folder, hub=hub, market=market, pool=pool, receiver=receiver, on_progress=on_progress)


def signing_pool() -> ProcessPoolExecutor:
    """Return the processes that sign before a load, and sleep while it is measured."""
    return ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn"))


def running_receiver(
    folder: Path, hub: str, market: Market, *, delay_ms: int = 0
) -> AbstractContextManager["subprocess.Popen[str]"]:
    """Run the receiver of all traders; publishers answer after ``delay_ms``."""
    endpoints = [
        *(EndpointConfig(port=mo.port, role="mo") for mo in market.mos),
        *(EndpointConfig(port=one.port, role="publisher", delay_ms=delay_ms) for one in market.silent),
        *(
            EndpointConfig(port=one.port, role="publisher", delay_ms=delay_ms, key_file=str(one.key_file))
            for one in market.signing
        ),
    ]
    return receiving(folder / NOTIFY, hub, endpoints)


@contextmanager
def receiving(notify: Path, hub: str, endpoints: Sequence[EndpointConfig]) -> Iterator["subprocess.Popen[str]"]:
    """Run a receiver of ``endpoints``, which tells what it sees at the socket ``notify``."""
    notify.unlink(missing_ok=True)
    path = notify.with_suffix(".json")
    path.write_bytes(msgspec.json.encode(ReceiverConfig(hub=hub, notify=str(notify), endpoints=[*endpoints])))
    program = subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-m", "benchmarks.receiver", str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        await_line(program, "ready")
        yield program
    finally:
        stop(program)


def await_line(program: "subprocess.Popen[str]", expected: str) -> None:
    """Wait for the next line of ``program``.

    Raises:
        RuntimeError: It is another, or there is none.
    """
    line = "" if program.stdout is None else program.stdout.readline()
    if line.strip() != expected:
        raise RuntimeError(f"{program.args!r}: expected {expected}, got {line!r}")
