"""HTTP to one hub with the standard library: no redirects, no proxies, a limit on every wait and on every answer.

What can be sent twice is sent again after a network failure, a 429 or a 5xx that says "not now", with the waits that
``Retry-After`` asks for, within limits. ``POST /event`` is such: the hub knows the same bytes again (protocol,
section 5).
"""

import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from moneta.client.clock import Sleep
from moneta.client.errors import HubUnreachableError

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
ATTEMPTS_MAX: Final = 6
FIRST_WAIT_S: Final = 0.1
WAIT_S_MAX: Final = 30.0
RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Exchanges with the hub at a base URL, one connection each. Safe to share between threads."""

    def __init__(
        self,
        hub: str,
        *,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        parts = urlsplit(hub)
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._prefix = parts.path
        self._timeout_s = timeout_s
        self._tls = (tls or ssl.create_default_context()) if self._is_tls else None
        self._sleep = sleep

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, is_repeatable: bool
    ) -> Reply:
        """Return the answer; where ``is_repeatable``, the last one of up to ``ATTEMPTS_MAX`` tries.

        Raises:
            HubUnreachableError: There was none.
        """
        for attempt in range(ATTEMPTS_MAX - 1 if is_repeatable else 0):
            try:
                reply = self._exchange(method, path, headers, body)
            except (OSError, HTTPException):
                wait_s = _wait_s(attempt, None)
            else:
                if reply.status not in RETRIED_STATUSES:
                    return reply
                wait_s = _wait_s(attempt, reply.headers.get("retry-after"))
            self._sleep(wait_s)
        try:
            return self._exchange(method, path, headers, body)
        except (OSError, HTTPException) as error:
            raise HubUnreachableError(f"{method} {path}: no answer: {type(error).__name__}") from error

    def _exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        deadline = time.monotonic() + self._timeout_s
        connection = self._connect()
        try:
            connection.request(method, self._prefix + path, body=body, headers={**headers, "Connection": "close"})
            response = connection.getresponse()
            return Reply(
                status=response.status,
                headers={name.lower(): value for name, value in response.getheaders()},
                body=_read(response, deadline),
            )
        finally:
            connection.close()

    def _connect(self) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)


def _read(response: HTTPResponse, deadline: float) -> bytes:
    """Return the body, before the deadline and within the limit: a socket's time-out alone allows a byte every 9 s."""
    read = bytearray()
    while chunk := response.read1(64 * 1024):
        read += chunk
        if len(read) > ANSWER_BYTES_MAX:
            raise HTTPException(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("the answer took too long")
    return bytes(read)


def _wait_s(attempt: int, retry_after: str | None) -> float:
    """Return how long to wait before the next try: what was asked for, else twice as long each time; with jitter.

    The jitter keeps clients that failed together from coming back together.
    """
    asked = float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else 0.0
    wait_s = max(asked, FIRST_WAIT_S * (1 << attempt))
    return min(wait_s * (1 + secrets.randbelow(250) / 1000), WAIT_S_MAX)
