"""What this process has taken, and for how long: the leases of the embedded store.

One process takes events and one takes deliveries, each held by a lock that the kernel gives back however it ends. So a
lease need not be written: it costs no transaction, and the leases of a process that died died with it.

What dies of the very event it took would take it again and again. So the numbers of the events in hand stand in a file
beside the store, written in place and not synced: whoever kills a process does not lose what it told the kernel.
"""

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from moneta.domain.identifiers import UnixMillis


class InHand:
    """The numbers of what was taken, each with the end of its lease and its group. Safe from any thread.

    ``taking``: held by whoever takes, from before it looks what is in hand to after it has added what it took.
    """

    def __init__(self) -> None:
        self.taking = Lock()
        self._lock = Lock()
        self._held: dict[int, tuple[UnixMillis, int]] = {}

    def groups(self) -> Mapping[int, int]:
        """Return the group of each number in hand.

        To be read before the store is: what is put down meanwhile then still counts as held.
        """
        with self._lock:
            return {number: group for number, (_, group) in self._held.items()}

    def next_end(self) -> UnixMillis | None:
        """Return when the first of the leases ends; None if nothing is in hand."""
        with self._lock:
            return min((until for until, _ in self._held.values()), default=None)

    def ended(self, now: UnixMillis) -> Sequence[int]:
        """Let go of what has been held for too long, and return it."""
        with self._lock:
            late = [number for number, (until, _) in self._held.items() if until <= now]
            for number in late:
                del self._held[number]
        return late

    def hold(self, groups: Mapping[int, int], *, until: UnixMillis) -> None:
        """Add what was taken."""
        with self._lock:
            self._held.update({number: (until, group) for number, group in groups.items()})

    def put_down(self, numbers: Sequence[int]) -> None:
        """Let go of what is done, or given back."""
        with self._lock:
            for number in numbers:
                self._held.pop(number, None)


class InHandFile:
    """The numbers of what the process has in hand, for the one that comes after it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def write(self, numbers: Sequence[int]) -> None:
        """Replace what the file says. On a full disk it says what it said: the store itself will report that."""
        with suppress(OSError):
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # The count comes first, so that the file never need shrink.
            os.pwrite(self._file, struct.pack(f"<{len(numbers) + 1}q", len(numbers), *numbers), 0)

    def read(self) -> Sequence[int]:
        """Return what it says; nothing where there is no such file, or not a whole one."""
        try:
            return list(_numbers(self._path.read_bytes()))
        except (OSError, struct.error):
            return ()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _numbers(raw: bytes) -> Iterator[int]:
    (count,) = struct.unpack_from("<q", raw)
    yield from struct.unpack_from(f"<{count}q", raw, 8)
