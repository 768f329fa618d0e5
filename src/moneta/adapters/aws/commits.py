"""Changes of contracts: the one conditional put of the next step decides, and all else follows from its item.

A change with a step is written so (every write conditional or idempotent, so that anyone may do it again):

1. Put the step's item, if there is none of its ``seq``; with what it does to the directory, if it does anything
   (``directory_steps``). From here on the change is committed, whoever dies.
2. Put each message that the item says is owed into the deliveries table, after those of the steps before it.
3. Bring the head forward, and that of the contract that this one supersedes, whose step was put with this one's.
4. Write the outcome to the event. It comes last: an event without an outcome is an event whose work may be unfinished.

A change without a step is one conditional update of its event, which carries the owed message until that is delivered
to the deliveries table.

After a crash the event is processed again, since its message is still in the queue. It is then judged against a
contract that holds its own step already, so whatever the judgement says, ``commit`` looks for a step of that event
first, and completes that one. Two workers that process one event at once can disagree only if what they judged by
changed between them; the step then stands, and its outcome is written over a rejection. What a timer began no queue
brings back: it is completed by the ``relay``, and by whoever next looks for such contracts.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from moneta.adapters.aws.attributes import Item, Value
from moneta.adapters.aws.buckets import CONTRACT_HOURS, CONTRACT_MONTHS, EXPIRY_HOURS, Calendar, hour_of, month_of
from moneta.adapters.aws.contract_items import (
    HEAD,
    end_attributes,
    event_key,
    head_item,
    head_key,
    head_progress,
    is_pending,
    owed_of,
    pack_owed,
    step_item,
    step_of,
    superseding_item,
)
from moneta.adapters.aws.deliveries import DynamoDBDeliveryStore
from moneta.adapters.aws.directory_steps import DirectorySteps
from moneta.adapters.aws.dynamodb import ConditionFailedError, DynamoDB, Query, Table
from moneta.adapters.aws.event_queue import SQSEventQueue
from moneta.adapters.aws.events import LETTER, OWING
from moneta.adapters.aws.lifetimes import FORGET_AT, Lifetimes
from moneta.application.ports import Change, Clock, Committed, DirectoryChange, DirectoryConflictError, EventOutcome
from moneta.domain.identifiers import ContractId, Revision
from moneta.domain.retention import Past

BYTES_AND_LETTER: Final = f"#raw, #{LETTER}, #letter_key, #claimed_until"
"""What an outcome takes away from its event's item: see ``events`` and ``letters``."""
REVISIONS_MAX: Final = 1_000
"""More than a contract can have: its signatures and one act."""


class Commits:
    """What ``ports.ContractStore.commit`` does, and what completes it after a crash."""

    def __init__(
        self,
        db: DynamoDB,
        clock: Clock,
        lifetimes: Lifetimes,
        *,
        calendar: Calendar,
        deliveries: DynamoDBDeliveryStore,
        directory: DirectorySteps,
        queue: SQSEventQueue,
        home: str,
    ) -> None:
        self._db = db
        self._clock = clock
        self._lifetimes = lifetimes
        self._calendar = calendar
        self._deliveries = deliveries
        self._directory = directory
        self._queue = queue
        self._home = home

    def commit(self, changes: Sequence[Change]) -> Sequence[Committed]:
        """See ContractStore.commit."""
        events = self._events_of(changes)
        answers = self._db.each(partial(self._commit, events), changes)
        self._queue.settled(
            _event_of(change.outcome)
            for change, answer in zip(changes, answers, strict=True)
            if change.outcome is not None and answer is not Committed.CONFLICT
        )
        return answers

    def finish(self, contract_id: ContractId, revision: Revision) -> bool:
        """Complete a contract's steps, and tell whether its head was behind ``revision``: until then all is done."""
        head = self._db.get(Table.CONTRACTS, head_key(contract_id))
        reached = 0 if head is None else head["revision"]
        if reached >= revision:
            return False
        unfinished = read_steps(self._db, contract_id, is_whole=True)[reached:]
        for item in unfinished:
            self._fan_out(item)
        self._advance_head(unfinished[-1], head)
        for item in unfinished:
            self._write_outcome_of_step(item)
        return True

    def finish_and_tell_pending(self, contract_id: ContractId) -> bool:
        """Tell whether a contract is pending, after completing its last step if its head is behind that."""
        last = read_steps(self._db, contract_id, is_whole=True)[-1]
        head = self._db.get(Table.CONTRACTS, head_key(contract_id))
        if head is None or head["revision"] < last["seq"]:
            self._complete(last, head)
        return is_pending(last["status"])

    def _events_of(self, changes: Sequence[Change]) -> Mapping[str, Item]:
        """Return the items of the events that the changes are outcomes of.

        Raises:
            ValueError: One of them was never accepted.
        """
        keys = list(dict.fromkeys(_event_of(change.outcome) for change in changes if change.outcome is not None))
        found = self._db.batch_get(
            Table.EVENTS,
            [{"event": key} for key in keys],
            attributes=("event", "contract_id", "processed_at", "owed"),
        )
        events = {item["event"]: item for item in found}
        if missing := [key for key in keys if key not in events]:
            raise ValueError(f"event {missing[0]}: an outcome, but it was never accepted")
        return events

    def _commit(self, events: Mapping[str, Item], change: Change) -> Committed:
        event = None if change.outcome is None else events[_event_of(change.outcome)]
        if event is not None and "processed_at" in event:
            self.pay_what_event_owes(event)
            return Committed.DUPLICATE
        if change.step is not None:
            return self._append(change)
        if change.outcome is not None:
            return self._settle(change, change.outcome)
        self._deliveries.owe_each(change.owed)
        return Committed.COMMITTED

    def _append(self, change: Change) -> Committed:
        """Commit a change with a step: see the module's list."""
        if change.step is None or change.step.revision != change.read_revision + 1:
            raise ValueError(f"contract {change.contract_id}: the step cannot follow revision {change.read_revision}")
        head = self._db.get(Table.CONTRACTS, head_key(change.contract_id)) if change.read_revision else None
        if change.read_revision and not self._exists(change.contract_id, change.read_revision, head):
            return Committed.CONFLICT
        try:
            item, earlier = self._put_step(step_item(change, change.step, home=self._home), change)  # (1)
        except DirectoryConflictError:
            return Committed.CONFLICT
        if earlier is None:
            self._complete(item, head)
            return Committed.COMMITTED
        if _is_same_change(earlier, item):
            self._complete(earlier, head)
        return Committed.DUPLICATE if _is_same_event(earlier, item) else Committed.CONFLICT

    def _put_step(self, item: Item, change: Change) -> tuple[Item, Item | None]:
        """Put a step's item where none is, with what goes with it. Returns what ``DirectorySteps.put_new`` does."""
        other = superseding_item(change, home=self._home)
        if change.directory is None and other is None and not change.spending:
            return item, self._db.put_new(Table.CONTRACTS, item)
        return self._directory.put_new(item, change.directory or DirectoryChange(), change.spending, other=other)

    def _exists(self, contract_id: ContractId, revision: Revision, head: Item | None) -> bool:
        """Tell whether the step is there, since a condition looks at its own item alone."""
        if head is not None and head["revision"] >= revision:
            return True
        return self._db.get(Table.CONTRACTS, {"contract_id": contract_id, "seq": revision}) is not None

    def _complete(self, item: Item, head: Item | None) -> None:
        """Write what a step's item brings with it. ``head``: the contract's, as far as it was read.

        A head is at a revision only once the messages of every step up to it are in the deliveries table. So if it is
        behind the step before, whoever put that one may have died, and its messages must go into line first.
        """
        reached = 0 if head is None else head["revision"]
        if reached < item["seq"] - 1:
            for earlier in read_steps(self._db, item["contract_id"], is_whole=True)[: item["seq"] - 1]:
                self._fan_out(earlier)
        self._fan_out(item)  # (2)
        self._advance_head(item, head)  # (3)
        if "supersedes" in item:
            self.finish(item["supersedes"], item["superseding"])
        self._write_outcome_of_step(item)  # (4)

    def _fan_out(self, item: Item) -> None:
        self._directory.put_carried(item)
        self._deliveries.owe_each(owed_of(item))

    def _advance_head(self, item: Item, head: Item | None) -> None:
        if item["seq"] == 1:
            self._put_head(item, item)
        elif head is None:
            # Its first step's worker has not come to it, or never will.
            self._put_head(read_steps(self._db, item["contract_id"], is_whole=True)[0], item)
        elif head["revision"] < item["seq"]:
            self._update_head(item, head)

    def _put_head(self, first: Item, last: Item) -> None:
        head = head_item(first, last, now=self._clock.now_ms())
        self._calendar.note(CONTRACT_MONTHS, month_of(head["received_at"]), "contracts")
        self._calendar.note(CONTRACT_HOURS, hour_of(head["received_at"]), head["status"])
        if "expiry_hour" in head:
            self._calendar.note(EXPIRY_HOURS, head["expiry_hour"], "contracts")
        earlier = self._db.put_new(Table.CONTRACTS, head)
        if earlier is not None and earlier["revision"] < last["seq"]:
            self._update_head(last, earlier)

    def _update_head(self, last: Item, head: Item) -> None:
        progress = head_progress(last, received_at=head["received_at"])
        self._calendar.note(CONTRACT_HOURS, hour_of(head["received_at"]), last["status"])
        values = {name: value for name, value in progress.items() if value is not None}
        if step_of(last).deem_at is not None:
            values |= end_attributes(last, expires_at=head.get("expires_at"), now=self._clock.now_ms())
        if "expiry_hour" in values:
            self._calendar.note(EXPIRY_HOURS, values["expiry_hour"], "contracts")
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
        if not is_pending(last["status"]):
            expression += " REMOVE #expiry_bucket"
        try:
            self._db.update(
                Table.CONTRACTS,
                head_key(last["contract_id"]),
                expression,
                values=values,
                condition="#revision < :revision",
            )
        except ConditionFailedError:
            return  # Somebody brought it this far, or farther.

    def _write_outcome_of_step(self, item: Item) -> None:
        if "event" not in item:
            return
        values = {
            "status": item["outcome"],
            "processed_at": item["processed_at"],
            "by_step": item["seq"],
            FORGET_AT: self._lifetimes.end(Past.EVENTS, over_since=item["processed_at"]),
        }
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
        if "problem" in item:
            expression, values = f"{expression}, #problem = :problem", values | {"problem": item["problem"]}
        try:
            self._db.update(
                Table.EVENTS,
                {"event": item["event"]},
                f"{expression} REMOVE #waiting_for, #owed, {BYTES_AND_LETTER}",
                values=values,
                condition="attribute_exists(#event) AND attribute_not_exists(#by_step)",
            )
        except ConditionFailedError:
            return  # Somebody wrote it.

    # Changes without a step.

    def _settle(self, change: Change, outcome: EventOutcome) -> Committed:
        """Commit a change that does not touch the contract: one conditional update of its event."""
        key = _event_of(outcome)
        if self.complete_own_step(change.contract_id, key):
            return Committed.DUPLICATE
        owed: dict[str, Value] = {"owed": pack_owed(change.owed), "waiting_for": OWING} if change.owed else {}
        forget_at = self._lifetimes.end(Past.EVENTS, over_since=outcome.processed_at)
        values: dict[str, Value] = {
            "status": outcome.status,
            "processed_at": outcome.processed_at,
            FORGET_AT: forget_at,
            **owed,
        }
        if outcome.problem is not None:
            values["problem"] = outcome.problem
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
        expression += f" REMOVE {BYTES_AND_LETTER}" if owed else f" REMOVE #waiting_for, {BYTES_AND_LETTER}"
        try:
            self._db.update(
                Table.EVENTS,
                {"event": key},
                expression,
                values=values,
                condition="attribute_exists(#event) AND attribute_not_exists(#processed_at)",
            )
        except ConditionFailedError as error:
            if error.item is not None:
                self.pay_what_event_owes(error.item)
            return Committed.DUPLICATE
        self.pay_what_event_owes({"event": key, "contract_id": change.contract_id, **owed})
        return Committed.COMMITTED

    def pay_what_event_owes(self, event: Item) -> None:
        """Move what an event's item says is owed into the deliveries table, and let it be forgotten there."""
        if "owed" not in event:
            return
        self._fan_out(event)
        self._db.update(Table.EVENTS, {"event": event["event"]}, "REMOVE #owed, #waiting_for", values={})

    def complete_own_step(self, contract_id: ContractId, event: str) -> bool:
        """Tell whether the event has a step on its contract already, and if so complete it."""
        steps = read_steps(self._db, contract_id, is_whole=True)
        own = next((item for item in steps if item.get("event") == event), None)
        if own is not None:
            self._complete(own, self._db.get(Table.CONTRACTS, head_key(contract_id)))
        return own is not None


def read_steps(db: DynamoDB, contract_id: ContractId, *, is_whole: bool = False) -> Sequence[Item]:
    """Return the items of a contract's steps, in order; ``is_whole``: with all that they carry."""
    query = Query(
        table=Table.CONTRACTS,
        where="#contract_id = :contract AND #seq BETWEEN :first AND :last",
        values={"contract": contract_id, "first": HEAD + 1, "last": REVISIONS_MAX},
        attributes=() if is_whole else ("step",),
    )
    return list(db.query(query))


def _event_of(outcome: EventOutcome) -> str:
    return event_key(outcome.source, outcome.event_id)


def _is_same_event(earlier: Item, item: Item) -> bool:
    return "event" in item and earlier.get("event") == item["event"]


def _is_same_change(earlier: Item, item: Item) -> bool:
    """Tell whether the step that stands there is of the same event, or the same timer's, whose first try got lost."""
    return _is_same_event(earlier, item) or bool(
        "event" not in earlier and "event" not in item and earlier["step"] == item["step"]
    )
