"""Request tokens: a short-lived JWT signed by the caller's own ``auth`` key (protocol, section 8).

Every fault is the same ``UnauthorizedError``, so that the answer teaches an attacker nothing.
"""

from dataclasses import dataclass
from typing import Final

from moneta.domain.errors import Refused, UnauthorizedError
from moneta.domain.identifiers import KeyId, OrganizationId, UnixSeconds
from moneta.domain.limits import (
    JTI_CHARS_MAX,
    TOKEN_AHEAD_S_MAX,
    TOKEN_BYTES_MAX,
    TOKEN_LEEWAY_S,
    TOKEN_LIFETIME_S_MAX,
)
from moneta.signing import jws
from moneta.signing.jws import CompactJWS
from moneta.signing.keys import PublicKey
from moneta.signing.statements import SigningKey, sign_compact, verify_compact

CLAIMS: Final = frozenset({"iss", "sub", "aud", "iat", "exp", "jti"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token claims. Nothing is verified until ``verify`` returns."""

    subject: OrganizationId
    key_id: KeyId
    token_id: str
    audience: str
    issued_at: UnixSeconds
    expires_at: UnixSeconds
    jws: CompactJWS


def make_token(
    key: SigningKey, *, subject: str, audience: str, token_id: str, issued_at: UnixSeconds, lifetime_s: int = 600
) -> str:
    """Return a token for ``subject`` that the hub at ``audience`` takes for ``lifetime_s`` seconds, at most 900."""
    claims = {
        "iss": subject,
        "sub": subject,
        "aud": audience,
        "iat": issued_at,
        "exp": issued_at + lifetime_s,
        "jti": token_id,
    }
    return sign_compact(key, claims, typ=jws.TOKEN_TYP)


def parse_token(text: str) -> Token:
    """Return what ``text`` claims.

    Raises:
        UnauthorizedError: Not exactly the form of protocol section 8.
    """
    try:
        statement = jws.parse_compact(text, jws.TOKEN_HEADER, what="token", size_max=TOKEN_BYTES_MAX)
    except Refused as error:
        raise unauthorized() from error
    claims = statement.claims
    texts = [claims.get(name) for name in ("iss", "sub", "aud", "jti")]
    times = [claims.get(name) for name in ("iat", "exp")]
    issuer, subject, audience, token_id = (text if isinstance(text, str) else "" for text in texts)
    issued_at, expires_at = (time if isinstance(time, int) and not isinstance(time, bool) else -1 for time in times)
    is_whole = (
        claims.keys() == CLAIMS and all((issuer, subject, audience, token_id)) and min(issued_at, expires_at) >= 0
    )
    if not is_whole or issuer != subject or len(token_id) > JTI_CHARS_MAX:
        raise unauthorized()
    return Token(
        subject=OrganizationId(subject),
        key_id=KeyId(statement.entry.header.key_id),
        token_id=token_id,
        audience=audience,
        issued_at=UnixSeconds(issued_at),
        expires_at=UnixSeconds(expires_at),
        jws=statement,
    )


def check_times(token: Token, *, audience: str, now: UnixSeconds) -> None:
    """Return if the token is for this hub and in force at ``now``.

    Raises:
        UnauthorizedError: It is not.
    """
    lifetime_s = token.expires_at - token.issued_at
    is_timely = token.issued_at <= now + TOKEN_AHEAD_S_MAX and now < token.expires_at + TOKEN_LEEWAY_S
    if token.audience != audience or not 0 < lifetime_s <= TOKEN_LIFETIME_S_MAX or not is_timely:
        raise unauthorized()


def verify(token: Token, key: PublicKey) -> None:
    """Return if the token's signature is ``key``'s.

    Raises:
        UnauthorizedError: It is not.
    """
    try:
        verify_compact(token.jws, key, typ=jws.TOKEN_TYP)
    except Refused as error:
        raise unauthorized() from error


def unauthorized() -> UnauthorizedError:
    """Return the one answer to every token that does not count."""
    return UnauthorizedError("expected a valid bearer token for this hub")
