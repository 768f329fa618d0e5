"""Read a YAML 1.2 document of plain values: mappings with text keys, lists, and the core schema's scalars.

The document is built from the parser's events, and never composed or constructed by the library: what could explode
or load (aliases, tags, merge keys) is refused when its event comes, and the parser is not asked for the next one once
a limit is reached. The library resolves more than the core schema (dates, ``1_000``); here resolving is three
expressions.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.reader import ReaderError

from moneta.domain.ijson import NumberText, Value
from moneta.domain.limits import JSON_INTEGER_MAX, TEMPLATE_BYTES_MAX, TEMPLATE_DEPTH_MAX, TEMPLATE_NODES_MAX
from moneta.domain.template_problems import Findings, Path, shown

# YAML 1.2.2, section 10.3.2 (the core schema). Infinity and NaN are refused: no JSON document can hold them.
_CONSTANTS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"(?P<decimal>[-+]?[0-9]+)|0o(?P<octal>[0-7]+)|0x(?P<hex>[0-9a-fA-F]+)", re.ASCII)
_NUMBER: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NO_NUMBER: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_BASES: Final = {"decimal": 10, "octal": 8, "hex": 16}
_DIGITS_MAX: Final = 20
_MESSAGE_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainDocument:
    """A document and what is wrong with it; ``value`` is as far as it could be read."""

    value: Value
    findings: Findings


class _UnreadableError(Exception):
    """Nothing after this line can be made sense of, or may be looked at."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(slots=True, kw_only=True)
class _Open:
    """A collection whose end has not come. ``key``: of the value that comes next, in a mapping."""

    path: Path
    content: dict[str, Value] | list[Value]
    key: str | None = None

    @property
    def awaits_key(self) -> bool:
        """Tell whether a key comes next."""
        return isinstance(self.content, dict) and self.key is None

    @property
    def next_path(self) -> Path:
        """The path of the value that comes next."""
        return (*self.path, self.key or "") if isinstance(self.content, dict) else (*self.path, len(self.content))

    def add(self, value: Value) -> None:
        """Take the value that came."""
        if isinstance(self.content, list):
            self.content.append(value)
        else:
            self.content[self.key or ""] = value
            self.key = None


@dataclass(slots=True)
class _Builder:
    """Puts events together. ``lines`` is also what the findings look up."""

    lines: dict[Path, int]
    findings: Findings
    root: Value = None
    documents: int = 0
    nodes: int = 0
    stack: list[_Open] = field(default_factory=list)

    def take(self, event: Event, line: int) -> None:
        """Add what ``event`` says, on ``line``."""
        match event:
            case DocumentStartEvent():
                self._start_document(event, line)
            case CollectionEndEvent():
                self.stack.pop()
            case NodeEvent():
                self._check_node(event, line)
                self._take_node(event, line)
            case _:
                pass

    def note(self, line: int, message: str) -> None:
        """Note a mistake on ``line``."""
        self.findings.note(line, message)

    def _start_document(self, event: DocumentStartEvent, line: int) -> None:
        self.documents += 1
        if self.documents > 1:
            raise _UnreadableError(line, "expected one document, got a second")
        if event.version is not None or event.tags:
            self.note(line, "directives are not allowed")

    def _check_node(self, event: NodeEvent, line: int) -> None:
        # 64 KiB could hold five times as many, and keep the parser busy for a second.
        self.nodes += 1
        if self.nodes > TEMPLATE_NODES_MAX:
            raise _UnreadableError(line, f"more than {TEMPLATE_NODES_MAX} keys and values")
        if isinstance(event, AliasEvent):
            self.note(line, "aliases are not allowed")
        elif event.anchor is not None:
            self.note(line, "anchors are not allowed")
        if getattr(event, "tag", None) is not None:
            self.note(line, "tags are not allowed")

    def _take_node(self, event: NodeEvent, line: int) -> None:
        parent = self.stack[-1] if self.stack else None
        if parent is not None and parent.awaits_key:
            parent.key = self._key(event, parent, line)
            return
        path = () if parent is None else parent.next_path
        self.lines.setdefault(path, line)  # a value in a mapping has the line of its key, where an author looks
        value = self._value(event, path, line)
        if parent is None:
            self.root = value
        else:
            parent.add(value)

    def _key(self, event: NodeEvent, parent: _Open, line: int) -> str:
        if isinstance(event, CollectionStartEvent):
            raise _UnreadableError(line, "a key must be text")
        key = event.value if isinstance(event, ScalarEvent) else f"*{event.anchor}"
        if isinstance(event, ScalarEvent) and not isinstance(self._scalar(event, line), str):
            self.note(line, f"a key must be text, got {shown(key)}: put it in quotes")
        if key == "<<":
            self.note(line, "merge keys are not allowed")
        if key in parent.content:
            self.note(line, f"key {shown(key)} stands twice")
        self.lines[(*parent.path, key)] = line
        return key

    def _value(self, event: NodeEvent, path: Path, line: int) -> Value:
        if isinstance(event, ScalarEvent):
            return self._scalar(event, line)
        if isinstance(event, AliasEvent):
            return None
        if len(self.stack) >= TEMPLATE_DEPTH_MAX:
            raise _UnreadableError(line, f"nested deeper than {TEMPLATE_DEPTH_MAX}")
        content: dict[str, Value] | list[Value] = {} if isinstance(event, MappingStartEvent) else []
        self.stack.append(_Open(path=path, content=content))
        return content

    def _scalar(self, event: ScalarEvent, line: int) -> Value:
        text = event.value
        if event.style:  # quoted, literal or folded: text, whatever it looks like
            return self._text(text, line)
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if (matched := _INTEGER.fullmatch(text)) is not None:
            return self._integer(matched, line)
        if _NO_NUMBER.fullmatch(text) is not None:
            self.note(line, "infinity and NaN are not allowed")
            return None
        return self._number(text, line) if _NUMBER.fullmatch(text) is not None else self._text(text, line)

    def _integer(self, matched: re.Match[str], line: int) -> int:
        digits, base = next((matched[name], base) for name, base in _BASES.items() if matched[name] is not None)
        number = int(digits, base) if len(digits) <= _DIGITS_MAX else JSON_INTEGER_MAX + 1
        if abs(number) > JSON_INTEGER_MAX:
            self.note(line, "an integer beyond ±(2^53-1)")
            return 0
        return number

    def _number(self, text: str, line: int) -> NumberText:
        try:
            Decimal(text)
        except InvalidOperation:
            self.note(line, "a number's exponent is out of range")
        return NumberText(text)

    def _text(self, text: str, line: int) -> str:
        if any("\ud800" <= character <= "\udfff" for character in text):
            self.note(line, "an unpaired surrogate in a text")
            return ""
        return text


def read(raw: bytes) -> PlainDocument:
    """Return the document that ``raw`` is, with everything found wrong, the line of each, and that of each value."""
    lines: dict[Path, int] = {}
    builder = _Builder(lines, Findings(lines))
    try:
        for event in _events(_decoded(raw)):
            builder.take(event, event.start_mark.line + 1)
    except _UnreadableError as error:
        builder.note(error.line, error.message)
    else:
        if not builder.nodes:
            builder.note(1, "expected a document, got none")
    return PlainDocument(value=builder.root, findings=builder.findings)


def _decoded(raw: bytes) -> str:
    if len(raw) > TEMPLATE_BYTES_MAX:
        raise _UnreadableError(1, f"more than {TEMPLATE_BYTES_MAX} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _UnreadableError(raw.count(b"\n", 0, error.start) + 1, "not UTF-8") from error


def _events(text: str) -> Iterator[Event]:
    """Give the parser's events one by one; each is read from the text only when it is asked for.

    The parser converts escapes and directives without checking their range, so that it also raises what is not its own.
    """
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _UnreadableError(1 if mark is None else mark.line + 1, _message_of(error.problem or "")) from error
    except ReaderError as error:
        raise _UnreadableError(text.count("\n", 0, error.position) + 1, _message_of(error.reason)) from error
    except (YAMLError, ValueError, OverflowError) as error:
        raise _UnreadableError(1, _message_of(str(error))) from error


def _message_of(problem: str) -> str:
    """Return the first line of what the parser says; the rest quotes the document."""
    return f"not YAML: {problem.strip().partition(chr(10))[0][:_MESSAGE_CHARS_MAX]}"
