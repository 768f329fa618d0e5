"""A partner's keys: made, kept in a file of mode 0600, shown as a public JWK, and proven to the hub.

A party has an ``auth`` key (request tokens) and a ``contract`` key (signatures, acts); one key may have both uses, two
are better: the contract key can then stay where the signing is done (protocol, section 2).
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from moneta.client.errors import KeyFileError
from moneta.domain.errors import Refused
from moneta.domain.identifiers import KeyId, UnixSeconds
from moneta.domain.ijson import Value, parse_object
from moneta.signing import keys as signing_keys
from moneta.signing.chain import to_json
from moneta.signing.keys import KEY_TYPE_OF, PrivateKey, PrivateNumbers, PublicKey
from moneta.signing.statements import SigningKey, make_key_proof

__all__ = [
    "ALGORITHMS",
    "PrivateKey",
    "PublicKey",
    "SigningKey",
    "generate",
    "key_proof",
    "load",
    "load_or_generate",
    "public_jwk",
    "save",
    "thumbprint",
]

ALGORITHMS: Final = tuple(KEY_TYPE_OF)
KEY_FILE_BYTES_MAX: Final = 16 * 1024


def generate(algorithm: str = "ES256") -> PrivateKey:
    """Return a new key for ``ES256``, ``EdDSA``, ``RS256`` or ``PS256``.

    Raises:
        KeyFileError: Another algorithm.
    """
    try:
        return signing_keys.generate(algorithm)
    except Refused as error:
        raise KeyFileError(error.detail) from error


def save(key: PrivateKey, path: Path) -> None:
    """Write ``key`` to a new file that only its owner can read: PKCS #8 PEM, or a JWK if the name ends in ``.json``.

    An RSA key for PS256 must be saved as a JWK, or loaded with its algorithm: PEM does not keep it.

    Raises:
        KeyFileError: The file exists, or can't be written.
    """
    content = to_json(_private_jwk(key)) if path.suffix == ".json" else key.to_pem()
    try:
        # O_EXCL: a key is never written over another; the mode is right before the first byte is there.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise KeyFileError(f"{path}: can't write the key: {error.strerror}") from error


def load(path: Path, algorithm: str | None = None) -> PrivateKey:
    """Return the key in a file: PKCS #8 PEM, or a private JWK. ``algorithm``: for an RSA key in PEM, RS256 if None.

    Raises:
        KeyFileError: Unreadable, readable by others than the owner, or without an allowed private key.
    """
    raw = _read_private(path)
    try:
        if raw.lstrip().startswith(b"{"):
            return _from_private_jwk(parse_object(raw, what=str(path)))
        return signing_keys.load_pem(raw, algorithm)
    except (Refused, ValueError) as error:
        # Without the cause's text: a parser may quote what it read, and that is the key.
        raise KeyFileError(f"{path}: not an allowed private key in PEM or JWK") from error


def load_or_generate(path: Path, algorithm: str = "ES256") -> PrivateKey:
    """Return the key in the file, making both if there is no such file."""
    if not path.exists():
        save(generate(algorithm), path)
    return load(path, algorithm if algorithm == "PS256" else None)


def public_jwk(key: SigningKey) -> Mapping[str, str]:
    """Return the public JWK as the hub registers it, with ``alg`` and ``kid``."""
    return key.public.jwk


def thumbprint(key: SigningKey) -> KeyId:
    """Return the key's ``kid``: its RFC 7638 SHA-256 thumbprint."""
    return key.public.key_id


def key_proof(key: SigningKey, *, hub: str, subject: str, now: UnixSeconds) -> str:
    """Return the proof that registration asks for. ``subject``: the organization's id; at creation its MIC or MPC."""
    return make_key_proof(key, audience=hub, subject=subject, issued_at=now)


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyFileError(f"{path}: others can reach this private key; run chmod 600")
            raw = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: can't read the key: {error.strerror}") from error
    if len(raw) > KEY_FILE_BYTES_MAX:
        raise KeyFileError(f"{path}: more than {KEY_FILE_BYTES_MAX} bytes")
    return raw


_JwkClass = type[ECKey] | type[OKPKey] | type[RSAKey]
_JWK_CLASSES: Final[Mapping[str, _JwkClass]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}


def _private_jwk(key: PrivateKey) -> dict[str, object]:
    members = _JWK_CLASSES[key.public.jwk["kty"]].import_key(key.to_pem()).as_dict(private=True)
    return {**members, **key.public.jwk}


def _from_private_jwk(members: Mapping[str, Value]) -> PrivateKey:
    texts = {name: value for name, value in members.items() if isinstance(value, str)}
    algorithm, key_type = texts.get("alg", ""), texts.get("kty", "")
    if len(texts) != len(members) or KEY_TYPE_OF.get(algorithm) != key_type:
        raise ValueError("expected a JWK of text members, with alg and its kty")
    numbers = _private_numbers(key_type, texts)
    key = signing_keys.private_key(numbers, algorithm)
    if texts.get("kid", key.public.key_id) != key.public.key_id:
        raise ValueError("kid is not the thumbprint")
    return key


def _private_numbers(key_type: str, texts: Mapping[str, str]) -> PrivateNumbers:
    try:
        numbers = _JWK_CLASSES[key_type].import_key(dict(texts)).raw_value
    except JoseError as error:
        raise ValueError("not a private JWK") from error
    match numbers:
        case ec.EllipticCurvePrivateKey() | ed25519.Ed25519PrivateKey() | rsa.RSAPrivateKey():
            return numbers
        case _:
            raise ValueError("a public JWK")
