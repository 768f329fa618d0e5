"""The hub, as a party calls it: send contracts and acts, see what became of them, read contracts."""

import secrets
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import quote

from moneta.client.caller import Caller, problem_error, read_object
from moneta.client.clock import Clock, Sleep, system_clock
from moneta.client.contracts import SignedAct, SignedContract
from moneta.client.errors import ContractEndedError, HubProblemError, HubUnreachableError, WaitTimeoutError
from moneta.client.party import Party, Tokens
from moneta.client.transport import TIMEOUT_S
from moneta.domain.contracts import EndStatus
from moneta.domain.identifiers import ContractId, EventId, UnixSeconds, WebhookId
from moneta.domain.ijson import Value
from moneta.signing.chain import to_json

EVENT_ID_BYTES: Final = 16
IDEMPOTENCY_KEY_BYTES: Final = 16
WAIT_TIMEOUT_S: Final = 10.0
POLL_S_MIN: Final = 0.02
POLL_S_MAX: Final = 1.0
ENDS: Final = frozenset({*EndStatus, "superseded"})

NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event ready to send. ``raw`` are its bytes: kept, they can be sent again after a crash, to the same effect."""

    event_id: EventId
    contract_id: ContractId
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The hub has the event, durably. ``was_replayed``: it had it before, and this is the first answer again."""

    event_id: EventId
    contract_id: ContractId
    received_at: Value
    was_replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """What became of an event: ``accepted``, ``processed`` or ``rejected``; then ``problem`` says why."""

    event_id: EventId
    status: str
    problem: Mapping[str, Value] | None
    document: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryState:
    """A message of the hub's to this party: ``pending``, ``delivered`` or ``dead``; ``document`` has each attempt."""

    webhook_id: WebhookId
    status: str
    document: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractView:
    """A contract as the hub shows it. Nothing in it is verified: give ``jws`` and the rest to a ``Verifier``."""

    contract_id: ContractId
    status: str
    revision: int
    jws: Value
    act: Value
    receipt: Value
    document: Mapping[str, Value]


Found = TypeVar("Found", EventState, ContractView)


def build_event(
    party: Party, kind: str, contract: SignedContract | SignedAct, *, now: UnixSeconds, event_id: str | None = None
) -> Event:
    """Return the CloudEvent that brings ``contract`` to the hub. ``kind``: submit, sign, decline or cancel."""
    chosen = EventId(event_id or f"e-{secrets.token_hex(EVENT_ID_BYTES)}")
    data = {"contract": contract.jws} if isinstance(contract, SignedContract) else {"act": contract.compact}
    members = {
        "specversion": "1.0",
        "id": chosen,
        "source": party.organization_id,
        "type": f"moneta.contract.{kind}",
        "subject": contract.contract_id,
        "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": data,
    }
    return Event(event_id=chosen, contract_id=contract.contract_id, raw=to_json(members))


class HubClient:
    """Calls one hub as one party. Safe to share between threads. ``caller`` makes the calls that have no method here.

    Every call raises ``HubProblemError`` for the hub's no, and ``HubUnreachableError`` for no usable answer. ``tls``:
    for a hub whose certificate a private authority signed.
    """

    def __init__(
        self,
        party: Party,
        *,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        clock: Clock = system_clock,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.party = party
        self._clock = clock
        self._sleep = sleep
        self.caller = Caller(
            party.hub,
            Tokens(party, clock).current,
            allows_http=party.allows_http,
            timeout_s=timeout_s,
            tls=tls,
            sleep=sleep,
        )

    def submit(self, contract: SignedContract, *, event_id: str | None = None) -> Accepted:
        """Send a new contract with this party's signature, the first."""
        return self._send("submit", contract, event_id)

    def sign(self, contract: SignedContract, *, event_id: str | None = None) -> Accepted:
        """Send a contract with this party's signature added."""
        return self._send("sign", contract, event_id)

    def decline(self, act: SignedAct, *, event_id: str | None = None) -> Accepted:
        """Send a decline."""
        return self._send("decline", act, event_id)

    def cancel(self, act: SignedAct, *, event_id: str | None = None) -> Accepted:
        """Send a cancel."""
        return self._send("cancel", act, event_id)

    def post(self, event: Event) -> Accepted:
        """Send an event, again if need be: the same bytes have one effect."""
        headers = {"Content-Type": "application/cloudevents+json"}
        reply = self.caller.call("POST", "/event", body=event.raw, headers=headers, is_repeatable=True)
        document = read_object(reply, "POST /event")
        return Accepted(
            event_id=event.event_id,
            contract_id=event.contract_id,
            received_at=document.get("received_at"),
            was_replayed=reply.headers.get("idempotency-replayed") == "true",
        )

    def event(self, event_id: str) -> EventState:
        """Return what became of an event of this party's."""
        document = self.caller.get(f"/events/{quote(event_id, safe='')}")
        problem = document.get("problem")
        return EventState(
            event_id=EventId(event_id),
            status=_text(document, "status"),
            problem=problem if isinstance(problem, Mapping) else None,
            document=document,
        )

    def contract(self, contract_id: str) -> ContractView:
        """Return a contract that names this party."""
        document = self.caller.get(f"/contracts/{quote(contract_id, safe='')}")
        revision, acts = document.get("revision"), document.get("acts")
        return ContractView(
            contract_id=ContractId(_text(document, "contract_id")),
            status=_text(document, "status"),
            revision=revision if isinstance(revision, int) else 0,
            jws=document.get("jws"),
            act=acts[0] if isinstance(acts, list) and acts else None,
            receipt=document.get("receipt"),
            document=document,
        )

    def wait_processed(self, event: Accepted, *, timeout_s: float = WAIT_TIMEOUT_S) -> EventState:
        """Wait until the event is processed.

        Raises:
            HubProblemError: It was rejected; with the problem that the hub stored.
            WaitTimeoutError: Neither, in time.
        """
        state = self._poll(lambda: self.event(event.event_id), lambda found: found.status != "accepted", timeout_s)
        if state.status == "rejected":
            raise problem_error(state.problem or {}, status=0)
        return state

    def wait_for(
        self, contract_id: str, statuses: Collection[str], *, timeout_s: float = WAIT_TIMEOUT_S
    ) -> ContractView:
        """Wait until the contract has one of ``statuses``; one that is not there yet is waited for too.

        Raises:
            ContractEndedError: It ended in another.
            WaitTimeoutError: It did not come to any, in time.
        """
        awaited = frozenset(statuses) | ENDS
        found = self._poll(lambda: self.contract(contract_id), lambda view: view.status in awaited, timeout_s)
        if found.status not in statuses:
            raise ContractEndedError(f"contract {contract_id}: {found.status}", status=found.status)
        return found

    def issue_credential(self, mpass_id: str) -> str:
        """Return a new credential of an mPass of this MO's, for its holder: an SD-JWT VC with every disclosure."""
        return _text(self._ask_for(f"/mpass/{quote(mpass_id, safe='')}/credential"), "credential")

    def delivery(self, webhook_id: str) -> DeliveryState:
        """Return a message of the hub's to this party, with its attempts."""
        return _delivery(self.caller.get(f"/deliveries/{quote(webhook_id, safe='')}"))

    def redeliver(self, webhook_id: str) -> DeliveryState:
        """Have a message sent again, whatever became of it. A lost answer may cost one sending more."""
        return _delivery(self._ask_for(f"/deliveries/{quote(webhook_id, safe='')}/redeliver"))

    def replay_contract(self, contract_id: str) -> int:
        """Have all messages about a contract sent again, the oldest first, and return how many."""
        return self._replay({"contract_id": contract_id})

    def replay(self, *, owed_from: UnixSeconds, owed_to: UnixSeconds) -> int:
        """Have all messages of a time sent again, both ends inclusive, the oldest first, and return how many."""
        return self._replay({"from": owed_from, "to": owed_to})

    def test_endpoint(self) -> DeliveryState:
        """Have a test message sent, once, even if the endpoint is disabled; ``delivery`` tells what came of it."""
        return _delivery(self._ask_for(f"/organizations/{self.party.role}/{self.party.organization_id}/webhook-test"))

    def _replay(self, asked: Mapping[str, object]) -> int:
        count, page = 0, asked
        while True:  # ends with the last page: what is owed meanwhile is later than the range, or comes once more
            done = self.caller.send(
                "POST", "/deliveries/replay", page, idempotency_key=secrets.token_hex(IDEMPOTENCY_KEY_BYTES)
            )
            owed, cursor = done.get("count"), done.get("next_cursor")
            count += owed if isinstance(owed, int) else 0
            if cursor is None:
                return count
            page = {**asked, "cursor": cursor}

    def _ask_for(self, path: str) -> Mapping[str, Value]:
        return read_object(self.caller.call("POST", path, body=None, headers={}, is_repeatable=True), path)

    def _send(self, kind: str, contract: SignedContract | SignedAct, event_id: str | None) -> Accepted:
        return self.post(build_event(self.party, kind, contract, now=self._clock(), event_id=event_id))

    def _poll(self, ask: Callable[[], Found], is_done: Callable[[Found], bool], timeout_s: float) -> Found:
        """Ask until it is done: often at first, since most contracts take milliseconds, then once a second."""
        deadline = time.monotonic() + timeout_s
        wait_s = POLL_S_MIN
        while True:
            found = self._ask(ask)
            if found is not None and is_done(found):
                return found
            if time.monotonic() + wait_s > deadline:
                raise WaitTimeoutError(f"not within {timeout_s} s; last seen: {getattr(found, 'status', 'nothing')}")
            self._sleep(wait_s)
            wait_s = min(2 * wait_s, POLL_S_MAX)

    def _ask(self, ask: Callable[[], Found]) -> Found | None:
        try:
            return ask()
        except HubProblemError as error:
            if error.status != NOT_FOUND:
                raise
            return None  # accepted, and not processed yet


def _delivery(document: Mapping[str, Value]) -> DeliveryState:
    return DeliveryState(
        webhook_id=WebhookId(_text(document, "webhook_id")), status=_text(document, "status"), document=document
    )


def _text(document: Mapping[str, Value], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise HubUnreachableError(f"the hub's answer has no {name}")
    return value
