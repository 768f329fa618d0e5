"""A hub in processes of its own, started as a user would, and what Linux says it uses."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

MONETA: Final = Path(sys.executable).with_name("moneta")
START_S_MAX: Final = 30.0
STOP_S_MAX: Final = 20.0
WEBHOOKS_STAY_HERE: Final = ("--allow-http-webhooks", "--allow-private-webhooks")
DATABASE_FILE: Final = "moneta.db"

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024
_PSS: Final = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
_QUEUE_DEPTH: Final = re.compile(rb"^moneta_event_queue_depth ([0-9.e+]+)", re.MULTILINE)
_PENDING: Final = re.compile(rb"^moneta_deliveries_pending ([0-9.e+]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubProcess:
    """A running hub, or a baseline in its place. ``data``: its data directory; ``pid``: its supervisor's."""

    url: str
    port: int
    data: Path
    pid: int
    is_baseline: bool = False

    def pids(self) -> Sequence[int]:
        """Return the supervisor's pid and its children's."""
        return (self.pid, *children(self.pid))

    def cpu_s(self) -> float:
        """Return the CPU seconds that all its processes have used, in user and in kernel mode."""
        return sum(map(cpu_s, self.pids()))

    def pss_bytes(self) -> int:
        """Return the memory of all its processes, what they share counted once."""
        return sum(map(pss_bytes, self.pids()))

    def descriptors(self) -> int:
        """Return how many files, sockets and pipes all its processes have open."""
        return sum(1 for pid in self.pids() for _ in Path(f"/proc/{pid}/fd").iterdir())

    def backlog(self) -> int:
        """Return how many events and deliveries are accepted or owed, and not yet done; a baseline owes nothing.

        Raises:
            RuntimeError: The hub tells its figures under other names.
        """
        if self.is_baseline:
            return 0
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            exposition = connection.getresponse().read()
        finally:
            connection.close()
        return sum(_figure(pattern, exposition) for pattern in (_QUEUE_DEPTH, _PENDING))

    def token(self) -> str:
        """Return an operator's token."""
        command = [str(MONETA), "token", "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=START_S_MAX)  # noqa: S603  # ours
        return done.stdout.strip()


@contextmanager
def running_hub(
    folder: Path, *, prefix: Sequence[str] = (), port: int | None = None, options: Sequence[str] = ()
) -> Iterator[HubProcess]:
    """Make a hub in ``folder``, if there is none, and run it until the end of the block.

    ``prefix``: a command to run it under. ``port``: None for a free one. ``options``: more of ``moneta up``.

    Raises:
        RuntimeError: It does not say that it is ready; its log is in ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, port = folder / "hub", port or free_port()
    if not data.exists():
        init = [str(MONETA), "init", "--data", str(data)]
        subprocess.run(init, check=True, timeout=START_S_MAX, capture_output=True)  # noqa: S603  # our own program
    command = [*prefix, str(MONETA), "up", "--data", str(data), "--port", str(port)]
    command += [*WEBHOOKS_STAY_HERE, *options]
    with (folder / "hub.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603  # likewise
    try:
        url = _ready(process, folder)
        pid = children(process.pid)[0] if prefix else process.pid
        yield HubProcess(url=url, port=port, data=data, pid=pid)
    finally:
        stop(process, signal_pid=children(process.pid)[0] if prefix and children(process.pid) else None)


def _figure(pattern: re.Pattern[bytes], exposition: bytes) -> int:
    found = pattern.search(exposition)
    if found is None:
        raise RuntimeError(f"GET /metrics: expected {pattern.pattern!r}")
    return int(float(found.group(1)))


def _ready(process: subprocess.Popen[str], folder: Path) -> str:
    line = "" if process.stdout is None else process.stdout.readline()
    word, _, url = line.strip().partition(" ")
    if word != "ready":
        raise RuntimeError(f"the hub did not start; see {folder / 'hub.log'}")
    return url


def stop(process: subprocess.Popen[str], *, signal_pid: int | None = None) -> None:
    """End a process that we started: SIGTERM, and SIGKILL if it does not heed it."""
    if process.poll() is None:
        if signal_pid is None:
            process.send_signal(signal.SIGTERM)
        else:
            os.kill(signal_pid, signal.SIGTERM)
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S_MAX)
    if process.stdout is not None:
        process.stdout.close()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children(pid: int) -> Sequence[int]:
    """Return the pids of a process's children."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
    except FileNotFoundError:
        return []


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, in user and in kernel mode, all its threads together."""
    # The name in parentheses may hold spaces; utime and stime are the 14th and 15th field (proc_pid_stat(5)).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def pss_bytes(pid: int) -> int:
    """Return a process's proportional set size."""
    found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
    return 0 if found is None else int(found.group(1)) * _KIB
