"""``POST /event`` behind the HTTP API, the hot path: the same answers as the web process's (protocol, section 5).

1. Path, method, query, content type.   2. Who calls, as the authorizer says.   3. The event, made durable and queued.

How many requests are taken is the gateway's throttling: 429 with the gateway's own body. There is no back-pressure
either, since the queue behind is as long as it must be.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from moneta.application.ingest_events import ingest_of_caller
from moneta.application.ports import Hub
from moneta.bootstrap import system_randomness
from moneta.domain.errors import NotFoundError, Refused, TryAgainError, UnavailableError
from moneta.entrypoints.answers import RETRY_AFTER_S, Answer
from moneta.entrypoints.aws_lambda import warm
from moneta.entrypoints.aws_lambda.api import gateway_answer, read_request
from moneta.entrypoints.aws_lambda.authorized import authorized_caller
from moneta.entrypoints.aws_lambda.invocation import Event, LambdaContext, Response
from moneta.entrypoints.event_exchange import PATH, accepted_answer, check_head, refused_answer
from moneta.entrypoints.failures import internal_error
from moneta.entrypoints.requests import header
from moneta.entrypoints.telemetry import metrics
from moneta.entrypoints.telemetry.observing import Tally
from moneta.entrypoints.telemetry.spans import link_of
from moneta.entrypoints.telemetry.tracing import Traces

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingestor:
    """The function with what it needs. ``hub`` gives the hub, if that can be had; ``traces`` what makes its spans."""

    hub: Callable[[], Hub]
    figures: Tally
    traces: Callable[[], Traces | None] = lambda: None

    def handle(self, event: Event) -> Response:
        """Return the answer to a ``POST /event``."""
        started = time.perf_counter()
        answer = self._answer(event, started)
        self.figures.observe(metrics.EVENT_SECONDS, (time.perf_counter() - started,))
        return gateway_answer(answer)

    def _answer(self, event: Event, started: float) -> Answer:
        try:
            return self._accepted(event, started)
        except Refused as refusal:
            return self._refused(refusal)
        except TryAgainError as error:
            log.warning("event_not_durable", reason=str(error))
            return self._refused(UnavailableError("the event could not be made durable", retry_after_s=RETRY_AFTER_S))
        except Exception as error:  # noqa: BLE001  # the last line of defence: logged, and answered with an id
            return self._refused(internal_error(error, system_randomness(), where="POST /event"))

    def _accepted(self, event: Event, started: float) -> Answer:
        request = read_request(event)
        if request.path != PATH:  # The gateway takes ``//event`` for it, and a thing has one path.
            raise NotFoundError("there is no such path")
        check_head(request.method, request.query, request.headers)  # (1)
        caller = authorized_caller(request.authorized)  # (2)
        verdict = ingest_of_caller(self.hub(), caller, request.body)  # (3)
        if isinstance(verdict, Refused):
            raise verdict
        self.figures.count(metrics.EVENTS_REPLAYED if verdict.is_replay else metrics.EVENTS_ACCEPTED)
        traces = self.traces()
        if traces is not None:
            took_s, link = time.perf_counter() - started, link_of(header(request.headers, b"traceparent"))
            traces.accepted(verdict, caller.caller_id, scheme="https", took_s=took_s, link=link)
        log.debug("event_accepted", event_id=verdict.event_id, contract_id=verdict.contract_id)
        return accepted_answer(verdict)

    def _refused(self, refusal: Refused) -> Answer:
        self.figures.count(metrics.REQUESTS_REFUSED, PATH, refusal.code)
        log.debug("request_refused", route=PATH, code=refusal.code)
        return refused_answer(refusal)


def handler(event: Event, context: LambdaContext) -> Response:
    """Answer one request of the gateway's."""
    with warm.call(context, event) as figures:
        return Ingestor(hub=warm.hub, figures=figures, traces=warm.traces).handle(event)


warm.at_start(warm.serverless)
