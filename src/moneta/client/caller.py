"""JSON calls to the hub under a bearer token, and the hub's problems as errors (RFC 9457)."""

import ssl
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

from moneta.client.clock import Sleep
from moneta.client.errors import HubProblemError, HubUnreachableError
from moneta.client.party import check_hub
from moneta.client.transport import TIMEOUT_S, Reply, Transport
from moneta.domain.errors import Refused
from moneta.domain.ijson import Value, parse_object
from moneta.signing.chain import to_json

_STANDARD_MEMBERS: Final = frozenset({"type", "title", "status", "detail", "code"})
_REPEATABLE: Final = frozenset({"GET", "PUT"})


class Caller:
    """Calls a hub with the token that ``token`` gives: a party's, or an operator's from ``moneta token``.

    ``tls``: for a hub whose certificate a private authority signed. Safe to share between threads.
    """

    def __init__(
        self,
        hub: str,
        token: Callable[[], str],
        *,
        allows_http: bool = False,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        check_hub(hub, allows_http=allows_http)
        self.hub = hub
        self._token = token
        self._transport = Transport(hub, timeout_s=timeout_s, tls=tls, sleep=sleep)

    def get(self, path: str, **query: str | int) -> Mapping[str, Value]:
        """Return the JSON object at ``path``.

        Raises:
            HubProblemError: The hub's no.
            HubUnreachableError: No usable answer.
        """
        full = f"{path}?{urlencode(query)}" if query else path
        return read_object(self.call("GET", full, body=None, headers={}, is_repeatable=True), path)

    def get_text(self, path: str) -> str:
        """Return the ASCII text at ``path``. See ``get`` for what it raises."""
        reply = self.call("GET", path, body=None, headers={"Accept": "*/*"}, is_repeatable=True)
        if not reply.body.isascii():
            raise HubUnreachableError(f"{path}: expected ASCII text")
        return reply.body.decode("ascii")

    def send(
        self, method: str, path: str, document: Mapping[str, object], *, idempotency_key: str | None = None
    ) -> Mapping[str, Value]:
        """Send a JSON document, and return the one that answers it. See ``get`` for what it raises.

        A POST is sent once, unless ``idempotency_key`` lets the hub know it again.
        """
        headers = {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        is_repeatable = method in _REPEATABLE or idempotency_key is not None
        reply = self.call(method, path, body=to_json(document), headers=headers, is_repeatable=is_repeatable)
        return read_object(reply, path)

    def call(
        self, method: str, path: str, *, body: bytes | None, headers: Mapping[str, str], is_repeatable: bool
    ) -> Reply:
        """Return the answer of a call that the hub granted. See ``get`` for what it raises."""
        everything = {"Authorization": f"Bearer {self._token()}", "Accept": "application/json", **headers}
        reply = self._transport.send(method, path, headers=everything, body=body, is_repeatable=is_repeatable)
        if not 200 <= reply.status < 300:  # noqa: PLR2004  # RFC 9110, section 15.3
            raise _refusal(reply, path)
        return reply


def read_object(reply: Reply, path: str) -> Mapping[str, Value]:
    """Return the JSON object of an answer.

    Raises:
        HubUnreachableError: It is none.
    """
    try:
        return parse_object(reply.body, what=path)
    except Refused as error:
        raise HubUnreachableError(f"{path}: {error.detail}") from error


def problem_error(document: Mapping[str, Value], *, status: int) -> HubProblemError:
    """Return the error for a problem document; ``status`` where it does not say its own."""
    own = document.get("status")
    return HubProblemError(
        code=str(document.get("code", "unknown")),
        status=own if isinstance(own, int) else status,
        detail=str(document.get("detail", "")),
        facts={name: value for name, value in document.items() if name not in _STANDARD_MEMBERS},
    )


def _refusal(reply: Reply, path: str) -> HubProblemError:
    try:
        return problem_error(parse_object(reply.body, what=path), status=reply.status)
    except Refused:
        # Not the hub's own answer: something between us and it.
        return HubProblemError(code="unknown", status=reply.status, detail=f"{path}: not a problem document", facts={})
