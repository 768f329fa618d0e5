"""DynamoDB Local, fetched once by Maven into ``.cache`` (50 MB); it runs in memory. Needs ``mvn`` and a JDK."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.emulators.servers import CACHE, CannotRunError, free_port, serving

SOURCE = Path(__file__).parent / "java"
FOLDER = CACHE / "dynamodb-local-3.3.1"
FETCH_TIMEOUT_S = 600


def fetched_libraries() -> Path:
    """Return the folder with DynamoDB Local and all it needs, after Maven has fetched them if they are not there."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise CannotRunError(f"DynamoDB Local needs {tool}, which is not installed")
    libraries = FOLDER / "lib"
    if not libraries.is_dir():
        partial = FOLDER / "partial"
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
def dynamodb_local() -> Iterator[str]:
    """Give the URL of a DynamoDB Local that runs until the block ends."""
    libraries, port = fetched_libraries(), free_port()
    command = ["java", "-Xmx1g", f"-Djava.library.path={libraries}", "-cp", f"{libraries}/*"]
    # The class that keeps it to loopback is compiled as it starts.
    command += [str(SOURCE / "LoopbackOnly.java"), "-port", str(port), "-inMemory", "-sharedDb", "-disableTelemetry"]
    with serving("dynamodb-local", port, command, {}) as url:
        yield url
