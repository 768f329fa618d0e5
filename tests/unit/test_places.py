"""Who may be sent to: an endpoint's places, and what a circuit leaves of them."""

import pytest

from moneta.domain.circuits import Passage, Sign
from moneta.domain.limits import (
    CIRCUIT_FAILURES_MAX,
    CIRCUIT_WAIT_S_MIN,
    SENDS_MAX,
    SENDS_PER_ENDPOINT_CROWDED_MAX,
    SENDS_PER_ENDPOINT_MAX,
)
from moneta.entrypoints.worker.places import Places
from tests.hub import CountedRandomness

A, B = "org-a", "org-b"


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def places(clock):
    return Places(clock_s=clock, randomness=CountedRandomness())


def fail(places, organization, times=1):
    return [places.judge(organization, Sign.FAILED, passage=Passage.FREE, retry_after_s=0) for _ in range(times)]


def answer(places, organization, passage=Passage.FREE):
    return places.judge(organization, Sign.ANSWERED, passage=passage, retry_after_s=0)


def test_an_endpoint_has_its_places_and_no_more(places):
    for _ in range(SENDS_PER_ENDPOINT_MAX):
        assert A not in places.busy()
        places.begin(A)
    assert places.busy() == {A}
    places.end(A)
    assert places.busy() == frozenset()


def test_endpoints_that_hang_together_leave_places_for_the_others(places):
    """As many as fill one half of all places, and all but one of those that would fill the other."""
    half = SENDS_MAX // 2
    count = half // SENDS_PER_ENDPOINT_MAX + half // SENDS_PER_ENDPOINT_CROWDED_MAX - 1
    assert count == 39
    for number in range(count):
        while f"hanging-{number}" not in places.busy() and places.free > 0:
            places.begin(f"hanging-{number}")
    assert places.of_one == SENDS_PER_ENDPOINT_CROWDED_MAX
    assert places.free > 0
    assert B not in places.busy()


def test_all_places_are_a_limit(places):
    for number in range(SENDS_MAX):
        places.begin(f"org-{number}")
    assert places.free == 0


def test_an_open_circuit_takes_nothing_until_its_wait_is_over_and_then_one(places, clock):
    *before, opened = fail(places, A, CIRCUIT_FAILURES_MAX)
    assert before == [None] * (CIRCUIT_FAILURES_MAX - 1)
    assert opened.state == "open"
    assert (places.busy(), places.probed()) == ({A}, frozenset())
    assert 0 < places.next_probe_s() <= CIRCUIT_WAIT_S_MIN
    clock.now_s += CIRCUIT_WAIT_S_MIN
    assert (places.busy(), places.probed(), places.next_probe_s()) == (frozenset(), {A}, None)
    assert places.begin(A) is Passage.PROBE
    assert (places.busy(), places.probed(), places.next_probe_s()) == ({A}, frozenset(), None)


def test_a_probe_that_is_answered_closes_the_circuit(places, clock):
    fail(places, A, CIRCUIT_FAILURES_MAX)
    clock.now_s += CIRCUIT_WAIT_S_MIN
    places.begin(A)
    assert answer(places, A) is None  # of a message that was sent before
    assert places.busy() == {A}
    assert answer(places, A, Passage.PROBE).state == "closed"
    assert (places.busy(), places.begin(A)) == (frozenset(), Passage.FREE)


def test_what_was_taken_as_the_circuit_opened_is_no_probe(places):
    fail(places, A, CIRCUIT_FAILURES_MAX)
    assert places.begin(A) is Passage.FREE


def test_a_test_that_is_answered_closes_the_circuit_before_its_wait_is_over(places):
    fail(places, A, CIRCUIT_FAILURES_MAX)
    passage = places.begin(A, is_test=True)
    assert places.busy() == {A}
    assert answer(places, A, passage).state == "closed"
    assert (places.busy(), places.next_probe_s()) == (frozenset(), None)


def test_a_test_sent_before_the_circuit_opened_closes_nothing(places):
    passage = places.begin(A, is_test=True)
    fail(places, A, CIRCUIT_FAILURES_MAX)
    assert answer(places, A, passage) is None
    assert places.busy() == {A}


def test_an_endpoint_that_answers_is_forgotten(places):
    fail(places, A, CIRCUIT_FAILURES_MAX - 1)
    answer(places, A)
    answer(places, B)
    assert places._circuits == {}


def test_a_disabled_endpoint_s_circuit_is_forgotten(places):
    fail(places, A, CIRCUIT_FAILURES_MAX)
    places.forget(A)
    places.forget(B)
    assert places.busy() == frozenset()
