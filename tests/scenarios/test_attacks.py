"""Every attack that a line of the protocol closes, with the code that refuses it; none leaves more than its outcome."""

import json

import pytest

from moneta.application import organization_keys, templates
from moneta.application.end_contracts import decline_compromised, expire_contracts
from moneta.application.ports import EventType
from moneta.domain.errors import Refused
from moneta.domain.identifiers import ContractId
from moneta.domain.organizations import OrganizationKind
from moneta.signing import base64url, chain, jws
from tests.scenarios.play import Play
from tests.signing_examples import key_of

ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture
def play(house):
    return Play(house)


def altered(contract, index, **changed):
    """The same JWS with texts of one entry replaced."""
    signatures = [dict(one) for one in contract["signatures"]]
    signatures[index].update(changed)
    return {**contract, "signatures": signatures}


# First submissions: what is changed about the header, or about the body.
# fmt: off
HEADERS = {
    "for another hub":               ({"aud": "https://other.example"},    "invalid_signature"),
    "for this hub with a slash":     ({"aud": "https://hub.example/"},     "invalid_signature"),
    "of another kind":               ({"typ": "moneta-act+jws"},           "invalid_signature"),
    "of the kind in capitals":       ({"typ": "MONETA-CONTRACT+JWS"},      "invalid_signature"),
    "for another role":              ({"role": "publisher"},               "wrong_signer"),
    "for moneta's role":             ({"role": "moneta"},                  "wrong_signer"),
    "for an unknown role":           ({"role": "orgs"},                    "wrong_signer"),
    "with a head before it":         ({"prev": "A" * 43},                  "revision_conflict"),
    "with another algorithm":        ({"alg": "PS256"},                    "wrong_algorithm"),
    "with no algorithm":             ({"alg": "none"},                     "wrong_algorithm"),
    "with a symmetric algorithm":    ({"alg": "HS256"},                    "wrong_algorithm"),
    "by a key nobody registered":    ({"kid": "B" * 43},                   "unknown_key"),
    "with another template's digest": ({"template_sha256": "C" * 42 + "A"}, "template_mismatch"),
    "with moneta's own members":     ({"registry_seq": 1, "received_at": 1}, "invalid_signature"),
}
BODIES = {
    "an unknown member":             ({"colour": "red"},                   "unknown_field"),
    "supersedes":                    ({"supersedes": "contract-0"},        "not_supersedable"),
    "a third organization":          ({"org_id": "x"},                     "invalid_field"),
    "an unknown template":           ({"template_id": "sale"},             "unknown_template"),
    "an unknown version":            ({"version": 99},                     "unknown_template"),
    "an unknown publisher":          ({"publisher_id": "nobody"},          "unknown_organization"),
    "no publisher":                  ({"publisher_id": None},              "missing_field"),
    "an unknown mPass":              ({"mpass_id": "nothing"},             "unknown_mpass"),
    "no mPass":                      ({"mpass_id": None},                  "missing_field"),
    "no amount":                     ({"payload": {"transaction": {"currency": "USD"}}}, "missing_field"),
    "two amounts": ({"payload": {"a": {"amount": "1", "currency": "USD"}, "b": {"amount": "1", "currency": "USD"}}},
                    "ambiguous_field"),
    "a negative amount":             ({"payload": {"t": {"amount": "-1", "currency": "USD"}}}, "invalid_amount"),
    "an amount of nothing":          ({"payload": {"t": {"amount": "0.00", "currency": "USD"}}}, "invalid_amount"),
    "an amount with an exponent":    ({"payload": {"t": {"amount": 1e22, "currency": "USD"}}}, "invalid_amount"),
    "a fraction of a cent":          ({"payload": {"t": {"amount": "1.001", "currency": "USD"}}}, "invalid_amount"),
    "a currency in lower case":      ({"payload": {"t": {"amount": "1", "currency": "usd"}}}, "invalid_amount"),
    "a currency and a newline":      ({"payload": {"t": {"amount": "1", "currency": "USD\n"}}}, "invalid_amount"),
    "full-width digits":             ({"payload": {"t": {"amount": "\uff11", "currency": "USD"}}}, "invalid_amount"),
}
# fmt: on


@pytest.mark.parametrize("name", HEADERS)
def test_a_first_signature_is_refused(play, name):
    changed, code = HEADERS[name]
    assert play.sends("mo", EventType.SUBMIT, play.house.sign_first(play.mo, play.body, **changed), "e-1") == code
    assert play.status == "none"


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_refused(play, name):
    changed, code = BODIES[name]
    play.body = play.house.body(play.mo, play.publisher, **{"mpass_id": play.mpass_id, **changed})
    assert play.does("mo submits") == code
    assert play.status == "none"


@pytest.mark.parametrize(
    ("age_s", "code"),
    [
        (24 * 3600 + 1, "signature_time"),
        (24 * 3600, "processed"),
        (-300, "processed"),
        (-301, "signature_time"),
    ],
)
def test_a_first_signature_has_its_time(play, age_s, code):
    signed = play.house.sign_first(play.mo, play.body, iat=play.house.hub.now_s() - age_s)
    assert play.sends("mo", EventType.SUBMIT, signed, "e-1") == code


def test_a_refused_submission_is_judged_anew_when_it_is_sent_again(play):
    signed = play.house.sign_first(play.mo, play.body)
    play.house.set_status(play.publisher, "Suspended")
    assert play.sends("mo", EventType.SUBMIT, signed, "e-1") == "organization_suspended"
    play.house.set_status(play.publisher, "Active")
    play.house.clock.advance(1)
    assert play.sends("mo", EventType.SUBMIT, signed, "e-2") == "processed"


def test_the_mpass_of_another_mo_is_unknown(play):
    other = play.house.register(OrganizationKind.MO, "MOB")
    play.body = play.house.body(play.mo, play.publisher, play.house.issue_mpass(other))
    assert play.does("mo submits") == "unknown_mpass"


def test_an_organization_of_the_other_kind_is_unknown(play):
    other = play.house.register(OrganizationKind.MO, "MOB")
    play.body = play.house.body(play.mo, other, play.mpass_id)
    assert play.does("mo submits") == "unknown_organization"


def test_nobody_speaks_for_another(play):
    other = play.house.register(OrganizationKind.MO, "MOB")
    raw = play.house.event(play.mo, EventType.SUBMIT, "contract-1", {"contract": {}}, "e-1")
    answer = play.house.send(other, raw)
    assert isinstance(answer, Refused)
    assert answer.code == "forbidden"


def test_a_contract_that_names_others_is_the_wrong_signer_s(play):
    other = play.house.register(OrganizationKind.MO, "MOB")
    play.parties["other"] = other
    assert play.sends("other", EventType.SUBMIT, play.house.sign_first(other, play.body), "e-1") == "wrong_signer"


def test_a_stranger_learns_nothing_of_a_contract(play):
    play.does("mo submits")
    play.parties["other"] = play.house.register(OrganizationKind.PUBLISHER, "PUBB")
    stored = play.house.sign_next(play.parties["other"], play.contract)
    assert play.sends("other", EventType.SIGN, stored, "e-9") == "unknown_contract"
    assert play.acts("other", "decline", "e-10") == "unknown_contract"
    play.contract_id = ContractId("contract-2")
    assert play.sends("other", EventType.SIGN, stored, "e-11") == "subject_mismatch"


def test_a_taken_id_is_taken_whoever_holds_it(play):
    play.does("mo submits")
    play.parties["other"] = other = play.house.register(OrganizationKind.MO, "MOB")
    body = play.house.body(other, play.publisher, play.house.issue_mpass(other))
    assert play.sends("other", EventType.SUBMIT, play.house.sign_first(other, body), "e-9") == "contract_exists"


# Further signatures.


def test_an_earlier_signature_can_t_be_altered(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    other = play.house.sign_first(play.mo, play.body, iat=play.house.hub.now_s() - 5)["signatures"][0]
    assert play.sends("publisher", EventType.SIGN, altered(signed, 0, **other), "e-2") == "revision_conflict"


def test_an_earlier_signature_can_t_be_left_out(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    without = {**signed, "signatures": [signed["signatures"][0], signed["signatures"][2]]}
    assert play.sends("publisher", EventType.SIGN, without, "e-2") == "revision_conflict"


def test_earlier_signatures_can_t_change_places(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    first, second, third = signed["signatures"]
    swapped = {**signed, "signatures": [second, first, third]}
    assert play.sends("publisher", EventType.SIGN, swapped, "e-2") == "revision_conflict"


def test_the_body_can_t_be_altered(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    cheaper = play.body.replace(b"100.00", b"100.01")
    assert play.sends("publisher", EventType.SIGN, {**signed, "payload": base64url.encode(cheaper)}, "e-2") == (
        "revision_conflict"
    )


def test_a_signature_on_the_wrong_head_is_refused(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    entry = play.house.entry(play.publisher, play.body, prev=chain.head_of(play.contract.signatures[:1]))
    assert play.sends("publisher", EventType.SIGN, altered(signed, 2, **entry), "e-2") == "revision_conflict"


def test_a_signature_by_another_s_key_is_refused(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    stolen = {"kid": play.mo.key.public.key_id, "alg": "RS256"}
    entry = play.house.entry(play.publisher, play.body, prev=chain.head_of(play.contract.signatures[1:2]), **stolen)
    assert play.sends("publisher", EventType.SIGN, altered(signed, 2, **entry), "e-2") == "unknown_key"


def test_a_token_key_signs_no_contract(play):
    play.does("mo submits")
    header = {"kid": play.publisher.auth_key.public.key_id, "alg": "EdDSA"}
    signed = play.house.sign_next(play.publisher, play.contract, **header)
    assert play.sends("publisher", EventType.SIGN, signed, "e-2") == "key_not_valid"


def test_the_new_signature_must_be_the_source_s(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    without = {**signed, "signatures": signed["signatures"][1:]}
    assert play.sends("mo", EventType.SIGN, without, "e-2") == "wrong_signer"


def test_a_flipped_bit_is_found(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    raw = bytearray(base64url.decode(signed["signatures"][2]["signature"], what="signature"))
    raw[5] ^= 1
    broken = altered(signed, 2, signature=base64url.encode(bytes(raw)))
    assert play.sends("publisher", EventType.SIGN, broken, "e-2") == "invalid_signature"


def twin(entry):
    """The other ES256 signature that verifies wherever this one does: (r, n - s)."""
    raw = base64url.decode(entry["signature"], what="signature")
    other = ORDER_OF_P256 - int.from_bytes(raw[32:], "big")
    return {**entry, "signature": base64url.encode(raw[:32] + other.to_bytes(32, "big"))}


@pytest.mark.parametrize("is_replayed", [True, False], ids=["the same bytes", "the twin signature"])
def test_a_further_signature_by_who_signed_changes_nothing(play, is_replayed):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    assert play.sends("publisher", EventType.SIGN, signed, "e-2") == "processed"
    before = play.contract
    again = signed if is_replayed else altered(signed, 2, **twin(signed["signatures"][2]))
    assert play.sends("publisher", EventType.SIGN, again, "e-3") == "processed"
    assert play.contract == before


def test_an_invalid_further_signature_on_a_closed_contract_meets_its_end(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    play.sends("publisher", EventType.SIGN, signed, "e-2")
    broken = altered(signed, 2, signature=base64url.encode(bytes(64)))
    assert play.sends("publisher", EventType.SIGN, broken, "e-3") == "contract_closed"


def test_a_signature_that_another_made_is_not_the_source_s_to_send(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    assert play.sends("mo", EventType.SIGN, signed, "e-2") == "wrong_signer"
    assert play.status == "pending_publisher_signature"


# fmt: off
BESIDE = {
    "garbage":                    lambda p, one: {**one, "signature": base64url.encode(bytes(64))},
    "the same again":             lambda p, one: one,
    "one for moneta":             lambda p, one: p.house.entry(p.publisher, p.body, prev=None, role="moneta"),
    "one for the MO":             lambda p, one: p.house.entry(p.mo, p.body, prev=None),
}
# fmt: on


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("is_first", [True, False], ids=["before it", "after it"])
def test_nothing_else_travels_beside_a_signature(play, name, is_first):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    *stored, own = signed["signatures"]
    other = BESIDE[name](play, own)
    entries = [*stored, *([other, own] if is_first else [own, other])]
    assert play.sends("publisher", EventType.SIGN, {**signed, "signatures": entries}, "e-2") == "wrong_signer"
    assert play.status == "pending_publisher_signature"


def test_nobody_completes_a_contract_on_a_compromised_key(play):
    play.does("mo submits")
    change_key(play, "mo", "compromised")
    assert play.does("publisher signs") == "key_not_valid"
    assert decline_compromised(play.house.hub) == 1
    assert play.status == "declined"


def test_a_body_that_names_an_mpass_names_its_mo(house):
    play = Play(house, mo_id=None)
    assert play.does("mo submits") == "missing_field"


# Acts.
# fmt: off
ACTS = {
    "for another hub":            ({"audience": "https://other.example"},  "invalid_signature"),
    "from the far future":        ({"issued_at": 1_795_000_301},           "signature_time"),
    "on a head that never was":   ({"prev": "A" * 43},                     "revision_conflict"),
    "by a key nobody registered": ({"key": key_of("ES256", "nobody")},     "unknown_key"),
}
# fmt: on


@pytest.mark.parametrize("name", ACTS)
def test_an_act_is_refused(play, name):
    changed, code = ACTS[name]
    play.does("mo submits")
    assert play.acts("publisher", "decline", "e-2", **changed) == code
    assert play.status == "pending_publisher_signature"


def test_an_act_may_stand_on_any_step_s_head(play):
    play.does("mo submits")
    prev = chain.head_of(play.contract.signatures[1:2])
    assert play.acts("publisher", "decline", "e-2", prev=prev) == "processed"


def test_an_act_is_no_event_of_another_name(play):
    play.does("mo submits")
    data = {"act": play.act("publisher", "decline")}
    assert play.handles("publisher", EventType.CANCEL, data, "e-2") == "malformed_jws"


def test_nobody_makes_moneta_s_acts(play):
    play.does("mo submits")
    data = {"act": play.act("publisher", "expire")}
    assert play.handles("publisher", EventType.DECLINE, data, "e-2") == "malformed_jws"


# Keys: validity by position.


def change_key(play, who, status):
    party = play.parties[who]
    organization_keys.change_key_status(
        play.house.hub,
        play.house.operator,
        party.kind,
        party.organization_id,
        party.key.public.key_id,
        {"status": status},
    )


def received(play, event_id="e-1"):
    """A submission that is received, and not processed yet."""
    data = {"contract": play.house.sign_first(play.mo, play.body)}
    play.house.send(play.mo, play.house.event(play.mo, EventType.SUBMIT, play.contract_id, data, event_id))


@pytest.mark.parametrize(
    ("status", "outcome"), [("retired", "processed"), ("revoked", "key_not_valid"), ("compromised", "key_not_valid")]
)
def test_what_was_received_before_counts_unless_the_key_is_revoked(play, status, outcome):
    received(play)
    change_key(play, "mo", status)
    play.house.process()
    assert play.outcome("mo", "e-1") == outcome


@pytest.mark.parametrize("status", ["retired", "revoked", "compromised"])
def test_what_is_received_later_is_refused(play, status):
    change_key(play, "mo", status)
    assert play.does("mo submits") == "key_not_valid"


def test_a_contract_pending_on_a_compromised_key_is_declined(play):
    play.does("mo submits")
    change_key(play, "mo", "compromised")
    assert decline_compromised(play.house.hub) == 1
    assert play.status == "declined"
    assert play.contract.acts[0].actor == "moneta_core"
    assert decline_compromised(play.house.hub) == 0


@pytest.mark.parametrize("who", ["mo", "publisher"])
def test_other_changes_of_keys_decline_nothing(play, who):
    play.does("mo submits")
    change_key(play, who, "compromised" if who == "publisher" else "revoked")
    assert decline_compromised(play.house.hub) == 0
    assert play.status == "pending_publisher_signature"


# Guards, at the receipt and before Moneta signs.


@pytest.mark.parametrize("who", ["mo", "publisher"])
def test_a_suspended_organization_starts_nothing_new(play, who):
    play.house.set_status(play.parties[who], "Suspended")
    assert play.does("mo submits") == "organization_suspended"


def test_a_suspended_organization_completes_what_is_under_way(play):
    play.does("mo submits")
    play.house.set_status(play.publisher, "Suspended")
    assert play.does("publisher signs") == "processed"


def test_a_guard_is_asked_again_before_moneta_signs(play):
    received(play)
    play.house.clock.advance(1)
    play.house.set_status(play.publisher, "Suspended")
    play.house.process()
    assert play.outcome("mo", "e-1") == "organization_suspended"


def test_a_guard_is_asked_as_of_the_receipt(play):
    play.house.set_status(play.publisher, "Suspended")
    received(play)
    play.house.clock.advance(1)
    play.house.set_status(play.publisher, "Active")
    play.house.process()
    assert play.outcome("mo", "e-1") == "organization_suspended"


def test_an_mpass_that_is_not_active_starts_nothing(play):
    pending = play.house.issue_mpass(play.mo, is_active=False)
    play.body = play.house.body(play.mo, play.publisher, pending)
    assert play.does("mo submits") == "mpass_not_active"


def test_the_passes_of_a_suspended_mo_are_locked(house):
    only_mpass = b"""
template_name: pass-only
version: 1
schema: {required_fields: [contract_id, mo_id, publisher_id, mpass_id]}
signature_rules: {required_signatures: [mo, moneta, publisher], signing_order: [mo, moneta, publisher]}
guards: [mpass_active]
"""
    templates.publish_template(house.hub, house.operator, only_mpass, {})
    play = Play(house, "pass-only", payload={})
    house.set_status(play.mo, "Suspended")
    assert play.does("mo submits") == "mpass_not_active"


# Time: what came before the term counts, and the expiry waits for it.


def test_an_expiry_waits_for_what_was_received_in_time(house):
    play = Play(house, expires_at=house.hub.now_s() + 600)
    play.does("mo submits")
    data = {"contract": house.sign_next(play.publisher, play.contract)}
    house.send(play.publisher, house.event(play.publisher, EventType.SIGN, play.contract_id, data, "in-time"))
    house.clock.advance(1_000)
    assert expire_contracts(house.hub) == 0
    house.process()
    assert play.outcome("publisher", "in-time") == "processed"
    assert (play.status, expire_contracts(house.hub)) == ("finalized", 0)


@pytest.mark.parametrize("first", ["publisher signs", "publisher declines", "mo cancels"])
def test_of_an_end_and_an_expiry_the_first_commit_wins(house, first):
    play = Play(house, expires_at=house.hub.now_s() + 600)
    play.does("mo submits")
    play.does(first)
    ended = play.status
    house.clock.advance(1_000)
    assert expire_contracts(house.hub) == 0
    assert play.status == ended


# What a refusal leaves behind.


def test_a_refused_event_leaves_nothing_but_its_outcome(play):
    leaves = count(play, "leaves")
    assert play.sends("mo", EventType.SUBMIT, play.house.sign_first(play.mo, play.body, aud="x"), "e-1") == (
        "invalid_signature"
    )
    assert (count(play, "leaves"), count(play, "contracts")) == (leaves, 0)


def count(play, table):
    with play.house.store.database.read() as connection:
        return next(connection.execute(f"select count(*) from {table}"))[0]  # noqa: S608  # a name of ours


def test_the_same_problem_answers_everywhere(play):
    play.sends("mo", EventType.SUBMIT, play.house.sign_first(play.mo, play.body, aud="x"), "e-1")
    record = play.house.hub.events.find(play.mo.organization_id, "e-1")
    problem = json.loads(record.problem)
    assert problem.items() >= {"type": "/problems/invalid_signature", "status": 422, "field": "aud"}.items()


def test_the_typ_of_a_contract_is_its_own(play):
    assert jws.CONTRACT_TYP == "moneta-contract+jws"
