"""From a request to a 202: what is checked before, and one durable write for many events (protocol, section 5).

The checks, in the order that the protocol fixes; the first that fails answers, and uses up no id:

1. token   2. size   3. I-JSON   4. envelope   5. right (``source`` is the caller)   6. reuse of ``id``
7. JWS shape   8. ``subject`` is the contract_id inside

Everything else is the processor's, since it may be slow. The reuse of an id (6) is the store's to find, in the same
write that records a new one; only an event that fails at 7 or 8 is looked up before.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moneta.application.authenticate import Caller, CallerRole, authenticate
from moneta.application.ports import EventType, Hub, NewEvent, Reused, Taken
from moneta.domain.contracts import ActName
from moneta.domain.errors import (
    EventIdReusedError,
    ForbiddenError,
    MalformedJWSError,
    MalformedRequestError,
    Refused,
    SubjectMismatchError,
    TooLargeError,
)
from moneta.domain.identifiers import ContractId, EventId, OrganizationId, RegistrySeq, UnixMillis, is_chosen_id
from moneta.domain.ijson import Value, parse_object, type_name
from moneta.domain.limits import EVENT_BYTES_MAX
from moneta.signing import jws, statements
from moneta.signing.jws import ContractJWS
from moneta.signing.statements import ActStatement

REQUIRED_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "subject", "data")
PARTY_ROLES: Final = frozenset({CallerRole.MO, CallerRole.PUBLISHER})
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
ACT_TYPES: Final = frozenset({EventType.DECLINE, EventType.CANCEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRequest:
    """One ``POST /event``: its bearer token (None without one) and its exact bytes."""

    token: str | None
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The 202 of one request."""

    event_id: EventId
    contract_id: ContractId
    received_at: UnixMillis
    is_replay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A CloudEvent whose attributes are of their form; ``data`` is not looked at yet."""

    source: OrganizationId
    event_id: EventId
    type: EventType
    subject: ContractId
    data: Mapping[str, Value]


def ingest_events(hub: Hub, requests: Sequence[EventRequest]) -> Sequence[Accepted | Refused]:
    """Accept what can be accepted, durably, in one write; one answer each, in order.

    Raises:
        StoreUnavailableError: Nothing of the batch is known to be durable; each request gets a 503.
    """
    position = hub.directory.registry_position()
    callers = {token: _caller(hub, token) for token in dict.fromkeys(request.token for request in requests)}  # (1)
    return _accept(hub, position, [(callers[request.token], request.raw) for request in requests])


def ingest_of_caller(hub: Hub, caller: Caller, raw: bytes) -> Accepted | Refused:
    """Accept one event of a caller whose token was verified before, by an authorizer. See ``ingest_events``."""
    return _accept(hub, hub.directory.registry_position(), [(caller, raw)])[0]


def read_envelope(raw: bytes) -> Envelope:
    """Return the CloudEvent that ``raw`` is: checks 3 and 4.

    Raises:
        MalformedJSONError, MalformedRequestError: It is none, or not one that this call takes.
    """
    members = parse_object(raw, what="event")
    for name in REQUIRED_ATTRIBUTES:
        if members.get(name) is None:
            raise MalformedRequestError(f"event: {name} is missing", field=name)
    if members["specversion"] != "1.0":
        raise MalformedRequestError('event: expected specversion "1.0"', field="specversion")
    if "time" in members and _RFC3339.fullmatch(_text(members, "time")) is None:
        raise MalformedRequestError("event: expected time as RFC 3339 text", field="time")
    if "data_base64" in members:
        raise MalformedRequestError("event: expected data, not data_base64", field="data_base64")
    data = members["data"]
    if not isinstance(data, dict):
        raise MalformedRequestError(f"event: expected data to be an object, got {type_name(data)}", field="data")
    return Envelope(
        source=OrganizationId(_text(members, "source")),
        event_id=EventId(_chosen_id(members, "id")),
        type=_event_type(members["type"]),
        subject=ContractId(_chosen_id(members, "subject")),
        data=data,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedContract:
    """A contract as it came, with the members of its body."""

    contract: ContractJWS
    members: Mapping[str, Value]


def read_content(envelope: Envelope) -> CarriedContract | ActStatement:
    """Return what ``data`` carries, if it has the shape of the event's type and is about its subject: checks 7 and 8.

    Raises:
        MalformedJWSError, TooLargeError, MalformedJSONError: The shape is another.
        SubjectMismatchError: It is about another contract.
    """
    content = _read_act(envelope) if envelope.type in ACT_TYPES else _read_contract(envelope)
    inside = content.contract_id if isinstance(content, ActStatement) else content.members.get("contract_id")
    if inside != envelope.subject:
        raise SubjectMismatchError(
            f"event: subject {envelope.subject} is not the contract_id inside", expected=envelope.subject
        )
    return content


def _caller(hub: Hub, token: str | None) -> Caller | Refused:
    try:
        return authenticate(hub, token)
    except Refused as refusal:
        return refusal


def _accept(
    hub: Hub, position: RegistrySeq, requests: Sequence[tuple[Caller | Refused, bytes]]
) -> Sequence[Accepted | Refused]:
    checked = [_check(hub, caller, raw, position) for caller, raw in requests]
    events = [event for event in checked if isinstance(event, NewEvent)]
    answers = iter(hub.events.accept(events) if events else ())
    return [_answer(one, next(answers)) if isinstance(one, NewEvent) else one for one in checked]


def _check(hub: Hub, caller: Caller | Refused, raw: bytes, position: RegistrySeq) -> NewEvent | Refused:
    if isinstance(caller, Refused):
        return caller
    try:
        if len(raw) > EVENT_BYTES_MAX:  # (2)
            raise TooLargeError(f"event: expected at most {EVENT_BYTES_MAX} bytes", limit=EVENT_BYTES_MAX)
        envelope = read_envelope(raw)  # (3), (4)
        check_right(caller, envelope)  # (5)
        event = _new_event(envelope, raw, position)
        return _checked_content(hub, envelope, event)  # (6), (7), (8)
    except Refused as refusal:
        return refusal


def check_right(caller: Caller, envelope: Envelope) -> None:
    """Refuse an event that the caller may not send: check 5.

    Raises:
        ForbiddenError: Not an organization's own. Whatever state lets one authenticate lets it send; of what, the
            processor judges.
    """
    if caller.role not in PARTY_ROLES or envelope.source != caller.caller_id:
        raise ForbiddenError("event: source is not the caller", field="source")


def _checked_content(hub: Hub, envelope: Envelope, event: NewEvent) -> NewEvent:
    try:
        read_content(envelope)
    except Refused as refusal:
        if hub.events.find(event.source, event.event_id) is not None:
            raise _reused(event) from refusal
        raise
    return event


def _new_event(envelope: Envelope, raw: bytes, position: RegistrySeq) -> NewEvent:
    return NewEvent(
        source=envelope.source,
        event_id=envelope.event_id,
        type=envelope.type,
        contract_id=envelope.subject,
        raw=raw,
        digest=hashlib.sha256(raw).digest(),
        registry_seq=position,
    )


def _answer(event: NewEvent, answer: Taken | Reused) -> Accepted | Refused:
    if isinstance(answer, Reused):
        return _reused(event)
    return Accepted(
        event_id=event.event_id,
        contract_id=event.contract_id,
        received_at=answer.received_at,
        is_replay=answer.is_replay,
    )


def _reused(event: NewEvent) -> EventIdReusedError:
    return EventIdReusedError(f"event {event.event_id}: the id was used before, with other bytes", field="id")


def _read_contract(envelope: Envelope) -> CarriedContract:
    contract = jws.parse_contract(_only_member(envelope, "contract"))
    if envelope.type is EventType.SUBMIT and len(contract.entries) != 1:
        raise MalformedJWSError("contract.signatures: expected exactly one in a submission", field="signatures")
    return CarriedContract(contract=contract, members=parse_object(contract.body_bytes, what="contract body"))


def _read_act(envelope: Envelope) -> ActStatement:
    act = statements.parse_act(_only_member(envelope, "act"))
    expected = envelope.type.rpartition(".")[2]
    if act.name != expected:
        raise MalformedJWSError(f"act: expected {expected}, got {act.name}", field="act")
    return act


def _only_member(envelope: Envelope, name: str) -> Value:
    if envelope.data.keys() != {name}:
        raise MalformedRequestError(f"event: expected data with exactly {name}", field="data")
    return envelope.data[name]


def _text(members: Mapping[str, Value], name: str) -> str:
    value = members[name]
    if not isinstance(value, str):
        raise MalformedRequestError(f"event: expected {name} to be text, got {type_name(value)}", field=name)
    return value


def _chosen_id(members: Mapping[str, Value], name: str) -> str:
    value = _text(members, name)
    if not is_chosen_id(value):
        raise MalformedRequestError(f"event: {name}: expected 1 to 128 of A-Z a-z 0-9 . _ : ~ -", field=name)
    return value


def _event_type(value: Value) -> EventType:
    try:
        return EventType(str(value))
    except ValueError as error:
        raise MalformedRequestError(f"event: type: expected one of {', '.join(EventType)}", field="type") from error


def event_in_answer(
    *, source: OrganizationId, event_id: EventId, contract_id: ContractId, answer: bytes, position: RegistrySeq
) -> NewEvent | None:
    """Return the event that a webhook's answer makes, if it is one: sign-in-the-answer (protocol, section 7).

    Any JSON object with ``contract`` or ``act`` in it is taken: it becomes ``data`` of an event by the receiver, byte
    for byte, with the webhook's id as its id. Whether it holds is for the processor to say, so that who meant to sign
    and did it wrong is told. Everything else is an ordinary acknowledgement.
    """
    event_type = _type_in_answer(answer)
    if event_type is None:
        return None
    attributes = {"specversion": "1.0", "id": event_id, "source": source, "type": event_type, "subject": contract_id}
    head = ",".join(f'"{name}":"{value}"' for name, value in attributes.items())
    raw = b"{" + head.encode("ascii") + b',"data":' + answer.strip() + b"}"
    envelope = Envelope(source=source, event_id=event_id, type=event_type, subject=contract_id, data={})
    return _new_event(envelope, raw, position)


def _type_in_answer(answer: bytes) -> EventType | None:
    """Tell what the answer means to be; read leniently, since the processor will read it strictly."""
    try:
        members = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict) or not members.keys() & {"contract", "act"}:
        return None
    if "contract" in members:
        return EventType.SIGN
    try:
        is_cancel = statements.parse_act(members["act"]).name is ActName.CANCEL
    except Refused:
        is_cancel = False  # taken all the same: the processor will say what is wrong with it
    return EventType.CANCEL if is_cancel else EventType.DECLINE
