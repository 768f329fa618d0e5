"""Options that several commands share, and how examples stand under a command's help."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

TOKEN_VARIABLE = "MONETA_TOKEN"  # noqa: S105  # the name of a variable, no token


def examples(*lines: str) -> str:
    """Return the part of a command's help that shows it in use; the backspace keeps the lines as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def checked_base_url(base_url: str | None) -> str | None:
    """Return ``base_url`` if it can be one: everything that is signed for a hub repeats it byte for byte."""
    parts = urlsplit(base_url or "")
    is_plain = not (parts.query or parts.fragment or parts.username or parts.path.endswith("/"))
    if base_url is not None and not (parts.scheme in {"http", "https"} and parts.hostname and is_plain):
        raise typer.BadParameter(f"expected a URL like https://hub.example without a final slash, got {base_url}")
    return base_url


DataDir = Annotated[Path, typer.Option("--data", metavar="DIR", help="The hub's data directory.", show_default=False)]
StoreDir = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Read the store itself, the hub running or not.")
]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The hub's base URL; needs a token.")]
Token = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", envvar=TOKEN_VARIABLE, help="A bearer token, from `moneta token`."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the document that the matching GET answers.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="1..200", help="At most so many; 50 if not given.")]
Cursor = Annotated[str | None, typer.Option("--cursor", metavar="TEXT", help="Where the page before ended.")]

HubUrl = Annotated[
    str,
    typer.Option(
        "--url", "--hub", metavar="URL", help="The hub's base URL, exactly as the hub states it.", show_default=False
    ),
]
OwnId = Annotated[str, typer.Option("--as", metavar="ORG_ID", help="Your organization's id.", show_default=False)]
ContractKey = Annotated[
    Path, typer.Option("--key", metavar="FILE", help="Your private contract key.", show_default=False)
]
AuthKey = Annotated[
    Path | None,
    typer.Option("--auth-key", metavar="FILE", help="Your private auth key; the contract key if not given."),
]
ReasonCode = Annotated[
    str, typer.Option("--reason-code", metavar="CODE", help="1 to 64 of a-z 0-9 _ -.", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="For a person, at most 500 characters.")]
