"""The payloads of the demo, and the events that the hub must refuse."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from moneta.client import Party, SignedContract, build_event, sign_first
from moneta.client.hub import Event
from moneta.domain.identifiers import UnixSeconds
from moneta.entrypoints.demo.plan import CAMPAIGN, PlannedContract, Twist
from moneta.signing import base64url

OTHER_HUB: Final = "http://127.0.0.1:1"
NOBODYS_MPASS: Final = "00000000-0000-4000-8000-000000000000"
FIRST_BIT: Final = 1

MakeBody = Callable[..., bytes]
"""``partner.Partner._body``: a planned contract to its body, members replaced by name."""


def payload(planned: PlannedContract) -> Mapping[str, object]:
    """Return the payload of a contract, with the fault in it that its kind has."""
    if planned.row.template == CAMPAIGN:
        return {
            "campaign": {"title": "Spring", "starts_on": "2027-03-01", "ends_on": "2027-03-31", "channels": ["web"]},
            "budget": {
                "amount": planned.amount,
                "currency": "USD",
                "mo_share": planned.amount,
                "publisher_share": "0",
            },
        }
    match planned.row.twist:
        case Twist.MISSING_AMOUNT:
            return {"transaction": {"currency": "USD"}}
        case Twist.THIRD_DECIMAL:
            return {"transaction": {"amount": f"{planned.amount}5", "currency": "USD"}}
        case _:
            return {"transaction": {"amount": planned.amount, "currency": "USD"}}


def event(planned: PlannedContract, party: Party, make_body: MakeBody, *, now: UnixSeconds) -> Event:
    """Return the event that submits ``planned`` with the fault of its kind."""
    body = make_body(planned, **_members(planned, now))
    signer = _signer(planned.row.twist, party)
    signed = _spoiled(planned.row.twist, sign_first(body, signer, issued_at=now), body)
    return build_event(party, "submit", signed, now=now)


def _members(planned: PlannedContract, now: UnixSeconds) -> Mapping[str, str | int]:
    match planned.row.twist:
        case Twist.UNKNOWN_TEMPLATE:
            return {"template_id": "no-such-template"}
        case Twist.FOREIGN_MPASS:
            return {"mpass_id": NOBODYS_MPASS}
        case Twist.EXPIRED:
            return {"expires_at": now - 1}
        case _:
            return {}


def _signer(twist: Twist, party: Party) -> Party:
    match twist:
        case Twist.OTHER_HUB:
            return replace(party, hub=OTHER_HUB)
        case Twist.WRONG_KEY:
            return replace(party, contract_key=party.auth_key)
        case _:
            return party


def _spoiled(twist: Twist, signed: SignedContract, body: bytes) -> SignedContract:
    match twist:
        case Twist.FORGED:
            entry = signed.jws["signatures"][0]  # type: ignore[index]  # a list of one, as sign_first makes it
            raw = bytearray(base64url.decode(entry["signature"], what="signature"))
            raw[len(raw) // 2] ^= FIRST_BIT
            spoiled = {**entry, "signature": base64url.encode(bytes(raw))}
            return replace(signed, jws={**signed.jws, "signatures": [spoiled]})
        case Twist.CHANGED:
            changed = body.replace(b'"amount":"', b'"amount":"9')
            return replace(signed, jws={**signed.jws, "payload": base64url.encode(changed)})
        case _:
            return signed
