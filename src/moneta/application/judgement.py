"""Judge one event: what it adds to its contract, or why it is refused. Pure: everything it needs is handed in.

A submission, step by step (protocol, sections 2, 3, 4 and 9):

1. The body has the members of section 3, and nobody holds its contract_id.
2. It was received before the contract's term.
3. The template version is known and takes new contracts.
4. The ids that the body names exist, each of its kind, the mPass with that MO. A Pending organization sends nothing but
   what onboards it.
5. The one signature is by the template's initiator, which is the event's source.
6. Its header is the one that must be signed here, its key valid, its signature true.
7. Required fields, money and JSON Schema hold. A key that the contract adds is one that may be registered, and stands
   with nobody; the contract that it supersedes is one that may be.
8. The template's guards hold, at the receipt and now.

A further signature:

1. The contract exists and names the source, which sends nothing while Pending but what onboards it (``judge``;
   likewise for acts).
2. A valid signature by a role that signed already changes nothing, even after the end.
3. The contract is open, and was when the event came; no signature on it is by a compromised key.
4. The body's bytes and the signatures of the complete steps are those that are stored.
5. It is the source's turn.
6. As 6 above.

An act:

1. The contract exists and names the source.
2. Its key is valid, its signature true, its ``prev`` the head after some complete step.
3. Repeating it changes nothing.
4. The contract is open, and was when the event came.
5. A party may decline while its own signature is missing; the initiator may cancel while no other party signed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from moneta.application.circumstances import (
    Circumstances,
    Countersignature,
    Further,
    Message,
    PartyAct,
    Submission,
    compiled_template,
)
from moneta.application.guards import check_guards
from moneta.application.keyring import check_none_compromised, public_key
from moneta.application.ports import CompiledTemplate
from moneta.domain.contract_body import PARTY_MEMBERS, ContractBody, body_of, supersedable_parts
from moneta.domain.contracts import (
    Act,
    ActName,
    Contract,
    EndStatus,
    Signature,
    check_may_cancel,
    check_may_decline,
    effective_expiry,
    end_of,
    next_signers,
    signatures_by_step,
    status_of,
)
from moneta.domain.errors import (
    ContractClosedError,
    ContractExistsError,
    ContractExpiredError,
    KeyTakenError,
    MissingFieldError,
    NotNextSignerError,
    NotSupersedableError,
    Refused,
    RevisionConflictError,
    TemplateRetiredError,
    UnknownContractError,
    UnknownKeyError,
    UnknownMPassError,
    UnknownOrganizationError,
    WrongSignerError,
)
from moneta.domain.identifiers import KeyId, OrganizationId, UnixMillis, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.keys import KeyUse
from moneta.domain.organizations import OrganizationKind, OrganizationStatus, check_active
from moneta.domain.template_rules import check_body
from moneta.domain.templates import RETIRED, Guard, Role, Template
from moneta.signing import chain, jws, statements
from moneta.signing.jws import ACT_TYP, ContractJWS, Entry
from moneta.signing.keys import PublicKey
from moneta.signing.statements import ActStatement

KIND_OF_ROLE = {Role.MO: OrganizationKind.MO, Role.PUBLISHER: OrganizationKind.PUBLISHER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """The contract with what the event adds to it; ``is_changed`` False where it adds nothing."""

    contract: Contract
    is_changed: bool


def judge(message: Message, around: Circumstances) -> Addition:
    """Return what the event adds to its contract.

    Raises:
        Refused: It adds nothing, and why.
    """
    if isinstance(message, Submission):
        return _judge_submission(message, around)
    contract, roles = _known(message, around)
    try:
        return _judge_further(message, contract, roles, around)
    except Refused:
        _check_open(contract, message)  # whatever else is wrong: on a closed contract, that it is closed comes first
        raise


def _judge_further(message: Further, contract: Contract, roles: Sequence[Role], around: Circumstances) -> Addition:
    _check_onboarding(message, around)
    if isinstance(message, PartyAct):
        return _judge_act(message, contract, roles, around)
    return _judge_signature(message, contract, roles, around)


def _judge_submission(message: Submission, around: Circumstances) -> Addition:
    contract, members, body = message.contract, message.members, message.body
    if isinstance(body, Refused):  # (1)
        raise body
    if around.contract is not None:
        raise ContractExistsError(f"contract {body.contract_id}: the id is taken", contract_id=body.contract_id)
    _check_in_time(body, message.event.received_at)  # (2)
    compiled = _template_for_new(body, around)  # (3)
    template = compiled.template
    _check_parties(body, around)  # (4)
    _check_onboarding(message, around)
    (entry,) = contract.entries  # (5)
    _check_signer(entry, template.initiator, body, message)
    _verify(entry, contract.payload, body, message, around, prev=None, template_sha256=template.sha256)  # (6)
    _check_content(compiled, members, body, around)  # (7)
    check_guards(body, template, around, message.event.received_at, around.now)  # (8)
    started = _started(body, contract.body_bytes, template, message.event.received_at)
    signatures = (_signature(entry, template.initiator),)
    return Addition(contract=replace(started, signatures=signatures), is_changed=True)


def judge_own(members: Mapping[str, Value], body_bytes: bytes, around: Circumstances) -> Contract:
    """Return a contract that Moneta itself is about to begin, unsigned: a submission without a sender and a signature.

    Raises:
        Refused: What refuses any submission; or the template's initiator is a party.
    """
    body = body_of(members)  # (1)
    if around.contract is not None:
        raise ContractExistsError(f"contract {body.contract_id}: the id is taken", contract_id=body.contract_id)
    _check_in_time(body, around.now)  # (2)
    compiled = _template_for_new(body, around)  # (3)
    _check_parties(body, around)  # (4)
    if compiled.template.initiator is not Role.MONETA:  # (5)
        raise WrongSignerError(
            f"contract {body.contract_id}: begun by {compiled.template.initiator}", expected=compiled.template.initiator
        )
    _check_content(compiled, members, body, around)  # (7)
    check_guards(body, compiled.template, around, around.now)  # (8)
    return _started(body, body_bytes, compiled.template, around.now)


def _started(body: ContractBody, body_bytes: bytes, template: Template, received_at: UnixMillis) -> Contract:
    return Contract(
        known_body=body,
        body_bytes=body_bytes,
        signing_order=template.whole_order,
        template_sha256=template.sha256,
        received_at=received_at,
        expires_at=effective_expiry(body, expires_in_s=template.expires_in_s, received_at=received_at),
        signatures=(),
        deem_after_s=template.deem_after_s,
        notify=template.notify,
    )


def _check_in_time(body: ContractBody, received_at: UnixMillis) -> None:
    if body.expires_at is not None and received_at >= body.expires_at * 1000:
        raise ContractExpiredError(f"contract {body.contract_id}: received at or after expires_at", field="expires_at")


def _check_content(
    compiled: CompiledTemplate, members: Mapping[str, Value], body: ContractBody, around: Circumstances
) -> None:
    compiled.check_payload(check_body(members, body, compiled.template))
    if Role.ORG_NEW_KEY in compiled.template.roles:
        check_new_key(body, around)
    if body.supersedes is not None:
        check_supersedable(body, around.superseded)


def _judge_signature(
    message: Countersignature, contract: Contract, roles: Sequence[Role], around: Circumstances
) -> Addition:
    sent = message.contract
    entry = _entry_of(sent, contract, roles)
    role = Role(entry.header.role or "")
    _check_nothing_foreign(sent, contract, role)
    if role in contract.signed_roles:  # (2)
        return _judge_twin(message, sent, entry, contract, around)
    _check_open(contract, message)  # (3)
    check_none_compromised(contract, around.keys, judged_at=around.registry_seq)
    _check_stored(sent, contract)  # (4)
    if role not in next_signers(contract):  # (5)
        expected = [str(one) for one in next_signers(contract)]
        raise NotNextSignerError(
            f"contract {contract.contract_id}: next signer is {' or '.join(expected)}, got {role}", expected=expected
        )
    _verify(  # (6)
        entry,
        sent.payload,
        contract.body,
        message,
        around,
        prev=chain.head_of(signatures_by_step(contract)[-1]),
        template_sha256=contract.template_sha256,
    )
    signatures = (*contract.signatures, _signature(entry, role))
    return Addition(contract=replace(contract, signatures=signatures), is_changed=True)


def _entry_of(sent: ContractJWS, contract: Contract, roles: Sequence[Role]) -> Entry:
    """Return the signature that the source sends: one under a role of its that has not signed, else one that has."""
    own = [entry for entry in sent.entries if entry.header.role in roles]
    if not own:
        expected = " or ".join(roles)
        raise WrongSignerError(
            f"contract {contract.contract_id}: no signature by {expected}, the source", expected=expected
        )
    return next((entry for entry in own if entry.header.role not in contract.signed_roles), own[-1])


def _judge_twin(
    message: Message, sent: ContractJWS, entry: Entry, contract: Contract, around: Circumstances
) -> Addition:
    """Answer a further signature by a role that signed: the same statement again, so there is nothing to store."""
    stored = next(one for one in contract.signatures if one.role == entry.header.role)
    prev = jws.parse_entry(stored.protected, stored.signature, jws.CONTRACT_HEADER, what="stored").header.prev
    if sent.body_bytes != contract.body_bytes:
        raise RevisionConflictError(f"contract {contract.contract_id}: the body is not the one that is stored")
    _verify(entry, sent.payload, contract.body, message, around, prev=prev, template_sha256=contract.template_sha256)
    return Addition(contract=contract, is_changed=False)


def _judge_act(message: PartyAct, contract: Contract, roles: Sequence[Role], around: Circumstances) -> Addition:
    act = message.act
    key = _key_of(message.event.source, act.jws.entry, message, around)  # (2)
    statements.verify_compact(act.jws, key, typ=ACT_TYP, audience=around.audience)
    statements.check_statement_time(act.jws.entry.header.issued_at, received_at=_received_s(message))
    heads = [chain.head_of(step) for step in signatures_by_step(contract)]
    if act.prev not in heads:
        raise RevisionConflictError(
            f"contract {contract.contract_id}: prev is not the head after one of its steps", field="prev"
        )
    if any(done.name is act.name and done.actor == message.event.source for done in contract.acts):  # (3)
        return Addition(contract=contract, is_changed=False)
    _check_open(contract, message)  # (4)
    if act.name is ActName.CANCEL:  # (5)
        check_may_cancel(contract, roles)
    else:
        check_may_decline(contract, roles)
    done = Act(name=act.name, actor=message.event.source, compact=_compact(act))
    return Addition(contract=replace(contract, acts=(*contract.acts, done)), is_changed=True)


def _received_s(message: Message) -> UnixSeconds:
    return UnixSeconds(message.event.received_at // 1000)


def _known(message: Message, around: Circumstances) -> tuple[Contract, Sequence[Role]]:
    """Return the contract and the source's roles in it. To a stranger it does not exist."""
    contract = around.contract
    roles = () if contract is None else contract.body.roles_of(message.event.source)
    if contract is None or not roles:
        contract_id = message.event.contract_id
        raise UnknownContractError(f"contract {contract_id}: there is none that names the source", field="subject")
    return contract, roles


def _check_onboarding(message: Message, around: Circumstances) -> None:
    """Refuse what a Pending organization sends under a template that is not for Pending ones."""
    source = around.organizations.get(message.event.source)
    if source is None or source.status_at(message.event.received_at) is not OrganizationStatus.PENDING:
        return
    if around.compiled is None or Guard.ORGANIZATION_PENDING not in around.compiled.template.guards:
        check_active(source, [OrganizationStatus.PENDING])


def check_new_key(body: ContractBody, around: Circumstances) -> None:
    """Refuse a contract whose new key may not be registered, or stands with somebody.

    Raises:
        WeakKeyError, MissingFieldError, AmbiguousFieldError: See ``new_key_of``.
        KeyTakenError: It stands with somebody, even with the organization itself.
    """
    key = chain.new_key_of(body)
    if around.new_key_holder is not None:
        raise KeyTakenError(f"key {key.key_id} stands in the registry already", kid=key.key_id, field="new_key")


def check_supersedable(body: ContractBody, older: Contract | None) -> Contract:
    """Return ``older`` if a contract may take its place; to strangers there is none.

    Raises:
        NotSupersedableError: There is none, it is not finalized or superseded already, or it is between others.
    """
    if older is None or supersedable_parts(body) != supersedable_parts(older.body):
        raise NotSupersedableError(
            f"supersedes: there is no contract {body.supersedes} of the same parties, mPass and template",
            field="supersedes",
        )
    status = status_of(older)
    if status != EndStatus.FINALIZED:
        raise NotSupersedableError(f"supersedes: contract {body.supersedes} is {status}", status=status)
    return older


def _check_open(contract: Contract, message: Message) -> None:
    """Refuse what comes after the end, or at or after the term, whether or not the expiry is committed."""
    if end_of(contract) is not None:
        status = status_of(contract)
        raise ContractClosedError(f"contract {contract.contract_id} is {status}", status=status)
    if contract.is_over_at(message.event.received_at):
        is_expired = contract.ends_at == contract.expires_at
        raise ContractClosedError(
            f"contract {contract.contract_id} {'has expired' if is_expired else 'counts as acknowledged'}",
            status=EndStatus.EXPIRED if is_expired else EndStatus.FINALIZED,
        )


def _check_stored(sent: ContractJWS, contract: Contract) -> None:
    """Refuse a contract whose bytes, or whose signatures of complete steps, are not those that are stored."""
    if sent.body_bytes != contract.body_bytes:
        raise RevisionConflictError(f"contract {contract.contract_id}: the body is not the one that is stored")
    stored = [signature for step in signatures_by_step(contract) for signature in step]
    if len(sent.entries) <= len(stored) or not all(
        entry.same_as(signature.protected, signature.signature)
        for entry, signature in zip(sent.entries, stored, strict=False)
    ):
        raise RevisionConflictError(
            f"contract {contract.contract_id}: expected the {len(stored)} stored signatures, then the new one"
        )


def _check_nothing_foreign(sent: ContractJWS, contract: Contract, role: Role) -> None:
    """Refuse a new signature by another than the source, but for the others of a parallel step, which may be there.

    Raises:
        WrongSignerError: A role that has not signed, and whose turn it is not beside the source; or one that stands
            twice. An altered one of a role that has signed is found by ``_check_stored``.
    """
    turn = next_signers(contract)
    may_stand = {*contract.signed_roles, role, *(turn if role in turn else ())}
    roles = [entry.header.role for entry in sent.entries]
    if not may_stand.issuperset(roles) or len(set(roles)) != len(roles):
        raise WrongSignerError(
            f"contract {contract.contract_id}: expected one new signature, by {role}, the source", expected=role
        )


def _template_for_new(body: ContractBody, around: Circumstances) -> CompiledTemplate:
    compiled = compiled_template(body, around)
    if around.record is not None and around.record.status is RETIRED:
        raise TemplateRetiredError(
            f"template {body.template_id} version {body.version} takes no new contracts", field="version"
        )
    return compiled


def _check_parties(body: ContractBody, around: Circumstances) -> None:
    for role, kind in KIND_OF_ROLE.items():
        party = body.party(role)
        organization = None if party is None else around.organizations.get(party)
        if party is not None and (organization is None or organization.kind is not kind):
            raise UnknownOrganizationError(f"{role}_id: there is no such {kind}", field=f"{role}_id")
    if body.org_id is not None and body.org_id not in around.organizations:
        raise UnknownOrganizationError("org_id: there is no such organization", field="org_id")
    mpass = None if body.mpass_id is None else around.mpasses.get(body.mpass_id)
    if body.mpass_id is not None and body.mo_id is None:
        raise MissingFieldError("contract body: mo_id is missing, whose mPass it names", field="mo_id")
    if body.mpass_id is not None and (mpass is None or mpass.mo_id != body.mo_id):
        raise UnknownMPassError("mpass_id: the MO has no such mPass", field="mpass_id")


def _check_signer(entry: Entry, role: Role, body: ContractBody, message: Message) -> None:
    """Refuse a signature that is not for the initiator's role, or whose role is not the source's, or nobody's."""
    member = PARTY_MEMBERS.get(role)
    if member is not None and body.party(role) is None:
        raise MissingFieldError(f"contract body: {member} is missing, since {role} signs", field=member)
    if entry.header.role != role or body.party(role) != message.event.source:
        raise WrongSignerError(
            f"contract {body.contract_id}: expected the one signature by {role}, who must be the source", expected=role
        )


def _verify(
    entry: Entry,
    payload: str,
    body: ContractBody,
    message: Message,
    around: Circumstances,
    *,
    prev: str | None,
    template_sha256: str,
) -> None:
    """Return if ``entry`` is the source's signature as it must be made at this point of the chain."""
    chain.check_entry(
        entry.header,
        audience=around.audience,
        role=Role(entry.header.role or ""),
        prev=prev,
        received_at=_received_s(message),
        template_sha256=template_sha256,
    )
    is_new = entry.header.role == Role.ORG_NEW_KEY
    key = chain.new_key_of(body) if is_new else _key_of(message.event.source, entry, message, around)
    chain.verify_entry(entry, payload, key)


def _key_of(owner: OrganizationId, entry: Entry, message: Message, around: Circumstances) -> PublicKey:
    key = around.keys.get(owner, {}).get(KeyId(entry.header.key_id))
    if key is None:
        raise UnknownKeyError(f"kid {entry.header.key_id} is not a key of the source", field="kid")
    event = message.event
    key.check_valid(
        KeyUse.CONTRACT,
        judged_at=around.registry_seq,
        received_at=event.registry_seq,
        received_ms=event.received_at,
    )
    return public_key(key)


def _signature(entry: Entry, role: Role) -> Signature:
    return Signature(
        role=role,
        key_id=entry.header.key_id,
        algorithm=entry.header.algorithm,
        issued_at=UnixSeconds(entry.header.issued_at),
        protected=entry.protected,
        signature=entry.signature,
    )


def _compact(act: ActStatement) -> str:
    return f"{act.jws.entry.protected}.{act.jws.payload}.{act.jws.entry.signature}"
