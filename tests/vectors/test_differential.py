"""Our verifying against two JOSE libraries, case by case: one verdict of all three on good and on damaged signatures.

The libraries are held to the registered algorithm, as our callers are. Where one departs, it is named with its reason.
"""

import warnings
from collections.abc import Callable

import joserfc.errors
import joserfc.jwk
import joserfc.jws
import jwcrypto.common
import jwcrypto.jwk
import jwcrypto.jws
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from moneta.domain.errors import InvalidSignatureError, WrongAlgorithmError
from moneta.signing import base64url
from moneta.signing.chain import to_json
from moneta.signing.jws import signing_input
from moneta.signing.keys import parse_public_jwk
from tests.signing_examples import ALGORITHMS, key_of

PAYLOAD = base64url.encode(b'{"amount":"100.00"}')
P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_L = 2**252 + 27742317777372353535851937790883648493
SIZES = {"RS256": 256, "PS256": 256, "ES256": 64, "EdDSA": 64}
FLIPS = {"RS256": 256 * 8, "PS256": 256 * 8, "ES256": 64 * 8, "EdDSA": 64 * 8}


def header(algorithm):
    return base64url.encode(to_json({"alg": algorithm}))


def good(algorithm):
    return key_of(algorithm).sign(signing_input(header(algorithm), PAYLOAD))


# Damage that any signature can take, and each algorithm's own.


def flipped(bit):
    return lambda raw, _key, _message: raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :]


ANY = {
    "nothing": lambda raw, _key, _message: raw,
    "empty": lambda _raw, _key, _message: b"",
    "one byte": lambda raw, _key, _message: raw[:1],
    "half": lambda raw, _key, _message: raw[: len(raw) // 2],
    "the last byte cut": lambda raw, _key, _message: raw[:-1],
    "the first byte cut": lambda raw, _key, _message: raw[1:],
    "a nought before": lambda raw, _key, _message: b"\0" + raw,
    "a nought after": lambda raw, _key, _message: raw + b"\0",
    "twice": lambda raw, _key, _message: raw + raw,
    "reversed": lambda raw, _key, _message: raw[::-1],
    "all noughts": lambda raw, _key, _message: bytes(len(raw)),
    "all ones": lambda raw, _key, _message: b"\xff" * len(raw),
    "as text": lambda raw, _key, _message: base64url.encode(raw).encode(),
    "a kibibyte": lambda raw, _key, _message: raw.ljust(1024, b"\0"),
    "of another message": lambda _raw, key, message: key.sign(message + b"."),
    "of no message": lambda _raw, key, _message: key.sign(b""),
    "made again": lambda _raw, key, message: key.sign(message),
}


def halves(raw):
    return int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")


def ecdsa(change: Callable[[int, int], tuple[int, int]], *, size=32):
    def damaged(raw, _key, _message):
        r, s = change(*halves(raw))
        return (r % 2 ** (8 * size)).to_bytes(size, "big") + (s % 2 ** (8 * size)).to_bytes(size, "big")

    return damaged


ES256 = {
    "DER": lambda raw, _key, _message: encode_dss_signature(*halves(raw)),
    "the other s": ecdsa(lambda r, s: (r, P256_N - s)),
    "r nought": ecdsa(lambda _, s: (0, s)),
    "s nought": ecdsa(lambda r, _: (r, 0)),
    "r is n": ecdsa(lambda _, s: (P256_N, s)),
    "s is n": ecdsa(lambda r, _: (r, P256_N)),
    "r is one": ecdsa(lambda _, s: (1, s)),
    "s is one": ecdsa(lambda r, _: (r, 1)),
    "r negative": ecdsa(lambda r, s: (-r, s)),
    "s negative": ecdsa(lambda r, s: (r, -s)),
    "r and n": ecdsa(lambda r, s: (r + P256_N, s)),
    "s and n": ecdsa(lambda r, s: (r, s + P256_N)),
    "r and n, in 33 bytes": ecdsa(lambda r, s: (r + P256_N, s), size=33),
    "s and n, in 33 bytes": ecdsa(lambda r, s: (r, s + P256_N), size=33),
    "leading noughts": ecdsa(lambda r, s: (r, s), size=33),
    "exchanged": ecdsa(lambda r, s: (s, r)),
    "half a byte short": ecdsa(lambda r, s: (r >> 4, s >> 4)),
}


def eddsa(change):
    def damaged(raw, _key, _message):
        scalar = change(int.from_bytes(raw[32:], "little"))
        return raw[:32] + (scalar % 2**256).to_bytes(32, "little")

    return damaged


EDDSA = {
    "S and L": eddsa(lambda scalar: scalar + ED25519_L),
    "S and 2L": eddsa(lambda scalar: scalar + 2 * ED25519_L),
    "S and 8L": eddsa(lambda scalar: scalar + 8 * ED25519_L),
    "S nought": eddsa(lambda _: 0),
    "S is L": eddsa(lambda _: ED25519_L),
    "S negative": eddsa(lambda scalar: ED25519_L - scalar),
    "S's high bit": eddsa(lambda scalar: scalar | 1 << 255),
    "R neutral": lambda raw, _key, _message: (1).to_bytes(32, "little") + raw[32:],
    "R not canonical": lambda raw, _key, _message: (2**255 - 18).to_bytes(32, "little") + raw[32:],
    "R not on the curve": lambda raw, _key, _message: (2).to_bytes(32, "little") + raw[32:],
    "R's sign": lambda raw, _key, _message: raw[:31] + bytes([raw[31] ^ 0x80]) + raw[32:],
    "exchanged": lambda raw, _key, _message: raw[32:] + raw[:32],
}


def rsa(change):
    def damaged(raw, key, _message):
        modulus = key.numbers.public_key().public_numbers().n
        number = change(int.from_bytes(raw, "big"), modulus)
        return number.to_bytes(max(256, (number.bit_length() + 7) // 8), "big")

    return damaged


def pss(digest, salt_length, mask=None):
    chosen = padding.PSS(mgf=padding.MGF1(mask or digest), salt_length=salt_length)
    return lambda _raw, key, message: key.numbers.sign(message, chosen, digest)


def pkcs1(digest):
    return lambda _raw, key, message: key.numbers.sign(message, padding.PKCS1v15(), digest)


SHA256 = hashes.SHA256()
RSA = {
    "and n": rsa(lambda number, modulus: number + modulus),
    "negative": rsa(lambda number, modulus: modulus - number),
    "one": rsa(lambda *_: 1),
    "n": rsa(lambda _, modulus: modulus),
    "n less one": rsa(lambda _, modulus: modulus - 1),
    "PKCS1, SHA-1": pkcs1(hashes.SHA1()),  # noqa: S303  # the weak hash is the case
    "PKCS1, SHA-256": pkcs1(SHA256),
    "PKCS1, SHA-384": pkcs1(hashes.SHA384()),
    "PKCS1, SHA-512": pkcs1(hashes.SHA512()),
    **{f"PSS, salt of {size}": pss(SHA256, size) for size in (0, 1, 20, 31, 32, 33, 48, 64, 222)},
    "PSS, the longest salt": pss(SHA256, padding.PSS.MAX_LENGTH),
    "PSS, SHA-384": pss(hashes.SHA384(), 48),
    "PSS, SHA-512": pss(hashes.SHA512(), 64),
    "PSS, mask of SHA-1": pss(SHA256, 32, hashes.SHA1()),  # noqa: S303  # the weak hash is the case
    "PSS, mask of SHA-512": pss(SHA256, 32, hashes.SHA512()),
}
OWN = {"RS256": RSA, "PS256": RSA, "ES256": ES256, "EdDSA": EDDSA}
FLIPPED = {
    algorithm: {f"bit {bit}": flipped(bit) for bit in range(0, FLIPS[algorithm], FLIPS[algorithm] // 128)}
    for algorithm in ALGORITHMS
}
DAMAGE = {algorithm: {**ANY, **OWN[algorithm], **FLIPPED[algorithm]} for algorithm in ALGORITHMS}
ACCEPTED = {
    "RS256": {"nothing", "made again", "PKCS1, SHA-256"},
    "PS256": {"nothing", "made again", "PSS, salt of 32"},
    "ES256": {"nothing", "made again", "the other s"},  # ECDSA is malleable: a signature is never an identifier
    "EdDSA": {"nothing", "made again"},
}

TAKEN_BY_JWCRYPTO = {
    ("ES256", "leading noughts"),  # it halves whatever comes; RFC 7518, section 3.4, wants 64 bytes
}


def is_ours(jwk, protected, signature, claimed):
    try:
        parse_public_jwk(jwk).verify(signature, signing_input(protected, PAYLOAD), algorithm=claimed)
    except (InvalidSignatureError, WrongAlgorithmError):
        return False
    return True


def is_joserfcs(jwk, protected, signature):
    registry = joserfc.jws.JWSRegistry(algorithms=[jwk["alg"]])
    compact = f"{protected}.{PAYLOAD}.{base64url.encode(signature)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", joserfc.errors.SecurityWarning)  # EdDSA is the name that the protocol spells
        try:
            joserfc.jws.deserialize_compact(compact, joserfc.jwk.import_key(jwk), registry=registry)
        except (joserfc.errors.JoseError, ValueError):
            return False
    return True


def is_jwcryptos(jwk, protected, signature):
    token = jwcrypto.jws.JWS()
    token.allowed_algs = [jwk["alg"]]
    try:
        token.deserialize(f"{protected}.{PAYLOAD}.{base64url.encode(signature)}", jwcrypto.jwk.JWK(**jwk))
    except jwcrypto.common.JWException:
        return False
    return True


def verdicts(jwk, protected, signature, claimed):
    return (
        is_ours(jwk, protected, signature, claimed),
        is_joserfcs(jwk, protected, signature),
        is_jwcryptos(jwk, protected, signature),
    )


CASES = [(algorithm, name) for algorithm in ALGORITHMS for name in DAMAGE[algorithm]]


def test_there_are_many_cases():
    assert len(CASES) > 600


@pytest.mark.parametrize(("algorithm", "name"), CASES)
def test_three_implementations_agree_on_a_signature(algorithm, name):
    key, protected = key_of(algorithm), header(algorithm)
    signature = DAMAGE[algorithm][name](good(algorithm), key, signing_input(protected, PAYLOAD))
    found = verdicts(dict(key.public.jwk), protected, signature, algorithm)
    is_good = name in ACCEPTED[algorithm]
    assert found == (is_good, is_good, is_good or (algorithm, name) in TAKEN_BY_JWCRYPTO)


@pytest.mark.parametrize("claimed", [*ALGORITHMS, "none", "HS256", "RS384", "ES384", "Ed25519"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_three_implementations_agree_on_the_algorithm(algorithm, claimed):
    key, protected = key_of(algorithm), header(claimed)
    signature = key.sign(signing_input(protected, PAYLOAD))
    found = verdicts(dict(key.public.jwk), protected, signature, claimed)
    assert found == (algorithm == claimed,) * 3


def test_the_sizes_of_signatures_are_fixed():
    assert {algorithm: len(good(algorithm)) for algorithm in ALGORITHMS} == SIZES
