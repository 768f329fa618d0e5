"""The organizations of a tortured hub: what they send, what they are told, what they answer.

They are what the hub is held against, so they lose nothing: a client keeps each event until it has seen its 202, and
sends the same bytes again; a receiver remembers every message and what it answered. Both are ``moneta.client``'s.
"""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from moneta.application.ports import Answer, Clock, EventType, OutboundRequest
from moneta.client import Decline, Later, Receiver, Role, Sign, build_contract, build_event, sign_first
from moneta.client.contracts import SignedContract, cancel, decline, respond
from moneta.domain.identifiers import ContractId, EventId, MPassId, OrganizationId, UnixMillis
from tests.torture.house import CODES, CONTRACT_KEYS, House, Organization

PAYLOAD = {"transaction": {"amount": "100.00", "currency": "USD", "description": "Premium service access"}}
TEMPLATE_OF = {Role.MO: "transaction-contract", Role.PUBLISHER: "charge-contract"}
ENDS = {"finalized", "declined", "cancelled", "expired"}


class Reply(StrEnum):
    """How the counterparty replies to the request for its signature."""

    SIGNS = "signs in its answer"
    POSTS = "signs by a request of its own"
    SIGNS_AND_POSTS = "does both"
    DECLINES = "declines in its answer"
    POSTS_DECLINE = "declines by a request of its own"
    SILENT = "says nothing"


REPLIES = dict(zip(Reply, (50, 15, 10, 5, 10, 10), strict=True))


@dataclass(frozen=True, kw_only=True)
class Deal:
    """A contract and what its parties are going to do about it."""

    contract_id: ContractId
    initiator: Organization
    counterparty: Organization
    key_number: int
    reply: Reply
    signed: SignedContract
    expires_at: int | None


@dataclass(kw_only=True)
class Sent:
    """An event that a client keeps until it is acknowledged. ``ready_at``: not sent before."""

    source: Organization
    event_id: EventId
    type: EventType
    contract_id: ContractId
    raw: bytes
    ready_at: UnixMillis
    received_at: UnixMillis | None = None

    @property
    def name(self) -> tuple[OrganizationId, EventId]:
        """What the hub knows it by."""
        return self.source.organization_id, self.event_id


@dataclass(frozen=True, kw_only=True)
class Told:
    """A message as a receiver got it, and what it answered."""

    type: str
    contract_id: str
    sequence: int
    digest: bytes
    answer: bytes


class Partners:
    """Everybody outside of the hub. ``complain`` is told of what must not happen."""

    def __init__(self, house: House, clock: Clock, chance: random.Random, complain: Callable[[str], None]) -> None:
        self._house, self._clock, self._chance, self._complain = house, clock, chance, complain
        self.deals: dict[ContractId, Deal] = {}
        self.sent: dict[tuple[OrganizationId, EventId], Sent] = {}
        self.told: dict[str, dict[str, Told]] = {code: {} for code in CODES}
        self.by_id = {one.organization_id: one for one in house.organizations.values()}
        self.compromised: set[str] = set()
        self.issued: list[MPassId] = []
        self._receivers = {code: self._receiver(one) for code, one in house.organizations.items()}

    @property
    def now_s(self) -> int:
        return self._clock.now_ms() // 1000

    # What they send.

    def start_deal(self) -> None:
        """Have somebody think of a contract, and the first event about it."""
        chance, number = self._chance, len(self.deals)
        mo, publisher = (
            self._house.organizations[chance.choice(codes)] for codes in (("MOA", "MOB"), ("PUBA", "PUBB"))
        )
        parties = [mo, publisher] if chance.random() < 0.8 else [publisher, mo]
        usable = [one for one in range(CONTRACT_KEYS) if f"{parties[0].code} contract {one}" not in self.compromised]
        key_number = chance.choice(usable)
        expires_at = self.now_s + chance.randint(2, 40) if chance.random() < 0.25 else None
        members = {} if expires_at is None else {"expires_at": expires_at}
        contract_id = ContractId(f"contract-{number}")
        body = build_contract(
            template_id=TEMPLATE_OF[parties[0].role],
            version=1,
            contract_id=contract_id,
            payload=PAYLOAD,
            created_at=self.now_s,
            nonce=f"{number:0>24}",
            mo_id=mo.organization_id,
            publisher_id=publisher.organization_id,
            mpass_id=self._house.mpasses[mo.code],
            **members,
        )
        signed = sign_first(body, parties[0].party(key_number), issued_at=self.now_s)
        deal = Deal(
            contract_id=contract_id,
            initiator=parties[0],
            counterparty=parties[1],
            key_number=key_number,
            reply=chance.choices(list(REPLIES), list(REPLIES.values()))[0],
            signed=signed,
            expires_at=expires_at,
        )
        self.deals[contract_id] = deal
        self._send(deal.initiator, "submit", signed, key_number=key_number)
        if chance.random() < 0.1:
            self._send_cancel(deal)

    def _send_cancel(self, deal: Deal) -> None:
        act = cancel(deal.signed, deal.initiator.party(deal.key_number), reason_code="no_more", issued_at=self.now_s)
        self._send(deal.initiator, "cancel", act, key_number=deal.key_number, within_ms=500)

    def _send(self, source, kind, content, *, key_number=0, within_ms=0) -> None:
        event_id = EventId(f"{kind}-{content.contract_id}")
        event = build_event(source.party(key_number), kind, content, now=self.now_s, event_id=event_id)
        sent = Sent(
            source=source,
            event_id=event_id,
            type=EventType(f"moneta.contract.{kind}"),
            contract_id=content.contract_id,
            raw=event.raw,
            ready_at=UnixMillis(self._clock.now_ms() + self._chance.randint(0, within_ms)),
        )
        self.sent.setdefault(sent.name, sent)

    def waiting(self) -> list[Sent]:
        """Return what was not acknowledged yet and may be sent now."""
        now = self._clock.now_ms()
        return [one for one in self.sent.values() if one.received_at is None and one.ready_at <= now]

    # What they are told.

    def receive(self, request: OutboundRequest) -> Answer:
        """Take a webhook, as the server behind its URL would."""
        code = request.url.split("/")[2].partition(".")[0].upper()
        event = json.loads(request.body)
        before = self.told[code].get(event["id"])
        digest = hashlib.sha256(request.body).digest()
        answer = self._receivers[code].handle(request.headers, request.body)
        if answer.status != 200:
            self._complain(f"{code} refused {event['id']}: {answer.status} {answer.body.decode()}")
        if before is not None and (before.digest, before.answer) != (digest, answer.body):
            self._complain(f"{code} was told {event['id']} twice, and not the same")
        told = Told(
            type=event["type"].rpartition(".")[2],
            contract_id=event["subject"],
            sequence=int(event["sequence"]),
            digest=digest,
            answer=answer.body,
        )
        if before is None:
            self._check_order(code, told)
        self.told[code][event["id"]] = told
        return Answer(
            status=answer.status,
            content_type=answer.headers.get("Content-Type", ""),
            retry_after=None,
            body=answer.body,
            is_truncated=False,
            duration_ms=1,
        )

    def _check_order(self, code: str, told: Told) -> None:
        later = [one for one in self.told[code].values() if one.contract_id == told.contract_id and one.type in ENDS]
        if later and told.type != "rejected":
            self._complain(f"{code} was told of {told.contract_id}: {told.type} after {later[0].type}")

    def _receiver(self, one: Organization) -> Receiver:
        return Receiver(
            self._house.verifier(one, self._clock),
            secrets=[one.secret],
            decide=lambda contract: self._decide(one, contract),
            clock=lambda: self.now_s,
        )

    def _decide(self, one: Organization, contract):
        deal = self.deals[contract.contract_id]
        if self._chance.random() < 0.3:
            self._send_cancel(deal)  # at the moment when the other signs
        if deal.reply in {Reply.POSTS, Reply.SIGNS_AND_POSTS}:
            signed = respond(contract, one.party(), lambda _: Sign(), issued_at=self.now_s)
            self._send(one, "sign", signed, within_ms=500)
        if deal.reply is Reply.POSTS_DECLINE:
            act = decline(contract, one.party(), reason_code="no_order", issued_at=self.now_s)
            self._send(one, "decline", act, within_ms=500)
        if deal.reply in {Reply.SIGNS, Reply.SIGNS_AND_POSTS}:
            return Sign()
        return Decline("no_order") if deal.reply is Reply.DECLINES else Later()
