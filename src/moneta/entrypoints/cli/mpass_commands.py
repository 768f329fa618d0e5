"""The commands of who shows an mPass, and of who checks one: ``moneta mpass``."""

from pathlib import Path
from typing import Annotated

import typer

from moneta.entrypoints.cli.options import examples
from moneta.signing.sd_jwt import DISCLOSABLE

Audience = Annotated[
    str, typer.Option(metavar="WHO", help="Who asked for it: an organization's id, or a URL.", show_default=False)
]
Nonce = Annotated[str, typer.Option(metavar="TEXT", help="What that one asked to be signed, once.", show_default=False)]
ASKED = "--audience PUBLISHER_ID --nonce 5f0c2a9be1d34c77"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    mpass = typer.Typer(help="mPasses as their holders show them.", no_args_is_help=True)
    mpass.command(
        "present",
        epilog=examples(f"moneta mpass present pass.txt --key holder.pem --disclose number {ASKED} > shown.txt"),
    )(present)
    mpass.command(
        "verify",
        epilog=examples(
            "moneta mpass verify shown.txt --hub http://127.0.0.1:8080 --trust trust.json --status-list list.jwt "
            + ASKED,
        ),
    )(verify)
    app.add_typer(mpass, name="mpass")


def present(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The credential.", show_default=False)],
    *,
    key: Annotated[Path, typer.Option(metavar="FILE", help="The holder's private key, PEM or JWK.")],
    audience: Audience,
    nonce: Nonce,
    disclose: Annotated[
        list[str] | None,
        typer.Option(metavar="CLAIM", help=f"What to show: {', '.join(DISCLOSABLE)}. May be repeated."),
    ] = None,
) -> None:
    """Show an mPass as its holder: the claims that are chosen, signed for who asked, and for this occasion."""
    from moneta.entrypoints.cli import mpass  # noqa: PLC0415  # see the package's docstring

    asked = mpass.Asked(hub="", audience=audience, nonce=nonce)
    typer.echo(mpass.present_mpass(file, key, tuple(disclose or ()), asked))


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What the holder showed.", show_default=False)],
    *,
    hub: Annotated[str, typer.Option(metavar="URL", help="The hub's base URL, which issued it.", show_default=False)],
    trust: Annotated[Path, typer.Option(metavar="FILE", help="A JWK Set of the hub's keys; from elsewhere.")],
    status_list: Annotated[
        Path, typer.Option("--status-list", metavar="FILE", help="The status list that the pass names, just fetched.")
    ],
    audience: Audience,
    nonce: Nonce,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Verify an mPass offline: signature, end, what is disclosed, who shows it, for whom and when, and its status.

    Exit 0: it is valid. Exit 1: it is not, and the line says why. Exit 3: nothing is known, since the status list has
    ended; fetch it again.
    """
    from moneta.entrypoints.cli import mpass  # noqa: PLC0415  # see the package's docstring

    asked = mpass.Asked(hub=hub, audience=audience, nonce=nonce)
    verdict = mpass.verify_presented(file, asked, trust=trust, status_list=status_list)
    typer.echo(verdict.to_json() if as_json else verdict.text)
    raise typer.Exit(verdict.exit_code)
