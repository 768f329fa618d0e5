"""Dead letters: events that no try could process, in their items, and in a sparse index of their own, oldest first.

SQS deletes what is fourteen days old, and can't be listed; what was answered 202 is neither lost nor forgotten here. An
item that is a letter has the event's bytes again. The rules:

1. An event that dies is a new letter, even if it is one already: ``deaths`` counts, and stands in the letter's id.
2. Who redrives a letter claims it for a while, sends the message, and then removes the letter, if it is still that
   one. Who dies between the two leaves both, and the letter can be claimed again: a message too many is harmless.
3. An outcome removes the letter (``commits``), and what has one does not become a letter.
"""

import hashlib
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from moneta.adapters.aws.attributes import Item, Value
from moneta.adapters.aws.buckets import SHARDS, merged, shard_of, time_key
from moneta.adapters.aws.contract_items import event_key, parse_event_key
from moneta.adapters.aws.dynamodb import BATCH_GET_MAX, ConditionFailedError, DynamoDB, Query, Table
from moneta.adapters.aws.events import LETTER, event_item
from moneta.adapters.aws.pages import Seen, decode_cursor, fill_page
from moneta.adapters.aws.tables import LETTERS
from moneta.application.ports import DeadLetter, NewEvent, Page, QueuedEvent
from moneta.domain.errors import MalformedJWSError, StoreUnavailableError
from moneta.domain.identifiers import UnixMillis
from moneta.domain.limits import BACKLOG_COUNTED_MAX
from moneta.signing import base64url

CLAIM_MS: Final = 30_000
TRIES_MAX: Final = 5
LIST: Final = ("dead letters",)
_LETTER_ID: Final = re.compile(r"([1-9][0-9]{0,8})\.([!-~]+#[!-~]+)", re.ASCII)


class Letters:
    """The dead letters of the events table."""

    def __init__(self, db: DynamoDB) -> None:
        self._db = db

    def write(self, event: QueuedEvent, *, reason: str, died_at: UnixMillis) -> None:
        """Make a letter of an event, unless it has an outcome.

        Raises:
            StoreUnavailableError: It is no letter, since others kept changing its item.
        """
        facts = {"raw": event.raw, "reason": reason, "tries": event.tries, "died_at": died_at, **_place(event, died_at)}
        for _ in range(TRIES_MAX):
            item = self._db.get(Table.EVENTS, {"event": event_key(event.source, event.event_id)})
            if item is None:  # the table is an older one, restored: what is in the queue was accepted all the same
                item = event_item(_accepted(event), received_at=event.received_at, keeps_bytes=True)
                self._db.put_new(Table.EVENTS, item)
            if "processed_at" in item or self._write_over(item, facts):
                return
        raise StoreUnavailableError(f"event {event.event_id} of {event.source}: could not be made a dead letter")

    def _write_over(self, item: Item, facts: Item) -> bool:
        before = item.get("deaths", 0)
        values = {**facts, "deaths": before + 1}
        changes = ", ".join(f"#{name} = :{name}" for name in values)
        has_died = "#deaths = :before" if before else "attribute_not_exists(#deaths)"
        try:
            self._db.update(
                Table.EVENTS,
                {"event": item["event"]},
                f"SET {changes} REMOVE #claimed_until",
                values=values | ({"before": before} if before else {}),
                condition=f"attribute_exists(#event) AND attribute_not_exists(#processed_at) AND {has_died}",
            )
        except ConditionFailedError:
            return False
        return True

    def page(self, *, limit: int, cursor: str | None) -> Page[DeadLetter]:
        """See EventQueue.dead_letters."""
        after = decode_cursor(LIST, cursor) or ""
        seen = (Seen(item["letter_key"], letter_of(item)) for item in self._items(after, limit + 1))
        return fill_page(LIST, seen, limit)

    def keys(self) -> frozenset[str]:
        """Return the keys of the events that are letters: as many as are counted."""
        return frozenset(entry["event"] for entry in islice(self._entries(""), BACKLOG_COUNTED_MAX))

    def _items(self, after: str, page: int) -> Iterator[Item]:
        entries = self._entries(after)
        while chunk := {one["event"]: one["letter_key"] for one in islice(entries, min(page, BATCH_GET_MAX))}:
            found = self._db.batch_get(Table.EVENTS, [{"event": event} for event in chunk])
            current = [item for item in found if item.get("letter_key") == chunk[item["event"]]]  # an index lags
            yield from sorted(current, key=lambda item: str(item["letter_key"]))

    def _entries(self, after: str) -> Iterator[Item]:
        queries = [
            Query(
                table=Table.EVENTS,
                index=LETTERS,
                where="#letter_bucket = :bucket AND #letter_key > :after",
                values={"bucket": _bucket(shard), "after": after or " "},
            )
            for shard in range(SHARDS)
        ]
        return merged(self._db.query_many(queries), "letter_key")

    def claim(self, letter_id: str, *, now: UnixMillis) -> Item | None:
        """Return a letter's item, for nobody else for a while; None if it is not there, no more, or another's."""
        event, deaths = _parse_id(letter_id)
        item = None if event is None else self._db.get(Table.EVENTS, {"event": event})
        if item is None or LETTER not in item or item["deaths"] != deaths:
            return None
        is_free = "(attribute_not_exists(#claimed_until) OR #claimed_until <= :now)"
        is_claimed = self._change(item, "SET #claimed_until = :until", is_free, until=now + CLAIM_MS, now=now)
        return item if is_claimed else None

    def let_go(self, item: Item) -> None:
        """End the claim of a letter that could not be redriven."""
        self._change(item, "SET #claimed_until = :past", "attribute_exists(#claimed_until)", past=0)

    def remove(self, item: Item, *, now: UnixMillis) -> None:
        """Remove a letter that was redriven, if it is still that one."""
        expression = f"SET #redriven_at = :now REMOVE #{LETTER}, #letter_key, #raw, #claimed_until"
        self._change(item, expression, "attribute_exists(#claimed_until)", now=now)

    def _change(self, item: Item, expression: str, condition: str, **values: Value) -> bool:
        """Change a letter that has not died again in the meantime, and tell whether it was there."""
        try:
            self._db.update(
                Table.EVENTS,
                {"event": item["event"]},
                expression,
                values={"deaths": item["deaths"], **values},
                condition=f"#deaths = :deaths AND attribute_exists(#{LETTER}) AND {condition}",
            )
        except ConditionFailedError:
            return False
        return True


def letter_of(item: Item) -> DeadLetter:
    """Return the letter that an event's item is."""
    source, event_id = parse_event_key(item["event"])
    return DeadLetter(
        letter_id=base64url.encode(f"{item['deaths']}.{item['event']}".encode()),
        source=source,
        event_id=event_id,
        contract_id=item["contract_id"],
        tries=item["tries"],
        died_at=item["died_at"],
        reason=item["reason"],
    )


def _place(event: QueuedEvent, died_at: UnixMillis) -> Item:
    key = event_key(event.source, event.event_id)
    return {LETTER: _bucket(shard_of(key)), "letter_key": time_key(died_at, key)}


def _bucket(shard: int) -> str:
    return f"dead#{shard}"


def _parse_id(letter_id: str) -> tuple[str | None, int]:
    try:
        found = _LETTER_ID.fullmatch(base64url.decode(letter_id, what="letter").decode("ascii"))
    except (MalformedJWSError, UnicodeDecodeError):
        found = None
    return (None, 0) if found is None else (found[2], int(found[1]))


def _accepted(event: QueuedEvent) -> NewEvent:
    return NewEvent(
        source=event.source,
        event_id=event.event_id,
        type=event.type,
        contract_id=event.contract_id,
        raw=event.raw,
        digest=hashlib.sha256(event.raw).digest(),
        registry_seq=event.registry_seq,
    )
