"""The strict pre-parser: what is not exactly the form of protocol section 3 never reaches a verifier.

Each attack is signed again by the party's real key over the altered text, so that nothing but its form is at fault.
"""

import json
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.errors import MalformedJWSError, Refused, TooLargeError
from moneta.domain.limits import (
    BODY_BYTES_MAX,
    COMPACT_JWS_BYTES_MAX,
    PROTECTED_HEADER_BYTES_MAX,
    SIGNATURES_MAX,
)
from moneta.domain.templates import Role
from moneta.signing import base64url, chain, jws
from moneta.signing.jws import parse_compact, parse_contract
from tests.signing_examples import HUB, NOW, TEMPLATE_SHA256, key_of, signed_contract, signed_entry

KEY = key_of("ES256")
KEYS = {Role.MO: KEY}
GOOD = signed_contract(((Role.MO,),), keys=KEYS)
PAYLOAD, ENTRY = GOOD["payload"], GOOD["signatures"][0]
MEMBERS = json.loads(base64url.decode(ENTRY["protected"], what="test"))
HEADER = json.dumps(MEMBERS, separators=(",", ":")).encode()


def judge(value):
    """Parse and verify, as every reader does."""
    parsed = parse_contract(value)
    chain.verify_chain(parsed, audience=HUB, key_for=lambda _role, _kid: KEY.public)
    return parsed


def with_text(protected):
    """Return the contract with ``protected`` as its header's text, signed."""
    return {"payload": PAYLOAD, "signatures": [signed_entry(KEY, protected, PAYLOAD)]}


def with_raw(raw):
    return with_text(base64url.encode(raw))


def with_header(**changes):
    """Return the contract with ``changes`` in its header, signed; a member set to ``...`` is left out."""
    members = {name: value for name, value in {**MEMBERS, **changes}.items() if value is not ...}
    return with_raw(json.dumps(members).encode())


def with_entry(**changes):
    return {"payload": PAYLOAD, "signatures": [{**ENTRY, **changes}]}


def with_payload(payload):
    return {"payload": payload, "signatures": [signed_entry(KEY, ENTRY["protected"], payload)]}


def with_raw_member(member):
    """Return the contract with ``member`` put in front of its header's others, as text."""
    return with_raw(b"{" + member + b"," + HEADER[1:])


def standard(raw):
    """Return ``raw`` in the standard alphabet, without padding."""
    return b64encode(raw).rstrip(b"=").decode()


def padded(raw):
    """Return ``raw`` as base64url with padding, white space added so that it needs some."""
    text = urlsafe_b64encode(raw + b" " * (4 - len(raw) % 3)).decode()
    assert text.endswith("=")
    return text


def broken(text):
    """Return ``text`` with a line break in it."""
    return text[:8] + "\n" + text[8:]


def of_size(size):
    """Return a header of ``size`` bytes, made long by white space."""
    return HEADER[:-1] + b" " * (size - len(HEADER)) + b"}"


def stray(text):
    """Return ``text``, whose length is no multiple of four, with a stray bit at its end."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]


def test_the_contract_that_is_attacked_is_good():
    parsed = judge(GOOD)
    assert parsed.entries[0].same_as(ENTRY["protected"], ENTRY["signature"])
    assert not parsed.entries[0].same_as(ENTRY["protected"], "")
    assert parsed.entries[0].header.key_id == KEY.public.key_id
    assert judge(with_header()) is not None


# fmt: off
ATTACKS = {
    # The object.
    "no object":                      lambda: None,
    "a list":                         lambda: [GOOD],
    "compact":                        lambda: f"{ENTRY['protected']}.{PAYLOAD}.{ENTRY['signature']}",
    "flattened":                      lambda: {"payload": PAYLOAD, **ENTRY},
    "no payload":                     lambda: {"signatures": [ENTRY]},
    "no signatures":                  lambda: {"payload": PAYLOAD},
    "an extra member":                lambda: {**GOOD, "header": {}},
    "a flattened one beside":         lambda: {**GOOD, **ENTRY},
    "payload null":                   lambda: with_payload("") | {"payload": None},
    "payload an object":              lambda: {**GOOD, "payload": {}},
    "payload a number":               lambda: {**GOOD, "payload": 1},
    "payload padded":                 lambda: with_payload(urlsafe_b64encode(b"{}").decode()),
    "payload in the standard alphabet": lambda: with_payload(standard(b'{"a":"\xc3\xbf\xc3\xbf>>"}')),
    "payload with a line break":      lambda: with_payload(PAYLOAD + "\n"),
    "payload with stray bits":        lambda: with_payload(stray(base64url.encode(b"{}"))),
    "payload of another script":      lambda: {**GOOD, "payload": PAYLOAD[:-1] + "\u0410"},
    "signatures null":                lambda: {**GOOD, "signatures": None},
    "signatures an object":           lambda: {**GOOD, "signatures": {"0": ENTRY}},
    "signatures a string":            lambda: {**GOOD, "signatures": "x"},
    "no signature":                   lambda: {**GOOD, "signatures": []},
    "seventeen signatures":           lambda: {**GOOD, "signatures": [ENTRY] * (SIGNATURES_MAX + 1)},
    "the same signature twice":       lambda: {**GOOD, "signatures": [ENTRY, ENTRY]},
    # An entry.
    "an entry null":                  lambda: {**GOOD, "signatures": [None]},
    "an entry compact":               lambda: {**GOOD, "signatures": [f"{ENTRY['protected']}..{ENTRY['signature']}"]},
    "an entry without a header":      lambda: {**GOOD, "signatures": [{"signature": ENTRY["signature"]}]},
    "an entry without a signature":   lambda: {**GOOD, "signatures": [{"protected": ENTRY["protected"]}]},
    "an unprotected header":          lambda: with_entry(header={"kid": "x"}),
    "an empty unprotected header":    lambda: with_entry(header={}),
    "an extra member in an entry":    lambda: with_entry(payload=PAYLOAD),
    "protected null":                 lambda: with_entry(protected=None),
    "protected an object":            lambda: with_entry(protected=MEMBERS),
    "protected empty":                lambda: with_text(""),
    "signature null":                 lambda: with_entry(signature=None),
    "signature a list":               lambda: with_entry(signature=[ENTRY["signature"]]),
    "signature empty":                lambda: with_entry(signature=""),
    "signature padded":               lambda: with_entry(signature=ENTRY["signature"] + "=="),
    "signature with a space":         lambda: with_entry(signature=ENTRY["signature"] + " "),
    "signature with a line break":    lambda: with_entry(signature=broken(ENTRY["signature"])),
    "signature with stray bits":      lambda: with_entry(signature=stray(ENTRY["signature"])),
    "signature in the standard alphabet": lambda: with_entry(signature=standard(b"\xff" * 64)),
    "signature of another script":    lambda: with_entry(signature="\u0410" + ENTRY["signature"][1:]),
    "signature a megabyte":           lambda: with_entry(signature="A" * 2**20),
    # A header's text and bytes.
    "header padded":                  lambda: with_text(padded(HEADER)),
    "header in the standard alphabet": lambda: with_text(standard(HEADER[:-1] + b',"\xc3\xbf\xc3\xbf>>":1}')),
    "header with a line break":       lambda: with_text(broken(ENTRY["protected"])),
    "header with a space":            lambda: with_text(" " + ENTRY["protected"]),
    "header of 2049 bytes":           lambda: with_raw(of_size(PROTECTED_HEADER_BYTES_MAX + 1)),
    "header of a megabyte":           lambda: with_raw(of_size(2**20)),
    "header of one huge member":      lambda: with_header(x="A" * 2**20),
    "header in UTF-16":               lambda: with_raw(HEADER.decode().encode("utf-16")),
    "header in UTF-16, no mark":      lambda: with_raw(HEADER.decode().encode("utf-16-le")),
    "header with a byte order mark":  lambda: with_raw(b"\xef\xbb\xbf" + HEADER),
    "header in Latin-1":              lambda: with_raw(HEADER.replace(b"mo", b"m\xf6")),
    "header no JSON":                 lambda: with_raw(b"alg=none"),
    "header a list":                  lambda: with_raw(b"[]"),
    "header null":                    lambda: with_raw(b"null"),
    "header twice":                   lambda: with_raw(HEADER + HEADER),
    "header deep":                    lambda: with_raw(b"[" * 2_000),
    # Its members.
    "alg doubled":                    lambda: with_raw_member(b'"alg":"none"'),
    "alg doubled by an escape":       lambda: with_raw_member(rb'"\u0061lg":"none"'),
    "alg doubled, equal":             lambda: with_raw_member(b'"alg":"ES256"'),
    "kid doubled":                    lambda: with_raw_member(b'"kid":"x"'),
    "alg none":                       lambda: with_header(alg="none"),
    "alg none, no signature":         lambda: {**with_header(alg="none"), "signatures": [
        {**with_header(alg="none")["signatures"][0], "signature": ""}]},
    "alg None":                       lambda: with_header(alg="None"),
    "alg HS256":                      lambda: with_header(alg="HS256"),
    "alg RS256":                      lambda: with_header(alg="RS256"),
    "alg in lower case":              lambda: with_header(alg="es256"),
    "alg null":                       lambda: with_header(alg=None),
    "alg a list":                     lambda: with_header(alg=["ES256"]),
    "alg missing":                    lambda: with_header(alg=...),
    "crit":                           lambda: with_header(crit=["exp"]),
    "crit empty":                     lambda: with_header(crit=[]),
    "b64 false":                      lambda: with_header(b64=False),
    "b64 false and crit":             lambda: with_header(b64=False, crit=["b64"]),
    "jwk":                            lambda: with_header(jwk=dict(KEY.public.jwk)),
    "jku":                            lambda: with_header(jku="https://evil.example/jwks"),
    "x5u":                            lambda: with_header(x5u="https://evil.example/cert"),
    "x5c":                            lambda: with_header(x5c=["MIIB"]),
    "x5t":                            lambda: with_header(**{"x5t#S256": TEMPLATE_SHA256}),
    "cty":                            lambda: with_header(cty="json"),
    "zip":                            lambda: with_header(zip="DEF"),
    "nonce":                          lambda: with_header(nonce="x"),
    "exp":                            lambda: with_header(exp=NOW),
    "kid missing":                    lambda: with_header(kid=...),
    "kid a number":                   lambda: with_header(kid=1),
    "kid empty":                      lambda: with_header(kid=""),
    "kid a path":                     lambda: with_header(kid="../../etc/passwd"),
    "kid a query":                    lambda: with_header(kid="' OR 1=1 --"),
    "kid a URL":                      lambda: with_header(kid="https://evil.example/key"),
    "kid with a line break":          lambda: with_header(kid=MEMBERS["kid"] + "\n"),
    "kid padded":                     lambda: with_header(kid=MEMBERS["kid"] + "="),
    "kid of another script":          lambda: with_header(kid="\u0410" + MEMBERS["kid"][1:]),
    "kid of another key":             lambda: with_header(kid=key_of("EdDSA").public.key_id),
    "typ missing":                    lambda: with_header(typ=...),
    "typ of an act":                  lambda: with_header(typ=jws.ACT_TYP),
    "typ in capitals":                lambda: with_header(typ="Moneta-Contract+JWS"),
    "typ with application/":          lambda: with_header(typ="application/moneta-contract+jws"),
    "typ with a space":               lambda: with_header(typ=jws.CONTRACT_TYP + " "),
    "typ null":                       lambda: with_header(typ=None),
    "iat missing":                    lambda: with_header(iat=...),
    "iat null":                       lambda: with_header(iat=None),
    "iat a float":                    lambda: with_header(iat=1795000000.0),
    "iat with an exponent":           lambda: with_raw(HEADER.replace(b"1795000000", b"1795e6")),
    "iat minus nought":               lambda: with_raw(HEADER.replace(b"1795000000", b"-0")),
    "iat a string":                   lambda: with_header(iat=str(NOW)),
    "iat a boolean":                  lambda: with_header(iat=True),
    "iat negative":                   lambda: with_header(iat=-1),
    "iat beyond 2^53":                lambda: with_header(iat=2**53),
    "iat not a number":               lambda: with_header(iat=float("nan")),
    "iat infinite":                   lambda: with_header(iat=float("inf")),
    "aud missing":                    lambda: with_header(aud=...),
    "aud a list":                     lambda: with_header(aud=[HUB]),
    "aud null":                       lambda: with_header(aud=None),
    "aud with a slash":               lambda: with_header(aud=HUB + "/"),
    "aud in capitals":                lambda: with_header(aud=HUB.upper()),
    "aud of another script":          lambda: with_header(aud=HUB.replace("e", "\u0435")),
    "role missing":                   lambda: with_header(role=...),
    "role null":                      lambda: with_header(role=None),
    "role empty":                     lambda: with_header(role=""),
    "role unknown":                   lambda: with_header(role="auditor"),
    "role in capitals":               lambda: with_header(role="MO"),
    "prev missing":                   lambda: with_header(prev=...),
    "prev empty":                     lambda: with_header(prev=""),
    "prev false":                     lambda: with_header(prev=False),
    "prev nought":                    lambda: with_header(prev=0),
    "prev a list":                    lambda: with_header(prev=[]),
    "prev padded":                    lambda: with_header(prev=TEMPLATE_SHA256 + "="),
    "prev with stray bits":           lambda: with_header(prev=stray(TEMPLATE_SHA256)),
    "prev in hexadecimal":            lambda: with_header(prev="0" * 64),
    "prev of nothing":                lambda: with_header(prev=TEMPLATE_SHA256),
    "template_sha256 null":           lambda: with_header(template_sha256=None),
    "template_sha256 in hexadecimal": lambda: with_header(template_sha256="0" * 64),
    "template_sha256 with stray bits": lambda: with_header(template_sha256=stray(TEMPLATE_SHA256)),
    "received_at null":               lambda: with_header(received_at=None),
    "received_at by a party":         lambda: with_header(received_at=NOW),
    "received_at a boolean":          lambda: with_header(received_at=False),
    "registry_seq by a party":        lambda: with_header(registry_seq=0),
    "registry_seq a string":          lambda: with_header(registry_seq="1"),
    "an unknown member":              lambda: with_header(foo=1),
    "an empty name":                  lambda: with_header(**{"": 1}),
    "a name of another script":       lambda: with_raw_member('"\u0430lg":"none"'.encode()),
    "a name with a space":            lambda: with_header(**{"alg ": "none"}),
    "a name with a null":             lambda: with_header(**{"alg\0": "none"}),
    "a name of 2,000 characters":     lambda: with_header(**{"x" * 2_000: 1}),
}
# fmt: on


def test_there_are_many_attacks():
    assert len(ATTACKS) > 130


@pytest.mark.parametrize("case", ATTACKS)
def test_an_attack_on_the_form_is_refused(case):
    with pytest.raises(Refused) as refusal:
        judge(ATTACKS[case]())
    assert len(refusal.value.detail) < 400


HEADER_FORM = {
    case: attack for case, attack in ATTACKS.items() if case.startswith(("header", "alg doubled", "b64", "jwk"))
}


@pytest.mark.parametrize("case", HEADER_FORM)
def test_the_pre_parser_itself_refuses_what_libraries_let_through(case):
    with pytest.raises(MalformedJWSError):
        parse_contract(HEADER_FORM[case]())


@pytest.mark.parametrize("size", [len(HEADER), PROTECTED_HEADER_BYTES_MAX - 1, PROTECTED_HEADER_BYTES_MAX])
def test_a_header_may_have_two_kibibytes(size):
    assert judge(with_raw(of_size(size)))


def test_one_signature_may_stand_among_sixteen():
    assert len(parse_contract({**GOOD, "signatures": [ENTRY] * SIGNATURES_MAX}).entries) == SIGNATURES_MAX


def test_a_body_may_have_128_kibibytes_and_no_more():
    body = b" " * BODY_BYTES_MAX
    assert parse_contract(with_payload(base64url.encode(body))).body_bytes == body
    with pytest.raises(TooLargeError) as refusal:
        parse_contract(with_payload(base64url.encode(body + b" ")))
    assert refusal.value.facts == {"limit": BODY_BYTES_MAX}


@pytest.mark.parametrize("raw", [b"", b"\xff", b"{", b'{"a": 1, "a": 2}'])
def test_the_body_is_bytes_until_its_signatures_hold(raw):
    assert judge(with_payload(base64url.encode(raw))).body_bytes == raw


def test_the_members_of_moneta_are_read():
    parsed = parse_contract(with_header(role="moneta", template_sha256=TEMPLATE_SHA256, received_at=3, registry_seq=0))
    header = parsed.entries[0].header
    assert (header.template_sha256, header.received_at, header.registry_seq) == (TEMPLATE_SHA256, 3, 0)
    assert (header.issued_at, header.audience, header.role, header.prev) == (NOW, HUB, "moneta", None)


@given(st.data())
def test_no_character_of_a_header_can_change(data):
    text = ENTRY["protected"]
    place = data.draw(st.integers(0, len(text) - 1))
    changed = data.draw(st.characters(max_codepoint=0xFF).filter(lambda character: character != text[place]))
    with pytest.raises(Refused):
        judge(with_entry(protected=text[:place] + changed + text[place + 1 :]))


# Compact.

FORM = jws.ACT_HEADER
ACT_MEMBERS = {"alg": "ES256", "kid": KEY.public.key_id, "typ": jws.ACT_TYP, "iat": NOW, "aud": HUB}
PROTECTED = base64url.encode(json.dumps(ACT_MEMBERS).encode())
TOKEN_HEADER = base64url.encode(json.dumps({"alg": "ES256", "kid": KEY.public.key_id, "typ": "JWT"}).encode())
CLAIMS = base64url.encode(b'{"a": 1}')
SIGNATURE = base64url.encode(b"s" * 64)
COMPACT = f"{PROTECTED}.{CLAIMS}.{SIGNATURE}"


def claims_of(raw):
    return f"{PROTECTED}.{base64url.encode(raw)}.{SIGNATURE}"


def test_a_compact_jws_is_read():
    parsed = parse_compact(COMPACT, FORM, what="act")
    assert (parsed.claims, parsed.payload, parsed.entry.signature_bytes) == ({"a": 1}, CLAIMS, b"s" * 64)
    assert parsed.entry.header.prev is None


# fmt: off
COMPACT_ATTACKS = {
    "null":                     None,
    "an object":                {"payload": CLAIMS},
    "bytes of another script":  COMPACT[:-1] + "\u0410",
    "empty":                    "",
    "one part":                 PROTECTED,
    "two parts":                f"{PROTECTED}.{CLAIMS}",
    "four parts":               f"{COMPACT}.",
    "five parts":               f"{COMPACT}.{SIGNATURE}.{SIGNATURE}",
    "detached":                 f"{PROTECTED}..{SIGNATURE}",
    "no header":                f".{CLAIMS}.{SIGNATURE}",
    "a space before":           " " + COMPACT,
    "a line break after":       COMPACT + "\n",
    "payload padded":           f"{PROTECTED}.{CLAIMS}=.{SIGNATURE}",
    "signature padded":         f"{COMPACT}==",
    "payload no object":        claims_of(b"[]"),
    "payload no JSON":          claims_of(b"{"),
    "payload with duplicates":  claims_of(b'{"a": 1, "a": 1}'),
    "payload in UTF-16":        claims_of('{"a": 1}'.encode("utf-16")),
    "payload with a mark":      claims_of(b"\xef\xbb\xbf{}"),
    "payload deep":             claims_of(b'{"a":' + b"[" * 17 + b"]" * 17 + b"}"),
    "payload with half a pair": claims_of(rb'{"a": "\ud800"}'),
    "payload not a number":     claims_of(b'{"a": NaN}'),
    "too long":                 f"{PROTECTED}.{CLAIMS}.{'A' * COMPACT_JWS_BYTES_MAX}",
    "dots":                     "." * 100_000,
    "a contract's header":      f"{ENTRY['protected']}.{CLAIMS}.{SIGNATURE}",
    "a token's header":         f"{TOKEN_HEADER}.{CLAIMS}.{SIGNATURE}",
}
# fmt: on


@pytest.mark.parametrize("case", COMPACT_ATTACKS)
def test_another_compact_text_is_refused(case):
    with pytest.raises(MalformedJWSError):
        parse_compact(COMPACT_ATTACKS[case], FORM, what="act")


def test_a_compact_jws_may_be_as_long_as_its_limit():
    size = len(COMPACT)
    assert parse_compact(COMPACT, FORM, what="act", size_max=size)
    with pytest.raises(MalformedJWSError, match=f"at most {size - 1} bytes"):
        parse_compact(COMPACT, FORM, what="act", size_max=size - 1)


def test_several_faults_are_told_in_one_order():
    details = set()
    for names in (["zip", "b64", "crit"], ["crit", "zip", "b64"]):
        with pytest.raises(MalformedJWSError) as refusal:
            parse_contract(with_header(**dict.fromkeys(names, 1)))
        details.add(refusal.value.detail)
    assert details == {"contract.signatures header: member 'b64' is not allowed"}
