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
NOW_S = 1_000.0
LIMPING = Circuit(failures=CIRCUIT_FAILURES_MAX - 1)
BROKEN = Circuit(state=OPEN, failures=CIRCUIT_FAILURES_MAX, openings=1, open_until_s=NOW_S + 4)
PROBED = replace(BROKEN, state=PROBING, open_until_s=NOW_S)


def evidence(sign, *, is_probe=False, now_s=NOW_S, jitter=0.5, retry_after_s=0):
    if sign is DEFERRED and not retry_after_s:
        retry_after_s = 60
    return Evidence(sign=sign, is_probe=is_probe, now_s=now_s, jitter=jitter, retry_after_s=retry_after_s)


# fmt: off
ROWS = [
    # circuit    sign      is_probe  what it is then
    (WHOLE,      ANSWERED, False,    WHOLE),
    (WHOLE,      FAILED,   False,    Circuit(failures=1)),
    (WHOLE,      DEFERRED, False,    Circuit(state=OPEN, open_until_s=NOW_S + 60)),
    (LIMPING,    ANSWERED, False,    WHOLE),
    (LIMPING,    FAILED,   False,    Circuit(state=OPEN, failures=5, openings=1, open_until_s=NOW_S + 3.75)),
    (BROKEN,     ANSWERED, False,    BROKEN),
    (BROKEN,     FAILED,   False,    BROKEN),
    (BROKEN,     DEFERRED, False,    replace(BROKEN, open_until_s=NOW_S + 60)),
    (PROBED,     ANSWERED, False,    PROBED),
    (PROBED,     FAILED,   False,    PROBED),
    (PROBED,     DEFERRED, False,    PROBED),
    (PROBED,     ANSWERED, True,     WHOLE),
    (PROBED,     FAILED,   True,     replace(PROBED, state=OPEN, openings=2, open_until_s=NOW_S + 7.5)),
    (PROBED,     DEFERRED, True,     replace(PROBED, state=OPEN, openings=2, open_until_s=NOW_S + 60)),
]
# fmt: on


@pytest.mark.parametrize(("circuit", "sign", "is_probe", "then"), ROWS, ids=str)
def test_each_sign_leads_to_one_circuit(circuit, sign, is_probe, then):
    assert when_ended(circuit, evidence(sign, is_probe=is_probe)) == then


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


def test_the_message_sent_after_the_wait_is_the_probe():
    assert when_sent(BROKEN).state is PROBING
    assert when_sent(LIMPING) is LIMPING


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
        is_probe = awaits_probe(circuit, now_s)
        if is_probe:
            circuit = when_sent(circuit)
        circuit = when_ended(circuit, evidence(sign, is_probe=is_probe, now_s=now_s))
    assert circuit == WHOLE
