"""Keys that the reader of a file knows from elsewhere: thumbprints of the hub's, or a trust file.

A trust file is a JWK Set (RFC 7517, section 5). A key belongs to the hub, or with a member ``owner`` to the
organization of that id. So what the hub serves at ``/.well-known/jwks.json``, saved over a connection that its reader
trusts, is a trust file; so is that with partners' keys added. ``nbf``, ``exp`` and ``revoked_at`` of the hub's keys
count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from moneta.client.trust import TrustedKey, parse_key_set
from moneta.domain.errors import Refused
from moneta.domain.identifiers import MONETA
from moneta.domain.ijson import Value, parse_object
from moneta.entrypoints.cli.failures import CommandError

TRUST_FILE_BYTES_MAX: Final = 1024 * 1024

KeySet = Mapping[str, TrustedKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is believed: ``hub_keys`` by thumbprint alone, ``keys`` by owner, the hub's under ``MONETA``."""

    hub_keys: frozenset[str] = frozenset()
    keys: Mapping[str, KeySet] = field(default_factory=dict)

    @property
    def hub(self) -> KeySet:
        """The hub's keys that the trust file gives."""
        return self.keys.get(MONETA, {})

    @property
    def has_anchor(self) -> bool:
        """Tell whether any key of the hub's is known from elsewhere."""
        return bool(self.hub_keys or self.hub)

    def is_anchored(self, key_id: str) -> bool:
        """Tell whether the hub's key of that ``kid`` is known from elsewhere."""
        return key_id in self.hub_keys or key_id in self.hub


def read_trust(hub_keys: frozenset[str], file: Path | None) -> Trust:
    """Return what the options say is believed.

    Raises:
        CommandError: The file is no JWK Set.
    """
    if file is None:
        return Trust(hub_keys=hub_keys)
    with file.open("rb") as opened:
        raw = opened.read(TRUST_FILE_BYTES_MAX)
    try:
        members = parse_object(raw, what=str(file)).get("keys")
    except Refused as error:
        raise CommandError(error.detail) from error
    if not isinstance(members, list):
        raise CommandError(f'{file}: expected a JWK Set: {{"keys": [...]}}')
    owned: dict[str, list[Value]] = {}
    for member in members:
        owner = member.get("owner", MONETA) if isinstance(member, Mapping) else MONETA
        owned.setdefault(str(owner), []).append(member)
    keys = {owner: parse_key_set({"keys": theirs}) for owner, theirs in owned.items()}
    if sum(map(len, keys.values())) != len(members):
        raise CommandError(f"{file}: a key in it is not of an allowed type and strength")
    return Trust(hub_keys=hub_keys, keys=keys)
