"""How what is listed by time is spread over partitions, and the calendar that knows which of them hold anything.

An index has one partition a month and id, or one an hour, status and shard. A reader who walks back through time would
ask for many that are empty, so a writer notes each one before its first item: the *calendar*, items of the contracts
table under names that no contract can have. A process notes a bucket once; the rest is remembered.
"""

import heapq
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from moneta.adapters.aws.attributes import Item, Key
from moneta.adapters.aws.dynamodb import DynamoDB, Query, Table
from moneta.domain.identifiers import ContractId, UnixMillis, UnixSeconds
from moneta.domain.limits import CACHE_ENTRIES_MAX

SHARDS: Final = 16
HOUR_S: Final = 3_600
SLOTS_PAGE: Final = 100

CONTRACT_HOURS: Final = "#hours"
CONTRACT_MONTHS: Final = "#months"
EXPIRY_HOURS: Final = "#expiries"
DELIVERY_MONTHS: Final = "#deliveries"

MILLIS_DIGITS: Final = 15
MOMENT_END: Final = UnixMillis(253_402_300_799_999)
"""The end of the year 9999, after which there are no months."""


def hour_of(moment: UnixMillis) -> int:
    """Return the hour since 1970 that ``moment`` is in."""
    return moment // 1000 // HOUR_S


def expiry_hour(term: UnixSeconds) -> int:
    """Return the hour since 1970 that ``term`` is in."""
    return term // HOUR_S


def month_of(moment: UnixMillis) -> int:
    """Return the month, in UTC, that ``moment`` is in, as the number yyyymm."""
    date = datetime.fromtimestamp(min(moment, MOMENT_END) // 1000, tz=UTC)
    return date.year * 100 + date.month


def start_of_hour(hour: int) -> UnixMillis:
    """Return the moment at which an hour begins."""
    return UnixMillis(hour * HOUR_S * 1000)


def start_of_month(month: int) -> UnixMillis:
    """Return the moment at which a month begins."""
    return UnixMillis(int(datetime(month // 100, month % 100, 1, tzinfo=UTC).timestamp()) * 1000)


def shard_of(name: str) -> int:
    """Return the shard that ``name`` belongs to."""
    return zlib.crc32(name.encode("utf-8")) % SHARDS


def month_bucket(name: str, month: int) -> str:
    """Return the partition of ``name``'s items of a month."""
    return f"{name}#{month:06d}"


def status_bucket(status: str, hour: int, shard: int) -> str:
    """Return the partition of contracts of a status that were received in an hour."""
    return f"{status}#{hour}#{shard}"


def expiry_bucket(hour: int, shard: int) -> str:
    """Return the partition of pending contracts whose term ends in an hour."""
    return f"{hour}#{shard}"


def time_key(moment: UnixMillis, name: str) -> str:
    """Return a sort key that orders by ``moment``, and by ``name`` where two moments are the same."""
    return f"{moment:0{MILLIS_DIGITS}d}#{name}"


def contract_of(key: str) -> ContractId:
    """Return the contract that a ``time_key`` was made for."""
    return ContractId(key.split("#", 1)[1])


def moment_of(key: str) -> UnixMillis:
    """Return the moment that a ``time_key`` was made for."""
    return UnixMillis(int(key[:MILLIS_DIGITS]))


def merged(partitions: Sequence[Iterator[Item]], name: str, *, reverse: bool = False) -> Iterator[Item]:
    """Give the items of partitions, each in the order of its key ``name``, in that order over all."""
    return heapq.merge(*partitions, key=lambda item: item[name], reverse=reverse)


class Calendar:
    """Which buckets hold anything. A bucket is a slot (an hour, a month) of a kind, with tags (statuses) in it."""

    def __init__(self, db: DynamoDB) -> None:
        self._db = db
        self._noted: set[tuple[str, int, str]] = set()

    def note(self, kind: str, slot: int, tag: str) -> None:
        """Make sure that the bucket is known, before something is put into it."""
        if (kind, slot, tag) in self._noted:
            return
        key: Key = {"contract_id": kind, "seq": slot}
        self._db.update(Table.CONTRACTS, key, "ADD #tags :tags", values={"tags": frozenset({tag})})
        if len(self._noted) >= CACHE_ENTRIES_MAX:
            self._noted.clear()
        self._noted.add((kind, slot, tag))

    def slots(
        self, kind: str, *, low: int, high: int, is_descending: bool = False
    ) -> Iterator[tuple[int, frozenset[str]]]:
        """Give the slots of a kind from ``low`` to ``high``, both inclusive, with the tags of each."""
        found = self._db.query(
            Query(
                table=Table.CONTRACTS,
                where="#contract_id = :kind AND #seq BETWEEN :low AND :high",
                values={"kind": kind, "low": low, "high": max(low, high)},
                is_descending=is_descending,
                page=SLOTS_PAGE,
            )
        )
        return ((item["seq"], item["tags"]) for item in found if low <= item["seq"] <= high)
