"""Connections: slow, endless, garbled and cut ones are closed; those that behave are not."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
import trustme
from uvicorn import Config
from uvicorn.server import ServerState

from moneta.domain.limits import (
    ANSWER_S_MAX,
    CONNECTIONS_MAX,
    HEAD_BYTES_MAX,
    HEAD_S_MAX,
    KEEP_ALIVE_S_MAX,
    REQUEST_S_MAX,
)
from moneta.entrypoints.http.protocol import GuardedProtocol
from moneta.entrypoints.http.server import ACCEPTS_PER_TURN, make_server
from moneta.entrypoints.listener import listening_socket
from tests.http.api_server import serving

SKIPPED_S_MAX = 100
LARGE = b"x" * 30_000_000
KEPT_BY_THE_KERNEL = b"x" * 1_000_000


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock can be put forward."""

    skipped_s = 0.0

    def time(self):
        return super().time() + self.skipped_s


async def echo(scope, receive, send):
    """Read the body, unless asked not to; answer with its length, or with a great deal."""
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = {"/large": LARGE, "/kept": KEPT_BY_THE_KERNEL}.get(scope["path"], str(size).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class Guarded:
    """One connection to a guarded server, and its clock."""

    def __init__(self, loop, state, reader, writer):
        self.loop, self.state, self.reader, self.writer = loop, state, reader, writer

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0.02)

    async def skip(self, seconds):
        self.loop.skipped_s += seconds
        for connection in list(self.state.connections):
            connection.close_if_late(self.loop.time())
        await asyncio.sleep(0.02)

    @property
    def is_open(self):
        return bool(self.state.connections)


def guarded(scenario):
    """Run ``scenario`` with one connection."""

    async def run():
        config = Config(
            echo,
            http=GuardedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S_MAX,
        )
        config.load()
        loop, state = asyncio.get_running_loop(), ServerState()
        server = await loop.create_server(lambda: GuardedProtocol(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await asyncio.sleep(0.02)
        try:
            await scenario(Guarded(loop, state, reader, writer))
        finally:
            writer.close()
            server.close()
            for connection in list(state.connections):
                connection.transport.abort()
            await asyncio.sleep(0.02)

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(asyncio.wait_for(run(), 10 + SKIPPED_S_MAX))


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "limit_s"),
    [
        ([], HEAD_S_MAX),
        ([b"G"], HEAD_S_MAX),
        ([b"GET / HTTP/1.1\r\nHost: x\r\nA: "], HEAD_S_MAX),
        ([b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"], REQUEST_S_MAX),
        ([b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"], REQUEST_S_MAX),
        ([GET, b"\r\n"], HEAD_S_MAX),
        ([GET, GET[:5]], HEAD_S_MAX),
    ],
    ids=["silent", "first byte", "headers", "body", "chunks", "blank lines after an answer", "second request"],
)
def test_who_keeps_the_hub_waiting_is_closed_in_time_and_not_before(sent, limit_s):
    async def scenario(connection):
        for data in sent:
            await connection.send(data)
        await connection.skip(limit_s - 1)
        assert connection.is_open
        await connection.send(b"" if not sent or sent[-1] == b"\r\n" else b"1")  # a byte more moves no deadline
        await connection.skip(2)
        assert not connection.is_open

    guarded(scenario)


def test_who_is_slow_in_head_and_body_has_no_more_time_for_both():
    async def scenario(connection):
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n")
        await connection.skip(HEAD_S_MAX - 1)
        await connection.send(b"\r\n1")
        await connection.skip(REQUEST_S_MAX - HEAD_S_MAX)
        assert connection.is_open
        await connection.skip(2)
        assert not connection.is_open

    guarded(scenario)


def test_an_idle_connection_is_kept_for_the_next_request():
    async def scenario(connection):
        await connection.send(GET)
        await connection.skip(HEAD_S_MAX + REQUEST_S_MAX)
        assert connection.is_open
        await connection.send(GET)
        assert (await connection.reader.read(10_000)).count(b"HTTP/1.1 200 OK") >= 1

    guarded(scenario)


def test_a_connection_whose_body_came_after_its_answer_is_closed_in_the_end():
    async def scenario(connection):
        await connection.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
        await connection.send(b"}")
        await connection.skip(KEEP_ALIVE_S_MAX - 1)
        assert connection.is_open
        await connection.skip(2)
        assert not connection.is_open

    guarded(scenario)


def test_an_idle_connection_is_closed_in_the_end():
    async def scenario(connection):
        await connection.send(GET)
        await connection.skip(KEEP_ALIVE_S_MAX + 1)
        await asyncio.sleep(0.02)
        assert not connection.is_open

    guarded(scenario)


@pytest.mark.parametrize("path", [b"/large", b"/kept"])
def test_who_does_not_read_its_answer_is_cut_off(path):
    async def scenario(connection):
        connection.writer.transport.pause_reading()
        await connection.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        await connection.skip(ANSWER_S_MAX - 1)
        assert connection.is_open
        await connection.skip(2)
        assert not connection.is_open
        connection.writer.transport.resume_reading()
        with pytest.raises(ConnectionResetError):
            await connection.reader.readexactly(len(LARGE))

    guarded(scenario)


def test_who_has_read_its_answer_may_be_idle_for_longer():
    async def scenario(connection):
        await connection.send(b"GET /kept HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await connection.reader.readuntil(b"\r\n\r\n")
        await connection.reader.readexactly(len(KEPT_BY_THE_KERNEL))
        assert head.startswith(b"HTTP/1.1 200 ")
        await connection.skip(ANSWER_S_MAX + 1)
        assert connection.is_open

    guarded(scenario)


@pytest.mark.parametrize(
    "sent",
    [
        [b"GET / HTTP/1.1\r\nA: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n"],
        [b"GET /" + b"x" * HEAD_BYTES_MAX + b" HTTP/1.1\r\n\r\n"],
        [b"GET / HTTP/1.1\r\n", *[b"A: b\r\n" * 1_000] * 12],
        [b"GET / HTTP/1.1\r\nA: ", *[b"x" * 4_096] * 12],
    ],
    ids=["one header", "the path", "many headers", "a header without an end"],
)
def test_a_head_has_a_size(sent):
    async def scenario(connection):
        with contextlib.suppress(ConnectionError):
            for data in sent:
                await connection.send(data)
            answer = await connection.reader.read()
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed_request"
        assert not connection.is_open

    guarded(scenario)


def test_pipelined_requests_are_answered_in_order():
    async def scenario(connection):
        first = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345"
        await connection.send(first + GET)
        answers = await connection.reader.read(10_000)
        assert [part.rpartition(b"\r\n\r\n")[2][:1] for part in answers.split(b"HTTP/1.1 200 OK")[1:]] == [b"5", b"0"]

    guarded(scenario)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("hub")) as served:
        yield served


def exchange(port, sent, *, ends=False):
    """Return all that comes back for ``sent``; ``ends``: the sending side is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(sent)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65_536):
                answer += data
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x00B: x\r\n\r\n",
        b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /event HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"POST /event HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_is_not_http_is_answered_with_a_problem_and_closed(served, sent):
    answer = exchange(served.port, sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"HTTP/1.1 401 ")), answer
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["code"] in {"malformed_request", "not_found", "unauthorized"}


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_an_upgrade_is_not_taken(served, protocol):
    sent = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: " + protocol + b"\r\n\r\n"
    assert exchange(served.port, sent).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_ends_early_is_nobodys_failure(served):
    sent = b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    exchange(served.port, sent, ends=True)
    assert served.client.get("/health").status_code == 200


ASKING = (
    b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000000\r\nExpect: 100-continue\r\n"
)


def test_who_asks_before_sending_too_much_is_told_at_once(served):
    token = served.test_hub.token(served.test_hub.console).encode("ascii")
    answer = exchange(served.port, ASKING + b"Authorization: Bearer " + token + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_who_asks_without_a_token_is_told_at_once_and_closed(served):
    assert exchange(served.port, ASKING + b"\r\n").startswith(b"HTTP/1.1 401 ")


def test_a_body_that_nobody_vouches_for_is_not_waited_for(served):
    sent = b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        connection.sendall(sent)
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")


def test_many_slow_connections_hold_nobody_up(served):
    slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Le")
        started = time.perf_counter()
        assert served.client.get("/health").status_code == 200
        assert time.perf_counter() - started < 1
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.slow
def test_a_thousand_slow_connections_are_closed_within_15_s(served):
    slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(1_000)]
    started = time.monotonic()
    try:
        for connection in slow:
            connection.sendall(b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Le")
        for connection in slow:
            connection.settimeout(15)
            assert connection.recv(1) == b""
        assert time.monotonic() - started < 15
    finally:
        for connection in slow:
            connection.close()


def test_connections_that_come_together_are_taken_together():
    connections, turns, taken_in = 4 * ACCEPTS_PER_TURN, 0, []
    all_came, all_taken = threading.Event(), threading.Event()

    async def waiting(scope, receive, send):
        if scope["path"] == "/wait":
            assert all_came.wait(60)  # the whole loop stands still meanwhile
            asyncio.get_running_loop().call_soon(count_turn)
        else:
            taken_in.append(turns)
        await echo(scope, receive, send)

    def count_turn():
        nonlocal turns
        turns += 1
        if len(taken_in) < connections:
            asyncio.get_running_loop().call_soon(count_turn)
        else:
            all_taken.set()

    listener = listening_socket("127.0.0.1", 0)
    address, is_ready = listener.getsockname(), threading.Event()
    server = make_server(waiting, ready=lambda _port: is_ready.set())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    with contextlib.ExitStack() as stack:
        stack.callback(listener.close)
        stack.callback(thread.join, 10)
        stack.callback(server.handle_exit, signal.SIGTERM, None)
        assert is_ready.wait(60)
        first = stack.enter_context(socket.create_connection(address))
        first.sendall(GET.replace(b"/", b"/wait", 1))
        for _ in range(connections):
            stack.enter_context(socket.create_connection(address)).sendall(GET)
        all_came.set()
        assert all_taken.wait(60)
    assert taken_in[-1] - taken_in[0] < connections / 2


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    authority, cert, key = trustme.CA(), folder / "cert.pem", folder / "key.pem"
    issued = authority.issue_cert("localhost")
    cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return cert, key, context


def test_the_hub_is_served_over_tls(tmp_path, files):
    with serving(tmp_path, tls=files) as served:
        assert served.client.get("/health").json() == {"status": "ok"}


def test_what_is_older_than_tls_1_2_is_refused(tmp_path, files):
    _, _, trusting = files
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving(tmp_path, tls=files) as served:
        with (
            socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            old.wrap_socket(connection)
        with (
            socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection,
            trusting.wrap_socket(connection, server_hostname="localhost") as tls,
        ):
            assert tls.version() in {"TLSv1.2", "TLSv1.3"}


def test_an_address_that_is_taken_is_an_error_of_the_system():
    first = listening_socket("127.0.0.1", 0)
    first.listen()
    try:
        with pytest.raises(OSError, match="in use"):
            listening_socket("127.0.0.1", first.getsockname()[1])
    finally:
        first.close()


SERVE = """
import sys
from pathlib import Path
from moneta.entrypoints.http.server import serve
from moneta.entrypoints.listener import listening_socket
from moneta.settings import Settings
from tests.hub import make_hub
test_hub = make_hub(Path(sys.argv[1]))
serve(test_hub.hub, listener=listening_socket("127.0.0.1", 0), ready=lambda port: print(port, flush=True),
      wake_processor=lambda: None, wake_deliverer=lambda: None, settings=Settings(data_dir=Path(sys.argv[1])))
test_hub.close()
print("drained", flush=True)
"""


LIMITED = """
import resource
from moneta.entrypoints.listener import allow_connections
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
allow_connections()
soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
allow_connections()
assert soft == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
print(soft, hard)
"""


def test_a_hub_may_open_as_many_connections_as_it_takes():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    soft, hard = map(int, done.stdout.split())
    assert soft > CONNECTIONS_MAX or soft == hard


def test_sigterm_drains_and_exits_0(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        port = int(process.stdout.readline())
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as idle,
            socket.create_connection(("127.0.0.1", port), timeout=5) as halfway,
        ):
            idle.sendall(GET)
            assert idle.recv(1_000)
            halfway.sendall(b"POST /event HTTP/1.1\r\nHost: x\r\n")
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert time.monotonic() - started < 10
        assert process.stdout.read() == "drained\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
