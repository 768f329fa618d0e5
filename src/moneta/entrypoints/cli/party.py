"""What the commands of a party do: keys, signing, and events, all by way of ``moneta.client``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from moneta.application.documents import to_json
from moneta.client import (
    Accepted,
    HubClient,
    InvalidContractError,
    Keyring,
    Party,
    Sign,
    SignedAct,
    SignedContract,
    VerifiedContract,
    Verifier,
    keys,
    respond,
    sign_first,
    system_clock,
)
from moneta.client import cancel as make_cancel
from moneta.client import decline as make_decline
from moneta.client import registration as make_registration
from moneta.client.hub import Event, build_event
from moneta.domain.contract_body import ContractBody, parse_body
from moneta.domain.errors import Refused
from moneta.domain.identifiers import ContractId, OrganizationId, UnixSeconds
from moneta.domain.ijson import Value, parse_object
from moneta.domain.limits import EVENT_BYTES_MAX
from moneta.domain.templates import Role
from moneta.entrypoints.cli.failures import CommandError
from moneta.signing.chain import head_of
from moneta.signing.jws import ContractJWS, parse_contract

FILE_BYTES_MAX: Final = 4 * EVENT_BYTES_MAX
WAIT_S: Final = 30.0
DEPTH_MAX: Final = 20

Json = Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """The key files of a party, and the hub it deals with. ``hub_keys``: pinned ones; the hub is asked if none are."""

    url: str
    key_file: Path
    auth_key_file: Path | None = None
    hub_keys: tuple[str, ...] = ()

    def party(self, organization_id: OrganizationId, role: Role) -> Party:
        """Return the party that signs as ``organization_id``."""
        return Party(
            organization_id=organization_id,
            role=role,
            hub=self.url,
            auth_key=self.auth_key(),
            contract_key=self.contract_key(),
        )

    def contract_key(self) -> keys.PrivateKey:
        """Return the contract key."""
        return keys.load(self.key_file)

    def auth_key(self) -> keys.PrivateKey:
        """Return the auth key; the contract key where there is no other."""
        return keys.load(self.auth_key_file or self.key_file)

    def verifier(self, party: Party, hub: HubClient) -> Verifier:
        """Return what verifies for ``party``, with keys that the hub is asked for."""
        return Verifier(party, Keyring(hub.caller.get, hub_keys=frozenset(self.hub_keys) or None))


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a contract is ended."""

    code: str
    text: str


def new_key(algorithm: str, file: Path) -> str:
    """Make a private key in ``file``, and return its public JWK as JSON."""
    key = keys.generate(algorithm)
    keys.save(key, file)
    return _text(keys.public_jwk(key))


def show_key(file: Path) -> str:
    """Return the public JWK of the private key in ``file`` as JSON."""
    return _text(keys.public_jwk(keys.load(file)))


def offered_key(file: Path, url: str, subject: str, uses: Sequence[str]) -> str:
    """Return a key as it is registered, with the proof that we hold it."""
    key = keys.load(file)
    proof = keys.key_proof(key, hub=url, subject=subject, now=system_clock())
    return _text({"jwk": keys.public_jwk(key), "use": sorted(set(uses)), "proof": proof})


def registration(signer: Signer, role: str, *, name: str, code: str, webhook_url: str) -> str:
    """Return the body that registers an organization."""
    contract_key = signer.contract_key()
    return _text(
        make_registration(
            Role(role),
            name=name,
            code=code,
            webhook_url=webhook_url,
            hub=signer.url,
            auth_key=signer.auth_key(),
            contract_key=contract_key,
            now=system_clock(),
        )
    )


def sign(file: Path, signer: Signer, role: str, template_sha256: str | None) -> str:
    """Return the contract in ``file`` with one more signature; for a body, with the first."""
    raw = _read(file)
    found = _contract_in(raw, file)
    body = _body(raw if found is None else parse_contract(found).body_bytes, file)
    organization_id = body.party(Role(role))
    if organization_id is None:
        raise CommandError(f"{file}: the body names no {role}")
    me = signer.party(organization_id, Role(role))
    if found is None:
        return _text(sign_first(raw, me, issued_at=system_clock(), template_sha256=template_sha256).jws)
    verified = signer.verifier(me, HubClient(me)).contract(found)
    if template_sha256 not in {None, verified.template_sha256}:
        raise CommandError(f"{file}: expected template_sha256 {template_sha256}, got {verified.template_sha256}")
    signed = respond(verified, me, lambda _: Sign(), issued_at=system_clock())
    if not isinstance(signed, SignedContract):
        raise CommandError(f"contract {body.contract_id}: its term is over")
    return _text(signed.jws)


def submit(file: Path, signer: Signer, *, own_id: str, may_sign: bool, event_id: str | None, waits: bool) -> str:
    """Send the contract in ``file``, and return the event as JSON."""
    raw = _read(file)
    found = _contract_in(raw, file)
    if found is None and not may_sign:
        raise CommandError(f"{file}: a body without a signature; give --key to sign it, or moneta sign it first")
    body = _body(raw if found is None else parse_contract(found).body_bytes, file)
    me = signer.party(OrganizationId(own_id), _own_role(body, own_id))
    if found is None:
        now = system_clock()
        event = build_event(me, "submit", sign_first(raw, me, issued_at=now), now=now, event_id=event_id)
    else:
        event = _event_of(me, parse_contract(found), body, event_id)
    return _send(HubClient(me), event, waits=waits)


def end(
    name: Literal["decline", "cancel"],
    contract_id: str,
    signer: Signer,
    *,
    own_id: str,
    reason: Reason,
    event_id: str | None,
    waits: bool,
) -> str:
    """Decline or cancel a contract, and return the event as JSON."""
    someone = signer.party(OrganizationId(own_id), Role.MO)  # any role: until the contract tells, only the token counts
    view = HubClient(someone).contract(contract_id)
    try:
        role = _own_role(parse_body(parse_contract(view.jws).body_bytes), own_id)
    except Refused as error:
        raise CommandError(f"contract {contract_id}: {error.detail}") from error
    me = signer.party(OrganizationId(own_id), role)
    hub = HubClient(me)
    verified = signer.verifier(me, hub).contract(view.jws)
    act = _act(name, verified, me, reason)
    return _send(hub, build_event(me, name, act, now=system_clock(), event_id=event_id), waits=waits)


def _act(name: str, contract: VerifiedContract, me: Party, reason: Reason) -> SignedAct:
    make = make_decline if name == "decline" else make_cancel
    return make(contract, me, reason_code=reason.code, reason=reason.text, issued_at=system_clock())


def _send(hub: HubClient, event: Event, *, waits: bool) -> str:
    accepted = hub.post(event)
    if waits:
        return _text(hub.wait_processed(accepted, timeout_s=WAIT_S).document)
    return _text(_accepted_document(accepted))


def _accepted_document(accepted: Accepted) -> Json:
    return {
        "event_id": accepted.event_id,
        "contract_id": accepted.contract_id,
        "status": "accepted",
        "received_at": accepted.received_at,
    }


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        raw = opened.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise CommandError(f"{file}: more than {FILE_BYTES_MAX} bytes")
    return raw


def _contract_in(raw: bytes, file: Path) -> Value:
    """Return the JWS that a file holds, alone or as the ``jws`` of what the hub shows; None if it holds a body."""
    try:
        members = parse_object(raw, what=str(file), depth_max=DEPTH_MAX)
    except Refused as error:
        raise CommandError(error.detail) from error
    if members.keys() == {"payload", "signatures"}:
        return members
    return members.get("jws")


def _body(raw: bytes, file: Path) -> ContractBody:
    try:
        return parse_body(raw)
    except Refused as error:
        raise InvalidContractError(f"{file}: {error.detail}") from error


def _own_role(body: ContractBody, own_id: str) -> Role:
    roles = body.roles_of(OrganizationId(own_id))
    if not roles:
        raise CommandError(f"contract {body.contract_id}: {own_id} is no party of it")
    return roles[0]


def _event_of(me: Party, signed: ContractJWS, body: ContractBody, event_id: str | None) -> Event:
    """Return the event that brings a signed contract to the hub.

    Its time is that of the newest signature, so that the same file makes the same bytes whenever it is sent again.
    """
    entries = [{"protected": one.protected, "signature": one.signature} for one in signed.entries]
    jws = {"payload": signed.payload, "signatures": entries}
    contract = SignedContract(contract_id=ContractId(body.contract_id), jws=jws, head=head_of(signed.entries[-1:]))
    kind = "submit" if len(entries) == 1 else "sign"
    issued_at = UnixSeconds(signed.entries[-1].header.issued_at)
    return build_event(me, kind, contract, now=issued_at, event_id=event_id)


def _text(document: Mapping[str, object]) -> str:
    return to_json(document).decode()
