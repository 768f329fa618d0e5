"""The three kinds of file that ``moneta verify`` takes, and the keys that one of them shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from moneta.domain.errors import InvalidSignatureError, Refused
from moneta.domain.ijson import Value, parse_object
from moneta.domain.limits import JSON_DEPTH_MAX
from moneta.entrypoints.cli.failures import CommandError
from moneta.signing import base64url
from moneta.signing.keys import KEY_TYPE_OF, MEMBERS_OF, PublicKey, parse_public_jwk

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
DEPTH_MAX: Final = JSON_DEPTH_MAX + 4
"""A document shows a payload of the largest depth, a few levels down."""

Json = Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractFile:
    """What a file holds. ``view``: the document that ``GET`` answers; ``event``: a webhook; at most one of them.

    ``status`` None where the file claims none.
    """

    jws: Value
    receipt: str | None = None
    acts: Sequence[str] = ()
    status: str | None = None
    view: Json = field(default_factory=dict)
    event: Json = field(default_factory=dict)


def read_contract_file(file: Path) -> ContractFile:
    """Return what ``file`` holds.

    Raises:
        CommandError: None of the three kinds.
    """
    with file.open("rb") as opened:
        raw = opened.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise CommandError(f"{file}: more than {FILE_BYTES_MAX} bytes")
    try:
        members = parse_object(raw, what=str(file), depth_max=DEPTH_MAX)
    except Refused as error:
        raise CommandError(error.detail) from error
    if members.keys() == {"payload", "signatures"}:
        return ContractFile(jws=members)
    if "jws" in members:
        return ContractFile(
            jws=members["jws"],
            receipt=_text(members.get("receipt")),
            acts=_texts(members.get("acts")),
            status=_text(members.get("status")),
            view=members,
        )
    data = members.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("contract"), Mapping):
        act = _text(data.get("act"))
        return ContractFile(
            jws=data["contract"],
            receipt=_text(data.get("receipt")),
            acts=() if act is None else (act,),
            status=_text(data.get("status")),
            event=members,
        )
    raise CommandError(
        f"{file}: holds no contract: not what GET /contracts/{{id}} answers, no webhook with one, no JWS"
    )


def shown_keys(view: Json) -> Mapping[str, PublicKey]:
    """Return the keys that ``signatures_map`` shows, by the ``kid`` that each is the thumbprint of.

    Raises:
        InvalidSignatureError: One is not a key of an allowed type, or not the one that its ``kid`` names.
    """
    shown = view.get("signatures_map")
    keys: dict[str, PublicKey] = {}
    for role, one in shown.items() if isinstance(shown, Mapping) else ():
        if isinstance(one, Mapping) and one.get("public_key") is not None:
            key = _shown_key(role, one)
            keys[key.key_id] = key
    return keys


def _shown_key(role: str, shown: Json) -> PublicKey:
    try:
        key = _key_from_spki(_text(shown.get("public_key")) or "", str(shown.get("alg")))
    except (Refused, JoseError, ValueError, UnsupportedAlgorithm) as error:
        raise InvalidSignatureError(f"signatures_map.{role}.public_key: not an allowed key for its alg") from error
    if key.key_id != shown.get("kid"):
        raise InvalidSignatureError(f"signatures_map.{role}.public_key: its thumbprint is not its kid")
    return key


def _key_from_spki(text: str, algorithm: str) -> PublicKey:
    key_type = KEY_TYPE_OF.get(algorithm, "")
    classes: Mapping[str, type[ECKey | OKPKey | RSAKey]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
    if key_type not in classes:
        raise ValueError("no such alg")
    pem = load_der_public_key(base64url.decode(text, what="public_key")).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    members = classes[key_type].import_key(pem).as_dict(private=False)
    return parse_public_jwk({**{name: str(members[name]) for name in MEMBERS_OF[key_type]}, "alg": algorithm})


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Value) -> Sequence[str]:
    return [str(item) for item in value] if isinstance(value, list) else ()
