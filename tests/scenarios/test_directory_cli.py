"""``moneta orgs`` and ``moneta mpasses`` at a running hub, and whole lists for other programs."""

import csv
import io
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from moneta.entrypoints.cli import exporting
from moneta.entrypoints.cli.main import main
from moneta.entrypoints.cli.options import ExportFormat
from tests.certificates import make_certificate
from tests.running_hub import moneta, running_hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("orgs")) as running:
        running.token = moneta("token", "--data", running.data).stdout.strip()
        yield running


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder, with what is typed, and return its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments, typed=None):
        if typed is not None:
            monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run_command


@pytest.fixture
def registration(run, hub, request):
    """Write what an organization hands to the operator, and give the file and the code."""
    code = f"C{abs(hash(request.node.name)) % 10**9}"
    for key in ("contract", "auth"):
        run("keys", "new", "--out", f"{key}.pem")
    _, out, _ = run(
        *("registration", "--role", "mo", "--name", "Éxample MO", "--code", code, "--webhook-url"),
        *("https://mo.example/hooks", "--key", "contract.pem", "--auth-key", "auth.pem", "--url", hub.url),
    )
    Path("mo.json").write_text(out)
    return Path("mo.json"), code


def at(hub, place):
    return ("--data", hub.data) if place == "store" else ("--url", hub.url, "--token", hub.token)


@pytest.mark.parametrize("place", ["store", "url"])
def test_an_organization_is_taken_in_by_options_alone(run, hub, registration, place):
    file, code = registration
    code_of_exit, out, err = run(
        *(
            "orgs",
            "onboard",
            "--kind",
            "mo",
            "--registration",
            file,
            "--secret-out",
            "mo.secret",
            "--activate",
            "--yes",
        ),
        *(*at(hub, place), "--json"),
    )
    document = json.loads(out)
    assert (code_of_exit, document["status"], document["mic"]) == (0, "Active", code)
    assert "webhook_secret" not in document
    assert Path("mo.secret").read_text().startswith("whsec_")
    assert stat.S_IMODE(Path("mo.secret").stat().st_mode) == 0o600
    assert f"ok  mic {code} is free" in err
    assert err.rstrip().endswith("activate it")


def test_the_guide_asks_for_what_is_not_given_and_does_nothing_before_it_is_agreed_to(run, hub, registration):
    file, code = registration
    where = at(hub, "url")
    code_of_exit, out, err = run("orgs", "onboard", *where, typed=f"mo\n{file}\nn\nn\n")
    assert (code_of_exit, out) == (1, "")
    assert "1. register Éxample MO as mo" in err
    assert json.loads(run("orgs", "list", "mo", *where, "--mic", code, "--json")[1])["items"] == []
    code_of_exit, out, _ = run("orgs", "onboard", *where, typed=f"mo\n{file}\nn\ny\n")
    assert code_of_exit == 0
    assert "whsec_" in out
    [item] = json.loads(run("orgs", "list", "mo", *where, "--mic", code, "--json")[1])["items"]
    assert item["status"] == "Pending"


def test_the_guide_that_gets_no_answer_says_so(run, hub):
    code_of_exit, _, err = run("orgs", "onboard", *at(hub, "url"), typed="")
    assert code_of_exit == 1
    assert "There was no answer" in err


def test_a_secret_s_file_is_never_written_over_and_stays_only_with_a_secret(run, hub, registration):
    file, code = registration
    options = ("--kind", "mo", "--registration", file, "--no-activate", "--yes", "--secret-out", "mo.secret")
    Path("mo.secret").write_text("another's")
    assert run("orgs", "onboard", *options, *at(hub, "url"))[0] == 1
    assert Path("mo.secret").read_text() == "another's"
    Path("mo.secret").unlink()
    auditor = moneta("identity", "add", "--role", "auditor", "--id", f"a-{code}", "--data", hub.data)
    assert auditor.returncode == 0
    token = moneta("token", "--data", hub.data, "--as", f"a-{code}").stdout.strip()
    code_of_exit, _, err = run("orgs", "onboard", *options, "--url", hub.url, "--token", token)
    assert (code_of_exit, Path("mo.secret").exists()) == (1, False)
    assert "forbidden" in err


@pytest.mark.parametrize("place", ["store", "url"])
def test_a_webhook_secret_is_made_anew(run, hub, registration, place):
    file, _ = registration
    made = json.loads(run("orgs", "create", "mo", file, *at(hub, place), "--json")[1])
    renewed = run("orgs", "webhook-secret", "mo", made["id"], *at(hub, place), "--overlap", "60", "--json")[1]
    assert json.loads(renewed)["webhook_secret"] not in {None, made["webhook_secret"]}


def edited(file, **members):
    Path("edited.json").write_text(json.dumps({**json.loads(file.read_text()), **members}))
    return "edited.json"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: {"metadata": None}, "the registration lacks metadata"),
        (lambda one: {"mic": "lower"}, "mic: expected 2 to 12 of A-Z 0-9"),
        (lambda one: {"mic": "OTHERCODE"}, "expected aud"),
        (lambda one: {"keys": one["keys"][:1]}, "it has no key for"),
        (lambda one: {"keys": [{**one["keys"][0], "jwk": {"kty": "EC"}}]}, "jwk"),
    ],
)
def test_what_is_not_well_is_said_before_anything_is_sent(run, hub, registration, change, said):
    file, code = registration
    wrong = edited(file, **change(json.loads(file.read_text())))
    code_of_exit, out, err = run(
        "orgs", "onboard", "--kind", "mo", "--registration", wrong, "--no-activate", "--yes", *at(hub, "url")
    )
    assert (code_of_exit, out) == (1, "")
    assert said in err
    assert json.loads(run("orgs", "list", "mo", *at(hub, "url"), "--mic", code, "--json")[1])["items"] == []


def test_a_code_that_is_taken_is_said(run, hub, registration):
    file, code = registration
    options = ("--kind", "mo", "--registration", file, "--no-activate", "--yes", *at(hub, "url"))
    assert run("orgs", "onboard", *options)[0] == 0
    code_of_exit, _, err = run("orgs", "onboard", *options)
    assert code_of_exit == 1
    assert f"mic {code} is taken" in err


def test_an_organization_is_created_shown_certified_and_suspended(run, hub, registration):
    file, code = registration
    where = at(hub, "url")
    made = json.loads(run("orgs", "create", "mo", file, *where, "--json")[1])
    named = ("mo", made["id"], *where)
    assert run("orgs", "status", *named[:2], "Active", *where)[0] == 0
    assert f"{code}" in run("orgs", "show", *named)[1]
    keys = run("orgs", "keys", *named)[1]
    assert (keys.count("active"), keys.count("ES256")) == (2, 2)
    key = serialization.load_pem_private_key(Path("contract.pem").read_bytes(), None)
    Path("own.pem").write_text(make_certificate(key=key))
    assert "valid_until_at" in run("orgs", "certificates", *named, "--set", "own.pem")[1]
    assert len(json.loads(run("orgs", "certificates", *named, "--json")[1])["items"]) == 1
    suspended = json.loads(run("orgs", "status", *named[:2], "Suspended", *where, "--reason", "asked", "--json")[1])
    assert suspended["status"] == "Suspended"
    assert json.loads(run("orgs", "show", "mo", made["id"], *at(hub, "store"), "--json")[1])["status"] == "Suspended"


def test_an_mpass_is_issued_by_its_mo_and_locked_by_the_operator(run, hub, registration):
    file, _ = registration
    options = ("--kind", "mo", "--registration", file, "--activate", "--yes", *at(hub, "url"))
    mo = json.loads(run("orgs", "onboard", *options, "--json")[1])["id"]
    token = run("token", "--key", "auth.pem", "--as", mo, "--url", hub.url)[1].strip()
    own = ("--url", hub.url, "--token", token)
    Path("policy.json").write_text("{}")
    issue = ("mpasses", "issue", "--mo-id", mo, "--member-ref", "m-1", "--tier", "gold", "--policy", "policy.json")
    made = json.loads(run(*issue, *own, "--json")[1])
    assert (made["status"], made["tier"]) == ("Pending", "gold")
    assert json.loads(run("mpasses", "status", made["id"], "Active", *own, "--json")[1])["status"] == "Active"
    locked = run("mpasses", "status", made["id"], "Locked", *at(hub, "store"), "--json")[1]
    assert json.loads(locked)["locks"] == ["admin"]
    assert made["number"] in run("mpasses", "show", made["id"], *own)[1]
    for place in (own, at(hub, "store")):
        history = json.loads(run("mpasses", "history", made["id"], *place, "--json")[1])["history"]
        assert [one["status"] for one in history] == ["Pending", "Active", "Locked"]
        at_the_end = ("--at", str(history[-1]["at"]), "--json")
        assert json.loads(run("mpasses", "show", made["id"], *place, *at_the_end)[1])["locks"] == ["admin"]
    assert "Locked" in run("mpasses", "history", made["id"], *own)[1]
    assert made["number"] in run("mpasses", "list", *own)[1]
    lines = run("mpasses", "list", *own, "--format", "jsonl")[1].splitlines()
    assert [json.loads(line)["id"] for line in lines] == [made["id"]]


@pytest.mark.parametrize("place", ["store", "url"])
def test_a_list_is_exported_over_all_its_pages(run, hub, registration, place):
    del registration
    where = at(hub, place)
    items = json.loads(run("templates", "list", *where, "--limit", "200", "--json")[1])["items"]
    assert items
    whole = run("orgs", "list", "mo", *where, "--limit", "200", "--json")[1]
    lines = run("orgs", "list", "mo", *where, "--limit", "1", "--format", "jsonl")[1].splitlines()
    assert [json.loads(line) for line in lines] == json.loads(whole)["items"]
    rows = list(csv.DictReader(io.StringIO(run("orgs", "list", "mo", *where, "--format", "csv", "--limit", "1")[1])))
    assert [row["id"] for row in rows] == [item["id"] for item in json.loads(whole)["items"]]


def exported(pages, as_format):
    def fetch(filters):
        at_page = int(filters["cursor"] or 0)
        following = str(at_page + 1) if at_page + 1 < len(pages) else None
        return json.dumps({"items": pages[at_page], "next_cursor": following}).encode()

    out = io.BytesIO()
    exporting.export(fetch, {}, as_format, out)
    return out.getvalue().decode()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\uff1d1", "\uff20x", "\tx", "\rx", "\nx"])
def test_no_cell_is_taken_for_a_formula(text):
    [row] = csv.DictReader(io.StringIO(exported([[{"note": text}]], ExportFormat.CSV), newline=""))
    assert row == {"note": "'" + text}


def test_a_cell_holds_what_the_document_holds():
    item = {"a": None, "b": -1, "c": 'say "hi", twice', "d": [1, {"x": "=y"}], "e": True, "f": "é\n", "g": ""}
    [row] = csv.DictReader(io.StringIO(exported([[item]], ExportFormat.CSV), newline=""))
    assert row == {
        "a": "",
        "b": "-1",
        "c": 'say "hi", twice',
        "d": '[1,{"x":"=y"}]',
        "e": "true",
        "f": "é\n",
        "g": "",
    }


def test_pages_become_one_list_and_json_lines_change_nothing():
    pages = [[{"n": "=1"}, {"n": "é"}], [], [{"n": None}]]
    assert [json.loads(line) for line in exported(pages, ExportFormat.JSONL).splitlines()] == [*pages[0], *pages[2]]
    assert exported(pages, ExportFormat.CSV) == 'n\r\n\'=1\r\né\r\n""\r\n'
    assert exported([[]], ExportFormat.CSV) == ""


def test_a_list_of_unlike_documents_is_no_csv():
    with pytest.raises(exporting.CommandError):
        exported([[{"a": 1}, {"b": 1}]], ExportFormat.CSV)


def test_where_it_takes_two_the_guide_says_what_waits_for_the_second(run):
    url = "http://127.0.0.1:8080"
    assert run("init", "--data", "two", "--checkers", "2")[0] == 0
    assert run("identity", "add", "--data", "two", "--role", "checker")[0] == 0
    for key in ("contract", "auth"):
        run("keys", "new", "--out", f"{key}.pem")
    hooks = ("--webhook-url", "https://mo.example/hooks", "--url", url)
    keys = ("--key", "contract.pem", "--auth-key", "auth.pem")
    Path("mo.json").write_text(run("registration", "--role", "mo", "--name", "MO", "--code", "TWO", *hooks, *keys)[1])
    options = ("--kind", "mo", "--registration", "mo.json", "--activate", "--yes", "--data", "two", "--json")
    asked = json.loads(run("orgs", "onboard", *options)[1])
    assert asked["state"] == "awaiting_checker"

    def status():
        return json.loads(run("orgs", "show", "mo", asked["id"], "--data", "two", "--json")[1])["status"]

    assert status() == "Pending"
    assert run("changes", "approve", asked["change"], "--data", "two", "--as", "checker")[0] == 0
    assert status() == "Active"
