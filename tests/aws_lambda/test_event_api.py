"""``POST /event`` through the authorizer and the ingestor: what the web process answers, byte for byte."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from moneta.application.ports import EventType
from moneta.domain.errors import MisconfiguredError, StoreUnavailableError
from moneta.domain.limits import EVENT_BYTES_MAX
from moneta.entrypoints.aws_lambda import authorizer
from moneta.entrypoints.aws_lambda.ingestor import Ingestor
from moneta.entrypoints.telemetry.correlation import trace_id_of
from moneta.entrypoints.telemetry.tracing import Traces
from tests.aws_lambda.gateway import EventAPI, gateway_event
from tests.http.api_server import parties, serving
from tests.http.bad_input import bad_requests
from tests.hub import make_hub

REQUESTS_MIN = 500
PATH_NAMES = "event_id contract_id webhook_id letter_id change_id kind name version mpass_id code organization_id kid"
NOWHERE = dict.fromkeys(PATH_NAMES.split(), "x")
COMPARED = ("content-type", "www-authenticate", "retry-after", "allow", "location", "idempotency-replayed")
"""Beside the standing ones. Rates are the gateway's to limit, so no answer of a function tells of them."""


class Two:
    """The same hub twice: served by the web process, and by functions."""

    def __init__(self, served, test_hub):
        self.served, self.test_hub, self.api = served, test_hub, EventAPI(test_hub.hub)
        for one in (served.test_hub, test_hub):
            one.mo, one.publisher = parties(one)
            one.mpass = one.issue_mpass(one.mo)
        assert served.test_hub.mo == test_hub.mo

    def answers(self, headers, body, *, target="/event", method="POST"):
        """Return the two answers, as (status, headers, body), to a request; ``headers``: pairs of text."""
        of_web = self.served.client.request(
            method, target, content=body, headers=[(name, value.encode("latin-1")) for name, value in headers]
        )
        of_function = self.api.request(method, target, headers=headers, body=body)
        assert not of_function["isBase64Encoded"]
        return (
            (of_web.status_code, shown(of_web.headers), of_web.text),
            (of_function["statusCode"], shown(of_function["headers"]), of_function["body"]),
        )

    def token(self):
        return ("authorization", f"Bearer {self.test_hub.token(self.test_hub.mo)}")

    def submission(self, name, **changed):
        test_hub = self.test_hub
        body = test_hub.body(test_hub.mo, test_hub.publisher, test_hub.mpass, contract_id=name)
        data = {"contract": test_hub.sign_first(test_hub.mo, body)}
        return test_hub.event(test_hub.mo, EventType.SUBMIT, name, data, f"e-{name}")


def shown(headers):
    return {name: headers[name] for name in COMPARED if name in headers}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    test_hub = make_hub(tmp_path_factory.mktemp("function"))
    with serving(tmp_path_factory.mktemp("web"), rate_limit=0) as served:
        yield Two(served, test_hub)
    test_hub.close()


EVENT_TYPE = ("content-type", "application/cloudevents+json")


@pytest.mark.parametrize("content_type", ["application/cloudevents+json", "application/json", "application/JSON;v=1"])
def test_an_event_is_answered_as_by_the_web_process(two, content_type):
    raw = two.submission(f"accepted-{abs(hash(content_type))}")
    given = [two.token(), ("content-type", content_type)]
    of_web, of_function = two.answers(given, raw)
    assert of_function == of_web
    assert of_function[0] == 202
    again_of_web, again = two.answers(given, raw)
    assert again == again_of_web
    assert again[1]["idempotency-replayed"] == "true"
    other_of_web, other = two.answers(given, raw + b" ")
    assert other == other_of_web
    assert json.loads(other[2])["code"] == "event_id_reused"


REQUESTS = {
    "no token": ([EVENT_TYPE], b"{}"),
    "an empty token": ([EVENT_TYPE, ("authorization", "")], b"{}"),
    "another scheme": ([EVENT_TYPE, ("authorization", "Basic Zm9vOmJhcg==")], b"{}"),
    "no content type": ([("authorization", "Bearer a.b.c")], b"{}"),
    "compressed": ([EVENT_TYPE, ("content-encoding", "gzip")], b"{}"),
    "UTF-16": ([("content-type", "application/json; charset=utf-16")], b"{}"),
    "two content types": ([EVENT_TYPE, EVENT_TYPE], b"{}"),
    "no body": ([EVENT_TYPE], b""),
    "no UTF-8": ([EVENT_TYPE], b"\xff\xfe"),
    "a lone surrogate": ([("content-type", "application/json")], b'{"a": "\xed\xa0\x80"}'),
    "exactly the limit": ([EVENT_TYPE], b" " * EVENT_BYTES_MAX),
    "a byte too much": ([EVENT_TYPE], b" " * (EVENT_BYTES_MAX + 1)),
    "too large for anybody": ([EVENT_TYPE], b" " * (4 * EVENT_BYTES_MAX)),
}


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize(("headers", "body"), REQUESTS.values(), ids=list(REQUESTS))
def test_a_request_is_refused_as_by_the_web_process(two, headers, body, is_known):
    own = [] if any(name == "authorization" for name, _ in headers) or not is_known else [two.token()]
    of_web, of_function = two.answers([*own, *headers], body)
    assert of_function == of_web
    assert of_function[0] >= 400


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_refused_as_by_the_web_process(two, method):
    of_web, of_function = two.answers([two.token()], b"", method=method)
    assert of_function == of_web
    assert of_function[0] == 405


def test_a_path_with_an_empty_part_is_no_path_of_ours(two):
    event = gateway_event("POST", "//event", headers=[two.token(), EVENT_TYPE], body=two.submission("slashes"))
    event["requestContext"]["authorizer"] = {"lambda": two.api.authorize(event)}
    answer = Ingestor(hub=lambda: two.test_hub.hub, figures=two.api.figures).handle(event)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (404, "not_found")


def test_a_query_is_refused_as_by_the_web_process(two):
    of_web, of_function = two.answers([two.token(), EVENT_TYPE], b"{}", target="/event?a=1")
    assert of_function == of_web
    assert of_function[0] == 400


def test_bad_input_is_refused_as_by_the_web_process(two):
    everything = bad_requests(values=NOWHERE, target={}, mo=two.test_hub.mo.organization_id, count=None)
    requests = [one for one in everything if one.template == "/event"]
    assert len(requests) >= REQUESTS_MIN
    seen = Counter()
    for request in requests:
        token = [] if request.is_anonymous else [two.token()]
        headers = [*token, *request.headers.items()]
        of_web, of_function = two.answers(headers, request.content, target=request.path)
        assert of_function == of_web, f"{request.what}: {of_web} {of_function}"
        seen[of_function[0]] += 1
    assert seen.keys() >= {400, 403, 415}


# What only a function meets: another function's word for who calls, and dependencies that are away.


class Away:
    """A port that can't be reached."""

    def __getattr__(self, _name):
        raise StoreUnavailableError("DynamoDB: ConnectTimeoutError")


class Broken:
    """A port with a bug."""

    def __getattr__(self, _name):
        raise RuntimeError("a text that may quote anything")


def away():
    raise MisconfiguredError("ParameterNotFound")


def ask(two, *, hub=None, make=None, authorized, raw=b"{}"):
    event = gateway_event("POST", "/event", headers=[EVENT_TYPE], body=raw, authorized=authorized)
    answer = Ingestor(hub=make or (lambda: hub or two.test_hub.hub), figures=two.api.figures).handle(event)
    return answer["statusCode"], answer["headers"], json.loads(answer["body"])


@pytest.mark.parametrize(
    "context",
    [
        None,
        {},
        {"caller_id": "operator"},
        {"caller_id": "operator", "role": "king", "key_id": "k", "token_id": "t"},
        {"caller_id": "operator", "role": "mo", "key_id": "k", "token_id": "t", "status": "Great"},
        {"problem": "unauthorized"},
        {"problem": "of another version"},
    ],
    ids=str,
)
def test_whoever_the_authorizer_does_not_name_is_nobody(two, context):
    status, headers, problem = ask(two, authorized=context, raw=two.submission("nobody"))
    assert (status, headers["www-authenticate"], problem["code"]) == (401, "Bearer", "unauthorized")


def test_a_null_in_the_context_is_none(two):
    caller = two.api.authorize(gateway_event("POST", "/event", headers=[two.token()]))
    status, _, _ = ask(two, authorized={"problem": None, **caller}, raw=two.submission("null"))
    assert status == 202


def test_an_identity_is_told_of_too_and_sends_no_events(two):
    token = two.test_hub.token(two.test_hub.console)
    context = two.api.authorize(gateway_event("POST", "/event", headers=[("authorization", f"Bearer {token}")]))
    assert (context["role"], "status" in context) == ("operator", False)
    status, _, problem = ask(two, authorized=context, raw=two.submission("identity"))
    assert (status, problem["code"]) == (403, "forbidden")


@pytest.mark.parametrize("directory", [Away(), Broken()], ids=["away", "broken"])
def test_a_token_that_cannot_be_verified_is_not_called_false(two, directory):
    event = gateway_event("POST", "/event", headers=[two.token(), EVENT_TYPE], body=b"{}")
    hub = replace(two.test_hub.hub, directory=directory)
    context = authorizer.handle(lambda: hub, event)["context"]
    status, headers, problem = ask(two, authorized=context)
    assert (status, problem["code"], headers.get("retry-after")) in {
        (503, "unavailable", "1"),
        (500, "internal_error", None),
    }
    assert (status == 503) == isinstance(directory, Away)
    assert problem.get("request_id") == context.get("request_id")


def test_a_hub_that_cannot_be_made_is_answered_503(two):
    event = gateway_event("POST", "/event", headers=[two.token(), EVENT_TYPE], body=b"{}")
    assert authorizer.handle(away, event)["context"] == {"problem": "unavailable"}
    caller = two.api.authorize(event)
    status, headers, problem = ask(two, make=away, authorized=caller)
    assert (status, headers["retry-after"], problem["code"]) == (503, "1", "unavailable")


@pytest.mark.parametrize("port", ["events", "directory"])
def test_an_event_that_cannot_be_made_durable_is_answered_503(two, port):
    caller = two.api.authorize(gateway_event("POST", "/event", headers=[two.token()]))
    hub = replace(two.test_hub.hub, **{port: Away()})
    status, headers, problem = ask(two, hub=hub, authorized=caller, raw=two.submission("away"))
    assert (status, headers["retry-after"], problem["code"]) == (503, "1", "unavailable")


def test_a_bug_is_answered_500_without_a_word_of_what_it_met(two):
    caller = two.api.authorize(gateway_event("POST", "/event", headers=[two.token()]))
    hub = replace(two.test_hub.hub, events=Broken())
    with capture_logs() as logs:
        status, _, problem = ask(two, hub=hub, authorized=caller, raw=two.submission("bug"))
    assert (status, problem["code"]) == (500, "internal_error")
    assert "quote" not in str(problem) + str(logs)
    assert problem["request_id"] in {entry.get("request_id") for entry in logs}


def test_a_request_of_another_format_is_answered_500(two):
    answer = Ingestor(hub=lambda: two.test_hub.hub, figures=two.api.figures).handle({"version": "1.0"})
    assert answer["statusCode"] == 500


def test_what_was_answered_is_counted(two):
    two.api.figures.take_lines(0)
    raw = two.submission("counted")
    two.answers([two.token(), EVENT_TYPE], raw)
    two.answers([two.token(), EVENT_TYPE], raw)
    two.answers([EVENT_TYPE], b"{}")
    lines = [json.loads(line) for line in two.api.figures.take_lines(1)]
    (plain,) = [line for line in lines if "code" not in line]
    (refused,) = [line for line in lines if "code" in line]
    assert plain["moneta_events_accepted_total"] == 1
    assert plain["moneta_events_replayed_total"] == 1
    assert len(plain["moneta_event_seconds"]) == 3
    assert (refused["route"], refused["code"], refused["moneta_requests_refused_total"]) == (
        "/event",
        "unauthorized",
        1,
    )


def test_an_event_that_is_accepted_begins_its_contracts_trace(two):
    spans = []
    traces = Traces(spans.append, ratio=1.0)
    caller = two.api.authorize(gateway_event("POST", "/event", headers=[two.token()]))
    given = [EVENT_TYPE, ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    event = gateway_event("POST", "/event", headers=given, body=two.submission("traced"), authorized=caller)
    one = Ingestor(hub=lambda: two.test_hub.hub, figures=two.api.figures, traces=lambda: traces)
    assert one.handle(event)["statusCode"] == 202
    (span,) = spans
    assert (span.name, span.trace_id) == ("POST /event", trace_id_of("traced"))
    assert f"{span.link.trace_id:x}" == "af7651916cd43dd8448eb211c80319c"
    one.handle(gateway_event("POST", "/event", headers=given, body=b"{}", authorized=caller))
    assert len(spans) == 1
