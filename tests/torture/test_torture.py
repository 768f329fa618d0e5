"""The torture's short form: some of everything, and every planted bug. ``make torture`` is the long one."""

import os
import subprocess
import sys

import pytest

from tests.torture import sections
from tests.torture.bugs import BUGS, NORMAL
from tests.torture.storm import EVERYTHING, storm, world_of
from tests.torture.world import Tally

SEED = "ci"
PLANTED = {**BUGS, "the store is set to NORMAL": NORMAL}
FIRST = {
    # the run that finds it is a late one: the short form begins near it
    "a conflict is written over": 9,
    "an answer is accepted after its attempt": 4,
    "a sweep is remembered before it is done": 7,
    "a failed sync is ignored": 13,
}
DIGEST = "import sys; from tests.torture.test_torture import digest; sys.stdout.write(digest())"


def never():
    return False


def silent(_):
    pass


def test_power_cuts_kills_and_a_failing_disk_lose_nothing_and_double_nothing():
    tally = Tally()
    sections.cuts(SEED, tally, silent, least=60, is_over=never)
    assert tally.power_cuts >= 60
    assert min(tally.accepted, tally.replayed, tally.sent_again, tally.answers_lost, tally.finalized) > 20


def test_an_error_at_a_write_or_a_sync_loses_nothing():
    done = sections.faults(SEED, Tally(), silent, stride=40, is_over=never)
    assert min(done["write"], done["sync"]) > 0


def test_a_crash_between_any_two_steps_loses_nothing():
    struck = sections.points(SEED, Tally(), silent, stride=13, is_over=never)
    assert sum(struck.values()) >= len(struck) - 1


def test_there_are_more_than_forty_named_points():
    assert len(sections.all_points(SEED)) > 80


@pytest.mark.parametrize("name", PLANTED)
def test_the_torture_finds(name):
    assert sections.find_bug(SEED, PLANTED[name], first=FIRST.get(name, 0)) is not None


def digest():
    with world_of(f"{SEED}/replayed") as world:
        storm(world, EVERYTHING, count=4)
        return world.digest.hexdigest()


def test_a_seed_plays_the_same_again_in_another_process():
    environment = {**os.environ, "PYTHONHASHSEED": "17"}
    again = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, env=environment)
    assert again.stdout == digest()
