"""Who is calling: from a bearer token to a caller, against the key registry (protocol, section 8).

1. The token has exactly the form of section 8, is for this hub, and is in force.
2. Its subject is a known organization that is not Destroyed, or a configured identity.
3. Its ``kid`` is an ``auth`` key of that subject, valid now.
4. Its signature is that key's, under the algorithm registered with it.

Every fault gives the same ``UnauthorizedError``.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from moneta.application.keyring import public_key
from moneta.application.ports import Hub, Identity
from moneta.domain.errors import KeyNotValidError
from moneta.domain.identifiers import KeyId, OrganizationId
from moneta.domain.keys import KeyUse, RegisteredKey
from moneta.domain.limits import TOKENS_REMEMBERED_MAX
from moneta.domain.organizations import Capability, Organization, OrganizationStatus
from moneta.signing import tokens
from moneta.signing.keys import PublicKey
from moneta.signing.tokens import Token, unauthorized


class CallerRole(StrEnum):
    """What a caller is: one of the configured identities, or an organization."""

    OPERATOR = "operator"
    CHECKER = "checker"
    AUDITOR = "auditor"
    MO = "mo"
    PUBLISHER = "publisher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a verified token speaks for. ``status`` is None for an identity."""

    caller_id: OrganizationId
    role: CallerRole
    key_id: KeyId
    token_id: str
    status: OrganizationStatus | None = None
    approves: str | None = None
    """The id of the change that it approves: what it does, another asked for."""


def authenticate(hub: Hub, token_text: str | None, *, is_fresh: bool = False) -> Caller:
    """Return the caller that ``token_text``, the bearer token, speaks for.

    ``is_fresh`` asks the registry, not a cache: for calls that change keys, status, webhook or secret.

    Raises:
        UnauthorizedError: It speaks for nobody here and now.
    """
    if token_text is None:
        raise unauthorized()
    token = _parsed(token_text)
    tokens.check_times(token, audience=hub.base_url, now=hub.now_s())  # (1)
    caller = _caller(hub, token, is_fresh=is_fresh)  # (2)
    key = _auth_key(hub, token, is_fresh=is_fresh)  # (3)
    _check_signature(token_text, public_key(key))  # (4)
    return caller


def claimed_subject(token_text: str) -> OrganizationId:
    """Return whom a token says it speaks for, which nobody has verified.

    Raises:
        UnauthorizedError: It has not the form of a token.
    """
    return _parsed(token_text).subject


# A token is used for many requests, so what can't change about it is remembered: its claims, and that a key verified
# it. Keys, status and time are judged on every call. Only what succeeds is remembered; a fault raises, and is not.


@lru_cache(maxsize=TOKENS_REMEMBERED_MAX)
def _parsed(token_text: str) -> Token:
    return tokens.parse_token(token_text)


@lru_cache(maxsize=TOKENS_REMEMBERED_MAX)
def _check_signature(token_text: str, key: PublicKey) -> None:
    tokens.verify(_parsed(token_text), key)


def _caller(hub: Hub, token: Token, *, is_fresh: bool) -> Caller:
    organization = hub.directory.organizations([token.subject], is_fresh=is_fresh).get(token.subject)
    if organization is not None:
        return _organization_caller(organization, token)
    identity = next((one for one in hub.directory.identities() if one.identity_id == token.subject), None)
    if identity is None:
        raise unauthorized()
    return _identity_caller(identity, token)


def _organization_caller(organization: Organization, token: Token) -> Caller:
    if not organization.may(Capability.AUTHENTICATE):
        raise unauthorized()
    return Caller(
        caller_id=organization.organization_id,
        role=CallerRole(organization.kind),
        key_id=token.key_id,
        token_id=token.token_id,
        status=organization.status,
    )


def _identity_caller(identity: Identity, token: Token) -> Caller:
    return Caller(
        caller_id=identity.identity_id,
        role=CallerRole(identity.role),
        key_id=token.key_id,
        token_id=token.token_id,
    )


def _auth_key(hub: Hub, token: Token, *, is_fresh: bool) -> RegisteredKey:
    keys = hub.directory.keys_of([token.subject], is_fresh=is_fresh).get(token.subject, {})
    key = keys.get(token.key_id)
    if key is None:
        raise unauthorized()
    position = key.changes[-1].seq
    try:
        key.check_valid(KeyUse.AUTH, judged_at=position, received_at=position, received_ms=hub.clock.now_ms())
    except KeyNotValidError as error:
        raise unauthorized() from error
    return key
