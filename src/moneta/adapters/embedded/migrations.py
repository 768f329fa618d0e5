"""Bringing a store that an older program made forward to this version, whole or not at all.

The rules:

1. Whoever changes ``schema.TABLES`` in a release adds to the one migration to its version what makes a store of the
   version before the same: a test compares every statement of the two schemas.
2. One transaction holds every migration, the check of all references, and the new version's number: what breaks off
   leaves the older store as it was.
3. References are checked at the end, not at each statement, so that a table may be made anew, as SQLite's own procedure
   for that wants it (https://www.sqlite.org/lang_altertable.html, section 7).
4. Whoever waits is told which statement runs, and then which table's references are checked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import apsw

from moneta.adapters.embedded.database import Database, Row, rows
from moneta.adapters.embedded.progress import OnProgress, statement_count, told_statements
from moneta.adapters.embedded.schema import SCHEMA_VERSION, check_version, get_meta, has_tables, set_meta
from moneta.domain.errors import StoreVersionError

_TO_VERSION_2: Final = """
CREATE TEMP TABLE waiting AS
    SELECT messages.event, queue.ready_at, ifnull(tries, 0) AS tries, registry_seq, raw
    FROM messages LEFT JOIN queue USING (event);
DROP TABLE queue;
DROP TABLE messages;
CREATE TABLE messages (
    event INTEGER PRIMARY KEY REFERENCES events,
    ready_at INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    registry_seq INTEGER NOT NULL,
    raw BLOB NOT NULL
) STRICT;
CREATE INDEX messages_ready ON messages (ready_at) WHERE ready_at IS NOT NULL;
INSERT INTO messages SELECT event, ready_at, tries, registry_seq, raw FROM waiting;
DROP TABLE temp.waiting;

ALTER TABLE dead_letters RENAME TO dead_letters_1;
CREATE TABLE dead_letters (
    letter INTEGER PRIMARY KEY AUTOINCREMENT,
    event INTEGER NOT NULL UNIQUE REFERENCES messages,
    tries INTEGER NOT NULL,
    died_at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
INSERT INTO dead_letters SELECT * FROM dead_letters_1;
DROP TABLE dead_letters_1;
ALTER TABLE endpoints ADD COLUMN disabled_reason TEXT;
ALTER TABLE endpoints ADD COLUMN failing_since INTEGER;
ALTER TABLE endpoints ADD COLUMN checked_at INTEGER;
ALTER TABLE endpoints ADD COLUMN checked_url TEXT;
UPDATE endpoints SET disabled_reason = 'gone' WHERE disabled_at IS NOT NULL;

CREATE TABLE pending_changes (
    change INTEGER PRIMARY KEY,
    change_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
INSERT INTO meta (name, value) VALUES ('checkers', 1);

CREATE INDEX contracts_parties_status ON contracts (mo, publisher, status, received_at) WHERE mo IS NOT NULL;
ALTER TABLE contracts ADD COLUMN org INTEGER REFERENCES names;
CREATE INDEX contracts_org ON contracts (org, received_at) WHERE org IS NOT NULL;
CREATE INDEX contracts_org_status ON contracts (org, status, received_at) WHERE org IS NOT NULL;

CREATE TABLE spent (
    mpass INTEGER NOT NULL REFERENCES names,
    currency TEXT NOT NULL,
    period TEXT NOT NULL,
    units TEXT NOT NULL,
    PRIMARY KEY (mpass, currency, period)
) STRICT, WITHOUT ROWID;
ALTER TABLE mpasses ADD COLUMN status_list INTEGER;
ALTER TABLE mpasses ADD COLUMN status_index INTEGER;
CREATE INDEX mpasses_not_valid ON mpasses (mo, status_list, status_index, standing)
    WHERE standing IN ('Locked', 'Revoked');
CREATE TABLE status_positions (
    mo INTEGER PRIMARY KEY REFERENCES names,
    given INTEGER NOT NULL,
    sealed_secret BLOB NOT NULL
) STRICT;
CREATE TABLE status_places_ended (
    mo INTEGER NOT NULL REFERENCES names,
    status_list INTEGER NOT NULL,
    status_index INTEGER NOT NULL,
    PRIMARY KEY (mo, status_list, status_index)
) STRICT, WITHOUT ROWID;
"""

MIGRATIONS: Final[Mapping[int, str]] = {2: _TO_VERSION_2}
"""The statements that bring a store of the version before to each version after the first."""

STRAYS_SHOWN_MAX: Final = 5
_STRAYS: Final = "SELECT * FROM pragma_foreign_key_check(?) LIMIT ?"


def migrate(
    path: Path, *, migrations: Mapping[int, str] = MIGRATIONS, on_progress: OnProgress = lambda *_: None
) -> bool:
    """Bring an older store forward, whole or not at all; tell whether there was anything to do.

    Raises:
        StoreVersionError: It is newer than this program, or of a version that no migration starts from.
        StoreUnavailableError: The disk is full or failing; the store is as it was.
    """
    database = Database(path)
    try:
        with database.rebuild() as connection:
            return _migrate(connection, migrations, on_progress)
    finally:
        database.close()


def _migrate(connection: apsw.Connection, migrations: Mapping[int, str], on_progress: OnProgress) -> bool:
    if not has_tables(connection):
        check_version(connection)
    version = get_meta(connection, "schema_version")
    pending = range(version + 1, SCHEMA_VERSION + 1)
    for step in pending:
        if step not in migrations:
            raise StoreVersionError(f"no migration brings a store to version {step}")
        with told_statements(connection, f"to version {step}", statement_count(migrations[step]), on_progress):
            connection.execute(migrations[step]).fetchall()
        set_meta(connection, "schema_version", step)
    check_version(connection)
    if pending:
        _check_references(connection, on_progress)
    return bool(pending)


def _check_references(connection: apsw.Connection, on_progress: OnProgress) -> None:
    """Return if every reference leads to a row; else the store was damaged before, or a migration is wrong."""
    tables = [name for (name,) in rows(connection, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    strays: list[Row] = []
    with told_statements(connection, "checking the references of each table", len(tables), on_progress):
        for table in tables:
            strays += rows(connection, _STRAYS, (table, STRAYS_SHOWN_MAX - len(strays)))
    if strays:
        shown = ", ".join(f"{table} row {number} to {parent}" for table, number, parent, _ in strays)
        raise StoreVersionError(f"the store has references that lead nowhere, and stays as it was: {shown}")
