"""Credentials: issued to an Active mPass's MO, shown by the holder, and valid for as long as the pass is."""

from dataclasses import replace

import pytest

from moneta.application import mpasses
from moneta.application.credentials import issue_credential
from moneta.application.ports import DirectoryChange
from moneta.application.status_lists import build_status_list, take_places
from moneta.client.errors import MessageRefusedError, StatusUnavailableError
from moneta.client.mpass import DISCLOSABLE, present, read_status_list, verify_mpass
from moneta.client.trust import TrustedKey
from moneta.domain.errors import ForbiddenError, MissingFieldError, MPassNotActiveError, NotFoundError
from moneta.domain.ijson import NumberText
from moneta.domain.limits import CREDENTIAL_LIFETIME_S_MAX, STATUS_LIST_LIFETIME_S
from tests.hub import MO, PUBLISHER
from tests.signing_examples import NOW, key_of

HOLDER = key_of("EdDSA", "holder")
POLICY = {
    "limits": [{"currency": "USD", "per": "day", "amount": NumberText("100.00")}],
    "publishers": {"denied": ["publisher-9"]},
    "valid_until": NOW + 86_400,
}


class Keys:
    def __init__(self, house):
        self.public = house.hub.signer.current().public

    def hub_key(self, _key_id):
        return TrustedKey(public=self.public)


@pytest.fixture
def mo(house):
    return house.register(MO, "ACME")


def issue_pass(house, mo, **members):
    return house.issue_mpass(mo, holder_jwk=dict(HOLDER.public.jwk), **members)


def issue(house, mo, mpass_id):
    return issue_credential(house.hub, house.caller(mo), mpass_id).body


def read_list(house, uri):
    token = build_status_list(house.hub, uri.rpartition("/")[2]).token
    return read_status_list(token, Keys(house), uri=uri, now=house.hub.now_s())


def verify(house, credential, *, disclose=DISCLOSABLE, status_list=None, holder=HOLDER, **changed):
    now = house.hub.now_s()
    shown = present(credential, holder, disclose=disclose, audience="publisher-1", nonce="nonce-1", issued_at=now)
    told = {"issuer": house.hub.base_url, "audience": "publisher-1", "nonce": "nonce-1", "now": now, **changed}
    return verify_mpass(shown, status_list or (lambda uri: read_list(house, uri)), Keys(house), **told)


def refusal(house, credential, **changed):
    with pytest.raises(MessageRefusedError) as refused:
        verify(house, credential, **changed)
    return refused.value.code


def test_a_credential_tells_what_the_hub_knows_of_the_pass(house, mo):
    mpass_id = issue_pass(house, mo, tier="gold", policy=POLICY)
    issued = issue(house, mo, mpass_id)
    assert (issued["format"], issued["expires_at"]) == ("dc+sd-jwt", NOW + CREDENTIAL_LIFETIME_S_MAX)
    found = verify(house, issued["credential"])
    assert found.claims == {
        "mpass_id": mpass_id,
        "number": house.hub.directory.mpasses([mpass_id])[mpass_id].number,
        "tier": "gold",
        "mo": {"id": mo.organization_id, "mic": "ACME", "name": "Organization ACME"},
        "policy": {
            "limits": [{"currency": "USD", "per": "day", "amount": "100.00"}],
            "valid_until": NOW + 86_400,
        },
    }
    assert (found.holder_key_id, found.issuer) == (HOLDER.public.key_id, house.hub.base_url)


def test_what_a_pass_does_not_have_is_not_in_its_credential(house, mo):
    found = verify(house, issue(house, mo, issue_pass(house, mo))["credential"], disclose=["mpass_id", "number", "mo"])
    assert sorted(found.claims) == ["mo", "mpass_id", "number"]


def test_a_credential_ends_with_its_pass(house, mo):
    issued = issue(house, mo, issue_pass(house, mo, expires_at=NOW + 100))
    assert issued["expires_at"] == NOW + 100
    house.clock.advance(100)
    assert refusal(house, issued["credential"], disclose=()) == "credential_expired"


@pytest.mark.parametrize("status", ["Locked", "Revoked"])
def test_what_is_done_to_the_pass_ends_its_credentials(house, mo, status):
    mpass_id = issue_pass(house, mo)
    credential = issue(house, mo, mpass_id)["credential"]
    assert verify(house, credential, disclose=())
    mpasses.change_mpass_status(house.hub, house.caller(mo), mpass_id, {"status": status})
    assert refusal(house, credential, disclose=()) == "mpass_not_active"
    with pytest.raises(MPassNotActiveError):
        issue(house, mo, mpass_id)


def test_nothing_is_known_by_a_list_that_has_ended(house, mo):
    credential = issue(house, mo, issue_pass(house, mo))["credential"]
    lists = []
    verify(house, credential, disclose=(), status_list=lambda uri: lists.append(read_list(house, uri)) or lists[0])
    house.clock.advance(STATUS_LIST_LIFETIME_S)
    with pytest.raises(StatusUnavailableError, match="fetch it again"):
        verify(house, credential, disclose=(), status_list=lambda _uri: lists[0])


def test_a_list_of_another_kind_of_status_does_not_call_a_pass_valid(house, mo):
    credential = issue(house, mo, issue_pass(house, mo))["credential"]

    def application_specific(uri):
        found = read_list(house, uri)
        return replace(found, statuses=b"\xff" * len(found.statuses))

    assert refusal(house, credential, disclose=(), status_list=application_specific) == "mpass_not_active"


def test_a_pass_that_is_not_active_gets_none(house, mo):
    mpass_id = issue_pass(house, mo, is_active=False)
    with pytest.raises(MPassNotActiveError):
        issue(house, mo, mpass_id)
    active = issue_pass(house, mo)
    house.set_status(mo, "Suspended")
    with pytest.raises(MPassNotActiveError):
        issue(house, mo, active)


def test_a_pass_without_a_holders_key_gets_none(house, mo):
    with pytest.raises(MissingFieldError, match="holder_jwk"):
        issue(house, mo, house.issue_mpass(mo))


def test_only_its_mo_gets_a_passs_credential(house, mo):
    mpass_id = issue_pass(house, mo)
    with pytest.raises(NotFoundError):
        issue(house, house.register(MO, "OTHER"), mpass_id)
    with pytest.raises(ForbiddenError):
        issue(house, house.register(PUBLISHER, "NEWS"), mpass_id)
    with pytest.raises(ForbiddenError):
        issue(house, house.console, mpass_id)


def test_a_new_key_of_the_holders_ends_the_credentials_of_the_one_before(house, mo):
    mpass_id = issue_pass(house, mo)
    before = issue(house, mo, mpass_id)["credential"]
    stored = house.hub.directory.mpasses([mpass_id])[mpass_id]
    (place,) = take_places(house.hub, mo.organization_id, 1)
    rekeyed = stored.rekeyed(key_of("ES256", "new telephone").public.jwk, place=place)
    house.hub.directory.apply(DirectoryChange(record=b"a.b.c", mpasses=(rekeyed,)))
    assert refusal(house, before, disclose=()) == "mpass_not_active"
    after = issue(house, mo, mpass_id)["credential"]
    assert verify(house, after, disclose=(), holder=key_of("ES256", "new telephone"))
    assert refusal(house, after, disclose=()) == "invalid_proof"


def test_a_pass_of_before_there_were_lists_gets_its_place_with_its_first_credential(house, mo, monkeypatch):
    monkeypatch.setattr("moneta.application.mpasses.place_in_lists", lambda _hub, passes: passes)
    mpass_id = issue_pass(house, mo)
    assert house.hub.directory.mpasses([mpass_id])[mpass_id].status_place is None
    first, second = (issue(house, mo, mpass_id)["credential"] for _ in range(2))
    assert verify(house, first, disclose=())
    stored = house.hub.directory.mpasses([mpass_id])[mpass_id]
    assert (stored.status_place is not None, stored.revision) == (True, 3)
    mpasses.change_mpass_status(house.hub, house.caller(mo), mpass_id, {"status": "Revoked"})
    assert [refusal(house, one, disclose=()) for one in (first, second)] == ["mpass_not_active"] * 2
