"""The outbound sender against real servers on loopback: what it reaches, what it reads, and when it gives up."""

import asyncio
import gzip
import itertools
import ssl
from datetime import timedelta

import pytest
import trustme
import uvloop

from moneta.adapters.egress import read_endpoint
from moneta.adapters.http_sender import (
    ADDRESSES_MAX,
    ANSWER_HEADER_CHARS_MAX,
    CLIENTS_MAX,
    USER_AGENT,
    SystemResolver,
    Timeouts,
    pinned_builder,
    pinned_client,
)
from moneta.application.ports import Answer, NoAnswer
from moneta.domain.limits import ANSWER_BYTES_MAX
from tests.http.rude_server import HUB, PUBLIC_HOST, answering, post, sending, serving

QUICK = Timeouts(attempt_s=0.3, resolve_s=0.2, resolve_every_s=60)


def ask(path="/", *, timeouts=QUICK, **manner):
    """Return what one request to a server of that manner gives."""

    async def run():
        async with serving(**manner) as server, sending(resolver=answering(HUB), timeouts=timeouts) as sender:
            return await sender.send(post(f"http://hub.example:{server.port}{path}"))

    return asyncio.run(run())


class TestAnswers:
    def test_a_request_arrives_as_it_was_given(self):
        async def run():
            async with serving() as server, sending(resolver=answering(HUB)) as sender:
                url = f"http://hub.example:{server.port}/hook?a=b"
                answer = await sender.send(post(url, b"\x00body", **{"webhook-id": "msg_1", "content-type": "a/b"}))
                return server, answer

        server, answer = asyncio.run(run())
        [(first, headers, body)] = server.requests
        assert first == "POST /hook?a=b HTTP/1.1"
        assert body == b"\x00body"
        assert headers == {
            "accept": "*/*",
            "content-length": "5",
            "content-type": "a/b",
            "host": f"hub.example:{server.port}",
            "user-agent": USER_AGENT,
            "webhook-id": "msg_1",
        }
        assert (answer.status, answer.content_type, answer.body) == (200, "application/json", b"{}")
        assert (answer.retry_after, answer.is_truncated) == (None, False)

    @pytest.mark.parametrize("status", [200, 204, 299, 300, 304, 400, 404, 410, 429, 500, 503, 599, 999])
    def test_any_status_is_an_answer(self, status):
        answer = ask(answers={"/": f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()})
        assert isinstance(answer, Answer)
        assert (answer.status, answer.body, answer.content_type) == (status, b"", "")

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_an_answer_and_not_followed(self, status):
        async def run():
            async with serving() as server, sending(resolver=answering(HUB)) as sender:
                url = f"http://hub.example:{server.port}/"
                moved = f"HTTP/1.1 {status} Moved\r\nLocation: {url}next\r\nContent-Length: 0\r\n\r\n"
                server.answers["/"] = moved.encode()
                return server, await sender.send(post(url))

        server, answer = asyncio.run(run())
        assert answer.status == status
        assert [first for first, _, _ in server.requests] == ["POST / HTTP/1.1"]

    def test_retry_after_is_handed_on(self):
        answer = ask(answers={"/": b"HTTP/1.1 503 X\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"})
        assert answer.retry_after == "120"

    def test_a_header_that_is_not_utf_8_is_as_good_as_absent(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: \xff/\xfe\r\nRetry-After: \xff\r\nContent-Length: 0\r\n\r\n"
        answer = ask(answers={"/": head})
        assert (answer.content_type, answer.retry_after) == ("", None)

    def test_a_long_header_is_cut(self):
        answer = ask(
            answers={"/": b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: 0\r\n\r\n" % (b"a" * 9_000)}
        )
        assert len(answer.content_type) == ANSWER_HEADER_CHARS_MAX

    @pytest.mark.parametrize(
        ("size", "is_truncated"),
        [(ANSWER_BYTES_MAX - 1, False), (ANSWER_BYTES_MAX, False), (ANSWER_BYTES_MAX + 1, True), (50_000_000, True)],
    )
    def test_a_big_answer_is_cut(self, size, is_truncated):
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
        answer = ask(answers={"/": [head, b"x" * size]}, timeouts=Timeouts())
        assert len(answer.body) == min(size, ANSWER_BYTES_MAX)
        assert answer.is_truncated is is_truncated

    def test_an_endless_answer_is_cut(self):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = itertools.chain([head], itertools.repeat(b"4000\r\n" + b"x" * 0x4000 + b"\r\n"))
        answer = ask(answers={"/": chunks}, timeouts=Timeouts())
        assert (len(answer.body), answer.is_truncated) == (ANSWER_BYTES_MAX, True)

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
    def test_a_compressed_answer_stays_compressed(self, encoding):
        bomb = gzip.compress(bytes(20_000_000))
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
        answer = ask(answers={"/": head + bomb}, timeouts=Timeouts())
        assert (answer.body, answer.is_truncated) == (bomb, False)

    def test_a_cookie_is_not_sent_back(self):
        async def run():
            cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
            async with serving(answers={"/": cookie}) as server, sending(resolver=answering(HUB)) as sender:
                for _ in range(2):
                    await sender.send(post(f"http://hub.example:{server.port}/"))
                return server

        assert all("cookie" not in headers for _, headers, _ in asyncio.run(run()).requests)

    def test_connections_are_kept(self):
        async def run():
            async with serving() as server, sending(resolver=answering(HUB)) as sender:
                for _ in range(20):
                    await sender.send(post(f"http://hub.example:{server.port}/"))
                return server

        server = asyncio.run(run())
        assert (server.connections, len(server.requests)) == (1, 20)

    def test_it_runs_on_uvloop(self):
        async def run():
            async with serving() as server, sending(resolver=answering(HUB)) as sender:
                return await sender.send(post(f"http://hub.example:{server.port}/"))

        assert uvloop.run(run()).status == 200


MALFORMED = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "no version": b"200 OK\r\n\r\n",
    "http/2 preface": b"HTTP/2.0 200 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nheader\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length of letters": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
    "head too large": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 1_000 + b"\r\n",
    "nothing": b"",
    "cut head": b"HTTP/1.1 200 OK\r\nContent-",
    "cut body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
}


class TestNoAnswers:
    @pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
    def test_what_is_not_http_is_no_answer(self, answer):
        outcome = ask(answers={"/": answer}, hangs_up=True, timeouts=Timeouts())
        assert isinstance(outcome, NoAnswer)
        assert outcome.reason == "protocol"

    def test_silence_ends_at_the_deadline(self):
        outcome = ask(answers={"/": b""})
        assert outcome.reason == "timeout"
        assert 250 <= outcome.duration_ms < 1_000

    def test_a_head_that_drips_ends_at_the_deadline(self):
        drops = itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"X: a\r\n"))
        assert ask(answers={"/": drops}, pause_s=0.02).reason == "timeout"

    def test_endless_informational_answers_end_at_the_deadline(self):
        outcome = ask(answers={"/": itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")}, pause_s=0.01)
        assert outcome.reason in {"timeout", "protocol"}

    def test_a_body_that_drips_ends_at_the_deadline(self):
        drops = itertools.chain([b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"], itertools.repeat(b"x"))
        outcome = ask(answers={"/": drops}, pause_s=0.02)
        assert outcome.reason == "too_slow"
        assert outcome.duration_ms < 1_000

    def test_a_big_body_that_drips_ends_at_the_deadline(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000
        outcome = ask(answers={"/": itertools.chain([head], itertools.repeat(b"x"))}, pause_s=0.02)
        assert outcome.reason == "too_slow"

    def test_a_refused_connection_is_told(self):
        async def run():
            async with serving() as server:
                port = server.port
            async with sending(resolver=answering(HUB)) as sender:
                return await sender.send(post(f"http://hub.example:{port}/"))

        outcome = asyncio.run(run())
        assert outcome.reason == "connect"
        assert "refused" in outcome.detail

    @pytest.mark.parametrize("path", ["/", "/silent", "/garbage"])
    def test_the_detail_never_holds_the_url(self, path):
        outcome = ask(f"{path}?token=hunter2", answers={f"{path}?token=hunter2": b"garbage\r\n\r\n"}, hangs_up=True)
        assert isinstance(outcome, NoAnswer)
        assert "hunter2" not in outcome.detail
        assert outcome.detail.isprintable()

    @pytest.mark.parametrize(
        "url", ["http://127.1/", "http://user@hub.example/", "ftp://hub.example/", "http://hub.example:0/", ""]
    )
    def test_a_bad_url_is_refused(self, url):
        async def run():
            async with sending(resolver=answering(HUB)) as sender:
                return await sender.send(post(url))

        assert asyncio.run(run()).reason == "refused_url"

    def test_http_is_refused_unless_allowed(self):
        async def run():
            async with serving() as server, sending(allow_http=False, resolver=answering(HUB)) as sender:
                return server, await sender.send(post(f"http://hub.example:{server.port}/"))

        server, outcome = asyncio.run(run())
        assert (outcome.reason, server.connections) == ("refused_url", 0)

    def test_closing_ends_what_is_under_way(self):
        async def run():
            async with serving(answers={"/": b""}) as server, sending(resolver=answering(HUB)) as sender:
                under_way = asyncio.create_task(sender.send(post(f"http://hub.example:{server.port}/")))
                await server.is_asked.wait()
                await sender.close()
                return await under_way

        assert asyncio.run(run()).reason == "protocol"


async def no_such_name(name):
    raise OSError(-2, "Name or service not known")


async def not_a_name(name):
    raise UnicodeError("label too long")


async def silent(name):
    await asyncio.sleep(3_600)


class TestResolving:
    @pytest.mark.parametrize(
        "resolver",
        [no_such_name, not_a_name, silent, answering(), answering(*[HUB] * (ADDRESSES_MAX + 1))],
        ids=["no such name", "not a name", "silent", "no addresses", "too many addresses"],
    )
    def test_a_name_without_addresses_is_told(self, resolver):
        async def run():
            async with sending(resolver=resolver, timeouts=QUICK) as sender:
                return await sender.send(post("http://hub.example/"))

        outcome = asyncio.run(run())
        assert outcome.reason == "dns"
        assert outcome.duration_ms < 1_000

    def test_dns_is_asked_once_for_many_requests(self):
        async def run():
            names, clients = [], []

            async def resolve(name):
                names.append(name)
                await asyncio.sleep(0.01)
                return [HUB]

            def make_client(endpoint, address):
                clients.append(address)
                return pinned_client(endpoint, address)

            async with serving() as server, sending(resolver=resolve, make_client=make_client) as sender:
                requests = [post(f"http://hub.example:{server.port}/{number}") for number in range(50)]
                answers = await asyncio.gather(*[sender.send(request) for request in requests])
            assert {answer.status for answer in answers} == {200}
            return names, clients

        assert asyncio.run(run()) == (["hub.example"], [HUB])

    def test_dns_is_asked_again_in_time_and_the_connection_kept(self):
        async def run():
            names = []

            async def resolve(name):
                names.append(name)
                return [PUBLIC_HOST, HUB][:: (-1) ** len(names)]

            timeouts = Timeouts(resolve_every_s=0.05)
            async with serving() as server, sending(resolver=resolve, timeouts=timeouts) as sender:
                for _ in range(3):
                    await sender.send(post(f"http://hub.example:{server.port}/"))
                    await asyncio.sleep(0.06)
                return names, server

        names, server = asyncio.run(run())
        assert (len(names), server.connections, len(server.requests)) == (3, 1, 3)

    def test_another_address_is_used_at_once_when_one_cannot_be_reached(self):
        async def run():
            async with serving() as server, sending(resolver=answering(PUBLIC_HOST, HUB)) as sender:
                url = f"http://hub.example:{server.port}/"
                return server, [await sender.send(post(url)) for _ in range(3)]

        server, answers = asyncio.run(run())
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert server.connections == 1

    def test_dns_is_asked_again_after_a_connection_failed(self):
        async def run():
            addresses = iter([[PUBLIC_HOST], [HUB]])

            async def resolve(name):
                return next(addresses)

            async with serving() as server, sending(resolver=resolve) as sender:
                url = f"http://hub.example:{server.port}/"
                return [await sender.send(post(url)) for _ in range(2)]

        first, second = asyncio.run(run())
        assert (first.reason, second.status) == ("connect", 200)

    def test_the_least_recently_used_client_makes_room(self):
        async def run():
            made = []

            def make_client(endpoint, address):
                made.append(endpoint.host)
                return shared

            async with serving() as server, sending(make_client=make_client) as sender:
                endpoint = read_endpoint(f"http://{HUB}:{server.port}/", allow_http=True, allow_private=True)
                shared = pinned_client(endpoint, HUB)
                hosts = [f"127.0.{1 + number // 200}.{1 + number % 200}" for number in range(CLIENTS_MAX + 1)]
                for host in [*hosts, hosts[-1], hosts[0]]:
                    outcome = await sender.send(post(f"http://{host}:{server.port}/"))
                    assert outcome.reason == "connect"
                return made, hosts

        made, hosts = asyncio.run(run())
        assert made == [*hosts, hosts[0]]

    def test_a_client_that_made_room_finishes_its_request(self):
        async def run():
            def make_client(endpoint, address):
                return pinned_client(endpoint, address) if endpoint.host == "hub.example" else shared

            slow = {"/": [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"{}"]}
            async with (
                serving(answers=slow, pause_s=0.3) as server,
                sending(resolver=answering(HUB), make_client=make_client) as sender,
            ):
                endpoint = read_endpoint(f"http://{HUB}:{server.port}/", allow_http=True, allow_private=True)
                shared = pinned_client(endpoint, HUB)
                under_way = asyncio.create_task(sender.send(post(f"http://hub.example:{server.port}/")))
                await server.is_asked.wait()
                for number in range(CLIENTS_MAX):
                    await sender.send(post(f"http://127.0.{1 + number // 200}.{1 + number % 200}:{server.port}/"))
                return await under_way

        assert asyncio.run(run()).body == b"{}"

    def test_the_system_resolver_knows_localhost(self):
        async def run():
            resolve = SystemResolver()
            return await asyncio.gather(resolve("localhost"), resolve("localhost"), resolve("127.0.0.1"))

        first, second, literal = asyncio.run(run())
        assert first is second
        assert set(first) <= {"127.0.0.1", "::1"}
        assert literal == ["127.0.0.1"]

    def test_the_system_resolver_raises_for_what_is_no_name(self):
        async def run():
            await SystemResolver()(f"{'a' * 64}.example")

        with pytest.raises(UnicodeError):
            asyncio.run(run())

    def test_who_gives_up_waiting_leaves_the_lookup_to_the_others(self):
        async def run():
            resolve = SystemResolver()
            impatient, patient = (asyncio.create_task(resolve("localhost")) for _ in range(2))
            await asyncio.sleep(0)
            impatient.cancel()
            return await patient

        assert asyncio.run(run())

    def test_a_loop_that_ends_does_not_wait_for_a_lookup(self):
        async def run():
            lookup = asyncio.create_task(SystemResolver()("localhost"))
            await asyncio.sleep(0)
            return lookup

        assert asyncio.run(run()).done()


class TestTLS:
    @staticmethod
    def send(names, *, url_host="hub.example", is_trusted=True, version=ssl.TLSVersion.TLSv1_3, address=HUB):
        authority, seen = trustme.CA(), []
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.maximum_version = version
        authority.issue_cert(*names).configure_cert(tls)
        tls.sni_callback = lambda _, name, __: seen.append(name)

        def make_client(endpoint, judged):
            builder = pinned_builder(endpoint, judged)
            return (builder.add_root_certificate_pem(authority.cert_pem.bytes()) if is_trusted else builder).build()

        async def run():
            async with (
                serving(tls=tls) as server,
                sending(allow_http=False, resolver=answering(address), make_client=make_client) as sender,
            ):
                return server, await sender.send(post(f"https://{url_host}:{server.port}/"))

        server, outcome = asyncio.run(run())
        return server, outcome, seen

    def test_the_name_is_kept_for_sni_certificate_and_host(self):
        server, answer, seen = self.send(["hub.example"], url_host="HUB.example.")
        assert answer.status == 200
        assert seen == ["hub.example"]
        assert server.requests[0][1]["host"] == f"hub.example:{server.port}"

    def test_a_literal_address_needs_its_own_certificate(self):
        assert self.send([HUB], url_host=HUB)[1].status == 200
        assert self.send(["hub.example"], url_host=HUB)[1].reason == "tls"

    @pytest.mark.parametrize("names", [["evil.example"], ["www.hub.example"], ["*.hub.example"], [HUB]])
    def test_a_certificate_of_another_name_is_refused(self, names):
        server, outcome, _ = self.send(names)
        assert (outcome.reason, server.requests) == ("tls", [])

    def test_a_certificate_that_nobody_vouches_for_is_refused(self):
        server, outcome, _ = self.send(["hub.example"], is_trusted=False)
        assert (outcome.reason, server.requests) == ("tls", [])

    def test_tls_1_2_will_do(self):
        assert self.send(["hub.example"], version=ssl.TLSVersion.TLSv1_2)[1].status == 200

    def test_a_server_without_tls_is_refused(self):
        async def run():
            async with serving(greeting=b"220 smtp\r\n") as server, sending(resolver=answering(HUB)) as sender:
                return await sender.send(post(f"https://hub.example:{server.port}/"))

        assert asyncio.run(run()).reason == "tls"

    @pytest.mark.parametrize(("connect_s", "reason"), [(0.1, "connect"), (5, "timeout")])
    def test_a_handshake_that_stalls_ends_in_time(self, connect_s, reason):
        def make_client(endpoint, judged):
            return pinned_builder(endpoint, judged).connect_timeout(timedelta(seconds=connect_s)).build()

        async def run():
            arguments = {"resolver": answering(HUB), "timeouts": QUICK, "make_client": make_client}
            async with serving() as server, sending(**arguments) as sender:
                return await sender.send(post(f"https://hub.example:{server.port}/"))

        assert asyncio.run(run()).reason == reason
