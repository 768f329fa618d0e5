"""The SQLite file: its connections, their pragmas, write transactions, and what its errors mean.

The rules:

1. Acknowledged is durable: WAL and ``synchronous=FULL``; each connection's pragmas are read back, since SQLite
   ignores what it does not understand. SQLite before 3.51.3 can corrupt a WAL that two connections share: refused.
2. One writer at a time over all processes, by a lock that the kernel queues and that a killed process lets go of.
   SQLite's own busy handler sleeps and tries again, which under load starves whoever sleeps.
3. A write is a whole batch: one ``BEGIN IMMEDIATE``, one fsync.
4. After an I/O error nothing is trusted: the connections are closed, and nothing is written before the whole WAL has
   been moved into the database (see ``_recover``). Until that succeeds, every write is refused. So that no error goes
   unseen, checkpoints are ours: SQLite's automatic ones swallow theirs.
5. What a killed process wrote and had not synced looks committed to whoever opens the file next, until a power cut
   takes it away. So before its first write each process makes safe what it found (see ``_make_safe``).
6. What a full or failing disk raises becomes ``StoreUnavailableError``. A constraint or a corrupt page is a bug or a
   disaster, and crashes.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import apsw

from moneta.application.ports import UNOBSERVED, Observer
from moneta.domain.errors import StoreUnavailableError, StoreVersionError

SQLITE_VERSION_MIN: Final = (3, 51, 3)
BUSY_TIMEOUT_MS: Final = 5_000
"""For tools that write without our lock, such as the sqlite3 shell."""
CHECKPOINT_PAGES: Final = 2_000
STATEMENTS_CACHED: Final = 256
"""APSW keeps the last so many executions, not statements: a batch would soon push out what the next one needs."""
USER_VERSION_END: Final = 2**31
WAL_BYTES_KEPT: Final = 16 * 1024 * 1024
WRITER_CACHE_KIB: Final = 8 * 1024
READER_CACHE_KIB: Final = 1024

NORMAL: Final = 1
FULL: Final = 2

BUSY_ERRORS: Final = (apsw.BusyError, apsw.LockedError)
DISK_ERRORS: Final = (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.ProtocolError)
UNAVAILABLE_ERRORS: Final = (*BUSY_ERRORS, *DISK_ERRORS)

Row = Any  # A tuple; the STRICT tables vouch for the types of its columns, which mypy can't know.
Bindings: TypeAlias = "apsw.Bindings"  # Only apsw's type stubs have the name.


def rows(connection: apsw.Connection, statement: str, bindings: Bindings = ()) -> Sequence[Row]:
    """Return every row that ``statement`` gives."""
    return connection.execute(statement, bindings).fetchall()


def row(connection: apsw.Connection, statement: str, bindings: Bindings = ()) -> Row | None:
    """Return the first row that ``statement`` gives; None if it gives none."""
    return connection.execute(statement, bindings).fetchone()


def value(connection: apsw.Connection, statement: str, bindings: Bindings = ()) -> Row | None:
    """Return the first column of the first row; None if there is none."""
    first = connection.execute(statement, bindings).fetchone()
    return None if first is None else first[0]


def insert(connection: apsw.Connection, statement: str, bindings: Bindings) -> int | None:
    """Return the number of the row that ``statement`` inserted; None if it did nothing on a conflict.

    RETURNING would tell the same, at twice the cost of the insert.
    """
    connection.execute(statement, bindings)
    return connection.last_insert_rowid() if connection.changes() else None


class Database:
    """One SQLite file, for every thread of this process. ``path`` must be there already."""

    def __init__(self, path: Path, *, observer: Observer = UNOBSERVED) -> None:
        check_sqlite_version(apsw.sqlite_lib_version())
        self._path = path
        self._observer = observer
        self._thread_lock = threading.Lock()
        self._lock_file = os.open(f"{path}-writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._writers: dict[int, apsw.Connection] = {}
        self._readers: list[apsw.Connection] = []
        self._is_safe = False
        self._is_suspect = False
        self._is_closed = False
        self._wal_pages = 0
        self._has_written = False

    @contextmanager
    def write(self) -> Iterator[apsw.Connection]:
        """Give a transaction that is durable when the block ends, and undone when it raises.

        Raises:
            StoreUnavailableError: The disk is full or failing: nothing is known to be durable.
        """
        with self._observed(FULL) as connection:
            yield connection

    @contextmanager
    def write_unsynced(self) -> Iterator[apsw.Connection]:
        """Give a transaction that is atomic and visible, and lost in a power cut unless another one follows it.

        For what may be done again when it is forgotten. It costs no fsync (``synchronous=NORMAL``), during which nobody
        else could write. A later commit of ``write`` syncs the whole WAL, these frames in it: so order is kept, and
        nothing acknowledged rests on what is not synced.
        """
        with self._observed(NORMAL) as connection:
            yield connection

    @contextmanager
    def _observed(self, synchronous: int) -> Iterator[apsw.Connection]:
        asked = time.perf_counter()
        with self._exclusive(), self._transaction(synchronous) as connection:
            began = time.perf_counter()
            yield connection
            committing = time.perf_counter()
        ended = time.perf_counter()
        self._observer.written(wait_s=began - asked, write_s=ended - began, sync_s=ended - committing)

    @contextmanager
    def rebuild(self) -> Iterator[apsw.Connection]:
        """Give a transaction like that of ``write``, in which no reference is checked: whoever asks for it does that.

        For migrations alone. A table that others refer to can't be made anew while references are enforced.
        """
        with self._exclusive():
            self._writer(FULL).execute("PRAGMA foreign_keys = 0")  # which does nothing within a transaction
            try:
                with self._transaction(FULL) as connection:
                    yield connection
            finally:
                self._discard_writers()

    @contextmanager
    def read(self) -> Iterator[apsw.Connection]:
        """Give a connection that sees every commit before it. Fetch all rows before the block ends."""
        connection = self._readers.pop() if self._readers else self._open_reader()
        try:
            yield connection
        except UNAVAILABLE_ERRORS as error:
            _close(connection)
            raise _unavailable(error) from error
        except BaseException:
            _close(connection)  # A cursor may stand half-way; a new connection costs less than finding out.
            raise
        if self._is_closed:
            _close(connection)
        else:
            self._readers.append(connection)

    def wait_for_writer(self) -> None:
        """Return once every write that was under way when this was called has ended, in whichever process."""
        with self._exclusive():
            return

    def close(self) -> None:
        """Close every connection. What is not committed is undone."""
        with self._thread_lock:
            if not self._is_closed:
                self._is_closed = True
                self._discard_writers()
                while self._readers:
                    _close(self._readers.pop())
                os.close(self._lock_file)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the one writer's place, of this process and then of all."""
        with self._thread_lock:
            if self._is_closed:
                raise StoreUnavailableError("the store is closed")
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    @contextmanager
    def _transaction(self, synchronous: int) -> Iterator[apsw.Connection]:
        try:
            if self._is_suspect:
                self._recover()
            if not self._is_safe:
                self._make_safe()
            connection, self._has_written = self._writer(synchronous), False
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
            if synchronous == FULL and not self._has_written:
                _sync_wal(connection)  # who found all done already may have found what nobody has synced yet
        except DISK_ERRORS as error:
            self._suspect()
            raise _unavailable(error) from error
        except BUSY_ERRORS as error:
            raise _unavailable(error) from error
        if synchronous == FULL and self._wal_pages >= CHECKPOINT_PAGES:
            self._checkpoint()

    def _suspect(self) -> None:
        """Trust nothing until ``_recover`` succeeds: at once, before another process writes; else before our next."""
        self._is_suspect = True
        self._discard_writers()
        with suppress(*UNAVAILABLE_ERRORS):
            self._recover()

    def _recover(self) -> None:
        """Make sure that what comes next stands on synced bytes.

        After a failed fsync Linux counts the pages as clean although they never reached the disk. Frames of the WAL
        that nobody will write again would then be a hole under every later commit, and recovery stops at a hole. Moving
        all frames into the database and emptying the WAL leaves nothing to stand on but what is synced from now on.
        """
        try:
            connection = self._writer(FULL)
            _empty_wal(connection)
            _sync_wal(connection)
        except DISK_ERRORS:
            self._discard_writers()
            raise
        self._is_suspect = False

    def _make_safe(self) -> None:
        """Do so before the first write too, without waiting for whoever reads: a backup may read for minutes.

        Emptying the WAL is for what a process before us may have failed to sync; against what it was killed over, our
        own commit is enough, which syncs all that stands before it.
        """
        connection = self._writer(FULL)
        connection.set_busy_timeout(0)
        with suppress(apsw.BusyError):
            _empty_wal(connection)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        _sync_wal(connection)
        self._is_safe = True

    def _checkpoint(self) -> None:
        """Move what can be moved into the database. What was committed is durable, whatever becomes of this."""
        try:
            self._writer(FULL).execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except BUSY_ERRORS:  # Somebody else does it.
            return
        except DISK_ERRORS:
            self._suspect()

    def _writer(self, synchronous: int) -> apsw.Connection:
        if synchronous not in self._writers:
            connection = self._writers[synchronous] = connect(self._path, synchronous=synchronous)
            connection.set_wal_hook(self._note_wal)
        return self._writers[synchronous]

    def _note_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        """Remember after each commit that wrote anything how long the WAL has become."""
        self._wal_pages, self._has_written = pages, True
        return apsw.SQLITE_OK

    def _discard_writers(self) -> None:
        while self._writers:
            _close(self._writers.popitem()[1])

    def _open_reader(self) -> apsw.Connection:
        if self._is_closed:
            raise StoreUnavailableError("the store is closed")
        try:
            return connect(self._path, is_reader=True)
        except UNAVAILABLE_ERRORS as error:
            raise _unavailable(error) from error


def connect(path: Path, *, synchronous: int = FULL, is_reader: bool = False) -> apsw.Connection:
    """Return a new connection whose pragmas have been read back.

    Raises:
        StoreVersionError: SQLite did not take one of them.
    """
    # A reader opens for writing too: a WAL's shared memory can't be used read-only. ``query_only`` keeps it honest.
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=STATEMENTS_CACHED)
    pragmas: dict[str, int | str] = {
        "busy_timeout": BUSY_TIMEOUT_MS,
        "journal_mode": "wal",
        "synchronous": synchronous,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "wal_autocheckpoint": 0,
        "journal_size_limit": WAL_BYTES_KEPT,
        "cache_size": -(READER_CACHE_KIB if is_reader else WRITER_CACHE_KIB),
        "query_only": int(is_reader),
    }
    try:
        # Plans stay as they were made: SQLite would else look at the values that are bound, and prepare a statement
        # anew at every execution, which took most of the time of some.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        for name, wanted in pragmas.items():
            connection.execute(f"PRAGMA {name} = {wanted}").fetchall()
            check_pragma(connection, name, wanted)
    except BaseException:
        _close(connection)
        raise
    return connection


def check_pragma(connection: apsw.Connection, name: str, wanted: int | str) -> None:
    """Return if the connection keeps ``name`` as ``wanted``.

    Raises:
        StoreVersionError: It does not.
    """
    got = value(connection, f"PRAGMA {name}")
    if got != wanted:
        raise StoreVersionError(f"SQLite: PRAGMA {name}: expected {wanted}, got {got}")


def check_sqlite_version(version: str) -> None:
    """Refuse an SQLite that can corrupt what two connections share.

    Raises:
        StoreVersionError: It is older than 3.51.3.
    """
    if tuple(map(int, version.split("."))) < SQLITE_VERSION_MIN:
        wanted = ".".join(map(str, SQLITE_VERSION_MIN))
        raise StoreVersionError(f"SQLite: expected {wanted} or newer, got {version}")


def _empty_wal(connection: apsw.Connection) -> None:
    """Move all of the WAL into the database, synced. Raises apsw.BusyError if somebody reads it."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
    if busy:
        raise apsw.BusyError("the WAL is in use, and can't be emptied yet")


def _sync_wal(connection: apsw.Connection) -> None:
    """Commit a change that nobody reads: its fsync covers all that stands in the WAL, and a new WAL's first bytes.

    Those tell the frames of the emptied one from its own, should the emptying itself be lost in a power cut.
    """
    connection.execute("BEGIN IMMEDIATE")
    version = value(connection, "PRAGMA user_version") or 0
    connection.execute(f"PRAGMA user_version = {(version + 1) % USER_VERSION_END}")
    connection.execute("COMMIT")


def _roll_back(connection: apsw.Connection) -> None:
    if connection.in_transaction:  # SQLite has rolled back by itself after some errors.
        with suppress(apsw.Error):  # The error that led here is the one to tell.
            connection.execute("ROLLBACK")


def _close(connection: apsw.Connection) -> None:
    with suppress(apsw.Error):  # Closing checkpoints, which can fail like any write; the WAL is still there then.
        connection.close()


def _unavailable(error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError(f"the store is not available: {type(error).__name__}: {error}")
