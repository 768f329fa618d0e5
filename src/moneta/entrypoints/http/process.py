"""The web process's main: one server, and four file descriptors that tie it to the rest of the hub.

``lifeline``: closed when the supervisor is gone, however it went. ``wake``: takes a byte whenever there may be work for
the worker. ``ready``: takes one line when requests are taken. ``listener``: the socket, bound by the supervisor. The
settings come as a line on standard input, once the supervisor has seen to it that the store is there; the imports need
not wait for that.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from moneta.bootstrap import embedded
from moneta.domain.limits import (
    HEARTBEAT_AGE_S_MAX,
)
from moneta.entrypoints.http.server import serve
from moneta.entrypoints.logs import configure_logs
from moneta.settings import Settings

HEARTBEAT_FILE: Final = "worker.alive"

log = structlog.get_logger()


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop; return the exit code. ``arguments``: lifeline, wake, ready, listener."""
    lifeline, wake, ready, listener = (int(argument) for argument in arguments)
    settings = Settings.read(sys.stdin)
    if settings is None:
        return 0
    configure_logs(settings.log_level, process="web")
    threading.Thread(target=_follow, args=(lifeline,), daemon=True, name="lifeline").start()
    with embedded(settings) as hub:
        serve(
            hub,
            listener=socket.socket(fileno=listener),
            ready=lambda port: _say_ready(ready, port),
            wake=_waker(wake),
            worker_alive=lambda: _is_young(settings.data_dir / HEARTBEAT_FILE),
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
        )
    log.info("web_stopped")
    return 0


def _say_ready(descriptor: int, port: int) -> None:
    log.info("web_started", port=port)
    os.write(descriptor, b"ready\n")


def _waker(descriptor: int) -> Callable[[], None]:
    """Return what wakes the worker. A pipe that is full already says that there is work."""

    def wake() -> None:
        try:
            os.write(descriptor, b"\x01")
        except BlockingIOError:
            return

    return wake


def _follow(lifeline: int) -> None:
    """Stop when the supervisor is gone: it never writes, so there is something to read only at its end."""
    select.select([lifeline], [], [])  # not a read: all processes share the pipe, and one may have made it non-blocking
    os.kill(os.getpid(), signal.SIGTERM)


def _is_young(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < HEARTBEAT_AGE_S_MAX  # noqa: TID251  # compared with a file's time
    except FileNotFoundError:
        return False
