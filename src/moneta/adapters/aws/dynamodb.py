"""The low-level client: attribute values, conditional writes, pages and batches, and what DynamoDB's errors mean.

The rules:

1. What becomes of errors is in ``clients``.
2. A write that was tried again may have been done the first time. Every write is therefore conditional or idempotent.
   One with a condition leaves a *mark* in the item, chosen by chance, so that its own second try, whose condition no
   longer holds, is known for what it is; else the condition that failed gives back the item that stands there.
3. In expressions every attribute stands as ``#name`` and every value as ``:name``; many names are reserved words.
"""

import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypedDict, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from moneta.adapters.aws.attributes import Item, Key, Raw, Value, names_in, pack, pack_values, unpack
from moneta.adapters.aws.clients import CONNECTIONS_MAX, ours
from moneta.adapters.aws.lifetimes import FORGET_AT, Lifetimes
from moneta.domain.errors import StoreUnavailableError

MARK: Final = "mark"
MARK_BYTES: Final = 8
THREADS_MAX: Final = CONNECTIONS_MAX
BATCH_GET_MAX: Final = 100
BATCH_TRIES_MAX: Final = 6
BATCH_WAIT_S: Final = 0.05
TRANSACTION_ACTIONS_MAX: Final = 100

UNAVAILABLE_CODES: Final = frozenset(
    {"ProvisionedThroughputExceededException", "TransactionConflictException", "TransactionInProgressException"}
)
"""Beside those of every service."""
UNAVAILABLE_REASONS: Final = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError"})
CONDITION_REASONS: Final = frozenset({"None", "ConditionalCheckFailed", "TransactionConflict"})
"""Why an action of a transaction was not done, where all the others give no other reason than these."""

Given = TypeVar("Given")
Got = TypeVar("Got")


class Table(StrEnum):
    """The tables, under the names that follow the prefix."""

    EVENTS = "events"
    CONTRACTS = "contracts"
    DELIVERIES = "deliveries"
    DIRECTORY = "directory"


# fmt: off
PARTITION_KEYS: Final[Mapping[Table, str]] = {
    Table.EVENTS:      "event",
    Table.CONTRACTS:   "contract_id",
    Table.DELIVERIES:  "contract_id",
    Table.DIRECTORY:   "object",
}
# fmt: on


class ConditionFailedError(Exception):
    """A conditional write found something else; ``item`` is what stands there, None if nothing does."""

    def __init__(self, item: Item | None) -> None:
        super().__init__("the condition of a write failed")
        self.item = item


class TransactionFailedError(Exception):
    """A transaction was cancelled; ``failed`` has the places of the actions whose condition did not hold.

    None of them: another transaction was at the same items.
    """

    def __init__(self, failed: Sequence[int]) -> None:
        super().__init__(f"a transaction was cancelled; conditions that failed: {list(failed)}")
        self.failed = failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The items of one partition of a table or of one of its indexes, in the order of the sort key.

    ``where``: the key condition. ``page``: how many items a call fetches. Reads of an index are never consistent.
    """

    table: Table
    where: str
    values: Mapping[str, Value]
    index: str | None = None
    is_descending: bool = False
    page: int = 1_000
    attributes: tuple[str, ...] = ()

    def arguments(self) -> Raw:
        """Return what the client takes, but for the table's name."""
        shown = ", ".join(f"#{name}" for name in self.attributes)
        arguments: Raw = {
            "KeyConditionExpression": self.where,
            "ExpressionAttributeNames": names_in(self.where, shown),
            "ExpressionAttributeValues": pack_values(self.values),
            "ScanIndexForward": not self.is_descending,
            "Limit": self.page,
        }
        if self.attributes:
            arguments["ProjectionExpression"] = shown
        return arguments | ({"ConsistentRead": True} if self.index is None else {"IndexName": self.index})


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write of a transaction: an item that is put, an update, or a deletion.

    See ``DynamoDB.put`` and ``DynamoDB.update``.
    """

    table: Table
    item: Item | None = None
    key: Key | None = None
    expression: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    condition: str = ""
    is_deletion: bool = False


class WhereNoneIs(TypedDict):
    """A condition of a write, with its values."""

    condition: str
    values: Mapping[str, Value]


class DynamoDB:
    """The tables under one prefix. Safe for threads."""

    def __init__(
        self,
        client: Any,  # botocore has no types
        *,
        prefix: str,
        lifetimes: Lifetimes,
        batch_wait_s: float = BATCH_WAIT_S,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._lifetimes = lifetimes
        self._batch_wait_s = batch_wait_s
        self._threads = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="dynamodb")

    def close(self) -> None:
        """Close every connection."""
        self._threads.shutdown()
        self._client.close()

    def table_name(self, table: Table) -> str:
        """Return the table's whole name."""
        return f"{self._prefix}{table}"

    def each(self, do: Callable[[Given], Got], given: Sequence[Given]) -> list[Got]:
        """Return what ``do`` gives for each, in order, many at once; never to be called from within ``do``.

        All are brought to their end before the first error is raised.
        """
        if len(given) == 1:
            return [do(given[0])]  # The common case in a function; and its calls stay in a known order.
        futures = [self._threads.submit(do, one) for one in given]
        errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            raise errors[0]
        return [future.result() for future in futures]

    def get(self, table: Table, key: Key) -> Item | None:
        """Return an item as it is now; None if there is none."""
        found = self.call("get_item", table, Key=pack(key), ConsistentRead=True)
        return next(iter(self._unpack([found["Item"]] if "Item" in found else [])), None)

    def put_new(self, table: Table, item: Item) -> Item | None:
        """Put an item where none is, and return None; else return the one that is there, and change nothing."""
        try:
            self.put(table, item, **self.where_none_is(table))
        except ConditionFailedError as error:
            return error.item
        return None

    def where_none_is(self, table: Table) -> WhereNoneIs:
        """Return the condition, with its values, that no item is there, or one that has ended."""
        condition = f"attribute_not_exists(#{PARTITION_KEYS[table]}) OR #{FORGET_AT} < :now"
        return {"condition": condition, "values": {"now": self._lifetimes.now()}}

    def put(self, table: Table, item: Item, *, condition: str, values: Mapping[str, Value] | None = None) -> None:
        """Put an item over whatever is there.

        Raises:
            ConditionFailedError: ``condition`` does not hold, and nothing was changed.
        """
        mark = secrets.token_bytes(MARK_BYTES)
        write = Write(table=table, item={**item, MARK: mark}, condition=condition, values=values or {})
        self._write_once("put_item", table, _put_arguments(write), mark)

    def update(
        self, table: Table, key: Key, expression: str, *, values: Mapping[str, Value], condition: str = ""
    ) -> None:
        """Change attributes of an item.

        Raises:
            ConditionFailedError: ``condition`` does not hold, and nothing was changed.
        """
        mark = secrets.token_bytes(MARK_BYTES)
        if condition:
            rest = f", {expression.removeprefix('SET ')}" if expression.startswith("SET ") else f" {expression}"
            expression, values = f"SET #{MARK} = :{MARK}{rest}", {**values, MARK: mark}
        write = Write(table=table, key=key, expression=expression, values=values, condition=condition)
        self._write_once("update_item", table, _update_arguments(write), mark)

    def update_and_read(self, table: Table, key: Key, expression: str, *, values: Mapping[str, Value]) -> Item:
        """Change attributes of an item, and return it as it is then. A retried call may have changed it twice."""
        arguments = _update_arguments(Write(table=table, key=key, expression=expression, values=values))
        return unpack(self.call("update_item", table, **arguments, ReturnValues="ALL_NEW")["Attributes"])

    def _write_once(self, operation: str, table: Table, arguments: Raw, mark: bytes) -> None:
        """Write, and take no notice of a condition that fails since the first try of this very call was done."""
        try:
            self.call(operation, table, **arguments)
        except ConditionFailedError as error:
            if error.item is None or error.item.get(MARK) != mark:
                raise

    def transact(self, writes: Sequence[Write], *, request_id: str) -> None:
        """Do every write or none. The same ``request_id`` within ten minutes is done once.

        Raises:
            TransactionFailedError: Nothing was changed.
        """
        actions = [self._action(write) for write in writes]
        self._call("transact_write_items", {"TransactItems": actions, "ClientRequestToken": request_id})

    def _action(self, write: Write) -> Raw:
        table = {"TableName": self.table_name(write.table)}
        if write.item is not None:
            return {"Put": {**table, **_put_arguments(write)}}
        if write.is_deletion:
            return {"Delete": {**table, "Key": pack(write.key or {}), **_condition_arguments(write)}}
        return {"Update": {**table, **_update_arguments(write)}}

    def query(self, query: Query) -> Iterator[Item]:
        """Give the query's items, a page at a time, for as long as they are asked for."""
        return self._rest(query, self._page(query, None))

    def query_many(self, queries: Sequence[Query]) -> list[Iterator[Item]]:
        """Give each query's items. The first pages are fetched at once, all together."""
        pages = self.each(lambda query: self._page(query, None), queries)
        return [self._rest(query, page) for query, page in zip(queries, pages, strict=True)]

    def _rest(self, query: Query, page: Raw) -> Iterator[Item]:
        while True:  # ends with the last page: a partition is finite
            yield from self._unpack(page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            page = self._page(query, page["LastEvaluatedKey"])

    def _page(self, query: Query, after: Raw | None) -> Raw:
        start = {} if after is None else {"ExclusiveStartKey": after}
        return self.call("query", query.table, **query.arguments(), **start)

    def scan(self, table: Table, *, index: str | None = None, attributes: Sequence[str]) -> Iterator[Item]:
        """Give the ``attributes`` of every item of a table or an index: for sparse indexes and small hubs."""
        shown = ", ".join(f"#{name}" for name in attributes)
        arguments: Raw = {"ProjectionExpression": shown, "ExpressionAttributeNames": names_in(shown)}
        arguments |= {"ConsistentRead": True} if index is None else {"IndexName": index}
        page = self.call("scan", table, **arguments)
        while True:  # ends with the last page: a table is finite
            yield from self._unpack(page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            page = self.call("scan", table, **arguments, ExclusiveStartKey=page["LastEvaluatedKey"])

    def batch_get(self, table: Table, keys: Sequence[Key], *, attributes: Sequence[str] = ()) -> list[Item]:
        """Return those of the items that exist, as they are now, in no order. No key may stand twice."""
        chunks = [keys[start : start + BATCH_GET_MAX] for start in range(0, len(keys), BATCH_GET_MAX)]
        return [
            item for chunk in self.each(lambda one: self._get_chunk(table, one, attributes), chunks) for item in chunk
        ]

    def _get_chunk(self, table: Table, keys: Sequence[Key], attributes: Sequence[str]) -> list[Item]:
        request: Raw = {"Keys": [pack(key) for key in keys], "ConsistentRead": True}
        if attributes:
            shown = ", ".join(f"#{name}" for name in attributes)
            request |= {"ProjectionExpression": shown, "ExpressionAttributeNames": names_in(shown)}
        name, requests = self.table_name(table), {self.table_name(table): request}
        items: list[Item] = []
        for number in range(BATCH_TRIES_MAX):
            found = self._call("batch_get_item", {"RequestItems": requests})
            items += self._unpack(found["Responses"].get(name, ()))
            requests = found.get("UnprocessedKeys") or {}
            if not requests:
                return items
            # Full jitter, so that those who were throttled together do not come back together.
            time.sleep(self._batch_wait_s * 2**number * random.random())  # noqa: S311  # spreads load, guards nothing
        raise StoreUnavailableError(f"DynamoDB: {name}: keys were left unread {BATCH_TRIES_MAX} times")

    def _unpack(self, found: Iterable[Raw]) -> Iterator[Item]:
        """Give the items that have not ended."""
        return (item for item in map(unpack, found) if not self._lifetimes.has_ended(item))

    def call(self, operation: str, table: Table, **arguments: Any) -> Raw:  # botocore has no types
        """Call the client on a table. See ``_call``."""
        return self._call(operation, {"TableName": self.table_name(table), **arguments})

    def _call(self, operation: str, arguments: Raw) -> Raw:
        """Call the client.

        Raises:
            ConditionFailedError, TransactionFailedError: See there.
            StoreUnavailableError: The service could not do it, or it is not known whether it did; MisconfiguredError,
                if it never will, as things are.
        """
        try:
            return dict(getattr(self._client, operation)(**arguments))
        except ClientError as error:
            raise _answered(error) or ours(error, self._client, _what(arguments)) or error from error
        except BotoCoreError as error:
            raise ours(error, self._client, _what(arguments)) or error from error


def _answered(error: Any) -> Exception | None:  # botocore has no types
    """Return our error for what only DynamoDB says."""
    response: Raw = error.response
    code = str(response.get("Error", {}).get("Code"))
    if code == "ConditionalCheckFailedException":
        return ConditionFailedError(unpack(response["Item"]) if "Item" in response else None)
    reasons = [str(reason.get("Code")) for reason in response.get("CancellationReasons", ())]
    if code == "TransactionCanceledException" and set(reasons) <= CONDITION_REASONS:
        return TransactionFailedError([place for place, why in enumerate(reasons) if why == "ConditionalCheckFailed"])
    if code in UNAVAILABLE_CODES or UNAVAILABLE_REASONS & set(reasons):
        return StoreUnavailableError(f"DynamoDB: {error.operation_name}: {code}")
    return None


def _what(arguments: Raw) -> str:
    """Return which tables a call is about, for a message."""
    actions = [action for one in arguments.get("TransactItems", ()) for action in one.values()]
    named = {one["TableName"] for one in (arguments, *actions) if "TableName" in one}
    return f"table {', '.join(sorted(named.union(arguments.get('RequestItems', ()))))}"


def _put_arguments(write: Write) -> Raw:
    return {"Item": pack(write.item or {}), **_condition_arguments(write)}


def _update_arguments(write: Write) -> Raw:
    return {"Key": pack(write.key or {}), "UpdateExpression": write.expression, **_condition_arguments(write)}


def _condition_arguments(write: Write) -> Raw:
    arguments: Raw = {}
    if names := names_in(write.expression, write.condition):
        arguments["ExpressionAttributeNames"] = names
    if write.values:
        arguments["ExpressionAttributeValues"] = pack_values(write.values)
    if write.condition:
        arguments |= {"ConditionExpression": write.condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    return arguments
