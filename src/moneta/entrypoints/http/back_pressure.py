"""Refuses new events early while the hub is behind with those it has (``admission``), the same share for each caller.

What goes on with a contract is preferred: it ends something. It is taken out of its sender's share, which may fall
below nothing for it, and is refused only when the hub is very late.
"""

from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from moneta.application.ports import Clock, EventType
from moneta.domain.errors import HubBusyError
from moneta.domain.identifiers import OrganizationId
from moneta.domain.limits import BACKLOG_LAG_MS_MAX
from moneta.entrypoints.heartbeats import Heartbeat
from moneta.entrypoints.http.admission import Load, admitted_per_s, fair_share, retry_spread_s
from moneta.entrypoints.http.backlog import Backlog

LOOK_MS: Final = 100
DEMAND_MS: Final = 400
"""How far back what a caller is taken to ask for looks."""
DEMAND_MIN: Final = 0.1
SUBMIT: Final = f'"{EventType.SUBMIT}"'.encode("ascii")
CONTINUING: Final = tuple(f'"{kind}"'.encode("ascii") for kind in EventType if kind is not EventType.SUBMIT)


class Beats(Protocol):
    """Where a worker process shows itself: a ``HeartbeatFile``."""

    def read(self) -> Heartbeat | None:
        """Return the last heartbeat; None if there is none."""


class BackPressure:
    """Decides about each event. For one event loop.

    ``beats``: the processor's and the deliverer's. ``waiting``: how many events wait to be stored, and for how many
    milliseconds the first of them has.
    """

    def __init__(self, clock: Clock, beats: tuple[Beats, Beats], waiting: Callable[[], tuple[int, int]]) -> None:
        self._clock = clock
        self._beats = beats
        self._waiting = waiting
        self._begin(0)

    def _begin(self, now: int) -> None:
        self.load = Load()
        self._backlog = Backlog()
        self._looked_at = now
        self._asked: Counter[OrganizationId] = Counter()
        self._demands: dict[OrganizationId, float] = {}
        self._share = inf
        self._left: dict[OrganizationId, tuple[int, float]] = {}
        self._refused = 0
        self._spread_s = 1

    def accepted(self) -> None:
        """Count an event that was accepted."""
        self._backlog.accepted += 1

    def check(self, caller_id: OrganizationId, raw: bytes) -> None:
        """Return if the event ``raw`` of ``caller_id`` may be accepted now.

        Raises:
            HubBusyError: It may not.
        """
        now = self._clock.now_ms()
        if not 0 <= now - self._looked_at < LOOK_MS:
            self._look(now)
        self._asked[caller_id] += 1
        if self._share != inf and not self._take(caller_id, raw, now):
            raise self._refusal()

    def _look(self, now: int) -> None:
        """See how the hub is getting on. There is no timer: while nobody sends, there is nothing to decide."""
        if now < self._looked_at:
            self._begin(now)  # the clock was set back, and what was measured by it says nothing
        processor, deliverer = (one.read() for one in self._beats)
        waiting, waited_ms = self._waiting()
        self.load = self._backlog.look(now, processor, deliverer, waiting=waiting, waited_ms=waited_ms)
        self._note_demands(now - self._looked_at)
        self._looked_at = now
        asked = sum(self._demands.values())
        admitted = admitted_per_s(self.load, asked_per_s=asked, is_holding_back=self._share != inf)
        self._share = min(admitted, fair_share(self._demands.values(), admitted))
        self._spread_s = retry_spread_s(asked, admitted)
        if self._share == inf:
            self._left.clear()

    def _note_demands(self, elapsed_ms: int) -> None:
        elapsed_ms = max(elapsed_ms, LOOK_MS)
        weight = min(1.0, elapsed_ms / DEMAND_MS)
        for caller_id in self._demands.keys() | self._asked.keys():
            demand = self._demands.get(caller_id, 0.0)
            demand += weight * (1000 * self._asked[caller_id] / elapsed_ms - demand)
            self._demands[caller_id] = demand
        self._demands = {caller_id: demand for caller_id, demand in self._demands.items() if demand > DEMAND_MIN}
        self._asked.clear()

    def _take(self, caller_id: OrganizationId, raw: bytes, now: int) -> bool:
        """Take one event out of the caller's share, which flows in steadily; tell whether it may be accepted."""
        at_ms, left = self._left.get(caller_id, (now, 1.0))
        left = min(left + self._share * (now - at_ms) / 1000, 1 + self._share * LOOK_MS / 1000)
        if is_continuing(raw):
            may, least = self.load.lag_ms < BACKLOG_LAG_MS_MAX, -self._share
        else:
            may, least = left >= 1, 0.0
        self._left[caller_id] = (now, max(left - 1, least) if may else left)
        return may

    def _refusal(self) -> HubBusyError:
        """Return a refusal. Those of one moment are told different times, so that they don't all come back at once."""
        self._refused += 1
        return HubBusyError("the hub is behind with what it has", retry_after_s=1 + self._refused % self._spread_s)


def is_continuing(raw: bytes) -> bool:
    """Tell whether an event goes on with a contract, by a look at its bytes: the processor reads them properly.

    Who hides a submission behind this gets it no further than a signature, out of its own share.
    """
    return SUBMIT not in raw and any(kind in raw for kind in CONTINUING)
