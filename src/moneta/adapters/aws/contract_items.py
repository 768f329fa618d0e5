"""A contract as items of its table: its immutable steps, and the head that follows them.

A step's item holds all that the change produced: the step, its leaf, the event that caused it and that event's outcome,
and the messages owed for it. So whatever else has to be written can be made from it by anyone, at any time, twice.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from moneta.adapters.aws.attributes import Item, Key, Value
from moneta.adapters.aws.buckets import (
    expiry_bucket,
    expiry_hour,
    hour_of,
    month_bucket,
    month_of,
    shard_of,
    status_bucket,
    time_key,
)
from moneta.adapters.step_codec import decode_step, encode_step
from moneta.application.ports import Change, ContractSummary, OwedDelivery, WebhookType
from moneta.domain.contract_body import ContractBody, parse_body
from moneta.domain.contracts import SUPERSEDED, Start, Step
from moneta.domain.identifiers import ContractId, EventId, OrganizationId, Revision, UnixMillis, UnixSeconds, WebhookId

HEAD: Final = 0
"""The ``seq`` of the head; steps are numbered from 1, by their revision."""
PENDING: Final = "pending_"


def event_key(source: OrganizationId, event_id: EventId) -> str:
    """Return the key of an event in its table; an organization's id has no ``#``."""
    return f"{source}#{event_id}"


def parse_event_key(key: str) -> tuple[OrganizationId, EventId]:
    """Return the source and the id that ``event_key`` was given."""
    source, _, event_id = key.partition("#")
    return OrganizationId(source), EventId(event_id)


def head_key(contract_id: ContractId) -> Key:
    """Return the key of a contract's head."""
    return {"contract_id": contract_id, "seq": HEAD}


def is_pending(status: str) -> bool:
    """Tell whether a contract of that status has not ended."""
    return status.startswith(PENDING)


# Steps.


def step_item(change: Change, step: Step, *, home: str) -> Item:
    """Return the item of the step that ``change`` adds.

    ``home``: the region that writes the contract for good; it stands in the first step.
    """
    outcome = change.outcome
    item: dict[str, Value | None] = {
        "contract_id": change.contract_id,
        "seq": step.revision,
        "step": encode_step(step),
        "leaf": step.leaf,
        "status": change.status,
        "owed": pack_owed(change.owed) if change.owed else None,
    }
    if outcome is not None:
        item |= {
            "event": event_key(outcome.source, outcome.event_id),
            "outcome": outcome.status,
            "processed_at": outcome.processed_at,
            "problem": outcome.problem,
        }
    if change.supersedes is not None:
        item |= {"supersedes": change.supersedes.contract_id, "superseding": change.supersedes.step.revision}
    if step.start is not None:
        item |= {"home": home, **_index_attributes(parse_body(step.start.body_bytes), step.start)}
    return {name: value for name, value in item.items() if value is not None}


def _index_attributes(body: ContractBody, start: Start) -> dict[str, Value | None]:
    month = month_of(start.received_at)
    named = _names_indexed(body)
    return {
        "received_key": time_key(start.received_at, body.contract_id),
        **{index: None if name is None else month_bucket(name, month) for index, name in named.items()},
    }


def superseding_item(change: Change, *, home: str) -> Item | None:
    """Return the item of the step that ``change`` adds to the contract that it supersedes; None if there is none."""
    one = change.supersedes
    if one is None:
        return None
    own = Change(contract_id=one.contract_id, read_revision=one.read_revision, step=one.step, status=SUPERSEDED)
    return step_item(own, one.step, home=home)


def _names_indexed(body: ContractBody) -> dict[str, str | None]:
    """Return the ids that a contract is found by, each by the index of its attribute.

    An ``org_id`` is found by the place that the body leaves free, of the MO or of the publisher: an index of its own
    would cost every contract a write. Whoever looks there asks the head whose contract it is.
    """
    named: dict[str, str | None] = {"mo_id": body.mo_id, "publisher_id": body.publisher_id, "mpass_id": body.mpass_id}
    if body.org_id is not None and body.org_id not in {body.mo_id, body.publisher_id}:
        free = "publisher_id" if body.publisher_id is None else "mo_id"
        named[free] = body.org_id
    return named


def step_of(item: Item) -> Step:
    """Return the step of an item, as ``step_item`` was given it, if the item was read with its leaf."""
    return decode_step(item["step"], leaf=item.get("leaf", b""))


class _Owed(msgspec.Struct, array_like=True, frozen=True):
    webhook_id: WebhookId
    organization_id: OrganizationId
    type: WebhookType
    revision: Revision
    owed_at: UnixMillis
    problem: bytes | None = None


_owed_decoder: Final = msgspec.msgpack.Decoder(tuple[_Owed, ...])


def pack_owed(owed: Sequence[OwedDelivery]) -> bytes:
    """Return messages owed for a contract, without its id."""
    return msgspec.msgpack.encode(
        [_Owed(one.webhook_id, one.organization_id, one.type, one.revision, one.owed_at, one.problem) for one in owed]
    )


def owed_of(item: Item) -> tuple[OwedDelivery, ...]:
    """Return the messages that a step's or an event's item says are owed."""
    if "owed" not in item:
        return ()
    return tuple(
        OwedDelivery(
            webhook_id=one.webhook_id,
            organization_id=one.organization_id,
            type=one.type,
            contract_id=item["contract_id"],
            revision=one.revision,
            owed_at=one.owed_at,
            problem=one.problem,
        )
        for one in _owed_decoder.decode(item["owed"])
    )


# Heads.


def head_item(first: Item, last: Item, *, now: UnixMillis) -> Item:
    """Return the head of a contract that runs from the item of its first step to that of its ``last``.

    ``now``: a term that is over already is put where the sweep will still look.

    Raises:
        ValueError: ``first`` is not a first step.
    """
    start = step_of(first).start
    if start is None:
        raise ValueError(f"contract {first['contract_id']}: expected its first step, got {first['seq']}")
    body = parse_body(start.body_bytes)
    return {
        "contract_id": body.contract_id,
        "seq": HEAD,
        "template_id": body.template_id,
        "version": body.version,
        "mo": body.mo_id,
        "publisher": body.publisher_id,
        "org": body.org_id,
        "mpass": body.mpass_id,
        "created_at": body.created_at,
        "received_at": start.received_at,
        "received_key": time_key(start.received_at, body.contract_id),
        "home": first.get("home"),
        "expires_at": start.expires_at,
        **head_progress(last, received_at=start.received_at),
        **end_attributes(last, expires_at=start.expires_at, now=now),
    }


def head_progress(last: Item, *, received_at: UnixMillis) -> Item:
    """Return the attributes of a head that move with the contract's ``last`` step."""
    status, contract_id = last["status"], last["contract_id"]
    return {
        "status": status,
        "revision": last["seq"],
        "finalized_at": step_of(last).finalized_at,
        "status_bucket": status_bucket(status, hour_of(received_at), shard_of(contract_id)),
    }


def end_attributes(last: Item, *, expires_at: UnixSeconds | None, now: UnixMillis) -> Item:
    """Return the attributes of a head that say when a pending contract ends by itself (``Contract.ends_at``)."""
    ends = [moment for moment in (expires_at, step_of(last).deem_at) if moment is not None]
    if not ends or not is_pending(last["status"]):
        return {}
    hour = max(expiry_hour(min(ends)), hour_of(now))
    shard = shard_of(last["contract_id"])
    return {"expires_at": min(ends), "expiry_hour": hour, "expiry_bucket": expiry_bucket(hour, shard)}


def summary_of(head: Item) -> ContractSummary:
    """Return a row of a list from a contract's head."""
    return ContractSummary(
        contract_id=head["contract_id"],
        template_id=head["template_id"],
        version=head["version"],
        mo_id=head.get("mo"),
        publisher_id=head.get("publisher"),
        mpass_id=head.get("mpass"),
        status=head["status"],
        created_at=head["created_at"],
        received_at=head["received_at"],
        finalized_at=head.get("finalized_at"),
        revision=head["revision"],
    )
