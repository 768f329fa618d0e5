"""What is asked for again: one message, those of a contract, those of a time."""

import json

import pytest

from moneta.application import redelivery
from moneta.application.deliver_webhooks import prepare_attempts, record_attempts
from moneta.application.ports import (
    Answer,
    Attempt,
    AttemptResult,
    Change,
    DeliveryQuery,
    DeliveryStatus,
    OwedDelivery,
    WebhookType,
)
from moneta.application.queries import read_delivery
from moneta.domain.errors import (
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidFieldError,
    InvalidParameterError,
    MissingFieldError,
    NotFoundError,
    TransitionRefusedError,
    UnknownFieldError,
)
from moneta.domain.limits import ATTEMPTS_MAX, DELIVER_LEASE_S, REPLAY_MAX, RETRY_SCHEDULE_S
from tests.scenarios.play import Play

PENDING, DELIVERED, DEAD = DeliveryStatus


@pytest.fixture
def play(house):
    return Play(house)


def answer(status=200, body=b"", *, retry_after=None):
    return Answer(status=status, content_type="", retry_after=retry_after, body=body, is_truncated=False, duration_ms=7)


AN_HOUR_LATER = answer(503, retry_after="3600")


def deliver(play, came):
    """Send all that is due, and return the requests that were made."""
    hub = play.house.hub
    due = hub.deliveries.take_due(now=hub.clock.now_ms(), limit=100, lease_s=DELIVER_LEASE_S)
    prepared = prepare_attempts(hub, due)
    record_attempts(hub, [(one, came) for one in prepared])
    return [one.request for one in prepared]


def ids(requests):
    return [one.headers["webhook-id"] for one in requests]


def let_it_die(play, webhook_id):
    for wait_s in RETRY_SCHEDULE_S:  # three days in all: not yet long enough for its endpoint to be disabled
        play.house.clock.advance(wait_s)
        deliver(play, answer(500))
    assert play.house.hub.deliveries.find(webhook_id).status is DEAD


def redeliver(play, webhook_id, party=None):
    caller = play.house.operator if party is None else play.house.caller(party)
    return redelivery.redeliver(play.house.hub, caller, webhook_id).body


def replay(play, party=None, *, key=None, **members):
    given = {name.removesuffix("_"): value for name, value in members.items()}
    caller = play.house.operator if party is None else play.house.caller(party)
    return redelivery.replay_deliveries(play.house.hub, caller, given, idempotency_key=key)


def test_a_delivered_message_is_sent_again_byte_for_byte_under_its_id(play):
    play.does("mo submits")
    (first,) = deliver(play, answer())
    play.house.clock.advance(100_000)
    shown = redeliver(play, ids([first])[0], play.publisher)
    assert (shown["status"], len(shown["attempts"])) == ("pending", 1)
    (again,) = deliver(play, answer(204))
    assert (again.body, ids([again])) == (first.body, ids([first]))
    assert again.headers["webhook-timestamp"] != first.headers["webhook-timestamp"]
    shown = read_delivery(play.house.hub, play.house.caller(play.publisher), ids([first])[0]).body
    assert (shown["status"], [one["status"] for one in shown["attempts"]]) == ("delivered", [200, 204])


def test_a_message_sent_again_has_the_whole_schedule_before_it_is_dead(play):
    play.does("mo submits")
    (webhook_id,) = ids(deliver(play, answer()))
    redeliver(play, webhook_id)
    let_it_die(play, webhook_id)
    attempts = play.house.hub.deliveries.find(webhook_id).attempts
    assert len(attempts) == 1 + len(RETRY_SCHEDULE_S)
    redeliver(play, webhook_id)
    assert ids(deliver(play, answer())) == [webhook_id]
    assert play.house.hub.deliveries.find(webhook_id).status is DELIVERED


def test_a_pending_message_is_sent_at_once_when_it_is_asked_for(play):
    play.does("mo submits")
    (webhook_id,) = ids(deliver(play, AN_HOUR_LATER))
    assert deliver(play, answer()) == []
    redeliver(play, webhook_id, play.publisher)
    assert ids(deliver(play, answer())) == [webhook_id]


def test_a_signature_in_the_answer_to_a_message_sent_again_counts(play):
    play.does("mo submits")
    (webhook_id,) = ids(deliver(play, answer()))
    redeliver(play, webhook_id, play.publisher)
    signed = json.dumps({"contract": play.house.sign_next(play.publisher, play.contract)}).encode()
    deliver(play, answer(body=signed))
    play.house.process()
    assert play.status == "finalized"


def test_only_the_first_answer_to_a_message_counts_however_often_it_is_sent(play):
    play.does("mo submits")
    (webhook_id,) = ids(deliver(play, answer(body=b'{"contract": 7}')))
    play.house.process()
    code = play.outcome("publisher", webhook_id)
    assert code == "malformed_jws"
    redeliver(play, webhook_id, play.publisher)
    signed = json.dumps({"contract": play.house.sign_next(play.publisher, play.contract)}).encode()
    deliver(play, answer(body=signed))
    play.house.process()
    assert (play.status, play.outcome("publisher", webhook_id)) == ("pending_publisher_signature", code)


def test_a_message_tried_often_enough_is_not_sent_again(play):
    play.does("mo submits")
    (webhook_id,) = ids(deliver(play, answer()))
    for _ in range(ATTEMPTS_MAX - 1):
        redeliver(play, webhook_id)
        deliver(play, answer())
    with pytest.raises(TransitionRefusedError) as refusal:
        redeliver(play, webhook_id)
    assert refusal.value.facts["state"] == "delivered"


def test_anothers_message_and_none_look_the_same(play):
    play.does("mo submits")
    (webhook_id,) = ids(deliver(play, answer()))
    for asked in (webhook_id, "msg_none"):
        with pytest.raises(NotFoundError):
            redeliver(play, asked, play.mo)
    assert play.house.hub.deliveries.find(webhook_id).status is DELIVERED


# A range.


def submit_many(play, count):
    """Owe the publisher a message about each of ``count`` contracts, one a second."""
    for number in range(count):
        body = play.house.body(play.mo, play.publisher, play.mpass_id, contract_id=f"contract-{number:02}")
        play.house.submit(play.mo, body)
        play.house.clock.advance(1)
    deliver(play, answer())


def owed_rejection(play, number):
    return OwedDelivery(
        webhook_id=f"msg_{number}",
        organization_id=play.mo.organization_id,
        type=WebhookType.REJECTED,
        contract_id="contract-1",
        revision=0,
        owed_at=play.house.hub.clock.now_ms(),
        problem=b"{}",
    )


def owe_rejections(play, count):
    """Owe the MO messages that are all dead already."""
    owed = tuple(owed_rejection(play, number) for number in range(count))
    play.house.hub.contracts.commit([Change(contract_id="contract-1", read_revision=0, owed=owed)])
    failed = Attempt(at=owed[0].owed_at, duration_ms=1, http_status=500)
    play.house.hub.deliveries.record(
        [
            AttemptResult(webhook_id=one.webhook_id, organization_id=one.organization_id, attempt=failed, status=DEAD)
            for one in owed
        ]
    )


def contracts(requests):
    return [json.loads(one.body)["subject"] for one in requests]


def test_a_range_of_time_is_sent_again_both_ends_inclusive(play):
    start = play.house.hub.now_s()
    submit_many(play, 5)
    done = replay(play, play.publisher, from_=start + 1, to=start + 3).body
    assert done == {"count": 3, "next_cursor": None}
    assert contracts(deliver(play, answer())) == ["contract-01", "contract-02", "contract-03"]
    assert deliver(play, answer()) == []


def test_the_messages_of_a_contract_are_sent_again_in_their_order(play):
    play.does("mo submits")
    deliver(play, answer())
    play.does("publisher signs")
    deliver(play, answer())
    assert replay(play, play.publisher, contract_id="contract-1").body["count"] == 2
    (first,) = deliver(play, answer())
    (second,) = deliver(play, answer())
    types = [json.loads(one.body)["type"].rpartition(".")[2] for one in (first, second)]
    assert types == ["signature_requested", "finalized"]
    assert deliver(play, answer()) == []


def test_a_party_replays_its_own_alone(play):
    start = play.house.hub.now_s()
    play.does("mo submits")
    play.does("publisher signs")
    deliver(play, answer())
    deliver(play, answer())
    everything = {"from_": start, "to": start + 10}
    assert replay(play, play.mo, contract_id="contract-1").body["count"] == 1
    assert replay(play, play.mo, **everything).body["count"] == 1
    for request in deliver(play, answer()):
        assert request.url == "https://moa.example/hooks"
    assert replay(play, play.publisher, **everything, organization_id=play.publisher.organization_id).body["count"] == 2
    with pytest.raises(NotFoundError):
        replay(play, play.publisher, **everything, organization_id=play.mo.organization_id)


def test_the_operator_replays_anybodys_or_everybodys(play):
    play.does("mo submits")
    play.does("publisher signs")
    deliver(play, answer())
    deliver(play, answer())
    assert replay(play, contract_id="contract-1", organization_id=play.mo.organization_id).body["count"] == 1
    assert replay(play, contract_id="contract-1").body["count"] == 3


def test_the_auditor_sends_nothing(play):
    auditor = play.house.add_identity("auditor", "auditor")
    with pytest.raises(ForbiddenError):
        replay(play, auditor, contract_id="contract-1")


def test_a_replay_brings_forward_what_waits(play):
    start = play.house.hub.now_s()
    submit_many(play, 1)
    play.house.clock.advance(10)
    later = play.house.body(play.mo, play.publisher, play.mpass_id, contract_id="later")
    play.house.submit(play.mo, later)
    deliver(play, AN_HOUR_LATER)
    assert deliver(play, answer()) == []
    assert replay(play, play.publisher, from_=start, to=start + 10_000).body["count"] == 2
    assert contracts(deliver(play, answer())) == ["contract-00", "later"]


def test_a_long_range_ends_with_a_cursor_that_goes_on(play):
    start = play.house.hub.now_s()
    owe_rejections(play, REPLAY_MAX + 1)
    pending = [owed_rejection(play, number).webhook_id for number in range(REPLAY_MAX + 1)]
    first = replay(play, play.mo, from_=start, to=start).body
    assert first["count"] == REPLAY_MAX
    second = replay(play, play.mo, from_=start, to=start, cursor=first["next_cursor"]).body
    assert second == {"count": 1, "next_cursor": None}
    found = {play.house.hub.deliveries.find(webhook_id).status for webhook_id in pending}
    assert found == {PENDING}
    with pytest.raises(InvalidParameterError):
        replay(play, play.mo, from_=start, to=start + 1, cursor=first["next_cursor"])


def test_the_same_idempotency_key_replays_once(play):
    submit_many(play, 2)
    asked = {"contract_id": "contract-00", "key": "replay-1"}
    first = replay(play, play.publisher, **asked)
    deliver(play, answer())
    again = replay(play, play.publisher, **asked)
    assert (first.is_replay, again.is_replay, again.body, again.revision) == (False, True, first.body, None)
    assert deliver(play, answer()) == []
    with pytest.raises(IdempotencyKeyReusedError):
        replay(play, play.publisher, key="replay-1", contract_id="contract-01")


# fmt: off
REFUSED = {
    "nothing":                  ({},                                         MissingFieldError,  "contract_id"),
    "half a range":             ({"from": 1},                                MissingFieldError,  "to"),
    "the other half":           ({"to": 1},                                  MissingFieldError,  "from"),
    "both":                     ({"from": 1, "to": 2, "contract_id": "c"},   InvalidFieldError,  "contract_id"),
    "a range that runs back":   ({"from": 2, "to": 1},                       InvalidFieldError,  "to"),
    "a fraction":               ({"from": 1, "to": "2"},                     InvalidFieldError,  "to"),
    "after the last year":      ({"from": 1, "to": 253_402_300_800},         InvalidFieldError,  "to"),
    "what is no id":            ({"contract_id": "a b"},                     InvalidFieldError,  "contract_id"),
    "a number for an id":       ({"contract_id": 7},                         InvalidFieldError,  "contract_id"),
    "no organization's id":     ({"contract_id": "c", "organization_id": ""}, InvalidFieldError, "organization_id"),
    "an unknown member":        ({"contract_id": "c", "limit": 7},           UnknownFieldError,  "limit"),
    "a long cursor":            ({"contract_id": "c", "cursor": "x" * 513},  InvalidFieldError,  "cursor"),
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_a_replay_refuses(play, name):
    members, error, field = REFUSED[name]
    with pytest.raises(error) as refusal:
        redelivery.replay_deliveries(play.house.hub, play.house.operator, members)
    assert refusal.value.facts["field"] == field


def test_the_limits_go_into_one_another():
    assert REPLAY_MAX % redelivery.REPLAY_WRITE_MAX == 0


def test_nothing_else_changes(play):
    """A replay leaves contract and events as they are: the record of what was agreed."""
    play.does("mo submits")
    play.does("publisher signs")
    deliver(play, answer())
    before = play.contract
    replay(play, contract_id="contract-1")
    assert play.contract == before
    page = play.house.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=10))
    assert len(page.items) == 3
