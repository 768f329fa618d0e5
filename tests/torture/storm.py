"""What is put upon a world: power cuts, kills and faults of the disk, each at a moment that chance chooses.

A storm goes on for so many blows, each of which strikes at an operation on the disk or at a named point. After each,
all that was acknowledged is looked for; at the end the hub is left in peace, comes to rest, and is looked at whole.
"""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from moneta.adapters.embedded import database
from tests.torture.actions import ACTIONS
from tests.torture.checks import check_end
from tests.torture.disk import Fault, Operation
from tests.torture.world import Interrupted, Plant, World

MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  # a temporary folder within it is made for each run
CHECKPOINT_PAGES = 60
"""So few that a run of seconds goes through many checkpoints."""
OPERATIONS_MAX = 300
POINTS_MAX = 120
STEP = 3
STEPS_MAX = 60

Arm = Callable[[World, random.Random], None]


@contextmanager
def world_of(seed: str, plant: Plant | None = None) -> Iterator[World]:
    """Give a world on a disk of its own, in memory where the system has a folder for that."""
    where = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None
    pages, database.CHECKPOINT_PAGES = database.CHECKPOINT_PAGES, CHECKPOINT_PAGES
    with tempfile.TemporaryDirectory(dir=where) as folder:
        world = World(Path(folder) / "disk", seed, ACTIONS, plant=plant)
        world.disk.insert()
        try:
            yield world
        finally:
            world.strike_none()
            for name in world.processes:
                world.stop(name)
            world.disk.remove()
            database.CHECKPOINT_PAGES = pages


def blow_of(world: World, kind: str) -> Interrupted:
    """Return what happens to whoever acts."""
    if kind == "process":
        return Interrupted(world.acting[-1])
    return Interrupted(with_power=kind == "power")


def at_operation(kind: str, *, only: str | None = None, most: int = OPERATIONS_MAX) -> Arm:
    """Return what lets a blow fall before some operation on the disk."""

    def arm(world: World, chance: random.Random) -> None:
        number = len(world.disk.operations) + chance.randint(1, most)

        def decides(operation: Operation) -> None:
            if operation.number >= number and world.acting and only in {None, operation.kind}:
                world.strike_none()
                raise blow_of(world, kind)

        world.decides = decides

    return arm


def at_point(kind: str) -> Arm:
    """Return what lets a blow fall between two calls of ports."""

    def arm(world: World, chance: random.Random) -> None:
        left = chance.randint(1, POINTS_MAX)

        def strikes(_name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                world.strike_none()
                raise blow_of(world, kind)

        world.strikes = strikes

    return arm


def fault(kind: str, what: Fault) -> Arm:
    """Return what lets an operation of a kind fail."""

    def arm(world: World, chance: random.Random) -> None:
        world.may_fail = True
        number = len(world.disk.operations) + chance.randint(1, OPERATIONS_MAX)

        def decides(operation: Operation) -> Fault | None:
            if operation.number >= number and operation.kind == kind:
                world.strike_none()
                return what
            return None

        world.decides = decides

    return arm


POWER_SOON = at_operation("power", most=40)
# fmt: off
CUTS: Mapping[tuple[Arm, ...], int] = {
    (at_operation("power"),):                             6,
    (at_point("power"),):                                 2,
    # What a killed process did not sync, and what a failed sync lost, shows only when the power goes.
    (at_operation("kill", only="sync"), POWER_SOON):      2,
    (fault("sync", Fault.IO), POWER_SOON):                2,
}
EVERYTHING: Mapping[tuple[Arm, ...], int] = {
    **CUTS,
    (at_operation("kill"),):                              2,
    (at_operation("process"),):                           2,
    (at_point("kill"),):                                  1,
    (at_point("process"),):                               2,
    (fault("write", Fault.IO),):                          1,
    (fault("write", Fault.SHORT), POWER_SOON):            1,
}
# fmt: on


def storm(world: World, blows: Mapping[tuple[Arm, ...], int], *, count: int) -> None:
    """Let so many blows fall, and then look at the whole.

    Raises:
        Found: Something was lost, or happened twice, or in the wrong order.
    """
    chance = random.Random(f"{world.seed} storm")  # noqa: S311  # the same in every run
    for _ in range(count):
        for arm in chance.choices(list(blows), list(blows.values()))[0]:
            arm(world, chance)
            live_until_struck(world)
    check_end(world)


def live_until_struck(world: World) -> None:
    """Let things happen until the blow that was armed has fallen, and for a while longer."""
    for _ in range(STEPS_MAX):
        if not world.is_armed():
            break
        world.live(STEP)
    world.strike_none()
