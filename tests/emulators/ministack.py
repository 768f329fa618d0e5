"""MiniStack: the other services. It pins botocore, so it has a venv of its own in ``.cache``, made once by uv."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.emulators.servers import CACHE, CannotRunError, free_port, serving

REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "ministack.txt"
FETCH_TIMEOUT_S = 600


def installed_python() -> Path:
    """Return the interpreter of a venv with MiniStack and all it needs, after they were installed if they are not."""
    venv = CACHE / f"ministack-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
    python, is_complete = venv / "bin" / "python", venv / ".complete"
    if not is_complete.exists():
        sys.stderr.write("installing MiniStack, once\n")
        uv = Path(sys.executable).with_name("uv")
        install = [uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", REQUIREMENTS]
        for command in ([sys.executable, "-m", "venv", "--without-pip", "--clear", venv], install):
            if subprocess.run(command, check=False, timeout=FETCH_TIMEOUT_S, stdin=subprocess.DEVNULL).returncode:
                raise CannotRunError("MiniStack could not be installed")
        is_complete.touch()
    return python


@contextmanager
def ministack(others: Mapping[str, str] | None = None) -> Iterator[str]:
    """Give the URL of a MiniStack that runs until the block ends, listening on loopback alone.

    ``others``: variables of its environment beside ours.
    """
    python, port = installed_python(), free_port()
    environment = {
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "PERSIST_STATE": "0",
        **(others or {}),
    }
    with serving("ministack", port, [str(python), "-m", "ministack"], environment) as url:
        yield url
