"""A small HTTP server around a ``Receiver``, for a demo, a test or a service without a web framework of its own.

Plain HTTP, on the loopback interface unless told otherwise: in front of a public endpoint stands something with TLS.
"""

import socket
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock, Thread
from types import TracebackType
from typing import Any, Final, Self

from moneta.client.messages import MESSAGE_BYTES_MAX
from moneta.client.receiver import Answer, Receiver

CONNECTIONS_MAX: Final = 256
READ_TIMEOUT_S: Final = 15
STOP_POLL_S: Final = 0.02
STOP_TIMEOUT_S: Final = 10


class WebhookServer:
    """Serves a receiver at ``url`` while its ``with`` block lasts, on threads of its own.

    ``port`` 0 takes a free one. At most ``CONNECTIONS_MAX`` connections are served at a time; the others wait.
    """

    def __init__(self, receiver: Receiver, *, host: str = "127.0.0.1", port: int = 0, path: str = "/webhooks") -> None:
        self._server = _Server((host, port), receiver, path)
        self._thread = Thread(target=self._server.serve_forever, args=(STOP_POLL_S,), daemon=True)
        self.url = f"http://{host}:{self._server.server_address[1]}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def serve_forever(self) -> None:
        """Serve on the caller's thread until ``close``, without a ``with`` block."""
        self._server.serve_forever(STOP_POLL_S)

    def close(self) -> None:
        """Stop taking requests, and end the connections."""
        self._server.shutdown()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)
        self._server.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], receiver: Receiver, path: str) -> None:
        self.receiver = receiver
        self.path = path
        self._slots = BoundedSemaphore(CONNECTIONS_MAX)
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # type: ignore[explicit-override]  # typing has it from 3.12; Any: as in the stubs
        self._slots.acquire()
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # type: ignore[explicit-override]  # typing has it from 3.12; Any: as in the stubs
        super().shutdown_request(request)
        with self._lock:
            self._open.discard(request)
        self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # type: ignore[explicit-override]  # typing has it from 3.12; Any: as in the stubs
        """Say nothing: a connection that broke is the hub's to report, and it does."""

    def close(self) -> None:
        self.server_close()
        with self._lock:
            for connection in self._open:
                # Wakes the thread that waits there for the next request; it closes the socket itself.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = READ_TIMEOUT_S
    wbufsize = -1  # one write an answer: headers and body in two would wait for each other's acknowledgement
    disable_nagle_algorithm = True
    server_version = "moneta-client"
    sys_version = ""

    def do_POST(self) -> None:
        """Answer one webhook."""
        length = self.headers.get("Content-Length", "")
        if self.path != self.server.path:
            self._refuse(404)
        elif not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            self._refuse(411)
        elif len(length) > len(str(MESSAGE_BYTES_MAX)) or int(length) > MESSAGE_BYTES_MAX:
            self._refuse(413)
        else:
            self._answer(int(length))

    def log_message(self, format: str, *args: object) -> None:  # type: ignore[explicit-override]  # noqa: A002  # typing has it from 3.12; the library's name
        """Say nothing: ``decide`` and ``notice`` are where a program logs."""

    def _answer(self, length: int) -> None:
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        try:
            answer = self.server.receiver.handle(self.headers.items(), body)
        except Exception:
            self._refuse(500)
            raise
        answer.send(self)

    def _refuse(self, status: int) -> None:
        self.close_connection = True  # the body was not read, so the next request can't be found behind it
        Answer(status=status, headers={"Content-Length": "0", "Connection": "close"}, body=b"").send(self)
