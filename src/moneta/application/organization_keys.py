"""The keys of organizations: added with a proof of possession, retired, revoked, compromised, shown to partners.

1. A key is strong, canonical and of no low order, and whoever adds it proves to hold it, to this hub, just now.
2. A ``contract`` key is added by the operator, never with an organization's token: a stolen token must not be able to
   make signatures. For the same reason it can't end one.
3. A key stands with one owner, for ever. Each change takes the next position of the registry.

Contracts that are pending on a key that is compromised are declined by the sweep, which finds the key by its position.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moneta.application.access import IDENTITY_ROLES, Operation, authorize, check_right, not_found
from moneta.application.authenticate import Caller, CallerRole
from moneta.application.changes import Decision, creation, decide_and_apply, decide_creation
from moneta.application.documents import (
    Document,
    check_if_match,
    check_names,
    choice,
    has,
    items,
    required,
    seconds,
    whole_number,
)
from moneta.application.organization_views import (
    find_organization,
    key_document,
    keys_of,
    organization_to_change,
    touched,
)
from moneta.application.pending_changes import Asked, with_checker
from moneta.application.ports import ContractQuery, DirectoryChange, Hub
from moneta.application.records import make_record
from moneta.domain.errors import ForbiddenError, InvalidFieldError, KeyTakenError
from moneta.domain.identifiers import KeyId, OrganizationId, RegistrySeq, UnixMillis, UnixSeconds
from moneta.domain.ijson import Value, type_name
from moneta.domain.keys import (
    ACTIVE,
    COMPROMISED,
    REVOKED,
    KeyActor,
    KeyChange,
    KeyEvent,
    KeyStatus,
    KeyUse,
    RegisteredKey,
)
from moneta.domain.limits import KEYS_PER_ORGANIZATION_MAX
from moneta.domain.organizations import OrganizationKind
from moneta.domain.pending_changes import PendingChange
from moneta.signing.keys import PublicKey, parse_public_jwk
from moneta.signing.statements import verify_key_proof

NEW_KEY_MEMBERS = ("jwk", "use", "proof")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was offered and proven, not registered yet."""

    public: PublicKey
    uses: frozenset[KeyUse]

    def registered(self, owner: OrganizationId, *, seq: RegistrySeq, at: UnixMillis) -> RegisteredKey:
        """Return it as the registry keeps it from position ``seq`` on."""
        change = KeyChange(seq=seq, at=at, status=ACTIVE)
        return RegisteredKey(
            owner=owner, key_id=self.public.key_id, jwk=self.public.jwk, uses=self.uses, changes=(change,)
        )


def read_new_key(hub: Hub, members: Mapping[str, Value], *, subject: str, proven_at: UnixSeconds) -> NewKey:
    """Return the key that ``members`` offer and prove for ``subject``: an organization's id, or at creation its code.

    ``proven_at``: when the proof came, which must be fresh then.

    Raises:
        WeakKeyError, InvalidProofError: See ``parse_public_jwk`` and ``verify_key_proof``.
        KeyTakenError: It is the hub's own.
        UnknownFieldError, MissingFieldError, InvalidFieldError: Other members, or of another form.
    """
    check_names(members, NEW_KEY_MEMBERS)
    public = parse_public_jwk(required(members, "jwk"))
    uses = _read_uses(members)
    proof = required(members, "proof")
    verify_key_proof(proof, public, audience=hub.base_url, subject=subject, now=proven_at)
    if any(own.public.key_id == public.key_id for own in hub.signer.published()):
        raise KeyTakenError(f"key {public.key_id} is the hub's own", kid=public.key_id)
    return NewKey(public=public, uses=uses)


def read_new_keys(hub: Hub, members: Mapping[str, Value], *, subject: str) -> Sequence[NewKey]:
    """Return the keys of a creation's ``keys``: at least one, none of them twice. See ``read_new_key``."""
    required(members, "keys")
    offered = items(members, "keys", items_max=KEYS_PER_ORGANIZATION_MAX)
    if not offered:
        raise InvalidFieldError("keys: expected at least one key", field="keys")
    keys = [read_new_key(hub, _object(item), subject=subject, proven_at=hub.now_s()) for item in offered]
    if len({key.public.key_id for key in keys}) != len(keys):
        raise KeyTakenError("keys: the same key twice", field="keys")
    return keys


def register(
    hub: Hub, keys: Sequence[NewKey], owner: OrganizationId, *, at: UnixMillis
) -> tuple[tuple[RegisteredKey, ...], RegistrySeq]:
    """Return the keys at the next positions of the registry, and the position of the last of them."""
    position = hub.directory.registry_position()
    registered = tuple(key.registered(owner, seq=RegistrySeq(seq), at=at) for seq, key in enumerate(keys, position + 1))
    return registered, RegistrySeq(position + len(keys))


def add_key(
    hub: Hub,
    caller: Caller,
    kind: OrganizationKind,
    organization_id: OrganizationId,
    members: Mapping[str, Value],
    *,
    idempotency_key: str | None = None,
) -> Document:
    """Register one more key, and return it; or what the operator asks, if it takes two.

    Raises:
        ForbiddenError: An organization's own token can't add a ``contract`` key.
        KeyTakenError: The key is registered already, with whomever.
        Refused: See ``read_new_key`` and ``organization_to_change``.
    """
    authorize(caller, Operation.ADD_KEY, owner=organization_id)
    _check_use_is_callers(caller, members)
    asked = creation(caller, Operation.ADD_KEY, idempotency_key, target=organization_id, members=members)

    call = Asked(
        operation=Operation.ADD_KEY,
        subject=organization_id,
        target={"kind": kind, "organization_id": organization_id},
        members=members,
    )
    decide = with_checker(hub, caller, call, lambda: _decide_key(hub, caller, call, proven_at=hub.now_s()))
    return decide_creation(hub, asked, decide)


def decide_pending_key(hub: Hub, caller: Caller, pending: PendingChange) -> Decision:
    """Return the decision of ``add_key`` on what was asked for before; its proof was fresh when it came."""
    return _decide_key(hub, caller, pending, proven_at=UnixSeconds(pending.asked_at // 1000))


def _decide_key(hub: Hub, caller: Caller, asked: Asked | PendingChange, *, proven_at: UnixSeconds) -> Decision:
    kind, organization_id = OrganizationKind(asked.target["kind"]), OrganizationId(asked.target["organization_id"])
    organization = organization_to_change(hub, kind, organization_id)
    new = read_new_key(hub, asked.members, subject=organization_id, proven_at=proven_at)
    if len(keys_of(hub, organization_id, is_fresh=True)) >= KEYS_PER_ORGANIZATION_MAX:
        raise InvalidFieldError(f"an organization has at most {KEYS_PER_ORGANIZATION_MAX} keys", field="jwk")
    now = hub.clock.now_ms()
    (key,), position = register(hub, [new], organization_id, at=now)
    change = {"kid": key.key_id, "use": sorted(key.uses)}
    record = make_record(hub, caller, Operation.ADD_KEY, subject=organization_id, change=change, registry_seq=position)
    return Decision(
        change=DirectoryChange(record=record, organization=touched(organization, at=now), keys=(key,)),
        answer=Document(body=key_document(key), revision=len(key.changes)),
        needs_checker=KeyUse.CONTRACT in key.uses,
    )


def change_key_status(  # noqa: PLR0917  # the path names three things
    hub: Hub,
    caller: Caller,
    kind: OrganizationKind,
    organization_id: OrganizationId,
    key_id: KeyId,
    members: Mapping[str, Value],
    *,
    if_match: int | None = None,
) -> Document:
    """Retire, revoke or mark as compromised one key, and return it; or what the operator asks, if it takes two.

    A key's revision counts its changes.

    Raises:
        ForbiddenError: It is a ``contract`` key and the caller not the operator.
        NotFoundError: The organization has no such key.
        TransitionRefusedError: The key's table has no such row.
        PreconditionFailedError: ``if_match`` is another revision.
    """
    authorize(caller, Operation.CHANGE_KEY_STATUS, owner=organization_id)
    asked = Asked(
        operation=Operation.CHANGE_KEY_STATUS,
        subject=organization_id,
        target={"kind": kind, "organization_id": organization_id, "kid": key_id},
        members=members,
        if_match=if_match,
    )
    return decide_and_apply(hub, with_checker(hub, caller, asked, lambda: decide_key_status(hub, caller, asked)))


def decide_key_status(hub: Hub, caller: Caller, asked: Asked | PendingChange) -> Decision:
    """Return the decision of ``change_key_status``, asked for now or approved now."""
    kind, organization_id = OrganizationKind(asked.target["kind"]), OrganizationId(asked.target["organization_id"])
    organization = organization_to_change(hub, kind, organization_id)
    key = _key_to_change(hub, caller, organization_id, KeyId(asked.target["kid"]))
    check_names(asked.members, ("status", "since"))
    event = choice(asked.members, "status", KeyEvent)
    since = UnixSeconds(whole_number(asked.members, "since")) if has(asked.members, "since") else None
    check_if_match(asked.if_match, len(key.changes))
    now, position = hub.clock.now_ms(), RegistrySeq(hub.directory.registry_position() + 1)
    # The wire names a key's event and the status it leads to by the same word.
    change = KeyChange(seq=position, at=now, status=KeyStatus(event), since=since)
    changed = key.changed(event, by=_key_actor(caller), change=change)
    facts = {"kid": key.key_id, "from": key.status, "to": changed.status, "since": since}
    record = make_record(
        hub, caller, Operation.CHANGE_KEY_STATUS, subject=organization_id, change=facts, registry_seq=position
    )
    return Decision(
        change=DirectoryChange(record=record, organization=touched(organization, at=now), keys=(changed,)),
        answer=Document(body=key_document(changed), revision=len(changed.changes)),
        needs_checker=KeyUse.CONTRACT in key.uses,
    )


def _key_actor(caller: Caller) -> KeyActor:
    return KeyActor.OPERATOR if caller.role is CallerRole.OPERATOR else KeyActor.OWNER


def read_partner_keys(hub: Hub, caller: Caller, kind: OrganizationKind, organization_id: OrganizationId) -> Document:
    """Return an organization's ``contract`` keys as a JWKS, ended ones too: what they signed stays to be verified.

    To the identities, the organization itself, and organizations that share a contract with it (protocol, section 2).
    Beside ``kid``, ``alg`` and ``use: sig``: ``status``, ``registry_seq`` of the last change, ``nbf`` of the
    registration, ``revoked_at`` of a revoked or compromised one.

    Raises:
        NotFoundError: There is none, or the caller shares no contract with it.
    """
    check_right(caller, Operation.READ_PARTNER_KEYS)
    find_organization(hub, kind, organization_id)
    is_known = caller.role in IDENTITY_ROLES or caller.caller_id == organization_id
    if not is_known and not _share_a_contract(hub, caller.caller_id, kind, organization_id):
        raise not_found()
    keys = [key for key in keys_of(hub, organization_id) if KeyUse.CONTRACT in key.uses]
    return Document(body={"keys": [_jwk_document(key) for key in keys]})


def _share_a_contract(hub: Hub, caller_id: OrganizationId, kind: OrganizationKind, partner: OrganizationId) -> bool:
    is_mo = kind is OrganizationKind.MO
    query = ContractQuery(
        visible_to=caller_id, limit=1, mo_id=partner if is_mo else None, publisher_id=None if is_mo else partner
    )
    return bool(hub.contracts.list(query).items)


def _jwk_document(key: RegisteredKey) -> dict[str, object]:
    last = key.changes[-1]
    ended: dict[str, object] = {"revoked_at": seconds(last.at)} if key.status in {REVOKED, COMPROMISED} else {}
    if key.ends_at is not None:
        ended["exp"] = key.ends_at
    return {
        **key.jwk,
        "use": "sig",
        "status": key.status,
        "registry_seq": last.seq,
        "nbf": seconds(key.changes[0].at),
        **ended,
    }


def _key_to_change(hub: Hub, caller: Caller, organization_id: OrganizationId, key_id: KeyId) -> RegisteredKey:
    key = next((one for one in keys_of(hub, organization_id, is_fresh=True) if one.key_id == key_id), None)
    if key is None:
        raise not_found()
    if caller.role is not CallerRole.OPERATOR and KeyUse.CONTRACT in key.uses:
        raise ForbiddenError("the status of a contract key is changed by the operator", kid=key_id)
    return key


def _check_use_is_callers(caller: Caller, members: Mapping[str, Value]) -> None:
    """Refuse a ``contract`` key offered by its owner's token, before anything else of the body is judged."""
    use = members.get("use")
    if caller.role is not CallerRole.OPERATOR and isinstance(use, list) and KeyUse.CONTRACT in use:
        raise ForbiddenError("a contract key is added by the operator", field="use")


def _read_uses(members: Mapping[str, Value]) -> frozenset[KeyUse]:
    required(members, "use")
    uses = items(members, "use", items_max=len(KeyUse))
    if not uses or any(use not in list(KeyUse) for use in uses) or len(set(uses)) != len(uses):
        raise InvalidFieldError(f"use: expected an array of {', '.join(KeyUse)}", field="use", expected=list(KeyUse))
    return frozenset(KeyUse(str(use)) for use in uses)


def _object(item: Value) -> Mapping[str, Value]:
    if not isinstance(item, dict):
        raise InvalidFieldError(f"keys: expected objects, got {type_name(item)}", field="keys")
    return item
