"""Run a command beside DynamoDB Local: ``python tests/dynamodb_local.py COMMAND...``, with MONETA_DYNAMODB_URL set.

Maven fetches it once, into ``.cache`` (50 MB). It runs in memory, on a free port of 127.0.0.1, for as long as the
command does. Needs ``mvn`` and a JDK: the class that keeps it to loopback is compiled as it starts.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).parent / "aws" / "dynamodb_local"
CACHE = Path(__file__).parents[1] / ".cache" / "dynamodb-local-3.3.1"
FETCH_TIMEOUT_S = 600
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10


class CannotRunError(Exception):
    """DynamoDB Local can't be run here; the message says what is missing."""


def fetched_libraries() -> Path:
    """Return the folder with DynamoDB Local and all it needs, after Maven has fetched them if they are not there."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise CannotRunError(f"DynamoDB Local needs {tool}, which is not installed")
    libraries = CACHE / "lib"
    if not libraries.is_dir():
        partial = CACHE / "partial"
        sys.stderr.write("fetching DynamoDB Local through Maven, once\n")
        command = ["mvn", "-q", "-B", "-f", str(SOURCE / "pom.xml"), "dependency:copy-dependencies"]
        fetched = subprocess.run(
            [*command, f"-DoutputDirectory={partial}"], check=False, timeout=FETCH_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
        if fetched.returncode != 0:
            raise CannotRunError("DynamoDB Local could not be fetched through Maven")
        partial.rename(libraries)
    return libraries


@contextmanager
def running() -> Iterator[str]:
    """Give the URL of a DynamoDB Local that runs until the block ends."""
    libraries, port = fetched_libraries(), _free_port()
    command = ["java", "-Xmx1g", f"-Djava.library.path={libraries}", "-cp", f"{libraries}/*"]
    command += [str(SOURCE / "LoopbackOnly.java"), "-port", str(port), "-inMemory", "-sharedDb", "-disableTelemetry"]
    log = CACHE / f"{port}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        _wait_for(server, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        _stop(server)
        log.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise CannotRunError(f"DynamoDB Local did not start (it needs a JDK):\n{log.read_text(errors='replace')}")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def main(command: list[str]) -> int:
    """Run ``command`` beside DynamoDB Local, and return its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the server is stopped too
    try:
        with running() as url:
            return subprocess.run(command, check=False, env={**os.environ, "MONETA_DYNAMODB_URL": url}).returncode
    except CannotRunError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
