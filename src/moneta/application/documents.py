"""What use cases answer with, and how they read what they are sent: JSON members and list parameters, strictly.

Unknown members and parameters are refused by name, nothing is clamped or coerced, and a member that is null counts
as one that is missing.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from moneta.domain.errors import (
    InvalidFieldError,
    InvalidParameterError,
    MissingFieldError,
    PreconditionFailedError,
    UnknownFieldError,
)
from moneta.domain.identifiers import UnixMillis, is_chosen_id
from moneta.domain.ijson import NumberText, Value, type_name
from moneta.domain.limits import (
    CURSOR_CHARS_MAX,
    JSON_INTEGER_MAX,
    LIST_LIMIT_DEFAULT,
    LIST_LIMIT_MAX,
    LIST_MEMBERS_MAX,
    NAME_CHARS_MAX,
)

Choice = TypeVar("Choice", bound=StrEnum)

ASKED_CHANGE: Final = "change"
"""The member that names the change, of an answer that nothing but that has been done yet; no other answer has it."""

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_SECONDS: Final = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An answer: JSON-ready members, numbers with a fraction as ``NumberText``.

    ``revision`` makes the ``ETag``; None where there is nothing to change. ``is_replay``: answered before.
    """

    body: Mapping[str, object]
    revision: int | None = None
    is_replay: bool = False

    @property
    def change_id(self) -> str | None:
        """The change that was kept for a checker in place of being made; None of what was done."""
        change = self.body.get(ASKED_CHANGE)
        return None if change is None else str(change)


def to_json(body: object, *, is_sorted: bool = False) -> bytes:
    """Return ``body`` as JSON in UTF-8, each number with exactly its digits; ``is_sorted``: one text per value."""
    return msgspec.json.encode(_json_ready(body), order="sorted" if is_sorted else None)


def _json_ready(value: object) -> object:
    """Return ``value`` with plain containers, and digits where a number was kept as its text."""
    match value:
        case NumberText():
            return msgspec.Raw(value.digits.encode("ascii"))
        case Mapping():
            return {str(name): _json_ready(member) for name, member in value.items()}
        case list() | tuple():
            return [_json_ready(item) for item in value]
        case _:
            return value


def seconds(moment: UnixMillis | None) -> int | None:
    """Return whole Unix seconds, as the wire shows times."""
    return None if moment is None else moment // 1000


def check_if_match(if_match: int | None, revision: int) -> None:
    """Refuse a change that was meant for another revision; None: for whichever there is.

    Raises:
        PreconditionFailedError: It was.
    """
    if if_match is not None and if_match != revision:
        raise PreconditionFailedError(f"If-Match: expected revision {revision}, got {if_match}", revision=revision)


# Members of a JSON body.


def check_names(members: Mapping[str, Value], allowed: Collection[str]) -> None:
    """Refuse a member that is not ``allowed``."""
    for name in members:
        if name not in allowed:
            raise UnknownFieldError(f"unknown member {name[:64]!r}", field=name[:64])


def has(members: Mapping[str, Value], name: str) -> bool:
    """Tell whether the member is there and not null."""
    return members.get(name) is not None


def required(members: Mapping[str, Value], name: str, *, prefix: str = "") -> Value:
    """Return the member's value; ``prefix`` is the path that leads to ``members``, for the error.

    Raises:
        MissingFieldError: It is missing or null.
    """
    value = members.get(name)
    if value is None:
        raise MissingFieldError(f"{prefix}{name} is missing", field=f"{prefix}{name}")
    return value


def text(members: Mapping[str, Value], name: str, *, chars_max: int = NAME_CHARS_MAX, prefix: str = "") -> str:
    """Return a member that is text: not blank, without control characters."""
    value = required(members, name, prefix=prefix)
    if not isinstance(value, str) or not value.strip() or len(value) > chars_max or _CONTROLS.search(value):
        raise InvalidFieldError(
            f"{prefix}{name}: expected text of 1 to {chars_max} characters", field=f"{prefix}{name}"
        )
    return value


def optional_text(
    members: Mapping[str, Value], name: str, *, chars_max: int = NAME_CHARS_MAX, prefix: str = ""
) -> str | None:
    """Return a member that is text, or None where it is missing. See ``text``."""
    return text(members, name, chars_max=chars_max, prefix=prefix) if has(members, name) else None


def chosen_id(members: Mapping[str, Value], name: str) -> str:
    """Return a member that is an id."""
    value = required(members, name)
    if not isinstance(value, str) or not is_chosen_id(value):
        raise InvalidFieldError(f"{name}: expected 1 to 128 of A-Z a-z 0-9 . _ : ~ -", field=name)
    return value


def choice(members: Mapping[str, Value], name: str, among: type[Choice]) -> Choice:
    """Return a member that is one of a closed list of words."""
    value = required(members, name)
    if not isinstance(value, str) or value not in list(among):
        raise InvalidFieldError(f"{name}: expected one of {', '.join(among)}", field=name, expected=list(among))
    return among(value)


def whole_number(members: Mapping[str, Value], name: str, *, most: int = JSON_INTEGER_MAX) -> int:
    """Return a member that is an integer from 0 to ``most``."""
    value = required(members, name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidFieldError(f"{name}: expected an integer from 0 to {most}", field=name)
    return value


def mapping(members: Mapping[str, Value], name: str, *, members_max: int = LIST_MEMBERS_MAX) -> Mapping[str, Value]:
    """Return a member that is an object; an empty one where it is missing."""
    value = members.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > members_max:
        got = type_name(value)
        raise InvalidFieldError(f"{name}: expected an object of at most {members_max} members, got {got}", field=name)
    return value


def items(members: Mapping[str, Value], name: str, *, items_max: int = LIST_MEMBERS_MAX) -> Sequence[Value]:
    """Return a member that is an array; an empty one where it is missing."""
    value = members.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > items_max:
        got = type_name(value)
        raise InvalidFieldError(f"{name}: expected an array of at most {items_max} items, got {got}", field=name)
    return value


def texts(members: Mapping[str, Value], name: str, *, items_max: int = LIST_MEMBERS_MAX) -> tuple[str, ...]:
    """Return a member that is an array of short texts; an empty one where it is missing."""
    return tuple(text({name: item}, name) for item in items(members, name, items_max=items_max))


# Parameters of a list.


def check_parameters(parameters: Mapping[str, str], allowed: Collection[str]) -> None:
    """Refuse a query parameter that is not ``allowed``."""
    for name in parameters:
        if name not in allowed:
            raise InvalidParameterError(f"unknown parameter {name[:64]!r}", field=name[:64])


def list_limit(parameters: Mapping[str, str]) -> int:
    """Return ``limit``: 1 to 200, never clamped."""
    given = parameters.get("limit", str(LIST_LIMIT_DEFAULT))
    if _LIMIT.fullmatch(given) is None or int(given) > LIST_LIMIT_MAX:
        raise InvalidParameterError(f"limit: expected 1 to {LIST_LIMIT_MAX}", field="limit")
    return int(given)


def list_cursor(parameters: Mapping[str, str]) -> str | None:
    """Return ``cursor``, which only the store that gave it can read."""
    given = parameters.get("cursor")
    if given is not None and not 1 <= len(given) <= CURSOR_CHARS_MAX:
        raise InvalidParameterError("cursor: not one that this list gave", field="cursor")
    return given


def parameter_id(parameters: Mapping[str, str], name: str) -> str | None:
    """Return a parameter that is an id."""
    given = parameters.get(name)
    if given is not None and not is_chosen_id(given):
        raise InvalidParameterError(f"{name}: expected 1 to 128 of A-Z a-z 0-9 . _ : ~ -", field=name)
    return given


def parameter_seconds(parameters: Mapping[str, str], name: str) -> int | None:
    """Return a parameter that is a moment in whole Unix seconds."""
    given = parameters.get(name)
    if given is None:
        return None
    if _SECONDS.fullmatch(given) is None:
        raise InvalidParameterError(f"{name}: expected whole Unix seconds", field=name)
    return int(given)


def parameter_choice(parameters: Mapping[str, str], name: str, among: type[Choice]) -> Choice | None:
    """Return a parameter that is one of a closed list of words."""
    given = parameters.get(name)
    if given is None:
        return None
    if given not in list(among):
        raise InvalidParameterError(f"{name}: expected one of {', '.join(among)}", field=name)
    return among(given)
