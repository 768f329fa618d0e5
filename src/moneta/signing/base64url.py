"""base64url without padding (RFC 4648, section 5), one text per byte string.

The libraries accept padding, foreign characters and stray low bits, so that one signature could be written in many
ways; here a text must re-encode to itself.
"""

import base64
import binascii
import hashlib

from moneta.domain.errors import MalformedJWSError


def encode(raw: bytes) -> str:
    """Return ``raw`` as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode(text: str, *, what: str) -> bytes:
    """Return the bytes that ``text`` encodes.

    Raises:
        MalformedJWSError: It is not base64url without padding that re-encodes to itself; ``what`` names the part.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedJWSError(f"{what}: not base64url", field=what) from error
    if encode(raw) != text:
        raise MalformedJWSError(f"{what}: not base64url without padding", field=what)
    return raw


def sha256(raw: bytes) -> str:
    """Return the SHA-256 digest of ``raw`` as the wire shows one: base64url of the 32 bytes."""
    return encode(hashlib.sha256(raw).digest())
