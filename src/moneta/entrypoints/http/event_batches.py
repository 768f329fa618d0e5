"""Gathers concurrent events into batches, so that one durable write answers for many requests.

One thread writes. While it makes a batch durable, the event loop gathers the next one; so a lone event waits for
nothing, and under load the batches grow until one fsync serves hundreds.

Each caller's events wait in a line of their own. A batch takes one from each line in turn, and when there is no room
for one more, the longest line gives way: so a flood by one of them delays and crowds out nobody else.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from moneta.application.ingest_events import Accepted, EventRequest
from moneta.application.ports import Randomness
from moneta.domain.errors import HubBusyError, Refused, StoreUnavailableError, UnavailableError
from moneta.domain.identifiers import OrganizationId
from moneta.domain.limits import EVENTS_WAITING_MAX, INGEST_BATCH_MAX, INGEST_TURN_MS
from moneta.entrypoints.answers import RETRY_AFTER_S
from moneta.entrypoints.failures import internal_error
from moneta.entrypoints.pace import Pace

Verdict = Accepted | Refused
Ingest = Callable[[Sequence[EventRequest]], Sequence[Verdict]]
Waiting = tuple[EventRequest, "asyncio.Future[Verdict]", float]
"""What waits, who for, and since when by the loop's clock."""

log = structlog.get_logger()


class EventBatches:
    """Takes events one by one and hands them to ``ingest`` in batches, from one thread of its own.

    ``wake`` is called from that thread after a batch of which something new was accepted; it must be quick and must
    not raise. ``accept`` and ``close`` belong to one event loop.
    """

    def __init__(
        self,
        ingest: Ingest,
        *,
        wake: Callable[[], None],
        randomness: Randomness,
        batch_max: int = INGEST_BATCH_MAX,
        waiting_max: int = EVENTS_WAITING_MAX,
    ) -> None:
        self._ingest = ingest
        self._wake = wake
        self._randomness = randomness
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._lines: dict[OrganizationId, deque[Waiting]] = {}
        self._turns: deque[OrganizationId] = deque()
        self.waiting = 0
        """How many events wait for the next batch."""
        self._is_writing = False
        self._pace = Pace(INGEST_TURN_MS / 1000)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-writer")

    async def accept(self, request: EventRequest, caller_id: OrganizationId) -> Verdict:
        """Return the answer to one event, once it is durable or refused. ``caller_id``: whose line it waits in."""
        if self.waiting >= self._waiting_max and not self._make_room(caller_id):
            return _no_room()
        loop = asyncio.get_running_loop()
        verdict: asyncio.Future[Verdict] = loop.create_future()
        line = self._lines.get(caller_id)
        if line is None:
            line = self._lines[caller_id] = deque()
            self._turns.append(caller_id)
        line.append((request, verdict, loop.time()))
        self.waiting += 1
        if not self._is_writing:
            self._is_writing = True
            loop.call_soon(self._write_next, loop)  # those that came in the same turn of the loop join
        return await verdict

    def waited_ms(self) -> int:
        """Return for how long the first of those that wait for the next batch has."""
        since = min((line[0][-1] for line in self._lines.values()), default=None)
        return 0 if since is None else round(1000 * (asyncio.get_running_loop().time() - since))

    def close(self) -> None:
        """Let the write under way end, and the thread with it."""
        self._writer.shutdown(wait=True)

    def _write_next(self, loop: asyncio.AbstractEventLoop) -> None:
        wait_s = self._pace.wait_s()
        if wait_s > 0 and 0 < self.waiting < self._batch_max:
            loop.call_later(wait_s, self._write_next, loop)
            return
        batch = self._next_batch()
        self._is_writing = bool(batch)
        if batch:
            self._pace.keep()
            written = loop.run_in_executor(self._writer, self._write, [request for request, *_ in batch])
            written.add_done_callback(partial(self._answer, loop, batch))

    def _next_batch(self) -> Sequence[Waiting]:
        """Take from each line in turn, as many as make a batch."""
        batch: list[Waiting] = []
        while self._turns and len(batch) < self._batch_max:
            caller_id = self._turns.popleft()
            line = self._lines[caller_id]
            batch.append(line.popleft())
            if line:
                self._turns.append(caller_id)
            else:
                del self._lines[caller_id]
        self.waiting -= len(batch)
        return batch

    def _make_room(self, caller_id: OrganizationId) -> bool:
        """Refuse the last event of the longest line; tell if that is not the line of ``caller_id`` itself."""
        own = len(self._lines.get(caller_id, ()))
        longest = max(self._lines.values(), key=len)
        if len(longest) <= own + 1:
            return False
        _, verdict, _ = longest.pop()  # its line has others left
        self.waiting -= 1
        if not verdict.done():
            verdict.set_result(_no_room())
        return True

    def _answer(
        self, loop: asyncio.AbstractEventLoop, batch: Sequence[Waiting], written: "asyncio.Future[Sequence[Verdict]]"
    ) -> None:
        try:
            for (_, future, _), verdict in zip(batch, _verdicts(batch, written), strict=True):
                if not future.done():  # a client that went away cancelled it
                    future.set_result(verdict)
        finally:
            self._write_next(loop)

    def _write(self, requests: Sequence[EventRequest]) -> Sequence[Verdict]:
        verdicts = self._ingested(requests)
        if any(isinstance(verdict, Accepted) and not verdict.is_replay for verdict in verdicts):
            self._wake()
        return verdicts

    def _ingested(self, requests: Sequence[EventRequest]) -> Sequence[Verdict]:
        try:
            return self._ingest(requests)
        except StoreUnavailableError as error:
            log.warning("events_not_durable", events=len(requests), reason=str(error))
            unavailable = UnavailableError("the event could not be made durable", retry_after_s=RETRY_AFTER_S)
            return [unavailable] * len(requests)
        except Exception as error:  # noqa: BLE001  # one request's bug must not become everybody's 500
            if len(requests) > 1:
                return [verdict for request in requests for verdict in self._ingested([request])]
            return [internal_error(error, self._randomness, where="POST /event")]


def _verdicts(batch: Sequence[Waiting], written: "asyncio.Future[Sequence[Verdict]]") -> Sequence[Verdict]:
    """Return the answers of a batch; whatever went wrong outside of ``ingest``, each request has one."""
    if written.exception() is None:
        return written.result()
    return [UnavailableError("the event may not be durable", retry_after_s=RETRY_AFTER_S)] * len(batch)


def _no_room() -> HubBusyError:
    return HubBusyError("more events than can be written at once", retry_after_s=RETRY_AFTER_S)
