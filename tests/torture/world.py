"""A hub and its partners in one thread: chance decides who does what next, and where it is interrupted.

The processes of a hub (web, processor, deliverer) each have a store of their own on one disk, and run the real use
cases on it. One of them acts at a time, but at any point between two calls of a port another may do its part, or the
same one in another thread. Everything derives from one seed: the clock stands until it is told, keys and ids are the
same in every run.

What goes wrong by itself is in ``actions``. What is put upon it: ``World.strikes`` and ``World.decides``.
"""

import hashlib
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moneta.adapters.embedded.store import FILE_NAME, EmbeddedStore
from moneta.application.deliver_webhooks import PreparedAttempt
from moneta.application.ports import Answer, Hub, NoAnswer, QueuedEvent
from moneta.domain.errors import StoreUnavailableError
from tests.hub import FakeClock
from tests.torture.disk import Disk, Fault, Operation
from tests.torture.house import assemble, house
from tests.torture.partners import Partners
from tests.torture.steps import watched
from tests.torture.witness import Witness

LEASE_S = 20
INTERLEAVED_SHARE = 0.06

Plant = Callable[["World", "Process", Hub], Hub]
Action = Callable[["World", "Process"], None]
Actions = Mapping[tuple[str, Action], int]
"""What each process does, with how often."""
Came = tuple[PreparedAttempt, Answer | NoAnswer]


class Found(AssertionError):  # noqa: N818  # it is what a torture looks for
    """Something was lost, or happened twice, or in the wrong order."""


class Interrupted(BaseException):  # nothing in the hub may catch it, whatever it catches
    """A process stops between two instructions; ``name`` is its, None for all of them."""

    def __init__(self, name: str | None = None, *, with_power: bool = False) -> None:
        super().__init__()
        self.name, self.with_power = name, with_power


def is_ours(error: Exception) -> bool:
    """Tell whether an error was raised by the torture itself."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return Path(frame.f_code.co_filename).parent == Path(__file__).parent


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
    doubled: int = 0
    out_of_order: int = 0
    failed_writes: int = 0
    failed_syncs: int = 0
    failed_others: int = 0
    crashes: int = 0
    points: int = 0
    blows: int = 0
    bugs: int = 0
    filled: int = 0
    refused: int = 0
    killed: int = 0
    notes: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count another run too."""
        for name, number in vars(other).items():
            setattr(self, name, getattr(self, name) + number)


class World:
    """One run. ``plant`` puts a bug into each process's hub; ``strikes`` is asked at every named point."""

    def __init__(self, folder: Path, seed: str, actions: Actions, *, plant: Plant | None = None) -> None:
        self.seed, self.actions, self.plant = seed, actions, plant
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
            raise Found(self.faults[0])

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
            self.undergo(self.act)

    def undergo(self, happens: Callable[[], None]) -> None:
        """Let something happen, and then what its interruption makes of the world."""
        try:
            happens()
        except Interrupted as blow:
            self.interrupt(blow)
        self.check()

    def act(self, by: str | None = None) -> None:
        """Let one thing happen, chosen by chance; ``by``: by that process."""
        self.clock.advance(self.chance.choice((0.001, 0.01, 0.05, 0.3)))
        weights = {one: weight for one, weight in self.actions.items() if by in {None, one[0]}}
        name, action = self.chance.choices(list(weights), list(weights.values()))[0]
        if name not in self.acting or action is not stop:
            self.perform(name, action)

    def perform(self, name: str, action: Action) -> None:
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
        except Exception as error:
            if is_ours(error):  # the torture's own mistake: taken for the hub's, it would be a planted bug's finding
                raise
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


def stop(world: World, process: Process) -> None:
    """Stop in good order: the last one out moves the WAL into the database."""
    world.stop(process.name)
