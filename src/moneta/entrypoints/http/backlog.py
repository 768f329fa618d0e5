"""How much of what was accepted is not yet sent on, and how fast it is being sent on: from two ages and one count.

The processor and the deliverer tell for how long what they have in hand had waited (``heartbeats``), and for how long
they have been at it: what is accepted meanwhile waits as well. What was accepted before that is through. The web
process remembers how many it had accepted by when; so the age of what the processor has in hand says how many are
through it, and the age of what the deliverer has in hand, how many are through both. No queue is counted, and it does
not matter how many messages an event makes.
"""

from collections import deque
from typing import Final

from moneta.domain.limits import HEARTBEAT_LATE_MS
from moneta.entrypoints.heartbeats import Heartbeat
from moneta.entrypoints.http.admission import Load

MARKS_MAX: Final = 1_024
"""More than 100 s of looks."""
LONG_MS: Final = 2_000
SHORT_MS: Final = 1_000
"""How far back a speed is measured: the short way follows a change, the long way is steadier, and the higher counts."""


class Marks:
    """A number that grows, at moments that do: what it was in between is on the straight line."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque(maxlen=MARKS_MAX)

    @property
    def last(self) -> tuple[int, float]:
        """The last moment, and the number then; the first moment of all before there is one."""
        return self._marks[-1] if self._marks else (0, 0.0)

    def add(self, at_ms: int, number: float) -> None:
        """Note what the number is at a moment; one that is not after the last is passed over."""
        last_ms, last = self.last
        if at_ms > last_ms:
            self._marks.append((at_ms, max(last, number)))

    def at(self, at_ms: int) -> float:
        """Return what the number was at a moment."""
        later_ms, later = self.last
        for earlier_ms, earlier in reversed(self._marks):
            if at_ms >= earlier_ms:
                is_last = later_ms == earlier_ms
                return (
                    earlier if is_last else earlier + (later - earlier) * (at_ms - earlier_ms) / (later_ms - earlier_ms)
                )
            later_ms, later = earlier_ms, earlier
        return later

    def per_s(self, within_ms: int) -> float:
        """Return how fast the number grew in the last ``within_ms`` before its last moment."""
        last_ms, last = self.last
        first_ms, first = next((mark for mark in self._marks if mark[0] >= last_ms - within_ms), (last_ms, last))
        return 1000 * (last - first) / (last_ms - first_ms) if last_ms > first_ms else 0.0


class Backlog:
    """What one web process has accepted and has not seen sent on. For one thread; times in Unix milliseconds."""

    def __init__(self) -> None:
        self.accepted = 0
        self._accepted = Marks()
        self._processed = Marks()
        self._sent = Marks()

    def look(
        self,
        now: int,
        processor: Heartbeat | None,
        deliverer: Heartbeat | None,
        *,
        waiting: int = 0,
        waited_ms: int = 0,
    ) -> Load:
        """Return how the hub is getting on. ``waiting``: events not accepted yet; ``waited_ms``: the first of them.

        A process that has not shown itself yet is taken to be in time; one that shows itself no more, to be behind by
        that, and to send on nothing.
        """
        processor, deliverer = processor or Heartbeat(at_ms=now), deliverer or Heartbeat(at_ms=now)
        processor_ms, deliverer_ms = _behind_ms(processor), _behind_ms(deliverer)
        self._accepted.add(now, self.accepted)
        self._processed.add(processor.at_ms, self._accepted.at(processor.at_ms - processor_ms))
        self._sent.add(deliverer.at_ms, self._processed.at(deliverer.at_ms - deliverer_ms))
        sent_at_ms, sent = self._sent.last
        sent_per_s = max(self._sent.per_s(LONG_MS), self._sent.per_s(SHORT_MS))
        sent_since = sent_per_s * min(max(0, now - sent_at_ms), HEARTBEAT_LATE_MS) / 1000
        late_ms = max(0, now - min(processor.at_ms, deliverer.at_ms) - HEARTBEAT_LATE_MS)
        return Load(
            lag_ms=waited_ms + processor_ms + deliverer_ms + late_ms,
            backlog=max(0.0, self.accepted - sent - sent_since) + waiting,
            sent_per_s=sent_per_s,
        )


def _behind_ms(beat: Heartbeat) -> int:
    """Return how old what a process does is at least: what it has in hand, or what came since it has been at that."""
    return max(beat.lag_ms, beat.turn_ms)
