"""Deliveries over days, by the real pump on a clock that jumps: the whole schedule, and endpoints that come and go."""

import asyncio
from itertools import accumulate, pairwise

import pytest

from moneta.application.ports import DeliveryStatus
from moneta.domain.errors import InvalidSignatureError
from moneta.domain.limits import CIRCUIT_FAILURES_MAX, CIRCUIT_WAIT_S_MAX, ENDPOINT_FAILING_S_MAX, RETRY_SCHEDULE_S
from moneta.signing import webhooks
from tests.scenarios.days import DAY_S, FAILING, HANGING, HOUR_S, REFUSING, SLOW, WELL, AllOnes, Days, answer

PENDING, DELIVERED, DEAD = DeliveryStatus


def test_a_message_is_tried_by_the_whole_schedule_and_then_dead(house):
    days = Days(house, "PUB", randomness=AllOnes())

    async def story(days):
        days.behaviour["PUB"] = FAILING
        webhook_id = days.owe("PUB")
        await asyncio.sleep(sum(RETRY_SCHEDULE_S) - 10)
        assert days.record(webhook_id).status is PENDING
        await asyncio.sleep(2 * DAY_S)
        assert days.record(webhook_id).status is DEAD
        assert days.attempts_at_s(webhook_id) == list(accumulate(RETRY_SCHEDULE_S))

    days.run(story)
    assert len(days.calls["PUB"]) == len(RETRY_SCHEDULE_S)
    assert len({call.request.body for call in days.calls["PUB"]}) == 1


def test_waits_are_drawn_from_nothing_up_to_the_schedule_s(house):
    days = Days(house, "PUB")

    async def story(days):
        days.behaviour["PUB"] = REFUSING
        messages = [days.owe("PUB") for _ in range(8)]
        await asyncio.sleep(4 * DAY_S)
        assert {days.record(one).status for one in messages} == {DEAD}
        waits = [[b - a for a, b in pairwise(days.attempts_at_s(one))] for one in messages]
        for most, drawn in zip(RETRY_SCHEDULE_S[1:], zip(*waits, strict=True), strict=True):
            # A message may wait for the endpoint's circuit besides, behind the probes of the others.
            assert max(drawn) <= most + CIRCUIT_WAIT_S_MAX * len(messages)
            assert len(set(drawn)) > 1

    days.run(story)


async def supply(days, *, minutes):
    """Owe each publisher a message every minute; return them by publisher, with when they were owed."""
    owed = {code: {} for code in days.publishers}
    for _ in range(minutes):
        for code, messages in owed.items():
            messages[days.owe(code)] = days.now_s
        await asyncio.sleep(60)
    return owed


@pytest.mark.parametrize("fault", [REFUSING, HANGING, FAILING], ids=["refusing", "hanging", "failing"])
def test_an_endpoint_dies_and_comes_back_and_disturbs_nobody(house, fault):
    days = Days(house, "DYING", "WELL", "SLOW")

    async def story(days):
        days.behaviour["SLOW"] = SLOW
        await supply(days, minutes=10)
        days.behaviour["DYING"] = fault
        died_s = days.now_s
        days.owed = await supply(days, minutes=60)
        days.behaviour["DYING"] = WELL
        days.back_s = days.now_s
        days.tried_while_dead = [call for call in days.calls["DYING"] if call.at_s >= died_s]
        await asyncio.sleep(12 * HOUR_S)

    days.run(story)
    for code in ("WELL", "SLOW"):
        got = {call.webhook_id: call.at_s for call in days.calls[code]}
        assert {one: got[one] for one in days.owed[code]} == days.owed[code]  # each at the moment it was owed
    # One a minute was owed; but for the first few only probes were sent, one at a time.
    probes_most = HOUR_S / (CIRCUIT_WAIT_S_MAX / 2) + CIRCUIT_FAILURES_MAX
    assert len(days.tried_while_dead) <= CIRCUIT_FAILURES_MAX + probes_most
    records = [days.record(one) for one in days.owed["DYING"]]
    assert {record.status for record in records} == {DELIVERED}
    untried = [record for record in records if len(record.attempts) == 1]
    assert len(untried) + len({call.webhook_id for call in days.tried_while_dead}) == len(records)
    assert untried
    for record in untried:  # it waited without losing an attempt, and was sent as soon as a probe was answered
        assert (record.attempts[0].at - days.start_ms) / 1000 <= days.back_s + CIRCUIT_WAIT_S_MAX + fault[0] + 1


def test_a_hanging_endpoint_gets_one_message_at_a_time_once_it_is_known(house):
    days = Days(house, "PUB")

    async def story(days):
        days.behaviour["PUB"] = HANGING
        for _ in range(40):
            days.owe("PUB")
        await asyncio.sleep(20)
        assert days.most_at_once["PUB"] >= CIRCUIT_FAILURES_MAX
        days.most_at_once.clear()
        await asyncio.sleep(HOUR_S)
        assert days.most_at_once["PUB"] == 1

    days.run(story)


def test_retry_after_holds_up_everything_for_that_endpoint_and_nothing_else(house):
    days = Days(house, "BUSY", "WELL")

    async def story(days):
        days.behaviour["BUSY"] = (0.01, answer(503, "600"))
        days.owe("BUSY")
        await asyncio.sleep(10)
        days.behaviour["BUSY"] = WELL
        for code in ("BUSY", "BUSY", "WELL"):
            days.owe(code)
        await asyncio.sleep(HOUR_S)

    days.run(story)
    assert [round(call.at_s) for call in days.calls["WELL"]] == [10]
    first, *later = [call.at_s for call in days.calls["BUSY"]]
    assert len(later) == 3
    assert first < 1
    assert 600 <= min(later) < 602


@pytest.mark.parametrize("status", [301, 400, 404, 422], ids=str)
def test_a_refused_message_holds_up_no_other(house, status):
    days = Days(house, "PICKY")

    async def story(days):
        days.behaviour["PICKY"] = (0.01, answer(status))
        refused = [days.owe("PICKY") for _ in range(2 * CIRCUIT_FAILURES_MAX)]
        await asyncio.sleep(0.5)
        assert all(days.record(one).attempts for one in refused)
        days.behaviour["PICKY"] = WELL
        taken = days.owe("PICKY")
        await asyncio.sleep(0.5)
        assert days.record(taken).status is DELIVERED

    days.run(story)


# Nothing but failures.


async def supply_for(days, code, seconds):
    """Owe ``code`` a message every six hours; return them."""
    messages = []
    for _ in range(round(seconds / (6 * HOUR_S))):
        messages.append(days.owe(code))
        await asyncio.sleep(6 * HOUR_S)
    return messages


def test_after_five_days_of_nothing_but_failures_an_endpoint_is_disabled_until_its_secret_is_new(house):
    days = Days(house, "DEAD")

    async def story(days):
        days.behaviour["DEAD"] = REFUSING
        await supply_for(days, "DEAD", ENDPOINT_FAILING_S_MAX - DAY_S)
        assert days.standing("DEAD")["status"] == "failing"
        await supply_for(days, "DEAD", 2 * DAY_S)
        standing = days.standing("DEAD")
        assert (standing["status"], standing["reason"]) == ("disabled", "failing")
        failed_s = standing["disabled_at"] - standing["failing_since"]
        assert ENDPOINT_FAILING_S_MAX <= failed_s < ENDPOINT_FAILING_S_MAX + 6 * HOUR_S + CIRCUIT_WAIT_S_MAX
        calls = len(days.calls["DEAD"])
        waiting = await supply_for(days, "DEAD", 2 * DAY_S)
        assert len(days.calls["DEAD"]) == calls
        assert {days.record(one).status for one in waiting} == {PENDING}
        days.behaviour["DEAD"] = WELL
        days.rotate("DEAD", overlap_s=0)
        assert days.standing("DEAD") == {
            "status": "enabled",
            "failing_since": None,
            "disabled_at": None,
            "reason": None,
            "checked_at": None,
        }
        await asyncio.sleep(1)
        assert {days.record(one).status for one in waiting} == {DELIVERED}

    days.run(story)


def test_one_success_in_five_days_keeps_an_endpoint(house):
    days = Days(house, "LAME")

    async def story(days):
        for _ in range(2):
            days.behaviour["LAME"] = FAILING
            await supply_for(days, "LAME", ENDPOINT_FAILING_S_MAX - DAY_S)
            assert days.standing("LAME")["status"] == "failing"
            days.behaviour["LAME"] = WELL
            await supply_for(days, "LAME", DAY_S)
            assert days.standing("LAME")["status"] == "enabled"

    days.run(story)


def test_410_disables_at_once(house):
    days = Days(house, "GONE")

    async def story(days):
        days.behaviour["GONE"] = (0.01, answer(410))
        first = days.owe("GONE")
        await asyncio.sleep(1)
        assert days.standing("GONE")["reason"] == "gone"
        days.owe("GONE")
        await asyncio.sleep(DAY_S)
        assert [call.webhook_id for call in days.calls["GONE"]] == [first]

    days.run(story)


# A new secret in the middle of a schedule.


def test_both_secrets_sign_while_they_overlap_and_then_the_new_one_alone(house):
    days = Days(house, "PUB", randomness=AllOnes())
    rotated_s, overlap_s = 4 * HOUR_S, 24 * HOUR_S

    async def story(days):
        days.behaviour["PUB"] = FAILING
        days.owe("PUB")
        await asyncio.sleep(rotated_s)
        days.secrets = [days.publishers["PUB"].webhook_secret, days.rotate("PUB", overlap_s=overlap_s)]
        await asyncio.sleep(4 * DAY_S)

    days.run(story)
    signed = [(call.at_s, [is_signed_by(secret, call, days) for secret in days.secrets]) for call in days.calls["PUB"]]
    assert len(signed) == len(RETRY_SCHEDULE_S)
    expected = [
        [True, False] if at_s < rotated_s else [True, True] if at_s < rotated_s + overlap_s else [False, True]
        for at_s, _ in signed
    ]
    assert [by for _, by in signed] == expected
    assert [by for _, by in pairwise_changes(expected)] == [[True, True], [False, True]]


def pairwise_changes(items):
    return [(before, after) for before, after in pairwise(items) if before != after]


def is_signed_by(secret, call, days):
    """Tell whether a receiver that holds ``secret`` alone, and looks when the message comes, takes it."""
    now = (days.start_ms + round(call.at_s * 1000)) // 1000
    try:
        webhooks.verify(webhooks.parse_secret(secret), call.request.headers, call.request.body, now=now)
    except InvalidSignatureError:
        return False
    return True
