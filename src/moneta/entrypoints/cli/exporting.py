"""Whole lists for other programs: every page, written as it comes, as JSON lines or as CSV (RFC 4180).

A list goes from the newest back, so that what is made meanwhile is not in it, and nothing that was there is left out.
CSV is opened by spreadsheets, which take a cell that begins with one of ``= + - @`` or a control character for a
formula, or their full-width forms, and some run it; a party's free text is such a cell's content if nobody prevents it.
Texts that begin so get an apostrophe before them. What programs read back is JSON lines, which change nothing.
"""

import csv
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final

import msgspec

from moneta.domain.limits import LIST_LIMIT_MAX
from moneta.entrypoints.cli import tables
from moneta.entrypoints.cli.failures import CommandError
from moneta.entrypoints.cli.options import ExportFormat
from moneta.entrypoints.cli.reading import Filters

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
APOSTROPHE: Final = "'"

Fetch = Callable[[Filters], bytes]
"""Gives the page of a list that the filters ask for."""


class _Page(msgspec.Struct):
    items: list[msgspec.Raw]
    next_cursor: str | None


def show(
    fetch: Fetch, filters: Filters, columns: tuple[str, ...], *, as_json: bool, as_format: ExportFormat | None
) -> None:
    """Print a page of a list for a person or a program, or all of it in a format for others."""
    if as_format is None:
        tables.show(fetch(filters), columns, as_json=as_json)
    else:
        export(fetch, filters, as_format, sys.stdout.buffer)


def export(fetch: Fetch, filters: Filters, as_format: ExportFormat, out: BinaryIO) -> None:
    """Write every item from the filters' cursor on; their ``limit`` is the size of a page, and no more."""
    lines = _csv_lines if as_format is ExportFormat.CSV else _json_lines
    out.writelines(lines(_items(fetch, filters)))
    out.flush()


def _items(fetch: Fetch, filters: Filters) -> Iterator[msgspec.Raw]:
    cursor = filters.get("cursor")
    size = filters.get("limit") or LIST_LIMIT_MAX
    while True:  # ends with the last page: what is made meanwhile stands before the first
        page = msgspec.json.decode(fetch({**filters, "limit": size, "cursor": cursor}), type=_Page)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _json_lines(items: Iterator[msgspec.Raw]) -> Iterator[bytes]:
    for item in items:
        yield bytes(item) + b"\n"


def _csv_lines(items: Iterator[msgspec.Raw]) -> Iterator[bytes]:
    columns: list[str] | None = None
    for item in items:
        members: Mapping[str, Any] = msgspec.json.decode(item)
        if columns is None:
            columns = list(members)
            yield _csv_line(columns)
        if list(members) != columns:
            raise CommandError("CSV has one set of columns, and this list does not: use --format jsonl")
        yield _csv_line([_cell(value) for value in members.values()])


def _csv_line(cells: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return APOSTROPHE + value if value.startswith(FORMULA_STARTS) else value
        case _:
            return msgspec.json.encode(value).decode()
