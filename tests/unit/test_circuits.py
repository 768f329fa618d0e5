"""The circuit of an endpoint: every state and sign, the waits, and what is not to be counted."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.circuits import (
    WHOLE,
    Circuit,
    CircuitState,
    Evidence,
    Passage,
    Sign,
    awaits_probe,
    takes_nothing,
    wait_s,
    when_ended,
    when_sent,
)
from moneta.domain.limits import CIRCUIT_FAILURES_MAX, CIRCUIT_WAIT_S_MAX, CIRCUIT_WAIT_S_MIN

CLOSED, OPEN, PROBING = CircuitState
ANSWERED, FAILED, DEFERRED = Sign
FREE, PROBE, TEST = Passage
NOW_S = 1_000.0
LIMPING = Circuit(failures=CIRCUIT_FAILURES_MAX - 1)
BROKEN = Circuit(state=OPEN, failures=CIRCUIT_FAILURES_MAX, openings=1, open_until_s=NOW_S + 4)
PROBED = replace(BROKEN, state=PROBING, open_until_s=NOW_S)


def evidence(sign, passage=FREE, *, now_s=NOW_S, jitter=0.5, retry_after_s=0):
    if sign is DEFERRED and not retry_after_s:
        retry_after_s = 60
    return Evidence(sign=sign, passage=passage, now_s=now_s, jitter=jitter, retry_after_s=retry_after_s)


# fmt: off
ROWS = [
    # circuit    sign      passage   what it is then
    (WHOLE,      ANSWERED, FREE,     WHOLE),
    (WHOLE,      FAILED,   FREE,     Circuit(failures=1)),
    (WHOLE,      DEFERRED, FREE,     Circuit(state=OPEN, open_until_s=NOW_S + 60)),
    (LIMPING,    ANSWERED, FREE,     WHOLE),
    (LIMPING,    FAILED,   FREE,     Circuit(state=OPEN, failures=5, openings=1, open_until_s=NOW_S + 3.75)),
    (BROKEN,     ANSWERED, FREE,     BROKEN),
    (BROKEN,     FAILED,   FREE,     BROKEN),
    (BROKEN,     DEFERRED, FREE,     replace(BROKEN, open_until_s=NOW_S + 60)),
    (PROBED,     ANSWERED, FREE,     PROBED),
    (PROBED,     FAILED,   FREE,     PROBED),
    (PROBED,     DEFERRED, FREE,     PROBED),
    (PROBED,     ANSWERED, PROBE,    WHOLE),
    (PROBED,     FAILED,   PROBE,    replace(PROBED, state=OPEN, openings=2, open_until_s=NOW_S + 7.5)),
    (PROBED,     DEFERRED, PROBE,    replace(PROBED, state=OPEN, openings=2, open_until_s=NOW_S + 60)),
    (BROKEN,     ANSWERED, TEST,     WHOLE),
    (BROKEN,     FAILED,   TEST,     BROKEN),
    (BROKEN,     DEFERRED, TEST,     replace(BROKEN, open_until_s=NOW_S + 60)),
    (PROBED,     ANSWERED, TEST,     WHOLE),
    (PROBED,     FAILED,   TEST,     PROBED),
    (PROBED,     DEFERRED, TEST,     PROBED),
]
# fmt: on


@pytest.mark.parametrize(("circuit", "sign", "passage", "then"), ROWS, ids=str)
def test_each_sign_leads_to_one_circuit(circuit, sign, passage, then):
    assert when_ended(circuit, evidence(sign, passage)) == then


def test_every_state_has_a_row_for_every_sign():
    assert {(circuit.state, sign) for circuit, sign, _, _ in ROWS} == set(product(CircuitState, Sign))


def test_a_shorter_retry_after_does_not_shorten_what_is_open():
    assert when_ended(BROKEN, evidence(DEFERRED, retry_after_s=1)) == BROKEN


def test_only_failures_in_a_row_open():
    circuit = WHOLE
    for sign in [FAILED] * (CIRCUIT_FAILURES_MAX - 1) + [ANSWERED] + [FAILED] * (CIRCUIT_FAILURES_MAX - 1):
        circuit = when_ended(circuit, evidence(sign))
    assert circuit.state is CLOSED
    assert when_ended(circuit, evidence(FAILED)).state is OPEN


@pytest.mark.parametrize(
    ("circuit", "now_s", "nothing", "probe"),
    [
        (WHOLE, NOW_S, False, False),
        (LIMPING, NOW_S, False, False),
        (BROKEN, NOW_S + 3.9, True, False),
        (BROKEN, NOW_S + 4, False, True),
        (PROBED, NOW_S + 900, True, False),
    ],
    ids=["whole", "limping", "open", "open, its wait over", "probing"],
)
def test_what_may_be_sent(circuit, now_s, nothing, probe):
    assert (takes_nothing(circuit, now_s), awaits_probe(circuit, now_s)) == (nothing, probe)


# fmt: off
PASSAGES = [
    # circuit  is_test now_s      the circuit then, and how the message passed
    (WHOLE,   False, NOW_S,     (WHOLE,   FREE)),
    (LIMPING, False, NOW_S,     (LIMPING, FREE)),
    (BROKEN,  False, NOW_S,     (BROKEN,  FREE)),
    (BROKEN,  False, NOW_S + 4, (replace(BROKEN, state=PROBING), PROBE)),
    (PROBED,  False, NOW_S,     (PROBED,  FREE)),
    (WHOLE,   True,  NOW_S,     (WHOLE,   FREE)),
    (LIMPING, True,  NOW_S,     (LIMPING, FREE)),
    (BROKEN,  True,  NOW_S,     (BROKEN,  TEST)),
    (BROKEN,  True,  NOW_S + 4, (replace(BROKEN, state=PROBING), PROBE)),
    (PROBED,  True,  NOW_S,     (PROBED,  TEST)),
]
# fmt: on


@pytest.mark.parametrize(("circuit", "is_test", "now_s", "then"), PASSAGES, ids=str)
def test_a_message_passes_the_circuit_as_one_thing(circuit, is_test, now_s, then):
    assert when_sent(circuit, is_test=is_test, now_s=now_s) == then


def test_waits_double_up_to_a_bound():
    assert [wait_s(openings, 1.0) for openings in range(7)] == [5, 10, 20, 40, 80, 120, 120]
    assert wait_s(10_000, 0.0) == CIRCUIT_WAIT_S_MAX / 2


@given(st.integers(0, 1_000_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_lies_in_the_upper_half_of_its_step(openings, jitter):
    assert CIRCUIT_WAIT_S_MIN / 2 <= wait_s(openings, jitter) <= CIRCUIT_WAIT_S_MAX


@given(st.lists(st.tuples(st.sampled_from(Sign), st.floats(0, 30)), max_size=60))
def test_whatever_happens_an_endpoint_that_answers_is_sent_to_again(story):
    """Follow any story, in which a message is sent whenever one may be; then the endpoint answers for good."""
    circuit, now_s = WHOLE, NOW_S
    for sign, pause_s in [*story, *[(ANSWERED, 3_600.0)] * 2]:
        now_s += pause_s
        circuit, passage = when_sent(circuit, is_test=False, now_s=now_s)
        circuit = when_ended(circuit, evidence(sign, passage, now_s=now_s))
    assert circuit == WHOLE
