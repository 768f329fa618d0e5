"""A hub for tests: a real store, a clock that stands still, and parties at hand.

The store is the embedded one on a temporary folder, or that on AWS, where the emulators are (``stores``).
``make_hub`` gives a hub as ``moneta init`` leaves it, with an operator and the built-in templates. What a test does not
care about (an active MO and publisher, an active mPass, a signed contract) is one call.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moneta.adapters.egress import check_webhook_url
from moneta.adapters.embedded.store import EmbeddedStore
from moneta.adapters.template_reader import YAMLTemplateReader, builtin_templates
from moneta.application import identities, mpasses, organizations, templates
from moneta.application.authenticate import Caller, authenticate
from moneta.application.ingest_events import Accepted, EventRequest, ingest_events
from moneta.application.ports import EventType, Hub, IdentityRole, PublishedKey
from moneta.application.process_events import process_events
from moneta.domain.contracts import Contract, signatures_by_step
from moneta.domain.errors import Refused
from moneta.domain.identifiers import ContractId, MPassId, OrganizationId, UnixMillis, UnixSeconds
from moneta.domain.organizations import OrganizationKind
from moneta.domain.templates import Role
from moneta.signing import base64url, chain, jws, statements, tokens
from moneta.signing.keys import PrivateKey
from tests.emulated import emulated_services
from tests.signing_examples import HUB, NOW, key_of

MO, PUBLISHER = OrganizationKind


TEMPLATES = YAMLTemplateReader()
"""One for all hubs of a process: to read those that ship anew takes 0.18 s, and a test's hub else 0.01."""


class FakeClock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.moment = NOW * 1000

    def now_ms(self) -> UnixMillis:
        return UnixMillis(self.moment)

    def advance(self, seconds: float) -> None:
        self.moment += int(seconds * 1000)


class CountedRandomness:
    """Never the same twice, and the same in every run."""

    def __init__(self) -> None:
        self.count = 0

    def token(self, size: int) -> bytes:
        self.count += 1
        return hashlib.shake_256(str(self.count).encode()).digest(size)

    def uuid4(self) -> str:
        return str(uuid.UUID(bytes=self.token(16), version=4))


class StoreOnAWS:
    """The store's ports on emulators, with tables and queues of its own, which ``close`` deletes."""

    def __init__(self, clock: FakeClock) -> None:
        self._open = ExitStack()
        prefix = f"hub-{uuid.uuid4().hex[:12]}-"
        self.services = self._open.enter_context(emulated_services(clock, table_prefix=prefix))
        self._store = self.services.store(clock)
        self._store.create_tables()
        for name in ("events", "queue", "contracts", "deliveries", "directory", "retention", "relay", "lines"):
            setattr(self, name, getattr(self._store, name))

    def close(self) -> None:
        self._store.delete_tables()
        self._store.close()
        self._open.close()


class MemorySigner:
    """Moneta's key, at hand."""

    def __init__(self) -> None:
        self.key = key_of("ES256", "moneta")

    def current(self) -> PrivateKey:
        return self.key

    def published(self) -> Sequence[PublishedKey]:
        return [PublishedKey(public=self.key.public, not_before=NOW, expires_at=UnixSeconds(NOW + 366 * 86400))]


class MemorySealer:
    """Enough to tell whether something was sealed and unsealed."""

    def seal(self, plain: bytes) -> bytes:
        return b"sealed:" + bytes(byte ^ 0x5A for byte in plain)

    def unseal(self, sealed: bytes) -> bytes:
        if not sealed.startswith(b"sealed:"):
            raise ValueError("not sealed here")
        return bytes(byte ^ 0x5A for byte in sealed[7:])


@dataclass(frozen=True, kw_only=True)
class Party:
    """An organization with what it holds: a key for contracts, a key for tokens, its webhook secret."""

    organization_id: OrganizationId
    kind: OrganizationKind
    code: str
    key: PrivateKey
    auth_key: PrivateKey
    webhook_secret: str

    @property
    def role(self) -> Role:
        return Role(self.kind)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """The operator that ``moneta init`` makes."""

    organization_id: OrganizationId
    auth_key: PrivateKey


class TestHub:
    """The hub, and short ways to what a test needs first. ``close`` it."""

    __test__ = False

    def __init__(self, hub: Hub, store: EmbeddedStore | StoreOnAWS, clock: FakeClock) -> None:
        self.hub, self.store, self.clock = hub, store, clock
        self.console = self.add_identity("operator", IdentityRole.OPERATOR)

    def close(self) -> None:
        self.store.close()

    # Who is calling.

    def add_identity(self, name: str, role: IdentityRole) -> Operator:
        holder = Operator(organization_id=OrganizationId(name), auth_key=key_of("ES256", name))
        identities.add_identity(self.hub, identity_id=holder.organization_id, role=role, key=holder.auth_key.public)
        return holder

    def token(self, holder: Party | Operator, **changed: Any) -> str:
        claims = {
            "subject": holder.organization_id,
            "audience": self.hub.base_url,
            "token_id": "jti-1",
            "issued_at": self.hub.now_s(),
        }
        return tokens.make_token(holder.auth_key, **{**claims, **changed})

    def caller(self, holder: Party | Operator) -> Caller:
        return authenticate(self.hub, self.token(holder))

    @property
    def operator(self) -> Caller:
        return self.caller(self.console)

    # What stands in the directory.

    def new_key(self, key: PrivateKey, subject: str, *uses: str) -> dict[str, Any]:
        """A key as it is offered in ``keys``, with its proof."""
        proof = statements.make_key_proof(key, audience=self.hub.base_url, subject=subject, issued_at=self.hub.now_s())
        return {"jwk": dict(key.public.jwk), "use": list(uses), "proof": proof}

    def organization_members(self, kind: OrganizationKind, code: str, algorithm: str = "ES256") -> dict[str, Any]:
        """The body that creates an organization with a contract key and an auth key."""
        return {
            "name": f"Organization {code}",
            "mic" if kind is MO else "mpc": code,
            "metadata": {"webhook_url": f"https://{code.lower()}.example/hooks"},
            "keys": [
                self.new_key(key_of(algorithm, f"{code} contract"), code, "contract"),
                self.new_key(key_of("EdDSA", f"{code} auth"), code, "auth"),
            ],
        }

    def register(self, kind: OrganizationKind, code: str, algorithm: str = "ES256", *, status: str = "Active") -> Party:
        """An organization with keys of its own, brought to ``status``."""
        members = self.organization_members(kind, code, algorithm)
        created = organizations.create_organization(self.hub, self.operator, kind, members).body
        party = Party(
            organization_id=OrganizationId(str(created["id"])),
            kind=kind,
            code=code,
            key=key_of(algorithm, f"{code} contract"),
            auth_key=key_of("EdDSA", f"{code} auth"),
            webhook_secret=str(created["webhook_secret"]),
        )
        path = {"Pending": [], "Active": ["Active"]}.get(status, ["Active", status])
        for step in path:
            self.set_status(party, step)
        return party

    def set_status(self, party: Party, status: str) -> None:
        organizations.change_organization_status(
            self.hub, self.operator, party.kind, party.organization_id, {"status": status}
        )

    def issue_mpass(self, mo: Party, *, is_active: bool = True, **members: Any) -> MPassId:
        body = {"mo_id": mo.organization_id, "member_ref": "member-1", **members}
        issued = mpasses.issue_mpass(self.hub, self.caller(mo), body).body
        mpass_id = MPassId(str(issued["id"]))
        if is_active:
            mpasses.change_mpass_status(self.hub, self.caller(mo), mpass_id, {"status": "Active"})
        return mpass_id

    # Contracts.

    def body(self, mo: Party, publisher: Party, mpass_id: str | None, **members: Any) -> bytes:
        """A contract's body under the first version of the ADR's template."""
        named = {
            "contract_id": "contract-1",
            "template_id": "transaction-contract",
            "version": 1,
            "mo_id": mo.organization_id,
            "publisher_id": publisher.organization_id,
            "mpass_id": mpass_id,
            "created_at": self.hub.now_s(),
            "payload": {"transaction": {"amount": "100.00", "currency": "USD"}},
            **members,
        }
        return json.dumps({name: value for name, value in named.items() if value is not None}).encode()

    def sign_first(self, party: Party, body: bytes, **changed: Any) -> dict[str, Any]:
        """The contract with its first signature, as it travels."""
        return {
            "payload": base64url.encode(body),
            "signatures": [self.entry(party, body, **{"prev": None, **changed})],
        }

    def sign_next(self, party: Party, contract: Contract, **changed: Any) -> dict[str, Any]:
        """A stored contract with one more signature, as it travels."""
        stored = [{"protected": one.protected, "signature": one.signature} for one in contract.signatures]
        prev = chain.head_of(signatures_by_step(contract)[-1])
        entry = self.entry(party, contract.body_bytes, prev=prev, **changed)
        return {"payload": base64url.encode(contract.body_bytes), "signatures": [*stored, entry]}

    def entry(self, party: Party, body: bytes, *, prev: str | None, **changed: Any) -> dict[str, str]:
        """One signature of ``party`` on ``body``; ``changed`` replaces members of its header or adds to them."""
        header = {
            "alg": party.key.public.algorithm,
            "kid": party.key.public.key_id,
            "typ": jws.CONTRACT_TYP,
            "iat": self.hub.now_s(),
            "aud": self.hub.base_url,
            "role": party.role,
            "prev": prev,
            **changed,
        }
        protected = chain.encode_header(header)
        signature = party.key.sign(jws.signing_input(protected, base64url.encode(body)))
        return {"protected": protected, "signature": base64url.encode(signature)}

    def event(self, party: Party, type_: EventType, contract_id: str, data: Mapping[str, Any], event_id: str) -> bytes:
        """A CloudEvent's bytes."""
        return json.dumps(
            {
                "specversion": "1.0",
                "id": event_id,
                "source": party.organization_id,
                "type": type_,
                "subject": contract_id,
                "time": "2026-11-24T10:00:00Z",
                "data": data,
            }
        ).encode()

    def send(self, party: Party, raw: bytes) -> Accepted | Refused:
        """Ingest one event, and nothing more."""
        return ingest_events(self.hub, [EventRequest(token=self.token(party), raw=raw)])[0]

    def process(self) -> None:
        """Bring every queued event to its outcome."""
        while events := self.hub.queue.take(limit=100, lease_s=60):
            process_events(self.hub, events)

    def submit(self, party: Party, body: bytes, *, event_id: str | None = None) -> ContractId:
        """Sign, send and process a first submission."""
        contract_id = ContractId(json.loads(body)["contract_id"])
        data = {"contract": self.sign_first(party, body)}
        self.send(party, self.event(party, EventType.SUBMIT, contract_id, data, event_id or f"submit-{contract_id}"))
        self.process()
        return contract_id

    def sign(self, party: Party, contract_id: ContractId, *, event_id: str | None = None) -> None:
        """Sign, send and process the next signature on a stored contract."""
        data = {"contract": self.sign_next(party, self.contract(contract_id))}
        event_id = event_id or f"sign-{contract_id}-{party.role}"
        self.send(party, self.event(party, EventType.SIGN, contract_id, data, event_id))
        self.process()

    def contract(self, contract_id: ContractId) -> Contract:
        return self.hub.contracts.read([contract_id])[contract_id]


def make_hub(folder: Path, *, base_url: str = HUB, store: str = "embedded") -> TestHub:
    """Return a new hub, in ``folder`` if its ``store`` is the embedded one."""
    clock = FakeClock()
    made = StoreOnAWS(clock) if store == "aws" else EmbeddedStore.create(folder, base_url=base_url, clock=clock)
    hub = Hub(
        base_url=base_url,
        clock=clock,
        randomness=CountedRandomness(),
        events=made.events,
        queue=made.queue,
        contracts=made.contracts,
        deliveries=made.deliveries,
        directory=made.directory,
        retention=made.retention,
        signer=MemorySigner(),
        sealer=MemorySealer(),
        templates=TEMPLATES,
        check_webhook_url=lambda url: check_webhook_url(url, allow_http=False, allow_private=False),
    )
    templates.publish_built_ins(hub, builtin_templates())
    return TestHub(hub, made, clock)
