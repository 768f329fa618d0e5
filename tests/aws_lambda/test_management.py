"""The management function answers what the web process answers, byte for byte."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from moneta.application.ports import EventType
from moneta.domain.errors import StoreUnavailableError
from moneta.entrypoints.aws_lambda.management import UNSERVED, ManagementService
from tests.aws_lambda.gateway import gateway_event
from tests.http.api_server import parties, serving
from tests.http.bad_input import bad_requests
from tests.hub import MO, make_hub

REQUESTS = 1_500
CONTRACT = "contract-1"
HOP = {"connection", "content-length", "date", "ratelimit", "ratelimit-policy"}


class Two:
    """The same hub twice: served by the web process, and by the function."""

    def __init__(self, served, test_hub):
        self.served, self.test_hub = served, test_hub
        self.service, self.of_web_hub = ManagementService(test_hub.hub), ManagementService(served.test_hub.hub)
        for one in (served.test_hub, test_hub):
            one.mo, one.publisher = parties(one)
            one.mpass = one.issue_mpass(one.mo)
            one.victim = one.register(MO, "VICTIM")
        assert (served.test_hub.mo, served.test_hub.mpass) == (test_hub.mo, test_hub.mpass)
        body = test_hub.body(test_hub.mo, test_hub.publisher, test_hub.mpass)
        data = {"contract": test_hub.sign_first(test_hub.mo, body)}  # once, since no two signatures are the same
        raw = test_hub.event(test_hub.mo, EventType.SUBMIT, CONTRACT, data, f"submit-{CONTRACT}")
        for one in (served.test_hub, test_hub):
            one.send(one.mo, raw)
            one.process()

    def of_web(self, method, target, headers, body):
        answer = self.served.client.request(
            method,
            "/",
            content=body,
            headers=[(name, value.encode("latin-1")) for name, value in headers],
            extensions={"target": target.encode("ascii")},
        )
        return answer.status_code, shown(answer.headers), answer.text

    def close(self):
        self.service.close()
        self.of_web_hub.close()

    def of_function(self, method, target, headers, body, service=None):
        answer = (service or self.service).handle(gateway_event(method, target, headers=headers, body=body))
        return answer["statusCode"], shown(answer["headers"]), answer["body"]

    def both(self, method, target, headers=(), body=b""):
        """Return the two answers; what is drawn for them is the same."""
        self.served.test_hub.hub.randomness.count = self.test_hub.hub.randomness.count
        return self.of_web(method, target, headers, body), self.of_function(method, target, headers, body)

    def token(self, holder):
        return ("authorization", f"Bearer {self.test_hub.token(holder)}")


def shown(headers):
    return {name: value for name, value in headers.items() if name not in HOP}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    test_hub = make_hub(tmp_path_factory.mktemp("function"))
    with serving(tmp_path_factory.mktemp("web")) as served:
        two = Two(served, test_hub)
        yield two
        two.close()
    test_hub.close()


OPEN = ["/health", "/.well-known/moneta-keys.json", "/openapi.json", "/problems/not_found", "/problems/nothing"]
READ = [
    "/contracts",
    "/contracts?limit=1",
    "/contracts/contract-1",
    "/events/submit-contract-1",
    "/deliveries",
    "/mpass",
]


@pytest.mark.parametrize("path", [*OPEN, "/nothing", "/contracts//", "/"])
def test_what_needs_no_token_is_answered_as_by_the_web_process(two, path):
    of_web, of_function = two.both("GET", path)
    assert of_function == of_web


def test_a_status_list_is_answered_as_by_the_web_process(two):
    path = f"/status-lists/{two.test_hub.mo.organization_id}.0"
    (_, of_web, _), (status, of_function, body) = two.both("GET", path)
    # No two hubs sign the same bytes, nor have they the same tag.
    assert {**of_function, "etag": ""} == {**of_web, "etag": ""}
    assert (status, body.count(".")) == (200, 2)
    known = two.of_function("GET", path, [("if-none-match", of_function["etag"])], b"")
    assert (known[0], known[1]["etag"], known[2]) == (304, of_function["etag"], "")


@pytest.mark.parametrize("path", READ)
def test_what_is_read_is_answered_as_by_the_web_process(two, path):
    token = two.token(two.test_hub.mo)
    of_web = two.of_web("GET", path, [token], b"")
    of_function = two.of_function("GET", path, [token], b"", two.of_web_hub)  # no two hubs sign the same bytes
    assert of_function == of_web
    assert of_function[0] == 200
    assert two.of_function("HEAD", path, [token], b"", two.of_web_hub) == (*of_web[:2], "")


@pytest.mark.parametrize("path", ["/event", "/contracts", "/deliveries/replay"])
@pytest.mark.parametrize("method", ["PATCH", "DELETE", "OPTIONS"])
def test_another_method_is_answered_as_by_the_web_process(two, method, path):
    of_web, of_function = two.both(method, path)
    assert of_function == of_web
    assert of_function[1].get("allow")


def test_what_is_changed_is_answered_as_by_the_web_process(two):
    """A revision in If-Match, an id in Idempotency-Key, a Location: headers go both ways."""
    test_hub = two.test_hub
    token, as_json = two.token(test_hub.mo), ("content-type", "application/json")
    body = json.dumps({"mo_id": test_hub.mo.organization_id, "member_ref": "member-2"}).encode()
    given = [token, as_json, ("idempotency-key", "once")]
    of_web, of_function = two.both("POST", "/mpass", given, body)
    assert of_function == of_web
    assert (of_function[0], of_function[1]["etag"]) == (201, '"1"')
    again_of_web, again = two.both("POST", "/mpass", given, body)
    assert again == again_of_web
    assert again[1]["idempotency-replayed"] == "true"
    change = [token, as_json, ("if-match", '"7"')]
    of_web, of_function = two.both("PUT", f"{of_function[1]['location']}/status", change, b'{"status": "Active"}')
    assert of_function == of_web
    assert of_function[0] == 412


def test_bad_input_is_refused_as_by_the_web_process(two):
    test_hub = two.test_hub
    values = {
        "event_id": f"submit-{CONTRACT}",
        "contract_id": CONTRACT,
        "webhook_id": "none",
        "letter_id": "none",
        "change_id": "none",
        "kind": "mo",
        "name": "transaction-contract",
        "version": "1",
        "mpass_id": test_hub.mpass,
        "code": "not_found",
    }
    target = {"organization_id": test_hub.victim.organization_id, "kid": test_hub.victim.auth_key.public.key_id}
    seen = Counter()
    for request in bad_requests(values=values, target=target, mo=test_hub.mo.organization_id, count=REQUESTS):
        if request.template == "/event":
            continue  # another function's
        holder = test_hub.mo if request.template == "/mpass" else test_hub.console
        token = [] if request.is_anonymous else [two.token(holder)]
        headers = [*token, *request.headers.items()]
        of_web, of_function = two.both(request.method, request.path, headers, request.content)
        assert of_function == of_web, f"{request.what} to {request.method} {request.path[:200]}"
        seen[of_function[0]] += 1
    assert seen.keys() >= {200, 400, 401, 404, 412, 415, 422}


def test_the_hub_is_ready_without_a_worker_of_its_own(two):
    status, _, body = two.of_function("GET", "/ready", (), b"")
    checks = json.loads(body)["checks"]
    assert (status, [one["name"] for one in checks]) == (200, ["store_writable", "clock"])


def test_a_store_that_is_away_is_told(two, tmp_path):
    class Away:
        def __getattr__(self, _name):
            raise StoreUnavailableError("DynamoDB: ConnectTimeoutError")

    service = ManagementService(replace(two.test_hub.hub, events=Away(), contracts=Away(), directory=Away()))
    try:
        ready = service.handle(gateway_event("GET", "/ready"))
        assert ready["statusCode"] == 503
        answer = service.handle(gateway_event("GET", "/contracts", headers=[two.token(two.test_hub.mo)]))
        assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "1")
        assert json.loads(answer["body"])["code"] == "unavailable"
    finally:
        service.close()


@pytest.mark.parametrize("path", sorted(UNSERVED))
def test_figures_of_one_process_of_many_are_not_served(two, path):
    assert two.of_function("GET", path, (), b"")[0] == 404
