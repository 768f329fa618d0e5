"""What a receiver can do wrong, each by a real one on loopback through the real sender, and what the hub makes of it.

``docs/deliveries.md`` has the same rows; a test compares.
"""

import asyncio
import gzip
import itertools
import re
import socket
import ssl
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path

import pytest
import trustme

from moneta.adapters.http_sender import Timeouts, pinned_builder
from moneta.application.deliver_webhooks import prepare_attempts, record_attempts, sign_of
from moneta.domain.identifiers import UnixMillis
from moneta.domain.limits import RETRY_SCHEDULE_S
from tests.http.rude_server import HUB, answering, sending, serving
from tests.scenarios.play import Play
from tests.signing_examples import NOW

PAGE = Path(__file__).parents[2] / "docs" / "deliveries.md"
ROW = re.compile(r"\| (\S.*?) \| `(\S+)` \| (\w+) \| (\w+) \| (\S.*?) \|")
QUICK = Timeouts(attempt_s=0.4, resolve_s=0.2)
DAY_MS = 86_400_000
HEAD = b"HTTP/1.1 200 OK\r\n"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def reset(writer):
    """Close so that the other side gets a reset and no end of the stream."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def resets_when_asked(reader, writer):
    await reader.read(1)
    reset(writer)


async def resets_in_its_answer(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"Content-Length: 9\r\n\r\n{}")
    await writer.drain()
    await asyncio.sleep(0.05)
    reset(writer)


async def hangs_up_when_asked(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def greets_as_smtp(reader, writer):
    writer.write(b"220 smtp\r\n")
    await reader.read(1)
    writer.close()


async def no_such_name(name):
    raise OSError(-2, "Name or service not known")


async def silence(*_):
    await asyncio.sleep(3_600)


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """How a receiver behaves. ``answer``: to any request. ``handle``: in place of it. ``certificate``: serves TLS."""

    answer: object = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    pause_s: float = 0.0
    hangs_up: bool = False
    handle: object = None
    is_listening: bool = True
    scheme: str = "http"
    certificate: object = None
    resolver: object = answering(HUB)
    sender: dict = field(default_factory=dict)


def status(code, *lines):
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {code} X", "Content-Length: 0", *lines))
    return Receiver(answer=f"{head}\r\n".encode())


def says(*pieces, **manner):
    return Receiver(answer=pieces[0] if len(pieces) == 1 else itertools.chain(*pieces), hangs_up=True, **manner)


def drips(start, drop):
    return Receiver(answer=itertools.chain([start], itertools.repeat(drop)), pause_s=0.02)


def tls(*names, is_trusted=True, **certificate):
    return Receiver(scheme="https", certificate=(names, is_trusted, certificate))


def at_another_address(*addresses):
    return Receiver(resolver=answering(*addresses), sender={"allow_private": False})


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
A_CHUNK = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
BOMB = gzip.compress(bytes(20_000_000))
SOON = formatdate(NOW + 300, usegmt=True)

# What becomes of the delivery, what it tells of the endpoint, and when the delivery is tried again.
FAILS = ("pending", "failed", "schedule")
REFUSES = ("pending", "answered", "schedule")
DELIVERS = ("delivered", "answered", "none")
FAULTS = {
    "refuses the connection": (Receiver(is_listening=False), "connect", *FAILS),
    "stalls the TLS handshake": (Receiver(scheme="https", handle=silence), "timeout", *FAILS),
    "resets the connection when it is asked": (Receiver(handle=resets_when_asked), "protocol", *FAILS),
    "hangs up when it is asked": (Receiver(handle=hangs_up_when_asked), "protocol", *FAILS),
    "resets the connection in its answer": (Receiver(handle=resets_in_its_answer), "protocol", *FAILS),
    "takes the request and never answers": (Receiver(answer=b""), "timeout", *FAILS),
    "stops in the head": (Receiver(answer=HEAD + b"X: a"), "timeout", *FAILS),
    "drips its head": (drips(HEAD, b"X: a\r\n"), "timeout", *FAILS),
    "stops in the body": (Receiver(answer=HEAD + b"Content-Length: 9\r\n\r\n{}"), "too_slow", *FAILS),
    "drips its body": (drips(HEAD + b"Content-Length: 9999\r\n\r\n", b"x"), "too_slow", *FAILS),
    "sends headers without end": (says([HEAD], itertools.repeat(b"X: a\r\n" * 99)), "protocol", *FAILS),
    "sends informational answers without end": (drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "timeout", *FAILS),
    "speaks another protocol": (says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol", *FAILS),
    "speaks HTTP/0.9": (says(b"<p>OK</p>\r\n\r\n"), "protocol", *FAILS),
    "sends a bad status line": (says(b"HTTP/1.1 OK 200\r\n\r\n"), "protocol", *FAILS),
    "gives two lengths": (says(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), "protocol", *FAILS),
    "ends before the length it gave": (says(HEAD + b"Content-Length: 9\r\n\r\n{}"), "protocol", *FAILS),
    "sends a bad chunk": (says(CHUNKED + b"zz\r\nab\r\n"), "protocol", *FAILS),
    "ends within a chunk": (says(CHUNKED + b"9\r\n{}"), "protocol", *FAILS),
    "speaks no TLS at an https address": (Receiver(scheme="https", handle=greets_as_smtp), "tls", *FAILS),
    "has a certificate of another name": (tls("other.example"), "tls", *FAILS),
    "has a certificate that expired": (tls("hub.example", not_after=YESTERDAY), "tls", *FAILS),
    "has a certificate that nobody vouches for": (tls("hub.example", is_trusted=False), "tls", *FAILS),
    "has a name that DNS does not know": (Receiver(resolver=no_such_name), "dns", *FAILS),
    "has a name server that says nothing": (Receiver(resolver=silence), "dns", *FAILS),
    "has a name that leads to a private address": (at_another_address("10.0.0.7"), "refused_address", *FAILS),
    "has one private address among others": (at_another_address("93.184.215.14", HUB), "refused_address", *FAILS),
    "answers 500": (status(500), "500", *FAILS),
    "answers 503 and says for how long": (
        status(503, f"Retry-After: {SOON}"),
        "503",
        "pending",
        "deferred",
        "after 300 s",
    ),
    "answers 429 and says for how long": (status(429, "Retry-After: 120"), "429", "pending", "deferred", "after 120 s"),
    "answers 429 and no more": (status(429), "429", *FAILS),
    "answers 408": (status(408), "408", *FAILS),
    "answers 404": (status(404), "404", *REFUSES),
    "redirects, 301": (status(301, "Location: /next"), "301", *REFUSES),
    "redirects, 307": (status(307, "Location: /next"), "307", *REFUSES),
    "answers 410": (status(410), "410", "pending", "answered", "when enabled"),
    "answers 204 with a body": (says(b"HTTP/1.1 204 X\r\nContent-Length: 2\r\n\r\n{}"), "204", *DELIVERS),
    "answers in an unknown encoding": (
        says(HEAD + b"Content-Encoding: moneta\r\nContent-Length: 2\r\n\r\n{}"),
        "200",
        *DELIVERS,
    ),
    "answers with a compressed bomb": (
        says(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
        "200",
        *DELIVERS,
    ),
    "answers with 50 MB": (says(HEAD + b"Content-Length: 50000000\r\n\r\n" + b"x" * 50_000_000), "200", *DELIVERS),
    "answers without end": (says([CHUNKED], itertools.repeat(A_CHUNK)), "200", *DELIVERS),
}


@asynccontextmanager
async def listening(receiver, certified):
    """Run the receiver, and give its port."""
    context = None
    if certified is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certified.configure_cert(context)
    if receiver.handle is None:
        manner = {"answers": {"/hook": receiver.answer}, "pause_s": receiver.pause_s, "hangs_up": receiver.hangs_up}
        async with serving(tls=context, **manner) as server:
            yield server.port
        return
    connected = []

    async def handle(reader, writer):
        connected.append((asyncio.current_task(), writer))
        await receiver.handle(reader, writer)

    server = await asyncio.start_server(handle, HUB, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for task, writer in connected:
        task.cancel()
        writer.transport.abort()
    await asyncio.gather(*(task for task, _ in connected), return_exceptions=True)


async def came_of(receiver, request):
    """Return what the sender makes of the receiver."""
    authority = trustme.CA()
    names, is_trusted, members = receiver.certificate or ((), True, {})
    certified = authority.issue_cert(*names, **members) if names else None

    def make_client(endpoint, address):
        builder = pinned_builder(endpoint, address)
        return (builder.add_root_certificate_pem(authority.cert_pem.bytes()) if is_trusted else builder).build()

    options = {"resolver": receiver.resolver, "timeouts": QUICK, "make_client": make_client, **receiver.sender}
    async with listening(receiver, certified) as port:
        if receiver.is_listening:
            async with sending(**options) as sender:
                return await sender.send(replace(request, url=f"{receiver.scheme}://hub.example:{port}/hook"))
    async with sending(**options) as sender:  # its port is free again
        return await sender.send(replace(request, url=f"{receiver.scheme}://hub.example:{port}/hook"))


@pytest.fixture
def play(house):
    return Play(house)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_lands_in_its_class(play, fault):
    receiver, recorded, delivery, sign, next_attempt = FAULTS[fault]
    hub, publisher = play.house.hub, play.publisher.organization_id
    play.does("mo submits")
    (prepared,) = prepare_attempts(hub, hub.deliveries.take_due(now=hub.clock.now_ms(), limit=9, lease_s=60))
    came = asyncio.run(came_of(receiver, prepared.request))
    disabled = record_attempts(hub, [(prepared, came)]).disabled
    record = hub.deliveries.find(prepared.due.owed.webhook_id)
    (attempt,) = record.attempts
    assert str(attempt.http_status or attempt.failure) == recorded
    assert record.status == delivery
    assert sign_of(came, now=prepared.started_at)[0] == sign
    assert bool(disabled) is (next_attempt == "when enabled")
    assert (hub.directory.endpoint_health([publisher])[publisher].failing_since is None) is (delivery == "delivered")
    assert when(record, hub, prepared.started_at) == next_attempt


def when(record, hub, started_at):
    """Say when a delivery is tried again."""
    if not hub.deliveries.take_due(now=UnixMillis(started_at + DAY_MS), limit=9, lease_s=60):
        return "none" if record.status == "delivered" else "when enabled"
    wait_s = (record.next_attempt_at - started_at) / 1000
    return "schedule" if wait_s <= RETRY_SCHEDULE_S[1] else f"after {wait_s:.0f} s"


def test_the_page_has_the_same_rows():
    rows = [match.groups() for line in PAGE.read_text(encoding="utf-8").splitlines() if (match := ROW.fullmatch(line))]
    assert rows == [(fault, *columns) for fault, (_, *columns) in FAULTS.items()]
