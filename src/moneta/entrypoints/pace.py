"""How a busy loop is kept from spinning: turns that follow each other closely find one message each.

What a turn costs (a transaction, an fsync, a hand-over to another thread) is shared by all that it does, so under load
a turn that begins a little later does more for the same price. A lone message never waits: it comes long after the turn
before.
"""

import time
from collections.abc import Callable


class Pace:
    """Keeps the beginnings of turns that did something ``turn_s`` apart. ``monotonic``: seconds."""

    def __init__(self, turn_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._turn_s = turn_s
        self._monotonic = monotonic
        self._next = 0.0

    def wait_s(self) -> float:
        """Return how long the next turn should wait; 0 for not at all."""
        return max(0.0, self._next - self._monotonic())

    def keep(self) -> None:
        """Say that a turn begins now that has something to do."""
        self._next = self._monotonic() + self._turn_s
