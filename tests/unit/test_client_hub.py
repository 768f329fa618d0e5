"""Calls to a hub over real HTTP: what is sent, what is sent again, and what each answer becomes."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from moneta.client import (
    Accepted,
    Caller,
    ContractEndedError,
    DeliveryState,
    HubClient,
    HubProblemError,
    HubUnreachableError,
    Party,
    Role,
    WaitTimeoutError,
    build_event,
    cancel,
    decline,
)
from moneta.client.transport import ANSWER_BYTES_MAX, ATTEMPTS_MAX, WAIT_S_MAX
from moneta.signing import tokens
from tests import client_world as world
from tests.client_world import KEYS, MO_ID, NOW

ACCEPTED = (202, {"event_id": "e1", "contract_id": "contract_12345", "status": "accepted", "received_at": NOW})
PROBLEM = {"type": "/problems/contract_closed", "title": "t", "code": "contract_closed", "detail": "too late"}


class Stub:
    """A hub of canned answers: each a (status, document) or (status, bytes, headers); the last one repeats."""

    def __init__(self):
        self.answers, self.requests = [ACCEPTED], []

    def next(self):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def stub():
    served = Stub()

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            served.requests.append((self.command, self.path, dict(self.headers), body))
            status, document, *more = served.next()
            if status == 0:
                return  # closes without an answer
            raw = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(raw)), **(more[0] if more else {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = answer  # noqa: N815  # the standard library's names

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield served
    server.shutdown()
    thread.join(5)
    server.server_close()


def party(url):
    return Party(organization_id=MO_ID, role=Role.MO, hub=url, auth_key=KEYS["mo auth"], contract_key=KEYS["other mo"])


@pytest.fixture
def waits():
    return []


@pytest.fixture
def hub(stub, waits):
    return HubClient(party(stub.url), clock=world.Clock(), sleep=waits.append)


def test_a_contract_is_submitted_under_a_token(hub, stub):
    accepted = hub.submit(world.submitted(), event_id="e1")
    assert accepted == Accepted(event_id="e1", contract_id="contract_12345", received_at=NOW, was_replayed=False)
    [(method, path, headers, body)] = stub.requests
    assert (method, path, headers["Content-Type"]) == ("POST", "/event", "application/cloudevents+json")
    token = tokens.parse_token(headers["Authorization"].removeprefix("Bearer "))
    tokens.check_times(token, audience=stub.url, now=NOW)
    event = json.loads(body)
    assert event == {
        "specversion": "1.0",
        "id": "e1",
        "source": MO_ID,
        "type": "moneta.contract.submit",
        "subject": "contract_12345",
        "time": "2026-05-28T20:26:40Z",
        "data": {"contract": event["data"]["contract"]},
    }


def test_signatures_and_acts_go_as_events_of_their_own(hub, stub):
    first = world.submitted()
    checked = world.verifier().contract(world.countersigned())
    hub.sign(first)
    hub.decline(decline(checked, world.PUBLISHER, reason_code="no", issued_at=NOW))
    hub.cancel(cancel(first, world.MO, reason_code="no", issued_at=NOW))
    events = [json.loads(body) for *_, body in stub.requests]
    assert [event["type"].rpartition(".")[2] for event in events] == ["sign", "decline", "cancel"]
    assert [list(event["data"]) for event in events] == [["contract"], ["act"], ["act"]]
    assert len({event["id"] for event in events}) == 3


def test_the_first_answer_again_says_so(hub, stub):
    stub.answers = [(*ACCEPTED, {"Idempotency-Replayed": "true"})]
    assert hub.submit(world.submitted()).was_replayed


@pytest.mark.parametrize(
    ("failure", "least_s"),
    [
        ((0, b""), 0.1),
        ((503, PROBLEM), 0.1),
        ((503, PROBLEM, {"Retry-After": "2"}), 2),
        ((429, PROBLEM, {"Retry-After": "3"}), 3),
        ((429, PROBLEM, {"Retry-After": "soon"}), 0.1),
        ((502, b"<html>"), 0.1),
        ((504, b""), 0.1),
    ],
    ids=["cut off", "503", "503 with a wait", "429", "429 with nonsense", "502", "504"],
)
def test_an_event_is_sent_again_with_the_same_bytes(hub, stub, waits, failure, least_s):
    stub.answers = [failure, failure, ACCEPTED]
    assert hub.submit(world.submitted()).event_id
    bodies = [body for *_, body in stub.requests]
    assert bodies[0] == bodies[1] == bodies[2]
    assert len(waits) == 2
    assert all(least_s <= wait_s <= least_s * 2.5 for wait_s in waits)


def test_trying_ends_and_no_wait_is_endless(hub, stub, waits):
    stub.answers = [(503, PROBLEM, {"Retry-After": "99999"})]
    with pytest.raises(HubProblemError) as caught:
        hub.submit(world.submitted())
    assert (caught.value.status, len(stub.requests)) == (503, ATTEMPTS_MAX)
    assert set(waits) == {WAIT_S_MAX}


def test_no_answer_at_all_is_unreachable(stub, hub):
    stub.answers = [(0, b"")]
    with pytest.raises(HubUnreachableError, match="no answer"):
        hub.submit(world.submitted())
    assert len(stub.requests) == ATTEMPTS_MAX


def test_a_no_is_not_asked_again_and_carries_its_facts(hub, stub):
    stub.answers = [(409, {**PROBLEM, "status": 409, "expected": "x"})]
    with pytest.raises(HubProblemError) as caught:
        hub.submit(world.submitted())
    error = caught.value
    assert (error.code, error.status, error.detail, error.facts) == (
        "contract_closed",
        409,
        "too late",
        {"expected": "x"},
    )
    assert len(stub.requests) == 1


@pytest.mark.parametrize("status", [302, 307, 400, 500])
def test_what_is_not_the_hubs_own_answer_is_told_apart(hub, stub, status):
    stub.answers = [(status, b"<html>", {"Location": "http://127.0.0.1:1/"})]
    with pytest.raises(HubProblemError) as caught:
        hub.submit(world.submitted())
    assert (caught.value.code, caught.value.status, len(stub.requests)) == ("unknown", status, 1)


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"a":1,"a":2}'])
def test_a_yes_that_can_not_be_read_is_no_answer(hub, stub, raw):
    stub.answers = [(202, raw)]
    with pytest.raises(HubUnreachableError):
        hub.submit(world.submitted())


def test_an_answer_beyond_the_limit_is_not_read(stub, waits):
    stub.answers = [(200, b"x" * (ANSWER_BYTES_MAX + 1))]
    caller = Caller(stub.url, lambda: "t", sleep=waits.append)
    with pytest.raises(HubUnreachableError):
        caller.send("POST", "/templates", {})


def test_a_hub_that_is_slow_to_the_end_is_left(stub, waits):
    caller = Caller(stub.url, lambda: "t", timeout_s=0.0001, sleep=waits.append)
    with pytest.raises(HubUnreachableError):
        caller.send("POST", "/templates", {})


def test_a_kept_event_can_be_posted_after_a_crash(hub, stub):
    event = build_event(hub.party, "submit", world.submitted(), now=NOW)
    hub.post(event)
    hub.post(event)
    assert stub.requests[0][3] == stub.requests[1][3] == event.raw


# Management calls.


def test_a_management_post_is_sent_once_unless_the_hub_can_know_it_again(stub, waits):
    caller = Caller(stub.url, lambda: "operator", sleep=waits.append)
    stub.answers = [(503, PROBLEM)]
    for key, times in ((None, 1), ("k1", ATTEMPTS_MAX)):
        stub.requests.clear()
        with pytest.raises(HubProblemError):
            caller.send("POST", "/organizations/mo", {"name": "x"}, idempotency_key=key)
        assert len(stub.requests) == times
    assert stub.requests[0][2]["Idempotency-Key"] == "k1"
    assert stub.requests[0][2]["Authorization"] == "Bearer operator"
    stub.answers = [(200, {"items": []})]
    assert caller.send("PUT", "/organizations/mo/x/status", {"status": "Active"}) == {"items": []}
    assert caller.get("/contracts", status="finalized", limit=2) == {"items": []}
    assert stub.requests[-1][1] == "/contracts?status=finalized&limit=2"


def test_a_path_before_the_hubs_own_is_kept(stub):
    stub.answers = [(200, {})]
    Caller(stub.url + "/moneta", lambda: "t").get("/health")
    assert stub.requests[0][1] == "/moneta/health"


def test_a_hub_with_an_unknown_certificate_is_not_spoken_to(stub):
    caller = Caller(stub.url.replace("http:", "https:"), lambda: "t", sleep=lambda _: None)
    with pytest.raises(HubUnreachableError) as caught:
        caller.get("/health")
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert stub.requests == []


# Reading and waiting.

VIEW = {"contract_id": "contract_12345", "status": "pending_publisher_signature", "revision": 1, "jws": {}, "acts": []}
PROCESSED = {"event_id": "e1", "status": "processed", "problem": None}
NOT_FOUND = (404, {"code": "not_found", "status": 404, "detail": "none"})


def accepted():
    return Accepted(event_id="e1", contract_id="contract_12345", received_at=NOW, was_replayed=False)


def test_an_event_and_a_contract_are_read(hub, stub):
    stub.answers = [(200, PROCESSED), (200, {**VIEW, "acts": ["a.b.c"], "receipt": "r"})]
    assert (hub.event("e/1").status, hub.event("e1").problem) == ("processed", None)
    assert stub.requests[0][1] == "/events/e%2F1"
    view = hub.contract("contract_12345")
    assert (view.act, view.receipt, view.revision, view.status) == ("a.b.c", "r", 1, VIEW["status"])


def test_waiting_ends_when_the_event_is_processed(hub, stub, waits):
    stub.answers = [(200, {**PROCESSED, "status": "accepted"}), (200, PROCESSED)]
    assert hub.wait_processed(accepted()).status == "processed"
    assert len(waits) == 1


def test_a_rejected_event_raises_its_problem(hub, stub):
    stub.answers = [(200, {**PROCESSED, "status": "rejected", "problem": {**PROBLEM, "status": 409}})]
    with pytest.raises(HubProblemError) as caught:
        hub.wait_processed(accepted())
    assert (caught.value.code, caught.value.status) == ("contract_closed", 409)


def test_a_contract_that_is_not_there_yet_is_waited_for(hub, stub, waits):
    stub.answers = [NOT_FOUND, (200, VIEW), (200, {**VIEW, "status": "finalized", "acts": None})]
    view = hub.wait_for("contract_12345", {"finalized"})
    assert (view.status, view.act) == ("finalized", None)
    assert waits == sorted(waits)


def test_another_end_ends_the_waiting(hub, stub):
    stub.answers = [(200, {**VIEW, "status": "declined"})]
    with pytest.raises(ContractEndedError) as caught:
        hub.wait_for("contract_12345", {"finalized"})
    assert caught.value.status == "declined"


def test_waiting_has_an_end(stub):
    stub.answers = [(200, VIEW)]
    with pytest.raises(WaitTimeoutError, match="pending_publisher_signature"):
        HubClient(party(stub.url)).wait_for("contract_12345", {"finalized"}, timeout_s=0.05)


def test_a_no_while_waiting_is_raised(hub, stub):
    stub.answers = [(401, {"code": "unauthorized", "status": 401})]
    with pytest.raises(HubProblemError, match="unauthorized"):
        hub.wait_for("contract_12345", {"finalized"})


def test_an_answer_without_its_members_is_none(hub, stub):
    stub.answers = [(200, {})]
    with pytest.raises(HubUnreachableError, match="no contract_id"):
        hub.contract("contract_12345")


# Deliveries.

DELIVERY = {"webhook_id": "msg_1", "status": "pending", "attempts": []}


# fmt: off
ASKED = {
    "read":        (lambda hub: hub.delivery("msg_1"),   "GET",   "/deliveries/msg_1"),
    "sent again":  (lambda hub: hub.redeliver("msg_1"),  "POST",  "/deliveries/msg_1/redeliver"),
    "tested":      (lambda hub: hub.test_endpoint(),     "POST",  f"/organizations/mo/{MO_ID}/webhook-test"),
}
# fmt: on


@pytest.mark.parametrize("name", ASKED)
def test_a_delivery_is_read_sent_again_and_tested(hub, stub, name):
    ask, method, path = ASKED[name]
    stub.answers = [(202, DELIVERY)]
    assert ask(hub) == DeliveryState(webhook_id="msg_1", status="pending", document=DELIVERY)
    [(sent, to, _, body)] = stub.requests
    assert (sent, to, body) == (method, path, b"")


def test_a_replay_goes_on_to_its_end_under_a_key_for_each_page(hub, stub):
    stub.answers = [(0, {}), (202, {"count": 1000, "next_cursor": "c1"}), (202, {"count": 7, "next_cursor": None})]
    assert hub.replay(owed_from=NOW - 60, owed_to=NOW) == 1007
    asked = {"from": NOW - 60, "to": NOW}
    assert [json.loads(body) for *_, body in stub.requests] == [asked, asked, {**asked, "cursor": "c1"}]
    lost, again, last = (headers["Idempotency-Key"] for _, _, headers, _ in stub.requests)
    assert lost == again != last


def test_a_replay_may_be_of_one_contract(hub, stub):
    stub.answers = [(202, {"count": 3, "next_cursor": None})]
    assert hub.replay_contract("c-1") == 3
    assert json.loads(stub.requests[0][3]) == {"contract_id": "c-1"}
