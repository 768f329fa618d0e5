"""What the store has promised: it stands between the ports and the use cases, and remembers every answer.

An answer is a promise: accepted, committed, recorded. ``check_kept`` asks a store that was opened again for each of
them. Some promises are broken at once and seen here: a lease that somebody else holds, a message that overtakes an
older one, an id that is taken twice.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from moneta.application.ports import (
    Attempt,
    AttemptResult,
    Change,
    Clock,
    Committed,
    DeliveryStatus,
    EventOutcome,
    Hub,
    NewEvent,
    OwedDelivery,
    Reused,
    Taken,
)
from moneta.domain.identifiers import ContractId, EventId, KeyId, OrganizationId, UnixMillis, WebhookId
from moneta.domain.keys import RegisteredKey

EventName = tuple[OrganizationId, EventId]


TAKEN = "taken"


@dataclass(frozen=True)
class Lease:
    """Who holds something, and until when."""

    handle: str
    ends_at: UnixMillis


class Witness:
    """What was promised so far. ``complain`` is told of each promise that is broken."""

    def __init__(self, clock: Clock, complain: Callable[[str], None]) -> None:
        self.clock, self.complain = clock, complain
        self.accepted: dict[EventName, tuple[bytes, UnixMillis]] = {}
        self.outcomes: dict[EventName, EventOutcome | None] = {}
        self.revisions: dict[ContractId, int] = {}
        self.owed: dict[WebhookId, OwedDelivery] = {}
        self.lines: dict[tuple[ContractId, OrganizationId], list[WebhookId]] = defaultdict(list)
        self.attempts: dict[WebhookId, list[Attempt]] = defaultdict(list)
        self.settled: dict[WebhookId, DeliveryStatus] = {}
        self.keys: dict[KeyId, RegisteredKey] = {}
        self.event_leases: dict[EventName, Lease] = {}
        self.delivery_leases: dict[WebhookId, Lease] = {}
        self.answers: set[EventName] = set()
        self._unsynced: list[AttemptResult] = []
        self._fresh: list[Callable[[Hub], None]] = []

    def watches(self, hub: Hub) -> Hub:
        """Return the hub with this witness in front of its store."""
        return replace(
            hub,
            events=_Events(hub.events, self),
            queue=_Queue(hub.queue, self),
            contracts=_Contracts(hub.contracts, self),
            deliveries=_Deliveries(hub.deliveries, self),
            directory=_Directory(hub.directory, self),
        )

    def synced(self) -> None:
        """A write was made durable, and with it whatever was written before."""
        self._unsynced.clear()

    def forget_unsynced(self) -> None:
        """Allow that attempts are forgotten which no durable write followed: a power cut may take them."""
        for result in self._unsynced:
            self.attempts[result.webhook_id].remove(result.attempt)
            self.settled.pop(result.webhook_id, None)
            if result.answer is not None:
                self.answers.discard((result.answer.source, result.answer.event_id))
        self._unsynced.clear()

    def is_behind(self, webhook_id: WebhookId) -> bool:
        """Tell whether an older message of its line is owed again: it is due when that one is done, and not before."""
        owed = self.owed.get(webhook_id)
        line = [] if owed is None else self.lines[owed.contract_id, owed.organization_id]
        return webhook_id in line and any(one not in self.settled for one in line[: line.index(webhook_id)])

    def promise(self, check: Callable[[Hub], None]) -> None:
        """Remember to ask for something the next time that a store is opened."""
        self._fresh.append(check)

    def check_kept(self, hub: Hub) -> None:
        """Ask for all that was promised since the last time."""
        checks, self._fresh = self._fresh, []
        for check in checks:
            check(hub)

    def check_all_kept(self, hub: Hub) -> None:
        """Ask for all that was ever promised."""
        for name in self.accepted:
            self.check_accepted(hub, name)
        for name in self.outcomes:
            self.check_outcome(hub, name)
        for contract_id in self.revisions:
            self.check_revision(hub, contract_id)
        for webhook_id in self.owed:
            self.check_delivery(hub, webhook_id)

    def check_accepted(self, hub: Hub, name: EventName) -> None:
        """An event that was acknowledged is there as it was acknowledged."""
        record, (digest, received_at) = hub.events.find(*name), self.accepted[name]
        if record is None or (record.digest, record.received_at) != (digest, received_at):
            self.complain(f"event {name[1]} was acknowledged, and is lost")

    def check_outcome(self, hub: Hub, name: EventName) -> None:
        """An event that was settled is settled, and as it was."""
        record, outcome = hub.events.find(*name), self.outcomes[name]
        if outcome is None or record is None:
            return
        if (record.status, record.processed_at, record.problem) != (
            outcome.status,
            outcome.processed_at,
            outcome.problem,
        ):
            self.complain(f"event {name[1]} was {outcome.status}, and is {record.status}")

    def check_revision(self, hub: Hub, contract_id: ContractId) -> None:
        """A step that was committed is there."""
        found = hub.contracts.read([contract_id]).get(contract_id)
        if found is None or found.revision < self.revisions[contract_id]:
            self.complain(f"contract {contract_id}: revision {self.revisions[contract_id]} was committed, and is lost")

    def check_delivery(self, hub: Hub, webhook_id: WebhookId) -> None:
        """A message that was owed is owed, and what was recorded of it is there."""
        record = hub.deliveries.find(webhook_id)
        if record is None or record.owed != self.owed.get(webhook_id, record.owed):
            self.complain(f"delivery {webhook_id} was owed, and is lost")
            return
        if any(attempt not in record.attempts for attempt in self.attempts.get(webhook_id, ())):
            self.complain(f"delivery {webhook_id}: an attempt was recorded, and is lost")
        if self.settled.get(webhook_id, record.status) is not record.status:
            self.complain(f"delivery {webhook_id} was {self.settled[webhook_id]}, and is {record.status}")

    def check_owed_again(self, hub: Hub, webhook_id: WebhookId, attempts_before: int) -> None:
        """A message that was owed again is still, unless it was tried since."""
        record = hub.deliveries.find(webhook_id)
        if record is None or (record.status is not DeliveryStatus.PENDING and len(record.attempts) <= attempts_before):
            self.complain(f"delivery {webhook_id} was owed again, and is not")

    def check_answer(self, hub: Hub, name: EventName) -> None:
        """What a receiver gave in an answer that was recorded is there."""
        if name in self.answers and hub.events.find(*name) is None:
            self.complain(f"event {name[1]}: the answer that it was in was recorded, and it is lost")

    def check_key(self, hub: Hub, key: RegisteredKey) -> None:
        """A change of a key is there."""
        found = hub.directory.keys_of([key.owner]).get(key.owner, {}).get(key.key_id)
        if found is None or len(found.changes) < len(key.changes):
            self.complain(f"key {key.key_id}: a change was applied, and is lost")

    def forget_leases(self) -> None:
        """Allow that everything is taken again: whoever held it is gone."""
        self.event_leases.clear()
        self.delivery_leases.clear()


class _Port:
    def __init__(self, port, witness: Witness) -> None:
        self._port, self._witness = port, witness

    def __getattr__(self, name):
        return getattr(self._port, name)


class _Events(_Port):
    def accept(self, events):
        answers = self._port.accept(events)
        for event, answer in zip(events, answers, strict=True):
            note_accepted(self._witness, event, answer)
        if any(isinstance(answer, Taken) and not answer.is_replay for answer in answers):
            self._witness.synced()
        return answers


def note_accepted(witness: Witness, event: NewEvent, answer: Taken | Reused) -> None:
    """Hold the store to its answer, and the answer to those before."""
    name = event.source, event.event_id
    before = witness.accepted.get(name)
    if isinstance(answer, Reused):
        if before is not None and before[0] == event.digest:
            witness.complain(f"event {event.event_id}: the same bytes again were refused")
        return
    now = event.digest, answer.received_at
    if before is not None and (before != now or not answer.is_replay):
        witness.complain(f"event {event.event_id} was accepted twice")
    witness.accepted[name] = now
    witness.promise(lambda hub: witness.check_accepted(hub, name))


class _Queue(_Port):
    def take(self, *, limit, lease_s):
        witness, now = self._witness, self._witness.clock.now_ms()
        taken = self._port.take(limit=limit, lease_s=lease_s)
        for event in taken:
            name = event.source, event.event_id
            held = witness.event_leases.get(name)
            if held is not None and now < held.ends_at:
                witness.complain(f"event {event.event_id} was taken while somebody held it")
            if name in witness.outcomes:
                witness.complain(f"event {event.event_id} was taken after its outcome")
            witness.event_leases[name] = Lease(event.handle, now + lease_s * 1000)
        return taken

    def release(self, events, *, delay_s):
        witness, now = self._witness, self._witness.clock.now_ms()
        self._port.release(events, delay_s=delay_s)
        for event in events:
            name = event.source, event.event_id
            held = witness.event_leases.get(name)
            if held is not None and held.handle == event.handle and now < held.ends_at:
                witness.event_leases[name] = Lease("", now + delay_s * 1000)

    def bury(self, event, *, reason):
        held = self._witness.event_leases.get((event.source, event.event_id))
        if held is not None and held.handle == event.handle:
            del self._witness.event_leases[event.source, event.event_id]  # before, since its answer may not be heard
        self._port.bury(event, reason=reason)
        self._witness.synced()

    def redrive(self, letter_id):
        letter = self._port.redrive(letter_id)
        self._witness.synced()
        return letter


class _Contracts(_Port):
    def commit(self, changes):
        answers = self._port.commit(changes)
        for change, answer in zip(changes, answers, strict=True):
            note_committed(self._witness, change, answer)
        if Committed.COMMITTED in answers:
            self._witness.synced()
        return answers


def note_committed(witness: Witness, change: Change, answer: Committed) -> None:
    """Hold the store to a commit: its outcome, its step and all that it owes."""
    name = None if change.outcome is None else (change.outcome.source, change.outcome.event_id)
    if answer is Committed.DUPLICATE and name is not None:
        witness.outcomes.setdefault(name, None)  # settled by a commit whose answer nobody heard
    if answer is not Committed.COMMITTED:
        return
    if name is not None:
        if name in witness.outcomes:
            witness.complain(f"event {name[1]} was settled twice")
        witness.outcomes[name] = change.outcome
        witness.promise(lambda hub: witness.check_outcome(hub, name))
    if change.step is not None:
        if change.step.revision <= witness.revisions.get(change.contract_id, 0):
            witness.complain(f"contract {change.contract_id}: revision {change.step.revision} was committed twice")
        witness.revisions[change.contract_id] = change.step.revision
        witness.promise(lambda hub: witness.check_revision(hub, change.contract_id))
    for owed in change.owed:
        note_owed(witness, owed)


def note_owed(witness: Witness, owed: OwedDelivery) -> None:
    """Remember what is owed, in its line."""
    if owed.webhook_id not in witness.owed:
        witness.lines[owed.contract_id, owed.organization_id].append(owed.webhook_id)
    witness.owed[owed.webhook_id] = owed
    witness.promise(lambda hub: witness.check_delivery(hub, owed.webhook_id))


class _Deliveries(_Port):
    def take_due(self, *, now, limit, lease_s, busy=frozenset()):
        witness = self._witness
        taken = self._port.take_due(now=now, limit=limit, lease_s=lease_s, busy=busy)
        for due in taken:
            webhook_id = due.owed.webhook_id
            held = witness.delivery_leases.get(webhook_id)
            if held is not None and now < held.ends_at:
                witness.complain(f"delivery {webhook_id} was taken while somebody held it")
            if webhook_id in witness.settled:
                witness.complain(f"delivery {webhook_id} was taken after its end")
            line = witness.lines[due.owed.contract_id, due.owed.organization_id]
            ahead = line[: line.index(webhook_id)] if webhook_id in line else ()
            if any(one not in witness.settled and self._is_pending(one) for one in ahead):
                witness.complain(f"delivery {webhook_id} was taken before an older one was settled")
            witness.delivery_leases[webhook_id] = Lease(TAKEN, now + lease_s * 1000)
        return taken

    def owe(self, owed):
        self._port.owe(owed)
        self._witness.synced()
        note_owed(self._witness, owed)

    def owe_again(self, webhook_ids, *, now):
        witness = self._witness
        for webhook_id in webhook_ids:  # before, since its answer may not be heard
            witness.settled.pop(webhook_id, None)
            self._bring_forward(webhook_id)
        count = self._port.owe_again(webhook_ids, now=now)
        witness.synced()
        for record in map(self._port.find, webhook_ids):
            if record.status is DeliveryStatus.PENDING:
                again = partial(
                    witness.check_owed_again,
                    webhook_id=record.owed.webhook_id,
                    attempts_before=len(record.attempts),
                )
                witness.promise(again)
        return count

    def _bring_forward(self, webhook_id):
        """Allow that a line's first is tried now, though it was to be tried later."""
        line = next((one for one in self._witness.lines.values() if webhook_id in one), ())
        for one in line:
            if self._witness.delivery_leases.get(one, Lease(TAKEN, UnixMillis(0))).handle != TAKEN:
                del self._witness.delivery_leases[one]

    def _is_pending(self, webhook_id):
        record = self._port.find(webhook_id)  # it may have been settled by a record whose answer nobody heard
        return record is not None and record.status is DeliveryStatus.PENDING

    def record(self, results):
        disabled = self._port.record(results)
        for result in results:
            note_recorded(self._witness, result)
        return disabled


def note_recorded(witness: Witness, result: AttemptResult) -> None:
    """Hold the store to an attempt, and to the event that was in its answer."""
    webhook_id = result.webhook_id
    witness._unsynced.append(result)
    witness.attempts[webhook_id].append(result.attempt)
    witness.delivery_leases.pop(webhook_id, None)
    if witness.settled.get(webhook_id) is not DeliveryStatus.DELIVERED:
        if result.status is not DeliveryStatus.PENDING:
            witness.settled[webhook_id] = result.status
        elif webhook_id not in witness.settled and result.retry_at is not None and not witness.is_behind(webhook_id):
            witness.delivery_leases[webhook_id] = Lease("", result.retry_at)
    witness.promise(lambda hub: witness.check_delivery(hub, webhook_id))
    if result.answer is not None:
        name = result.answer.source, result.answer.event_id
        witness.answers.add(name)
        witness.promise(lambda hub: witness.check_answer(hub, name))


class _Directory(_Port):
    def apply(self, change):
        self._port.apply(change)
        self._witness.synced()
        for key in change.keys:
            self._witness.promise(lambda hub, key=key: self._witness.check_key(hub, key))
