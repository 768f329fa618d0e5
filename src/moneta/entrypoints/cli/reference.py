"""The reference part of ``docs/cli.md``, from what the commands say of themselves.

``python -m moneta.entrypoints.cli.reference docs/cli.md`` writes it anew; a test compares.
"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from moneta.entrypoints.cli.main import make_app

BEGIN: Final = "<!-- From here on: python -m moneta.entrypoints.cli.reference docs/cli.md -->\n"

Command = Any  # typer's own copy of click has no public name.


def reference() -> str:
    """Return every command with its options and examples, in Markdown."""
    return "\n".join(_command_page("moneta", typer.main.get_command(make_app()))).rstrip() + "\n"


def page(text: str) -> str:
    """Return ``text``, a page, with the part after ``BEGIN`` written anew."""
    head, mark, _ = text.partition(BEGIN)
    return f"{head}{mark}\n{reference()}"


def commands(name: str, command: Command) -> Iterator[tuple[str, Command]]:
    """Return each command that does something, by its whole name."""
    subcommands = getattr(command, "commands", None)
    if subcommands is None or command.invoke_without_command:
        yield name, command
    for word, subcommand in (subcommands or {}).items():
        yield from commands(f"{name} {word}", subcommand)


def examples_of(command: Command) -> list[str]:
    """Return the lines that show a command in use."""
    lines = inspect.cleandoc(command.epilog or "").splitlines()
    return [line.strip() for line in lines if line.strip() not in {"", "\b", "Examples:"}]


def _command_page(name: str, root: Command) -> Iterator[str]:
    for path, command in commands(name, root):
        yield f"### `{path}`"
        yield ""
        yield inspect.cleandoc(command.help or "")
        yield ""
        yield from _options(command)
        yield "```sh"
        yield from examples_of(command)
        yield "```"
        yield ""


def _options(command: Command) -> Iterator[str]:
    yield "| option | |"
    yield "|---|---|"
    for parameter in command.params:
        if parameter.name != "help":
            yield f"| `{_name(parameter)}` | {_meaning(parameter)} |"
    yield ""


def _name(parameter: Command) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    value = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
    return f"{', '.join(parameter.opts)}{value}".replace("|", "\\|")


def _meaning(parameter: Command) -> str:
    words = [parameter.help or ""]
    if parameter.param_type_name == "option" and parameter.required:
        words.append("Required.")
    default = parameter.default
    if default not in (None, False, "") and not parameter.required:
        words.append(f"Default: `{default}`.")
    if getattr(parameter, "envvar", None):
        words.append(f"Or `{parameter.envvar}` in the environment.")
    return " ".join(word for word in words if word)


def main() -> None:
    """Write the reference part of the page that is named anew."""
    path = Path(sys.argv[1])
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
