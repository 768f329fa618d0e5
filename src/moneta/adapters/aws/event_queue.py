"""The queue of accepted events on SQS. An event's handle is the service's, and until when it is its taker's.

The service deletes by handle alone, while an outcome is of an event. So this process remembers the handles that it gave
of each event; what it has none of (another process took it, or it was sent twice) comes up once more, and is deleted
when ``take`` finds that its event has an outcome. A function is given events by the service, which deletes them.
"""

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Final

from moneta.adapters.aws.contract_items import event_key
from moneta.adapters.aws.dynamodb import DynamoDB, Table
from moneta.adapters.aws.event_messages import event_of, message_of, parse_handle
from moneta.adapters.aws.events import MESSAGE_LIFE_MS, OWING, event_message
from moneta.adapters.aws.letters import Letters, letter_of
from moneta.adapters.aws.sqs import BATCH_MAX, Queue, Received
from moneta.adapters.aws.tables import WAITING
from moneta.application.ports import Clock, DeadLetter, EventBacklog, Page, QueuedEvent
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.identifiers import UnixMillis
from moneta.domain.limits import BACKLOG_COUNTED_MAX, CACHE_ENTRIES_MAX

WAIT_S: Final = 1
"""How long the service looks for a message before it says that there is none: else it asks but some of its hosts."""
OLDEST_LOOKED_AT_MAX: Final = 10_000
"""Among how many events without an outcome the oldest is looked for."""


class SQSEventQueue:
    """See ``ports.EventQueue``. Safe for threads."""

    def __init__(self, db: DynamoDB, clock: Clock, queue: Queue, *, wait_s: int = WAIT_S) -> None:
        self._db = db
        self._clock = clock
        self._queue = queue
        self._letters = Letters(db)
        self._wait_s = wait_s
        self._handles: dict[str, set[str]] = {}
        self._given_back: dict[str, UnixMillis] = {}
        self._lock = threading.Lock()

    def take(self, *, limit: int, lease_s: int) -> Sequence[QueuedEvent]:
        """See EventQueue.take.

        An event whose message is there twice is given once. A message that the hub did not send is left, until the
        service moves it out of the way.
        """
        lease_ends_at = self._clock.now_ms() + lease_s * 1000
        events: dict[str, QueuedEvent] = {}
        for received in self._receive(limit, lease_s=lease_s):
            with suppress(ValueError):
                event = event_of(received, lease_ends_at=lease_ends_at)
                events.setdefault(_key(event), event)
                self._remember(event)
        over = self._over(list(events))
        self.settled(over)
        return [self._with_ready_at(event) for key, event in events.items() if key not in over]

    def _receive(self, limit: int, *, lease_s: int) -> Sequence[Received]:
        received: list[Received] = []
        while len(received) < limit:
            found = self._queue.receive(
                min(BATCH_MAX, limit - len(received)), lease_s=lease_s, wait_s=0 if received else self._wait_s
            )
            received += found
            if not found:
                break
        return received

    def _over(self, events: Sequence[str]) -> frozenset[str]:
        """Return those of the events that have an outcome."""
        attributes = ("event", "processed_at")
        found = self._db.batch_get(Table.EVENTS, [{"event": one} for one in events], attributes=attributes)
        return frozenset(item["event"] for item in found if "processed_at" in item)

    def _with_ready_at(self, event: QueuedEvent) -> QueuedEvent:
        """Return the event with the moment at which this process gave it back; of another's the message knows none."""
        return replace(event, ready_at=self._given_back.get(_key(event), event.ready_at))

    def release(self, events: Sequence[QueuedEvent], *, delay_s: int) -> None:
        """See EventQueue.release."""
        now = self._clock.now_ms()
        held = [event for event in events if _is_held(event, now)]
        with self._lock:
            if len(self._given_back) >= CACHE_ENTRIES_MAX:
                self._given_back.clear()
            self._given_back |= {_key(event): UnixMillis(now + delay_s * 1000) for event in held}
        self._queue.hide([_receipt(event) for event in held], delay_s=delay_s)

    def bury(self, event: QueuedEvent, *, reason: str) -> None:
        """See EventQueue.bury. Who dies between the letter and the deletion leaves both: it is tried, or buried, again.

        A message that came from elsewhere, and has no handle, is for somebody else to delete.
        """
        now = self._clock.now_ms()
        if _is_held(event, now):
            self._letters.write(event, reason=reason, died_at=now)
            self._queue.delete(sorted(self._forget([_key(event)]) | {_receipt(event)} - {""}))

    def settled(self, events: Iterable[str]) -> None:
        """Delete what this process took of events that have an outcome now. What is not deleted, ``take`` deletes."""
        handles = self._forget(events)
        with suppress(StoreUnavailableError):
            self._queue.delete(sorted(handles))

    def depth(self) -> int:
        """See EventQueue.depth. About: the service counts with a delay."""
        return self._queue.depth()

    def backlog(self) -> EventBacklog:
        """See EventQueue.backlog. About: see ``depth``, and the oldest is that of ``OLDEST_LOOKED_AT_MAX`` events."""
        letters = self._letters.keys()
        attributes = ("event", "waiting_for", "received_at")
        entries = islice(self._db.scan(Table.EVENTS, index=WAITING, attributes=attributes), OLDEST_LOOKED_AT_MAX)
        since = self._clock.now_ms() - MESSAGE_LIFE_MS
        waiting = (one["received_at"] for one in entries if one["waiting_for"] != OWING and one["event"] not in letters)
        return EventBacklog(
            waiting=min(self.depth(), BACKLOG_COUNTED_MAX),
            oldest_at=min((moment for moment in waiting if moment >= since), default=None),
            dead_letters=len(letters),
        )

    def dead_letters(self, *, limit: int, cursor: str | None = None) -> Page[DeadLetter]:
        """See EventQueue.dead_letters."""
        return self._letters.page(limit=limit, cursor=cursor)

    def redrive(self, letter_id: str) -> DeadLetter | None:
        """See EventQueue.redrive."""
        now = self._clock.now_ms()
        item = self._letters.claim(letter_id, now=now)
        if item is None:
            return None
        try:
            self._queue.send([message_of(event_message(item, ready_at=now), item["raw"])])
        except StoreUnavailableError:
            self._letters.let_go(item)
            raise
        self._letters.remove(item, now=now)
        return letter_of(item)

    def _remember(self, event: QueuedEvent) -> None:
        with self._lock:
            if len(self._handles) >= CACHE_ENTRIES_MAX:
                self._handles.clear()
            self._handles.setdefault(_key(event), set()).add(_receipt(event))

    def _forget(self, events: Iterable[str]) -> set[str]:
        """Return the handles that this process had of events, and has no more."""
        handles: set[str] = set()
        with self._lock:
            for event in events:
                handles |= self._handles.pop(event, set())
                self._given_back.pop(event, None)
        return handles


def _key(event: QueuedEvent) -> str:
    return event_key(event.source, event.event_id)


def _is_held(event: QueuedEvent, now: UnixMillis) -> bool:
    """Tell whether its taker's lease is in force."""
    return parse_handle(event.handle)[0] > now


def _receipt(event: QueuedEvent) -> str:
    return parse_handle(event.handle)[1]
