"""``POST /event``, the hot path: a bare ASGI application with a body cap of its own (protocol, section 5).

It reads the token and the bytes and hands them on; whatever they say is judged in ``application/ingest_events``.

1. Method, query and content type.   2. Whose token it is; a body that nobody vouches for is not read.
3. How many requests the caller sent.   4. The bytes, within what may be held.   5. Whether the hub can take one more.
6. A batch, and its answer.
"""

import time

import structlog

from moneta.application.ingest_events import EventRequest
from moneta.application.ports import Randomness
from moneta.domain.errors import Refused, UnauthorizedError
from moneta.domain.limits import EVENT_BYTES_MAX
from moneta.entrypoints.answers import Answer, AnswerHeaders
from moneta.entrypoints.event_exchange import ALLOW, PATH, accepted_answer, check_head, refused_answer
from moneta.entrypoints.failures import internal_error
from moneta.entrypoints.http.asgi import Receive, Scope, Send, send_answer
from moneta.entrypoints.http.back_pressure import BackPressure
from moneta.entrypoints.http.bodies import read_body
from moneta.entrypoints.http.event_batches import EventBatches
from moneta.entrypoints.http.gate import Gate
from moneta.entrypoints.http.metrics import Metrics
from moneta.entrypoints.requests import bearer_token, header
from moneta.entrypoints.telemetry.spans import link_of
from moneta.entrypoints.telemetry.tracing import Traces

log = structlog.get_logger()


class EventRoute:
    """The ASGI application behind ``/event``."""

    def __init__(
        self,
        batches: EventBatches,
        metrics: Metrics,
        randomness: Randomness,
        gate: Gate,
        pressure: BackPressure,
        *,
        traces: Traces | None = None,
    ) -> None:
        self._batches = batches
        self._metrics = metrics
        self._randomness = randomness
        self._gate = gate
        self._pressure = pressure
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        answer = await self._answer(scope, receive, started)
        self._metrics.event_answered(time.perf_counter() - started)
        await send_answer(answer, send)

    async def _answer(self, scope: Scope, receive: Receive, started: float) -> Answer:
        if scope["method"] == "OPTIONS":
            return Answer(status=204, body=b"", headers=ALLOW)
        quota: AnswerHeaders = ()
        try:
            check_head(scope["method"], scope["query_string"], scope["headers"])  # (1)
            token = bearer_token(scope["headers"])
            caller_id, quota = await self._gate.enter(token)  # (2), (3)
            with self._gate.held.of(caller_id) as held:
                raw = await read_body(
                    scope["headers"], receive, bytes_max=EVENT_BYTES_MAX, what="event", hold=held.add
                )  # (4)
                self._pressure.check(caller_id, raw)  # (5)
                verdict = await self._batches.accept(EventRequest(token=token, raw=raw), caller_id)  # (6)
        except Refused as refusal:
            return self._refused(refusal, quota or self._gate.quota.refusal_headers(refusal))
        except Exception as error:  # noqa: BLE001  # the last line of defence: logged, and answered with an id
            return self._refused(internal_error(error, self._randomness, where="POST /event"))
        if isinstance(verdict, Refused):
            if isinstance(verdict, UnauthorizedError):
                self._gate.callers.forget(token)
            return self._refused(verdict, quota)
        self._metrics.accepted(is_replay=verdict.is_replay)
        if self._traces is not None:
            self._traces.accepted(
                verdict,
                caller_id,
                scheme=scope["scheme"],
                took_s=time.perf_counter() - started,
                link=link_of(header(scope["headers"], b"traceparent")),
            )
        if not verdict.is_replay:
            self._pressure.accepted()
        log.debug(
            "event_accepted",
            event_id=verdict.event_id,
            contract_id=verdict.contract_id,
            caller_id=caller_id,
            is_replay=verdict.is_replay,
        )
        return accepted_answer(verdict, quota)

    def _refused(self, refusal: Refused, headers: AnswerHeaders = ()) -> Answer:
        self._metrics.refused(PATH, refusal.code)
        log.debug("request_refused", route=PATH, code=refusal.code)
        return refused_answer(refusal, headers)
