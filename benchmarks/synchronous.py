"""``python -m benchmarks.synchronous DATA PORT``: the single handler that ADR-021 weighed and rejected (option 1).

It is the hub's own use cases in one request, over the same store and the same web server:

1. the token and the checks before a 202, and the event recorded, so that sending it again is harmless,
2. judged, countersigned, committed,
3. the counterparty's webhook sent and its answer awaited,
4. the attempt recorded,
5. and only then the client's answer: 200, or 502 when the counterparty did not take it.

What it can't do is what the decision was about: its client waits as long as the counterparty takes, each request
makes its own durable writes, and a webhook that fails is the client's to repeat.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from benchmarks.serving import read_body, serve_application
from moneta.application.countersign import webhook_id
from moneta.application.deliver_webhooks import PreparedAttempt, prepare_attempts, record_attempts
from moneta.application.ingest_events import Accepted, EventRequest, ingest_events, read_envelope
from moneta.application.ports import Answer, DueDelivery, Hub, NoAnswer, QueuedEvent, Sender, WebhookType
from moneta.application.process_events import process_events
from moneta.bootstrap import embedded, http_sender
from moneta.domain.errors import Refused
from moneta.entrypoints.answers import Answer as HTTPAnswer
from moneta.entrypoints.answers import problem_answer
from moneta.entrypoints.http.asgi import send_answer
from moneta.entrypoints.requests import bearer_token
from moneta.settings import Settings

THREADS: Final = 32
"""One for each request under way, as an instance of a function would be. With 4 it is no faster."""
FIRST_REVISION: Final = "1"
DELIVERED: Final = range(200, 300)


class Handler:
    """The ASGI application: one request is the whole flow."""

    def __init__(self, hub: Hub, sender: Callable[[], Sender]) -> None:
        self._hub = hub
        self._make_sender = sender
        self._sender: Sender | None = None
        self._threads = ThreadPoolExecutor(THREADS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        raw = await read_body(receive)
        if scope["path"] != "/event":
            await send_answer(HTTPAnswer(status=404, body=b"{}"), send)
            return
        try:
            answer = await self._handle(EventRequest(token=bearer_token(scope["headers"]), raw=raw))
        except Refused as refusal:
            answer = problem_answer(refusal)
        await send_answer(answer, send)

    async def _handle(self, request: EventRequest) -> HTTPAnswer:
        if self._sender is None:
            self._sender = self._make_sender()
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self._threads, self._decide, request)
        came = await self._sender.send(prepared.request)
        await loop.run_in_executor(self._threads, self._record, prepared, came)
        is_delivered = isinstance(came, Answer) and came.status in DELIVERED
        return HTTPAnswer(
            status=200 if is_delivered else 502, body=b'{"status":"delivered"}' if is_delivered else b"{}"
        )

    def _decide(self, request: EventRequest) -> PreparedAttempt:
        hub = self._hub
        verdict = ingest_events(hub, [request])[0]
        if not isinstance(verdict, Accepted):
            raise verdict
        process_events(hub, [_event(hub, request.raw, verdict)])
        contract = hub.contracts.read([verdict.contract_id])[verdict.contract_id]
        receiver = contract.body.publisher_id
        found = hub.deliveries.find(
            webhook_id(verdict.contract_id, FIRST_REVISION, str(receiver), WebhookType.SIGNATURE_REQUESTED)
        )
        if found is None:
            raise RuntimeError(f"contract {verdict.contract_id}: nothing is owed to {receiver}")
        return prepare_attempts(hub, [DueDelivery(owed=found.owed, attempts_done=0, due_at=found.owed.owed_at)])[0]

    def _record(self, prepared: PreparedAttempt, came: Answer | NoAnswer) -> None:
        record_attempts(self._hub, [(prepared, came)])


def _event(hub: Hub, raw: bytes, accepted: Accepted) -> QueuedEvent:
    """Return the accepted event as the processor takes it, without a queue between."""
    envelope = read_envelope(raw)
    return QueuedEvent(
        source=envelope.source,
        event_id=envelope.event_id,
        type=envelope.type,
        contract_id=envelope.subject,
        raw=raw,
        received_at=accepted.received_at,
        registry_seq=hub.directory.registry_position(),
        tries=1,
        handle="",
        ready_at=accepted.received_at,
    )


def main(data: Path, port: int) -> None:
    """Serve until SIGTERM."""
    settings = Settings(data_dir=data, allow_http_webhooks=True, allow_private_webhooks=True)
    with embedded(settings) as hub:
        hub.templates.lint(b"")  # imports what reads templates
        serve_application(Handler(hub, lambda: http_sender(settings)), port)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
