"""Deliveries over days, by the real pump on a clock that jumps: the whole schedule, and endpoints that come and go."""

import asyncio
from itertools import accumulate, pairwise

import pytest

from moneta.application.ports import DeliveryStatus
from moneta.domain.limits import CIRCUIT_FAILURES_MAX, CIRCUIT_WAIT_S_MAX, RETRY_SCHEDULE_S
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
