"""From the MO's call to the publisher's check, over HTTP: ``POST /mpass/{id}/credential``, and ``moneta.client``."""

import pytest

from moneta.application import mpasses
from moneta.client import (
    HubClient,
    HubUnreachableError,
    Keyring,
    MessageRefusedError,
    MPassVerifier,
    Party,
    Role,
    present,
)
from moneta.domain.limits import STATUS_LIST_AGE_S_MAX, STATUS_LIST_TTL_S
from tests.http.api_server import serving
from tests.hub import MO, PUBLISHER
from tests.signing_examples import key_of

HOLDER = key_of("ES256", "holder")
WHO, NONCE = "publisher-1", "nonce-1"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("hub")) as served:
        served.mo = served.test_hub.register(MO, "ACME")
        served.publisher = served.test_hub.register(PUBLISHER, "NEWS")
        yield served


def client_of(served, holder, role):
    """The client of a party, which reaches the hub where it listens, not where its name says."""
    hub = served.test_hub.hub
    party = Party(
        organization_id=holder.organization_id,
        role=role,
        hub=hub.base_url,
        auth_key=holder.auth_key,
        contract_key=holder.key,
    )
    client = HubClient(party, clock=hub.now_s)
    transport = client.caller._transport
    transport._is_tls, transport._host, transport._port, transport._tls = False, "127.0.0.1", served.port, None
    return client


@pytest.fixture
def mpass(served):
    return served.test_hub.issue_mpass(served.mo, holder_jwk=dict(HOLDER.public.jwk), tier="gold")


@pytest.fixture
def verifier(served):
    hub, caller = served.test_hub.hub, client_of(served, served.publisher, Role.PUBLISHER).caller
    keyring = Keyring(caller.get, clock=hub.now_s)
    return MPassVerifier(hub.base_url, keyring, caller.get_text, clock=hub.now_s)


def shown(served, credential, *claims):
    now = served.test_hub.hub.now_s()
    return present(credential, HOLDER, disclose=claims, audience=WHO, nonce=NONCE, issued_at=now)


def test_a_publisher_checks_what_a_member_shows(served, mpass, verifier):
    credential = client_of(served, served.mo, Role.MO).issue_credential(mpass)
    found = verifier.verify(shown(served, credential, "mpass_id", "tier"), audience=WHO, nonce=NONCE)
    assert found.claims == {"mpass_id": mpass, "tier": "gold"}


def test_a_lock_is_seen_as_soon_as_the_caches_say(served, mpass, verifier):
    credential = client_of(served, served.mo, Role.MO).issue_credential(mpass)
    verifier.verify(shown(served, credential), audience=WHO, nonce=NONCE)
    test_hub = served.test_hub
    mpasses.change_mpass_status(test_hub.hub, test_hub.caller(served.mo), mpass, {"status": "Locked"})
    test_hub.clock.advance(max(STATUS_LIST_AGE_S_MAX, STATUS_LIST_TTL_S))
    with pytest.raises(MessageRefusedError) as refused:
        verifier.verify(shown(served, credential), audience=WHO, nonce=NONCE)
    assert refused.value.code == "mpass_not_active"


def test_what_stops_a_credential_is_said(served):
    without_a_key = served.test_hub.issue_mpass(served.mo)
    answer = served.call("POST", f"/mpass/{without_a_key}/credential", served.mo)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "missing_field", "holder_jwk")
    pending = served.test_hub.issue_mpass(served.mo, is_active=False, holder_jwk=dict(HOLDER.public.jwk))
    answer = served.call("POST", f"/mpass/{pending}/credential", served.mo, json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "mpass_not_active")
    assert "got Pending" in answer.json()["detail"]


def test_a_text_that_is_none_is_no_answer(served, monkeypatch):
    caller = client_of(served, served.mo, Role.MO).caller
    monkeypatch.setattr(caller, "call", lambda *_args, **_more: type("Reply", (), {"body": "ü".encode()}))
    with pytest.raises(HubUnreachableError, match="ASCII"):
        caller.get_text("/status-lists/x.0")
