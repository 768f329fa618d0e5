"""What contracts do to organizations and their keys: onboarded, suspended, gone, and a key in the place of another."""

import json
from dataclasses import replace

import pytest

from moneta.application import organizations
from moneta.application.authenticate import authenticate
from moneta.application.checked import decide_change
from moneta.application.end_contracts import expire_contracts
from moneta.application.organization_keys import add_key, change_key_status, read_partner_keys
from moneta.application.ports import EventStatus, EventType, IdentityRole
from moneta.application.submit import submit_as_moneta
from moneta.domain.contracts import status_of
from moneta.domain.errors import TransitionRefusedError, UnauthorizedError
from moneta.domain.identifiers import ContractId, EventId
from moneta.domain.limits import EXPIRY_GRACE_S, KEYS_PER_ORGANIZATION_MAX, ROTATION_OVERLAP_S_MAX
from moneta.domain.organizations import OrganizationKind
from moneta.signing import base64url
from tests.conformance.builders import race
from tests.scenarios.solo import sends
from tests.signing_examples import key_of

MO, PUBLISHER = OrganizationKind
WEEK_S = 7 * 86_400
NEW = key_of("ES256", "the new one")
REASON = {"change": {"reason_code": "by_choice"}}


@pytest.fixture
def town(house_on_each_store):
    return house_on_each_store


class Play:
    """One organization's events, told by their outcome: ``processed``, or the code of the problem."""

    def __init__(self, town, party):
        self.town, self.party, self.sent = town, party, 0

    def submits(self, template, payload, contract_id="c-1", party=None):
        party = party or self.party
        body = {
            "contract_id": contract_id,
            "template_id": template,
            "version": 1,
            "org_id": party.organization_id,
            "created_at": self.town.hub.now_s(),
            "payload": payload,
        }
        signed = self.town.sign_first(party, json.dumps(body).encode(), role="org")
        return self.sends(party, EventType.SUBMIT, contract_id, {"contract": signed})

    def signs(self, party, contract_id="c-1", **header):
        signed = self.town.sign_next(party, self.town.contract(ContractId(contract_id)), **header)
        return self.sends(party, EventType.SIGN, contract_id, {"contract": signed})

    def sends(self, party, kind, contract_id, data):
        self.sent += 1
        return sends(self.town, party, kind, data, f"e-{self.sent}", contract_id=contract_id)

    def contract(self, contract_id="c-1"):
        return status_of(self.town.contract(ContractId(contract_id)))

    def shown(self):
        party = self.party
        return organizations.read_organization(
            self.town.hub, self.town.operator, party.kind, party.organization_id
        ).body

    def status(self):
        return self.shown()["status"]

    def key(self, key):
        return next(one for one in self.shown()["keys"] if one["kid"] == key.public.key_id)


def onboarding(play, **changed):
    shown = play.shown()
    stated = {
        "type": str(play.party.kind),
        "legal_name": shown["name"],
        "contacts": ["integration@press.example"],
        "keys": [key["kid"] for key in reversed(shown["keys"])],
        "endpoint": shown["metadata"]["webhook_url"],
        "currencies": ["EUR"],
        "services": [],
        "industries": [],
        "agreement_sha256": base64url.sha256(b"the agreement"),
        **changed,
    }
    return {"onboarding": stated}


def rotation(play, key=NEW, **changed):
    stated = {
        "new_key": dict(key.public.jwk),
        "old_kid": play.party.key.public.key_id,
        "overlap_until": play.town.hub.now_s() + WEEK_S,
        **changed,
    }
    return {"rotation": stated}


# Onboarding.


@pytest.mark.parametrize("kind", OrganizationKind)
def test_an_organization_is_active_once_it_has_signed_what_it_was_registered_with(town, kind):
    play = Play(town, town.register(kind, "ORG", status="Pending"))
    assert play.submits("onboarding-agreement", onboarding(play)) == "processed"
    assert (play.contract(), play.status()) == ("finalized", "Active")


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "mo"},
        {"legal_name": "Another Ltd"},
        {"endpoint": "https://elsewhere.example/moneta"},
        {"keys": [base64url.sha256(b"nobody's")]},
        {"services": ["articles"]},
        {"industries": ["media"]},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_an_onboarding_that_states_something_else_changes_nothing(town, changed):
    play = Play(town, town.register(PUBLISHER, "ORG", status="Pending"))
    assert play.submits("onboarding-agreement", onboarding(play, **changed)) == "onboarding_mismatch"
    assert play.status() == "Pending"


def test_an_onboarding_needs_both_kinds_of_key(town):
    play = Play(town, town.register(PUBLISHER, "ORG", status="Pending"))
    party = play.party
    asked = (town.hub, town.operator, PUBLISHER, party.organization_id)
    # The token's key goes only after the event was accepted: without it nobody could have sent it.
    payload = onboarding(play, keys=[party.key.public.key_id])
    body = {
        "contract_id": "c-1",
        "template_id": "onboarding-agreement",
        "version": 1,
        "org_id": party.organization_id,
        "created_at": town.hub.now_s(),
        "payload": payload,
    }
    data = {"contract": town.sign_first(party, json.dumps(body).encode(), role="org")}
    town.send(party, town.event(party, EventType.SUBMIT, ContractId("c-1"), data, "e-1"))
    change_key_status(*asked, party.auth_key.public.key_id, {"status": "retired"})
    town.process()
    problem = json.loads(town.hub.events.find(party.organization_id, EventId("e-1")).problem)
    assert (problem["code"], problem["missing"], play.status()) == ("transition_refused", ["auth"], "Pending")


# Status.


def test_who_suspends_itself_begins_nothing_new_and_ends_what_is_under_way(town):
    mo, publisher = town.register(MO, "MOA"), town.register(PUBLISHER, "PUBA")
    mpass = town.issue_mpass(mo)
    town.submit(mo, town.body(mo, publisher, mpass, contract_id="under-way"))
    play = Play(town, publisher)
    assert play.submits("organization-self-suspension", REASON) == "processed"
    assert (play.contract(), play.status()) == ("finalized", "Suspended")
    town.clock.advance(1)
    assert play.submits("organization-self-suspension", REASON, "c-2") == "organization_suspended"
    town.sign(publisher, ContractId("under-way"))
    assert play.contract("under-way") == "finalized"


def test_an_organization_goes_for_good_once_nothing_is_open(town):
    mo, publisher = town.register(MO, "MOA"), town.register(PUBLISHER, "PUBA")
    mpass = town.issue_mpass(mo)
    town.submit(mo, town.body(mo, publisher, mpass, contract_id="under-way"))
    play = Play(town, mo)
    assert play.submits("organization-destruction", REASON) == "transition_refused"
    assert play.status() == "Active"
    town.sign(publisher, ContractId("under-way"))
    assert play.submits("organization-destruction", REASON, "c-2") == "processed"
    assert (play.contract("c-2"), play.status()) == ("finalized", "Destroyed")
    with pytest.raises(UnauthorizedError):
        authenticate(town.hub, town.token(mo))


def test_of_two_changes_of_status_at_once_both_are_rows_of_the_table(town):
    play = Play(town, town.register(PUBLISHER, "PUBA"))
    for contract_id, template in (("c-1", "organization-self-suspension"), ("c-2", "organization-destruction")):
        body = {
            "contract_id": contract_id,
            "template_id": template,
            "version": 1,
            "org_id": play.party.organization_id,
            "created_at": town.hub.now_s(),
            "payload": REASON,
        }
        data = {"contract": town.sign_first(play.party, json.dumps(body).encode(), role="org")}
        town.send(play.party, town.event(play.party, EventType.SUBMIT, ContractId(contract_id), data, contract_id))
    town.process()  # one batch: the second is judged against what the first has left
    found = [town.hub.events.find(play.party.organization_id, EventId(one)).status for one in ("c-1", "c-2")]
    in_order = (EventStatus.PROCESSED, EventStatus.PROCESSED)
    assert tuple(found) in {in_order, (EventStatus.REJECTED, EventStatus.PROCESSED)}
    assert play.status() == "Destroyed"


# By Moneta first.


def begins(town, play, template, contract_id="m-1", caller=None):
    members = {
        "contract_id": contract_id,
        "template_id": template,
        "version": 1,
        "org_id": play.party.organization_id,
        "payload": REASON,
    }
    return submit_as_moneta(town.hub, caller or town.operator, members)


def test_an_offer_lifts_no_suspension_that_is_younger(town):
    play = Play(town, town.register(PUBLISHER, "PUBA"))
    begins(town, play, "organization-reactivation")  # made too early
    town.clock.advance(60)
    begins(town, play, "organization-suspension", "m-2")
    assert play.status() == "Suspended"
    assert play.signs(play.party, "m-1", role="org") == "transition_refused"
    assert play.status() == "Suspended"


def test_moneta_suspends_at_once_and_the_organization_acknowledges(town):
    play = Play(town, town.register(PUBLISHER, "PUBA"))
    begins(town, play, "organization-suspension")
    assert (play.contract("m-1"), play.status()) == ("pending_org_signature", "Suspended")
    assert play.signs(play.party, "m-1", role="org") == "processed"
    assert (play.contract("m-1"), play.status()) == ("finalized", "Suspended")


def test_a_suspended_organization_goes_on_once_it_has_signed(town):
    play = Play(town, town.register(PUBLISHER, "PUBA", status="Suspended"))
    begins(town, play, "organization-reactivation")
    assert play.status() == "Suspended"
    assert play.signs(play.party, "m-1", role="org") == "processed"
    assert (play.contract("m-1"), play.status()) == ("finalized", "Active")


def test_after_notice_an_organization_is_gone_though_it_is_silent(town):
    play = Play(town, town.register(PUBLISHER, "PUBA"))
    begins(town, play, "organization-removal")
    assert play.status() == "Active"
    town.clock.advance(14 * 86_400 + EXPIRY_GRACE_S)
    assert expire_contracts(town.hub) == 1
    assert (play.contract("m-1"), play.status()) == ("finalized", "Destroyed")


def test_what_is_open_when_the_notice_is_over_keeps_the_organization(town):
    mo, publisher = town.register(MO, "MOA"), town.register(PUBLISHER, "PUBA")
    play, mpass = Play(town, publisher), town.issue_mpass(mo)
    begins(town, play, "organization-removal")
    town.submit(mo, town.body(mo, publisher, mpass, contract_id="under-way"))
    town.clock.advance(14 * 86_400 + EXPIRY_GRACE_S)
    assert expire_contracts(town.hub) == 1
    assert (play.contract("m-1"), play.status()) == ("declined", "Active")
    assert town.contract(ContractId("m-1")).acts[0].name == "decline"


@pytest.mark.parametrize(
    ("status", "template"),
    [("Suspended", "organization-suspension"), ("Pending", "organization-suspension")],
)
def test_a_change_that_the_table_has_no_row_for_makes_no_contract(town, status, template):
    play = Play(town, town.register(PUBLISHER, "PUBA", status=status))
    with pytest.raises(TransitionRefusedError):
        begins(town, play, template)
    assert town.hub.contracts.read([ContractId("m-1")]) == {}


def test_of_two_suspensions_at_once_one_is_made(town):
    play = Play(town, town.register(PUBLISHER, "PUBA"))

    def suspend(contract_id):
        try:
            return begins(town, play, "organization-suspension", contract_id).body["status"]
        except TransitionRefusedError:
            return "refused"

    found = race([lambda: suspend("m-1"), lambda: suspend("m-2")])
    assert (sorted(found), play.status()) == (["pending_org_signature", "refused"], "Suspended")
    assert len(town.hub.contracts.read([ContractId("m-1"), ContractId("m-2")])) == 1


def test_with_two_operators_one_alone_brings_nobody_back_nor_away(town):
    town.hub = replace(town.hub, checkers=2)
    second = town.caller(town.add_identity("second", IdentityRole.CHECKER))
    play = Play(town, town.register(PUBLISHER, "PUBA", status="Pending"))
    asked = begins(town, play, "organization-removal")
    assert (asked.body["state"], town.hub.contracts.read([ContractId("m-1")])) == ("awaiting_checker", {})
    decided = decide_change(town.hub, second, asked.change_id, {"decision": "approve"})
    assert decided.body["state"] == "approved"
    assert play.contract("m-1") == "pending_org_signature"
    with pytest.raises(TransitionRefusedError):
        decide_change(town.hub, second, asked.change_id, {"decision": "approve"})


# Keys.


def test_a_rotated_key_signs_beside_the_new_one_until_its_end(town):
    mo, publisher = town.register(MO, "MOA"), town.register(PUBLISHER, "PUBA")
    play, mpass = Play(town, mo), town.issue_mpass(mo)
    before = town.submit(mo, town.body(mo, publisher, mpass, contract_id="before"))
    assert play.submits("key-rotation", rotation(play)) == "processed"
    rotated = replace(mo, key=NEW)
    assert play.signs(rotated, role="org_new_key") == "processed"
    assert play.contract() == "finalized"
    assert play.key(NEW)["ends_at"] is None
    assert play.key(mo.key)["ends_at"] == town.hub.now_s() + WEEK_S

    def begins(party, name):
        body = town.body(party, publisher, mpass, contract_id=name)
        data = {"contract": town.sign_first(party, body)}
        return play.sends(party, EventType.SUBMIT, name, data)

    assert (begins(rotated, "by-new"), begins(mo, "by-old")) == ("processed", "processed")
    town.clock.advance(WEEK_S)
    assert (begins(rotated, "by-new-later"), begins(mo, "by-old-later")) == ("processed", "key_not_valid")
    town.sign(publisher, before)  # what the old one signed before stays valid
    assert play.contract("before") == "finalized"
    jwks = read_partner_keys(town.hub, town.caller(publisher), MO, mo.organization_id).body["keys"]
    assert {jwk["kid"]: jwk.get("exp") for jwk in jwks} == {
        mo.key.public.key_id: town.hub.now_s(),
        NEW.public.key_id: None,
    }


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"old_kid": base64url.sha256(b"nobody's")}, "key_not_valid"),
        ({"overlap_until": 1}, "invalid_field"),
        ({"overlap_until": 2**40}, "invalid_field"),
        ({"new_key": {"kty": "EC"}}, "weak_key"),
    ],
    ids=["a key it has not", "an end that is over", f"more than {ROTATION_OVERLAP_S_MAX} s", "a key that is none"],
)
def test_a_rotation_that_cannot_be_meant_is_refused_at_once(town, changed, code):
    play = Play(town, town.register(PUBLISHER, "PUBA"))
    assert play.submits("key-rotation", rotation(play, **changed)) == code
    assert [key["ends_at"] for key in play.shown()["keys"]] == [None, None]


def test_a_key_that_is_ending_starts_no_second_rotation(town):
    play = Play(town, town.register(PUBLISHER, "PUBA"))
    play.submits("key-rotation", rotation(play))
    play.signs(replace(play.party, key=NEW), role="org_new_key")
    assert play.submits("key-rotation", rotation(play, key_of("ES256", "third")), "c-2") == "key_not_valid"


def test_a_rotation_is_for_the_key_that_signs_it(town):
    play = Play(town, town.register(PUBLISHER, "PUBA"))
    second = key_of("ES256", "second")
    play.submits("key-rotation", rotation(play, second))
    play.signs(replace(play.party, key=second), role="org_new_key")
    by_second = replace(play.party, key=second)
    third = replace(play.party, key=key_of("ES256", "third"))
    of_second = rotation(play, third.key, old_kid=second.public.key_id)
    assert play.submits("key-rotation", of_second, "c-2") == "processed"  # by the first
    assert (play.signs(third, "c-2", role="org_new_key"), play.contract("c-2")) == ("processed", "declined")
    assert play.submits("key-rotation", of_second, "c-3", by_second) == "processed"
    assert (play.signs(third, "c-3", role="org_new_key"), play.contract("c-3")) == ("processed", "finalized")
    assert play.key(second)["ends_at"] == town.hub.now_s() + WEEK_S


def test_an_organization_with_as_many_keys_as_it_may_rotates_none(town):
    play = Play(town, town.register(PUBLISHER, "PUBA"))
    party = play.party
    for count in range(KEYS_PER_ORGANIZATION_MAX - len(play.shown()["keys"])):
        offered = town.new_key(key_of("EdDSA", f"key {count}"), party.organization_id, "auth")
        add_key(town.hub, town.operator, PUBLISHER, party.organization_id, offered)
    play.submits("key-rotation", rotation(play))
    play.signs(replace(party, key=NEW), role="org_new_key")
    assert play.contract() == "declined"


def test_a_key_that_is_revoked_under_way_is_not_rotated(town):
    play = Play(town, town.register(PUBLISHER, "PUBA"))
    play.submits("key-rotation", rotation(play))
    old = play.party.key.public.key_id
    change_key_status(town.hub, town.operator, PUBLISHER, play.party.organization_id, old, {"status": "revoked"})
    play.signs(replace(play.party, key=NEW), role="org_new_key")
    assert play.contract() == "declined"
    assert NEW.public.key_id not in [key["kid"] for key in play.shown()["keys"]]
