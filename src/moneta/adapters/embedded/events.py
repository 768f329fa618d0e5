"""Events: accepted once, queued until their outcome, and what the queue could not get rid of."""

from collections.abc import Sequence
from typing import Final

import apsw

from moneta.adapters.embedded.database import Database, Row, insert, row, rows, value
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
    EventOutcome,
    EventRecord,
    EventStatus,
    NewEvent,
    QueuedEvent,
    Reused,
    Taken,
)
from moneta.domain.identifiers import ContractId, EventId, OrganizationId, UnixMillis

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
    connection.execute("INSERT INTO messages VALUES (?, ?, ?)", (number, event.registry_seq, event.raw))
    connection.execute("INSERT INTO queue (event, ready_at) VALUES (?, ?)", (number, received_at))
    return Taken(received_at=received_at, is_replay=False)


_INSERT: Final = """
INSERT INTO events (source, event_id, type, contract, digest, received_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
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


def settle_event(connection: apsw.Connection, event: int, outcome: EventOutcome) -> None:
    """Write the outcome and let go of the event's bytes, wherever they wait."""
    connection.execute("DELETE FROM queue WHERE event = ?", (event,))
    if not connection.changes():
        connection.execute("DELETE FROM dead_letters WHERE event = ?", (event,))
    connection.execute("DELETE FROM messages WHERE event = ?", (event,))
    connection.execute(
        "UPDATE events SET status = ?, processed_at = ?, problem = ? WHERE event = ?",
        (EVENT_STATUS_CODES[outcome.status], outcome.processed_at, outcome.problem, event),
    )


class SQLiteEventQueue:
    """See ``ports.EventQueue``. A handle is the event's number and the try, so that a stale taker changes nothing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def take(self, *, limit: int, lease_s: int) -> Sequence[QueuedEvent]:
        """See EventQueue.take."""
        with self._database.read() as connection:  # An idle worker looks often, and should not wait for the writer.
            if value(connection, "SELECT 1 FROM queue WHERE ready_at <= ?", (self._clock.now_ms(),)) is None:
                return ()
        with self._database.lease() as connection:
            now = self._clock.now_ms()
            ready = rows(connection, _READY, (now, limit))
            lease_ends_at = now + lease_s * 1000
            connection.executemany(_LEASE, [(lease_ends_at, event) for event, *_ in ready])
        return [_queued(found) for found in ready]

    def release(self, events: Sequence[QueuedEvent], *, delay_s: int) -> None:
        """See EventQueue.release."""
        with self._database.lease() as connection:
            ready_at = self._clock.now_ms() + delay_s * 1000
            connection.executemany(_RELEASE, [(ready_at, *_parse_handle(event.handle)) for event in events])

    def bury(self, event: QueuedEvent, *, reason: str) -> None:
        """See EventQueue.bury."""
        number, tries = _parse_handle(event.handle)
        with self._database.write() as connection:
            taken = value(connection, "DELETE FROM queue WHERE event = ? AND tries = ? RETURNING 1", (number, tries))
            if taken is not None:
                connection.execute(_BURY, (number, tries, self._clock.now_ms(), reason))

    def depth(self) -> int:
        """See EventQueue.depth."""
        with self._database.read() as connection:
            return int(rows(connection, "SELECT count(*) FROM queue")[0][0])

    def dead_letters(self, *, limit: int) -> Sequence[DeadLetter]:
        """See EventQueue.dead_letters."""
        with self._database.read() as connection:
            found = rows(connection, _DEAD_LETTERS, (limit,))
        return [
            DeadLetter(
                letter_id=str(letter),
                source=source,
                event_id=event_id,
                contract_id=contract_id,
                tries=tries,
                died_at=died_at,
                reason=reason,
            )
            for letter, source, event_id, contract_id, tries, died_at, reason in found
        ]


_READY: Final = """
SELECT queue.event, tries, sender.name, event_id, type, subject.name, raw, received_at, registry_seq
FROM queue
JOIN messages ON messages.event = queue.event
JOIN events ON events.event = queue.event
JOIN names AS sender ON sender.ref = events.source
JOIN names AS subject ON subject.ref = events.contract
WHERE ready_at <= ? ORDER BY ready_at, queue.event LIMIT ?
"""
_LEASE: Final = "UPDATE queue SET ready_at = ?, tries = tries + 1 WHERE event = ?"
_RELEASE: Final = "UPDATE queue SET ready_at = ? WHERE event = ? AND tries = ?"
_BURY: Final = "INSERT INTO dead_letters (event, tries, died_at, reason) VALUES (?, ?, ?, ?)"
_DEAD_LETTERS: Final = """
SELECT letter, sender.name, event_id, subject.name, tries, died_at, reason
FROM dead_letters
JOIN events ON events.event = dead_letters.event
JOIN names AS sender ON sender.ref = events.source
JOIN names AS subject ON subject.ref = events.contract
ORDER BY letter LIMIT ?
"""


def _queued(found: Row) -> QueuedEvent:
    event, tries, source, event_id, kind, contract_id, raw, received_at, registry_seq = found
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
    )


def _parse_handle(handle: str) -> tuple[int, int]:
    event, _, tries = handle.partition(".")
    return int(event), int(tries)
