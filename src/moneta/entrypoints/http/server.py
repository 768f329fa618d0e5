"""The web process: uvicorn on one socket, guarded, quiet, and gone within seconds when it is asked to go."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import cast

from typing_extensions import override
from uvicorn import Config, Server

from moneta.application.ports import Hub
from moneta.domain.limits import KEEP_ALIVE_S_MAX, SHUTDOWN_S_MAX
from moneta.entrypoints.http.app import WebApp
from moneta.entrypoints.http.protocol import GuardedProtocol
from moneta.entrypoints.telemetry.figures import Figures
from moneta.entrypoints.telemetry.tracing import Traces
from moneta.settings import Settings

BACKLOG: int = 2_048
TICKS_PER_SECOND = 10
ACCEPTS_PER_TURN = 16
"""Connections that one turn of the event loop takes.

libuv takes one for each listening descriptor (since 1.46), so that under load, when a turn takes milliseconds, two
hundred that come together would wait for seconds. So there are as many descriptors of the one socket. Each costs a new
connection a call to accept(2) that finds nothing.
"""


class GuardedServer(Server):
    """uvicorn's server; it tells when it is ready, closes late connections, and ends without raising the signal again.

    ``ready`` is called once, with the port, when requests are taken.
    """

    def __init__(self, config: Config, *, ready: Callable[[int], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready(self.servers[0].sockets[0].getsockname()[1])

    @override
    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_SECOND == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                cast(GuardedProtocol, connection).close_if_late(now)  # the config names no other class
        return await super().on_tick(counter)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets=sockets)
        for connection in list(self.server_state.connections):  # over TLS, a client may never say goodbye
            cast(GuardedProtocol, connection).transport.abort()
        await asyncio.sleep(0)

    @override
    def run(self, sockets: list[socket.socket] | None = None) -> None:
        doubled = [again for one in sockets or [] for again in (one, *(one.dup() for _ in range(ACCEPTS_PER_TURN - 1)))]
        try:
            super().run(sockets=doubled or None)
        except OSError as error:
            # uvloop won't close while a TLS handshake is under way. The process ends now, and the handshake with it.
            if error.errno != errno.EBUSY:
                raise

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain and return; uvicorn would raise the signal again at the end, and so never exit 0."""
        self.should_exit = True


def serve(
    hub: Hub,
    *,
    listener: socket.socket,
    ready: Callable[[int], None],
    wake_processor: Callable[[], None],
    wake_deliverer: Callable[[], None],
    settings: Settings,
    figures: Figures | None = None,
    traces: Traces | None = None,
) -> None:
    """Serve ``hub`` until SIGTERM or SIGINT, then drain for at most ``SHUTDOWN_S_MAX`` and return.

    ``listener`` is bound, and closed at the end. ``ready`` is called with its port when requests are taken;
    ``wake_processor`` after each batch of accepted events, from another thread, and must be quick; both ``wake`` after
    each change. Of ``settings``, the certificate, the data directory and the rate limit count. ``figures``,
    ``traces``: this process's.

    Raises:
        OSError: The certificate can't be read.
    """
    app = WebApp(
        hub,
        wake_processor=wake_processor,
        wake_deliverer=wake_deliverer,
        data_dir=settings.data_dir,
        figures=figures,
        rate_limit=settings.rate_limit,
        rate_burst=settings.rate_burst,
        traces=traces,
    )

    def on_ready(port: int) -> None:
        ready(port)
        app.load()

    try:
        server = make_server(app, ready=on_ready, tls_cert=settings.tls_cert, tls_key=settings.tls_key)
        server.run(sockets=[listener])
    finally:
        app.close()
        listener.close()


def make_server(
    app: WebApp, *, ready: Callable[[int], None], tls_cert: Path | None = None, tls_key: Path | None = None
) -> GuardedServer:
    """Return the server, configured; its ``run`` takes the socket."""
    config = Config(
        app,
        http=GuardedProtocol,
        loop="uvloop",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",  # what it would say is said by us, without the request's bytes
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S_MAX,
        timeout_graceful_shutdown=SHUTDOWN_S_MAX,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return GuardedServer(config, ready=ready)
