"""Every figure that ``GET /metrics`` shows: one row each. ``docs/telemetry.md`` has the same rows; a test compares.

The rules:

1. No label names a party, a contract or an event: figures of tenants are not public, and series are bounded.
2. Each series comes from one process; what several processes measure has the label ``process``. So a process that is
   started again sets its own series back to 0, which ``rate()`` understands, and nobody else's.
3. Names and units are those of Prometheus: seconds, bytes, ``_total`` for what only grows (added when it is shown).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How a figure moves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Who measures a figure. ``EVERY``: each process for itself. ``SCRAPE``: the web process, when it is asked."""

    WEB = "web"
    PROCESSOR = "processor"
    DELIVERER = "deliverer"
    SUPERVISOR = "supervisor"
    EVERY = "every process"
    SCRAPE = "at the scrape"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """One row. ``buckets``: the upper bounds of a histogram's, without the last one, which has none."""

    name: str
    kind: Kind
    source: Source
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def shown_name(self) -> str:
        """The name as Prometheus knows it."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


ANSWER_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAIT_S: Final = (*ANSWER_S, 30.0, 60.0, 300.0)
DISK_S: Final = (0.0001, 0.00025, 0.0005, *ANSWER_S)
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


def _counter(name: str, source: Source, unit: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=name, kind=Kind.COUNTER, source=source, unit=unit, meaning=meaning, labels=labels)


def _gauge(name: str, source: Source, unit: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=name, kind=Kind.GAUGE, source=source, unit=unit, meaning=meaning, labels=labels)


def _histogram(name: str, source: Source, unit: str, meaning: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(
        name=name, kind=Kind.HISTOGRAM, source=source, unit=unit, meaning=meaning, labels=labels, buckets=buckets
    )


# Requests: the web process.
EVENTS_ACCEPTED: Final = _counter(
    "moneta_events_accepted", Source.WEB, "events", "Events answered 202, without those sent again with the same bytes"
)
EVENTS_REPLAYED: Final = _counter(
    "moneta_events_replayed", Source.WEB, "events", "Events answered 202 that were there already"
)
EVENTS_WAITING: Final = _gauge(
    "moneta_events_waiting", Source.WEB, "events", "Events read, and not yet durable or refused"
)
EVENT_SECONDS: Final = _histogram(
    "moneta_event_seconds",
    Source.WEB,
    "seconds",
    "From the head of a `POST /event` to its answer, whatever it is",
    buckets=ANSWER_S,
)
EVENTS_PER_WRITE: Final = _histogram(
    "moneta_events_per_write", Source.WEB, "events", "Events that were made durable or refused together", buckets=SIZES
)
REQUESTS_REFUSED: Final = _counter(
    "moneta_requests_refused",
    Source.WEB,
    "requests",
    "Requests refused before any 202, by operation and problem code",
    "route",
    "code",
)
REQUEST_SECONDS: Final = _histogram(
    "moneta_request_seconds", Source.WEB, "seconds", "Time of every other call, by operation", "route", buckets=ANSWER_S
)

# Events: the processor.
EVENTS_PROCESSED: Final = _counter(
    "moneta_events_processed",
    Source.PROCESSOR,
    "events",
    "Events with an outcome: `processed` or `rejected`",
    "outcome",
)
EVENTS_REJECTED: Final = _counter(
    "moneta_events_rejected", Source.PROCESSOR, "events", "Events refused after their 202, by problem code", "code"
)
EVENT_OUTCOME_SECONDS: Final = _histogram(
    "moneta_event_outcome_seconds",
    Source.PROCESSOR,
    "seconds",
    "From an event's receipt to its durable outcome",
    buckets=WAIT_S,
)
CONTRACTS_ENDED: Final = _counter(
    "moneta_contracts_ended",
    Source.PROCESSOR,
    "contracts",
    "Contracts that got their receipt, by how they ended",
    "status",
)
CHANGES_PER_COMMIT: Final = _histogram(
    "moneta_changes_per_commit",
    Source.PROCESSOR,
    "changes",
    "Outcomes and steps that one commit made durable",
    buckets=SIZES,
)
COMMIT_CONFLICTS: Final = _counter(
    "moneta_commit_conflicts",
    Source.PROCESSOR,
    "changes",
    "Changes judged anew, since their contract had changed meanwhile",
)
CHANGES_REPEATED: Final = _counter(
    "moneta_changes_repeated", Source.PROCESSOR, "changes", "Changes that were committed before, and so did nothing"
)
EVENTS_FAILED: Final = _counter("moneta_events_failed", Source.PROCESSOR, "events", "Tries at an event that met a bug")
EVENTS_BURIED: Final = _counter(
    "moneta_events_buried", Source.PROCESSOR, "events", "Events that no try could process: dead letters"
)

# Deliveries: the deliverer.
DELIVERY_ATTEMPTS: Final = _counter(
    "moneta_delivery_attempts",
    Source.DELIVERER,
    "attempts",
    "Attempts, by what came: `2xx` to `5xx`, or why no answer came",
    "result",
)
DELIVERIES_SETTLED: Final = _counter(
    "moneta_deliveries_settled",
    Source.DELIVERER,
    "deliveries",
    "Deliveries that ended: `delivered` or `dead`",
    "status",
)
DELIVERY_FIRST_SECONDS: Final = _histogram(
    "moneta_delivery_first_seconds",
    Source.DELIVERER,
    "seconds",
    "From what is owed being durable to its first attempt",
    buckets=WAIT_S,
)
DELIVERY_ATTEMPT_SECONDS: Final = _histogram(
    "moneta_delivery_attempt_seconds",
    Source.DELIVERER,
    "seconds",
    "Time of an attempt, answered or not",
    buckets=WAIT_S,
)
ATTEMPTS_PER_WRITE: Final = _histogram(
    "moneta_attempts_per_write",
    Source.DELIVERER,
    "attempts",
    "Attempts whose results were made durable together",
    buckets=SIZES,
)
ANSWERS_ACCEPTED: Final = _counter(
    "moneta_answers_accepted",
    Source.DELIVERER,
    "events",
    "Signatures and acts in receivers' answers that became events",
)
ENDPOINTS_DISABLED: Final = _counter(
    "moneta_endpoints_disabled",
    Source.DELIVERER,
    "endpoints",
    "Endpoints disabled: `gone` by a 410, `failing` after 5 days of nothing but failures",
    "reason",
)

# The store, at the moment of asking.
EVENT_QUEUE_DEPTH: Final = _gauge(
    "moneta_event_queue_depth",
    Source.SCRAPE,
    "events",
    "Accepted events that wait for their outcome, counted up to 100,000",
)
EVENT_QUEUE_AGE: Final = _gauge(
    "moneta_event_queue_age_seconds", Source.SCRAPE, "seconds", "Age of the oldest of them; 0 without one"
)
DELIVERIES_PENDING: Final = _gauge(
    "moneta_deliveries_pending",
    Source.SCRAPE,
    "deliveries",
    "Deliveries that are owed, due or not, counted up to 100,000",
)
DELIVERIES_DUE_AGE: Final = _gauge(
    "moneta_deliveries_due_age_seconds",
    Source.SCRAPE,
    "seconds",
    "How long the longest-due delivery has waited for its attempt",
)
DELIVERIES_DEAD: Final = _gauge(
    "moneta_deliveries_dead", Source.SCRAPE, "deliveries", "Deliveries that are not tried again, counted up to 100,000"
)
ENDPOINTS: Final = _gauge(
    "moneta_endpoints",
    Source.SCRAPE,
    "endpoints",
    "Endpoints whose last attempt failed (`failing`), and those that are `disabled`",
    "status",
)
DEAD_LETTERS: Final = _gauge(
    "moneta_dead_letters", Source.SCRAPE, "events", "Events that wait for an operator, counted up to 100,000"
)

# The store, as each process meets it.
STORE_WAIT_SECONDS: Final = _histogram(
    "moneta_store_wait_seconds",
    Source.EVERY,
    "seconds",
    "Wait of a durable write for the writer's place",
    "process",
    buckets=DISK_S,
)
STORE_WRITE_SECONDS: Final = _histogram(
    "moneta_store_write_seconds",
    Source.EVERY,
    "seconds",
    "A durable write from its begin to its commit",
    "process",
    buckets=DISK_S,
)
STORE_SYNC_SECONDS: Final = _histogram(
    "moneta_store_sync_seconds",
    Source.EVERY,
    "seconds",
    "The commit alone: its fsync, at times a checkpoint",
    "process",
    buckets=DISK_S,
)

# Traces, where they are configured.
SPANS_SENT: Final = _counter("moneta_spans_sent", Source.EVERY, "spans", "Spans that the collector took", "process")
SPANS_DROPPED: Final = _counter(
    "moneta_spans_dropped",
    Source.EVERY,
    "spans",
    "Spans that found the queue full (`queue_full`), and those that the collector did not take (`not_taken`)",
    "process",
    "reason",
)

# Processes.
PROCESS_UP: Final = _gauge(
    "moneta_process_up", Source.SCRAPE, "", "1 while the process shows signs of life, else 0", "process"
)
PROCESS_STARTS: Final = _counter(
    "moneta_process_starts",
    Source.SUPERVISOR,
    "starts",
    "Starts of the process; more than one: it died and was started again",
    "process",
)
PROCESS_CPU: Final = _counter(
    "moneta_process_cpu_seconds", Source.EVERY, "seconds", "CPU time, user and kernel", "process"
)
PROCESS_MEMORY: Final = _gauge("moneta_process_resident_bytes", Source.EVERY, "bytes", "Resident memory", "process")
PROCESS_DESCRIPTORS: Final = _gauge(
    "moneta_process_open_descriptors", Source.EVERY, "descriptors", "Open file descriptors", "process"
)
PROCESS_TURN: Final = _gauge(
    "moneta_process_turn_seconds",
    Source.SCRAPE,
    "seconds",
    "How long its main loop has been at one turn; 0 while it sleeps",
    "process",
)
PROCESS_LAG: Final = _gauge(
    "moneta_process_lag_seconds",
    Source.SCRAPE,
    "seconds",
    "How long the oldest message of its last batch had waited",
    "process",
)
PROCESS_IN_HAND: Final = _gauge(
    "moneta_process_in_hand", Source.SCRAPE, "messages", "Events in the batch under way; sends under way", "process"
)

# The hub.
BUILD_INFO: Final = _gauge("moneta_build_info", Source.SCRAPE, "", "1; the labels say what runs", "version", "python")
READY: Final = _gauge("moneta_ready_check", Source.SCRAPE, "", "1 if the check of `GET /ready` holds, else 0", "check")
KEY_NOT_BEFORE: Final = _gauge(
    "moneta_signing_key_not_before_timestamp_seconds",
    Source.SCRAPE,
    "seconds",
    "Since when Moneta signs with its key, as Unix time",
)
KEY_EXPIRES: Final = _gauge(
    "moneta_signing_key_expires_timestamp_seconds",
    Source.SCRAPE,
    "seconds",
    "Until when it may, or the next one that is there, as Unix time",
)
DISK_FREE: Final = _gauge("moneta_disk_free_bytes", Source.SCRAPE, "bytes", "Free space where the data directory is")
STORE_BYTES: Final = _gauge("moneta_store_bytes", Source.SCRAPE, "bytes", "Size of the store's files", "file")

METRICS: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
