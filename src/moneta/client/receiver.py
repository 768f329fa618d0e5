"""A webhook endpoint in one call: verify, remember, decide, answer.

``Receiver.handle`` takes what any web framework has, headers and bytes, and gives what it needs, a status, headers and
bytes. In this order, whatever is received:

1. Verify (``messages.receive``). What does not verify is answered 4xx and leaves no trace.
2. The same ``webhook-id`` again gets the same answer.
3. A message older than what was seen of its contract changes nothing.
4. A request to sign goes to ``decide``, everything else to ``notice``.
5. Remember the answer, durably; only then give it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from threading import Lock
from typing import Final

from moneta.client.clock import Clock, system_clock
from moneta.client.contracts import SignedAct, respond
from moneta.client.decisions import Decide
from moneta.client.errors import KeysUnavailableError, MessageRefusedError
from moneta.client.messages import Headers, Message, MessageType, receive
from moneta.client.party import Party
from moneta.client.replay import MemoryReplayStore, ReplayStore
from moneta.client.verify import Verifier
from moneta.domain.identifiers import UnixSeconds
from moneta.signing.chain import to_json

LOCKS: Final = 64
KEYS_RETRY_AFTER_S: Final = 5

Notice = Callable[[Message], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to send back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        """Send it as the answer to the request that ``handler`` of the standard library's server has in hand."""
        handler.send_response(self.status)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self.body)
        handler.wfile.flush()


def answer(message: Message, party: Party, decide: Decide, *, now: UnixSeconds) -> bytes:
    """Return the body that answers ``message``: a signature or an act where ``decide`` wants one, else nothing.

    Nothing too, and without asking, where a new key of this organization's is to prove itself: whoever holds it does.

    Raises:
        Exception: Whatever ``decide`` raises; nothing is signed then.
    """
    if message.type is not MessageType.SIGNATURE_REQUESTED or message.contract is None or message.contract.turn is None:
        return b""
    response = respond(message.contract, party, decide, issued_at=now)
    if response is None:
        return b""
    return to_json({"act": response.compact} if isinstance(response, SignedAct) else {"contract": response.jws})


class Receiver:
    """One party's endpoint. Safe to call from many threads; messages about one contract go one at a time.

    ``secrets``: ``whsec_...``, two while one is being replaced. ``decide`` compares the contract with the party's own
    records and says Sign, Decline or Later. ``notice`` is told of ends, rejections and tests, at least once each; what
    it raises makes the hub send the message again. ``store``: in memory if None, which forgets at a restart.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        secrets: Sequence[str],
        decide: Decide,
        notice: Notice | None = None,
        store: ReplayStore | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._verifier = verifier
        self._secrets = tuple(secrets)
        self._decide = decide
        self._notice = notice
        self._store = MemoryReplayStore() if store is None else store
        self._clock = clock
        self._locks = tuple(Lock() for _ in range(LOCKS))

    def handle(self, headers: Headers, body: bytes) -> Answer:
        """Return the answer to one request.

        Raises:
            Exception: Whatever ``decide``, ``notice`` or the store raises: answer 500, and the message comes again.
        """
        now = self._clock()
        try:
            message = receive(headers, body, secrets=self._secrets, verifier=self._verifier, now=now)  # (1)
            with self._locks[hash(message.subject) % LOCKS]:
                return _ok(self._answer(message, now))
        except MessageRefusedError as error:
            return _problem(error.http_status, error.code, error.detail, {})
        except KeysUnavailableError as error:
            return _problem(503, "keys_unavailable", str(error), {"Retry-After": str(KEYS_RETRY_AFTER_S)})

    def _answer(self, message: Message, now: UnixSeconds) -> bytes:
        remembered = self._store.seen(message.webhook_id)  # (2)
        if remembered is not None:
            return remembered
        body = b""
        if not self._is_stale(message):  # (3)
            body = answer(message, self._verifier.party, self._decide, now=now)  # (4)
            if message.type is not MessageType.SIGNATURE_REQUESTED and self._notice is not None:
                self._notice(message)
        self._store.remember(message.webhook_id, message.contract_id, message.sequence, body)  # (5)
        return body

    def _is_stale(self, message: Message) -> bool:
        # A rejection is about an event of ours, not about how far the contract has come: it is never too old.
        if message.contract_id is None or message.type is MessageType.REJECTED:
            return False
        return message.sequence < self._store.latest(message.contract_id)


def _ok(body: bytes) -> Answer:
    kind = {"Content-Type": "application/json"} if body else {}
    return Answer(status=200, headers={**kind, "Content-Length": str(len(body))}, body=body)


def _problem(status: int, code: str, detail: str, headers: Mapping[str, str]) -> Answer:
    body = to_json({"status": status, "code": code, "detail": detail})
    fixed = {"Content-Type": "application/problem+json", "Content-Length": str(len(body))}
    return Answer(status=status, headers={**fixed, **headers}, body=body)
