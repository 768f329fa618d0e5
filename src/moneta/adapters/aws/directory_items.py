"""The directory's objects as items of one table: partition ``object``, sort key ``part``.

| object               | part                                   | holds |
|----------------------|----------------------------------------|-------|
| ``org#<id>``         | ``organization``, ``keys``, ``endpoint`` | an organization; all keys of an owner; its secrets |
| ``mpass#<id>``       | ``mpass``                              | an mPass |
| ``positions#<id>``   | ``given``                              | how many status positions an MO was given |
| ``status#<list id>`` | ``<index>``                            | an mPass that its status list calls not valid |
| ``spent#<id>``       | ``<currency>#<period>``                | what an mPass has spent in a day or a month |
| ``templates``        | ``<name>#<version>``                   | a version |
| ``identities``       | ``<id>``                               | an identity |
| ``change#<id>``      | ``change``                             | a change that waits for a checker, or did |
| ``remembered#<id>``  | ``<idempotency key>``                  | an answer to a caller |
| ``registry``         | ``position``, ``swept``                | numbers |
| ``compromised``      | ``<position>``                         | the key that became compromised there |
| ``issuers``          | ``<id>``                               | an MO that issued an mPass |
| ``record#<digest>``  | ``record``                             | Moneta's signed record of a change |
| ``code#…``, ``key#…``, ``number#…`` | ``holder``              | who has what is given out once |

Members that a partner chose are kept as JSON, in which a number keeps its digits.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from moneta.adapters.aws.attributes import Item, Key
from moneta.adapters.aws.buckets import time_key
from moneta.application.documents import to_json
from moneta.application.ports import Endpoint, Identity, IdentityRole, RememberedAnswer, WebhookSecret
from moneta.domain.endpoints import DisabledReason, EndpointHealth, EndpointStatus
from moneta.domain.identifiers import KeyId, MPassId, OrganizationId, RegistrySeq, UnixMillis
from moneta.domain.ijson import Value, parse_object
from moneta.domain.keys import RegisteredKey
from moneta.domain.mpass_policies import SpendingKey
from moneta.domain.mpasses import Facts, MPass
from moneta.domain.organizations import Organization, OrganizationKind, OrganizationStatus
from moneta.domain.pending_changes import ChangeState, PendingChange
from moneta.domain.status_places import StatusPlace, list_id
from moneta.domain.templates import TemplateRecord, TemplateStatus

ORGANIZATION: Final = "organization"
KEYS: Final = "keys"
ENDPOINT: Final = "endpoint"
MPASS: Final = "mpass"
CHANGE: Final = "change"
HOLDER: Final = "holder"
TEMPLATES: Final = "templates"
IDENTITIES: Final = "identities"
ISSUERS: Final = "issuers"
COMPROMISED: Final = "compromised"
POSITION: Final[Key] = {"object": "registry", "part": "position"}
SWEPT: Final[Key] = {"object": "registry", "part": "swept"}
POSITION_DIGITS: Final = 15
CHANGES_LISTING: Final = "changes"
"""The partition of the index ``listing`` that has the changes that were asked for."""


def organization_key(organization: OrganizationId, part: str) -> Key:
    """Return the key of a part of an organization (or of an identity, which has keys alone)."""
    return {"object": f"org#{organization}", "part": part}


def mpass_key(mpass: MPassId) -> Key:
    """Return the key of an mPass."""
    return {"object": f"mpass#{mpass}", "part": MPASS}


def positions_key(mo_id: OrganizationId) -> Key:
    """Return the key of the count of an MO's status positions."""
    return {"object": f"positions#{mo_id}", "part": "given"}


def status_object(mo_id: OrganizationId, list_number: int) -> str:
    """Return the partition of what one of an MO's status lists says otherwise than VALID."""
    return f"status#{list_id(mo_id, list_number)}"


def spent_key(key: SpendingKey) -> Key:
    """Return the key of a counter of what an mPass has spent."""
    mpass, currency, period = key
    return {"object": f"spent#{mpass}", "part": f"{currency}#{period}"}


def template_key(name: str, version: int) -> Key:
    """Return the key of a version of a template."""
    return {"object": TEMPLATES, "part": f"{name}#{version:010d}"}


def change_key(change_id: str) -> Key:
    """Return the key of a change that was asked for."""
    return {"object": f"change#{change_id}", "part": CHANGE}


def remembered_key(caller: OrganizationId, idempotency_key: str) -> Key:
    """Return the key of an answer."""
    return {"object": f"remembered#{caller}", "part": idempotency_key}


def holder_item(kind: str, name: str, owner: str) -> Item:
    """Return the item that says who holds what is given out once."""
    return {"object": f"{kind}#{name}", "part": HOLDER, "owner": owner}


def holder_key(kind: str, name: str) -> Key:
    """Return the key of that item."""
    return {"object": f"{kind}#{name}", "part": HOLDER}


def code_name(kind: OrganizationKind, code: str) -> str:
    """Return the name of a MIC or an MPC among the holders' items."""
    return f"{kind}#{code}"


def position_part(seq: RegistrySeq) -> str:
    """Return the part that sorts by position in the registry."""
    return f"{seq:0{POSITION_DIGITS}d}"


class _Organization(msgspec.Struct, array_like=True, frozen=True):
    history: tuple[tuple[UnixMillis, OrganizationStatus], ...]
    certificates: tuple[str, ...]
    services: tuple[str, ...]
    industries: tuple[str, ...]
    metadata: bytes
    policies: bytes


class _MPass(msgspec.Struct, array_like=True, frozen=True):
    history: tuple[Facts, ...]
    holder_jwk: dict[str, str] | None
    policy: bytes
    ended_place: StatusPlace | None = None


_encoder: Final = msgspec.msgpack.Encoder()
_organizations: Final = msgspec.msgpack.Decoder(_Organization)
_mpasses: Final = msgspec.msgpack.Decoder(_MPass)
_keys: Final = msgspec.msgpack.Decoder(tuple[RegisteredKey, ...])
_secrets: Final = msgspec.msgpack.Decoder(tuple[WebhookSecret, ...])


def organization_item(organization: Organization) -> Item:
    """Return an organization as its item."""
    packed = _Organization(
        history=organization.history,
        certificates=organization.certificates,
        services=organization.services,
        industries=organization.industries,
        metadata=to_json(organization.metadata),
        policies=to_json(organization.policies),
    )
    return {
        **organization_key(organization.organization_id, ORGANIZATION),
        "id": organization.organization_id,
        "kind": organization.kind,
        "code": organization.code,
        "name": organization.name,
        "updated_at": organization.updated_at,
        "revision": organization.revision,
        "data": _encoder.encode(packed),
        "listing": organization_listing(organization.kind),
        "listing_key": time_key(organization.created_at, organization.organization_id),
    }


def organization_listing(kind: OrganizationKind) -> str:
    """Return the partition of the index ``listing`` that has the organizations of a kind."""
    return f"organization#{kind}"


def organization_of(item: Item) -> Organization:
    """Return the organization of an item."""
    packed = _organizations.decode(item["data"])
    return Organization(
        organization_id=item["id"],
        kind=OrganizationKind(item["kind"]),
        code=item["code"],
        name=item["name"],
        history=packed.history,
        updated_at=item["updated_at"],
        metadata=_members(packed.metadata),
        certificates=packed.certificates,
        services=packed.services,
        industries=packed.industries,
        policies=_members(packed.policies),
        revision=item["revision"],
    )


def mpass_item(mpass: MPass) -> Item:
    """Return an mPass as its item."""
    packed = _MPass(
        history=mpass.history,
        holder_jwk=None if mpass.holder_jwk is None else dict(mpass.holder_jwk),
        policy=to_json(mpass.policy),
        ended_place=mpass.ended_place,
    )
    return {
        **mpass_key(mpass.mpass_id),
        "id": mpass.mpass_id,
        "number": mpass.number,
        "mo_id": mpass.mo_id,
        "member_ref": mpass.sealed_member_ref,
        "tier": mpass.tier,
        "issued_at": mpass.issued_at,
        "expires_at": mpass.expires_at,
        "revision": mpass.revision,
        "data": _encoder.encode(packed),
        "listing": mpass_listing(mpass.mo_id),
        "listing_key": time_key(mpass.issued_at, mpass.mpass_id),
        "status_list": None if mpass.status_place is None else mpass.status_place.list_number,
        "status_index": None if mpass.status_place is None else mpass.status_place.index,
    }


def mpass_listing(mo_id: OrganizationId) -> str:
    """Return the partition of the index ``listing`` that has the mPasses of an MO."""
    return f"mpass#{mo_id}"


def mpass_of(item: Item) -> MPass:
    """Return the mPass of an item."""
    packed = _mpasses.decode(item["data"])
    return MPass(
        mpass_id=item["id"],
        number=item["number"],
        mo_id=item["mo_id"],
        sealed_member_ref=item["member_ref"],
        tier=item.get("tier"),
        policy=_members(packed.policy),
        holder_jwk=packed.holder_jwk,
        issued_at=item["issued_at"],
        expires_at=item.get("expires_at"),
        history=packed.history,
        revision=item["revision"],
        status_place=_place_of(item),
        ended_place=packed.ended_place,
    )


def _place_of(item: Item) -> StatusPlace | None:
    index = item.get("status_index")
    return None if index is None else StatusPlace(list_number=item["status_list"], index=index)


def keys_item(owner: OrganizationId, keys: Sequence[RegisteredKey]) -> Item:
    """Return all keys of an owner as one item: they are read together, and change seldom."""
    return {**organization_key(owner, KEYS), "id": owner, "keys": _encoder.encode(list(keys))}


def keys_of_item(item: Item) -> dict[KeyId, RegisteredKey]:
    """Return the keys of an item, in the order in which they were registered."""
    return {key.key_id: key for key in _keys.decode(item["keys"])}


def pack_secrets(secrets: Sequence[WebhookSecret]) -> bytes:
    """Return secrets, sealed as they are."""
    return _encoder.encode(list(secrets))


def endpoint_of(organization: Organization, item: Item) -> Endpoint:
    """Return an organization's endpoint; ``item`` is empty where nothing was ever written of it."""
    return Endpoint(
        organization_id=organization.organization_id,
        url=organization.webhook_url,
        secrets=_secrets.decode(item["secrets"]) if "secrets" in item else (),
    )


def endpoint_listing(status: EndpointStatus) -> str:
    """Return the partition of the index ``listing`` that has the endpoints which stand so; enabled ones are in none."""
    return f"endpoint#{status}"


def health_of(item: Item) -> EndpointHealth:
    """Return how an endpoint stands; ``item`` is empty where nothing was ever written of it."""
    reason = item.get("disabled_reason")
    return EndpointHealth(
        failing_since=item.get("failing_since"),
        disabled_at=item.get("disabled_at"),
        reason=None if reason is None else DisabledReason(reason),
        checked_at=item.get("checked_at"),
        checked_url=item.get("checked_url"),
    )


def template_item(record: TemplateRecord) -> Item:
    """Return a version of a template as its item."""
    return {
        **template_key(record.name, record.version),
        "name": record.name,
        "version": record.version,
        "description": record.description,
        "payload": record.payload,
        "sha256": record.sha256,
        "status": record.status,
        "created_at": record.created_at,
        "revision": record.revision,
    }


def template_of(item: Item) -> TemplateRecord:
    """Return the version of an item."""
    return TemplateRecord(
        name=item["name"],
        version=item["version"],
        description=item.get("description"),
        payload=item["payload"],
        sha256=item["sha256"],
        status=TemplateStatus(item["status"]),
        created_at=item["created_at"],
        revision=item["revision"],
    )


def identity_item(identity: Identity) -> Item:
    """Return an identity as its item."""
    return {
        "object": IDENTITIES,
        "part": identity.identity_id,
        "role": identity.role,
        "created_at": identity.created_at,
    }


def identity_of(item: Item) -> Identity:
    """Return the identity of an item."""
    return Identity(
        identity_id=OrganizationId(item["part"]), role=IdentityRole(item["role"]), created_at=item["created_at"]
    )


def change_item(change: PendingChange) -> Item:
    """Return a change that was asked for as its item."""
    return {
        **change_key(change.change_id),
        "id": change.change_id,
        "operation": change.operation,
        "subject": change.subject,
        "target": to_json(change.target),
        "members": to_json(change.members),
        "if_match": change.if_match,
        "asked_by": change.asked_by,
        "asked_at": change.asked_at,
        "state": change.decided_as,
        "decided_by": change.decided_by,
        "decided_at": change.decided_at,
        "reason": change.reason,
        "problem": change.problem,
        "revision": change.revision,
        "listing": CHANGES_LISTING,
        "listing_key": time_key(change.asked_at, change.change_id),
    }


def change_of(item: Item) -> PendingChange:
    """Return the change of an item."""
    return PendingChange(
        change_id=item["id"],
        operation=item["operation"],
        subject=item["subject"],
        target={name: str(value) for name, value in _members(item["target"]).items()},
        members=_members(item["members"]),
        if_match=item.get("if_match"),
        asked_by=item["asked_by"],
        asked_at=item["asked_at"],
        decided_as=ChangeState(item["state"]),
        decided_by=item.get("decided_by"),
        decided_at=item.get("decided_at"),
        reason=item.get("reason"),
        problem=item.get("problem"),
        revision=item["revision"],
    )


def remembered_item(answer: RememberedAnswer) -> Item:
    """Return an answer as its item."""
    return {
        **remembered_key(answer.caller, answer.idempotency_key),
        "caller": answer.caller,
        "digest": answer.digest,
        "body": answer.body,
        "at": answer.at,
    }


def remembered_of(item: Item) -> RememberedAnswer:
    """Return the answer of an item."""
    return RememberedAnswer(
        caller=item["caller"], idempotency_key=item["part"], digest=item["digest"], body=item["body"], at=item["at"]
    )


def _members(raw: bytes) -> Mapping[str, Value]:
    return parse_object(raw, what="directory")
