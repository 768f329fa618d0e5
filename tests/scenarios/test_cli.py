"""The command line at a running hub: a contract made by hand from the first key to the last check, and every refusal.

Commands run in the test's own process, by the same ``main``; the hub runs in processes of its own.
"""

import base64
import json
import os
import re
import shlex
import stat
import time
from dataclasses import dataclass

import apsw
import pytest

from moneta.adapters.embedded.store import EmbeddedStore
from moneta.adapters.system import SystemClock
from moneta.domain.limits import TEMPLATE_BYTES_MAX
from moneta.entrypoints.cli.main import main
from tests.conformance.builders import new_event
from tests.running_hub import moneta, running_hub, trading, wait_until

DONE, NO, MISUSED, NOT_PROVEN = 0, 1, 2, 3
TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\n")


@dataclass(frozen=True)
class Ran:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MONETA_TOKEN", raising=False)

    def run_command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        printed = capsys.readouterr()
        return Ran(ended.value.code or DONE, printed.out, printed.err)

    return run_command


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("cli")) as running:
        yield running


@pytest.fixture(scope="module")
def market(hub, tmp_path_factory):
    with trading(hub, tmp_path_factory.mktemp("market")) as made:
        yield made


@pytest.fixture(scope="module")
def finalized(hub, market):
    """A contract that the publisher signed in its answer."""
    contract_id = market.submit("cli-finalized").contract_id
    market.mo.client.wait_for(contract_id, {"finalized"})
    wait_until(lambda: any(subject == contract_id for subject, *_ in market.mo.told))
    return contract_id


def token_of(run, hub):
    return run("token", "--data", hub.data).out.strip()


# Making a hub.


def test_init_makes_a_store_keys_and_an_operator_for_their_owners_eyes_only(run, tmp_path):
    made = run("init", "--data", tmp_path / "new" / "hub")
    assert (made.code, len(made.out.split()[-1])) == (DONE, 43)
    assert made.out.startswith("hub key ")
    assert f"moneta up --data {tmp_path}/new/hub" in made.err
    for path in [tmp_path / "new" / "hub", *(tmp_path / "new" / "hub").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    listed = run("templates", "list", "--data", tmp_path / "new" / "hub", "--json").json["items"]
    assert {one["template_name"] for one in listed} >= {"transaction-contract", "charge-contract"}


def test_init_never_touches_a_hub_that_is_there(run, tmp_path):
    run("init", "--data", tmp_path / "hub")
    before = {path: path.read_bytes() for path in (tmp_path / "hub").glob("*.pem")}
    again = run("init", "--data", tmp_path / "hub")
    assert (again.code, again.out) == (NO, "")
    assert "holds a hub already" in again.err
    assert {path: path.read_bytes() for path in (tmp_path / "hub").glob("*.pem")} == before


@pytest.mark.parametrize("missing", ["moneta.db", "sealing.key", "identities/operator.pem"])
def test_an_init_that_broke_off_can_be_run_again(run, tmp_path, missing):
    data = tmp_path / "hub"
    run("init", "--data", data)
    if missing == "identities/operator.pem":
        for path in data.glob("moneta.db*"):
            path.unlink()
    (data / missing).unlink()
    if missing == "sealing.key":
        (data / "moneta.db").unlink()
    assert run("init", "--data", data).code == DONE
    assert run("token", "--data", data).code == DONE


@pytest.mark.parametrize(
    "url", ["hub.example", "ftp://hub.example", "https://hub.example/", "https://h?x=1", "https://"]
)
def test_a_base_url_that_can_be_none_is_refused(run, tmp_path, url):
    refused = run("init", "--data", tmp_path / "hub", "--base-url", url)
    assert refused.code == MISUSED
    assert not (tmp_path / "hub").exists()


def test_a_token_is_all_that_token_prints(run, hub):
    printed = run("token", "--data", hub.data)
    assert (printed.code, printed.err) == (DONE, "")
    assert TOKEN.fullmatch(printed.out)


def test_identities_are_added_with_keys_of_their_own(run, tmp_path):
    data = tmp_path / "hub"
    run("init", "--data", data)
    added = run("identity", "add", "--data", data, "--role", "auditor", "--id", "anna")
    assert (added.json["id"], added.json["role"]) == ("anna", "auditor")
    assert TOKEN.fullmatch(run("token", "--data", data, "--as", "anna").out)
    assert run("identity", "add", "--data", data, "--role", "checker").json["id"] == "checker"
    again = run("identity", "add", "--data", data, "--role", "auditor", "--id", "anna")
    assert (again.code, again.err) == (
        NO,
        "moneta: identity anna is there already; name another with --id\n",
    )


def test_an_identity_may_keep_its_private_key_elsewhere(run, tmp_path):
    data = tmp_path / "hub"
    run("init", "--data", data)
    (tmp_path / "anna.jwk").write_text(run("keys", "new", "--out", "anna.pem").out, encoding="utf-8")
    added = run("identity", "add", "--data", data, "--role", "operator", "--id", "anna", "--jwk", "anna.jwk")
    assert added.json["kid"] == run("keys", "show", "anna.pem").json["kid"]
    assert run("token", "--data", data, "--as", "anna").code == NO
    assert TOKEN.fullmatch(run("token", "--key", "anna.pem", "--as", "anna", "--url", "http://127.0.0.1:8080").out)


def test_migrate_has_nothing_to_do_on_a_store_of_this_version_and_refuses_a_newer_one(run, tmp_path):
    data = tmp_path / "hub"
    run("init", "--data", data)
    assert run("migrate", "--data", data).out == "nothing to do: the store is of this version\n"
    connection = apsw.Connection(str(data / "moneta.db"))
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'schema_version'")
    connection.close()
    for command in ("migrate", "token"):
        refused = run(command, "--data", data)
        assert (refused.code, "a newer program made it" in refused.err) == (NO, True)
    refused = moneta("up", "--data", data, "--port", "0")
    assert (refused.returncode, refused.stdout) == (NO, "")
    assert refused.stderr.startswith("moneta: ")
    assert refused.stderr.endswith("a newer program made it\n")


REFUSED = {
    # what is wrong: the command, its exit code, and what is said
    "no data directory": ("token --data none", NO, "moneta init makes one"),
    "an identity that is not there": ("token --data HUB --as nobody", NO, "nobody.pem"),
    "an identity's id that is a path": ("token --data HUB --as ../x", NO, "can't be an identity's id"),
    "a token of nobody": ("token", MISUSED, "give --data DIR"),
    "a token of two": ("token --data HUB --key k --url u", MISUSED, "give --data DIR"),
    "a role that is none": ("identity add --data HUB --role boss", MISUSED, "boss"),
    "an id of a wrong form": ("identity add --data HUB --role auditor --id 'a b'", NO, "1 to 128"),
    "neither store nor hub": ("contracts list", MISUSED, "give --data DIR, or --url URL"),
    "store and hub": ("contracts list --data HUB --url http://x", MISUSED, "give --data DIR, or --url URL"),
    "a hub without a token": ("contracts list --url http://127.0.0.1:9", MISUSED, "MONETA_TOKEN"),
    "a token in the clear over a network": ("contracts list --url http://hub.example --token t", NO, "in the clear"),
    "a filter out of range": ("contracts list --data HUB --limit 201", NO, "limit: expected 1 to 200"),
    "a cursor of nobody's": ("contracts list --data HUB --cursor x", NO, "cursor"),
    "a status that is none": ("deliveries list --data HUB --status x", NO, "status"),
    "a contract that is not there": ("contracts show x --data HUB", NO, "unknown_contract"),
    "an event that is not there": ("events show x --data HUB --source y", NO, "not_found"),
    "an event of nobody's": ("events show x --data HUB", MISUSED, "--source"),
    "a file that is not there": ("verify none.json", NO, "none.json: No such file"),
    "a template that is not there": ("templates lint none.yaml", NO, "none.yaml: No such file"),
    "a key for an unknown algorithm": ("keys new --alg HS256", MISUSED, "HS256"),
    "a key for PS256 in a PEM": ("keys new --alg PS256 --out k.pem", MISUSED, ".json"),
    "a certificate without its key": ("up --data HUB --tls-cert c.pem", MISUSED, "go together"),
    "a certificate that is not there": ("up --data HUB --tls-cert c --tls-key k", NO, "c: No such file"),
    "a demo over something": ("demo --keep HUB", NO, "there is something already"),
    "a command that is none": ("contract", MISUSED, "contract"),
    "no key to sign with": ("submit b.json --as x --url http://127.0.0.1:9", MISUSED, "--auth-key"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_done_is_said_in_a_line(run, hub, what):
    command, code, said = REFUSED[what]
    refused = run(*(hub.data if one == "HUB" else one for one in shlex.split(command)))
    assert refused.code == code, refused
    assert said in refused.err + (refused.out if what == "a demo over something" else "")
    assert "Traceback" not in refused.err
    if code == NO and refused.err:
        assert refused.err.count("\n") == 1


# Reading.

READINGS = {
    "contracts": (["contracts", "list"], "/contracts"),
    "contracts with filters": (
        ["contracts", "list", "--status", "finalized", "--limit", "1"],
        "/contracts?status=finalized&limit=1",
    ),
    "contracts of an MO": (["contracts", "list", "--mo_id", "MO"], "/contracts?mo_id=MO"),
    "a contract": (["contracts", "show", "cli-finalized"], "/contracts/cli-finalized"),
    "an event": (
        ["events", "show", "submit-cli-finalized", "--source", "MO"],
        "/events/submit-cli-finalized?source=MO",
    ),
    "deliveries": (["deliveries", "list", "--contract_id", "cli-finalized"], "/deliveries?contract_id=cli-finalized"),
    "templates": (["templates", "list"], "/templates"),
}


@pytest.mark.usefixtures("finalized")
@pytest.mark.parametrize("what", READINGS)
def test_the_store_and_the_hub_show_the_same_document(run, hub, market, what):
    arguments, path = READINGS[what]
    arguments = [market.mo.organization_id if one == "MO" else one for one in arguments]
    at_the_store = run(*arguments, "--data", hub.data, "--json")
    over_http = run(*arguments, "--url", hub.url, "--token", token_of(run, hub), "--json")
    served = hub.operator().get(path.replace("MO", market.mo.organization_id))
    assert (at_the_store.code, over_http.code) == (DONE, DONE)
    assert at_the_store.json == over_http.json == served


@pytest.mark.usefixtures("finalized")
@pytest.mark.parametrize("what", READINGS)
def test_people_read_tables(run, hub, market, what):
    arguments = [market.mo.organization_id if one == "MO" else one for one in READINGS[what][0]]
    shown = run(*arguments, "--data", hub.data)
    assert shown.code == DONE
    assert "cli-finalized" in shown.out or "transaction-contract" in shown.out
    assert "{" not in shown.out.replace("{}", "").partition("payload")[0]


def test_the_token_may_come_from_the_environment(run, hub, finalized, monkeypatch):
    monkeypatch.setenv("MONETA_TOKEN", token_of(run, hub))
    assert run("contracts", "show", finalized, "--url", hub.url, "--json").json["status"] == "finalized"


def test_the_hubs_no_is_told(run, hub):
    refused = run("contracts", "show", "nope", "--url", hub.url, "--token", token_of(run, hub))
    assert (refused.code, refused.err.split(":")[1].strip()) == (NO, "the hub refused it")
    stranger = run("contracts", "list", "--url", hub.url, "--token", "a.b.c")
    assert (stranger.code, "unauthorized (401)" in stranger.err) == (NO, True)


def test_a_list_goes_on_where_its_cursor_says(run, hub):
    first = run("templates", "list", "--data", hub.data, "--limit", "1")
    cursor = first.err.removeprefix("more: --cursor ").strip()
    rest = run("templates", "list", "--data", hub.data, "--cursor", cursor, "--json").json["items"]
    everything = run("templates", "list", "--data", hub.data, "--json").json["items"]
    assert rest == everything[1:]


# Dead letters.


def plant_letters(data, source, count):
    """Let events die in the store of a hub that does not run."""
    store = EmbeddedStore.open(data, clock=SystemClock())
    store.events.accept([new_event(f"e-{number}", source=source) for number in range(count)])
    for event in store.queue.take(limit=count, lease_s=60):
        store.queue.bury(event, reason="ZeroDivisionError")
    store.close()


@pytest.fixture
def letters(tmp_path):
    """A running hub with three dead letters, and the organization that they are of."""
    with running_hub(tmp_path / "hub") as hub, trading(hub, tmp_path / "market") as market:
        hub.stop()
        plant_letters(hub.data, market.mo.organization_id, 3)
        hub.start()
        yield hub, market.mo


def test_dead_letters_are_listed_and_redriven_at_the_store_and_over_http(run, letters):
    hub, mo = letters
    over_http = ("--url", hub.url, "--token", token_of(run, hub))
    at_the_store = run("dlq", "list", "--data", hub.data, "--json")
    assert at_the_store.json == run("dlq", "list", *over_http, "--json").json
    assert [one["event_id"] for one in at_the_store.json["items"]] == ["e-0", "e-1", "e-2"]
    assert "ZeroDivisionError" in run("dlq", "list", "--data", hub.data).out

    redriven = run("dlq", "redrive", "--data", hub.data, "2")
    assert (redriven.code, redriven.json) == (DONE, at_the_store.json["items"][1])
    again = run("dlq", "redrive", "--data", hub.data, "2")
    assert (again.code, again.err) == (
        NO,
        "moneta: not_found: there is no such thing, or none that the caller may know of\n",
    )

    rest = run("dlq", "redrive", *over_http, "--all")
    assert [json.loads(line)["id"] for line in rest.out.splitlines()] == ["1", "3"]
    wait_until(lambda: {mo.client.event(f"e-{number}").status for number in (0, 2)} == {"rejected"})
    assert run("dlq", "list", "--data", hub.data, "--json").json == {"items": [], "next_cursor": None}
    assert run("dlq", "redrive", *over_http, "--all") == Ran(DONE, "", "")


@pytest.mark.parametrize("given", [(), ("1", "--all")])
def test_redrive_wants_ids_or_all(run, hub, given):
    assert run("dlq", "redrive", "--data", hub.data, *given).code == MISUSED


# Templates.

PURCHASE = """\
template_name: purchase
version: 1
schema:
  required_fields: [contract_id, mo_id, publisher_id, amount, currency]
signature_rules:
  required_signatures: [mo, moneta, publisher]
  signing_order: [mo, moneta, publisher]
"""


def test_lint_says_nothing_of_what_is_right(run, tmp_path):
    (tmp_path / "purchase.yaml").write_text(PURCHASE, encoding="utf-8")
    assert run("templates", "lint", "purchase.yaml") == Ran(DONE, "", "")


def test_lint_names_file_line_and_problem(run, tmp_path):
    (tmp_path / "good.yaml").write_text(PURCHASE, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(PURCHASE.replace("version: 1", "version: none"), encoding="utf-8")
    (tmp_path / "big.yaml").write_bytes(b"#" * (TEMPLATE_BYTES_MAX + 1))
    found = run("templates", "lint", "good.yaml", "bad.yaml", "big.yaml")
    assert found.code == NO
    lines = found.out.splitlines()
    assert lines[0].startswith("bad.yaml:2: ")
    assert lines[-1] == f"big.yaml:1: more than {TEMPLATE_BYTES_MAX} bytes"


def test_templates_are_published_at_the_store_and_over_http(run, hub, tmp_path):
    (tmp_path / "1.yaml").write_text(PURCHASE, encoding="utf-8")
    (tmp_path / "2.yaml").write_text(PURCHASE.replace("version: 1", "version: 2"), encoding="utf-8")
    first = run("templates", "publish", "1.yaml", "--data", hub.data, "--json").json
    second = run("templates", "publish", "2.yaml", "--url", hub.url, "--token", token_of(run, hub), "--status", "draft")
    assert (first["template_name"], first["status"]) == ("purchase", "published")
    assert second.code == DONE
    assert "draft" in second.out
    listed = hub.operator().get("/templates", limit=200)["items"]
    assert [(one["version"], one["status"]) for one in listed if one["template_name"] == "purchase"] == [
        (1, "published"),
        (2, "draft"),
    ]


def test_a_template_that_is_none_is_not_published(run, hub, tmp_path):
    (tmp_path / "bad.yaml").write_text("template_name: x", encoding="utf-8")
    refused = run("templates", "publish", "bad.yaml", "--data", hub.data)
    assert (refused.code, "template_invalid" in refused.err) == (NO, True)


# Keys.


@pytest.mark.parametrize(
    ("algorithm", "file"), [("ES256", "k.pem"), ("EdDSA", "k.json"), ("RS256", "k.pem"), ("PS256", "k.json")]
)
def test_a_key_is_made_in_a_private_file_and_never_over_another(run, tmp_path, algorithm, file):
    made = run("keys", "new", "--alg", algorithm, "--out", file)
    assert (made.code, made.json["alg"]) == (DONE, algorithm)
    assert stat.S_IMODE((tmp_path / file).stat().st_mode) == 0o600
    assert run("keys", "show", file).json == made.json
    content = (tmp_path / file).read_bytes()
    assert run("keys", "new", "--alg", algorithm, "--out", file).code == NO
    assert (tmp_path / file).read_bytes() == content


def test_a_key_that_others_can_read_is_refused(run, tmp_path):
    run("keys", "new")
    (tmp_path / "key.pem").chmod(0o644)
    refused = run("keys", "show", "key.pem")
    assert (refused.code, "chmod 600" in refused.err) == (NO, True)


def test_no_private_part_is_ever_printed(run, tmp_path):
    made = run("keys", "new", "--alg", "EdDSA", "--out", "k.json")
    private = json.loads((tmp_path / "k.json").read_bytes())["d"]
    for printed in (
        made,
        run("keys", "show", "k.json"),
        run("keys", "proof", "k.json", "--url", "http://127.0.0.1:1", "--subject", "x", "--use", "auth"),
    ):
        assert printed.code == DONE
        assert private not in printed.out + printed.err


# A contract by hand.


def by_hand(market, **members):
    return {
        "contract_id": f"by-hand-{os.urandom(8).hex()}",
        "template_id": "transaction-contract",
        "version": 1,
        "created_at": 1_795_000_000,
        "mo_id": market.mo.organization_id,
        "publisher_id": market.publisher.organization_id,
        "mpass_id": market.mpass_id,
        "payload": {"transaction": {"amount": "100.00", "currency": "USD"}},
        **members,
    }


def options_of(trader, hub, *, key=True):
    keys = ["--key", trader.key_file] if key else []
    return ["--as", trader.organization_id, *keys, "--auth-key", trader.auth_key_file, "--url", hub.url]


def test_an_organization_registers_with_what_the_command_prints(run, hub):
    run("keys", "new", "--out", "contract.pem")
    run("keys", "new", "--out", "auth.pem")
    keys = ["--key", "contract.pem", "--auth-key", "auth.pem", "--url", hub.url]
    named = [
        "--name",
        "An MO",
        "--code",
        f"M{os.urandom(4).hex().upper()}",
        "--webhook-url",
        "https://mo.example/hooks",
    ]
    body = run("registration", "--role", "mo", *named, *keys).json
    made = hub.operator().send("POST", "/organizations/mo", body)
    assert made["status"] == "Pending"
    run("keys", "new", "--out", "next.pem")
    offered = run("keys", "proof", "next.pem", "--use", "auth", "--subject", made["id"], "--url", hub.url).json
    assert hub.operator().send("POST", f"/organizations/mo/{made['id']}/keys", offered)["kid"] == offered["jwk"]["kid"]


def test_a_contract_is_made_by_hand_from_the_body_to_the_proof(run, hub, market, tmp_path):
    body = by_hand(market)
    (tmp_path / "body.json").write_text(json.dumps(body, indent=1), encoding="utf-8")
    signed = run("sign", "body.json", "--key", market.mo.key_file, "--role", "mo", "--hub", hub.url)
    (tmp_path / "signed.json").write_text(signed.out, encoding="utf-8")
    event = run("submit", "signed.json", *options_of(market.mo, hub, key=False)).json
    assert (event["status"], event["contract_id"]) == ("processed", body["contract_id"])
    market.mo.client.wait_for(body["contract_id"], {"finalized"})
    shown = run("contracts", "show", body["contract_id"], "--data", hub.data, "--json")
    (tmp_path / "shown.json").write_text(shown.out, encoding="utf-8")
    proven = run("verify", "shown.json", "--hub-key", hub.hub_key)
    assert (proven.code, proven.out.splitlines()[-1]) == (
        DONE,
        f"verified: contract {body['contract_id']} is finalized",
    )
    unproven = run("verify", "shown.json", "--json")
    assert (unproven.code, unproven.json["is_verified"]) == (NOT_PROVEN, False)


def test_the_bytes_that_are_signed_are_those_of_the_file(run, hub, market, tmp_path):
    raw = json.dumps(by_hand(market), indent=3) + "\n\n"
    (tmp_path / "body.json").write_text(raw, encoding="utf-8")
    signed = run("sign", "body.json", "--key", market.mo.key_file, "--role", "mo", "--hub", hub.url).json
    assert base64.urlsafe_b64decode(signed["payload"] + "==").decode() == raw


@pytest.fixture
def silent(market):
    """A market whose publisher signs nothing in its answers, so that it has to be done by hand."""
    market.publisher.signs = False
    yield market
    market.publisher.signs = True


def test_the_second_party_signs_by_hand_what_it_has_verified(run, hub, silent, tmp_path):
    (tmp_path / "body.json").write_text(json.dumps(by_hand(silent)), encoding="utf-8")
    event = run("submit", "body.json", *options_of(silent.mo, hub)).json
    pending = run("contracts", "show", event["contract_id"], "--data", hub.data, "--json")
    (tmp_path / "pending.json").write_text(pending.out, encoding="utf-8")
    keys = ["--key", silent.publisher.key_file, "--auth-key", silent.publisher.auth_key_file]
    signed = run("sign", "pending.json", *keys, "--role", "publisher", "--url", hub.url, "--hub-key", hub.hub_key)
    (tmp_path / "signed.json").write_text(signed.out, encoding="utf-8")
    assert run("submit", "signed.json", *options_of(silent.publisher, hub)).json["status"] == "processed"
    assert run("contracts", "show", event["contract_id"], "--data", hub.data, "--json").json["status"] == "finalized"


@pytest.mark.parametrize("ending", [("decline", "publisher", "declined"), ("cancel", "mo", "cancelled")])
def test_a_contract_is_ended_by_hand(run, hub, silent, tmp_path, ending):
    command, who, status = ending
    (tmp_path / "body.json").write_text(json.dumps(by_hand(silent)), encoding="utf-8")
    contract_id = run("submit", "body.json", *options_of(silent.mo, hub)).json["contract_id"]
    options = options_of(getattr(silent, who), hub)
    ended = run(command, contract_id, *options, "--reason-code", "mistake", "--reason", "by hand")
    assert (ended.code, ended.json["status"]) == (DONE, "processed")
    assert run("contracts", "show", contract_id, "--data", hub.data, "--json").json["status"] == status
    again = run(command, contract_id, *options, "--reason-code", "mistake", "--no-wait")
    assert again.json["status"] == "accepted"


def test_an_event_sent_again_under_its_id_has_one_effect(run, hub, market, tmp_path):
    (tmp_path / "body.json").write_text(json.dumps(by_hand(market)), encoding="utf-8")
    signed = run("sign", "body.json", "--key", market.mo.key_file, "--role", "mo", "--hub", hub.url)
    (tmp_path / "signed.json").write_text(signed.out, encoding="utf-8")
    named = [*options_of(market.mo, hub, key=False), "--event-id", f"e-{os.urandom(8).hex()}"]
    first = run("submit", "signed.json", *named)
    time.sleep(1.1)  # the event's time is the signature's, so that the same file makes the same bytes at any time
    assert run("submit", "signed.json", *named) == first


def test_what_the_hub_rejects_is_told_with_its_code(run, hub, market, tmp_path):
    (tmp_path / "body.json").write_text(json.dumps(by_hand(market, template_id="none")), encoding="utf-8")
    refused = run("submit", "body.json", *options_of(market.mo, hub))
    assert (refused.code, "unknown_template" in refused.err) == (NO, True)


# fmt: off
UNSIGNABLE = {
    # what is wrong                      the file                      what is said
    "no JSON":                           ("nonsense",                  "body.json: "),
    "no contract":                       ("{}",                        "contract_id is missing"),
    "a party that is not us":            ('{"mo_id": "somebody"}',     "is no party of it"),
}
# fmt: on


@pytest.mark.parametrize("what", UNSIGNABLE)
def test_what_can_not_be_signed_is_not_sent(run, hub, market, tmp_path, what):
    text, said = UNSIGNABLE[what]
    if what == "a party that is not us":
        text = json.dumps(by_hand(market, mo_id="somebody"))
    (tmp_path / "body.json").write_text(text, encoding="utf-8")
    refused = run("submit", "body.json", *options_of(market.mo, hub))
    assert (refused.code, said in refused.err) == (NO, True), refused


def test_a_body_without_a_signature_is_not_sent_without_a_key(run, hub, market, tmp_path):
    (tmp_path / "body.json").write_text(json.dumps(by_hand(market)), encoding="utf-8")
    refused = run("submit", "body.json", *options_of(market.mo, hub, key=False))
    assert (refused.code, "give --key to sign it" in refused.err) == (NO, True)


def test_a_contract_that_was_changed_is_not_countersigned(run, hub, market, finalized, tmp_path):
    shown = run("contracts", "show", finalized, "--data", hub.data, "--json").json
    shown["jws"]["signatures"] = shown["jws"]["signatures"][:2]
    shown["jws"]["payload"] = shown["jws"]["payload"][:-8] + "AAAAfX19"
    (tmp_path / "changed.json").write_text(json.dumps(shown), encoding="utf-8")
    keys = ["--key", market.publisher.key_file, "--auth-key", market.publisher.auth_key_file]
    refused = run("sign", "changed.json", *keys, "--role", "publisher", "--url", hub.url)
    assert (refused.code, refused.out) == (NO, "")
