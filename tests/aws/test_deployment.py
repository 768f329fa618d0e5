"""``moneta aws``, on emulators: what is missing is named, what broke off is run again, and nothing is made twice."""

import itertools
import json
import logging
import os
import uuid
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from botocore.session import Session

from moneta.adapters.aws.clients import Clients
from moneta.bootstrap import deployment
from moneta.entrypoints.cli.main import main
from tests.emulated import emulator_url
from tests.emulators import Urls

pytestmark = pytest.mark.dynamodb
BASE_URL = "https://hub.example"
WRITES = {
    "create_alias",
    "create_key",
    "create_queue",
    "create_secret",
    "create_table",
    "put_item",
    "put_secret_value",
    "sign",
    "transact_write_items",
    "update_item",
    "update_time_to_live",
}


class Crash(BaseException):
    """The process is gone."""


class DyingClient:
    """A client whose process dies after one of its writes, which is before the next one too."""

    def __init__(self, client, numbers, *, at):
        self._client, self._numbers, self._at = client, numbers, at

    def __getattr__(self, operation):
        call = getattr(self._client, operation)
        if operation not in WRITES:
            return call

        def counted(**arguments):
            answer = call(**arguments)
            if next(self._numbers) == self._at:
                raise Crash
            return answer

        return counted


@pytest.fixture
def place(monkeypatch, tmp_path):
    """An operator's desk with the emulators in its environment, and a prefix of its own."""
    urls = Urls(dynamodb=emulator_url("MONETA_DYNAMODB_URL"), ministack=emulator_url("MONETA_MINISTACK_URL"))
    for name, value in urls.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Place()


class Place:
    def __init__(self):
        self.prefix = f"desk-{uuid.uuid4().hex[:12]}-"

    def moneta(self, *words):
        """Run one command in this process; return its exit code."""
        with pytest.raises(SystemExit) as ended:
            main(["aws", *words, "--table-prefix", self.prefix])
        return ended.value.code

    def init(self, *words):
        return self.moneta("init", "--base-url", BASE_URL, "--operator-key", "operator.pem", *words)

    def service(self, name):
        return Clients(region=os.environ["AWS_REGION"], endpoint_url=os.environ["AWS_ENDPOINT_URL"]).of(name)

    def secret(self):
        return json.loads(
            self.service("secretsmanager").get_secret_value(SecretId=f"{self.prefix}keys")["SecretString"]
        )


def test_a_hub_is_made_once_and_told_the_same_each_time(place, capsys):
    assert place.init("--local") == 0
    said = capsys.readouterr().out
    made = place.secret()
    assert said.startswith(f"hub key {made['signing_keys'][0]['jwk']['kid']}\nroot certificate ")
    assert place.init("--local") == 0
    assert place.init() == 0
    assert capsys.readouterr().out == said * 2
    assert place.secret() == made
    deployment.check(deployment.find(endpoint_url=None, table_prefix=place.prefix))


@pytest.mark.slow
def test_what_broke_off_at_any_write_is_run_again(place, monkeypatch, tmp_path):
    create_client = Session.create_client

    @contextmanager
    def dying(at):
        numbers = itertools.count()

        def create(session, *arguments, **options):
            return DyingClient(create_client(session, *arguments, **options), numbers, at=at)

        with monkeypatch.context() as patch:
            patch.setattr(Session, "create_client", create)
            yield

    for at in itertools.count():
        place.prefix = f"desk-{uuid.uuid4().hex[:12]}-"
        key_file = tmp_path / "operator.pem"
        key_file.unlink(missing_ok=True)
        try:
            with dying(at):
                place.init("--local")
        except Crash:
            before = key_file.read_bytes() if key_file.exists() else None
            assert place.init("--local") == 0
            assert before in {None, key_file.read_bytes()}
            assert len(place.secret()["signing_keys"]) == 1
        else:
            break
    assert at > len(WRITES)


def test_a_key_is_rotated_once_however_often_it_is_asked_for(place, capsys):
    place.init("--local")
    [first] = place.secret()["signing_keys"]
    for _ in range(2):
        assert place.moneta("rotate-key") == 0
    said = capsys.readouterr().out.splitlines()
    new, old = place.secret()["signing_keys"]
    assert old["jwk"] == first["jwk"]
    assert [line for line in said if new["jwk"]["kid"] in line] == [f"hub key {new['jwk']['kid']}"] * 2
    assert place.moneta("rotate-key", "--compromised") == 0
    assert [("revoked_at" in one, "private_key" in one) for one in place.secret()["signing_keys"]] == [
        (False, True),
        (True, False),
        (True, False),
    ]


def without_table(place):
    place.service("dynamodb").delete_table(TableName=f"{place.prefix}deliveries")


def with_another_table(place):
    without_table(place)
    place.service("dynamodb").create_table(
        TableName=f"{place.prefix}deliveries",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "other", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "other", "KeyType": "HASH"}],
    )


def without_queue(place):
    sqs = place.service("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=f"{place.prefix}webhooks")["QueueUrl"])


def without_secret(place):
    place.service("secretsmanager").delete_secret(SecretId=f"{place.prefix}keys")


def with_another_secret(place):
    place.service("secretsmanager").put_secret_value(SecretId=f"{place.prefix}keys", SecretString="{}")


def with_keys_that_are_over(place):
    secret = place.secret()
    for key in secret["signing_keys"]:
        key |= {"nbf": 1_700_000_000, "exp": 1_700_000_001}
    place.service("secretsmanager").put_secret_value(SecretId=f"{place.prefix}keys", SecretString=json.dumps(secret))


def elsewhere(name, value):
    def change(place):
        place.monkeypatch.setenv(name, value)

    return change


def refused(service, kind):
    """Let a service refuse every call, in its own words, as no emulator of it does."""

    def change(place):
        url = place.opened.enter_context(refusing(kind))
        place.monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", url)

    return change


@contextmanager
def refusing(kind):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            told = json.dumps({"__type": f"com.amazonaws#{kind}", "message": "said the service"}).encode()
            self.send_response(400)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# fmt: off
MISSING = {
    "a table":          (without_table,                                    "table {prefix}deliveries: it is not there"),
    "another's table":  (with_another_table,                               "table {prefix}deliveries: not a hub's"),
    "a queue":          (without_queue,                                    "queue {prefix}webhooks: it is not there"),
    "the secret":       (without_secret,                                   "secret {prefix}keys: it can't be used"),
    "another's secret": (with_another_secret,                              "secret {prefix}keys: not a hub's keys"),
    "a key of today's": (with_keys_that_are_over,                          "Moneta's signing key has expired"),
    "another region":   (elsewhere("AWS_REGION", "eu-west-3"),             "it is not there (eu-west-3"),
    "no region":        (elsewhere("AWS_REGION", ""),                      "expected AWS_REGION"),
    "no such region":   (elsewhere("AWS_REGION", "a b"),                   "region a b"),
    "nobody there":     (elsewhere("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), "http://127.0.0.1:1"),
    "no database":      (elsewhere("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1"), "table {prefix}events: "),
    "no permission":    (refused("DYNAMODB", "AccessDeniedException"),     "table {prefix}events: no permission"),
    "no permission for a queue": (refused("SQS", "AccessDenied"),          "queue {prefix}events: no permission"),
    "no permission for the keys": (refused("SECRETS_MANAGER", "AccessDeniedException"), "secret {prefix}keys: no perm"),
    "old credentials":  (refused("DYNAMODB", "ExpiredTokenException"),     "the credentials have expired"),
    "false credentials": (refused("DYNAMODB", "UnrecognizedClientException"), "the credentials are not valid"),
    "no URL":           (elsewhere("AWS_ENDPOINT_URL", "nowhere"),         "endpoint nowhere"),
}
# fmt: on


@pytest.mark.parametrize("case", MISSING)
def test_a_hub_that_lacks_something_does_not_start_and_names_it(place, monkeypatch, capsys, case):
    change, said = MISSING[case]
    place.monkeypatch = monkeypatch
    place.init("--local")
    capsys.readouterr()
    with ExitStack() as place.opened:
        change(place)
        with pytest.raises(SystemExit) as ended:
            main(["up", "--data", "hub", "--store", "aws", "--table-prefix", place.prefix, "--port", "0"])
    shown = capsys.readouterr()
    assert ended.value.code == 1
    assert said.format(prefix=place.prefix) in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_an_operator_who_is_there_keeps_his_key(place, capsys, tmp_path):
    place.init("--local")
    capsys.readouterr()
    assert place.moneta("init", "--base-url", BASE_URL, "--operator-key", "another.pem") == 1
    assert "operator is there with another key than another.pem" in capsys.readouterr().err
    assert not (tmp_path / "another.pem").exists()


@pytest.mark.parametrize("endpoint", ["https://services.example", "http://10.0.0.1:4566"])
def test_resources_without_protection_are_made_on_this_machine_alone(place, capsys, endpoint):
    assert place.init("--local", "--endpoint", endpoint) == 1
    assert "expected one on this machine" in capsys.readouterr().err


def test_no_log_shows_a_key_however_much_it_says(place, caplog):
    with caplog.at_level(logging.DEBUG):
        place.init("--local")
        place.moneta("rotate-key")
    lines = place.secret()["signing_keys"][0]["private_key"].splitlines()[1:-1]
    assert caplog.text
    assert not any(line in caplog.text for line in (*lines, place.secret()["sealing_key"]))
