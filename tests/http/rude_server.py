"""A receiver that answers with any bytes, and a sender that may reach it. Everything stays on loopback."""

import asyncio
import contextlib

from moneta.adapters.http_sender import HTTPSender
from moneta.application.ports import OutboundRequest

HUB = "127.0.0.1"
"""Where the hub itself lives, and what an attacker wants to reach."""
PUBLIC_HOST = "127.0.0.2"
"""Plays a partner's host, on the same port."""
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """An HTTP server as rude as the test asks: it answers any request with the bytes it was given for the path."""

    def __init__(self, answers=None, *, greeting=b"", pause_s=0.0, hangs_up=False):
        self.answers = answers or {}
        self.greeting = greeting
        self.pause_s = pause_s
        self.hangs_up = hangs_up
        self.connections = 0
        self.requests = []
        self.is_asked = asyncio.Event()
        self._servers = []
        self._open = {}

    async def start(self, host, port=0, tls=None):
        server = await asyncio.start_server(self._serve, host, port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        self._servers.append(server)
        return self

    async def _serve(self, reader, writer):
        self.connections += 1
        self._open[writer] = asyncio.current_task()
        writer.write(self.greeting)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not self.hangs_up or not self.requests:
                await self._answer(reader, writer)
        writer.close()
        del self._open[writer]

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append((first, headers, body))
        self.is_asked.set()
        pieces = self.answers.get(first.split()[1], OK)
        for piece in [pieces] if isinstance(pieces, bytes) else pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(self.pause_s)

    async def stop(self):
        for server in self._servers:
            server.close()
        tasks = list(self._open.values())
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def serving(*, host=HUB, port=0, tls=None, **manner):
    server = await Server(**manner).start(host, port, tls)
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def sending(**arguments):
    sender = HTTPSender(**{"allow_http": True, "allow_private": True, **arguments})
    try:
        yield sender
    finally:
        await sender.close()


def answering(*addresses):
    async def resolve(name):
        return list(addresses)

    return resolve


def post(url, body=b"{}", **headers):
    return OutboundRequest(url=url, headers=headers, body=body)
