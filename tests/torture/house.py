"""A hub to torture: two MOs and two publishers with their keys, all of it the same in every run.

Made once a process on the ordinary file system; every run begins with a copy of its file.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from moneta.adapters.embedded.store import FILE_NAME, EmbeddedStore
from moneta.adapters.template_reader import YAMLTemplateReader, builtin_templates
from moneta.application import identities, mpasses, organizations, templates
from moneta.application.authenticate import authenticate
from moneta.application.ports import Clock, Hub, IdentityRole, PublishedKey, Randomness
from moneta.application.queries import read_moneta_keys
from moneta.client import Keyring, Party, Role, Verifier
from moneta.domain.identifiers import MPassId, OrganizationId, UnixSeconds
from moneta.domain.organizations import OrganizationKind
from moneta.signing import statements, tokens
from moneta.signing.keys import PrivateKey, private_key
from tests.hub import CountedRandomness, FakeClock, MemorySealer
from tests.signing_examples import HUB, NOW

CODES = {"MOA": Role.MO, "MOB": Role.MO, "PUBA": Role.PUBLISHER, "PUBB": Role.PUBLISHER}
CONTRACT_KEYS = 4
"""Of each organization: some of them will be reported as compromised."""
RETRY_SCHEDULE_S = (0, 1, 2, 4, 8, 15, 30, 60, 60, 60)
"""Ten attempts within minutes, so that what is signed is still of now when the last one is made."""
OPERATOR = OrganizationId("operator")
TEMPLATES = YAMLTemplateReader()


def seed_of(name: str) -> bytes:
    """Return 32 bytes that are the name's own."""
    return hashlib.sha256(name.encode()).digest()


@cache
def key_of(name: str) -> PrivateKey:
    """Return a party's key: Ed25519, which signs the same in every run."""
    return private_key(ed25519.Ed25519PrivateKey.from_private_bytes(seed_of(name)), "EdDSA")


class RepeatableSigner:
    """Moneta's key: ES256 with the nonces of RFC 6979, so that it too signs the same in every run."""

    def __init__(self) -> None:
        number = int.from_bytes(seed_of("moneta"), "big") >> 1
        self._key = private_key(ec.derive_private_key(number, ec.SECP256R1()), "ES256")

    @property
    def public(self):
        """See SigningKey.public."""
        return self._key.public

    def current(self):
        """See Signer.current."""
        return self

    def sign(self, message: bytes) -> bytes:
        """See SigningKey.sign."""
        signature = self._key.numbers.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(signature)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def published(self):
        """See Signer.published."""
        return [PublishedKey(public=self.public, not_before=NOW, expires_at=UnixSeconds(NOW + 366 * 86_400))]


def assemble(store: EmbeddedStore, clock: Clock, randomness: Randomness) -> Hub:
    """Return the hub on a store, with nothing in between."""
    return Hub(
        base_url=HUB,
        clock=clock,
        randomness=randomness,
        events=store.events,
        queue=store.queue,
        contracts=store.contracts,
        deliveries=store.deliveries,
        directory=store.directory,
        retention=store.retention,
        signer=RepeatableSigner(),
        sealer=MemorySealer(),
        templates=TEMPLATES,
        check_webhook_url=lambda url: url,
        retry_schedule_s=RETRY_SCHEDULE_S,
    )


@dataclass(frozen=True)
class Organization:
    """An organization with what it holds."""

    organization_id: OrganizationId
    code: str
    role: Role
    secret: str

    def party(self, number: int = 0) -> Party:
        """Return it as a party that signs with the contract key of that number."""
        return Party(
            organization_id=self.organization_id,
            role=self.role,
            hub=HUB,
            auth_key=key_of(f"{self.code} auth"),
            contract_key=key_of(f"{self.code} contract {number}"),
        )

    def token(self, now: UnixSeconds) -> str:
        """Return a bearer token."""
        return make_token(self.organization_id, f"{self.code} auth", now)


def make_token(subject: str, key: str, now: UnixSeconds) -> str:
    """Return a token by the key of that name: one a minute, since verifying it is remembered."""
    issued_at = UnixSeconds(now - now % 60)
    return tokens.make_token(key_of(key), subject=subject, audience=HUB, token_id="t", issued_at=issued_at)  # noqa: S106


@dataclass(frozen=True)
class House:
    """The file of a hub that has just been set up, and who trades through it."""

    file: bytes
    organizations: Mapping[str, Organization]
    mpasses: Mapping[str, MPassId]
    hub_keys: Mapping[str, object]
    randomness_count: int

    def randomness(self) -> CountedRandomness:
        """Return randomness that goes on where setting up ended."""
        made = CountedRandomness()
        made.count = self.randomness_count
        return made

    def verifier(self, one: Organization, clock: Clock) -> Verifier:
        """Return what verifies as that organization; everybody's keys are pinned."""
        partners = {
            other.organization_id: tuple(other.party(number).contract_key.public for number in range(CONTRACT_KEYS))
            for other in self.organizations.values()
        }
        keyring = Keyring(lambda _: self.hub_keys, partner_keys=partners, clock=lambda: clock.now_ms() // 1000)
        return Verifier(one.party(), keyring)


@cache
def house() -> House:
    """Return the house, made at the first call."""
    with tempfile.TemporaryDirectory() as folder:
        clock, randomness = FakeClock(), CountedRandomness()
        store = EmbeddedStore.create(Path(folder), base_url=HUB, clock=clock)
        hub = assemble(store, clock, randomness)
        templates.publish_built_ins(hub, builtin_templates())
        identities.add_identity(hub, identity_id=OPERATOR, role=IdentityRole.OPERATOR, key=key_of(OPERATOR).public)
        made = {code: _register(hub, code) for code in CODES}
        passes = {code: _issue_mpass(hub, made[code]) for code in CODES if CODES[code] is Role.MO}
        keys = read_moneta_keys(hub).body
        store.close()
        return House((Path(folder) / FILE_NAME).read_bytes(), made, passes, keys, randomness.count)


def _register(hub: Hub, code: str) -> Organization:
    kind, operator = OrganizationKind(CODES[code]), authenticate(hub, make_token(OPERATOR, OPERATOR, hub.now_s()))
    names = [f"{code} auth", *(f"{code} contract {number}" for number in range(CONTRACT_KEYS))]
    members = {
        "name": f"Organization {code}",
        "mic" if kind is OrganizationKind.MO else "mpc": code,
        "metadata": {"webhook_url": f"https://{code.lower()}.example/hooks"},
        "keys": [_new_key(hub, code, name) for name in names],
    }
    created = organizations.create_organization(hub, operator, kind, members).body
    organization_id = OrganizationId(str(created["id"]))
    organizations.change_organization_status(hub, operator, kind, organization_id, {"status": "Active"})
    return Organization(organization_id, code, CODES[code], str(created["webhook_secret"]))


def _new_key(hub: Hub, code: str, name: str) -> Mapping[str, object]:
    key = key_of(name)
    proof = statements.make_key_proof(key, audience=HUB, subject=code, issued_at=hub.now_s())
    return {"jwk": dict(key.public.jwk), "use": [name.split()[1]], "proof": proof}


def _issue_mpass(hub: Hub, mo: Organization) -> MPassId:
    caller = authenticate(hub, mo.token(hub.now_s()))
    issued = mpasses.issue_mpass(hub, caller, {"mo_id": mo.organization_id, "member_ref": "member-1"}).body
    mpass_id = MPassId(str(issued["id"]))
    mpasses.change_mpass_status(hub, caller, mpass_id, {"status": "Active"})
    return mpass_id
