"""Where one JSON Schema (2020-12) refuses what another let pass, as far as that can be told from the keywords.

Decided keyword by keyword, along ``properties``, ``items`` and ``$ref``. What would take a proof (a changed pattern,
``anyOf``, ``not``) is told as changed, since silence would be taken for a promise.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from moneta.domain.ijson import NumberText, Value
from moneta.domain.limits import TEMPLATE_SUBSCHEMAS_MAX
from moneta.domain.template_problems import Path
from moneta.domain.template_proofs import Fault

Shape = Mapping[str, Value]
Rule = Callable[[Value, Value], bool]
"""Tells of a keyword's old and new value (None: it is not there) whether the new one refuses more."""

_DEFS: Final = "#/$defs/"


def narrowings(old: Value, new: Value) -> Iterator[Fault]:
    """Give what ``new`` refuses and ``old`` did not, each with its place in ``new``."""
    pending: list[tuple[Value, Value, Path, str]] = [(old, new, (), "payload")]
    compared = 0
    while pending and compared <= TEMPLATE_SUBSCHEMAS_MAX:  # a $ref that leads back to itself was refused before
        compared += 1
        before, after, path, where = pending.pop(0)
        before, _ = _followed(before, old, ())
        after, path = _followed(after, new, path)
        for keyword, message in _keyword_faults(before, after):
            yield (*path, *keyword), f"JSON Schema: {where}: {message}"
        pending.extend(_inside(before, after, path, where))


def _keyword_faults(before: Value, after: Value) -> Iterator[Fault]:
    if before is False:
        return
    if after is False:
        yield (), "nothing passes any more"
        return
    old, new = _shape(before), _shape(after)
    yield from _property_faults(old, new)
    for keyword in sorted(old.keys() | new.keys()):
        was, now = old.get(keyword), new.get(keyword)
        if was == now or keyword in _COMPARED_INSIDE:
            continue
        if keyword in _NARROWER and not _NARROWER[keyword](was, now):
            continue
        if keyword in _NARROWER:
            yield (keyword,), f"{keyword}: {_told(was)} before, {_told(now)} now"
        elif (now is not None or keyword == "patternProperties") and not keyword.startswith("x-"):
            yield (keyword,), f"{keyword} changed: whether it refuses more is not decided here"


def _property_faults(old: Shape, new: Shape) -> Iterator[Fault]:
    was, now = _names(old.get("required")), _names(new.get("required"))
    for name in now:
        if name not in was:
            yield ("required",), f"{name} is required now"
    if new.get("additionalProperties") is not False:
        return
    known, gone = _shape(new.get("properties")), _shape(old.get("properties"))
    for name in gone:
        if name not in known and "patternProperties" not in new:
            yield ("properties",), f"{name} is not known any more"
    if old.get("additionalProperties") is not False:
        yield ("additionalProperties",), "members that are not named are refused now"


def _inside(before: Value, after: Value, path: Path, where: str) -> Iterator[tuple[Value, Value, Path, str]]:
    """Give the pairs of subschemas that hold for the same part of a payload; true for what is not there."""
    old, new = _shape(before), _shape(after)
    were, are = _shape(old.get("properties")), _shape(new.get("properties"))
    others_were, others = old.get("additionalProperties", True), new.get("additionalProperties", True)
    for name in are:
        yield were.get(name, others_were), are[name], (*path, "properties", name), f"{where}.{name}"
    if isinstance(others, dict):
        beyond = (*path, "additionalProperties")
        yield others_were, others, beyond, f"{where}.*"
        yield from ((were[name], others, beyond, f"{where}.{name}") for name in were if name not in are)
    if "items" in new:
        yield old.get("items", True), new["items"], (*path, "items"), f"{where}[]"


def _followed(shape: Value, root: Value, path: Path) -> tuple[Value, Path]:
    """Return ``shape`` with what its ``$ref`` leads to put in, and where that stands if it is all there is.

    Where both say something of one keyword neither alone decides: the target then stands as the value of ``$ref``, so
    that any change of it shows.
    """
    for _ in range(TEMPLATE_SUBSCHEMAS_MAX):
        beside = dict(_shape(shape))
        reference = beside.pop("$ref", None)
        name = reference.removeprefix(_DEFS) if isinstance(reference, str) else ""
        named = _shape(_shape(root).get("$defs"))
        if name not in named:
            break
        target = _shape(named[name])
        if beside.keys() & target.keys():
            return {**beside, "$ref": dict(target)}, path
        shape, path = ({**target, **beside}, path) if beside else (named[name], ("$defs", name))
    return shape, path


def _shape(value: Value) -> Shape:
    return value if isinstance(value, dict) else {}


def _names(value: Value) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _told(value: Value) -> str:
    return "none" if value is None else str(value.digits if isinstance(value, NumberText) else value)


def _number(value: Value) -> Decimal | None:
    if isinstance(value, NumberText):
        return Decimal(value.digits)
    return Decimal(value) if isinstance(value, int) else None


def _is_higher(was: Value, now: Value) -> bool:
    low, high = _number(was), _number(now)
    return high is not None and (low is None or high > low)


def _is_lower(was: Value, now: Value) -> bool:
    high, low = _number(was), _number(now)
    return low is not None and (high is None or low < high)


def _has_fewer(was: Value, now: Value) -> bool:
    """Tell whether a list of what is allowed has lost one; without a list all is allowed."""
    if now is None:
        return False
    return was is None or any(one not in _listed(now) for one in _listed(was))


def _is_set_otherwise(_was: Value, now: Value) -> bool:
    return now is not None


def _is_switched_on(was: Value, now: Value) -> bool:
    return now is True and was is not True


def _is_switched_off(was: Value, now: Value) -> bool:
    return was is True and now is not True


def _has_fewer_types(was: Value, now: Value) -> bool:
    allowed = [*_listed(now), *(["integer"] if "number" in _listed(now) else [])]  # each integer is a number
    return _has_fewer(was, None if now is None else allowed)


def _listed(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [value]


_COMPARED_INSIDE: Final = frozenset(
    {"properties", "items", "required", "additionalProperties", "$defs", "$schema", "$id", "$comment", "title",
     "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
)  # fmt: skip
"""Keywords that refuse nothing, or whose parts are compared by themselves."""

# fmt: off
_NARROWER: Final[Mapping[str, Rule]] = {
    "type":             _has_fewer_types,
    "enum":             _has_fewer,
    "const":            _is_set_otherwise,
    "format":           _is_set_otherwise,
    "minimum":          _is_higher,
    "exclusiveMinimum": _is_higher,
    "minLength":        _is_higher,
    "minItems":         _is_higher,
    "minContains":      _is_higher,
    "minProperties":    _is_higher,
    "maximum":          _is_lower,
    "exclusiveMaximum": _is_lower,
    "maxLength":        _is_lower,
    "maxItems":         _is_lower,
    "maxContains":      _is_lower,
    "maxProperties":    _is_lower,
    "decimals":         _is_lower,
    "uniqueItems":      _is_switched_on,
    "allow_zero":       _is_switched_off,
}
# fmt: on
