"""An ordinary client beside thousands of connections that keep the hub waiting (``dawdler``): is it answered later?

The same load without and with them, in turns. They must all be closed within 15 s, and the hub's own count of
descriptors tells whether they are, not theirs.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Final

import msgspec
from typing_extensions import override

from benchmarks.dawdler import DawdlerConfig
from benchmarks.generator import HALF
from benchmarks.hub_process import HubProcess, stop
from benchmarks.observations import percentile
from benchmarks.progress import Tell
from benchmarks.sections import Figures, milliseconds
from benchmarks.session import Load, Session, await_line, session

RATE: Final = 100
LOAD_S: Final = 20.0
ROUNDS: Final = 2
HEADERS, BODIES, READERS, SILENT = 1_000, 1_000, 500, 500
LOOK_S: Final = 0.1
SPARE: Final = 50
"""Descriptors that come and go with the load."""


class Watch(Thread):
    """Looks how many descriptors the hub has open, until ``close``."""

    def __init__(self, hub: HubProcess) -> None:
        super().__init__(daemon=True)
        self._hub = hub
        self.looks: list[tuple[float, int]] = []
        self._is_over = False

    @override
    def run(self) -> None:
        while not self._is_over:
            self.looks.append((time.monotonic(), self._hub.descriptors()))
            time.sleep(LOOK_S)

    def close(self) -> None:
        """End it."""
        self._is_over = True
        self.join()


def slow_section(folder: Path, on_progress: Tell, seconds: float | None) -> Figures:
    """Measure what an ordinary client notices of slow ones, and when those are gone."""
    accept: dict[str, list[float]] = {"alone": [], "beside": []}
    figures: Figures = {"slow_connections": HEADERS + BODIES + READERS + SILENT}
    with session(folder, on_progress) as running:
        for number in range(ROUNDS):
            for name, latencies in accept.items():
                load = Load(parts=HALF, seconds=seconds or LOAD_S, rate=RATE)
                label = f"round {number + 1} of {ROUNDS}, {name}"
                events = running.presigned(running.market.silent, int(RATE * (load.seconds + load.warmup_s)) + 1, label)
                running.on_progress(f"{label}: load", 0, 0)
                if name == "alone":
                    seen = running.measure(events, load).seen
                else:
                    with _dawdling(running, figures):
                        seen = running.measure(events, load).seen
                latencies.extend(seen.latencies_ms(seen.answered, seen.scheduled))
                figures[f"slow_{name}_refused"] = seen.refusals().total()
    for name, latencies in accept.items():
        latencies.sort()
        figures |= {f"slow_{name}_accept_p{percent}_ms": milliseconds(latencies, percent) for percent in (50, 99)}
    beside, alone = (percentile(accept[name], 99) for name in ("beside", "alone"))
    return figures | {"slow_p99_ratio": round(beside / alone, 2) if beside and alone else None}


@contextmanager
def _dawdling(running: Session, figures: Figures) -> Iterator[None]:
    """Keep slow clients at it for the block; add to ``figures`` the longest that they were kept."""
    hub, path = running.hub, running.folder / "dawdler.json"
    counts = {"headers": HEADERS, "bodies": BODIES, "readers": READERS, "silent": SILENT}
    path.write_bytes(msgspec.json.encode(DawdlerConfig(port=hub.port, token=running.market.mos[0].token(), **counts)))
    before, watch = hub.descriptors(), Watch(hub)
    program = subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-m", "benchmarks.dawdler", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        watch.start()
        await_line(program, "open")
        all_open_at = time.monotonic()
        yield
        watch.close()
        told = msgspec.json.decode(program.communicate()[0], type=dict[str, float])
    finally:
        stop(program)
    gone_at = next((at for at, count in watch.looks if at > all_open_at and count <= before + SPARE), None)
    figures |= {
        "slow_descriptors_max": max(count for _, count in watch.looks),
        "slow_gone_s": None if gone_at is None else round(gone_at - all_open_at, 1),
        "slow_kept_s_max": round(told["kept_s_max"], 1),
        "slow_still_open": round(told["still_open"]),
    }
