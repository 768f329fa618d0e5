"""Compact statements: acts, receipts, key proofs and Moneta's own records, each with a ``typ`` of its own.

A distinct ``typ`` per kind, compared exactly, keeps one from being passed off as another (RFC 8725, section 3.11).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from moneta.domain.contracts import ActName
from moneta.domain.errors import (
    InvalidProofError,
    InvalidSignatureError,
    MalformedJWSError,
    Refused,
    SignatureTimeError,
)
from moneta.domain.identifiers import KeyId, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.limits import CLOCK_SKEW_S, KEY_PROOF_AGE_S_MAX, REASON_CHARS_MAX, REASON_CODE_CHARS_MAX
from moneta.signing import base64url, jws
from moneta.signing.chain import encode_header, to_json
from moneta.signing.jws import CompactJWS, signing_input
from moneta.signing.keys import PublicKey

ACT_MEMBERS: Final = frozenset({"act", "contract_id", "reason_code", "reason", "prev"})
RECEIPT_MEMBERS: Final = frozenset(
    {"iss", "contract_id", "status", "finalized_at", "head", "body_sha256", "act_sha256", "registry_seq"}
)
_REASON_CODE_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


class SigningKey(Protocol):
    """Whatever signs: a private key at hand, or a signer that keeps one elsewhere."""

    @property
    def public(self) -> PublicKey:
        """The public half, which says the kid and the algorithm."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature on ``message``, in the form that JWS carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActStatement:
    """What an act says, its form checked and its signature not yet."""

    name: ActName
    contract_id: str
    reason_code: str
    reason: str
    prev: str
    jws: CompactJWS


def sign_compact(key: SigningKey, claims: Mapping[str, object], **header: str | int) -> str:
    """Return the compact JWS of ``claims`` by ``key``; ``header`` gives the members beside ``alg`` and ``kid``."""
    protected = encode_header({"alg": key.public.algorithm, "kid": key.public.key_id, **header})
    payload = base64url.encode(to_json(claims))
    return f"{protected}.{payload}.{base64url.encode(key.sign(signing_input(protected, payload)))}"


def verify_compact(statement: CompactJWS, key: PublicKey, *, typ: str, audience: str | None = None) -> None:
    """Return if ``statement`` is ``key``'s, of kind ``typ``, and where its kind has an ``aud``, for ``audience``.

    Raises:
        InvalidSignatureError: It is not; WrongAlgorithmError, if the header claims another algorithm.
    """
    header = statement.entry.header
    if header.typ != typ:
        raise InvalidSignatureError(f"typ: expected {typ}, got {header.typ[:64]!r}", field="typ")
    if header.audience != audience:
        raise InvalidSignatureError(f"aud: expected {audience}", field="aud")
    if header.key_id != key.key_id:
        raise InvalidSignatureError(f"kid: expected {key.key_id}, got {header.key_id}", field="kid")
    key.verify(
        statement.entry.signature_bytes,
        signing_input(statement.entry.protected, statement.payload),
        algorithm=header.algorithm,
    )


def make_act(  # one argument a member of the act
    key: SigningKey,
    *,
    name: ActName,
    contract_id: str,
    reason_code: str,
    reason: str,
    prev: str,
    issued_at: UnixSeconds,
    audience: str,
) -> str:
    """Return a signed act about a contract (protocol, section 4). ``prev``: the head after any complete step."""
    claims = {"act": name, "contract_id": contract_id, "reason_code": reason_code, "reason": reason, "prev": prev}
    return sign_compact(key, claims, typ=jws.ACT_TYP, iat=issued_at, aud=audience)


def parse_act(text: Value) -> ActStatement:
    """Return what an act says; nothing is verified yet.

    Raises:
        MalformedJWSError: Not a compact JWS of exactly the form of protocol section 4.
    """
    statement = jws.parse_compact(text, jws.ACT_HEADER, what="act")
    claims = statement.claims
    if claims.keys() != ACT_MEMBERS:
        raise MalformedJWSError(f"act: expected exactly {', '.join(sorted(ACT_MEMBERS))}", field="act")
    texts = {name: value for name, value in claims.items() if isinstance(value, str)}
    if len(texts) != len(claims) or texts["act"] not in list(ActName):
        raise MalformedJWSError(f"act: expected text members, act one of {', '.join(ActName)}", field="act")
    _check_reason(texts["reason_code"], texts["reason"])
    return ActStatement(
        name=ActName(texts["act"]),
        contract_id=texts["contract_id"],
        reason_code=texts["reason_code"],
        reason=texts["reason"],
        prev=texts["prev"],
        jws=statement,
    )


def make_receipt(key: SigningKey, claims: Mapping[str, object], *, issued_at: UnixSeconds) -> str:
    """Return Moneta's receipt for an end state; ``claims`` has exactly ``RECEIPT_MEMBERS``."""
    return sign_compact(key, claims, typ=jws.RECEIPT_TYP, iat=issued_at)


def verify_receipt(text: str, key_for: Callable[[KeyId], PublicKey], *, issuer: str) -> Mapping[str, Value]:
    """Return the claims of a receipt that one of the hub's keys signed. ``key_for(kid)`` gives the key, or raises.

    ``issuer``: the hub's base URL; a receipt of another hub's is refused, even where both share a key.

    Raises:
        MalformedJWSError, InvalidSignatureError: It is not one.
    """
    statement = jws.parse_compact(text, jws.RECEIPT_HEADER, what="receipt")
    if statement.claims.keys() != RECEIPT_MEMBERS:
        raise MalformedJWSError(f"receipt: expected exactly {', '.join(sorted(RECEIPT_MEMBERS))}", field="receipt")
    verify_compact(statement, key_for(KeyId(statement.entry.header.key_id)), typ=jws.RECEIPT_TYP)
    if statement.claims["iss"] != issuer:
        raise InvalidSignatureError(f"iss: expected {issuer}", field="iss")
    return statement.claims


def make_key_proof(key: SigningKey, *, audience: str, subject: str, issued_at: UnixSeconds) -> str:
    """Return the proof that the caller holds ``key`` (protocol, section 12).

    ``subject``: the organization's id; at its creation its MIC or MPC.
    """
    claims = {"aud": audience, "sub": subject, "kid": key.public.key_id, "iat": issued_at}
    return sign_compact(key, claims, typ=jws.KEY_PROOF_TYP)


def is_reason_code(text: str) -> bool:
    """Tell whether ``text`` is 1 to 64 of ``a-z 0-9 _ -``."""
    return 1 <= len(text) <= REASON_CODE_CHARS_MAX and _REASON_CODE_CHARACTERS.issuperset(text)


def claimed_subject(text: Value) -> Value:
    """Return what a proof says it is about, unverified: to choose what to verify it for. None if it can't be read."""
    try:
        return jws.parse_compact(text, jws.KEY_PROOF_HEADER, what="proof").claims.get("sub")
    except Refused:
        return None


def verify_key_proof(text: Value, key: PublicKey, *, audience: str, subject: str, now: UnixSeconds) -> None:
    """Return if ``text`` proves the possession of ``key`` to this hub, for this subject, and just now.

    Raises:
        InvalidProofError: It does not; the detail says why, since only the caller sees it.
    """
    try:
        statement = jws.parse_compact(text, jws.KEY_PROOF_HEADER, what="proof")
        verify_compact(statement, key, typ=jws.KEY_PROOF_TYP)
    except Refused as error:
        raise InvalidProofError(error.detail, field="proof") from error
    issued_at = statement.claims.get("iat")
    expected = {"aud": audience, "sub": subject, "kid": key.key_id, "iat": issued_at}
    if statement.claims != expected:
        raise InvalidProofError(f"proof: expected aud {audience}, sub {subject} and the key's own kid", field="proof")
    age_s = now - issued_at if isinstance(issued_at, int) and not isinstance(issued_at, bool) else None
    if age_s is None or not -CLOCK_SKEW_S <= age_s <= KEY_PROOF_AGE_S_MAX:
        raise InvalidProofError(f"proof: iat is not within {KEY_PROOF_AGE_S_MAX} s", field="proof")


def check_statement_time(issued_at: int, *, received_at: UnixSeconds) -> None:
    """Refuse a statement whose ``iat`` is more than 300 s after its receipt.

    Raises:
        SignatureTimeError: It is.
    """
    if issued_at > received_at + CLOCK_SKEW_S:
        raise SignatureTimeError(f"iat {issued_at} is more than {CLOCK_SKEW_S} s after receipt", field="iat")


def _check_reason(code: str, reason: str) -> None:
    if not is_reason_code(code):
        raise MalformedJWSError("act: reason_code: expected 1 to 64 of a-z 0-9 _ -", field="reason_code")
    if len(reason) > REASON_CHARS_MAX:
        raise MalformedJWSError(f"act: reason: at most {REASON_CHARS_MAX} characters", field="reason")
