"""Every port on one page: what the use cases need of the world, for whoever writes the next adapter.

The store's ports are shaped by the stricter of its homes, DynamoDB: conditional writes on one contract, no transaction
over two of them on the spine, what a change produces travels inside its step, no item that everything touches. Each
adapter implements the atomic operations natively for its store; they are not built from smaller shared ones.

Values that cross a port stand here too; those with rules of their own are in ``domain``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Generic, Protocol, TypeVar

from moneta.domain.contracts import Contract, Step
from moneta.domain.endpoints import DisabledReason, EndpointHealth, EndpointStatus
from moneta.domain.identifiers import (
    ContractId,
    EventId,
    KeyId,
    MPassId,
    OrganizationId,
    RegistrySeq,
    Revision,
    UnixMillis,
    UnixSeconds,
    WebhookId,
)
from moneta.domain.ijson import Value
from moneta.domain.keys import RegisteredKey
from moneta.domain.mpass_policies import Spending, SpendingKey
from moneta.domain.mpasses import MPass, MPassStatus
from moneta.domain.organizations import Organization, OrganizationKind, OrganizationStatus
from moneta.domain.pending_changes import ChangeState, PendingChange
from moneta.domain.retention import Past
from moneta.domain.status_places import ListedStatus, TakenPositions
from moneta.domain.template_problems import TemplateProblem
from moneta.domain.templates import Template, TemplateRecord
from moneta.signing.keys import PublicKey
from moneta.signing.statements import SigningKey

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """A page of a list; ``next_cursor`` None on the last one."""

    items: Sequence[Item]
    next_cursor: str | None


# Events: accepted, queued, and their outcome.


class EventType(StrEnum):
    """What a party can send to ``POST /event``."""

    SUBMIT = "moneta.contract.submit"
    SIGN = "moneta.contract.sign"
    DECLINE = "moneta.contract.decline"
    CANCEL = "moneta.contract.cancel"


class EventStatus(StrEnum):
    """How far an event has come."""

    ACCEPTED = "accepted"
    PROCESSED = "processed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event that passed the checks before the 202.

    ``raw``: the request's exact bytes; ``digest`` their SHA-256, 32 bytes. ``registry_seq``: the key registry's
    position when it came.
    """

    source: OrganizationId
    event_id: EventId
    type: EventType
    contract_id: ContractId
    raw: bytes
    digest: bytes
    registry_seq: RegistrySeq


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """An event as the store remembers it. ``problem``: the JSON of the problem document of a rejected one."""

    source: OrganizationId
    event_id: EventId
    type: EventType
    contract_id: ContractId
    digest: bytes
    status: EventStatus
    received_at: UnixMillis
    processed_at: UnixMillis | None = None
    problem: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedEvent:
    """An accepted event, taken from the queue under a lease. ``tries`` counts this one, from 1.

    ``handle`` is the queue's own name for this taking.
    """

    source: OrganizationId
    event_id: EventId
    type: EventType
    contract_id: ContractId
    raw: bytes
    received_at: UnixMillis
    registry_seq: RegistrySeq
    tries: int
    handle: str
    ready_at: UnixMillis
    """Since when it could be taken: its receipt, or when it was given back or redriven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that no try could process. ``letter_id``: given to no other, not even if the same event dies again."""

    letter_id: str
    source: OrganizationId
    event_id: EventId
    contract_id: ContractId
    tries: int
    died_at: UnixMillis
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBacklog:
    """What waits for its outcome. Counts stop at ``BACKLOG_COUNTED_MAX``.

    ``oldest_at``: when the oldest of ``waiting`` was received; None if nothing waits.
    """

    waiting: int
    oldest_at: UnixMillis | None
    dead_letters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The answer to an event that was recorded now, or before with the same bytes (``is_replay``)."""

    received_at: UnixMillis
    is_replay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """The answer to an event whose (source, id) was used before, with other bytes."""


class EventStore(Protocol):
    """Where events are accepted. Its record of (source, id) is what makes ``POST /event`` idempotent."""

    def accept(self, events: Sequence[NewEvent]) -> Sequence[Taken | Reused]:
        """Record each event with its bytes and queue it for processing, durably; one answer each, in order.

        ``received_at`` is stamped here, so late that whatever was received before a moment can be found once the
        moment is past (see ``has_unprocessed``). Twice the same (source, id) in one call: the first wins. For no events
        nothing is written, but whoever writes them is asked whether they could be.

        Raises:
            StoreUnavailableError: Nothing of the batch is known to be durable.
        """

    def find(self, source: OrganizationId, event_id: EventId) -> EventRecord | None:
        """Return what is known of an event."""

    def has_unprocessed(self, contract_id: ContractId, *, received_before: UnixMillis) -> bool:
        """Tell whether an accepted event on the contract, received before that moment, waits for its outcome."""


class EventQueue(Protocol):
    """Accepted events on their way to ``process_events``: at least once, in no promised order."""

    def take(self, *, limit: int, lease_s: int) -> Sequence[QueuedEvent]:
        """Take up to ``limit`` events; each is nobody else's for ``lease_s`` seconds. Empty when none is ready."""

    def release(self, events: Sequence[QueuedEvent], *, delay_s: int) -> None:
        """Give events back, to be taken again after ``delay_s``. An event whose outcome is committed is gone."""

    def bury(self, event: QueuedEvent, *, reason: str) -> None:
        """Move an event to the dead letters, where it waits for an operator. Its record stays ``accepted``."""

    def depth(self) -> int:
        """Return how many events wait or are under lease."""

    def backlog(self) -> "EventBacklog":
        """Return what waits, quickly however much it is."""

    def dead_letters(self, *, limit: int, cursor: str | None = None) -> Page[DeadLetter]:
        """Return a page, oldest first. Raises InvalidParameterError for a cursor that this queue did not give."""

    def redrive(self, letter_id: str) -> DeadLetter | None:
        """Give a dead letter back to the queue, ready at once and with no tries counted, and return it.

        Durably, and whole: it waits in one place or in the other. None: it is not there, or no more.
        """


# Contracts: read, and changed in conditional steps.


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOutcome:
    """What became of an event; committed with the change it caused."""

    source: OrganizationId
    event_id: EventId
    status: EventStatus
    processed_at: UnixMillis
    problem: bytes | None = None


class WebhookType(StrEnum):
    """The kinds of message that the hub sends."""

    SIGNATURE_REQUESTED = "moneta.contract.signature_requested"
    FINALIZED = "moneta.contract.finalized"
    DECLINED = "moneta.contract.declined"
    CANCELLED = "moneta.contract.cancelled"
    EXPIRED = "moneta.contract.expired"
    REJECTED = "moneta.contract.rejected"
    ENDPOINT_TEST = "moneta.endpoint.test"
    ENDPOINT_CHECK = "moneta.endpoint.check"
    CERTIFICATE_EXPIRING = "moneta.certificate.expiring"


OF_ENDPOINT: Final = frozenset(
    {WebhookType.ENDPOINT_TEST, WebhookType.ENDPOINT_CHECK, WebhookType.CERTIFICATE_EXPIRING}
)
"""What is about an organization and no contract: a line of its own, each message tried once, to a disabled one too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedDelivery:
    """A message that the hub owes an organization, born in the commit that causes it.

    ``webhook_id`` derives from what causes it, so that making it twice makes one. ``contract_id`` None: it is about the
    endpoint. ``revision``: the contract's at that commit, 0 where there is no contract. ``problem``: JSON, only for a
    ``.rejected``.
    """

    webhook_id: WebhookId
    organization_id: OrganizationId
    type: WebhookType
    contract_id: ContractId | None
    revision: Revision
    owed_at: UnixMillis
    problem: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseding:
    """The step that a change adds to another contract, the one that its own takes the place of."""

    contract_id: ContractId
    read_revision: Revision
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One all-or-nothing write: an event's outcome, the step it caused (if any), and what is owed for it.

    ``read_revision``: the contract's when it was judged, 0 for a contract that must not exist yet. ``outcome`` is None
    for what a timer causes. Without a ``step`` the contract is not touched and its revision not checked.
    ``directory``: what the step does to the directory, written only if everything in it is still as it was read.
    ``supersedes``: a step on another contract, written only if that one is still as it was read.
    """

    contract_id: ContractId
    read_revision: Revision
    outcome: EventOutcome | None = None
    step: Step | None = None
    owed: tuple[OwedDelivery, ...] = ()
    status: str = ""
    """The contract's status after the step: for indexes only, always derivable from the steps."""
    directory: "DirectoryChange | None" = None
    supersedes: Superseding | None = None
    spending: tuple[Spending, ...] = ()
    """What it adds to the counters of mPasses, no counter twice; never beyond a limit, whoever else writes."""


class Committed(StrEnum):
    """What became of one change."""

    COMMITTED = "committed"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractSummary:
    """One row of a list of contracts."""

    contract_id: ContractId
    template_id: str
    version: int
    mo_id: OrganizationId | None
    publisher_id: OrganizationId | None
    mpass_id: MPassId | None
    status: str
    created_at: UnixSeconds
    received_at: UnixMillis
    finalized_at: UnixSeconds | None
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractQuery:
    """Which contracts to list, newest ``received_at`` first. ``visible_to`` None sees all, else only its own."""

    visible_to: OrganizationId | None
    limit: int
    mo_id: OrganizationId | None = None
    publisher_id: OrganizationId | None = None
    mpass_id: MPassId | None = None
    status: str | None = None
    received_from: UnixSeconds | None = None
    received_to: UnixSeconds | None = None
    """Both ends are inclusive, in whole seconds."""
    cursor: str | None = None


class ContractStore(Protocol):
    """Contracts, as sequences of immutable steps."""

    def read(self, contract_ids: Sequence[ContractId]) -> Mapping[ContractId, Contract]:
        """Return the contracts that exist, as they are now: a read that sees every commit before it. One round trip."""

    def read_at(self, places: Sequence[tuple[ContractId, Revision]]) -> Mapping[tuple[ContractId, Revision], Contract]:
        """Return each contract as it was after its commit of that revision."""

    def commit(self, changes: Sequence[Change]) -> Sequence[Committed]:
        """Write each change whole or not at all; one answer each, in order.

        ``duplicate``: the event has an outcome already, and nothing was changed. ``conflict``: the contract is no
        longer at ``read_revision``, the directory no longer as it was read for ``change.directory``, or a limit leaves
        no room for ``change.spending``, and nothing was changed. Committing the same change again changes nothing.
        New mPasses that are too many to be written in one write with their step may be seen a moment after it; they
        will be, whoever dies.
        An outcome removes its event's bytes; the digest stays. A change is at most 400 KB (a DynamoDB item).
        No two changes of a call touch the same contract. One fsync or one round trip serves them all.

        Raises:
            StoreUnavailableError: Nothing of the batch is known to be durable.
        """

    def list(self, query: ContractQuery) -> Page[ContractSummary]:
        """Return a page.

        Raises:
            InvalidParameterError: The cursor is not one that this store gave for this query (``field="cursor"``).
        """

    def due_to_expire(self, *, before: UnixSeconds, limit: int) -> Sequence[ContractId]:
        """Return pending contracts that end by themselves (``Contract.ends_at``) at or before it, earliest first.

        Not those that a dead letter is about: it was received in time, and waits for an operator.
        """

    def next_expiry(self) -> UnixSeconds | None:
        """Return the earliest ``ends_at`` of a pending contract; None if none has one."""

    def pending_with(self, organization: OrganizationId, *, limit: int, cursor: str | None) -> Page[ContractId]:
        """Return pending contracts that name ``organization``."""


# Deliveries.


class DeliveryStatus(StrEnum):
    """How a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to send. ``http_status`` None: no answer, and ``failure`` says why. ``snippet``: of a failed answer."""

    at: UnixMillis
    duration_ms: int
    http_status: int | None
    failure: str | None = None
    snippet: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDelivery:
    """A delivery whose time has come, taken under a lease. ``attempts_done``: since it was owed, or owed again.

    ``due_at``: when its time came; that at which it was owed, unless something has moved it.
    """

    owed: OwedDelivery
    attempts_done: int
    due_at: UnixMillis


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """What to write after an attempt.

    ``retry_at``: when to try again, if ``status`` is pending. ``answer``: an event that the receiver gave in its
    answer, to be accepted in the same write, unless its (source, id) is known. ``disables_endpoint``: it said 410.
    ``failing_limit``: since when its endpoint must have been failing for a failed attempt to disable it; None: never.
    """

    webhook_id: WebhookId
    organization_id: OrganizationId
    attempt: Attempt
    status: DeliveryStatus
    retry_at: UnixMillis | None = None
    answer: NewEvent | None = None
    disables_endpoint: bool = False
    failing_limit: UnixMillis | None = None
    checked_url: str | None = None
    """The address that answered a check or a test with a 2xx."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """A delivery with its attempts, oldest first."""

    owed: OwedDelivery
    status: DeliveryStatus
    next_attempt_at: UnixMillis | None
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryQuery:
    """Which deliveries to list, newest first. ``visible_to`` None sees all, else only its own."""

    visible_to: OrganizationId | None
    limit: int
    contract_id: ContractId | None = None
    status: DeliveryStatus | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayQuery:
    """Which deliveries to owe again, in the order in which they were owed. ``visible_to`` None: everybody's.

    Those about a contract, or those owed from one moment to another.
    """

    visible_to: OrganizationId | None
    limit: int
    contract_id: ContractId | None = None
    owed_from: UnixSeconds | None = None
    owed_to: UnixSeconds | None = None
    """Both ends are inclusive, in whole seconds."""
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryBacklog:
    """What is owed and what will not be tried again. Counts stop at ``BACKLOG_COUNTED_MAX``.

    ``due_at``: when the next delivery is or was due (see ``DeliveryStore.next_due``); None if nothing is pending.
    """

    pending: int
    due_at: UnixMillis | None
    dead: int


class DeliveryStore(Protocol):
    """Owed messages and their attempts, in order per contract and organization; an endpoint's tests are a line too.

    A test goes to a disabled endpoint, and to that of a busy or probed organization: it is how one finds out.
    """

    def owe(self, owed: OwedDelivery) -> None:
        """Owe a message that no change of a contract causes, durably; once for each ``webhook_id``."""

    def take_due(
        self,
        *,
        now: UnixMillis,
        limit: int,
        lease_s: int,
        busy: frozenset[OrganizationId] = frozenset(),
        probed: frozenset[OrganizationId] = frozenset(),
    ) -> Sequence[DueDelivery]:
        """Take up to ``limit`` due deliveries; each is nobody else's for ``lease_s`` seconds.

        Of one contract and organization only the oldest pending one is ever taken, so that they arrive in order.
        Those of disabled endpoints and of ``busy`` organizations are left; of a ``probed`` one at most one is taken.
        """

    def record(self, results: Sequence[AttemptResult]) -> Mapping[OrganizationId, DisabledReason]:
        """Write attempts, and accept the answers among them, each whole or not at all, in one write.

        Nobody is told of it, so a store may forget it in a power cut: then those messages are sent again, under their
        ids, and answered again.

        A delivered one clears its endpoint's ``failing_since``, a failed one sets it unless it is set, and may disable
        the endpoint (``AttemptResult``). A ``checked_url`` stays with the endpoint until that is enabled anew. What
        almost every attempt finds as it leaves it costs no write.

        Returns the endpoints that this disabled.
        """

    def next_due(self, *, busy: frozenset[OrganizationId] = frozenset()) -> UnixMillis | None:
        """Return when the next delivery is due (a lease counts as due at its end); None if nothing is pending.

        Those of disabled endpoints and of ``busy`` organizations do not count.
        """

    def find(self, webhook_id: WebhookId) -> DeliveryRecord | None:
        """Return one delivery with its attempts."""

    def list(self, query: DeliveryQuery) -> Page[DeliveryRecord]:
        """Return a page. Raises InvalidParameterError for a cursor that this store did not give."""

    def to_replay(self, query: ReplayQuery) -> Page[WebhookId]:
        """Return a page of deliveries. Raises InvalidParameterError for a cursor that this store did not give."""

    def owe_again(self, webhook_ids: Sequence[WebhookId], *, now: UnixMillis) -> int:
        """Owe each delivery again, durably, in one write; return how many are pending now.

        What is settled is pending again: its attempts stay in the record, and ``attempts_done`` counts from 0. What is
        pending keeps its count. Each stands in its line where it stood before, and the first of that line is due at
        once, even if it is being sent just now. One with ``ATTEMPTS_MAX`` attempts that is settled stays so.
        """

    def backlog(self) -> DeliveryBacklog:
        """Return what is not delivered, quickly however much it is."""


# Serverless: where no process waits for work, but functions are called with it.


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The messages that an organization gets about one contract, in order; None: those about its endpoint."""

    organization_id: OrganizationId
    contract_id: ContractId | None


class DeliveryLines(Protocol):
    """Lines in which something is due, on their way to whoever sends it: at least once, in no promised order.

    What is announced is only that one should look. So twice is harmless, and so is never: ``announce_due`` finds it.
    The store that the lines belong to announces by itself whatever it makes due.
    """

    def take(self, lines: Sequence[Line], *, now: UnixMillis, lease_s: int) -> Sequence[DueDelivery]:
        """Take the oldest pending delivery of each line, if it is due; each is nobody else's for ``lease_s`` seconds.

        Of a line that stands there twice it is taken once. Those of disabled endpoints are left (``DeliveryStore``).
        """

    def announce(self, lines: Sequence[Line], *, delay_s: int = 0) -> None:
        """Have each line looked at, ``delay_s`` from now: at most ``ANNOUNCE_S_MAX``.

        Raises:
            StoreUnavailableError: Not each of them is known to be announced.
        """

    def announce_due(self, *, now: UnixMillis, until: UnixMillis) -> int:
        """Announce each line in which something is due, or will be by ``until``, for that moment; return how many.

        For whoever looks from time to time: at what a crash left, and at attempts too far off to be announced when the
        one before them failed. One look announces a bounded number, those that are due longest first, and passes over
        what it has announced for the same moment some minutes ago.

        Raises:
            StoreUnavailableError: Not each of them is known to be announced.
        """


class Relay(Protocol):
    """Completes changes that were committed and not finished: by a crash, or because it has not been their turn.

    Whatever it does may be done twice, and beside the workers who are at it.
    """

    def complete(self, steps: Sequence[tuple[ContractId, Revision]]) -> int:
        """Make sure that what each step brings with it is written; return how many were not finished.

        It costs one small read where there is nothing left to do.

        Raises:
            StoreUnavailableError: Not each of them is known to be finished.
        """

    def complete_waiting(self) -> int:
        """Complete what no step tells of, and what no queue brings back; return how much there was.

        It looks at a bounded number of events without an outcome. See ``complete`` for what it raises.
        """


class QueueMessages(Protocol):
    """The messages of both queues, as the service hands them to a function: a record of the batch it is called with.

    Whoever is called with them deletes none of them; the service does, unless the function says that it failed.
    """

    def event(self, record: Mapping[str, Any]) -> QueuedEvent:  # it is JSON
        """Return the event that a record of the queue, or of the queue of those that killed their function, brings.

        ``EventQueue.release`` and ``bury`` take it like any other. Raises ValueError if the hub did not send it.
        """

    def line(self, record: Mapping[str, Any]) -> Line:  # it is JSON
        """Return the line that a record announces. Raises ValueError if the hub did not send it."""


# Retention.


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How many were forgotten, and where to go on; ``after`` None where nothing older is left."""

    count: int
    after: str | None


class RetentionStore(Protocol):
    """What is over, and is kept for a while (``domain.retention``). Contracts, steps and the audit log never end."""

    def forget(self, past: Past, *, before: UnixMillis, after: str, limit: int, is_trial: bool = False) -> Forgotten:
        """Look at up to ``limit`` of the oldest, and forget those that were over before that moment.

        Over is a delivery, with its attempts, since its last attempt; an event since its outcome; a remembered answer
        since it was given. What is pending or has no outcome is not over. ``after``: where the look before ended, empty
        for the first. ``is_trial``: count them, and change nothing.

        One small write, which may be lost in a power cut, and is done again then. A store that forgets by itself has
        nothing to do here, and shows nothing that it would have had to forget.

        Raises:
            StoreUnavailableError: Nothing was forgotten.
        """


# The directory: organizations, keys, mPasses, templates, identities. Read on every event, changed rarely.


class IdentityRole(StrEnum):
    """The roles of configured identities."""

    OPERATOR = "operator"
    CHECKER = "checker"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A configured identity; its keys stand in the registry under its id."""

    identity_id: OrganizationId
    role: IdentityRole
    created_at: UnixMillis


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecret:
    """A sealed secret; ``valid_until`` None for the current one, else the end of its overlap."""

    sealed: bytes
    created_at: UnixMillis
    valid_until: UnixMillis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an organization's deliveries go, and what signs them, the newest secret first."""

    organization_id: OrganizationId
    url: str
    secrets: tuple[WebhookSecret, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedAnswer:
    """The answer to a creation that carried an ``Idempotency-Key``, for the next one that does.

    ``digest``: SHA-256 of the request's path and body. ``body``: the JSON that was answered, without secrets.
    """

    caller: OrganizationId
    idempotency_key: str
    digest: bytes
    body: bytes
    at: UnixMillis


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryChange:
    """One all-or-nothing change of the directory.

    Each object that is put carries its new ``revision`` and is written only over the one before it (1: there must be
    none). Each key's last change carries its registry position; they continue the registry without a gap.
    ``record``: Moneta's signed record of who asked for what, a leaf of the audit log; None for what a contract does,
    whose own leaf is the record.
    """

    record: bytes | None = None
    organization: Organization | None = None
    keys: tuple[RegisteredKey, ...] = ()
    secrets: tuple[OrganizationId, tuple[WebhookSecret, ...]] | None = None
    enables_endpoint: OrganizationId | None = None
    mpasses: tuple[MPass, ...] = ()
    template: TemplateRecord | None = None
    identity: Identity | None = None
    remember: RememberedAnswer | None = None
    pending_change: PendingChange | None = None


class DirectoryConflictError(Exception):
    """The directory is no longer as it was read; the use case reads again and decides anew."""


class DirectoryStore(Protocol):
    """The directory. What it reads is at most ``DIRECTORY_KEPT_S`` old, which is nothing: exact, in either adapter.

    Whoever asks may remember for the whole of ``REVOCATION_S_MAX``, so there is no time left for a cache that another
    process's change does not drop. ``is_fresh`` says which reads must be exact even if that is changed: those of calls
    that change keys, status, webhook or secret.
    """

    def registry_position(self) -> RegistrySeq:
        """Return the position of the last change in the key registry."""

    def organizations(
        self, ids: Sequence[OrganizationId], *, is_fresh: bool = False
    ) -> Mapping[OrganizationId, Organization]:
        """Return those of ``ids`` that exist."""

    def keys_of(
        self, owners: Sequence[OrganizationId], *, is_fresh: bool = False
    ) -> Mapping[OrganizationId, Mapping[KeyId, RegisteredKey]]:
        """Return all keys, of whatever status, of each owner that has any."""

    def key_holder(self, key_id: KeyId) -> OrganizationId | None:
        """Return with whom a key stands in the registry, of whatever status; None: with nobody. Never from a cache."""

    def compromised_since(self, seq: RegistrySeq) -> Sequence[RegisteredKey]:
        """Return the keys that became compromised after position ``seq``."""

    def swept_to(self) -> RegistrySeq:
        """Return the position up to which contracts pending on compromised keys have been declined."""

    def mark_swept(self, seq: RegistrySeq) -> None:
        """Remember that position."""

    def mpasses(self, ids: Sequence[MPassId]) -> Mapping[MPassId, MPass]:
        """Return those of ``ids`` that exist."""

    def take_status_positions(self, mo_id: OrganizationId, count: int, *, sealed_secret: bytes) -> TakenPositions:
        """Give an MO the next ``count`` positions of its status lists; each is given once.

        That they were given is durable at the latest with the first mPass that is written with one of them.
        ``sealed_secret`` becomes the MO's if it has none yet. Positions whose mPasses are then not made stay empty: a
        counter that moved with the mPasses would have all that are issued at once conflict with one another.
        """

    def status_positions_given(self, mo_id: OrganizationId) -> int:
        """Return how many positions an MO was given."""

    def not_valid(self, mo_id: OrganizationId, list_number: int) -> Mapping[int, ListedStatus]:
        """Return by its index what one of an MO's status lists says otherwise than VALID, but for the MO's own status.

        It costs as much as there is to return, however many mPasses the list has.
        """

    def spent(self, keys: Sequence[SpendingKey]) -> Mapping[SpendingKey, int]:
        """Return what these counters of mPasses say, of those that there are; never from a cache."""

    def mpass_numbers(self, numbers: Sequence[str]) -> Mapping[str, MPassId]:
        """Return the mPass that has each of ``numbers``, of those that were given; never from a cache."""

    def template(self, name: str, version: int) -> TemplateRecord | None:
        """Return a version, of whatever status."""

    def templates(self, name: str | None = None) -> Sequence[TemplateRecord]:
        """Return every version (of ``name``), by name and version."""

    def identities(self) -> Sequence[Identity]:
        """Return every configured identity."""

    def endpoints(self, ids: Sequence[OrganizationId]) -> Mapping[OrganizationId, Endpoint]:
        """Return the endpoints of those of ``ids`` that exist."""

    def endpoint_health(self, ids: Sequence[OrganizationId]) -> Mapping[OrganizationId, EndpointHealth]:
        """Return how the endpoint of each of ``ids`` stands, exactly: never from a cache."""

    def endpoint_counts(self) -> Mapping[EndpointStatus, int]:
        """Return how many endpoints are failing and how many disabled; the rest are enabled."""

    def list_organizations(
        self,
        kind: OrganizationKind,
        *,
        code: str | None,
        status: OrganizationStatus | None,
        limit: int,
        cursor: str | None,
    ) -> Page[Organization]:
        """Return a page, newest first. Raises InvalidParameterError for a bad cursor."""

    def list_mpasses(
        self,
        *,
        mo_id: OrganizationId | None,
        status: MPassStatus | None,
        now: UnixMillis,
        limit: int,
        cursor: str | None,
    ) -> Page[MPass]:
        """Return a page, newest first; the status is the derived one at ``now``."""

    def pending_change(self, change_id: str) -> PendingChange | None:
        """Return a change that was asked for, decided or not, exactly: never from a cache."""

    def list_pending_changes(
        self, *, state: ChangeState | None, now: UnixMillis, limit: int, cursor: str | None
    ) -> Page[PendingChange]:
        """Return a page, newest first; the state is that at ``now``. Raises InvalidParameterError for a bad cursor."""

    def remembered(self, caller: OrganizationId, idempotency_key: str) -> RememberedAnswer | None:
        """Return what was answered to that key before."""

    def remember(self, answer: RememberedAnswer) -> None:
        """Keep an answer, durably, that no change of the directory goes with; the first one to its key stays."""

    def apply(self, change: DirectoryChange) -> None:
        """Write the change whole, durably.

        Raises:
            DirectoryConflictError: Something is no longer as it was read.
            CodeTakenError: The organization's code was given out before.
            KeyTakenError: A new key stands in the registry already.
            TemplateExistsError: That version is there.
            StoreUnavailableError: Not known to be durable.
        """


# Everything else.


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKey:
    """One of Moneta's keys as the JWKS shows it, with its signing period."""

    public: PublicKey
    not_before: UnixSeconds
    expires_at: UnixSeconds
    revoked_at: UnixSeconds | None = None
    certificates: tuple[bytes, ...] = ()
    """X.509 in DER: the key's own, then the one that certifies it, up to a root; none if nobody does."""


class Signer(Protocol):
    """Moneta's signing keys: ES256."""

    def current(self) -> SigningKey:
        """Return the key to sign with now.

        Whoever signs asks once, since a header names the key that its signature is made with: the next call may return
        another one. A key that was returned stays good for longer than any call takes.
        """

    def published(self) -> Sequence[PublishedKey]:
        """Return every key that the hub ever signed with, the current one first, and the next one if there is one."""


class Sealer(Protocol):
    """Keeps small secrets unreadable in the store."""

    def seal(self, plain: bytes) -> bytes:
        """Return ``plain`` encrypted and authenticated."""

    def unseal(self, sealed: bytes) -> bytes:
        """Return what ``seal`` was given. Anything else raises ValueError."""


class CompiledTemplate(Protocol):
    """A template with its JSON Schema made ready."""

    @property
    def template(self) -> Template:
        """The template's values."""

    def check_payload(self, payload: Mapping[str, Value]) -> None:
        """Return if ``payload``, amounts as decimal strings, satisfies the schema.

        Raises:
            SchemaMismatchError: It does not; ``field`` is the path of the first fault.
        """


class TemplateReader(Protocol):
    """Reads templates from their YAML."""

    def lint(self, payload: bytes) -> Sequence[TemplateProblem]:
        """Return every problem, in the order of lines; none for a template that can be published."""

    def compile(self, payload: bytes) -> CompiledTemplate:
        """Return the template ready for use; the same bytes are compiled once.

        Raises:
            TemplateInvalidError: ``lint`` has something to say.
        """


class Clock(Protocol):
    """The time."""

    def now_ms(self) -> UnixMillis:
        """Return Unix milliseconds."""


class Randomness(Protocol):
    """What must not be guessed."""

    def token(self, size: int) -> bytes:
        """Return ``size`` random bytes from the system's generator."""

    def uuid4(self) -> str:
        """Return a new UUID v4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRequest:
    """A POST to a partner's endpoint."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Any HTTP answer; a redirect is one, never followed. ``body``: at most ``ANSWER_BYTES_MAX``."""

    status: int
    content_type: str
    retry_after: str | None
    body: bytes
    is_truncated: bool
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """Nothing usable came back. ``reason``: a stable short code; ``detail``: safe for logs."""

    reason: str
    detail: str
    duration_ms: int


class Sender(Protocol):
    """Sends webhooks to addresses that may be connected to, and to nothing else."""

    async def send(self, request: OutboundRequest) -> Answer | NoAnswer:
        """Send once, within one deadline. Never raises for anything that the network does."""

    async def close(self) -> None:
        """Close every connection."""


class Observer(Protocol):
    """Is told what has become durable: for figures, logs and traces, never for what must happen.

    It is called on the hot path, once a batch, from any thread. An implementation is quick, and never raises.
    """

    def committed(
        self, events: Sequence[QueuedEvent | None], changes: Sequence[Change], outcomes: Sequence[Committed]
    ) -> None:
        """Take note of one commit: each change, the event that caused it (None: a timer), and what became of it."""

    def attempted(
        self,
        due: Sequence[DueDelivery],
        results: Sequence[AttemptResult],
        disabled: Mapping[OrganizationId, DisabledReason],
    ) -> None:
        """Take note of attempts, in the same order, whose results have been recorded, and what they disabled."""

    def failed(self, event: QueuedEvent, *, reason: str, is_buried: bool) -> None:
        """Take note of an event that met a bug, and goes back to the queue or to the dead letters.

        ``reason``: the bug's class.
        """

    def written(self, *, wait_s: float, write_s: float, sync_s: float) -> None:
        """Take note of a durable write: its wait for the writer's place, its length, and of that its commit."""


class Unobserved:
    """Nobody looks."""

    def committed(
        self, events: Sequence[QueuedEvent | None], changes: Sequence[Change], outcomes: Sequence[Committed]
    ) -> None:
        """See Observer.committed."""

    def attempted(
        self,
        due: Sequence[DueDelivery],
        results: Sequence[AttemptResult],
        disabled: Mapping[OrganizationId, DisabledReason],
    ) -> None:
        """See Observer.attempted."""

    def failed(self, event: QueuedEvent, *, reason: str, is_buried: bool) -> None:
        """See Observer.failed."""

    def written(self, *, wait_s: float, write_s: float, sync_s: float) -> None:
        """See Observer.written."""


UNOBSERVED: Final[Observer] = Unobserved()


def _nothing() -> None:
    """Wake nobody."""


def _nothing_for(_seconds: float) -> None:
    """Sleep not at all, as tests do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """The hub put together: its name and every port. ``bootstrap`` makes it; every use case takes it."""

    base_url: str
    clock: Clock
    randomness: Randomness
    events: EventStore
    queue: EventQueue
    contracts: ContractStore
    deliveries: DeliveryStore
    directory: DirectoryStore
    retention: RetentionStore
    signer: Signer
    sealer: Sealer
    templates: TemplateReader
    check_webhook_url: Callable[[str], str]
    """Return the URL if deliveries may go there as far as its text tells, else raise InvalidFieldError."""
    allow_http_webhooks: bool = False
    allow_private_webhooks: bool = False
    retry_schedule_s: tuple[int, ...] = field(default=())
    """Waits before each attempt; empty for the documented schedule."""
    require_endpoint_check: bool = False
    """Whether an organization's endpoint must have answered before the organization is active."""
    wake_deliverer: Callable[[], None] = _nothing
    """Have what is owed sent now, where a process waits to be woken for it."""
    pause: Callable[[float], None] = _nothing_for
    """Sleep for so many seconds."""
    checkers: int = 1
    """How many identities a change of status or of a contract key takes: 1, or 2, the second of which checks it."""
    observer: Observer = UNOBSERVED

    def now_s(self) -> UnixSeconds:
        """Return Unix seconds."""
        return UnixSeconds(self.clock.now_ms() // 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serverless:
    """The hub where functions are called, and what only they need. ``bootstrap`` makes it."""

    hub: Hub
    lines: DeliveryLines
    relay: Relay
    messages: QueueMessages
