"""``python -m benchmarks.receiver CONFIG``: every trader's webhook endpoint, in one light process.

It checks nothing, since it is not what is measured: it says when what came (see ``sightings``), and answers 200,
after a delay and with a signature where its configuration says so. Not an example: a receiver must verify (``docs``).
"""

import asyncio
import hashlib
import signal
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from typing_extensions import override

from benchmarks.sightings import SIGHTING, Kind
from moneta.client import Role, keys
from moneta.domain.identifiers import UnixSeconds
from moneta.signing import base64url
from moneta.signing.chain import contract_header
from moneta.signing.jws import signing_input
from moneta.signing.keys import PrivateKey

EMPTY: Final = b"HTTP/1.1 %d \r\ncontent-length: 0\r\n\r\n"
SIGNED: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
END_OF_HEAD: Final = b"\r\n\r\n"
CONTENT_LENGTH: Final = b"\r\ncontent-length:"
SUBJECT: Final = b'"subject":"'
TYPE: Final = b'"type":"moneta.contract.'


class EndpointConfig(msgspec.Struct, frozen=True):
    """One endpoint. ``key_file``: sign in the answer with it; None: don't. ``hangs``: never answer."""

    port: int
    role: str
    delay_ms: int = 0
    key_file: str | None = None
    status: int = 200
    hangs: bool = False


class ReceiverConfig(msgspec.Struct, frozen=True):
    """All endpoints. ``notify``: the Unix socket where the load generator listens to what is seen."""

    hub: str
    notify: str
    endpoints: list[EndpointConfig]


class _Entry(msgspec.Struct):
    protected: str
    signature: str


class _Contract(msgspec.Struct):
    payload: str
    signatures: list[_Entry]


class _Data(msgspec.Struct):
    contract: _Contract


class _Message(msgspec.Struct):
    data: _Data


class _Reply(msgspec.Struct):
    contract: _Contract


_messages: Final = msgspec.json.Decoder(_Message)
_encoder: Final = msgspec.json.Encoder()


class Notices:
    """Hands on what was seen, once for every turn of the loop, to whoever is connected."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners: set[asyncio.WriteTransport] = set()
        self._unsent: list[bytes] = []

    def connected(self) -> asyncio.Protocol:
        """Return the protocol of a new listener."""
        return _Listener(self._listeners)

    def tell(self, section: int, kind: Kind, index: int, seen_ns: int) -> None:
        """Hand on one sighting."""
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(SIGHTING.pack(section, kind, index, seen_ns))

    def _send(self) -> None:
        unsent = b"".join(self._unsent)
        self._unsent.clear()
        for listener in self._listeners:
            listener.write(unsent)


class _Listener(asyncio.Protocol):
    def __init__(self, listeners: set[asyncio.WriteTransport]) -> None:
        self._listeners = listeners
        self._transport: asyncio.WriteTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport always writes
        self._listeners.add(transport)  # type: ignore[arg-type]  # likewise

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._listeners.discard(self._transport)


class Signer:
    """Signs for a publisher in its answer."""

    def __init__(self, key: PrivateKey, role: Role, hub: str) -> None:
        self._key, self._role, self._hub = key, role, hub

    def reply(self, body: bytes) -> bytes:
        """Return the answer to a request for a signature."""
        contract = _messages.decode(body).data.contract
        last = contract.signatures[-1]  # every step of this template is one role
        digest = hashlib.sha256(f"{last.protected}.{last.signature}".encode("ascii")).digest()
        protected = contract_header(
            algorithm=self._key.public.algorithm,
            key_id=self._key.public.key_id,
            issued_at=UnixSeconds(int(time.time())),
            audience=self._hub,
            role=self._role,
            prev=base64url.sha256(digest),
        )
        signature = base64url.encode(self._key.sign(signing_input(protected, contract.payload)))
        contract.signatures.append(_Entry(protected, signature))
        answer = _encoder.encode(_Reply(contract))
        return SIGNED % (len(answer), answer)


class Endpoint(asyncio.Protocol):
    """One connection of the hub to one endpoint."""

    def __init__(self, config: EndpointConfig, signer: Signer | None, notices: Notices) -> None:
        self._finalized = Kind.FINALIZED_MO if config.role == Role.MO else Kind.FINALIZED_PUBLISHER
        self._delay_s = config.delay_ms / 1000
        self._empty = EMPTY % config.status
        self._hangs = config.hangs
        self._signer = signer
        self._notices = notices
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport always writes

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(END_OF_HEAD)
        if end < 0:
            return
        start = end + len(END_OF_HEAD)
        size = content_length(self._buffer[:start])
        if len(self._buffer) < start + size:
            return
        body, self._buffer = self._buffer[start : start + size], self._buffer[start + size :]
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        seen_ns = time.monotonic_ns()
        kind_at = body.index(TYPE) + len(TYPE)
        is_request = body.startswith(b"signature_requested", kind_at)
        is_end = body.startswith(b"finalized", kind_at)
        kind = Kind.REQUESTED if is_request else self._finalized if is_end else Kind.OTHER
        subject_at = body.index(SUBJECT) + len(SUBJECT)
        _, section, index, _ = body[subject_at : body.index(b'"', subject_at)].split(b"-")
        self._notices.tell(int(section), kind, int(index), seen_ns)
        answer = self._signer.reply(body) if is_request and self._signer is not None else self._empty
        if self._hangs:
            return
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


def content_length(head: bytes) -> int:
    """Return what the head says, 0 if it says nothing."""
    lower = head.lower()
    at = lower.find(CONTENT_LENGTH)
    return 0 if at < 0 else int(lower[at + len(CONTENT_LENGTH) : lower.index(b"\r\n", at + 2)])


async def receive(config: ReceiverConfig) -> None:
    """Serve every endpoint until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    notices = Notices()
    servers = [await loop.create_unix_server(notices.connected, config.notify)]
    servers += [await _serve(loop, endpoint, config.hub, notices) for endpoint in config.endpoints]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stopped.wait()
    for server in servers:
        server.close()


async def _serve(loop: asyncio.AbstractEventLoop, config: EndpointConfig, hub: str, notices: Notices) -> asyncio.Server:
    signer = None if config.key_file is None else Signer(keys.load(Path(config.key_file)), Role(config.role), hub)
    return await loop.create_server(lambda: Endpoint(config, signer, notices), "127.0.0.1", config.port, backlog=1024)


if __name__ == "__main__":
    uvloop.run(receive(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=ReceiverConfig)))
