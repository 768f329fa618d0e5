"""How the worker's processes show that they are getting on, and how they are woken and stopped."""

import os
import signal
import time
from itertools import count

import pytest

from moneta.entrypoints.heartbeats import DELIVERER, PROCESSOR, Heartbeat, HeartbeatFile
from moneta.entrypoints.pipes import Pipes, WakeFile, waker
from moneta.entrypoints.telemetry.figures import Figures
from moneta.entrypoints.telemetry.metrics import Source
from moneta.entrypoints.telemetry.snapshots import SnapshotFile
from moneta.entrypoints.worker.beats import Beats

LONG_S = 20.0


@pytest.fixture
def pipes():
    lifeline, lifeline_end = os.pipe()
    wake, wake_end = os.pipe()
    yield Pipes(lifeline=lifeline, wake=wake), lifeline_end, wake_end
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for descriptor in (lifeline, wake, wake_end):
        os.close(descriptor)


def slept_s(pipes, seconds=LONG_S):
    before = time.monotonic()
    pipes.wait(seconds)
    return time.monotonic() - before


def test_what_is_written_is_read(tmp_path):
    beat = Heartbeat(at_ms=1_800_000_000_000, lag_ms=12, depth=3, turn_ms=4)
    HeartbeatFile(tmp_path, PROCESSOR).write(Heartbeat(at_ms=1, lag_ms=10**9))
    HeartbeatFile(tmp_path, PROCESSOR).write(beat)
    assert HeartbeatFile(tmp_path, PROCESSOR).read() == beat
    assert HeartbeatFile(tmp_path, DELIVERER).read() is None


def test_a_file_that_is_no_heartbeat_is_none(tmp_path):
    (tmp_path / "processor.alive").write_bytes(b"{")
    assert HeartbeatFile(tmp_path, PROCESSOR).read() is None


def test_a_disk_that_can_t_be_written_stops_nothing(tmp_path):
    HeartbeatFile(tmp_path / "none", PROCESSOR).write(Heartbeat(at_ms=1))
    assert HeartbeatFile(tmp_path / "none", PROCESSOR).read() is None


def test_it_beats_until_it_is_stopped(tmp_path):
    file, moments = HeartbeatFile(tmp_path, PROCESSOR), count()
    beats = Beats(tmp_path, Figures(Source.PROCESSOR), lambda: Heartbeat(at_ms=next(moments)))
    beats.start()
    deadline = time.monotonic() + LONG_S
    while file.read().at_ms < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    beats.stop()
    assert file.read().at_ms == next(moments) - 1
    assert SnapshotFile(tmp_path, Source.PROCESSOR).read()


def test_a_byte_wakes_once(pipes):
    sleeping, _, wake_end = pipes
    waker(wake_end)()
    assert slept_s(sleeping) < LONG_S / 2
    assert slept_s(sleeping, 0.05) >= 0.04


def test_a_full_pipe_does_not_hold_up_who_wakes(pipes):
    sleeping, _, wake_end = pipes
    wake = waker(wake_end)
    for _ in range(70_000):
        wake()
    assert slept_s(sleeping) < LONG_S / 2


def test_the_end_of_the_lifeline_stops(pipes):
    sleeping, lifeline_end, _ = pipes
    stopped = []
    sleeping.on_stop(lambda: stopped.append("stopped"))
    os.close(lifeline_end)
    assert slept_s(sleeping) < LONG_S / 2
    assert stopped == ["stopped"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops(pipes, number):
    sleeping, lifeline_end, _ = pipes
    stopped = []
    sleeping.on_stop(lambda: stopped.append("stopped"))
    os.kill(os.getpid(), number)
    assert slept_s(sleeping) < LONG_S / 2
    assert stopped == ["stopped"]
    os.close(lifeline_end)


def test_who_is_asked_to_look_is_asked_once_for_each_asking(tmp_path):
    file = WakeFile(tmp_path, PROCESSOR)
    assert not file.take()
    file.leave()
    file.leave()
    assert (file.take(), file.take()) == (True, False)


def test_a_disk_that_takes_no_wake_file_stops_nobody(tmp_path):
    WakeFile(tmp_path / "none", PROCESSOR).leave()
    assert not WakeFile(tmp_path / "none", PROCESSOR).take()


def test_a_process_that_is_asked_to_look_ends_its_sleep(tmp_path, pipes):
    sleeping, _, _ = pipes
    beats = Beats(tmp_path, Figures(Source.PROCESSOR), lambda: Heartbeat(at_ms=1), on_asked=sleeping.wake)
    beats.start()
    WakeFile(tmp_path, PROCESSOR).leave()
    assert slept_s(sleeping) < LONG_S / 2
    beats.stop()
    assert slept_s(sleeping, 0.05) >= 0.04
