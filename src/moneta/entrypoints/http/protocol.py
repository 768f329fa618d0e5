"""The HTTP/1.1 connection: uvicorn's, with the limits on time and size that it leaves to somebody else.

uvicorn closes an idle connection after an answer, and no other: not one that never sends its first byte, sends a
header a minute, dribbles a body, or doesn't read its answer; and httptools puts no limit on the head of a request.
Here every wait for the client has a deadline, which what it sends does not move, and the head has a size.
The server looks at the deadlines once a second, so that they cost a request two assignments and no timer.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import Any, Final

import msgspec
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from moneta.application.problems import problem_document
from moneta.domain.errors import MalformedRequestError
from moneta.domain.limits import (
    ANSWER_S_MAX,
    CONNECTIONS_MAX,
    HEAD_BYTES_MAX,
    HEAD_S_MAX,
    KEEP_ALIVE_S_MAX,
    REQUEST_S_MAX,
)
from moneta.entrypoints.answers import PROBLEM, Answer

NO_DEADLINE: Final = float("inf")

_INT: Final = struct.Struct("i")
_RESET: Final = struct.pack("ii", 1, 0)
"""Linger, and for no time (socket(7))."""

NOT_HTTP: Final = MalformedRequestError(f"the request is not HTTP/1.1 with a head of at most {HEAD_BYTES_MAX} bytes")


class HeadTooLargeError(Exception):
    """The request line and the headers have more bytes than the limit."""


class FramingError(Exception):
    """The head does not say, once and clearly, whom it is for and where its body ends."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection. ``reading_by``, ``writing_by``, ``taking_by``: when the client must have moved on.

    By the loop's clock: with what it sends, with an answer that waits for it here, with one that waits in the kernel.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # as uvicorn has it
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.reading_by = NO_DEADLINE
        self.writing_by = NO_DEADLINE
        self.taking_by = NO_DEADLINE
        self._is_in_head = False
        self._head_bytes = 0

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()

    @override
    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:  # idle until now; anything it sends starts the clock
            self._await_head()
        was_in_head = self._is_in_head
        super().data_received(data)
        # A header without an end reaches no callback, so the bytes are counted here too.
        if was_in_head and self._is_in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("")

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()
        self._is_in_head = True
        self._head_bytes = 0

    @override
    def on_headers_complete(self) -> None:
        size = len(self.url) + sum([len(name) + len(value) for name, value in self.headers])
        if size > HEAD_BYTES_MAX:
            raise HeadTooLargeError  # httptools hands it on as a parser error, and that is answered 400
        _check_framing(self.headers, self.parser.get_http_version())
        self._is_in_head = False
        self.reading_by += (
            REQUEST_S_MAX - HEAD_S_MAX
        )  # from where the head began: who is slow in both is no longer kept
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        self.reading_by = NO_DEADLINE
        if self.cycle.response_complete and self.timeout_keep_alive_task is None:
            # Answered before its body had come: the rest of it ended the idle time that uvicorn counts.
            self.reading_by = self.loop.time() + KEEP_ALIVE_S_MAX
        super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        if self.expect_100_continue and self.cycle.more_body:
            # Refused before it said "continue": whether the body comes all the same is the client's to choose, so
            # that nobody can tell where the next request begins (RFC 9110, section 10.1.1).
            self.transport.close()
        super().on_response_complete()
        self.taking_by = self.loop.time() + ANSWER_S_MAX
        if self.transport.is_closing():
            self._await_reader()

    @override
    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._await_reader()

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self.writing_by = NO_DEADLINE

    @override
    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP: the parser can't be trusted after it, so the connection ends."""
        answer = Answer(
            status=400,
            body=msgspec.json.encode(problem_document(NOT_HTTP)),
            media_type=PROBLEM,
            headers=((b"connection", b"close"),),
        )
        lines = [name + b": " + value + b"\r\n" for name, value in answer.all_headers()]
        self.transport.write(b"".join([STATUS_LINE[answer.status], *lines, b"\r\n", answer.body]))
        self.transport.close()
        self._await_reader()

    def close_if_late(self, now: float) -> None:
        """Close the connection if the client has kept the hub waiting."""
        if now > self.writing_by or self._leaves_its_answer(now):
            _reset(self.transport)
        elif now > self.reading_by and not self.transport.is_closing():
            self.transport.close()
            self._await_reader()

    def _leaves_its_answer(self, now: float) -> bool:
        """Tell whether the last answer is still on its way to a client that has had its time; asked once an answer.

        The kernel takes more of an answer than most have, so the server under us sees an idle connection.
        """
        if now <= self.taking_by:
            return False
        self.taking_by = NO_DEADLINE
        return _unacknowledged_bytes(self.transport) > 0

    def _await_head(self) -> None:
        self.reading_by = self.loop.time() + HEAD_S_MAX

    def _await_reader(self) -> None:
        self.writing_by = self.loop.time() + ANSWER_S_MAX


def _unacknowledged_bytes(transport: asyncio.Transport) -> int:
    """Return how much of what was sent the other side has not taken (SIOCOUTQ, tcp(7)); 0 where that can't be told."""
    with suppress(OSError):
        asked = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(_INT.size))
        return int(_INT.unpack(asked)[0])
    return 0


def _reset(transport: asyncio.Transport) -> None:
    """Close a connection with what waits in it: the kernel would go on offering that to a client for minutes."""
    with suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _check_framing(headers: list[tuple[bytes, bytes]], version: str) -> None:
    """Refuse what a front and the hub could read as two different requests.

    RFC 9112: one Host in HTTP/1.1, without a space (section 3.2), and no transfer coding but chunked (section 6.1).
    """
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and version != "1.0") or any(b" " in host for host in hosts):
        raise FramingError
    if any(value.lower() != b"chunked" for name, value in headers if name == b"transfer-encoding"):
        raise FramingError
