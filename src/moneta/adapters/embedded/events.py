"""Events: accepted once, queued until their outcome, and what the queue could not get rid of."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Final

import apsw

from moneta.adapters.embedded.cursors import make_cursor, read_cursor
from moneta.adapters.embedded.database import Database, Row, insert, row, rows, value
from moneta.adapters.embedded.in_hand import InHand, InHandFile
from moneta.adapters.embedded.schema import (
    EVENT_STATUS_CODES,
    EVENT_STATUSES,
    EVENT_TYPE_CODES,
    EVENT_TYPES,
    Writing,
    ref_of,
)
from moneta.application.ports import (
    Clock,
    DeadLetter,
    EventBacklog,
    EventOutcome,
    EventRecord,
    EventStatus,
    NewEvent,
    Page,
    QueuedEvent,
    Reused,
    Taken,
)
from moneta.domain.identifiers import ContractId, EventId, OrganizationId, UnixMillis
from moneta.domain.limits import BACKLOG_COUNTED_MAX, FORGOTTEN_TRIES_MAX, PROCESS_LOOK_BATCHES, PROCESS_RETRY_S_MAX

ACCEPTED: Final = EVENT_STATUS_CODES[EventStatus.ACCEPTED]


class SQLiteEventStore:
    """See ``ports.EventStore``."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def accept(self, events: Sequence[NewEvent]) -> Sequence[Taken | Reused]:
        """See EventStore.accept."""
        with self._database.write() as connection:
            received_at = self._clock.now_ms()
            writing = Writing(connection)
            return [accept_event(writing, event, received_at=received_at) for event in events]

    def find(self, source: OrganizationId, event_id: EventId) -> EventRecord | None:
        """See EventStore.find."""
        with self._database.read() as connection:
            found = row(connection, _FIND, (source, event_id))
        if found is None:
            return None
        kind, contract_id, digest, status, received_at, processed_at, problem = found
        return EventRecord(
            source=source,
            event_id=event_id,
            type=EVENT_TYPES[kind],
            contract_id=contract_id,
            digest=digest,
            status=EVENT_STATUSES[status],
            received_at=received_at,
            processed_at=processed_at,
            problem=problem,
        )

    def has_unprocessed(self, contract_id: ContractId, *, received_before: UnixMillis) -> bool:
        """See EventStore.has_unprocessed."""
        # What was stamped before that moment is in the hands of a writer or committed; so after the writer it is there.
        self._database.wait_for_writer()
        with self._database.read() as connection:
            contract = ref_of(connection, contract_id)
            return value(connection, _UNPROCESSED, (contract, received_before)) is not None


_FIND: Final = """
SELECT events.type, subject.name, digest, status, received_at, processed_at, problem
FROM names AS sender
JOIN events ON events.source = sender.ref
JOIN names AS subject ON subject.ref = events.contract
WHERE sender.name = ? AND event_id = ?
"""
_UNPROCESSED: Final = "SELECT 1 FROM events WHERE contract = ? AND status = 0 AND received_at < ? LIMIT 1"


def accept_event(writing: Writing, event: NewEvent, *, received_at: UnixMillis) -> Taken | Reused:
    """Record and queue one event, or say what its (source, id) stands for already."""
    connection, source, contract = writing.connection, writing.ref(event.source), writing.ref(event.contract_id)
    facts = (EVENT_TYPE_CODES[event.type], contract, event.digest, received_at)
    # Insert first and read only on conflict: almost every event is new.
    number = insert(connection, _INSERT, (source, event.event_id, *facts))
    if number is None:
        digest, first_received_at = rows(connection, _EARLIER, (event.event_id, source))[0]
        return Taken(received_at=first_received_at, is_replay=True) if digest == event.digest else Reused()
    connection.execute(_QUEUE, (number, received_at, event.registry_seq, event.raw))
    return Taken(received_at=received_at, is_replay=False)


_INSERT: Final = """
INSERT INTO events (source, event_id, type, contract, digest, received_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_QUEUE: Final = "INSERT INTO messages (event, ready_at, registry_seq, raw) VALUES (?, ?, ?, ?)"
_EARLIER: Final = "SELECT digest, received_at FROM events WHERE event_id = ? AND source = ?"


def find_unprocessed(writing: Writing, outcome: EventOutcome) -> int | None:
    """Return the number of the event that ``outcome`` is for; None if it has an outcome.

    Raises:
        ValueError: It was never accepted.
    """
    source = writing.ref(outcome.source)
    found = row(writing.connection, _STATUS, (outcome.event_id, source))
    if found is None:
        raise ValueError(f"event {outcome.event_id} of {outcome.source}: an outcome, but it was never accepted")
    event, status = found
    return event if status == ACCEPTED else None


_STATUS: Final = "SELECT event, status FROM events WHERE event_id = ? AND source = ?"


def settle_event(writing: Writing, event: int, outcome: EventOutcome) -> None:
    """Write the outcome and let go of the event's bytes, wherever they wait."""
    connection = writing.connection
    writing.settled.append(event)
    connection.execute("DELETE FROM messages WHERE event = ? AND ready_at IS NOT NULL", (event,))
    if not connection.changes():
        connection.execute("DELETE FROM dead_letters WHERE event = ?", (event,))
        connection.execute("DELETE FROM messages WHERE event = ?", (event,))
    connection.execute(
        "UPDATE events SET status = ?, processed_at = ?, problem = ? WHERE event = ?",
        (EVENT_STATUS_CODES[outcome.status], outcome.processed_at, outcome.problem, event),
    )


class SQLiteEventQueue:
    """See ``ports.EventQueue``. A handle is the event's number and the try, so that a stale taker changes nothing."""

    def __init__(self, database: Database, clock: Clock, in_hand: InHand, file: InHandFile) -> None:
        self._database = database
        self._clock = clock
        self._in_hand = in_hand
        self._file = file

    def take(self, *, limit: int, lease_s: int) -> Sequence[QueuedEvent]:
        """See EventQueue.take."""
        with self._in_hand.taking:
            now = self._clock.now_ms()
            self._count_tries(self._in_hand.ended(now), is_delayed=False)
            held = self._in_hand.groups()
            with self._database.read() as connection:
                ready = [one for one in rows(connection, _READY, (now, limit + len(held) + 1)) if one[0] not in held]
                if len(ready) > limit:
                    ready = [*_in_turn(connection, ready, held, now=now, limit=limit)]
            taken = [number for number, *_ in ready]
            if taken:
                self._in_hand.hold(dict.fromkeys(taken, 0), until=UnixMillis(now + lease_s * 1000))
                self._file.write([*held, *taken])
        return [_queued(found) for found in ready]

    def release(self, events: Sequence[QueuedEvent], *, delay_s: int) -> None:
        """See EventQueue.release."""
        held = [handle for handle in map(_parse_handle, [event.handle for event in events]) if self._holds(*handle)]
        with self._database.write_unsynced() as connection:
            ready_at = self._clock.now_ms() + delay_s * 1000
            connection.executemany(_RELEASE, [(ready_at, tries, event) for event, tries in held])
        self._in_hand.put_down([event for event, _ in held])

    def bury(self, event: QueuedEvent, *, reason: str) -> None:
        """See EventQueue.bury."""
        number, tries = _parse_handle(event.handle)
        if self._holds(number, tries):
            with self._database.write() as connection:
                connection.execute(_DEAD, (number,))
                if connection.changes():
                    connection.execute(_BURY, (number, tries, self._clock.now_ms(), reason))
            self._in_hand.put_down([number])

    def reclaim(self) -> None:
        """Count a try of each event that the processor before this one had in hand when it died.

        For the one processor, at its start. What it may have died of more than once waits for a while, so that all else
        comes first.
        """
        self._count_tries(self._file.read(), is_delayed=True)

    def _count_tries(self, events: Sequence[int], *, is_delayed: bool) -> None:
        """Write that ``events`` were taken, and came neither to an outcome nor back.

        ``is_delayed``: those that this has happened to before wait for ``PROCESS_RETRY_S_MAX``.
        """
        if events:
            delay_s = PROCESS_RETRY_S_MAX if is_delayed else 0
            with self._database.write_unsynced() as connection:
                later = self._clock.now_ms() + delay_s * 1000
                bindings = [(FORGOTTEN_TRIES_MAX, later, event) for event in events]
                connection.executemany(_COUNT_TRY, bindings)

    def close(self) -> None:
        """Close the file that says what is in hand."""
        self._file.close()

    def _holds(self, event: int, tries: int) -> bool:
        """Tell whether that taking is in force."""
        if event not in self._in_hand.groups():
            return False
        with self._database.read() as connection:
            return value(connection, "SELECT tries + 1 FROM messages WHERE event = ?", (event,)) == tries

    def depth(self) -> int:
        """See EventQueue.depth."""
        with self._database.read() as connection:
            return int(rows(connection, "SELECT count(*) FROM messages WHERE ready_at IS NOT NULL")[0][0])

    def backlog(self) -> EventBacklog:
        """See EventQueue.backlog."""
        with self._database.read() as connection:
            waiting, oldest_at, dead_letters = rows(connection, _BACKLOG, (BACKLOG_COUNTED_MAX, BACKLOG_COUNTED_MAX))[0]
        return EventBacklog(waiting=waiting, oldest_at=oldest_at, dead_letters=dead_letters)

    def dead_letters(self, *, limit: int, cursor: str | None = None) -> Page[DeadLetter]:
        """See EventQueue.dead_letters."""
        after = 0 if cursor is None else read_cursor(cursor, filters=_OF_LETTERS).at
        with self._database.read() as connection:
            found = rows(connection, _DEAD_LETTERS, (after, limit + 1))
        items = [_letter(one) for one in found[:limit]]
        last = items[-1].letter_id if len(found) > limit else None
        return Page(items=items, next_cursor=last and make_cursor(int(last), "", filters=_OF_LETTERS))

    def redrive(self, letter_id: str) -> DeadLetter | None:
        """See EventQueue.redrive."""
        if _LETTER_ID.fullmatch(letter_id) is None:
            return None
        number = int(letter_id)
        with self._database.write() as connection:
            found = rows(connection, _DEAD_LETTERS, (number - 1, 1))
            event = value(connection, "DELETE FROM dead_letters WHERE letter = ? RETURNING event", (number,))
            if event is None:
                return None
            connection.execute(_REDRIVE, (self._clock.now_ms(), event))
        return _letter(found[0])


_QUEUED: Final = """
SELECT messages.event, tries, sender.name, event_id, type, subject.name, raw, received_at, registry_seq,
    ready_at
FROM messages
JOIN events ON events.event = messages.event
JOIN names AS sender ON sender.ref = events.source
JOIN names AS subject ON subject.ref = events.contract
"""
_READY: Final = f"{_QUEUED} WHERE ready_at <= ? ORDER BY ready_at, messages.event LIMIT ?"
_ONE: Final = f"{_QUEUED} WHERE messages.event = ?"
_SENDERS: Final = """
SELECT messages.event, source FROM messages JOIN events ON events.event = messages.event
WHERE ready_at <= ? ORDER BY ready_at, messages.event LIMIT ?
"""
_RELEASE: Final = "UPDATE messages SET ready_at = ?, tries = ? WHERE event = ? AND ready_at IS NOT NULL"
_COUNT_TRY: Final = """
UPDATE messages SET tries = tries + 1, ready_at = iif(tries < ?, ready_at, ?) WHERE event = ? AND ready_at IS NOT NULL
"""
_DEAD: Final = "UPDATE messages SET ready_at = NULL WHERE event = ? AND ready_at IS NOT NULL"
# Events are numbered in the order of their receipt, so the lowest number that waits is that of the oldest.
_BACKLOG: Final = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM messages WHERE ready_at IS NOT NULL LIMIT ?)),
    (SELECT received_at FROM events WHERE event = (
        SELECT event FROM messages NOT INDEXED WHERE ready_at IS NOT NULL ORDER BY event LIMIT 1
    )),
    (SELECT count(*) FROM (SELECT 1 FROM dead_letters LIMIT ?))
"""
_BURY: Final = "INSERT INTO dead_letters (event, tries, died_at, reason) VALUES (?, ?, ?, ?)"
_DEAD_LETTERS: Final = """
SELECT letter, sender.name, event_id, subject.name, tries, died_at, reason
FROM dead_letters
JOIN events ON events.event = dead_letters.event
JOIN names AS sender ON sender.ref = events.source
JOIN names AS subject ON subject.ref = events.contract
WHERE letter > ? ORDER BY letter LIMIT ?
"""
_REDRIVE: Final = "UPDATE messages SET ready_at = ?, tries = 0 WHERE event = ?"
_OF_LETTERS: Final = ("dead letters",)
_LETTER_ID: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)


def _in_turn(
    connection: apsw.Connection, oldest: Sequence[Row], held: Mapping[int, int], *, now: UnixMillis, limit: int
) -> Iterator[Row]:
    """Give up to ``limit`` events that are ready, one of each sender in turn, each sender's oldest first.

    So a sender with many waiting keeps nobody else waiting. Of the ``PROCESS_LOOK_BATCHES`` times ``limit`` that have
    waited longest: more than that wait only in a hub that refuses what is new (``docs/back-pressure.md``). ``oldest``:
    those that have been read whole.
    """
    of_sender: dict[int, list[int]] = {}
    for number, source in rows(connection, _SENDERS, (now, PROCESS_LOOK_BATCHES * limit + len(held))):
        if number not in held:
            of_sender.setdefault(source, []).append(number)
    turns = (number for turn in zip_longest(*of_sender.values()) for number in turn if number is not None)
    read = {number: (number, *others) for number, *others in oldest}
    for number in islice(turns, limit):
        yield from (read[number],) if number in read else rows(connection, _ONE, (number,))


def _letter(found: Row) -> DeadLetter:
    letter, source, event_id, contract_id, tries, died_at, reason = found
    return DeadLetter(
        letter_id=str(letter),
        source=source,
        event_id=event_id,
        contract_id=contract_id,
        tries=tries,
        died_at=died_at,
        reason=reason,
    )


def _queued(found: Row) -> QueuedEvent:
    event, tries, source, event_id, kind, contract_id, raw, received_at, registry_seq, ready_at = found
    return QueuedEvent(
        source=source,
        event_id=event_id,
        type=EVENT_TYPES[kind],
        contract_id=contract_id,
        raw=raw,
        received_at=received_at,
        registry_seq=registry_seq,
        tries=tries + 1,
        handle=f"{event}.{tries + 1}",
        ready_at=ready_at,
    )


def _parse_handle(handle: str) -> tuple[int, int]:
    event, _, tries = handle.partition(".")
    return int(event), int(tries)
