"""Keys, bodies and contracts that the tests of domain and signing share.

Keys are made once a process, since an RSA key takes its time; ``key_of`` tells holders of one algorithm apart.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Final

from moneta.domain.identifiers import UnixSeconds
from moneta.domain.templates import Role
from moneta.signing import base64url
from moneta.signing.chain import contract_header, head_of
from moneta.signing.jws import signing_input
from moneta.signing.keys import PrivateKey, generate

HUB: Final = "https://hub.example"
OTHER_HUB: Final = "https://other.example"
NOW: Final = UnixSeconds(1_795_000_000)
ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
TEMPLATE_SHA256: Final = base64url.sha256(b"template")
MONETA_MEMBERS: Final = {"template_sha256": TEMPLATE_SHA256, "received_at": NOW, "registry_seq": 7}

SERIAL: Final = ((Role.MO,), (Role.MONETA,), (Role.PUBLISHER,))
PARALLEL: Final = ((Role.MO,), (Role.MONETA, Role.PUBLISHER))

MEMBERS: Final = {
    "contract_id": "contract_12345",
    "template_id": "transaction-contract",
    "version": 1,
    "mo_id": "mo-1",
    "publisher_id": "publisher-1",
    "mpass_id": "mpass-1",
    "created_at": NOW,
    "payload": {"transaction": {"amount": "100.00", "currency": "USD"}},
}
BODY: Final = json.dumps(MEMBERS).encode()


@cache
def key_of(algorithm: str, holder: str = "") -> PrivateKey:
    return generate(algorithm)


def keys_of_roles() -> dict[Role, PrivateKey]:
    """Three parties, three algorithms."""
    return {
        Role.MO: key_of("RS256"),
        Role.MONETA: key_of("ES256", "moneta"),
        Role.PUBLISHER: key_of("EdDSA"),
    }


def signed_entry(key, protected, payload):
    return {"protected": protected, "signature": base64url.encode(key.sign(signing_input(protected, payload)))}


def head_of_entries(entries: Sequence[Mapping[str, str]]) -> str:
    return head_of([SimpleNamespace(**entry) for entry in entries])


def signed_contract(order=SERIAL, *, keys=None, body=BODY, audience=HUB, issued_at=NOW):
    """Return a contract that every role of ``order`` signed, as General JSON."""
    keys = keys or keys_of_roles()
    payload = base64url.encode(body)
    entries, prev = [], None
    for step in order:
        added = [
            signed_entry(
                keys[role],
                contract_header(
                    algorithm=keys[role].public.algorithm,
                    key_id=keys[role].public.key_id,
                    issued_at=issued_at,
                    audience=audience,
                    role=role,
                    prev=prev,
                    **(MONETA_MEMBERS if role is Role.MONETA else {}),
                ),
                payload,
            )
            for role in step
        ]
        entries, prev = [*entries, *added], head_of_entries(added)
    return {"payload": payload, "signatures": entries}
