"""A contract's body: exactly the members of protocol section 3, each of its form, and whom it names.

Its bytes are what is signed; nobody re-serializes them. A role is signed for by the organization that the body names
under the role's member: two roles may so be one organization's, as ``org`` and ``org_new_key`` always are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from moneta.domain.errors import (
    AmbiguousFieldError,
    InvalidFieldError,
    MissingFieldError,
    UnknownFieldError,
)
from moneta.domain.identifiers import ContractId, MPassId, OrganizationId, UnixSeconds, is_chosen_id
from moneta.domain.ijson import Value, parse_object, type_name
from moneta.domain.limits import JSON_INTEGER_MAX, PARTIES_MAX
from moneta.domain.templates import Role

REQUIRED_MEMBERS: Final = ("contract_id", "template_id", "version", "created_at", "payload")
PARTY_MEMBERS: Final[Mapping[Role, str]] = {
    Role.MO: "mo_id",
    Role.PUBLISHER: "publisher_id",
    Role.ORG: "org_id",
    Role.ORG_NEW_KEY: "org_id",
}
MEMBERS: Final = frozenset(
    {
        *REQUIRED_MEMBERS,
        *("mo_id", "publisher_id", "org_id", "mpass_id", "description", "expires_at", "supersedes", "nonce"),
    }
)

_NONCE: Final = re.compile(
    r"(?=.{22})(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?", re.ASCII
)
"""base64url of 16 bytes or more; the last character of an incomplete group leaves no stray bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractBody:
    """What the body's bytes say. ``payload`` keeps numbers as their digits."""

    contract_id: ContractId
    template_id: str
    version: int
    created_at: UnixSeconds
    payload: Mapping[str, Value]
    mo_id: OrganizationId | None = None
    publisher_id: OrganizationId | None = None
    org_id: OrganizationId | None = None
    mpass_id: MPassId | None = None
    description: str | None = None
    expires_at: UnixSeconds | None = None
    supersedes: ContractId | None = None
    nonce: str | None = None

    def party(self, role: Role) -> OrganizationId | None:
        """Return the organization that the body names for ``role``; None for Moneta, or where it names none."""
        match role:
            case Role.MO:
                return self.mo_id
            case Role.PUBLISHER:
                return self.publisher_id
            case Role.ORG | Role.ORG_NEW_KEY:
                return self.org_id
            case _:
                return None

    def roles_of(self, organization: OrganizationId) -> tuple[Role, ...]:
        """Return the roles that the body gives ``organization``; none if it is no party."""
        return tuple(role for role in PARTY_MEMBERS if self.party(role) == organization)

    def parties(self) -> tuple[OrganizationId, ...]:
        """Return the organizations that the body names, each once, the MO first."""
        named = (self.mo_id, self.publisher_id, self.org_id)
        return tuple(dict.fromkeys(party for party in named if party is not None))


def parse_body(raw: bytes) -> ContractBody:
    """Read a contract's body.

    Raises:
        MalformedJSONError: Not an I-JSON object.
        UnknownFieldError, MissingFieldError, InvalidFieldError: The first member that is wrong.
    """
    return body_of(parse_object(raw, what="contract body"))


def body_of(members: Mapping[str, Value]) -> ContractBody:
    """Return the body that ``members`` make. See ``parse_body``."""
    _check_members(members)
    body = ContractBody(
        contract_id=ContractId(_identifier(members, "contract_id")),
        template_id=_identifier(members, "template_id"),
        version=_integer(members, "version", minimum=1),
        created_at=UnixSeconds(_integer(members, "created_at")),
        payload=_object(members, "payload"),
        mo_id=cast("OrganizationId | None", _optional(members, "mo_id")),  # NewTypes: only the name changes
        publisher_id=cast("OrganizationId | None", _optional(members, "publisher_id")),  # likewise
        org_id=cast("OrganizationId | None", _optional(members, "org_id")),  # likewise
        mpass_id=cast("MPassId | None", _optional(members, "mpass_id")),  # likewise
        description=_description(members),
        expires_at=UnixSeconds(_integer(members, "expires_at")) if "expires_at" in members else None,
        supersedes=cast("ContractId | None", _optional(members, "supersedes")),  # likewise
        nonce=_nonce(members),
    )
    if len(body.parties()) > PARTIES_MAX:
        # Also what a list costs on DynamoDB: an organization is found by one of the two that a contract is indexed by.
        raise InvalidFieldError(f"org_id: a contract names at most {PARTIES_MAX} organizations", field="org_id")
    return body


def supersedable_parts(body: ContractBody) -> tuple[object, ...]:
    """Return what a contract and the one that it supersedes must have in common."""
    return body.template_id, body.mo_id, body.publisher_id, body.org_id, body.mpass_id


def find_field(body: Mapping[str, Value], name: str) -> Value:
    """Return the value of a template's required field.

    ``name`` is looked up in the body, in ``payload``, and in each object directly inside ``payload``; with dots, it is
    a path from ``payload``.

    Raises:
        MissingFieldError: It is missing or null.
        AmbiguousFieldError: It is found at two places, even if it is null at one of them: another reader might have
            taken that one.
    """
    payload = body["payload"]
    found = [_at_path(payload, name)] if "." in name else _at_known_places(body, payload, name)
    if len(found) > 1:
        raise AmbiguousFieldError(f"required field {name} is found at {len(found)} places", field=name)
    if not found or found[0] is None:
        raise MissingFieldError(f"required field {name} is missing", field=name)
    return found[0]


def _at_path(payload: Value, path: str) -> Value:
    value = payload
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _at_known_places(body: Mapping[str, Value], payload: Value, name: str) -> list[Value]:
    places: list[Value] = [body, payload]
    if isinstance(payload, dict):
        places.extend(payload.values())
    return [place[name] for place in places if isinstance(place, dict) and name in place]


def _check_members(members: Mapping[str, Value]) -> None:
    for name in members:
        if name not in MEMBERS:
            raise UnknownFieldError(f"contract body: unknown member {name[:64]!r}", field=name[:64])
    for name in REQUIRED_MEMBERS:
        if members.get(name) is None:
            raise MissingFieldError(f"contract body: {name} is missing", field=name)


def _identifier(members: Mapping[str, Value], name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not is_chosen_id(value):
        raise InvalidFieldError(f"{name}: expected 1 to 128 of A-Z a-z 0-9 . _ : ~ -", field=name)
    return value


def _optional(members: Mapping[str, Value], name: str) -> str | None:
    return _identifier(members, name) if name in members else None


def _integer(members: Mapping[str, Value], name: str, *, minimum: int = 0) -> int:
    value = members[name]
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= JSON_INTEGER_MAX:
        raise InvalidFieldError(f"{name}: expected an integer of at least {minimum}", field=name)
    return value


def _object(members: Mapping[str, Value], name: str) -> Mapping[str, Value]:
    value = members[name]
    if not isinstance(value, dict):
        raise InvalidFieldError(f"{name}: expected an object, got {type_name(value)}", field=name)
    return value


def _description(members: Mapping[str, Value]) -> str | None:
    if "description" not in members:
        return None
    value = members["description"]
    if not isinstance(value, str):
        raise InvalidFieldError(f"description: expected text, got {type_name(value)}", field="description")
    return value


def _nonce(members: Mapping[str, Value]) -> str | None:
    if "nonce" not in members:
        return None
    value = members["nonce"]
    if not isinstance(value, str) or _NONCE.fullmatch(value) is None:
        raise InvalidFieldError("nonce: expected base64url of 16 random bytes or more", field="nonce")
    return value
