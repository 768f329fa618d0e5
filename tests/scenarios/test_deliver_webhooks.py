"""What is owed, prepared, answered and recorded; the network is a table of answers."""

import json

import pytest

from moneta.application.deliver_webhooks import prepare_attempts, record_attempts
from moneta.application.ports import Answer, DeliveryStatus, EventType, NoAnswer
from moneta.application.webhook_secrets import rotate_webhook_secret
from moneta.domain.identifiers import ContractId
from moneta.domain.limits import DELIVER_LEASE_S, RETRY_AFTER_S_MAX, RETRY_SCHEDULE_S
from moneta.signing import statements, webhooks
from tests.scenarios.play import Play


@pytest.fixture
def play(house):
    return Play(house)


def answer(status=200, body=b"", *, retry_after=None, content_type="application/json", is_truncated=False):
    return Answer(
        status=status,
        content_type=content_type,
        retry_after=retry_after,
        body=body,
        is_truncated=is_truncated,
        duration_ms=7,
    )


def take(play):
    hub = play.house.hub
    due = hub.deliveries.take_due(now=hub.clock.now_ms(), limit=100, lease_s=DELIVER_LEASE_S)
    return prepare_attempts(hub, due)


def deliver(play, *answers):
    """Send everything that is due, and let the network give ``answers`` (the last of them again and again)."""
    prepared = take(play)
    given = [*answers, *[answers[-1]] * len(prepared)][: len(prepared)]
    record_attempts(play.house.hub, list(zip(prepared, given, strict=True)))
    return [json.loads(one.request.body) for one in prepared]


def record_of(play, message):
    return play.house.hub.deliveries.find(message["id"])


def test_a_message_says_what_it_is_about(play):
    play.does("mo submits")
    (message,) = deliver(play, answer())
    assert (
        message.items()
        >= {
            "specversion": "1.0",
            "source": play.house.hub.base_url,
            "type": "moneta.contract.signature_requested",
            "subject": "contract-1",
            "sequence": "0000000001",
        }.items()
    )
    data = message["data"]
    assert data["status"] == "pending_publisher_signature"
    assert len(data["contract"]["signatures"]) == 2
    assert (data["receipt"], data["act"], data["problem"]) == (None, None, None)
    assert "." not in message["id"]


def test_a_message_is_signed_with_the_endpoint_s_secret(play):
    play.does("mo submits")
    (prepared,) = take(play)
    secret = webhooks.parse_secret(play.publisher.webhook_secret)
    request = prepared.request
    assert webhooks.verify(secret, request.headers, request.body, now=play.house.hub.now_s())
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert request.url == "https://puba.example/hooks"


def test_two_secrets_sign_while_one_replaces_the_other(play):
    caller = play.house.caller(play.publisher)
    new = rotate_webhook_secret(
        play.house.hub, caller, play.publisher.kind, play.publisher.organization_id, {"overlap_s": 600}
    ).body["webhook_secret"]
    play.does("mo submits")
    (prepared,) = take(play)
    for secret in (new, play.publisher.webhook_secret):
        raw = webhooks.parse_secret(secret)
        webhooks.verify(raw, prepared.request.headers, prepared.request.body, now=play.house.hub.now_s())


def test_the_same_message_is_sent_at_every_attempt(play):
    play.does("mo submits")
    (first,) = take(play)
    play.house.clock.advance(DELIVER_LEASE_S + 1)
    (second,) = take(play)
    assert first.request.body == second.request.body
    assert first.request.headers["webhook-timestamp"] != second.request.headers["webhook-timestamp"]


def test_an_end_carries_its_act_and_its_receipt(play):
    play.does("mo submits")
    deliver(play, answer())
    play.does("publisher declines")
    told = deliver(play, answer())
    assert len(told) == 2
    for message in told:
        claims = statements.verify_receipt(
            message["data"]["receipt"], lambda _: play.house.hub.signer.current().public, issuer=play.house.hub.base_url
        )
        assert claims["status"] == message["data"]["status"] == "declined"
        assert message["data"]["act"].count(".") == 2


def test_a_rejection_goes_to_its_sender_with_the_problem(play):
    play.sends("mo", EventType.SUBMIT, play.house.sign_first(play.mo, play.body, aud="x"), "e-1")
    (message,) = deliver(play, answer())
    assert message["type"] == "moneta.contract.rejected"
    assert message["sequence"] == "0000000000"
    assert message["data"]["problem"]["code"] == "invalid_signature"
    assert message["data"]["status"] is message["data"]["contract"] is None


# fmt: off
CLASSES = {
    "200":                       (answer(200),                   DeliveryStatus.DELIVERED),
    "204":                       (answer(204),                   DeliveryStatus.DELIVERED),
    "a redirect":                (answer(302),                   DeliveryStatus.PENDING),
    "400":                       (answer(400),                   DeliveryStatus.PENDING),
    "410":                       (answer(410),                   DeliveryStatus.PENDING),
    "500":                       (answer(500),                   DeliveryStatus.PENDING),
    "no answer":                 (NoAnswer(reason="timeout", detail="", duration_ms=15_000), DeliveryStatus.PENDING),
}
# fmt: on


@pytest.mark.parametrize("name", CLASSES)
def test_each_answer_has_its_class(play, name):
    came, status = CLASSES[name]
    play.does("mo submits")
    (message,) = deliver(play, came)
    record = record_of(play, message)
    assert record.status is status
    assert len(record.attempts) == 1


def test_a_failed_answer_is_kept_in_part(play):
    play.does("mo submits")
    (message,) = deliver(play, answer(500, b"x" * 5_000))
    (attempt,) = record_of(play, message).attempts
    assert (attempt.http_status, len(attempt.snippet)) == (500, 1_024)


def test_the_schedule_ends_in_a_dead_letter(play):
    play.does("mo submits")
    (message,) = deliver(play, answer(500))
    for _ in RETRY_SCHEDULE_S[2:]:
        record = record_of(play, message)
        assert record.status is DeliveryStatus.PENDING
        play.house.clock.moment = max(play.house.clock.moment, record.next_attempt_at)
        deliver(play, answer(500))
    play.house.clock.moment = max(play.house.clock.moment, record_of(play, message).next_attempt_at)
    deliver(play, answer(500))
    record = record_of(play, message)
    assert (record.status, len(record.attempts)) == (DeliveryStatus.DEAD, len(RETRY_SCHEDULE_S))
    assert take(play) == []


# fmt: off
RETRY_AFTER = {
    "seconds":               ("120",                             120),
    "more than an hour":     ("86400",                           RETRY_AFTER_S_MAX),
    "a date":                ("Wed, 18 Nov 2026 12:28:20 GMT",   None),
    "nonsense":              ("soon",                            0),
    "nonsense with a date":  ("Wed, 99 Foo 2026",                0),
    "a negative number":     ("-5",                              0),
    "an endless offset":     ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", 0),
    "an endless year":       ("Mon, 01 Jan 99999999999999 00:00:00 GMT", 0),
    "the year 1":            ("Mon, 01 Jan 0001 00:00:00 +1400", 0),
    "endless digits":        ("9" * 5_000,                       RETRY_AFTER_S_MAX),
}
# fmt: on


@pytest.mark.parametrize("name", RETRY_AFTER)
def test_retry_after_is_the_least_wait(play, name):
    text, wait_s = RETRY_AFTER[name]
    play.does("mo submits")
    sent_at = play.house.clock.moment
    (message,) = deliver(play, answer(503, retry_after=text))
    waited_s = (record_of(play, message).next_attempt_at - sent_at) / 1000
    if wait_s is None:
        assert 0 <= waited_s <= RETRY_AFTER_S_MAX
    else:
        assert wait_s <= waited_s <= max(wait_s, RETRY_SCHEDULE_S[1])


def test_a_gone_endpoint_is_disabled_until_its_secret_is_renewed(play):
    play.does("mo submits")
    deliver(play, answer(410))
    play.house.clock.advance(3_600)
    assert take(play) == []
    rotate_webhook_secret(
        play.house.hub,
        play.house.caller(play.publisher),
        play.publisher.kind,
        play.publisher.organization_id,
        {"overlap_s": 0},
    )
    assert len(take(play)) == 1


# Sign in the answer.


def signed_answer(play):
    return json.dumps({"contract": play.house.sign_next(play.publisher, play.contract)}).encode()


def test_a_signature_in_the_answer_completes_the_contract(play):
    play.does("mo submits")
    (message,) = deliver(play, answer(200, signed_answer(play)))
    play.house.process()
    assert play.status == "finalized"
    assert play.outcome("publisher", message["id"]) == "processed"


def test_a_decline_in_the_answer_ends_the_contract(play):
    play.does("mo submits")
    deliver(play, answer(200, json.dumps({"act": play.act("publisher", "decline")}).encode()))
    play.house.process()
    assert play.status == "declined"


def test_a_cancel_in_the_answer_is_an_event_too(play):
    play.does("mo submits")
    (message,) = deliver(play, answer(200, json.dumps({"act": play.act("publisher", "cancel")}).encode()))
    play.house.process()
    assert play.outcome("publisher", message["id"]) == "act_not_allowed"


# fmt: off
TAKEN_AND_REJECTED = {
    "a shape that is none":     (lambda _: b'{"contract": 7}',                           "malformed_jws"),
    "an act that is none":      (lambda _: b'{"act": 7}',                                "malformed_jws"),
    "other bytes":              (lambda p: signed_answer(p).replace(b'"payload": "ey', b'"payload": "fy'), None),
    "a member too many":        (lambda p: signed_answer(p)[:-1] + b', "x": 1}',          "malformed_request"),
    "an act beside it":         (lambda p: signed_answer(p)[:-1] + b', "act": "a"}',      "malformed_request"),
    "doubled names":            (lambda p: signed_answer(p)[:-1] + b', "contract": {}}',  "malformed_json"),
    "no signature of its own":  (lambda p: json.dumps({"contract": p.house.sign_first(p.mo, p.body)}).encode(),
                                                                                         "wrong_signer"),
}
ONLY_DELIVERED = {
    "nothing":                  b"",
    "blanks":                   b"  \n",
    "no JSON":                  b"OK",
    "an acknowledgement":       b'{"ok": true}',
    "a list":                   b"[]",
    "brackets":                 b"[" * 100_000,
}
# fmt: on


@pytest.mark.parametrize("name", TAKEN_AND_REJECTED)
def test_a_bad_answer_is_taken_and_rejected(play, name):
    make, code = TAKEN_AND_REJECTED[name]
    play.does("mo submits")
    (message,) = deliver(play, answer(200, make(play)))
    play.house.process()
    outcome = play.outcome("publisher", message["id"])
    assert outcome == code or (code is None and outcome != "processed")
    assert record_of(play, message).status is DeliveryStatus.DELIVERED
    assert play.status == "pending_publisher_signature"
    assert "publisher: rejected" in play.owed()


@pytest.mark.parametrize("name", ONLY_DELIVERED)
def test_any_other_answer_is_only_an_acknowledgement(play, name):
    play.does("mo submits")
    (message,) = deliver(play, answer(200, ONLY_DELIVERED[name]))
    assert play.house.hub.events.find(play.publisher.organization_id, message["id"]) is None
    assert record_of(play, message).status is DeliveryStatus.DELIVERED


@pytest.mark.parametrize("changed", [{"status": 201}, {"status": 500}, {"is_truncated": True}], ids=str)
def test_a_signature_counts_only_in_a_whole_200(play, changed):
    play.does("mo submits")
    (message,) = deliver(play, answer(**{"status": 200, "body": signed_answer(play), **changed}))
    assert play.house.hub.events.find(play.publisher.organization_id, message["id"]) is None


def test_another_contract_in_the_answer_is_rejected(play):
    play.does("mo submits")
    other = play.house.body(play.mo, play.publisher, play.mpass_id, contract_id="contract-2")
    play.house.submit(play.mo, other)
    signed = play.house.sign_next(play.publisher, play.house.contract(ContractId("contract-2")))
    (first, second) = deliver(play, answer(200, json.dumps({"contract": signed}).encode()), answer())
    wrong = first if first["subject"] == "contract-1" else second
    assert wrong["subject"] == "contract-1"
    play.house.process()
    assert play.outcome("publisher", wrong["id"]) == "subject_mismatch"


def test_only_the_first_answer_is_taken(play):
    play.does("mo submits")
    (prepared,) = take(play)
    bad = answer(200, b'{"contract": 7}')
    record_attempts(play.house.hub, [(prepared, bad)])
    record_attempts(play.house.hub, [(prepared, answer(200, signed_answer(play)))])
    play.house.process()
    assert play.status == "pending_publisher_signature"
    assert play.does("publisher signs") == "processed"


def test_messages_of_a_contract_arrive_in_order(play):
    play.does("mo submits")
    play.does("mo cancels")
    assert {one["type"].rpartition(".")[2] for one in deliver(play, answer(500))} == {
        "signature_requested",
        "cancelled",
    }
    # The MO has been told of the end; the publisher's first message failed, so its second waits.
    play.house.clock.advance(10)
    sent = sorted(one["type"].rpartition(".")[2] for one in deliver(play, answer()))
    assert sent == ["cancelled", "signature_requested"]
