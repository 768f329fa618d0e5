"""``moneta``: the command line put together."""

import sys
from collections.abc import Sequence
from typing import Final

import typer

from moneta.entrypoints.cli import (
    aws_commands,
    change_commands,
    directory_commands,
    hub_commands,
    mpass_commands,
    operations_commands,
    party_commands,
    reading_commands,
    template_commands,
)
from moneta.entrypoints.cli.failures import FAILED, explanation

HELP: Final = "Moneta Core: the trusted hub between membership organizations and publishers."
EXIT_CODES: Final = """\b
Exit codes:
  0  it is done, or true
  1  it is not: the line on standard error says why, and what to do
  2  the command was not understood
  3  verify: consistent, but not proven (no anchor, or no receipt); mpass verify: the status list has ended"""


def make_app() -> typer.Typer:
    """Return the whole command line."""
    app = typer.Typer(
        name="moneta",
        help=HELP,
        epilog=EXIT_CODES,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for module in (
        hub_commands,
        operations_commands,
        party_commands,
        reading_commands,
        directory_commands,
        change_commands,
        template_commands,
        mpass_commands,
        aws_commands,
    ):
        module.add_to(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name, the process's own if None, and exit."""
    try:
        make_app()(arguments, prog_name="moneta")
    except Exception as error:
        line = explanation(error)
        if line is None:
            raise  # a bug: its trace is worth more than a line
        print(f"moneta: {line}", file=sys.stderr)  # noqa: T201  # the command line talks to whoever typed it
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
