"""What the lint proves of a template's required fields and JSON Schema together, before any contract is made.

1. Some payload passes: the schema is not ``false``.
2. Each required field can be there: no closed object (``additionalProperties: false``) stands in the way to it.
3. No required field must stand at two places, which every contract would be refused for as ambiguous.
4. Money is decimal: a number beside a ``currency`` is written as money is, unless it is marked as none; and money has
   its currency beside it.

Only what is certain is a fault: where a schema leaves it open, a contract will tell. References lead where
``schema_rules`` allows them to, which is checked before.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from moneta.domain.ijson import Value
from moneta.domain.money_fields import AMOUNT, CURRENCY
from moneta.domain.schema_rules import MONEY
from moneta.domain.template_problems import Path
from moneta.domain.template_proofs import Fault

BODY_IDS: Final = frozenset({"contract_id", "template_id", "version", "created_at", "mo_id", "publisher_id", "org_id"})
"""Members that stand in every body that has them in its template's required fields."""
OTHER_BODY_MEMBERS: Final = frozenset({"mpass_id", "description", "expires_at", "nonce", "supersedes", "payload"})
_DEFS: Final = "#/$defs/"
_NOT_MONEY: Final = "x-not-money"
"""An author's word that a number beside a currency is a rate, a weight or the like."""
_WRITTEN_AS_MONEY: Final = f"expected type: string, format: money, or {_NOT_MONEY}: true"
_VALUES: Final = frozenset({"enum", "const", "default", "examples"})
"""Keywords below which there are values, and no schemas."""

Shape = Mapping[str, Value]


def payload_faults(required_fields: Sequence[str], schema: Value) -> Iterator[Fault]:
    """Give what no contract could meet, each with its place below ``schema``."""
    if schema is False:
        yield ("json_schema",), "JSON Schema: false: no payload passes"
        return
    payload = _Payload(schema)
    for index, name in enumerate(required_fields):
        fault = _field_fault(payload, name)
        if fault is not None:
            yield ("required_fields", index), f"required_fields: {name}: {fault}"
    yield from _money_faults(schema, ("json_schema",))


def _field_fault(payload: "_Payload", name: str) -> str | None:
    if "." in name:
        return None if payload.admits(name.split(".")) else "json_schema allows no such member"
    if name in BODY_IDS:
        return "json_schema wants it in the payload too, and it must be found once" if payload.wants(name) else None
    if payload.wants(name) > 1:
        return "json_schema wants it at two places, and it must be found once"
    if name in OTHER_BODY_MEMBERS or payload.admits_somewhere(name):
        return None
    return "json_schema allows no such member in the payload, nor in an object directly inside it"


class _Payload:
    """The shape of payloads, followed once: a template may require many fields of a payload with many members.

    ``_inside``: for each member that can be there, what its value must pass. ``_wanted``: the members that every
    payload has; ``_wanted_inside``: for each of those that is an object, the members that it has.
    """

    def __init__(self, root: Value) -> None:
        self._root = root
        self._top = self._parts(root)
        named = {member: shape for part in self._top for member, shape in _properties(part).items()}
        parts_of = {member: self._parts(shape) for member, shape in named.items()}
        self._inside = [parts for member, parts in parts_of.items() if self.admits([member])]
        self._wanted = _required(self._top)
        self._wanted_inside = [
            _required(parts)
            for member, parts in parts_of.items()
            if member in self._wanted and any(part.get("type") == "object" for part in parts)
        ]

    def admits(self, steps: Sequence[str]) -> bool:
        """Tell whether there can be something at ``steps``; true unless there surely can't."""
        return all(self._part_admits(part, steps) for part in self._top)

    def admits_somewhere(self, name: str) -> bool:
        """Tell whether ``name`` can stand in the payload, or in an object directly inside it."""
        return self.admits([name]) or any(
            all(self._part_admits(part, [name]) for part in parts) for parts in self._inside
        )

    def wants(self, name: str) -> int:
        """Return at how many of the places where a required field is looked up every payload has ``name``."""
        return sum(name in wanted for wanted in (self._wanted, *self._wanted_inside))

    def _admits(self, shape: Value, steps: Sequence[str]) -> bool:
        if shape is False:
            return False
        return not steps or all(self._part_admits(part, steps) for part in self._parts(shape))

    def _part_admits(self, part: Shape, steps: Sequence[str]) -> bool:
        name, *rest = steps
        properties = _properties(part)
        if name in properties:
            return self._admits(properties[name], rest)
        return part.get("additionalProperties") is not False or "patternProperties" in part

    def _parts(self, shape: Value) -> list[Shape]:
        """Return what a value of ``shape`` must pass: it, what its ``$ref`` leads to, and each of its ``allOf``."""
        parts: list[Shape] = []
        pending = [shape]
        while pending:  # ends: a $ref that leads back to itself has been refused before
            part = pending.pop()
            if isinstance(part, dict):
                parts.append(part)
                pending.extend(self._beside(part))
        return parts

    def _beside(self, part: Shape) -> Iterator[Value]:
        everything = part.get("allOf")
        yield from everything if isinstance(everything, list) else ()
        reference = part.get("$ref")
        if isinstance(reference, str) and isinstance(self._root, dict):
            named = self._root.get("$defs")
            yield named.get(reference.removeprefix(_DEFS)) if isinstance(named, dict) else None


def _required(parts: Sequence[Shape]) -> frozenset[str]:
    names = [part.get("required") for part in parts]
    return frozenset(name for listed in names if isinstance(listed, list) for name in listed if isinstance(name, str))


def _properties(shape: Shape) -> Shape:
    properties = shape.get("properties")
    return properties if isinstance(properties, dict) else {}


def _money_faults(shape: Value, path: Path) -> Iterator[Fault]:
    """Give what of ``shape`` and all inside it is money, and is no decimal string beside its currency."""
    if isinstance(shape, list):
        for index, item in enumerate(shape):
            yield from _money_faults(item, (*path, index))
    elif isinstance(shape, dict):
        yield from _money_faults_of_object(shape, path)
        for name, value in shape.items():
            yield from () if name in _VALUES else _money_faults(value, (*path, name))


def _money_faults_of_object(shape: Shape, path: Path) -> Iterator[Fault]:
    properties = _properties(shape)
    is_closed = shape.get("additionalProperties") is False and "patternProperties" not in shape
    for name, value in properties.items():
        place = (*path, "properties", name)
        if CURRENCY in properties and _is_number(value):
            yield place, f"JSON Schema: {name}: a number beside a currency: {_WRITTEN_AS_MONEY}"
        elif CURRENCY not in properties and is_closed and _is_money(name, value):
            yield place, f"JSON Schema: {name}: money needs its {CURRENCY} in the same object, which allows none"


def _is_number(shape: Value) -> bool:
    kind = shape.get("type") if isinstance(shape, dict) and shape.get(_NOT_MONEY) is not True else None
    return "number" in (kind if isinstance(kind, list) else [kind])


def _is_money(name: str, shape: Value) -> bool:
    return name == AMOUNT or (isinstance(shape, dict) and shape.get("format") == MONEY)
