"""The system's clock and its random generator."""

import secrets
import time
import uuid

from moneta.domain.identifiers import UnixMillis


class SystemClock:
    """The wall clock. See ``ports.Clock``."""

    def now_ms(self) -> UnixMillis:
        """See Clock.now_ms."""
        return UnixMillis(time.time_ns() // 1_000_000)


class SystemRandomness:
    """The system's generator. See ``ports.Randomness``."""

    def token(self, size: int) -> bytes:
        """See Randomness.token."""
        return secrets.token_bytes(size)

    def uuid4(self) -> str:
        """See Randomness.uuid4."""
        return str(uuid.uuid4())
