"""base64url without padding (RFC 4648, section 5), one text per byte string.

The libraries accept padding, foreign characters and stray low bits, so that one signature could be written in many
ways; here a text must re-encode to itself.
"""

import binascii
import hashlib
from typing import Final

from moneta.domain.errors import MalformedJWSError

# ``base64.urlsafe_b64encode`` and ``b64decode`` do the same with two more calls and copies each, thirty times an event.
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_+/", b"+/  ")
"""The two letters of plain base64 become what no base64 has."""


def encode(raw: bytes) -> str:
    """Return ``raw`` as base64url without padding."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def decode(text: str, *, what: str) -> bytes:
    """Return the bytes that ``text`` encodes.

    Raises:
        MalformedJWSError: It is not base64url without padding that re-encodes to itself; ``what`` names the part.
    """
    try:
        raw = binascii.a2b_base64(
            text.encode("ascii").translate(_FROM_URL) + b"==="[: -len(text) % 4], strict_mode=True
        )
    except ValueError as error:  # binascii.Error and UnicodeEncodeError are
        raise MalformedJWSError(f"{what}: not base64url", field=what) from error
    if encode(raw) != text:
        raise MalformedJWSError(f"{what}: not base64url without padding", field=what)
    return raw


def sha256(raw: bytes) -> str:
    """Return the SHA-256 digest of ``raw`` as the wire shows one: base64url of the 32 bytes."""
    return encode(hashlib.sha256(raw).digest())
