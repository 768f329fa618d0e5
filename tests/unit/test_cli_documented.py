"""The pages on the command line and the settings say what the program does, and every command shows itself in use."""

import dataclasses
import shlex
from pathlib import Path

import pytest
import typer

from moneta.entrypoints.cli.main import main, make_app
from moneta.entrypoints.cli.reference import commands, examples_of, page
from moneta.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
ROOT = typer.main.get_command(make_app())
COMMANDS = dict(commands("moneta", ROOT))
ASKED_FOR = {
    "moneta init",
    "moneta up",
    "moneta demo",
    "moneta token",
    "moneta identity add",
    "moneta migrate",
    "moneta rotate-key",
    "moneta retention",
    "moneta backup",
    "moneta backup verify",
    "moneta restore",
    "moneta doctor",
    "moneta keys new",
    "moneta keys show",
    "moneta sign",
    "moneta submit",
    "moneta decline",
    "moneta cancel",
    "moneta contracts list",
    "moneta contracts show",
    "moneta events show",
    "moneta deliveries list",
    "moneta dlq list",
    "moneta dlq redrive",
    "moneta orgs list",
    "moneta orgs onboard",
    "moneta orgs status",
    "moneta mpasses list",
    "moneta mpasses status",
    "moneta templates lint",
    "moneta templates publish",
    "moneta templates list",
    "moneta templates show",
    "moneta templates status",
    "moneta templates simulate",
    "moneta templates compat",
    "moneta verify",
    "moneta aws init",
    "moneta aws rotate-key",
}
EXAMPLES = [(name, line) for name, command in COMMANDS.items() for line in examples_of(command)]


def test_every_command_of_the_protocol_is_there():
    assert COMMANDS.keys() >= ASKED_FOR


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_explains_itself_and_shows_examples(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*name.split()[1:], "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code in {None, 0}
    assert "Examples:" in shown
    assert COMMANDS[name].help
    assert examples_of(COMMANDS[name])
    assert all(parameter.help for parameter in COMMANDS[name].params)


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_an_example_is_a_command_that_is_understood(name, line):
    line = line.removeprefix("export MONETA_TOKEN=$(").removesuffix(")").partition(" > ")[0]
    _, *arguments = shlex.split(line)
    command, words = ROOT, []
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command = command.commands[arguments[0]]
        words.append(arguments.pop(0))
    assert command.make_context(command.name, arguments).params
    assert f"moneta {' '.join(words)}" in COMMANDS
    assert name in COMMANDS


def test_the_page_on_the_command_line_is_that_of_the_program():
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert text == page(text), "run: python -m moneta.entrypoints.cli.reference docs/cli.md"


def test_every_setting_has_a_heading_and_every_heading_a_setting():
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == [one.name for one in dataclasses.fields(Settings)]


def test_every_setting_is_documented_with_its_option_and_default():
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    options = {option for one in COMMANDS["moneta up"].params for option in one.opts}
    for one in dataclasses.fields(Settings):
        part = text.partition(f"## {one.name}\n")[2].partition("\n## ")[0]
        option = part.split("`")[1].split()[0]
        assert option in options
        if one.default not in (dataclasses.MISSING, None, False):
            assert f"`{one.default}`" in part
