"""What an operator's doctor asks of a store and of the disk under it. It leaves nothing behind."""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import apsw

from moneta.adapters.embedded.checks import LOG_GAP, RULES, page_faults
from moneta.adapters.embedded.database import connect, rows, value
from moneta.adapters.embedded.directory_rows import decode_key, decode_organization
from moneta.adapters.embedded.schema import check_version
from moneta.adapters.embedded.signing_key_files import signing_period_end
from moneta.adapters.embedded.store import existing_store
from moneta.domain.identifiers import UnixMillis, UnixSeconds
from moneta.domain.keys import KeyStatus
from moneta.domain.organizations import OrganizationStatus
from moneta.signing.certificates import parse_certificate

FSYNCS: Final = 8
BLOCK_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found. Moments are Unix milliseconds, None where there is nothing; ``broken``: of the store."""

    broken: Sequence[str]
    newest_at: UnixMillis | None
    oldest_event_at: UnixMillis | None
    oldest_delivery_at: UnixMillis | None
    oldest_delivered_at: UnixMillis | None
    dead_letters: int
    dead_deliveries: int
    disabled: Sequence[str]
    failing: Mapping[str, UnixMillis]
    """Who is not disabled yet, and since when nothing but failures came of what was sent."""
    partner_keys: Mapping[str, UnixMillis]
    identity_keys: Mapping[str, UnixMillis]
    """Of each key that may sign now its owner with the key's id, and when it was registered."""
    certificates: Mapping[str, UnixSeconds]
    """Of each certificate of an organization that is not Destroyed its owner with its fingerprint, and when it ends."""
    wal_bytes: int
    store_bytes: int
    free_bytes: int
    fsync_ms: float
    open_files: Sequence[str]
    signing_until: UnixSeconds


def examine(data_dir: Path) -> Examination:
    """Return what there is to know of a hub's store, running or not.

    Raises:
        FileNotFoundError: There is none.
        StoreVersionError, KeyFileError: The hub could not start on it.
    """
    path = existing_store(data_dir)
    wal = path.with_name(f"{path.name}-wal")
    connection = connect(path, is_reader=True)
    try:
        check_version(connection)
        newest, event, delivery, delivered, letters, dead = rows(connection, _ASKED)[0]
        return Examination(
            broken=_broken(connection),
            newest_at=newest,
            oldest_event_at=event,
            oldest_delivery_at=delivery,
            oldest_delivered_at=delivered,
            dead_letters=letters,
            dead_deliveries=dead,
            disabled=[name for (name,) in rows(connection, _DISABLED)],
            failing=dict(rows(connection, _FAILING)),
            partner_keys=_active_keys(connection, _PARTNER_KEYS),
            identity_keys=_active_keys(connection, _IDENTITY_KEYS),
            certificates=_certificates(connection),
            wal_bytes=wal.stat().st_size if wal.exists() else 0,
            store_bytes=path.stat().st_size,
            free_bytes=shutil.disk_usage(data_dir).free,
            fsync_ms=_fsync_ms(data_dir),
            open_files=_open_files(data_dir),
            signing_until=signing_period_end(data_dir),
        )
    finally:
        connection.close()


_ASKED: Final = """
SELECT
    (SELECT max(at) FROM (
        SELECT received_at AS at FROM events WHERE event = (SELECT max(event) FROM events)
        UNION ALL SELECT owed_at FROM deliveries WHERE delivery = (SELECT max(delivery) FROM deliveries)
    )),
    (SELECT min(received_at) FROM messages JOIN events USING (event) WHERE ready_at IS NOT NULL),
    (SELECT min(owed_at) FROM pending JOIN deliveries USING (delivery)),
    (SELECT max(at) FROM attempts WHERE delivery = (SELECT min(delivery) FROM deliveries WHERE status = 1)),
    (SELECT count(*) FROM dead_letters),
    (SELECT count(*) FROM deliveries INDEXED BY deliveries_dead WHERE status = 2)
"""
_DISABLED: Final = (
    "SELECT name FROM endpoints JOIN names ON ref = organization WHERE disabled_at IS NOT NULL ORDER BY 1"
)
_FAILING: Final = """
SELECT name, failing_since FROM endpoints JOIN names ON ref = organization
WHERE disabled_at IS NULL AND failing_since IS NOT NULL ORDER BY failing_since
"""
_PARTNER_KEYS: Final = """
SELECT name, keys.data FROM keys JOIN names ON ref = owner JOIN organizations ON organization = owner
ORDER BY name, key_id
"""
_ORGANIZATIONS: Final = """
SELECT name, kind, code, revision, data FROM organizations JOIN names ON ref = organization WHERE status <> ?
ORDER BY created_at
"""
_IDENTITY_KEYS: Final = """
SELECT name, data FROM keys JOIN names ON ref = owner JOIN identities ON identity_id = name ORDER BY name, key_id
"""


def _active_keys(connection: apsw.Connection, asked: str) -> Mapping[str, UnixMillis]:
    found = ((owner, decode_key(data)) for owner, data in rows(connection, asked))
    return {f"{owner} {key.key_id}": key.changes[0].at for owner, key in found if key.status is KeyStatus.ACTIVE}


def _certificates(connection: apsw.Connection) -> Mapping[str, UnixSeconds]:
    found = [decode_organization(one) for one in rows(connection, _ORGANIZATIONS, (OrganizationStatus.DESTROYED,))]
    read = [(one, parse_certificate(pem, field="certificates")) for one in found for pem in one.certificates]
    return {f"{one.organization_id} {certificate.fingerprint}": certificate.ends_at for one, certificate in read}


def _broken(connection: apsw.Connection) -> Sequence[str]:
    return [*page_faults(connection, is_quick=True), *([LOG_GAP] if value(connection, RULES[LOG_GAP]) else [])]


def _fsync_ms(folder: Path) -> float:
    """Return the median time of writing a block durably."""
    path, took = folder / f".doctor.{os.getpid()}", []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(FSYNCS):
            began_at = time.perf_counter()
            os.write(descriptor, bytes(BLOCK_BYTES))
            os.fdatasync(descriptor)
            took.append((time.perf_counter() - began_at) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(took)


def _open_files(data_dir: Path) -> Sequence[str]:
    """Return what others than the owner can read and should not: keys and the store."""
    private = [data_dir, *data_dir.glob("*.pem"), *data_dir.glob("*.key"), *data_dir.glob("moneta.db*")]
    private += [*data_dir.glob("identities/*"), *data_dir.glob("signing-keys.json")]
    return sorted(str(path) for path in private if path.exists() and path.stat().st_mode & 0o077)
