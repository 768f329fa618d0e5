"""The embedded store's file: pragmas, transactions, versions, and who may read it."""

import stat
import threading
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import apsw
import pytest

from moneta.adapters.embedded.database import FULL, check_pragma, check_sqlite_version, connect, rows, value
from moneta.adapters.embedded.schema import SCHEMA_VERSION
from moneta.adapters.embedded.store import EmbeddedStore, migrate
from moneta.application.ports import ContractQuery, DeliveryQuery, DeliveryStatus
from moneta.domain.errors import StoreUnavailableError, StoreVersionError
from tests.conformance.builders import (
    HUB,
    MO,
    NOW,
    NOW_S,
    PENDING_STATUS,
    StillClock,
    change,
    new_event,
    organization,
    owed_delivery,
    submitted,
)


@pytest.fixture
def store(tmp_path):
    made = EmbeddedStore.create(tmp_path / "data", base_url=HUB, clock=StillClock())
    yield made
    made.close()


def reopened(store):
    return EmbeddedStore.open(folder_of(store), clock=StillClock())


def folder_of(store) -> Path:
    return store.database._path.parent


def set_version(store, version):
    with store.database.write() as connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (version,))
    store.close()


# Pragmas.

DURABLE = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000, "trusted_schema": 0}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("write", DURABLE | {"query_only": 0}),
        ("write_unsynced", DURABLE | {"synchronous": 1, "query_only": 0}),
        ("read", DURABLE | {"query_only": 1}),
    ],
)
def test_every_connection_keeps_the_pragmas_that_durability_rests_on(store, kind, expected):
    with getattr(store.database, kind)() as connection:
        assert {name: value(connection, f"PRAGMA {name}") for name in expected} == expected


def test_a_pragma_that_sqlite_does_not_take_is_an_error(store):
    with store.database.read() as connection, pytest.raises(StoreVersionError, match="synchronous: expected 3, got 2"):
        check_pragma(connection, "synchronous", 3)


def test_a_connection_whose_pragma_does_not_hold_is_not_given_out(tmp_path):
    path = tmp_path / "in-memory"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE here (x)")
    connection.close()
    with pytest.raises(StoreVersionError, match="synchronous"):
        connect(path, synchronous=7)


@pytest.mark.parametrize("version", ["3.51.2", "3.40.1", "3.9.0", "2.99.99"])
def test_an_sqlite_that_can_corrupt_a_shared_wal_is_refused(version):
    with pytest.raises(StoreVersionError, match=r"expected 3\.51\.3 or newer"):
        check_sqlite_version(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "3.54.1", "4.0.0"])
def test_an_sqlite_with_the_fix_is_taken(version):
    check_sqlite_version(version)


# Transactions.


def test_a_transaction_that_raises_leaves_nothing(store):
    def fail(connection):
        connection.execute("INSERT INTO names (name) VALUES ('x')")
        raise ZeroDivisionError

    for transaction in (store.database.write, store.database.write_unsynced):
        with pytest.raises(ZeroDivisionError), transaction() as connection:
            fail(connection)
    with store.database.read() as connection:
        assert rows(connection, "SELECT * FROM names") == []


def test_a_broken_constraint_is_a_bug_and_crashes(store):
    with pytest.raises(apsw.ConstraintError), store.database.write() as connection:
        connection.execute("INSERT INTO names (name) VALUES ('x'), ('x')")
    with pytest.raises(apsw.ConstraintError), store.database.write() as connection:
        connection.execute("INSERT INTO messages (event, registry_seq, raw) VALUES (1, 1, x'00')")


def test_a_reader_can_not_write(store):
    with pytest.raises(StoreUnavailableError), store.database.read() as connection:
        connection.execute("INSERT INTO names (name) VALUES ('x')")


def test_a_reader_that_fails_is_not_used_again(store):
    with pytest.raises(apsw.SQLError), store.database.read() as connection:
        connection.execute("SELECT * FROM nowhere")
    with store.database.read() as another:
        assert another is not connection


def test_a_reader_sees_every_commit_before_it(store):
    with store.database.read() as connection:
        rows(connection, "SELECT * FROM names")
    with store.database.write() as connection:
        connection.execute("INSERT INTO names (name) VALUES ('x')")
    with store.database.read() as connection:
        assert value(connection, "SELECT name FROM names") == "x"


def test_readers_are_as_many_as_are_in_use_at_once(store):
    with store.database.read(), store.database.read():
        pass
    for _ in range(10):
        with store.database.read():
            pass
    assert len(store.database._readers) == 2


def test_writers_in_many_threads_take_turns(store):
    def add():
        for _ in range(25):
            with store.database.write() as connection:
                number = value(connection, "SELECT value FROM meta WHERE name = 'swept_to'")
                connection.execute("UPDATE meta SET value = ? WHERE name = 'swept_to'", (number + 1,))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert store.directory.swept_to() == 100


def test_a_foreign_tool_that_holds_the_file_makes_it_unavailable_for_a_while(store):
    store.database._writer(FULL).execute("PRAGMA busy_timeout = 1")  # Five seconds would be a slow test.
    tool = apsw.Connection(str(store.database._path))
    tool.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="BusyError"):
        store.events.accept([new_event()])
    tool.execute("ROLLBACK")
    store.events.accept([new_event()])
    tool.close()


def test_whoever_waits_for_the_writer_waits_until_it_has_committed(store):
    entered, checked = threading.Event(), threading.Event()
    order = []

    def write():
        with store.database.write():
            entered.set()
            checked.wait(timeout=30)
            order.append("written")

    writer = threading.Thread(target=write)
    writer.start()
    entered.wait(timeout=30)
    other = reopened(store)
    waiter = threading.Thread(target=lambda: (other.database.wait_for_writer(), order.append("waited")))
    waiter.start()
    checked.set()
    writer.join(timeout=30)
    waiter.join(timeout=30)
    other.close()
    assert order == ["written", "waited"]


def test_a_closed_store_is_not_available(store):
    store.close()
    store.close()
    for call in (lambda: store.events.accept([new_event()]), lambda: store.events.find(MO, "e"), store.queue.depth):
        with pytest.raises(StoreUnavailableError, match="closed"):
            call()


def test_a_reader_that_ends_after_the_store_was_closed_is_closed_too(store):
    with store.database.read() as connection:
        store.close()
    with pytest.raises(apsw.ConnectionClosedError):
        connection.execute("SELECT 1")


# Creating and opening.


def test_only_its_owner_can_read_a_store(store):
    store.events.accept([new_event()])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder_of(store).iterdir()}
    assert modes.keys() == {"moneta.db", "moneta.db-wal", "moneta.db-shm", "moneta.db-writer.lock"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder_of(store).stat().st_mode) == 0o700


def test_a_store_is_made_once(store):
    with pytest.raises(FileExistsError):
        EmbeddedStore.create(folder_of(store), base_url="https://other.example", clock=StillClock())
    assert store.base_url == HUB


def test_an_empty_file_that_a_crash_left_can_become_a_store(tmp_path):
    (tmp_path / "moneta.db").touch()
    EmbeddedStore.create(tmp_path, base_url=HUB, clock=StillClock()).close()
    EmbeddedStore.open(tmp_path, clock=StillClock()).close()


def test_without_a_store_there_is_nothing_to_open(tmp_path):
    for call in (lambda: EmbeddedStore.open(tmp_path, clock=StillClock()), lambda: migrate(tmp_path)):
        with pytest.raises(FileNotFoundError, match="moneta init"):
            call()


def test_the_base_url_is_what_was_recorded_last(store):
    store.set_base_url("https://new.example")
    other = reopened(store)
    assert (store.base_url, other.base_url) == ("https://new.example", "https://new.example")
    other.close()


def test_what_one_process_changes_in_the_directory_the_other_sees(store):
    other = reopened(store)
    assert other.directory.organizations([MO]) == {}
    store.directory.apply(change(organization=organization()))
    assert other.directory.organizations([MO]) == {MO: organization()}
    other.close()


# Versions.


@pytest.mark.parametrize(("version", "hint"), [(SCHEMA_VERSION + 1, "a newer program"), (1, "run moneta migrate")])
def test_a_store_of_another_version_is_refused(store, version, hint):
    set_version(store, version)
    with pytest.raises(StoreVersionError, match=hint):
        reopened(store)


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "moneta.db").touch()
    for call in (lambda: EmbeddedStore.open(tmp_path, clock=StillClock()), lambda: migrate(tmp_path)):
        with pytest.raises(StoreVersionError, match="without one"):
            call()


def test_a_file_that_is_no_database_is_not_taken_for_an_outage(tmp_path):
    (tmp_path / "moneta.db").write_bytes(b"not a database, and long enough to be read as a header of one" * 20)
    with pytest.raises(apsw.NotADBError):
        EmbeddedStore.open(tmp_path, clock=StillClock())


# Plans. What is listed or taken is found by an index in its order: no scan of a whole table, and no sorting.

EVERY_CONTRACT_QUERY = [
    {column: PENDING_STATUS if column == "status" else f"{column} of one" for column in columns}
    for size in range(5)
    for columns in combinations(("mo_id", "publisher_id", "mpass_id", "status"), size)
]
EVERY_DELIVERY_QUERY = [
    {name: value for name, value in (("visible_to", to), ("contract_id", about), ("status", status)) if value}
    for to in (None, "mo-1")
    for about in (None, "contract-1")
    for status in (None, *DeliveryStatus)
]


@pytest.fixture
def plans(store):
    """Collect the plan of every statement that a reader runs, from the next one on."""
    found = []

    def explain(cursor, statement, bindings):
        if statement.lstrip().startswith(("SELECT", "WITH")):
            with connect_again(store) as other:
                found.extend(detail for *_, detail in other.execute(f"EXPLAIN QUERY PLAN {statement}", bindings))
        return True

    with store.database.read() as connection:
        connection.exec_trace = explain
    return found


@contextmanager
def connect_again(store):
    connection = connect(store.database._path)
    yield connection
    connection.close()


WALKED_IN_ORDER = {"SCAN head", "SCAN waiting", "SCAN walked"}
"""A page that an index gave, the organizations one by one, a table by its own key."""


def bad_steps(plans):
    scans = [step for step in plans if step.startswith("SCAN") and "USING" not in step]
    return [step for step in scans if step not in WALKED_IN_ORDER] + [step for step in plans if "TEMP B-TREE" in step]


@pytest.mark.parametrize("visible_to", [None, "mo_id of one"])
@pytest.mark.parametrize("members", EVERY_CONTRACT_QUERY, ids=lambda members: ",".join(members) or "all")
def test_every_list_of_contracts_follows_an_index(store, plans, members, visible_to):
    store.contracts.commit([submitted(mo="mo_id of one", publisher="publisher_id of one", mpass="mpass_id of one")])
    store.contracts.list(ContractQuery(visible_to=visible_to, limit=10, **members))
    assert plans
    assert bad_steps(plans) == []


@pytest.mark.parametrize("members", EVERY_DELIVERY_QUERY, ids=lambda members: ",".join(members.values()) or "all")
def test_every_list_of_deliveries_follows_an_index_or_the_order_itself(store, plans, members):
    store.contracts.commit([submitted(owed=[owed_delivery(to="mo-1")])])
    store.deliveries.list(DeliveryQuery(**{"visible_to": None, "limit": 10, **members}))
    assert bad_steps(plans) == []


def test_what_is_due_is_found_by_an_index(store, plans):
    store.contracts.commit([submitted(expires_at=NOW_S, owed=[owed_delivery()])])
    store.deliveries.next_due()
    store.contracts.due_to_expire(before=NOW_S, limit=10)
    store.contracts.next_expiry()
    store.events.has_unprocessed("contract-1", received_before=NOW)
    assert bad_steps(plans) == []
