"""Contracts: an immutable body, the signatures and acts collected on it, and the state that these add up to.

The rules (protocol, sections 3 and 4):

1. The body has exactly the members of section 3, each of its form. Its bytes are what is signed; nobody re-serializes
   them.
2. The next signers are ``signing_order[complete steps]`` less the roles that signed; a role signs once.
3. Until an act or the last signature ends it, the status is ``pending_<roles>_signature``.
4. A party whose signature is missing may decline. The initiator may cancel while no party but it and Moneta signed.
5. The state is derived from signatures and acts, never stored as an independent truth.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final, cast

from moneta.domain.errors import (
    ActNotAllowedError,
    AmbiguousFieldError,
    InvalidFieldError,
    MissingFieldError,
    NotSupportedError,
    UnknownFieldError,
)
from moneta.domain.identifiers import (
    ContractId,
    MPassId,
    OrganizationId,
    Revision,
    UnixMillis,
    UnixSeconds,
    is_chosen_id,
)
from moneta.domain.ijson import Value, parse_object, type_name
from moneta.domain.limits import JSON_INTEGER_MAX, ORDERS_REMEMBERED_MAX
from moneta.domain.templates import Role, SigningOrder

REQUIRED_MEMBERS: Final = ("contract_id", "template_id", "version", "created_at", "payload")
PARTY_MEMBERS: Final[Mapping[Role, str]] = {Role.MO: "mo_id", Role.PUBLISHER: "publisher_id"}
MEMBERS: Final = frozenset(
    {*REQUIRED_MEMBERS, "mo_id", "publisher_id", "mpass_id", "description", "expires_at", "nonce"}
)
NOT_YET: Final = frozenset({"supersedes", "org_id"})
"""Members that protocol section 3 knows and this version of the hub does not do yet."""

_NONCE: Final = re.compile(
    r"(?=.{22})(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?", re.ASCII
)
"""base64url of 16 bytes or more; the last character of an incomplete group leaves no stray bits."""
_UNCOMMITTED: Final = Revision(0)


class EndStatus(StrEnum):
    """How a contract can end."""

    FINALIZED = "finalized"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ActName(StrEnum):
    """What an act can say about a contract."""

    DECLINE = "decline"
    CANCEL = "cancel"
    EXPIRE = "expire"


END_OF_ACT: Final[Mapping[ActName, EndStatus]] = {
    ActName.DECLINE: EndStatus.DECLINED,
    ActName.CANCEL: EndStatus.CANCELLED,
    ActName.EXPIRE: EndStatus.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractBody:
    """What the body's bytes say. ``payload`` keeps numbers as their digits."""

    contract_id: ContractId
    template_id: str
    version: int
    created_at: UnixSeconds
    payload: Mapping[str, Value]
    mo_id: OrganizationId | None = None
    publisher_id: OrganizationId | None = None
    mpass_id: MPassId | None = None
    description: str | None = None
    expires_at: UnixSeconds | None = None
    nonce: str | None = None

    def party(self, role: Role) -> OrganizationId | None:
        """Return the organization that the body names for ``role``; None for Moneta, or where it names none."""
        return {Role.MO: self.mo_id, Role.PUBLISHER: self.publisher_id}.get(role)

    def role_of(self, organization: OrganizationId) -> Role | None:
        """Return the role that the body gives ``organization``; None if it is no party."""
        return next((role for role in PARTY_MEMBERS if self.party(role) == organization), None)

    def parties(self) -> tuple[OrganizationId, ...]:
        """Return the organizations that the body names, the MO first."""
        return tuple(party for role in PARTY_MEMBERS if (party := self.party(role)) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature of the chain. ``protected`` and ``signature`` are the base64url texts as they came."""

    role: Role
    key_id: str
    algorithm: str
    issued_at: UnixSeconds
    protected: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A signed statement that ended the contract, as the compact JWS that came, and who made it."""

    name: ActName
    actor: OrganizationId
    compact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of the contract's event log, in the ADR's words."""

    event: str
    timestamp: UnixSeconds
    actor: str
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the first commit fixes for good. See ``Contract`` for the members."""

    body_bytes: bytes
    signing_order: SigningOrder
    template_sha256: str
    received_at: UnixMillis
    expires_at: UnixSeconds | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one commit adds to a contract; immutable, and the only thing a contract is made of.

    ``start`` stands in the first step and in no other. ``receipt`` and ``finalized_at`` stand in the one that ends
    the contract. ``leaf`` is the entry for the audit log (``audit.contract_leaf``), written in the same commit.
    """

    revision: Revision
    committed_at: UnixMillis
    leaf: bytes
    signatures: tuple[Signature, ...] = ()
    acts: tuple[Act, ...] = ()
    log: tuple[LogLine, ...] = ()
    receipt: str | None = None
    finalized_at: UnixSeconds | None = None
    start: Start | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A contract as far as it has come.

    ``body_bytes`` are the exact bytes that every signature covers. ``received_at``: of the first submission.
    ``expires_at``: the earlier of the body's and the template's term, counted from that receipt; None for no term.
    ``known_body``: the body, where it has been read already.
    """

    body_bytes: bytes
    signing_order: SigningOrder
    template_sha256: str
    received_at: UnixMillis
    expires_at: UnixSeconds | None
    signatures: tuple[Signature, ...]
    acts: tuple[Act, ...] = ()
    log: tuple[LogLine, ...] = ()
    receipt: str | None = None
    finalized_at: UnixSeconds | None = None
    revision: Revision = _UNCOMMITTED
    known_body: ContractBody | None = field(default=None, repr=False, compare=False)

    @property
    def body(self) -> ContractBody:
        """What ``body_bytes`` say. Read when it is first asked for: whoever only passes the contract on never does."""
        if self.known_body is None:
            object.__setattr__(self, "known_body", parse_body(self.body_bytes))  # the same value whoever comes first
        return cast("ContractBody", self.known_body)  # just set

    @property
    def contract_id(self) -> ContractId:
        """The id that the initiator chose."""
        return self.body.contract_id

    @property
    def signed_roles(self) -> tuple[Role, ...]:
        """The roles that signed, in the order recorded."""
        return tuple(signature.role for signature in self.signatures)

    def is_expired_at(self, moment: UnixMillis) -> bool:
        """Tell whether what is received at ``moment`` comes too late."""
        return self.expires_at is not None and moment >= self.expires_at * 1000


def assemble(steps: Sequence[Step]) -> Contract:
    """Return the contract that ``steps`` add up to, the first of them at revision 1 and none left out.

    A prefix of a contract's steps gives the contract as it was at that revision.
    """
    start = steps[0].start if steps else None
    is_whole = [step.revision for step in steps] == list(range(1, len(steps) + 1))
    if start is None or not is_whole or any(step.start is not None for step in steps[1:]):
        raise ValueError("a contract's steps run from revision 1, the only one with a start, without a gap")
    return Contract(
        body_bytes=start.body_bytes,
        signing_order=start.signing_order,
        template_sha256=start.template_sha256,
        received_at=start.received_at,
        expires_at=start.expires_at,
        signatures=tuple(signature for step in steps for signature in step.signatures),
        acts=tuple(act for step in steps for act in step.acts),
        log=tuple(line for step in steps for line in step.log),
        receipt=steps[-1].receipt,
        finalized_at=steps[-1].finalized_at,
        revision=steps[-1].revision,
    )


@lru_cache(maxsize=ORDERS_REMEMBERED_MAX)  # pure; asked a dozen times an event, of a handful of orders
def complete_steps(order: SigningOrder, signed: tuple[Role, ...]) -> int:
    """Return how many steps, from the first, have all their signatures."""
    done = 0
    while done < len(order) and all(role in signed for role in order[done]):
        done += 1
    return done


def next_signers(contract: Contract) -> tuple[Role, ...]:
    """Return the roles whose turn it is, in template order; none once the contract has ended."""
    return () if contract.acts else _missing_roles(contract.signing_order, contract.signed_roles)


@lru_cache(maxsize=ORDERS_REMEMBERED_MAX)
def _missing_roles(order: SigningOrder, signed: tuple[Role, ...]) -> tuple[Role, ...]:
    """Return the roles of the first incomplete step that have not signed."""
    done = complete_steps(order, signed)
    return () if done == len(order) else tuple(role for role in order[done] if role not in signed)


def signatures_by_step(contract: Contract) -> tuple[tuple[Signature, ...], ...]:
    """Return the signatures of each complete step, first step first."""
    done = complete_steps(contract.signing_order, contract.signed_roles)
    return tuple(
        tuple(signature for signature in contract.signatures if signature.role in step)
        for step in contract.signing_order[:done]
    )


def end_of(contract: Contract) -> EndStatus | None:
    """Return how the contract ended; None while it is pending."""
    if contract.acts:
        return END_OF_ACT[contract.acts[0].name]
    if complete_steps(contract.signing_order, contract.signed_roles) == len(contract.signing_order):
        return EndStatus.FINALIZED
    return None


def status_of(contract: Contract) -> str:
    """Return the state's name on the wire."""
    return end_of(contract) or f"pending_{'_and_'.join(next_signers(contract))}_signature"


def check_may_decline(contract: Contract, role: Role) -> None:
    """Refuse a decline by a party whose signature is not missing.

    Raises:
        ActNotAllowedError: It has signed, or has nothing to sign.
    """
    missing = {member for step in contract.signing_order for member in step} - set(contract.signed_roles)
    if role not in missing:
        raise ActNotAllowedError(
            f"contract {contract.contract_id}: only a party whose signature is missing may decline", role=role
        )


def check_may_cancel(contract: Contract, role: Role) -> None:
    """Refuse a cancel by another than the initiator, or once another party has signed.

    Raises:
        ActNotAllowedError: Naming which of the two it is.
    """
    initiator = contract.signing_order[0][0]
    if role is not initiator:
        raise ActNotAllowedError(
            f"contract {contract.contract_id}: only its initiator ({initiator}) may cancel", role=role
        )
    if set(contract.signed_roles) - {initiator, Role.MONETA}:
        raise ActNotAllowedError(f"contract {contract.contract_id}: another party has signed", role=role)


def effective_expiry(body: ContractBody, *, expires_in_s: int | None, received_at: UnixMillis) -> UnixSeconds | None:
    """Return when the contract expires: the earlier of the body's term and the template's; None for neither."""
    terms = [term for term in (body.expires_at,) if term is not None]
    if expires_in_s is not None:
        terms.append(UnixSeconds(received_at // 1000 + expires_in_s))
    return min(terms, default=None)


def parse_body(raw: bytes) -> ContractBody:
    """Read a contract's body.

    Raises:
        MalformedJSONError: Not an I-JSON object.
        UnknownFieldError, NotSupportedError, MissingFieldError, InvalidFieldError: The first member that is wrong.
    """
    return body_of(parse_object(raw, what="contract body"))


def body_of(members: Mapping[str, Value]) -> ContractBody:
    """Return the body that ``members`` make. See ``parse_body``."""
    _check_members(members)
    return ContractBody(
        contract_id=ContractId(_identifier(members, "contract_id")),
        template_id=_identifier(members, "template_id"),
        version=_integer(members, "version", minimum=1),
        created_at=UnixSeconds(_integer(members, "created_at")),
        payload=_object(members, "payload"),
        mo_id=cast("OrganizationId | None", _optional(members, "mo_id")),  # NewTypes: only the name changes
        publisher_id=cast("OrganizationId | None", _optional(members, "publisher_id")),  # likewise
        mpass_id=cast("MPassId | None", _optional(members, "mpass_id")),  # likewise
        description=_description(members),
        expires_at=UnixSeconds(_integer(members, "expires_at")) if "expires_at" in members else None,
        nonce=_nonce(members),
    )


def find_field(body: Mapping[str, Value], name: str) -> Value:
    """Return the value of a template's required field.

    ``name`` is looked up in the body, in ``payload``, and in each object directly inside ``payload``; with dots, it is
    a path from ``payload``.

    Raises:
        MissingFieldError: It is missing or null.
        AmbiguousFieldError: It is found at two places, even if it is null at one of them: another reader might have
            taken that one.
    """
    payload = body["payload"]
    found = [_at_path(payload, name)] if "." in name else _at_known_places(body, payload, name)
    if len(found) > 1:
        raise AmbiguousFieldError(f"required field {name} is found at {len(found)} places", field=name)
    if not found or found[0] is None:
        raise MissingFieldError(f"required field {name} is missing", field=name)
    return found[0]


def _at_path(payload: Value, path: str) -> Value:
    value = payload
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _at_known_places(body: Mapping[str, Value], payload: Value, name: str) -> list[Value]:
    places: list[Value] = [body, payload]
    if isinstance(payload, dict):
        places.extend(payload.values())
    return [place[name] for place in places if isinstance(place, dict) and name in place]


def _check_members(members: Mapping[str, Value]) -> None:
    for name in members:
        if name in NOT_YET:
            raise NotSupportedError(f"contract body: {name} is not supported yet", field=name)
        if name not in MEMBERS:
            raise UnknownFieldError(f"contract body: unknown member {name[:64]!r}", field=name[:64])
    for name in REQUIRED_MEMBERS:
        if members.get(name) is None:
            raise MissingFieldError(f"contract body: {name} is missing", field=name)


def _identifier(members: Mapping[str, Value], name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not is_chosen_id(value):
        raise InvalidFieldError(f"{name}: expected 1 to 128 of A-Z a-z 0-9 . _ : ~ -", field=name)
    return value


def _optional(members: Mapping[str, Value], name: str) -> str | None:
    return _identifier(members, name) if name in members else None


def _integer(members: Mapping[str, Value], name: str, *, minimum: int = 0) -> int:
    value = members[name]
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= JSON_INTEGER_MAX:
        raise InvalidFieldError(f"{name}: expected an integer of at least {minimum}", field=name)
    return value


def _object(members: Mapping[str, Value], name: str) -> Mapping[str, Value]:
    value = members[name]
    if not isinstance(value, dict):
        raise InvalidFieldError(f"{name}: expected an object, got {type_name(value)}", field=name)
    return value


def _description(members: Mapping[str, Value]) -> str | None:
    if "description" not in members:
        return None
    value = members["description"]
    if not isinstance(value, str):
        raise InvalidFieldError(f"description: expected text, got {type_name(value)}", field="description")
    return value


def _nonce(members: Mapping[str, Value]) -> str | None:
    if "nonce" not in members:
        return None
    value = members["nonce"]
    if not isinstance(value, str) or _NONCE.fullmatch(value) is None:
        raise InvalidFieldError("nonce: expected base64url of 16 random bytes or more", field="nonce")
    return value
