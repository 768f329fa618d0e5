"""Sends webhooks over HTTP/1.1 to the address that was checked, and to nothing else.

The rules, tested in ``tests/http/test_ssrf.py`` (1 to 3) and ``tests/http/test_http_sender.py`` (3 and 4):

1. Every answer of DNS, A and AAAA, is judged (``egress``) before anything is connected; one denied refuses all.
2. The client is pinned to one judged address. Its own resolver is never asked, so an answer that changes between
   the check and the connection (rebinding) changes nothing. The name stays for SNI, the certificate and Host.
3. No redirects, no proxies from the environment, no cookies, no decompression: what comes back is what was sent.
4. One deadline over DNS, connection, request and answer; the answer's body is read up to a limit.

A client costs 5.5 ms and 140 KiB, most of it trust anchors, so each origin keeps its own in an LRU, and with it
the connections. DNS is asked again every ``RESOLVE_EVERY_S``, and after a connection could not be made.
"""

import asyncio
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ReadTimeoutError, RequestError, RequestTimeoutError
from pyreqwest.response import Response

from moneta.adapters.egress import Endpoint, read_endpoint, why_refused
from moneta.application.ports import Answer, NoAnswer, OutboundRequest
from moneta.domain.errors import InvalidFieldError
from moneta.domain.limits import (
    ADDRESSES_MAX,
    ANSWER_BYTES_MAX,
    ANSWER_HEADER_CHARS_MAX,
    CLIENTS_MAX,
    CONNECT_TIMEOUT_S,
    IDLE_CONNECTIONS_MAX,
    LOOKUPS_MAX,
    RESOLVE_EVERY_S,
    RESOLVE_TIMEOUT_S,
    SEND_TIMEOUT_S,
)

IDLE_S: Final = 4.0
"""Less than the 5 s after which common servers hang up, so that we rarely write into a closing connection."""
DETAIL_CHARS_MAX: Final = 200
USER_AGENT: Final = "Moneta-Webhooks/1"

Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""From a name to all its addresses, best first. Raises OSError or UnicodeError when there is none to be had."""
ClientMaker = Callable[[Endpoint, str], Client]
"""From an endpoint and its judged address to a client that connects there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a sender waits, in seconds."""

    attempt_s: float = SEND_TIMEOUT_S
    resolve_s: float = RESOLVE_TIMEOUT_S
    resolve_every_s: float = RESOLVE_EVERY_S


DEFAULT_TIMEOUTS: Final = Timeouts()


class HTTPSender:
    """See ``Sender``. For one event loop; how many requests run at once is the caller's to bound.

    ``allow_http`` and ``allow_private`` admit receivers on this machine, for tests and demos.
    """

    def __init__(
        self,
        *,
        allow_http: bool,
        allow_private: bool,
        resolver: Resolver | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        make_client: ClientMaker | None = None,
    ) -> None:
        self._allow_http = allow_http
        self._allow_private = allow_private
        self._resolver = SystemResolver() if resolver is None else resolver
        self._timeouts = timeouts
        self._make_client = pinned_client if make_client is None else make_client
        self._routes: OrderedDict[str, _Route] = OrderedDict()

    async def send(self, request: OutboundRequest) -> Answer | NoAnswer:
        """See ``Sender.send``."""
        started = time.monotonic()
        try:
            endpoint = read_endpoint(request.url, allow_http=self._allow_http, allow_private=self._allow_private)
            return await self._attempt(endpoint, request, started)
        except InvalidFieldError as error:
            return NoAnswer(reason="refused_url", detail=error.detail, duration_ms=_ms_since(started))
        except _NoAnswerError as error:
            return NoAnswer(reason=error.reason, detail=error.detail, duration_ms=_ms_since(started))

    async def close(self) -> None:
        """See ``Sender.close``. Requests under way end as ``protocol``."""
        clients = [route.client for route in self._routes.values() if route.client is not None]
        self._routes.clear()
        for client in clients:
            await client.close()

    async def _attempt(self, endpoint: Endpoint, request: OutboundRequest, started: float) -> Answer:
        route = self._route(endpoint)
        try:
            return await self._try(route, endpoint, request, started)
        except _NoAnswerError as error:
            if error.reason != "connect" or not route.has_alternative():
                raise
        # Not a byte of the request was sent, and the name has another address: one more try is no duplicate.
        return await self._try(route, endpoint, request, started)

    async def _try(self, route: "_Route", endpoint: Endpoint, request: OutboundRequest, started: float) -> Answer:
        client = route.fresh_client() or await self._renewed_client(route, endpoint, started)
        try:
            return await _post(client, endpoint, request, started=started, left_s=self._left_s(started))
        except RequestError as error:
            reason = _reason(error)
            if reason == "connect" and client is route.client:
                route.suspect()
            raise _NoAnswerError(reason, _innermost(error)) from error

    def _route(self, endpoint: Endpoint) -> "_Route":
        """Return the origin's route. The least recently used one makes room; its requests under way still end."""
        route = self._routes.get(endpoint.origin)
        if route is None:
            route = self._routes[endpoint.origin] = _Route()
            if len(self._routes) > CLIENTS_MAX:
                self._routes.popitem(last=False)
        self._routes.move_to_end(endpoint.origin)
        return route

    async def _renewed_client(self, route: "_Route", endpoint: Endpoint, started: float) -> Client:
        """Return a client whose address was judged just now. Who comes meanwhile waits for the same judgement."""
        wait_s = min(self._timeouts.resolve_s, self._left_s(started))
        try:
            async with asyncio.timeout(wait_s), route.lock:
                return route.fresh_client() or await self._renew(route, endpoint)
        except TimeoutError as error:
            raise _NoAnswerError("dns", f"no answer within {wait_s:g} s") from error

    async def _renew(self, route: "_Route", endpoint: Endpoint) -> Client:
        addresses = [endpoint.host] if endpoint.is_literal else await self._look_up(endpoint.host)
        refusal = why_refused(addresses, allow_private=self._allow_private)
        if refusal is not None:
            # Not which address: an endpoint's owner may read this, and it may be one of the hub's own network.
            raise _NoAnswerError("refused_address", f"the host has an address that is {refusal}")
        address = route.choose(addresses)
        if route.client is None or address != route.address:
            # In a thread: loading the trust anchors would stop the loop for 5 ms, and it gives up the GIL.
            route.client = await asyncio.to_thread(self._make_client, endpoint, address)
        route.address, route.addresses = address, addresses
        route.fresh_until = time.monotonic() + self._timeouts.resolve_every_s
        return route.client

    async def _look_up(self, name: str) -> Sequence[str]:
        try:
            addresses = await self._resolver(name)
        except (OSError, UnicodeError) as error:
            raise _NoAnswerError("dns", str(error)) from error
        if not 1 <= len(addresses) <= ADDRESSES_MAX:
            raise _NoAnswerError("dns", f"expected 1 to {ADDRESSES_MAX} addresses, got {len(addresses)}")
        return addresses

    def _left_s(self, started: float) -> float:
        return max(0.0, started + self._timeouts.attempt_s - time.monotonic())


def pinned_client(endpoint: Endpoint, address: str) -> Client:
    """Return a client that connects to ``address`` whenever it is asked for the endpoint's host."""
    return pinned_builder(endpoint, address).build()


def pinned_builder(endpoint: Endpoint, address: str) -> ClientBuilder:
    """Return the builder of ``pinned_client``, so that a test can add its own trust anchor.

    The pin holds for exactly this host: of another one, or the same with a trailing dot, the client would ask
    DNS by itself. ``egress`` sees to it that an endpoint's URL has no other form of its host.
    """
    builder = (
        ClientBuilder()
        .http1_only()
        .https_only(endpoint.is_https)
        .min_tls_version("TLSv1.2")
        .no_proxy()
        .follow_redirects(enable=False)
        .referer(enable=False)
        .default_cookie_store(enable=False)
        # Without these a few KiB of gzip become gigabytes; and it is the bytes as sent that are limited and kept.
        .gzip(enable=False)
        .brotli(enable=False)
        .zstd(enable=False)
        .deflate(enable=False)
        .user_agent(USER_AGENT)
        .connect_timeout(timedelta(seconds=CONNECT_TIMEOUT_S))
        .pool_idle_timeout(timedelta(seconds=IDLE_S))
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
    )
    # The port as well: where the URL has none, the client would take the pin's.
    return builder if endpoint.is_literal else builder.resolve(endpoint.host, address, endpoint.port)


class SystemResolver:
    """Ask the system's resolver (getaddrinfo: hosts file, DNS), which puts reachable addresses first (RFC 6724).

    Each lookup has a daemon thread of its own, not one of a pool's: a pool is waited for at exit, and a name
    server that says nothing holds getaddrinfo for half a minute. One lookup a name: a slow name server can't
    take up all ``LOOKUPS_MAX`` with one host, however often that is tried.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(LOOKUPS_MAX)
        self._under_way: dict[str, asyncio.Task[Sequence[str]]] = {}

    async def __call__(self, name: str) -> Sequence[str]:
        """See ``Resolver``."""
        lookup = self._under_way.get(name)
        if lookup is None:
            lookup = self._under_way[name] = asyncio.create_task(self._look_up(name))
            lookup.add_done_callback(lambda done: self._end(name, done))
        # Who gives up waiting must not take the lookup away from the others.
        return await asyncio.shield(lookup)

    async def _look_up(self, name: str) -> Sequence[str]:
        async with self._free:
            answer: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
            threading.Thread(target=_ask_system, args=(name, answer), daemon=True, name="moneta-lookup").start()
            return await answer

    def _end(self, name: str, lookup: asyncio.Task[Sequence[str]]) -> None:
        del self._under_way[name]
        if not lookup.cancelled():
            lookup.exception()  # Looked at: nobody may be waiting for it any more.


@dataclass(slots=True)
class _Route:
    """What is known of the way to one origin. Mutable: it lives in one event loop."""

    client: Client | None = None
    address: str = ""
    addresses: Sequence[str] = ()
    unreachable: str = ""
    fresh_until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def fresh_client(self) -> Client | None:
        """Return the client if its address was judged lately enough."""
        return self.client if time.monotonic() < self.fresh_until else None

    def suspect(self) -> None:
        """Note that no connection could be made: ask DNS again, and prefer another address."""
        self.unreachable, self.fresh_until = self.address, 0.0

    def has_alternative(self) -> bool:
        """Return whether the name has an address that is not known to be unreachable."""
        return any(address != self.unreachable for address in self.addresses)

    def choose(self, addresses: Sequence[str]) -> str:
        """Return the address in use if it is still an answer, so that connections live on; else the best one."""
        usable = [address for address in addresses if address != self.unreachable] or addresses
        return self.address if self.address in usable else usable[0]


class _NoAnswerError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = "".join(char for char in detail[:DETAIL_CHARS_MAX] if char.isprintable())


async def _post(
    client: Client, endpoint: Endpoint, request: OutboundRequest, *, started: float, left_s: float
) -> Answer:
    # The client's own clock keeps the deadline: asyncio.timeout took 25 us more a request.
    prepared = (
        client.post(endpoint.target)
        .headers(request.headers)
        .body_bytes(request.body)
        .timeout(timedelta(seconds=left_s))
    )
    async with prepared.build_streamed() as response:
        # One byte more than the limit tells a cut answer from one that just fits. Leaving closes what is unread.
        read = await response.body_reader.read(ANSWER_BYTES_MAX + 1)
        body = b"" if read is None else read.to_bytes()
        return Answer(
            status=response.status,
            content_type=_header(response, "content-type") or "",
            retry_after=_header(response, "retry-after"),
            body=body[:ANSWER_BYTES_MAX],
            is_truncated=len(body) > ANSWER_BYTES_MAX,
            duration_ms=_ms_since(started),
        )


def _header(response: Response, name: str) -> str | None:
    try:
        value = response.get_header(name)
    except ValueError:  # Not UTF-8: as good as absent.
        return None
    return None if value is None else value[:ANSWER_HEADER_CHARS_MAX]


def _reason(error: RequestError) -> str:
    """Return the short code for what went wrong.

    The client's classes alone don't tell: a head that never came is a ConnectTimeoutError, and a peer that hung
    up after the request a ConnectError. The causes do: the phase is the second of them.
    """
    if isinstance(error, ReadTimeoutError):
        return "too_slow"
    causes = _causes(error)
    is_late = isinstance(error, RequestTimeoutError)
    if "client error (Connect)" not in causes:
        return "timeout" if is_late else "protocol"
    return "connect" if is_late or any(cause.startswith("tcp ") for cause in causes) else "tls"


def _causes(error: RequestError) -> list[str]:
    return [cause["message"] for cause in error.details["causes"] or ()]


def _innermost(error: RequestError) -> str:
    """Return the last cause alone: the first ones quote the URL, whose path may hold a secret."""
    causes = _causes(error)
    return causes[-1] if causes else error.message


def _ask_system(name: str, answer: asyncio.Future[Sequence[str]]) -> None:
    """Run in a thread: look ``name`` up, and hand the addresses or the error to the loop that waits."""
    tell = partial(_tell, answer, *_addresses(name))
    with suppress(RuntimeError):  # The loop was closed meanwhile: nobody waits.
        answer.get_loop().call_soon_threadsafe(tell)


def _addresses(name: str) -> tuple[Sequence[str], Exception | None]:
    try:
        rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return [], error
    return list(dict.fromkeys(str(row[4][0]) for row in rows)), None


def _tell(answer: asyncio.Future[Sequence[str]], addresses: Sequence[str], error: Exception | None) -> None:
    if answer.cancelled():
        return
    if error is None:
        answer.set_result(addresses)
    else:
        answer.set_exception(error)


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1_000)
