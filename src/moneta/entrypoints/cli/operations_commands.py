"""The commands that keep a hub well: ``migrate``, ``retention``."""

from typing import Annotated

import msgspec
import typer

from moneta.entrypoints.cli.options import (
    DataDir,
    KeepAnswers,
    KeepDead,
    KeepDeliveries,
    KeepEvents,
    examples,
    keep_days,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("migrate", epilog=examples("moneta migrate --data hub"))(migrate)
    app.command(
        "retention",
        epilog=examples(
            "moneta retention --data hub --dry-run", "moneta retention --data hub --keep-deliveries-days 7 --json"
        ),
    )(retention)


def migrate(data: DataDir) -> None:
    """Bring an older store forward to this version; a newer one is refused. Stop the hub first."""
    from moneta.entrypoints.cli import operations  # noqa: PLC0415  # see the package's docstring

    typer.echo("migrated" if operations.migrate(data) else "nothing to do: the store is of this version")


def retention(
    data: DataDir,
    *,
    is_trial: Annotated[bool, typer.Option("--dry-run", help="Forget nothing; count what would be.")] = False,
    keep_deliveries: KeepDeliveries = None,
    keep_dead: KeepDead = None,
    keep_events: KeepEvents = None,
    keep_answers: KeepAnswers = None,
    as_json: Json = False,
) -> None:
    """Forget now what is over for long enough, as a running hub does by itself every hour; it may run meanwhile.

    Contracts, their signatures and the audit log are never forgotten. What no option says is as the hub was last
    started.
    """
    from moneta.entrypoints.cli import operations  # noqa: PLC0415  # see the package's docstring

    days = keep_days(deliveries=keep_deliveries, dead=keep_dead, events=keep_events, answers=keep_answers)
    counts = operations.retention(data, days, is_trial=is_trial)
    if as_json:
        typer.echo(msgspec.json.encode({"is_trial": is_trial, **counts}))
        return
    for past, count in counts.items():
        typer.echo(f"{past.replace('_', ' ')}: {count} {'would be forgotten' if is_trial else 'forgotten'}")
