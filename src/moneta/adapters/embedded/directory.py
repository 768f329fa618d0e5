"""The directory: read on every event and changed rarely, so each process keeps what it read until something changes.

``directory_version`` in ``meta`` counts the changes. Each call reads it first, one row that is always in memory, and
drops what is kept of another version; so what a call returns is exact. mPasses are many, each named seldom: not kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import apsw

from moneta.adapters.embedded.cursors import Filter, Place, bad_cursor, make_cursor, read_cursor
from moneta.adapters.embedded.database import Database, row, rows, value
from moneta.adapters.embedded.directory_changes import apply_change, put_remembered
from moneta.adapters.embedded.directory_rows import (
    decode_identity,
    decode_key,
    decode_mpass,
    decode_organization,
    decode_pending_change,
    decode_secrets,
    decode_template,
)
from moneta.adapters.embedded.endpoint_health import count_endpoints, read_health
from moneta.adapters.embedded.schema import Writing, get_meta, ref_of, set_meta
from moneta.adapters.embedded.spending import read_spent
from moneta.application.ports import DirectoryChange, Endpoint, Identity, Page, RememberedAnswer
from moneta.domain.endpoints import EndpointHealth, EndpointStatus
from moneta.domain.identifiers import KeyId, MPassId, OrganizationId, RegistrySeq, UnixMillis
from moneta.domain.keys import RegisteredKey
from moneta.domain.limits import CACHE_ENTRIES_MAX, CHANGE_AGE_S_MAX
from moneta.domain.mpass_policies import SpendingKey
from moneta.domain.mpasses import LISTED_STATUSES, MPass, MPassStatus
from moneta.domain.organizations import Organization, OrganizationKind, OrganizationStatus
from moneta.domain.pending_changes import ChangeState, PendingChange
from moneta.domain.status_places import ListedStatus, TakenPositions
from moneta.domain.templates import TemplateRecord

Id = TypeVar("Id")
Kept = TypeVar("Kept")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _Cache:
    """What was read of one version of the directory. None stands for what is not there."""

    version: int
    organizations: dict[OrganizationId, Organization | None] = field(default_factory=dict)
    keys: dict[OrganizationId, Mapping[KeyId, RegisteredKey] | None] = field(default_factory=dict)
    endpoints: dict[OrganizationId, Endpoint | None] = field(default_factory=dict)
    templates: dict[tuple[str, int], TemplateRecord | None] = field(default_factory=dict)


class SQLiteDirectoryStore:
    """See ``ports.DirectoryStore``. Every read is fresh."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache = _Cache(-1)

    def registry_position(self) -> RegistrySeq:
        """See DirectoryStore.registry_position."""
        return self._meta("registry_position")

    def organizations(
        self,
        ids: Sequence[OrganizationId],
        *,
        is_fresh: bool = False,  # noqa: ARG002  # every read is
    ) -> Mapping[OrganizationId, Organization]:
        """See DirectoryStore.organizations."""
        with self._database.read() as connection:
            return _look_up(connection, self._current(connection).organizations, ids, _read_organization)

    def keys_of(
        self,
        owners: Sequence[OrganizationId],
        *,
        is_fresh: bool = False,  # noqa: ARG002  # every read is
    ) -> Mapping[OrganizationId, Mapping[KeyId, RegisteredKey]]:
        """See DirectoryStore.keys_of."""
        with self._database.read() as connection:
            return _look_up(connection, self._current(connection).keys, owners, _read_keys)

    def key_holder(self, key_id: KeyId) -> OrganizationId | None:
        """See DirectoryStore.key_holder."""
        with self._database.read() as connection:
            data = value(connection, "SELECT data FROM keys WHERE key_id = ?", (key_id,))
        return None if data is None else decode_key(data).owner

    def compromised_since(self, seq: RegistrySeq) -> Sequence[RegisteredKey]:
        """See DirectoryStore.compromised_since."""
        with self._database.read() as connection:
            found = rows(connection, "SELECT data FROM keys WHERE compromised_seq > ? ORDER BY compromised_seq", (seq,))
        return [decode_key(data) for (data,) in found]

    def swept_to(self) -> RegistrySeq:
        """See DirectoryStore.swept_to."""
        return self._meta("swept_to")

    def mark_swept(self, seq: RegistrySeq) -> None:
        """See DirectoryStore.mark_swept."""
        with self._database.write() as connection:
            set_meta(connection, "swept_to", max(seq, get_meta(connection, "swept_to")))

    def mpasses(self, ids: Sequence[MPassId]) -> Mapping[MPassId, MPass]:
        """See DirectoryStore.mpasses."""
        with self._database.read() as connection:
            return _look_up(connection, {}, ids, _read_mpass)

    def take_status_positions(self, mo_id: OrganizationId, count: int, *, sealed_secret: bytes) -> TakenPositions:
        """See DirectoryStore.take_status_positions."""
        # Without an fsync: the commit of an mPass that has one of them syncs this one too, which stands before it.
        with self._database.write_unsynced() as connection:
            bindings = (Writing(connection).ref(mo_id), count, sealed_secret)
            given, secret = rows(connection, _TAKE_POSITIONS, bindings)[0]
        return TakenPositions(first=given - count, count=count, sealed_secret=secret)

    def status_positions_given(self, mo_id: OrganizationId) -> int:
        """See DirectoryStore.status_positions_given."""
        with self._database.read() as connection:
            return value(connection, _POSITIONS_GIVEN, (mo_id,)) or 0

    def not_valid(self, mo_id: OrganizationId, list_number: int) -> Mapping[int, ListedStatus]:
        """See DirectoryStore.not_valid."""
        with self._database.read() as connection:
            found = rows(connection, _NOT_VALID, {"mo": mo_id, "list": list_number})
        return {index: LISTED_STATUSES[MPassStatus(standing)] for index, standing in found}

    def spent(self, keys: Sequence[SpendingKey]) -> Mapping[SpendingKey, int]:
        """See DirectoryStore.spent."""
        with self._database.read() as connection:
            return read_spent(connection, keys)

    def mpass_numbers(self, numbers: Sequence[str]) -> Mapping[str, MPassId]:
        """See DirectoryStore.mpass_numbers."""
        with self._database.read() as connection:
            return dict(rows(connection, _MPASS_NUMBERS, (apsw.carray(tuple(numbers)),)) if numbers else ())

    def template(self, name: str, version: int) -> TemplateRecord | None:
        """See DirectoryStore.template."""
        place = (name, version)
        with self._database.read() as connection:
            return _look_up(connection, self._current(connection).templates, (place,), _read_template).get(place)

    def templates(self, name: str | None = None) -> Sequence[TemplateRecord]:
        """See DirectoryStore.templates."""
        with self._database.read() as connection:
            return [decode_template(found) for found in rows(connection, _TEMPLATES, {"name": name})]

    def identities(self) -> Sequence[Identity]:
        """See DirectoryStore.identities."""
        with self._database.read() as connection:
            found = rows(connection, "SELECT identity_id, role, created_at FROM identities ORDER BY created_at")
        return [decode_identity(one) for one in found]

    def endpoints(self, ids: Sequence[OrganizationId]) -> Mapping[OrganizationId, Endpoint]:
        """See DirectoryStore.endpoints."""
        with self._database.read() as connection:
            return _look_up(connection, self._current(connection).endpoints, ids, _read_endpoint)

    def endpoint_health(self, ids: Sequence[OrganizationId]) -> Mapping[OrganizationId, EndpointHealth]:
        """See DirectoryStore.endpoint_health."""
        with self._database.read() as connection:
            return {one: read_health(connection, one) for one in ids}

    def endpoint_counts(self) -> Mapping[EndpointStatus, int]:
        """See DirectoryStore.endpoint_counts."""
        with self._database.read() as connection:
            return count_endpoints(connection)

    def list_organizations(
        self,
        kind: OrganizationKind,
        *,
        code: str | None,
        status: OrganizationStatus | None,
        limit: int,
        cursor: str | None,
    ) -> Page[Organization]:
        """See DirectoryStore.list_organizations."""
        filters = ("organizations", kind, code, status)
        with self._database.read() as connection:
            at, ref = _after(connection, cursor, filters)
            bindings = {"kind": kind, "code": code, "status": status, "at": at, "ref": ref, "limit": limit + 1}
            found = [decode_organization(one) for one in rows(connection, _ORGANIZATIONS, bindings)]
        return _page(found, limit, lambda last: make_cursor(last.created_at, last.organization_id, filters=filters))

    def list_mpasses(
        self,
        *,
        mo_id: OrganizationId | None,
        status: MPassStatus | None,
        now: UnixMillis,
        limit: int,
        cursor: str | None,
    ) -> Page[MPass]:
        """See DirectoryStore.list_mpasses."""
        filters = ("mpasses", mo_id, status)
        with self._database.read() as connection:
            at, ref = _after(connection, cursor, filters)
            mo = None if mo_id is None else ref_of(connection, mo_id)
            condition = _CONDITIONS[status] + ("" if mo_id is None else " AND mo = :mo")
            bindings = {"mo": mo, "now_s": now // 1000, "at": at, "ref": ref, "limit": limit + 1}
            found = [decode_mpass(one) for one in rows(connection, _MPASSES.format(condition=condition), bindings)]
        return _page(found, limit, lambda last: make_cursor(last.issued_at, last.mpass_id, filters=filters))

    def pending_change(self, change_id: str) -> PendingChange | None:
        """See DirectoryStore.pending_change."""
        with self._database.read() as connection:
            found = row(connection, f"{_PENDING} WHERE change_id = ?", (change_id,))
        return None if found is None else decode_pending_change(found)

    def list_pending_changes(
        self, *, state: ChangeState | None, now: UnixMillis, limit: int, cursor: str | None
    ) -> Page[PendingChange]:
        """See DirectoryStore.list_pending_changes."""
        filters = ("pending_changes", state)
        with self._database.read() as connection:
            after = 2**63 - 1 if cursor is None else _change_number(connection, read_cursor(cursor, filters=filters))
            bindings = {
                "after": after,
                "state": ChangeState.AWAITING if state is ChangeState.EXPIRED else state,
                "is_expired": {ChangeState.EXPIRED: 1, ChangeState.AWAITING: 0}.get(state) if state else None,
                "expired_at": now - CHANGE_AGE_S_MAX * 1000,
                "limit": limit + 1,
            }
            found = [decode_pending_change(one) for one in rows(connection, _PENDING_CHANGES, bindings)]
        return _page(found, limit, lambda last: make_cursor(last.asked_at, last.change_id, filters=filters))

    def remembered(self, caller: OrganizationId, idempotency_key: str) -> RememberedAnswer | None:
        """See DirectoryStore.remembered."""
        with self._database.read() as connection:
            found = row(connection, _REMEMBERED, (caller, idempotency_key))
        if found is None:
            return None
        digest, body, at = found
        return RememberedAnswer(caller=caller, idempotency_key=idempotency_key, digest=digest, body=body, at=at)

    def remember(self, answer: RememberedAnswer) -> None:
        """See DirectoryStore.remember."""
        with self._database.write() as connection:
            put_remembered(connection, answer)

    def apply(self, change: DirectoryChange) -> None:
        """See DirectoryStore.apply."""
        with self._database.write() as connection:
            apply_change(Writing(connection), change)

    def _meta(self, name: str) -> RegistrySeq:
        with self._database.read() as connection:
            return RegistrySeq(get_meta(connection, name))

    def _current(self, connection: apsw.Connection) -> _Cache:
        """Return what is kept of the directory as it is now.

        The version is read before any row that goes into its cache, so that a row can be newer than its cache says,
        which the next call finds out, and never older.
        """
        version, cache = get_meta(connection, "directory_version"), self._cache
        if cache.version != version:
            cache = self._cache = _Cache(version)
        return cache


def _look_up(
    connection: apsw.Connection,
    kept: dict[Id, Kept | None],
    ids: Sequence[Id],
    read: Callable[[apsw.Connection, Id], Kept | None],
) -> Mapping[Id, Kept]:
    """Return those of ``ids`` that exist, reading and keeping those that are not kept yet."""
    found: dict[Id, Kept] = {}
    for one in ids:
        if one not in kept:
            if len(kept) >= CACHE_ENTRIES_MAX:
                kept.clear()
            kept[one] = read(connection, one)
        item = kept[one]
        if item is not None:
            found[one] = item
    return found


def _read_organization(connection: apsw.Connection, organization_id: OrganizationId) -> Organization | None:
    found = row(connection, _ORGANIZATION, (organization_id,))
    return None if found is None else decode_organization(found)


def _read_keys(connection: apsw.Connection, owner: OrganizationId) -> Mapping[KeyId, RegisteredKey] | None:
    found = rows(connection, "SELECT data FROM keys JOIN names ON ref = owner WHERE name = ?", (owner,))
    return {key.key_id: key for key in (decode_key(data) for (data,) in found)} or None


def _read_mpass(connection: apsw.Connection, mpass_id: MPassId) -> MPass | None:
    found = row(connection, _MPASS, (mpass_id,))
    return None if found is None else decode_mpass(found)


def _read_template(connection: apsw.Connection, place: tuple[str, int]) -> TemplateRecord | None:
    found = row(connection, "SELECT * FROM templates WHERE name = ? AND version = ?", place)
    return None if found is None else decode_template(found)


def _read_endpoint(connection: apsw.Connection, organization_id: OrganizationId) -> Endpoint | None:
    organization = _read_organization(connection, organization_id)
    if organization is None:
        return None
    secrets = value(connection, _SECRETS, (organization_id,))
    return Endpoint(
        organization_id=organization_id,
        url=organization.webhook_url,
        secrets=decode_secrets(secrets),
    )


_ORGANIZATION: Final = """
SELECT name, kind, code, revision, data FROM organizations JOIN names ON ref = organization WHERE name = ?
"""
_SECRETS: Final = "SELECT secrets FROM endpoints JOIN names ON ref = organization WHERE name = ?"
_TEMPLATES: Final = "SELECT * FROM templates WHERE :name IS NULL OR name = :name ORDER BY name, version"
_REMEMBERED: Final = "SELECT digest, body, at FROM remembered WHERE caller = ? AND idempotency_key = ?"
_ORGANIZATIONS: Final = """
SELECT name, kind, code, revision, data FROM organizations JOIN names ON ref = organization
WHERE kind = :kind AND (:code IS NULL OR code = :code) AND (:status IS NULL OR status = :status)
    AND (created_at, organization) < (:at, :ref)
ORDER BY created_at DESC, organization DESC LIMIT :limit
"""
_PENDING: Final = "SELECT change_id, state, asked_at, revision, data FROM pending_changes"
_PENDING_CHANGES: Final = f"""
{_PENDING}
WHERE change < :after AND (:state IS NULL OR state = :state)
    AND (:is_expired IS NULL OR (asked_at <= :expired_at) = :is_expired)
ORDER BY change DESC LIMIT :limit
"""
_MPASS: Final = """
SELECT pass.name, number, issuer.name, issued_at, expires_at, revision, data, status_list, status_index
FROM names AS pass JOIN mpasses ON mpass = pass.ref JOIN names AS issuer ON issuer.ref = mo
WHERE pass.name = ?
"""
_MPASSES: Final = """
SELECT pass.name, number, issuer.name, issued_at, expires_at, revision, data, status_list, status_index
FROM mpasses JOIN names AS pass ON pass.ref = mpass JOIN names AS issuer ON issuer.ref = mo
WHERE (issued_at, mpass) < (:at, :ref) AND {condition}
ORDER BY issued_at DESC, mpass DESC LIMIT :limit
"""
_TAKE_POSITIONS: Final = """
INSERT INTO status_positions (mo, given, sealed_secret) VALUES (?, ?, ?)
ON CONFLICT (mo) DO UPDATE SET given = given + excluded.given RETURNING given, sealed_secret
"""
_POSITIONS_GIVEN: Final = "SELECT given FROM status_positions JOIN names ON ref = mo WHERE name = ?"
_NOT_VALID: Final = """
SELECT status_index, standing FROM mpasses
WHERE mo = (SELECT ref FROM names WHERE name = :mo) AND status_list = :list AND standing IN ('Locked', 'Revoked')
UNION ALL
SELECT status_index, 'Revoked' FROM status_places_ended
WHERE mo = (SELECT ref FROM names WHERE name = :mo) AND status_list = :list
"""
_MPASS_NUMBERS: Final = "SELECT number, name FROM mpasses JOIN names ON ref = mpass WHERE number IN carray(?)"
_UNEXPIRED: Final = "ifnull(expires_at > :now_s, 1)"
_CONDITIONS: Final[Mapping[MPassStatus | None, str]] = {
    None: ":now_s = :now_s",
    MPassStatus.PENDING: f"standing = 'Pending' AND {_UNEXPIRED}",
    MPassStatus.ACTIVE: f"standing = 'Active' AND {_UNEXPIRED}",
    MPassStatus.LOCKED: f"standing = 'Locked' AND {_UNEXPIRED}",
    MPassStatus.EXPIRED: f"standing <> 'Revoked' AND NOT {_UNEXPIRED}",
    MPassStatus.REVOKED: "standing = 'Revoked' AND :now_s = :now_s",
}


def _after(connection: apsw.Connection, cursor: str | None, filters: Sequence[Filter]) -> tuple[int, int]:
    """Return the moment and the number that a page begins below."""
    if cursor is None:
        return 2**63 - 1, 2**63 - 1
    place = read_cursor(cursor, filters=filters)
    ref = ref_of(connection, place.name)
    if ref is None:
        raise bad_cursor()
    return place.at, ref


def _change_number(connection: apsw.Connection, place: Place) -> int:
    """Return the number of the change that a page ended with."""
    number = value(connection, "SELECT change FROM pending_changes WHERE change_id = ?", (place.name,))
    if number is None:
        raise bad_cursor()
    return int(number)


def _page(found: Sequence[Item], limit: int, cursor_of: Callable[[Item], str]) -> Page[Item]:
    """Return the first ``limit`` of ``found``, which has one more if there is another page."""
    items = found[:limit]
    return Page(items=items, next_cursor=cursor_of(items[-1]) if len(found) > limit else None)
