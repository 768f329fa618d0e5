"""A change of the directory as one transaction, and what it means when one of its conditions does not hold.

Here alone two items must agree: an object and what it holds for ever, a key and the registry's position. Management is
rare, so twice the write units do not matter. Every change of a key moves the position, on condition that it stands
where it was read; so while the position holds, no key has changed.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moneta.adapters.aws.attributes import Item, Key, Value
from moneta.adapters.aws.directory_items import (
    COMPROMISED,
    ENDPOINT,
    ISSUERS,
    POSITION,
    change_item,
    code_name,
    holder_item,
    identity_item,
    keys_item,
    mpass_item,
    organization_item,
    organization_key,
    pack_secrets,
    position_part,
    remembered_item,
    status_object,
    template_item,
)
from moneta.adapters.aws.dynamodb import Table, Write
from moneta.adapters.aws.lifetimes import FORGET_AT, Lifetimes
from moneta.application.ports import DirectoryChange, DirectoryConflictError, RememberedAnswer
from moneta.domain.errors import CodeTakenError, KeyTakenError, Refused, TemplateExistsError
from moneta.domain.identifiers import KeyId, OrganizationId
from moneta.domain.keys import KeyStatus, RegisteredKey
from moneta.domain.mpasses import LISTED_STATUSES, REVOKED, MPass
from moneta.domain.organizations import Organization
from moneta.domain.retention import Past
from moneta.domain.status_places import StatusPlace
from moneta.domain.templates import TemplateRecord

IS_NEW: Final = "attribute_not_exists(#object)"
IS_AS_READ: Final = "#revision = :before"


@dataclass(frozen=True, slots=True)
class Action:
    """A write of the transaction, and what it means that its condition does not hold."""

    write: Write
    refusal: Refused | DirectoryConflictError


def failure_of(actions: Sequence[Action], failed: Sequence[int]) -> Refused | DirectoryConflictError:
    """Return the error for the places that failed: first what no second try can mend."""
    errors = [actions[place].refusal for place in failed]
    final = [error for error in errors if isinstance(error, Refused)]
    return [*final, *errors, DirectoryConflictError("the directory is being changed by another")][0]


def actions_of(
    change: DirectoryChange,
    stored: Mapping[OrganizationId, Mapping[KeyId, RegisteredKey]],
    lifetimes: Lifetimes,
) -> list[Action]:
    """Return the transaction that makes ``change``. ``stored``: the keys now of every owner of a key in it.

    Raises:
        KeyTakenError: A new key is its owner's already.
        DirectoryConflictError: A key is no longer as it was read.
    """
    actions = [] if change.record is None else [_put(_record_item(change.record))]
    if change.organization is not None:
        actions += _organization(change.organization)
    if change.keys:
        actions += _keys(change.keys, stored)
    actions += _endpoints(change)
    for mpass in change.mpasses:
        actions += mpass_puts(mpass)
    new = [mpass for mpass in change.mpasses if mpass.revision == 1]
    actions += [*mpass_holds(new), *mpass_issuers(new)]
    if change.template is not None:
        actions.append(_template(change.template))
    if change.identity is not None:
        actions.append(_put(identity_item(change.identity), is_new="identity"))
    if change.pending_change is not None:
        item = change_item(change.pending_change)
        actions.append(_put_revision(item, change.pending_change.revision, what="pending change"))
    if change.remember is not None:
        actions.append(_remember(change.remember, lifetimes))
    return actions


def _remember(answer: RememberedAnswer, lifetimes: Lifetimes) -> Action:
    item = {**remembered_item(answer), FORGET_AT: lifetimes.end(Past.ANSWERS, over_since=answer.at)}
    condition, values = f"{IS_NEW} OR #{FORGET_AT} < :now", {"now": lifetimes.now()}
    write = Write(table=Table.DIRECTORY, item=item, condition=condition, values=values)
    return Action(write, DirectoryConflictError("Idempotency-Key: expected none in the store"))


def _organization(organization: Organization) -> Iterator[Action]:
    yield _put_revision(organization_item(organization), organization.revision, what="organization")
    taken = CodeTakenError(f"{organization.kind} code {organization.code} was given out before", got=organization.code)
    name = code_name(organization.kind, organization.code)
    yield _hold(holder_item("code", name, organization.organization_id), taken)


def _keys(
    keys: Sequence[RegisteredKey], stored: Mapping[OrganizationId, Mapping[KeyId, RegisteredKey]]
) -> Iterator[Action]:
    yield _move_position(keys)
    for owner in dict.fromkeys(key.owner for key in keys):
        merged = dict(stored.get(owner, {}))
        for key in keys:
            if key.owner == owner:
                _check_as_read(key, merged.get(key.key_id))
                merged[key.key_id] = key
        yield _put(keys_item(owner, list(merged.values())))
    for key in keys:
        if len(key.changes) == 1:
            yield _hold_new(holder_item("key", key.key_id, key.owner), _taken(key))
        if key.status is KeyStatus.COMPROMISED:
            place = {"object": COMPROMISED, "part": position_part(key.changes[-1].seq)}
            yield _put({**place, "owner": key.owner, "key_id": key.key_id})


def _check_as_read(key: RegisteredKey, stored: RegisteredKey | None) -> None:
    if stored is not None and len(key.changes) == 1:
        raise _taken(key)
    before = () if stored is None else stored.changes
    if before != key.changes[:-1]:
        raise DirectoryConflictError(f"key {key.key_id}: no longer as it was read")


def _taken(key: RegisteredKey) -> KeyTakenError:
    return KeyTakenError(f"key {key.key_id} stands in the registry already", kid=key.key_id)


def _move_position(keys: Sequence[RegisteredKey]) -> Action:
    seqs = sorted(key.changes[-1].seq for key in keys)
    conflict = DirectoryConflictError(f"registry: expected to go on before {seqs[0]}")
    if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        raise conflict
    condition = "#seq = :before" if seqs[0] > 1 else "attribute_not_exists(#seq)"
    values: dict[str, Value] = {"seq": seqs[-1]}
    if seqs[0] > 1:
        values["before"] = seqs[0] - 1
    return Action(
        Write(table=Table.DIRECTORY, key=POSITION, expression="SET #seq = :seq", values=values, condition=condition),
        conflict,
    )


def _endpoints(change: DirectoryChange) -> Iterator[Action]:
    """Secrets and the end of a disabling: one update of an endpoint, since a transaction takes no item twice."""
    secrets = {} if change.secrets is None else dict([change.secrets])
    enabled = () if change.enables_endpoint is None else (change.enables_endpoint,)
    for owner in dict.fromkeys([*secrets, *enabled]):
        parts = ["SET #secrets = :secrets"] if owner in secrets else []
        parts += (
            ["REMOVE #disabled_at, #disabled_reason, #failing_since, #checked_at, #checked_url, #listing, #listing_key"]
            if owner in enabled
            else []
        )
        values = {"secrets": pack_secrets(secrets[owner])} if owner in secrets else {}
        key = organization_key(owner, ENDPOINT)
        write = Write(table=Table.DIRECTORY, key=key, expression=" ".join(parts), values=values)
        yield Action(write, DirectoryConflictError("endpoint"))


def mpass_puts(mpass: MPass) -> Iterator[Action]:
    """Put an mPass over its revision before, or where there is none, and let its status list tell of it."""
    yield _put_revision(mpass_item(mpass), mpass.revision, what="mPass")
    if mpass.status_place is not None:
        yield from _listed_status(mpass, mpass.status_place)
    if mpass.ended_place is not None:
        yield _put({**_status_key(mpass, mpass.ended_place), "standing": REVOKED})


def mpass_holds(new: Sequence[MPass]) -> Iterator[Action]:
    """Hold the number of each new mPass for it."""
    for mpass in new:
        taken = DirectoryConflictError("mPass number: expected none in the store")
        yield _hold(holder_item("number", mpass.number, mpass.mpass_id), taken)


def mpass_issuers(new: Sequence[MPass]) -> Iterator[Action]:
    """Note who issues mPasses: once each, since a transaction takes no item twice."""
    for mo_id in dict.fromkeys(mpass.mo_id for mpass in new):
        yield _put({"object": ISSUERS, "part": mo_id})


def _status_key(mpass: MPass, place: StatusPlace) -> Key:
    return {"object": status_object(mpass.mo_id, place.list_number), "part": f"{place.index:05d}"}


def _listed_status(mpass: MPass, place: StatusPlace) -> Iterator[Action]:
    """Let the status list tell of an mPass that is not valid, and of it no more once it is valid again."""
    key = _status_key(mpass, place)
    if mpass.standing in LISTED_STATUSES:
        yield _put({**key, "standing": mpass.standing})
    elif mpass.revision > 1:
        deletion = Write(table=Table.DIRECTORY, key=key, is_deletion=True)
        yield Action(deletion, DirectoryConflictError("status list"))


def _template(record: TemplateRecord) -> Action:
    action = _put_revision(template_item(record), record.revision, what="template")
    if record.revision > 1:
        return action
    exists = TemplateExistsError(
        f"template {record.name} has a version {record.version}", template=record.name, version=record.version
    )
    return Action(action.write, exists)


def _record_item(record: bytes) -> Item:
    return {"object": f"record#{hashlib.sha256(record).hexdigest()}", "part": "record", "leaf": record}


def _put(item: Item, *, is_new: str | None = None) -> Action:
    """Put an item; ``is_new``: what it is, where there must be none."""
    write = Write(table=Table.DIRECTORY, item=item, condition="" if is_new is None else IS_NEW)
    return Action(write, DirectoryConflictError(f"{is_new}: expected none in the store"))


def _put_revision(item: Item, revision: int, *, what: str) -> Action:
    """Put an item over its revision before, or where there is none."""
    conflict = DirectoryConflictError(f"{what}: expected revision {revision - 1} in the store")
    if revision == 1:
        return Action(Write(table=Table.DIRECTORY, item=item, condition=IS_NEW), conflict)
    write = Write(table=Table.DIRECTORY, item=item, condition=IS_AS_READ, values={"before": revision - 1})
    return Action(write, conflict)


def _hold(item: Item, refusal: Refused | DirectoryConflictError) -> Action:
    """Hold what is given out once, for the first time or again."""
    write = Write(
        table=Table.DIRECTORY,
        item=item,
        condition=f"{IS_NEW} OR #owner = :owner",
        values={"owner": item["owner"]},
    )
    return Action(write, refusal)


def _hold_new(item: Item, refusal: Refused | DirectoryConflictError) -> Action:
    """Hold what is given out once, for the first time."""
    return Action(Write(table=Table.DIRECTORY, item=item, condition=IS_NEW), refusal)
