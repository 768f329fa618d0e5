"""A small world for the client's tests: two parties, and a hub that signs what a test tells it to, right or wrong.

The hub here has no rules of its own. It makes the bytes that a hub sends, so that each test can spoil one of them.
"""

import json
from dataclasses import dataclass, field

from moneta.client import Keyring, Party, Receiver, Role, Sign, Verifier, build_contract, sign_first
from moneta.client.contracts import SignedContract
from moneta.client.verified import SignatureTexts
from moneta.domain.contracts import ActName
from moneta.signing import base64url, webhooks
from moneta.signing.chain import contract_header, head_of
from moneta.signing.jws import signing_input
from moneta.signing.keys import generate
from moneta.signing.statements import make_act, make_receipt

HUB = "http://127.0.0.1:8080"
NOW = 1_780_000_000
MO_ID = "0b6bb3a4-5c1d-4a53-9d5a-2f8f6f0f8d01"
PUBLISHER_ID = "7a1c1f0e-8f6e-4b8e-a0a4-5d3b7c9e2f02"
SECRET = webhooks.format_secret(b"s" * 32)
TEMPLATE_SHA256 = base64url.sha256(b"template")
PAYLOAD = {"transaction": {"amount": "100.00", "currency": "USD", "description": "Premium service access"}}

# Made once: a test reads them and never changes them.
KEYS = {
    "hub": generate("ES256"),
    "other hub": generate("ES256"),
    "mo": generate("RS256"),
    "mo auth": generate("EdDSA"),
    "publisher": generate("EdDSA"),
    "publisher auth": generate("ES256"),
    "other mo": generate("ES256"),
}


def party(role, *, contract_key=None):
    return Party(
        organization_id=MO_ID if role is Role.MO else PUBLISHER_ID,
        role=role,
        hub=HUB,
        auth_key=KEYS[f"{role} auth"],
        contract_key=contract_key or KEYS[str(role)],
    )


MO, PUBLISHER = party(Role.MO), party(Role.PUBLISHER)


def hub_jwks(*names, **members):
    period = {"use": "sig", "nbf": NOW - 1000, "exp": NOW + 100_000, **members}
    return {"keys": [{**KEYS[name].public.jwk, **period} for name in names]}


def party_jwks(*names, **members):
    facts = {"use": "sig", "status": "active", "registry_seq": 1, "nbf": NOW - 1000, **members}
    return {"keys": [{**KEYS[name].public.jwk, **facts} for name in names]}


@dataclass
class FakeHub:
    """Answers for key sets, and counts how often it was asked."""

    documents: dict = field(
        default_factory=lambda: {
            "/.well-known/jwks.json": hub_jwks("hub"),
            f"/organizations/mo/{MO_ID}/jwks": party_jwks("mo"),
            f"/organizations/publisher/{PUBLISHER_ID}/jwks": party_jwks("publisher"),
        }
    )
    asked: list = field(default_factory=list)

    def fetch(self, path):
        self.asked.append(path)
        document = self.documents[path]
        if isinstance(document, Exception):
            raise document
        return document


class Clock:
    """A clock that stands until it is told."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


def verifier(who=PUBLISHER, *, hub=None, templates=(), clock=None, **pins):
    return Verifier(who, Keyring((hub or FakeHub()).fetch, clock=clock or Clock(), **pins), templates)


def receiver(who=PUBLISHER, *, hub=None, templates=(), decide=lambda contract: Sign(), clock=None, **options):
    clock = clock or Clock()
    checked = verifier(who, hub=hub, templates=templates, clock=clock)
    return Receiver(checked, secrets=[SECRET], decide=decide, clock=clock, **options)


def body(**members):
    known = {"template_id": "transaction-contract", "version": 1, "created_at": NOW, "contract_id": "contract_12345"}
    return build_contract(
        **{"mo_id": MO_ID, "publisher_id": PUBLISHER_ID, "mpass_id": "mpass_1", "payload": PAYLOAD, **known, **members}
    )


def submitted(who=MO, **members):
    return sign_first(body(**members), who, issued_at=NOW)


def signed_by(contract: SignedContract, role, *, key=None, aud=HUB, prev="", iat=NOW, **optional):
    """Return the contract as JWS with one more signature; ``prev`` "" for the head of the last one."""
    key = key or KEYS["hub" if role == "moneta" else str(role)]
    jws = contract if isinstance(contract, dict) else contract.jws
    last = SignatureTexts(**jws["signatures"][-1])
    own = {"template_sha256": TEMPLATE_SHA256, "received_at": NOW, "registry_seq": 7} if role == "moneta" else {}
    protected = contract_header(
        algorithm=key.public.algorithm,
        key_id=key.public.key_id,
        issued_at=iat,
        audience=aud,
        role=role,
        prev=head_of([last]) if prev == "" else prev,
        **{**own, **optional},
    )
    signature = base64url.encode(key.sign(signing_input(protected, jws["payload"])))
    entry = {"protected": protected, "signature": signature}
    return {"payload": jws["payload"], "signatures": [*jws["signatures"], entry]}


def countersigned(contract=None, **options):
    """Return a contract as the hub shows it to the counterparty: signed by the MO and by Moneta."""
    return signed_by(contract or submitted(), "moneta", **options)


def finalized(contract=None):
    return signed_by(contract or countersigned(), "publisher")


def head(jws, step=-1):
    return head_of([SignatureTexts(**jws["signatures"][step])])


def receipt(jws, *, status="finalized", act=None, key=None, iat=NOW, **claims):
    raw = base64url.decode(jws["payload"], what="payload")
    known = {
        "iss": HUB,
        "contract_id": json.loads(raw)["contract_id"],
        "status": status,
        "finalized_at": NOW,
        "head": head(jws),
        "body_sha256": base64url.sha256(raw),
        "act_sha256": None if act is None else base64url.sha256(act.encode()),
        "registry_seq": 8,
    }
    return make_receipt(key or KEYS["hub"], {**known, **claims}, issued_at=iat)


def act(jws, name="decline", *, key=None, contract_id="contract_12345", prev=None, aud=HUB):
    return make_act(
        key or KEYS["publisher"],
        name=ActName(name),
        contract_id=contract_id,
        reason_code="no_such_order",
        reason="we know no such order",
        prev=prev or head(jws),
        issued_at=NOW,
        audience=aud,
    )


def message(kind, *, jws=None, status=None, receipt=None, act=None, problem=None, **attributes):
    """Return the bytes of a webhook's body. ``attributes`` replace those of the CloudEvent."""
    subject = attributes.pop("subject", "contract_12345")
    data = {
        "contract_id": attributes.pop("contract_id", subject),
        "status": status,
        "contract": jws,
        "receipt": receipt,
        "act": act,
        "problem": problem,
    }
    event = {
        "specversion": "1.0",
        "id": "w1",
        "source": HUB,
        "type": f"moneta.{kind}",
        "subject": subject,
        "time": "2026-05-28T20:26:40Z",
        "sequence": "0000000001",
        "datacontenttype": "application/json",
        "data": attributes.pop("data", data),
        **attributes,
    }
    return json.dumps({name: value for name, value in event.items() if value != "absent"}).encode()


def request(jws=None, **attributes):
    """Return the body of a request for the publisher's signature."""
    options = {"status": "pending_publisher_signature", **attributes}
    return message("contract.signature_requested", jws=jws or countersigned(), **options)


def headers(raw, *, secret=SECRET, at=NOW, webhook_id="w1", **changed):
    signed = webhooks.sign([webhooks.parse_secret(secret)], webhook_id=webhook_id, timestamp=at, body=raw)
    return {"Content-Type": "application/cloudevents+json", **signed, **changed}
