"""The Token Status List: statuses packed into bits, compressed, and signed by the hub.

draft-ietf-oauth-status-list-12: the packed array is section 4.1, its compression 4.2, the token 5.1. A list is small
and short-lived, so that whoever keeps one for as long as it says learns of a lock within a minute:

    the hub builds one anew            after STATUS_LIST_AGE_S_MAX
    it may be kept beside the network  until STATUS_LIST_TTL_S after it was built (``Cache-Control``)
    a verifier keeps it for            STATUS_LIST_TTL_S more (``ttl``)
    nobody believes it any more        STATUS_LIST_LIFETIME_S after it was built (``exp``)

The draft asks a verifier for less than is done here: a token has exactly the members below, and what it unpacks to has
a limit, since a few kilobytes of zlib can hold gigabytes.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from moneta.domain.errors import InvalidSignatureError, MalformedJWSError, StatusListStaleError
from moneta.domain.identifiers import KeyId, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.limits import (
    STATUS_LIST_BYTES_MAX,
    STATUS_LIST_LIFETIME_S,
    STATUS_LIST_TOKEN_BYTES_MAX,
    STATUS_LIST_TTL_S,
    TOKEN_AHEAD_S_MAX,
)
from moneta.signing import base64url, jws
from moneta.signing.jws import HeaderForm
from moneta.signing.keys import PublicKey
from moneta.signing.statements import SigningKey, sign_compact, verify_compact

STATUS_LIST_TYP: Final = "statuslist+jwt"
STATUS_LIST_HEADER: Final = HeaderForm(frozenset({"alg", "kid", "typ"}))
STATUS_LIST_MEMBERS: Final = frozenset({"sub", "iat", "exp", "ttl", "status_list"})
BITS_ALLOWED: Final = (1, 2, 4, 8)
_BYTE_BITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusList:
    """A verified status list: ``statuses`` packed, ``bits`` each. It says nothing from ``expires_at`` on."""

    uri: str
    bits: int
    statuses: bytes
    issued_at: UnixSeconds
    expires_at: UnixSeconds
    ttl_s: int

    def status(self, index: int) -> int:
        """Return what the list says at ``index``.

        Raises:
            InvalidSignatureError: It has no such place.
        """
        if not 0 <= index < len(self.statuses) * _BYTE_BITS // self.bits:
            raise InvalidSignatureError(f"status list {self.uri}: it has no place {index}", field="idx")
        return unpack_status(self.statuses, index, bits=self.bits)

    def check_fresh(self, now: UnixSeconds) -> None:
        """Return if the list may be relied upon at ``now``.

        Raises:
            StatusListStaleError: It has ended, or begins later than this clock shows.
        """
        if now >= self.expires_at or self.issued_at > now + TOKEN_AHEAD_S_MAX:
            raise StatusListStaleError(
                f"status list {self.uri}: it counts from {self.issued_at} until {self.expires_at}, and it is {now};"
                " fetch it again, and check the clock if that does not help"
            )


def pack_statuses(exceptions: Mapping[int, int], *, bits: int, places: int, default: int = 0) -> bytes:
    """Return ``places`` statuses of ``bits`` each: ``default``, but for ``exceptions`` by index.

    The first stands in the lowest bits of the first byte.
    """
    filled = sum(default << shift for shift in range(0, _BYTE_BITS, bits))
    packed, mask = bytearray([filled]) * (places * bits // _BYTE_BITS), (1 << bits) - 1
    for index, status in exceptions.items():
        byte, shift = divmod(index * bits, _BYTE_BITS)
        packed[byte] = packed[byte] & ~(mask << shift) | status << shift
    return bytes(packed)


def unpack_status(packed: bytes, index: int, *, bits: int) -> int:
    """Return the status at ``index``, which must be a place of ``packed``."""
    byte, shift = divmod(index * bits, _BYTE_BITS)
    return packed[byte] >> shift & (1 << bits) - 1


def compress(packed: bytes) -> bytes:
    """Return ``packed`` as DEFLATE in the ZLIB format, as small as it gets."""
    return zlib.compress(packed, level=zlib.Z_BEST_COMPRESSION)


def decompress(compressed: bytes) -> bytes:
    """Return what ``compress`` was given, stopping at ``STATUS_LIST_BYTES_MAX``.

    Raises:
        MalformedJWSError: Not whole, more than the limit, or something stands behind it.
    """
    unpacking = zlib.decompressobj()
    try:
        packed = unpacking.decompress(compressed, STATUS_LIST_BYTES_MAX + 1)
    except zlib.error as error:
        raise MalformedJWSError("status list: lst is not in the ZLIB format", field="lst") from error
    if len(packed) > STATUS_LIST_BYTES_MAX:
        raise MalformedJWSError(f"status list: lst unpacks to more than {STATUS_LIST_BYTES_MAX} bytes", field="lst")
    if not unpacking.eof or unpacking.unused_data:
        raise MalformedJWSError("status list: lst is cut short, or goes on after its end", field="lst")
    return packed


def make_status_list(key: SigningKey, packed: bytes, *, bits: int, uri: str, issued_at: UnixSeconds) -> str:
    """Return the token that says ``packed`` of the list at ``uri``, as the hub's state was at ``issued_at``."""
    claims = {
        "sub": uri,
        "iat": issued_at,
        "exp": issued_at + STATUS_LIST_LIFETIME_S,
        "ttl": STATUS_LIST_TTL_S,
        "status_list": {"bits": bits, "lst": base64url.encode(compress(packed))},
    }
    return sign_compact(key, claims, typ=STATUS_LIST_TYP)


def verify_status_list(
    text: Value, key_for: Callable[[KeyId, int], PublicKey], *, uri: str, now: UnixSeconds
) -> StatusList:
    """Return the status list of ``uri`` that one of the hub's keys signed, if it may be relied upon at ``now``.

    ``key_for(kid, iat)`` gives the key if what it signed at ``iat`` counts, or raises.

    Raises:
        MalformedJWSError, InvalidSignatureError: It is not one: another list's, or signed by another.
        StatusListStaleError: See ``StatusList.check_fresh``.
    """
    token = jws.parse_compact(text, STATUS_LIST_HEADER, what="status list", size_max=STATUS_LIST_TOKEN_BYTES_MAX)
    claims = token.claims
    if claims.keys() != STATUS_LIST_MEMBERS:
        raise MalformedJWSError(f"status list: expected exactly {', '.join(sorted(STATUS_LIST_MEMBERS))}", field="sub")
    issued_at, expires_at, ttl_s = (_whole_number(claims[name], name) for name in ("iat", "exp", "ttl"))
    key_id = KeyId(token.entry.header.key_id)
    verify_compact(token, key_for(key_id, issued_at), typ=STATUS_LIST_TYP)
    if claims["sub"] != uri:
        raise InvalidSignatureError(f"status list: expected sub {uri}", field="sub")
    bits, statuses = _read_statuses(claims["status_list"])
    found = StatusList(
        uri=uri,
        bits=bits,
        statuses=statuses,
        issued_at=UnixSeconds(issued_at),
        expires_at=UnixSeconds(expires_at),
        ttl_s=ttl_s,
    )
    found.check_fresh(now)
    return found


def _read_statuses(value: Value) -> tuple[int, bytes]:
    if not isinstance(value, Mapping) or value.keys() != {"bits", "lst"}:
        raise MalformedJWSError("status list: expected status_list of exactly bits and lst", field="status_list")
    bits, lst = value["bits"], value["lst"]
    if not isinstance(bits, int) or isinstance(bits, bool) or bits not in BITS_ALLOWED or not isinstance(lst, str):
        raise MalformedJWSError("status list: expected bits 1, 2, 4 or 8, and lst as text", field="status_list")
    return bits, decompress(base64url.decode(lst, what="lst"))


def _whole_number(value: Value, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedJWSError(f"status list: {name}: expected a whole number", field=name)
    return value
