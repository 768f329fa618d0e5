"""Acts, receipts and key proofs: each is what it says it is, and nothing else is taken for it."""

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.contracts import ActName
from moneta.domain.errors import (
    InvalidProofError,
    InvalidSignatureError,
    MalformedJWSError,
    Refused,
    SignatureTimeError,
    UnknownKeyError,
    WrongAlgorithmError,
)
from moneta.domain.limits import REASON_CHARS_MAX, REASON_CODE_CHARS_MAX
from moneta.signing import base64url, jws
from moneta.signing.chain import check_entry, verify_entry
from moneta.signing.jws import parse_compact, parse_contract
from moneta.signing.statements import (
    check_statement_time,
    make_act,
    make_key_proof,
    make_receipt,
    parse_act,
    sign_compact,
    verify_compact,
    verify_key_proof,
    verify_receipt,
)
from moneta.signing.tokens import check_times, make_token, parse_token, verify
from tests.signing_examples import (
    ALGORITHMS,
    BODY,
    HUB,
    NOW,
    OTHER_HUB,
    Role,
    key_of,
    signed_contract,
)

KEY, OTHER = key_of("ES256"), key_of("ES256", "other")
HEAD = base64url.sha256(b"head")


def act(key=KEY, **changes):
    members = {
        "name": ActName.CANCEL,
        "contract_id": "c1",
        "reason_code": "changed_mind",
        "reason": "",
        "prev": HEAD,
        "issued_at": NOW,
        "audience": HUB,
    }
    return make_act(key, **{**members, **changes})


# Acts.


@pytest.mark.parametrize(("algorithm", "name"), list(product(ALGORITHMS, ActName)))
def test_an_act_says_what_it_says(algorithm, name):
    key = key_of(algorithm)
    read = parse_act(act(key, name=name, reason="Weil ä.\n\U0001f600"))
    assert (read.name, read.contract_id, read.reason_code, read.prev) == (name, "c1", "changed_mind", HEAD)
    assert read.reason == "Weil ä.\n\U0001f600"
    verify_compact(read.jws, key.public, typ=jws.ACT_TYP, audience=HUB)


ACT_CLAIMS = {"act": "cancel", "contract_id": "c1", "reason_code": "x", "reason": "", "prev": HEAD}


def act_of(**changes):
    claims = {name: value for name, value in {**ACT_CLAIMS, **changes}.items() if value is not ...}
    return sign_compact(KEY, claims, typ=jws.ACT_TYP, iat=NOW, aud=HUB)


# fmt: off
GOOD_ACTS = {
    "the shortest code":        {"reason_code": "a"},
    "the longest code":         {"reason_code": "_-9z" * (REASON_CODE_CHARS_MAX // 4)},
    "no reason":                {"reason": ""},
    "the longest reason":       {"reason": "\U0001f600" * REASON_CHARS_MAX},
    "decline":                  {"act": "decline"},
    "expire":                   {"act": "expire"},
}
BAD_ACTS = {
    "act missing":              {"act": ...},
    "act unknown":              {"act": "approve"},
    "act in capitals":          {"act": "Cancel"},
    "act empty":                {"act": ""},
    "act null":                 {"act": None},
    "act a list":               {"act": ["cancel"]},
    "contract_id missing":      {"contract_id": ...},
    "contract_id a number":     {"contract_id": 1},
    "contract_id null":         {"contract_id": None},
    "reason_code missing":      {"reason_code": ...},
    "reason_code empty":        {"reason_code": ""},
    "reason_code too long":     {"reason_code": "x" * (REASON_CODE_CHARS_MAX + 1)},
    "reason_code in capitals":  {"reason_code": "X"},
    "reason_code with a space": {"reason_code": "a b"},
    "reason_code with a break": {"reason_code": "a\n"},
    "reason_code of a script":  {"reason_code": "\u0430"},
    "reason_code null":         {"reason_code": None},
    "reason missing":           {"reason": ...},
    "reason null":              {"reason": None},
    "reason a number":          {"reason": 1},
    "reason too long":          {"reason": "x" * (REASON_CHARS_MAX + 1)},
    "prev missing":             {"prev": ...},
    "prev null":                {"prev": None},
    "prev a boolean":           {"prev": False},
    "an extra claim":           {"actor": "mo-1"},
    "a status":                 {"status": "cancelled"},
}
# fmt: on


@pytest.mark.parametrize("case", GOOD_ACTS)
def test_an_act_of_its_form_is_read(case):
    assert parse_act(act_of(**GOOD_ACTS[case]))


@pytest.mark.parametrize("case", BAD_ACTS)
def test_an_act_of_another_form_is_refused(case):
    with pytest.raises(MalformedJWSError, match="act"):
        parse_act(act_of(**BAD_ACTS[case]))


@pytest.mark.parametrize("value", [None, 1, {}, [], "", "a.b.c", b"bytes"])
def test_what_is_no_compact_jws_is_no_act(value):
    with pytest.raises(MalformedJWSError):
        parse_act(value)


def test_an_act_is_by_one_key_for_one_hub():
    read = parse_act(act())
    verify_compact(read.jws, KEY.public, typ=jws.ACT_TYP, audience=HUB)
    for key, typ, audience in [
        (OTHER, jws.ACT_TYP, HUB),
        (KEY, jws.RECEIPT_TYP, HUB),
        (KEY, jws.ACT_TYP, OTHER_HUB),
        (KEY, jws.ACT_TYP, None),
    ]:
        with pytest.raises(InvalidSignatureError):
            verify_compact(read.jws, key.public, typ=typ, audience=audience)


def test_a_kid_of_ones_own_does_not_make_anothers_signature():
    protected, payload, _ = act().split(".")
    forged = base64url.encode(OTHER.sign(jws.signing_input(protected, payload)))
    with pytest.raises(InvalidSignatureError, match="does not verify"):
        verify_compact(parse_act(f"{protected}.{payload}.{forged}").jws, KEY.public, typ=jws.ACT_TYP, audience=HUB)


def test_an_act_under_another_algorithm_is_refused():
    _, payload, signature = act().split(".")
    header = {"alg": "HS256", "kid": KEY.public.key_id, "typ": jws.ACT_TYP, "iat": NOW, "aud": HUB}
    forged = f"{base64url.encode(json.dumps(header).encode())}.{payload}.{signature}"
    with pytest.raises(WrongAlgorithmError):
        verify_compact(parse_act(forged).jws, KEY.public, typ=jws.ACT_TYP, audience=HUB)


@pytest.mark.parametrize("issued_at", [0, NOW, NOW + 300])
def test_a_statement_may_be_old_or_a_little_ahead(issued_at):
    check_statement_time(issued_at, received_at=NOW)


def test_a_statement_from_the_future_is_refused():
    with pytest.raises(SignatureTimeError) as refusal:
        check_statement_time(NOW + 301, received_at=NOW)
    assert refusal.value.facts == {"field": "iat"}


# Receipts.

RECEIPT = {
    "iss": HUB,
    "contract_id": "c1",
    "status": "finalized",
    "finalized_at": NOW,
    "head": HEAD,
    "body_sha256": base64url.sha256(BODY),
    "act_sha256": None,
    "registry_seq": 7,
}


def hub_key(key_id):
    if key_id != KEY.public.key_id:
        raise UnknownKeyError("not a key of the hub", field="kid")
    return KEY.public


def test_a_receipt_is_the_hubs():
    assert verify_receipt(make_receipt(KEY, RECEIPT, issued_at=NOW), hub_key, issuer=HUB) == RECEIPT


@pytest.mark.parametrize("name", RECEIPT)
def test_a_receipt_lacks_nothing(name):
    claims = {other: value for other, value in RECEIPT.items() if other != name}
    with pytest.raises(MalformedJWSError, match="receipt"):
        verify_receipt(make_receipt(KEY, claims, issued_at=NOW), hub_key, issuer=HUB)


def test_a_receipt_says_no_more():
    with pytest.raises(MalformedJWSError, match="receipt"):
        verify_receipt(make_receipt(KEY, {**RECEIPT, "note": "x"}, issued_at=NOW), hub_key, issuer=HUB)


def test_a_receipt_by_a_stranger_is_refused():
    with pytest.raises(UnknownKeyError):
        verify_receipt(make_receipt(OTHER, RECEIPT, issued_at=NOW), hub_key, issuer=HUB)


def test_a_receipt_of_another_hub_is_refused_even_by_the_same_key():
    with pytest.raises(InvalidSignatureError, match="iss"):
        verify_receipt(make_receipt(KEY, {**RECEIPT, "iss": OTHER_HUB}, issued_at=NOW), hub_key, issuer=HUB)


@given(st.data())
def test_no_character_of_a_receipt_can_change(data):
    text = make_receipt(KEY, RECEIPT, issued_at=NOW)
    place = data.draw(st.integers(0, len(text) - 1))
    changed = data.draw(st.characters(max_codepoint=0xFF).filter(lambda character: character != text[place]))
    with pytest.raises(Refused):
        verify_receipt(text[:place] + changed + text[place + 1 :], hub_key, issuer=HUB)


# Proofs of possession.


def check_proof(text, *, key=KEY, audience=HUB, subject="mo-1", now=NOW):
    verify_key_proof(text, key.public, audience=audience, subject=subject, now=now)


def proof(key=KEY, **changes):
    return make_key_proof(key, **{"audience": HUB, "subject": "mo-1", "issued_at": NOW, **changes})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_proof_is_by_the_key_itself(algorithm):
    key = key_of(algorithm)
    check_proof(proof(key), key=key)


PROOF_CLAIMS = {"aud": HUB, "sub": "mo-1", "kid": KEY.public.key_id, "iat": NOW}


def proof_of(*, key=KEY, header=None, **changes):
    claims = {name: value for name, value in {**PROOF_CLAIMS, **changes}.items() if value is not ...}
    return sign_compact(key, claims, **({"typ": jws.KEY_PROOF_TYP} if header is None else header))


# fmt: off
BAD_PROOFS = {
    "none":                 lambda: None,
    "text":                 lambda: "proof",
    "by another key":       lambda: proof(OTHER),
    "another typ":          lambda: proof_of(header={"typ": "JWT"}),
    "no typ":               lambda: proof_of(header={}),
    "an extra header":      lambda: proof_of(header={"typ": jws.KEY_PROOF_TYP, "iat": NOW}),
    "for another hub":      lambda: proof(audience=OTHER_HUB),
    "for another subject":  lambda: proof(subject="mo-2"),
    "about another key":    lambda: proof_of(kid=OTHER.public.key_id),
    "aud missing":          lambda: proof_of(aud=...),
    "sub missing":          lambda: proof_of(sub=...),
    "kid missing":          lambda: proof_of(kid=...),
    "iat missing":          lambda: proof_of(iat=...),
    "iat null":             lambda: proof_of(iat=None),
    "iat a string":         lambda: proof_of(iat=str(NOW)),
    "iat a float":          lambda: proof_of(iat=NOW + 0.0),
    "iat a boolean":        lambda: proof_of(iat=True),
    "iat 301 s old":        lambda: proof(issued_at=NOW - 301),
    "iat 301 s ahead":      lambda: proof(issued_at=NOW + 301),
    "an extra claim":       lambda: proof_of(jti="x"),
    "altered":              lambda: proof()[:-4] + "AAAA",
}
# fmt: on


@pytest.mark.parametrize("case", BAD_PROOFS)
def test_a_proof_that_does_not_hold_is_refused(case):
    with pytest.raises(InvalidProofError) as refusal:
        check_proof(BAD_PROOFS[case]())
    assert refusal.value.facts == {"field": "proof"}


def test_a_boolean_is_no_time_even_at_the_beginning_of_time():
    with pytest.raises(InvalidProofError):
        check_proof(proof_of(iat=True), now=1)


@pytest.mark.parametrize("issued_at", [NOW - 300, NOW, NOW + 300])
def test_a_proof_counts_within_300_s(issued_at):
    check_proof(proof(issued_at=issued_at))


# Confusion: each kind passed off as each other kind, and each replayed for another contract, party or hub.


def contract_value(*, key=KEY, audience=HUB):
    return signed_contract(((Role.MO,),), keys={Role.MO: key}, audience=audience)


def as_compact(value):
    entry = value["signatures"][0]
    return f"{entry['protected']}.{value['payload']}.{entry['signature']}"


TOKEN = {"subject": "mo-1", "audience": HUB, "token_id": "t", "issued_at": NOW}


def token():
    return make_token(KEY, **TOKEN)


MADE = {
    "contract": lambda: as_compact(contract_value()),
    "act": act,
    "receipt": lambda: make_receipt(KEY, RECEIPT, issued_at=NOW),
    "proof": proof,
    "token": token,
    "record": lambda: sign_compact(KEY, {"kind": "key-added"}, typ=jws.RECORD_TYP, iat=NOW),
}


def take_contract(text):
    protected, payload, signature = text.split(".")
    parsed = parse_contract({"payload": payload, "signatures": [{"protected": protected, "signature": signature}]})
    entry = parsed.entries[0]
    check_entry(entry.header, audience=HUB, role=Role.MO, prev=None, received_at=NOW, template_sha256=None)
    verify_entry(entry, parsed.payload, KEY.public)


def take_act(text):
    verify_compact(parse_act(text).jws, KEY.public, typ=jws.ACT_TYP, audience=HUB)


def take_token(text):
    parsed = parse_token(text)
    check_times(parsed, audience=HUB, now=NOW)
    verify(parsed, KEY.public)


def take_record(text):
    verify_compact(parse_compact(text, jws.RECORD_HEADER, what="record"), KEY.public, typ=jws.RECORD_TYP)


TAKEN = {
    "contract": take_contract,
    "act": take_act,
    "receipt": lambda text: verify_receipt(text, hub_key, issuer=HUB),
    "proof": check_proof,
    "token": take_token,
    "record": take_record,
}


@pytest.mark.parametrize(("made", "taken"), list(product(MADE, TAKEN)))
def test_no_kind_passes_for_another(made, taken):
    text = MADE[made]()
    if made == taken:
        TAKEN[taken](text)
    else:
        with pytest.raises(Refused):
            TAKEN[taken](text)


TYPS = {
    "contract": (jws.CONTRACT_TYP, {"iat": NOW, "aud": HUB, "role": "mo", "prev": None}, json.loads(BODY)),
    "act": (jws.ACT_TYP, {"iat": NOW, "aud": HUB}, ACT_CLAIMS),
    "receipt": (jws.RECEIPT_TYP, {"iat": NOW}, RECEIPT),
    "proof": (jws.KEY_PROOF_TYP, {}, PROOF_CLAIMS),
    "token": (jws.TOKEN_TYP, {}, {"iss": "mo-1", "sub": "mo-1", "aud": HUB, "iat": NOW, "exp": NOW + 9, "jti": "t"}),
    "record": (jws.RECORD_TYP, {"iat": NOW}, {"kind": "key-added"}),
}


@pytest.mark.parametrize(("shape", "typ"), list(product(TYPS, TYPS)))
def test_the_typ_alone_tells_kinds_of_one_shape_apart(shape, typ):
    _, header, claims = TYPS[shape]
    text = sign_compact(KEY, claims, typ=TYPS[typ][0], **header)
    if shape == typ:
        TAKEN[shape](text)
    else:
        with pytest.raises(Refused):
            TAKEN[shape](text)


# fmt: off
REPLAYS = {
    "contract, other hub":      (take_contract,  lambda: as_compact(contract_value(audience=OTHER_HUB))),
    "contract, other party":    (take_contract,  lambda: as_compact(contract_value(key=OTHER))),
    "contract, other contract": (take_contract,  lambda: exchanged(MADE["contract"](), "e30")),
    "act, other hub":           (take_act,       lambda: act(audience=OTHER_HUB)),
    "act, other party":         (take_act,       lambda: act(OTHER)),
    "act, other contract":      (take_act,       lambda: exchanged(act(), act(contract_id="c2").split(".")[1])),
    "act, other act":           (take_act,       lambda: exchanged(act(), act(name="decline").split(".")[1])),
    "token, other party":       (take_token,     lambda: exchanged(token(), other_token().split(".")[1])),
    "receipt, other contract":  (TAKEN["receipt"], lambda: exchanged(MADE["receipt"](), other_receipt().split(".")[1])),
}
# fmt: on


def exchanged(text, payload):
    """Return ``text``, a compact JWS, with the payload of another."""
    protected, _, signature = text.split(".")
    return f"{protected}.{payload}.{signature}"


def other_token():
    return make_token(OTHER, **{**TOKEN, "subject": "mo-2"})


def other_receipt():
    return make_receipt(KEY, {**RECEIPT, "contract_id": "c2"}, issued_at=NOW)


@pytest.mark.parametrize("case", REPLAYS)
def test_nothing_is_replayed_elsewhere(case):
    take, replay = REPLAYS[case]
    with pytest.raises(Refused):
        take(replay())


def test_every_kind_has_a_typ_of_its_own():
    assert len({typ for typ, _, _ in TYPS.values()}) == len(TYPS)
