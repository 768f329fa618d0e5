"""Forgetting what is over: a few of the oldest rows at a time, found in the order in which they were written.

The rules:

1. A look goes through ``limit`` rows from where the one before ended; the last one ends where the rows are too young to
   be over at all. So it costs the same whether there are a thousand rows or a hundred million, and needs no index.
2. The newest row of a table stays, so that SQLite gives no number twice: numbers are cursors and handles.
3. A forgotten row may come back in a power cut, and is forgotten again: the write is one of those without an fsync.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import apsw

from moneta.adapters.embedded.database import Database, rows
from moneta.application.ports import Forgotten
from moneta.domain.identifiers import UnixMillis
from moneta.domain.retention import Past


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one kind is found and forgotten.

    ``oldest`` gives a number, when it was written, never later than when it was over, and since when it is over (NULL:
    it is not), in the order of numbers; it is asked with the number to begin after, and how many. ``forget`` are asked
    with a number each.
    """

    oldest: str
    forget: tuple[str, ...]


_FORGET_DELIVERY: Final = (
    "DELETE FROM attempts WHERE delivery = ?",
    "DELETE FROM deliveries WHERE delivery = ?",
)
KINDS: Final[Mapping[Past, Kind]] = {
    Past.DELIVERIES: Kind(
        oldest="""
        SELECT delivery, owed_at, CASE WHEN status = 1 THEN
            (SELECT max(at) FROM attempts WHERE attempts.delivery = deliveries.delivery)
        END
        FROM deliveries NOT INDEXED
        WHERE delivery > ? AND delivery < (SELECT max(delivery) FROM deliveries)
        ORDER BY delivery LIMIT ?
        """,
        forget=_FORGET_DELIVERY,
    ),
    Past.DEAD_DELIVERIES: Kind(
        oldest="""
        SELECT delivery, owed_at, (SELECT max(at) FROM attempts WHERE attempts.delivery = deliveries.delivery)
        FROM deliveries INDEXED BY deliveries_dead
        WHERE status = 2 AND delivery > ? AND delivery < (SELECT max(delivery) FROM deliveries)
        ORDER BY delivery LIMIT ?
        """,
        forget=_FORGET_DELIVERY,
    ),
    Past.EVENTS: Kind(
        oldest="""
        SELECT event, received_at, CASE WHEN status <> 0 THEN processed_at END
        FROM events NOT INDEXED
        WHERE event > ? AND event < (SELECT max(event) FROM events)
        ORDER BY event LIMIT ?
        """,
        forget=("DELETE FROM events WHERE event = ?",),
    ),
    Past.ANSWERS: Kind(
        oldest="SELECT rowid, at, at FROM remembered NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT ?",
        forget=("DELETE FROM remembered WHERE rowid = ?",),
    ),
}


class SQLiteRetentionStore:
    """See ``ports.RetentionStore``. ``after`` is the number of the last row that was looked at."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def forget(self, past: Past, *, before: UnixMillis, after: str, limit: int, is_trial: bool = False) -> Forgotten:
        """See RetentionStore.forget."""
        kind, place = KINDS[past], (int(after or 0), limit)
        with self._database.read() as connection:  # Most looks find nothing, and should not wait for the writer.
            numbers, last = _over(rows(connection, kind.oldest, place), before=before, limit=limit)
        if numbers and not is_trial:
            with self._database.write_unsynced() as connection:
                # Looked at again: a delivery that was over may be on its way once more.
                numbers, last = _over(rows(connection, kind.oldest, place), before=before, limit=limit)
                _forget(connection, kind, numbers)
        return Forgotten(count=len(numbers), after=None if last is None else str(last))


def _over(
    found: Sequence[tuple[int, UnixMillis, UnixMillis | None]], *, before: UnixMillis, limit: int
) -> tuple[Sequence[int], int | None]:
    """Return the numbers of what was over ``before``, and where to go on; None where all that follows is younger."""
    numbers = [number for number, _, over_since in found if over_since is not None and over_since < before]
    if len(found) < limit or found[-1][1] >= before:
        return numbers, None
    return numbers, found[-1][0]


def _forget(connection: apsw.Connection, kind: Kind, numbers: Sequence[int]) -> None:
    for statement in kind.forget:
        connection.executemany(statement, [(number,) for number in numbers])
