"""What a party makes and signs: a contract's body, its first signature, a countersignature, acts.

A body is made once, to bytes, and those bytes are signed, sent and kept; nobody re-serializes them. The one way to a
countersignature is ``respond``: it takes a verified contract and asks for a decision.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from moneta.client.decisions import Decide, Decline, Later, Sign
from moneta.client.errors import InvalidContractError, NotOurTurnError
from moneta.client.party import Party
from moneta.client.verified import SignatureTexts, VerifiedContract, jws_json
from moneta.domain.contract_body import parse_body
from moneta.domain.contracts import ActName
from moneta.domain.errors import Refused
from moneta.domain.identifiers import ContractId, MPassId, UnixSeconds
from moneta.domain.limits import BODY_BYTES_MAX
from moneta.domain.mpasses import NUMBER_RANDOM_DIGITS, issued_id, make_number
from moneta.domain.templates import Role
from moneta.signing import base64url
from moneta.signing.chain import SignedTexts, contract_header, head_of, to_json
from moneta.signing.jws import signing_input
from moneta.signing.statements import make_act, parse_act

RANDOM_ID_BYTES: Final = 16

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedContract:
    """A contract with this party's signature, ready to send. ``head``: what an act upon it would carry as ``prev``."""

    contract_id: ContractId
    jws: Json
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAct:
    """An act by this party as its compact JWS, ready to send."""

    contract_id: ContractId
    name: ActName
    compact: str


def new_contract_id() -> ContractId:
    """Return an id with 128 random bits."""
    return ContractId(f"c-{secrets.token_hex(RANDOM_ID_BYTES)}")


def new_mpass_number(mic: str) -> str:
    """Return an mPass number that this MO may give: its MIC, 16 random digits, and the check digit over both."""
    return make_number(mic, f"{secrets.randbelow(10**NUMBER_RANDOM_DIGITS):0{NUMBER_RANDOM_DIGITS}}")


def mpass_id_of(contract_id: str, number: str) -> MPassId:
    """Return the id that the hub gives the mPass which a contract issues under this number."""
    return issued_id(ContractId(contract_id), number)


def build_contract(
    *,
    template_id: str,
    version: int,
    payload: Json,
    created_at: UnixSeconds,
    contract_id: str | None = None,
    **members: str | int,
) -> bytes:
    """Return a contract's body, checked as the hub checks it, to the bytes that will be signed.

    ``members``: ``mo_id``, ``publisher_id``, ``org_id``, ``mpass_id``, ``description``, ``expires_at``, ``nonce``. A
    random ``contract_id`` and ``nonce`` are chosen where none are given. Amounts are decimal strings; a float is
    refused.

    Raises:
        InvalidContractError: The hub would refuse the body; for what the template asks, only the hub can.
    """
    body = {
        "contract_id": contract_id or new_contract_id(),
        "template_id": template_id,
        "version": version,
        "created_at": created_at,
        "nonce": base64url.encode(secrets.token_bytes(RANDOM_ID_BYTES)),
        **members,
        "payload": payload,
    }
    try:
        _check_exact(payload, "payload")
        raw = to_json(body)
        parse_body(raw)
    except Refused as error:
        raise InvalidContractError(error.detail) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidContractError("payload: expected JSON values only") from error
    if len(raw) > BODY_BYTES_MAX:
        raise InvalidContractError(f"body: at most {BODY_BYTES_MAX} bytes, got {len(raw)}")
    return raw


def sign_first(
    body: bytes, party: Party, *, issued_at: UnixSeconds, template_sha256: str | None = None
) -> SignedContract:
    """Return the contract with its first signature, by ``party`` as initiator.

    ``template_sha256``: says which bytes of the template were agreed to; the hub refuses another's.

    Raises:
        InvalidContractError: The body is none, or does not name ``party`` under its role.
    """
    try:
        parsed = parse_body(body)
    except Refused as error:
        raise InvalidContractError(error.detail) from error
    roles = party.roles_in(parsed)
    if not roles:
        raise InvalidContractError(f"contract {parsed.contract_id}: {party.organization_id} is not its {party.role}")
    payload = base64url.encode(body)
    own = _sign(party, roles[0], payload, prev=None, issued_at=issued_at, template_sha256=template_sha256)
    return _signed(parsed.contract_id, payload, [own])


def respond(
    contract: VerifiedContract, party: Party, decide: Decide, *, issued_at: UnixSeconds
) -> SignedContract | SignedAct | None:
    """Ask ``decide``, and return the contract with one more signature, or the act, or nothing.

    Nothing, and without asking, if the contract's own term is over.

    Raises:
        NotOurTurnError: The party has signed.
        Exception: Whatever ``decide`` raises; nothing is signed then.
    """
    missing = _missing_roles(contract, party)
    if not missing:
        raise NotOurTurnError(f"contract {contract.contract_id}: {party.role} has nothing to sign")
    if contract.is_expired_at(issued_at):
        return None
    match decide(contract):
        case Sign():
            return _countersign(contract, party, missing[0], issued_at=issued_at)
        case Decline(reason_code, reason):
            return decline(contract, party, reason_code=reason_code, reason=reason, issued_at=issued_at)
        case Later():
            return None
        case other:  # a True or a None from an untyped caller must not pass for anything
            raise TypeError(f"decide: expected Sign, Decline or Later, got {type(other).__name__}")


def decline(
    contract: VerifiedContract, party: Party, *, reason_code: str, reason: str = "", issued_at: UnixSeconds
) -> SignedAct:
    """Return the act that ends the contract by a party whose signature is missing.

    Raises:
        NotOurTurnError: The party has signed.
        InvalidContractError: The reason is not of the form.
    """
    if not _missing_roles(contract, party):
        raise NotOurTurnError(f"contract {contract.contract_id}: {party.role} has signed and can't decline")
    return _act(
        ActName.DECLINE, contract.contract_id, party, contract.head, issued_at, reason_code=reason_code, reason=reason
    )


def cancel(
    contract: SignedContract | VerifiedContract,
    party: Party,
    *,
    reason_code: str,
    reason: str = "",
    issued_at: UnixSeconds,
) -> SignedAct:
    """Return the act that ends the contract by its initiator, while no other party but Moneta has signed.

    What ``sign_first`` gave is enough: the hub takes the head after any complete step.

    Raises:
        InvalidContractError: The reason is not of the form.
    """
    return _act(
        ActName.CANCEL, contract.contract_id, party, contract.head, issued_at, reason_code=reason_code, reason=reason
    )


def _missing_roles(contract: VerifiedContract, party: Party) -> tuple[Role, ...]:
    """Return the party's roles that have not signed, the one first that is asked if the hub has asked for one."""
    missing = [role for role in party.roles_in(contract.body) if role not in contract.signed_roles]
    return tuple(sorted(missing, key=lambda role: role is not contract.turn))


def _countersign(contract: VerifiedContract, party: Party, role: Role, *, issued_at: UnixSeconds) -> SignedContract:
    own = _sign(
        party,
        role,
        contract.payload,
        prev=contract.head,
        issued_at=issued_at,
        template_sha256=contract.template_sha256,
    )
    return _signed(contract.contract_id, contract.payload, [*contract.entries, own])


def _sign(
    party: Party, role: Role, payload: str, *, prev: str | None, issued_at: UnixSeconds, template_sha256: str | None
) -> SignatureTexts:
    key = party.contract_key
    protected = contract_header(
        algorithm=key.public.algorithm,
        key_id=key.public.key_id,
        issued_at=issued_at,
        audience=party.hub,
        role=role,
        prev=prev,
        **({} if template_sha256 is None else {"template_sha256": template_sha256}),
    )
    return SignatureTexts(protected, base64url.encode(key.sign(signing_input(protected, payload))))


def _signed(contract_id: ContractId, payload: str, signatures: Sequence[SignedTexts]) -> SignedContract:
    jws = jws_json(payload, signatures)
    return SignedContract(contract_id=contract_id, jws=jws, head=head_of(signatures[-1:]))


def _act(  # one argument a member of the act
    name: ActName,
    contract_id: ContractId,
    party: Party,
    prev: str,
    issued_at: UnixSeconds,
    *,
    reason_code: str,
    reason: str,
) -> SignedAct:
    compact = make_act(
        party.contract_key,
        name=name,
        contract_id=contract_id,
        reason_code=reason_code,
        reason=reason,
        prev=prev,
        issued_at=issued_at,
        audience=party.hub,
    )
    try:
        parse_act(compact)
    except Refused as error:
        raise InvalidContractError(error.detail) from error
    return SignedAct(contract_id=contract_id, name=name, compact=compact)


def _check_exact(value: object, where: str) -> None:
    """Refuse a float: its digits are not what was meant, and no float reaches a signed byte."""
    if isinstance(value, (float, Decimal)):
        raise InvalidContractError(f"{where}: expected a decimal string, got {type(value).__name__} {value}")
    if isinstance(value, Mapping):
        for name, member in value.items():
            _check_exact(member, f"{where}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_exact(item, f"{where}[{index}]")
