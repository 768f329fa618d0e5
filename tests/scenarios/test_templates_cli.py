"""``moneta templates``: what needs no hub, and a registry at a store and over HTTP."""

import json
import re
import shutil
from pathlib import Path

import pytest

from moneta.entrypoints.cli.main import main
from tests.running_hub import moneta, running_hub

TEMPLATES = Path(__file__).parents[2] / "templates"
TRANSACTION = TEMPLATES / "transaction-contract.yaml"
EXAMPLES = TEMPLATES / "examples" / "transaction-contract-1"
VISIT = """template_name: {name}
version: {version}
schema:
  required_fields: [contract_id, mo_id, publisher_id{more}]
signature_rules:
  required_signatures: [mo, moneta, publisher]
  signing_order: [mo, moneta, publisher]
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("templates")) as running:
        yield running


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder, and return its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        return ended.value.code or 0, capsys.readouterr().out

    return run_command


def visit(version=1, more="", name="visit-contract"):
    file = Path(f"{name}-{version}.yaml")
    file.write_text(VISIT.format(name=name, version=version, more=more))
    return file


def test_simulate_tells_what_becomes_of_a_body(run):
    code, out = run("templates", "simulate", TRANSACTION, "--body", EXAMPLES / "accepted-decimal-string.json")
    assert code == 0
    assert out.startswith("transaction-contract 1: accepted\n")
    assert "  2. moneta → pending_publisher_signature\n" in out
    assert "in pending_publisher_signature: publisher declines → declined" in out


def test_simulate_names_every_missing_field_and_exits_with_1(run):
    Path("body.json").write_text(
        '{"contract_id": "c", "template_id": "transaction-contract", "version": 1, "created_at": 1, "payload": {}}'
    )
    code, out = run("templates", "simulate", TRANSACTION, "--body", "body.json", "--json")
    trial = json.loads(out)
    assert code == 1
    assert [one["field"] for one in trial["problems"]] == ["mo_id", "publisher_id", "mpass_id", "amount", "currency"]


def test_simulate_wants_a_template_that_lint_has_nothing_against(run):
    Path("broken.yaml").write_text("version: 1\n")
    assert run("templates", "simulate", "broken.yaml", "--body", EXAMPLES / "accepted-decimal-string.json") == (1, "")


def test_compat_names_the_line_of_what_a_client_of_the_old_one_trips_over(run):
    old, new = visit(1), visit(2, ", mpass_id")
    assert run("templates", "compat", old, new) == (
        1,
        f"{new}:1: guard added: mpass_active\n{new}:4: required field added: mpass_id\n",
    )
    shutil.copy(old, "same.yaml")
    Path("same.yaml").write_text(VISIT.format(name="visit-contract", version=3, more=""))
    assert run("templates", "compat", old, "same.yaml") == (0, "")


@pytest.mark.parametrize("place", ["store", "url"])
def test_a_version_is_shown_byte_for_byte_and_moved_along_its_table(run, hub, place):
    where = (
        ("--data", hub.data)
        if place == "store"
        else ("--url", hub.url, "--token", moneta("token", "--data", hub.data).stdout.strip())
    )
    name, number = f"visit-{place}", 2
    file = visit(number, name=name)
    assert run("templates", "publish", file, *where, "--status", "draft")[0] == 0
    assert run("templates", "show", name, number, *where, "--yaml") == (0, file.read_text())
    assert re.search(r"status +draft", run("templates", "show", name, number, *where)[1])
    assert (
        json.loads(run("templates", "status", name, number, "published", *where, "--json")[1])["status"] == "published"
    )
    code, _ = run("templates", "status", name, number, "draft", *where)
    assert code == 1
    latest = json.loads(run("templates", "show", name, *where, "--json")[1])
    assert (latest["version"], latest["status"]) == (number, "published")
