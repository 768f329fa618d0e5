"""A contract whose effect takes two: the party signs, a checker decides, Moneta signs or declines in that commit."""

import json
from dataclasses import replace

import pytest

from moneta.application import checked, countersign_checks, organizations, pending_changes, templates
from moneta.application.organization_keys import change_key_status
from moneta.application.ports import EventType, IdentityRole
from moneta.domain.contracts import signatures_by_step
from moneta.domain.errors import (
    ContractClosedError,
    ForbiddenError,
    KeyNotValidError,
    OnboardingMismatchError,
    OrganizationNotPendingError,
    TransitionRefusedError,
)
from moneta.domain.identifiers import ContractId
from moneta.signing import chain, statements
from tests.conformance.builders import race
from tests.hub import MO, PUBLISHER
from tests.scenarios.test_organization_contracts import Play, onboarding

APPROVE, REFUSE = {"decision": "approve"}, {"decision": "refuse", "reason": "not yet"}
AWAITED = "pending_moneta_signature"


@pytest.fixture
def play(house_on_each_store):
    town = house_on_each_store
    town.checker = town.add_identity("checker", IdentityRole.CHECKER)
    party = town.register(MO, "ORG", status="Pending")
    town.hub = replace(town.hub, checkers=2)
    return Play(town, party)


def begin(play):
    assert play.submits("onboarding-agreement", onboarding(play)) == "processed"
    (waiting,) = pending_changes.list_changes(play.town.hub, play.town.operator, {}).body["items"]
    return waiting


def decide(play, waiting, decision, *, by=None):
    caller = play.town.caller(by or play.town.checker)
    return checked.decide_change(play.town.hub, caller, waiting["id"], decision).body


def shown(play, waiting):
    return pending_changes.read_change(play.town.hub, play.town.operator, waiting["id"]).body


def reason_code(play):
    return statements.parse_act(play.town.contract(ContractId("c-1")).acts[0].compact).reason_code


def test_the_partys_signature_is_kept_and_monetas_waits(play):
    waiting = begin(play)
    assert (play.contract(), play.status()) == (AWAITED, "Pending")
    assert (waiting["operation"], waiting["state"]) == ("countersign", "awaiting_checker")
    assert waiting["asked_by"] == waiting["subject"] == play.party.organization_id
    assert waiting["target"] == {"contract_id": "c-1", "template_id": "onboarding-agreement"}


def test_approved_it_is_signed_and_done_in_one_commit(play):
    waiting = begin(play)
    done = decide(play, waiting, APPROVE)
    assert (done["state"], done["decided_by"]) == ("approved", "checker")
    assert (play.contract(), play.status()) == ("finalized", "Active")
    contract = play.town.contract(ContractId("c-1"))
    assert contract.revision == 2
    assert contract.receipt is not None


def test_no_operator_decides_for_a_contract_which_one_alone_could_have_set_up(play):
    waiting = begin(play)
    with pytest.raises(ForbiddenError):
        decide(play, waiting, APPROVE, by=play.town.console)
    assert (play.contract(), play.status()) == (AWAITED, "Pending")


def test_what_a_compromised_key_has_signed_is_not_approved(play):
    waiting = begin(play)
    kid = play.party.key.public.key_id
    one = replace(play.town.hub, checkers=1)
    change_key_status(one, play.town.operator, MO, play.party.organization_id, kid, {"status": "compromised"})
    with pytest.raises(KeyNotValidError):
        decide(play, waiting, APPROVE)
    assert (play.contract(), play.status()) == ("declined", "Pending")


def test_what_is_over_is_not_approved_though_no_expiry_is_committed(play):
    waiting = begin(play)
    pending = play.town.hub.directory.pending_change(waiting["id"])
    play.town.clock.advance(7 * 86_400)
    with pytest.raises(ContractClosedError, match="has expired"):
        countersign_checks.decide_countersign(play.town.hub, play.town.caller(play.town.checker), pending)
    assert play.contract() == AWAITED


def test_refused_it_is_declined_by_moneta(play):
    waiting = begin(play)
    assert decide(play, waiting, REFUSE)["state"] == "refused"
    assert (play.contract(), play.status()) == ("declined", "Pending")
    assert reason_code(play) == "refused_by_checker"


def test_a_guard_that_fails_by_then_declines_it_and_the_change_has_failed(play):
    waiting = begin(play)
    organizations.update_organization(
        play.town.hub, play.town.operator, MO, play.party.organization_id, {"name": "Another Ltd"}
    )
    with pytest.raises(OnboardingMismatchError):
        decide(play, waiting, APPROVE)
    assert (play.contract(), play.status()) == ("declined", "Pending")
    failed = shown(play, waiting)
    assert (failed["state"], failed["problem"]["code"]) == ("failed", reason_code(play))


@pytest.mark.parametrize("decision", [APPROVE, REFUSE])
def test_a_contract_that_was_cancelled_meanwhile_is_closed_to_the_decision(play, decision):
    waiting = begin(play)
    contract = play.town.contract(ContractId("c-1"))
    act = statements.make_act(
        play.party.key,
        name="cancel",
        contract_id="c-1",
        reason_code="later",
        reason="",
        prev=chain.head_of(signatures_by_step(contract)[-1]),
        issued_at=play.town.hub.now_s(),
        audience=play.town.hub.base_url,
    )
    assert play.sends(play.party, EventType.CANCEL, "c-1", {"act": act}) == "processed"
    if decision is APPROVE:
        with pytest.raises(ContractClosedError):
            decide(play, waiting, decision)
    else:
        decide(play, waiting, decision)
    assert shown(play, waiting)["state"] == ("failed" if decision is APPROVE else "refused")
    assert (play.contract(), play.status()) == ("cancelled", "Pending")


@pytest.mark.parametrize("decisions", [(APPROVE, APPROVE), (APPROVE, REFUSE)])
def test_of_two_checkers_at_once_one_wins(play, decisions):
    waiting = begin(play)
    others = (play.town.checker, play.town.add_identity("third", IdentityRole.CHECKER))

    def attempt(decision, by):
        try:
            return decide(play, waiting, decision, by=by)["state"]
        except (TransitionRefusedError, ContractClosedError, OrganizationNotPendingError):
            return "too late"  # whichever of what the other has done it sees first

    pairs = list(zip(decisions, others, strict=True))
    answers = race([lambda pair=pair: attempt(*pair) for pair in pairs])
    assert max(answers) == "too late"
    assert shown(play, waiting)["state"] == min(answers)
    ends = {"approved": ("finalized", "Active"), "refused": ("declined", "Pending")}
    assert (play.contract(), play.status()) == ends[min(answers)]


def test_what_takes_one_waits_for_nobody(play):
    decide(play, begin(play), APPROVE)
    assert play.submits("organization-self-suspension", {"change": {"reason_code": "by_choice"}}, "c-2") == "processed"
    assert (play.contract("c-2"), play.status()) == ("finalized", "Suspended")


def test_a_further_signature_beside_monetas_asks_nobody_a_second_time(play):
    payload = b"""
template_name: test-beside
version: 1
schema:
  required_fields: [org_id, publisher_id]
signature_rules:
  required_signatures: [org, moneta, publisher]
  signing_order: [org, [moneta, publisher]]
guards: []
effects:
  on_finalized: [activate_organization]
"""
    town = play.town
    everything, town.hub = town.hub, replace(town.hub, checkers=1)
    publisher = town.register(PUBLISHER, "PUB")
    play.party = town.register(MO, "SUSP", status="Suspended")
    town.hub = everything
    templates.publish_template(town.hub, town.operator, payload, {})
    body = {
        "contract_id": "c-1",
        "template_id": "test-beside",
        "version": 1,
        "org_id": play.party.organization_id,
        "publisher_id": publisher.organization_id,
        "created_at": town.hub.now_s(),
        "payload": {},
    }
    signed = town.sign_first(play.party, json.dumps(body).encode(), role="org")
    assert play.sends(play.party, EventType.SUBMIT, "c-1", {"contract": signed}) == "processed"
    assert play.signs(publisher) == "processed"
    (waiting,) = pending_changes.list_changes(town.hub, town.operator, {}).body["items"]
    assert play.contract() == AWAITED
    decide(play, waiting, APPROVE)
    assert (play.contract(), play.status()) == ("finalized", "Active")
