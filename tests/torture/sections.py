"""The parts of a torture that are played in worlds: each is a list of trials, and a trial is known by its name alone.

A name is ``seed/part/...``: ``play`` makes the trial's worlds from it, in whichever process, the same every time. It
returns what was done, and raises ``Found`` when something was lost, or happened twice, or in the wrong order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import count, islice

from tests.torture.actions import expire, give_back, sweep
from tests.torture.bugs import BUGS, NORMAL
from tests.torture.checks import check_end
from tests.torture.disk import Fault, Operation
from tests.torture.operating import bury, compromise, forget, issue, probe, redrive_all, replay
from tests.torture.storm import CUTS, EVERYTHING, Arm, blow_of, storm, world_of
from tests.torture.world import Found, Plant, Tally, World, stop

BLOWS = 15
BLOW_KINDS = ("process", "kill", "power")
"""In this order: what a killed process did not sync, a power cut may take."""
# fmt: off
SCENARIO = (
    # what is rare enough to be missed, each after a few actions of chance
    ("web",       compromise),
    ("web",       issue),
    ("processor", sweep),
    ("processor", give_back),
    ("processor", bury),
    ("web",       redrive_all),
    ("web",       probe),
    ("web",       replay),
    ("deliverer", stop),
    ("processor", stop),
    ("processor", expire),
    ("web",       stop),
    ("processor", forget),
)
# fmt: on
SCENARIO_PAUSE = 2
SCENARIOS_MAX = 200
POINT_ACTIONS_MAX = 300
POINT_WORLDS_MAX = 10
POINT_STORMS = 6
POINTS_MIN = 40
BUG_WORLDS_MAX = 200
PLANTED: Mapping[str, Plant] = {**BUGS, "the store is set to NORMAL": NORMAL}
FAULTS_OF: Mapping[str, tuple[Fault, ...]] = {
    "write": tuple(Fault),
    "sync": (Fault.IO,),
    "truncate": (Fault.IO,),
    "delete": (Fault.IO,),
}
FAILED = {"write": "failed_writes", "sync": "failed_syncs"}
WRITES = frozenset(
    {
        "contracts.commit",
        "deliveries.owe",
        "deliveries.owe_again",
        "deliveries.record",
        "directory.apply",
        "directory.mark_swept",
        "directory.remember",
        "directory.take_status_positions",
        "events.accept",
        "queue.bury",
        "queue.redrive",
        "queue.release",
        "retention.forget",
    }
)
"""Every call of a port that writes: the scenario of ``faults`` and ``crashes`` makes each of them."""


def play(name: str) -> Tally:
    """Play one trial."""
    seed, part, rest = name.split("/", 2)
    return PARTS[part](seed, rest)


# Power cuts.


def cuts(seed: str) -> Iterator[str]:
    """Give trials without end: in each the power goes many times, and what a failing disk and a kill leave goes too."""
    return (f"{seed}/cuts/{number}" for number in count())


def play_cuts(seed: str, rest: str) -> Tally:
    """Every other world meets power cuts above all."""
    return stormed(f"{seed}/cuts/{rest}", EVERYTHING if int(rest) % 2 else CUTS)


def stormed(seed: str, blows: Mapping[tuple[Arm, ...], int], plant: Plant | None = None) -> Tally:
    """Play one world with all that is put upon it."""
    with world_of(seed, plant) as world:
        storm(world, blows, count=BLOWS)
        return world.tally


# A fault of every operation, and a crash before each.


def faults(seed: str, *, scenarios: int, stride: int) -> Sequence[str]:
    """Return the trials that fail every operation of the scenarios on the disk, each in every way that it can fail."""
    return [
        f"{seed}/faults/{scenario}/{fault}/{operation.number}"
        for scenario, operation in operations_of(seed, scenarios)[::stride]
        for fault in FAULTS_OF[operation.kind]
    ]


def crashes(seed: str, *, scenarios: int, stride: int) -> Sequence[str]:
    """Return the trials that crash before every operation of the scenarios: one process, all of them, the machine."""
    return [
        f"{seed}/crashes/{scenario}/{kind}/{operation.number}"
        for scenario, operation in operations_of(seed, scenarios)[::stride]
        for kind in BLOW_KINDS
    ]


@cache
def operations_of(seed: str, scenarios: int) -> Sequence[tuple[int, Operation]]:
    """Return what the first scenarios that make every kind of write do to the disk when nothing fails."""
    found = islice(whole_scenarios(seed), scenarios)
    return [(number, operation) for number, operations in found for operation in operations]


def whole_scenarios(seed: str) -> Iterator[tuple[int, Sequence[Operation]]]:
    """Give the scenarios that make every kind of write."""
    for number in range(SCENARIOS_MAX):
        with world_of(f"{seed}/scenario/{number}") as world:
            act_out(world)
            if {point.split()[-1].partition(":")[0] for point in world.points} >= WRITES:
                yield number, world.disk.operations.copy()
    raise Found(f"too few of {SCENARIOS_MAX} scenarios make every kind of write")


def act_out(world: World) -> None:
    """Play the scenario."""
    for name, action in SCENARIO:
        world.live(SCENARIO_PAUSE)
        world.undergo(partial(world.perform, name, action))


def play_faults(seed: str, rest: str) -> Tally:
    """Let one operation fail, then cut the power, and look."""
    scenario, fault, number = rest.split("/")
    with world_of(f"{seed}/scenario/{scenario}") as world:
        world.may_fail = True
        kind = live_to(world, int(number), lambda: Fault(fault))
        setattr(world.tally, FAILED.get(kind, "failed_others"), 1)
        return world.tally


def play_crashes(seed: str, rest: str) -> Tally:
    """Let the blow fall before one operation, then cut the power, and look."""
    scenario, kind, number = rest.split("/")
    with world_of(f"{seed}/scenario/{scenario}") as world:

        def strike() -> None:
            world.strike_none()
            raise blow_of(world, kind)

        live_to(world, int(number), strike)
        world.tally.crashes = 1
        return world.tally


def live_to(world: World, number: int, meets: Callable[[], Fault | None]) -> str:
    """Play the scenario; return what kind the operation of that number was, which ``meets`` something."""
    kind = ""

    def decides(operation: Operation) -> Fault | None:
        nonlocal kind
        if operation.number != number:
            return None
        kind = operation.kind
        return meets()

    world.decides = decides
    act_out(world)
    if not kind:
        raise Found(f"operation {number} was never reached")
    world.interrupt(blow_of(world, "power"))
    check_end(world)
    return kind


# A crash at every named point.


def points(seed: str, stride: int) -> Sequence[str]:
    """Return a trial for every point between two calls of ports that some worlds reach, but in looking and managing."""
    found: set[str] = set()
    for number in range(POINT_STORMS):
        with world_of(f"{seed}/reached/{number}") as world:
            storm(world, EVERYTHING, count=BLOWS)
            found |= world.points.keys()
    if len(found) < POINTS_MIN:
        raise Found(f"only {len(found)} named points are reached")
    return [f"{seed}/points/{name}" for name in sorted(found)[::stride]]


def play_points(seed: str, rest: str) -> Tally:
    """Let the one that acts die at the point, then all processes, then the power go; in worlds that come there."""
    tally, left = Tally(points=1), list(BLOW_KINDS)
    for number in range(POINT_WORLDS_MAX):
        with world_of(f"{seed}/points/{rest}/{number}") as world:
            while left and strike_at(world, rest, left[0]):
                left.pop(0)
            check_end(world)
            tally.add(world.tally)
        if not left:
            tally.blows = len(BLOW_KINDS)
            return tally
    raise Found(f"the point is not reached in {POINT_WORLDS_MAX} worlds")


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


# Planted bugs.


def bugs(seed: str, first: Mapping[str, int] | None = None) -> Sequence[str]:
    """Return a trial for each planted bug, and for NORMAL. ``first``: the world to begin with, for who knows it."""
    return [f"{seed}/bugs/{(first or {}).get(name, 0)}/{name}" for name in PLANTED]


def play_bugs(seed: str, rest: str) -> Tally:
    """Plant the bug in one world after another until it is found. The same world without it must pass."""
    first, name = rest.split("/", 1)
    for number in range(int(first), int(first) + BUG_WORLDS_MAX):
        world_seed = f"{seed}/planted/{number}"
        try:
            stormed(world_seed, EVERYTHING, PLANTED[name])
        except Found as found:
            stormed(world_seed, EVERYTHING)
            return Tally(bugs=1, notes=[f"planted, and found in world {number}: {name}: {found}"])
    raise Found(f"{name}: planted, and NOT FOUND in {BUG_WORLDS_MAX} worlds")


PARTS: Mapping[str, Callable[[str, str], Tally]] = {
    "cuts": play_cuts,
    "faults": play_faults,
    "crashes": play_crashes,
    "points": play_points,
    "bugs": play_bugs,
}
