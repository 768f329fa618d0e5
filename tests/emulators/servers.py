"""Programs that serve on a free port of 127.0.0.1 for as long as a block lasts, and write to a log of their own."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10


class CannotRunError(Exception):
    """A program can't be run here; the message says what is missing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(name: str, port: int, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Give the URL of a program once it listens on ``port``, and stop it at the end."""
    log = CACHE / f"{name}-{port}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            start_new_session=True,  # so that ^C is ours to answer, after the tests have ended
        )
    try:
        _wait_for(server, name, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        _stop(server)
        log.unlink()


def _wait_for(server: "subprocess.Popen[bytes]", name: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise CannotRunError(f"{name} did not start:\n{log.read_text(errors='replace')}")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    with suppress(ProcessLookupError):  # what it started and did not stop, as MiniStack does not its functions
        os.killpg(server.pid, signal.SIGKILL)
