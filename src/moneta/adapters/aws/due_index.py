"""What is due, found in the index ``due`` without going through again what can't be taken.

The index is sorted by time alone, in as many partitions as there are shards: so many calls find whatever is due, to
however many organizations. But what stays due (to an endpoint that is disabled, or left alone, or that has more than
can be taken at once) comes before what others are owed later. The rules:

1. Of each organization no more lines are offered than can be taken; all the others are passed over, and nobody waits
   behind them.
2. A look that passes over many remembers up to where it came (``front``), and where what each organization has before
   that begins (``behind``). The next one reads on from ``front``, and before it for one that may be sent to, and for
   whoever else it meets there. Those take turns. So a look asks each shard twice, and reads on within ``Bounds``.
3. An index shows an item late. So ``front`` stays ``INDEX_LAG_MS`` behind the present, and what comes later still is
   found by a sweep through all that lies before it, every ``SWEEP_MS``.

This is the memory of one process: a new one goes through everything once, ``Bounds.ahead`` entries a look.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Final

from moneta.adapters.aws.attributes import Item
from moneta.adapters.aws.buckets import SHARDS, merged
from moneta.adapters.aws.delivery_items import due_bucket, is_of_endpoint, line_of_item
from moneta.adapters.aws.dynamodb import DynamoDB, Query, Table
from moneta.adapters.aws.endpoint_notes import EndpointNotes
from moneta.adapters.aws.tables import DUE
from moneta.application.ports import Line
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.limits import BACKLOG_COUNTED_MAX

CANDIDATES_MAX: Final = 2_000
"""Among how many due deliveries one taking chooses."""
INDEX_LAG_MS: Final = 10_000
SWEEP_MS: Final = 300_000
PAGE: Final = 100

Turn = str
"""Who takes turns: an organization, or the partition of an endpoint's tests, which goes to a disabled one too."""
SWEEP: Final[Turn] = ""
"""What stands in ``behind`` for the sweep: somebody who is never found, and for whom everything is read."""
START: Final = UnixMillis(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many entries a look goes through, from the front on and before it, those that it passes over among them.

    ``passed``: how many it passes over before it remembers. As long as they are few, to read them again is cheaper.
    """

    ahead: int = 20_000
    behind: int = 2_000
    passed: int = 1_000


BOUNDS: Final = Bounds()


class DueIndex:
    """Safe for threads: one look at a time."""

    def __init__(self, db: DynamoDB, endpoints: EndpointNotes, bounds: Bounds = BOUNDS) -> None:
        self._db = db
        self._endpoints = endpoints
        self._bounds = bounds
        self._front = START
        self._behind: dict[Turn, UnixMillis] = {}
        self._swept_at = START
        self._lock = threading.Lock()

    def lines(
        self, *, now: UnixMillis, limit: int, busy: frozenset[OrganizationId], probed: frozenset[OrganizationId]
    ) -> Iterator[tuple[Line, UnixMillis]]:
        """Give lines that something is due in, and since when, in turn.

        Up to ``limit`` of each organization, of a probed one one.
        """
        look = _Look(self._endpoints, limit=limit, busy=busy, probed=probed)
        with self._lock:
            if now < self._front:  # the clock was set back
                self._front, self._behind = START, {}
            if self._behind and not 0 <= now - self._swept_at < SWEEP_MS:
                self._behind[SWEEP], self._swept_at = START, now
            self._look_behind(look)
            self._look_ahead(look, now)
        return look.in_turn()

    def coming(self, *, after: UnixMillis, until: UnixMillis, limit: int) -> Mapping[Line, UnixMillis]:
        """Return up to ``limit`` lines in which something will be due by then, those that are due first, and when."""
        if until <= after:
            return {}
        look = _Look(self._endpoints, limit=limit, busy=frozenset(), probed=frozenset())
        found: dict[Line, UnixMillis] = {}
        for turn, line, due_at in islice(self._entries(look, UnixMillis(after + 1), until), self._bounds.ahead):
            if look.room(turn) > 0 and len(found) < limit:
                found.setdefault(line, due_at)
        return found

    def count(self, bucket: Callable[[int], str], *, since: UnixMillis = START) -> int:
        """Return how many entries there are in a kind of partitions, counted up to ``BACKLOG_COUNTED_MAX``."""
        where = "#due_bucket = :bucket AND #due_at >= :since"
        queries = [
            Query(table=Table.DELIVERIES, index=DUE, where=where, values={"bucket": bucket(shard), "since": since})
            for shard in range(SHARDS)
        ]
        entries = chain.from_iterable(self._db.query_many(queries))
        return sum(1 for _ in islice(entries, BACKLOG_COUNTED_MAX))

    def next_due(self, *, busy: frozenset[OrganizationId]) -> UnixMillis | None:
        """Return when the next is due, or the moment from which on nobody has looked yet; None for nothing."""
        look = _Look(self._endpoints, limit=1, busy=busy, probed=frozenset())
        with self._lock:
            moments = [self._first(look, self._front, None)]
            waiting = self._waiting(look)
            if waiting:
                moments.append(self._first(look, min(waiting.values()), UnixMillis(self._front - 1)))
        return min((moment for moment in moments if moment is not None), default=None)

    def _first(self, look: "_Look", low: UnixMillis, high: UnixMillis | None) -> UnixMillis | None:
        for count, (turn, _, moment) in enumerate(self._entries(look, low, high), start=1):
            if look.room(turn) > 0 or count == self._bounds.ahead:
                return moment
        return None

    def _waiting(self, look: "_Look") -> dict[Turn, UnixMillis]:
        """Return what of ``behind`` may be taken now."""
        look.ask(self._behind)
        return {turn: since for turn, since in self._behind.items() if look.room(turn) > 0}

    def _look_behind(self, look: "_Look") -> None:
        waiting = self._waiting(look)
        if not waiting:
            return
        chosen, start = next(iter(waiting.items()))
        self._behind[chosen] = self._behind.pop(chosen)  # the next look is for another
        firsts: dict[Turn, UnixMillis] = {}
        came_to = self._front
        entries = self._entries(look, start, UnixMillis(self._front - 1))
        for count, (turn, line, due_at) in enumerate(entries, start=1):
            firsts.setdefault(turn, due_at)
            look.offer(turn, line, due_at)
            if count == self._bounds.behind or look.room(chosen) == 0:
                came_to = due_at
                break
        self._note_behind({turn for turn, since in waiting.items() if since >= start}, firsts, came_to)

    def _note_behind(self, sought: AbstractSet[Turn], firsts: Mapping[Turn, UnixMillis], came_to: UnixMillis) -> None:
        """Remember where each begins now. ``sought``: who has nothing before the place where this look began."""
        for turn in sought:
            if turn in firsts:
                self._behind[turn] = firsts[turn]
            elif came_to < self._front:
                self._behind[turn] = max(self._behind[turn], came_to)
            else:
                del self._behind[turn]
        for turn, first in firsts.items():
            self._behind[turn] = min(first, self._behind.get(turn, first))
        if not self._behind:
            self._front = START

    def _look_ahead(self, look: "_Look", now: UnixMillis) -> None:
        firsts: dict[Turn, UnixMillis] = {}
        came_to, offered, passed = now, 0, 0
        for count, (turn, line, due_at) in enumerate(self._entries(look, self._front, now), start=1):
            firsts.setdefault(turn, due_at)
            is_offered = look.offer(turn, line, due_at)
            offered, passed = offered + is_offered, passed + (not is_offered)
            if count == self._bounds.ahead or offered == CANDIDATES_MAX:
                came_to = due_at
                break
        front = UnixMillis(min(came_to, now - INDEX_LAG_MS))
        if front > self._front and (self._behind or passed >= self._bounds.passed):
            self._swept_at = self._swept_at if self._behind else now
            for turn, first in firsts.items():
                if first < front:
                    self._behind.setdefault(turn, first)
            self._front = front if self._behind else START

    def _entries(
        self, look: "_Look", low: UnixMillis, high: UnixMillis | None
    ) -> Iterator[tuple[Turn, Line, UnixMillis]]:
        """Give entries, the earliest first, and have ``look`` ask how their endpoints stand."""
        by = "#due_at >= :low" if high is None else "#due_at BETWEEN :low AND :high"
        bounds = {"low": low} | ({} if high is None else {"high": high})
        queries = [
            Query(
                table=Table.DELIVERIES,
                index=DUE,
                where=f"#due_bucket = :bucket AND {by}",
                values={"bucket": due_bucket(shard), **bounds},
                page=PAGE,
            )
            for shard in range(SHARDS)
        ]
        found = map(_entry, merged(self._db.query_many(queries), "due_at"))
        while chunk := list(islice(found, PAGE)):
            look.ask(turn for turn, _, _ in chunk)
            yield from chunk


class _Look:
    """What one look has found, and how much room is left for each turn."""

    def __init__(
        self,
        endpoints: EndpointNotes,
        *,
        limit: int,
        busy: frozenset[OrganizationId],
        probed: frozenset[OrganizationId],
    ) -> None:
        self._endpoints = endpoints
        self._limit = limit
        self._probed = probed
        self._asked: set[Turn] = {SWEEP, *busy}
        self._left: set[Turn] = set(busy)
        self._lines: dict[Turn, dict[Line, UnixMillis]] = {}

    def ask(self, turns: Iterable[Turn]) -> None:
        """Find out whose endpoints are disabled, of those that it is not known of."""
        new = {OrganizationId(turn) for turn in turns if turn not in self._asked and not is_of_endpoint(turn)}
        self._asked |= new
        self._left |= self._endpoints.look_at(new)

    def room(self, turn: Turn) -> int:
        """Return how many more lines may be offered."""
        if turn in self._left:
            return 0
        return (1 if turn in self._probed else self._limit) - len(self._lines.get(turn, ()))

    def offer(self, turn: Turn, line: Line, due_at: UnixMillis) -> bool:
        """Take a line if there is room, and tell whether it is taken."""
        lines = self._lines.setdefault(turn, {})
        if line not in lines and self.room(turn) > 0:
            lines[line] = due_at
        return line in lines

    def in_turn(self) -> Iterator[tuple[Line, UnixMillis]]:
        """Give the lines one organization after the other, so that none with many keeps the others waiting."""
        turns = chain.from_iterable(zip_longest(*(lines.items() for lines in self._lines.values())))
        return (one for one in turns if one is not None)


def _entry(found: Item) -> tuple[Turn, Line, UnixMillis]:
    line = line_of_item(found)
    turn = found["contract_id"] if line.contract_id is None else line.organization_id
    return turn, line, UnixMillis(found["due_at"])
