"""Policies, services and the check of an endpoint as guards of contracts, at receipt and when Moneta signs."""

import json
from dataclasses import replace

import pytest

from moneta.application import organizations, templates
from moneta.application.deliver_webhooks import prepare_attempts, record_attempts
from moneta.application.ports import Answer, EventStatus
from moneta.domain.contracts import status_of
from moneta.domain.limits import DELIVER_LEASE_S
from moneta.signing import base64url
from tests.hub import MO, PUBLISHER

ONBOARDING = b"""
template_name: test-joining
version: 1
schema:
  required_fields: [org_id]
signature_rules:
  required_signatures: [org, moneta]
  signing_order: [org, moneta]
guards: [organization_pending]
effects:
  on_finalized: [activate_organization]
"""


@pytest.fixture
def market(house):
    house.mo, house.publisher = house.register(MO, "MOA"), house.register(PUBLISHER, "PUBA")
    house.mpass = house.issue_mpass(house.mo)
    return house


def update(market, party, **members):
    organizations.update_organization(market.hub, market.operator, party.kind, party.organization_id, members)


def submit(market, contract_id, **transaction):
    payload = {"transaction": {"amount": "1.00", "currency": "USD", **transaction}}
    body = market.body(market.mo, market.publisher, market.mpass, contract_id=contract_id, payload=payload)
    market.submit(market.mo, body)
    event = market.hub.events.find(market.mo.organization_id, f"submit-{contract_id}")
    return event.status, None if event.problem is None else json.loads(event.problem)


def test_a_contract_that_a_policy_does_not_admit_is_refused_and_made_once_it_does(market):
    update(market, market.publisher, policies={"mos": {"denied": [market.mo.organization_id]}})
    status, problem = submit(market, "c-1")
    assert status is EventStatus.REJECTED
    assert (problem["code"], problem["rule"]) == ("organization_policy", "policies.mos")
    assert problem["organization"] == market.publisher.organization_id
    update(market, market.publisher, policies={})
    assert submit(market, "c-2")[0] is EventStatus.PROCESSED


def test_a_publisher_sells_the_services_that_it_names(market):
    update(market, market.publisher, services=["news"])
    assert submit(market, "c-1", service="news")[0] is EventStatus.PROCESSED
    assert submit(market, "c-2", service="tv")[1]["rule"] == "services"


def test_what_a_policy_no_longer_admits_when_moneta_signs_is_declined(market):
    members = b"""
template_name: test-late
version: 1
schema:
  required_fields: [mo_id, publisher_id]
signature_rules:
  required_signatures: [mo, publisher, moneta]
  signing_order: [mo, publisher, moneta]
"""
    templates.publish_template(market.hub, market.operator, members, {})
    body = market.body(
        market.mo, market.publisher, None, contract_id="late", template_id="test-late", payload={"note": "x"}
    )
    market.submit(market.mo, body)
    assert status_of(market.contract("late")) == "pending_publisher_signature"
    update(market, market.mo, policies={"publishers": {"allowed": []}})
    market.sign(market.publisher, "late")
    contract = market.contract("late")
    assert status_of(contract) == "declined"
    claims = json.loads(base64url.decode(contract.acts[0].compact.split(".")[1], what="act"))
    assert claims["reason_code"] == "organization_policy"


def joins(house, party, contract_id):
    members = {
        "contract_id": contract_id,
        "template_id": "test-joining",
        "version": 1,
        "org_id": party.organization_id,
        "created_at": house.hub.now_s(),
        "payload": {},
    }
    body = json.dumps(members).encode()
    data = {"contract": house.sign_first(party, body, role="org")}
    house.send(party, house.event(party, "moneta.contract.submit", contract_id, data, f"submit-{contract_id}"))
    house.process()
    event = house.hub.events.find(party.organization_id, f"submit-{contract_id}")
    return event.status, None if event.problem is None else json.loads(event.problem)["code"]


def test_a_contract_asks_for_an_endpoint_that_answered_where_the_hub_does(house):
    house.hub = replace(house.hub, require_endpoint_check=True)
    templates.publish_template(house.hub, house.operator, ONBOARDING, {})
    party = house.register(MO, "NEW", status="Pending")
    assert joins(house, party, "j-1") == (EventStatus.REJECTED, "endpoint_not_checked")
    due = house.hub.deliveries.take_due(now=house.hub.clock.now_ms(), limit=10, lease_s=DELIVER_LEASE_S)
    came = Answer(status=204, content_type="", retry_after=None, body=b"", is_truncated=False, duration_ms=7)
    record_attempts(house.hub, [(one, came) for one in prepare_attempts(house.hub, due)])
    assert joins(house, party, "j-2") == (EventStatus.PROCESSED, None)


def test_a_hub_that_asks_for_no_check_lets_the_contract_pass(house):
    templates.publish_template(house.hub, house.operator, ONBOARDING, {})
    party = house.register(MO, "NEW", status="Pending")
    assert joins(house, party, "j-1") == (EventStatus.PROCESSED, None)
