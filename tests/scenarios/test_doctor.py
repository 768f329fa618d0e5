"""``moneta doctor`` finds each thing that is broken here for real, and says what to do."""

import json
import os
import shutil
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from moneta.adapters.embedded.directory_rows import decode_key, decode_organization, encode_key, encode_organization
from moneta.domain.limits import ENDPOINT_FAILING_S_MAX, HEARTBEAT_AGE_S_MAX
from moneta.entrypoints.cli.doctor import CHECKS
from tests.certificates import make_certificate
from tests.running_hub import RunningHub, moneta, running_hub, trading, wait_until

OK, WARN, FAIL = "ok", "warn", "fail"
DAY_MS = 86_400_000
NOW = int(time.time() * 1000)


@pytest.fixture(scope="module")
def traded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor")
    with running_hub(folder) as hub, trading(hub, folder) as market:
        market.submit("c-1")
        market.submit("c-2")
        wait_until(lambda: sum(kind.endswith("finalized") for _, kind, _ in market.mo.told) == 2)
    return hub.data


@pytest.fixture
def data(traded, tmp_path):
    return shutil.copytree(traded, tmp_path / "hub")


def examine(data, *options):
    done = moneta("doctor", "--data", data, "--json", *options)
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert done.returncode == max({OK: 0, WARN: 1, FAIL: 2}[one["level"]] for one in found.values())
    return found


def sql(*statements):
    def change(data):
        connection = apsw.Connection(str(data / "moneta.db"))
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return change


def change_settings(**members):
    def change(data):
        path = data / "settings.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **members}))

    return change


def end_key(seconds):
    def change(data):
        path = data / "signing-keys.json"
        entries = json.loads(path.read_text())
        entries[0]["exp"] = NOW // 1000 + seconds
        path.write_text(json.dumps(entries))

    return change


def age_keys(owners, days):
    """Have the keys of what ``owners`` selects been registered so long ago."""

    def change(data):
        connection = apsw.Connection(str(data / "moneta.db"))
        found = connection.execute(f"SELECT key_id, data FROM keys WHERE owner IN ({owners})").fetchall()  # noqa: S608
        assert found
        for key_id, packed in found:
            key = decode_key(packed)
            first = replace(key.changes[0], at=NOW - days * DAY_MS)
            older = encode_key(replace(key, changes=(first, *key.changes[1:])))
            connection.execute("UPDATE keys SET data = ? WHERE key_id = ?", (older, key_id))
        connection.close()

    return change


def serve_tls(days):
    """Have the hub's last start served TLS, with a certificate that ends so many days from now."""

    def change(data):
        certificate = make_certificate(ends_at=NOW // 1000 + days * 86_400)
        (data.parent / "tls.pem").write_text(certificate)
        change_settings(tls_cert=str(data.parent / "tls.pem"), tls_key=str(data.parent / "tls.pem"))(data)

    return change


def certify(days):
    """Give every organization a certificate that ends so many days from now."""

    def change(data):
        certificate = make_certificate(ends_at=NOW // 1000 + days * 86_400)
        connection = apsw.Connection(str(data / "moneta.db"))
        found = connection.execute("SELECT organization, kind, code, revision, data FROM organizations").fetchall()
        for row in found:
            packed = encode_organization(replace(decode_organization(row), certificates=(certificate,)))
            connection.execute("UPDATE organizations SET data = ? WHERE organization = ?", (packed, row[0]))
        connection.close()

    return change


PARTNERS = "SELECT organization FROM organizations"
IDENTITIES = "SELECT ref FROM names JOIN identities ON identity_id = name"
WAITING = "UPDATE events SET status = 0, received_at = {at} WHERE event = 1"
MESSAGE = "INSERT INTO messages (event, ready_at, registry_seq, raw) VALUES (1, {ready}, 1, x'00')"
LETTER = "INSERT INTO dead_letters (event, tries, died_at, reason) VALUES (1, 10, 1, 'ValueError')"
AHEAD = "UPDATE events SET received_at = {at}"
OWED = "UPDATE deliveries SET status = 0, owed_at = {at} WHERE delivery = 1"
TRIED = "UPDATE attempts SET at = {at}"
FAILING = "UPDATE endpoints SET failing_since = {at}"
OLD = NOW - DAY_MS
# fmt: off
BROKEN = {
    "a leaf that is gone":    ("store",        FAIL, sql("DELETE FROM leaves WHERE leaf = 2")),
    "a key for everybody":    ("files",        FAIL, lambda data: (data / "sealing.key").chmod(0o644)),
    "a directory to look in": ("files",        FAIL, lambda data: data.chmod(0o755)),
    "a clock that went back": ("clock",        FAIL, sql(AHEAD.format(at=NOW + DAY_MS))),
    "nobody at work":         ("processes",    WARN, lambda data: None),
    "a key that ends":        ("signing key",  WARN, end_key(20 * 86_400)),
    "a key that ends today":  ("signing key",  FAIL, end_key(86_000)),
    "a key that has ended":   ("signing key",  FAIL, end_key(-2 * 86_400)),
    "a partner's old key":    ("partner keys", WARN, age_keys(PARTNERS, 366)),
    "a certificate that ends": ("partner certificates", WARN, certify(30)),
    "a certificate that has ended": ("partner certificates", WARN, certify(-1)),
    "an operator's old key":  ("identity keys", WARN, age_keys(IDENTITIES, 400)),
    "TLS that ends":          ("certificate",  WARN, serve_tls(20)),
    "TLS that ends today":    ("certificate",  FAIL, serve_tls(1)),
    "TLS from nowhere":       ("certificate",  FAIL, change_settings(tls_cert="/nowhere.pem", tls_key="/nowhere.pem")),
    "failing for hours":      ("failing",      WARN, sql(FAILING.format(at=NOW - 7_200_000))),
    "an event that waits":    ("events",       WARN, sql(WAITING.format(at=OLD), MESSAGE.format(ready=OLD))),
    "a dead letter":          ("dead letters", WARN, sql(WAITING.format(at=OLD), MESSAGE.format(ready="NULL"), LETTER)),
    "a webhook that waits":   ("deliveries",   WARN, sql(
        OWED.format(at=OLD),
        "INSERT INTO pending (delivery, organization, contract, due_at)"
        " SELECT delivery, organization, contract, 1 FROM deliveries WHERE delivery = 1",
    )),
    "a disabled endpoint":    ("endpoints",    WARN, sql("UPDATE endpoints SET disabled_at = 1")),
    "a webhook of last year": ("retention",    WARN, sql(TRIED.format(at=NOW - 400 * DAY_MS))),
    "http to the world":      ("settings",     WARN, change_settings(base_url="http://hub.example")),
    "webhooks to anywhere":   ("settings",     WARN, change_settings(allow_private_webhooks=True)),
}
# fmt: on


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_with_what_to_do(data, name):
    check, level, break_it = BROKEN[name]
    break_it(data)
    found = examine(data)[check]
    assert (found["level"], bool(found["advice"])) == (level, True)


def test_a_hub_that_is_well_is_told_so(data, tmp_path):
    moneta("backup", "--data", data, "--out", tmp_path / "backups" / "one")
    hub = RunningHub(data).start()
    try:
        wait_until(lambda: all((data / f"{name}.alive").exists() for name in ("processor", "deliverer")))
        found = examine(data, "--url", hub.url, "--backups", tmp_path / "backups")
    finally:
        hub.stop()
    machine = {"clock", "disk space", "disk speed"}  # what this machine may have, and no hub can help
    assert {name: one["level"] for name, one in found.items() if name not in machine} == {
        name: OK for name in found if name not in machine
    }


def test_a_process_that_hangs_is_found(data):
    hub = RunningHub(data).start()
    pid = hub.child("processor")
    try:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(HEARTBEAT_AGE_S_MAX + 1)
        found = examine(data)["processes"]
        assert (found["level"], "processor" in found["text"]) == (FAIL, True)
    finally:
        os.kill(pid, signal.SIGCONT)
        hub.stop()


def test_a_hub_that_does_not_answer_is_found(data):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert examine(data, "--url", f"http://127.0.0.1:{port}")["answer"]["level"] == FAIL


def test_an_old_backup_and_none_are_found(data, tmp_path):
    (tmp_path / "backups").mkdir()
    assert examine(data, "--backups", tmp_path / "backups")["backups"]["level"] == WARN
    moneta("backup", "--data", data, "--out", tmp_path / "backups" / "one")
    assert examine(data, "--backups", tmp_path / "backups")["backups"]["level"] == OK
    path = tmp_path / "backups" / "one" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "began_at": NOW - 2 * DAY_MS}))
    assert examine(data, "--backups", tmp_path / "backups")["backups"]["level"] == WARN


def test_a_wal_that_somebody_holds_open_is_found(data):
    writer = apsw.Connection(str(data / "moneta.db"))
    writer.execute("UPDATE meta SET value = value WHERE name = 'swept_to'")
    os.truncate(data / "moneta.db-wal", 300 * 1024**2)
    assert examine(data)["WAL"]["level"] == WARN
    writer.close()


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (sql("UPDATE meta SET value = 1 WHERE name = 'schema_version'"), "run moneta migrate"),
        (lambda data: (data / "moneta.db").unlink(), "holds no store"),
        (lambda data: (data / "signing-keys.json").unlink(), "signing-keys.json"),
    ],
)
def test_where_no_hub_could_start_the_reason_is_told(data, break_it, reason):
    break_it(data)
    refused = moneta("doctor", "--data", data)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert reason in refused.stderr


def test_a_person_gets_a_line_a_check_and_the_doctor_leaves_nothing(data):
    before = {path.name for path in data.iterdir()}
    shown = moneta("doctor", "--data", data).stdout.splitlines()
    assert any(line.startswith("WARN  processes: no hub runs") for line in shown)
    assert {path.name for path in data.iterdir()} - before <= {"moneta.db-wal", "moneta.db-shm"}


def test_an_endpoint_that_fails_is_told_with_when_it_will_be_disabled(data):
    since = 1_795_000_000_000 - 1_795_000_000_000 % 60_000
    sql(FAILING.format(at=since))(data)
    shown = examine(data)["failing"]["text"]
    expected = since + ENDPOINT_FAILING_S_MAX * 1000
    since, until = (time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at / 1000)) for at in (since, expected))
    assert f" since {since}, disabled at {until}" in shown


def test_an_endpoint_that_failed_just_now_is_no_warning(data):
    sql(FAILING.format(at=NOW - 60_000))(data)
    assert examine(data)["failing"]["level"] == OK


def test_keys_younger_than_a_year_and_a_certificate_that_lasts_are_well(data):
    for break_it in (age_keys(PARTNERS, 300), age_keys(IDENTITIES, 300), serve_tls(60)):
        break_it(data)
    found = examine(data)
    assert [found[name]["level"] for name in ("partner keys", "identity keys", "certificate")] == [OK] * 3


def test_every_check_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [name for name in CHECKS if f"`{name}`" not in page] == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:x", "http://[::1", ""])
def test_an_address_that_is_none_is_a_finding(data, url):
    assert examine(data, "--url", url)["answer"]["level"] == FAIL


def test_a_backup_that_can_not_be_read_is_a_finding(data, tmp_path):
    (tmp_path / "backups" / "monday").mkdir(parents=True)
    (tmp_path / "backups" / "monday" / "manifest.json").touch()
    assert examine(data, "--backups", tmp_path / "backups")["backups"]["level"] == FAIL
