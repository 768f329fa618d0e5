"""The commands about templates: those that need no hub (``lint``, ``simulate``, ``compat``), and a hub's registry."""

from pathlib import Path
from typing import Annotated

import typer

from moneta.entrypoints.cli.options import ActingAs, ActingAt, AsJson, Cursor, Limit, StoreDir, Token, Url, examples

TemplateFile = Annotated[Path, typer.Argument(metavar="FILE", help="A template in YAML.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The template's name.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    templates = typer.Typer(help="Contract templates.", no_args_is_help=True)
    templates.command("lint", epilog=examples("moneta templates lint templates/*.yaml"))(lint)
    templates.command(
        "simulate",
        epilog=examples(
            "moneta templates simulate purchase.yaml --body body.json",
            "moneta templates simulate purchase.yaml --body body.json --json",
        ),
    )(simulate)
    templates.command("compat", epilog=examples("moneta templates compat purchase-1.yaml purchase-2.yaml"))(compat)
    templates.command(
        "publish",
        epilog=examples(
            "moneta templates publish --data hub purchase.yaml",
            "moneta templates publish --url http://127.0.0.1:8080 purchase.yaml --status draft",
        ),
    )(publish)
    templates.command("list", epilog=examples("moneta templates list --data hub"))(list_templates)
    templates.command(
        "show",
        epilog=examples(
            "moneta templates show --data hub transaction-contract",
            "moneta templates show --data hub transaction-contract 1 --yaml > transaction-contract.yaml",
        ),
    )(show)
    templates.command("status", epilog=examples("moneta templates status --data hub purchase 1 deprecated"))(status)
    app.add_typer(templates, name="templates")


def lint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Templates in YAML.", show_default=False)],
) -> None:
    """Print what is wrong with templates, as `FILE:LINE: problem`; exit 1 on any. Needs no hub."""
    from moneta.entrypoints.cli import templates  # noqa: PLC0415  # see the package's docstring

    problems = [line for file in files for line in templates.lint(file)]
    for line in problems:
        typer.echo(line)
    raise typer.Exit(1 if problems else 0)


def simulate(
    file: TemplateFile,
    *,
    body: Annotated[Path, typer.Option(metavar="FILE", help="A contract's body, as JSON.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell what becomes of a body under a template: what is missing, who signs when, what follows. Needs no hub.

    Exit 1 if it would be refused.
    """
    from moneta.entrypoints.cli import simulation, templates  # noqa: PLC0415  # see the package's docstring

    trial = templates.trial(file, body)
    simulation.show(trial, as_json=as_json)
    raise typer.Exit(0 if trial["is_accepted"] else 1)


def compat(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The version that clients know.", show_default=False)],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The version to come.", show_default=False)],
) -> None:
    """Print what a client of OLD trips over under NEW, as `NEW:LINE: what`; exit 1 on any. Needs no hub."""
    from moneta.entrypoints.cli import templates  # noqa: PLC0415  # see the package's docstring

    found = templates.compat(old, new)
    for line in found:
        typer.echo(line)
    raise typer.Exit(1 if found else 0)


def publish(
    file: TemplateFile,
    *,
    data: ActingAt = None,
    identity: ActingAs = "operator",
    url: Url = None,
    token: Token = None,
    status: Annotated[str | None, typer.Option(metavar="draft", help="Keep it as a draft.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a version of a template; it never changes afterwards."""
    from moneta.entrypoints.cli import reading, tables, templates  # noqa: PLC0415  # see the package's docstring

    where = reading.place(data, url, token)
    tables.show_one(templates.publish(where, file, identity, status), as_json=as_json, without=("template_payload",))


def list_templates(
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Only with this status.")] = None,
    limit: Limit = None,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List every version of every template."""
    from moneta.entrypoints.cli import reading, tables  # noqa: PLC0415  # see the package's docstring

    filters = {"status": status, "limit": limit, "cursor": cursor}
    tables.show(reading.templates(reading.place(data, url, token), filters), tables.TEMPLATES, as_json=as_json)


def show(
    name: Name,
    version: Annotated[
        int | None, typer.Argument(min=1, metavar="[VERSION]", help="The latest if not given.", show_default=False)
    ] = None,
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print the template itself, byte for byte.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a version of a template."""
    from moneta.entrypoints.cli import reading, tables  # noqa: PLC0415  # see the package's docstring

    document = reading.template(reading.place(data, url, token), name, version)
    if as_yaml:
        tables.print_member(document, "template_payload")
    else:
        tables.show_one(document, as_json=as_json, without=("template_payload",))


def status(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="The version.", show_default=False)],
    to: Annotated[str, typer.Argument(metavar="STATUS", help="published, deprecated or retired.", show_default=False)],
    *,
    data: ActingAt = None,
    identity: ActingAs = "operator",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Publish a draft, or deprecate or retire a version: a retired one takes no new contracts."""
    from moneta.entrypoints.cli import reading, tables, templates  # noqa: PLC0415  # see the package's docstring

    where = reading.place(data, url, token)
    document = templates.change_status(where, name, version, to, identity)
    tables.show_one(document, as_json=as_json, without=("template_payload",))
