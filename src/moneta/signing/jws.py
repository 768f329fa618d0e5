"""The strict pre-parser for JWS, in front of every verification.

JOSE libraries accept a doubled ``alg``, padded base64, ``crit: []``, UTF-16 headers and megabytes of them, and the
general-mode ``verify`` of several is content with one good signature. So nothing reaches a verifier that has not
exactly the form of protocol section 3, and each entry is then verified alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from moneta.domain.errors import MalformedJSONError, MalformedJWSError, Refused, TooLargeError
from moneta.domain.identifiers import is_key_id
from moneta.domain.ijson import Value, parse_object
from moneta.domain.limits import (
    BODY_BYTES_MAX,
    COMPACT_JWS_BYTES_MAX,
    HEADERS_REMEMBERED_MAX,
    PROTECTED_HEADER_BYTES_MAX,
    SIGNATURES_MAX,
)
from moneta.signing import base64url

CONTRACT_TYP: Final = "moneta-contract+jws"
ACT_TYP: Final = "moneta-act+jws"
RECEIPT_TYP: Final = "moneta-receipt+jws"
KEY_PROOF_TYP: Final = "moneta-key-proof+jws"
RECORD_TYP: Final = "moneta-record+jws"
TOKEN_TYP: Final = "JWT"  # noqa: S105  # the name of a kind, no password

_DIGEST: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class HeaderForm:
    """Which members a protected header of one kind has: exactly the required ones, and no other than the optional."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()


CONTRACT_HEADER: Final = HeaderForm(
    frozenset({"alg", "kid", "typ", "iat", "aud", "role", "prev"}),
    frozenset({"template_sha256", "received_at", "registry_seq"}),
)
ACT_HEADER: Final = HeaderForm(frozenset({"alg", "kid", "typ", "iat", "aud"}))
RECEIPT_HEADER: Final = HeaderForm(frozenset({"alg", "kid", "typ", "iat"}))
RECORD_HEADER: Final = HeaderForm(frozenset({"alg", "kid", "typ", "iat"}))
KEY_PROOF_HEADER: Final = HeaderForm(frozenset({"alg", "kid", "typ"}))
TOKEN_HEADER: Final = HeaderForm(frozenset({"alg", "kid", "typ"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A protected header that has exactly the members of its kind. Absent ones are None, and ``key_id`` is empty.

    ``prev`` None stands for null: the header always has it where its kind does.
    """

    algorithm: str
    key_id: str
    typ: str
    issued_at: int = 0
    audience: str | None = None
    role: str | None = None
    prev: str | None = None
    template_sha256: str | None = None
    received_at: int | None = None
    registry_seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One signature with its header parsed; ``protected`` and ``signature`` are the texts as they came."""

    header: Header
    protected: str
    signature: str
    signature_bytes: bytes

    def same_as(self, protected: str, signature: str) -> bool:
        """Tell whether it is, byte for byte, the signature with those two texts."""
        return self.protected == protected and self.signature == signature


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractJWS:
    """A contract as it travels: ``payload`` is the base64url text, ``body_bytes`` what it encodes."""

    payload: str
    body_bytes: bytes
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactJWS:
    """A compact JWS, its claims read as I-JSON and nothing verified yet."""

    payload: str
    claims: Mapping[str, Value]
    entry: Entry


def parse_contract(value: Value) -> ContractJWS:
    """Return the contract that a JWS in General JSON serialization carries (RFC 7515, section 7.2.1).

    Raises:
        MalformedJWSError: Anything that is not exactly the form of protocol section 3.
        TooLargeError: The body is larger than ``BODY_BYTES_MAX``.
    """
    members = _exact_object(value, ("payload", "signatures"), what="contract")
    payload = _text(members["payload"], what="contract.payload")
    body_bytes = base64url.decode(payload, what="contract.payload")
    if len(body_bytes) > BODY_BYTES_MAX:
        raise TooLargeError(
            f"contract body: at most {BODY_BYTES_MAX} bytes, got {len(body_bytes)}", limit=BODY_BYTES_MAX
        )
    signatures = members["signatures"]
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= SIGNATURES_MAX:
        raise MalformedJWSError(f"contract.signatures: expected 1 to {SIGNATURES_MAX} entries", field="signatures")
    return ContractJWS(payload=payload, body_bytes=body_bytes, entries=tuple(map(_contract_entry, signatures)))


def parse_compact(text: Value, form: HeaderForm, *, what: str, size_max: int = COMPACT_JWS_BYTES_MAX) -> CompactJWS:
    """Return the parts of a compact JWS whose header has ``form`` and whose payload is an I-JSON object.

    Raises:
        MalformedJWSError: Anything else; ``what`` names the thing ("act").
    """
    parts = _text(text, what=what)[: size_max + 1].split(".")
    if len(parts) != 3 or sum(map(len, parts)) + 2 > size_max:  # noqa: PLR2004  # RFC 7515, section 7.1
        raise MalformedJWSError(f"{what}: expected a compact JWS of at most {size_max} bytes", field=what)
    protected, payload, signature = parts
    try:
        claims = parse_object(base64url.decode(payload, what=f"{what} payload"), what=f"{what} payload")
    except MalformedJSONError as error:
        raise MalformedJWSError(error.detail, field=what) from error
    return CompactJWS(payload=payload, claims=claims, entry=parse_entry(protected, signature, form, what=what))


def parse_entry(protected: str, signature: str, form: HeaderForm, *, what: str) -> Entry:
    """Return one signature with its header parsed. See ``parse_contract``."""
    return Entry(
        header=_parse_header(protected, form, what=what),
        protected=protected,
        signature=signature,
        signature_bytes=base64url.decode(signature, what=f"{what} signature"),
    )


def signing_input(protected: str, payload: str) -> bytes:
    """Return the bytes that a signature covers (RFC 7515, section 5.1)."""
    return f"{protected}.{payload}".encode("ascii")


def _contract_entry(value: Value) -> Entry:
    members = _exact_object(value, ("protected", "signature"), what="contract.signatures")
    protected = _text(members["protected"], what="contract.signatures.protected")
    signature = _text(members["signature"], what="contract.signatures.signature")
    return parse_entry(protected, signature, CONTRACT_HEADER, what="contract.signatures")


@lru_cache(maxsize=HEADERS_REMEMBERED_MAX)  # pure; further signatures carry the earlier ones again
def _parse_header(protected: str, form: HeaderForm, *, what: str) -> Header:
    raw = base64url.decode(protected[: 2 * PROTECTED_HEADER_BYTES_MAX], what=f"{what} header")
    if len(raw) > PROTECTED_HEADER_BYTES_MAX:
        raise MalformedJWSError(f"{what} header: more than {PROTECTED_HEADER_BYTES_MAX} bytes", field=what)
    try:
        members = parse_object(raw, what=f"{what} header")
    except Refused as error:
        raise MalformedJWSError(error.detail, field=what) from error
    names = members.keys()
    for name in sorted((form.required - names) | (names - form.required - form.optional)):
        fault = "missing" if name in form.required else "not allowed"
        raise MalformedJWSError(f"{what} header: member {name[:64]!r} is {fault}", field=name[:64])
    return _header(members, what=what)


def _header(members: Mapping[str, Value], *, what: str) -> Header:
    key_id = members.get("kid", "")
    if "kid" in members and not is_key_id(key_id):
        raise MalformedJWSError(f"{what} header: kid is not a SHA-256 thumbprint", field="kid")
    return Header(
        algorithm=_text(members["alg"], what="alg"),
        key_id=str(key_id),
        typ=_text(members["typ"], what="typ"),
        issued_at=_seconds(members, "iat") or 0,
        audience=_text(members["aud"], what="aud") if "aud" in members else None,
        role=_text(members["role"], what="role") if "role" in members else None,
        prev=_digest(members, "prev") if members.get("prev") is not None else None,
        template_sha256=_digest(members, "template_sha256") if "template_sha256" in members else None,
        received_at=_seconds(members, "received_at"),
        registry_seq=_seconds(members, "registry_seq"),
    )


def _exact_object(value: Value, names: Sequence[str], *, what: str) -> Mapping[str, Value]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise MalformedJWSError(f"{what}: expected an object with exactly {', '.join(names)}", field=what)
    return value


def _text(value: Value, *, what: str) -> str:
    if not isinstance(value, str) or not value.isascii():
        raise MalformedJWSError(f"{what}: expected ASCII text", field=what)
    return value


def _seconds(members: Mapping[str, Value], name: str) -> int | None:
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedJWSError(f"{name}: expected a whole number", field=name)
    return value


def _digest(members: Mapping[str, Value], name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise MalformedJWSError(f"{name}: expected base64url of a SHA-256 digest", field=name)
    base64url.decode(value, what=name)
    return value
