"""What a receiver believes, and what it doesn't: every row is one lie, and no lie gets a signature."""

import dataclasses
import json
import time

import pytest
from standardwebhooks import Webhook

from moneta.client import (
    Keyring,
    KeysUnavailableError,
    KnownTemplate,
    MessageRefusedError,
    MessageType,
    Role,
    WebhookSignatureError,
    receive,
    sign_first,
)
from moneta.client.errors import HubUnreachableError
from moneta.client.messages import MESSAGE_BYTES_MAX
from moneta.client.trust import KEY_SETS_KEPT_MAX
from moneta.domain.limits import KEYS_KEPT_S
from moneta.signing import base64url, webhooks
from tests import client_world as world
from tests.client_world import HUB, KEYS, MO, MO_ID, NOW, PUBLISHER_ID, SECRET, FakeHub

REVOKED = {"status": "revoked", "revoked_at": NOW}


def read(raw, *, headers=None, secrets=(SECRET,), now=NOW, **options):
    return receive(headers or world.headers(raw), raw, secrets=secrets, verifier=world.verifier(**options), now=now)


def ended(kind, jws=None, act=None, **options):
    jws = jws or world.countersigned()
    status = options.pop("status", kind)
    claims = {"status": kind, "act": act, **options.pop("claims", {})}
    receipt = options.pop("receipt", None) or world.receipt(jws, **claims)
    return world.message(f"contract.{kind}", jws=jws, status=status, receipt=receipt, act=act, **options)


def final(jws=None, **options):
    return ended("finalized", jws or world.finalized(), **options)


# What holds.


def test_a_request_to_sign_is_read_with_all_that_it_says():
    message = read(world.request())
    assert message.type is MessageType.SIGNATURE_REQUESTED
    assert (message.contract_id, message.sequence, message.end) == ("contract_12345", 1, None)
    assert message.contract.signed_roles == ("mo", "moneta")
    assert message.contract.body.payload == world.PAYLOAD
    assert message.contract.template_sha256 == world.TEMPLATE_SHA256
    money = message.contract.money("transaction")
    assert (money.units, money.currency, money.digits) == (100_000_000, "USD", "100.00")


def test_a_finalization_is_read_with_its_receipt():
    message = read(final(sequence="0000000002"))
    assert (message.end.status, message.end.finalized_at, message.end.act) == ("finalized", NOW, None)
    assert message.contract.signed_roles == ("mo", "moneta", "publisher")


@pytest.mark.parametrize(
    ("kind", "act_name", "key", "actor"),
    [
        ("declined", "decline", "publisher", Role.PUBLISHER),
        ("declined", "decline", "hub", Role.MONETA),
        ("cancelled", "cancel", "mo", Role.MO),
        ("expired", "expire", "hub", Role.MONETA),
    ],
)
@pytest.mark.parametrize("who", [world.MO, world.PUBLISHER], ids=["mo", "publisher"])
def test_an_end_by_an_act_is_read_with_who_made_it(kind, act_name, key, actor, who):
    jws = world.countersigned()
    act = world.act(jws, act_name, key=KEYS[key])
    message = read(ended(kind, jws, act), who=who)
    assert (message.end.status, message.end.actor, message.end.act) == (kind, actor, act)
    assert (message.end.reason_code, message.end.reason) == ("no_such_order", "we know no such order")


def test_an_act_may_name_the_head_of_an_earlier_step():
    jws = world.countersigned()
    assert read(ended("cancelled", jws, world.act(jws, "cancel", key=KEYS["mo"], prev=world.head(jws, 0)))).end


def test_a_rejection_says_why():
    problem = {"type": "/problems/wrong_signer", "code": "wrong_signer", "detail": "no", "status": 422}
    message = read(world.message("contract.rejected", problem=problem, sequence="0000000000"))
    assert (message.contract_id, message.problem.code, message.contract) == ("contract_12345", "wrong_signer", None)
    assert message.problem.document == problem


@pytest.mark.parametrize("kind", ["endpoint.check", "endpoint.test", "certificate.expiring"])
def test_what_concerns_the_endpoint_names_the_organization(kind):
    message = read(world.message(kind, subject=PUBLISHER_ID, contract_id=None, sequence="0000000000"))
    assert (message.contract_id, message.subject) == (None, PUBLISHER_ID)


def test_header_names_may_come_in_any_case_and_as_pairs():
    raw = world.request()
    pairs = [(name.title(), value) for name, value in world.headers(raw).items()]
    assert read(raw, headers=pairs).webhook_id == "w1"


def test_the_reference_implementation_agrees_about_the_headers():
    raw, secret = world.request(), webhooks.parse_secret(SECRET)
    now = int(time.time())
    signed = webhooks.sign([b"x" * 32, secret], webhook_id="w1", timestamp=now, body=raw)
    assert Webhook(SECRET).verify(raw, dict(signed)) == json.loads(raw)
    assert read(raw, headers=world.headers(raw, at=now), now=now)


def test_either_of_two_secrets_will_do_during_a_rotation():
    raw = world.request()
    new = webhooks.format_secret(b"n" * 32)
    assert read(raw, secrets=[new, SECRET])
    assert read(raw, headers=world.headers(raw, secret=new), secrets=[SECRET, new])


def test_an_extension_of_the_cloud_event_is_ignored():
    assert read(world.request(traceparent="00-1", partitionkey=3))


# The request itself.


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        ({}, NOW - 301),
        ({}, NOW + 301),
        ({"webhook-timestamp": str(NOW + 1)}, NOW),
        ({"webhook-timestamp": "soon"}, NOW),
        ({"webhook-timestamp": "\u0661"}, NOW),
        ({"webhook-signature": "v1,AAAA"}, NOW),
        ({"webhook-signature": ""}, NOW),
        ({"webhook-id": "w2"}, NOW),
        ({"webhook-id": ""}, NOW),
    ],
    ids=["old", "ahead", "changed", "word", "arabic digit", "wrong", "empty", "other id", "no id"],
)
def test_a_webhook_that_is_not_the_hubs_or_not_of_now_is_refused(changed, at):
    raw = world.request()
    with pytest.raises(WebhookSignatureError) as caught:
        read(raw, headers=world.headers(raw, at=at, **changed))
    assert caught.value.http_status == 401


def test_a_body_that_was_altered_on_the_way_is_refused():
    raw = world.request()
    with pytest.raises(WebhookSignatureError):
        read(raw.replace(b"100.00", b"900.00") + b" ", headers=world.headers(raw))


def test_another_secret_is_refused():
    raw = world.request()
    with pytest.raises(WebhookSignatureError, match="none is by our secret"):
        read(raw, secrets=[webhooks.format_secret(b"o" * 32)])


@pytest.mark.parametrize("secrets", [[], ["whsec_!"], ["whsec_AAAA"], ["no prefix"]])
def test_without_a_good_secret_nothing_is_believed(secrets):
    with pytest.raises(WebhookSignatureError):
        read(world.request(), secrets=secrets)


def test_a_webhook_header_that_is_sent_twice_is_refused():
    raw = world.request()
    with pytest.raises(WebhookSignatureError, match="twice"):
        read(raw, headers=[*world.headers(raw).items(), ("Webhook-Id", "w1")])


def test_an_id_with_a_dot_is_refused():
    # The same signature would cover another id, time and body: the parts are joined with dots.
    raw = world.request(id="w.1")
    with pytest.raises(WebhookSignatureError, match="malformed"):
        read(raw, headers=world.headers(raw, webhook_id="w.1"))


def test_more_bytes_than_any_message_has_are_not_even_hashed():
    with pytest.raises(MessageRefusedError) as caught:
        read(b" " * (MESSAGE_BYTES_MAX + 1), headers={})
    assert (caught.value.code, caught.value.http_status) == ("too_large", 413)


# The form. Each is signed by the hub's secret: a thief of the secret gets no further than this.

FORMS = {
    "not JSON": (b"{", "malformed_json"),
    "UTF-16": ("{}".encode("utf-16"), "malformed_json"),
    "an array": (b"[]", "malformed_json"),
    "duplicate names": (world.request().replace(b'"data":', b'"subject": "other", "data":', 1), "malformed_json"),
    "no data": (world.request(data="absent"), "malformed_request"),
    "data is text": (world.request(data="x"), "malformed_request"),
    "one member of data too few": (world.request(data={"contract_id": "c"}), "malformed_request"),
    "no subject": (world.request(subject="absent", contract_id="contract_12345"), "malformed_request"),
    "no time": (world.request(time="absent"), "malformed_request"),
    "a number as sequence": (world.request(sequence=1), "malformed_request"),
    "nine digits": (world.request(sequence="000000001"), "malformed_request"),
    "Arabic digits": (world.request(sequence="\u0660" * 10), "malformed_request"),
    "revision 0 of a contract": (world.request(sequence="0000000000"), "malformed_request"),
    "another version": (world.request(specversion="0.3"), "malformed_request"),
    "another source": (world.request(source="http://127.0.0.1:9090"), "malformed_request"),
    "another id than the header's": (world.request(id="w2"), "malformed_request"),
    "an extension that is an object": (world.request(extra={}), "malformed_request"),
    "an extension in capitals": (world.request(Extra="x"), "malformed_request"),
    "data of another type": (world.request(datacontenttype="text/plain"), "malformed_request"),
    "an unknown type": (world.message("contract.superseded"), "unknown_type"),
    "status is a number": (world.request(status=5), "malformed_request"),
    "another subject": (world.request(subject="contract_2"), "subject_mismatch"),
    "another contract_id": (world.request(contract_id="contract_2"), "subject_mismatch"),
    "no contract": (world.message("contract.signature_requested"), "missing_contract"),
    "a request with a receipt": (world.request(receipt=world.receipt(world.finalized())), "malformed_request"),
    "a request with a problem": (world.request(problem={}), "malformed_request"),
    "a rejection without a problem": (world.message("contract.rejected"), "missing_problem"),
    "a problem that is text": (world.message("contract.rejected", problem="no"), "malformed_request"),
    "a test for another organization": (
        world.message("endpoint.test", subject=MO_ID, contract_id=None),
        "subject_mismatch",
    ),
    "a test with a contract_id": (world.message("endpoint.test", subject=PUBLISHER_ID), "malformed_request"),
}


@pytest.mark.parametrize(("raw", "code"), FORMS.values(), ids=FORMS)
def test_a_message_of_another_form_is_refused(raw, code):
    with pytest.raises(MessageRefusedError) as caught:
        read(raw)
    assert (caught.value.code, caught.value.http_status) == (code, 400)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
def test_another_content_type_is_refused(kind):
    raw = world.request()
    with pytest.raises(MessageRefusedError, match="Content-Type"):
        read(raw, headers=world.headers(raw, **{"Content-Type": kind}))


# The contract. The hub's secret signs each of these too.


def altered(jws, **members):
    """Return the contract with another body under the same signatures."""
    return {**jws, "payload": base64url.encode(world.body(**members))}


def without(jws, *steps):
    return {**jws, "signatures": [one for index, one in enumerate(jws["signatures"]) if index not in steps]}


def swapped(jws):
    return {**jws, "signatures": jws["signatures"][::-1]}


def spoilt(jws, index):
    """Return the contract with one signature of the right length that is none."""
    entries = [dict(entry) for entry in jws["signatures"]]
    entries[index]["signature"] = base64url.encode(bytes(len(base64url.decode(entries[index]["signature"], what="s"))))
    return {**jws, "signatures": entries}


OTHER_MONEY = {"transaction": {**world.PAYLOAD["transaction"], "amount": "900.00"}}
OTHER_MO = "11111111-1111-4111-8111-111111111111"

CONTRACTS = {
    "an altered amount": (altered(world.countersigned(), payload=OTHER_MONEY), "invalid_signature"),
    "the MO's signature dropped": (without(world.countersigned(), 0), "invalid_signature"),
    "Moneta's signature dropped": (without(world.countersigned(), 1), "not_next_signer"),
    "signatures swapped": (swapped(world.countersigned()), "invalid_signature"),
    "the MO's signature spoilt": (spoilt(world.countersigned(), 0), "invalid_signature"),
    "Moneta's signature spoilt": (spoilt(world.countersigned(), 1), "invalid_signature"),
    "another hub's key": (world.countersigned(key=KEYS["other hub"]), "unknown_key"),
    "Moneta's turn signed with the MO's key": (world.countersigned(key=KEYS["mo"]), "unknown_key"),
    "signed for another hub": (world.countersigned(aud="https://other.example"), "invalid_signature"),
    "signed for the hub with a slash": (world.countersigned(aud=HUB + "/"), "invalid_signature"),
    "chained to nothing": (world.countersigned(prev=None), "invalid_signature"),
    "chained to another": (world.countersigned(prev="A" * 43), "invalid_signature"),
    "the MO signs as publisher too": (
        world.signed_by(world.countersigned(), "publisher", key=KEYS["mo"]),
        "unknown_key",
    ),
    "Moneta signs twice": (world.signed_by(world.countersigned(), "moneta"), "invalid_signature"),
    "an unknown role": (world.signed_by(world.countersigned(), "auditor", key=KEYS["hub"]), "malformed_jws"),
    "we have signed already": (world.finalized(), "not_next_signer"),
    "a publisher's header with Moneta's members": (
        world.signed_by(world.countersigned(), "publisher", registry_seq=7),
        "invalid_signature",
    ),
    "dated after Moneta received it": (
        world.countersigned(sign_first(world.body(), MO, issued_at=NOW + 301)),
        "signature_time",
    ),
    "two templates": (
        world.countersigned(sign_first(world.body(), MO, issued_at=NOW, template_sha256=base64url.sha256(b"other"))),
        "invalid_signature",
    ),
    "a contract of another publisher's": (
        world.countersigned(world.submitted(publisher_id=OTHER_MO)),
        "wrong_party",
    ),
    "a body that is none": (
        {"payload": base64url.encode(b"{}"), "signatures": world.countersigned()["signatures"]},
        "missing_field",
    ),
    "a payload that is no base64url": ({**world.countersigned(), "payload": "e30="}, "malformed_jws"),
    "an unprotected header": ({**world.countersigned(), "header": {}}, "malformed_jws"),
    "no signatures": ({**world.countersigned(), "signatures": []}, "malformed_jws"),
    "text": ("x", "malformed_jws"),
}


@pytest.mark.parametrize(("jws", "code"), CONTRACTS.values(), ids=CONTRACTS)
def test_a_contract_that_does_not_hold_is_refused(jws, code):
    with pytest.raises(MessageRefusedError) as caught:
        read(world.request(jws))
    assert caught.value.code == code


def test_a_contract_that_another_mo_signed_is_refused():
    signed = sign_first(world.body(), world.party(Role.MO, contract_key=KEYS["other mo"]), issued_at=NOW)
    with pytest.raises(MessageRefusedError) as caught:
        read(world.request(world.countersigned(signed)))
    assert caught.value.code == "unknown_key"


@pytest.mark.parametrize(
    "status",
    ["pending_mo_signature", "pending_moneta_signature", "finalized", "pending__signature", "publisher", None],
)
def test_a_request_whose_status_does_not_ask_us_is_refused(status):
    with pytest.raises(MessageRefusedError, match="does not ask"):
        read(world.request(status=status))


# Templates that are pinned.

PIN = KnownTemplate(
    name="transaction-contract",
    version=1,
    sha256=world.TEMPLATE_SHA256,
    signing_order=((Role.MO,), (Role.MONETA,), (Role.PUBLISHER,)),
)


def pinned(*order, sha256=world.TEMPLATE_SHA256):
    steps = tuple(step if isinstance(step, tuple) else (step,) for step in order)
    return [KnownTemplate(name=PIN.name, version=1, sha256=sha256, signing_order=steps)]


def test_a_pinned_template_says_the_order():
    message = read(world.request(), templates=[PIN])
    assert message.contract.is_template_known
    assert read(final(sequence="0000000002"), templates=[PIN]).end


@pytest.mark.parametrize(
    ("templates", "code"),
    [
        (pinned(Role.MO, Role.MONETA, Role.PUBLISHER, sha256="C" * 43), "template_mismatch"),
        (pinned(Role.MONETA, Role.MO, Role.PUBLISHER), "not_next_signer"),
        (pinned(Role.MO, Role.PUBLISHER, Role.MONETA), "not_next_signer"),
        (pinned(Role.MO, Role.MONETA), "not_next_signer"),
        (pinned(Role.MO), "not_next_signer"),
    ],
    ids=["other bytes", "Moneta first", "Moneta last", "without us", "one step"],
)
def test_a_contract_that_does_not_follow_its_pinned_template_is_refused(templates, code):
    with pytest.raises(MessageRefusedError) as caught:
        read(world.request(), templates=templates)
    assert caught.value.code == code


def test_a_pinned_template_can_let_moneta_sign_last():
    raw = world.request(world.submitted().jws)
    with pytest.raises(MessageRefusedError, match="moneta has not signed"):
        read(raw)
    message = read(raw, templates=pinned(Role.MO, Role.PUBLISHER, Role.MONETA))
    assert message.contract.signed_roles == ("mo",)


def test_in_a_parallel_step_the_head_is_that_of_the_step_before():
    jws = world.countersigned()
    parallel = pinned(Role.MO, (Role.PUBLISHER, Role.MONETA))
    message = read(world.request(jws), templates=parallel)
    assert message.contract.head == world.head(jws, 0)
    assert read(world.request(jws)).contract.head == world.head(jws, 1)


def test_a_finalization_lacks_no_signature_of_the_pinned_template():
    jws = world.countersigned()
    with pytest.raises(MessageRefusedError, match="missing"):
        read(final(jws), templates=[PIN])


# Ends.

CHAIN, PENDING = world.finalized(), world.countersigned()
DECLINE = world.act(PENDING)
OTHER_DECLINE = world.act(PENDING, prev=world.head(PENDING, 0))


def declined(act=DECLINE, **options):
    return ended("declined", PENDING, act, **options)


ENDS = {
    "without a receipt": (world.message("contract.finalized", jws=CHAIN, status="finalized"), "missing_receipt"),
    "a receipt of another contract": (final(claims={"contract_id": "contract_2"}), "invalid_receipt"),
    "a receipt of another body": (final(claims={"body_sha256": "A" * 43}), "invalid_receipt"),
    "a receipt of another status": (final(claims={"status": "cancelled"}), "invalid_receipt"),
    "a receipt of another head": (final(claims={"head": world.head(CHAIN, 1)}), "invalid_receipt"),
    "a receipt of another hub": (final(claims={"iss": "https://other.example"}), "invalid_signature"),
    "a receipt of an act that isn't there": (final(claims={"act_sha256": "A" * 43}), "invalid_receipt"),
    "a receipt without a time": (final(claims={"finalized_at": None}), "invalid_receipt"),
    "a receipt with a true for a time": (final(claims={"finalized_at": True}), "invalid_receipt"),
    "a receipt by another hub's key": (
        final(receipt=world.receipt(CHAIN, key=KEYS["other hub"])),
        "unknown_key",
    ),
    "a receipt by the MO's key": (final(receipt=world.receipt(CHAIN, key=KEYS["mo"])), "unknown_key"),
    "a receipt that is no text": (final(receipt=5), "missing_receipt"),
    "a receipt that is no JWS": (final(receipt="a.b.c"), "malformed_jws"),
    "another status than its type": (final(status="declined"), "status_mismatch"),
    "no status": (final(status=None), "status_mismatch"),
    "finalized with an act": (
        world.message("contract.finalized", jws=CHAIN, status="finalized", receipt=world.receipt(CHAIN), act=DECLINE),
        "invalid_receipt",
    ),
    "declined without an act": (
        world.message("contract.declined", jws=PENDING, status="declined", receipt=world.receipt(PENDING)),
        "missing_act",
    ),
    "an act of another kind": (declined(world.act(PENDING, "cancel", key=KEYS["mo"])), "invalid_act"),
    "an act about another contract": (declined(world.act(PENDING, contract_id="contract_2")), "invalid_act"),
    "an act chained to another": (declined(world.act(PENDING, prev="A" * 43)), "invalid_act"),
    "an act for another hub": (declined(world.act(PENDING, aud="https://other.example")), "invalid_signature"),
    "a decline by who has signed": (declined(world.act(PENDING, key=KEYS["mo"])), "wrong_signer"),
    "a decline by a stranger": (declined(world.act(PENDING, key=KEYS["other mo"])), "wrong_signer"),
    "a cancel by the publisher": (
        ended("cancelled", PENDING, world.act(PENDING, "cancel")),
        "wrong_signer",
    ),
    "an expiry by the MO": (ended("expired", PENDING, world.act(PENDING, "expire", key=KEYS["mo"])), "wrong_signer"),
    "an act whose signature is another's": (
        declined(".".join([*DECLINE.split(".")[:2], world.act(PENDING, prev="A" * 43).split(".")[2]])),
        "invalid_signature",
    ),
    "a receipt of another act": (
        declined(
            receipt=world.receipt(PENDING, status="declined", act=world.act(PENDING, prev=world.head(PENDING, 0)))
        ),
        "invalid_receipt",
    ),
    "an act that is no JWS": (declined("x"), "malformed_jws"),
    "an act that is a number": (
        world.message(
            "contract.declined",
            jws=PENDING,
            status="declined",
            receipt=world.receipt(PENDING, status="declined"),
            act=5,
        ),
        "malformed_jws",
    ),
}


@pytest.mark.parametrize(("raw", "code"), ENDS.values(), ids=ENDS)
def test_an_end_that_is_not_proven_is_refused(raw, code):
    with pytest.raises(MessageRefusedError) as caught:
        read(raw)
    assert caught.value.code == code


# Keys.


def with_keys(path, document):
    hub = FakeHub()
    hub.documents[path] = document
    return hub


HUB_KEYS = "/.well-known/jwks.json"
MO_KEYS = f"/organizations/mo/{MO_ID}/jwks"
PUBLISHER_KEYS = f"/organizations/publisher/{PUBLISHER_ID}/jwks"


@pytest.mark.parametrize(
    ("path", "document", "code"),
    [
        (HUB_KEYS, world.hub_jwks("hub", revoked_at=NOW - 1), "key_not_valid"),
        (HUB_KEYS, world.hub_jwks("hub", nbf=NOW + 1000), "key_not_valid"),
        (HUB_KEYS, world.hub_jwks("hub", exp=NOW - 1000), "key_not_valid"),
        (HUB_KEYS, world.hub_jwks("other hub"), "unknown_key"),
        (HUB_KEYS, {"keys": []}, "unknown_key"),
        (HUB_KEYS, {"keys": [5, {"kty": "oct"}, {"kty": "EC"}]}, "unknown_key"),
        (MO_KEYS, world.party_jwks("other mo"), "unknown_key"),
        (MO_KEYS, world.party_jwks("mo", registry_seq=7, **REVOKED), "key_not_valid"),
        (MO_KEYS, world.party_jwks("mo", revoked_at=NOW, registry_seq=None), "key_not_valid"),
        (MO_KEYS, world.party_jwks("mo", registry_seq=9, **{**REVOKED, "status": "compromised"}), "key_not_valid"),
    ],
    ids=[
        "hub's revoked",
        "hub's too early",
        "hub's too late",
        "hub's other",
        "none",
        "no allowed ones",
        "the MO's other",
        "the MO's, revoked when Moneta signed",
        "the MO's, revoked nobody knows when",
        "the MO's, compromised since",
    ],
)
def test_a_request_by_a_key_that_does_not_count_is_refused(path, document, code):
    with pytest.raises(MessageRefusedError) as caught:
        read(world.request(), hub=with_keys(path, document))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (MO_KEYS, world.party_jwks("mo", registry_seq=8, **REVOKED)),
        (MO_KEYS, world.party_jwks("mo", registry_seq=1, status="retired")),
        (MO_KEYS, world.party_jwks("mo", nbf=NOW + 60)),
        (HUB_KEYS, world.hub_jwks("other hub", "hub")),
        (HUB_KEYS, {"keys": [{key: value for key, value in KEYS["hub"].public.jwk.items() if key != "kid"}]}),
    ],
    ids=["revoked after Moneta signed", "retired", "registered after it signed", "one of two", "without a period"],
)
def test_a_key_that_was_good_when_it_was_judged_is_good(path, document):
    assert read(world.request(), hub=with_keys(path, document))


def test_a_finalization_by_a_key_that_was_revoked_when_it_was_judged_is_refused():
    # Read by the MO: the publisher signed after Moneta, so the receipt's position counts.
    good = with_keys(PUBLISHER_KEYS, world.party_jwks("publisher", registry_seq=9, **REVOKED))
    bad = with_keys(PUBLISHER_KEYS, world.party_jwks("publisher", registry_seq=8, **REVOKED))
    assert read(final(), hub=good, who=MO).end
    with pytest.raises(MessageRefusedError, match="revoked"):
        read(final(), hub=bad, who=MO)


@pytest.mark.parametrize("document", [HubUnreachableError("down"), {"keys": "x"}, {}])
def test_without_keys_nothing_is_known(document):
    with pytest.raises(KeysUnavailableError):
        read(world.request(), hub=with_keys(MO_KEYS, document))


def test_keys_are_asked_for_once_a_minute():
    hub, clock = FakeHub(), world.Clock()
    checked = world.verifier(hub=hub, clock=clock)
    jws = json.loads(json.dumps(world.countersigned()))
    for now in (NOW, NOW + 59):
        clock.now = now
        checked.contract(jws)
    assert sorted(hub.asked) == sorted([HUB_KEYS, MO_KEYS])
    clock.now = NOW + 60
    checked.contract(jws)
    assert len(hub.asked) == 4


def test_a_new_key_is_found_at_once_and_an_unknown_one_asks_once_in_two_seconds():
    hub, clock = FakeHub(), world.Clock()
    checked = world.verifier(hub=hub, clock=clock)
    checked.contract(world.countersigned())
    rotated = world.countersigned(key=KEYS["other hub"])
    for _ in range(3):
        with pytest.raises(MessageRefusedError, match="no key"):
            checked.contract(rotated)
    assert hub.asked.count(HUB_KEYS) == 1
    hub.documents[HUB_KEYS] = world.hub_jwks("hub", "other hub")
    clock.now = NOW + 2
    assert checked.contract(rotated)
    assert hub.asked.count(HUB_KEYS) == 2


def test_pinned_keys_are_believed_and_nobody_is_asked():
    hub = FakeHub(documents={HUB_KEYS: world.hub_jwks("hub")})
    pins = {
        "hub_keys": frozenset({KEYS["hub"].public.key_id}),
        "partner_keys": {MO_ID: (KEYS["mo"].public,)},
    }
    assert world.verifier(hub=hub, **pins).contract(world.countersigned())
    assert hub.asked == [HUB_KEYS]
    stranger = sign_first(world.body(), world.party(Role.MO, contract_key=KEYS["other mo"]), issued_at=NOW)
    with pytest.raises(MessageRefusedError, match="no key"):
        world.verifier(hub=hub, **pins).contract(world.countersigned(stranger))


def test_a_hub_key_that_is_not_pinned_is_refused_though_the_hub_serves_it():
    with pytest.raises(MessageRefusedError, match="not a pinned key"):
        world.verifier(hub_keys=frozenset({"x"})).contract(world.countersigned())


# The types.


def test_nobody_but_a_verifier_makes_a_verified_contract():
    contract = world.verifier().contract(world.countersigned())
    fields = {name: getattr(contract, name) for name in contract.__slots__}
    with pytest.raises(TypeError, match="verify"):
        type(contract)(seal=None, **fields)
    with pytest.raises((ValueError, TypeError), match="seal"):
        dataclasses.replace(contract, payload="e30")


@pytest.mark.parametrize(
    ("payload", "path", "code"),
    [
        ({"amount": "1.00", "currency": "USD"}, "transaction", "missing_field"),
        ({"transaction": {"amount": "1.00", "currency": "usd"}}, "transaction", "invalid_amount"),
        ({"transaction": {"amount": "1.001", "currency": "USD"}}, "transaction", "invalid_amount"),
        ({"transaction": {"amount": None, "currency": "USD"}}, "transaction", "invalid_amount"),
    ],
)
def test_what_is_not_money_is_not_read_as_money(payload, path, code):
    contract = world.verifier().contract(world.countersigned(world.submitted(payload=payload)))
    with pytest.raises(MessageRefusedError) as caught:
        contract.money(path)
    assert caught.value.code == code


def test_money_of_the_payload_itself_needs_no_path():
    contract = world.verifier().contract(
        world.countersigned(world.submitted(payload={"amount": "5", "currency": "JPY"}))
    )
    assert contract.money().units == 50_000


def test_a_verified_contract_travels_on_byte_for_byte():
    jws = world.countersigned()
    contract = world.verifier().contract(jws)
    assert contract.to_json() == jws
    assert contract.initiator is Role.MO


def test_a_rejection_may_show_the_contract_and_then_it_is_verified_too():
    problem = {"code": "contract_closed", "detail": "late"}
    message = read(world.message("contract.rejected", jws=world.countersigned(), problem=problem))
    assert (message.contract.contract_id, message.end) == ("contract_12345", None)
    with pytest.raises(MessageRefusedError):
        read(world.message("contract.rejected", jws=world.countersigned(aud="x"), problem=problem))


def test_a_contract_that_names_no_publisher_can_not_carry_its_signature():
    unnamed = json.loads(world.body())
    del unnamed["publisher_id"]
    first = sign_first(json.dumps(unnamed).encode(), MO, issued_at=NOW)
    with pytest.raises(MessageRefusedError) as caught:
        world.verifier(MO).contract(world.signed_by(world.countersigned(first), "publisher"))
    assert caught.value.code == "wrong_signer"


def test_a_decline_without_the_act_that_made_it_is_no_end():
    checked = world.verifier()
    contract = checked.contract(PENDING)
    with pytest.raises(MessageRefusedError) as caught:
        checked.end(contract, status="declined", receipt=world.receipt(PENDING, status="declined"), act=None)
    assert caught.value.code == "missing_act"


def test_a_pending_contract_has_no_end():
    checked = world.verifier()
    contract = checked.contract(world.countersigned())
    with pytest.raises(MessageRefusedError, match="not the status of an end"):
        checked.end(contract, status="pending_publisher_signature", receipt=None, act=None)


def test_the_template_says_which_step_was_the_last_complete_one():
    # Declined in the middle of a parallel step: Moneta had signed, the publisher had not.
    parallel = pinned(Role.MO, (Role.PUBLISHER, Role.MONETA))
    first, last = (world.act(PENDING, prev=world.head(PENDING, step)) for step in (0, -1))
    claims = {"head": world.head(PENDING, 0)}
    assert read(declined(first, claims=claims), templates=parallel).end
    assert read(declined(first, claims=claims)).end
    for act, facts in ((last, claims), (first, {})):
        with pytest.raises(MessageRefusedError):
            read(declined(act, claims=facts), templates=parallel)


def test_no_more_key_sets_are_kept_than_the_limit():
    hub, clock = FakeHub(), world.Clock()
    ring = Keyring(hub.fetch, clock=clock)
    for index in range(KEY_SETS_KEPT_MAX + 1):
        hub.documents[f"/organizations/mo/{index}/jwks"] = world.party_jwks("mo")
        ring.party_key((Role.MO,), str(index), KEYS["mo"].public.key_id)
    hub.asked.clear()
    ring.party_key((Role.MO,), "1", KEYS["mo"].public.key_id)
    ring.party_key((Role.MO,), "0", KEYS["mo"].public.key_id)
    assert hub.asked == ["/organizations/mo/0/jwks"]


class AgeingHub(FakeHub):
    """A hub whose answers take ``takes_s``, by the clock of whoever asks."""

    def __init__(self, clock, takes_s):
        super().__init__()
        self.clock, self.takes_s = clock, takes_s

    def fetch(self, path):
        self.clock.now += self.takes_s
        return super().fetch(path)


# fmt: off
AGES = {
    # the answer takes, and then so long: are the keys still believed?
    "young":                   (0,  KEYS_KEPT_S - 1,  True),
    "old":                     (0,  KEYS_KEPT_S,      False),
    "old since it was asked":  (20, KEYS_KEPT_S - 20, False),
    "the clock was set back":  (0,  -1,               False),
}
# fmt: on


@pytest.mark.parametrize("case", AGES)
def test_keys_are_believed_for_a_minute_from_when_they_were_asked_for(case):
    takes_s, later_s, is_believed = AGES[case]
    clock = world.Clock()
    hub = AgeingHub(clock, takes_s)
    ring = Keyring(hub.fetch, clock=clock)
    ring.hub_key(KEYS["hub"].public.key_id)
    clock.now += later_s
    ring.hub_key(KEYS["hub"].public.key_id)
    assert len(hub.asked) == (1 if is_believed else 2)
