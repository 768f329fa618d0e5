"""The mPass as a credential: SD-JWT (RFC 9901) of the kind SD-JWT VC (draft-ietf-oauth-sd-jwt-vc-13), with key binding.

``<JWT by the hub>~<disclosure>~...~<key binding JWT by the holder>``. The hub signs digests; the holder shows those of
the claims that it chooses, and signs for whom and what for. The rules of verifying, as ``verify_presentation`` ticks
them off (RFC 9901, sections 7.1 and 7.3), each stricter than it asks where a laxer one helps nobody:

1. The text has a limit, and so has the number of disclosures; there is a key binding JWT.
2. The hub's JWT: ``typ`` is exactly ``dc+sd-jwt``, its header and payload have exactly the members below, ``vct`` and
   ``iss`` are exactly those of this hub's mPasses, and the digests are all different.
3. It is signed by the hub's key that ``kid`` names, under that key's algorithm, and is in force.
4. Every disclosure is an array of salt, name and value; the name is one of ``DISCLOSABLE``, and comes once; the digest
   is one of those signed. Nothing within a value is itself disclosed selectively.
5. The key binding JWT: ``typ`` is exactly ``kb+jwt``, it is signed by the key in ``cnf``, covers this very presentation
   (``sd_hash``), is for this verifier (``aud``) and this occasion (``nonce``), and of now.

Whether the pass is locked or revoked is what the status list says: ``status_list``.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moneta.domain.errors import (
    CredentialExpiredError,
    InvalidProofError,
    InvalidSignatureError,
    MalformedJWSError,
    Refused,
)
from moneta.domain.identifiers import KeyId, UnixSeconds
from moneta.domain.ijson import Value, parse
from moneta.domain.limits import (
    CLOCK_SKEW_S,
    CREDENTIAL_BYTES_MAX,
    DISCLOSURES_MAX,
    KEY_BINDING_AGE_S_MAX,
    STATUS_LIST_PLACES,
)
from moneta.signing import base64url, jws
from moneta.signing.chain import encode_header, to_json
from moneta.signing.jws import CompactJWS, HeaderForm, signing_input
from moneta.signing.keys import PublicKey, parse_public_jwk
from moneta.signing.statements import SigningKey, sign_compact, verify_compact

CREDENTIAL_TYP: Final = "dc+sd-jwt"
KEY_BINDING_TYP: Final = "kb+jwt"
CREDENTIAL_TYPE: Final = "urn:moneta:mpass:1"
"""``vct``: what a credential of this kind says, and how; another set of claims is another type."""
DISCLOSABLE: Final = ("mpass_id", "number", "tier", "mo", "policy")

CREDENTIAL_HEADER: Final = HeaderForm(frozenset({"alg", "kid", "typ"}))
KEY_BINDING_HEADER: Final = HeaderForm(frozenset({"alg", "typ"}))
CREDENTIAL_MEMBERS: Final = frozenset({"iss", "iat", "exp", "vct", "cnf", "status", "_sd", "_sd_alg"})
KEY_BINDING_MEMBERS: Final = frozenset({"iat", "aud", "nonce", "sd_hash"})
_HASH: Final = "sha-256"
_NESTED: Final = frozenset({"_sd", "..."})
_DISCLOSURE_PARTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A presentation, verified but for the pass's status, which the list at ``status_uri`` tells at ``status_index``.

    ``claims``: what the holder chose to show, of ``DISCLOSABLE``.
    """

    issuer: str
    issued_at: UnixSeconds
    expires_at: UnixSeconds
    holder: PublicKey
    status_uri: str
    status_index: int
    claims: Mapping[str, Value]


def make_credential(
    key: SigningKey,
    *,
    issuer: str,
    issued_at: UnixSeconds,
    expires_at: UnixSeconds,
    holder_jwk: Mapping[str, str],
    status_uri: str,
    status_index: int,
    disclosable: Mapping[str, object],
    salts: Sequence[bytes],
) -> str:
    """Return a credential as its holder gets it, with every disclosure and no key binding.

    ``disclosable``: claims of ``DISCLOSABLE``. ``salts``: one for each, of 16 random bytes or more.
    """
    disclosures = [
        base64url.encode(to_json_array([base64url.encode(salt), name, value]))
        for salt, (name, value) in zip(salts, disclosable.items(), strict=True)
    ]
    claims = {
        "iss": issuer,
        "iat": issued_at,
        "exp": expires_at,
        "vct": CREDENTIAL_TYPE,
        "cnf": {"jwk": dict(holder_jwk)},
        "status": {"status_list": {"idx": status_index, "uri": status_uri}},
        "_sd": sorted(map(_digest, disclosures)),  # in an order that tells nothing
        "_sd_alg": _HASH,
    }
    return "~".join([sign_compact(key, claims, typ=CREDENTIAL_TYP), *disclosures, ""])


def present(
    credential: str, key: SigningKey, *, disclose: Collection[str], audience: str, nonce: str, issued_at: UnixSeconds
) -> str:
    """Return what the holder shows of ``credential``: the claims named by ``disclose``, bound to its ``key``.

    ``audience``, ``nonce``: as the verifier asked. Nothing of the credential is verified.

    Raises:
        MalformedJWSError: It has no form of a credential, or not all that is to be disclosed.
    """
    token, *disclosures, _ = _split(credential)
    known = {_read_disclosure(one)[0]: one for one in disclosures}
    if missing := sorted(set(disclose) - known.keys()):
        raise MalformedJWSError(f"credential: it can't disclose {', '.join(missing)}", field="disclosure")
    shown = "~".join([token, *[known[name] for name in DISCLOSABLE if name in set(disclose)], ""])
    claims = {"iat": issued_at, "aud": audience, "nonce": nonce, "sd_hash": _digest(shown)}
    protected = encode_header({"alg": key.public.algorithm, "typ": KEY_BINDING_TYP})
    payload = base64url.encode(to_json(claims))
    return f"{shown}{protected}.{payload}.{base64url.encode(key.sign(signing_input(protected, payload)))}"


def verify_presentation(
    text: str,
    key_for: Callable[[KeyId, int], PublicKey],
    *,
    issuer: str,
    audience: str,
    nonce: str,
    now: UnixSeconds,
) -> Presented:
    """Return what ``text`` shows of an mPass of the hub ``issuer``, to ``audience`` and on the occasion ``nonce``.

    ``key_for(kid, iat)`` gives the hub's key if what it signed at ``iat`` counts, or raises.

    Raises:
        MalformedJWSError, InvalidSignatureError: Rules 1 to 4: it is no credential of this hub's.
        CredentialExpiredError: It was one.
        InvalidProofError: Rule 5: who shows it does not hold it, or did not show it here and now.
    """
    token, *disclosures, binding = _split(text)  # (1)
    if not binding:
        raise InvalidProofError("presentation: the key binding is missing: its holder has to present it", field="kb")
    credential = jws.parse_compact(token, CREDENTIAL_HEADER, what="credential")
    found, digests = _read_credential(credential, issuer=issuer)  # (2)
    key = key_for(KeyId(credential.entry.header.key_id), found.issued_at)
    verify_compact(credential, key, typ=CREDENTIAL_TYP)  # (3)
    _check_in_force(found, now)
    claims = _read_disclosures(disclosures, digests)  # (4)
    shown = text.removesuffix(binding)
    _verify_binding(binding, found.holder, shown=shown, audience=audience, nonce=nonce, now=now)  # (5)
    return Presented(
        issuer=found.issuer,
        issued_at=found.issued_at,
        expires_at=found.expires_at,
        holder=found.holder,
        status_uri=found.status_uri,
        status_index=found.status_index,
        claims=claims,
    )


def to_json_array(values: Sequence[object]) -> bytes:
    """Return ``values`` as compact UTF-8 JSON."""
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _digest(text: str) -> str:
    return base64url.sha256(text.encode("ascii"))


def _split(text: str) -> list[str]:
    if len(text) > CREDENTIAL_BYTES_MAX or not text.isascii():
        raise MalformedJWSError(f"credential: expected at most {CREDENTIAL_BYTES_MAX} ASCII characters", field="jwt")
    parts = text.split("~")
    if not 2 <= len(parts) <= DISCLOSURES_MAX + 2:  # noqa: PLR2004  # the two that are no disclosures
        raise MalformedJWSError(
            f"credential: expected JWT~...~ with at most {DISCLOSURES_MAX} disclosures", field="jwt"
        )
    return parts


def _read_credential(credential: CompactJWS, *, issuer: str) -> tuple[Presented, frozenset[str]]:
    claims = credential.claims
    if claims.keys() != CREDENTIAL_MEMBERS:
        raise MalformedJWSError(f"credential: expected exactly {', '.join(sorted(CREDENTIAL_MEMBERS))}", field="jwt")
    for name, expected in {"iss": issuer, "vct": CREDENTIAL_TYPE, "_sd_alg": _HASH}.items():
        if claims[name] != expected:
            raise InvalidSignatureError(f"credential: expected {name} {expected}", field=name)
    uri, index = _read_status(claims["status"], issuer=issuer)
    found = Presented(
        issuer=issuer,
        issued_at=_seconds(claims["iat"], "iat"),
        expires_at=_seconds(claims["exp"], "exp"),
        holder=parse_public_jwk(_only(claims["cnf"], "cnf", "jwk")),
        status_uri=uri,
        status_index=index,
        claims={},
    )
    return found, _read_digests(claims["_sd"])


def _read_status(value: Value, *, issuer: str) -> tuple[str, int]:
    place = _only(value, "status", "status_list")
    if not isinstance(place, Mapping) or place.keys() != {"idx", "uri"}:
        raise MalformedJWSError("credential: expected status_list of exactly idx and uri", field="status")
    uri, index = place["uri"], place["idx"]
    # Another's list could call valid what this hub has revoked.
    if not isinstance(uri, str) or not uri.startswith(f"{issuer}/status-lists/"):
        raise InvalidSignatureError("credential: its status list is not this hub's", field="status")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < STATUS_LIST_PLACES:
        raise MalformedJWSError("credential: idx is no place of a list", field="status")
    return uri, index


def _read_digests(value: Value) -> frozenset[str]:
    digests = value if isinstance(value, list) else []
    texts = frozenset(one for one in digests if isinstance(one, str))
    if not digests or len(texts) != len(digests):
        raise MalformedJWSError("credential: _sd: expected digests, each once", field="_sd")
    return texts


def _read_disclosures(disclosures: Sequence[str], digests: frozenset[str]) -> Mapping[str, Value]:
    claims: dict[str, Value] = {}
    for one in disclosures:
        name, value = _read_disclosure(one)
        if name in claims:
            raise MalformedJWSError(f"presentation: {name} is disclosed twice", field="disclosure")
        if _digest(one) not in digests:
            raise InvalidSignatureError(f"presentation: the hub did not sign this {name}", field="disclosure")
        claims[name] = value
    return claims


def _read_disclosure(text: str) -> tuple[str, Value]:
    try:
        parts = parse(base64url.decode(text, what="disclosure"), what="disclosure")
    except Refused as error:
        raise MalformedJWSError(error.detail, field="disclosure") from error
    if not isinstance(parts, list) or len(parts) != _DISCLOSURE_PARTS:
        raise MalformedJWSError("disclosure: expected salt, name and value", field="disclosure")
    salt, name, value = parts
    if not isinstance(salt, str) or not isinstance(name, str) or name not in DISCLOSABLE:
        raise MalformedJWSError(f"disclosure: expected one of {', '.join(DISCLOSABLE)}", field="disclosure")
    if _holds_nested(value):
        raise MalformedJWSError("disclosure: nothing within a value is disclosed by itself", field="disclosure")
    return name, value


def _holds_nested(value: Value) -> bool:
    if isinstance(value, Mapping):
        return bool(_NESTED & value.keys()) or any(map(_holds_nested, value.values()))
    return isinstance(value, list) and any(map(_holds_nested, value))


def _check_in_force(found: Presented, now: UnixSeconds) -> None:
    if now >= found.expires_at:
        raise CredentialExpiredError(f"credential: it ended at {found.expires_at}: its holder has to get a new one")
    if found.issued_at > now + CLOCK_SKEW_S:
        raise InvalidSignatureError(f"credential: iat is more than {CLOCK_SKEW_S} s ahead", field="iat")


def _verify_binding(text: str, holder: PublicKey, *, shown: str, audience: str, nonce: str, now: UnixSeconds) -> None:
    try:
        binding = jws.parse_compact(text, KEY_BINDING_HEADER, what="key binding")
        header = binding.entry.header
        signed = signing_input(binding.entry.protected, binding.payload)
        holder.verify(binding.entry.signature_bytes, signed, algorithm=header.algorithm)
    except Refused as error:
        raise InvalidProofError(error.detail, field="kb") from error
    expected = {"typ": KEY_BINDING_TYP, "sd_hash": _digest(shown), "aud": audience, "nonce": nonce}
    told = {**binding.claims, "typ": header.typ}
    if binding.claims.keys() != KEY_BINDING_MEMBERS:
        raise InvalidProofError(f"key binding: expected exactly {', '.join(sorted(KEY_BINDING_MEMBERS))}", field="kb")
    for name, value in expected.items():
        if told[name] != value:
            raise InvalidProofError(f"key binding: {name}: expected {value}", field=name)
    issued_at = binding.claims["iat"]
    age_s = now - issued_at if isinstance(issued_at, int) and not isinstance(issued_at, bool) else None
    if age_s is None or not -CLOCK_SKEW_S <= age_s <= KEY_BINDING_AGE_S_MAX:
        raise InvalidProofError(f"key binding: iat is not within {KEY_BINDING_AGE_S_MAX} s", field="iat")


def _only(value: Value, what: str, name: str) -> Value:
    if not isinstance(value, Mapping) or value.keys() != {name}:
        raise MalformedJWSError(f"credential: expected {what} of exactly {name}", field=what)
    return value[name]


def _seconds(value: Value, name: str) -> UnixSeconds:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedJWSError(f"credential: {name}: expected a whole number", field=name)
    return UnixSeconds(value)
