"""From what has become durable to figures and log lines. See ``ports.Observer``.

Figures are taken of every batch; log lines of single events and attempts only where somebody asked for ``debug``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import structlog
from typing_extensions import override

from moneta.application.ports import (
    AttemptResult,
    Change,
    Clock,
    Committed,
    DeliveryStatus,
    DueDelivery,
    EventStatus,
    Observer,
    QueuedEvent,
)
from moneta.domain.endpoints import DisabledReason
from moneta.domain.identifiers import OrganizationId
from moneta.entrypoints.telemetry import metrics
from moneta.entrypoints.telemetry.labels import attempt_class, harmless, problem_code
from moneta.entrypoints.telemetry.metrics import Metric, Source
from moneta.entrypoints.telemetry.tracing import Traces

log = structlog.get_logger()


class Tally(Protocol):
    """Where figures are noted; safe from any thread. ``labels`` stand in the order of the metric's."""

    source: Source

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Add to a counter."""

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """Set a gauge, or a counter that somebody else keeps."""

    def observe(self, metric: Metric, values: Iterable[float], *labels: str) -> None:
        """Add ``values`` to a histogram."""


class HubObserver(Observer):
    """Fills ``figures``, and ``traces`` where they are wanted. One a process.

    ``is_verbose``: single events and attempts are logged too.
    """

    def __init__(self, figures: Tally, clock: Clock, *, traces: Traces | None = None, is_verbose: bool = False) -> None:
        self._figures = figures
        self._clock = clock
        self._traces = traces
        self._is_verbose = is_verbose

    @override
    @harmless
    def committed(
        self, events: Sequence[QueuedEvent | None], changes: Sequence[Change], outcomes: Sequence[Committed]
    ) -> None:
        now = self._clock.now_ms()
        made = [
            (event, change)
            for event, change, outcome in zip(events, changes, outcomes, strict=True)
            if outcome is Committed.COMMITTED
        ]
        self._figures.observe(metrics.CHANGES_PER_COMMIT, (len(changes),))
        self._figures.observe(
            metrics.EVENT_OUTCOME_SECONDS, [(now - event.received_at) / 1000 for event, _ in made if event is not None]
        )
        self._count_outcomes([change for _, change in made])
        self._count(metrics.COMMIT_CONFLICTS, outcomes.count(Committed.CONFLICT))
        self._count(metrics.CHANGES_REPEATED, outcomes.count(Committed.DUPLICATE))
        if self._is_verbose:
            for event, change in made:
                _log_change(event, change)
        if self._traces is not None:
            self._traces.committed(made)

    @override
    @harmless
    def attempted(
        self,
        due: Sequence[DueDelivery],
        results: Sequence[AttemptResult],
        disabled: Mapping[OrganizationId, DisabledReason],
    ) -> None:
        firsts = [one for one in zip(due, results, strict=True) if one[0].attempts_done == 0]
        waits = [max(0, result.attempt.at - first.owed.owed_at) / 1000 for first, result in firsts]
        self._figures.observe(metrics.ATTEMPTS_PER_WRITE, (len(results),))
        self._figures.observe(metrics.DELIVERY_FIRST_SECONDS, waits)
        self._figures.observe(metrics.DELIVERY_ATTEMPT_SECONDS, [one.attempt.duration_ms / 1000 for one in results])
        for came, count in Counter(attempt_class(one.attempt) for one in results).items():
            self._figures.count(metrics.DELIVERY_ATTEMPTS, came, by=count)
        for status, count in Counter(one.status for one in results).items():
            if status is not DeliveryStatus.PENDING:
                self._figures.count(metrics.DELIVERIES_SETTLED, status, by=count)
        self._count(metrics.ANSWERS_ACCEPTED, sum(one.answer is not None for one in results))
        for reason, count in Counter(disabled.values()).items():
            self._figures.count(metrics.ENDPOINTS_DISABLED, reason, by=count)
        for one, result in zip(due, results, strict=True):
            if self._is_verbose or result.status is DeliveryStatus.DEAD:
                _log_attempt(one, result)
        if self._traces is not None:
            self._traces.attempted(due, results)

    @override
    @harmless
    def failed(self, event: QueuedEvent, *, reason: str, is_buried: bool) -> None:
        self._figures.count(metrics.EVENTS_FAILED)
        self._count(metrics.EVENTS_BURIED, int(is_buried))
        if is_buried:
            log.error("event_buried", event_id=event.event_id, contract_id=event.contract_id, tries=event.tries)
        if self._traces is not None:
            self._traces.failed(event, reason=reason)

    @override
    @harmless
    def written(self, *, wait_s: float, write_s: float, sync_s: float) -> None:
        source = self._figures.source
        self._figures.observe(metrics.STORE_WAIT_SECONDS, (wait_s,), source)
        self._figures.observe(metrics.STORE_WRITE_SECONDS, (write_s,), source)
        self._figures.observe(metrics.STORE_SYNC_SECONDS, (sync_s,), source)

    def _count_outcomes(self, changes: Sequence[Change]) -> None:
        outcomes = [change.outcome for change in changes if change.outcome is not None]
        for status, count in Counter(outcome.status for outcome in outcomes).items():
            self._figures.count(metrics.EVENTS_PROCESSED, status, by=count)
        for outcome in outcomes:
            if outcome.status is EventStatus.REJECTED and outcome.problem is not None:
                self._figures.count(metrics.EVENTS_REJECTED, problem_code(outcome.problem))
        ended = [change.status for change in changes if change.step is not None and change.step.receipt is not None]
        for end, count in Counter(ended).items():
            self._figures.count(metrics.CONTRACTS_ENDED, end, by=count)

    def _count(self, metric: metrics.Metric, by: int) -> None:
        if by:
            self._figures.count(metric, by=by)


def _log_change(event: QueuedEvent | None, change: Change) -> None:
    event_id = None if event is None else event.event_id
    if change.outcome is not None and change.outcome.problem is not None:
        code = problem_code(change.outcome.problem)
        log.debug("event_rejected", event_id=event_id, contract_id=change.contract_id, code=code)
    elif change.step is not None:
        revision, status = change.step.revision, change.status
        log.debug(
            "contract_committed", event_id=event_id, contract_id=change.contract_id, revision=revision, status=status
        )
    else:
        log.debug("event_processed", event_id=event_id, contract_id=change.contract_id)


def _log_attempt(due: DueDelivery, result: AttemptResult) -> None:
    facts = {
        "webhook_id": result.webhook_id,
        "contract_id": due.owed.contract_id,
        "organization_id": result.organization_id,
        "type": due.owed.type,
        "attempt": due.attempts_done + 1,
        "result": attempt_class(result.attempt),
        "duration_ms": result.attempt.duration_ms,
    }
    if result.status is DeliveryStatus.DEAD:
        log.warning("delivery_died", **facts)
    else:
        log.debug("delivery_attempted", **facts)
