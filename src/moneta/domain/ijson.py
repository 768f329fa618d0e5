"""Read I-JSON (RFC 7493), strictly and exactly.

Every parser at hand keeps the last of duplicate names and most read numbers through binary floats, so that two
readers of the same signed bytes could see two contracts. Here a document has one reading or none: no duplicate
names, no NaN or Infinity, no unpaired surrogates, integers within ±(2^53-1), UTF-8 without a byte order mark,
depth within the limit. A number with a fraction or an exponent stays the digits that were written.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from moneta.domain.errors import MalformedJSONError
from moneta.domain.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX


@dataclass(frozen=True, slots=True)
class NumberText:
    """A JSON number kept as its digits, because a float would change them (``100.00``)."""

    digits: str


_TYPE_NAMES: Final = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}

Value = None | bool | int | str | NumberText | Sequence["Value"] | Mapping[str, "Value"]

_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]", re.ASCII)
_INTEGER_DIGITS_MAX: Final = len(str(JSON_INTEGER_MAX)) + 1


def parse(raw: bytes, *, what: str, depth_max: int = JSON_DEPTH_MAX) -> Value:
    """Return the one reading of ``raw``.

    ``what`` names the document in the error ("event", "contract body").

    Raises:
        MalformedJSONError: It is not I-JSON within the limits.
    """
    try:
        text = raw.decode("utf-8")  # strict: refuses overlong forms, encoded surrogates, UTF-16
    except UnicodeDecodeError as error:
        raise MalformedJSONError(f"{what}: not UTF-8 at byte {error.start}") from error
    try:
        value: Value = _decoder.decode(text)
    except MalformedJSONError as error:
        raise MalformedJSONError(f"{what}: {error.detail}") from error
    except RecursionError as error:
        raise MalformedJSONError(f"{what}: nested deeper than {depth_max}") from error
    except json.JSONDecodeError as error:
        raise MalformedJSONError(f"{what}: not JSON: {error.msg} at character {error.pos}") from error
    if text.count("{") + text.count("[") > depth_max:  # fewer can't nest deeper, and most documents have fewer
        _check_depth(value, depth_max, what)
    if _SURROGATE_ESCAPE.search(text) is not None:
        _check_surrogates(value, what)
    return value


def parse_object(raw: bytes, *, what: str, depth_max: int = JSON_DEPTH_MAX) -> Mapping[str, Value]:
    """Return the one reading of ``raw``, which must be an object. See ``parse``."""
    value = parse(raw, what=what, depth_max=depth_max)
    if not isinstance(value, dict):
        raise MalformedJSONError(f"{what}: expected a JSON object, got {type_name(value)}")
    return value


def type_name(value: Value) -> str:
    """Return what JSON calls the type of ``value``."""
    return "null" if value is None else _TYPE_NAMES.get(type(value), "number")


def _pairs(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    members = dict(pairs)
    if len(members) != len(pairs):
        # One pass over the names: to count each of 30,000 by itself would take a quarter of a minute.
        [(doubled, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise MalformedJSONError(f"duplicate name {doubled[:64]!r}")
    return members


def _integer(digits: str) -> int | NumberText:
    if digits == "-0":
        return NumberText(digits)  # as an int it would lose its sign, and with it the exactness of what was signed
    if len(digits) > _INTEGER_DIGITS_MAX or abs(int(digits)) > JSON_INTEGER_MAX:
        raise MalformedJSONError("an integer beyond ±(2^53-1)")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise MalformedJSONError(f"{name} is not JSON")


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=NumberText, parse_constant=_constant, strict=True
)


def _check_depth(value: Value, depth_max: int, what: str) -> None:
    """Refuse what is nested deeper than ``depth_max`` containers, without recursion."""
    level: list[Value] = [value]
    depth = 0
    while True:
        containers = [item for item in level if isinstance(item, (dict, list))]
        if not containers:
            return
        depth += 1
        if depth > depth_max:
            raise MalformedJSONError(f"{what}: nested deeper than {depth_max}")
        level = [child for item in containers for child in _children(item)]


def _children(value: Value) -> Sequence[Value]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _check_surrogates(value: Value, what: str) -> None:
    pending: list[Value] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            _check_text(item, what)
        elif isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _check_text(text: str, what: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedJSONError(f"{what}: an unpaired surrogate in a string") from error
