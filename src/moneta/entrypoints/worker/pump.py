"""The delivery pump: takes what is due, sends each message on its own, records what came of them in groups.

A slow endpoint occupies only its own places (``SENDS_PER_ENDPOINT_MAX``); the others are served from the rest.
Recording gathers whatever was answered while the last write was under way, so that one fsync serves many attempts.

Whatever goes wrong with one delivery is logged, and costs that one its turn: its lease ends, and it is tried again.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, TypeVarTuple

import structlog

from moneta.application.deliver_webhooks import PreparedAttempt, prepare_attempts, record_attempts
from moneta.application.ports import Answer, DueDelivery, Hub, NoAnswer, Sender
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.limits import (
    DELIVER_BATCH_MAX,
    DELIVER_LEASE_S,
    DRAIN_S_MAX,
    RECORD_TRIES_MAX,
    SENDS_MAX,
    SENDS_PER_ENDPOINT_MAX,
)
from moneta.entrypoints.heartbeats import Heartbeat

IDLE_S_MAX: Final = 60.0
STORE_PAUSE_S: Final = 0.5

log = structlog.get_logger()

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")
Came = tuple[PreparedAttempt, Answer | NoAnswer]


class DeliveryPump:
    """Runs on the event loop until stopped. ``on_answer`` is called when a receiver's answer was accepted."""

    def __init__(self, hub: Hub, sender: Sender, *, on_answer: Callable[[], None]) -> None:
        self._hub = hub
        self._sender = sender
        self._on_answer = on_answer
        self._woken = asyncio.Event()
        self._is_stopping = False
        self._under_way: Counter[OrganizationId] = Counter()
        self._sends: set[asyncio.Task[None]] = set()
        self._came: asyncio.Queue[Came] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="delivery")
        self._lag_ms = 0
        self._turn_began_at: UnixMillis | None = None

    def wake(self) -> None:
        """Say that something may be due. From the loop's own thread only."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until ``stop``."""
        recorder = asyncio.create_task(self._record_all())
        while not self._is_stopping:  # until stopped
            self._woken.clear()
            self._turn_began_at = self._hub.clock.now_ms()
            try:
                pause_s = await self._turn()
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
        self._threads.shutdown()

    def stop(self) -> None:
        """Take nothing more; ``run`` returns when what is under way is recorded, or its lease is left to end."""
        self._is_stopping = True
        self._woken.set()

    def heartbeat(self) -> Heartbeat:
        """Return how it is getting on. Safe from any thread."""
        now, began_at = self._hub.clock.now_ms(), self._turn_began_at
        turn_ms = 0 if began_at is None else now - began_at
        return Heartbeat(at_ms=now, lag_ms=self._lag_ms, depth=len(self._sends), turn_ms=turn_ms)

    async def _turn(self) -> float:
        """Start what is due and has a place; return how long there is nothing more to start."""
        free = SENDS_MAX - len(self._sends)
        if free <= 0:
            return IDLE_S_MAX
        # No more than one endpoint's places at a time, so that no endpoint gets them all at once.
        prepared = await self._in_thread(self._take, min(free, SENDS_PER_ENDPOINT_MAX), self._busy())
        for one in prepared:
            self._start(one)
        if prepared:
            return 0.0
        due_ms = await self._in_thread(self._hub.deliveries.next_due)
        if due_ms is None:
            return IDLE_S_MAX
        # What is due already and was not taken waits for a place or for an earlier message: both wake us.
        wait_s = (due_ms - self._hub.clock.now_ms()) / 1000
        return min(wait_s, IDLE_S_MAX) if wait_s > 0 else 1.0

    def _busy(self) -> frozenset[OrganizationId]:
        return frozenset(one for one, count in self._under_way.items() if count >= SENDS_PER_ENDPOINT_MAX)

    def _take(self, limit: int, busy: frozenset[OrganizationId]) -> Sequence[PreparedAttempt]:
        due = self._hub.deliveries.take_due(
            now=self._hub.clock.now_ms(), limit=limit, lease_s=DELIVER_LEASE_S, busy=busy
        )
        now = self._hub.clock.now_ms()
        self._lag_ms = max((now - one.owed.owed_at for one in due if one.attempts_done == 0), default=0)
        return self._prepare(due) if due else ()

    def _prepare(self, due: Sequence[DueDelivery]) -> Sequence[PreparedAttempt]:
        try:
            return prepare_attempts(self._hub, due)
        except StoreUnavailableError:
            raise
        except Exception as error:
            if len(due) == 1:
                log.exception("delivery_failed", webhook_id=due[0].owed.webhook_id, error=type(error).__name__)
                return ()
        return [prepared for one in due for prepared in self._prepare([one])]

    def _start(self, prepared: PreparedAttempt) -> None:
        self._under_way[prepared.due.owed.organization_id] += 1
        task = asyncio.create_task(self._send(prepared))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _send(self, prepared: PreparedAttempt) -> None:
        try:
            came = await self._sender.send(prepared.request)
        except Exception as error:  # a bug of the sender's must not keep the place for ever
            log.exception("send_failed", error=type(error).__name__)
            came = NoAnswer(reason="internal", detail=type(error).__name__, duration_ms=0)
        self._came.put_nowait((prepared, came))

    async def _record_all(self) -> None:
        while True:  # until cancelled
            batch = [await self._came.get()]
            while not self._came.empty() and len(batch) < DELIVER_BATCH_MAX:
                batch.append(self._came.get_nowait())
            await self._record(batch)
            self._free(batch)

    async def _record(self, batch: Sequence[Came]) -> None:
        for _ in range(RECORD_TRIES_MAX):
            try:
                await self._in_thread(self._write, batch)
            except StoreUnavailableError as error:
                log.warning("store_unavailable", detail=str(error))
                await asyncio.sleep(STORE_PAUSE_S)
            else:
                self._on_answer()
                return
        log.error("attempts_not_recorded", count=len(batch))  # their leases end, and they are sent again

    def _write(self, batch: Sequence[Came]) -> None:
        try:
            record_attempts(self._hub, batch)
        except StoreUnavailableError:
            raise
        except Exception as error:
            if len(batch) == 1:
                webhook_id = batch[0][0].due.owed.webhook_id
                log.exception("attempt_not_recorded", webhook_id=webhook_id, error=type(error).__name__)
                return
            for one in batch:
                self._write([one])

    def _free(self, batch: Sequence[Came]) -> None:
        for prepared, _ in batch:
            organization = prepared.due.owed.organization_id
            self._under_way[organization] -= 1
            if not self._under_way[organization]:
                del self._under_way[organization]
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
