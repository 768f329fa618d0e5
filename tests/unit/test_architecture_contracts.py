"""Each import contract in ``pyproject.toml`` is seen to fail.

A contract that cannot break guards nothing. Each row plants one import in a small tree with our packages' names, and
the linter, with our own configuration, must call the contract of that row broken.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CONFIGURATION = Path(__file__).parents[2] / "pyproject.toml"
CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
}

PORTS = "from moneta.application import ports\n"
# A tree that keeps every contract, with each arrow that is allowed.
TREE = {
    "domain/contracts.py": "import dataclasses",
    "signing/jws.py": "import cryptography\nfrom moneta.domain import contracts",
    "application/ports.py": "from moneta.signing import jws\nfrom moneta.domain import contracts",
    "settings.py": "import os\nfrom moneta.domain import contracts",
    "adapters/system.py": "import time",
    "adapters/embedded/store.py": PORTS + "import apsw\nfrom moneta.adapters import system",
    "adapters/aws/store.py": PORTS + "import botocore.session\nimport moneta.settings",
    "bootstrap/__init__.py": "import moneta.settings\nfrom moneta.adapters.aws import store",
    "bootstrap/data_directory.py": "import moneta.adapters.embedded",
    "client/hub.py": "import httpx\nfrom moneta.signing import jws\nfrom moneta.domain import contracts",
    "entrypoints/answers.py": "from moneta.domain import contracts",
    "entrypoints/supervisor.py": "import subprocess",
    "entrypoints/http/app.py": "import litestar\nfrom moneta import bootstrap\nfrom moneta.entrypoints import answers",
    "entrypoints/worker.py": "from moneta import bootstrap",
    "entrypoints/aws_lambda/ingestor.py": "from moneta import bootstrap",
    "entrypoints/aws_lambda/management.py": "from moneta.entrypoints.http import app",
    "entrypoints/telemetry/export.py": "from opentelemetry.sdk import trace",
    "entrypoints/cli/main.py": "from moneta.entrypoints import supervisor\nfrom moneta.client import hub",
}

# fmt: off
VIOLATIONS = (
    # contract     module                         import planted there
    ("layers",      "domain/contracts.py",         "from moneta.signing import jws"),
    ("layers",      "signing/jws.py",              "from moneta.application import ports"),
    ("layers",      "adapters/system.py",          "import moneta.client.hub"),
    ("layers",      "utils.py",                    "import dataclasses"),
    ("pure",        "domain/contracts.py",         "import os"),
    ("pure",        "signing/jws.py",              "from secrets import token_bytes"),
    ("pure",        "application/ports.py",        "import apsw"),
    ("domain",      "domain/contracts.py",         "import msgspec"),
    ("protected",   "entrypoints/http/app.py",     "from moneta.adapters import system"),
    ("protected",   "entrypoints/worker.py",       "import moneta.adapters.embedded.store"),
    ("families",    "adapters/embedded/store.py",  "from moneta.adapters.aws import store"),
    ("families",    "adapters/aws/store.py",       "from moneta.adapters.embedded import store"),
    ("entrypoints", "entrypoints/cli/main.py",     "from moneta.entrypoints.http import app"),
    ("entrypoints", "entrypoints/supervisor.py",   "from moneta.entrypoints import worker"),
    ("entrypoints", "entrypoints/answers.py",      "from moneta.entrypoints.http import app"),
    ("entrypoints", "entrypoints/aws_lambda/ingestor.py", "from moneta.entrypoints.http import app"),
    ("spine",       "entrypoints/aws_lambda/ingestor.py", "import litestar"),
    ("spine",       "entrypoints/aws_lambda/ingestor.py", "import moneta.entrypoints.http.app"),
    ("botocore",    "adapters/system.py",          "import botocore.session"),
    ("botocore",    "bootstrap/__init__.py",       "import boto3"),
    ("opentelemetry", "adapters/system.py",        "import opentelemetry.trace"),
    ("opentelemetry", "entrypoints/http/app.py",   "from opentelemetry import trace"),
    ("client",      "client/hub.py",               "from moneta.application import ports"),
    ("banned",      "adapters/embedded/store.py",  "import sqlite3"),
    ("banned",      "signing/jws.py",              "from jose import jws"),
)
# fmt: on


def plant(folder: Path, tree: dict[str, str]) -> Path:
    """Write the tree as package ``moneta`` below the folder, beside a copy of our configuration."""
    for name, source in tree.items():
        module = folder / "moneta" / name
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(source + "\n", encoding="utf-8")
    for package in (folder / "moneta", *(path for path in (folder / "moneta").rglob("*") if path.is_dir())):
        (package / "__init__.py").touch()
    shutil.copy(CONFIGURATION, folder)
    return folder


def broken_contracts(folder: Path) -> set[str]:
    """Lint the folder in a process of its own (ours has the real package loaded) and return what is broken."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    done = subprocess.run(
        [*command, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )
    broken = set(re.findall(r"^(.+) BROKEN\b", done.stdout, re.MULTILINE))
    assert "KEPT" in done.stdout, done.stdout + done.stderr
    assert (done.returncode != 0) == bool(broken)
    return broken


def test_a_tree_with_every_allowed_arrow_passes(tmp_path):
    assert broken_contracts(plant(tmp_path, TREE)) == set()


def test_a_tree_without_the_optional_packages_passes(tmp_path):
    optional = ("settings", "bootstrap", "entrypoints/worker", "entrypoints/supervisor")
    tree = {name: "" for name in TREE if not name.startswith(optional)}
    assert broken_contracts(plant(tmp_path, tree)) == set()


@pytest.mark.parametrize(("contract", "module", "planted"), VIOLATIONS, ids=lambda value: value.replace("/", "."))
def test_a_planted_import_breaks_its_contract(tmp_path, contract, module, planted):
    tree = TREE | {module: TREE.get(module, "") + "\n" + planted}
    # In, not equal: an arrow that points outwards drags what lies behind it along, and breaks other contracts too.
    assert CONTRACTS[contract] in broken_contracts(plant(tmp_path, tree))


def test_every_contract_is_broken_by_a_row():
    assert {contract for contract, _, _ in VIOLATIONS} == set(CONTRACTS)
