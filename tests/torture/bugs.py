"""Bugs to plant: each is a mistake that somebody could make in a store or around it, in leases, dedupe, locks or order.

The torture must find every one of them, or it would find no other either. Each is a port put in front of the real one,
or a rule of the real store switched off; ``plant`` takes the world, the process that starts, and its hub.
"""

from collections.abc import Mapping
from dataclasses import replace

from moneta.adapters.embedded.database import FULL
from moneta.adapters.embedded.store import EmbeddedStore
from moneta.application.ports import (
    Change,
    Committed,
    DeliveryQuery,
    DeliveryStatus,
    DueDelivery,
    EventRecord,
    Hub,
    NewEvent,
    Reused,
    Taken,
)
from moneta.domain.identifiers import EventId, Revision
from tests.torture.world import Plant, Process, World


class Faulty:
    """A port with a mistake in one of its methods; the others are the real one's."""

    def __init__(self, port, world: World) -> None:
        self._port, self._world = port, world

    def __getattr__(self, name):
        return getattr(self._port, name)


def in_port(name: str, faulty: type[Faulty]) -> Plant:
    """Return what puts the mistake in front of one port."""
    return lambda world, _process, hub: replace(hub, **{name: faulty(getattr(hub, name), world)})


# Leases.


class NoLease(Faulty):
    def take(self, *, limit, lease_s):
        taken = self._port.take(limit=limit, lease_s=lease_s)
        self._port.release(taken, delay_s=0)
        return taken


class LeaseOfNoTime(Faulty):
    def take_due(self, *, now, limit, lease_s, **options):
        return self._port.take_due(now=now, limit=limit, lease_s=0, **options)


def two_processors(world: World, process: Process, hub: Hub) -> Hub:
    """Two processors work at the same store, since nobody took the lock: each knows its own leases alone."""
    second = EmbeddedStore.open(world.disk.folder, clock=world.clock)
    process.more.append(second)

    class Alternating(Faulty):
        def take(self, **options):
            return self._world.chance.choice((hub.queue, second.queue)).take(**options)

    return replace(hub, queue=Alternating(hub.queue, world))


# Dedupe.


class TakenAnew(Faulty):
    """What was sent again is recorded again."""

    def accept(self, events):
        new = [event if self._port.find(event.source, event.event_id) is None else _renamed(event) for event in events]
        return self._port.accept(new)


def _renamed(event: NewEvent) -> NewEvent:
    return replace(event, event_id=EventId(f"{event.event_id}.again"))


class DigestIgnored(Faulty):
    """Other bytes under a known id are taken for the same."""

    def accept(self, events):
        answers = zip(events, self._port.accept(events), strict=True)
        return [_replayed(self._port.find(event.source, event.event_id), answer) for event, answer in answers]


def _replayed(known: EventRecord, answer: Taken | Reused) -> Taken:
    return Taken(received_at=known.received_at, is_replay=True) if isinstance(answer, Reused) else answer


# Locks and transactions.


class LastWriterWins(Faulty):
    """A change is written over whatever was committed since it was judged."""

    def commit(self, changes):
        return [
            self._forced(change, answer) for change, answer in zip(changes, self._port.commit(changes), strict=True)
        ]

    def _forced(self, change: Change, answer: Committed) -> Committed:
        if answer is not Committed.CONFLICT:
            return answer
        revision = Revision(self._port.read([change.contract_id])[change.contract_id].revision)
        log = tuple(replace(line, revision=Revision(revision + 1)) for line in change.step.log)
        step = replace(change.step, revision=Revision(revision + 1), start=None, log=log)
        (again,) = self._port.commit([replace(change, read_revision=revision, step=step)])
        return again


class OutcomeApart(Faulty):
    """The step is committed first, and then what became of the event."""

    def commit(self, changes):
        first = self._port.commit([replace(one, outcome=None) if one.step else one for one in changes])
        done = [one for one, answer in zip(changes, first, strict=True) if one.step and answer is Committed.COMMITTED]
        self._port.commit([replace(one, step=None, owed=()) for one in done if one.outcome is not None])
        return first


class OwedApart(Faulty):
    """What is owed is written when the change is committed."""

    def commit(self, changes):
        answers = self._port.commit([replace(one, owed=()) for one in changes])
        done = [one for one, answer in zip(changes, answers, strict=True) if answer is Committed.COMMITTED]
        self._port.commit([replace(one, step=None, outcome=None) for one in done])
        return answers


class AnswerApart(Faulty):
    """An attempt is recorded first, and then the event that was in its answer is accepted."""

    def record(self, results):
        disabled = self._port.record([replace(one, answer=None) for one in results])
        answers = [one.answer for one in results if one.answer is not None]
        if answers:
            self._world.processes["deliverer"].store.events.accept(answers)
        return disabled


class AnsweredFirst(Faulty):
    """An event is acknowledged when it is in memory, and written with those that come next."""

    def __init__(self, port, world) -> None:
        super().__init__(port, world)
        self._waiting: Mapping = {}

    def accept(self, events):
        self._port.accept(list(self._waiting.values()))
        known = {(one.source, one.event_id): self._port.find(one.source, one.event_id) for one in events}
        self._waiting = {(one.source, one.event_id): one for one in events if not known[one.source, one.event_id]}
        now = self._world.clock.now_ms()
        return [_as_known(one, known[one.source, one.event_id], now) for one in events]


def _as_known(event: NewEvent, known: EventRecord | None, now) -> Taken | Reused:
    if known is None:
        return Taken(received_at=now, is_replay=False)
    return Taken(received_at=known.received_at, is_replay=True) if known.digest == event.digest else Reused()


# Order.


class OutOfLine(Faulty):
    """What stands behind an older message of its contract is taken too."""

    def take_due(self, *, now, limit, **options):
        taken = list(self._port.take_due(now=now, limit=limit, **options))
        known = {due.owed.webhook_id for due in taken}
        waiting = self._port.list(DeliveryQuery(visible_to=None, limit=limit, status=DeliveryStatus.PENDING)).items
        behind = [one for one in waiting if not one.attempts and one.owed.webhook_id not in known]
        return [*taken, *(DueDelivery(owed=one.owed, attempts_done=0, due_at=now) for one in behind[:1])]


class ExpiryOvertakes(Faulty):
    """An expiry does not wait for what was received before."""

    def has_unprocessed(self, _contract_id, *, received_before):
        return False


class SweptFirst(Faulty):
    """That a key was swept is remembered before the contracts on it are declined."""

    def compromised_since(self, seq):
        found = self._port.compromised_since(seq)
        self._port.mark_swept(self._port.registry_position())
        return found


# The store's own rules.


def not_synced(_world: World, process: Process, hub: Hub) -> Hub:
    """The store is set to NORMAL: a commit is acknowledged before it is synced."""
    process.store.database._make_safe()
    process.store.database._is_safe = True
    process.store.database._writer(FULL).execute("PRAGMA synchronous = NORMAL")
    return hub


def not_made_safe(_world: World, process: Process, hub: Hub) -> Hub:
    """A process rests on what the one before it had not synced."""
    process.store.database._is_safe = True
    return hub


def trusting(_world: World, process: Process, hub: Hub) -> Hub:
    """After a failed sync the store goes on as if nothing had been."""
    process.store.database._suspect = lambda: None
    return hub


# fmt: off
BUGS: Mapping[str, Plant] = {
    "an event is taken without a lease":                    in_port("queue",       NoLease),
    "a delivery's lease is over at once":                   in_port("deliveries",  LeaseOfNoTime),
    "two processors do not know of each other's leases":    two_processors,
    "an event that comes again is taken anew":              in_port("events",      TakenAnew),
    "other bytes under a known id are acknowledged":        in_port("events",      DigestIgnored),
    "a conflict is written over":                           in_port("contracts",   LastWriterWins),
    "an outcome is committed after its step":               in_port("contracts",   OutcomeApart),
    "a message is owed after the commit":                   in_port("contracts",   OwedApart),
    "an answer is accepted after its attempt":              in_port("deliveries",  AnswerApart),
    "an event is acknowledged before it is written":        in_port("events",      AnsweredFirst),
    "a message overtakes an older one":                     in_port("deliveries",  OutOfLine),
    "an expiry overtakes what was received in time":        in_port("events",      ExpiryOvertakes),
    "a sweep is remembered before it is done":              in_port("directory",   SweptFirst),
    "a killed process's unsynced commit is relied upon":    not_made_safe,
    "a failed sync is ignored":                             trusting,
}
# fmt: on
NORMAL: Plant = not_synced
