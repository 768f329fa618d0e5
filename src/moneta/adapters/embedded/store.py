"""The embedded store: one SQLite file in the hub's data directory, and the ports that it serves."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from moneta.adapters.embedded import migrations
from moneta.adapters.embedded.contracts import SQLiteContractStore
from moneta.adapters.embedded.database import Database, connect
from moneta.adapters.embedded.deliveries import SQLiteDeliveryStore
from moneta.adapters.embedded.directory import SQLiteDirectoryStore
from moneta.adapters.embedded.events import SQLiteEventQueue, SQLiteEventStore
from moneta.adapters.embedded.in_hand import InHand, InHandFile
from moneta.adapters.embedded.progress import OnProgress
from moneta.adapters.embedded.retention import SQLiteRetentionStore
from moneta.adapters.embedded.schema import (
    SCHEMA_VERSION,
    check_version,
    create_tables,
    get_meta,
    has_tables,
    set_meta,
)
from moneta.application.ports import UNOBSERVED, Clock, Observer

FILE_NAME: Final = "moneta.db"

IN_HAND_SUFFIX: Final = "-in-hand"


@dataclass(frozen=True, slots=True)
class EmbeddedStore:
    """Every store port on one file. Any number of processes may have it open; each may use it from any thread.

    Of them all one takes events and one takes deliveries: a lease is known to the process alone that holds it.
    """

    clock: Clock
    database: Database
    events: SQLiteEventStore
    queue: SQLiteEventQueue
    contracts: SQLiteContractStore
    deliveries: SQLiteDeliveryStore
    directory: SQLiteDirectoryStore
    retention: SQLiteRetentionStore

    @classmethod
    def create(cls, data_dir: Path, *, base_url: str, clock: Clock, checkers: int = 1) -> Self:
        """Make the store of a new hub, and the directory if there is none, for its owner's eyes only.

        Raises:
            FileExistsError: There is a store.
            StoreUnavailableError: It can't be made durable.
        """
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = data_dir / FILE_NAME
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # The WAL takes its mode from it.
        store = cls._on(path, clock)
        try:
            with store.database.write() as connection:
                create_tables(connection, base_url=base_url, checkers=checkers)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, data_dir: Path, *, clock: Clock, observer: Observer = UNOBSERVED) -> Self:
        """Open the store that ``create`` made. ``observer`` is told of its durable writes.

        Raises:
            FileNotFoundError: There is none.
            StoreVersionError: Another version made it, or SQLite is too old.
            StoreUnavailableError: It can't be read.
        """
        store = cls._on(existing_store(data_dir), clock, observer)
        try:
            with store.database.read() as connection:
                check_version(connection)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def _on(cls, path: Path, clock: Clock, observer: Observer = UNOBSERVED) -> Self:
        database, events, deliveries = Database(path, observer=observer), InHand(), InHand()
        return cls(
            clock=clock,
            database=database,
            events=SQLiteEventStore(database, clock),
            queue=SQLiteEventQueue(database, clock, events, InHandFile(path.with_name(path.name + IN_HAND_SUFFIX))),
            contracts=SQLiteContractStore(database, events),
            deliveries=SQLiteDeliveryStore(database, clock, deliveries),
            directory=SQLiteDirectoryStore(database),
            retention=SQLiteRetentionStore(database),
        )

    @property
    def base_url(self) -> str:
        """The hub's base URL, as it was recorded last."""
        with self.database.read() as connection:
            return str(get_meta(connection, "base_url"))

    @property
    def checkers(self) -> int:
        """How many identities a change takes that needs a checker (``Hub.checkers``)."""
        with self.database.read() as connection:
            return int(get_meta(connection, "checkers"))

    def set_base_url(self, base_url: str) -> None:
        """Record the base URL."""
        with self.database.write() as connection:
            set_meta(connection, "base_url", base_url)

    def close(self) -> None:
        """Close every connection; a second time changes nothing."""
        self.queue.close()
        self.database.close()


def migrate(data_dir: Path, on_progress: OnProgress = lambda *_: None) -> bool:
    """Bring an older store forward; tell whether there was anything to do. See ``migrations.migrate``.

    Raises:
        FileNotFoundError: There is none.
    """
    return migrations.migrate(existing_store(data_dir), on_progress=on_progress)


def older_version(data_dir: Path) -> int | None:
    """Return the version of a store that ``migrate`` would bring forward; None for any other.

    Raises:
        FileNotFoundError: There is none.
    """
    connection = connect(existing_store(data_dir), is_reader=True)
    try:
        version = int(get_meta(connection, "schema_version")) if has_tables(connection) else SCHEMA_VERSION
    finally:
        connection.close()
    return version if version < SCHEMA_VERSION else None


def existing_store(data_dir: Path) -> Path:
    """Return the file of the store in a data directory. Raises FileNotFoundError if there is none."""
    path = data_dir / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{data_dir} holds no store; moneta init makes one")
    return path
