"""The commands that keep a hub well: ``backup``, ``restore``, ``migrate``, ``retention``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from moneta.entrypoints.cli.operations import Report

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


BackupDir = Annotated[Path, typer.Argument(metavar="BACKUP", help="The backup's directory.", show_default=False)]

KEYS_WARNING = """\
This backup holds the hub's PRIVATE KEYS: whoever reads it can sign as Moneta. Keep it as you keep the keys themselves,
encrypted where others can reach it; or make it with --without-keys, and keep the keys elsewhere."""
NO_KEYS_WARNING = """\
This backup holds NO KEYS: the hub can't start without signing-*.pem, sealing.key and identities/*.pem of its data
directory. Keep them elsewhere; put them back after moneta restore, with mode 0600."""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    backup = typer.Typer(
        invoke_without_command=True,
        epilog=examples(
            "moneta backup --data hub --out backups/monday",
            "moneta backup --data hub --out backups/tuesday --without-keys --json",
        ),
    )
    backup.callback()(back_up)
    backup.command(
        "verify", epilog=examples("moneta backup verify backups/monday", "moneta backup verify --quick backups/monday")
    )(verify_backup)
    app.add_typer(backup, name="backup")
    app.command(
        "doctor",
        epilog=examples(
            "moneta doctor --data hub",
            "moneta doctor --data hub --url http://127.0.0.1:8080 --backups backups --json",
        ),
    )(doctor)
    app.command("restore", epilog=examples("moneta restore --from backups/monday --data hub-restored"))(restore)
    app.command(
        "migrate", epilog=examples("moneta migrate --data hub", "moneta migrate --data hub --without-copy --json")
    )(migrate)
    app.command(
        "retention",
        epilog=examples(
            "moneta retention --data hub --dry-run", "moneta retention --data hub --keep-deliveries-days 7 --json"
        ),
    )(retention)


def back_up(
    context: typer.Context,
    *,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The hub's data directory.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The new backup's directory.")] = None,
    without_keys: Annotated[bool, typer.Option("--without-keys", help="Leave the private keys out.")] = False,
    as_json: Json = False,
) -> None:
    """Copy the hub as it is at one moment, while it runs, and check the copy. It is whole, or not there."""
    from moneta.entrypoints.cli import operations  # noqa: PLC0415  # see the package's docstring

    if context.invoked_subcommand is not None:
        return
    if data is None or out is None:
        raise typer.BadParameter("give --data DIR and --out DIR, or: moneta backup verify BACKUP")
    _show(operations.back_up(data, out, with_keys=not without_keys), as_json=as_json)


def verify_backup(
    backup: BackupDir,
    *,
    is_quick: Annotated[
        bool, typer.Option("--quick", help="Leave out whether every index fits its table, most of the time.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a backup: each file by its digest, the store's pages, references and log, contracts by their signatures."""
    from moneta.entrypoints.cli import operations  # noqa: PLC0415  # see the package's docstring

    _show(operations.verify_backup(backup, is_quick=is_quick), as_json=as_json)


def restore(
    backup: Annotated[Path, typer.Option("--from", metavar="BACKUP", help="The backup.", show_default=False)],
    data: DataDir,
    *,
    as_json: Json = False,
) -> None:
    """Make a data directory from a backup, checked before and after. What came later than the backup is not in it."""
    from moneta.entrypoints.cli import operations  # noqa: PLC0415  # see the package's docstring

    _show(operations.restore(backup, data), as_json=as_json)
    typer.echo(f"Next: see that no other hub runs on a copy of it, then moneta up --data {data}", err=True)


def doctor(
    data: DataDir,
    *,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="Ask the hub there too.")] = None,
    backups: Annotated[Path | None, typer.Option("--backups", metavar="DIR", help="Where backups are kept.")] = None,
    as_json: Json = False,
) -> None:
    """Look at a hub, running or not, and say what to do. Ends with 0 if all is well, 1 for warnings, 2 for faults."""
    from moneta.entrypoints.cli import doctor as doctors  # noqa: PLC0415  # see the package's docstring

    findings = doctors.examine(data, url=url, backups=backups)
    if as_json:
        typer.echo(doctors.to_json(findings))
    else:
        for one in findings:
            typer.echo(f"{one.level.name:4}  {one.check}: {one.text}{f' -> {one.advice}' if one.advice else ''}")
    raise typer.Exit(doctors.worst(findings))


def _show(report: "Report", *, as_json: bool) -> None:
    for line in (report.document.decode(),) if as_json else report.lines:
        typer.echo(line)
    typer.echo(KEYS_WARNING if report.has_keys else NO_KEYS_WARNING, err=True)


def migrate(
    data: DataDir,
    *,
    without_copy: Annotated[
        bool, typer.Option("--without-copy", help="Don't keep the older store beside the new one, for want of room.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring an older store forward to this version, whole or not at all; a newer one is refused. Stop the hub first.

    The older store is kept as moneta.db.version-N in the data directory; delete it when all is well.
    """
    from moneta.entrypoints.cli import operations  # noqa: PLC0415  # see the package's docstring

    has_migrated, kept = operations.migrate(data, keeps_copy=not without_copy)
    if as_json:
        typer.echo(msgspec.json.encode({"migrated": has_migrated, "kept": None if kept is None else str(kept)}))
        return
    typer.echo("migrated" if has_migrated else "nothing to do: the store is of this version")
    if kept is not None:
        typer.echo(f"the older store is kept as {kept}", err=True)


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
