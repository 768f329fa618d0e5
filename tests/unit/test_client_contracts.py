"""What a party signs, as stock JOSE libraries see it, and what it never signs."""

import json
import warnings
from decimal import Decimal

import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry, deserialize_compact
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from moneta.client import (
    Decline,
    InvalidContractError,
    KnownTemplate,
    Later,
    NotOurTurnError,
    Role,
    Sign,
    SignedAct,
    build_contract,
    cancel,
    decline,
    keys,
    registration,
    respond,
    sign_first,
)
from moneta.domain.ijson import NumberText
from moneta.signing import base64url
from moneta.signing.statements import parse_act, verify_key_proof
from tests import client_world as world
from tests.client_world import HUB, KEYS, MO, MO_ID, NOW, PAYLOAD, PUBLISHER, PUBLISHER_ID

ALGORITHMS = ["ES256", "EdDSA", "RS256", "PS256"]


def checked(jws=None, who=PUBLISHER, **options):
    return world.verifier(who, **options).contract(jws or world.countersigned())


def by_joserfc(protected, payload, signature, key):
    registry = JWSRegistry(algorithms=[key.public.algorithm], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # EdDSA is the name that the protocol spells
        deserialize_compact(f"{protected}.{payload}.{signature}", import_key(key.public.jwk), registry=registry)


def by_jwcrypto(protected, payload, signature, key):
    token = JWS()
    token.allowed_algs = [key.public.algorithm]
    token.deserialize(f"{protected}.{payload}.{signature}", JWK(**key.public.jwk))


@pytest.mark.parametrize("verify", [by_joserfc, by_jwcrypto])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_other_libraries_verify_what_we_sign(verify, algorithm):
    key = keys.generate(algorithm)
    party = world.party(Role.MO, contract_key=key)
    first = sign_first(world.body(), party, issued_at=NOW)
    [entry] = first.jws["signatures"]
    verify(entry["protected"], first.jws["payload"], entry["signature"], key)
    act = cancel(first, party, reason_code="changed_our_mind", issued_at=NOW)
    protected, payload, signature = act.compact.split(".")
    verify(protected, payload, signature, key)


@pytest.mark.parametrize("verify", [by_joserfc, by_jwcrypto])
def test_other_libraries_verify_a_countersigned_contract_entry_by_entry(verify):
    response = respond(checked(), PUBLISHER, lambda contract: Sign(), issued_at=NOW)
    signers = (KEYS["mo"], KEYS["hub"], KEYS["publisher"])
    for entry, key in zip(response.jws["signatures"], signers, strict=True):
        verify(entry["protected"], response.jws["payload"], entry["signature"], key)


def test_a_countersignature_keeps_every_byte_and_carries_the_head_and_the_template():
    jws = world.countersigned()
    response = respond(checked(jws), PUBLISHER, lambda contract: Sign(), issued_at=NOW + 5)
    assert response.jws["payload"] == jws["payload"]
    assert response.jws["signatures"][:-1] == jws["signatures"]
    header = json.loads(base64url.decode(response.jws["signatures"][-1]["protected"], what="header"))
    assert header == {
        "alg": "EdDSA",
        "kid": KEYS["publisher"].public.key_id,
        "typ": "moneta-contract+jws",
        "iat": NOW + 5,
        "aud": HUB,
        "role": "publisher",
        "prev": world.head(jws),
        "template_sha256": world.TEMPLATE_SHA256,
    }
    assert response.head == world.head(response.jws)
    assert checked(response.jws).signed_roles == ("mo", "moneta", "publisher")


def test_in_a_parallel_step_a_countersignature_is_chained_to_the_step_before():
    jws = world.countersigned()
    order = ((Role.MO,), (Role.PUBLISHER, Role.MONETA))
    pin = KnownTemplate(name="transaction-contract", version=1, sha256=world.TEMPLATE_SHA256, signing_order=order)
    contract = checked(jws, templates=[pin])
    response = respond(contract, PUBLISHER, lambda contract: Sign(), issued_at=NOW)
    prevs = [json.loads(base64url.decode(one["protected"], what="h"))["prev"] for one in response.jws["signatures"]]
    assert prevs == [None, world.head(jws, 0), world.head(jws, 0)]
    assert checked(response.jws, templates=[pin]).steps[-1][-1].header.role == "publisher"


def test_a_first_signature_has_no_prev_and_names_a_template_where_it_is_told():
    first = sign_first(world.body(), MO, issued_at=NOW, template_sha256=world.TEMPLATE_SHA256)
    header = json.loads(base64url.decode(first.jws["signatures"][0]["protected"], what="header"))
    assert (header["prev"], header["role"], header["template_sha256"]) == (None, "mo", world.TEMPLATE_SHA256)
    plain = json.loads(base64url.decode(world.submitted().jws["signatures"][0]["protected"], what="header"))
    assert "template_sha256" not in plain


def test_a_decline_is_an_act_chained_to_what_was_shown():
    jws = world.countersigned()
    response = respond(checked(jws), PUBLISHER, lambda contract: Decline("wrong_amount", "we ask 90"), issued_at=NOW)
    assert isinstance(response, SignedAct)
    act = parse_act(response.compact)
    assert (act.name, act.contract_id, act.prev) == ("decline", "contract_12345", world.head(jws))
    assert (act.reason_code, act.reason) == ("wrong_amount", "we ask 90")


def test_later_signs_nothing():
    assert respond(checked(), PUBLISHER, lambda contract: Later(), issued_at=NOW) is None


@pytest.mark.parametrize("nonsense", [None, True, "sign", Sign])
def test_a_decision_that_is_none_signs_nothing(nonsense):
    with pytest.raises(TypeError, match="expected Sign, Decline or Later"):
        respond(checked(), PUBLISHER, lambda contract: nonsense, issued_at=NOW)


def test_what_decide_raises_is_raised_and_nothing_is_signed():
    def decide(contract):
        raise LookupError(contract.contract_id)

    with pytest.raises(LookupError, match="contract_12345"):
        respond(checked(), PUBLISHER, decide, issued_at=NOW)


def test_an_expired_contract_is_not_even_asked_about():
    contract = checked(world.countersigned(world.submitted(expires_at=NOW + 10)))
    asked = []
    assert respond(contract, PUBLISHER, asked.append, issued_at=NOW + 10) is None
    assert asked == []
    assert respond(contract, PUBLISHER, lambda _: Sign(), issued_at=NOW + 9)


def test_nobody_signs_twice_or_for_another():
    with pytest.raises(NotOurTurnError):
        respond(checked(who=MO), MO, lambda contract: Sign(), issued_at=NOW)
    with pytest.raises(NotOurTurnError):
        decline(checked(who=MO), MO, reason_code="no", issued_at=NOW)
    stranger = world.party(Role.PUBLISHER)
    object.__setattr__(stranger, "organization_id", MO_ID)
    with pytest.raises(NotOurTurnError):
        respond(checked(), stranger, lambda contract: Sign(), issued_at=NOW)


@pytest.mark.parametrize(
    ("code", "reason"), [("", ""), ("With Space", ""), ("x" * 65, ""), ("no", "x" * 501)], ids=range(4)
)
def test_a_reason_of_another_form_is_refused_before_it_is_sent(code, reason):
    with pytest.raises(InvalidContractError, match="reason"):
        decline(checked(), PUBLISHER, reason_code=code, reason=reason, issued_at=NOW)


# Bodies.


def test_a_body_gets_a_random_id_and_a_nonce():
    first, second = (
        json.loads(build_contract(template_id="t", version=1, payload={}, created_at=NOW)) for _ in range(2)
    )
    assert first["contract_id"] != second["contract_id"]
    assert first["nonce"] != second["nonce"]
    assert len(base64url.decode(first["nonce"], what="nonce")) == 16


def test_a_body_keeps_what_it_was_given():
    body = json.loads(world.body(description="é", expires_at=NOW + 60, nonce="A" * 22))
    assert (body["payload"], body["description"], body["nonce"]) == (PAYLOAD, "é", "A" * 22)
    assert (body["mo_id"], body["publisher_id"], body["expires_at"]) == (MO_ID, PUBLISHER_ID, NOW + 60)


@pytest.mark.parametrize(
    "members",
    [
        {"payload": {"amount": 100.0}},
        {"payload": {"amounts": [{"amount": 0.1}]}},
        {"payload": {"amount": Decimal("100.00")}},
        {"payload": {"amount": 2**53}},
        {"payload": {"text": "\ud800"}},
        {"payload": {"when": object()}},
        {"payload": {"digits": NumberText("1.00")}},
        {"payload": {"text": "x" * 140_000}},
        {"payload": {"deep": [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}},
        {"contract_id": "with space"},
        {"contract_id": ".."},
        {"version": 0},
        {"created_at": -1},
        {"nonce": "short"},
        {"unknown": "member"},
    ],
    ids=lambda members: f"{members!r:.40}",
)
def test_a_body_that_the_hub_would_refuse_is_refused_here(members):
    with pytest.raises(InvalidContractError):
        world.body(**members)


def test_a_payload_that_holds_itself_is_refused():
    payload = {}
    payload["self"] = payload
    with pytest.raises(InvalidContractError):
        world.body(payload=payload)


def test_a_party_does_not_sign_first_what_does_not_name_it():
    with pytest.raises(InvalidContractError, match="not its mo"):
        sign_first(world.body(mo_id=PUBLISHER_ID), MO, issued_at=NOW)
    with pytest.raises(InvalidContractError):
        sign_first(b"[]", MO, issued_at=NOW)


# Registration.


def test_a_registration_holds_both_keys_each_with_its_proof():
    document = registration(
        Role.MO,
        name="Aurora Club",
        code="AURORA",
        webhook_url="https://aurora.example/webhooks",
        hub=HUB,
        auth_key=KEYS["mo auth"],
        contract_key=KEYS["mo"],
        now=NOW,
        contact_email="ops@aurora.example",
    )
    assert (document["mic"], document["metadata"]["contact_email"]) == ("AURORA", "ops@aurora.example")
    assert [key["use"] for key in document["keys"]] == [["auth"], ["contract"]]
    for sent, key in zip(document["keys"], (KEYS["mo auth"], KEYS["mo"]), strict=True):
        assert sent["jwk"] == key.public.jwk
        verify_key_proof(sent["proof"], key.public, audience=HUB, subject="AURORA", now=NOW)


def test_one_key_may_have_both_uses():
    key = KEYS["publisher"]
    document = registration(
        Role.PUBLISHER, name="N", code="NN", webhook_url="u", hub=HUB, auth_key=key, contract_key=key, now=NOW
    )
    assert document["mpc"] == "NN"
    assert [sent["use"] for sent in document["keys"]] == [["auth", "contract"]]
