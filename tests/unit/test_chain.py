"""The signature chain: order and completeness can be proven from the file alone, with stock libraries too."""

import base64
import hashlib
import json
import warnings
from itertools import permutations

import joserfc.jwk
import joserfc.jws
import jwcrypto.jwk
import jwcrypto.jws
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.errors import (
    InvalidSignatureError,
    MalformedJWSError,
    Refused,
    RevisionConflictError,
    SignatureTimeError,
    TemplateMismatchError,
    UnknownKeyError,
    WrongAlgorithmError,
)
from moneta.domain.templates import Role
from moneta.signing import base64url, jws
from moneta.signing.chain import (
    check_entry,
    check_template,
    contract_header,
    head_of,
    steps_of,
    to_json,
    verify_chain,
    verify_entry,
)
from moneta.signing.jws import parse_contract
from tests.signing_examples import (
    ALGORITHMS,
    BODY,
    HUB,
    MEMBERS,
    NOW,
    OTHER_HUB,
    PARALLEL,
    SERIAL,
    TEMPLATE_SHA256,
    head_of_entries,
    key_of,
    keys_of_roles,
    signed_contract,
    signed_entry,
)

MO, PUBLISHER, MONETA = Role.MO, Role.PUBLISHER, Role.MONETA
KEYS = keys_of_roles()
ORDERS = {"serial": SERIAL, "parallel": PARALLEL, "parallel, the other way": ((MO,), (PUBLISHER, MONETA))}


def key_for(role, key_id):
    """Return the role's key: what a registry does."""
    key = KEYS[role].public
    if key.key_id != key_id:
        raise UnknownKeyError("not a key of the role", field="kid")
    return key


def verify(value, *, audience=HUB):
    return verify_chain(parse_contract(value), audience=audience, key_for=key_for)


def header_of(entry):
    return json.loads(base64url.decode(entry["protected"], what="test"))


# Heads.


def independent_head(entries):
    """Compute the head as the protocol says it, with nothing of ours."""
    digests = [hashlib.sha256((entry["protected"] + "." + entry["signature"]).encode()).digest() for entry in entries]
    return base64.urlsafe_b64encode(hashlib.sha256(b"".join(sorted(digests))).digest()).decode().rstrip("=")


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_every_prev_is_the_head_of_the_step_before(order):
    entries = iter(signed_contract(order)["signatures"])
    expected = None
    for step in order:
        added = [next(entries) for _ in step]
        assert [header_of(entry)["prev"] for entry in added] == [expected] * len(step)
        assert [header_of(entry)["role"] for entry in added] == list(step)
        expected = independent_head(added)


texts = st.text("ABCxyz019-_", min_size=1, max_size=8)
entry_lists = st.lists(st.builds(lambda p, s: {"protected": p, "signature": s}, texts, texts), min_size=1, max_size=5)


@given(entry_lists, st.randoms(use_true_random=False))
def test_a_head_does_not_depend_on_the_order_within_its_step(entries, random):
    shuffled = random.sample(entries, len(entries))
    assert head_of_entries(shuffled) == head_of_entries(entries) == independent_head(entries)


@given(entry_lists, texts, st.data())
def test_a_head_depends_on_every_signature_of_its_step(entries, text, data):
    place = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from(["protected", "signature"]))
    changed = [dict(entry) for entry in entries]
    changed[place][name] += text
    assert head_of_entries(changed) != head_of_entries(entries)
    assert head_of_entries(entries[:place] + entries[place + 1 :]) != head_of_entries(entries)


def test_a_step_of_one_has_the_digest_of_its_digest():
    entry = signed_contract(((MO,),))["signatures"][0]
    inner = hashlib.sha256(f"{entry['protected']}.{entry['signature']}".encode()).digest()
    assert head_of_entries([entry]) == base64url.sha256(inner)


# A whole contract, with our own functions and with stock libraries.


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_a_contract_of_three_algorithms_verifies(order):
    steps = verify(signed_contract(order))
    assert [[entry.header.role for entry in step] for step in steps] == [list(step) for step in order]
    assert {entry.header.algorithm for step in steps for entry in step} == {"RS256", "ES256", "EdDSA"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_may_start_a_contract(algorithm):
    keys = {**KEYS, MO: key_of(algorithm)}
    value = signed_contract(keys=keys)
    verify_chain(parse_contract(value), audience=HUB, key_for=lambda role, _: keys[role].public)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_stock_libraries_verify_every_entry_alone(order):
    value = signed_contract(order)
    for entry in value["signatures"]:
        jwk = dict(KEYS[Role(header_of(entry)["role"])].public.jwk)
        compact = f"{entry['protected']}.{value['payload']}.{entry['signature']}"
        assert payload_by_joserfc(compact, jwk) == BODY
        assert payload_by_jwcrypto(compact, jwk) == BODY


def payload_by_joserfc(compact, jwk):
    registry = joserfc.jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", joserfc.errors.SecurityWarning)  # EdDSA is the name that the protocol spells
        return joserfc.jws.deserialize_compact(compact, joserfc.jwk.import_key(jwk), registry=registry).payload


def payload_by_jwcrypto(compact, jwk):
    token = jwcrypto.jws.JWS()
    token.allowed_algs = list(ALGORITHMS)
    token.deserialize(compact, jwcrypto.jwk.JWK(**jwk))
    return token.payload


def test_the_body_is_the_bytes_that_came():
    body = b' {"contract_id" : "a",\n "unicode": "\xc3\xa9", "escape": "\\u00e9"}\t'
    assert parse_contract(signed_contract(body=body)).body_bytes == body


# Tampering: whatever is done to a signature is found.


def altered(entry, name):
    raw = bytearray(base64url.decode(entry[name], what="test"))
    raw[len(raw) // 2] ^= 1
    return {**entry, name: base64url.encode(bytes(raw))}


def tamperings():
    for name, order in ORDERS.items():
        entries = signed_contract(order)["signatures"]
        last_step = len(entries) - len(order[-1])
        for place, entry in enumerate(entries):
            role = header_of(entry)["role"]
            rest = entries[:place] + entries[place + 1 :]
            if place < last_step:  # what is cut from the end is told by the receipt, not by the chain
                yield f"{name}: {role} dropped", rest
            yield f"{name}: {role} doubled", [*entries[:place], entry, entry, *entries[place + 1 :]]
            yield f"{name}: {role} doubled at the end", [*entries, entry]
            yield (
                f"{name}: {role} signature altered",
                [*entries[:place], altered(entry, "signature"), *entries[place + 1 :]],
            )
            yield (
                f"{name}: {role} header altered",
                [*entries[:place], altered(entry, "protected"), *entries[place + 1 :]],
            )
            for other in range(place):
                swapped = list(entries)
                swapped[place], swapped[other] = entries[other], entry
                if header_of(entry)["prev"] != header_of(entries[other])["prev"]:
                    yield f"{name}: {place} and {other} swapped", swapped
                exchanged = list(entries)
                exchanged[place] = {**entry, "signature": entries[other]["signature"]}
                yield f"{name}: {place} with the signature of {other}", exchanged


TAMPERINGS = dict(tamperings())


@pytest.mark.parametrize("case", TAMPERINGS)
def test_what_is_done_to_a_signature_is_found(case):
    value = {"payload": base64url.encode(BODY), "signatures": TAMPERINGS[case]}
    with pytest.raises(Refused):
        verify(value)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_only_a_parallel_step_may_be_reordered(order):
    value = signed_contract(order)
    names = [header_of(entry)["role"] for entry in value["signatures"]]
    allowed = {"".join(names)}
    if order is not SERIAL:
        allowed.add("".join([names[0], names[2], names[1]]))
    for way in permutations(value["signatures"]):
        shuffled = {**value, "signatures": list(way)}
        if "".join(header_of(entry)["role"] for entry in way) in allowed:
            verify(shuffled)
        else:
            with pytest.raises(InvalidSignatureError):
                verify(shuffled)


def test_a_body_is_not_exchanged():
    other = base64url.encode(json.dumps({**MEMBERS, "contract_id": "other"}).encode())
    with pytest.raises(InvalidSignatureError):
        verify({**signed_contract(), "payload": other})


def test_a_bodys_bytes_do_not_change_even_where_its_meaning_does_not():
    with pytest.raises(InvalidSignatureError):
        verify({**signed_contract(), "payload": base64url.encode(BODY + b" ")})


def test_a_signature_that_was_made_anew_breaks_what_was_built_on_it():
    value = signed_contract()
    first = value["signatures"][0]
    again = signed_entry(KEYS[MO], base64url.encode(to_json({**header_of(first), "iat": NOW + 1})), value["payload"])
    with pytest.raises(InvalidSignatureError, match="prev"):
        verify({**value, "signatures": [again, *value["signatures"][1:]]})


def test_signatures_of_two_contracts_do_not_mix():
    one, other = signed_contract(), signed_contract(body=BODY.replace(b"12345", b"12346"))
    for place in range(3):
        mixed = list(one["signatures"])
        mixed[place] = other["signatures"][place]
        with pytest.raises(InvalidSignatureError):
            verify({**one, "signatures": mixed})


def test_a_contract_for_another_hub_is_refused():
    with pytest.raises(InvalidSignatureError, match="aud"):
        verify(signed_contract(audience=OTHER_HUB))
    assert verify(signed_contract(audience=OTHER_HUB), audience=OTHER_HUB)


def test_the_key_is_looked_up_among_those_of_the_role():
    keys = {**KEYS, PUBLISHER: KEYS[MO]}
    with pytest.raises(UnknownKeyError):
        verify(signed_contract(keys=keys))


def test_a_kid_of_another_key_is_refused_even_if_the_look_up_gives_one():
    value = signed_contract(((MO,),), keys={MO: key_of("ES256")})
    parsed = parse_contract(value)
    with pytest.raises(InvalidSignatureError, match="kid"):
        verify_chain(parsed, audience=HUB, key_for=lambda *_: key_of("ES256", "moneta").public)


def test_a_header_that_claims_another_algorithm_is_refused():
    key = key_of("ES256")
    header = {**header_of(signed_contract(((MO,),), keys={MO: key})["signatures"][0]), "alg": "RS256"}
    payload = base64url.encode(BODY)
    parsed = parse_contract(
        {"payload": payload, "signatures": [signed_entry(key, base64url.encode(to_json(header)), payload)]}
    )
    with pytest.raises(WrongAlgorithmError):
        verify_entry(parsed.entries[0], payload, key.public)


# The chain's own grouping.


def entries_of(*headers):
    """Return parsed entries of (role, prev); their signatures are not looked at."""
    made = []
    for role, prev in headers:
        protected = contract_header(
            algorithm="ES256", key_id=base64url.sha256(b"k"), issued_at=NOW, audience=HUB, role=role, prev=prev
        )
        made.append(jws.parse_entry(protected, base64url.encode(role.encode()), jws.CONTRACT_HEADER, what="test"))
    return made


def test_a_chain_of_nothing_has_no_steps():
    assert steps_of([]) == ()


def test_the_first_step_is_one_role():
    with pytest.raises(InvalidSignatureError, match="prev"):
        steps_of(entries_of((MO, None), (PUBLISHER, None)))


def test_the_first_signature_has_no_prev():
    with pytest.raises(InvalidSignatureError, match="prev"):
        steps_of(entries_of((MO, TEMPLATE_SHA256)))


def test_a_role_signs_once():
    first = entries_of((MO, None))
    with pytest.raises(InvalidSignatureError, match="twice"):
        steps_of([*first, *entries_of((PUBLISHER, head_of(first)), (PUBLISHER, head_of(first)))])
    with pytest.raises(InvalidSignatureError, match="twice"):
        steps_of([*first, *entries_of((MO, head_of(first)))])


def test_a_step_is_not_continued_after_the_next_began():
    first = entries_of((MO, None))
    second = entries_of((PUBLISHER, head_of(first)))
    third = entries_of((MONETA, head_of(second)))
    assert len(steps_of([*first, *second, *third])) == 3
    with pytest.raises(InvalidSignatureError, match="prev"):
        steps_of([*first, *second, *third, *entries_of((MO, head_of(first)))])


# The rules for one header, each broken alone.


def header(**changes):
    members = {
        "alg": "ES256",
        "kid": base64url.sha256(b"k"),
        "typ": jws.CONTRACT_TYP,
        "iat": NOW,
        "aud": HUB,
        "role": "mo",
        "prev": None,
        **changes,
    }
    text = base64url.encode(json.dumps(members).encode())
    return jws.parse_entry(text, "AAAA", jws.CONTRACT_HEADER, what="test").header


def check(made, **changes):
    check_entry(
        made,
        **{
            "audience": HUB,
            "role": MO,
            "prev": None,
            "received_at": NOW,
            "template_sha256": TEMPLATE_SHA256,
            **changes,
        },
    )


HEAD, OTHER_HEAD, DAY = base64url.sha256(b"head"), base64url.sha256(b"other"), 24 * 3600

# fmt: off
KEPT = {
    "the rules":                          (header(),                                 {}),
    "the template is named":              (header(template_sha256=TEMPLATE_SHA256),  {}),
    "the template is not at hand":        (header(template_sha256=OTHER_HEAD),       {"template_sha256": None}),
    "300 s ahead":                        (header(iat=NOW + 300),                    {}),
    "a first signature of a day ago":     (header(iat=NOW - DAY),                    {}),
    "a later signature, however old":     (header(iat=0, prev=HEAD),                 {"prev": HEAD}),
    "another role":                       (header(role="publisher"),                 {"role": PUBLISHER}),
}
BROKEN = {
    "1: typ of an act":                   (header(typ=jws.ACT_TYP),                  {}, InvalidSignatureError, "typ"),
    "1: typ of a token":                  (header(typ="JWT"),                        {}, InvalidSignatureError, "typ"),
    "1: aud of another hub":              (header(aud=OTHER_HUB),                    {}, InvalidSignatureError, "aud"),
    "1: aud with a slash":                (header(aud=HUB + "/"),                    {}, InvalidSignatureError, "aud"),
    "2: another's role":                  (header(role="publisher"),                 {}, InvalidSignatureError, "role"),
    "2: no such role":                    (header(role="owner"),                     {}, InvalidSignatureError, "role"),
    "3: prev in the first step":          (header(prev=HEAD),                        {}, RevisionConflictError, None),
    "3: no prev later":                   (header(),                      {"prev": HEAD}, RevisionConflictError, None),
    "3: prev of another step":            (header(prev=OTHER_HEAD),       {"prev": HEAD}, RevisionConflictError, None),
    "4: 301 s ahead":                     (header(iat=NOW + 301),                    {}, SignatureTimeError, "iat"),
    "4: later, 301 s ahead":              (header(iat=NOW + 301, prev=HEAD), {"prev": HEAD}, SignatureTimeError, "iat"),
    "4: first, older than a day":         (header(iat=NOW - DAY - 1),                {}, SignatureTimeError, "iat"),
    "5: another template":                (header(template_sha256=OTHER_HEAD),       {}, TemplateMismatchError, None),
    "5: received_at":                     (header(received_at=NOW),          {}, InvalidSignatureError, "received_at"),
    "5: received_at nought":              (header(received_at=0),            {}, InvalidSignatureError, "received_at"),
    "5: registry_seq":                    (header(registry_seq=0),           {}, InvalidSignatureError, "received_at"),
}
# fmt: on


@pytest.mark.parametrize("case", KEPT)
def test_a_header_that_keeps_the_rules_counts(case):
    made, changes = KEPT[case]
    check(made, **changes)


@pytest.mark.parametrize("case", BROKEN)
def test_a_header_that_breaks_one_rule_is_refused_for_it(case):
    made, changes, error, field = BROKEN[case]
    with pytest.raises(error) as refusal:
        check(made, **changes)
    assert refusal.value.facts.get("field") == field


def test_a_conflict_tells_both_heads():
    with pytest.raises(RevisionConflictError) as refusal:
        check(header(prev=OTHER_HEAD), prev=HEAD)
    assert refusal.value.facts == {"expected": HEAD, "got": OTHER_HEAD}


@pytest.mark.parametrize(("stated", "known"), [(None, None), (None, HEAD), (HEAD, None), (HEAD, HEAD)])
def test_a_template_that_is_not_contradicted_passes(stated, known):
    check_template(header(**({"template_sha256": stated} if stated else {})), known)


# What a verifier sees of Moneta's and the parties' own members.


def rewritten(order, role, /, **changes):
    """Return a contract whose header for ``role``, the last to sign, has ``changes``; ``...`` leaves a member out."""
    value = signed_contract(order)
    *others, last = value["signatures"]
    members = {name: member for name, member in {**header_of(last), **changes}.items() if member is not ...}
    assert header_of(last)["role"] == role
    entry = signed_entry(KEYS[role], base64url.encode(to_json(members)), value["payload"])
    return {**value, "signatures": [*others, entry]}


TO_MONETA, TO_PUBLISHER = ((MO,), (MONETA,)), SERIAL


@pytest.mark.parametrize("name", ["template_sha256", "received_at", "registry_seq"])
def test_monetas_header_has_all_its_members(name):
    with pytest.raises(InvalidSignatureError, match="Moneta's header"):
        verify(rewritten(TO_MONETA, MONETA, **{name: ...}))


@pytest.mark.parametrize("name", ["received_at", "registry_seq"])
def test_a_party_has_none_of_monetas_members(name):
    with pytest.raises(InvalidSignatureError, match="Moneta's own"):
        verify(rewritten(TO_PUBLISHER, PUBLISHER, **{name: 0}))


def test_all_signatures_are_under_one_template():
    assert verify(rewritten(TO_PUBLISHER, PUBLISHER, template_sha256=TEMPLATE_SHA256))
    with pytest.raises(InvalidSignatureError, match="two templates"):
        verify(rewritten(TO_PUBLISHER, PUBLISHER, template_sha256=HEAD))


@pytest.mark.parametrize("role", ["owner", "orgs", "", "x" * 1_000])
def test_an_unknown_role_is_refused_by_a_verifier(role):
    with pytest.raises(MalformedJWSError, match="unknown role") as refusal:
        verify(rewritten(TO_PUBLISHER, PUBLISHER, role=role))
    assert len(refusal.value.detail) < 100


def test_a_header_is_compact_json_in_order():
    text = contract_header(
        algorithm="ES256", key_id="k", issued_at=1, audience="é", role=MO, prev=None, template_sha256="t"
    )
    raw = base64url.decode(text, what="test").decode()
    assert raw == (
        '{"alg":"ES256","kid":"k","typ":"moneta-contract+jws","iat":1,"aud":"é","role":"mo","prev":null,'
        '"template_sha256":"t"}'
    )
