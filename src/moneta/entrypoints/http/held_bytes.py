"""How many bytes of request bodies are in memory: counted as they come, so that a slow sender holds what it has sent.

The server under the application keeps at most 64 KiB of a body that nobody reads on; the rest is counted here.
"""

from types import TracebackType
from typing import Self

from moneta.domain.errors import HubBusyError
from moneta.domain.identifiers import OrganizationId
from moneta.domain.limits import HELD_BYTES_MAX, HELD_BYTES_OF_CALLER_MAX
from moneta.entrypoints.answers import RETRY_AFTER_S


class HeldBytes:
    """What all requests under way hold together. For one thread."""

    def __init__(self, *, bytes_max: int = HELD_BYTES_MAX, of_caller_max: int = HELD_BYTES_OF_CALLER_MAX) -> None:
        self._bytes_max = bytes_max
        self._of_caller_max = of_caller_max
        self._of_caller: dict[OrganizationId, int] = {}
        self.total = 0

    def of(self, caller_id: OrganizationId) -> "RequestBytes":
        """Return the count of one request, which ends with its block."""
        return RequestBytes(self, caller_id)

    def add(self, caller_id: OrganizationId, size: int) -> None:
        """Count bytes that came.

        Raises:
            HubBusyError: They don't fit; they are not counted.
        """
        of_caller = self._of_caller.get(caller_id, 0) + size
        if self.total + size > self._bytes_max or of_caller > self._of_caller_max:
            raise HubBusyError("more bytes than can be held at once", retry_after_s=RETRY_AFTER_S)
        self._of_caller[caller_id] = of_caller
        self.total += size

    def release(self, caller_id: OrganizationId, size: int) -> None:
        """Count bytes that are let go."""
        self.total -= size
        left = self._of_caller.get(caller_id, 0) - size
        if left:
            self._of_caller[caller_id] = left
        else:
            self._of_caller.pop(caller_id, None)


class RequestBytes:
    """What one request holds, until the end of the block."""

    __slots__ = ("_caller_id", "_held", "_size")

    def __init__(self, held: HeldBytes, caller_id: OrganizationId) -> None:
        self._held = held
        self._caller_id = caller_id
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.release(self._caller_id, self._size)

    def add(self, size: int) -> None:
        """Count bytes that came. See ``HeldBytes.add``."""
        self._held.add(self._caller_id, size)
        self._size += size
