"""No webhook reaches the hub's own network: rebinding names, redirects and disguised addresses, 0 connections.

A canary listens on 127.0.0.1 (and on ::1 where there is IPv6). The attacker's own host is played by 127.0.0.2,
on the canary's port: ``stand_in_client`` connects there when a public address was judged, and lets a denied one
that slips through meet the canary. No test leaves loopback.
"""

import asyncio
import contextlib
import itertools
from dataclasses import dataclass

import dnslib
import pytest
from dnslib.server import BaseResolver, DNSServer

from moneta.adapters.http_sender import Timeouts, pinned_builder, pinned_client
from moneta.application.ports import NoAnswer
from tests.http.rude_server import HUB, PUBLIC_HOST, answering, post, sending, serving

PUBLIC = ("1.1.1.1", "8.8.8.8", "2606:4700:4700::1111")
LOOPBACKS = ("127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1")  # noqa: S104
"""What Linux connects to a listener on 127.0.0.1 or ::1."""
EMBEDDED = (
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "::ffff:0:127.0.0.1",
)
INTERNAL = ("169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "192.0.0.192", "fd00:ec2::254")
DENIED = LOOPBACKS + EMBEDDED + INTERNAL

DISGUISES = (
    "127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7F.1", "0177.0.0.1",
    "127.0.0.01", "127.0.0.0x1", "0", "0.0.0.0", "0x0", "①②⑦.⓪.⓪.①", "１２７.０.０.１", "127。0。0。1",  # noqa: RUF001, S104
    "127｡0｡0｡1", "127．0．0．1", "%31%32%37.0.0.1", "127%2e0.0.1", "localhost", "LOCALHOST", "localhost.",  # noqa: RUF001
    "ｌocalhost", "a.localhost", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",  # noqa: RUF001
    "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::1%25lo]", "[::1%lo]", "hub.example@127.0.0.1",
    "127.0.0.1\\@hub.example", "127.0.0.1#@hub.example", "hub.example\\@127.0.0.1", "127.0.0.1\t", "127.0.0.1\n",
    "127.0.0.1%00.hub.example", "127.0.0.1 .hub.example",
)  # fmt: skip
"""Hosts in a URL for which some client connects to loopback."""

SENT, REFUSED, DOWN = "sent", "refused_address", "connect"


@dataclass(frozen=True, kw_only=True)
class Rebinding:
    """What DNS answers, lookup after lookup; the last answer stands. ``outcomes``: of four webhooks sent in a row."""

    name: str
    script: tuple[tuple[str, ...], ...]
    outcomes: tuple[str, ...]
    resolve_every_s: float = 0
    is_host_up: bool = True


def rebindings(denied):
    good, bad = PUBLIC[:1], (denied,)
    # fmt: off
    rows = (
        # name                      answers of DNS            outcomes                           asked again after, up
        ("bad at once",             (bad, good),              (REFUSED, SENT, SENT, SENT),       0,  True),
        ("flips after the check",   (good, bad),              (SENT, REFUSED, REFUSED, REFUSED), 0,  True),
        ("flips while remembered",  (good, bad),              (SENT, SENT, SENT, SENT),          60, True),
        ("flips to and fro",        (good, bad, good, bad),   (SENT, REFUSED, SENT, REFUSED),    0,  True),
        ("bad one last",            ((*PUBLIC, denied),),     (REFUSED,) * 4,                    0,  True),
        ("bad one first",           ((denied, *PUBLIC),),     (REFUSED,) * 4,                    60, True),
        ("bad one joins",           (good, (*PUBLIC, denied)), (SENT, REFUSED, REFUSED, REFUSED), 0, True),
        ("host is down",            (good, bad),              (DOWN, REFUSED, REFUSED, REFUSED), 60, False),
        ("hosts are down",          (PUBLIC, bad),            (REFUSED,) * 4,                    60, False),
        ("falls back",              (good, (*good, denied)),  (DOWN, REFUSED, REFUSED, REFUSED), 60, False),
    )
    # fmt: on
    return [
        Rebinding(name=f"{name}: {denied}", script=script, outcomes=outcomes, resolve_every_s=every_s, is_host_up=is_up)
        for name, script, outcomes, every_s, is_up in rows
    ]


REBINDINGS = [row for denied in DENIED for row in rebindings(denied)]
REDIRECTS = list(
    itertools.product((300, 301, 302, 303, 305, 307, 308), [host for host in DISGUISES if host.isprintable()])
)
URLS = [f"{scheme}://{host}" for scheme in ("http", "https") for host in DISGUISES]


class Script:
    """A resolver that answers by a script, and stays at its last line."""

    def __init__(self, lines):
        self._lines = list(lines)

    def next(self):
        return list(self._lines.pop(0) if len(self._lines) > 1 else self._lines[0])

    async def __call__(self, name):
        return self.next()


def stand_in_client(endpoint, address):
    """Return the real client, pinned to loopback: a denied address that got so far would meet the canary."""
    return pinned_client(endpoint, PUBLIC_HOST if address in PUBLIC else address if address in LOOPBACKS else HUB)


@contextlib.asynccontextmanager
async def canary():
    """Yield a server that nothing may connect to, on both loopback addresses."""
    async with serving() as bird:
        with contextlib.suppress(OSError):  # No IPv6 here.
            await bird.start("::1", bird.port)
        yield bird


async def send_each(case, bird, **arguments):
    """Return what became of the case's four webhooks: ``sent``, or the reason why not."""
    timeouts = Timeouts(resolve_every_s=case.resolve_every_s)
    arguments = {"make_client": stand_in_client, "allow_private": False, "resolver": Script(case.script), **arguments}
    async with sending(timeouts=timeouts, **arguments) as sender:
        request = post(f"http://hub.example:{bird.port}/")
        outcomes = [await sender.send(request) for _ in case.outcomes]
    return tuple(outcome.reason if isinstance(outcome, NoAnswer) else SENT for outcome in outcomes)


def test_the_cases_are_300_at_least():
    assert len(REBINDINGS) + len(REDIRECTS) + len(URLS) >= 300


def rebind(cases, **arguments):
    """Return what became of each case's webhooks, and the canary."""

    async def run():
        got = {}
        async with canary() as bird:
            for is_up, group in itertools.groupby(sorted(cases, key=is_host_up), key=is_host_up):
                host = serving(host=PUBLIC_HOST, port=bird.port) if is_up else contextlib.nullcontext()
                async with host:
                    got |= {case.name: await send_each(case, bird, **arguments) for case in group}
        return got, bird

    return asyncio.run(run())


def is_host_up(case):
    return case.is_host_up


class TestRebinding:
    @pytest.mark.parametrize("denied", DENIED)
    def test_no_name_reaches_the_canary(self, denied):
        cases = rebindings(denied)
        got, bird = rebind(cases)
        assert got == {case.name: case.outcomes for case in cases}
        assert bird.connections == 0

    @pytest.mark.parametrize("denied", LOOPBACKS)
    def test_a_client_that_asks_dns_again_would_be_caught(self, denied):
        [case] = [case for case in rebindings(denied) if case.name.startswith("flips after the check")]
        script = Script(case.script)

        def naive_client(endpoint, address):
            return pinned_client(endpoint, script.next()[0])

        _, bird = rebind([case], resolver=script, make_client=naive_client)
        assert bird.connections > 0

    def test_a_sender_that_admits_private_addresses_would_be_caught(self):
        _, bird = rebind(rebindings(HUB), allow_private=True)
        assert bird.connections > 0

    @pytest.mark.parametrize("denied", ["127.0.0.1", "10.0.0.1", "::1", "64:ff9b::7f00:1"])
    @pytest.mark.parametrize("is_mixed", [False, True])
    def test_a_real_name_server_that_rebinds_reaches_nothing(self, denied, is_mixed):
        name_server = RebindingNameServer(first=PUBLIC[0], then=denied, is_mixed=is_mixed)

        async def run():
            async with canary() as bird, serving(host=PUBLIC_HOST, port=bird.port) as host:
                case = Rebinding(name="", script=((),), outcomes=(SENT, REFUSED, REFUSED))
                return await send_each(case, bird, resolver=name_server.look_up), bird, host

        with name_server:
            outcomes, bird, host = asyncio.run(run())
        assert outcomes == (SENT, REFUSED, REFUSED)
        assert (bird.connections, len(host.requests)) == (0, 1)


class TestURLs:
    @pytest.mark.parametrize("host", DISGUISES)
    def test_no_disguised_address_reaches_the_canary(self, host):
        async def run():
            async with canary() as bird, sending(allow_private=False, resolver=answering(HUB)) as sender:
                urls = [f"{scheme}://{host}:{bird.port}/" for scheme in ("http", "https")]
                return [await sender.send(post(url)) for url in urls], bird

        outcomes, bird = asyncio.run(run())
        assert {outcome.reason for outcome in outcomes} <= {"refused_url", "refused_address"}
        assert bird.connections == 0


class TestRedirects:
    @staticmethod
    def follow(status, hosts, make_client=stand_in_client):
        async def run():
            async with canary() as bird, serving(host=PUBLIC_HOST, port=bird.port) as attacker:
                resolver = answering(PUBLIC[0])
                async with sending(allow_private=False, resolver=resolver, make_client=make_client) as sender:
                    return [await send_one(sender, attacker, f"http://{host}:{bird.port}/") for host in hosts], bird

        async def send_one(sender, attacker, location):
            headers = (f"Location: {location}", f"Refresh: 0; url={location}", "Content-Length: 0", "\r\n")
            attacker.answers["/"] = "\r\n".join((f"HTTP/1.1 {status} X", *headers)).encode()
            return await sender.send(post(f"http://hub.example:{attacker.port}/"))

        return asyncio.run(run())

    @pytest.mark.parametrize("status", sorted({status for status, _ in REDIRECTS}))
    def test_no_redirect_reaches_the_canary(self, status):
        answers, bird = self.follow(status, [host for code, host in REDIRECTS if code == status])
        assert {answer.status for answer in answers} == {status}
        assert bird.connections == 0

    def test_a_client_that_follows_would_be_caught(self):
        def following_client(endpoint, address):
            return pinned_builder(endpoint, PUBLIC_HOST).follow_redirects(enable=True).build()

        _, bird = self.follow(307, ["127.0.0.1"], following_client)
        assert bird.connections > 0


class TestPin:
    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "hub.example", "Hub.Example."])
    def test_the_system_is_never_asked_for_a_name_that_is_pinned(self, host):
        async def run():
            async with (
                canary() as bird,
                serving(host=PUBLIC_HOST, port=bird.port) as partner,
                sending(resolver=answering(PUBLIC_HOST)) as sender,
            ):
                return await sender.send(post(f"http://{host}:{bird.port}/")), bird, partner

        answer, bird, partner = asyncio.run(run())
        assert answer.status == 200
        assert (bird.connections, partner.connections) == (0, 1)

    @pytest.mark.parametrize(
        "variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    )
    def test_a_proxy_in_the_environment_is_not_used(self, monkeypatch, variable):
        async def run():
            async with canary() as bird, serving(host=PUBLIC_HOST, port=bird.port) as partner:
                monkeypatch.setenv(variable, f"http://{HUB}:{bird.port}")
                async with sending(resolver=answering(PUBLIC_HOST)) as sender:
                    return await sender.send(post(f"http://hub.example:{bird.port}/")), bird, partner

        answer, bird, partner = asyncio.run(run())
        assert answer.status == 200
        assert (bird.connections, partner.connections) == (0, 1)


class RebindingNameServer(BaseResolver):
    """A name server whose first answers, A and AAAA, are good; from then on they are not."""

    def __init__(self, *, first, then, is_mixed):
        self._first, self._then, self._is_mixed = first, then, is_mixed
        self._questions = 0

    def __enter__(self):
        self._server = DNSServer(self, address=HUB, port=0)
        self._server.start_thread()
        return self

    def __exit__(self, *_):
        self._server.stop()
        self._server.server.server_close()

    def resolve(self, request, handler):
        kind = dnslib.QTYPE[request.q.qtype]
        self._questions += 1
        bad = [*([self._first] if self._is_mixed else []), self._then]
        addresses = [self._first] if self._questions <= 2 else bad
        reply = request.reply()
        for address in addresses:
            if (":" in address) == (kind == "AAAA"):
                reply.add_answer(*dnslib.RR.fromZone(f"{request.q.qname} 0 {kind} {address}"))
        return reply

    async def look_up(self, name):
        replies = [await asyncio.to_thread(self._ask, name, kind) for kind in ("A", "AAAA")]
        return [str(row.rdata) for reply in replies for row in reply.rr]

    def _ask(self, name, kind):
        port = self._server.server.server_address[1]
        return dnslib.DNSRecord.parse(dnslib.DNSRecord.question(name, kind).send(HUB, port, timeout=5))
