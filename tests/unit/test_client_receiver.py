"""An endpoint: what it answers, what it remembers, and what it never does again."""

import http.client
import json
import os
import socket
import stat
import threading
import time
from urllib.parse import urlsplit

import pytest

from moneta.client import (
    Answer,
    Decline,
    FileReplayStore,
    HubUnreachableError,
    Later,
    MemoryReplayStore,
    ReplayStoreError,
    Sign,
    WebhookServer,
)
from moneta.client.messages import MESSAGE_BYTES_MAX
from moneta.client.replay import CONTRACTS_KEPT_MAX
from tests import client_world as world
from tests.client_world import FakeHub

PROBLEM = {"code": "wrong_signer", "detail": "no", "status": 422}


def post(receiver, raw, webhook_id="w1", **headers):
    return receiver.handle(world.headers(raw, webhook_id=webhook_id, **headers), raw)


def final(sequence="0000000002", webhook_id="w2"):
    jws = world.finalized()
    return world.message(
        "contract.finalized",
        jws=jws,
        status="finalized",
        receipt=world.receipt(jws),
        sequence=sequence,
        id=webhook_id,
    )


class Calls:
    """A decision that counts how often it was asked."""

    def __init__(self, decision=None):
        self.decision = decision or Sign()
        self.asked = []

    def __call__(self, contract):
        self.asked.append(contract.contract_id)
        return self.decision


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryReplayStore()
        return
    kept = FileReplayStore(tmp_path / "replay")
    yield kept
    kept.close()


# Answers.


def test_a_signature_is_given_in_the_answer():
    answer = post(world.receiver(), world.request())
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.headers["Content-Length"] == str(len(answer.body))
    jws = json.loads(answer.body)["contract"]
    assert world.verifier().contract(jws).signed_roles == ("mo", "moneta", "publisher")


def test_a_decline_is_given_in_the_answer():
    answer = post(world.receiver(decide=Calls(Decline("no_such_order"))), world.request())
    assert json.loads(answer.body).keys() == {"act"}


def test_later_is_an_empty_acknowledgement():
    answer = post(world.receiver(decide=Calls(Later())), world.request())
    assert (answer.status, answer.body, dict(answer.headers)) == (200, b"", {"Content-Length": "0"})


def test_ends_rejections_and_tests_are_noticed_and_nobody_is_asked():
    noticed, calls = [], Calls()
    receiver = world.receiver(decide=calls, notice=noticed.append)
    rejected = world.message("contract.rejected", problem=PROBLEM, id="w3", sequence="0000000000")
    test = world.message("endpoint.test", subject=world.PUBLISHER_ID, contract_id=None, id="w4")
    for raw, webhook_id in ((final(), "w2"), (rejected, "w3"), (test, "w4")):
        assert post(receiver, raw, webhook_id).body == b""
    assert [message.type.rpartition(".")[2] for message in noticed] == ["finalized", "rejected", "test"]
    assert calls.asked == []
    assert post(world.receiver(), final(), "w2").status == 200


def test_a_refusal_says_why_and_asks_nobody():
    calls = Calls()
    receiver = world.receiver(decide=calls)
    forged = post(receiver, world.request(), **{"webhook-signature": "v1,AAAA"})
    wrong = post(receiver, world.request(world.countersigned(key=world.KEYS["other hub"])))
    assert [(one.status, json.loads(one.body)["code"]) for one in (forged, wrong)] == [
        (401, "invalid_signature"),
        (400, "unknown_key"),
    ]
    assert wrong.headers["Content-Type"] == "application/problem+json"
    assert calls.asked == []


def test_without_keys_the_message_is_asked_for_again():
    hub = FakeHub(documents={"/.well-known/jwks.json": HubUnreachableError("down")})
    hub.documents[f"/organizations/mo/{world.MO_ID}/jwks"] = HubUnreachableError("down")
    answer = post(world.receiver(hub=hub), world.request())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


# Memory.


def test_the_same_message_gets_the_same_bytes_and_is_decided_once(store):
    # ES256 signs differently each time; only what was kept is the same again.
    calls = Calls()
    publisher = world.party(world.Role.PUBLISHER, contract_key=world.KEYS["other mo"])
    receiver = world.receiver(publisher, decide=calls, store=store)
    first, again = post(receiver, world.request()), post(receiver, world.request())
    assert first == again
    assert first.body
    assert calls.asked == ["contract_12345"]


def test_what_does_not_verify_gets_no_remembered_answer(store):
    clock = world.Clock()
    receiver = world.receiver(store=store, clock=clock)
    raw = world.request()
    assert post(receiver, raw).status == 200
    assert post(receiver, raw, **{"webhook-signature": "v1,AAAA"}).status == 401
    clock.now += 301
    assert post(receiver, raw).status == 401


def test_an_older_message_does_not_roll_back(store):
    calls, noticed = Calls(), []
    receiver = world.receiver(decide=calls, notice=noticed.append, store=store)
    assert post(receiver, final(), "w2").status == 200
    late = post(receiver, world.request())
    assert (late.status, late.body, calls.asked) == (200, b"", [])
    old = post(receiver, final("0000000001", "w5"), "w5")
    assert (old.status, len(noticed)) == (200, 1)


def test_a_rejection_is_never_too_old(store):
    noticed = []
    receiver = world.receiver(notice=noticed.append, store=store)
    post(receiver, final(), "w2")
    post(receiver, world.message("contract.rejected", problem=PROBLEM, id="w3"), "w3")
    assert len(noticed) == 2


def test_what_failed_is_not_remembered(store):
    def decide(contract):
        raise LookupError(contract.contract_id)

    with pytest.raises(LookupError):
        post(world.receiver(decide=decide, store=store), world.request())
    assert post(world.receiver(store=store), world.request()).body


def test_messages_about_one_contract_go_one_at_a_time():
    at_once, most = [], []

    def decide(contract):
        at_once.append(contract)
        most.append(len(at_once))
        time.sleep(0.01)
        at_once.pop()
        return Sign()

    receiver = world.receiver(decide=decide)
    answers = []
    raws = [(world.request(id=f"w{index}"), f"w{index}") for index in (1, 1, 2, 2)]
    threads = [threading.Thread(target=lambda pair=pair: answers.append(post(receiver, *pair))) for pair in raws]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert (most, len(answers)) == ([1, 1], 4)
    assert len({answer.body for answer in answers}) <= 2


def test_memory_forgets_the_oldest_beyond_its_limits():
    by_count = MemoryReplayStore(answers_max=2)
    by_size = MemoryReplayStore(answer_bytes_max=10)
    for index in range(4):
        by_count.remember(f"w{index}", "c1", index, b"x")
        by_size.remember(f"w{index}", None, 0, b"12345")
    for kept in (by_count, by_size):
        assert [kept.seen(f"w{index}") is not None for index in range(4)] == [False, False, True, True]
    assert (by_count.latest("c1"), by_count.latest("c2")) == (3, 0)


# The file.


def test_a_file_remembers_over_a_restart(tmp_path):
    path = tmp_path / "replay"
    first = FileReplayStore(path)
    first.remember("w1", "c1", 7, "é".encode())
    first.remember("w2", None, 0, b"")
    first.close()
    again = FileReplayStore(path)
    assert (again.seen("w1"), again.seen("w2"), again.seen("w3")) == ("é".encode(), b"", None)
    assert (again.latest("c1"), again.latest("c2")) == (7, 0)
    again.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_line_that_a_crash_cut_short_was_never_answered(tmp_path, cut):
    path = tmp_path / "replay"
    store = FileReplayStore(path)
    store.remember("w1", "c1", 1, b"one")
    store.remember("w2", "c1", 2, b"two")
    store.close()
    os.truncate(path, path.stat().st_size - cut)
    again = FileReplayStore(path)
    assert (again.seen("w1"), again.seen("w2"), again.latest("c1")) == (b"one", None, 1)
    again.remember("w2", "c1", 2, b"again")
    again.close()
    third = FileReplayStore(path)
    assert third.seen("w2") == b"again"
    third.close()


def test_a_file_is_written_anew_when_it_holds_twice_what_it_keeps(tmp_path):
    path = tmp_path / "replay"
    store = FileReplayStore(path, answers_max=3)
    for index in range(20):
        store.remember(f"w{index}", "c1", index, b"x" * 100)
        assert store.seen(f"w{index}") == b"x" * 100
    assert (store.seen("w19"), store.seen("w0"), store.latest("c1")) == (b"x" * 100, None, 19)
    assert path.read_bytes().count(b"\n") < 6
    store.close()
    again = FileReplayStore(path, answers_max=3)
    assert (again.seen("w19"), again.latest("c1")) == (b"x" * 100, 19)
    again.close()
    assert [one.name for one in tmp_path.iterdir()] == ["replay"]


@pytest.mark.parametrize(
    "content", [b"text\n", b"{}\n", b'{"webhook_id":1,"contract_id":null,"sequence":0}\n', b"[]\n"], ids=range(4)
)
def test_a_file_that_is_none_of_ours_is_refused(tmp_path, content):
    path = tmp_path / "replay"
    path.write_bytes(content)
    with pytest.raises(ReplayStoreError, match="not a replay store"):
        FileReplayStore(path)
    assert path.read_bytes() == content


def test_a_line_without_an_answer_is_refused_when_it_is_asked_for(tmp_path):
    path = tmp_path / "replay"
    path.write_bytes(b'{"webhook_id":"w1","contract_id":null,"sequence":0}\n')
    store = FileReplayStore(path)
    with pytest.raises(ReplayStoreError):
        store.seen("w1")
    store.close()


def test_one_process_at_a_time(tmp_path):
    first = FileReplayStore(tmp_path / "replay")
    with pytest.raises(ReplayStoreError, match="another process"):
        FileReplayStore(tmp_path / "replay")
    first.close()
    with pytest.raises(ReplayStoreError, match="can't be opened"):
        FileReplayStore(tmp_path / "absent" / "replay")


def test_after_a_failed_write_the_file_is_closed_and_nothing_is_answered(tmp_path):
    store = FileReplayStore(tmp_path / "replay")
    store.remember("w1", "c1", 1, b"one")
    store.close()
    for _ in range(2):
        with pytest.raises(ReplayStoreError, match="nothing is answered"):
            store.remember("w2", "c1", 2, b"two")
    with pytest.raises(ReplayStoreError):
        store.seen("w1")
    with pytest.raises(ReplayStoreError):
        post(world.receiver(store=store), world.request(id="w2"), "w2")


# The server.


@pytest.fixture
def server():
    with WebhookServer(world.receiver()) as serving:
        yield serving


def connect(server):
    parts = urlsplit(server.url)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)


def exchange(connection, raw, path="/webhooks", **headers):
    connection.request("POST", path, raw, {**world.headers(raw), **headers})
    response = connection.getresponse()
    return Answer(status=response.status, headers=dict(response.getheaders()), body=response.read())


def test_a_server_answers_as_its_receiver_does_and_keeps_the_connection(server):
    connection = connect(server)
    first, second = (exchange(connection, world.request()) for _ in range(2))
    connection.close()
    assert (first.status, first.body) == (200, second.body)
    assert b"publisher" not in first.body
    assert "Python" not in first.headers["Server"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/other", {}, 404),
        ("/webhooks", {"Content-Length": "x"}, 411),
        ("/webhooks", {"Content-Length": "\u00b2"}, 411),
        ("/webhooks", {"Transfer-Encoding": "chunked"}, 411),
        ("/webhooks", {"Content-Length": str(MESSAGE_BYTES_MAX + 1)}, 413),
        ("/webhooks", {"Content-Length": "9" * 5000}, 413),
        ("/webhooks", {"webhook-signature": "v1,AAAA"}, 401),
    ],
)
def test_a_server_refuses_what_it_will_not_read(server, path, headers, status):
    connection = connect(server)
    assert exchange(connection, b"{}", path, **headers).status == status
    connection.close()


def test_a_body_that_ends_early_gets_no_answer(server):
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        connection.sendall(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""


def test_a_decision_that_fails_is_answered_500_so_that_the_hub_sends_again():
    def decide(contract):
        raise LookupError(contract.contract_id)

    with WebhookServer(world.receiver(decide=decide)) as failing:
        connection = connect(failing)
        assert exchange(connection, world.request()).status == 500
        connection.close()


def test_a_server_can_serve_on_the_callers_thread():
    serving = WebhookServer(world.receiver())
    closer = threading.Timer(0.05, serving.close)
    closer.start()
    serving.serve_forever()
    closer.join(5)


def test_a_server_that_stops_ends_the_connections_that_wait():
    with WebhookServer(world.receiver()) as serving:
        connection = connect(serving)
        assert exchange(connection, world.request()).status == 200
    with pytest.raises((http.client.HTTPException, OSError)):
        exchange(connection, world.request())
    connection.close()


def test_the_sequences_of_the_contracts_last_heard_of_are_kept():
    store = MemoryReplayStore()
    for index in range(CONTRACTS_KEPT_MAX + 1):
        store.remember("w1", f"c{index}", 5, b"")
    assert (store.latest("c0"), store.latest("c1")) == (0, 5)
