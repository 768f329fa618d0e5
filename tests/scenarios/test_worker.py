"""The worker's two processes under what should never happen: a bug, a store that is away, a hostile answer."""

import asyncio
import io
import os
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest

from moneta.adapters.system import SystemClock
from moneta.application.end_contracts import expire_contracts, next_expiry_ms
from moneta.application.endpoint_tests import send_endpoint_test
from moneta.application.ports import Answer, DeliveryQuery, DeliveryStatus, EventType, NoAnswer
from moneta.domain.errors import StoreUnavailableError
from moneta.entrypoints.logs import Forgiving
from moneta.entrypoints.pace import Pace
from moneta.entrypoints.pipes import waker
from moneta.entrypoints.worker.processor import Processor
from moneta.entrypoints.worker.pump import TICK_S, DeliveryPump
from tests.scenarios.play import Play

WAIT_S = 20


class Failing:
    """A port whose calls of one method fail the first ``times``; the rest are the port's own."""

    def __init__(self, port, method, error, times=1):
        self.port, self.method, self.error, self.left = port, method, error, times

    def __getattr__(self, name):
        if name != self.method:
            return getattr(self.port, name)

        def call(*arguments, **options):
            if self.left:
                self.left -= 1
                raise self.error
            return getattr(self.port, name)(*arguments, **options)

        return call


class Answering:
    """A sender that gives each request what ``answer`` says, and remembers whom it was sent to."""

    def __init__(self, answer):
        self.answer, self.urls = answer, []

    async def send(self, request):
        self.urls.append(request.url)
        return self.answer(request)

    async def close(self):
        pass


def answered(status, retry_after=None):
    return Answer(status=status, content_type="", retry_after=retry_after, body=b"", is_truncated=False, duration_ms=1)


def wait_until(is_so):
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def submit(play, event_id="e-1"):
    data = {"contract": play.house.sign_first(play.mo, play.body)}
    play.house.send(play.mo, play.house.event(play.mo, EventType.SUBMIT, play.contract_id, data, event_id))


@contextmanager
def processing(hub):
    """Run a processor in a thread until the end of the block."""
    processor = Processor(hub, on_progress=lambda: None, wait=lambda seconds: time.sleep(min(seconds, 0.01)))
    thread = threading.Thread(target=processor.run)
    thread.start()
    try:
        yield processor
    finally:
        processor.stop()
        thread.join()


@pytest.fixture
def play(house):
    return Play(house)


# fmt: off
FAULTS = {
    "a bug in taking":             ("queue",      "take",                 ZeroDivisionError("planted")),
    "a bug in the sweep":          ("directory",  "swept_to",             ZeroDivisionError("planted")),
    "a bug in the expiry":         ("contracts",  "due_to_expire",        ZeroDivisionError("planted")),
    "a store that can't be read":  ("contracts",  "read",                 StoreUnavailableError("planted")),
    "a store that can't commit":   ("contracts",  "commit",               StoreUnavailableError("planted")),
}
# fmt: on


@pytest.mark.parametrize("name", FAULTS)
def test_the_processor_goes_on_after(play, name):
    port, method, error = FAULTS[name]
    submit(play)
    hub = replace(play.house.hub, **{port: Failing(getattr(play.house.hub, port), method, error)})
    with processing(hub):
        wait_until(lambda: play.outcome("mo", "e-1") == "processed")


def run_pump(hub, sender, is_so):
    """Run a pump until ``is_so()`` holds."""

    async def run():
        pump = DeliveryPump(hub, sender, on_answer=lambda: None)
        task = asyncio.create_task(pump.run())
        await until(is_so)
        pump.stop()
        await task

    asyncio.run(run())


def statuses(play):
    every = DeliveryQuery(visible_to=None, limit=200)
    return Counter(one.status for one in play.house.hub.deliveries.list(every).items)


def is_delivered(play, count=1):
    return lambda: statuses(play)[DeliveryStatus.DELIVERED] == count


HOSTILE = "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"


def test_a_hostile_answer_costs_its_sender_alone(play):
    play.does("mo submits")
    play.sends("mo", EventType.SUBMIT, play.house.sign_first(play.mo, play.body), "e-9")  # rejected: owed to the MO
    sender = Answering(lambda request: answered(503, HOSTILE) if "puba" in request.url else answered(200))
    run_pump(play.house.hub, sender, is_delivered(play))
    assert statuses(play)[DeliveryStatus.PENDING] == 1


def boom(_):
    raise ZeroDivisionError("planted")


def test_a_sender_s_bug_is_a_failed_attempt(play):
    play.does("mo submits")
    (record,) = play.house.hub.deliveries.list(_all()).items
    find = play.house.hub.deliveries.find
    run_pump(play.house.hub, Answering(boom), lambda: bool(find(record.owed.webhook_id).attempts))
    assert find(record.owed.webhook_id).attempts[0].failure == "internal"


def _all():
    return DeliveryQuery(visible_to=None, limit=10)


# fmt: off
DELIVERY_FAULTS = {
    "a bug in taking":            ("deliveries", "take_due",  ZeroDivisionError("planted"),      1),
    "a bug in reading":           ("contracts",  "read_at",   ZeroDivisionError("planted"),      1),
    "a store that can't record":  ("deliveries", "record",    StoreUnavailableError("planted"),  2),
    "a bug in recording":         ("deliveries", "record",    ZeroDivisionError("planted"),      1),
}
# fmt: on


@pytest.mark.parametrize("name", DELIVERY_FAULTS)
def test_the_pump_goes_on_after(play, name):
    port, method, error, times = DELIVERY_FAULTS[name]
    for number in range(2):
        body = play.house.body(play.mo, play.publisher, play.mpass_id, contract_id=f"contract-{number}")
        play.house.submit(play.mo, body)
    hub = replace(play.house.hub, **{port: Failing(getattr(play.house.hub, port), method, error, times)})
    run_pump(hub, Answering(lambda _: answered(204)), is_delivered(play, 2))


def test_what_one_delivery_breaks_the_others_survive(play):
    """One whose record fails for ever is left to its lease; the other is delivered."""
    for number in range(2):
        body = play.house.body(play.mo, play.publisher, play.mpass_id, contract_id=f"contract-{number}")
        play.house.submit(play.mo, body)

    class Poisoned(Failing):
        def __getattr__(self, name):
            if name != "record":
                return getattr(self.port, name)

            def record(results):
                if any(one.webhook_id == poisoned for one in results):
                    raise ZeroDivisionError("planted")
                return self.port.record(results)

            return record

    poisoned = play.house.hub.deliveries.list(_all()).items[0].owed.webhook_id
    hub = replace(play.house.hub, deliveries=Poisoned(play.house.hub.deliveries, "record", None))
    run_pump(hub, Answering(lambda _: answered(200)), is_delivered(play))
    assert play.house.hub.deliveries.find(poisoned).status is DeliveryStatus.PENDING


def test_a_loop_that_is_stuck_shows_in_the_heartbeat(play):
    stuck_s, pumps, beats = 2.0, [], []

    def stick(_request):
        time.sleep(stuck_s)  # the fault: it holds up the loop
        beats.append(pumps[0].heartbeat())
        return answered(200)

    submit(play)
    play.house.process()
    hub = replace(play.house.hub, clock=SystemClock())

    async def run():
        pump = DeliveryPump(hub, Answering(stick), on_answer=lambda: None)
        pumps.append(pump)
        task = asyncio.create_task(pump.run())
        await until(lambda: beats)
        await asyncio.sleep(2 * TICK_S)
        beats.append(pump.heartbeat())
        pump.stop()
        await task

    asyncio.run(run())
    assert beats[0].turn_ms >= 1000 * (stuck_s - 2 * TICK_S)
    assert beats[1].turn_ms < beats[0].turn_ms


def test_a_pump_that_is_stopped_between_two_turns_does_not_sleep_first(play):
    async def run():
        pump = DeliveryPump(play.house.hub, Answering(lambda _: answered(200)), on_answer=lambda: None)
        pump._pace = Pace(0.2, asyncio.get_running_loop().time)
        pump._pace.keep()
        task = asyncio.create_task(pump.run())
        await asyncio.sleep(0.05)
        pump.stop()
        await asyncio.wait_for(task, timeout=WAIT_S)

    asyncio.run(run())


def test_one_endpoint_never_has_all_the_places(play):
    for number in range(130):
        body = play.house.body(play.mo, play.publisher, play.mpass_id, contract_id=f"contract-{number}")
        play.house.submit(play.mo, body, event_id=f"e-{number}")

    class Hanging(Answering):
        def __init__(self):
            super().__init__(None)
            self.most = self.now = 0

        async def send(self, request):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.3)
            self.now -= 1
            return NoAnswer(reason="timeout", detail="", duration_ms=300)

    sender = Hanging()
    done = time.monotonic() + 1.0
    run_pump(play.house.hub, sender, lambda: time.monotonic() > done)
    assert 0 < sender.most < 64


def test_a_dead_letter_holds_its_contract_s_expiry_and_no_other(house):
    play = Play(house, expires_at=house.hub.now_s() + 600)
    play.does("mo submits")
    other = house.body(
        play.mo, play.publisher, play.mpass_id, contract_id="contract-2", expires_at=house.hub.now_s() + 700
    )
    house.submit(play.mo, other)
    data = {"contract": house.sign_next(play.publisher, play.contract)}
    house.send(play.publisher, house.event(play.publisher, EventType.SIGN, play.contract_id, data, "e-7"))
    (event,) = house.hub.queue.take(limit=1, lease_s=60)
    house.hub.queue.bury(event, reason="planted")
    assert next_expiry_ms(house.hub) == (house.hub.now_s() + 702) * 1000
    house.clock.advance(1_000)
    assert expire_contracts(house.hub) == 1
    assert (play.status, expire_contracts(house.hub)) == ("pending_publisher_signature", 0)


class FullDisk(io.StringIO):
    def write(self, _):
        raise OSError(28, "No space left on device")

    def flush(self):
        raise OSError(28, "No space left on device")


def test_a_log_that_can_t_be_written_stops_nothing():
    stream = Forgiving(FullDisk())
    assert stream.write("told") == 4
    stream.flush()


def test_a_test_that_is_answered_has_the_deliverer_send_again(play):
    """Its endpoint asked for an hour of quiet, has been mended since, and says so by way of a test."""
    sender = Answering(lambda _: answered(503, retry_after="3600"))
    play.house.submit(play.mo, play.body)
    body = play.house.body(play.mo, play.publisher, play.mpass_id, contract_id="contract-2")

    async def run():
        pump = DeliveryPump(play.house.hub, sender, on_answer=lambda: None)
        task = asyncio.create_task(pump.run())
        await until(pump._places.busy)
        sender.answer = lambda _: answered(204)
        play.house.submit(play.mo, body, event_id="e-2")
        pump.wake()
        send_endpoint_test(
            play.house.hub, play.house.caller(play.publisher), play.publisher.kind, play.publisher.organization_id
        )
        pump.wake()
        await until(is_delivered(play, 2))  # the test, and the second contract's; the first waits for its next attempt
        pump.stop()
        await task

    asyncio.run(run())


async def until(is_so):
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_dead_neighbour_costs_whoever_wakes_it_nothing():
    reader, writer = os.pipe()
    wake = waker(writer)
    wake()
    assert os.read(reader, 8) == b"\x01"
    os.close(reader)
    wake()
    os.close(writer)
