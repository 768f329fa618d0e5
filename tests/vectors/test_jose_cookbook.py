"""The JOSE cookbook (RFC 7520, RFC 8037) through the pieces that apply.

RS256 (4.1) and Ed25519 verify, and nothing else in it does: PS384 (4.2), ES512 (4.3) and HS256 (4.4) are not ours, and
4.5 to 4.8 are detached, have unprotected headers, or more than one kind of signature. Their headers are not ours
either, so that the strict pre-parser refuses every one of them as a contract.
"""

import json

import pytest

from moneta.domain.errors import InvalidSignatureError, MalformedJWSError, WeakKeyError, WrongAlgorithmError
from moneta.signing import base64url, jws
from moneta.signing.jws import HeaderForm
from moneta.signing.keys import parse_public_jwk
from tests.shared_vectors import VECTORS, vectors_required

pytestmark = vectors_required

COOKBOOK = VECTORS / "jose-cookbook"
RS256, ED25519 = "jws/4_1.rsa_v15_signature.json", "curve25519/jws.json"
JWS_FILES = sorted(f"jws/{path.name}" for path in (COOKBOOK / "jws").glob("*.json"))


def read(name):
    return json.loads((COOKBOOK / name).read_bytes())


def public(jwk, algorithm):
    names = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
    return {name: jwk[name] for name in names[jwk["kty"]]} | {"alg": algorithm}


def signed(vector):
    protected, payload, signature = vector["output"]["compact"].split(".")
    return base64url.decode(signature, what="vector"), jws.signing_input(protected, payload)


@pytest.mark.parametrize(("name", "algorithm"), [(RS256, "RS256"), (ED25519, "EdDSA")])
def test_what_is_ours_verifies(name, algorithm):
    vector = read(name)
    signature, message = signed(vector)
    assert message == vector["signing"]["sig-input"].encode()
    key = parse_public_jwk(public(vector["input"]["key"], algorithm))
    key.verify(signature, message, algorithm=algorithm)
    with pytest.raises(InvalidSignatureError):
        key.verify(signature, message + b".", algorithm=algorithm)


def test_another_algorithm_of_the_same_key_does_not():
    vector = read("jws/4_2.rsa-pss_signature.json")
    signature, message = signed(vector)
    key = parse_public_jwk(public(vector["input"]["key"], "PS256"))
    with pytest.raises(WrongAlgorithmError):
        key.verify(signature, message, algorithm="PS384")
    with pytest.raises(InvalidSignatureError):
        key.verify(signature, message, algorithm="PS256")


KEYS = {
    "jwk/3_1.ec_public_key.json": "ES256",
    "jwk/3_2.ec_private_key.json": "ES256",
    "jwk/3_4.rsa_private_key.json": "RS256",
    "jwk/3_5.symmetric_key_mac_computation.json": "HS256",
    "jwk/3_6.symmetric_key_encryption.json": "A256GCM",
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_of_another_kind_is_refused(name):
    jwk = read(name)
    for members in (jwk, {**jwk, "alg": KEYS[name]}, {key: jwk[key] for key in jwk if key not in {"kid", "use"}}):
        with pytest.raises(WeakKeyError):
            parse_public_jwk(members)


def test_the_public_rsa_key_is_taken_once_it_is_written_our_way():
    jwk = read("jwk/3_3.rsa_public_key.json")
    with pytest.raises(WeakKeyError, match="alg"):
        parse_public_jwk(jwk)
    with pytest.raises(WeakKeyError, match="use"):
        parse_public_jwk({**jwk, "alg": "RS256"})
    assert parse_public_jwk(public(jwk, "RS256")).algorithm == "RS256"


@pytest.mark.parametrize("name", [*JWS_FILES, ED25519])
def test_no_cookbook_jws_passes_for_a_contract(name):
    output = read(name)["output"]
    for form in ("json", "json_flat", "compact"):
        if form in output:
            with pytest.raises(MalformedJWSError):
                jws.parse_contract(output[form])


@pytest.mark.parametrize("name", [*JWS_FILES, ED25519])
def test_a_cookbook_payload_is_no_statement(name):
    compact = read(name)["output"].get("compact", "")
    with pytest.raises(MalformedJWSError):
        jws.parse_compact(compact, HeaderForm(frozenset({"alg"}), frozenset({"kid"})), what="vector")
