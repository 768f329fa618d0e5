"""The tables, version 2, and what their small numbers stand for.

The rules:

1. A text that many rows name (organizations, mPasses, contracts, templates) stands once, in ``names``; rows hold its
   number. Enumerations are stored as the numbers in the tables below: append only.
2. What waits (``messages``, ``pending``) stands apart from what stays, so that the pages of the first are
   used again and the rows of the second are written once, small and in order.
3. Rows that stay are appended in the order of their keys, which fills pages to the brim; no index is kept that no query
   below ``list`` or ``take`` needs.
"""

from collections.abc import Sequence
from typing import Final

import apsw

from moneta.adapters.embedded.database import Row, rows, value
from moneta.application.ports import DeliveryStatus, EventStatus, EventType, OwedDelivery, WebhookType
from moneta.domain.errors import StoreVersionError

SCHEMA_VERSION: Final = 2

# fmt: off
EVENT_TYPES:        Final = (EventType.SUBMIT, EventType.SIGN, EventType.DECLINE, EventType.CANCEL)
EVENT_STATUSES:     Final = (EventStatus.ACCEPTED, EventStatus.PROCESSED, EventStatus.REJECTED)
DELIVERY_STATUSES:  Final = (DeliveryStatus.PENDING, DeliveryStatus.DELIVERED, DeliveryStatus.DEAD)
WEBHOOK_TYPES:      Final = (
    WebhookType.SIGNATURE_REQUESTED, WebhookType.FINALIZED, WebhookType.DECLINED, WebhookType.CANCELLED,
    WebhookType.EXPIRED, WebhookType.REJECTED, WebhookType.ENDPOINT_TEST,
    WebhookType.ENDPOINT_CHECK, WebhookType.CERTIFICATE_EXPIRING,
)
# fmt: on
EVENT_TYPE_CODES: Final = {member: code for code, member in enumerate(EVENT_TYPES)}
EVENT_STATUS_CODES: Final = {member: code for code, member in enumerate(EVENT_STATUSES)}
DELIVERY_STATUS_CODES: Final = {member: code for code, member in enumerate(DELIVERY_STATUSES)}
WEBHOOK_TYPE_CODES: Final = {member: code for code, member in enumerate(WEBHOOK_TYPES)}

NO_CONTRACT: Final = "#"
"""What stands in ``names`` for the contract of a message that is about an endpoint; no contract's id."""

LEAF_OF_CONTRACT: Final = 0
LEAF_OF_DIRECTORY: Final = 1

TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE names (ref INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE statuses (status INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE events (
    event INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES names,
    event_id TEXT NOT NULL,
    type INTEGER NOT NULL,
    contract INTEGER NOT NULL REFERENCES names,
    digest BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    status INTEGER NOT NULL DEFAULT 0,
    processed_at INTEGER,
    problem BLOB,
    UNIQUE (event_id, source)
) STRICT;
CREATE INDEX events_unprocessed ON events (contract) WHERE status = 0;

-- The bytes of an event until its outcome. ready_at: NULL for a dead letter. A taking writes nothing here: see in_hand.
CREATE TABLE messages (
    event INTEGER PRIMARY KEY REFERENCES events,
    ready_at INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    registry_seq INTEGER NOT NULL,
    raw BLOB NOT NULL
) STRICT;
CREATE INDEX messages_ready ON messages (ready_at) WHERE ready_at IS NOT NULL;

-- A letter's number is never given again, so that who redrives one twice redrives no other.
CREATE TABLE dead_letters (
    letter INTEGER PRIMARY KEY AUTOINCREMENT,
    event INTEGER NOT NULL UNIQUE REFERENCES messages,
    tries INTEGER NOT NULL,
    died_at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;

-- The audit log, in its order. Nothing is ever deleted, so numbers are given without a gap and never twice.
CREATE TABLE leaves (leaf INTEGER PRIMARY KEY, kind INTEGER NOT NULL, entry BLOB NOT NULL) STRICT;

CREATE TABLE contracts (
    contract INTEGER PRIMARY KEY REFERENCES names,
    template INTEGER NOT NULL REFERENCES names,
    version INTEGER NOT NULL,
    mo INTEGER REFERENCES names,
    publisher INTEGER REFERENCES names,
    mpass INTEGER REFERENCES names,
    status INTEGER NOT NULL REFERENCES statuses,
    created_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    expires_at INTEGER,
    finalized_at INTEGER,
    revision INTEGER NOT NULL,
    org INTEGER REFERENCES names
) STRICT;
CREATE INDEX contracts_received ON contracts (received_at);
CREATE INDEX contracts_status ON contracts (status, received_at);
CREATE INDEX contracts_mo ON contracts (mo, received_at) WHERE mo IS NOT NULL;
CREATE INDEX contracts_mo_status ON contracts (mo, status, received_at) WHERE mo IS NOT NULL;
CREATE INDEX contracts_parties ON contracts (mo, publisher, received_at) WHERE mo IS NOT NULL;
CREATE INDEX contracts_parties_status ON contracts (mo, publisher, status, received_at) WHERE mo IS NOT NULL;
CREATE INDEX contracts_publisher ON contracts (publisher, received_at) WHERE publisher IS NOT NULL;
CREATE INDEX contracts_publisher_status ON contracts (publisher, status, received_at) WHERE publisher IS NOT NULL;
CREATE INDEX contracts_mpass ON contracts (mpass, received_at) WHERE mpass IS NOT NULL;
CREATE INDEX contracts_org ON contracts (org, received_at) WHERE org IS NOT NULL;
CREATE INDEX contracts_org_status ON contracts (org, status, received_at) WHERE org IS NOT NULL;
CREATE INDEX contracts_expiring ON contracts (expires_at) WHERE finalized_at IS NULL AND expires_at IS NOT NULL;

CREATE TABLE steps (
    leaf INTEGER PRIMARY KEY REFERENCES leaves,
    contract INTEGER NOT NULL REFERENCES contracts,
    revision INTEGER NOT NULL,
    step BLOB NOT NULL,
    UNIQUE (contract, revision)
) STRICT;

CREATE TABLE deliveries (
    delivery INTEGER PRIMARY KEY,
    webhook_id TEXT NOT NULL UNIQUE,
    organization INTEGER NOT NULL REFERENCES names,
    type INTEGER NOT NULL,
    contract INTEGER NOT NULL REFERENCES names,
    revision INTEGER NOT NULL,
    owed_at INTEGER NOT NULL,
    status INTEGER NOT NULL DEFAULT 0,
    problem BLOB
) STRICT;
CREATE INDEX deliveries_organization ON deliveries (organization);
CREATE INDEX deliveries_contract ON deliveries (contract);
CREATE INDEX deliveries_open ON deliveries (organization, status) WHERE status <> 1;
CREATE INDEX deliveries_dead ON deliveries (status) WHERE status = 2;

-- What waits to be sent. due_at: NULL behind an older one of the same contract and organization. organization: negated
-- for an endpoint's tests (see deliveries).
CREATE TABLE pending (
    delivery INTEGER PRIMARY KEY REFERENCES deliveries,
    organization INTEGER NOT NULL,
    contract INTEGER NOT NULL,
    due_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX pending_due ON pending (organization, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX pending_line ON pending (contract, organization);

CREATE TABLE attempts (
    delivery INTEGER NOT NULL REFERENCES deliveries,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    http_status INTEGER,
    failure TEXT,
    snippet BLOB,
    PRIMARY KEY (delivery, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE organizations (
    organization INTEGER PRIMARY KEY REFERENCES names,
    kind TEXT NOT NULL,
    code TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (kind, code)
) STRICT;
CREATE INDEX organizations_created ON organizations (kind, created_at);
CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    owner INTEGER NOT NULL REFERENCES names,
    compromised_seq INTEGER,
    data BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_owner ON keys (owner);
CREATE INDEX keys_compromised ON keys (compromised_seq) WHERE compromised_seq IS NOT NULL;
CREATE TABLE endpoints (
    organization INTEGER PRIMARY KEY REFERENCES names,
    secrets BLOB,
    disabled_at INTEGER,
    disabled_reason TEXT,
    failing_since INTEGER,
    checked_at INTEGER,
    checked_url TEXT
) STRICT;
CREATE TABLE mpasses (
    mpass INTEGER PRIMARY KEY REFERENCES names,
    number TEXT NOT NULL UNIQUE,
    mo INTEGER NOT NULL REFERENCES names,
    standing TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER,
    revision INTEGER NOT NULL,
    data BLOB NOT NULL,
    status_list INTEGER,
    status_index INTEGER
) STRICT;
CREATE INDEX mpasses_issued ON mpasses (issued_at);
CREATE INDEX mpasses_mo ON mpasses (mo, issued_at);
CREATE INDEX mpasses_mo_standing ON mpasses (mo, standing, issued_at);
-- All that a status list is built from.
CREATE INDEX mpasses_not_valid ON mpasses (mo, status_list, status_index, standing)
    WHERE standing IN ('Locked', 'Revoked');
-- What transactions have spent of an mPass's limits in a day or a month; units: a decimal, beyond 64 bits.
CREATE TABLE spent (
    mpass INTEGER NOT NULL REFERENCES names,
    currency TEXT NOT NULL,
    period TEXT NOT NULL,
    units TEXT NOT NULL,
    PRIMARY KEY (mpass, currency, period)
) STRICT, WITHOUT ROWID;
CREATE TABLE status_positions (
    mo INTEGER PRIMARY KEY REFERENCES names,
    given INTEGER NOT NULL,
    sealed_secret BLOB NOT NULL
) STRICT;
-- Places of keys that holders had before.
CREATE TABLE status_places_ended (
    mo INTEGER NOT NULL REFERENCES names,
    status_list INTEGER NOT NULL,
    status_index INTEGER NOT NULL,
    PRIMARY KEY (mo, status_list, status_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE templates (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    description TEXT,
    payload BLOB NOT NULL,
    sha256 TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    UNIQUE (name, version)
) STRICT;
CREATE TABLE identities (identity_id TEXT PRIMARY KEY, role TEXT NOT NULL, created_at INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE pending_changes (
    change INTEGER PRIMARY KEY,
    change_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE TABLE remembered (
    caller TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    digest BLOB NOT NULL,
    body BLOB NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (caller, idempotency_key)
) STRICT;
"""


def create_tables(connection: apsw.Connection, *, base_url: str, checkers: int = 1) -> None:
    """Make every table, in the transaction that is open.

    Raises:
        FileExistsError: The file holds a store.
    """
    if has_tables(connection):
        raise FileExistsError("there is a store already")
    connection.execute(TABLES).fetchall()
    meta = {
        "schema_version": SCHEMA_VERSION,
        "base_url": base_url,
        "directory_version": 0,
        "registry_position": 0,
        "swept_to": 0,
        "checkers": checkers,
    }
    connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", list(meta.items()))


def has_tables(connection: apsw.Connection) -> bool:
    """Tell whether the file holds a store."""
    return value(connection, "SELECT 1 FROM sqlite_schema WHERE name = 'meta'") is not None


def check_version(connection: apsw.Connection) -> None:
    """Return if the store is of this version.

    Raises:
        StoreVersionError: It is older (``moneta migrate`` brings it forward), newer, or no store at all.
    """
    if not has_tables(connection):
        raise StoreVersionError(f"expected a store of version {SCHEMA_VERSION}, got a file without one")
    version = get_meta(connection, "schema_version")
    if version != SCHEMA_VERSION:
        hint = "run moneta migrate" if version < SCHEMA_VERSION else "a newer program made it"
        raise StoreVersionError(f"expected a store of version {SCHEMA_VERSION}, got version {version}: {hint}")


def get_meta(connection: apsw.Connection, name: str) -> Row:
    """Return the value that ``meta`` keeps under ``name``, which is there since the store was made."""
    return rows(connection, "SELECT value FROM meta WHERE name = ?", (name,))[0][0]


def set_meta(connection: apsw.Connection, name: str, new: int | str) -> None:
    """Replace the value that ``meta`` keeps under ``name``."""
    connection.execute("UPDATE meta SET value = ? WHERE name = ?", (new, name))


def ref_of(connection: apsw.Connection, name: str) -> int | None:
    """Return the number that stands for ``name``; None if no row was ever written that names it."""
    return value(connection, "SELECT ref FROM names WHERE name = ?", (name,))


class Writing:
    """One write transaction, and the numbers that it has looked up or given, which die with it if it fails.

    ``settled``: the events that have an outcome once it is committed.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.settled: list[int] = []
        self._refs: dict[str, int] = {}
        self._statuses: dict[str, int] = {}

    def ref(self, name: str) -> int:
        """Return the number that stands for ``name``, giving it one if it has none."""
        ref = self._refs.get(name)
        if ref is None:
            ref = self._refs[name] = ref_of(self.connection, name) or self._give("names", name)
        return ref

    def status(self, status: str) -> int:
        """Return the number that stands for a contract's status. There are a dozen, apart from ``names``."""
        ref = self._statuses.get(status)
        if ref is None:
            found = value(self.connection, "SELECT status FROM statuses WHERE name = ?", (status,))
            ref = self._statuses[status] = found or self._give("statuses", status)
        return ref

    def _give(self, table: str, name: str) -> int:
        self.connection.execute(f"INSERT INTO {table} (name) VALUES (?)", (name,))  # noqa: S608  # one of two tables
        return self.connection.last_insert_rowid()


def owed_delivery(columns: Sequence[Row]) -> OwedDelivery:
    """Return the owed delivery of a row: its webhook_id, receiver, type, contract, revision, owed_at and problem."""
    webhook_id, organization_id, kind, contract_id, revision, owed_at, problem = columns
    return OwedDelivery(
        webhook_id=webhook_id,
        organization_id=organization_id,
        type=WEBHOOK_TYPES[kind],
        contract_id=None if contract_id == NO_CONTRACT else contract_id,
        revision=revision,
        owed_at=owed_at,
        problem=problem,
    )
