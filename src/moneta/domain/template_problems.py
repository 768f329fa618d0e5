"""What is wrong with a template, found all at once, each with its line, so that an author mends it in one go."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from moneta.domain.ijson import Value, type_name

Path = tuple[str | int, ...]
"""Where a value stands in the YAML document: the keys and indexes that lead to it from the top."""

Lines = Mapping[Path, int]
"""The line, from 1, on which the value of each path begins."""

_SHOWN_CHARS_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateProblem:
    """What is wrong with a template, and on which line (from 1)."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Findings:
    """The problems of one document, collected while it is read."""

    lines: Lines
    problems: list[TemplateProblem] = field(default_factory=list)

    def add(self, path: Path, message: str) -> None:
        """Note a mistake at ``path``."""
        self.note(self.line_of(path), message)

    def note(self, line: int, message: str) -> None:
        """Note a mistake on ``line``."""
        self.problems.append(TemplateProblem(line=line, message=message))

    def line_of(self, path: Path) -> int:
        """Return the line of ``path``, or of the nearest value around it that has one."""
        return next((self.lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.lines), 1)

    def in_order(self) -> tuple[TemplateProblem, ...]:
        """Return the problems in the order of lines, each once."""
        return tuple(sorted(dict.fromkeys(self.problems), key=lambda problem: problem.line))

    def members(
        self, value: Value, path: Path, *, known: Collection[str], required: Collection[str] = ()
    ) -> Mapping[str, Value]:
        """Return the members of the mapping at ``path`` that are known, and note what is wrong with the others."""
        if not isinstance(value, dict):
            self.add(path, f"{name_of(path)}: expected a mapping, got {type_name(value)}")
            return {}
        for key in value:
            if key not in known:
                self.add((*path, key), f"unknown key {shown(key)} in {name_of(path)}")
        for key in required:
            if value.get(key) is None:
                self.add(path, f"{name_of(path)}: {key} is missing")
        return {key: item for key, item in value.items() if key in known and item is not None}

    def items(self, value: Value, path: Path) -> list[Value]:
        """Return the items of the list at ``path``; none, and a note, if it is not a list."""
        if isinstance(value, list):
            return value
        self.add(path, f"{name_of(path)}: expected a list, got {type_name(value)}")
        return []

    def names(self, value: Value, path: Path) -> list[tuple[Path, str]]:
        """Return the texts in the list at ``path``, each with its place, and note what is no text or stands twice."""
        found: dict[str, Path] = {}
        for index, item in enumerate(self.items(value, path)):
            place = (*path, index)
            if not isinstance(item, str):
                self.add(place, f"{name_of(path)}: expected a name, got {type_name(item)}")
            elif item in found:
                self.add(place, f"{name_of(path)}: {shown(item)} stands twice")
            else:
                found[item] = place
        return [(place, item) for item, place in found.items()]


def name_of(path: Path) -> str:
    """Return how a message names the value at ``path``."""
    return ".".join(str(step) for step in path)[:_SHOWN_CHARS_MAX] or "template"


def shown(text: str) -> str:
    """Return ``text`` as a message shows it: quoted, and cut."""
    return repr(text[:_SHOWN_CHARS_MAX])
