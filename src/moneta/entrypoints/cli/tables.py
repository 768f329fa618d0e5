"""Documents on a terminal: JSON for programs, tables for people."""

import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

CONTRACTS: Final = ("contract_id", "status", "template_id", "version", "received_at", "mo_id", "publisher_id")
DELIVERIES: Final = ("webhook_id", "type", "contract_id", "organization_id", "status", "owed_at", "attempts")
DEAD_LETTERS: Final = ("id", "source", "event_id", "contract_id", "tries", "died_at", "reason")
TEMPLATES: Final = ("template_name", "version", "status", "is_latest", "created_at", "sha256")
CHANGES: Final = ("id", "state", "operation", "subject", "asked_by", "asked_at", "expires_at")
ORGANIZATIONS: Final = {
    "mo": ("id", "mic", "name", "status", "createdAt", "updatedAt"),
    "publisher": ("id", "mpc", "name", "status", "createdAt", "updatedAt"),
}
KEYS: Final = ("kid", "alg", "use", "status", "registered_at", "changed_at")
CERTIFICATES: Final = ("subject", "issuer", "valid_from_at", "valid_until_at", "serial")
MPASSES: Final = ("id", "number", "mo_id", "status", "locks", "tier", "expires_at")
TIMES: Final = frozenset({"timestamp", "time", "createdAt", "updatedAt"})

Row = Mapping[str, Any]  # A JSON document, which only its own page in the docs describes.


def show(document: bytes, columns: Sequence[str], *, as_json: bool) -> None:
    """Print a page of a list."""
    if as_json:
        _print_json(document)
        return
    page: Row = msgspec.json.decode(document)
    _print_table(page["items"], columns)
    if page["next_cursor"] is not None:
        print(f"more: --cursor {page['next_cursor']}", file=sys.stderr)  # noqa: T201  # beside the table, not in it


def show_one(document: bytes, *, as_json: bool, without: Collection[str] = ()) -> None:
    """Print one document: its plain members, then its lists of objects as tables."""
    if as_json:
        _print_json(document)
        return
    members: Row = msgspec.json.decode(document)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in members.items():
        if name not in without and name not in {"jws", "signatures_map", "event_logs"}:
            table.add_row(name, _text(name, value))
    _console().print(table)
    _print_parts(members)


def print_member(document: bytes, name: str) -> None:
    """Print one text of a document as it is, and nothing else."""
    sys.stdout.buffer.write(str(msgspec.json.decode(document)[name]).encode())
    sys.stdout.flush()


def _print_parts(members: Row) -> None:
    signatures = members.get("signatures_map")
    if signatures:
        rows = [{"role": role, **signature} for role, signature in signatures.items()]
        _print_table(rows, ("role", "alg", "kid", "timestamp"))
    if members.get("event_logs"):
        _print_table(members["event_logs"], ("revision", "event", "timestamp", "actor"))


def _print_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_text(name, row.get(name)) for name in columns))
    console = _console()
    # Cut nothing where a program reads along; on a terminal the ids fold instead.
    console.print(table, soft_wrap=not console.is_terminal, no_wrap=not console.is_terminal)


def _text(name: str, value: object) -> str:
    match value:
        case None:
            return "-"
        case int() if name.endswith("_at") or name in TIMES:
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S")
        case str():
            return value
        case [{"status": status}, *_] if name == "attempts":
            return f"{len(value)}, first {status}"
        case _:
            return msgspec.json.encode(value).decode()


def _print_json(document: bytes) -> None:
    sys.stdout.buffer.write(document.rstrip(b"\n") + b"\n")
    sys.stdout.flush()


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
