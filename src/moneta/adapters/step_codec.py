"""Steps as bytes: what both families of adapters store of one commit on a contract, as MessagePack arrays.

The rules:

1. Nothing is stored twice: who signed with which key stands in a signature's protected header, and is read from there.
2. base64url texts are stored as the bytes that they encode, a quarter smaller; a text that does not re-encode to
   itself stays a text, so that what is read is what was written, whatever it was.
3. The leaf is not in here: a store keeps it beside the step, where the audit log is made from it.
4. The first element is the format's version; steps are immutable, so every version that was ever written is read. What
   was added since stands at the end of its array, and is not there in what was written before.
"""

from typing import Final

import msgspec

from moneta.domain.contracts import Act, ActName, LogLine, Signature, Start, Step
from moneta.domain.errors import MalformedJWSError
from moneta.domain.identifiers import MONETA, ContractId, OrganizationId, Revision, UnixMillis, UnixSeconds, is_uuid4
from moneta.domain.templates import Role
from moneta.signing import base64url

FORMAT: Final = 1

LOG_EVENTS: Final = (  # The place in this list is what is stored: append only.
    "contract_created",
    "contract_signed",
    "contract_finalized",
    "contract_declined",
    "contract_cancelled",
    "contract_expired",
    "contract_superseded",
)
_CODE_OF_EVENT: Final = {event: code for code, event in enumerate(LOG_EVENTS)}
_MONETA_CODE: Final = 0

Text = bytes | tuple[str]
"""A base64url text: the bytes it encodes, or itself, in a list of its own, where it is not canonical."""
Name = bytes | int | tuple[str]
"""An organization's id: the 16 bytes of its UUID, 0 for the hub, or itself, in a list of its own."""


class _Start(msgspec.Struct, array_like=True, frozen=True):
    body_bytes: bytes
    signing_order: tuple[tuple[Role, ...], ...]
    template_sha256: Text
    received_at: UnixMillis
    expires_at: UnixSeconds | None
    silence: tuple[int | None, tuple[Role, ...]] | None = None
    """After how many seconds silence counts, and whom else to tell of the end; None for neither."""


class _Act(msgspec.Struct, array_like=True, frozen=True):
    name: ActName
    actor: Name
    compact: tuple[Text, ...]


class _Line(msgspec.Struct, array_like=True, frozen=True):
    event: int | str
    timestamp: UnixSeconds
    actor: Name


class _Step(msgspec.Struct, array_like=True, frozen=True):
    version: int
    revision: Revision
    committed_at: UnixMillis
    signatures: tuple[tuple[bytes, Text], ...]
    log: tuple[_Line, ...]
    acts: tuple[_Act, ...] = ()
    receipt: tuple[Text, ...] | None = None
    finalized_at: UnixSeconds | None = None
    start: _Start | None = None
    later: tuple[UnixSeconds | None, ContractId | None] | None = None
    """When silence counts from now on, and which contract supersedes this one; None for neither."""


class _Header(msgspec.Struct, frozen=True):
    """What a signature says of itself in its protected header; further members are skipped."""

    alg: str
    kid: str
    iat: UnixSeconds
    role: Role


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Step)
_header_decoder: Final = msgspec.json.Decoder(_Header)


def encode_step(step: Step) -> bytes:
    """Return everything of ``step`` but its leaf.

    Raises:
        ValueError: A line of its log is of another revision, or a protected header is not canonical base64url.
    """
    return _encoder.encode(
        _Step(
            version=FORMAT,
            revision=step.revision,
            committed_at=step.committed_at,
            signatures=tuple((_pack_header(one.protected), _pack(one.signature)) for one in step.signatures),
            log=tuple(_pack_line(line, step.revision) for line in step.log),
            acts=tuple(_Act(act.name, _pack_name(act.actor), _pack_compact(act.compact)) for act in step.acts),
            receipt=None if step.receipt is None else _pack_compact(step.receipt),
            finalized_at=step.finalized_at,
            start=None if step.start is None else _pack_start(step.start),
            later=_pack_later(step),
        )
    )


def decode_step(raw: bytes, *, leaf: bytes = b"") -> Step:
    """Return the step that ``encode_step`` made ``raw`` of.

    ``leaf``: the step's own, from where the store keeps it; a contract can be assembled without it.

    Raises:
        ValueError: ``raw`` is not a step of a format that this version reads.
    """
    packed = _decoder.decode(raw)
    if packed.version != FORMAT:
        raise ValueError(f"step: expected format {FORMAT}, got {packed.version}")
    deem_at, superseded_by = packed.later or (None, None)
    return Step(
        revision=packed.revision,
        committed_at=packed.committed_at,
        leaf=leaf,
        signatures=tuple(_unpack_signature(*texts) for texts in packed.signatures),
        acts=tuple(
            Act(name=act.name, actor=_unpack_name(act.actor), compact=_unpack_compact(act.compact))
            for act in packed.acts
        ),
        log=tuple(_unpack_line(line, packed.revision) for line in packed.log),
        receipt=None if packed.receipt is None else _unpack_compact(packed.receipt),
        finalized_at=packed.finalized_at,
        start=None if packed.start is None else _unpack_start(packed.start),
        deem_at=deem_at,
        superseded_by=superseded_by,
    )


def _pack_later(step: Step) -> tuple[UnixSeconds | None, ContractId | None] | None:
    later = (step.deem_at, step.superseded_by)
    return None if later == (None, None) else later


def _pack_start(start: Start) -> _Start:
    return _Start(
        body_bytes=start.body_bytes,
        signing_order=start.signing_order,
        template_sha256=_pack(start.template_sha256),
        received_at=start.received_at,
        expires_at=start.expires_at,
        silence=None if start.deem_after_s is None and not start.notify else (start.deem_after_s, start.notify),
    )


def _unpack_start(packed: _Start) -> Start:
    deem_after_s, notify = packed.silence or (None, ())
    return Start(
        body_bytes=packed.body_bytes,
        signing_order=packed.signing_order,
        template_sha256=_unpack(packed.template_sha256),
        received_at=packed.received_at,
        expires_at=packed.expires_at,
        deem_after_s=deem_after_s,
        notify=notify,
    )


def _pack_header(protected: str) -> bytes:
    raw = _pack(protected)
    if isinstance(raw, tuple):
        raise ValueError("a protected header that is not canonical base64url")  # noqa: TRY004  # its value is wrong
    return raw


def _unpack_signature(protected: bytes, signature: Text) -> Signature:
    header = _header_decoder.decode(protected)
    return Signature(
        role=header.role,
        key_id=header.kid,
        algorithm=header.alg,
        issued_at=header.iat,
        protected=base64url.encode(protected),
        signature=_unpack(signature),
    )


def _pack_line(line: LogLine, revision: Revision) -> _Line:
    if line.revision != revision:
        raise ValueError(f"step {revision}: a log line of revision {line.revision}")
    return _Line(_CODE_OF_EVENT.get(line.event, line.event), line.timestamp, _pack_name(line.actor))


def _unpack_line(packed: _Line, revision: Revision) -> LogLine:
    event = packed.event if isinstance(packed.event, str) else LOG_EVENTS[packed.event]
    return LogLine(event=event, timestamp=packed.timestamp, actor=_unpack_name(packed.actor), revision=revision)


def _pack_name(name: str) -> Name:
    if name == MONETA:
        return _MONETA_CODE
    return bytes.fromhex(name.replace("-", "")) if is_uuid4(name) else (name,)


def _unpack_name(packed: Name) -> OrganizationId:
    match packed:
        case int():
            return MONETA
        case bytes():
            text = packed.hex()  # a fifth of what ``uuid.UUID`` takes
            return OrganizationId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
        case (text,):
            return OrganizationId(text)


def _pack_compact(compact: str) -> tuple[Text, ...]:
    return tuple(_pack(part) for part in compact.split("."))


def _unpack_compact(packed: tuple[Text, ...]) -> str:
    return ".".join(_unpack(part) for part in packed)


def _pack(text: str) -> Text:
    try:
        return base64url.decode(text, what="text")
    except MalformedJWSError:
        return (text,)


def _unpack(packed: Text) -> str:
    return packed[0] if isinstance(packed, tuple) else base64url.encode(packed)
