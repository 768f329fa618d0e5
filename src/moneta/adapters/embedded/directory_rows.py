"""The directory's values as MessagePack, and back.

Members of ``metadata``, ``policies`` and ``policy`` are whatever JSON a partner sent; a number that is kept as its
digits is an extension type of its own, so that it can't be mistaken for any value that JSON has.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from moneta.adapters.embedded.database import Row
from moneta.application.ports import Identity, IdentityRole, WebhookSecret
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.ijson import NumberText, Value
from moneta.domain.keys import RegisteredKey
from moneta.domain.mpasses import Facts, MPass
from moneta.domain.organizations import Organization, OrganizationKind, OrganizationStatus
from moneta.domain.pending_changes import ChangeState, PendingChange
from moneta.domain.status_places import StatusPlace
from moneta.domain.templates import TemplateRecord, TemplateStatus

NUMBER_TEXT: Final = 1
"""The extension type of a NumberText."""

JSONObject = dict[str, Any]  # What ijson.Value describes; msgspec can't read a type that names itself.


class _Organization(msgspec.Struct, array_like=True, frozen=True):
    """What the columns of an organization's row do not hold."""

    name: str
    history: tuple[tuple[UnixMillis, OrganizationStatus], ...]
    updated_at: UnixMillis
    metadata: JSONObject
    certificates: tuple[str, ...]
    services: tuple[str, ...]
    industries: tuple[str, ...]
    policies: JSONObject


class _PendingChange(msgspec.Struct, array_like=True, frozen=True):
    """What the columns of a pending change's row do not hold."""

    operation: str
    subject: str
    target: dict[str, str]
    members: JSONObject
    if_match: int | None
    asked_by: OrganizationId
    decided_by: OrganizationId | None
    decided_at: UnixMillis | None
    reason: str | None
    problem: bytes | None


class _MPass(msgspec.Struct, array_like=True, frozen=True):
    """What the columns of an mPass's row do not hold."""

    sealed_member_ref: bytes
    tier: str | None
    policy: JSONObject
    holder_jwk: dict[str, str] | None
    history: tuple[Facts, ...]
    ended_place: StatusPlace | None = None


def _packed(value: Value) -> Any:  # What msgspec can encode, whatever the value.
    """Return ``value`` with its NumberTexts as extensions. msgspec would encode them as objects, being dataclasses."""
    if isinstance(value, NumberText):
        return msgspec.msgpack.Ext(NUMBER_TEXT, value.digits.encode("ascii"))
    if isinstance(value, Mapping):
        return {name: _packed(member) for name, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_packed(item) for item in value]
    return value


def _from_extension(code: int, data: memoryview) -> NumberText:
    if code != NUMBER_TEXT:
        raise ValueError(f"a directory value of extension type {code}")
    return NumberText(bytes(data).decode("ascii"))


_encoder: Final = msgspec.msgpack.Encoder()
_organizations: Final = msgspec.msgpack.Decoder(_Organization, ext_hook=_from_extension)
_mpasses: Final = msgspec.msgpack.Decoder(_MPass, ext_hook=_from_extension)
_pending_changes: Final = msgspec.msgpack.Decoder(_PendingChange, ext_hook=_from_extension)
_keys: Final = msgspec.msgpack.Decoder(RegisteredKey)
_secrets: Final = msgspec.msgpack.Decoder(tuple[WebhookSecret, ...])


def encode_organization(organization: Organization) -> bytes:
    """Return what the columns do not hold."""
    return _encoder.encode(
        _Organization(
            name=organization.name,
            history=organization.history,
            updated_at=organization.updated_at,
            metadata=_packed(organization.metadata),
            certificates=organization.certificates,
            services=organization.services,
            industries=organization.industries,
            policies=_packed(organization.policies),
        )
    )


def decode_organization(found: Row) -> Organization:
    """Return the organization of a row: its id, kind, code, revision and data."""
    organization_id, kind, code, revision, data = found
    rest = _organizations.decode(data)
    return Organization(
        organization_id=organization_id,
        kind=OrganizationKind(kind),
        code=code,
        name=rest.name,
        history=rest.history,
        updated_at=rest.updated_at,
        metadata=rest.metadata,
        certificates=rest.certificates,
        services=rest.services,
        industries=rest.industries,
        policies=rest.policies,
        revision=revision,
    )


def encode_mpass(mpass: MPass) -> bytes:
    """Return what the columns do not hold."""
    return _encoder.encode(
        _MPass(
            sealed_member_ref=mpass.sealed_member_ref,
            tier=mpass.tier,
            policy=_packed(mpass.policy),
            holder_jwk=None if mpass.holder_jwk is None else dict(mpass.holder_jwk),
            history=mpass.history,
            ended_place=mpass.ended_place,
        )
    )


def decode_mpass(found: Row) -> MPass:
    """Return the mPass of a row: its id, number, MO, issued_at, expires_at, revision, data and status place."""
    mpass_id, number, mo_id, issued_at, expires_at, revision, data, list_number, index = found
    rest = _mpasses.decode(data)
    return MPass(
        mpass_id=mpass_id,
        number=number,
        mo_id=mo_id,
        sealed_member_ref=rest.sealed_member_ref,
        tier=rest.tier,
        policy=rest.policy,
        holder_jwk=rest.holder_jwk,
        issued_at=issued_at,
        expires_at=expires_at,
        history=rest.history,
        revision=revision,
        status_place=None if index is None else StatusPlace(list_number=list_number, index=index),
        ended_place=rest.ended_place,
    )


def encode_key(key: RegisteredKey) -> bytes:
    """Return the key whole."""
    return _encoder.encode(key)


def decode_key(data: bytes) -> RegisteredKey:
    """Return the key that ``encode_key`` was given."""
    return _keys.decode(data)


def encode_secrets(secrets: tuple[WebhookSecret, ...]) -> bytes:
    """Return the secrets, sealed as they are."""
    return _encoder.encode(secrets)


def decode_secrets(data: bytes | None) -> tuple[WebhookSecret, ...]:
    """Return the secrets that ``encode_secrets`` was given; none for None."""
    return () if data is None else _secrets.decode(data)


def template_columns(template: TemplateRecord) -> tuple[str | int | bytes | None, ...]:
    """Return the row of a template version."""
    return (
        template.name,
        template.version,
        template.description,
        template.payload,
        template.sha256,
        template.status,
        template.created_at,
        template.revision,
    )


def decode_template(found: Row) -> TemplateRecord:
    """Return the version of a row that ``template_columns`` made."""
    name, version, description, payload, sha256, status, created_at, revision = found
    return TemplateRecord(
        name=name,
        version=version,
        description=description,
        payload=payload,
        sha256=sha256,
        status=TemplateStatus(status),
        created_at=created_at,
        revision=revision,
    )


def pending_change_columns(change: PendingChange) -> tuple[str | int | bytes, ...]:
    """Return the row of a pending change."""
    rest = _PendingChange(
        operation=change.operation,
        subject=change.subject,
        target=dict(change.target),
        members=_packed(change.members),
        if_match=change.if_match,
        asked_by=change.asked_by,
        decided_by=change.decided_by,
        decided_at=change.decided_at,
        reason=change.reason,
        problem=change.problem,
    )
    return (change.change_id, change.decided_as, change.asked_at, change.revision, _encoder.encode(rest))


def decode_pending_change(found: Row) -> PendingChange:
    """Return the change of a row that ``pending_change_columns`` made."""
    change_id, state, asked_at, revision, data = found
    rest = _pending_changes.decode(data)
    return PendingChange(
        change_id=change_id,
        operation=rest.operation,
        subject=rest.subject,
        target=rest.target,
        members=rest.members,
        if_match=rest.if_match,
        asked_by=rest.asked_by,
        asked_at=asked_at,
        decided_as=ChangeState(state),
        decided_by=rest.decided_by,
        decided_at=rest.decided_at,
        reason=rest.reason,
        problem=rest.problem,
        revision=revision,
    )


def decode_identity(found: Row) -> Identity:
    """Return the identity of a row: its id, role and created_at."""
    identity_id, role, created_at = found
    return Identity(identity_id=OrganizationId(identity_id), role=IdentityRole(role), created_at=created_at)
