"""The loop that brings events to their outcome, and contracts to the ends that Moneta causes.

It sleeps until it is woken, a term is over, or an event that was given back is due; it never polls an idle store.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from moneta.application.end_contracts import decline_compromised, expire_contracts, next_expiry_ms
from moneta.application.ports import Hub, QueuedEvent
from moneta.application.process_events import process_or_return
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.identifiers import UnixMillis
from moneta.domain.limits import (
    PROCESS_BATCH_MAX,
    PROCESS_LEASE_S,
    PROCESS_TURN_MS,
)
from moneta.entrypoints.failed_events import give_back_or_bury
from moneta.entrypoints.heartbeats import Heartbeat
from moneta.entrypoints.pace import Pace

IDLE_S_MAX: Final = 60.0
WAITING_S: Final = 1.0
TERM_S_MIN: Final = 0.25
STORE_PAUSE_S: Final = 0.5

log = structlog.get_logger()


class Processor:
    """Runs until stopped. ``on_progress`` is called after every batch, since it may have made deliveries due.

    ``wait`` sleeps for so many seconds, or less if somebody says that there may be something to do.
    """

    def __init__(self, hub: Hub, *, on_progress: Callable[[], None], wait: Callable[[float], None]) -> None:
        self._hub = hub
        self._on_progress = on_progress
        self._wait = wait
        self._is_stopping = False
        self._kept: Sequence[QueuedEvent] = ()
        self._in_hand: Sequence[QueuedEvent] = ()
        self._turn_began_at: UnixMillis | None = None
        self._pace = Pace(PROCESS_TURN_MS / 1000)

    def stop(self) -> None:
        """Let the batch under way finish, and ``run`` return."""
        self._is_stopping = True

    def run(self) -> None:
        """Work until ``stop``."""
        while not self._is_stopping:  # until stopped
            time.sleep(self._pace.wait_s())
            self._turn_began_at = self._hub.clock.now_ms()
            try:
                is_idle = self._turn()
                pause_s = self._idle_s() if is_idle else 0.0
            except StoreUnavailableError as error:
                log.warning("store_unavailable", detail=str(error))
                pause_s = STORE_PAUSE_S
            except Exception as error:  # a bug: shown, and not the end of all processing
                log.exception("processor_turn_failed", error=type(error).__name__)
                pause_s = WAITING_S
            self._turn_began_at = None
            if not self._is_stopping:
                self._wait(pause_s)  # without a pause too: it lets go of what woke us for what we have just done

    def heartbeat(self) -> Heartbeat:
        """Return how it is getting on. Safe from any thread."""
        now, began_at, events = self._hub.clock.now_ms(), self._turn_began_at, self._in_hand
        waiting_since = min((event.ready_at for event in events if event.tries == 1), default=now)
        turn_ms = 0 if began_at is None else now - began_at
        return Heartbeat(at_ms=now, lag_ms=max(0, now - waiting_since), depth=len(events), turn_ms=turn_ms)

    def _turn(self) -> bool:
        """Do what there is to do now; tell whether there was nothing."""
        hub = self._hub
        ended = decline_compromised(hub)
        events, self._kept = self._kept or hub.queue.take(limit=PROCESS_BATCH_MAX, lease_s=PROCESS_LEASE_S), ()
        self._in_hand = events
        if events:
            self._pace.keep()
            self._process(events)
        ended += expire_contracts(hub)
        if events or ended:
            self._on_progress()
        return not events and not ended

    def _process(self, events: Sequence[QueuedEvent]) -> None:
        try:
            again = process_or_return(self._hub, events, self._keep)
        except StoreUnavailableError:
            self._kept = events  # a store that can't commit can't release either: try them again, first thing
            raise
        if again:
            self._hub.queue.release(again, delay_s=0)

    def _keep(self, event: QueuedEvent, error: Exception) -> None:
        give_back_or_bury(self._hub, event, error)

    def _idle_s(self) -> float:
        """Return how long there is nothing to do, unless somebody wakes us."""
        waiting_s = WAITING_S if self._hub.queue.depth() else IDLE_S_MAX
        term_ms = next_expiry_ms(self._hub)
        if term_ms is None:
            return waiting_s
        return max(TERM_S_MIN, min(waiting_s, (term_ms - self._hub.clock.now_ms()) / 1000))
