"""Read a webhook of the hub's: from headers and bytes to a message whose every claim has been checked.

1. Size, then ``webhook-signature`` and ``webhook-timestamp``: nothing is parsed that the hub did not just send.
2. The form: I-JSON without duplicate names, a CloudEvent with the hub as ``source`` and ``id`` = ``webhook-id``,
   ``data`` with exactly its members, and of them exactly those that the type has.
3. One contract: ``subject``, ``data.contract_id`` and the signed body name the same.
4. The contract, and the turn or the end that the message claims, by ``verify``'s rules.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from moneta.client.errors import MessageRefusedError, MessageTooLargeError, WebhookSignatureError
from moneta.client.verified import SEAL, VerifiedContract, VerifiedEnd
from moneta.client.verify import Verifier
from moneta.domain.contracts import EndStatus
from moneta.domain.errors import InvalidFieldError, InvalidSignatureError, Refused
from moneta.domain.identifiers import ContractId, UnixSeconds, WebhookId
from moneta.domain.ijson import Value, parse_object
from moneta.domain.limits import EVENT_BYTES_MAX
from moneta.signing import webhooks

MESSAGE_BYTES_MAX: Final = EVENT_BYTES_MAX + 64 * 1024
"""A contract of the largest size, with a receipt, an act and the envelope around them."""
CONTENT_TYPE: Final = "application/cloudevents+json"

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class MessageType(StrEnum):
    """What the hub tells a party (protocol, section 7)."""

    SIGNATURE_REQUESTED = "moneta.contract.signature_requested"
    FINALIZED = "moneta.contract.finalized"
    DECLINED = "moneta.contract.declined"
    CANCELLED = "moneta.contract.cancelled"
    EXPIRED = "moneta.contract.expired"
    REJECTED = "moneta.contract.rejected"
    ENDPOINT_CHECK = "moneta.endpoint.check"
    ENDPOINT_TEST = "moneta.endpoint.test"
    CERTIFICATE_EXPIRING = "moneta.certificate.expiring"


@dataclass(frozen=True, slots=True)
class _Form:
    """Which members of ``data`` a type must have; the others of ``contract, receipt, act, problem`` must be null."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    end: EndStatus | None = None
    is_about_contract: bool = True


_FINALIZED: Final = frozenset({"contract", "receipt"})
_ENDED_BY_ACT: Final = frozenset({"contract", "receipt", "act"})
# fmt: off
_FORMS: Final[Mapping[MessageType, _Form]] = {
    MessageType.SIGNATURE_REQUESTED:  _Form(frozenset({"contract"})),
    MessageType.FINALIZED:            _Form(_FINALIZED, frozenset({"act"}), end=EndStatus.FINALIZED),
    MessageType.DECLINED:             _Form(_ENDED_BY_ACT, end=EndStatus.DECLINED),
    MessageType.CANCELLED:            _Form(_ENDED_BY_ACT, end=EndStatus.CANCELLED),
    MessageType.EXPIRED:              _Form(_ENDED_BY_ACT, end=EndStatus.EXPIRED),
    MessageType.REJECTED:             _Form(frozenset({"problem"}), frozenset({"contract", "receipt", "act"})),
    MessageType.ENDPOINT_CHECK:       _Form(frozenset(), is_about_contract=False),
    MessageType.ENDPOINT_TEST:        _Form(frozenset(), is_about_contract=False),
    MessageType.CERTIFICATE_EXPIRING: _Form(frozenset(), frozenset({"problem"}), is_about_contract=False),
}
# fmt: on
_DATA_MEMBERS: Final = ("contract_id", "status", "contract", "receipt", "act", "problem")
_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "subject", "time", "sequence")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,64}", re.ASCII)
_SEQUENCE: Final = re.compile(r"[0-9]{10}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why the hub rejected an event of ours. ``document``: all of it (RFC 9457)."""

    code: str
    detail: str
    document: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A webhook, verified. ``sequence``: the contract's revision, 0 where there is none.

    ``contract`` is there for all but a rejection and what concerns the endpoint; ``end`` for the four ends.
    """

    webhook_id: WebhookId
    type: MessageType
    subject: str
    sequence: int
    status: str | None = None
    contract: VerifiedContract | None = None
    end: VerifiedEnd | None = None
    problem: Problem | None = None

    @property
    def contract_id(self) -> ContractId | None:
        """The contract that it is about; None for what concerns the endpoint."""
        return ContractId(self.subject) if _FORMS[self.type].is_about_contract else None


def receive(headers: Headers, body: bytes, *, secrets: Sequence[str], verifier: Verifier, now: UnixSeconds) -> Message:
    """Return the message that a request to our endpoint carries, verified: rules 1 to 4.

    ``secrets``: ours, ``whsec_...``; two while one is being replaced.

    Raises:
        WebhookSignatureError: Not the hub's, or not of now. Answer 401.
        MessageRefusedError: The hub sent it, and it does not prove what it claims. Answer 400.
        KeysUnavailableError: Nothing is known. Answer 503; it comes again.
    """
    if len(body) > MESSAGE_BYTES_MAX:  # (1)
        raise MessageTooLargeError(f"webhook: at most {MESSAGE_BYTES_MAX} bytes, got {len(body)}", code="too_large")
    names = _lower(headers)
    webhook_id = _check_signature(names, body, secrets, now)
    if names.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:  # (2)
        raise MessageRefusedError(f"webhook: expected Content-Type {CONTENT_TYPE}", code="unsupported_media_type")
    try:
        event = parse_object(body, what="webhook")
    except Refused as error:
        raise MessageRefusedError(error.detail, code=error.code) from error
    return _message(event, webhook_id, verifier)


def _lower(headers: Headers) -> Mapping[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    names: dict[str, str] = {}
    for name, value in pairs:
        lower = name.lower()
        if lower in names and lower.startswith("webhook-"):
            raise WebhookSignatureError(f"{lower}: sent twice", code="invalid_signature")
        names[lower] = value
    return names


def _check_signature(names: Mapping[str, str], body: bytes, secrets: Sequence[str], now: UnixSeconds) -> WebhookId:
    refusal: InvalidSignatureError | None = None
    for secret in secrets:
        try:
            return webhooks.verify(webhooks.parse_secret(secret), names, body, now=now)
        except InvalidSignatureError as error:
            refusal = error
        except InvalidFieldError as error:
            raise WebhookSignatureError(error.detail, code=error.code) from error
    detail = "no secret to verify with" if refusal is None else refusal.detail
    raise WebhookSignatureError(detail, code="invalid_signature") from refusal


def _message(event: Mapping[str, Value], webhook_id: WebhookId, verifier: Verifier) -> Message:
    texts = _attributes(event)
    kind = _type(texts["type"])
    data = _data(event["data"], _FORMS[kind])
    expected = {"specversion": "1.0", "id": webhook_id, "source": verifier.party.hub}
    for name, value in expected.items():
        if texts[name] != value:
            raise _malformed(f"{name}: expected {value}, got {texts[name][:128]!r}")
    if _SEQUENCE.fullmatch(texts["sequence"]) is None:
        raise _malformed("sequence: expected ten digits")
    message = Message(
        webhook_id=webhook_id,
        type=kind,
        subject=texts["subject"],
        sequence=int(texts["sequence"]),
        status=_optional_text(data["status"], "data.status"),
        problem=_problem(data["problem"]),
    )
    _check_subject(message, data["contract_id"], verifier)
    return message if data["contract"] is None else _with_contract(message, data, verifier)


def _attributes(event: Mapping[str, Value]) -> Mapping[str, str]:
    texts = {name: value for name in _ATTRIBUTES if isinstance(value := event.get(name), str)}
    for name in _ATTRIBUTES:
        if name not in texts:
            raise _malformed(f"{name}: expected text")
    for name, value in event.items():
        is_extension = _EXTENSION.fullmatch(name) is not None and not isinstance(value, (dict, list))
        if name != "data" and not is_extension:
            raise _malformed(f"{name[:64]!r} is not an attribute of a CloudEvent")
    if event.get("datacontenttype", "application/json") != "application/json" or "data" not in event:
        raise _malformed("expected data of type application/json")
    return texts


def _type(text: str) -> MessageType:
    try:
        return MessageType(text)
    except ValueError as error:
        raise MessageRefusedError(f"webhook: unknown type {text[:64]!r}", code="unknown_type") from error


def _data(data: Value, form: _Form) -> Mapping[str, Value]:
    if not isinstance(data, Mapping) or set(data) != set(_DATA_MEMBERS):
        raise _malformed(f"data: expected exactly {', '.join(_DATA_MEMBERS)}")
    for name in ("contract", "receipt", "act", "problem"):
        if data[name] is None and name in form.required:
            raise MessageRefusedError(f"webhook: data.{name} is missing", code=f"missing_{name}")
        if data[name] is not None and name not in form.required | form.optional:
            raise _malformed(f"data.{name}: expected null for this type")
    return data


def _check_subject(message: Message, contract_id: Value, verifier: Verifier) -> None:
    """(3), as far as the envelope goes."""
    expected = contract_id if message.contract_id is not None else verifier.party.organization_id
    if message.subject != expected:
        raise MessageRefusedError(f"subject: expected {expected!r}", code="subject_mismatch")
    if message.contract_id is None and contract_id is not None:
        raise _malformed("data.contract_id: expected null for this type")


def _with_contract(message: Message, data: Mapping[str, Value], verifier: Verifier) -> Message:
    contract = verifier.contract(data["contract"])  # (4)
    form = _FORMS[message.type]
    if contract.contract_id != message.subject:  # (3)
        raise MessageRefusedError(f"subject: the contract is {contract.contract_id}", code="subject_mismatch")
    if message.type is not MessageType.REJECTED and message.sequence == 0:
        raise _malformed("sequence: a contract's revision is 1 or more")
    if form.end is None:
        status = message.status or ""
        if message.type is MessageType.SIGNATURE_REQUESTED and not verifier.is_for_new_key(contract, status):
            turn = verifier.requested(contract, status)
            contract = replace(contract, seal=SEAL, turn=turn)
        return replace(message, contract=contract)
    if message.status != form.end:
        raise MessageRefusedError(f"status: expected {form.end}, got {message.status!r}", code="status_mismatch")
    end = verifier.end(contract, status=data["status"], receipt=data["receipt"], act=data["act"])
    return replace(message, contract=contract, end=end)


def _problem(value: Value) -> Problem | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _malformed("data.problem: expected an object")
    return Problem(code=str(value.get("code", "")), detail=str(value.get("detail", "")), document=value)


def _optional_text(value: Value, what: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _malformed(f"{what}: expected text or null")
    return value


def _malformed(fault: str) -> MessageRefusedError:
    return MessageRefusedError(f"webhook: {fault}", code="malformed_request")
