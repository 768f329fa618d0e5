"""Wycheproof through ``PublicKey.verify`` and the webhooks' HMAC: every invalid one refused, every valid accepted.

The one *acceptable* RSA case (a DigestInfo without its NULL) is refused here too: RFC 8017 writes the NULL, and one
message should have one signature. The two cases whose key has e = 3 are refused with the key (protocol, section 2).
"""

import json
from base64 import b64encode

import pytest

from moneta.domain.errors import InvalidSignatureError, WeakKeyError
from moneta.signing import base64url, webhooks
from moneta.signing.keys import parse_public_jwk
from tests.shared_vectors import VECTORS, vectors_required
from tests.signing_examples import NOW

pytestmark = vectors_required

FILES = {
    "ed25519_test.json": ("EdDSA", 151),
    "ecdsa_secp256r1_sha256_p1363_test.json": ("ES256", 262),
    "rsa_signature_2048_sha256_test.json": ("RS256", 259),
}


def groups(name):
    path = VECTORS / "wycheproof" / name
    return json.loads(path.read_bytes())["testGroups"] if path.is_file() else []


def jwk_of(group, algorithm):
    """Return the group's key as its owner would register it."""
    key = group["publicKey"]
    if algorithm == "EdDSA":
        members = {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(bytes.fromhex(key["pk"]))}
    elif algorithm == "ES256":
        x, y = (int(key[name], 16).to_bytes(32, "big") for name in ("wx", "wy"))
        members = {"kty": "EC", "crv": "P-256", "x": base64url.encode(x), "y": base64url.encode(y)}
    else:
        n, e = (bytes.fromhex(key[name]).lstrip(b"\0") for name in ("modulus", "publicExponent"))
        members = {"kty": "RSA", "n": base64url.encode(n), "e": base64url.encode(e)}
    return {**members, "alg": algorithm}


CASES = [
    pytest.param(jwk_of(group, algorithm), case, id=f"{algorithm}-{case['tcId']}")
    for name, (algorithm, _) in FILES.items()
    for group in groups(name)
    for case in group["tests"]
]

MACS = [
    pytest.param(group["tagSize"], case, id=f"HMAC-{case['tcId']}")
    for group in groups("hmac_sha256_test.json")
    for case in group["tests"]
]


def is_small_exponent(case):
    return "SmallPublicKey" in case.values[1]["flags"]


def test_the_files_are_whole():
    assert len(CASES) == sum(count for _, count in FILES.values())
    assert sum(map(is_small_exponent, CASES)) == 2
    assert len(MACS) == 174


@pytest.mark.parametrize(("jwk", "case"), [case for case in CASES if is_small_exponent(case)])
def test_a_key_of_a_small_exponent_is_refused(jwk, case):
    with pytest.raises(WeakKeyError):
        parse_public_jwk(jwk)


@pytest.mark.parametrize(("jwk", "case"), [case for case in CASES if not is_small_exponent(case)])
def test_a_signature_is_judged_as_published(jwk, case):
    key = parse_public_jwk(jwk)
    signature, message = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
    if case["result"] == "valid":
        key.verify(signature, message, algorithm=jwk["alg"])
    else:
        assert case["result"] in {"invalid", "acceptable"}
        with pytest.raises(InvalidSignatureError):
            key.verify(signature, message, algorithm=jwk["alg"])


@pytest.mark.parametrize(("tag_bits", "case"), MACS)
def test_a_mac_is_judged_as_published(tag_bits, case):
    # A truncated or lengthened tag, though Wycheproof calls it valid, is none: a webhook carries all 256 bits.
    mac = webhooks._mac(bytes.fromhex(case["key"]), bytes.fromhex(case["msg"]))
    is_valid = case["result"] == "valid" and tag_bits == 256
    assert (mac == b64encode(bytes.fromhex(case["tag"])).decode()) is is_valid


@pytest.mark.parametrize(("tag_bits", "case"), MACS)
def test_a_webhook_is_not_signed_by_a_published_tag(tag_bits, case):
    key, body = bytes.fromhex(case["key"]), bytes.fromhex(case["msg"])
    signed = webhooks.sign([key], webhook_id="msg_1", timestamp=NOW, body=body)
    assert webhooks.verify(key, signed, body, now=NOW) == "msg_1"
    borrowed = {**signed, "webhook-signature": "v1," + b64encode(bytes.fromhex(case["tag"])).decode()}
    with pytest.raises(InvalidSignatureError):
        webhooks.verify(key, borrowed, body, now=NOW)
