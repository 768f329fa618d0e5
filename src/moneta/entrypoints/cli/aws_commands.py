"""The commands about a hub on AWS: ``aws init``, ``aws rotate-key``."""

from pathlib import Path
from typing import Annotated

import typer

from moneta.entrypoints.cli.options import Endpoint, TablePrefix, checked_base_url, examples

OPERATOR = "operator"
CHECKER = "checker"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    aws = typer.Typer(help="A hub on AWS, from its operator's desk.", no_args_is_help=True)
    aws.command(
        "init",
        epilog=examples(
            "moneta aws init --table-prefix moneta-prod- --base-url https://hub.example --operator-key operator.pem "
            "--checker-key checker.pem",
            "moneta aws init --local --endpoint http://127.0.0.1:4566 --table-prefix moneta-local- "
            "--base-url http://127.0.0.1:8080 --operator-key operator.pem",
        ),
    )(init)
    aws.command(
        "rotate-key",
        epilog=examples(
            "moneta aws rotate-key --table-prefix moneta-prod-",
            "moneta aws rotate-key --table-prefix moneta-prod- --compromised",
        ),
    )(rotate_key)
    app.add_typer(aws, name="aws")


def init(
    *,
    base_url: Annotated[
        str,
        typer.Option(
            "--base-url",
            metavar="URL",
            callback=checked_base_url,
            help="What clients call the hub.",
            show_default=False,
        ),
    ],
    operator_key: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The operator's private key: made unless it is there.", show_default=False),
    ],
    checker_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The private key of a checker, who approves what the operator asks: made unless it is there. A hub is "
            "deployed with two, unless its parameter Checkers is 1.",
        ),
    ] = None,
    endpoint: Endpoint = None,
    table_prefix: TablePrefix = None,
    local: Annotated[
        bool, typer.Option("--local", help="For emulators: make the tables, queues, secret and root key too.")
    ] = False,
) -> None:
    """Make what a hub that was just deployed lacks: its keys, its own people, and the built-in templates.

    What is there stays as it is, so it can be run again, and has to be if it broke off.
    """
    from moneta.bootstrap import deployment  # noqa: PLC0415  # see the package's docstring
    from moneta.entrypoints.cli import aws  # noqa: PLC0415

    if local:
        deployment.make_local_resources(endpoint_url=endpoint, table_prefix=table_prefix)
    found = deployment.find(endpoint_url=endpoint, table_prefix=table_prefix)
    people = {OPERATOR: operator_key} | ({} if checker_key is None else {CHECKER: checker_key})
    for line in aws.initialize(found, base_url=base_url, key_files=people):
        typer.echo(line)


def rotate_key(
    *,
    endpoint: Endpoint = None,
    table_prefix: TablePrefix = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", callback=checked_base_url, help="If it is no longer that of the key before."),
    ] = None,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Revoke the keys in the secret now, and sign with a new one at once.")
    ] = False,
) -> None:
    """Make the key that Moneta signs with from two hours on, unless one waits for its time already."""
    from moneta.bootstrap import deployment  # noqa: PLC0415  # see the package's docstring
    from moneta.entrypoints.cli import aws  # noqa: PLC0415

    found = deployment.find(endpoint_url=endpoint, table_prefix=table_prefix)
    for line in aws.rotate_key(found, base_url=base_url, is_compromised=compromised):
        typer.echo(line)
