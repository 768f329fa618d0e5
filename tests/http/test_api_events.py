"""``POST /event`` and ``GET /events/{id}`` over HTTP."""

import json

import pytest

from moneta.application.ports import EventType
from moneta.domain.limits import EVENT_BYTES_MAX
from tests.http.api_server import parties, serving
from tests.stores import STORES


@pytest.fixture(scope="module", params=STORES)
def served(tmp_path_factory, request):
    with serving(tmp_path_factory.mktemp("hub"), store=request.param) as served:
        served.mo, served.publisher = parties(served.test_hub)
        served.mpass = served.test_hub.issue_mpass(served.mo)
        yield served


@pytest.fixture
def submission(served, request):
    """A valid first submission with ids of its own."""
    name = f"c-{abs(hash(request.node.nodeid))}"
    body = served.test_hub.body(served.mo, served.publisher, served.mpass, contract_id=name)
    data = {"contract": served.test_hub.sign_first(served.mo, body)}
    return served.test_hub.event(served.mo, EventType.SUBMIT, name, data, f"e-{name}")


def test_an_event_is_answered_202_with_its_place(served, submission):
    served.woken.clear()
    answer = served.send_event(submission, served.mo)
    assert answer.status_code == 202, answer.text
    event = json.loads(submission)
    assert answer.json() == {
        "event_id": event["id"],
        "contract_id": event["subject"],
        "status": "accepted",
        "received_at": served.test_hub.hub.now_s(),
    }
    assert answer.headers["location"] == f"/events/{event['id']}"
    assert "idempotency-replayed" not in answer.headers
    assert served.woken.wait(5)
    assert served.call("GET", answer.headers["location"], served.mo).json()["status"] == "accepted"


def test_the_same_bytes_again_give_the_first_answer(served, submission):
    first = served.send_event(submission, served.mo)
    again = served.send_event(submission, served.mo)
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (202, first.json(), "true")


def test_other_bytes_with_the_same_id_are_refused(served, submission):
    served.send_event(submission, served.mo)
    again = served.send_event(submission + b" ", served.mo)
    assert (again.status_code, again.json()["code"]) == (422, "event_id_reused")


@pytest.mark.parametrize(
    "content_type",
    ["application/cloudevents+json", "application/json", "application/json; charset=utf-8", "Application/JSON;v=1"],
)
def test_an_event_may_come_as(served, submission, content_type):
    assert served.send_event(submission, served.mo, **{"content-type": content_type}).status_code == 202


@pytest.mark.parametrize(
    ("headers", "code", "status"),
    [
        ({"content-type": "text/plain"}, "unsupported_media_type", 415),
        ({"content-type": "application/json; charset=utf-16"}, "unsupported_media_type", 415),
        ({"content-type": ""}, "unsupported_media_type", 415),
        ({"content-encoding": "gzip"}, "unsupported_media_type", 415),
        ({"authorization": ""}, "unauthorized", 401),
        ({"authorization": "Basic Zm9vOmJhcg=="}, "unauthorized", 401),
        ({"authorization": "Bearer"}, "unauthorized", 401),
        ({"authorization": "Bearer a.b.c"}, "unauthorized", 401),
    ],
)
def test_a_request_that_says_the_wrong_thing_is_refused(served, submission, headers, code, status):
    answer = served.send_event(submission, served.mo, **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_401_is_the_same_and_names_the_scheme(served, submission):
    answers = [served.send_event(submission, authorization=text) for text in ("", "Bearer x", "Bearer a.b.c")]
    assert len({answer.text for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}


@pytest.mark.parametrize("size", [EVENT_BYTES_MAX + 1, 4 * EVENT_BYTES_MAX, 20 * 1024 * 1024])
def test_an_event_that_is_too_large_is_answered_413_and_the_connection_closed(served, size):
    answer = served.send_event(b"x" * size, served.mo)
    assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (413, "too_large", EVENT_BYTES_MAX)
    assert answer.headers["connection"] == "close"


def test_an_event_that_is_too_large_is_refused_without_a_length_too(served):
    answer = served.send_event((b"x" * 65_536 for _ in range(6)), served.mo)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_an_event_of_exactly_the_limit_is_read(served):
    assert served.send_event(b" " * EVENT_BYTES_MAX, served.mo).json()["code"] == "malformed_json"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_answered_405_with_those_allowed(served, method):
    answer = served.call(method, "/event", served.mo)
    assert (answer.status_code, answer.json()["code"], answer.headers["allow"]) == (
        405,
        "method_not_allowed",
        "POST, OPTIONS",
    )


def test_options_tells_the_methods(served):
    answer = served.call("OPTIONS", "/event")
    assert (answer.status_code, answer.headers["allow"]) == (204, "POST, OPTIONS")


def test_a_query_is_refused(served, submission):
    answer = served.call(
        "POST", "/event?a=1", served.mo, content=submission, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


def test_answers_may_not_be_cached_or_sniffed(served, submission):
    answer = served.send_event(submission, served.mo)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


def test_a_rejected_event_shows_its_problem(served):
    body = served.test_hub.body(served.mo, served.publisher, served.mpass, contract_id="c-bad", version=99)
    data = {"contract": served.test_hub.sign_first(served.mo, body)}
    served.send_event(served.test_hub.event(served.mo, EventType.SUBMIT, "c-bad", data, "e-bad"), served.mo)
    served.test_hub.process()
    answer = served.call("GET", "/events/e-bad", served.mo).json()
    assert (answer["status"], answer["problem"]["type"]) == ("rejected", "/problems/unknown_template")
    seen = served.call("GET", f"/events/e-bad?source={served.mo.organization_id}", served.test_hub.console).json()
    assert seen == answer
    assert served.call("GET", "/events/e-bad", served.publisher).status_code == 404
