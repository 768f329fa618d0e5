"""How small secrets are sealed, whatever keeps the key: AES-256-GCM, with a random nonce for each.

Random nonces of 96 bits are safe for 2^32 secrets under one key (NIST SP 800-38D, section 8.3).
"""

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEALING_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_SEAL_FORMAT: Final = b"\x01"


class AESGCMSealer:
    """See ``ports.Sealer``. ``key``: of ``SEALING_KEY_BYTES``."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes) -> bytes:
        """See Sealer.seal."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _SEAL_FORMAT + nonce + self._cipher.encrypt(nonce, plain, _SEAL_FORMAT)

    def unseal(self, sealed: bytes) -> bytes:
        """See Sealer.unseal."""
        if sealed[:1] != _SEAL_FORMAT:
            raise ValueError("not sealed by this hub")
        nonce, encrypted = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, encrypted, _SEAL_FORMAT)
        except (InvalidTag, ValueError) as error:  # ValueError: cut off within the nonce.
            raise ValueError("not sealed by this hub, or changed since") from error
