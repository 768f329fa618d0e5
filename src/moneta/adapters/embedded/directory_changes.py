"""Changes of the directory: each judged whole against what stands there, then written whole.

What no second try can mend (a code or a key that is taken, a version that is there) is said before what one can.
"""

from typing import Final

import apsw

from moneta.adapters.embedded.database import row, value
from moneta.adapters.embedded.directory_rows import (
    decode_key,
    encode_key,
    encode_mpass,
    encode_organization,
    encode_secrets,
    pending_change_columns,
    template_columns,
)
from moneta.adapters.embedded.endpoint_health import enable_endpoint
from moneta.adapters.embedded.schema import LEAF_OF_DIRECTORY, Writing, get_meta, set_meta
from moneta.application.ports import DirectoryChange, DirectoryConflictError, RememberedAnswer
from moneta.domain.errors import CodeTakenError, KeyTakenError, TemplateExistsError
from moneta.domain.keys import KeyStatus, RegisteredKey
from moneta.domain.mpasses import MPass
from moneta.domain.organizations import Organization
from moneta.domain.templates import TemplateRecord


def apply_change(writing: Writing, change: DirectoryChange) -> None:
    """Write ``change``; if this raises, nothing of it was written. See DirectoryStore.apply."""
    connection = writing.connection
    _check_taken(connection, change)
    _check_as_read(connection, change)
    _write_parties(writing, change)
    _write_others(writing, change)
    if change.record is not None:
        connection.execute("INSERT INTO leaves (kind, entry) VALUES (?, ?)", (LEAF_OF_DIRECTORY, change.record))
    if change.organization or change.keys or change.secrets or change.template:
        invalidate_caches(connection)


def apply_if_as_read(writing: Writing, change: DirectoryChange) -> bool:
    """Write what a step does to the directory, and tell whether that is still as it was read; else nothing is written.

    What is taken is no answer here: whoever computes the change again from what is there now will find it.
    """
    try:
        apply_change(writing, change)
    except (DirectoryConflictError, CodeTakenError, KeyTakenError, TemplateExistsError):
        return False
    return True


def invalidate_caches(connection: apsw.Connection) -> None:
    """Let every process read anew what it keeps of the directory."""
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'directory_version'")


def _check_taken(connection: apsw.Connection, change: DirectoryChange) -> None:
    if change.organization is not None:
        _check_code(connection, change.organization)
    for key in change.keys:
        if len(key.changes) == 1 and _stored_key(connection, key) is not None:
            raise KeyTakenError(f"key {key.key_id} stands in the registry already", kid=key.key_id)
    template = change.template
    if template is not None and template.revision == 1 and _template_revision(connection, template) > 0:
        raise TemplateExistsError(
            f"template {template.name} has a version {template.version}",
            template=template.name,
            version=template.version,
        )


def _check_code(connection: apsw.Connection, organization: Organization) -> None:
    holder = value(
        connection,
        "SELECT name FROM organizations JOIN names ON ref = organization WHERE kind = ? AND code = ?",
        (organization.kind, organization.code),
    )
    if holder is not None and holder != organization.organization_id:
        raise CodeTakenError(
            f"{organization.kind} code {organization.code} was given out before", got=organization.code
        )


def _check_as_read(connection: apsw.Connection, change: DirectoryChange) -> None:
    if change.organization is not None:
        stored = value(connection, _ORGANIZATION_REVISION, (change.organization.organization_id,))
        _check_revision("organization", stored or 0, change.organization.revision)
    for mpass in change.mpasses:
        _check_mpass(connection, mpass)
    if change.template is not None:
        _check_revision("template", _template_revision(connection, change.template), change.template.revision)
    if change.identity is not None:
        known = value(connection, "SELECT 1 FROM identities WHERE identity_id = ?", (change.identity.identity_id,))
        _check_absent("identity", known)
    if change.pending_change is not None:
        stored = value(connection, _PENDING_REVISION, (change.pending_change.change_id,))
        _check_revision("pending change", stored or 0, change.pending_change.revision)
    if change.remember is not None:
        remembered = (change.remember.caller, change.remember.idempotency_key)
        _check_absent("Idempotency-Key", value(connection, _REMEMBERED, remembered))
    _check_keys(connection, change.keys)


_ORGANIZATION_REVISION: Final = "SELECT revision FROM organizations JOIN names ON ref = organization WHERE name = ?"
_PENDING_REVISION: Final = "SELECT revision FROM pending_changes WHERE change_id = ?"
_REMEMBERED: Final = "SELECT 1 FROM remembered WHERE caller = ? AND idempotency_key = ?"


def _check_revision(what: str, stored: int, new: int) -> None:
    if stored != new - 1:
        raise DirectoryConflictError(f"{what}: expected revision {new - 1} in the store, got {stored}")


def _check_absent(what: str, found: object) -> None:
    if found is not None:
        raise DirectoryConflictError(f"{what}: expected none in the store")


def _check_mpass(connection: apsw.Connection, mpass: MPass) -> None:
    stored = row(connection, "SELECT revision FROM mpasses JOIN names ON ref = mpass WHERE name = ?", (mpass.mpass_id,))
    _check_revision("mPass", 0 if stored is None else stored[0], mpass.revision)
    if mpass.revision == 1:
        _check_absent("mPass number", value(connection, "SELECT 1 FROM mpasses WHERE number = ?", (mpass.number,)))


def _check_keys(connection: apsw.Connection, keys: tuple[RegisteredKey, ...]) -> None:
    """Refuse keys that were changed since they were read, or positions that another change has taken."""
    position = get_meta(connection, "registry_position")
    seqs = sorted(key.changes[-1].seq for key in keys)
    if seqs != list(range(position + 1, position + 1 + len(keys))):
        raise DirectoryConflictError(f"registry: expected to go on after {position}, got positions {seqs}")
    for key in keys:
        stored = _stored_key(connection, key)
        before = () if stored is None else stored.changes
        if before != key.changes[:-1] or (stored is not None and stored.owner != key.owner):
            raise DirectoryConflictError(f"key {key.key_id}: no longer as it was read")


def _stored_key(connection: apsw.Connection, key: RegisteredKey) -> RegisteredKey | None:
    data = value(connection, "SELECT data FROM keys WHERE key_id = ?", (key.key_id,))
    return None if data is None else decode_key(data)


def _template_revision(connection: apsw.Connection, template: TemplateRecord) -> int:
    place = (template.name, template.version)
    return value(connection, "SELECT revision FROM templates WHERE name = ? AND version = ?", place) or 0


def _write_parties(writing: Writing, change: DirectoryChange) -> None:
    if change.organization is not None:
        _put_organization(writing, change.organization)
    for key in change.keys:
        _put_key(writing, key)
    if change.secrets is not None:
        owner, secrets = change.secrets
        writing.connection.execute(_PUT_SECRETS, (writing.ref(owner), encode_secrets(secrets)))
    if change.enables_endpoint is not None:
        enable_endpoint(writing, change.enables_endpoint)


def _write_others(writing: Writing, change: DirectoryChange) -> None:
    for mpass in change.mpasses:
        _put_mpass(writing, mpass)
    if change.template is not None:
        writing.connection.execute(_PUT_TEMPLATE, template_columns(change.template))
    if change.identity is not None:
        identity = (change.identity.identity_id, change.identity.role, change.identity.created_at)
        writing.connection.execute("INSERT INTO identities (identity_id, role, created_at) VALUES (?, ?, ?)", identity)
    if change.pending_change is not None:
        writing.connection.execute(_PUT_PENDING, pending_change_columns(change.pending_change))
    if change.remember is not None:
        put_remembered(writing.connection, change.remember)


def _put_organization(writing: Writing, organization: Organization) -> None:
    columns = (
        writing.ref(organization.organization_id),
        organization.kind,
        organization.code,
        organization.status,
        organization.created_at,
        organization.revision,
        encode_organization(organization),
    )
    writing.connection.execute(_PUT_ORGANIZATION, columns)


def _put_key(writing: Writing, key: RegisteredKey) -> None:
    compromised = [change.seq for change in key.changes if change.status is KeyStatus.COMPROMISED]
    columns = (key.key_id, writing.ref(key.owner), compromised[0] if compromised else None, encode_key(key))
    writing.connection.execute(_PUT_KEY, columns)
    set_meta(
        writing.connection,
        "registry_position",
        max(key.changes[-1].seq, get_meta(writing.connection, "registry_position")),
    )


def _put_mpass(writing: Writing, mpass: MPass) -> None:
    place = mpass.status_place
    columns = (
        writing.ref(mpass.mpass_id),
        mpass.number,
        writing.ref(mpass.mo_id),
        mpass.standing,
        mpass.issued_at,
        mpass.expires_at,
        mpass.revision,
        encode_mpass(mpass),
        None if place is None else place.list_number,
        None if place is None else place.index,
    )
    writing.connection.execute(_PUT_MPASS, columns)
    if mpass.ended_place is not None:
        ended = (writing.ref(mpass.mo_id), mpass.ended_place.list_number, mpass.ended_place.index)
        writing.connection.execute("INSERT INTO status_places_ended VALUES (?, ?, ?) ON CONFLICT DO NOTHING", ended)


def put_remembered(connection: apsw.Connection, answer: RememberedAnswer) -> None:
    """Write an answer, unless there is one to its key."""
    columns = (answer.caller, answer.idempotency_key, answer.digest, answer.body, answer.at)
    connection.execute("INSERT INTO remembered VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", columns)


_PUT_ORGANIZATION: Final = """
INSERT INTO organizations (organization, kind, code, status, created_at, revision, data) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (organization) DO UPDATE SET code = excluded.code, status = excluded.status, revision = excluded.revision,
    data = excluded.data
"""
_PUT_KEY: Final = """
INSERT INTO keys (key_id, owner, compromised_seq, data) VALUES (?, ?, ?, ?)
ON CONFLICT (key_id) DO UPDATE SET compromised_seq = excluded.compromised_seq, data = excluded.data
"""
_PUT_SECRETS: Final = """
INSERT INTO endpoints (organization, secrets) VALUES (?, ?)
ON CONFLICT (organization) DO UPDATE SET secrets = excluded.secrets
"""
_PUT_MPASS: Final = """
INSERT INTO mpasses
    (mpass, number, mo, standing, issued_at, expires_at, revision, data, status_list, status_index)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (mpass) DO UPDATE SET standing = excluded.standing, expires_at = excluded.expires_at,
    revision = excluded.revision, data = excluded.data, status_list = excluded.status_list,
    status_index = excluded.status_index
"""
_PUT_PENDING: Final = """
INSERT INTO pending_changes (change_id, state, asked_at, revision, data) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (change_id) DO UPDATE SET state = excluded.state, revision = excluded.revision, data = excluded.data
"""
_PUT_TEMPLATE: Final = """
INSERT INTO templates (name, version, description, payload, sha256, status, created_at, revision)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name, version) DO UPDATE SET description = excluded.description, payload = excluded.payload,
    sha256 = excluded.sha256, status = excluded.status, revision = excluded.revision
"""
