"""Contracts: an immutable body, the signatures and acts collected on it, and the state that these add up to.

The rules (protocol, sections 3 and 4):

1. The body (``contract_body``) never changes: its bytes are what every signature covers.
2. The signing order is the template's, and after it, where the template has any, the step of those that acknowledge.
   The next signers are ``signing_order[complete steps]`` less the roles that signed; a role signs once.
3. Until an act or the last signature ends it, the status is ``pending_<roles>_signature``.
4. A party whose signature is missing may decline. The initiator may cancel while no party but it and Moneta signed;
   an organization that signs with two of its keys is one party.
5. Once only the acknowledging step is left, silence counts: after the template's wait Moneta's ``deem`` stands in, and
   the contract is finalized.
6. A later contract that names this one and is finalized makes it ``superseded``; that is no end of its own.
7. The state is derived from signatures and acts, never stored as an independent truth.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final, cast

from moneta.domain.contract_body import ContractBody, parse_body
from moneta.domain.errors import ActNotAllowedError
from moneta.domain.identifiers import ContractId, OrganizationId, Revision, UnixMillis, UnixSeconds
from moneta.domain.limits import ORDERS_REMEMBERED_MAX
from moneta.domain.templates import Role, SigningOrder, roles_of_initiator

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
    DEEM = "deem"


END_OF_ACT: Final[Mapping[ActName, EndStatus]] = {
    ActName.DECLINE: EndStatus.DECLINED,
    ActName.CANCEL: EndStatus.CANCELLED,
    ActName.EXPIRE: EndStatus.EXPIRED,
    ActName.DEEM: EndStatus.FINALIZED,
}
SUPERSEDED: Final = "superseded"
"""The status of a finalized contract that a later one has taken the place of."""


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
    deem_after_s: int | None = None
    notify: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one commit adds to a contract; immutable, and the only thing a contract is made of.

    ``start`` stands in the first step and in no other. ``receipt`` and ``finalized_at`` stand in the one that ends the
    contract, ``superseded_by`` in one after it. ``deem_at`` stands in each after which only those are asked whose
    silence will count from then on. ``leaf`` is the entry for the audit log (``audit.contract_leaf``), written in the
    same commit.
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
    deem_at: UnixSeconds | None = None
    superseded_by: ContractId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A contract as far as it has come.

    ``body_bytes`` are the exact bytes that every signature covers. ``received_at``: of the first submission.
    ``expires_at``: the earlier of the body's and the template's term, counted from that receipt; None for no term.
    ``signing_order``: with the acknowledging step, if there is one: where ``deem_after_s`` is not None.
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
    deem_after_s: int | None = None
    notify: tuple[Role, ...] = ()
    deem_at: UnixSeconds | None = None
    superseded_by: ContractId | None = None
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

    @property
    def ends_at(self) -> UnixSeconds | None:
        """When it ends by itself, unless something ends it before: by its term, or because silence counts."""
        if self.deem_at is None or self.expires_at is None:
            return self.expires_at if self.deem_at is None else self.deem_at
        return min(self.expires_at, self.deem_at)

    def is_over_at(self, moment: UnixMillis) -> bool:
        """Tell whether what is received at ``moment`` comes too late, whether or not the end is committed."""
        ends_at = self.ends_at
        return ends_at is not None and moment >= ends_at * 1000


def assemble(steps: Sequence[Step]) -> Contract:
    """Return the contract that ``steps`` add up to, the first of them at revision 1 and none left out.

    A prefix of a contract's steps gives the contract as it was at that revision.
    """
    start = steps[0].start if steps else None
    is_whole = [step.revision for step in steps] == list(range(1, len(steps) + 1))
    if start is None or not is_whole or any(step.start is not None for step in steps[1:]):
        raise ValueError("a contract's steps run from revision 1, the only one with a start, without a gap")
    ended = next((step for step in reversed(steps) if step.receipt is not None), steps[-1])
    return Contract(
        body_bytes=start.body_bytes,
        signing_order=start.signing_order,
        template_sha256=start.template_sha256,
        received_at=start.received_at,
        expires_at=start.expires_at,
        signatures=tuple(signature for step in steps for signature in step.signatures),
        acts=tuple(act for step in steps for act in step.acts),
        log=tuple(line for step in steps for line in step.log),
        receipt=ended.receipt,
        finalized_at=ended.finalized_at,
        revision=steps[-1].revision,
        deem_after_s=start.deem_after_s,
        notify=start.notify,
        deem_at=steps[-1].deem_at,
        superseded_by=steps[-1].superseded_by,
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
    if contract.superseded_by is not None:
        return SUPERSEDED
    return end_of(contract) or f"pending_{'_and_'.join(next_signers(contract))}_signature"


def waits_for_acknowledgement(contract: Contract) -> bool:
    """Tell whether everybody has signed but those whose silence counts."""
    done = complete_steps(contract.signing_order, contract.signed_roles)
    return contract.deem_after_s is not None and done == len(contract.signing_order) - 1


def check_may_decline(contract: Contract, roles: Collection[Role]) -> None:
    """Refuse a decline by a party, of ``roles``, whose signature is not missing.

    Raises:
        ActNotAllowedError: It has signed, or has nothing to sign.
    """
    missing = {member for step in contract.signing_order for member in step} - set(contract.signed_roles)
    if missing.isdisjoint(roles):
        raise ActNotAllowedError(
            f"contract {contract.contract_id}: only a party whose signature is missing may decline", roles=[*roles]
        )


def check_may_cancel(contract: Contract, roles: Collection[Role]) -> None:
    """Refuse a cancel by another than the initiator, or once another party has signed.

    Raises:
        ActNotAllowedError: Naming which of the two it is.
    """
    initiator = contract.signing_order[0][0]
    if initiator not in roles:
        raise ActNotAllowedError(
            f"contract {contract.contract_id}: only its initiator ({initiator}) may cancel", roles=[*roles]
        )
    if not roles_of_initiator(contract.signing_order).issuperset(contract.signed_roles):
        raise ActNotAllowedError(f"contract {contract.contract_id}: another party has signed", roles=[*roles])


def effective_expiry(body: ContractBody, *, expires_in_s: int | None, received_at: UnixMillis) -> UnixSeconds | None:
    """Return when the contract expires: the earlier of the body's term and the template's; None for neither."""
    terms = [term for term in (body.expires_at,) if term is not None]
    if expires_in_s is not None:
        terms.append(UnixSeconds(received_at // 1000 + expires_in_s))
    return min(terms, default=None)
