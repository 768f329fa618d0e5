"""Events are gathered while one batch is written; each gets its own answer, whatever becomes of the others."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from moneta.application.ingest_events import Accepted, EventRequest
from moneta.domain.errors import HubBusyError, InternalError, StoreUnavailableError, UnauthorizedError, UnavailableError
from moneta.entrypoints.http.event_batches import EventBatches
from tests.hub import CountedRandomness

WAIT_S = 5
MO, PUBLISHER = "mo", "publisher"


def request(name):
    return EventRequest(token=None, raw=name.encode())


def accepted(one, *, is_replay=False):
    return Accepted(event_id=one.raw.decode(), contract_id="c", received_at=1_000, is_replay=is_replay)


class Ingest:
    """Accepts what comes and remembers the batches; held back until it is let go; ``faults`` by name raise."""

    def __init__(self, faults=None, *, is_held=False):
        self.batches, self.faults = [], faults or {}
        self.has_begun, self.may_go = threading.Event(), threading.Event()
        if not is_held:
            self.may_go.set()

    def __call__(self, requests):
        names = [one.raw.decode() for one in requests]
        self.batches.append(names)
        self.has_begun.set()
        assert self.may_go.wait(WAIT_S)
        for name in names:
            if name in self.faults:
                raise self.faults[name]
        return [
            UnauthorizedError("no") if name == "refused" else accepted(one)
            for name, one in zip(names, requests, strict=True)
        ]


@contextmanager
def batching(ingest, **limits):
    batches = EventBatches(ingest, wake=limits.pop("wake", lambda: None), randomness=CountedRandomness(), **limits)
    try:
        yield batches
    finally:
        ingest.may_go.set()
        batches.close()


async def started(ingest, coroutine):
    """Start ``coroutine`` and wait until its batch is being written."""
    task = asyncio.ensure_future(coroutine)
    await asyncio.to_thread(ingest.has_begun.wait, WAIT_S)
    return task


def test_what_comes_while_a_batch_is_written_is_the_next_batch():
    ingest = Ingest(is_held=True)

    async def run():
        with batching(ingest) as batches:
            first = await started(ingest, batches.accept(request("a"), MO))
            rest = [asyncio.ensure_future(batches.accept(request(name), MO)) for name in "bcd"]
            await asyncio.sleep(0)
            assert batches.waiting == 3
            ingest.may_go.set()
            return await asyncio.gather(first, *rest)

    answers = asyncio.run(run())
    assert ingest.batches == [["a"], ["b", "c", "d"]]
    assert [answer.event_id for answer in answers] == list("abcd")


def test_those_of_one_turn_of_the_loop_share_a_batch():
    ingest = Ingest()

    async def run():
        with batching(ingest) as batches:
            await asyncio.gather(*(batches.accept(request(name), MO) for name in "abc"))

    asyncio.run(run())
    assert ingest.batches == [["a", "b", "c"]]


def test_a_batch_has_a_size():
    ingest = Ingest()

    async def run():
        with batching(ingest, batch_max=2) as batches:
            await asyncio.gather(*(batches.accept(request(name), MO) for name in "abcde"))

    asyncio.run(run())
    assert ingest.batches == [["a", "b"], ["c", "d"], ["e"]]


def test_more_than_can_wait_is_told_to_come_back():
    ingest = Ingest(is_held=True)

    async def run():
        with batching(ingest, waiting_max=1) as batches:
            first = await started(ingest, batches.accept(request("a"), MO))
            second = asyncio.ensure_future(batches.accept(request("b"), MO))
            await asyncio.sleep(0)
            refused = await batches.accept(request("c"), MO)
            ingest.may_go.set()
            await asyncio.gather(first, second)
            return refused

    refused = asyncio.run(run())
    assert isinstance(refused, HubBusyError)
    assert refused.facts == {"retry_after_s": 1}


def sent_while_one_is_written(callers, **limits):
    """Send an event of each of ``callers`` while another is written; give the batches, and the answers by name."""
    ingest = Ingest(is_held=True)

    async def run():
        with batching(ingest, **limits) as batches:
            first = await started(ingest, batches.accept(request("first"), MO))
            sent = {}
            for number, caller_id in enumerate(callers):
                name = f"{caller_id} {number}"
                sent[name] = asyncio.ensure_future(batches.accept(request(name), caller_id))
                await asyncio.sleep(0)
            ingest.may_go.set()
            await first
            return {name: await answer for name, answer in sent.items()}

    answers = asyncio.run(run())
    return ingest.batches[1:], answers


def test_callers_take_turns():
    batches, _ = sent_while_one_is_written([MO, MO, MO, MO, PUBLISHER, "third", PUBLISHER], batch_max=4)
    assert batches == [["mo 0", "publisher 4", "third 5", "mo 1"], ["publisher 6", "mo 2", "mo 3"]]


@pytest.mark.parametrize(
    ("callers", "refused"),
    [
        ([MO, MO, MO, MO], ["mo 3"]),
        ([MO, MO, MO, PUBLISHER], ["mo 2"]),
        ([MO, MO, PUBLISHER, PUBLISHER], ["publisher 3"]),
        ([MO, MO, MO, PUBLISHER, "third"], ["mo 1", "mo 2"]),
        ([MO, PUBLISHER, "third", "fourth"], ["fourth 3"]),
    ],
)
def test_the_longest_line_gives_way(callers, refused):
    _, answers = sent_while_one_is_written(callers, waiting_max=3)
    assert sorted(name for name, answer in answers.items() if isinstance(answer, HubBusyError)) == sorted(refused)


@pytest.mark.parametrize(
    ("names", "is_replay", "wakes"),
    [(["a"], False, 1), (["refused"], False, 0), (["a"], True, 0), (["refused", "a"], False, 1)],
)
def test_the_worker_is_woken_only_for_what_is_new(names, is_replay, wakes):
    woken = []

    def ingest(requests):
        return [
            UnauthorizedError("no") if one.raw == b"refused" else accepted(one, is_replay=is_replay) for one in requests
        ]

    async def run():
        batches = EventBatches(ingest, wake=lambda: woken.append(1), randomness=CountedRandomness())
        await asyncio.gather(*(batches.accept(request(name), MO) for name in names))
        batches.close()

    asyncio.run(run())
    assert len(woken) == wakes


def test_a_store_that_can_not_write_is_everybodys_503_and_the_next_batch_is_tried():
    ingest = Ingest({"a": StoreUnavailableError("disk full")})

    async def run():
        with batching(ingest) as batches:
            failed = await asyncio.gather(*(batches.accept(request(name), MO) for name in "ab"))
            return failed, await batches.accept(request("c"), MO)

    failed, later = asyncio.run(run())
    assert [type(answer) for answer in failed] == [UnavailableError, UnavailableError]
    assert isinstance(later, Accepted)


def test_a_bug_met_by_one_event_is_not_the_others():
    ingest = Ingest({"b": RuntimeError("secret payload")})

    async def run():
        with batching(ingest) as batches:
            return await asyncio.gather(*(batches.accept(request(name), MO) for name in "abc"))

    answers = asyncio.run(run())
    assert [type(answer) for answer in answers] == [Accepted, InternalError, Accepted]
    assert "secret" not in str(answers[1].facts) + answers[1].detail
    assert answers[1].facts["request_id"]


def test_a_client_that_went_away_leaves_the_others_their_answer():
    ingest = Ingest(is_held=True)

    async def run():
        with batching(ingest) as batches:
            first = await started(ingest, batches.accept(request("a"), MO))
            second = asyncio.ensure_future(batches.accept(request("b"), MO))
            third = asyncio.ensure_future(batches.accept(request("c"), MO))
            await asyncio.sleep(0)
            second.cancel()
            ingest.may_go.set()
            return await asyncio.gather(first, third)

    assert [answer.event_id for answer in asyncio.run(run())] == ["a", "c"]
