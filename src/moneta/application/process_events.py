"""From a queued event to a committed outcome: many events with one read and one commit (``design.md``, section 3).

For each event of a batch:

1. Read its envelope and content again from the bytes that were accepted.
2. Read its contract, template, parties, keys and mPass; one read of each kind for the whole batch.
3. Judge what it adds (``judgement``). A refusal is an outcome too: stored, and owed to the sender.
4. If it is now Moneta's turn, ask the guards again and countersign (``countersign``).
5. Make the step: what was added, the log lines, the leaf, and at an end the receipt; and what it does (``effects``).
6. Commit all of it together, if the contract is still at the revision that was read, and the directory as well.
7. A conflict is judged anew, against what is there now.
8. So is what a process that stood still for long has judged: a key may have been revoked meanwhile.

Events on one contract are taken one after the other, in rounds; order comes from signatures and revisions, never from
the queue. Doing any of it twice changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from moneta.application.check_effects import kept_for_checker, waits_for_checker
from moneta.application.circumstances import (
    Circumstances,
    Message,
    Submission,
    compiled_template,
    read_message,
)
from moneta.application.countersign import (
    countersigned,
    ended_by_moneta,
    is_monetas_turn,
    owed_between,
    step_between,
    webhook_id,
)
from moneta.application.effects import directory_change
from moneta.application.guards import check_guards
from moneta.application.isolation import isolating
from moneta.application.judgement import judge
from moneta.application.ports import (
    Change,
    Committed,
    CompiledTemplate,
    EventOutcome,
    EventStatus,
    Hub,
    OwedDelivery,
    QueuedEvent,
    WebhookType,
)
from moneta.application.problems import problem_document
from moneta.application.spending import keys_of_counters, spending_between
from moneta.application.supersede import find_superseded, superseding
from moneta.domain.contract_body import ContractBody
from moneta.domain.contracts import ActName, Contract, status_of
from moneta.domain.errors import Refused
from moneta.domain.identifiers import (
    ContractId,
    KeyId,
    MPassId,
    OrganizationId,
    RegistrySeq,
    Revision,
    UnixMillis,
)
from moneta.domain.keys import RegisteredKey
from moneta.domain.limits import JUDGEMENT_AGE_S_MAX, PROCESS_ROUNDS_MAX
from moneta.domain.mpass_policies import SpendingKey
from moneta.domain.mpasses import MPass
from moneta.domain.organizations import Organization
from moneta.domain.templates import Role, Template, TemplateRecord
from moneta.signing.chain import new_key_of, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What was read for one round: everything that its events are judged against."""

    now: UnixMillis
    registry_seq: RegistrySeq
    contracts: Mapping[ContractId, Contract]
    organizations: Mapping[OrganizationId, Organization]
    keys: Mapping[OrganizationId, Mapping[KeyId, RegisteredKey]]
    mpasses: Mapping[MPassId, MPass]
    spent: Mapping[SpendingKey, int]
    records: Mapping[tuple[str, int], TemplateRecord | None]


def process_events(hub: Hub, events: Sequence[QueuedEvent]) -> Sequence[QueuedEvent]:
    """Bring each event to its outcome, and return those that must be tried again: no round could settle them.

    Raises:
        StoreUnavailableError: Nothing of the round under way is known to be durable; what was committed stays.
    """
    pending = list(events)
    for _ in range(PROCESS_ROUNDS_MAX):
        if not pending:
            break
        batch, later = _one_a_contract(pending)
        pending = [*_process_round(hub, batch), *later]
    return pending


def _one_a_contract(events: Sequence[QueuedEvent]) -> tuple[list[QueuedEvent], list[QueuedEvent]]:
    """Split off the first event on each contract from those that must wait for it."""
    first: dict[ContractId, QueuedEvent] = {}
    for event in events:
        first.setdefault(event.contract_id, event)
    chosen = {id(event) for event in first.values()}
    return list(first.values()), [event for event in events if id(event) not in chosen]


def _process_round(hub: Hub, events: Sequence[QueuedEvent]) -> list[QueuedEvent]:
    """Judge and commit each event; return those that met a conflict."""
    read = [(event, _read(event)) for event in events]  # (1)
    batch = _read_batch(hub, read)  # (2)
    changes = [_change(hub, event, message, batch) for event, message in read]  # (3) to (5)
    if hub.clock.now_ms() - batch.now > JUDGEMENT_AGE_S_MAX * 1000:  # (8)
        return list(events)
    outcomes = hub.contracts.commit(changes)  # (6)
    hub.observer.committed(events, changes, outcomes)
    return [event for event, outcome in zip(events, outcomes, strict=True) if outcome is Committed.CONFLICT]  # (7)


def _read(event: QueuedEvent) -> Message | Refused:
    try:
        return read_message(event)
    except Refused as refusal:
        return refusal


def _read_batch(hub: Hub, read: Sequence[tuple[QueuedEvent, Message | Refused]]) -> Batch:
    contracts = hub.contracts.read([event.contract_id for event, _ in read])
    bodies = [body for event, message in read if (body := _body(message, contracts.get(event.contract_id)))]
    owners = {event.source for event, _ in read}
    parties = {party for body in bodies for party in body.parties()}
    now = hub.clock.now_ms()
    mpasses = hub.directory.mpasses(sorted({body.mpass_id for body in bodies if body.mpass_id is not None}))
    counters = keys_of_counters(bodies, mpasses, now)
    return Batch(
        now=now,
        registry_seq=hub.directory.registry_position(),
        contracts=contracts,
        organizations=hub.directory.organizations(sorted(owners | parties)),
        keys=hub.directory.keys_of(sorted(owners | parties)),
        mpasses=mpasses,
        spent=hub.directory.spent(counters) if counters else {},
        records={name: hub.directory.template(*name) for name in {(body.template_id, body.version) for body in bodies}},
    )


def _body(message: Message | Refused, stored: Contract | None) -> ContractBody | None:
    """Return the body that tells whom and what to read: the stored one, or that of a submission if it has one."""
    if stored is not None:
        return stored.body
    # Where the members make no body, ``judge`` will say what is wrong with them.
    return message.body if isinstance(message, Submission) and isinstance(message.body, ContractBody) else None


def _change(hub: Hub, event: QueuedEvent, message: Message | Refused, batch: Batch) -> Change:
    try:
        if isinstance(message, Refused):
            raise message
        return _accepted(hub, message, batch)
    except Refused as refusal:
        return _rejected(event, refusal, batch)


def _accepted(hub: Hub, message: Message, batch: Batch) -> Change:
    before = batch.contracts.get(message.event.contract_id)
    around = _circumstances(hub, message, before, batch)
    addition = judge(message, around)  # (3)
    outcome = _outcome(message.event, EventStatus.PROCESSED, batch.now)
    if not addition.is_changed:
        return Change(contract_id=message.event.contract_id, read_revision=Revision(0), outcome=outcome)
    template = compiled_template(addition.contract.body, around).template
    change = partial(
        contract_change,
        hub,
        before,
        template=template,
        mpasses=batch.mpasses,
        now=batch.now,
        registry_seq=batch.registry_seq,
        outcome=outcome,
    )
    after = _with_monetas_part(hub, addition.contract, message, around)  # (4)
    if is_monetas_turn(after):  # and it does not sign: another of Moneta's has to look at it first
        if before is not None and is_monetas_turn(before):
            return change(after)
        kept = kept_for_checker(hub, after, message.event.source, message.event.received_at)
        return replace(change(after), directory=kept)
    try:
        return change(after)  # (5)
    except Refused as refusal:
        if before is None or not is_monetas_turn(addition.contract):
            raise  # whoever sent it is told, and nothing has happened
        return change(_declined(hub, addition.contract, refusal, around))


def contract_change(
    hub: Hub,
    before: Contract | None,
    after: Contract,
    template: Template,
    mpasses: Mapping[MPassId, MPass],
    *,
    now: UnixMillis,
    registry_seq: RegistrySeq,
    outcome: EventOutcome | None = None,
) -> Change:
    """Return the change that leads from ``before`` to ``after``: its step, what that does, and what the hub then owes.

    ``mpasses``: the one that the contract names, if it names one.

    Raises:
        Refused: An effect of the template can't be done, or the contract can't take another's place, and why.
    """
    return Change(
        contract_id=after.contract_id,
        read_revision=Revision(0 if before is None else before.revision),
        outcome=outcome,
        step=step_between(hub, before, after, now=now, registry_seq=registry_seq),
        owed=owed_between(before, after, now=now),
        status=status_of(after),
        directory=directory_change(hub, before, after, template, now=now, registry_seq=registry_seq),
        supersedes=superseding(hub, after, now=now),
        spending=spending_between(before, after, template, mpasses, now=now),
    )


def _with_monetas_part(hub: Hub, contract: Contract, message: Message, around: Circumstances) -> Contract:
    """Return the contract with Moneta's signature if it is its turn, or with its decline if a guard fails by now.

    Where its signature takes two of Moneta's, the contract is returned as it is.
    """
    if not is_monetas_turn(contract):
        return contract
    try:
        if around.contract is not None:  # on a first submission the judgement has just asked them, as of now too
            check_guards(contract.body, compiled_template(contract.body, around).template, around, around.now)
    except Refused as refusal:
        return _declined(hub, contract, refusal, around)
    if waits_for_checker(hub, compiled_template(contract.body, around).template):
        return contract
    return countersigned(
        hub, contract, received_at=message.event.received_at, now=around.now, registry_seq=around.registry_seq
    )


def _declined(hub: Hub, contract: Contract, refusal: Refused, around: Circumstances) -> Contract:
    return ended_by_moneta(
        hub, contract, name=ActName.DECLINE, reason_code=refusal.code, reason=refusal.detail, now=around.now
    )


def _rejected(event: QueuedEvent, refusal: Refused, batch: Batch) -> Change:
    """Return the outcome of a refused event, and the message that tells its sender. Nothing else is touched."""
    contract = batch.contracts.get(event.contract_id)
    is_party = contract is not None and event.source in contract.body.parties()
    problem = to_json(problem_document(refusal))
    owed = OwedDelivery(
        webhook_id=webhook_id(event.source, event.event_id, WebhookType.REJECTED),
        organization_id=event.source,
        type=WebhookType.REJECTED,
        contract_id=event.contract_id,
        revision=contract.revision if contract is not None and is_party else Revision(0),
        owed_at=batch.now,
        problem=problem,
    )
    outcome = _outcome(event, EventStatus.REJECTED, batch.now)
    return Change(
        contract_id=event.contract_id,
        read_revision=Revision(0),
        outcome=replace(outcome, problem=problem),
        owed=(owed,),
    )


def _outcome(event: QueuedEvent, status: EventStatus, now: UnixMillis) -> EventOutcome:
    return EventOutcome(source=event.source, event_id=event.event_id, status=status, processed_at=now)


def _circumstances(hub: Hub, message: Message, contract: Contract | None, batch: Batch) -> Circumstances:
    body = _body(message, contract)
    record = None if body is None else batch.records[body.template_id, body.version]
    compiled = None if record is None else hub.templates.compile(record.payload)
    return Circumstances(
        audience=hub.base_url,
        now=batch.now,
        registry_seq=batch.registry_seq,
        contract=contract,
        organizations=batch.organizations,
        keys=batch.keys,
        mpasses=batch.mpasses,
        spent=batch.spent,
        record=record,
        compiled=compiled,
        new_key_holder=_new_key_holder(hub, body, compiled),
        superseded=None if body is None or contract is not None else find_superseded(hub, body),
    )


def _new_key_holder(hub: Hub, body: ContractBody | None, compiled: CompiledTemplate | None) -> OrganizationId | None:
    """Return with whom the key stands that a contract would add; what is no key is the judgement's to refuse."""
    if body is None or compiled is None or Role.ORG_NEW_KEY not in compiled.template.roles:
        return None
    try:
        return hub.directory.key_holder(new_key_of(body).key_id)
    except Refused:
        return None


def process_or_return(
    hub: Hub, events: Sequence[QueuedEvent], on_bug: Callable[[QueuedEvent, Exception], None]
) -> Sequence[QueuedEvent]:
    """Process a batch so that one event which meets a bug does not stop the others.

    When the batch fails with what is no error of ours, each event is processed alone; ``on_bug`` is told of each that
    still fails, and keeps it.

    Returns:
        The events that must be tried again.
    """
    return isolating(partial(process_events, hub), events, on_bug)
