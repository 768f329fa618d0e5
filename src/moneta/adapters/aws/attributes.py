"""Items as the program has them, and as DynamoDB takes them: texts, numbers, bytes, sets of texts, lists of bytes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

Value = str | int | bytes | frozenset[str] | Sequence[bytes]
Item = Mapping[str, Any]  # What this package wrote vouches for the types of the attributes, which mypy can't know.
Key = Mapping[str, str | int]
Raw = dict[str, Any]  # botocore has no types.

_NAME: Final = re.compile(r"#(\w+)", re.ASCII)


def pack(item: Item) -> Raw:
    """Return an item as the service takes it; what is None is left out."""
    return {name: _pack_value(value) for name, value in item.items() if value is not None}


def pack_values(values: Mapping[str, Value]) -> Raw:
    """Return values for an expression, which names each of them with a colon."""
    return {f":{name}": _pack_value(value) for name, value in values.items()}


def unpack(raw: Raw) -> Item:
    """Return an item as ``pack`` was given it."""
    return {name: _unpack_value(value) for name, value in raw.items()}


def _pack_value(value: Value) -> Raw:
    match value:
        case str():
            return {"S": str(value)}
        case int():
            return {"N": str(value)}
        case bytes():
            return {"B": value}
        case frozenset():
            return {"SS": sorted(value)}
        case _:
            return {"L": [{"B": element} for element in value]}


def _unpack_value(raw: Raw) -> Value:
    ((kind, value),) = raw.items()
    match kind:
        case "N":
            return int(value)
        case "SS":
            return frozenset(value)
        case "L":
            return [bytes(element["B"]) for element in value]
        case "B":
            return bytes(value)
        case _:
            return str(value)


def names_in(*expressions: str) -> dict[str, str]:
    """Return the attributes that expressions name, each with a ``#`` before it: many names are reserved words."""
    return {f"#{name}": name for expression in expressions for name in _NAME.findall(expression)}
