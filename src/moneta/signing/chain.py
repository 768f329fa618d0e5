"""The signature chain: each step signs the head of the one before, so order and completeness can be proven.

The rules for one entry (protocol, section 3), numbered as ``check_entry`` and ``verify_chain`` tick them off:

1. ``typ`` is exactly ``moneta-contract+jws``, and ``aud`` exactly the hub's base URL: no signature of another kind or
   for another hub counts.
2. ``role`` is the role that the entry stands for.
3. ``prev`` is null in the first step, else the head of the last complete one; all entries of a step carry the same.
4. ``iat`` is at most 300 s after the receipt, and in a first signature at most 24 h before it.
5. ``template_sha256``, where it is given, is the digest of the template's bytes; Moneta's own header always has it,
   and alone ``received_at`` and ``registry_seq``.
6. The signature is that of the key that ``kid`` names, under that key's algorithm; checked for every entry alone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from moneta.domain.contract_body import ContractBody, find_field
from moneta.domain.errors import (
    InvalidSignatureError,
    MalformedJWSError,
    RevisionConflictError,
    SignatureTimeError,
    TemplateMismatchError,
)
from moneta.domain.identifiers import UnixSeconds
from moneta.domain.limits import CLOCK_SKEW_S, FIRST_SIGNATURE_AGE_S_MAX
from moneta.domain.templates import Role
from moneta.signing import base64url
from moneta.signing.jws import CONTRACT_TYP, ContractJWS, Entry, Header, signing_input
from moneta.signing.keys import PublicKey, parse_public_jwk

MONETA_ONLY_MEMBERS: Final = ("received_at", "registry_seq")


NEW_KEY: Final = "new_key"
"""The required field of the payload that holds the key which signs for ``org_new_key``."""


class SignedTexts(Protocol):
    """Whatever holds a signature as the two base64url texts of a JWS entry."""

    @property
    def protected(self) -> str:
        """The protected header, encoded."""

    @property
    def signature(self) -> str:
        """The signature's bytes, encoded."""


def head_of(step: Sequence[SignedTexts]) -> str:
    """Return the head that the next step signs as ``prev``.

    base64url(SHA-256(d1 ‖ d2 ‖ …)), d being the SHA-256 digests of ``protected.signature`` of each signature of the
    step, sorted bytewise, so that the order within a parallel step does not matter.
    """
    digests = sorted(hashlib.sha256(f"{one.protected}.{one.signature}".encode("ascii")).digest() for one in step)
    return base64url.sha256(b"".join(digests))


def new_key_of(body: ContractBody) -> PublicKey:
    """Return the key that signs for the role ``org_new_key``: the public JWK in the payload, registered or not.

    Raises:
        MissingFieldError, AmbiguousFieldError: It is not there once.
        WeakKeyError: It may not be registered.
    """
    return parse_public_jwk(find_field({"payload": dict(body.payload)}, NEW_KEY))


def contract_header(  # every argument is a member of the header
    *,
    algorithm: str,
    key_id: str,
    issued_at: UnixSeconds,
    audience: str,
    role: Role,
    prev: str | None,
    **optional: str | int,
) -> str:
    """Return a protected header for a contract, encoded; ``optional``: ``template_sha256`` and Moneta's own two."""
    return encode_header(
        {
            "alg": algorithm,
            "kid": key_id,
            "typ": CONTRACT_TYP,
            "iat": issued_at,
            "aud": audience,
            "role": role,
            "prev": prev,
            **optional,
        }
    )


def encode_header(members: Mapping[str, object]) -> str:
    """Return ``members`` as compact JSON in base64url."""
    return base64url.encode(to_json(members))


def to_json(members: Mapping[str, object]) -> bytes:
    """Return ``members`` as compact UTF-8 JSON, in the order given."""
    return _encoder.encode(members).encode("utf-8")


# ``json.dumps`` would make one at each call.
_encoder: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def check_entry(  # one argument a rule
    header: Header,
    *,
    audience: str,
    role: Role,
    prev: str | None,
    received_at: UnixSeconds,
    template_sha256: str | None,
) -> None:
    """Return if a party's header is the one that must be signed here and now: rules 1 to 5.

    ``received_at``: when the hub received the message. ``template_sha256``: None where the template is not at hand.

    Raises:
        InvalidSignatureError: Rule 1, 2 or 5, naming the member.
        RevisionConflictError: Rule 3: it was made for another point of the chain.
        SignatureTimeError: Rule 4.
        TemplateMismatchError: Rule 5.
    """
    _check_context(header, audience=audience, role=role)  # (1), (2)
    if header.prev != prev:  # (3)
        raise RevisionConflictError(f"prev: expected {prev}, got {header.prev}", expected=prev, got=header.prev)
    if header.issued_at > received_at + CLOCK_SKEW_S:  # (4)
        raise SignatureTimeError(f"iat {header.issued_at} is more than {CLOCK_SKEW_S} s after receipt", field="iat")
    if prev is None and header.issued_at < received_at - FIRST_SIGNATURE_AGE_S_MAX:
        raise SignatureTimeError("iat of a first signature is more than 24 h before receipt", field="iat")
    if header.received_at is not None or header.registry_seq is not None:  # (5)
        raise InvalidSignatureError("received_at and registry_seq are Moneta's own members", field="received_at")
    check_template(header, template_sha256)


def check_template(header: Header, template_sha256: str | None) -> None:
    """Return if the header's digest of the template, where it has one, is ``template_sha256``."""
    if None not in (header.template_sha256, template_sha256) and header.template_sha256 != template_sha256:
        raise TemplateMismatchError("template_sha256 is not that version's", expected=template_sha256)


def verify_entry(entry: Entry, payload: str, key: PublicKey) -> None:
    """Return if ``entry`` is ``key``'s signature on ``payload``: rule 6.

    Raises:
        InvalidSignatureError: It is not, or its kid names another key; WrongAlgorithmError for another alg.
    """
    if entry.header.key_id != key.key_id:
        raise InvalidSignatureError(f"kid: expected {key.key_id}, got {entry.header.key_id}", field="kid")
    key.verify(entry.signature_bytes, signing_input(entry.protected, payload), algorithm=entry.header.algorithm)


def steps_of(entries: Sequence[Entry]) -> tuple[tuple[Entry, ...], ...]:
    """Return the entries grouped by step, as the chain itself tells: entries of one step carry the same ``prev``.

    Raises:
        InvalidSignatureError: The first is not without ``prev``, a ``prev`` is not the head of the step before, or a
            role signs twice.
    """
    steps: list[tuple[Entry, ...]] = []
    expected: str | None = None
    for entry in entries:
        if steps and entry.header.prev == steps[-1][0].header.prev and steps[-1][0].header.prev is not None:
            steps[-1] = (*steps[-1], entry)
        else:
            expected = head_of(steps[-1]) if steps else None
            if entry.header.prev != expected:
                raise InvalidSignatureError(f"prev: expected {expected}, got {entry.header.prev}", field="prev")
            steps.append((entry,))
    roles = [entry.header.role for entry in entries]
    if len(set(roles)) != len(roles):
        raise InvalidSignatureError("a role signs twice", field="role")
    return tuple(steps)


def verify_chain(
    jws: ContractJWS, *, audience: str, key_for: Callable[[Role, str], PublicKey]
) -> tuple[tuple[Entry, ...], ...]:
    """Verify every signature of a contract alone, and the chain between them, from the file itself.

    ``key_for(role, kid)`` gives the key of the organization that the body names for the role, for ``org_new_key`` that
    in the payload (``new_key_of``), or raises.
    What it can't tell without the template is whether the order is complete; a receipt tells that.

    Returns:
        The entries by step.

    Raises:
        InvalidSignatureError: Any rule of this module is broken.
        Refused: Whatever ``key_for`` raises.
    """
    steps = steps_of(jws.entries)  # (3)
    if len({entry.header.template_sha256 for entry in jws.entries} - {None}) > 1:  # (5)
        raise InvalidSignatureError("the signatures name two templates", field="template_sha256")
    for entry in jws.entries:
        role = _role(entry.header)
        _check_context(entry.header, audience=audience, role=role)  # (1), (2)
        _check_moneta_members(entry.header, role)  # (5)
        verify_entry(entry, jws.payload, key_for(role, entry.header.key_id))  # (6)
    return steps


def _check_context(header: Header, *, audience: str, role: Role) -> None:
    if header.typ != CONTRACT_TYP:
        raise InvalidSignatureError(f"typ: expected {CONTRACT_TYP}, got {header.typ[:64]!r}", field="typ")
    if header.audience != audience:
        raise InvalidSignatureError(f"aud: expected {audience}", field="aud")
    if header.role != role:
        raise InvalidSignatureError(f"role: expected {role}, got {(header.role or '')[:32]!r}", field="role")


def _check_moneta_members(header: Header, role: Role) -> None:
    own = [getattr(header, name) is not None for name in MONETA_ONLY_MEMBERS]
    if role is Role.MONETA and not (all(own) and header.template_sha256 is not None):
        raise InvalidSignatureError("Moneta's header has template_sha256, received_at and registry_seq", field="role")
    if role is not Role.MONETA and any(own):
        raise InvalidSignatureError("received_at and registry_seq are Moneta's own members", field="received_at")


def _role(header: Header) -> Role:
    try:
        return Role(header.role or "")
    except ValueError as error:
        raise MalformedJWSError(f"role: unknown role {(header.role or '')[:32]!r}", field="role") from error
