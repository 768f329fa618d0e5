"""What was acknowledged is there, whatever becomes of the process, the disk or the power."""

import os
import random
import select
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import apsw
import pytest

from moneta.adapters.embedded import database
from moneta.adapters.embedded.database import FULL, row, rows
from moneta.adapters.embedded.store import FILE_NAME, EmbeddedStore
from moneta.application.ports import DeliveryStatus, EventStatus, Taken
from moneta.domain.errors import StoreUnavailableError
from tests.conformance.builders import (
    HUB,
    MO,
    NOW,
    PUBLISHER,
    StillClock,
    change,
    delivered,
    finalized,
    new_event,
    organization,
    owed_delivery,
    registered_key,
    submitted,
)
from tests.torture.disk import Disk, Fault, Operation

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blank")
    EmbeddedStore.create(folder, base_url=HUB, clock=StillClock()).close()
    return folder


@contextmanager
def store_on(disk, blank):
    """Give a copy of the blank store whose file is on ``disk``."""
    disk.put(FILE_NAME, (blank / FILE_NAME).read_bytes())
    disk.insert()
    store = EmbeddedStore.open(disk.folder, clock=StillClock())
    try:
        yield store
    finally:
        disk.is_full = False
        store.close()
        disk.remove()


def fails(disk, kind=None, *, number=None, fault=Fault.IO):
    """Make the next operation of a kind fail, or the one of that number."""
    left = [fault]
    disk.decide = lambda it: left.pop() if left and (it.kind == kind or it.number == number) else None


@contextmanager
def opened(folder):
    store = EmbeddedStore.open(folder, clock=StillClock())
    try:
        yield store
    finally:
        store.close()


def check_whole(store):
    """Return if SQLite finds nothing wrong with the file."""
    with store.database.read() as connection:
        assert rows(connection, "PRAGMA integrity_check") == [("ok",)]
        assert rows(connection, "PRAGMA foreign_key_check") == []


# Killed processes.


class Writer:
    """A process of ``store_writer``, and what it said that it had written."""

    def __init__(self, launcher, pipe: Path) -> None:
        os.mkfifo(pipe)
        launcher.stdin.write(f"{pipe}\n")
        launcher.stdin.flush()
        self.name = pipe.name
        descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        assert select.select([descriptor], [], [], 60)[0], "the writer does not start"
        os.set_blocking(descriptor, True)  # the signature is the library's
        self.pipe = os.fdopen(descriptor, encoding="ascii")
        self.process_id = int(self.pipe.readline())
        self.acknowledged: list[str] = []

    def follow(self, lines: int) -> None:
        """Read so many lines."""
        self.acknowledged += [self.pipe.readline().strip() for _ in range(lines)]

    def kill(self) -> list[str]:
        """Kill it in the midst of things, and return all that it said."""
        os.kill(self.process_id, signal.SIGKILL)
        with self.pipe:
            return self.acknowledged + self.pipe.read().split("\n")[:-1]


@pytest.fixture
def launcher(blank, tmp_path):
    """Start what forks writers on ``store`` in the temporary folder, and end it with all of them."""
    shutil.copytree(blank, tmp_path / "store")
    command = [sys.executable, "-m", "tests.scenarios.store_writer", str(tmp_path / "store")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def check_kept(store, name, line):
    kind, _, what = line.partition(" ")
    if kind == "event":
        assert store.events.find(name, what) is not None, line
    elif kind == "contract":
        assert store.contracts.read([what])[what].revision == 1, line
        assert store.events.find(name, what).status is EventStatus.PROCESSED, line
        assert store.deliveries.find(f"msg-{what}") is not None, line
    else:
        assert store.deliveries.find(f"msg-{what}").status is DeliveryStatus.DELIVERED, line


@pytest.mark.parametrize("kills", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_nothing_that_was_acknowledged_is_lost_when_writers_are_killed(launcher, tmp_path, kills):
    chance = random.Random(kills)  # noqa: S311  # the same kills in every run
    names = (tmp_path / f"writer-{number}" for number in count())
    # Three at once: one is killed, one waits for the lock that it held, one is starting.
    writers = [Writer(launcher, next(names)) for _ in range(3)]
    found = 0
    with opened(tmp_path / "store") as reader:
        for _ in range(kills):
            writer = writers.pop(0)
            writer.follow(1 + chance.randrange(30))
            lines = writer.kill()
            writers.append(Writer(launcher, next(names)))
            for line in lines:
                check_kept(reader, writer.name, line)
            found += len(lines)
        left = [(writer.name, line) for writer in writers for line in writer.kill()]
    with opened(tmp_path / "store") as again:
        check_whole(again)
        for name, line in left:
            check_kept(again, name, line)
    assert found > kills


# A full disk.

EVENT, ANSWER = new_event("before"), new_event("msg-before", source=PUBLISHER)
OWED = owed_delivery("msg-before")

WRITES = {
    "accept": lambda store: store.events.accept([new_event("more", raw=bytes(9000))]),
    "commit": lambda store: store.contracts.commit([submitted("contract-1", event=EVENT)]),
    "record": lambda store: store.deliveries.record([delivered(OWED, answer=ANSWER)]),
    "apply": lambda store: store.directory.apply(change(organization=organization())),
}


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path / "disk")


@pytest.fixture
def filling(disk, blank):
    """A store with an event and an owed delivery, on a disk that is about to be full."""
    with store_on(disk, blank) as store:
        store.events.accept([EVENT])
        store.contracts.commit([submitted("contract-0", owed=[OWED])])
        yield store


@pytest.mark.parametrize("write", WRITES)
def test_on_a_full_disk_a_write_says_so_and_what_was_there_stays_readable(filling, disk, write):
    disk.is_full = True
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            WRITES[write](filling)
    assert filling.events.find(MO, "before").status is EventStatus.ACCEPTED
    assert filling.contracts.read(["contract-0", "contract-1"]).keys() == {"contract-0"}
    assert filling.events.find(MO, "more") is None


@pytest.mark.parametrize("write", WRITES)
def test_when_there_is_room_again_the_store_goes_on_by_itself(filling, disk, write):
    disk.is_full = True
    with pytest.raises(StoreUnavailableError):
        WRITES[write](filling)
    disk.is_full = False
    WRITES[write](filling)
    assert filling.events.accept([new_event("after")]) == [Taken(received_at=NOW, is_replay=False)]
    check_whole(filling)


# A failing disk, and the power.


def accept(store):
    store.events.accept([EVENT, new_event("second", contract_id="contract-2")])


def bury(store):
    for event in store.queue.take(limit=2, lease_s=60):
        if event.event_id == "second":
            store.queue.bury(event, reason="planted")
        else:
            store.queue.release([event], delay_s=0)


def redrive(store):
    for letter in store.queue.dead_letters(limit=2).items:
        store.queue.redrive(letter.letter_id)


def release(store):
    store.queue.release(store.queue.take(limit=2, lease_s=60), delay_s=0)


def commit(store):
    store.contracts.commit([submitted("contract-1", event=EVENT, owed=[OWED])])


def deliver(store):
    store.deliveries.take_due(now=NOW, limit=1, lease_s=60)
    store.deliveries.record([delivered(OWED, answer=ANSWER)])


def finalize(store):
    store.contracts.commit([finalized("contract-1", event=ANSWER)])


def register(store):
    store.directory.apply(change(organization=organization(), keys=(registered_key(),)))


def has_event(store):
    return store.events.find(MO, "second") is not None


def has_redriven(store):
    """Nothing is in two places or in none: what was put aside waits in the queue again."""
    return store.queue.dead_letters(limit=1).items == [] and store.queue.depth() >= 1


def has_contract(store):
    return "contract-1" in store.contracts.read(["contract-1"])


def has_finalized(store):
    return has_contract(store) and store.contracts.read(["contract-1"])["contract-1"].revision == 2


def has_registered(store):
    return store.directory.registry_position() == 1 and MO in store.directory.organizations([MO])


STEPS = (
    # what is done, and how to tell that it was; None: nothing that must be kept
    (accept, has_event),
    (bury, None),
    (redrive, has_redriven),
    (release, None),
    (commit, has_contract),
    (deliver, None),  # forgotten, it is sent again
    (finalize, has_finalized),
    (register, has_registered),
)


def live(store, disk, tmp_path, *, cuts=False):
    """Take every step, again after a failure; with ``cuts``, look after each step at what a power cut would leave."""
    failures = 0
    for place, (step, _) in enumerate(STEPS):
        for _ in range(3):
            try:
                step(store)
                break
            except StoreUnavailableError:
                failures += 1
        else:
            raise AssertionError(f"{step.__name__} does not recover")
        if cuts:
            check_after_power_cut(disk, tmp_path / f"cut-{place}", STEPS[: place + 1])
    return failures


def check_after_power_cut(disk, folder, steps):
    disk.copy_synced_to(folder)
    apsw.set_default_vfs("unix")
    with opened(folder) as left:
        check_whole(left)
        assert [step.__name__ for step, was_done in steps if was_done is not None and not was_done(left)] == []
    disk.insert()


def test_nothing_that_was_acknowledged_is_lost_in_a_power_cut(disk, blank, tmp_path):
    with store_on(disk, blank) as store:
        assert live(store, disk, tmp_path, cuts=True) == 0


def test_what_is_acknowledged_as_known_is_as_safe_as_what_is_new(filling, disk, tmp_path):
    # An answer's event is written without a sync. Who sends the same one then is told 202, though nothing is written.
    filling.deliveries.record([delivered(OWED, answer=ANSWER)])
    assert filling.events.accept([ANSWER]) == [Taken(received_at=NOW, is_replay=True)]
    is_kept = lambda store: store.events.find(PUBLISHER, ANSWER.event_id) is not None  # noqa: E731
    check_after_power_cut(disk, tmp_path / "cut", [(check_whole, is_kept)])


def test_the_power_cut_finds_what_is_not_durable(disk, blank, tmp_path):
    # The harness itself: on NORMAL, which is how many set up SQLite, it must find a loss.
    with store_on(disk, blank) as store:
        store.database._writer(FULL).execute("PRAGMA synchronous = NORMAL")
        with pytest.raises(AssertionError, match="accept"):
            live(store, disk, tmp_path, cuts=True)


@pytest.fixture(scope="module")
def operations(blank, tmp_path_factory):
    """Return what the steps do to the disk."""
    folder = tmp_path_factory.mktemp("count")
    disk = Disk(folder / "disk")
    with store_on(disk, blank) as store:
        live(store, disk, folder)
        return disk.operations.copy()


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_at_any_write_or_sync_loses_nothing_and_is_survived(blank, tmp_path, operations, stride, fault):
    for number in range(1, len(operations) + 1, stride):
        disk, folder = Disk(tmp_path / f"disk-{number}"), tmp_path / str(number)
        fails(disk, number=number, fault=fault)
        with store_on(disk, blank) as store:
            failures = live(store, disk, folder)
            failed = len(disk.operations) >= number
            check_after_power_cut(disk, folder / "cut", STEPS)
        assert failures <= 1, f"operation {number}"
        assert failed


def test_an_error_at_every_sync_is_told_and_nothing_built_upon_it_is_lost(blank, tmp_path, operations):
    """After a failed sync the WAL has a hole; whatever comes later must not stand behind it."""
    for number in [one.number for one in operations if one.kind == "sync"]:
        disk, folder = Disk(tmp_path / f"disk-{number}"), tmp_path / str(number)
        fails(disk, number=number)
        with store_on(disk, blank) as store:
            assert live(store, disk, folder, cuts=True) == 1


def test_after_a_failed_sync_the_wal_is_emptied_before_anything_is_written(disk, blank):
    with store_on(disk, blank) as store:
        accept(store)
        release(store)
        done = len(disk.operations)
        fails(disk, "sync")
        with pytest.raises(StoreUnavailableError):
            commit(store)
        commit(store)
        operations = [(one.kind, one.file) for one in disk.operations[done:]]
        failed = operations.index(("sync", "moneta.db-wal"))
        later = operations[failed + 1 :]
        assert later.index(("sync", "moneta.db")) < later.index(("write", "moneta.db-wal"))


class Killed(BaseException):
    """Nothing in the store may catch it."""


def test_what_a_killed_process_did_not_sync_is_synced_before_anything_rests_on_it(disk, blank, tmp_path):
    """Its last commit looks whole to whoever opens the file next, and a power cut could still take it away."""

    def kill(operation: Operation):
        if operation.kind == "sync":
            raise Killed

    with store_on(disk, blank) as killed:
        killed.events.accept([new_event("first")])
        disk.decide = kill
        with pytest.raises(Killed):
            killed.events.accept([new_event("second")])
        disk.decide = lambda _: None
        disk.kill()
        with opened(disk.folder) as store:
            assert store.events.accept([new_event("second")])[0].is_replay
            check_after_power_cut(disk, tmp_path / "cut", [(accept, lambda left: left.events.find(MO, "second"))])


@pytest.mark.parametrize("file", ["moneta.db-wal", "moneta.db"])
def test_a_checkpoint_that_fails_is_noticed_and_undoes_nothing(disk, blank, tmp_path, monkeypatch, file):
    monkeypatch.setattr(database, "CHECKPOINT_PAGES", 1)  # after every commit
    with store_on(disk, blank) as store:
        accept(store)
        done = len(disk.operations)
        store.events.accept([new_event("third")])
        syncs = [one.file for one in disk.operations[done:] if one.kind == "sync"]
        assert syncs[-2:] == ["moneta.db-wal", "moneta.db"]  # the checkpoint's; before them the commit's own
        done, number = len(disk.operations), len(syncs) - syncs[::-1].index(file)
        disk.decide = lambda _: Fault.IO if syncs_since(disk, done) == [*syncs[: number - 1], file] else None
        commit(store)
        assert syncs_since(disk, done)[number:].count("moneta.db") == 1  # moved there again, at once
        check_after_power_cut(disk, tmp_path / "cut", [STEPS[0], STEPS[2]])


def syncs_since(disk, number):
    return [one.file for one in disk.operations[number:] if one.kind == "sync"]


def test_a_store_that_could_not_be_written_at_all_was_not_made(disk, tmp_path):
    disk.is_full = True
    disk.insert()
    try:
        with pytest.raises(StoreUnavailableError):
            EmbeddedStore.create(disk.folder, base_url=HUB, clock=StillClock())
        disk.is_full = False
        EmbeddedStore.create(disk.folder, base_url=HUB, clock=StillClock()).close()
        disk.copy_synced_to(tmp_path / "store")
    finally:
        disk.remove()
    with opened(tmp_path / "store") as store, store.database.read() as connection:
        assert row(connection, "SELECT value FROM meta WHERE name = 'base_url'") == (HUB,)
