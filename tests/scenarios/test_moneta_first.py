"""Moneta as the first signer: what the operator asks for, and what becomes of it."""

import json

import pytest

from moneta.application import templates
from moneta.application.ports import DeliveryQuery, EventType
from moneta.application.submit import submit_as_moneta
from moneta.client.contracts import cancel, decline, respond
from moneta.client.decisions import Sign
from moneta.domain.errors import (
    ContractExistsError,
    ContractExpiredError,
    ForbiddenError,
    IdempotencyKeyReusedError,
    MissingFieldError,
    OrganizationSuspendedError,
    TooLargeError,
    TryAgainError,
    UnknownFieldError,
    UnknownTemplateError,
    WrongSignerError,
)
from moneta.domain.identifiers import ContractId
from moneta.domain.limits import BODY_BYTES_MAX
from moneta.domain.organizations import OrganizationKind
from moneta.entrypoints.cli.verification import verify_file
from tests.scenarios.solo import client_of, sends, signs, status, template, verifier, view

MO, PUBLISHER = OrganizationKind


@pytest.fixture
def town(house_on_each_store):
    """Give a hub with a template that Moneta begins and one that a party does."""
    made = house_on_each_store
    for yaml in (
        template("test-notice", "moneta, org", "org_id, text"),
        template("test-wish", "org, moneta", "org_id"),
    ):
        templates.publish_template(made.hub, made.operator, yaml, {})
    return made


def members(org, **changed):
    named = {
        "contract_id": "c-1",
        "template_id": "test-notice",
        "version": 1,
        "org_id": org.organization_id,
        "payload": {"text": "Read this", "number": "1.50"},
        **changed,
    }
    return {name: value for name, value in named.items() if value is not None}


def submit(house, org, *, caller=None, idempotency_key=None, **changed):
    caller = house.operator if caller is None else caller
    return submit_as_moneta(house.hub, caller, members(org, **changed), idempotency_key=idempotency_key)


def test_moneta_signs_first_and_the_organization_is_asked(town):
    org = town.register(MO, "ORG")
    answer = submit(town, org)
    assert answer.body == view(town)
    assert (answer.body["status"], answer.body["next_signers"]) == ("pending_org_signature", ["org"])
    assert list(answer.body["signatures_map"]) == ["moneta"]
    assert answer.body["created_at"] == town.hub.now_s()
    (owed,) = [one.owed for one in town.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=9)).items]
    assert (owed.organization_id, owed.type) == (org.organization_id, "moneta.contract.signature_requested")
    assert signs(town, org, role="org") == "processed"
    assert status(town) == "finalized"


def test_the_event_log_says_who_began_it(town):
    org = town.register(MO, "ORG")
    submit(town, org)
    signs(town, org, role="org")
    assert [(line.event, line.actor) for line in town.contract(ContractId("c-1")).log] == [
        ("contract_created", "moneta_core"),
        ("contract_signed", org.organization_id),
        ("contract_finalized", "moneta_core"),
    ]


def test_the_organization_may_decline_and_nobody_cancels(town):
    org = town.register(MO, "ORG")
    submit(town, org)
    me = client_of(town, org)
    contract = verifier(town, me).contract(view(town)["jws"])
    act = cancel(contract, me, reason_code="no", issued_at=town.hub.now_s())
    assert sends(town, org, EventType.CANCEL, {"act": act.compact}, "e-1") == "act_not_allowed"
    act = decline(contract, me, reason_code="no", issued_at=town.hub.now_s())
    assert sends(town, org, EventType.DECLINE, {"act": act.compact}, "e-2") == "processed"
    assert status(town) == "declined"


def test_a_partner_verifies_it_and_signs(town, tmp_path):
    org = town.register(PUBLISHER, "ORG")
    submit(town, org)
    me = client_of(town, org)
    contract = verifier(town, me).contract(view(town)["jws"])
    verifier(town, me).requested(contract, "pending_org_signature")
    signed = respond(contract, me, lambda _: Sign(), issued_at=town.hub.now_s())
    assert sends(town, org, EventType.SIGN, {"contract": signed.jws}, "e-1") == "processed"
    shown = view(town)
    whole = verifier(town, me).contract(shown["jws"])
    assert verifier(town, me).end(whole, status="finalized", receipt=shown["receipt"], act=None).status == "finalized"
    file = tmp_path / "c.json"
    file.write_text(json.dumps(shown), encoding="utf-8")
    hub_key = town.hub.signer.current().public.key_id
    assert verify_file(file, hub_keys=frozenset({hub_key}), trust=None).exit_code == 0


# fmt: off
REFUSED = {
    "a member that nobody knows":  ({"colour": "red"},                 UnknownFieldError),
    "its own date":                ({"created_at": 1},                 UnknownFieldError),
    "no payload":                  ({"payload": None},                 MissingFieldError),
    "no required field":           ({"payload": {}},                   MissingFieldError),
    "a template that there isn't": ({"template_id": "test-nothing"},   UnknownTemplateError),
    "a party's template":          ({"template_id": "test-wish"},      WrongSignerError),
    "a term that is over":         ({"expires_at": 1},                 ContractExpiredError),
    "too much":                    ({"description": "x" * BODY_BYTES_MAX}, TooLargeError),
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_a_submission_of_moneta_s_is_judged_like_any_other(town, name):
    changed, error = REFUSED[name]
    with pytest.raises(error):
        submit(town, town.register(MO, "ORG"), **changed)
    assert town.hub.contracts.read([ContractId("c-1")]) == {}


def test_its_guards_are_asked(town):
    org = town.register(MO, "ORG", status="Suspended")
    with pytest.raises(OrganizationSuspendedError):
        submit(town, org)


def test_an_id_is_taken_once(town):
    org = town.register(MO, "ORG")
    submit(town, org)
    with pytest.raises(ContractExistsError):
        submit(town, org)


def test_the_same_request_again_is_answered_as_before(town):
    org = town.register(MO, "ORG")
    first = submit(town, org, idempotency_key="once")
    town.clock.advance(5)
    again = submit(town, org, idempotency_key="once")
    assert (again.body["jws"], again.is_replay) == (first.body["jws"], True)
    with pytest.raises(IdempotencyKeyReusedError):
        submit(town, org, idempotency_key="once", contract_id="c-2")


def test_a_nonce_of_the_operator_s_is_kept(town):
    org = town.register(MO, "ORG")
    submit(town, org, nonce="A" * 22)
    submit(town, org, contract_id="c-2")
    nonces = [town.contract(ContractId(one)).body.nonce for one in ("c-1", "c-2")]
    assert nonces[0] == "A" * 22
    assert len(nonces[1]) == 22


def test_only_the_operator_submits_for_moneta(town):
    org = town.register(MO, "ORG")
    with pytest.raises(ForbiddenError):
        submit(town, org, caller=town.caller(org))


def test_what_is_overtaken_every_time_is_left_for_another_time(town, monkeypatch):
    org = town.register(MO, "ORG")
    monkeypatch.setattr(type(town.hub.contracts), "commit", lambda _self, changes: ["conflict"] * len(changes))
    with pytest.raises(TryAgainError):
        submit(town, org)
