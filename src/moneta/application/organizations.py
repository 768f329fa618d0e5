"""Organizations: registered by the operator with their keys, kept up by themselves, moved along their state table.

1. A code (MIC or MPC) is unique for ever; the store refuses one that was given out before.
2. The keys of a creation are proven for the code, since there is no id yet.
3. The organization itself may replace its ``metadata`` and suspend itself; everything else is the operator's.
4. Pending becomes Active only with an ``auth`` and a ``contract`` key that are active.
5. What is open keeps an organization from being Destroyed; a Destroyed one stays, as a tombstone.
6. Where two operators are configured, a change of status waits for the second, unless it is the organization's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from moneta.application.access import Operation, authorize, check_right, visible_to
from moneta.application.authenticate import Caller, CallerRole
from moneta.application.changes import Decision, creation, decide_and_apply, decide_creation
from moneta.application.documents import (
    Document,
    check_if_match,
    check_names,
    check_parameters,
    choice,
    items,
    list_cursor,
    list_limit,
    mapping,
    optional_text,
    parameter_choice,
    parameter_id,
    required,
    text,
    texts,
)
from moneta.application.endpoint_checks import await_check, owe_check
from moneta.application.keyring import public_key
from moneta.application.organization_keys import read_new_keys, register
from moneta.application.organization_readiness import check_ready
from moneta.application.organization_views import (
    CODE_MEMBER,
    active_keys,
    find_organization,
    in_order,
    keys_of,
    organization_document,
    organization_to_change,
    touched,
)
from moneta.application.pending_changes import Asked, with_checker
from moneta.application.ports import DirectoryChange, Hub, Page
from moneta.application.records import make_record
from moneta.application.webhook_secrets import new_secret
from moneta.domain.endpoints import EndpointHealth
from moneta.domain.errors import EndpointNotCheckedError, ForbiddenError
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.ijson import Value
from moneta.domain.limits import CERTIFICATES_MAX, METADATA_MEMBERS_MAX, REASON_CHARS_MAX, URL_CHARS_MAX
from moneta.domain.organization_policies import read_policies
from moneta.domain.organizations import (
    PENDING,
    SUSPEND,
    Organization,
    OrganizationActor,
    OrganizationEvent,
    OrganizationKind,
    OrganizationStatus,
    check_code,
)
from moneta.domain.pending_changes import PendingChange
from moneta.signing.certificates import check_certificate, parse_certificate
from moneta.signing.keys import PublicKey

PROFILE_MEMBERS: Final = ("name", "metadata", "services", "industries", "policies", "certificates")
OWN_MEMBERS: Final = frozenset({"metadata"})
"""What an organization may replace with its own token."""


def create_organization(
    hub: Hub,
    caller: Caller,
    kind: OrganizationKind,
    members: Mapping[str, Value],
    *,
    idempotency_key: str | None = None,
) -> Document:
    """Register an organization with its keys, Pending, and return it with its webhook secret, this once.

    Raises:
        CodeTakenError, KeyTakenError: The code or a key was registered before.
        Refused: The first member that is wrong; see ``read_new_key`` for the keys.
    """
    authorize(caller, Operation.CREATE_ORGANIZATION, owner=None)
    asked = creation(caller, Operation.CREATE_ORGANIZATION, idempotency_key, target=kind, members=members)

    def decide() -> Decision:
        code_member, now = CODE_MEMBER[kind], hub.clock.now_ms()
        check_names(members, (*PROFILE_MEMBERS, code_member, "keys"))
        for name in ("name", code_member, "metadata"):
            required(members, name)
        code = check_code(members[code_member], field=code_member)
        offered = read_new_keys(hub, members, subject=code)
        offered_keys = [key.public for key in offered]
        organization = _with_profile(hub, _unnamed(hub, kind, code, at=now), members, offered_keys)
        keys, position = register(hub, offered, organization.organization_id, at=now)
        shown, secret = new_secret(hub)
        record = make_record(
            hub,
            caller,
            Operation.CREATE_ORGANIZATION,
            subject=organization.organization_id,
            change={"kind": kind, code_member: code, "keys": [key.key_id for key in keys]},
            registry_seq=position,
        )
        return Decision(
            change=DirectoryChange(
                record=record,
                organization=organization,
                keys=keys,
                secrets=(organization.organization_id, (secret,)),
            ),
            answer=Document(
                body={**organization_document(organization, keys, EndpointHealth()), "webhook_secret": shown},
                revision=organization.revision,
            ),
        )

    created = decide_creation(hub, asked, decide)
    if hub.require_endpoint_check and not created.is_replay:
        owe_check(hub, OrganizationId(str(created.body["id"])))
    return created


def update_organization(
    hub: Hub,
    caller: Caller,
    kind: OrganizationKind,
    organization_id: OrganizationId,
    members: Mapping[str, Value],
    *,
    if_match: int | None = None,
) -> Document:
    """Replace the members sent, each whole, and return the organization. A new ``webhook_url`` enables its endpoint.

    Raises:
        ForbiddenError: The organization itself sent another member than ``metadata``.
        NotFoundError, TransitionRefusedError: See ``organization_to_change``.
        PreconditionFailedError: ``if_match`` is another revision.
        Refused: The first member that is wrong.
    """
    authorize(caller, Operation.UPDATE_ORGANIZATION, owner=organization_id)
    if caller.role is not CallerRole.OPERATOR:
        _check_own_members(members)

    def decide() -> Decision:
        organization = organization_to_change(hub, kind, organization_id)
        check_names(members, PROFILE_MEMBERS)
        check_if_match(if_match, organization.revision)
        active = [public_key(key) for key in active_keys(hub, organization_id)]
        changed = touched(_with_profile(hub, organization, members, active), at=hub.clock.now_ms())
        is_moved = changed.webhook_url != organization.webhook_url
        record = make_record(
            hub,
            caller,
            Operation.UPDATE_ORGANIZATION,
            subject=organization_id,
            change={"members": sorted(members), "webhook_url_changed": is_moved},
            registry_seq=hub.directory.registry_position(),
        )
        return Decision(
            change=DirectoryChange(
                record=record, organization=changed, enables_endpoint=organization_id if is_moved else None
            ),
            answer=_answer(hub, changed),
        )

    updated = decide_and_apply(hub, decide)
    if hub.require_endpoint_check and "metadata" in members:
        owe_check(hub, organization_id)
    return updated


def change_organization_status(
    hub: Hub,
    caller: Caller,
    kind: OrganizationKind,
    organization_id: OrganizationId,
    members: Mapping[str, Value],
    *,
    if_match: int | None = None,
) -> Document:
    """Move the organization along its state table, and return it; or what the operator asks, if it takes two.

    Raises:
        ForbiddenError: The organization itself asked for another status than Suspended.
        NotFoundError: There is none of that kind.
        TransitionRefusedError: The table has no such row, keys are missing, or contracts are open.
        EndpointNotCheckedError: Its endpoint does not answer, to a check that was sent now either.
        PreconditionFailedError: ``if_match`` is another revision.
    """
    authorize(caller, Operation.CHANGE_ORGANIZATION_STATUS, owner=organization_id)
    asked = Asked(
        operation=Operation.CHANGE_ORGANIZATION_STATUS,
        subject=organization_id,
        target={"kind": kind, "organization_id": organization_id},
        members=members,
        if_match=if_match,
    )
    decide = with_checker(hub, caller, asked, lambda: decide_status(hub, caller, asked))
    try:
        return decide_and_apply(hub, decide)
    except EndpointNotCheckedError:
        await_check(hub, organization_id)
        return decide_and_apply(hub, decide)


def decide_status(hub: Hub, caller: Caller, asked: Asked | PendingChange) -> Decision:
    """Return the decision of ``change_organization_status``, asked for now or approved now."""
    actor = OrganizationActor.OPERATOR if caller.role is CallerRole.OPERATOR else OrganizationActor.ITSELF
    kind, organization_id = OrganizationKind(asked.target["kind"]), OrganizationId(asked.target["organization_id"])
    organization = find_organization(hub, kind, organization_id, is_fresh=True)
    event, reason = _read_status_change(asked.members, actor)
    check_if_match(asked.if_match, organization.revision)
    changed = organization.changed(event, by=actor, at=hub.clock.now_ms())
    check_ready(hub, organization, event)
    record = make_record(
        hub,
        caller,
        Operation.CHANGE_ORGANIZATION_STATUS,
        subject=organization_id,
        change={"from": organization.status, "to": changed.status, "reason": reason},
        registry_seq=hub.directory.registry_position(),
    )
    return Decision(
        change=DirectoryChange(record=record, organization=changed),
        answer=_answer(hub, changed),
        needs_checker=True,
    )


def read_organization(hub: Hub, caller: Caller, kind: OrganizationKind, organization_id: OrganizationId) -> Document:
    """Return one organization with its keys.

    Raises:
        NotFoundError: There is none of that kind, or it is another than the caller.
    """
    authorize(caller, Operation.READ_ORGANIZATION, owner=organization_id)
    return _answer(hub, find_organization(hub, kind, organization_id))


def list_organizations(hub: Hub, caller: Caller, kind: OrganizationKind, parameters: Mapping[str, str]) -> Document:
    """Return a page of organizations of a kind, newest first; an organization sees itself alone.

    Raises:
        InvalidParameterError: A parameter is unknown or out of range, or the cursor is not one of this list.
    """
    code_member = CODE_MEMBER[kind]
    check_right(caller, Operation.LIST_ORGANIZATIONS)
    check_parameters(parameters, (code_member, "status", "limit", "cursor"))
    page = _page(
        hub,
        kind,
        only=visible_to(caller, Operation.LIST_ORGANIZATIONS),
        code=parameter_id(parameters, code_member),
        status=parameter_choice(parameters, "status", OrganizationStatus),
        limit=list_limit(parameters),
        cursor=list_cursor(parameters),
    )
    ids = [organization.organization_id for organization in page.items]
    keys, health = hub.directory.keys_of(ids), hub.directory.endpoint_health(ids)
    shown = [
        organization_document(one, in_order(keys.get(one.organization_id, {}).values()), health[one.organization_id])
        for one in page.items
    ]
    return Document(body={"items": shown, "next_cursor": page.next_cursor})


def _page(
    hub: Hub,
    kind: OrganizationKind,
    *,
    only: OrganizationId | None,
    code: str | None,
    status: OrganizationStatus | None,
    limit: int,
    cursor: str | None,
) -> Page[Organization]:
    if only is None:
        return hub.directory.list_organizations(kind, code=code, status=status, limit=limit, cursor=cursor)
    own = hub.directory.organizations([only]).values()
    matching = [one for one in own if one.kind is kind and code in {None, one.code} and status in {None, one.status}]
    return Page(items=matching, next_cursor=None)


def _answer(hub: Hub, organization: Organization) -> Document:
    organization_id = organization.organization_id
    keys, health = keys_of(hub, organization_id, is_fresh=True), hub.directory.endpoint_health([organization_id])
    body = organization_document(organization, keys, health[organization_id])
    return Document(body=body, revision=organization.revision)


def _unnamed(hub: Hub, kind: OrganizationKind, code: str, *, at: UnixMillis) -> Organization:
    """Return a new Pending organization, to be given its profile."""
    return Organization(
        organization_id=OrganizationId(hub.randomness.uuid4()),
        kind=kind,
        code=code,
        name="",
        history=((at, PENDING),),
        updated_at=at,
        metadata={},
        policies={},
    )


def _with_profile(
    hub: Hub, organization: Organization, members: Mapping[str, Value], keys: Sequence[PublicKey]
) -> Organization:
    """Return the organization with the members sent, each checked and replaced whole. ``keys``: its active ones."""
    if "name" in members:
        organization = replace(organization, name=text(members, "name"))
    if "metadata" in members:
        organization = replace(organization, metadata=_read_metadata(hub, members))
    if "services" in members:
        organization = replace(organization, services=texts(members, "services"))
    if "industries" in members:
        organization = replace(organization, industries=texts(members, "industries"))
    if "policies" in members:
        policies = mapping(members, "policies")
        read_policies(policies)
        organization = replace(organization, policies=policies)
    if "certificates" in members:
        organization = replace(organization, certificates=_read_certificates(hub, members, keys))
    return organization


def _read_metadata(hub: Hub, members: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the metadata: a ``webhook_url`` that deliveries may go to; other names are kept as they are."""
    metadata = mapping(members, "metadata", members_max=METADATA_MEMBERS_MAX)
    url = text(metadata, "webhook_url", chars_max=URL_CHARS_MAX, prefix="metadata.")
    for name in ("contact_email", "region"):
        optional_text(metadata, name, prefix="metadata.")
    return {**metadata, "webhook_url": hub.check_webhook_url(url)}


def _read_certificates(hub: Hub, members: Mapping[str, Value], keys: Sequence[PublicKey]) -> tuple[str, ...]:
    offered = items(members, "certificates", items_max=CERTIFICATES_MAX)
    certificates = [parse_certificate(pem, field="certificates") for pem in offered]
    for certificate in certificates:
        check_certificate(certificate, keys, now=hub.now_s(), field="certificates")
    return tuple(certificate.pem for certificate in certificates)


def _check_own_members(members: Mapping[str, Value]) -> None:
    for name in members:
        if name in PROFILE_MEMBERS and name not in OWN_MEMBERS:
            raise ForbiddenError(f"{name} is changed by the operator", field=name)


def _read_status_change(members: Mapping[str, Value], actor: OrganizationActor) -> tuple[OrganizationEvent, str | None]:
    check_names(members, ("status", "reason"))
    event = choice(members, "status", OrganizationEvent)
    if actor is OrganizationActor.ITSELF and event is not SUSPEND:
        raise ForbiddenError(f"{event} is for the operator", field="status")
    return event, optional_text(members, "reason", chars_max=REASON_CHARS_MAX)
