"""How far a torture is, how long it will still take, and what all its parts did."""

import shlex
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from itertools import islice

from tests.torture.sections import play
from tests.torture.world import Found, Tally

AHEAD = 6
"""So many trials are given out before the first of them is done: no core waits, and few are played in vain."""
TOLD_EVERY_S = 2.0
# fmt: off
COSTS_S: Mapping[str, float] = {
    # of one, on two cores of our own
    "bugs":      2.4,
    "cuts":      0.03,
    "points":    0.35,
    "faults":    0.1,
    "crashes":   0.1,
    "full disk": 1.3,
    "kills":     0.42,
}
# fmt: on


class UnfinishedError(Exception):
    """The time is over."""


class Course:
    """``goals``: how much of each part there is to do, in the order of the parts."""

    def __init__(self, goals: Mapping[str, float], *, minutes: float) -> None:
        self._goals, self._started = goals, time.monotonic()
        self._ends, self._told = self._started + minutes * 60, 0.0
        self._whole = sum(goals[part] * COSTS_S[part] for part in goals)

    @property
    def passed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started

    def reached(self, part: str, done: float, *, note: str = "") -> None:
        """Tell on standard error how far it is: now and then, at the end of a part, and whatever there is to note.

        Raises:
            UnfinishedError: The time is over.
        """
        is_over = time.monotonic() > self._ends
        if note or is_over or done >= self._goals[part] or self.passed_s - self._told > TOLD_EVERY_S:
            self._told = self.passed_s
            passed, left = clock(self.passed_s), self._left(part, done)
            line = f"{part} {done:.0f} of {self._goals[part]:.0f}, {passed} passed, {left} left"
            print(f"{line}; {note}" if note else line, file=sys.stderr, flush=True)  # noqa: T201  # its progress
        if is_over:
            raise UnfinishedError(f"the time is over at {part} {done:.0f} of {self._goals[part]:.0f}")

    def _left(self, part: str, done: float) -> str:
        """Return how long the rest takes if it goes on as it did."""
        names = list(self._goals)
        before = sum(self._goals[one] * COSTS_S[one] for one in names[: names.index(part)])
        so_far = before + min(done, self._goals[part]) * COSTS_S[part]
        return f"about {clock(self.passed_s * (self._whole / so_far - 1))}" if so_far else "unknown"


def clock(seconds: float) -> str:
    """Return minutes and seconds."""
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"


def played(pool: Executor, trials: Iterable[str]) -> Iterator[Tally]:
    """Play trials on all cores, and give what each did, in their order; whoever has enough stops asking.

    One that found something, or failed by itself, gives what to play again.
    """
    left = iter(trials)
    under_way = deque((name, pool.submit(play, name)) for name in islice(left, AHEAD))
    while under_way:
        name, result = under_way.popleft()
        try:
            yield result.result()
        except Exception as error:  # noqa: BLE001  # whatever it is, the other trials are played
            yield Tally(found=[f"{error if isinstance(error, Found) else repr(error)}; again by {again(name)}"])
        under_way.extend((more, pool.submit(play, more)) for more in islice(left, 1))


def again(name: str) -> str:
    """Return the command that plays one trial."""
    return shlex.join(("python", "-m", "tests.torture", "--world", name))
