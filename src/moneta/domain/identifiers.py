"""The names of things and the units of numbers, one type each, so that mypy keeps them apart."""

import re
from typing import Final, NewType

OrganizationId = NewType("OrganizationId", str)
ContractId = NewType("ContractId", str)
EventId = NewType("EventId", str)
MPassId = NewType("MPassId", str)
KeyId = NewType("KeyId", str)
"""The RFC 7638 SHA-256 thumbprint of a public key, base64url."""
WebhookId = NewType("WebhookId", str)

UnixSeconds = NewType("UnixSeconds", int)
UnixMillis = NewType("UnixMillis", int)
Revision = NewType("Revision", int)
"""How many commits a contract has had; the first makes it 1."""
RegistrySeq = NewType("RegistrySeq", int)
"""A position in the key registry's numbered sequence of changes; 0 is before the first."""

MONETA: Final = OrganizationId("moneta_core")
"""The hub itself, where an actor or an owner of keys is named."""

_CHOSEN_ID: Final = re.compile(r"[A-Za-z0-9._:~-]{1,128}", re.ASCII)
_UUID4: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def is_chosen_id(text: object) -> bool:
    """Tell whether ``text`` can be a contract or event id: what a party may choose (protocol, section 3)."""
    return isinstance(text, str) and _CHOSEN_ID.fullmatch(text) is not None and text not in {".", ".."}


def is_uuid4(text: object) -> bool:
    """Tell whether ``text`` is a UUID v4 as the hub writes one, in lower case."""
    return isinstance(text, str) and _UUID4.fullmatch(text) is not None


def is_key_id(text: object) -> bool:
    """Tell whether ``text`` has the form of a SHA-256 thumbprint: 43 base64url characters."""
    return isinstance(text, str) and _KEY_ID.fullmatch(text) is not None
