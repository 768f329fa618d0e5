"""The commands that read: ``contracts``, ``events``, ``deliveries``; and ``dlq``.

Each reads over HTTP with ``--url`` and a token, or with ``--data`` the store itself; the document is the same. The
filters of a ``GET`` are options of the same name.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from moneta.entrypoints.cli.options import AsFormat, AsJson, Cursor, Limit, StoreDir, Token, Url, examples

TOKENLESS: Final = "--data hub"
Filter = Annotated[str | None, typer.Option(metavar="ID", help="Only those of this one.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    contracts = typer.Typer(help="Contracts, as they stand.", no_args_is_help=True)
    contracts.command(
        "list",
        epilog=examples(
            "moneta contracts list --data hub",
            "moneta contracts list --url http://127.0.0.1:8080 --status finalized --limit 200 --json",
            "moneta contracts list --data hub --format csv > contracts.csv",
        ),
    )(list_contracts)
    contracts.command(
        "show",
        epilog=examples(
            "moneta contracts show --data hub c-1", "moneta contracts show --data hub c-1 --json > c-1.json"
        ),
    )(show_contract)
    events = typer.Typer(help="Events: what became of what was sent.", no_args_is_help=True)
    events.command(
        "show",
        epilog=examples(
            "moneta events show --data hub e-1 --source ORG_ID", "moneta events show --url http://127.0.0.1:8080 e-1"
        ),
    )(show_event)
    deliveries = typer.Typer(help="Webhooks, with their attempts.", no_args_is_help=True)
    deliveries.command("list", epilog=examples("moneta deliveries list --data hub --status pending"))(list_deliveries)
    dlq = typer.Typer(help="Dead letters: events that no try could process.", no_args_is_help=True)
    dlq.command("list", epilog=examples("moneta dlq list --data hub"))(list_dead_letters)
    dlq.command(
        "redrive",
        epilog=examples(
            "moneta dlq redrive --url http://127.0.0.1:8080 17 18",
            "moneta dlq redrive --data hub --all",
        ),
    )(redrive)
    app.add_typer(contracts, name="contracts")
    app.add_typer(events, name="events")
    app.add_typer(deliveries, name="deliveries")
    app.add_typer(dlq, name="dlq")


def list_contracts(
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    mo_id: Annotated[str | None, typer.Option("--mo-id", "--mo_id", metavar="ID", help="Only of this MO.")] = None,
    publisher_id: Annotated[
        str | None, typer.Option("--publisher-id", "--publisher_id", metavar="ID", help="Only of this publisher.")
    ] = None,
    mpass_id: Annotated[
        str | None, typer.Option("--mpass-id", "--mpass_id", metavar="ID", help="Only of this mPass.")
    ] = None,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Only with this status.")] = None,
    received_from: Annotated[
        int | None, typer.Option("--received-from", "--received_from", metavar="SECONDS", help="Not before; Unix time.")
    ] = None,
    received_to: Annotated[
        int | None, typer.Option("--received-to", "--received_to", metavar="SECONDS", help="Not after; Unix time.")
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
    as_json: AsJson = False,
    as_format: AsFormat = None,
) -> None:
    """List contracts, the newest first."""
    from moneta.entrypoints.cli import exporting, reading, tables  # noqa: PLC0415  # see the package's docstring

    filters = {
        "mo_id": mo_id,
        "publisher_id": publisher_id,
        "mpass_id": mpass_id,
        "status": status,
        "received_from": received_from,
        "received_to": received_to,
        "limit": limit,
        "cursor": cursor,
    }
    where = reading.place(data, url, token)
    exporting.show(
        lambda given: reading.contracts(where, given), filters, tables.CONTRACTS, as_json=as_json, as_format=as_format
    )


def show_contract(
    contract_id: Annotated[str, typer.Argument(metavar="CONTRACT_ID", help="The contract.", show_default=False)],
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show one contract. With --json it is what `moneta verify` takes."""
    from moneta.entrypoints.cli import reading, tables  # noqa: PLC0415  # see the package's docstring

    tables.show_one(reading.contract(reading.place(data, url, token), contract_id), as_json=as_json)


def show_event(
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event.", show_default=False)],
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    source: Annotated[
        str | None, typer.Option(metavar="ORG_ID", help="Who sent it; the token's own organization if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what became of an event."""
    from moneta.entrypoints.cli import reading, tables  # noqa: PLC0415  # see the package's docstring

    if data is not None and source is None:
        raise typer.BadParameter("--data needs --source: the organization that sent the event")
    tables.show_one(reading.event(reading.place(data, url, token), event_id, {"source": source}), as_json=as_json)


def list_deliveries(
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    contract_id: Annotated[
        str | None, typer.Option("--contract-id", "--contract_id", metavar="ID", help="Only about this contract.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only with this status: pending, delivered or dead.")
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
    as_json: AsJson = False,
    as_format: AsFormat = None,
) -> None:
    """List webhooks, the newest first."""
    from moneta.entrypoints.cli import exporting, reading, tables  # noqa: PLC0415  # see the package's docstring

    filters = {"contract_id": contract_id, "status": status, "limit": limit, "cursor": cursor}
    where = reading.place(data, url, token)
    exporting.show(
        lambda given: reading.deliveries(where, given), filters, tables.DELIVERIES, as_json=as_json, as_format=as_format
    )


def list_dead_letters(
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    limit: Limit = None,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the oldest first, with what each met at its last try."""
    from moneta.entrypoints.cli import reading, tables  # noqa: PLC0415  # see the package's docstring

    document = reading.dead_letters(reading.place(data, url, token), {"limit": limit, "cursor": cursor})
    tables.show(document, tables.DEAD_LETTERS, as_json=as_json)


def redrive(
    letters: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="The dead letters, by their ids.", show_default=False)
    ] = None,
    *,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Redrive at the store itself.")] = None,
    identity: Annotated[
        str, typer.Option("--as", metavar="ID", help="With --data: the operator whose key is there.")
    ] = "operator",
    url: Url = None,
    token: Token = None,
    is_all: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
) -> None:
    """Give dead letters back to their queue, as if never tried. With --data a running hub notices within a minute."""
    from moneta.entrypoints.cli import dead_letters, reading  # noqa: PLC0415  # see the package's docstring

    if bool(letters) == is_all:
        raise typer.BadParameter("give the ids of dead letters, or --all")
    where = reading.place(data, url, token)
    for document in dead_letters.redrive_each(where, None if is_all else letters, identity):
        typer.echo(document.decode())
