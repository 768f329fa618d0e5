"""Every template that ships, played with its examples through the hub itself; and a new one that needs no code.

An example is a contract's body, word for word but for the ids: who is who is told by the ids that stand for them in
all examples. ``accepted-`` ones are signed by everybody whose turn comes, to the end; ``refused-`` ones name the code
and the field of the refusal.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from moneta.adapters.template_reader import YAMLTemplateReader, builtin_templates
from moneta.application import mpasses, organizations, queries, templates
from moneta.application.ports import EventType
from moneta.application.problems import problem_document
from moneta.application.submit import submit_as_moneta
from moneta.domain.contracts import next_signers, status_of
from moneta.domain.errors import Refused
from moneta.domain.ijson import parse_object
from moneta.domain.mpasses import make_number
from moneta.domain.templates import Effect, EffectPhase, Guard, Role
from tests.hub import MO, PUBLISHER
from tests.signing_examples import key_of

TEMPLATES = Path(__file__).parents[2] / "templates"
EXAMPLES = sorted(TEMPLATES.glob("examples/*/*.json"))
COMPILED = {
    f"{one.name}-{one.version}": one for one in (YAMLTemplateReader().compile(p).template for p in builtin_templates())
}
MO_ID = b"3f1c9a52-7f0e-4a7c-9a55-0d3f6f0e1b21"
PUBLISHER_ID = b"b7d2e0c4-5a1f-4f3e-8c6d-2f9a1e7b4c10"
MPASS_ID = b"mpass_123456"
ORG_ID = b"5d2b8f3a-6c1e-4b7d-9e04-8a7f1c3d5b60"
ONBOARDED_ID = b"c7e1a9d4-2f58-4c36-b0a1-6e9d3f7b2c84"
AUTH_KID = b"dGhlIGtpZCBvZiB0aGUgYXV0aCBrZXkgb2YgdGhlbSE"
CONTRACT_KID = b"dGhlIGtpZCBvZiB0aGUgY29udHJhY3Qga2V5IG9mIHQ"
OLD_KID = b"dGhlIGtpZCBvZiB0aGUgb2xkIGNvbnRyYWN0IGtleSE"
NEW_X = b"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
NEW_Y = b"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
NEW_KEY = key_of("ES256", "the new one")
EXAMPLES_AT = 1_640_995_260
MO_CODE = "ACME"
"""The MIC in the examples' mPass numbers."""


@pytest.fixture
def market(house):
    """An active MO, a publisher and an mPass, by role, in the examples' time, and the ids that stand for them there."""
    house.clock.moment = EXAMPLES_AT * 1000
    mo, publisher = house.register(MO, MO_CODE), house.register(PUBLISHER, "PUB")
    mpass = house.issue_mpass(mo)
    org, onboarded = house.register(PUBLISHER, "ORG"), house.register(PUBLISHER, "NEWORG", status="Pending")
    profile = {"name": "Example Press Ltd", "services": ["articles"], "industries": ["media"]}
    metadata = {"webhook_url": "https://press.example/moneta"}
    profile |= {"metadata": metadata}
    organizations.update_organization(house.hub, house.operator, PUBLISHER, onboarded.organization_id, profile)
    house.parties = {Role.MO: mo, Role.PUBLISHER: publisher, Role.ORG: org}
    house.parties[Role.ORG_NEW_KEY] = replace(org, key=NEW_KEY)
    house.onboarded = onboarded
    house.stand_ins = {
        MO_ID: mo.organization_id.encode(),
        PUBLISHER_ID: publisher.organization_id.encode(),
        MPASS_ID: mpass.encode(),
        ORG_ID: org.organization_id.encode(),
        ONBOARDED_ID: onboarded.organization_id.encode(),
        AUTH_KID: onboarded.auth_key.public.key_id.encode(),
        CONTRACT_KID: onboarded.key.public.key_id.encode(),
        OLD_KID: org.key.public.key_id.encode(),
        NEW_X: NEW_KEY.public.jwk["x"].encode(),
        NEW_Y: NEW_KEY.public.jwk["y"].encode(),
    }
    return house


def body_of_example(market, path):
    """Return the example's body, its numbers digit for digit, naming the parties of this market."""
    raw = path.read_bytes()
    if path.name.startswith("refused-"):
        raw = raw[raw.index(b'"body":') + len(b'"body":') : raw.rindex(b"}")].strip()
    for stand_in, real in market.stand_ins.items():
        raw = raw.replace(stand_in, real)
    return raw


def submitted(market, body, template):
    """Send the first submission; return how its event stands, as its sender is shown it."""
    if template.initiator is Role.MONETA:
        return begun_by_moneta(market, body, template)
    is_onboarding = Guard.ORGANIZATION_PENDING in template.guards
    initiator = market.onboarded if is_onboarding else market.parties[template.initiator]
    contract_id = json.loads(body)["contract_id"]
    signed = market.sign_first(initiator, body, role=template.initiator)
    raw = market.event(initiator, EventType.SUBMIT, contract_id, {"contract": signed}, "e")
    accepted = market.send(initiator, raw)
    assert not isinstance(accepted, Refused), accepted
    market.process()
    asked = {"source": initiator.organization_id}  # by the operator: who is Destroyed by it asks no more
    return queries.read_event(market.hub, market.operator, "e", asked).body


def begun_by_moneta(market, body, template):
    """Have Moneta begin the contract, dated now; return what becomes of it in the words of an event."""
    if Effect.ACTIVATE_ORGANIZATION in template.effects.get(EffectPhase.ON_FINALIZED, ()):
        market.set_status(market.parties[Role.ORG], "Suspended")
    members = {name: value for name, value in parse_object(body, what="example").items() if name != "created_at"}
    try:
        submit_as_moneta(market.hub, market.operator, members)
    except Refused as refusal:
        return {"status": "rejected", "problem": problem_document(refusal)}
    return {"status": "processed", "problem": None}


def signed_to_the_end(market, contract_id):
    """Sign for everybody whose turn it is, until nobody's is; return the status."""
    while signers := next_signers(market.contract(contract_id)):
        party = market.parties[signers[0]]
        signed = market.sign_next(party, market.contract(contract_id), role=signers[0])
        market.send(party, market.event(party, EventType.SIGN, contract_id, {"contract": signed}, f"by-{signers[0]}"))
        market.process()
    return status_of(market.contract(contract_id))


def named(prefix):
    return [path for path in EXAMPLES if path.name.startswith(prefix)]


def name_of(path):
    return f"{path.parent.name}/{path.stem}"


def test_every_template_that_ships_has_an_accepted_and_a_refused_example():
    for prefix in ("accepted-", "refused-"):
        assert {path.parent.name for path in named(prefix)} == COMPILED.keys()


@pytest.mark.parametrize("path", named("accepted-"), ids=name_of)
def test_an_accepted_example_is_signed_to_its_end(market, path):
    body = body_of_example(market, path)
    outcome = submitted(market, body, COMPILED[path.parent.name])
    assert (outcome["status"], outcome["problem"]) == ("processed", None)
    assert signed_to_the_end(market, json.loads(body)["contract_id"]) == "finalized"


@pytest.mark.parametrize("path", named("refused-"), ids=name_of)
def test_a_refused_example_is_rejected_for_its_reason_and_makes_no_contract(market, path):
    example = json.loads(path.read_bytes())
    body = body_of_example(market, path)
    outcome = submitted(market, body, COMPILED[path.parent.name])
    assert outcome["status"] == "rejected"
    assert (outcome["problem"]["code"], outcome["problem"].get("field")) == (example["expect"], example["field"])
    assert json.loads(body)["contract_id"] not in market.hub.contracts.read([json.loads(body)["contract_id"]])


NEW_BUSINESS = b"""\
template_name: lounge-visit
version: 1
description: A member visits a lounge, which the publisher runs; nobody wrote a line of code for it
schema:
  required_fields: [contract_id, mo_id, publisher_id, mpass_id, visit.lounge, amount, currency]
  json_schema:
    type: object
    required: [visit]
    properties:
      visit:
        type: object
        properties:
          lounge: {type: string, pattern: "^[A-Z]{3}-[0-9]$"}
          amount: {type: string, format: money}
          currency: {enum: [EUR]}
signature_rules:
  required_signatures: [publisher, mo, moneta]
  signing_order: [publisher, moneta, mo]
expires_in: PT1H
guards: [organizations_active, mpass_active]
"""


@pytest.mark.parametrize(
    ("visit", "field"),
    [
        ({"lounge": "MUC-1", "amount": "19.00", "currency": "EUR"}, None),
        ({"lounge": "MUC", "amount": "19.00", "currency": "EUR"}, "visit.lounge"),
        ({"amount": "19.00", "currency": "EUR"}, "visit.lounge"),
        ({"lounge": "MUC-1", "amount": "19.001", "currency": "EUR"}, "visit.amount"),
    ],
)
def test_a_new_kind_of_business_is_a_template_and_no_code(market, visit, field):
    templates.publish_template(market.hub, market.operator, NEW_BUSINESS, {})
    mo, publisher = market.parties[Role.MO], market.parties[Role.PUBLISHER]
    body = market.body(
        mo,
        publisher,
        market.stand_ins[MPASS_ID].decode(),
        template_id="lounge-visit",
        payload={"visit": visit},
    )
    outcome = submitted(market, body, YAMLTemplateReader().compile(NEW_BUSINESS).template)
    if field is None:
        assert outcome["status"] == "processed"
        assert signed_to_the_end(market, "contract-1") == "finalized"
        assert market.contract("contract-1").expires_at == market.hub.now_s() + 3600
    else:
        assert outcome["problem"]["field"] == field


GUEST_PASS = b"""\
template_name: guest-pass
version: 1
description: A publisher agrees to a pass that an MO issues to a guest; nobody wrote a line of code for it
schema:
  required_fields: [contract_id, mo_id, publisher_id, mpass.number, mpass.member_ref]
signature_rules:
  required_signatures: [mo, publisher, moneta]
  signing_order: [mo, publisher, moneta]
guards: [organizations_active]
effects:
  on_finalized: [issue_mpass]
"""


def test_a_new_kind_of_business_does_what_its_template_says(market):
    templates.publish_template(market.hub, market.operator, GUEST_PASS, {})
    mo, publisher = market.parties[Role.MO], market.parties[Role.PUBLISHER]
    number = make_number(MO_CODE, "1234567890123456")
    payload = {"mpass": {"number": number, "member_ref": "yg3yyVqhRMHQ_y_zyPln_cHenvDEEgs3JkFnAbUZ1hk"}}
    body = market.body(mo, publisher, None, template_id="guest-pass", payload=payload)
    assert submitted(market, body, YAMLTemplateReader().compile(GUEST_PASS).template)["status"] == "processed"

    def numbers():
        page = mpasses.list_mpasses(market.hub, market.caller(mo), {}).body["items"]
        return [item["number"] for item in page]

    assert number not in numbers()
    assert signed_to_the_end(market, "contract-1") == "finalized"
    assert number in numbers()
