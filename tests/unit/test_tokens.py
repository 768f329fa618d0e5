"""Request tokens: whatever is wrong with one, the answer is the same."""

import json
from base64 import urlsafe_b64encode

import pytest

from moneta.domain.errors import UnauthorizedError
from moneta.domain.limits import JTI_CHARS_MAX, TOKEN_BYTES_MAX
from moneta.signing import base64url, jws
from moneta.signing.statements import make_act, make_key_proof, make_receipt, sign_compact
from moneta.signing.tokens import check_times, make_token, parse_token, unauthorized, verify
from tests.signing_examples import ALGORITHMS, HUB, NOW, OTHER_HUB, TEMPLATE_SHA256, key_of

KEY = key_of("ES256")
OTHER = key_of("ES256", "other")
CLAIMS = {"iss": "mo-1", "sub": "mo-1", "aud": HUB, "iat": NOW, "exp": NOW + 600, "jti": "token-1"}
HEADER = {"alg": "ES256", "kid": KEY.public.key_id, "typ": "JWT"}


def judge(text, *, key=KEY, audience=HUB, now=NOW):
    """Judge a token as the hub does: form, times, the key that its kid names, signature."""
    token = parse_token(text)
    check_times(token, audience=audience, now=now)
    verify(token, key.public)
    return token


def encoded(raw):
    return base64url.encode(raw if isinstance(raw, bytes) else json.dumps(raw).encode())


def signed(header, claims, *, key=KEY):
    """Return a token of the two texts, signed by the real key, so that only its form is at fault."""
    message = f"{header}.{claims}".encode("utf-8", "surrogatepass")
    return f"{header}.{claims}.{base64url.encode(key.sign(message))}"


def with_claims(raw=None, **changes):
    members = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}
    return signed(encoded(HEADER), encoded(members if raw is None else raw))


def with_header(raw=None, **changes):
    members = {name: value for name, value in {**HEADER, **changes}.items() if value is not ...}
    return signed(encoded(members if raw is None else raw), encoded(CLAIMS))


def made(key=KEY, **changes):
    return make_token(key, **{"subject": "mo-1", "audience": HUB, "token_id": "token-1", "issued_at": NOW, **changes})


GOOD = made()
PROTECTED, PAYLOAD, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_tells_its_subject(algorithm):
    key = key_of(algorithm)
    text = made(key)
    token = judge(text, key=key)
    assert (token.subject, token.key_id, token.token_id) == ("mo-1", key.public.key_id, "token-1")
    assert (token.audience, token.issued_at, token.expires_at) == (HUB, NOW, NOW + 600)
    assert len(text) < TOKEN_BYTES_MAX / 2


def padded(members):
    """Return ``members`` as base64url with padding, white space added so that it needs some."""
    raw = json.dumps(members).encode()
    return urlsafe_b64encode(raw + b" " * (4 - len(raw) % 3)).decode()


ACT = {
    "name": "cancel",
    "contract_id": "c1",
    "reason_code": "x",
    "reason": "",
    "prev": TEMPLATE_SHA256,
    "issued_at": NOW,
    "audience": HUB,
}

# fmt: off
ATTACKS = {
    # The text.
    "empty":                        lambda: "",
    "a word":                       lambda: "token",
    "one part":                     lambda: PROTECTED,
    "two parts":                    lambda: f"{PROTECTED}.{PAYLOAD}",
    "four parts":                   lambda: f"{GOOD}.{SIGNATURE}",
    "no signature":                 lambda: f"{PROTECTED}.{PAYLOAD}.",
    "no payload":                   lambda: signed(PROTECTED, ""),
    "no header":                    lambda: signed("", PAYLOAD),
    "Bearer before":                lambda: f"Bearer {GOOD}",
    "a space after":                lambda: GOOD + " ",
    "a line break after":           lambda: GOOD + "\n",
    "a letter of another script":   lambda: GOOD[:-1] + "\u0410",
    "signature padded":             lambda: GOOD + "==",
    "signature cut":                lambda: GOOD[:-4],
    "signature of noughts":         lambda: f"{PROTECTED}.{PAYLOAD}.{base64url.encode(bytes(64))}",
    "signature of another token":   lambda: f"{PROTECTED}.{PAYLOAD}.{with_claims(jti='other').rpartition('.')[2]}",
    "signature altered":            lambda: f"{PROTECTED}.{PAYLOAD}.A{SIGNATURE[1:]}" if SIGNATURE[0] != "A" else "x",
    "payload of another token":     lambda: f"{PROTECTED}.{encoded({**CLAIMS, 'jti': 'x'})}.{SIGNATURE}",
    "payload padded":               lambda: signed(PROTECTED, padded(CLAIMS)),
    "longer than the limit":        lambda: with_claims(jti="x", sub="s" * TOKEN_BYTES_MAX, iss="s" * TOKEN_BYTES_MAX),
    "a megabyte":                   lambda: "A" * 2**20,
    "a megabyte of dots":           lambda: "." * 2**20,
    # The header.
    "alg none":                     lambda: with_header(alg="none"),
    "alg none, unsigned":           lambda: f"{encoded({**HEADER, 'alg': 'none'})}.{PAYLOAD}.",
    "alg HS256":                    lambda: with_header(alg="HS256"),
    "alg RS256":                    lambda: with_header(alg="RS256"),
    "alg in lower case":            lambda: with_header(alg="es256"),
    "alg missing":                  lambda: with_header(alg=...),
    "alg a list":                   lambda: with_header(alg=["ES256"]),
    "alg doubled":                  lambda: with_header(b'{"alg":"none",' + json.dumps(HEADER).encode()[1:]),
    "kid missing":                  lambda: with_header(kid=...),
    "kid null":                     lambda: with_header(kid=None),
    "kid a name":                   lambda: with_header(kid="key-1"),
    "kid of another key":           lambda: with_header(kid=OTHER.public.key_id),
    "typ missing":                  lambda: with_header(typ=...),
    "typ in lower case":            lambda: with_header(typ="jwt"),
    "typ at+jwt":                   lambda: with_header(typ="at+jwt"),
    "typ of a contract":            lambda: with_header(typ=jws.CONTRACT_TYP),
    "cty":                          lambda: with_header(cty="JWT"),
    "crit":                         lambda: with_header(crit=["exp"]),
    "crit empty":                   lambda: with_header(crit=[]),
    "b64":                          lambda: with_header(b64=False),
    "jwk":                          lambda: with_header(jwk=dict(KEY.public.jwk)),
    "jku":                          lambda: with_header(jku="https://evil.example"),
    "iat in the header":            lambda: with_header(iat=NOW),
    "header of a megabyte":         lambda: with_header(json.dumps(HEADER).encode() + b" " * 2**20),
    "header in UTF-16":             lambda: with_header(json.dumps(HEADER).encode("utf-16")),
    "header a list":                lambda: with_header(b"[]"),
    # The claims.
    "claims a list":                lambda: with_claims([CLAIMS]),
    "claims null":                  lambda: with_claims(b"null"),
    "claims no JSON":               lambda: with_claims(b"iss=mo-1"),
    "claims with a mark":           lambda: with_claims(b"\xef\xbb\xbf" + json.dumps(CLAIMS).encode()),
    "claims doubled":               lambda: with_claims(b'{"sub":"publisher-1",' + json.dumps(CLAIMS).encode()[1:]),
    "iss missing":                  lambda: with_claims(iss=...),
    "sub missing":                  lambda: with_claims(sub=...),
    "iss is not sub":               lambda: with_claims(iss="mo-2"),
    "iss and sub null":             lambda: with_claims(iss=None, sub=None),
    "iss and sub empty":            lambda: with_claims(iss="", sub=""),
    "iss and sub numbers":          lambda: with_claims(iss=1, sub=1),
    "iss and sub lists":            lambda: with_claims(iss=["mo-1"], sub=["mo-1"]),
    "aud missing":                  lambda: with_claims(aud=...),
    "aud a list":                   lambda: with_claims(aud=[HUB]),
    "aud of another hub":           lambda: with_claims(aud=OTHER_HUB),
    "aud with a slash":             lambda: with_claims(aud=HUB + "/"),
    "aud in capitals":              lambda: with_claims(aud=HUB.upper()),
    "aud with a path":              lambda: with_claims(aud=HUB + "/event"),
    "aud over http":                lambda: with_claims(aud=HUB.replace("https", "http")),
    "aud empty":                    lambda: with_claims(aud=""),
    "iat missing":                  lambda: with_claims(iat=...),
    "iat null":                     lambda: with_claims(iat=None),
    "iat a string":                 lambda: with_claims(iat=str(NOW)),
    "iat a float":                  lambda: with_claims(iat=float(NOW)),
    "iat a boolean":                lambda: with_claims(iat=True, exp=600),
    "iat negative":                 lambda: with_claims(iat=-1),
    "iat 61 s ahead":               lambda: with_claims(iat=NOW + 61),
    "exp missing":                  lambda: with_claims(exp=...),
    "exp null":                     lambda: with_claims(exp=None),
    "exp a float":                  lambda: with_claims(exp=NOW + 0.5),
    "exp with an exponent":         lambda: with_claims(json.dumps(CLAIMS).replace(str(NOW + 600), "2e9").encode()),
    "exp not a number":             lambda: with_claims(exp=float("nan")),
    "exp infinite":                 lambda: with_claims(exp=float("inf")),
    "exp beyond 2^53":              lambda: with_claims(exp=2**53),
    "exp passed":                   lambda: with_claims(iat=NOW - 600, exp=NOW - 5),
    "exp before iat":               lambda: with_claims(iat=NOW + 30, exp=NOW + 10),
    "exp at iat":                   lambda: with_claims(exp=NOW),
    "exp 901 s after iat":          lambda: with_claims(exp=NOW + 901),
    "exp in a year":                lambda: with_claims(exp=NOW + 365 * 86_400),
    "jti missing":                  lambda: with_claims(jti=...),
    "jti empty":                    lambda: with_claims(jti=""),
    "jti a number":                 lambda: with_claims(jti=1),
    "jti too long":                 lambda: with_claims(jti="x" * (JTI_CHARS_MAX + 1)),
    "nbf":                          lambda: with_claims(nbf=NOW),
    "a role":                       lambda: with_claims(role="operator"),
    # Another's.
    "by another key":               lambda: made(OTHER),
    "by another key, kid borrowed": lambda: signed(encoded(HEADER), encoded(CLAIMS), key=OTHER),
    "for another hub":              lambda: made(audience=OTHER_HUB),
    "an act":                       lambda: make_act(KEY, **ACT),
    "a receipt":                    lambda: make_receipt(KEY, CLAIMS, issued_at=NOW),
    "a key proof":                  lambda: make_key_proof(KEY, audience=HUB, subject="mo-1", issued_at=NOW),
    "a key proof of token claims":  lambda: sign_compact(KEY, CLAIMS, typ=jws.KEY_PROOF_TYP),
}
# fmt: on


def test_there_are_many_attacks():
    assert len(ATTACKS) > 90


@pytest.mark.parametrize("case", ATTACKS)
def test_every_attack_gets_one_and_the_same_answer(case):
    with pytest.raises(UnauthorizedError) as refusal:
        judge(ATTACKS[case]())
    assert (refusal.value.detail, refusal.value.facts) == (unauthorized().detail, {})
    assert str(refusal.value) == "expected a valid bearer token for this hub"


# fmt: off
TIMES = {
    # case                          iat         exp         good
    "at once":                      (NOW,       NOW + 600,  True),
    "for a second":                 (NOW,       NOW + 1,    True),
    "for 15 minutes":               (NOW,       NOW + 900,  True),
    "60 s ahead":                   (NOW + 60,  NOW + 660,  True),
    "61 s ahead":                   (NOW + 61,  NOW + 660,  False),
    "just expired, in the leeway":  (NOW - 600, NOW - 4,    True),
    "just expired, out of it":      (NOW - 600, NOW - 5,    False),
    "for 901 s":                    (NOW,       NOW + 901,  False),
    "for no time":                  (NOW,       NOW,        False),
    "long ago, for long":           (NOW - 1_000, NOW + 1,  False),
    "at the beginning of time":     (0,         900,        False),
}
# fmt: on


@pytest.mark.parametrize("case", TIMES)
def test_a_token_counts_in_its_time(case):
    issued_at, expires_at, is_good = TIMES[case]
    text = with_claims(iat=issued_at, exp=expires_at)
    if is_good:
        assert judge(text)
    else:
        with pytest.raises(UnauthorizedError):
            judge(text)


def test_a_token_may_be_used_again():
    assert judge(GOOD) == judge(GOOD)


def test_a_token_lives_as_long_as_it_was_made_for():
    text = made(lifetime_s=30)
    assert parse_token(text).expires_at == NOW + 30


@pytest.mark.parametrize("jti", ["x", "x" * JTI_CHARS_MAX, "\u0410\n"])
def test_a_tokens_id_is_any_text(jti):
    assert judge(with_claims(jti=jti)).token_id == jti
