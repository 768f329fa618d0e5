"""mPasses: issued by an MO to its members, activated, locked and revoked.

1. Only an Active MO issues, and only for itself. To anybody else's MO an mPass is not there.
2. Each lock belongs to who set it: ``mo``, ``user`` when the MO says so on behalf of its member, ``admin`` for the
   operator. The lock ``org`` is never set: it stands while the MO is Suspended, and a Destroyed MO's mPasses are
   Revoked, so that no loop over a million of them can stop half way (``standing_at``).
3. The ``member_ref`` goes in sealed and comes out nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

from moneta.application.access import Operation, authorize, check_right, not_found, visible_to
from moneta.application.authenticate import Caller, CallerRole
from moneta.application.changes import Decision, creation, decide_and_apply, decide_creation
from moneta.application.documents import (
    Document,
    check_if_match,
    check_names,
    check_parameters,
    choice,
    has,
    list_cursor,
    list_limit,
    mapping,
    optional_text,
    parameter_choice,
    parameter_id,
    parameter_seconds,
    required,
    seconds,
    text,
    whole_number,
)
from moneta.application.ports import DirectoryChange, Hub
from moneta.application.records import make_record
from moneta.application.status_lists import place_in_lists
from moneta.domain.errors import (
    ForbiddenError,
    InvalidFieldError,
    InvalidParameterError,
    InvalidProofError,
    TransitionRefusedError,
)
from moneta.domain.identifiers import MPassId, OrganizationId, UnixMillis, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.limits import REASON_CHARS_MAX
from moneta.domain.mpass_policies import Activation, read_policy
from moneta.domain.mpasses import (
    ACTIVE,
    ALLOWED_EVENTS,
    EXPIRED,
    NUMBER_RANDOM_DIGITS,
    PENDING,
    Facts,
    Lock,
    MPass,
    MPassEvent,
    MPassStatus,
    derive_status,
    make_number,
)
from moneta.domain.organizations import DESTROYED, SUSPENDED, Organization, check_active
from moneta.signing.keys import parse_public_jwk
from moneta.signing.statements import claimed_subject, verify_key_proof

ISSUE_MEMBERS = ("mo_id", "member_ref", "tier", "expires_at", "policy", "holder_jwk")
_RANDOM_BYTES = 16
"""Twice what 16 digits need, so that their distribution is even to one part in 2^74."""


def issue_mpass(
    hub: Hub, caller: Caller, members: Mapping[str, Value], *, idempotency_key: str | None = None
) -> Document:
    """Issue an mPass, Pending, and return it.

    Raises:
        ForbiddenError: The caller is no MO, or named another one.
        OrganizationSuspendedError: The MO is Suspended: nothing new begins.
        Refused: The first member that is wrong.
    """
    authorize(caller, Operation.ISSUE_MPASS, owner=caller.caller_id)
    asked = creation(caller, Operation.ISSUE_MPASS, idempotency_key, target=caller.caller_id, members=members)

    def decide() -> Decision:
        check_names(members, ISSUE_MEMBERS)
        if required(members, "mo_id") != caller.caller_id:
            raise ForbiddenError("mo_id: an MO issues mPasses of its own only", field="mo_id")
        mo = hub.directory.organizations([caller.caller_id], is_fresh=True)[caller.caller_id]
        check_active(mo, [mo.status])
        (mpass,) = place_in_lists(hub, (_asked_mpass(hub, mo, members),))
        record = make_record(
            hub,
            caller,
            Operation.ISSUE_MPASS,
            subject=mpass.mpass_id,
            change={"mo_id": mpass.mo_id, "number": mpass.number, "expires_at": mpass.expires_at},
            registry_seq=hub.directory.registry_position(),
        )
        return Decision(
            change=DirectoryChange(record=record, mpasses=(mpass,)), answer=_answer(mpass, mo, hub.clock.now_ms())
        )

    return decide_creation(hub, asked, decide)


def change_mpass_status(
    hub: Hub, caller: Caller, mpass_id: MPassId, members: Mapping[str, Value], *, if_match: int | None = None
) -> Document:
    """Activate, lock or revoke an mPass, and return it with the status that its facts now add up to.

    ``Active`` activates a Pending one; from a Locked one it lifts the caller's own lock, and another's keeps it Locked.

    Raises:
        NotFoundError: There is none, or it is another MO's.
        ForbiddenError: The caller has no part in mPasses, or speaks for a user without being the MO.
        TransitionRefusedError: The mPass's status, or its MO's, does not allow it.
        InvalidProofError: The policy leaves its activation to the holder, whose ``holder_proof`` does not hold.
        PreconditionFailedError: ``if_match`` is another revision.
    """
    check_right(caller, Operation.CHANGE_MPASS_STATUS)

    def decide() -> Decision:
        mpass, mo = find_mpass(hub, caller, Operation.CHANGE_MPASS_STATUS, mpass_id)
        event, lock, reason = _read_status_change(caller, members)
        check_if_match(if_match, mpass.revision)
        now = hub.clock.now_ms()
        _check_standing(mpass, mo, event, now)
        if event is MPassEvent.ACTIVATE and mpass.status_at(now) is PENDING:
            check_activation(hub, mpass, members.get("holder_proof"), at=now)
        changed = mpass.changed(event, lock=lock, at=now)
        record = make_record(
            hub,
            caller,
            Operation.CHANGE_MPASS_STATUS,
            subject=mpass_id,
            change={"event": event, "lock": lock, "reason": reason},
            registry_seq=hub.directory.registry_position(),
        )
        return Decision(change=DirectoryChange(record=record, mpasses=(changed,)), answer=_answer(changed, mo, now))

    return decide_and_apply(hub, decide)


def read_mpass(
    hub: Hub, caller: Caller, mpass_id: MPassId, parameters: Mapping[str, str] = MappingProxyType({})
) -> Document:
    """Return one mPass; with ``at`` its status, locks and term as they were at the end of that second.

    Raises:
        NotFoundError: There is none, or it is another MO's.
        InvalidParameterError: ``at`` is before it was issued.
    """
    check_right(caller, Operation.READ_MPASS)
    check_parameters(parameters, ("at",))
    mpass, mo = find_mpass(hub, caller, Operation.READ_MPASS, mpass_id)
    asked = parameter_seconds(parameters, "at")
    if asked is None:
        return _answer(mpass, mo, hub.clock.now_ms())
    if asked < mpass.issued_at // 1000:
        raise InvalidParameterError("at: the mPass was not issued yet", field="at")
    return _answer(mpass, mo, UnixMillis(asked * 1000 + 999))


def read_mpass_history(hub: Hub, caller: Caller, mpass_id: MPassId) -> Document:
    """Return what became of one mPass, oldest first: each moment, what it led to, and what caused it.

    Its MO's own status shows at the moments that are there; by itself it is in the MO's history.

    Raises:
        NotFoundError: There is none, or it is another MO's.
    """
    check_right(caller, Operation.READ_MPASS_HISTORY)
    mpass, mo = find_mpass(hub, caller, Operation.READ_MPASS_HISTORY, mpass_id)
    return Document(body={"id": mpass_id, "history": [_told(mpass, mo, facts) for facts in mpass.history]})


def _told(mpass: MPass, mo: Organization, facts: Facts) -> Mapping[str, object]:
    status, locks = standing_at(mpass, mo, facts.since)
    return {
        "at": seconds(facts.since),
        "status": status,
        "locks": sorted(locks),
        "expires_at": mpass.term_at(facts.since),
        "action": facts.action,
        "reason_code": facts.reason_code,
        "contract_id": facts.contract_id,
    }


def list_mpasses(hub: Hub, caller: Caller, parameters: Mapping[str, str]) -> Document:
    """Return a page of mPasses, newest first; an MO sees its own.

    With ``status`` a page may hold fewer than ``limit``, since the store does not know whether the MO is Suspended;
    ``next_cursor`` alone says whether there are more.

    Raises:
        InvalidParameterError: A parameter is unknown or out of range, or the cursor is not one of this list.
    """
    only = visible_to(caller, Operation.LIST_MPASSES)
    check_parameters(parameters, ("mo_id", "status", "limit", "cursor"))
    mo_id, limit, cursor = parameter_id(parameters, "mo_id"), list_limit(parameters), list_cursor(parameters)
    status = parameter_choice(parameters, "status", MPassStatus)
    if only is not None and mo_id not in {None, only}:
        return Document(body={"items": [], "next_cursor": None})
    now = hub.clock.now_ms()
    page = hub.directory.list_mpasses(
        mo_id=only or (None if mo_id is None else OrganizationId(mo_id)),
        # Locked and Revoked may come from the MO's own status, so these are picked here.
        status=status if status in {PENDING, ACTIVE, EXPIRED} else None,
        now=now,
        limit=limit,
        cursor=cursor,
    )
    mos = hub.directory.organizations(sorted({mpass.mo_id for mpass in page.items}))
    standings = [(mpass, standing_at(mpass, mos[mpass.mo_id], now)) for mpass in page.items]
    shown = [_document(mpass, *standing) for mpass, standing in standings if status in {None, standing[0]}]
    return Document(body={"items": shown, "next_cursor": page.next_cursor})


def standing_at(mpass: MPass, mo: Organization, moment: UnixMillis) -> tuple[MPassStatus, frozenset[Lock]]:
    """Return the mPass's status and locks at ``moment``, with what its MO's own status does to it."""
    facts = _with_mo(mpass.facts_at(moment), mo, moment)
    return derive_status(facts, expires_at=mpass.term_at(moment), moment=moment), facts.locks


def check_activation(hub: Hub, mpass: MPass, proof: Value, *, at: UnixMillis) -> None:
    """Refuse an activation that the policy leaves to the holder, and that its key has not proven.

    Raises:
        InvalidProofError: There is no key, no proof, or not one that holds.
    """
    if mpass.policy.get("activation") == Activation.HOLDER:
        check_holder_proof(hub, mpass, mpass.holder_jwk, proof, at=at)


def check_holder_proof(hub: Hub, mpass: MPass, jwk: Value, proof: Value, *, at: UnixMillis) -> None:
    """Refuse unless ``proof`` is a key's proof by ``jwk`` about this mPass, by its id or its number.

    Raises:
        InvalidProofError: It is not, or it is no longer fresh.
    """
    if jwk is None or proof is None:
        raise InvalidProofError("holder_proof: the holder's key must prove itself, and is not there", field="proof")
    key = parse_public_jwk(jwk)
    named = claimed_subject(proof)
    subject = named if named in {mpass.mpass_id, mpass.number} else mpass.mpass_id
    now = UnixSeconds(at // 1000)
    verify_key_proof(proof, key, audience=hub.base_url, subject=subject, now=now)


def _check_standing(mpass: MPass, mo: Organization, event: MPassEvent, now: UnixMillis) -> None:
    """Refuse what the MO's own status does not allow: of a Destroyed one's mPasses nothing, nor to lift ``org``."""
    status, locks = standing_at(mpass, mo, now)
    allowed = ALLOWED_EVENTS[status] - ({MPassEvent.ACTIVATE} if locks == {Lock.ORG} else set())
    if event not in allowed:
        raise TransitionRefusedError(
            f"mPass {mpass.mpass_id}: {event} is not possible in state {status}", state=status, allowed=sorted(allowed)
        )


def _with_mo(facts: Facts, mo: Organization, moment: UnixMillis) -> Facts:
    status = mo.status_at(moment)
    if status is SUSPENDED:
        return replace(facts, locks=facts.locks | {Lock.ORG})
    if status is DESTROYED:
        return replace(facts, revoked_at=facts.revoked_at or mo.history[-1][0])
    return facts


def find_mpass(hub: Hub, caller: Caller, operation: Operation, mpass_id: MPassId) -> tuple[MPass, Organization]:
    """Return an mPass that the caller may do ``operation`` on, and its MO as it is now.

    Raises:
        NotFoundError: There is none, or it is another MO's.
        ForbiddenError: The caller has no such right.
    """
    mpass = hub.directory.mpasses([mpass_id]).get(mpass_id)
    if mpass is None:
        raise not_found()
    authorize(caller, operation, owner=mpass.mo_id)
    return mpass, hub.directory.organizations([mpass.mo_id], is_fresh=True)[mpass.mo_id]


def _read_status_change(caller: Caller, members: Mapping[str, Value]) -> tuple[MPassEvent, Lock, str | None]:
    check_names(members, ("status", "reason", "on_behalf_of", "holder_proof"))
    event = choice(members, "status", MPassEvent)
    reason = optional_text(members, "reason", chars_max=REASON_CHARS_MAX)
    if not has(members, "on_behalf_of"):
        return event, Lock.ADMIN if caller.role is CallerRole.OPERATOR else Lock.MO, reason
    if members["on_behalf_of"] != Lock.USER:
        raise InvalidFieldError(f"on_behalf_of: expected {Lock.USER}", field="on_behalf_of")
    if caller.role is not CallerRole.MO:
        raise ForbiddenError("on_behalf_of: only the MO speaks for its member", field="on_behalf_of")
    return event, Lock.USER, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class MPassTerms:
    """On what terms an mPass is issued."""

    tier: str | None
    policy: Mapping[str, Value]
    expires_at: UnixSeconds | None

    @classmethod
    def read(cls, members: Mapping[str, Value], *, prefix: str = "", at: UnixMillis) -> Self:
        """Return the terms that ``members`` have; ``prefix`` is the path that leads to them."""
        return cls(
            tier=optional_text(members, "tier", prefix=prefix),
            policy=_read_policy(members, prefix=prefix),
            expires_at=_read_expiry(members, at),
        )


def new_mpass(
    hub: Hub,
    mo: Organization,
    terms: MPassTerms,
    *,
    mpass_id: MPassId,
    number: str,
    member_ref: str,
    holder_jwk: Value,
    at: UnixMillis,
) -> MPass:
    """Return a new mPass, Pending. ``holder_jwk`` None: it has no key yet."""
    return MPass(
        mpass_id=mpass_id,
        number=number,
        mo_id=mo.organization_id,
        sealed_member_ref=hub.sealer.seal(member_ref.encode("utf-8")),
        tier=terms.tier,
        policy=terms.policy,
        holder_jwk=None if holder_jwk is None else parse_public_jwk(holder_jwk).jwk,
        issued_at=at,
        expires_at=terms.expires_at,
        history=(Facts(since=at),),
    )


def _asked_mpass(hub: Hub, mo: Organization, members: Mapping[str, Value]) -> MPass:
    now = hub.clock.now_ms()
    drawn = int.from_bytes(hub.randomness.token(_RANDOM_BYTES), "big") % 10**NUMBER_RANDOM_DIGITS
    return new_mpass(
        hub,
        mo,
        MPassTerms.read(members, at=now),
        mpass_id=MPassId(hub.randomness.uuid4()),
        number=make_number(mo.code, f"{drawn:0{NUMBER_RANDOM_DIGITS}}"),
        member_ref=text(members, "member_ref"),
        holder_jwk=members.get("holder_jwk"),
        at=now,
    )


def _read_policy(members: Mapping[str, Value], *, prefix: str) -> Mapping[str, Value]:
    """Return the policy as it was sent, once it is one that can be asked."""
    policy = mapping(members, "policy")
    read_policy(policy, prefix=f"{prefix}policy.")
    return policy


def _read_expiry(members: Mapping[str, Value], now: UnixMillis) -> UnixSeconds | None:
    if not has(members, "expires_at"):
        return None
    expires_at = whole_number(members, "expires_at")
    if expires_at * 1000 <= now:
        raise InvalidFieldError("expires_at: expected a moment that is yet to come", field="expires_at")
    return UnixSeconds(expires_at)


def _answer(mpass: MPass, mo: Organization, now: UnixMillis) -> Document:
    shown = {**_document(mpass, *standing_at(mpass, mo, now)), "expires_at": mpass.term_at(now)}
    return Document(body=shown, revision=mpass.revision)


def _document(mpass: MPass, status: MPassStatus, locks: frozenset[Lock]) -> dict[str, object]:
    return {
        "id": mpass.mpass_id,
        "number": mpass.number,
        "mo_id": mpass.mo_id,
        "status": status,
        "locks": sorted(locks),
        "tier": mpass.tier,
        "policy": mpass.policy,
        "issued_at": seconds(mpass.issued_at),
        "expires_at": mpass.expires_at,
    }
