"""Contracts of one organization: signed as ``org``, and as ``org_new_key`` by the key that they add."""

import json
from dataclasses import replace

import pytest

from moneta.application import queries, templates
from moneta.application.check_stored import check_stored
from moneta.application.documents import to_json
from moneta.application.ports import DeliveryQuery, EventType
from moneta.client import Keyring, MessageRefusedError, Sign, Verifier
from moneta.client.contracts import cancel, decline, respond, sign_first
from moneta.client.errors import HubUnreachableError
from moneta.domain.errors import ForbiddenError, UnknownContractError
from moneta.domain.identifiers import ContractId, EventId
from moneta.domain.organizations import OrganizationKind
from moneta.domain.templates import Role
from moneta.entrypoints.cli.verification import verify_file
from tests.scenarios.solo import (
    body_of,
    client_of,
    sends,
    signs,
    status,
    steps_with_leaves,
    submits,
    template,
    verifier,
    view,
)
from tests.signing_examples import key_of

MO, PUBLISHER = OrganizationKind

# fmt: off
TEMPLATES = {  # signing order, required fields, guards
    "test-onboarding": ("org, moneta",              "org_id, legal_name",    "organization_pending"),
    "test-rotation":   ("org, org_new_key, moneta", "org_id, new_key",       "organizations_active"),
    "test-notice":     ("mo, moneta",               "mo_id, publisher_id",   "organizations_active"),
    "test-both":       ("mo, moneta, org",          "mo_id, org_id",         "organizations_active"),
}
# fmt: on


def yaml_of(name):
    order, fields, guards = TEMPLATES[name]
    return template(name, order, fields, guards=guards)


@pytest.fixture
def town(house_on_each_store):
    """Give a hub with the templates above, on each store."""
    made = house_on_each_store
    for name in TEMPLATES:
        templates.publish_template(made.hub, made.operator, yaml_of(name), {})
    return made


def rotation(house, org, new_key=None):
    jwk = dict((key_of("ES256", "new") if new_key is None else new_key).public.jwk)
    return body_of(house, "test-rotation", org_id=org.organization_id, payload={"new_key": jwk})


def rotated(house):
    """Play a rotation to its end, and return the organization."""
    org = house.register(PUBLISHER, "PUBA")
    submits(house, org, rotation(house, org))
    signs(house, replace(org, key=key_of("ES256", "new")), role="org_new_key")
    return org


@pytest.mark.parametrize("kind", OrganizationKind)
def test_a_pending_organization_of_either_kind_signs_what_onboards_it(town, kind):
    org = town.register(kind, "ORG", status="Pending")
    body = body_of(town, "test-onboarding", org_id=org.organization_id)
    assert (submits(town, org, body), status(town)) == ("processed", "finalized")
    caller = town.caller(org)
    assert queries.read_contract(town.hub, caller, ContractId("c-1")).body["org_id"] == org.organization_id
    (item,) = queries.list_contracts(town.hub, caller, {}).body["items"]
    assert (item["contract_id"], item["mo_id"], item["publisher_id"]) == ("c-1", None, None)
    assert queries.list_contracts(town.hub, caller, {"status": "finalized"}).body["items"] == [item]
    assert queries.list_contracts(town.hub, caller, {"status": "expired"}).body["items"] == []


def test_a_stranger_sees_nothing_of_it(town):
    org, stranger = town.register(MO, "ORG", status="Pending"), town.register(MO, "OTHER")
    submits(town, org, body_of(town, "test-onboarding", org_id=org.organization_id))
    for caller in (town.caller(stranger), town.caller(town.register(PUBLISHER, "PUB"))):
        assert queries.list_contracts(town.hub, caller, {}).body["items"] == []
        with pytest.raises(UnknownContractError):
            queries.read_contract(town.hub, caller, ContractId("c-1"))
    # Whoever asks for an MO's own finds no contract that names it in another place.
    asked = {"mo_id": org.organization_id}
    assert queries.list_contracts(town.hub, town.operator, asked).body["items"] == []
    assert len(queries.list_contracts(town.hub, town.operator, {}).body["items"]) == 1


def test_a_pending_organization_sends_nothing_else(town):
    org, publisher = town.register(MO, "ORG", status="Pending"), town.register(PUBLISHER, "PUB")
    body = town.body(org, publisher, None, contract_id="c-1")
    assert submits(town, org, body, role="mo") == "organization_not_active"
    body = body_of(town, "test-nothing", org_id=org.organization_id)
    assert submits(town, org, body, "again") == "unknown_template"
    other = town.register(MO, "OTHER")
    body = body_of(town, "test-both", mo_id=other.organization_id, org_id=org.organization_id)
    assert submits(town, other, body, role="mo") == "organization_not_active"


def test_nobody_is_onboarded_twice(town):
    org = town.register(MO, "ORG")
    body = body_of(town, "test-onboarding", org_id=org.organization_id)
    town.clock.advance(1)
    assert submits(town, org, body) == "organization_not_pending"


@pytest.mark.parametrize("named", ["nobody", None])
def test_an_org_id_names_an_organization(town, named):
    org = town.register(MO, "ORG", status="Pending")
    body = body_of(town, "test-onboarding", **({} if named is None else {"org_id": named}))
    assert submits(town, org, body) == ("missing_field" if named is None else "unknown_organization")


def test_the_new_key_proves_itself_and_need_not_be_registered(town):
    org = town.register(PUBLISHER, "PUBA")
    assert submits(town, org, rotation(town, org)) == "processed"
    assert status(town) == "pending_org_new_key_signature"
    asked = [one.owed for one in town.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=9)).items]
    assert [(one.organization_id, one.type.rpartition(".")[2]) for one in asked] == [
        (org.organization_id, "signature_requested")
    ]
    assert signs(town, replace(org, key=key_of("ES256", "other")), "e-1", role="org_new_key") == "invalid_signature"
    again = {"contract": town.sign_first(org, town.contract(ContractId("c-1")).body_bytes, role="org")}
    assert sends(town, org, EventType.SIGN, again, "e-2") == "processed"  # the same statement again
    assert signs(town, org, "e-3", role="mo") == "wrong_signer"
    assert status(town) == "pending_org_new_key_signature"
    assert signs(town, replace(org, key=key_of("ES256", "new")), "e-4", role="org_new_key") == "processed"
    assert status(town) == "finalized"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"new_key": "none"}, "weak_key"),
        ({"new_key": {"kty": "RSA", "alg": "RS256", "e": "AQAB", "n": "AQAB"}}, "weak_key"),
        ({}, "missing_field"),
        ({"new_key": 1, "inside": {"new_key": 1}}, "ambiguous_field"),
    ],
)
def test_what_may_not_be_registered_is_no_new_key(town, changed, code):
    org = town.register(MO, "ORG")
    body = body_of(town, "test-rotation", org_id=org.organization_id, payload=changed)
    assert submits(town, org, body) == code


@pytest.mark.parametrize("holder", ["itself", "another", "identity"])
def test_a_new_key_stands_with_nobody(town, holder):
    org, other = town.register(MO, "ORG"), town.register(PUBLISHER, "PUB")
    key = {"itself": org.key, "another": other.auth_key, "identity": town.console.auth_key}[holder]
    assert submits(town, org, rotation(town, org, key)) == "key_taken"


@pytest.mark.parametrize("act", ["decline", "cancel"])
def test_an_organization_is_one_party_with_both_its_keys(town, act):
    org = town.register(MO, "ORG")
    submits(town, org, rotation(town, org))
    contract = town.contract(ContractId("c-1"))
    me = client_of(town, org)
    verified = verifier(town, me).contract(view(town)["jws"])
    assert verified.contract_id == contract.contract_id
    if act == "decline":
        signed = decline(verified, replace(me, role=Role.ORG_NEW_KEY), reason_code="no", issued_at=town.hub.now_s())
    else:
        signed = cancel(verified, me, reason_code="no", issued_at=town.hub.now_s())
    kind = {"decline": EventType.DECLINE, "cancel": EventType.CANCEL}[act]
    assert sends(town, org, kind, {"act": signed.compact}, act) == "processed"
    shown = view(town)
    end = verifier(town, me).end(
        verifier(town, me).contract(shown["jws"]),
        status=shown["status"],
        receipt=shown["receipt"],
        act=shown["acts"][0],
    )
    assert (end.status, end.actor) == ({"decline": "declined", "cancel": "cancelled"}[act], Role.ORG)


def test_one_organization_signs_under_two_roles(town):
    mo = town.register(MO, "ORG")
    body = body_of(town, "test-both", mo_id=mo.organization_id, org_id=mo.organization_id)
    assert submits(town, mo, body, role="mo") == "processed"
    assert status(town) == "pending_org_signature"
    me = client_of(town, mo)
    contract = verifier(town, me).contract(view(town)["jws"])
    assert verifier(town, me).requested(contract, "pending_org_signature") is Role.ORG
    signed = respond(contract, me, lambda _: Sign(), issued_at=town.hub.now_s())
    assert sends(town, mo, EventType.SIGN, {"contract": signed.jws}, "e-1") == "processed"
    assert status(town) == "finalized"
    ends = [one.owed.type for one in town.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=9)).items]
    assert sorted(one.rpartition(".")[2] for one in ends) == ["finalized", "signature_requested"]


def test_who_is_merely_named_is_not_told_of_the_end(town):
    mo, publisher = town.register(MO, "ORG"), town.register(PUBLISHER, "PUB")
    body = body_of(town, "test-notice", mo_id=mo.organization_id, publisher_id=publisher.organization_id)
    assert submits(town, mo, body, role="mo") == "processed"
    told = [one.owed.organization_id for one in town.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=9)).items]
    assert told == [mo.organization_id]


def test_a_pending_organization_reads_its_own_event_only(town):
    org = town.register(MO, "ORG", status="Pending")
    submits(town, org, body_of(town, "test-onboarding", org_id=org.organization_id))
    assert queries.read_event(town.hub, town.caller(org), EventId("submit"), {}).body["status"] == "processed"
    with pytest.raises(ForbiddenError):
        templates.publish_template(town.hub, town.caller(org), yaml_of("test-both"), {})


# What others make of it, from the bytes alone.


def test_what_a_store_holds_of_it_is_checked(town):
    org = rotated(town)
    contract = town.contract(ContractId("c-1"))
    known = {org.key.public.key_id: org.key.public}
    known |= {key.public.key_id: key.public for key in town.hub.signer.published()}
    steps = steps_with_leaves(contract)
    check_stored(ContractId("c-1"), steps, lambda _, key_id: known.get(key_id))


def test_the_client_verifies_a_rotation_by_the_key_in_its_payload(town):
    org = rotated(town)
    me, shown = client_of(town, org), view(town)
    contract = verifier(town, me).contract(shown["jws"])
    assert contract.signed_roles == ("org", "org_new_key", "moneta")
    end = verifier(town, me).end(contract, status="finalized", receipt=shown["receipt"], act=None)
    assert end.status == "finalized"
    first, _, *rest = shown["jws"]["signatures"]
    forged = town.entry(replace(org, key=key_of("ES256", "other")), b"", prev="A" * 43, role="org_new_key")
    with pytest.raises(MessageRefusedError):
        verifier(town, me).contract({**shown["jws"], "signatures": [first, forged, *rest]})


def test_the_client_signs_as_org_and_with_the_new_key(town):
    org = town.register(MO, "ORG")
    me, now = client_of(town, org), town.hub.now_s()
    first = sign_first(rotation(town, org), me, issued_at=now)
    assert sends(town, org, EventType.SUBMIT, {"contract": first.jws}, "e-1") == "processed"
    proving = replace(me, role=Role.ORG_NEW_KEY, contract_key=key_of("ES256", "new"))
    asked = view(town)
    contract = Verifier(proving, Keyring(fetch_of(town, org), clock=town.hub.now_s)).contract(asked["jws"])
    signed = respond(contract, proving, lambda _: Sign(), issued_at=now)
    assert sends(town, org, EventType.SIGN, {"contract": signed.jws}, "e-2") == "processed"
    assert status(town) == "finalized"


def fetch_of(house, org):
    """Serve the hub's keys, and the organization's under its kind alone."""

    def fetch(path):
        if path == "/.well-known/jwks.json":
            return json.loads(to_json(queries.read_moneta_keys(house.hub).body))
        if path != f"/organizations/{org.kind}/{org.organization_id}/jwks":
            raise HubUnreachableError("404")
        return {"keys": [dict(org.key.public.jwk)]}

    return fetch


def test_a_file_is_verified_offline(town, tmp_path):
    rotated(town)
    shown = view(town)
    file = tmp_path / "c.json"
    file.write_text(json.dumps(shown), encoding="utf-8")
    hub_key = town.hub.signer.current().public.key_id
    report = verify_file(file, hub_keys=frozenset({hub_key}), trust=None)
    assert (report.exit_code, report.status) == (0, "finalized"), report.to_text()
    assert "in the payload that org signed" in report.to_text()
    assert shown["signatures_map"]["org_new_key"]["kid"] == key_of("ES256", "new").public.key_id
    file.write_text(json.dumps({**shown, "org_id": "another"}), encoding="utf-8")
    assert verify_file(file, hub_keys=frozenset({hub_key}), trust=None).exit_code == 1
