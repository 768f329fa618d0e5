"""A store of an earlier release becomes one of this release, whole or not at all, and loses nothing on the way.

``store_version_1.sql`` is what a hub of the first release left when it was killed: contracts that are final and
pending, an event that was refused, one that waits, a delivery that failed once, and the schema, byte for byte.
"""

import re
from pathlib import Path

import apsw
import pytest

from moneta.adapters.embedded import migrations
from moneta.adapters.embedded.database import Database, rows
from moneta.adapters.embedded.progress import statement_count, told_statements
from moneta.adapters.embedded.schema import SCHEMA_VERSION, create_tables
from moneta.adapters.embedded.store import EmbeddedStore, migrate
from moneta.adapters.system import SystemClock
from moneta.application.ports import EventStatus
from moneta.domain.contracts import status_of
from moneta.domain.errors import StoreVersionError
from tests.conformance.builders import HUB, StillClock

VERSION_1 = (Path(__file__).parent / "store_version_1.sql").read_text(encoding="utf-8")
FAR = 2**53
LOSES_A_NAME = "DELETE FROM names WHERE ref = 5;"


@pytest.fixture
def old(tmp_path):
    """The folder of a store of version 1."""
    connection = apsw.Connection(str(tmp_path / "moneta.db"))
    connection.execute(VERSION_1).fetchall()
    connection.close()
    return tmp_path


def set_version(folder, version):
    database = Database(folder / "moneta.db")
    with database.write() as connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (version,))
    database.close()


def schema_of(connection):
    """Every table and index with its statement, whatever the white space, comments and order."""
    statements = rows(connection, "SELECT type, name, tbl_name, sql FROM sqlite_schema")
    return {(kind, name, table): normalized(sql or "") for kind, name, table, sql in statements}


def normalized(sql):
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(re.sub(r"--.*", "", sql).replace('"', "").split()))


def contents_of(folder):
    connection = apsw.Connection(str(folder / "moneta.db"))
    tables = [name for (name,) in rows(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {table: rows(connection, f"SELECT * FROM {table}") for table in tables}  # noqa: S608
    connection.close()
    return found


def test_a_store_of_version_1_gets_the_schema_of_a_new_one(old):
    new = apsw.Connection(":memory:")
    create_tables(new, base_url=HUB)
    assert migrate(old) is True
    migrated = apsw.Connection(str(old / "moneta.db"))
    assert schema_of(migrated) == schema_of(new)
    assert {name for (name,) in rows(migrated, "SELECT name FROM meta")} == {
        name for (name,) in rows(new, "SELECT name FROM meta")
    }
    assert rows(migrated, "PRAGMA integrity_check") == [("ok",)]
    migrated.close()


def test_a_migrated_store_keeps_every_contract_event_and_delivery(old):
    before = contents_of(old)
    migrate(old)
    store = EmbeddedStore.open(old, clock=StillClock())
    contracts = store.contracts.read(["final-1", "final-2", "pending-1", "waiting-1"])
    assert {name: status_of(one) for name, one in contracts.items()} == {
        "final-1": "finalized",
        "final-2": "finalized",
        "pending-1": "pending_publisher_signature",
        "waiting-1": "pending_publisher_signature",
    }
    names = dict(before["names"])
    events = [store.events.find(names[row[1]], row[2]) for row in before["events"]]
    assert [one.status for one in events].count(EventStatus.REJECTED) == 1
    assert [one.digest for one in events] == [row[5] for row in before["events"]]
    backlog = store.deliveries.backlog()
    assert (backlog.pending, backlog.dead, len(before["deliveries"])) == (1, 0, 9)
    assert sum(len(store.deliveries.find(row[1]).attempts) for row in before["deliveries"]) == len(before["attempts"])
    store.close()


def test_a_migrated_store_goes_on_with_what_was_waiting(old):
    migrate(old)
    store = EmbeddedStore.open(old, clock=SystemClock())
    assert [one.contract_id for one in store.queue.take(limit=10, lease_s=60)] == ["queued-1"]
    assert [one.owed.contract_id for one in store.deliveries.take_due(now=FAR, limit=10, lease_s=60)] == ["waiting-1"]
    store.close()


def test_a_migrated_store_keeps_its_dead_letters_and_gives_their_numbers_to_no_other(old):
    connection = apsw.Connection(str(old / "moneta.db"))
    (event,) = (number for (number,) in rows(connection, "SELECT event FROM queue"))
    connection.execute("DELETE FROM queue").fetchall()
    connection.execute("INSERT INTO dead_letters VALUES (7, ?, 10, 1000, 'ZeroDivisionError')", (event,))
    connection.close()
    migrate(old)
    store = EmbeddedStore.open(old, clock=SystemClock())
    letter = store.queue.redrive("7")
    assert (letter.contract_id, letter.tries, letter.died_at) == ("queued-1", 10, 1000)
    store.queue.bury(*store.queue.take(limit=1, lease_s=60), reason="again")
    assert [one.letter_id for one in store.queue.dead_letters(limit=10).items] == ["8"]
    store.close()


def test_the_log_is_the_same_before_and_after(old):
    before = contents_of(old)
    migrate(old)
    assert contents_of(old)["leaves"] == before["leaves"]


def test_a_migration_that_fails_leaves_the_older_store(old):
    before = contents_of(old)
    broken = {version: f"{sql} SELECT no_such_column" for version, sql in migrations.MIGRATIONS.items()}
    with pytest.raises(apsw.SQLError):
        migrations.migrate(old / "moneta.db", migrations=broken)
    assert contents_of(old) == before
    assert migrate(old) is True


def test_a_migration_that_leaves_a_reference_to_nothing_is_undone(old):
    before = contents_of(old)
    broken = {version: sql + LOSES_A_NAME for version, sql in migrations.MIGRATIONS.items()}
    with pytest.raises(StoreVersionError, match="lead nowhere"):
        migrations.migrate(old / "moneta.db", migrations=broken)
    assert contents_of(old) == before


def test_a_migration_may_make_a_table_anew_that_others_refer_to(old):
    anew = """
    CREATE TABLE names_new (ref INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    INSERT INTO names_new SELECT * FROM names;
    DROP TABLE names;
    ALTER TABLE names_new RENAME TO names;
    """
    before = contents_of(old)
    rebuilding = {version: sql + anew for version, sql in migrations.MIGRATIONS.items()}
    assert migrations.migrate(old / "moneta.db", migrations=rebuilding) is True
    assert contents_of(old)["names"] == before["names"]


def test_references_are_enforced_again_after_a_migration(old):
    migrate(old)
    store = EmbeddedStore.open(old, clock=StillClock())
    with pytest.raises(apsw.ConstraintError), store.database.write() as connection:
        connection.execute("INSERT INTO messages (event, registry_seq, raw) VALUES (99, 1, x'00')")
    store.close()


def test_a_store_of_this_version_needs_no_migration(old):
    migrate(old)
    before = contents_of(old)
    assert migrate(old) is False
    assert contents_of(old) == before


@pytest.mark.parametrize(
    ("version", "reason"), [(SCHEMA_VERSION + 1, "a newer program"), (-1, "no migration brings a store to version 0")]
)
def test_a_store_that_no_migration_starts_from_is_refused(old, version, reason):
    set_version(old, version)
    before = contents_of(old)
    with pytest.raises(StoreVersionError, match=reason):
        migrate(old)
    assert contents_of(old) == before


def test_who_waits_is_told_each_statement_and_each_table(old):
    told = []
    migrate(old, lambda what, done, total: told.append((what, done, total)))
    steps = [what.split(": ", 1) for what, _, _ in told]
    count = statement_count(migrations.MIGRATIONS[2])
    names = [f"to version 2, {number} of {count}" for number in range(1, count + 1)]
    assert [name for name in dict.fromkeys(name for name, _ in steps) if name in names] == names
    assert any("CREATE INDEX contracts_parties_status" in text for _, text in steps)
    checked = [text.split(",")[0] for name, text in steps if name.startswith("checking the references of each table")]
    assert {"contracts", "deliveries", "events"} <= set(checked)
    assert {(done, total) for _, done, total in told} == {(0, 0)}


def test_a_long_statement_tells_how_many_rows_it_has_written():
    connection, told = apsw.Connection(":memory:"), []
    connection.execute("CREATE TABLE a (i INTEGER PRIMARY KEY)")
    numbers = "INSERT INTO a WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n"
    with told_statements(connection, "trial", 1, lambda *one: told.append(one), operations=1_000, clock_s=lambda: 3.0):
        connection.execute(numbers).fetchall()
    first, *later = [what for what, _, _ in told]
    assert first == f"trial, 1 of 1: {numbers[:60]}, 0 s"
    assert re.fullmatch(r"trial, 1 of 1: INSERT INTO a .*, [0-9]{3} rows, 0 s", later[-1])
    told.clear()
    connection.execute("DELETE FROM a WHERE i > 1").fetchall()
    assert told == []
