"""Public and private keys as JWK: which are accepted, their thumbprints, signing and verifying.

The registered JWK decides the algorithm; the header must agree (protocol, section 2). The pre-parser in ``jws`` stands
in front, so that what arrives here is only bytes. Verifying goes to ``cryptography`` directly, since JOSE libraries
parse the header again on every call; the tests hold it against joserfc and jwcrypto, case by case.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from moneta.domain.errors import InvalidSignatureError, MalformedJWSError, WeakKeyError, WrongAlgorithmError
from moneta.domain.identifiers import KeyId
from moneta.domain.ijson import Value
from moneta.domain.limits import RSA_BITS_MAX, RSA_BITS_MIN
from moneta.signing import base64url

PublicNumbers = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PrivateNumbers = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

RSA_EXPONENT: Final = 65537
P256_COORDINATE_BYTES: Final = 32
ED25519_BYTES: Final = 32

# fmt: off
KEY_TYPE_OF: Final[Mapping[str, str]] = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
MEMBERS_OF: Final[Mapping[str, tuple[str, ...]]] = {  # in the order of RFC 7638, which is alphabetical
    "RSA": ("e", "kty", "n"),
    "EC":  ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
}
PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# fmt: on

_ED25519_P: Final = 2**255 - 19
_ED25519_LOW_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _ED25519_P - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)
"""The y coordinates of the eight points of small order: a key there verifies every message (security.md, section 2)."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that may be registered: strong enough, on its curve, canonical, with one algorithm.

    The thumbprint and the algorithm tell keys apart; the rest follows from them.
    """

    key_id: KeyId
    algorithm: str
    numbers: PublicNumbers = field(compare=False)
    jwk: Mapping[str, str] = field(compare=False)

    def verify(self, signature: bytes, message: bytes, *, algorithm: str) -> None:
        """Return if ``signature`` is this key's on ``message`` under its registered algorithm.

        Raises:
            WrongAlgorithmError: ``algorithm``, which the header claims, is not the registered one.
            InvalidSignatureError: It is not.
        """
        if algorithm != self.algorithm:
            raise WrongAlgorithmError(f"key {self.key_id}: expected alg {self.algorithm}, got {algorithm[:16]!r}")
        try:
            _VERIFIERS[self.algorithm](self.numbers, signature, message)
        except InvalidSignature as error:
            raise InvalidSignatureError(f"key {self.key_id}: the signature does not verify") from error

    def spki_der(self) -> bytes:
        """Return the SubjectPublicKeyInfo in DER."""
        return self.numbers.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class _Verify(Protocol):
    def __call__(self, numbers: PublicNumbers, signature: bytes, message: bytes, /) -> None: ...


def _verify_rs256(numbers: PublicNumbers, signature: bytes, message: bytes) -> None:
    if not isinstance(numbers, rsa.RSAPublicKey):
        raise InvalidSignature
    numbers.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())


def _verify_ps256(numbers: PublicNumbers, signature: bytes, message: bytes) -> None:
    if not isinstance(numbers, rsa.RSAPublicKey):
        raise InvalidSignature
    # RFC 7518, section 3.5: MGF1 with SHA-256 and a salt as long as the hash; a longer or shorter one is refused.
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
    numbers.verify(signature, message, pss, hashes.SHA256())


def _verify_es256(numbers: PublicNumbers, signature: bytes, message: bytes) -> None:
    # RFC 7518, section 3.4: r and s, 32 bytes each, never DER.
    if not isinstance(numbers, ec.EllipticCurvePublicKey) or len(signature) != 2 * P256_COORDINATE_BYTES:
        raise InvalidSignature
    r = int.from_bytes(signature[:P256_COORDINATE_BYTES], "big")
    s = int.from_bytes(signature[P256_COORDINATE_BYTES:], "big")
    numbers.verify(encode_dss_signature(r, s), message, _ECDSA_SHA256)


def _verify_eddsa(numbers: PublicNumbers, signature: bytes, message: bytes) -> None:
    if not isinstance(numbers, ed25519.Ed25519PublicKey):
        raise InvalidSignature
    numbers.verify(signature, message)


_ECDSA_SHA256: Final = ec.ECDSA(hashes.SHA256())
_VERIFIERS: Final[Mapping[str, _Verify]] = {
    "RS256": _verify_rs256,
    "PS256": _verify_ps256,
    "ES256": _verify_es256,
    "EdDSA": _verify_eddsa,
}


def parse_public_jwk(value: Value) -> PublicKey:
    """Return the key that a public JWK with an ``alg`` describes.

    Exactly the members of its type, ``alg``, and optionally ``kid``, which must be the thumbprint.

    Raises:
        WeakKeyError: Private, of another type, of the wrong size, of low order, not on its curve, not canonical.
    """
    jwk = _text_members(value)
    algorithm = jwk.get("alg", "")
    key_type = KEY_TYPE_OF.get(algorithm)
    if key_type is None or jwk.get("kty") != key_type:
        raise WeakKeyError(
            f"jwk: expected alg {', '.join(KEY_TYPE_OF)} and its kty, got alg {algorithm[:16]!r}", field="jwk.alg"
        )
    _check_member_names(jwk, key_type)
    members = {name: jwk[name] for name in MEMBERS_OF[key_type]}
    numbers = _PARSERS[key_type](members)
    key_id = thumbprint(members)
    if jwk.get("kid", key_id) != key_id:
        raise WeakKeyError("jwk: kid is not the SHA-256 thumbprint", field="jwk.kid")
    return PublicKey(key_id, algorithm, numbers, {**members, "alg": algorithm, "kid": key_id})


def thumbprint(members: Mapping[str, str]) -> KeyId:
    """Return the RFC 7638 SHA-256 thumbprint of a JWK's required ``members``."""
    inner = ",".join(f'"{name}":"{members[name]}"' for name in sorted(members))
    return KeyId(base64url.encode(hashlib.sha256(f"{{{inner}}}".encode("ascii")).digest()))


def _text_members(value: Value) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise WeakKeyError("jwk: expected an object", field="jwk")
    if PRIVATE_MEMBERS & value.keys():
        raise WeakKeyError("jwk: holds private members; send the public key only", field="jwk")
    texts = {name: member for name, member in value.items() if isinstance(member, str) and member.isascii()}
    if len(texts) != len(value):
        raise WeakKeyError("jwk: expected ASCII text members only", field="jwk")
    return texts


def _check_member_names(jwk: Mapping[str, str], key_type: str) -> None:
    required = {*MEMBERS_OF[key_type], "alg"}
    for name in sorted(required - jwk.keys()):
        raise WeakKeyError(f"jwk: {name} is missing", field=f"jwk.{name}")
    for name in sorted(jwk.keys() - required - {"kid"}):
        raise WeakKeyError(f"jwk: member {name[:64]!r} is not allowed", field=f"jwk.{name[:64]}")


def _member_bytes(members: Mapping[str, str], name: str) -> bytes:
    try:
        return base64url.decode(members[name], what=f"jwk.{name}")
    except MalformedJWSError as error:
        raise WeakKeyError(error.detail, field=f"jwk.{name}") from error


def _parse_rsa(members: Mapping[str, str]) -> PublicNumbers:
    modulus, exponent = _member_bytes(members, "n"), _member_bytes(members, "e")
    if modulus[:1] == b"\x00" or exponent != RSA_EXPONENT.to_bytes(3, "big"):
        raise WeakKeyError(f"jwk: expected e = {RSA_EXPONENT} and n without leading zeros", field="jwk.n")
    n = int.from_bytes(modulus, "big")
    if not RSA_BITS_MIN <= n.bit_length() <= RSA_BITS_MAX or n % 2 == 0:
        raise WeakKeyError(f"jwk: expected an RSA key of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits", field="jwk.n")
    return rsa.RSAPublicNumbers(RSA_EXPONENT, n).public_key()


def _parse_p256(members: Mapping[str, str]) -> PublicNumbers:
    x, y = _member_bytes(members, "x"), _member_bytes(members, "y")
    if members["crv"] != "P-256" or len(x) != P256_COORDINATE_BYTES or len(y) != P256_COORDINATE_BYTES:
        raise WeakKeyError("jwk: expected crv P-256 with x and y of 32 bytes", field="jwk.crv")
    try:
        return ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
        ).public_key()
    except ValueError as error:
        raise WeakKeyError("jwk: the point is not on P-256", field="jwk.x") from error


def _parse_ed25519(members: Mapping[str, str]) -> PublicNumbers:
    raw = _member_bytes(members, "x")
    if members["crv"] != "Ed25519" or len(raw) != ED25519_BYTES:
        raise WeakKeyError("jwk: expected crv Ed25519 with x of 32 bytes", field="jwk.crv")
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _ED25519_P:
        raise WeakKeyError("jwk: the Ed25519 key is not canonical", field="jwk.x")
    if y in _ED25519_LOW_ORDER_Y:
        raise WeakKeyError("jwk: the Ed25519 key is of low order", field="jwk.x")
    if not _is_on_ed25519(y):
        raise WeakKeyError("jwk: the point is not on Ed25519", field="jwk.x")
    return ed25519.Ed25519PublicKey.from_public_bytes(raw)


def _is_on_ed25519(y: int) -> bool:
    """Tell whether some x makes (x, y) a point of -x² + y² = 1 + dx²y² (RFC 8032, section 5.1.3, step 2)."""
    d = -121665 * pow(121666, -1, _ED25519_P) % _ED25519_P
    x_squared = (y * y - 1) * pow(d * y * y + 1, -1, _ED25519_P) % _ED25519_P
    return pow(x_squared, (_ED25519_P - 1) // 2, _ED25519_P) == 1


class _Parse(Protocol):
    def __call__(self, members: Mapping[str, str], /) -> PublicNumbers: ...


_PARSERS: Final[Mapping[str, _Parse]] = {"RSA": _parse_rsa, "EC": _parse_p256, "OKP": _parse_ed25519}


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A private key with its public half. Its repr shows nothing, so that no log can."""

    public: PublicKey
    numbers: PrivateNumbers

    def sign(self, message: bytes) -> bytes:
        """Return the signature on ``message``, in the form that JWS carries (RFC 7518, section 3)."""
        match self.numbers:
            case ec.EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self.numbers.sign(message, _ECDSA_SHA256))
                return r.to_bytes(P256_COORDINATE_BYTES, "big") + s.to_bytes(P256_COORDINATE_BYTES, "big")
            case ed25519.Ed25519PrivateKey():
                return self.numbers.sign(message)
            case rsa.RSAPrivateKey() if self.public.algorithm == "PS256":
                pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
                return self.numbers.sign(message, pss, hashes.SHA256())
            case _:
                return self.numbers.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def to_pem(self) -> bytes:
        """Return the key in PKCS #8 PEM, unencrypted: for a file of mode 0600."""
        return self.numbers.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def generate(algorithm: str) -> PrivateKey:
    """Return a new key for ``algorithm``: ES256, EdDSA, RS256 or PS256 (RSA of 2048 bits).

    Raises:
        WrongAlgorithmError: Another name.
    """
    match algorithm:
        case "ES256":
            return private_key(ec.generate_private_key(ec.SECP256R1()), algorithm)
        case "EdDSA":
            return private_key(ed25519.Ed25519PrivateKey.generate(), algorithm)
        case "RS256" | "PS256":
            return private_key(rsa.generate_private_key(RSA_EXPONENT, RSA_BITS_MIN), algorithm)
        case _:
            raise WrongAlgorithmError(f"expected one of {', '.join(KEY_TYPE_OF)}, got {algorithm[:16]!r}")


def private_key(numbers: PrivateNumbers, algorithm: str) -> PrivateKey:
    """Return ``numbers`` as a key for ``algorithm``, checked as any registered key is."""
    return PrivateKey(parse_public_jwk({**_public_members(numbers), "alg": algorithm}), numbers)


def load_pem(pem: bytes, algorithm: str | None = None) -> PrivateKey:
    """Return the key in a PKCS #8 PEM; an RSA key is for RS256 unless ``algorithm`` says PS256.

    Raises:
        WeakKeyError: Not a private key of an allowed type.
    """
    try:
        numbers = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise WeakKeyError("not an unencrypted private key in PEM") from error
    match numbers:
        case ec.EllipticCurvePrivateKey():
            return private_key(numbers, algorithm or "ES256")
        case ed25519.Ed25519PrivateKey():
            return private_key(numbers, algorithm or "EdDSA")
        case rsa.RSAPrivateKey():
            return private_key(numbers, algorithm or "RS256")
        case _:
            raise WeakKeyError("expected an RSA, P-256 or Ed25519 private key")


def _public_members(numbers: PrivateNumbers) -> dict[str, str]:
    match numbers:
        case rsa.RSAPrivateKey():
            public = numbers.public_key().public_numbers()
            n = public.n.to_bytes((public.n.bit_length() + 7) // 8, "big")
            e = public.e.to_bytes((public.e.bit_length() + 7) // 8, "big")
            return {"kty": "RSA", "n": base64url.encode(n), "e": base64url.encode(e)}
        case ec.EllipticCurvePrivateKey():
            point = numbers.public_key().public_numbers()
            size = (numbers.curve.key_size + 7) // 8
            x, y = point.x.to_bytes(size, "big"), point.y.to_bytes(size, "big")
            curve = "P-256" if isinstance(numbers.curve, ec.SECP256R1) else numbers.curve.name
            return {"kty": "EC", "crv": curve, "x": base64url.encode(x), "y": base64url.encode(y)}
        case _:
            raw = numbers.public_key().public_bytes_raw()
            return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(raw)}
