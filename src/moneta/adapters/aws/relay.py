"""Completes what was committed and not finished: steps that the contracts table's stream tells of, and waiting events.

A step is finished once its contract's head has come to it (``commits``), but for the outcome of its event: that comes
last, and until then the event's message is in the queue, which brings it back. What may not be there is sent.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from moneta.adapters.aws.attributes import Item
from moneta.adapters.aws.commits import Commits
from moneta.adapters.aws.dynamodb import DynamoDB, Query, Table
from moneta.adapters.aws.events import OWING, DynamoDBEventStore
from moneta.adapters.aws.tables import WAITING
from moneta.domain.identifiers import ContractId, Revision

WAITING_LOOKED_AT_MAX: Final = 1_000
"""How many events one look completes: of those the queue brings back, too, so that a long queue costs no more."""


class DynamoDBRelay:
    """See ``ports.Relay``."""

    def __init__(self, db: DynamoDB, commits: Commits, events: DynamoDBEventStore) -> None:
        self._db = db
        self._commits = commits
        self._events = events

    def complete(self, steps: Sequence[tuple[ContractId, Revision]]) -> int:
        """See Relay.complete."""
        last: dict[ContractId, Revision] = {}
        for contract_id, revision in steps:
            last[contract_id] = max(revision, last.get(contract_id, revision))
        return sum(self._db.each(lambda one: self._commits.finish(*one), list(last.items())))

    def complete_waiting(self) -> int:
        """See Relay.complete_waiting."""
        owing = Query(table=Table.EVENTS, index=WAITING, where="#waiting_for = :owing", values={"owing": OWING})
        waiting = self._db.scan(Table.EVENTS, index=WAITING, attributes=("event", "waiting_for", "received_at"))
        events = {
            entry["event"]: entry
            for entries in (self._db.query(owing), waiting)
            for entry in islice(entries, WAITING_LOOKED_AT_MAX)
        }
        completed = sum(self._db.each(self._complete_event, list(events.values())))
        return completed + self._events.send_unsent([one for one in events.values() if one["waiting_for"] != OWING])

    def _complete_event(self, entry: Item) -> bool:
        if entry["waiting_for"] != OWING:
            return self._commits.complete_own_step(entry["waiting_for"], entry["event"])
        event = self._db.get(Table.EVENTS, {"event": entry["event"]})
        if event is None or "owed" not in event:
            return False
        self._commits.pay_what_event_owes(event)
        return True
