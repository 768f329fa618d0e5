"""Public and private keys as JWK: what is accepted, what is refused, and that a signature is one key's alone."""

import json
from itertools import product

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import import_key

from moneta.domain.errors import InvalidSignatureError, WeakKeyError, WrongAlgorithmError
from moneta.signing import base64url, keys
from moneta.signing.keys import PublicKey, generate, load_pem, parse_public_jwk, private_key, thumbprint
from tests.signing_examples import ALGORITHMS, key_of

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
P256_P = 2**256 - 2**224 + 2**192 + 2**96 - 1


def jwk_of(algorithm, **changes):
    """Return a good public JWK with ``changes``; a member set to ``...`` is left out."""
    members = {**key_of(algorithm).public.jwk, **changes}
    return {name: value for name, value in members.items() if value is not ...}


def encoded(number, size, order="big"):
    return base64url.encode(number.to_bytes(size, order))


# What may be registered.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_says_its_thumbprint_and_its_algorithm(algorithm):
    made = key_of(algorithm).public
    read = parse_public_jwk(dict(made.jwk))
    assert (read.key_id, read.algorithm, read.jwk) == (made.key_id, algorithm, made.jwk)
    assert made.key_id == import_key(dict(made.jwk)).thumbprint()
    assert parse_public_jwk(jwk_of(algorithm, kid=...)).key_id == made.key_id


def test_thumbprints_are_those_of_the_standards():
    # RFC 7638, section 3.1, and RFC 8037, appendix A.3.
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
        "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
        "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
        "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    rsa_key = {"kty": "RSA", "n": n, "e": "AQAB"}
    assert thumbprint(rsa_key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    okp_key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(okp_key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_spki_is_the_keys_own(algorithm):
    made = key_of(algorithm).public
    read = serialization.load_der_public_key(made.spki_der())
    assert read == made.numbers


@pytest.mark.parametrize("bits", [2048, 4096])
def test_rsa_keys_may_have_2048_to_4096_bits(bits):
    n = (1 << (bits - 1)) | 1  # the size is what is looked at; nobody can factor-check a modulus
    assert parse_public_jwk({"kty": "RSA", "alg": "RS256", "e": "AQAB", "n": encoded(n, bits // 8)})


# fmt: off
REFUSED = {
    "not an object":                 list,
    "null":                          lambda: None,
    "text":                          lambda: json.dumps(jwk_of("ES256")),
    "empty":                         dict,
    "no alg":                        lambda: jwk_of("ES256", alg=...),
    "alg null":                      lambda: jwk_of("ES256", alg=None),
    "alg of another type":           lambda: jwk_of("ES256", alg="RS256"),
    "alg none":                      lambda: jwk_of("ES256", alg="none"),
    "alg HS256":                     lambda: {"kty": "oct", "alg": "HS256", "k": "AAAA"},
    "alg ES384":                     lambda: jwk_of("ES256", alg="ES384"),
    "alg RS1":                       lambda: jwk_of("RS256", alg="RS1"),
    "alg RS512":                     lambda: jwk_of("RS256", alg="RS512"),
    "alg Ed25519":                   lambda: jwk_of("EdDSA", alg="Ed25519"),
    "alg in lower case":             lambda: jwk_of("ES256", alg="es256"),
    "alg with a space":              lambda: jwk_of("ES256", alg="ES256 "),
    "no kty":                        lambda: jwk_of("ES256", kty=...),
    "kty of another type":           lambda: jwk_of("ES256", kty="OKP"),
    "use":                           lambda: jwk_of("ES256", use="sig"),
    "key_ops":                       lambda: jwk_of("ES256", key_ops=["verify"]),
    "key_ops as text":               lambda: jwk_of("ES256", key_ops="verify"),
    "x5u":                           lambda: jwk_of("ES256", x5u="https://evil.example"),
    "x5c":                           lambda: jwk_of("ES256", x5c=["AAAA"]),
    "exp":                           lambda: jwk_of("ES256", exp=1),
    "a foreign member":              lambda: jwk_of("ES256", n="AQAB"),
    "a member of another script":    lambda: jwk_of("ES256", **dict.fromkeys(["\u0445"], "AQAB")),
    "kid of another key":            lambda: jwk_of("ES256", kid=key_of("EdDSA").public.key_id),
    "kid of a name":                 lambda: jwk_of("ES256", kid="my-key"),
    "kid null":                      lambda: jwk_of("ES256", kid=None),
    "private EC":                    lambda: jwk_of("ES256", d="AAAA"),
    "private OKP":                   lambda: jwk_of("EdDSA", d="AAAA"),
    "private RSA":                   lambda: jwk_of("RS256", p="AAAA"),
    "symmetric beside":              lambda: jwk_of("RS256", k="AAAA"),
    "EC: no y":                      lambda: jwk_of("ES256", y=...),
    "EC: x a number":                lambda: jwk_of("ES256", x=1),
    "EC: x padded":                  lambda: jwk_of("ES256", x=key_of("ES256").public.jwk["x"] + "="),
    "EC: x of 31 bytes":             lambda: jwk_of("ES256", x=base64url.encode(b"\1" * 31)),
    "EC: x of 33 bytes":             lambda: jwk_of("ES256", x=base64url.encode(b"\0" * 33)),
    "EC: x of another script":       lambda: jwk_of("ES256", x="\u0661" * 43),
    "EC: not on the curve":          lambda: jwk_of("ES256", y=encoded(1, 32)),
    "EC: nought":                    lambda: jwk_of("ES256", x=encoded(0, 32), y=encoded(0, 32)),
    "EC: x beyond the prime":        lambda: jwk_of("ES256", x=encoded(P256_P + 5, 32)),
    "EC: y is the prime":            lambda: jwk_of("ES256", y=encoded(P256_P, 32)),
    "EC: P-384":                     lambda: jwk_of("ES256", crv="P-384"),
    "EC: secp256k1":                 lambda: jwk_of("ES256", crv="secp256k1"),
    "EC: crv missing":               lambda: jwk_of("ES256", crv=...),
    "OKP: X25519":                   lambda: jwk_of("EdDSA", crv="X25519"),
    "OKP: Ed448":                    lambda: jwk_of("EdDSA", crv="Ed448"),
    "OKP: y":                        lambda: jwk_of("EdDSA", y="AAAA"),
    "OKP: x of 31 bytes":            lambda: jwk_of("EdDSA", x=base64url.encode(b"\1" * 31)),
    "OKP: x of 33 bytes":            lambda: jwk_of("EdDSA", x=base64url.encode(b"\1" * 33)),
    "OKP: x empty":                  lambda: jwk_of("EdDSA", x=""),
    "OKP: not on the curve":         lambda: jwk_of("EdDSA", x=encoded(2, 32, "little")),
    "RSA: e = 3":                    lambda: jwk_of("RS256", e="Aw"),
    "RSA: e = 1":                    lambda: jwk_of("RS256", e="AQ"),
    "RSA: e with a leading nought":  lambda: jwk_of("RS256", e="AAEAAQ"),
    "RSA: e beyond":                 lambda: jwk_of("RS256", e=encoded(2**64 + 13, 9)),
    "RSA: n with a leading nought":  lambda: jwk_of("RS256", n=encoded((1 << 2047) | 1, 257)),
    "RSA: n empty":                  lambda: jwk_of("RS256", n=""),
    "RSA: n even":                   lambda: jwk_of("RS256", n=encoded(1 << 2047, 256)),
    "RSA: 2047 bits":                lambda: jwk_of("RS256", n=encoded((1 << 2046) | 1, 256)),
    "RSA: 1024 bits":                lambda: jwk_of("RS256", n=encoded((1 << 1023) | 1, 128)),
    "RSA: 4097 bits":                lambda: jwk_of("RS256", n=encoded((1 << 4096) | 1, 513)),
    "RSA: 16384 bits":               lambda: jwk_of("RS256", n=encoded((1 << 16383) | 1, 2048)),
}
# fmt: on


@pytest.mark.parametrize("case", REFUSED)
def test_a_key_that_is_not_exactly_of_an_allowed_form_is_refused(case):
    with pytest.raises(WeakKeyError) as refusal:
        parse_public_jwk(REFUSED[case]())
    assert refusal.value.facts["field"].startswith("jwk")


def test_a_private_key_is_not_repeated_in_the_error():
    with pytest.raises(WeakKeyError, match="private") as refusal:
        parse_public_jwk(jwk_of("ES256", d="c2VjcmV0LXNjYWxhcg"))
    assert "c2Vj" not in refusal.value.detail


# Ed25519 keys of small order and in other than their one encoding. The curve is computed here once more, by the
# formulas of RFC 8032 (section 5.1.4), so that the constants in the code are not their own proof.


def point_sum(a, b):
    (x1, y1), (x2, y2) = a, b
    product_of_all = D * x1 * x2 * y1 * y2
    x3 = (x1 * y2 + x2 * y1) * pow(1 + product_of_all, -1, P)
    y3 = (y1 * y2 + x1 * x2) * pow(1 - product_of_all, -1, P)
    return (x3 % P, y3 % P)


def point_times(number, point):
    total = (0, 1)
    for bit in f"{number:b}":
        total = point_sum(total, total)
        if bit == "1":
            total = point_sum(total, point)
    return total


def x_of(y):
    """Return a square root of (y² - 1) / (dy² + 1), or None."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    for candidate in (root, root * pow(2, (P - 1) // 4, P) % P):
        if candidate * candidate % P == square:
            return candidate
    return None


def small_order_points():
    """Return the eight points whose eightfold is the neutral one."""
    y = next(y for y in range(2, 100) if x_of(y) is not None and point_times(4 * L, (x_of(y), y)) != (0, 1))
    generator = point_times(L, (x_of(y), y))
    return {point_times(number, generator) for number in range(8)}


SMALL_ORDER = small_order_points()
LOW_ORDER_KEYS = sorted(
    {
        (y_written | sign << 255).to_bytes(32, "little")
        for (_, y), sign in product(SMALL_ORDER, (0, 1))
        for y_written in (y, y + P)
        if y_written < 2**255
    }
)
NOT_CANONICAL_KEYS = [(y | sign << 255).to_bytes(32, "little") for y in range(P, 2**255) for sign in (0, 1)]


def okp(raw):
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": base64url.encode(raw)}


def test_there_are_eight_points_of_small_order_in_fourteen_encodings():
    assert len(SMALL_ORDER) == 8
    assert {y for _, y in SMALL_ORDER} == keys._ED25519_LOW_ORDER_Y
    assert len(LOW_ORDER_KEYS) == 14


@pytest.mark.parametrize("raw", LOW_ORDER_KEYS, ids=bytes.hex)
def test_a_key_of_small_order_is_refused_in_every_encoding(raw):
    with pytest.raises(WeakKeyError, match=r"low order|not canonical"):
        parse_public_jwk(okp(raw))


@pytest.mark.parametrize("raw", NOT_CANONICAL_KEYS, ids=bytes.hex)
def test_a_key_that_is_not_canonical_is_refused(raw):
    with pytest.raises(WeakKeyError, match="not canonical"):
        parse_public_jwk(okp(raw))


@given(st.binary(max_size=40))
def test_a_key_of_small_order_would_verify_messages_nobody_signed(message):
    # Why the rule stands: R and A neutral, S = 0 satisfies SB = R + hA for every message.
    neutral = (1).to_bytes(32, "little")
    ed25519.Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), message)


@given(st.binary(min_size=32, max_size=32))
def test_any_ed25519_key_is_on_the_curve_or_refused(raw):
    y = int.from_bytes(raw, "little") % 2**255
    is_good = y < P and x_of(y) is not None and y not in keys._ED25519_LOW_ORDER_Y
    try:
        parse_public_jwk(okp(raw))
    except WeakKeyError:
        assert not is_good
    else:
        assert is_good


# Signing and verifying.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_verifies(algorithm):
    key = key_of(algorithm)
    key.public.verify(key.sign(b"message"), b"message", algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_is_for_its_own_message(algorithm):
    key = key_of(algorithm)
    with pytest.raises(InvalidSignatureError, match="does not verify"):
        key.public.verify(key.sign(b"message"), b"messagf", algorithm=algorithm)


@pytest.mark.parametrize(("signer", "verifier"), [(a, b) for a in ALGORITHMS for b in ALGORITHMS if a != b])
def test_no_key_verifies_anothers_signature(signer, verifier):
    signature = key_of(signer).sign(b"message")
    with pytest.raises(InvalidSignatureError):
        key_of(verifier).public.verify(signature, b"message", algorithm=verifier)


@pytest.mark.parametrize("claimed", ["none", "", "HS256", "RS256 ", "es256", "ES384", "Ed25519", "x" * 1_000])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_registered_algorithm_decides(algorithm, claimed):
    key = key_of(algorithm)
    with pytest.raises(WrongAlgorithmError) as refusal:
        key.public.verify(key.sign(b"message"), b"message", algorithm=claimed)
    assert len(refusal.value.detail) < 200


def test_one_rsa_key_has_one_algorithm():
    key = key_of("RS256")
    as_pss = private_key(key.numbers, "PS256")
    assert as_pss.public.key_id == key.public.key_id
    for one, other in ((key, as_pss), (as_pss, key)):
        with pytest.raises(InvalidSignatureError):
            other.public.verify(one.sign(b"m"), b"m", algorithm=other.public.algorithm)
        with pytest.raises(WrongAlgorithmError):
            other.public.verify(one.sign(b"m"), b"m", algorithm=one.public.algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_whose_numbers_belie_its_algorithm_verifies_nothing(algorithm):
    other = key_of("ES256" if algorithm == "EdDSA" else "EdDSA")
    key = PublicKey(other.public.key_id, algorithm, other.public.numbers, {})
    with pytest.raises(InvalidSignatureError):
        key.verify(other.sign(b"m"), b"m", algorithm=algorithm)


def test_es256_is_64_raw_bytes_each_time():
    key = key_of("ES256")
    assert {len(key.sign(bytes([number]))) for number in range(50)} == {64}


# Making and keeping.


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES384", "", "RS512"])
def test_no_other_algorithm_gets_a_key(algorithm):
    with pytest.raises(WrongAlgorithmError):
        generate(algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_comes_back_from_its_pem(algorithm):
    key = key_of(algorithm)
    assert load_pem(key.to_pem(), algorithm).public == key.public
    if algorithm != "PS256":
        assert load_pem(key.to_pem()).public == key.public


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_private_key_shows_nothing_of_itself(algorithm):
    key = key_of(algorithm)
    shown = f"{key} {key!r}"
    assert "PrivateKey" in shown
    assert "numbers" not in shown
    assert key.public.key_id not in shown


def pem(key, password=None):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


# fmt: off
REFUSED_PEMS = {
    "nothing":        lambda: b"",
    "no PEM":         lambda: b"key",
    "a public key":   lambda: key_of("ES256").public.numbers.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    "encrypted":      lambda: pem(key_of("ES256").numbers, b"secret"),
    "P-384":          lambda: pem(ec.generate_private_key(ec.SECP384R1())),
    "P-521":          lambda: pem(ec.generate_private_key(ec.SECP521R1())),
    "Ed448":          lambda: pem(ed448.Ed448PrivateKey.generate()),
    "RSA, 1024 bits": lambda: pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505  # too weak is the case
    "RSA, e = 3":     lambda: pem(rsa.generate_private_key(3, 2048)),
}
# fmt: on


@pytest.mark.parametrize("case", REFUSED_PEMS)
def test_another_pem_is_refused(case):
    with pytest.raises(WeakKeyError):
        load_pem(REFUSED_PEMS[case]())


@pytest.mark.parametrize(("algorithm", "claimed"), [("ES256", "RS256"), ("RS256", "EdDSA"), ("EdDSA", "ES256")])
def test_a_pem_is_for_an_algorithm_of_its_type(algorithm, claimed):
    with pytest.raises(WeakKeyError):
        load_pem(key_of(algorithm).to_pem(), claimed)
