"""Serves a baseline on the hub's own web server, so that only what stands behind it differs."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.hub_process import HubProcess, stop
from benchmarks.session import await_line
from moneta.entrypoints.http.server import make_server
from moneta.entrypoints.listener import listening_socket

HOST: Final = "127.0.0.1"


def serve_application(app: object, port: int) -> None:
    """Serve the ASGI application ``app`` until SIGTERM; print ``ready`` when it takes requests."""
    gc.collect()
    gc.freeze()  # as the hub does
    with listening_socket(HOST, port) as listener:
        make_server(app, ready=lambda _: print("ready", flush=True)).run(sockets=[listener])  # type: ignore[arg-type]  # any application serves


@contextmanager
def running_baseline(module: str, *, port: int, data: Path) -> Iterator[HubProcess]:
    """Run ``python -m benchmarks.<module> DATA PORT`` in the hub's place until the end of the block."""
    command = [sys.executable, "-m", f"benchmarks.{module}", str(data), str(port)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own program
    try:
        await_line(program, "ready")
        yield HubProcess(url=f"http://{HOST}:{port}", port=port, data=data, pid=program.pid, is_baseline=True)
    finally:
        stop(program)


async def read_body(receive: object) -> bytes:
    """Return the body of a request, whole."""
    parts, is_more = [], True
    while is_more:  # until the end of the body, which the server sees to
        message = await receive()  # type: ignore[operator]  # ASGI's
        parts.append(message.get("body", b""))
        is_more = message.get("more_body", False)
    return b"".join(parts)
