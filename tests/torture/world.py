"""A hub and its partners in one thread: chance decides who does what next, and where it is interrupted.

The processes of a hub (web, processor, deliverer) each have a store of their own on one disk, and run the real use
cases on it. One of them acts at a time, but at any point between two calls of a port another may do its part, or the
same one in another thread. Everything derives from one seed: the clock stands until it is told, keys and ids are the
same in every run.

What goes wrong by itself, always: the client does not see its 202 and sends again, events come twice and in any order,
what was taken is held until its lease is over, requests and answers of webhooks are lost, messages go out again after
they were delivered. What is put upon it: ``World.strikes`` and ``World.decides``.
"""

import hashlib
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moneta.adapters.embedded.store import FILE_NAME, EmbeddedStore
from moneta.application.authenticate import authenticate
from moneta.application.deliver_webhooks import PreparedAttempt, prepare_attempts, record_attempts
from moneta.application.end_contracts import decline_compromised, expire_contracts
from moneta.application.ingest_events import Accepted, EventRequest, ingest_events
from moneta.application.organization_keys import change_key_status
from moneta.application.ports import Answer, Hub, NoAnswer, QueuedEvent
from moneta.application.process_events import process_or_return
from moneta.domain.errors import EventIdReusedError, StoreUnavailableError
from moneta.domain.organizations import OrganizationKind
from tests.hub import FakeClock
from tests.torture.disk import Disk, Fault, Operation
from tests.torture.house import CONTRACT_KEYS, OPERATOR, assemble, house, key_of, make_token
from tests.torture.partners import Partners, Sent
from tests.torture.steps import watched
from tests.torture.witness import Witness

LEASE_S = 20
HELD_MAX = 5
INTERLEAVED_SHARE = 0.06

Plant = Callable[["World", "Process", Hub], Hub]
Came = tuple[PreparedAttempt, Answer | NoAnswer]


class Found(AssertionError):  # noqa: N818  # it is what a torture looks for
    """Something was lost, or happened twice, or in the wrong order."""


class Interrupted(BaseException):  # nothing in the hub may catch it, whatever it catches
    """A process stops between two instructions; ``name`` is its, None for all of them."""

    def __init__(self, name: str | None = None, *, with_power: bool = False) -> None:
        super().__init__()
        self.name, self.with_power = name, with_power


def undisturbed(_: object) -> None:
    """Let it happen."""


@dataclass
class Process:
    """A process of the hub: its store is open while it runs."""

    name: str
    store: EmbeddedStore | None = None
    hub: Hub | None = None
    more: list[EmbeddedStore] = field(default_factory=list)
    taken: list[Sequence[QueuedEvent]] = field(default_factory=list)
    came: list[Came] = field(default_factory=list)


@dataclass
class Tally:
    """What a run did."""

    accepted: int = 0
    replayed: int = 0
    answers_lost: int = 0
    delivered: int = 0
    sent_again: int = 0
    unavailable: int = 0
    power_cuts: int = 0
    kills: int = 0
    finalized: int = 0
    contracts: int = 0

    def add(self, other: "Tally") -> None:
        """Count another run too."""
        for name, number in vars(other).items():
            setattr(self, name, getattr(self, name) + number)


class World:
    """One run. ``plant`` puts a bug into each process's hub; ``strikes`` is asked at every named point."""

    def __init__(self, folder: Path, seed: str, *, plant: Plant | None = None) -> None:
        self.seed, self.plant = seed, plant
        self.chance = random.Random(seed)  # noqa: S311  # the same in every run
        self.clock, self.randomness = FakeClock(), house().randomness()
        self.disk = Disk(folder, random.Random(f"{seed} disk"))  # noqa: S311
        self.disk.put(FILE_NAME, house().file)
        self.faults: list[str] = []
        self.partners = Partners(house(), self.clock, self.chance, self.faults.append)
        self.witness = Witness(self.clock, self.faults.append)
        self.processes = {name: Process(name) for name in ("web", "processor", "deliverer")}
        self.acting: list[str] = []
        self.doing = "start"
        self.strikes: Callable[[str], None] = undisturbed
        self.decides: Callable[[Operation], Fault | None] = undisturbed
        self.may_fail = False
        self.is_quiet = False
        self.tally = Tally()
        self.points: dict[str, int] = {}
        self.digest = hashlib.sha256()
        self.disk.decide = self._decide

    # Who runs.

    def process(self, name: str) -> Hub:
        """Return the hub of a process, started if it does not run."""
        process = self.processes[name]
        if process.hub is None:
            process.store = EmbeddedStore.open(self.disk.folder, clock=self.clock)
            hub = assemble(process.store, self.clock, self.randomness)
            hub = self.plant(self, process, hub) if self.plant else hub
            process.hub = watched(self.witness.watches(hub), self.reach)
            self.begin(process)
        return process.hub

    def begin(self, process: Process) -> None:
        """Do what a process does at its start. There is one that takes events and one that takes deliveries."""
        if process.name == "processor":
            self.witness.event_leases.clear()
            process.store.queue.reclaim()
        if process.name == "deliverer":
            self.witness.delivery_leases.clear()

    def stop(self, name: str) -> None:
        """Have a process end, with all that it holds; the files stay as they are."""
        process = self.processes[name]
        stores = [one for one in (process.store, *process.more) if one is not None]
        process.store, process.hub, process.more = None, None, []
        process.taken.clear()
        process.came.clear()
        for store in stores:
            store.close()

    def interrupt(self, blow: Interrupted) -> None:
        """Have processes die, and with them perhaps what the disk had not synced; then look at what is left."""
        self.tally.power_cuts += blow.with_power
        self.tally.kills += not blow.with_power
        self.note("interrupted", str(blow.name), str(blow.with_power))
        if blow.name is None:
            self.strike_none()
            before = self.disk.power_cut() if blow.with_power else self.disk.kill()
            for name in self.processes:
                self.stop(name)
            shutil.rmtree(before)
            self.witness.forget_leases()
            if blow.with_power:
                self.witness.forget_unsynced()
        else:
            self.stop(blow.name)
        self.check_kept()

    def strike_none(self) -> None:
        """Let it run undisturbed until something is put upon it again."""
        self.strikes, self.decides = undisturbed, undisturbed

    def is_armed(self) -> bool:
        """Tell whether something is put upon it that has not struck yet."""
        return self.strikes is not undisturbed or self.decides is not undisturbed

    @contextmanager
    def looking(self):
        """Give a hub to look with, on a copy: nothing disturbs it, and looking makes nothing safe."""
        with tempfile.TemporaryDirectory(dir=self.disk.folder.parent) as folder:
            self.disk.copy_to(Path(folder))
            store = EmbeddedStore.open(Path(folder), clock=self.clock)
            try:
                yield assemble(store, self.clock, self.randomness), store
            finally:
                store.close()

    def check_kept(self) -> None:
        """Hold what is there now against what was promised since the last time."""
        with self.looking() as (hub, _):
            self.witness.check_kept(hub)
        self.check()

    def check(self) -> None:
        """Raise what was found."""
        if self.faults:
            raise Found(f"{self.faults[0]}; seed {self.seed}")

    def reach(self, point: str) -> None:
        """A process reached a named point: it may die here, or another may come in between."""
        name = f"{self.doing} {point}"
        self.points[name] = self.points.get(name, 0) + 1
        self.note(name)
        self.strikes(name)
        if not self.is_quiet and len(self.acting) == 1 and self.chance.random() < INTERLEAVED_SHARE:
            # Half of the time another thread of the same process, since those meet at the same contracts.
            self.act(self.acting[0] if self.chance.getrandbits(1) else None)

    def note(self, *words: str) -> None:
        """Add to the digest of all that happened, by which two runs of a seed can be compared."""
        self.digest.update(" ".join(words).encode())

    def _decide(self, operation: Operation):
        self.note(operation.kind, operation.file, str(operation.size))
        return self.decides(operation)

    # What happens.

    def live(self, actions: int) -> None:
        """Let so many things happen."""
        for _ in range(actions):
            try:
                self.act()
            except Interrupted as blow:
                self.interrupt(blow)
            self.check()

    def act(self, by: str | None = None) -> None:
        """Let one thing happen, chosen by chance; ``by``: by that process."""
        self.clock.advance(self.chance.choice((0.001, 0.01, 0.05, 0.3)))
        weights = {one: weight for one, weight in ACTIONS.items() if by in {None, one[0]}}
        name, action = self.chance.choices(list(weights), list(weights.values()))[0]
        if name not in self.acting or action is not stop:
            self.perform(name, action)

    def perform(self, name: str, action: Callable[["World", Process], None]) -> None:
        """Let a process do something; it may die of it, or find that the store is not available."""
        self.acting.append(name)
        try:
            with self.during(action.__name__):
                self.process(name)
                action(self, self.processes[name])
        except StoreUnavailableError as error:
            self.tally.unavailable += 1
            if not self.may_fail:
                self.faults.append(f"{action.__name__}: {error}")
        except Exception as error:  # noqa: BLE001  # a bug of the hub's, which is what a torture looks for
            self.faults.append(f"{action.__name__}: {type(error).__name__}: {error}")
        except Interrupted as blow:
            if blow.name != name or name in self.acting[:-1]:
                raise
            self.interrupt(blow)
        finally:
            self.acting.pop()

    @contextmanager
    def during(self, doing: str):
        """Have the points within named after something else than the action."""
        before, self.doing = self.doing, doing
        try:
            yield
        finally:
            self.doing = before

    def bug(self, event: QueuedEvent, error: Exception) -> None:
        """An event met a bug of the hub's."""
        self.faults.append(f"event {event.event_id}: {type(error).__name__}: {error}")


# What a process can do. Each takes the world and the process.


def ingest(world: World, process: Process) -> None:
    """Clients send what they have, some of it twice, some of it again though they have their 202."""
    chance, partners = world.chance, world.partners
    for _ in range(chance.choice((0, 1, 1, 2))):
        partners.start_deal()
    waiting = partners.waiting()
    chosen = chance.sample(waiting, min(len(waiting), chance.randint(1, 6)))
    chosen += [one for one in chosen if chance.random() < 0.1]
    known = [one for one in partners.sent.values() if one.received_at is not None]
    if known and chance.random() < 0.3:
        chosen.append(chance.choice(known))
    send(world, process, chosen)
    if known and chance.random() < 0.05:
        reuse(world, process, chance.choice(known))


def send(world: World, process: Process, chosen: Sequence[Sent]) -> None:
    """Send events in one batch, and note what is acknowledged; some clients never see it."""
    now = process.hub.now_s()
    requests = [EventRequest(token=one.source.token(now), raw=one.raw) for one in chosen]
    for one, answer in zip(chosen, ingest_events(process.hub, requests) if requests else (), strict=True):
        if not isinstance(answer, Accepted):
            world.faults.append(f"event {one.event_id} was refused: {answer}")
        elif not world.is_quiet and world.chance.random() < 0.1:
            world.tally.answers_lost += 1
        else:
            world.tally.accepted += one.received_at is None
            world.tally.replayed += answer.is_replay
            if one.received_at not in {None, answer.received_at}:
                world.faults.append(f"event {one.event_id} was acknowledged twice, and not the same")
            one.received_at = answer.received_at


def reuse(world: World, process: Process, one: Sent) -> None:
    """Send other bytes under an id that was acknowledged: they must be refused, whatever became of the first."""
    raw = one.raw.replace(b'"specversion":"1.0"', b'"specversion": "1.0"')
    (answer,) = ingest_events(process.hub, [EventRequest(token=one.source.token(process.hub.now_s()), raw=raw)])
    if not isinstance(answer, EventIdReusedError):
        world.faults.append(f"event {one.event_id}: other bytes under its id were acknowledged")


def take(world: World, process: Process) -> None:
    """Take events, and work on them now or later, perhaps when the lease is over."""
    if len(process.taken) < HELD_MAX:
        events = process.hub.queue.take(limit=world.chance.choice((1, 1, 3, 8)), lease_s=LEASE_S)
        if events:
            process.taken.append(events)
    if world.chance.random() < 0.5:
        process_taken(world, process)


def process_taken(world: World, process: Process) -> None:
    """Process something that was taken, in any order, or give it back."""
    if not process.taken:
        return
    chance = world.chance
    events = list(process.taken.pop(chance.randrange(len(process.taken))))
    chance.shuffle(events)
    if chance.random() < 0.05:
        process.hub.queue.release(events, delay_s=chance.choice((0, 1)))
        return
    try:
        with world.during("process"):
            again = process_or_return(process.hub, events, world.bug)
            if again:
                process.hub.queue.release(again, delay_s=0)
    except StoreUnavailableError:
        process.taken.append(events)  # as the processor does: tried again, first thing
        raise


def deliver(world: World, process: Process) -> None:
    """Take what is due, send it through a bad network, and record what came of it, now or later."""
    record(world, process, most=2 if not world.is_quiet else None)
    hub, limit = process.hub, world.chance.choice((1, 4, 16))
    due = hub.deliveries.take_due(now=hub.clock.now_ms(), limit=limit, lease_s=LEASE_S)
    if due:
        prepared = list(prepare_attempts(hub, due))
        world.chance.shuffle(prepared)
        for one in prepared:
            world.reach("sender.send:before")
            process.came.append((one, transmit(world, one)))
            world.reach("sender.send:after")
    if world.chance.random() < 0.8:
        record(world, process)


def transmit(world: World, one: PreparedAttempt) -> Answer | NoAnswer:
    """Send a webhook: it may not arrive, arrive twice, or its answer may be lost."""
    luck = 1.0 if world.is_quiet else world.chance.random()
    if luck < 0.05:
        return NoAnswer(reason="connect", detail="", duration_ms=1)
    answer = world.partners.receive(one.request)
    if luck < 0.15:
        answer = world.partners.receive(one.request)
    if luck > 0.2:
        return answer
    return NoAnswer(reason="timeout", detail="", duration_ms=1)


def record(world: World, process: Process, *, most: int | None = None) -> None:
    """Record attempts in any order; a fifth of what was delivered goes out again, as after a lease that ended."""
    chance = world.chance
    chance.shuffle(process.came)
    batch, process.came = process.came[:most], process.came[len(process.came[:most]) :]
    if not batch:
        return
    try:
        with world.during("record"):
            record_attempts(process.hub, batch)
    except StoreUnavailableError:
        process.came += batch  # as the deliverer does: tried again
        raise
    delivered = [one for one, answer in batch if isinstance(answer, Answer)]
    again = [one for one in delivered if not world.is_quiet and chance.random() < 0.2]
    process.came.extend((one, transmit(world, one)) for one in again)
    world.tally.delivered += len(delivered)
    world.tally.sent_again += len(again)


def expire(_world: World, process: Process) -> None:
    """End the contracts whose term is over."""
    expire_contracts(process.hub)


def sweep(_world: World, process: Process) -> None:
    """Decline the contracts that are pending on a compromised key."""
    decline_compromised(process.hub)


def compromise(world: World, process: Process) -> None:
    """Have the operator report a key as compromised; each organization keeps one that is good."""
    one = world.chance.choice(list(house().organizations.values()))
    number = world.chance.randrange(1, CONTRACT_KEYS)
    name = f"{one.code} contract {number}"
    hub, key = process.hub, key_of(name).public
    if name in world.partners.compromised or world.chance.random() < 0.5:
        return
    operator = authenticate(hub, make_token(OPERATOR, OPERATOR, hub.now_s()))
    found = hub.directory.keys_of([one.organization_id], is_fresh=True)[one.organization_id][key.key_id]
    if found.status != "compromised":  # by a change whose answer nobody heard
        world.partners.compromised.add(name)
        change_key_status(
            hub, operator, OrganizationKind(one.role), one.organization_id, key.key_id, {"status": "compromised"}
        )
    world.partners.compromised.add(name)


def wait(world: World, _process: Process) -> None:
    """Let time pass, up to and beyond the end of a lease."""
    world.clock.advance(world.chance.choice((1, 3, LEASE_S + 1)))


def stop(world: World, process: Process) -> None:
    """Stop in good order: the last one out moves the WAL into the database."""
    world.stop(process.name)


# fmt: off
ACTIONS = {
    ("web",       ingest):        30,
    ("web",       compromise):     3,
    ("web",       wait):           4,
    ("web",       stop):           1,
    ("processor", take):          22,
    ("processor", process_taken): 16,
    ("processor", expire):         6,
    ("processor", sweep):          4,
    ("processor", stop):           1,
    ("deliverer", deliver):       24,
    ("deliverer", stop):           1,
}
# fmt: on
