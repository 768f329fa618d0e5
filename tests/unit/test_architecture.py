"""What the inner packages may name: the rules that import-linter has no contract for.

The contracts in ``pyproject.toml`` list what is forbidden; here stands what is allowed, so that a library nobody
thought of is refused too, and the built-in ways out: ``open``, ``print``, ``datetime.now``.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "moneta"

THIRD_PARTIES = {
    "domain": set(),
    "signing": {"cryptography", "joserfc", "msgspec"},
    "application": {"cryptography", "joserfc", "jsonschema_rs", "msgspec", "ruamel", "structlog"},
}
MODULES_REFUSED = {"importlib", "urllib.request"}
CALLS_REFUSED = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
CLOCKS_REFUSED = {"date.today", "datetime.now", "datetime.today", "datetime.utcnow"}


def imported(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            yield module
            yield from (f"{module}.{alias.name}" for alias in names)


def module_is_refused(name: str, third_parties: set[str]) -> bool:
    root = name.partition(".")[0]
    is_known = root == "moneta" or root in sys.stdlib_module_names or root in third_parties
    return not is_known or any(name == refused or name.startswith(f"{refused}.") for refused in MODULES_REFUSED)


def call_is_refused(name: str) -> bool:
    return name in CALLS_REFUSED or any(name == clock or name.endswith(f".{clock}") for clock in CLOCKS_REFUSED)


def refusals(source: str, third_parties: set[str]) -> list[str]:
    """Return ``line: name`` for everything that the source imports or calls and may not."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        found |= {(node.lineno, name) for name in imported(node) if module_is_refused(name, third_parties)}
        if isinstance(node, ast.Call) and call_is_refused(ast.unparse(node.func)):
            found.add((node.lineno, ast.unparse(node.func)))
    return [f"{line}: {name}" for line, name in sorted(found)]


@pytest.mark.parametrize("package", THIRD_PARTIES)
def test_inner_packages_name_only_what_they_may(package):
    found = {
        str(path.relative_to(SOURCE)): bad
        for path in sorted((SOURCE / package).rglob("*.py"))
        if (bad := refusals(path.read_text(encoding="utf-8"), THIRD_PARTIES[package]))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import boto3",
        "from yaml import safe_load",
        "import importlib",
        "from importlib import import_module",
        "import urllib.request",
        "from urllib import request",
        "from urllib.request import urlopen",
        "def read():\n    return open('x')",
        "print('x')",
        "from datetime import datetime\nnow = datetime.now()",
        "import datetime\nnow = datetime.datetime.now()",
        "from datetime import date\nday = date.today()",
    ],
)
def test_a_way_out_is_refused(source):
    assert refusals(source, set())


@pytest.mark.parametrize(
    "source",
    [
        "import json",
        "from urllib.parse import urlsplit",
        "from . import errors",
        "from moneta.domain.errors import MonetaError",
        "import joserfc.jws",
        "from datetime import datetime\nwhen = datetime.fromisoformat('2026-01-01')",
    ],
)
def test_a_pure_import_is_allowed(source):
    assert refusals(source, {"joserfc"}) == []
