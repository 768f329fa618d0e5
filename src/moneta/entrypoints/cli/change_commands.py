"""The commands about what waits for a second operator: ``changes``.

Reading is as in ``reading_commands``. A decision is made over HTTP, with a token of whoever decides, or with ``--data``
at the store itself, with the key of an identity that is there.
"""

from pathlib import Path
from typing import Annotated

import typer

from moneta.domain.pending_changes import ChangeDecision
from moneta.entrypoints.cli.options import AsJson, Cursor, Limit, StoreDir, Token, Url, examples

ChangeId = Annotated[str, typer.Argument(metavar="CHANGE_ID", help="The change.", show_default=False)]
Decider = Annotated[
    str, typer.Option("--as", metavar="ID", help="With --data: the identity whose key is there, another than asked.")
]
Why = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="For a person, at most 500 characters.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    changes = typer.Typer(help="What an operator asked for and another has to approve.", no_args_is_help=True)
    changes.command(
        "list",
        epilog=examples(
            "moneta changes list --data hub --state awaiting_checker",
            "moneta changes list --url http://127.0.0.1:8080 --json",
        ),
    )(list_changes)
    changes.command("show", epilog=examples("moneta changes show --data hub CHANGE_ID"))(show_change)
    changes.command(
        "approve",
        epilog=examples(
            "moneta changes approve --data hub --as checker CHANGE_ID",
            "moneta changes approve --url http://127.0.0.1:8080 CHANGE_ID --reason 'their agreement is signed'",
        ),
    )(approve)
    changes.command("refuse", epilog=examples("moneta changes refuse --data hub --as checker CHANGE_ID"))(refuse)
    app.add_typer(changes, name="changes")


def list_changes(
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE", help="Only in this state: awaiting_checker, approved, refused, failed or expired."
        ),
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List what operators asked for, the newest first."""
    from moneta.entrypoints.cli import reading, tables  # noqa: PLC0415  # see the package's docstring

    filters = {"state": state, "limit": limit, "cursor": cursor}
    tables.show(reading.changes(reading.place(data, url, token), filters), tables.CHANGES, as_json=as_json)


def show_change(
    change_id: ChangeId,
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show what was asked for, whole, and what became of it: this is what a checker reads first."""
    from moneta.entrypoints.cli import reading, tables  # noqa: PLC0415  # see the package's docstring

    tables.show_one(reading.change(reading.place(data, url, token), change_id), as_json=as_json)


def approve(
    change_id: ChangeId,
    *,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Decide at the store itself.")] = None,
    identity: Decider = "checker",
    url: Url = None,
    token: Token = None,
    reason: Why = None,
    as_json: AsJson = False,
) -> None:
    """Do what another asked for, as if it were asked for now."""
    _decide(ChangeDecision.APPROVE, change_id, data, identity, url, token, reason, as_json=as_json)


def refuse(
    change_id: ChangeId,
    *,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Decide at the store itself.")] = None,
    identity: Decider = "checker",
    url: Url = None,
    token: Token = None,
    reason: Why = None,
    as_json: AsJson = False,
) -> None:
    """Leave what another asked for undone."""
    _decide(ChangeDecision.REFUSE, change_id, data, identity, url, token, reason, as_json=as_json)


def _decide(  # noqa: PLR0917  # the options of both commands, in their order
    decision: ChangeDecision,
    change_id: str,
    data: Path | None,
    identity: str,
    url: str | None,
    token: str | None,
    reason: str | None,
    *,
    as_json: bool,
) -> None:
    from moneta.entrypoints.cli import changes, reading, tables  # noqa: PLC0415  # see the package's docstring

    document = changes.decide(reading.place(data, url, token), change_id, identity, decision, reason)
    tables.show_one(document, as_json=as_json)
