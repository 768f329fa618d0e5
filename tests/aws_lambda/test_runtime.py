"""The handlers under AWS's own runtime client: a cold start, a call, an error, a call that is too late."""

import json
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from moneta.entrypoints.telemetry.emf import NAMESPACE
from tests.aws_lambda.gateway import gateway_event
from tests.aws_lambda.runtime_api import Function, FunctionError, LateError, function_environment

MODULE = "moneta.entrypoints.aws_lambda"
FUNCTIONS = ("authorizer", "dead_letters", "dispatcher", "ingestor", "management", "processor", "relay", "sweep")
CALLER = {"caller_id": "1", "role": "mo", "key_id": "k", "token_id": "t", "status": "Active"}
AS_JSON = ("content-type", "application/json")
FOREIGN = {"Records": [{"messageId": "m-1", "body": "hello", "attributes": {}, "messageAttributes": {}}]}
STEP = {"contract_id": {"S": "c-1"}, "seq": {"N": "1"}}
NEW_STEP = {"Records": [{"eventName": "INSERT", "dynamodb": {"Keys": STEP, "SequenceNumber": "111"}}]}
SHORT_S = 10.0
"""Less than a dispatcher needs to send in."""


@contextmanager
def listening(*, accepts):
    """Give the URL of a port of ours that nobody answers at; ``accepts``: connections are taken, and left hanging."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if accepts:
            listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def run():
    """Start functions whose services are away, and end them with the test."""
    running = []
    with listening(accepts=False) as url:

        def run(name, **environment):
            function = Function(f"{MODULE}.{name}.handler", function_environment(name, url) | environment)
            running.append(function)
            return function

        yield run
        for function in running:
            function.close()


def log_of(function, event):
    """Return the log entries of a name; every line is JSON."""
    return [entry for line in function.logged.splitlines() if (entry := json.loads(line)).get("event") == event]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_starts_without_a_word_though_every_service_is_away(run, name):
    function = run(name)
    function.start()
    assert function.logged == ""


@pytest.mark.parametrize("name", ["ingestor", "management", "dispatcher"])
def test_a_function_works_after_its_snapshot_was_restored(run, name):
    function = run(name, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
    event = FOREIGN if name == "dispatcher" else gateway_event("POST", "/event", headers=[AS_JSON], body=b"{}")
    answer = function.invoke(event)
    assert answer.get("statusCode", 401) == 401
    assert (function.restores, function.processes) == (1, 1)


READS_TEMPLATES = {"jsonschema_rs", "ruamel"}
SENDS = {"pyreqwest"}
SERVES = {"litestar", "uvicorn", "uvloop", "prometheus_client"}
UNUSED = {"apsw", "httpx", "joserfc", "opentelemetry", "pydantic", "rich", "typer"}


@pytest.mark.parametrize(
    ("name", "unneeded"),
    [
        ("authorizer", UNUSED | READS_TEMPLATES | SENDS | SERVES),
        ("ingestor", UNUSED | READS_TEMPLATES | SENDS | SERVES),
        ("processor", UNUSED | SENDS | SERVES),
        ("dispatcher", UNUSED | READS_TEMPLATES | SERVES),
        ("relay", UNUSED | READS_TEMPLATES | SENDS | SERVES),
        ("sweep", UNUSED | READS_TEMPLATES | SENDS | SERVES),
        ("dead_letters", UNUSED | READS_TEMPLATES | SENDS | SERVES),
    ],
)
def test_a_function_imports_no_package_that_it_does_not_need(name, unneeded):
    program = f"import sys, {MODULE}.{name}; print(*(name for name, one in sys.modules.items() if one is not None))"
    environment = function_environment(name, "http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    imported = {module.partition(".")[0] for module in done.stdout.split()}
    assert "botocore" in imported
    assert imported & unneeded == set()


def test_an_event_of_nobody_is_answered_and_told_of_in_log_and_figures(run):
    function = run("ingestor", MONETA_LOG_LEVEL="debug")
    answer = function.invoke(gateway_event("POST", "/event", headers=[AS_JSON], body=b"{}"))
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (401, "application/problem+json")
    assert json.loads(answer["body"])["code"] == "unauthorized"
    (refused,) = log_of(function, "request_refused")
    assert (refused["code"], refused["process"], refused["api_request_id"]) == (
        "unauthorized",
        "ingestor",
        "JKJaXmPLvHcESHA=",
    )
    assert refused["request_id"]
    figures = [entry for line in function.logged.splitlines() if "_aws" in (entry := json.loads(line))]
    assert {one["_aws"]["CloudWatchMetrics"][0]["Namespace"] for one in figures} == {NAMESPACE}
    assert {one["Hub"] for one in figures} == {"moneta-test"}
    assert [one["moneta_requests_refused_total"] for one in figures if "code" in one] == [1]


def test_an_event_that_cannot_be_made_durable_is_answered_503(run):
    function = run("ingestor")
    event = gateway_event("POST", "/event", headers=[AS_JSON], body=b"{}", authorized=CALLER)
    answer = function.invoke(event)
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "1")
    assert log_of(function, "event_not_durable")


@pytest.mark.parametrize("name", ["ingestor", "management"])
def test_a_setting_that_is_missing_is_named_and_the_call_answered_503(run, name):
    function = run(name, MONETA_SECRET_ID="")
    event = gateway_event("POST", "/event", headers=[AS_JSON], body=b"{}", authorized=CALLER)
    answer = function.invoke(event)
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "1")
    assert "MONETA_SECRET_ID" in function.logged


@pytest.mark.parametrize("name", ["processor", "dispatcher", "dead_letters"])
def test_a_batch_is_kept(run, name):
    kept = {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
    assert run(name).invoke(FOREIGN) == kept
    assert run(name, MONETA_SECRET_ID="").invoke(FOREIGN) == kept


def test_a_dispatcher_looks_at_the_time_that_its_call_has(run):
    function = run("dispatcher")
    assert function.invoke(FOREIGN, timeout_s=SHORT_S) == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
    (kept,) = log_of(function, "lines_kept")
    assert "s to send in" in kept["detail"]


def test_a_step_whose_store_is_away_comes_again(run):
    assert run("relay").invoke(NEW_STEP) == {"batchItemFailures": [{"itemIdentifier": "111"}]}


def test_a_sweep_that_fails_fails_its_call(run):
    function = run("sweep", MONETA_SECRET_ID="")
    with pytest.raises(FunctionError, match="MisconfiguredError"):
        function.invoke({})


@pytest.mark.parametrize("name", ["processor", "relay"])
def test_a_call_that_meets_a_bug_fails_and_the_next_one_is_answered(run, name):
    function = run(name)
    with pytest.raises(FunctionError, match="KeyError"):
        function.invoke({"Rows": []})
    assert function.invoke({"Records": []}) == {"batchItemFailures": []}
    assert function.processes == 1


def test_a_handler_that_is_not_there_is_told_at_the_start(run):
    function = run("nothing")
    with pytest.raises(FunctionError, match="ImportModuleError"):
        function.start()


def test_the_authorizer_says_that_it_cannot_tell(run):
    function = run("authorizer")
    answer = function.invoke(gateway_event("POST", "/event", headers=[("authorization", "Bearer a.b.c")]))
    assert answer == {"isAuthorized": True, "context": {"problem": "unauthorized"}}  # which needs no store


def test_a_call_that_is_late_is_cut_off_and_the_next_one_is_answered(run):
    with listening(accepts=True) as url:
        function = run("ingestor", AWS_ENDPOINT_URL=url)
        event = gateway_event("POST", "/event", headers=[AS_JSON], body=b"{}", authorized=CALLER)
        with pytest.raises(LateError):
            function.invoke(event, timeout_s=1)
        answer = function.invoke(gateway_event("POST", "/event", headers=[AS_JSON], body=b"{}"))
    assert (answer["statusCode"], function.processes) == (401, 2)
