"""Traces: from what has happened to spans. Off unless configured (``process``).

1. A contract has one trace, whose id derives from its own (``correlation``). Spans are made after the fact, from what
   ``ports.Observer`` is told anyway; nothing is stored or handed on for them.
2. event accepted -> step or rejection -> attempt to deliver -> event in its answer -> step, and so on. What Moneta does
   by itself, when a term is over, begins anew at the root.
3. A trace is sampled whole, by its id, so that all processes decide alike. What failed on our side is always shown.
4. A caller's ``traceparent`` becomes a link, never a parent: nobody outside chooses what our traces are.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from moneta.application.ingest_events import Accepted
from moneta.application.ports import (
    Attempt,
    AttemptResult,
    Change,
    DeliveryStatus,
    DueDelivery,
    NewEvent,
    OwedDelivery,
    QueuedEvent,
    WebhookType,
)
from moneta.domain.identifiers import OrganizationId, Revision, UnixMillis
from moneta.entrypoints.telemetry.correlation import (
    SpanId,
    attempt_span,
    event_span,
    outcome_span,
    rejection_span,
    step_span,
    trace_id_of,
    try_span,
)
from moneta.entrypoints.telemetry.labels import harmless, problem_code
from moneta.entrypoints.telemetry.spans import Attributes, Link, Span, SpanKind, traceparent

RANDOM_BITS: Final = 64
NS_PER_MS: Final = 1_000_000
ATTEMPT_MS_MIN: Final = 1
"""Attempts are measured in whole milliseconds, and none takes no time."""
POSTED: Final[Attributes] = {
    "http.request.method": "POST",
    "http.route": "/event",
    "http.response.status_code": 202,
    "url.path": "/event",
}
TAKEN: Final[Attributes] = {
    "messaging.system": "moneta",
    "messaging.destination.name": "events",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
}


class Traces:
    """Makes spans, and gives each to ``take``, which must be quick and safe from any thread.

    ``ratio``: the share of contracts whose traces are shown. ``now_ns``: Unix nanoseconds.
    """

    def __init__(self, take: Callable[[Span], None], *, ratio: float, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._take = take
        self._bound = round(ratio * (1 << RANDOM_BITS))
        self._now_ns = now_ns

    def is_sampled(self, trace_id: str) -> bool:
        """Tell whether a trace is shown: by the last 64 bits of its id, as OpenTelemetry's TraceIdRatioBased does."""
        return int(trace_id[-RANDOM_BITS // 4 :], 16) < self._bound

    def traceparent(self, owed: OwedDelivery, at: UnixMillis) -> str:
        """Return the header of an attempt that begins at that moment."""
        trace_id = _trace_id(owed)
        return traceparent(trace_id, attempt_span(owed.webhook_id, at), is_sampled=self.is_sampled(trace_id))

    @harmless
    def accepted(
        self, accepted: Accepted, source: OrganizationId, *, scheme: str, took_s: float, link: Link | None
    ) -> None:
        """Take note of a ``POST /event`` that is answered 202. One that was there before has its span already."""
        trace_id = trace_id_of(accepted.contract_id)
        if accepted.is_replay or not self.is_sampled(trace_id):
            return
        now_ns = self._now_ns()
        self._take(
            Span(
                name="POST /event",
                kind=SpanKind.SERVER,
                trace_id=trace_id,
                span_id=event_span(source, accepted.event_id),
                parent_id=None,
                started_ns=now_ns - round(took_s * 1_000_000_000),
                ended_ns=now_ns,
                attributes={
                    **POSTED,
                    "url.scheme": scheme,
                    "cloudevents.event_id": accepted.event_id,
                    "cloudevents.event_source": source,
                    "moneta.contract.id": accepted.contract_id,
                },
                link=link,
            )
        )

    @harmless
    def committed(self, made: Sequence[tuple[QueuedEvent | None, Change]]) -> None:
        """Take note of what one commit made durable, each with the event that caused it."""
        now_ns = self._now_ns()
        for event, change in made:
            if self.is_sampled(trace_id_of(change.contract_id)):
                self._take(_commit(event, change, now_ns))

    @harmless
    def attempted(self, due: Sequence[DueDelivery], results: Sequence[AttemptResult]) -> None:
        """See Observer.attempted."""
        now_ns = self._now_ns()
        for one, result in zip(due, results, strict=True):
            is_sampled = self.is_sampled(_trace_id(one.owed))
            if is_sampled or result.status is not DeliveryStatus.DELIVERED:
                self._take(_attempt(one, result))
            if is_sampled and result.answer is not None:
                self._take(_answer(one.owed, result.answer, result.attempt, now_ns))

    @harmless
    def failed(self, event: QueuedEvent, *, reason: str) -> None:
        """See Observer.failed. It is shown as a moment, since when the try began is not told."""
        now_ns = self._now_ns()
        self._take(
            Span(
                name="process events",
                kind=SpanKind.CONSUMER,
                trace_id=trace_id_of(event.contract_id),
                span_id=try_span(event.source, event.event_id, now_ns),
                parent_id=event_span(event.source, event.event_id),
                started_ns=now_ns,
                ended_ns=now_ns,
                attributes=_of_event(event),
                error=reason,
            )
        )


def _commit(event: QueuedEvent | None, change: Change, now_ns: int) -> Span:
    """Return the span of a commit, from the judgement of its event, or from when Moneta saw that a contract ends."""
    return Span(
        name="end contract" if event is None else "process events",
        kind=SpanKind.INTERNAL if event is None else SpanKind.CONSUMER,
        trace_id=trace_id_of(change.contract_id),
        span_id=_commit_span(event, change),
        parent_id=None if event is None else event_span(event.source, event.event_id),
        started_ns=_judged_ns(change, now_ns),
        ended_ns=now_ns,
        attributes={**({} if event is None else _of_event(event)), **_of_change(change)},
    )


def _commit_span(event: QueuedEvent | None, change: Change) -> SpanId:
    """Return the id that the attempts to tell of it derive too (``_cause``)."""
    if event is not None and change.step is None:
        return rejection_span(change.owed[0].webhook_id) if change.owed else outcome_span(event.source, event.event_id)
    return step_span(change.contract_id, Revision(change.read_revision + 1))


def _judged_ns(change: Change, now_ns: int) -> int:
    if change.outcome is not None:
        return change.outcome.processed_at * NS_PER_MS
    return now_ns if change.step is None else change.step.committed_at * NS_PER_MS


def _attempt(due: DueDelivery, result: AttemptResult) -> Span:
    owed, attempt = due.owed, result.attempt
    has_failed = result.status is not DeliveryStatus.DELIVERED
    return Span(
        name="POST webhook",
        kind=SpanKind.CLIENT,
        trace_id=_trace_id(owed),
        span_id=attempt_span(owed.webhook_id, attempt.at),
        parent_id=_cause(owed),
        started_ns=attempt.at * NS_PER_MS,
        ended_ns=_answered_ns(attempt),
        attributes=_of_attempt(due, result),
        error=str(attempt.http_status or attempt.failure) if has_failed else None,
    )


def _answer(owed: OwedDelivery, answer: NewEvent, attempt: Attempt, now_ns: int) -> Span:
    """Return the span of the event that a receiver gave in its answer, from the answer to its acceptance."""
    return Span(
        name="accept answer",
        kind=SpanKind.INTERNAL,
        trace_id=_trace_id(owed),
        span_id=event_span(answer.source, answer.event_id),
        parent_id=attempt_span(owed.webhook_id, attempt.at),
        started_ns=_answered_ns(attempt),
        ended_ns=now_ns,
        attributes={
            "cloudevents.event_id": answer.event_id,
            "cloudevents.event_source": answer.source,
            "cloudevents.event_type": answer.type,
            "moneta.contract.id": answer.contract_id,
        },
    )


def _answered_ns(attempt: Attempt) -> int:
    return (attempt.at + max(attempt.duration_ms, ATTEMPT_MS_MIN)) * NS_PER_MS


def _trace_id(owed: OwedDelivery) -> str:
    """Return the contract's; a test of an endpoint has one of its own."""
    return trace_id_of(owed.contract_id or owed.webhook_id)


def _cause(owed: OwedDelivery) -> SpanId | None:
    """Return the span of the commit that made the hub owe this; None for the test of an endpoint."""
    if owed.contract_id is None:
        return None
    is_rejection = owed.type is WebhookType.REJECTED
    return rejection_span(owed.webhook_id) if is_rejection else step_span(owed.contract_id, owed.revision)


def _of_event(event: QueuedEvent) -> Attributes:
    attributes: dict[str, str | int] = {
        **TAKEN,
        "cloudevents.event_id": event.event_id,
        "cloudevents.event_source": event.source,
        "cloudevents.event_type": event.type,
        "moneta.contract.id": event.contract_id,
    }
    return attributes | {"moneta.event.tries": event.tries} if event.tries > 1 else attributes


def _of_change(change: Change) -> Attributes:
    attributes: dict[str, str | int] = {"moneta.contract.id": change.contract_id}
    if change.outcome is not None:
        attributes["moneta.event.outcome"] = change.outcome.status
    if change.outcome is not None and change.outcome.problem is not None:
        attributes["moneta.problem.code"] = problem_code(change.outcome.problem)
    if change.step is not None:
        attributes |= {"moneta.contract.revision": change.step.revision, "moneta.contract.status": change.status}
    return attributes


def _of_attempt(due: DueDelivery, result: AttemptResult) -> Attributes:
    """Return no address: a webhook's URL may be the secret that its receiver knows us by."""
    owed, attempt = due.owed, result.attempt
    attributes: dict[str, str | int] = {
        "http.request.method": "POST",
        "cloudevents.event_id": owed.webhook_id,
        "cloudevents.event_type": owed.type,
        "moneta.organization.id": owed.organization_id,
        "moneta.delivery.status": result.status,
    }
    if owed.contract_id is not None:
        attributes |= {"moneta.contract.id": owed.contract_id, "moneta.contract.revision": owed.revision}
    if attempt.http_status is not None:
        attributes["http.response.status_code"] = attempt.http_status
    if due.attempts_done:
        attributes["http.request.resend_count"] = due.attempts_done
    return attributes
