"""The dispatcher: a batch of lines in which something is due, and one message of each is sent.

1. Take the first message of each line, under a lease.   2. Make the signed requests.
3. Send all at once, within the time that the call has.   4. Record what comes as it comes; the store announces what
follows. So a receiver that takes its time holds up nobody's line but its own.

A line is done when nothing was due in it, or when what came of its message is recorded. Everything else comes again,
once the lease is over: the message is then sent a second time, under its id.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

import structlog

from moneta import bootstrap
from moneta.application.deliver_webhooks import CameOf, PreparedAttempt, prepare_each, record_each
from moneta.application.ports import (
    DueDelivery,
    Hub,
    Line,
    NoAnswer,
    OutboundRequest,
    OwedDelivery,
    Sender,
    Serverless,
)
from moneta.domain.errors import TryAgainError
from moneta.domain.identifiers import UnixMillis, WebhookId
from moneta.domain.limits import DELIVER_LEASE_S, DISPATCH_RECORD_S, RECORD_TRIES_MAX, SEND_TIMEOUT_S
from moneta.entrypoints.aws_lambda import warm
from moneta.entrypoints.aws_lambda.invocation import (
    Event,
    LambdaContext,
    Record,
    Response,
    failed,
    message_ids,
    read_each,
)

TIME_NEEDED_S: Final = SEND_TIMEOUT_S + DISPATCH_RECORD_S
STORE_PAUSE_S: Final = 0.5
RECORD_MS_MIN: Final = 2_000
"""With less than that no record is begun again: the store's own tries would not end in time."""

log = structlog.get_logger()


def handler(event: Event, context: LambdaContext) -> Response:
    """Send one batch."""
    with warm.call(context, event):
        try:
            dispatcher = _dispatcher()
        except TryAgainError as error:
            log.warning("lines_kept", detail=str(error))
            return failed(message_ids(event))
        return dispatcher.handle(warm.serverless, event, context.get_remaining_time_in_millis)


@cache
def _dispatcher() -> "Dispatcher":
    traces = warm.traces()
    return Dispatcher(
        bootstrap.http_sender(warm.settings()), traceparent=None if traces is None else traces.traceparent
    )


class Dispatcher:
    """The sender with its loop and its connections, kept from call to call. ``close`` ends them.

    ``traceparent``: what to tell a receiver of the trace that an attempt is part of; None: nothing.
    """

    def __init__(self, sender: Sender, *, traceparent: Callable[[OwedDelivery, UnixMillis], str] | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._sender = sender
        self._traceparent = traceparent

    def close(self) -> None:
        """Close the connections, and the loop."""
        self._loop.run_until_complete(self._sender.close())
        self._loop.close()

    def handle(self, serverless: Callable[[], Serverless], event: Event, left_ms: Callable[[], int]) -> Response:
        """Return the messages that must come again.

        ``serverless`` gives the hub, if that can be had; ``left_ms``: how long the call may still take.
        """
        if left_ms() < TIME_NEEDED_S * 1000:
            log.error("lines_kept", detail=f"expected {TIME_NEEDED_S} s to send in, got {left_ms()} ms")
            return failed(message_ids(event))
        try:
            return failed(self._dispatch(serverless(), event["Records"], left_ms))
        except TryAgainError as error:
            log.warning("lines_kept", detail=str(error))
            return failed(message_ids(event))

    def _dispatch(self, serverless: Serverless, records: Sequence[Record], left_ms: Callable[[], int]) -> Sequence[str]:
        """Return the ids of the messages that must come again."""
        hub = serverless.hub
        read, kept = read_each(serverless.messages.line, records)
        ids: dict[Line, list[str]] = defaultdict(list)
        for message_id, line in read:
            ids[line].append(message_id)
        due = serverless.lines.take(list(ids), now=hub.clock.now_ms(), lease_s=DELIVER_LEASE_S)  # (1)
        undone = {one.owed.webhook_id: one for one in due}
        prepared = prepare_each(hub, due, _log_bug)  # (2)
        send_s = left_ms() / 1000 - DISPATCH_RECORD_S
        for one in self._loop.run_until_complete(self._send(hub, prepared, send_s=send_s, left_ms=left_ms)):  # (3), (4)
            del undone[one.owed.webhook_id]
        return [*kept, *(message_id for one in undone.values() for message_id in ids[_line_of(one)])]

    async def _send(
        self, hub: Hub, prepared: Sequence[PreparedAttempt], *, send_s: float, left_ms: Callable[[], int]
    ) -> Sequence[DueDelivery]:
        """Send each for at most ``send_s``, record what comes, and return the deliveries of which it is durable."""
        ends_at = self._loop.time() + send_s
        waiting = {asyncio.create_task(self._send_one(one)) for one in prepared}
        recorded: list[DueDelivery] = []
        try:
            while waiting:
                left_s = max(0.0, ends_at - self._loop.time())
                ended, waiting = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if not ended:
                    break
                came = [send.result() for send in ended]
                recorded += await asyncio.to_thread(self._record, hub, came, left_ms)  # the others go on meanwhile
        finally:
            for send in waiting:
                send.cancel()
        return recorded

    async def _send_one(self, prepared: PreparedAttempt) -> CameOf:
        try:
            return prepared, await self._sender.send(self._request(prepared))
        except Exception as error:  # noqa: BLE001  # a bug of the sender's must not keep the others from being recorded
            _log_bug(prepared.due, error)
            return prepared, NoAnswer(reason="internal", detail=type(error).__name__, duration_ms=0)

    def _request(self, prepared: PreparedAttempt) -> OutboundRequest:
        if self._traceparent is None:
            return prepared.request
        traceparent = self._traceparent(prepared.due.owed, prepared.started_at)
        return replace(prepared.request, headers={**prepared.request.headers, "traceparent": traceparent})

    def _record(self, hub: Hub, came: Sequence[CameOf], left_ms: Callable[[], int]) -> Sequence[DueDelivery]:
        """Record what came, and return the deliveries of which it is durable.

        What is not will be sent again, so a store that is away is tried for as long as there is time.
        """
        lost: set[WebhookId] = set()

        def lose(due: DueDelivery, error: Exception) -> None:
            _log_bug(due, error)
            lost.add(due.owed.webhook_id)

        for _ in range(RECORD_TRIES_MAX):
            try:
                for recorded in record_each(hub, came, lose):
                    for organization, reason in recorded.disabled.items():
                        log.warning("endpoint_disabled", organization_id=organization, reason=reason)
            except TryAgainError as error:
                log.warning("store_unavailable", detail=str(error))
                if left_ms() < RECORD_MS_MIN:
                    break
                time.sleep(STORE_PAUSE_S)
            else:
                return [prepared.due for prepared, _ in came if prepared.due.owed.webhook_id not in lost]
        return ()


def _line_of(due: DueDelivery) -> Line:
    return Line(organization_id=due.owed.organization_id, contract_id=due.owed.contract_id)


def _log_bug(due: DueDelivery, error: Exception) -> None:
    log.error("delivery_failed", webhook_id=due.owed.webhook_id, contract_id=due.owed.contract_id, exc_info=error)


def _warm_up() -> None:
    warm.serverless()
    _dispatcher()


warm.at_start(_warm_up)
