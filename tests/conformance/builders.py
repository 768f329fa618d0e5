"""Values to put into a store: valid enough for the store, and of the sizes that real ones have.

Everything derives from the names and numbers that a test gives, so that the same call makes the same value.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

from moneta.application.ports import (
    Attempt,
    AttemptResult,
    Change,
    DeliveryStatus,
    DirectoryChange,
    EventOutcome,
    EventStatus,
    EventType,
    Identity,
    IdentityRole,
    NewEvent,
    OwedDelivery,
    RememberedAnswer,
    Superseding,
    WebhookSecret,
    WebhookType,
)
from moneta.domain.audit import contract_leaf
from moneta.domain.contracts import Act, ActName, LogLine, Signature, Start, Step
from moneta.domain.identifiers import MONETA, UnixMillis
from moneta.domain.ijson import NumberText
from moneta.domain.keys import KeyChange, KeyStatus, KeyUse, RegisteredKey
from moneta.domain.mpasses import Facts, Lock, MPass
from moneta.domain.organizations import Organization, OrganizationKind, OrganizationStatus
from moneta.domain.pending_changes import PendingChange
from moneta.domain.templates import Role, TemplateRecord, TemplateStatus
from moneta.signing import base64url

NOW_S = 1_795_000_000
NOW = NOW_S * 1000
HUB = "https://hub.example.org"
MO, PUBLISHER, MPASS = "mo-1", "publisher-1", "mpass-1"
ORDER = ((Role.MO,), (Role.MONETA,), (Role.PUBLISHER,))
PENDING_STATUS = "pending_publisher_signature"
SIGNATURE_BYTES = {"RS256": 256, "ES256": 64}


class StillClock:
    """A clock that moves only when it is told to."""

    def __init__(self, moment: int = NOW) -> None:
        self.moment = moment

    def now_ms(self) -> UnixMillis:
        return UnixMillis(self.moment)

    def advance(self, seconds: float) -> None:
        self.moment += int(seconds * 1000)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


# Events.


def new_event(event_id="event-1", *, source=MO, contract_id="contract-1", raw=None, kind=EventType.SUBMIT, seq=7):
    raw = f"{source}/{event_id}".encode() if raw is None else raw
    return NewEvent(
        source=source,
        event_id=event_id,
        type=kind,
        contract_id=contract_id,
        raw=raw,
        digest=hashlib.sha256(raw).digest(),
        registry_seq=seq,
    )


def processed(event: NewEvent, *, at=NOW + 5) -> EventOutcome:
    return EventOutcome(source=event.source, event_id=event.event_id, status=EventStatus.PROCESSED, processed_at=at)


def rejected(event: NewEvent, *, at=NOW + 5, problem=b'{"code":"wrong_signer"}') -> EventOutcome:
    return EventOutcome(
        source=event.source, event_id=event.event_id, status=EventStatus.REJECTED, processed_at=at, problem=problem
    )


# Contracts.


def body_bytes(  # one argument a member
    contract_id, *, mo=MO, publisher=PUBLISHER, org=None, mpass=MPASS, created_at=NOW_S, description=None
):
    members = {
        "contract_id": contract_id,
        "template_id": "transaction-contract",
        "version": 1,
        "mo_id": mo,
        "publisher_id": publisher,
        "org_id": org,
        "mpass_id": mpass,
        "description": description,
        "created_at": created_at,
        "payload": {"transaction": {"amount": "100.00", "currency": "USD", "description": "Premium service access"}},
    }
    return json.dumps({name: member for name, member in members.items() if member is not None}).encode()


def signature(role: Role, *, algorithm="ES256", signed_at=NOW_S, prev=None, **more) -> Signature:
    key_id = base64url.encode(digest(f"key of {role}"))
    header = {
        "alg": algorithm,
        "kid": key_id,
        "typ": "moneta-contract+jws",
        "iat": signed_at,
        "aud": HUB,
        "role": role,
        "prev": prev,
        **more,
    }
    protected = base64url.encode(json.dumps(header, separators=(",", ":")).encode())
    raw = hashlib.shake_256(protected.encode()).digest(SIGNATURE_BYTES[algorithm])
    return Signature(
        role=role,
        key_id=key_id,
        algorithm=algorithm,
        issued_at=signed_at,
        protected=protected,
        signature=base64url.encode(raw),
    )


def first_step(contract_id, *, received_at=NOW, expires_at=None, actor=MO, raw_body=None, **body) -> Step:
    """The MO's signature and Moneta's, in one commit."""
    raw = body_bytes(contract_id, **body) if raw_body is None else raw_body
    head = base64url.encode(digest(contract_id))
    signatures = (
        signature(Role.MO, algorithm="RS256"),
        signature(Role.MONETA, prev=head, template_sha256=head, received_at=received_at // 1000, registry_seq=7),
    )
    return with_leaf(
        contract_id,
        Step(
            revision=1,
            committed_at=received_at + 3,
            leaf=b"",
            signatures=signatures,
            log=(
                LogLine(event="contract_created", timestamp=NOW_S, actor=actor, revision=1),
                LogLine(event="contract_signed", timestamp=NOW_S, actor=actor, revision=1),
                LogLine(event="contract_signed", timestamp=NOW_S, actor=MONETA, revision=1),
            ),
            start=Start(
                body_bytes=raw,
                signing_order=ORDER,
                template_sha256=head,
                received_at=received_at,
                expires_at=expires_at,
            ),
        ),
        status=PENDING_STATUS,
    )


def last_step(contract_id, *, revision=2, at=NOW + 1000, actor=PUBLISHER) -> Step:
    """The publisher's signature, and the receipt."""
    line = LogLine(event="contract_finalized", timestamp=at // 1000, actor=MONETA, revision=revision)
    return with_leaf(
        contract_id,
        Step(
            revision=revision,
            committed_at=at,
            leaf=b"",
            signatures=(signature(Role.PUBLISHER, prev=base64url.encode(digest("head"))),),
            log=(replace(line, event="contract_signed", actor=actor), line),
            receipt=compact(f"receipt of {contract_id}"),
            finalized_at=at // 1000,
        ),
        status="finalized",
    )


def decline_step(contract_id, *, revision=2, at=NOW + 1000, actor=PUBLISHER) -> Step:
    return with_leaf(
        contract_id,
        Step(
            revision=revision,
            committed_at=at,
            leaf=b"",
            acts=(Act(name=ActName.DECLINE, actor=actor, compact=compact(f"decline of {contract_id}")),),
            log=(LogLine(event="contract_declined", timestamp=at // 1000, actor=actor, revision=revision),),
            receipt=compact(f"receipt of {contract_id}"),
            finalized_at=at // 1000,
        ),
        status="declined",
    )


def with_leaf(contract_id, step: Step, *, status) -> Step:
    leaf = contract_leaf(
        contract_id=contract_id,
        revision=step.revision,
        committed_at=step.committed_at,
        status=status,
        body_bytes=b"body",
        signatures=step.signatures,
        acts=step.acts,
        receipt=step.receipt,
        superseded_by=step.superseded_by,
    )
    return replace(step, leaf=leaf)


def compact(text) -> str:
    return ".".join(base64url.encode(f"{part} of {text}".encode()) for part in ("header", "payload", "signature"))


def submitted(contract_id="contract-1", *, event=None, owed=(), **step) -> Change:
    """The change that creates a contract."""
    return Change(
        contract_id=contract_id,
        read_revision=0,
        outcome=None if event is None else processed(event),
        step=first_step(contract_id, **step),
        owed=tuple(owed),
        status=PENDING_STATUS,
    )


def finalized(contract_id="contract-1", *, event=None, owed=(), **step) -> Change:
    """The change that completes it."""
    return Change(
        contract_id=contract_id,
        read_revision=1,
        outcome=None if event is None else processed(event),
        step=last_step(contract_id, **step),
        owed=tuple(owed),
        status="finalized",
    )


def declined(contract_id="contract-1", *, event=None, owed=(), **step) -> Change:
    """The change that ends it otherwise."""
    return Change(
        contract_id=contract_id,
        read_revision=1,
        outcome=None if event is None else processed(event),
        step=decline_step(contract_id, **step),
        owed=tuple(owed),
        status="declined",
    )


def waiting(contract_id="contract-1", *, deem_at, revision=2, at=NOW + 1000) -> Change:
    """The change after which only those are asked whose silence counts from ``deem_at`` on."""
    step = Step(
        revision=revision,
        committed_at=at,
        leaf=b"",
        signatures=(signature(Role.PUBLISHER, prev=base64url.encode(digest("head"))),),
        log=(LogLine(event="contract_signed", timestamp=at // 1000, actor=PUBLISHER, revision=revision),),
        deem_at=deem_at,
    )
    return Change(
        contract_id=contract_id,
        read_revision=revision - 1,
        step=with_leaf(contract_id, step, status="pending_org_signature"),
        status="pending_org_signature",
    )


def superseding(older="old", *, by="contract-1", revision=3, at=NOW + 5000) -> Superseding:
    """The step on ``older`` that makes it superseded ``by`` another."""
    line = LogLine(event="contract_superseded", timestamp=at // 1000, actor=MONETA, revision=revision)
    step = Step(revision=revision, committed_at=at, leaf=b"", log=(line,), superseded_by=by)
    return Superseding(contract_id=older, read_revision=revision - 1, step=with_leaf(older, step, status="superseded"))


# Deliveries.


def owed_delivery(webhook_id="msg-1", *, to=PUBLISHER, contract_id="contract-1", revision=1, at=NOW, kind=None):
    kind = WebhookType.SIGNATURE_REQUESTED if kind is None else kind
    return OwedDelivery(
        webhook_id=webhook_id, organization_id=to, type=kind, contract_id=contract_id, revision=revision, owed_at=at
    )


def owing(*owed: OwedDelivery) -> Change:
    """A change that only owes."""
    return Change(contract_id=owed[0].contract_id, read_revision=0, owed=owed)


def attempt(at=NOW, http_status=200, **more) -> Attempt:
    return Attempt(at=at, duration_ms=12, http_status=http_status, **more)


def delivered(owed: OwedDelivery, *, at=NOW, **more) -> AttemptResult:
    return result(owed, DeliveryStatus.DELIVERED, at=at, **more)


def failed(owed: OwedDelivery, *, retry_at, at=NOW, **more) -> AttemptResult:
    return result(owed, DeliveryStatus.PENDING, at=at, http_status=503, retry_at=retry_at, **more)


def dead(owed: OwedDelivery, *, at=NOW, **more) -> AttemptResult:
    return result(owed, DeliveryStatus.DEAD, at=at, http_status=503, **more)


def result(owed, status, *, at, http_status=200, **more) -> AttemptResult:
    return AttemptResult(
        webhook_id=owed.webhook_id,
        organization_id=owed.organization_id,
        attempt=attempt(at, http_status),
        status=status,
        **more,
    )


# The directory.


def organization(organization_id=MO, *, kind=OrganizationKind.MO, code="ACME", at=NOW, **more) -> Organization:
    values = {
        "name": f"Organization {organization_id}",
        "history": ((at, OrganizationStatus.PENDING),),
        "updated_at": at,
        "metadata": {"webhook_url": f"https://{organization_id}.example/hook", "region": "eu-west-1"},
        "policies": {},
    }
    return Organization(organization_id=organization_id, kind=kind, code=code, **{**values, **more})


STRANGE_VALUES = {
    "webhook_url": "https://partner.example/hook",
    "number": NumberText("100.00"),
    "looks like one": {"digits": "100.00", "$number": "1"},
    "nested": [{"deep": [NumberText("-0"), None, True, 2**53 - 1, "ü \u0000 \U0001f600"]}],
}
"""Everything that I-JSON can carry, and a number whose digits must stay."""


def registered_key(name="key-1", *, owner=MO, seq=1, at=NOW, uses=(KeyUse.CONTRACT,)) -> RegisteredKey:
    key_id = base64url.encode(digest(name))
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(digest(f"x of {name}")), "alg": "EdDSA", "kid": key_id}
    change = KeyChange(seq=seq, at=at, status=KeyStatus.ACTIVE)
    return RegisteredKey(owner=owner, key_id=key_id, jwk=jwk, uses=frozenset(uses), changes=(change,))


def key_with(key: RegisteredKey, status: KeyStatus, *, seq, at=NOW, since=None) -> RegisteredKey:
    change = KeyChange(seq=seq, at=at, status=status, since=since)
    return replace(key, changes=(*key.changes, change))


def secret(name="secret-1", *, valid_until=None) -> WebhookSecret:
    return WebhookSecret(sealed=digest(name), created_at=NOW, valid_until=valid_until)


def mpass(mpass_id=MPASS, *, mo=MO, number=None, at=NOW, active=True, **more) -> MPass:
    values = {
        "sealed_member_ref": digest(mpass_id),
        "tier": "gold",
        "policy": {},
        "holder_jwk": None,
        "expires_at": None,
        "history": (Facts(since=at, activated_at=at if active else None),),
    }
    number = f"ACME{mpass_id}" if number is None else number
    return MPass(mpass_id=mpass_id, number=number, mo_id=mo, issued_at=at, **{**values, **more})


def locked(mpass_value: MPass, *, at=NOW + 1) -> MPass:
    facts = replace(mpass_value.history[-1], since=at, locks=frozenset({Lock.MO, Lock.USER}))
    return replace(mpass_value, history=(*mpass_value.history, facts), revision=mpass_value.revision + 1)


def revoked(mpass_value: MPass, *, at=NOW + 1) -> MPass:
    facts = replace(mpass_value.history[-1], since=at, revoked_at=at)
    return replace(mpass_value, history=(*mpass_value.history, facts), revision=mpass_value.revision + 1)


def template(name="transaction-contract", version=1, **more) -> TemplateRecord:
    payload = f"template_name: {name}\nversion: {version}\n".encode()
    values = {"description": "For tests", "status": TemplateStatus.PUBLISHED, "created_at": NOW_S}
    return TemplateRecord(
        name=name, version=version, payload=payload, sha256=base64url.sha256(payload), **{**values, **more}
    )


def identity(identity_id="operator", role=IdentityRole.OPERATOR, *, at=NOW) -> Identity:
    return Identity(identity_id=identity_id, role=role, created_at=at)


def remembered(idempotency_key="once", *, caller=MO, body=b'{"id":"1"}') -> RememberedAnswer:
    return RememberedAnswer(caller=caller, idempotency_key=idempotency_key, digest=digest("request"), body=body, at=NOW)


def pending_change(change_id="change-1", *, at=NOW, **members) -> PendingChange:
    return PendingChange(
        **{
            "change_id": change_id,
            "operation": "change_organization_status",
            "subject": MO,
            "target": {"kind": "mo", "organization_id": MO},
            "members": {"status": "Active"},
            "if_match": None,
            "asked_by": "operator",
            "asked_at": at,
            **members,
        }
    )


def change(**parts) -> DirectoryChange:
    return DirectoryChange(record=b"header.payload.signature", **parts)


def race(calls):
    """Make every call at once, each in a thread of its own, and return what they answered, in order."""
    start = Barrier(len(calls))

    def run(call):
        start.wait(timeout=30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls, timeout=60))
