"""What an event is judged by: the message with its content read, and the circumstances read for its batch."""

from collections.abc import Mapping
from dataclasses import dataclass

from moneta.application.ingest_events import read_content, read_envelope
from moneta.application.ports import CompiledTemplate, EventType, QueuedEvent
from moneta.domain.contract_body import ContractBody, body_of
from moneta.domain.contracts import Contract
from moneta.domain.errors import Refused, UnknownTemplateError
from moneta.domain.identifiers import KeyId, MPassId, OrganizationId, RegistrySeq, UnixMillis
from moneta.domain.ijson import Value
from moneta.domain.keys import RegisteredKey
from moneta.domain.mpass_policies import SpendingKey
from moneta.domain.mpasses import MPass
from moneta.domain.organizations import Organization
from moneta.domain.templates import DRAFT, TemplateRecord
from moneta.signing.jws import ContractJWS
from moneta.signing.statements import ActStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A first submission, with the members of its body, and the body that they make, or why they make none."""

    event: QueuedEvent
    contract: ContractJWS
    members: Mapping[str, Value]
    body: ContractBody | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Countersignature:
    """A contract with one more signature."""

    event: QueuedEvent
    contract: ContractJWS


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyAct:
    """A decline or a cancel."""

    event: QueuedEvent
    act: ActStatement


Further = Countersignature | PartyAct
Message = Submission | Further
"""A queued event with its content read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What an event is judged against, as it was read for the batch."""

    audience: str
    now: UnixMillis
    registry_seq: RegistrySeq
    contract: Contract | None
    organizations: Mapping[OrganizationId, Organization]
    keys: Mapping[OrganizationId, Mapping[KeyId, RegisteredKey]]
    mpasses: Mapping[MPassId, MPass]
    spent: Mapping[SpendingKey, int]
    record: TemplateRecord | None
    compiled: CompiledTemplate | None
    new_key_holder: OrganizationId | None = None
    """With whom the payload's ``new_key`` stands in the registry, where the template has the role ``org_new_key``."""
    superseded: Contract | None = None
    """Of a first submission: the contract that it names to supersede."""


def read_message(event: QueuedEvent) -> Message:
    """Return the event with its content read again from the bytes that were accepted.

    Raises:
        Refused: The shape is wrong: only an answer to a webhook comes here unchecked.
    """
    content = read_content(read_envelope(event.raw))
    if isinstance(content, ActStatement):
        return PartyAct(event=event, act=content)
    if event.type is EventType.SIGN:
        return Countersignature(event=event, contract=content.contract)
    return Submission(
        event=event, contract=content.contract, members=content.members, body=_body_or_fault(content.members)
    )


def _body_or_fault(members: Mapping[str, Value]) -> ContractBody | Refused:
    try:
        return body_of(members)
    except Refused as refusal:
        return refusal


def compiled_template(body: ContractBody, around: Circumstances) -> CompiledTemplate:
    """Return the template version that the body names.

    Raises:
        UnknownTemplateError: There is none, or it is a draft.
    """
    if around.compiled is None or around.record is None or around.record.status is DRAFT:
        raise UnknownTemplateError(
            f"template {body.template_id} version {body.version}: there is none", field="template_id"
        )
    return around.compiled
