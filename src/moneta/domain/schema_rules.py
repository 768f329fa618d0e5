"""What a template's JSON Schema (2020-12) may be, beyond what the standard's own meta-schema says of its form.

1. Money is marked ``format: money``, with ``decimals`` and ``allow_zero`` where the currency's own decimals or an
   amount above zero are not the rule. A mark counts only where ``properties`` and ``items`` alone lead from the
   payload to it: a mark that holds on one branch of an ``anyOf`` would make money of the same bytes or not.
2. Nothing outside the document is named: ``$ref`` leads into ``$defs``, and no other kind of reference is known.
3. A validator's work is bounded: few patterns, short ones, and few subschemas once every ``$ref`` is followed. Two
   ``$ref`` on each of forty levels are a kilobyte of YAML and 2^40 checks; one that leads back to itself has no end.
4. A keyword or format that nobody knows is a typing error, which the standard would pass over. ``x-`` begins one's own.

The forms of the standard's keywords are checked where the meta-schema is, in the adapter; here what is malformed is
passed over.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from moneta.domain.ijson import Value
from moneta.domain.limits import (
    MONEY_DECIMALS_MAX,
    PATTERN_CHARS_MAX,
    TEMPLATE_PATTERNS_MAX,
    TEMPLATE_SUBSCHEMAS_MAX,
)
from moneta.domain.money import MoneyRule
from moneta.domain.money_fields import AMOUNT, EACH_ITEM
from moneta.domain.template_problems import Findings, Path, shown

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MONEY: Final = "money"
FORMATS: Final = frozenset(
    {MONEY, "date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"}
)
_NAMED: Final = ("properties", "patternProperties", "$defs", "dependentSchemas")
_LISTED: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE: Final = (
    "items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties",
    "not", "if", "then", "else",
)  # fmt: skip
_NUMERIC: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_MARKS: Final = frozenset({"decimals", "allow_zero"})
_ROOT_ONLY: Final = frozenset({"$schema", "$id"})
KEYWORDS: Final = frozenset(
    {
        *_NAMED, *_LISTED, *_SINGLE, *_NUMERIC, *_MARKS, *_ROOT_ONLY, "$ref", "$comment", "title", "description",
        "default", "examples", "deprecated", "readOnly", "writeOnly", "type", "enum", "const", "format", "pattern",
        "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minContains", "maxContains",
        "minProperties", "maxProperties", "required", "dependentRequired", "contentEncoding", "contentMediaType",
    }
)  # fmt: skip
_REFERENCE_ROOT: Final = "#/$defs/"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A subschema's place: in the document, as a JSON pointer, and in the payload where it is the only one there."""

    path: Path
    pointer: str
    payload_path: tuple[str, ...] | None
    property_name: str | None = None


@dataclass(frozen=True, slots=True)
class _Survey:
    """What the walk over a schema has gathered. ``children``: what checking each subschema leads to."""

    findings: Findings
    money_rules: list[MoneyRule] = field(default_factory=list)
    patterns: list[tuple[Path, str]] = field(default_factory=list)
    references: list[tuple[Path, str]] = field(default_factory=list)
    children: dict[str, list[str]] = field(default_factory=dict)


def read_schema(schema: Value, path: Path, findings: Findings) -> tuple[MoneyRule, ...]:
    """Return where ``schema``, at ``path`` of the document, marks money; note what is wrong with it."""
    survey = _Survey(findings)
    pending = deque([(schema, _Place(path=path, pointer="#", payload_path=()))])
    while pending:
        value, place = pending.popleft()
        survey.children[place.pointer] = []
        if isinstance(value, dict):
            _survey_keywords(value, place, survey)
            pending.extend(_subschemas(value, place, survey))
    _check_patterns(survey)
    _check_references(survey)
    _check_work(path, survey)
    return tuple(survey.money_rules)


def _survey_keywords(schema: Mapping[str, Value], place: _Place, survey: _Survey) -> None:
    for keyword in schema:
        if keyword not in KEYWORDS and not keyword.startswith("x-"):
            survey.findings.add((*place.path, keyword), f"JSON Schema: unknown or refused keyword {shown(keyword)}")
        elif keyword in _ROOT_ONLY and place.pointer != "#":
            survey.findings.add((*place.path, keyword), f"JSON Schema: {keyword} belongs at the top")
    _survey_dialect(schema, place, survey.findings)
    _survey_format(schema, place, survey)
    _survey_patterns(schema, place, survey)
    if isinstance(reference := schema.get("$ref"), str):
        survey.references.append(((*place.path, "$ref"), reference))
        survey.children[place.pointer].append(reference)


def _survey_dialect(schema: Mapping[str, Value], place: _Place, findings: Findings) -> None:
    if schema.get("$schema", DIALECT) != DIALECT:
        findings.add((*place.path, "$schema"), f"JSON Schema: $schema: expected {DIALECT}")


def _survey_format(schema: Mapping[str, Value], place: _Place, survey: _Survey) -> None:
    name = schema.get("format")
    if isinstance(name, str) and name not in FORMATS:
        survey.findings.add(
            (*place.path, "format"), f"JSON Schema: format: expected one of {', '.join(sorted(FORMATS))}"
        )
    for mark in sorted(_MARKS & schema.keys()) if name != MONEY else ():
        survey.findings.add((*place.path, mark), f"JSON Schema: {mark} belongs beside format: money")
    if name == MONEY or place.property_name == AMOUNT:
        _check_money_form(schema, place, survey.findings)
    if name == MONEY:
        _survey_money(schema, place, survey)


def _check_money_form(schema: Mapping[str, Value], place: _Place, findings: Findings) -> None:
    """Note what would be checked of a number, and so of no money: it is shown to the schema as a decimal string."""
    if schema.get("type", "string") != "string":
        findings.add((*place.path, "type"), "JSON Schema: money is a decimal string: expected type: string")
    for keyword in sorted(_NUMERIC & schema.keys()):
        findings.add((*place.path, keyword), f"JSON Schema: {keyword} says nothing of money, a decimal string")


def _survey_money(schema: Mapping[str, Value], place: _Place, survey: _Survey) -> None:
    findings = survey.findings
    decimals, allows_zero = schema.get("decimals"), schema.get("allow_zero", False)
    if place.payload_path is None or place.property_name is None:
        findings.add(
            (*place.path, "format"),
            "JSON Schema: format: money counts only on a member that properties and items alone lead to",
        )
    elif decimals is not None and (
        not isinstance(decimals, int) or isinstance(decimals, bool) or not 0 <= decimals <= MONEY_DECIMALS_MAX
    ):
        findings.add(
            (*place.path, "decimals"), f"JSON Schema: decimals: expected an integer from 0 to {MONEY_DECIMALS_MAX}"
        )
    elif not isinstance(allows_zero, bool):
        findings.add((*place.path, "allow_zero"), "JSON Schema: allow_zero: expected true or false")
    else:
        survey.money_rules.append(MoneyRule(path=place.payload_path, decimals=decimals, allows_zero=allows_zero))


def _survey_patterns(schema: Mapping[str, Value], place: _Place, survey: _Survey) -> None:
    if isinstance(pattern := schema.get("pattern"), str):
        survey.patterns.append(((*place.path, "pattern"), pattern))
    if isinstance(named := schema.get("patternProperties"), dict):
        survey.patterns.extend(((*place.path, "patternProperties", pattern), pattern) for pattern in named)


def _subschemas(schema: Mapping[str, Value], place: _Place, survey: _Survey) -> Iterator[tuple[Value, _Place]]:
    """Give every subschema directly inside ``schema``, and note those that checking it leads to."""
    for steps, value in _inside(schema):
        pointer = "/".join((place.pointer, *(_escaped(step) for step in steps)))
        if steps[0] != "$defs":
            survey.children[place.pointer].append(pointer)
        is_property = steps[0] == "properties"
        yield (
            value,
            _Place(
                path=(*place.path, *steps),
                pointer=pointer,
                payload_path=_payload_path(place, steps),
                property_name=str(steps[1]) if is_property else None,
            ),
        )


def _inside(schema: Mapping[str, Value]) -> Iterator[tuple[Path, Value]]:
    for keyword in _NAMED:
        if isinstance(named := schema.get(keyword), dict):
            yield from (((keyword, name), value) for name, value in named.items())
    for keyword in _LISTED:
        if isinstance(listed := schema.get(keyword), list):
            yield from (((keyword, index), value) for index, value in enumerate(listed))
    yield from (((keyword,), schema[keyword]) for keyword in _SINGLE if keyword in schema)


def _payload_path(place: _Place, steps: Path) -> tuple[str, ...] | None:
    match steps:
        case _ if place.payload_path is None:
            return None
        case ("properties", str(name)):
            return (*place.payload_path, name)
        case ("items",):
            return (*place.payload_path, EACH_ITEM)
        case _:
            return None


def _escaped(step: str | int) -> str:
    """Return ``step`` as RFC 6901, section 3, writes it in a JSON pointer."""
    return str(step).replace("~", "~0").replace("/", "~1")


def _check_patterns(survey: _Survey) -> None:
    for path, pattern in survey.patterns:
        if len(pattern) > PATTERN_CHARS_MAX:
            survey.findings.add(path, f"JSON Schema: a pattern has at most {PATTERN_CHARS_MAX} characters")
    for path, _ in survey.patterns[TEMPLATE_PATTERNS_MAX : TEMPLATE_PATTERNS_MAX + 1]:
        survey.findings.add(path, f"JSON Schema: at most {TEMPLATE_PATTERNS_MAX} patterns")


def _check_references(survey: _Survey) -> None:
    for path, reference in survey.references:
        # A library undoes percent-encoding before it looks, so that what it finds would not be what was surveyed.
        if not reference.startswith(_REFERENCE_ROOT) or "%" in reference:
            survey.findings.add(path, f"JSON Schema: $ref: expected {_REFERENCE_ROOT}<name>, got {shown(reference)}")
        elif reference not in survey.children:
            survey.findings.add(path, f"JSON Schema: $ref: there is no schema at {shown(reference)}")


def _check_work(path: Path, survey: _Survey) -> None:
    """Follow every ``$ref`` from the top, and stop at the limit: so a cycle and a bomb both end here."""
    pending, reached = ["#"], 0
    while pending and reached <= TEMPLATE_SUBSCHEMAS_MAX:
        reached += 1
        pending.extend(survey.children.get(pending.pop(), ()))
    if reached > TEMPLATE_SUBSCHEMAS_MAX:
        survey.findings.add(
            path, f"JSON Schema: more than {TEMPLATE_SUBSCHEMAS_MAX} subschemas, or a $ref that leads back to itself"
        )
