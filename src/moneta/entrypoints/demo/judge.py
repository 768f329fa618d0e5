"""The demo's judge: verifies a contract with joserfc and ``hashlib`` alone, and none of the hub's own code.

The hub verifies with ``cryptography`` directly, so whatever holds here holds for a second implementation, written from
the protocol: signatures one by one, ``prev`` and heads computed anew, receipt and act against the bytes that they name.
"""

import base64
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry, deserialize_compact

JSONObject = dict[str, Any]  # The judge reads documents as a stranger does: what is not as expected is a fault.

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
END_OF_ACT: Final = {"decline": "declined", "cancel": "cancelled", "expire": "expired"}


class UnprovenError(Exception):
    """The document does not prove what it claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Knows what a stranger would have to: the hub's name and key, the parties' ids and keys, and each signing order.

    ``keys``: by role, the public JWK, as registered; Moneta's as anchored by its thumbprint.
    """

    hub: str
    parties: Mapping[str, str]
    keys: Mapping[str, JSONObject]
    orders: Mapping[str, Sequence[Sequence[str]]]

    def check(self, document: JSONObject, *, contract_id: str, outcome: str) -> int:
        """Return how many signatures ``document`` proves, for a contract that ended in ``outcome``.

        Raises:
            UnprovenError: It does not prove that.
        """
        try:
            return self._check(document, contract_id, outcome)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UnprovenError(f"not the document of a contract: {type(error).__name__}: {error}") from error

    def _check(self, document: JSONObject, contract_id: str, outcome: str) -> int:
        payload, entries = document["jws"]["payload"], document["jws"]["signatures"]
        body = json.loads(_decode(payload))
        _expect("contract_id", body["contract_id"], contract_id)
        for role, organization_id in self.parties.items():
            _expect(f"{role}_id", body[f"{role}_id"], organization_id)
        _expect("status", document["status"], outcome)
        heads = self._check_chain(payload, entries, self.orders[body["template_id"]], is_whole=outcome == "finalized")
        act = document["acts"][0] if document["acts"] else None
        if act is not None:
            self._check_act(act, body, entries, heads, outcome)
        self._check_receipt(document, payload, heads, act, outcome)
        return len(entries)

    def _check_chain(
        self, payload: str, entries: Sequence[JSONObject], order: Sequence[Sequence[str]], *, is_whole: bool
    ) -> list[str]:
        """Return the head after each step that has all its signatures."""
        by_role: dict[str, JSONObject] = {}
        for entry in entries:
            header = json.loads(_decode(entry["protected"]))
            _expect("a role signs once", header["role"] in by_role, wanted=False)
            by_role[header["role"]] = entry
            self._check_signature(header, f"{entry['protected']}.{payload}.{entry['signature']}")
        places = [index for role in by_role for index, step in enumerate(order) if role in step]
        _expect("signing order", places, sorted(places))
        heads: list[str] = []
        for step in order:
            signed = [by_role.pop(role) for role in step if role in by_role]
            for entry in signed:
                prev = json.loads(_decode(entry["protected"]))["prev"]
                _expect("prev", prev, heads[-1] if heads else None)
            if len(signed) < len(step):
                break
            heads.append(_head(signed))
        _expect("signatures out of order", list(by_role), [])
        if is_whole:
            _expect("complete steps", len(heads), len(order))
        return heads

    def _check_signature(self, header: JSONObject, compact: str) -> None:
        _expect("typ", header["typ"], "moneta-contract+jws")
        _expect("aud", header["aud"], self.hub)
        self._verify(compact, header["role"], header["kid"])

    def _check_act(
        self, act: str, body: JSONObject, entries: Sequence[JSONObject], heads: Sequence[str], outcome: str
    ) -> None:
        header, claims = (json.loads(_decode(part)) for part in act.split(".")[:2])
        _expect("act typ", header["typ"], "moneta-act+jws")
        _expect("act aud", header["aud"], self.hub)
        _expect("act", END_OF_ACT[claims["act"]], outcome)
        _expect("act contract_id", claims["contract_id"], body["contract_id"])
        _expect("act prev is a head", claims["prev"] in heads, wanted=True)
        signed = [json.loads(_decode(entry["protected"]))["role"] for entry in entries]
        actor = {"expire": "moneta", "cancel": signed[0]}.get(claims["act"])
        if actor is None:  # who declines is a party that has not signed
            actor = next(role for role in self.parties if role not in signed)
        self._verify(act, actor, header["kid"])

    def _check_receipt(
        self, document: JSONObject, payload: str, heads: Sequence[str], act: str | None, outcome: str
    ) -> None:
        receipt = document["receipt"]
        header, claims = (json.loads(_decode(part)) for part in receipt.split(".")[:2])
        _expect("receipt typ", header["typ"], "moneta-receipt+jws")
        self._verify(receipt, "moneta", header["kid"])
        expected = {
            "iss": self.hub,
            "contract_id": document["contract_id"],
            "status": outcome,
            "head": heads[-1],
            "body_sha256": _sha256(_decode(payload)),
            "act_sha256": None if act is None else _sha256(act.encode()),
            "finalized_at": document["finalized_at"],
        }
        for name, value in expected.items():
            _expect(f"receipt {name}", claims[name], value)

    def _verify(self, compact: str, role: str, kid: str) -> None:
        jwk = self.keys[role]
        key = import_key({name: value for name, value in jwk.items() if name not in {"nbf", "exp", "use"}})
        _expect(f"{role} kid", kid, key.thumbprint())
        registry = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA is the name that the protocol spells
            try:
                signed = deserialize_compact(compact, key, registry=registry)
            except JoseError as error:
                raise UnprovenError(f"{role}: the signature does not verify") from error
        _expect(f"{role} alg", signed.headers()["alg"], jwk["alg"])


def _expect(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise UnprovenError(f"{what}: expected {wanted}, got {got}")


def _head(step: Sequence[JSONObject]) -> str:
    digests = sorted(hashlib.sha256(f"{one['protected']}.{one['signature']}".encode()).digest() for one in step)
    return _sha256(b"".join(digests))


def _sha256(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
