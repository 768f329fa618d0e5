"""Lists of contracts: walks back through the buckets of one index, merged by time, each contract read as it is now.

The index that fits a query best gives the candidates: an mPass, an MO, a publisher, whoever asks, a status, and last
the hours of all. The heads decide, so what an index shows too long is left out.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Final

from moneta.adapters.aws.attributes import Item, Key
from moneta.adapters.aws.buckets import (
    CONTRACT_HOURS,
    CONTRACT_MONTHS,
    EXPIRY_HOURS,
    MOMENT_END,
    SHARDS,
    Calendar,
    contract_of,
    expiry_bucket,
    expiry_hour,
    hour_of,
    merged,
    moment_of,
    month_bucket,
    month_of,
    start_of_hour,
    start_of_month,
    status_bucket,
    time_key,
)
from moneta.adapters.aws.contract_items import head_key, is_pending, summary_of
from moneta.adapters.aws.dynamodb import ConditionFailedError, DynamoDB, Query, Table
from moneta.adapters.aws.pages import Seen, decode_cursor, fill_page
from moneta.adapters.aws.tables import EXPIRY, INDEXES, MO_ID, MPASS_ID, PUBLISHER_ID, STATUS
from moneta.application.ports import Clock, ContractQuery, ContractSummary, Page
from moneta.domain.identifiers import ContractId, OrganizationId, UnixMillis, UnixSeconds
from moneta.domain.limits import JSON_INTEGER_MAX

HEADS_MAX: Final = 100
SWEPT_MARGIN_HOURS: Final = 2
"""For how long after its end an hour is still looked into, though it was found empty: clocks differ, indexes lag."""
HOURS_END: Final = 10**13
SWEPT_KEY: Final[Key] = {"contract_id": "#swept", "seq": 0}

PARTITION_KEYS: Final = {name: INDEXES[Table.CONTRACTS][name][0] for name in (MO_ID, PUBLISHER_ID, MPASS_ID, STATUS)}


@dataclass(frozen=True, slots=True)
class _Bucket:
    """The partitions, each with its index, that hold the contracts of a month or an hour, which began at ``start``."""

    partitions: Sequence[tuple[str, str]]
    start: UnixMillis


class ContractLists:
    """The queries of ``ports.ContractStore``."""

    def __init__(self, db: DynamoDB, clock: Clock, *, calendar: Calendar) -> None:
        self._db = db
        self._clock = clock
        self._calendar = calendar
        self._swept_to: int | None = None

    def list(self, query: ContractQuery) -> Page[ContractSummary]:
        """See ContractStore.list."""
        asked = ("contracts", replace(query, limit=0, cursor=None))
        return fill_page(asked, self._seen(query, asked, lambda head: _fits(head, query)), query.limit)

    def pending_with(self, organization: OrganizationId, *, limit: int, cursor: str | None) -> Page[ContractId]:
        """See ContractStore.pending_with."""
        query = ContractQuery(visible_to=organization, limit=limit, cursor=cursor)
        asked = ("pending_with", organization)
        page = fill_page(asked, self._seen(query, asked, lambda head: is_pending(head["status"])), limit)
        return Page(items=[one.contract_id for one in page.items], next_cursor=page.next_cursor)

    def _seen(
        self, query: ContractQuery, asked: object, fits: Callable[[Item], bool]
    ) -> Iterator[Seen[ContractSummary]]:
        """Give the contracts of the query's buckets, the latest first, as they are now."""
        high = decode_cursor(asked, query.cursor) or _end_of(query)
        for bucket in self._buckets(query, high):
            for head in self._heads(bucket, low=_start_of(query), high=high, page=query.limit + 1):
                yield Seen(head["received_key"], summary_of(head) if fits(head) else None)
            yield Seen(time_key(bucket.start, ""), cost=len(bucket.partitions))

    def _buckets(self, query: ContractQuery, high: str) -> Iterator[_Bucket]:
        """Give the buckets that can hold what the query asks for below ``high``, the latest first."""
        low_ms, high_ms = moment_of(_start_of(query)), moment_of(high)
        names = _names(query)
        if names:
            months = self._calendar.slots(
                CONTRACT_MONTHS, low=month_of(low_ms), high=month_of(high_ms), is_descending=True
            )
            for month, _ in months:
                partitions = [(index, month_bucket(name, month)) for index, name in names]
                yield _Bucket(partitions, start_of_month(month))
            return
        hours = self._calendar.slots(CONTRACT_HOURS, low=hour_of(low_ms), high=hour_of(high_ms), is_descending=True)
        for hour, statuses in hours:
            wanted = statuses if query.status is None else statuses & {query.status}
            shards = [(STATUS, status_bucket(status, hour, shard)) for status in wanted for shard in range(SHARDS)]
            if shards:
                yield _Bucket(shards, start_of_hour(hour))

    def _heads(self, bucket: _Bucket, *, low: str, high: str, page: int) -> Iterator[Item]:
        """Give the heads of a bucket's contracts between two keys, the latest first, as they are now."""
        low = max(low, time_key(bucket.start, ""))
        queries = [
            Query(
                table=Table.CONTRACTS,
                index=index,
                where=f"#{PARTITION_KEYS[index]} = :partition AND #received_key BETWEEN :low AND :high",
                values={"partition": partition, "low": low, "high": high},
                is_descending=True,
                page=page,
            )
            for index, partition in bucket.partitions
        ]
        found = (item["received_key"] for item in merged(self._db.query_many(queries), "received_key", reverse=True))
        keys = (key for key, _ in groupby(found) if key != high)
        while chunk := [contract_of(key) for key in islice(keys, min(page, HEADS_MAX))]:
            heads = {one["contract_id"]: one for one in self._db.batch_get(Table.CONTRACTS, [*map(head_key, chunk)])}
            yield from (heads[contract_id] for contract_id in chunk if contract_id in heads)

    # Expiry.

    def due_to_expire(self, *, before: UnixSeconds, limit: int) -> Sequence[ContractId]:
        """See ContractStore.due_to_expire.

        Looks from the hour up to which everything has ended; what is committed late is never put before that hour.
        """
        now_hour, last_hour = hour_of(self._clock.now_ms()), expiry_hour(before)
        found: list[Item] = []
        for hour, _ in self._calendar.slots(EXPIRY_HOURS, low=self._swept() + 1, high=max(last_hour, now_hour)):
            due = list(islice(self._expiring(hour, before=before), limit))
            if not found and not due and hour < min(last_hour, now_hour - SWEPT_MARGIN_HOURS):
                self._mark_swept(hour)
            found += due
            if len(found) >= limit:
                break
        found.sort(key=lambda item: int(item["expires_at"]))
        return [item["contract_id"] for item in found[:limit]]

    def next_expiry(self) -> UnixSeconds | None:
        """See ContractStore.next_expiry."""
        for hour, _ in self._calendar.slots(EXPIRY_HOURS, low=self._swept() + 1, high=HOURS_END):
            first = next(self._expiring(hour, before=UnixSeconds(JSON_INTEGER_MAX)), None)
            if first is not None:
                return UnixSeconds(first["expires_at"])
        return None

    def _expiring(self, hour: int, *, before: UnixSeconds) -> Iterator[Item]:
        """Give the pending contracts of an hour whose term is over by ``before``, the earliest first."""
        queries = [
            Query(
                table=Table.CONTRACTS,
                index=EXPIRY,
                where="#expiry_bucket = :bucket AND #expires_at <= :before",
                values={"bucket": expiry_bucket(hour, shard), "before": before},
            )
            for shard in range(SHARDS)
        ]
        return merged(self._db.query_many(queries), "expires_at")

    def _swept(self) -> int:
        if self._swept_to is None:
            kept = self._db.get(Table.CONTRACTS, SWEPT_KEY)
            self._swept_to = -1 if kept is None else int(kept["hour"])
        return self._swept_to

    def _mark_swept(self, hour: int) -> None:
        self._swept_to = hour
        with suppress(ConditionFailedError):  # Another process has come farther.
            self._db.update(
                Table.CONTRACTS,
                SWEPT_KEY,
                "SET #hour = :hour",
                values={"hour": hour},
                condition="attribute_not_exists(#hour) OR #hour < :hour",
            )


def _names(query: ContractQuery) -> Sequence[tuple[str, str]]:
    """Return the index that fits the query best, with the id to ask it for; none where only hours and statuses do.

    Whoever asks may be the MO or the publisher of a contract, so that takes two; its ``org_id`` is in one of them.
    """
    for index, name in ((MPASS_ID, query.mpass_id), (MO_ID, query.mo_id), (PUBLISHER_ID, query.publisher_id)):
        if name is not None:
            return [(index, name)]
    return [] if query.visible_to is None else [(MO_ID, query.visible_to), (PUBLISHER_ID, query.visible_to)]


def _fits(head: Item, query: ContractQuery) -> bool:
    """Tell whether a contract is one that the query asks for, but for its time."""
    wanted = {"mpass": query.mpass_id, "mo": query.mo_id, "publisher": query.publisher_id, "status": query.status}
    named = {head.get("mo"), head.get("publisher"), head.get("org")}
    if query.visible_to is not None and query.visible_to not in named:
        return False
    return all(value is None or head.get(name) == value for name, value in wanted.items())


def _start_of(query: ContractQuery) -> str:
    """Return the key that no contract of the query is before."""
    return time_key(UnixMillis(min((query.received_from or 0) * 1000, MOMENT_END)), "")


def _end_of(query: ContractQuery) -> str:
    """Return the key that every contract of the query is before."""
    end = MOMENT_END if query.received_to is None else (query.received_to + 1) * 1000
    return time_key(UnixMillis(min(end, MOMENT_END)), "")
