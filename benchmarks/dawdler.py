"""``python -m benchmarks.dawdler CONFIG``: clients that keep the hub waiting, each on a connection of its own.

Some send their headers a line a second, some their body ten bytes a second, some read no answer, and some say nothing.
All are opened within seconds. It prints ``open`` when all are, and at the end of its input, as JSON, for how long those
that can tell were kept: who does not read does not see that it was closed.
"""

import asyncio
import socket
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from typing_extensions import override

OPEN_PER_S: Final = 1_000
BATCH_S: Final = 0.02
PHASES: Final = 50
"""The connections send in turn, one part of so many of them at a time, so that they are no burst."""
RECEIVE_BYTES: Final = 2_048
SEGMENT_BYTES: Final = 536
"""Small ones keep small what the kernel takes of an answer that nobody reads."""


class DawdlerConfig(msgspec.Struct, frozen=True):
    """How many of each kind. ``token``: a good one, for those whose head is quick."""

    port: int
    token: str
    headers: int
    bodies: int
    readers: int
    silent: int


class Dawdler(asyncio.Protocol):
    """One connection. ``first``: what it sends at once; ``again``: what it sends each second."""

    def __init__(self, first: bytes, again: bytes) -> None:
        self._first, self._again = first, again
        self._transport: asyncio.Transport | None = None
        self.opened_at = self.closed_at = 0.0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport always writes
        self.opened_at = time.monotonic()
        if self._first:
            transport.write(self._first)  # type: ignore[attr-defined]  # likewise

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.closed_at = time.monotonic()

    def go_on(self) -> None:
        """Send a little more."""
        if self._transport is not None and self._again:
            self._transport.write(self._again)


async def dawdle(config: DawdlerConfig) -> dict[str, float]:
    """Open everything, go on until the end of the input, and return for how long connections were kept."""
    loop = asyncio.get_running_loop()
    input_ended = loop.run_in_executor(None, sys.stdin.read)
    kinds = [kind for kind in _KINDS for _ in range(getattr(config, kind))]
    connections: list[Dawdler] = []
    unread: list[socket.socket] = []
    for number, kind in enumerate(kinds):
        first, again = (part % {b"token": config.token.encode("ascii")} for part in _KINDS[kind])
        if kind == "readers":
            unread.append(await _unread(loop, config.port, first))
        else:
            _, one = await loop.create_connection(lambda f=first, a=again: Dawdler(f, a), "127.0.0.1", config.port)  # type: ignore[misc]  # a default
            connections.append(one)
        if number % round(OPEN_PER_S * BATCH_S) == 0:
            await asyncio.sleep(BATCH_S)
    print("open", flush=True)
    phase = 0
    while not input_ended.done():
        for one in connections[phase % PHASES :: PHASES]:
            one.go_on()
        phase += 1
        await asyncio.sleep(1 / PHASES)
    for waiting in unread:
        waiting.close()
    now = time.monotonic()
    kept = [(one.closed_at or now) - one.opened_at for one in connections]
    return {"kept_s_max": max(kept, default=0.0), "still_open": sum(not one.closed_at for one in connections)}


async def _unread(loop: asyncio.AbstractEventLoop, port: int, request: bytes) -> socket.socket:
    """Return a connection with an answer on its way that is never read."""
    connection = socket.socket()
    connection.setblocking(False)  # noqa: FBT003  # its only form
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.sock_sendall(connection, request)
    return connection


_BODY_HEAD: Final = (
    b"POST /event HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    b"authorization: Bearer %(token)b\r\ncontent-length: 2000\r\n\r\n"
)
# fmt: off
_KINDS: Final = {
    # what it sends at once, and each second
    "headers": (b"POST /event HTTP/1.1\r\nhost: x\r\n", b"x-a: b\r\n"),
    "bodies":  (_BODY_HEAD,                               b"          "),
    "readers": (b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n", b""),
    "silent":  (b"", b""),
}
# fmt: on

if __name__ == "__main__":
    told = uvloop.run(dawdle(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=DawdlerConfig)))
    print(msgspec.json.encode(told).decode(), flush=True)
