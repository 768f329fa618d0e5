"""That the torture is one: it makes every kind of write, finds what is planted, and plays the same again.

``python -m tests.torture --short`` is what CI tortures with; here a few trials of each of its parts are played.
"""

import inspect
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import pytest

from moneta.adapters.embedded.store import EmbeddedStore
from tests.torture import sections
from tests.torture.__main__ import SHORT, SHORT_SEED
from tests.torture.course import played
from tests.torture.storm import world_of

TRIALS = [
    *(f"{SHORT_SEED}/cuts/{number}" for number in range(4)),
    *sections.faults(SHORT_SEED, scenarios=1, stride=150),
    *sections.crashes(SHORT_SEED, scenarios=1, stride=150),
]
AGAIN = """
import sys
from tests.torture.sections import play
for name in sys.argv[1:]:
    print(play(name).digests)
"""


@pytest.mark.parametrize("name", TRIALS)
def test_nothing_is_lost_and_nothing_happens_twice(name):
    assert sections.play(name).digests


@pytest.mark.parametrize("name", sections.bugs(SHORT_SEED, SHORT.first))
def test_what_is_planted_is_found(name):
    assert sections.play(name).bugs == 1


def test_a_crash_between_two_steps_loses_nothing():
    names = sections.points(SHORT_SEED, 1)
    assert len(names) > 80
    assert sections.play(f"{SHORT_SEED}/points/process contracts.commit:after").blows == len(sections.BLOW_KINDS)


def test_a_scenario_makes_every_kind_of_write_that_the_store_knows():
    ports = {field.name: field.type for field in fields(EmbeddedStore)}
    writes = {
        f"{name}.{method}"
        for name in ports.keys() - {"clock", "database"}
        for method, function in inspect.getmembers(
            inspect.get_annotations(EmbeddedStore, eval_str=True)[name], callable
        )
        if not method.startswith("_") and re.search(r"_database\.write(_unsynced)?\(", inspect.getsource(function))
    }
    assert writes == sections.WRITES


def test_worlds_play_the_same_again_in_another_process_and_order():
    names = TRIALS[1:4]
    command, environment = [sys.executable, "-c", AGAIN, *reversed(names)], {**os.environ, "PYTHONHASHSEED": "17"}
    again = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert again.stdout.splitlines() == [str(sections.play(name).digests) for name in reversed(names)]


def test_a_trial_that_fails_tells_how_to_play_it_again():
    name = f"{SHORT_SEED}/faults/0/EIO/999999"  # which no scenario comes to
    with ThreadPoolExecutor(1) as pool:
        (tally,) = played(pool, [name])
    assert f"--world {name}" in tally.found[0]


def test_a_mistake_of_the_tortures_own_is_not_taken_for_the_hubs():
    def plant(_world, _process, hub):
        def take(**_options):
            raise TypeError("a planted bug that no longer fits the port")

        return replace(hub, queue=type("Port", (), {"take": staticmethod(take), "reclaim": hub.queue.reclaim})())

    with world_of(f"{SHORT_SEED}/mistake", plant) as world, pytest.raises(TypeError):
        world.live(100)
