"""The last answer to what anybody may ask, as often as he likes, for as long as it is fresh."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Recent(Generic[Answer]):
    """Remembers the last answer for ``seconds``. Safe for threads, but it does not keep two from working at once."""

    def __init__(self, seconds: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock_s = clock_s
        self._last: tuple[float, Answer] | None = None

    def fresh(self) -> Answer | None:
        """Return the last answer if it is fresh; never waits."""
        last = self._last  # once: another thread may set it between two looks
        return last[1] if last is not None and self._clock_s() - last[0] < self._seconds else None

    def keep(self, answer: Answer) -> Answer:
        """Remember an answer, and return it."""
        self._last = (self._clock_s(), answer)
        return answer
