"""``POST /event``, the hot path: a bare ASGI application with a body cap of its own (protocol, section 5).

It reads the token and the bytes and hands them on; whatever they say is judged in ``application/ingest_events``.
"""

import time
from typing import Final

import msgspec

from moneta.application.ingest_events import Accepted, EventRequest
from moneta.application.ports import Randomness
from moneta.domain.errors import InvalidParameterError, MethodNotAllowedError, Refused
from moneta.domain.limits import EVENT_BYTES_MAX
from moneta.entrypoints.http.answers import Answer, problem_answer, send_answer
from moneta.entrypoints.http.asgi import Receive, Scope, Send
from moneta.entrypoints.http.event_batches import EventBatches
from moneta.entrypoints.http.failures import internal_error
from moneta.entrypoints.http.metrics import Metrics
from moneta.entrypoints.http.requests import EVENT_TYPES, bearer_token, check_content_type, read_body
from moneta.entrypoints.http.schemas import EventAccepted

PATH: Final = "/event"
METHODS: Final = ("POST", "OPTIONS")
ALLOW: Final = ((b"allow", ", ".join(METHODS).encode("ascii")),)
REPLAYED: Final = ((b"idempotency-replayed", b"true"),)

_encoder: Final = msgspec.json.Encoder()


class EventRoute:
    """The ASGI application behind ``/event``."""

    def __init__(self, batches: EventBatches, metrics: Metrics, randomness: Randomness) -> None:
        self._batches = batches
        self._metrics = metrics
        self._randomness = randomness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        answer = await self._answer(scope, receive)
        self._metrics.event_seconds.observe(time.perf_counter() - started)
        await send_answer(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] == "OPTIONS":
            return Answer(status=204, body=b"", headers=ALLOW)
        try:
            verdict = await self._batches.accept(await _event_request(scope, receive))
        except Refused as refusal:
            return self._refused(refusal)
        except Exception as error:  # noqa: BLE001  # the last line of defence: logged, and answered with an id
            return self._refused(internal_error(error, self._randomness, where="POST /event"))
        if isinstance(verdict, Refused):
            return self._refused(verdict)
        self._metrics.events_accepted.inc()
        return accepted_answer(verdict)

    def _refused(self, refusal: Refused) -> Answer:
        self._metrics.refused(PATH, refusal.code)
        return problem_answer(refusal, headers=ALLOW if isinstance(refusal, MethodNotAllowedError) else ())


async def _event_request(scope: Scope, receive: Receive) -> EventRequest:
    if scope["method"] != "POST":
        raise MethodNotAllowedError("/event takes POST", allowed=list(METHODS))
    if scope["query_string"]:
        raise InvalidParameterError("query: /event takes none")
    headers = scope["headers"]
    check_content_type(headers, EVENT_TYPES)
    raw = await read_body(headers, receive, bytes_max=EVENT_BYTES_MAX, what="event")
    return EventRequest(token=bearer_token(headers), raw=raw)


def accepted_answer(accepted: Accepted) -> Answer:
    """Return the 202 of an event."""
    body = EventAccepted(
        event_id=accepted.event_id,
        contract_id=accepted.contract_id,
        status="accepted",
        received_at=accepted.received_at // 1000,
    )
    location = (b"location", f"/events/{accepted.event_id}".encode("ascii"))
    headers = (location, *REPLAYED) if accepted.is_replay else (location,)
    return Answer(status=202, body=_encoder.encode(body), headers=headers)
