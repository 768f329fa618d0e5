"""When the store fails, or our own code does: an answer with an id, a log without anybody's data."""

import asyncio
import dataclasses
import sys
import threading
from pathlib import Path

import msgspec
import pytest
import structlog

from moneta.application.access import Operation
from moneta.domain.errors import StoreUnavailableError, TryAgainError
from moneta.domain.limits import CALLS_WAITING_MAX
from moneta.entrypoints.answers import Answer
from moneta.entrypoints.http.app import WebApp
from moneta.entrypoints.http.calls import Calls
from moneta.entrypoints.http.gate import Gate
from moneta.entrypoints.http.management import Management
from moneta.entrypoints.http.metrics import Metrics
from moneta.entrypoints.http.open_routes import Service
from moneta.entrypoints.http.routes import ROUTES
from tests.http.api_server import serving
from tests.hub import make_hub

NOWHERE = Path("no such folder")
SECRET = "whsec_of_somebody"  # noqa: S105  # nobody's


class Broken:
    """A port whose every call raises ``error``."""

    def __init__(self, error):
        self.error = error

    def __getattr__(self, name):
        def fail(*_arguments, **_named):
            raise self.error

        return fail


@pytest.fixture
def test_hub(tmp_path):
    test_hub = make_hub(tmp_path)
    yield test_hub
    test_hub.close()


def ask(hub, path, token, *, folder=NOWHERE, method="GET", content_type=b"application/json"):
    """Return (status, headers, body, log) of one request to an app on ``hub``, without a server."""
    app = WebApp(hub, wake_processor=lambda: None, wake_deliverer=lambda: None, data_dir=folder)
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"{}" if method == "POST" else b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer " + token.encode()), (b"content-type", content_type)],
        "state": {},
    }
    with structlog.testing.capture_logs() as log:
        asyncio.run(app(scope, receive, send))
        app.close()
    body = msgspec.json.decode(b"".join(message.get("body", b"") for message in sent[1:]))
    return sent[0]["status"], dict(sent[0]["headers"]), body, log


def test_a_store_that_can_not_be_read_is_a_503(test_hub):
    token = test_hub.token(test_hub.console)
    hub = dataclasses.replace(test_hub.hub, contracts=Broken(StoreUnavailableError("disk")))
    status, headers, body, _ = ask(hub, "/contracts", token)
    assert (status, headers[b"retry-after"], body["code"]) == (503, b"1", "unavailable")


def test_a_decision_overtaken_every_time_is_a_503(test_hub):
    token = test_hub.token(test_hub.console)
    hub = dataclasses.replace(test_hub.hub, contracts=Broken(TryAgainError("overtaken")))
    assert ask(hub, "/contracts", token)[0] == 503


def test_a_token_that_can_not_be_checked_is_a_503(test_hub):
    token = test_hub.token(test_hub.console)
    hub = dataclasses.replace(test_hub.hub, directory=Broken(StoreUnavailableError("disk")))
    status, headers, body, _ = ask(hub, "/event", token, method="POST")
    assert (status, headers[b"retry-after"], body["code"]) == (503, b"1", "unavailable")


@pytest.mark.parametrize(
    ("method", "path", "port"), [("GET", "/contracts", "contracts"), ("POST", "/event", "directory")]
)
def test_a_bug_is_answered_with_an_id_that_the_log_has_too(test_hub, method, path, port):
    token = test_hub.token(test_hub.console)
    hub = dataclasses.replace(test_hub.hub, **{port: Broken(RuntimeError(SECRET))})
    status, _, body, log = ask(hub, path, token, method=method)
    assert (status, body["code"]) == (500, "internal_error")
    [failed] = [entry for entry in log if entry["event"] == "request_failed"]
    assert (failed["request_id"], failed["error"]) == (body["request_id"], "RuntimeError")
    assert SECRET not in str(log) + str(body)
    assert token not in str(log)


def test_more_calls_than_can_wait_are_told_to_come_back(test_hub, tmp_path):
    route = next(one for one in ROUTES if one.operation is Operation.LIST_CONTRACTS)
    calls = Calls(test_hub.hub, Metrics(tmp_path), Gate.of(test_hub.hub, rate_limit=0, rate_burst=1))
    may_go, last = threading.Event(), []

    def slow():
        assert may_go.wait(5)
        return Answer(status=200, body=b"")

    async def run():
        waiting = [asyncio.ensure_future(calls.run(route.operation, slow)) for _ in range(CALLS_WAITING_MAX)]
        await asyncio.sleep(0)
        last.append(await calls.run(route.operation, slow))
        may_go.set()
        return await asyncio.gather(*waiting)

    answers = asyncio.run(run())
    calls.close()
    assert {answer.status for answer in answers} == {200}
    assert last[0].status == 503
    assert (b"retry-after", b"1") in last[0].headers


def test_a_failure_outside_every_route_is_a_bug_too(test_hub, tmp_path):
    service = Service(hub=test_hub.hub, metrics=Metrics(tmp_path), readiness=None)
    with structlog.testing.capture_logs() as log:
        answer = Management(None, service, on_change=lambda: None)._failed(None, RuntimeError(SECRET))
    assert answer.status_code == 500
    assert (log[0]["where"], SECRET in str(log)) == ("unrouted", False)


def test_management_calls_that_can_not_be_loaded_are_a_bug_and_loaded_by_the_next_call(tmp_path, monkeypatch):
    with serving(tmp_path) as served:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "moneta.entrypoints.http.management", None)  # an import of it fails
            failed = served.call("GET", "/problems/not_found")
            assert served.call("GET", "/health").status_code == 200
        assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
        assert served.call("GET", "/problems/not_found").status_code == 200
