"""Who a partner is to the hub: its id, its role, its keys, and the hub it trades through."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final
from urllib.parse import urlsplit

from moneta.client.clock import Clock, system_clock
from moneta.client.errors import ClientError
from moneta.client.keys import load
from moneta.domain.contract_body import ContractBody
from moneta.domain.errors import Refused
from moneta.domain.identifiers import OrganizationId, UnixSeconds
from moneta.domain.ijson import parse_object
from moneta.domain.templates import Role
from moneta.signing.statements import SigningKey
from moneta.signing.tokens import make_token

TOKEN_LIFETIME_S: Final = 600
TOKEN_RENEWED_BEFORE_S: Final = 120
TOKEN_ID_BYTES: Final = 16
PARTY_FILE_BYTES_MAX: Final = 64 * 1024
PARTY_MEMBERS: Final = frozenset({"organization_id", "role", "hub", "auth_key", "contract_key"})
SIGNING_ROLES: Final[Mapping[Role, tuple[Role, ...]]] = {
    Role.MO: (Role.MO, Role.ORG),
    Role.PUBLISHER: (Role.PUBLISHER, Role.ORG),
    Role.ORG: (Role.ORG,),
    Role.ORG_NEW_KEY: (Role.ORG_NEW_KEY,),
}
"""The roles in a contract that a party may sign under: those of its kind, or the one that it was made for."""
LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An organization that signs.

    ``role``: its kind, ``mo`` or ``publisher``; it then signs as ``org`` too, where a contract names it so. One that
    proves a new key in a ``key-rotation`` is another party, of role ``org_new_key``, whose contract key is the new one.
    ``hub``: the hub's base URL exactly as the hub states it, without a trailing slash; it is the ``aud`` of everything
    that this party signs. Plain http is for a hub on this machine, unless ``allows_http``.
    """

    organization_id: OrganizationId
    role: Role
    hub: str
    auth_key: SigningKey
    contract_key: SigningKey
    allows_http: bool = False

    def __post_init__(self) -> None:
        if self.role is Role.MONETA:
            raise ClientError("a party's role is mo or publisher, or org or org_new_key")
        check_hub(self.hub, allows_http=self.allows_http)

    def roles_in(self, body: ContractBody) -> tuple[Role, ...]:
        """Return the roles that ``body`` gives this party, of those that it signs under; none if it is no party."""
        return tuple(role for role in SIGNING_ROLES[self.role] if body.party(role) == self.organization_id)

    def make_token(self, *, now: UnixSeconds) -> str:
        """Return a new bearer token for the hub."""
        return make_token(
            self.auth_key,
            subject=self.organization_id,
            audience=self.hub,
            token_id=secrets.token_urlsafe(TOKEN_ID_BYTES),
            issued_at=now,
            lifetime_s=TOKEN_LIFETIME_S,
        )


class Tokens:
    """A party's bearer token, kept and renewed before it expires. Safe to share between threads."""

    def __init__(self, party: Party, clock: Clock = system_clock) -> None:
        self._party = party
        self._clock = clock
        self._lock = Lock()
        self._token = ""
        self._renew_at = UnixSeconds(0)

    def current(self) -> str:
        """Return a token that is good for two minutes at least."""
        now = self._clock()
        with self._lock:
            if now >= self._renew_at:
                self._token = self._party.make_token(now=now)
                self._renew_at = UnixSeconds(now + TOKEN_LIFETIME_S - TOKEN_RENEWED_BEFORE_S)
            return self._token


def load_party(path: Path) -> Party:
    """Return the party that a JSON file describes, with the keys in the files that it names.

    ``{"organization_id", "role", "hub", "auth_key", "contract_key"}``; key files relative to the file's own folder.

    Raises:
        ClientError: The file or one of the keys can't be read, or says something else.
    """
    try:
        with path.open("rb") as file:
            members = parse_object(file.read(PARTY_FILE_BYTES_MAX), what=str(path))
        role = Role(str(members.get("role")))
    except (OSError, Refused, ValueError) as error:
        raise ClientError(f"{path}: not a party's file: {error}") from error
    texts: Mapping[str, str] = {name: value for name, value in members.items() if isinstance(value, str)}
    if texts.keys() != PARTY_MEMBERS:
        raise ClientError(f"{path}: expected exactly {', '.join(sorted(PARTY_MEMBERS))}")
    return Party(
        organization_id=OrganizationId(texts["organization_id"]),
        role=role,
        hub=texts["hub"],
        auth_key=load(path.parent / texts["auth_key"]),
        contract_key=load(path.parent / texts["contract_key"]),
    )


def check_hub(hub: str, *, allows_http: bool) -> None:
    """Refuse a base URL that is none, or that would carry tokens over a network in the clear.

    Raises:
        ClientError: Saying what was expected.
    """
    parts = urlsplit(hub)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or hub.endswith("/")
        or parts.query
        or parts.fragment
    ):
        raise ClientError(f"hub: expected a base URL like https://hub.example without a trailing slash, got {hub!r}")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS and not allows_http:
        raise ClientError(f"hub: {hub} would carry tokens in the clear; use https, or say allows_http=True")
