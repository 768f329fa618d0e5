"""Verify a contract and its end, from the bytes and the keys alone. There is no way to skip a rule.

A contract (``Verifier.contract``):

1. It has exactly the form of protocol section 3, and its body exactly the members.
2. The body names this party under its role, or as ``org_id``.
3. Every signature verifies alone, with a key of the organization that the body names for its role, or of the hub's;
   for ``org_new_key`` with that in the payload, which the organization's own signature before it vouches for. ``typ``
   and ``aud`` are exact; each step carries the head of the one before; a role signs once.
4. If the template is pinned: the digest that is signed is that one's, and the roles stand in its order.
5. What Moneta signed after, it had not received long before it was signed; and at the position in the key registry
   that its signature names, none of the keys before it was revoked.

A request to sign (``Verifier.requested``):

6. It is this party's turn, by the status, by the chain and by the template where it is pinned; and Moneta has signed,
   unless the pinned template says that it signs later. No key in the contract is compromised.

An end (``Verifier.end``):

7. A receipt by the hub's key names this hub, contract, body, end, act and head. A chain alone proves no end. If it
   is finalized: at the receipt's position in the key registry, no key that signed after Moneta was revoked.
8. Where an act made the end: it verifies, is for this hub and contract, of the kind that leads to that end, chained to
   it, and by who may do it. A ``deem`` stands in for those alone that the pinned template lets be silent.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from moneta.client.errors import MessageRefusedError
from moneta.client.party import Party
from moneta.client.trust import ORGANIZATION_KINDS, Keyring, TrustedKey
from moneta.client.verified import SEAL, KnownTemplate, VerifiedContract, VerifiedEnd
from moneta.domain.contract_body import PARTY_MEMBERS, ContractBody, parse_body
from moneta.domain.contracts import END_OF_ACT, ActName, EndStatus, complete_steps
from moneta.domain.errors import Refused
from moneta.domain.identifiers import KeyId, OrganizationId, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.limits import CLOCK_SKEW_S
from moneta.domain.templates import Role, SigningOrder
from moneta.signing import base64url, jws
from moneta.signing.chain import head_of, new_key_of, verify_chain
from moneta.signing.jws import ContractJWS, Entry
from moneta.signing.keys import PublicKey
from moneta.signing.statements import ActStatement, parse_act, verify_compact, verify_receipt

Steps = tuple[tuple[Entry, ...], ...]


class Verifier:
    """Verifies for one party. Stateless but for the keyring's memory; safe to share between threads."""

    def __init__(self, party: Party, keyring: Keyring, templates: Iterable[KnownTemplate] = ()) -> None:
        self.party = party
        self._keyring = keyring
        self._templates = {(template.name, template.version): template for template in templates}

    def contract(self, value: Value) -> VerifiedContract:
        """Return the contract that a JWS in General JSON carries, verified: rules 1 to 5.

        Raises:
            MessageRefusedError: Naming the rule that is broken.
            KeysUnavailableError: Nothing is known about it, since its keys could not be fetched.
        """
        with refusing():
            signed = jws.parse_contract(value)  # (1)
            body = parse_body(signed.body_bytes)
            self._check_party(body)  # (2)
            chain = verify_chain(signed, audience=self.party.hub, key_for=self._key_for(body, signed))  # (3)
        template = self._templates.get((body.template_id, body.version))
        sha256 = _template_sha256(signed.entries, template)  # (4)
        steps = chain if template is None else _steps_in_order(chain, template.whole_order)
        _check_times(chain)  # (5)
        self._check_judged(body, signed.entries)
        return VerifiedContract(
            seal=SEAL,
            body=body,
            body_bytes=signed.body_bytes,
            payload=signed.payload,
            entries=signed.entries,
            steps=steps,
            head=head_of(steps[-1]),
            template_sha256=sha256,
            is_template_known=template is not None,
        )

    def requested(self, contract: VerifiedContract, status: str) -> Role:
        """Return the role that this party is asked to sign under: rule 6.

        Raises:
            MessageRefusedError: It is not, or not yet.
        """
        signed, order = contract.signed_roles, self._order_of(contract)
        pending = status.removeprefix("pending_").removesuffix("_signature").split("_and_")
        own = [role for role in self.party.roles_in(contract.body) if role in pending and role not in signed]
        if status != f"pending_{'_and_'.join(pending)}_signature" or not own:
            raise _refused(
                contract, f"status {status[:64]!r} does not ask {self.party.role} to sign", "not_next_signer"
            )
        role = own[0]
        if order is None and Role.MONETA not in signed:
            raise _refused(contract, "moneta has not signed; pin the template if it signs later", "not_next_signer")
        if order is not None and role not in [*order, ()][len(contract.steps)]:
            raise _refused(contract, f"the template does not ask {role} to sign now", "not_next_signer")
        self._check_unjudged(contract, None)
        self._check_not_compromised(contract)
        return role

    def is_for_new_key(self, contract: VerifiedContract, status: str) -> bool:
        """Tell whether this organization is asked for the proof of a new key, which is another party's to give."""
        own = contract.body.party(Role.ORG_NEW_KEY) == self.party.organization_id
        return own and self.party.role is not Role.ORG_NEW_KEY and status == f"pending_{Role.ORG_NEW_KEY}_signature"

    def end(self, contract: VerifiedContract, *, status: Value, receipt: Value, act: Value) -> VerifiedEnd:
        """Return how the contract ended, verified: rules 7 and 8.

        Raises:
            MessageRefusedError: The receipt or the act is missing, or is not this contract's.
            KeysUnavailableError: As for ``contract``.
        """
        if not isinstance(status, str) or status not in list(EndStatus):
            raise _refused(contract, "not the status of an end", "invalid_receipt")
        if not isinstance(receipt, str):
            raise _refused(contract, "an end without a receipt proves nothing", "missing_receipt")
        end = EndStatus(status)
        with refusing():
            finalized_at = self._check_receipt(contract, end, receipt, act)  # (7)
            if act is None:
                _check_finalized(contract, end, self._order_of(contract))
                return VerifiedEnd(status=end, finalized_at=finalized_at, receipt=receipt)
            statement = parse_act(act)
            actor = self._check_act(contract, end, statement)  # (8)
            if statement.name is ActName.DEEM:
                self._check_deemed(contract)
        return VerifiedEnd(
            status=end,
            finalized_at=finalized_at,
            receipt=receipt,
            act=str(act),
            actor=actor,
            reason_code=statement.reason_code,
            reason=statement.reason,
        )

    def _check_party(self, body: ContractBody) -> None:
        party = self.party
        if not party.roles_in(body):
            raise MessageRefusedError(
                f"contract {body.contract_id}: {party.organization_id} is not its {party.role}", code="wrong_party"
            )

    def _key_for(self, body: ContractBody, signed: ContractJWS) -> Callable[[Role, str], PublicKey]:
        issued_at = {entry.header.role: entry.header.issued_at for entry in signed.entries}
        return lambda role, key_id: self._public(body, role, key_id, issued_at[role])

    def _public(self, body: ContractBody, role: Role, key_id: str, issued_at: int) -> PublicKey:
        trusted = self._trusted(body, role, key_id)
        return trusted.signing_at(issued_at) if role is Role.MONETA else trusted.public

    def _check_judged(self, body: ContractBody, entries: Sequence[Entry]) -> None:
        """(5): each signature before one of Moneta's was judged at the position that Moneta's names."""
        position: int | None = None
        for entry in reversed(entries):
            if entry.header.role == Role.MONETA:
                position = entry.header.registry_seq
            elif position is not None:
                self._trusted(body, Role(entry.header.role or ""), entry.header.key_id).check_judged_at(position)

    def _check_unjudged(self, contract: VerifiedContract, position: int | None) -> None:
        """(6), (7): the signatures after Moneta's last one are judged by the receipt, at ``position``, or not yet."""
        for entry in reversed(contract.entries):
            if entry.header.role == Role.MONETA:
                return
            key = self._trusted(contract.body, Role(entry.header.role or ""), entry.header.key_id)
            key.check_judged_at(position)

    def _check_not_compromised(self, contract: VerifiedContract) -> None:
        for entry in contract.entries:
            key = self._trusted(contract.body, Role(entry.header.role or ""), entry.header.key_id)
            if key.is_compromised:
                raise _refused(contract, f"key {entry.header.key_id} is compromised", "key_not_valid")

    def _trusted(self, body: ContractBody, role: Role, key_id: str) -> TrustedKey:
        if role is Role.MONETA:
            return self._keyring.hub_key(key_id)
        if role is Role.ORG_NEW_KEY:
            return TrustedKey(public=new_key_of(body))
        organization_id = body.party(role)
        if organization_id is None:
            raise MessageRefusedError(f"contract {body.contract_id}: names no {role}", code="wrong_signer")
        own = self.party.contract_key.public
        if organization_id == self.party.organization_id and key_id == own.key_id:
            return TrustedKey(public=own)
        return self._keyring.party_key(self._kinds(body, organization_id), organization_id, key_id)

    def _kinds(self, body: ContractBody, organization_id: OrganizationId) -> tuple[Role, ...]:
        """Return what the organization may be: an ``org_id`` is of either kind, unless something tells which."""
        if organization_id == self.party.organization_id and self.party.role in ORGANIZATION_KINDS:
            return (self.party.role,)
        return tuple(kind for kind in ORGANIZATION_KINDS if body.party(kind) == organization_id) or ORGANIZATION_KINDS

    def _order_of(self, contract: VerifiedContract) -> SigningOrder | None:
        template = self._templates.get((contract.body.template_id, contract.body.version))
        return None if template is None else template.whole_order

    def _check_receipt(self, contract: VerifiedContract, end: EndStatus, receipt: str, act: Value) -> UnixSeconds:
        issued_at = jws.parse_compact(receipt, jws.RECEIPT_HEADER, what="receipt").entry.header.issued_at
        claims = verify_receipt(
            receipt, lambda key_id: self._keyring.hub_key(key_id).signing_at(issued_at), issuer=self.party.hub
        )
        expected = {
            "contract_id": contract.contract_id,
            "status": end,
            "body_sha256": base64url.sha256(contract.body_bytes),
            "act_sha256": base64url.sha256(act.encode("utf-8")) if isinstance(act, str) else None,
        }
        for name, value in expected.items():
            if claims[name] != value:
                raise _refused(contract, f"receipt: {name}: expected {value}", "invalid_receipt")
        if claims["head"] not in _heads_possible(contract, end, has_act=act is not None):
            raise _refused(contract, f"receipt: head: expected {contract.head}", "invalid_receipt")
        times = [claims[name] for name in ("finalized_at", "registry_seq")]
        finalized_at, position = (
            time if isinstance(time, int) and not isinstance(time, bool) else -1 for time in times
        )
        if min(finalized_at, position) < 0:
            raise _refused(contract, "receipt: finalized_at or registry_seq is not a number", "invalid_receipt")
        if end is EndStatus.FINALIZED:
            self._check_unjudged(contract, position)
        return UnixSeconds(finalized_at)

    def _check_act(self, contract: VerifiedContract, end: EndStatus, act: ActStatement) -> Role:
        if END_OF_ACT.get(act.name) is not end or act.contract_id != contract.contract_id:
            raise _refused(contract, f"act: {act.name} of {act.contract_id[:128]} does not end it", "invalid_act")
        if act.prev not in [head_of(step) for step in contract.steps]:
            raise _refused(contract, "act: prev is not a head of this contract", "invalid_act")
        header = act.jws.entry.header
        for role in _actors_possible(contract, act.name):
            key = self._find_key(contract.body, role, header.key_id)
            if key is not None:
                public = self._public(contract.body, role, header.key_id, header.issued_at)
                verify_compact(act.jws, public, typ=jws.ACT_TYP, audience=self.party.hub)
                return role
        raise _refused(contract, f"act: {act.name} is not by who may do it", "wrong_signer")

    def _check_deemed(self, contract: VerifiedContract) -> None:
        """(8): silence counts only where the pinned template lets it, and once all others have signed."""
        template = self._templates.get((contract.body.template_id, contract.body.version))
        if template is None:
            if Role.MONETA not in contract.signed_roles:
                raise _refused(contract, "deemed, and moneta has not signed it", "invalid_act")
        elif not template.acknowledge or len(contract.steps) < len(template.signing_order):
            raise _refused(contract, "deemed, where the template asks for a signature", "invalid_act")

    def _find_key(self, body: ContractBody, role: Role, key_id: KeyId | str) -> TrustedKey | None:
        try:
            return self._trusted(body, role, key_id)
        except MessageRefusedError:
            return None


@contextmanager
def refusing() -> Iterator[None]:
    """Translate what ``domain`` and ``signing`` refuse into our one error for it."""
    try:
        yield
    except Refused as error:
        raise MessageRefusedError(error.detail, code=error.code) from error


def _refused(contract: VerifiedContract, fault: str, code: str) -> MessageRefusedError:
    return MessageRefusedError(f"contract {contract.contract_id}: {fault}", code=code)


def _template_sha256(entries: Sequence[Entry], template: KnownTemplate | None) -> str | None:
    """(4): ``verify_chain`` has seen to it that the signatures name one template at most."""
    signed = next((one for entry in entries if (one := entry.header.template_sha256) is not None), None)
    if template is not None and signed not in {None, template.sha256}:
        raise MessageRefusedError("template_sha256 is not that of the pinned template", code="template_mismatch")
    return signed if template is None else template.sha256


def _steps_in_order(chain: Steps, order: SigningOrder) -> Steps:
    """Return the complete steps of a chain that must follow the template's order."""
    roles = [[Role(entry.header.role or "") for entry in step] for step in chain]
    done = complete_steps(order, tuple(role for step in roles for role in step))
    fits = len(chain) <= len(order) and all(set(step) <= set(order[i]) for i, step in enumerate(roles))
    if not fits or done < len(chain) - 1 or done == 0:
        raise MessageRefusedError("the signatures do not stand in the template's order", code="not_next_signer")
    return chain[:done]


def _check_times(chain: Steps) -> None:
    for index, step in enumerate(chain):
        received = [entry.header.received_at for entry in step if entry.header.received_at is not None]
        earlier = [entry.header.issued_at for before in chain[:index] for entry in before]
        if received and max(earlier, default=0) > received[0] + CLOCK_SKEW_S:
            raise MessageRefusedError("a signature is dated after Moneta received it", code="signature_time")


def _check_finalized(contract: VerifiedContract, end: EndStatus, order: SigningOrder | None) -> None:
    if end is not EndStatus.FINALIZED:
        raise _refused(contract, f"{end} without the act that made it", "missing_act")
    if order is not None and len(contract.steps) != len(order):
        raise _refused(contract, "finalized, but a signature of the template's order is missing", "invalid_receipt")


def _heads_possible(contract: VerifiedContract, end: EndStatus, *, has_act: bool) -> set[str]:
    """Return the heads that a receipt for ``end`` may name.

    An act may end a contract in the middle of a parallel step. Without the template, whose steps are then exact, that
    step can't be told from a complete one, and the head is its own or that of the one before.
    """
    if contract.is_template_known or (end is EndStatus.FINALIZED and not has_act):
        return {contract.head}
    return {head_of(step) for step in contract.steps[-2:]}


def _actors_possible(contract: VerifiedContract, act: ActName) -> tuple[Role, ...]:
    """Return who may have made the act: Moneta alone lets expire, the initiator cancels, who has not signed declines.

    Moneta declines too, where a check fails on a later turn of its own.
    """
    match act:
        case ActName.EXPIRE | ActName.DEEM:
            return (Role.MONETA,)
        case ActName.CANCEL:
            return (contract.initiator,)
        case ActName.DECLINE:
            missing = (role for role in PARTY_MEMBERS if role not in contract.signed_roles)
            # An act is by a registered key, also where it is the new one's signature that is missing.
            return (*(Role.ORG if role is Role.ORG_NEW_KEY else role for role in missing), Role.MONETA)
