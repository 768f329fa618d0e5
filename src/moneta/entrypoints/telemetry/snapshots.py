"""The figures of the other processes, as files in the data directory that the web process reads when it is asked.

A file is replaced whole, by a new name that takes its place: whoever reads sees one moment of one process. Nothing is
synced: after a power cut every process starts at 0 anyway.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from moneta.entrypoints.telemetry import metrics
from moneta.entrypoints.telemetry.figures import Figure, Figures
from moneta.entrypoints.telemetry.metrics import Source

SNAPSHOT_BYTES_MAX: Final = 1024 * 1024
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
SOURCES: Final = (Source.PROCESSOR, Source.DELIVERER, Source.SUPERVISOR)

_decoder: Final = msgspec.json.Decoder(list[Figure])


class SnapshotFile:
    """The file of one process."""

    def __init__(self, data_dir: Path, source: Source) -> None:
        self._path = data_dir / f"{source}.figures"

    def write(self, figures: Sequence[Figure]) -> None:
        """Replace what the file says. A disk that is full or failing is for the store to report."""
        beside = self._path.with_suffix(".figures-new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor, for the mode
                file.write(msgspec.json.encode(figures))
            beside.replace(self._path)
        except OSError:
            return

    def read(self) -> Sequence[Figure]:
        """Return the figures; none if there is no file that can be read."""
        try:
            return _decoder.decode(self._path.read_bytes()[:SNAPSHOT_BYTES_MAX])
        except (OSError, msgspec.DecodeError):
            return ()


def measure_process(figures: Figures) -> None:
    """Set what Linux knows of this process (proc_pid_statm(5), proc_pid_fd(5)); elsewhere only its CPU time."""
    figures.set(metrics.PROCESS_CPU, figures.source, to=time.process_time())
    try:
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names alone: cheaper than paths
    except OSError:
        return
    figures.set(metrics.PROCESS_MEMORY, figures.source, to=resident * PAGE_BYTES)
    figures.set(metrics.PROCESS_DESCRIPTORS, figures.source, to=descriptors)
