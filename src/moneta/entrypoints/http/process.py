"""The web process's main: one server, and five file descriptors that tie it to the rest of the hub.

``lifeline``: closed when the supervisor is gone, however it went. ``processor``, ``deliverer``: take a byte whenever
there may be work for one. ``ready``: takes one line when requests are taken. ``listener``: the socket, bound by the
supervisor.
"""

import os
import select
import signal
import socket
import threading

import structlog

from moneta.bootstrap import opened
from moneta.entrypoints.http.server import serve
from moneta.entrypoints.logs import configure_logs
from moneta.entrypoints.pipes import waker
from moneta.entrypoints.telemetry.metrics import Source
from moneta.entrypoints.telemetry.process import telemetry_of
from moneta.settings import Settings

log = structlog.get_logger()


def main(settings: Settings, *, lifeline: int, processor: int, deliverer: int, ready: int, listener: int) -> int:
    """Serve until told to stop; return the exit code."""
    configure_logs(settings.log_level, process="web")
    threading.Thread(target=_follow, args=(lifeline,), daemon=True, name="lifeline").start()
    with telemetry_of(settings, Source.WEB) as telemetry, opened(settings, observer=telemetry.observer) as hub:
        serve(
            hub,
            listener=socket.socket(fileno=listener),
            ready=lambda port: _say_ready(ready, port),
            wake_processor=waker(processor),
            wake_deliverer=waker(deliverer),
            figures=telemetry.figures,
            traces=telemetry.traces,
            settings=settings,
        )
    log.info("web_stopped")
    return 0


def _say_ready(descriptor: int, port: int) -> None:
    log.info("web_started", port=port)
    os.write(descriptor, b"ready\n")


def _follow(lifeline: int) -> None:
    """Stop when the supervisor is gone: it never writes, so there is something to read only at its end."""
    select.select([lifeline], [], [])  # not a read: all processes share the pipe, and one may have made it non-blocking
    os.kill(os.getpid(), signal.SIGTERM)
