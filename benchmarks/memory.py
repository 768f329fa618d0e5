"""The memory of a hub that works: an hour at 100 a second, looked at after each minute."""

from pathlib import Path
from statistics import linear_regression
from typing import Final

from benchmarks.generator import HALF
from benchmarks.progress import Tell
from benchmarks.sections import Figures, megabytes
from benchmarks.session import Load, session

MEMORY_S: Final = 3600.0
MINUTE_S: Final = 60.0
MINUTES_PER_HOUR: Final = 60
RATE: Final = 100
FILLING: Final = 3
"""One part of so many of a run in which caches may still fill: the slope is that of the rest."""


def memory_section(folder: Path, on_progress: Tell, seconds: float | None, *, rate: int = RATE) -> Figures:
    """Measure the memory and the descriptors after each minute; a minute's contracts are signed before it."""
    minutes = max(1, round((seconds or MEMORY_S) / MINUTE_S))
    memory, descriptors = [], []
    with session(folder, on_progress) as running:
        at_start = running.hub.pss_bytes()
        for minute in range(minutes):
            step = f"minute {minute + 1} of {minutes}"
            load = Load(parts=HALF, seconds=MINUTE_S, rate=rate)
            events = running.presigned(running.market.silent, int(rate * (load.seconds + load.warmup_s)) + 1, step)
            on_progress(f"{step}: load", 0, 0)
            memory.append(megabytes(running.measure(events, load).pss_bytes))
            descriptors.append(running.hub.descriptors())
            on_progress(f"{step}: {memory[-1]} MB", 0, 0)
    return {
        "memory_minutes": minutes,
        "memory_rate": rate,
        "memory_start_mb": megabytes(at_start),
        "memory_first_mb": memory[0],
        "memory_max_mb": max(memory),
        "memory_last_mb": memory[-1],
        "memory_slope_mb_per_h": slope_mb_per_h(memory),
        "descriptors_first": descriptors[0],
        "descriptors_last": descriptors[-1],
    }


def slope_mb_per_h(minutes: list[float]) -> float | None:
    """Return how fast the memory grows, by the line through the minutes after the first third; None for too few."""
    late = [*enumerate(minutes)][len(minutes) // FILLING :]
    if len(late) < 2:  # noqa: PLR2004  # a line has two points
        return None
    return round(MINUTES_PER_HOUR * linear_regression(*zip(*late, strict=True)).slope, 2)
