"""How the worker's processes are getting on: a small file each, which the web process and the operator's tools read.

The file has one size and is written in place: no new name, no fsync, a few microseconds. It is gone stale, not wrong,
when its process dies.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec

from moneta.domain.limits import HEARTBEAT_AGE_S_MAX

PROCESSOR: Final = "processor"
DELIVERER: Final = "deliverer"
WORKERS: Final = (PROCESSOR, DELIVERER)
FILE_BYTES: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """One process at one moment. ``at_ms``: Unix milliseconds.

    ``lag_ms``: for how long the oldest message of its last batch had waited for the process to try it for the first
    time, and for nothing else; 0 when it is idle.
    ``depth``: how many messages it has in hand. ``turn_ms``: how long its main loop has been at one turn.
    """

    at_ms: int
    lag_ms: int = 0
    depth: int = 0
    turn_ms: int = 0


_decoder: Final = msgspec.json.Decoder(Heartbeat)


class HeartbeatFile:
    """The heartbeat of one process; ``name`` is one of ``WORKERS``."""

    def __init__(self, data_dir: Path, name: str) -> None:
        self._path = data_dir / f"{name}.alive"

    def write(self, beat: Heartbeat) -> None:
        """Replace what the file says. A disk that is full or failing is for the store to report."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, msgspec.json.encode(asdict(beat)).ljust(FILE_BYTES), 0)
            finally:
                os.close(descriptor)
        except OSError:
            return

    def read(self) -> Heartbeat | None:
        """Return the last heartbeat; None if there is none that can be read."""
        try:
            return _decoder.decode(self._path.read_bytes())
        except (OSError, msgspec.DecodeError):
            return None

    def alive(self, now_ms: int) -> Heartbeat | None:
        """Return the last heartbeat if it is young enough for its process to be alive; else None."""
        beat = self.read()
        return beat if beat is not None and now_ms - beat.at_ms < HEARTBEAT_AGE_S_MAX * 1000 else None
