"""Templates from their YAML, and payloads against their JSON Schema. See ``ports.TemplateReader``.

A template is an operator's, and still may be hostile: nothing here fetches a ``$ref``, patterns run under an engine
whose time is linear in the text and whose automata are bounded, and numbers reach the validator as exact decimals.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NoReturn, TypedDict

import jsonschema_rs
from jsonschema_rs import Draft202012Validator, RegexOptions

from moneta.adapters import plain_yaml
from moneta.domain.errors import SchemaMismatchError, TemplateInvalidError
from moneta.domain.ijson import NumberText, Value
from moneta.domain.limits import PATTERN_AUTOMATON_BYTES_MAX, TEMPLATE_PROBLEMS_MAX, TEMPLATES_COMPILED_MAX
from moneta.domain.schema_rules import DIALECT, MONEY
from moneta.domain.template_problems import Findings, TemplateProblem
from moneta.domain.template_rules import JSON_SCHEMA_PATH, read_template
from moneta.domain.templates import Template
from moneta.signing import base64url

BUILTIN_TEMPLATES: Final = Path(__file__).parents[1] / "_templates"
_MESSAGE_CHARS_MAX: Final = 200
_FIELD_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class JSONSchemaTemplate:
    """See ports.CompiledTemplate. ``validator``: None for a template without a schema."""

    template: Template
    validator: Draft202012Validator | None

    def check_payload(self, payload: Mapping[str, Value]) -> None:
        """See CompiledTemplate.check_payload."""
        if self.validator is None:
            return
        try:
            self.validator.validate(_exact(payload))
        except jsonschema_rs.ValidationError as error:
            field = _field_of(error.instance_path)
            detail = f"{field}: {error.message[:_MESSAGE_CHARS_MAX]}"
            raise SchemaMismatchError(detail, field=field) from error
        except InvalidOperation as error:
            raise SchemaMismatchError("payload: a number's exponent is out of range", field="payload") from error


class YAMLTemplateReader:
    """See ports.TemplateReader."""

    def __init__(self) -> None:
        self._compile = lru_cache(maxsize=TEMPLATES_COMPILED_MAX)(_compile)

    def lint(self, payload: bytes) -> Sequence[TemplateProblem]:
        """See TemplateReader.lint."""
        read = _read(payload)
        return read if isinstance(read, tuple) else ()

    def compile(self, payload: bytes) -> JSONSchemaTemplate:
        """See TemplateReader.compile."""
        return self._compile(payload)


def builtin_templates() -> Sequence[bytes]:
    """Return the YAML of the templates that ship, in the order of their file names."""
    return [path.read_bytes() for path in sorted(BUILTIN_TEMPLATES.glob("*.yaml"))]


def _compile(payload: bytes) -> JSONSchemaTemplate:
    read = _read(payload)
    if isinstance(read, JSONSchemaTemplate):
        return read
    problems = [f"line {problem.line}: {problem.message}" for problem in read]
    raise TemplateInvalidError(f"template: {problems[0]}", problems=problems)


def _read(payload: bytes) -> JSONSchemaTemplate | tuple[TemplateProblem, ...]:
    """Return the template ready for use, or what is wrong with it, in the order of lines."""
    document = plain_yaml.read(payload)
    findings = document.findings
    if not findings.problems:
        sha256 = base64url.encode(hashlib.sha256(payload).digest())
        template = read_template(document.value, findings.lines, sha256=sha256)
        findings.problems.extend(template if isinstance(template, tuple) else ())
        validator = _read_schema(document.value, findings)
        if isinstance(template, Template) and not findings.problems:
            return JSONSchemaTemplate(template=template, validator=validator)
    return findings.in_order()[:TEMPLATE_PROBLEMS_MAX]


def _read_schema(document: Value, findings: Findings) -> Draft202012Validator | None:
    """Return the validator of the document's JSON Schema, if it has one; note what the standard has against it.

    Patterns are compiled only once the rules have found nothing: they also limit how many there are, and how long.
    """
    schema = _at(document, JSON_SCHEMA_PATH)
    if not isinstance(schema, (dict, bool)):
        return None
    exact = _exact(schema)
    forms = _FORMS if findings.problems else _FORMS_AND_PATTERNS
    for error in forms.iter_errors(exact):
        _note(error, findings)
    if findings.problems:
        return None
    try:  # The library has the last word: what it can't make ready, for whatever reason, is not published.
        return Draft202012Validator(exact, **_OPTIONS, formats={MONEY: _is_money_elsewhere}, mask="the value")
    except jsonschema_rs.ValidationError as error:
        _note(error, findings)
        return None


def _note(error: jsonschema_rs.ValidationError, findings: Findings) -> None:
    message = f"JSON Schema: {error.message[:_MESSAGE_CHARS_MAX]}"
    findings.add((*JSON_SCHEMA_PATH, *error.instance_path), message)


def _at(value: Value, path: Sequence[str]) -> Value:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _exact(value: Value) -> Any:  # what the library takes as JSON has no name here
    """Return ``value`` with each number that is not an integer as the decimal that was written."""
    if isinstance(value, NumberText):
        return Decimal(value.digits)
    if isinstance(value, dict):
        return {name: _exact(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return value


def _field_of(path: Sequence[str | int]) -> str:
    """Return the name of the value at ``path``, as the money rules write it: ``lines[0].amount``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")[:_FIELD_CHARS_MAX] or "payload"


def _refuse(uri: str) -> NoReturn:
    """Stand in for the library's retriever, which would fetch over http and open files."""
    raise ValueError(f"not fetched: {uri[:_FIELD_CHARS_MAX]}")


def _is_linear(pattern: str) -> bool:
    """Tell whether the linear engine takes ``pattern``: no look-around, no back-references, no vast repetition."""
    try:
        Draft202012Validator({"pattern": pattern}, **_OPTIONS)
    except jsonschema_rs.ValidationError:
        return False
    return True


def _is_money_elsewhere(_value: str) -> bool:
    """Let money pass: ``money_fields`` has checked it, in the currency that stands beside it."""
    return True


class _Options(TypedDict):
    """What every validator is made with."""

    retriever: Callable[[str], NoReturn]
    pattern_options: RegexOptions
    validate_formats: bool
    ignore_unknown_formats: bool


_OPTIONS: Final = _Options(
    retriever=_refuse,
    pattern_options=RegexOptions(size_limit=PATTERN_AUTOMATON_BYTES_MAX),
    validate_formats=True,
    ignore_unknown_formats=True,
)
# The meta-schema comes with the library; naming it fetches nothing.
_FORMS: Final = Draft202012Validator({"$ref": DIALECT}, retriever=_refuse)
_FORMS_AND_PATTERNS: Final = Draft202012Validator({"$ref": DIALECT}, **_OPTIONS, formats={"regex": _is_linear})
