"""A contract under a template, before anybody signs it."""

import json

import pytest

from moneta.adapters.template_reader import YAMLTemplateReader, builtin_templates
from moneta.application.simulate import simulate

READER = YAMLTemplateReader()
TEMPLATES = {one.template.name: one for one in map(READER.compile, builtin_templates())}
BODY = {
    "contract_id": "c-1",
    "template_id": "transaction-contract",
    "version": 1,
    "mo_id": "mo",
    "publisher_id": "publisher",
    "mpass_id": "mpass",
    "created_at": 1,
    "payload": {"transaction": {"amount": "100.00", "currency": "USD"}},
}


SUSPENSION = b"""\
template_name: notice
version: 1
schema: {required_fields: [contract_id, org_id]}
signature_rules: {required_signatures: [moneta], signing_order: [moneta]}
acknowledge: {org: PT72H}
notify: [publisher]
"""


def tried(template="transaction-contract", **members):
    given = {name: value for name, value in {**BODY, **members}.items() if value is not None}
    return simulate(TEMPLATES[template], json.dumps(given).encode())


def test_what_is_accepted_is_told_with_who_signs_when_and_what_is_asked():
    trial = tried()
    assert (trial["is_accepted"], trial["problems"]) == (True, [])
    assert trial["signing"] == [
        {"roles": ["mo"], "then": "pending_moneta_signature"},
        {"roles": ["moneta"], "then": "pending_publisher_signature"},
        {"roles": ["publisher"], "then": "finalized"},
    ]
    assert trial["effects"] == {}
    assert trial["guards"] == ["mpass_active", "organizations_active", "organizations_agree"]
    assert {"from": "pending_publisher_signature", "by": "publisher", "event": "declines", "to": "declined"} in trial[
        "ways"
    ]


def test_a_parallel_step_leads_on_when_all_of_it_have_signed():
    assert tried("joint-campaign-agreement")["signing"] == [
        {"roles": ["mo"], "then": "pending_publisher_and_moneta_signature"},
        {"roles": ["publisher", "moneta"], "then": "finalized"},
    ]


@pytest.mark.parametrize(
    ("members", "problems"),
    [
        ({"mpass_id": None, "payload": {}}, [("missing_field", n) for n in ("mpass_id", "amount", "currency")]),
        ({"payload": {"amount": "1", "x": {"amount": "1", "currency": "USD"}}}, [("ambiguous_field", "amount")]),
        ({"payload": {"x": {"amount": "1.001", "currency": "USD"}}}, [("invalid_amount", "x.amount")]),
        ({"template_id": "charge-contract"}, [("invalid_field", "template_id")]),
        ({"version": 2}, [("invalid_field", "template_id")]),
        ({"version": "1"}, [("invalid_field", "version")]),
        ({"mood": "fine"}, [("unknown_field", "mood")]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_hubs_own_codes(members, problems):
    trial = tried(**members)
    assert trial["is_accepted"] is False
    assert [(one["code"], one["field"]) for one in trial["problems"]] == problems


def test_what_is_no_body_at_all_is_told():
    assert [one["code"] for one in simulate(TEMPLATES["charge-contract"], b"[1")["problems"]] == ["malformed_json"]


def test_a_payload_is_held_against_the_json_schema():
    payload = {
        "campaign": {"title": "", "starts_on": "2026-12-01", "ends_on": "2026-12-24"},
        "budget": {"amount": "10.00", "currency": "USD", "mo_share": "5.00", "publisher_share": "5.00"},
    }
    trial = tried("joint-campaign-agreement", template_id="joint-campaign-agreement", mpass_id=None, payload=payload)
    assert [(one["code"], one["field"]) for one in trial["problems"]] == [("schema_mismatch", "campaign.title")]


def test_what_a_contract_does_is_told_by_phase():
    assert tried("mpass-issuance")["effects"] == {"on_finalized": ["issue_mpass"]}


def test_who_is_asked_last_and_whose_silence_counts_is_told():
    compiled = READER.compile(SUSPENSION)
    trial = simulate(compiled, json.dumps({**BODY, "template_id": "notice", "org_id": "o", "mpass_id": None}).encode())
    assert trial["signing"] == [
        {"roles": ["moneta"], "then": "pending_org_signature"},
        {"roles": ["org"], "then": "finalized"},
    ]
    assert (trial["deem_after_s"], trial["notify"]) == (259_200, ["publisher"])
    assert {"from": "pending_org_signature", "by": "moneta", "event": "deems", "to": "finalized"} in trial["ways"]
