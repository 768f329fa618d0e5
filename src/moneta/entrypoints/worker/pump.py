"""The delivery pump: takes what is due, sends each message on its own, records what came of them in groups.

A slow endpoint occupies only its own places, one that fails is left alone but for a probe, and what is owed to it waits
without losing an attempt (``places``); the others are served from the rest.
Recording gathers whatever was answered while the last write was under way, so that one fsync serves many attempts.

Whatever goes wrong with one delivery is logged, and costs that one its turn: its lease ends, and it is tried again.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, TypeVar, TypeVarTuple

import structlog

from moneta.application.deliver_webhooks import (
    CameOf,
    PreparedAttempt,
    Recorded,
    prepare_each,
    record_each,
    sign_of,
)
from moneta.application.ports import (
    OF_ENDPOINT,
    Answer,
    DueDelivery,
    Hub,
    NoAnswer,
    OutboundRequest,
    OwedDelivery,
    Sender,
)
from moneta.domain.circuits import CircuitState, Passage
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.limits import (
    DELIVER_BATCH_MAX,
    DELIVER_LEASE_S,
    DELIVER_TURN_MS,
    DRAIN_S_MAX,
    RECORD_TRIES_MAX,
    RECORD_TURN_MS,
)
from moneta.entrypoints.heartbeats import Heartbeat
from moneta.entrypoints.pace import Pace
from moneta.entrypoints.worker.places import Places
from moneta.entrypoints.worker.waits import Waits

IDLE_S_MAX: Final = 60.0
STORE_PAUSE_S: Final = 0.5
TICK_S: Final = 0.5
MISSED_S: Final = 1.0
"""Until the next look at what is due and was not taken."""
CIRCUIT_EVENTS: Final = {CircuitState.OPEN: "circuit_opened", CircuitState.CLOSED: "circuit_closed"}

log = structlog.get_logger()

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class DeliveryPump:
    """Runs on the event loop that it is made in, until stopped.

    ``on_answer`` is called when a receiver's answer was accepted. ``traceparent``: what to tell a receiver of the
    trace that an attempt is in (W3C Trace Context); beside the message, not of what is signed.
    """

    def __init__(
        self,
        hub: Hub,
        sender: Sender,
        *,
        on_answer: Callable[[], None],
        traceparent: Callable[[OwedDelivery, UnixMillis], str] | None = None,
    ) -> None:
        self._hub = hub
        self._sender = sender
        self._on_answer = on_answer
        self._traceparent = traceparent
        self._woken = asyncio.Event()
        self._is_stopping = False
        loop = asyncio.get_running_loop()
        self._places = Places(clock_s=loop.time, randomness=hub.randomness)
        self._pace = Pace(DELIVER_TURN_MS / 1000, loop.time)
        self._record_pace = Pace(RECORD_TURN_MS / 1000, loop.time)
        self._sends: set[asyncio.Task[None]] = set()
        self._came: asyncio.Queue[CameOf] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="delivery")
        self._waits = Waits()
        self._lag_ms = 0
        self._turn_began_at: UnixMillis | None = None
        self._ticked_at = hub.clock.now_ms()

    def wake(self) -> None:
        """Say that something may be due. From the loop's own thread only."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until ``stop``."""
        recorder, ticker = asyncio.create_task(self._record_all()), asyncio.create_task(self._tick())
        while True:  # until stopped
            await asyncio.sleep(self._pace.wait_s())
            self._woken.clear()
            if self._is_stopping:  # looked at after the clearing, which may have been of the very call to stop
                break
            self._turn_began_at = self._hub.clock.now_ms()
            try:
                pause_s = self._turn()
            except StoreUnavailableError as error:
                log.warning("store_unavailable", detail=str(error))
                pause_s = STORE_PAUSE_S
            except Exception as error:  # a bug: shown, and not the end of all deliveries
                log.exception("delivery_turn_failed", error=type(error).__name__)
                pause_s = STORE_PAUSE_S
            self._turn_began_at = None
            if pause_s > 0:
                await self._sleep(pause_s)
        await self._drain()
        recorder.cancel()
        ticker.cancel()
        self._threads.shutdown()

    def stop(self) -> None:
        """Take nothing more; ``run`` returns when what is under way is recorded, or its lease is left to end."""
        self._is_stopping = True
        self._woken.set()

    def heartbeat(self) -> Heartbeat:
        """Return how it is getting on. Safe from any thread."""
        now, began_at = self._hub.clock.now_ms(), self._turn_began_at
        turn_ms = 0 if began_at is None else now - began_at
        still_ms = round(now - self._ticked_at - 1000 * TICK_S)  # the loop itself may be stuck, outside of any turn
        return Heartbeat(at_ms=now, lag_ms=self._lag_ms, depth=len(self._sends), turn_ms=max(turn_ms, still_ms))

    async def _tick(self) -> None:
        while True:  # until cancelled
            self._ticked_at = self._hub.clock.now_ms()
            await asyncio.sleep(TICK_S)

    def _turn(self) -> float:
        """Start what is due and has a place; return how long there is nothing more to start."""
        free, busy = self._places.free, self._places.busy()
        if free <= 0:
            return IDLE_S_MAX
        self._waits.note_held_back(busy, self._hub.clock.now_ms())
        # On the loop: these are reads of a few messages, which wait for nobody. A hand-over would cost more.
        prepared = self._take(free, busy, self._places.probed())
        for one in prepared:
            self._start(one)
        if prepared:
            self._pace.keep()
        return 0.0 if prepared else self._idle_s(busy)

    def _idle_s(self, busy: frozenset[OrganizationId]) -> float:
        """Return how long there is nothing to start, unless a place is given back or something is owed (both wake)."""
        due_ms = self._hub.deliveries.next_due(busy=busy)
        waits_s = [IDLE_S_MAX, self._places.next_probe_s() or IDLE_S_MAX]
        if due_ms is not None:
            wait_s = (due_ms - self._hub.clock.now_ms()) / 1000
            waits_s.append(wait_s if wait_s > 0 else MISSED_S)
        return min(waits_s)

    def _take(
        self, limit: int, busy: frozenset[OrganizationId], probed: frozenset[OrganizationId]
    ) -> Sequence[PreparedAttempt]:
        due = self._hub.deliveries.take_due(
            now=self._hub.clock.now_ms(), limit=limit, lease_s=DELIVER_LEASE_S, busy=busy, probed=probed
        )
        self._lag_ms = self._waits.lag_ms(due, self._hub.clock.now_ms())
        return prepare_each(self._hub, due, _log_unprepared) if due else ()

    def _start(self, prepared: PreparedAttempt) -> None:
        owed = prepared.due.owed
        passage = self._places.begin(owed.organization_id, is_test=owed.type in OF_ENDPOINT)
        task = asyncio.create_task(self._send(prepared, passage))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _send(self, prepared: PreparedAttempt, passage: Passage) -> None:
        try:
            came = await self._sender.send(self._request(prepared))
        except Exception as error:  # a bug of the sender's must not keep the place for ever
            owed = prepared.due.owed
            log.exception("send_failed", webhook_id=owed.webhook_id, contract_id=owed.contract_id)
            came = NoAnswer(reason="internal", detail=type(error).__name__, duration_ms=0)
        self._judge(prepared, came, passage)
        self._came.put_nowait((prepared, came))

    def _request(self, prepared: PreparedAttempt) -> OutboundRequest:
        if self._traceparent is None:
            return prepared.request
        traceparent = self._traceparent(prepared.due.owed, prepared.started_at)
        return replace(prepared.request, headers={**prepared.request.headers, "traceparent": traceparent})

    def _judge(self, prepared: PreparedAttempt, came: Answer | NoAnswer, passage: Passage) -> None:
        organization = prepared.due.owed.organization_id
        sign, wait_s = sign_of(came, now=prepared.started_at)
        circuit = self._places.judge(organization, sign, passage=passage, retry_after_s=wait_s)
        if circuit is not None:
            log.info(CIRCUIT_EVENTS[circuit.state], organization_id=organization, openings=circuit.openings)

    async def _record_all(self) -> None:
        while True:  # until cancelled
            batch = [await self._came.get()]
            await asyncio.sleep(self._record_pace.wait_s())
            self._record_pace.keep()
            while not self._came.empty() and len(batch) < DELIVER_BATCH_MAX:
                batch.append(self._came.get_nowait())
            await self._record(batch)
            self._free(batch)

    async def _record(self, batch: Sequence[CameOf]) -> None:
        for _ in range(RECORD_TRIES_MAX):
            try:
                recorded = await self._in_thread(self._write, batch)
            except StoreUnavailableError as error:
                log.warning("store_unavailable", detail=str(error))
                await asyncio.sleep(STORE_PAUSE_S)
            else:
                self._tell(recorded)
                return
        log.error("attempts_not_recorded", count=len(batch))  # their leases end, and they are sent again

    def _tell(self, recorded: Sequence[Recorded]) -> None:
        if any(one.answers for one in recorded):
            self._on_answer()
        for organization, reason in (item for one in recorded for item in one.disabled.items()):
            log.warning("endpoint_disabled", organization_id=organization, reason=reason)
            self._places.forget(organization)

    def _write(self, batch: Sequence[CameOf]) -> Sequence[Recorded]:
        return record_each(self._hub, batch, _log_unrecorded)

    def _free(self, batch: Sequence[CameOf]) -> None:
        for prepared, _ in batch:
            self._places.end(prepared.due.owed.organization_id)
            self._came.task_done()
        self._woken.set()

    async def _drain(self) -> None:
        """Wait, within a bound, for the answers under way and for their record."""
        if self._sends:
            await asyncio.wait(set(self._sends), timeout=DRAIN_S_MAX)
        for task in set(self._sends):
            task.cancel()
        try:
            await asyncio.wait_for(self._came.join(), timeout=1.0)
        except TimeoutError:
            log.warning("attempts_not_recorded", count=self._came.qsize())
        await self._sender.close()

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), timeout=seconds)
        except TimeoutError:
            return

    async def _in_thread(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _log_unprepared(due: DueDelivery, error: Exception) -> None:
    log.error("delivery_failed", webhook_id=due.owed.webhook_id, contract_id=due.owed.contract_id, exc_info=error)


def _log_unrecorded(due: DueDelivery, error: Exception) -> None:
    log.error("attempt_not_recorded", webhook_id=due.owed.webhook_id, contract_id=due.owed.contract_id, exc_info=error)
