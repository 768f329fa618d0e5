"""``GET /ready``: each check holds, or says what was found and what to do; however many ask, the store is spared."""

import fcntl
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from moneta.domain.errors import StoreUnavailableError
from moneta.entrypoints.heartbeats import DELIVERER, PROCESSOR, Heartbeat, HeartbeatFile
from moneta.entrypoints.http.readiness import CHECKS, Readiness, Surroundings
from tests.http.api_server import serving, show_signs_of_life
from tests.hub import MO, PUBLISHER, make_hub


class Counted:
    """The events port; it counts how often the store is written to, and raises ``error`` if there is one."""

    def __init__(self, port, error=None):
        self.port, self.error, self.count = port, error, 0

    def accept(self, events):
        self.count += 1
        if self.error is not None:
            raise self.error
        return self.port.accept(events)


@pytest.fixture
def test_hub(tmp_path):
    test_hub = make_hub(tmp_path)
    show_signs_of_life(tmp_path, test_hub)
    yield test_hub
    test_hub.close()


def faults(hub, folder):
    found = Readiness(Surroundings(hub=hub, data_dir=folder), CHECKS).findings()
    return {one.check.name: one.fault for one in found if one.fault is not None}


def test_all_is_well(test_hub, tmp_path):
    assert faults(test_hub.hub, tmp_path) == {}


def test_a_store_that_can_t_be_written_is_not_ready(test_hub, tmp_path):
    hub = replace(test_hub.hub, events=Counted(None, StoreUnavailableError("the disk is full")))
    assert faults(hub, tmp_path) == {"store_writable": "the disk is full"}


def test_a_check_that_meets_a_bug_does_not_hold_and_tells_nobody_s_data(test_hub, tmp_path):
    hub = replace(test_hub.hub, events=Counted(None, ZeroDivisionError("somebody's data")))
    assert faults(hub, tmp_path) == {"store_writable": "it could not be checked: ZeroDivisionError"}


def test_a_disk_without_room_is_not_ready(test_hub):
    found = faults(test_hub.hub, Path("/proc"))  # a file system with nothing free
    assert found["disk_space"] == "0 bytes are free, fewer than 67,108,864"


def test_a_clock_behind_what_is_recorded_is_not_ready(test_hub, tmp_path):
    mo, publisher = test_hub.register(MO, "MOA"), test_hub.register(PUBLISHER, "PUBA")
    test_hub.submit(mo, test_hub.body(mo, publisher, test_hub.issue_mpass(mo)))
    test_hub.clock.advance(-301)
    assert faults(test_hub.hub, tmp_path) == {"clock": "it is 301 s behind what the hub has recorded"}


@pytest.mark.parametrize("name", [PROCESSOR, DELIVERER])
def test_a_process_without_signs_of_life_is_not_ready(test_hub, tmp_path, name):
    (tmp_path / f"{name}.alive").unlink()
    assert faults(test_hub.hub, tmp_path) == {f"{name}_alive": "it has shown no sign of life for 10 s"}


@pytest.mark.parametrize("name", [PROCESSOR, DELIVERER])
def test_a_process_whose_last_sign_of_life_is_old_is_not_ready(test_hub, tmp_path, name):
    HeartbeatFile(tmp_path, name).write(Heartbeat(at_ms=test_hub.clock.now_ms() - 10_000))
    assert list(faults(test_hub.hub, tmp_path)) == [f"{name}_alive"]


@pytest.mark.parametrize("name", [PROCESSOR, DELIVERER])
def test_a_process_that_is_stuck_in_one_turn_is_not_ready(test_hub, tmp_path, name):
    HeartbeatFile(tmp_path, name).write(Heartbeat(at_ms=test_hub.clock.now_ms(), turn_ms=31_000))
    assert faults(test_hub.hub, tmp_path) == {f"{name}_moving": "it has been at one turn for 31 s, longer than 30"}


def test_events_that_wait_too_long_for_their_first_try_are_not_ready(test_hub, tmp_path):
    HeartbeatFile(tmp_path, PROCESSOR).write(Heartbeat(at_ms=test_hub.clock.now_ms(), lag_ms=61_000))
    found = faults(test_hub.hub, tmp_path)
    assert found == {"processor_in_time": "an event waited 61 s for its first try, longer than 60"}


def test_deliveries_that_a_slow_endpoint_holds_up_leave_the_hub_ready(test_hub, tmp_path):
    HeartbeatFile(tmp_path, DELIVERER).write(Heartbeat(at_ms=test_hub.clock.now_ms(), lag_ms=10**9))
    assert faults(test_hub.hub, tmp_path) == {}


def test_a_thousand_that_ask_at_once_cost_the_store_one_write(test_hub, tmp_path):
    counted = Counted(test_hub.hub.events)
    readiness = Readiness(Surroundings(hub=replace(test_hub.hub, events=counted), data_dir=tmp_path), CHECKS)
    readiness.findings()
    asked = 0
    while readiness.fresh() is not None and asked < 1_000:
        readiness.findings()
        asked += 1
    assert counted.count <= 2  # the last one may have found the first findings no longer fresh


def test_a_store_that_hangs_is_told_and_nobody_waits_for_it_twice(test_hub, tmp_path):
    readiness = Readiness(Surroundings(hub=test_hub.hub, data_dir=tmp_path), CHECKS)
    with (tmp_path / "moneta.db-writer.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = readiness.findings()
        probe = readiness._probe
        readiness._recent._last = None  # as if that was long ago
        again = readiness.findings()
        assert readiness._probe is probe
    assert [one.check.name for one in first] == ["store_writable"]
    assert first[0].fault.startswith("it has not answered for")
    assert again[0].fault is not None
    assert probe._ended.wait(20)
    readiness._recent._last = None
    assert [one.fault for one in readiness.findings()] == [None] * len(CHECKS)


def test_the_answer_names_each_check_and_what_to_do(tmp_path):
    with serving(tmp_path) as served:
        ready = served.client.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert [check["name"] for check in ready.json()["checks"]] == [check.name for check in CHECKS]
        assert all(
            check == {"name": check["name"], "holds": True, "fault": None, "remedy": None}
            for check in ready.json()["checks"]
        )
    (tmp_path / "other").mkdir()
    with serving(tmp_path / "other") as served:
        (tmp_path / "other" / "deliverer.alive").unlink()
        answer = served.client.get("/ready")
    assert isinstance(answer, httpx.Response)
    [failed] = [check for check in answer.json()["checks"] if not check["holds"]]
    assert (answer.status_code, answer.json()["status"], failed["name"]) == (503, "not_ready", "deliverer_alive")
    assert "process_died" in failed["remedy"]
