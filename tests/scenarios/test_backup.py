"""A backup taken under load, and what is restored from it: all that was accepted before, nothing that is not whole."""

import json
import os
import shutil
import stat
import threading
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from moneta.adapters.embedded import backup as backups
from moneta.adapters.embedded.database import rows
from moneta.client import (
    Keyring,
    NotOurTurnError,
    Sign,
    Verifier,
    build_event,
    respond,
    sign_first,
    system_clock,
)
from moneta.domain.errors import BackupError
from tests.running_hub import RunningHub, moneta, running_hub, trading, wait_until

DONE, NO, MISUSED = 0, 1, 2
BEFORE = 40
PENDING = "pending_publisher_signature"
STATUSES = """
SELECT names.name, statuses.name FROM contracts JOIN names ON ref = contract JOIN statuses USING (status)
"""


def silent(*_):
    pass


def leaves(data):
    connection = apsw.Connection(str(data / "moneta.db"))
    found = rows(connection, "SELECT leaf, entry FROM leaves ORDER BY leaf")
    connection.close()
    return found


def statuses(data):
    connection = apsw.Connection(str(data / "moneta.db"))
    found = rows(connection, STATUSES)
    connection.close()
    return dict(found)


class Load:
    """Contracts that are submitted one after another, until the end of the block; ``accepted``: their events, by id."""

    def __init__(self, market):
        self.market, self.accepted, self._stopped = market, {}, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()

    def _run(self):
        while not self._stopped.is_set():
            contract_id = f"load-{len(self.accepted)}"
            event = event_of(self.market, contract_id)
            self.market.mo.client.post(event)
            self.accepted[contract_id] = event


def event_of(market, contract_id):
    now = system_clock()
    signed = sign_first(market.body(contract_id), market.mo.party, issued_at=now)
    return build_event(market.mo.party, "submit", signed, now=now, event_id=f"submit-{contract_id}")


def sign_what_waits(trader):
    """Sign what the hub shows as waiting; return how many that were.

    A receiver answers a webhook-id that it has seen with what it answered then: a signature on Moneta's earlier one.
    """
    verifier = Verifier(trader.party, Keyring(trader.client.caller.get))
    waiting = trader.client.caller.get("/contracts", status=PENDING, limit=200)["items"]
    for item in waiting:
        contract = verifier.contract(trader.client.contract(item["contract_id"]).jws)
        with suppress(NotOurTurnError):  # it was asked for by webhook too, and has signed meanwhile
            trader.client.sign(respond(contract, trader.party, lambda _: Sign(), issued_at=system_clock()))
    return len(waiting)


@pytest.mark.slow
def test_what_was_accepted_before_a_backup_under_load_is_in_it_and_the_restored_hub_goes_on(tmp_path):
    copy, restored = tmp_path / "backup", tmp_path / "restored"
    with running_hub(tmp_path) as hub, trading(hub, tmp_path) as market:
        with Load(market) as load:
            wait_until(lambda: len(load.accepted) >= BEFORE)
            before = list(load.accepted)
            made = moneta("backup", "--data", hub.data, "--out", copy)
            assert made.returncode == DONE, made.stderr
            wait_until(lambda: len(load.accepted) > len(before))
        hub.stop()
        all_leaves = leaves(hub.data)

        done = moneta("restore", "--from", copy, "--data", restored)
        assert done.returncode == DONE, done.stderr
        kept = leaves(restored)
        assert kept == all_leaves[: len(kept)]

        again = RunningHub(restored, *hub.options, port=hub.port).start()  # the parties know the hub by its address
        try:
            wait_until(lambda: set(before) <= {name for name, end in statuses(restored).items() if end == "finalized"})
            for event in load.accepted.values():  # as the MO is told to: the same bytes again, whatever became of them
                market.mo.client.post(event)
            market.submit("after")
            wait_until(lambda: set(statuses(restored).values()) <= {"finalized", PENDING})
            wait_until(lambda: sign_what_waits(market.publisher) == 0)
            wait_until(lambda: set(statuses(restored).values()) == {"finalized"})
            assert statuses(restored).keys() == {*load.accepted, "after"}
        finally:
            again.stop()
    assert moneta("backup", "--data", restored, "--out", tmp_path / "second").returncode == DONE


# What a backup is.


@pytest.fixture(scope="module")
def traded(tmp_path_factory):
    """The data directory of a hub that has traded, stopped."""
    folder = tmp_path_factory.mktemp("traded")
    with running_hub(folder) as hub, trading(hub, folder) as market:
        for number in range(3):
            market.submit(f"c{number}")
        wait_until(lambda: set(statuses(hub.data).values()) == {"finalized"})
    return hub.data


@pytest.fixture
def data(traded, tmp_path):
    return shutil.copytree(traded, tmp_path / "hub")


@pytest.fixture
def copy(data, tmp_path):
    """A sound backup."""
    made = moneta("backup", "--data", data, "--out", tmp_path / "backup")
    assert made.returncode == DONE, made.stderr
    return tmp_path / "backup"


def test_a_backup_holds_the_keys_for_its_owner_alone_and_says_so(data, tmp_path):
    made = moneta("backup", "--data", data, "--out", tmp_path / "backups" / "monday", "--json")
    assert "PRIVATE KEYS" in made.stderr
    manifest = json.loads(made.stdout)
    assert json.loads((tmp_path / "backups" / "monday" / "manifest.json").read_text()) == manifest
    assert {"moneta.db", "sealing.key", "signing-keys.json", "identities/operator.pem"} < manifest["files"].keys()
    for path in (tmp_path / "backups" / "monday").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert manifest["store"]["leaves"] == len(leaves(data))
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["monday"]


def test_a_backup_without_keys_holds_none_and_is_still_verified(data, tmp_path):
    made = moneta("backup", "--data", data, "--out", tmp_path / "bare", "--without-keys")
    assert "NO KEYS" in made.stderr
    assert sorted(path.name for path in (tmp_path / "bare").iterdir()) == [
        "manifest.json",
        "moneta.db",
        "settings.json",
        "signing-keys.json",
    ]
    assert moneta("backup", "verify", tmp_path / "bare").returncode == DONE
    assert moneta("restore", "--from", tmp_path / "bare", "--data", tmp_path / "new").returncode == DONE
    refused = moneta("up", "--data", tmp_path / "new", "--port", "0")
    assert refused.returncode == NO
    for name in (*data.glob("signing-*.pem"), data / "sealing.key"):
        shutil.copy2(name, tmp_path / "new")
    hub = RunningHub(tmp_path / "new").start()
    assert hub.stop()[0] == DONE


def test_verifying_writes_nothing(copy):
    before = {path: path.stat() for path in copy.rglob("*")}
    assert moneta("backup", "verify", copy).returncode == DONE
    assert moneta("backup", "verify", "--quick", copy).returncode == DONE
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == {
        path: found.st_mtime_ns for path, found in before.items()
    }


def change_store(*statements):
    def change(copy):
        connection = apsw.Connection(str(copy / "moneta.db"))
        for statement in statements:
            connection.execute(statement).fetchall()
        connection.close()
        manifest = json.loads((copy / "manifest.json").read_text())
        entry = backups._entry(copy / "moneta.db", silent)
        manifest["files"]["moneta.db"] = {"bytes": entry.bytes, "sha256": entry.sha256}
        (copy / "manifest.json").write_text(json.dumps(manifest))

    return change


def flip_a_byte(name):
    def flip(copy):
        raw = bytearray((copy / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (copy / name).write_bytes(raw)

    return flip


def change_manifest(**members):
    def change(copy):
        path = copy / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **members}))

    return change


DAMAGE = {
    "a byte of the store": (flip_a_byte("moneta.db"), "expected .* SHA-256"),
    "a byte of a key": (flip_a_byte("sealing.key"), "expected .* SHA-256"),
    "a file that is gone": (lambda copy: (copy / "sealing.key").unlink(), "is missing"),
    "no manifest": (lambda copy: (copy / "manifest.json").unlink(), "is no backup"),
    "half a manifest": (lambda copy: os.truncate(copy / "manifest.json", 100), "can't be read"),
    "another form": (change_manifest(format="moneta-backup-9"), "expected a backup of form"),
    "a way out": (change_manifest(files={"../x": {"bytes": 1, "sha256": ""}}), "outside the backup"),
    "another store": (change_manifest(store={"leaves": 1}), "not the one that manifest.json tells of"),
    "a leaf that is gone": (
        change_store("PRAGMA foreign_keys = 0", "DELETE FROM leaves WHERE leaf = 2"),
        "the audit log has a gap",
    ),
    "a reference to nothing": (change_store("DELETE FROM names WHERE name = 'c1'"), "leads to no row of names"),
    "a step that was changed": (
        change_store("UPDATE steps SET step = (SELECT step FROM steps WHERE revision = 2) WHERE revision = 2"),
        "contract c",
    ),
    "a leaf that was rewritten": (
        change_store("UPDATE leaves SET entry = CAST(replace(entry, '\"body\"', '\"Body\"') AS BLOB) WHERE kind = 0"),
        "says something else than the step",
    ),
    "a key that was exchanged": (
        change_store("UPDATE keys SET key_id = key_id || 'x'"),
        "is not in the registry",
    ),
    "an event that was forgotten": (
        change_store("UPDATE events SET status = 0 WHERE event = 1"),
        "an accepted event has lost its bytes",
    ),
    "another version": (
        change_store("UPDATE meta SET value = 99 WHERE name = 'schema_version'"),
        "by the program that",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_backup_is_found_out_and_nothing_is_restored_from_it(copy, tmp_path, name):
    damage, reason = DAMAGE[name]
    damage(copy)
    with pytest.raises(BackupError, match=reason):
        backups.verify_backup(copy, is_quick=True, on_progress=silent)
    with pytest.raises(BackupError, match=reason):
        backups.restore_backup(copy, tmp_path / "new", on_progress=silent)
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*.partial"))


def test_an_index_that_does_not_fit_its_table_is_found_by_the_whole_check(copy):
    connection = apsw.Connection(str(copy / "moneta.db"))
    connection.execute("PRAGMA writable_schema = 1").fetchall()
    connection.execute("DELETE FROM sqlite_schema WHERE name = 'deliveries_contract'")
    connection.execute("PRAGMA writable_schema = 0").fetchall()
    connection.close()
    change_store("SELECT 1")(copy)
    with pytest.raises(BackupError, match="SQLite"):
        backups.verify_backup(copy, is_quick=False, on_progress=silent)


def test_nothing_is_overwritten(data, copy, tmp_path):
    before = leaves(data)
    refused = moneta("restore", "--from", copy, "--data", data)
    assert (refused.returncode, "not empty" in refused.stderr) == (NO, True)
    assert leaves(data) == before
    refused = moneta("backup", "--data", data, "--out", copy)
    assert (refused.returncode, "is there already" in refused.stderr) == (NO, True)
    (tmp_path / "empty").mkdir()
    assert moneta("restore", "--from", copy, "--data", tmp_path / "empty").returncode == DONE


def test_a_backup_of_a_store_that_is_not_sound_is_not_made(data, tmp_path):
    connection = apsw.Connection(str(data / "moneta.db"))
    connection.execute("DELETE FROM leaves WHERE leaf = 2")
    connection.close()
    refused = moneta("backup", "--data", data, "--out", tmp_path / "backup")
    assert (refused.returncode, "the audit log has a gap" in refused.stderr) == (NO, True)
    assert not (tmp_path / "backup").exists()
    assert not list(tmp_path.glob(".*.partial"))


@pytest.mark.parametrize("options", [(), ("--data", "x"), ("--out", "x")])
def test_a_backup_needs_to_know_of_what_and_where(options):
    assert moneta("backup", *options).returncode == MISUSED


def test_without_a_store_there_is_nothing_to_back_up(tmp_path):
    refused = moneta("backup", "--data", tmp_path, "--out", tmp_path / "backup")
    assert (refused.returncode, "holds no store" in refused.stderr) == (NO, True)


class BrokenOffError(Exception):
    """Stands for whatever breaks a backup off."""


@pytest.mark.parametrize("step", ["copy", "check", "digest"])
def test_what_broke_off_leaves_nothing_that_looks_like_a_backup(data, tmp_path, step):
    def break_off(what, *_):
        if what == step:
            raise BrokenOffError

    out = tmp_path / "backup"
    plan = backups.Plan(data_dir=data, out=out, with_keys=True, clock=lambda: 0, on_progress=break_off)
    with pytest.raises(BrokenOffError):
        backups.make_backup(plan)
    assert {path.name for path in tmp_path.iterdir()} == {"hub"}


def test_a_backup_gives_up_before_the_wal_fills_the_disk(data, tmp_path):
    wal = data / "moneta.db-wal"
    writer = apsw.Connection(str(data / "moneta.db"))  # keeps the WAL from being removed at the end of another
    writer.execute("UPDATE meta SET value = value WHERE name = 'swept_to'")
    with Path(wal).open("r+b") as file:
        file.truncate(backups.BACKUP_WAL_BYTES_MAX + 1)  # sparse
    with pytest.raises(BackupError, match="while the copy was made"):
        backups.copy_store(data / "moneta.db", tmp_path / "copy.db", silent)
    writer.close()


def test_the_copy_is_of_one_moment_though_others_write_all_the_while(data, tmp_path):
    writer = apsw.Connection(str(data / "moneta.db"))
    before = leaves(data)

    def write(*_):
        writer.execute("INSERT INTO leaves (kind, entry) VALUES (1, zeroblob(100000))")

    backups.copy_store(data / "moneta.db", tmp_path / "moneta.db", write)
    writer.close()
    assert leaves(tmp_path) == before
    assert len(leaves(data)) > len(before)
