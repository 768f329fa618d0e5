"""``MPassVerifier``: asks the hub for keys and lists alone, keeps both for as long as they say, and never guesses."""

import pytest

from moneta.client import Keyring, MessageRefusedError, MPassVerifier, StatusUnavailableError, present
from moneta.client.errors import HubProblemError, HubUnreachableError, KeysUnavailableError
from moneta.domain.limits import STATUS_LIST_LIFETIME_S, STATUS_LIST_TTL_S, STATUS_LISTS_KEPT_MAX
from moneta.signing.sd_jwt import make_credential
from moneta.signing.status_list import make_status_list, pack_statuses
from tests.client_world import HUB, KEYS, NOW, hub_jwks
from tests.signing_examples import key_of

HOLDER = key_of("ES256", "holder")
AUDIENCE, NONCE = "publisher-1", "nonce-1"
LIST = "/status-lists/mo-1.0"


class World:
    """A hub that answers for its keys and lists, and a clock."""

    def __init__(self):
        self.now, self.asked, self.statuses, self.keys = NOW, [], {}, hub_jwks("hub")
        self.fault = None

    def fetch_keys(self, _path):
        if isinstance(self.keys, Exception):
            raise self.keys
        return self.keys

    def fetch_list(self, path):
        self.asked.append(path)
        if self.fault is not None:
            raise self.fault
        packed = pack_statuses(self.statuses, bits=2, places=65_536)
        return make_status_list(KEYS["hub"], packed, bits=2, uri=HUB + path, issued_at=self.now)

    def credential(self, *, path=LIST, key="hub", issued_at=NOW):
        return make_credential(
            KEYS[key],
            issuer=HUB,
            issued_at=issued_at,
            expires_at=NOW + 10_000,
            holder_jwk=HOLDER.public.jwk,
            status_uri=HUB + path,
            status_index=7,
            disclosable={"number": "ACME1"},
            salts=[bytes(16)],
        )

    def shown(self, *, nonce=NONCE, **changed):
        made = self.credential(**changed)
        return present(made, HOLDER, disclose=["number"], audience=AUDIENCE, nonce=nonce, issued_at=self.now)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def verifier(world):
    keyring = Keyring(world.fetch_keys, clock=lambda: world.now)
    return MPassVerifier(HUB, keyring, world.fetch_list, clock=lambda: world.now)


def verify(verifier, text):
    return verifier.verify(text, audience=AUDIENCE, nonce=NONCE)


def code_of(verifier, text):
    with pytest.raises(MessageRefusedError) as refused:
        verify(verifier, text)
    return refused.value.code


def test_a_valid_pass_is_told_with_what_its_holder_showed(world, verifier):
    found = verify(verifier, world.shown())
    assert (found.claims, found.issuer) == ({"number": "ACME1"}, HUB)
    assert (found.holder_key_id, found.status_at) == (HOLDER.public.key_id, NOW)


@pytest.mark.parametrize("status", [1, 2, 3])
def test_a_pass_that_its_list_does_not_call_valid_is_refused(world, verifier, status):
    world.statuses = {7: status}
    assert code_of(verifier, world.shown()) == "mpass_not_active"


def test_a_list_is_kept_for_its_ttl(world, verifier):
    for step_s in (0, STATUS_LIST_TTL_S - 1, 1):
        world.now += step_s
        verify(verifier, world.shown())
    assert world.asked == [LIST, LIST]


def test_a_revocation_is_seen_within_a_minute(world, verifier):
    verify(verifier, world.shown())
    world.statuses = {7: 1}
    world.now += STATUS_LIST_TTL_S
    assert code_of(verifier, world.shown()) == "mpass_not_active"


@pytest.mark.parametrize(
    "fault",
    [HubUnreachableError("away"), HubProblemError(code="unavailable", status=503, detail="", facts={})],
    ids=["no answer", "a problem"],
)
def test_without_the_hub_a_list_counts_until_it_ends_and_no_longer(world, verifier, fault):
    verify(verifier, world.shown())
    world.fault = fault
    world.now += STATUS_LIST_LIFETIME_S - 1
    assert verify(verifier, world.shown()).status_at == NOW
    world.now += 1
    with pytest.raises(StatusUnavailableError):
        verify(verifier, world.shown())


def test_a_list_that_came_too_late_says_nothing(world, verifier):
    late = world.fetch_list(LIST)
    world.now += STATUS_LIST_LIFETIME_S
    world.fetch_list = lambda _path: late
    with pytest.raises(StatusUnavailableError, match="fetch it again"):
        MPassVerifier(HUB, verifier._keys, world.fetch_list, clock=lambda: world.now).verify(
            world.shown(), audience=AUDIENCE, nonce=NONCE
        )


def test_a_list_of_another_is_refused(world):
    other = make_status_list(KEYS["other hub"], bytes(16_384), bits=2, uri=HUB + LIST, issued_at=NOW)
    elsewhere = make_status_list(KEYS["hub"], bytes(16_384), bits=2, uri=HUB + LIST + "0", issued_at=NOW)
    keyring = Keyring(lambda _path: hub_jwks("hub"), clock=lambda: NOW)
    for answer, code in ((other, "unknown_key"), (elsewhere, "invalid_signature"), ("no list", "malformed_jws")):
        verifier = MPassVerifier(HUB, keyring, lambda _path, answer=answer: answer, clock=lambda: NOW)
        assert code_of(verifier, world.shown()) == code


def test_what_is_refused_names_the_rule(world, verifier):
    assert code_of(verifier, world.shown(nonce="another")) == "invalid_proof"
    assert code_of(verifier, world.shown(key="other hub")) == "unknown_key"
    assert code_of(verifier, world.shown(issued_at=NOW - 10_000)) == "key_not_valid"
    assert code_of(verifier, world.credential()) == "invalid_proof"
    world.now += 10_000
    assert code_of(verifier, world.shown()) == "credential_expired"


def test_a_revoked_key_of_the_hubs_vouches_for_nothing(world, verifier):
    world.keys = hub_jwks("hub", revoked_at=NOW)
    assert code_of(verifier, world.shown()) == "key_not_valid"


def test_without_the_hubs_keys_nothing_is_known(world, verifier):
    world.keys = HubUnreachableError("away")
    with pytest.raises(KeysUnavailableError):
        verify(verifier, world.shown())


def test_no_more_lists_are_kept_than_the_limit(world, verifier):
    for number in range(STATUS_LISTS_KEPT_MAX + 1):
        verify(verifier, world.shown(path=f"/status-lists/mo-1.{number}"))
    verify(verifier, world.shown(path="/status-lists/mo-1.1"))
    verify(verifier, world.shown())
    assert len(world.asked) == STATUS_LISTS_KEPT_MAX + 2
