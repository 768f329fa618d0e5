"""The parts of a torture: power cuts, faults of the disk, named points, planted bugs, killed processes.

Each gives its progress as it goes, and raises ``Found`` with the seed of the run when something is wrong. Each run is
a world of its own, made from its seed alone, so that the seed plays it again.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from tests.torture.bugs import BUGS, NORMAL
from tests.torture.checks import check_end
from tests.torture.disk import Fault, Operation
from tests.torture.storm import CUTS, EVERYTHING, Arm, blow_of, storm, world_of
from tests.torture.world import Found, Plant, Tally, World

BLOWS = 15
SCENARIO_ACTIONS = 25
POINT_KINDS = ("power", "kill", "process")
POINT_ACTIONS_MAX = 300
BUG_RUNS_MAX = 40
FAULTS_OF: Mapping[str, tuple[Fault, ...]] = {"write": tuple(Fault), "sync": (Fault.IO,)}

Progress = Callable[[str], None]
Deadline = Callable[[], bool]


def cuts(seed: str, tally: Tally, progress: Progress, *, least: int, is_over: Deadline) -> None:
    """Cut the power until it was cut so often, each time followed by what a failing disk and a kill leave to it."""
    number = 0
    while tally.power_cuts < least and not is_over():
        with world_of(f"{seed}/cuts/{number}") as world:
            storm(world, kinds_of(number), count=BLOWS)
            tally.add(world.tally)
        number += 1
        progress(f"{tally.power_cuts} power cuts, {tally.kills} kills, {tally.accepted} events acknowledged")


def kinds_of(number: int) -> Mapping[tuple[Arm, ...], int]:
    """Return what is put upon a world of ``cuts``: every other one meets power cuts above all."""
    return EVERYTHING if number % 2 else CUTS


def scenario_operations(seed: str) -> list[Operation]:
    """Return what the scenario of ``faults`` does to the disk when nothing fails."""
    with world_of(f"{seed}/faults") as world:
        world.live(SCENARIO_ACTIONS)
        return world.disk.operations.copy()


def faults(seed: str, tally: Tally, progress: Progress, *, stride: int, is_over: Deadline) -> Counter[str]:
    """Fail every write and every sync of a scenario in turn, each in every way that it can fail; return how many."""
    done: Counter[str] = Counter()
    for operation in scenario_operations(seed)[::stride]:
        for fault in FAULTS_OF.get(operation.kind, ()):
            if is_over():
                return done
            with world_of(f"{seed}/faults") as world:
                fail_at(world, operation.number, fault)
                tally.add(world.tally)
            done[operation.kind] += 1
        progress(f"{done['write']} failed writes, {done['sync']} failed syncs")
    return done


def fail_at(world: World, number: int, fault: Fault) -> None:
    """Play the scenario with one operation that fails, then cut the power, and look."""
    world.may_fail = True
    world.decides = lambda operation: fault if operation.number == number else None
    world.live(SCENARIO_ACTIONS)
    if len(world.disk.operations) < number:
        raise Found(f"operation {number} was never reached; seed {world.seed}")
    world.interrupt(blow_of(world, "power"))
    check_end(world)


def all_points(seed: str) -> list[str]:
    """Return the name of every point between two calls of ports that some runs reach, but in looking and managing."""
    found: set[str] = set()
    for number in range(4):
        with world_of(f"{seed}/points/{number}") as world:
            storm(world, EVERYTHING, count=BLOWS)
            found |= world.points.keys()
    return sorted(found)


def points(seed: str, tally: Tally, progress: Progress, *, stride: int, is_over: Deadline) -> Counter[str]:
    """Let the power go, all processes die, and the one that acts die, at every named point; return how often each."""
    struck: Counter[str] = Counter()
    for number, name in enumerate(all_points(seed)[::stride]):
        if is_over():
            break
        with world_of(f"{seed}/point/{name}") as world:
            for kind in POINT_KINDS if stride == 1 else (POINT_KINDS[number % len(POINT_KINDS)],):
                struck[name] += strike_at(world, name, kind)
            check_end(world)
            tally.add(world.tally)
        progress(f"{len(struck)} named points, {sum(struck.values())} blows")
    return struck


def strike_at(world: World, name: str, kind: str) -> bool:
    """Let a blow fall the next time that a point is reached; tell whether it was."""
    is_struck = False

    def strikes(reached: str) -> None:
        nonlocal is_struck
        if reached == name and world.acting:
            is_struck = True
            world.strike_none()
            raise blow_of(world, kind)

    world.strikes = strikes
    for _ in range(POINT_ACTIONS_MAX):
        if is_struck:
            break
        world.live(1)
    world.strike_none()
    return is_struck


def find_bug(seed: str, plant: Plant, *, first: int = 0) -> str | None:
    """Return what the torture says of a planted bug; None if it does not find it. ``first``: the run to begin with."""
    for number in range(first, first + BUG_RUNS_MAX):
        with world_of(f"{seed}/bug/{number}", plant) as world:
            try:
                storm(world, EVERYTHING, count=BLOWS)
            except Found as found:
                return str(found)
    return None


def bugs(seed: str, progress: Progress) -> Iterator[tuple[str, str | None]]:
    """Plant each bug in turn, and NORMAL, and give what was found of it."""
    for name, plant in {**BUGS, "the store is set to NORMAL": NORMAL}.items():
        found = find_bug(seed, plant)
        progress(f"{name}: {found or 'NOT FOUND'}")
        yield name, found


def deadline(minutes: float) -> Deadline:
    """Return what tells whether so many minutes are over."""
    end = time.monotonic() + minutes * 60
    return lambda: time.monotonic() >= end


def some_seed() -> str:
    """Return a seed that nobody chose."""
    return str(random.SystemRandom().randrange(10**6))
