"""Contracts: immutable steps, a head row that indexes them, and all that a change brings with it, in one transaction.

A head holds nothing that the steps do not say; it is there to be found by.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final

import apsw
import msgspec

from moneta.adapters.embedded.contract_lists import list_contracts, list_pending
from moneta.adapters.embedded.database import Database, rows, value
from moneta.adapters.embedded.deliveries import owe
from moneta.adapters.embedded.directory_changes import apply_if_as_read
from moneta.adapters.embedded.events import find_unprocessed, settle_event
from moneta.adapters.embedded.in_hand import InHand
from moneta.adapters.embedded.schema import LEAF_OF_CONTRACT, Writing
from moneta.adapters.embedded.spending import leaves_room, spend
from moneta.adapters.step_codec import decode_step, encode_step
from moneta.application.ports import Change, Committed, ContractQuery, ContractSummary, Page, Superseding
from moneta.domain.contracts import SUPERSEDED, Contract, Start, Step, assemble
from moneta.domain.identifiers import ContractId, MPassId, OrganizationId, Revision, UnixSeconds


class SQLiteContractStore:
    """See ``ports.ContractStore``."""

    def __init__(self, database: Database, in_hand: InHand) -> None:
        self._database = database
        self._in_hand = in_hand

    def read(self, contract_ids: Sequence[ContractId]) -> Mapping[ContractId, Contract]:
        """See ContractStore.read."""
        with self._database.read() as connection:
            found = rows(connection, _STEPS, (apsw.carray(tuple(contract_ids)),)) if contract_ids else ()
        return {
            contract_id: assemble([decode_step(step) for _, step in steps])
            for contract_id, steps in groupby(found, key=lambda one: ContractId(one[0]))
        }

    def read_at(self, places: Sequence[tuple[ContractId, Revision]]) -> Mapping[tuple[ContractId, Revision], Contract]:
        """See ContractStore.read_at."""
        with self._database.read() as connection:
            found = {place: rows(connection, _STEPS_AT, place) for place in places}
        return {
            place: assemble([decode_step(step) for (step,) in steps])
            for place, steps in found.items()
            if steps and len(steps) == place[1]
        }

    def commit(self, changes: Sequence[Change]) -> Sequence[Committed]:
        """See ContractStore.commit."""
        with self._database.write() as connection:
            writing = Writing(connection)
            committed = [_commit(writing, change) for change in changes]
        self._in_hand.put_down(writing.settled)
        return committed

    def list(self, query: ContractQuery) -> Page[ContractSummary]:
        """See ContractStore.list."""
        with self._database.read() as connection:
            return list_contracts(connection, query)

    def due_to_expire(self, *, before: UnixSeconds, limit: int) -> Sequence[ContractId]:
        """See ContractStore.due_to_expire."""
        with self._database.read() as connection:
            return [contract_id for (contract_id,) in rows(connection, _DUE_TO_EXPIRE, (before, limit))]

    def next_expiry(self) -> UnixSeconds | None:
        """See ContractStore.next_expiry."""
        with self._database.read() as connection:
            return value(connection, _NEXT_EXPIRY)

    def pending_with(self, organization: OrganizationId, *, limit: int, cursor: str | None) -> Page[ContractId]:
        """See ContractStore.pending_with."""
        with self._database.read() as connection:
            return list_pending(connection, organization, limit=limit, cursor=cursor)


_STEPS: Final = """
SELECT names.name, step
FROM names JOIN steps ON steps.contract = names.ref
WHERE names.name IN carray(?)
ORDER BY names.name, revision
"""
_STEPS_AT: Final = """
SELECT step FROM steps
WHERE contract = (SELECT ref FROM names WHERE name = ?) AND revision <= ? ORDER BY revision
"""
# A contract that a dead letter is about waits for the operator: what was received in time must be processed first.
_DUE_TO_EXPIRE: Final = """
WITH held (contract) AS (SELECT events.contract FROM dead_letters JOIN events USING (event))
SELECT name FROM contracts JOIN names ON names.ref = contracts.contract
WHERE finalized_at IS NULL AND expires_at <= ? AND contract NOT IN (SELECT contract FROM held)
ORDER BY expires_at LIMIT ?
"""
_NEXT_EXPIRY: Final = """
WITH held (contract) AS (SELECT events.contract FROM dead_letters JOIN events USING (event))
SELECT min(expires_at) FROM contracts
WHERE finalized_at IS NULL AND expires_at IS NOT NULL AND contract NOT IN (SELECT contract FROM held)
"""


def _commit(writing: Writing, change: Change) -> Committed:
    """Judge by reads first and write after, so that a change that is refused leaves nothing to undo."""
    event = None
    if change.outcome is not None:
        event = find_unprocessed(writing, change.outcome)
        if event is None:
            return Committed.DUPLICATE
    if change.step is not None and not _append_steps(writing, change, change.step):
        return Committed.CONFLICT
    if change.outcome is not None and event is not None:
        settle_event(writing, event, change.outcome)
    for owed in change.owed:
        owe(writing, owed)
    return Committed.COMMITTED


def _revision_of(writing: Writing, contract_id: ContractId) -> int:
    contract = writing.ref(contract_id)
    return value(writing.connection, "SELECT revision FROM contracts WHERE contract = ?", (contract,)) or 0


def _append_steps(writing: Writing, change: Change, step: Step) -> bool:
    """Append what the change adds to its contract, and to the one that it supersedes; False if anything has moved."""
    read = {change.contract_id: change.read_revision}
    if change.supersedes is not None:
        read[change.supersedes.contract_id] = change.supersedes.read_revision
    if any(_revision_of(writing, contract_id) != revision for contract_id, revision in read.items()):
        return False
    if change.spending and not leaves_room(writing.connection, change.spending):
        return False
    if change.directory is not None and not apply_if_as_read(writing, change.directory):
        return False
    if change.spending:
        spend(writing, change.spending)
    _append_step(writing, change, step)
    if change.supersedes is not None:
        _append_step(writing, _as_change(change.supersedes), change.supersedes.step)
    return True


def _as_change(one: Superseding) -> Change:
    return Change(contract_id=one.contract_id, read_revision=one.read_revision, step=one.step, status=SUPERSEDED)


def _append_step(writing: Writing, change: Change, step: Step) -> None:
    if step.revision != change.read_revision + 1 or (step.start is None) != (step.revision > 1):
        raise ValueError(f"contract {change.contract_id}: step {step.revision} cannot follow {change.read_revision}")
    connection, contract = writing.connection, writing.ref(change.contract_id)
    if step.start is not None:
        _insert_head(writing, contract, change, step, step.start)
    else:
        status = writing.status(change.status)
        connection.execute(_UPDATE_HEAD, (status, step.finalized_at, step.revision, contract))
        if step.deem_at is not None:
            connection.execute(_BRING_END_FORWARD, (step.deem_at, step.deem_at, contract))
    connection.execute("INSERT INTO leaves (kind, entry) VALUES (?, ?)", (LEAF_OF_CONTRACT, step.leaf))
    connection.execute(
        "INSERT INTO steps (leaf, contract, revision, step) VALUES (?, ?, ?, ?)",
        (connection.last_insert_rowid(), contract, step.revision, encode_step(step)),
    )


class _Body(msgspec.Struct, frozen=True):
    """What a head needs of a body that was read strictly before it was signed; the rest is skipped."""

    template_id: str
    version: int
    created_at: UnixSeconds
    mo_id: OrganizationId | None = None
    publisher_id: OrganizationId | None = None
    mpass_id: MPassId | None = None
    org_id: OrganizationId | None = None


_bodies: Final = msgspec.json.Decoder(_Body)


def _insert_head(writing: Writing, contract: int, change: Change, step: Step, start: Start) -> None:
    body = _bodies.decode(start.body_bytes)
    template, mo, publisher, mpass, org = (
        None if name is None else writing.ref(name)
        for name in (body.template_id, body.mo_id, body.publisher_id, body.mpass_id, body.org_id)
    )
    head = (
        contract,
        template,
        body.version,
        mo,
        publisher,
        mpass,
        writing.status(change.status),
        body.created_at,
        start.received_at,
        min((moment for moment in (start.expires_at, step.deem_at) if moment is not None), default=None),
        step.finalized_at,
        step.revision,
        org,
    )
    writing.connection.execute("INSERT INTO contracts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", head)


_UPDATE_HEAD: Final = """
UPDATE contracts SET status = ?, finalized_at = ifnull(?, finalized_at), revision = ? WHERE contract = ?
"""
_BRING_END_FORWARD: Final = "UPDATE contracts SET expires_at = min(ifnull(expires_at, ?), ?) WHERE contract = ?"
"""``expires_at`` of a head is when its contract ends by itself (``Contract.ends_at``)."""
