"""What DynamoDB would bill, by its documented formula, since DynamoDB Local miscounts.

An item's size is that of its names and values: a text or bytes as they are, a number half a byte a digit and one more,
a list three bytes and one an element. A write unit is a started kilobyte of the larger of the item before and after;
each index that the write touches has its own, and two where the index's key changes. A read unit is four started
kilobytes read consistently, half of one otherwise; a query adds its items up first.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from moneta.adapters.aws.dynamodb import Table
from moneta.adapters.aws.tables import INDEXES, KEYS

WRITES = {"put_item", "update_item"}


@dataclass
class Bill:
    """The calls, units and largest items of a stretch of work."""

    calls: Counter = field(default_factory=Counter)
    write_units: Counter = field(default_factory=Counter)
    read_units: Counter = field(default_factory=Counter)
    item_bytes: dict = field(default_factory=dict)


class MeteringClient:
    """A client that keeps a bill. Its own reads, of items before and after a write, are on nobody's bill."""

    def __init__(self, client: Any, *, prefix: str):
        self._client = client
        self._prefix = prefix
        self.bill = Bill()

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)

        def metered(**arguments: Any) -> Any:
            self.bill.calls[operation] += 1
            if operation in WRITES:
                return self._write(call, arguments)
            answer = call(**arguments)
            if operation == "batch_get_item":
                for name, request in arguments["RequestItems"].items():
                    found = list(map(item_size, answer["Responses"].get(name, ())))
                    self._read(name, found + [0] * (len(request["Keys"]) - len(found)))  # one that is not there too
            elif operation in {"get_item", "query"}:
                items = answer["Items"] if operation == "query" else [answer.get("Item", {})]
                is_half = "IndexName" in arguments
                self._read(arguments["TableName"], [sum(map(item_size, items))], factor=0.5 if is_half else 1)
            return answer

        return metered

    def _write(self, call: Any, arguments: dict) -> Any:
        name = arguments["TableName"]
        table = Table(name.removeprefix(self._prefix))
        source = arguments.get("Item") or arguments["Key"]
        key = {attribute: source[attribute] for attribute in KEYS[table]}
        before = self._look(name, key)
        try:
            return call(**arguments)
        finally:  # a condition that failed is billed too
            after = self._look(name, key)
            self.bill.write_units[str(table)] += kilobytes(max(item_size(before), item_size(after)))
            for index, keys in INDEXES[table].items():
                self.bill.write_units[f"{table}/{index}"] += index_units(before, after, keys)
            kind = f"{table} {'step' if 'step' in after else 'head' if 'revision' in after else ''}".strip()
            self.bill.item_bytes[kind] = max(self.bill.item_bytes.get(kind, 0), item_size(after))

    def _look(self, name: str, key: dict) -> dict:
        return self._client.get_item(TableName=name, Key=key, ConsistentRead=True).get("Item", {})

    def _read(self, name: str, sizes: Any, *, factor: float = 1) -> None:
        units = sum(max(1, math.ceil(size / 4096)) * factor for size in sizes)
        self.bill.read_units[name.removeprefix(self._prefix)] += units


def kilobytes(size: int) -> int:
    return max(1, math.ceil(size / 1024))


def index_units(before: dict, after: dict, keys: tuple) -> int:
    old, new = ([item.get(key) for key in keys] for item in (before, after))
    if old == new:
        return 0
    return sum(None not in entry for entry in (old, new))


def item_size(item: dict) -> int:
    return sum(len(name.encode()) + value_size(value) for name, value in item.items())


def value_size(raw: dict) -> int:
    ((kind, value),) = raw.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return math.ceil(len(value.strip("0")) / 2) + 1
        case "L":
            return 3 + sum(1 + value_size(element) for element in value)
        case "SS":
            return sum(len(element.encode()) for element in value)
        case _:
            return len(value)
