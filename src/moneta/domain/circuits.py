"""Whether an endpoint is sent to: its circuit is closed (it is), open (it is not), or probing (one message is).

The rules:

1. ``CIRCUIT_FAILURES_MAX`` failures in a row open it; one answer in between, and they are counted anew.
2. Open, nothing is sent until a wait is over. It doubles each time, from ``CIRCUIT_WAIT_S_MIN`` to
   ``CIRCUIT_WAIT_S_MAX``, and is drawn from the upper half, so that circuits which opened together part.
3. Then one message is sent, the probe, and only its outcome counts: an answer closes the circuit, a failure opens it
   for longer. What was sent before the circuit opened tells of the past.
4. ``Retry-After`` opens it at once, for as long as it asks, and lengthens what is open.
5. A test of the endpoint goes through whatever the circuit says. Its answer, if it was sent since the circuit opened,
   closes it at once: who has mended an endpoint need not wait. Its failure counts like any other message's.

Pure: the caller brings the time, by a clock that is never set back, and the chance. A circuit that is closed and has
no failures is worth nothing, so only the others need be kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from moneta.domain.limits import CIRCUIT_FAILURES_MAX, CIRCUIT_WAIT_S_MAX, CIRCUIT_WAIT_S_MIN

DOUBLINGS_MAX: Final = 16
"""A circuit may open without end; what doubles with it may not."""


class CircuitState(StrEnum):
    """Whether messages go through."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Sign(StrEnum):
    """What an attempt tells of its endpoint: it lives, it fails, or it fails and says for how long."""

    ANSWERED = "answered"
    FAILED = "failed"
    DEFERRED = "deferred"


class Passage(StrEnum):
    """How a message came to be sent: freely, as the probe, or as a test that the circuit would have held back."""

    FREE = "free"
    PROBE = "probe"
    TEST = "test"


CLOSED, OPEN, PROBING = CircuitState
ANSWERED, FAILED, DEFERRED = Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """The circuit of one endpoint. ``failures``: in a row. ``openings``: since the last answer."""

    state: CircuitState = CLOSED
    failures: int = 0
    openings: int = 0
    open_until_s: float = 0.0


WHOLE: Final = Circuit()
"""An endpoint that nothing is known against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """An attempt that ended. ``jitter``: drawn from 0 up to 1. ``retry_after_s``: with ``DEFERRED``, above zero."""

    sign: Sign
    passage: Passage
    now_s: float
    jitter: float
    retry_after_s: int = 0


def awaits_probe(circuit: Circuit, now_s: float) -> bool:
    """Tell whether the circuit is open and its wait is over."""
    return circuit.state is OPEN and circuit.open_until_s <= now_s


def takes_nothing(circuit: Circuit, now_s: float) -> bool:
    """Tell whether no message may be sent now, not even one."""
    return circuit.state is PROBING or (circuit.state is OPEN and now_s < circuit.open_until_s)


def when_sent(circuit: Circuit, *, is_test: bool, now_s: float) -> tuple[Circuit, Passage]:
    """Return the circuit after a message was sent, and as what it was: the first after the wait is the probe."""
    if awaits_probe(circuit, now_s):
        return replace(circuit, state=PROBING), Passage.PROBE
    return circuit, Passage.TEST if is_test and circuit.state is not CLOSED else Passage.FREE


def when_ended(circuit: Circuit, evidence: Evidence) -> Circuit:
    """Return the circuit after an attempt ended."""
    if evidence.passage is Passage.TEST and evidence.sign is ANSWERED:  # (5)
        return WHOLE
    if circuit.state is PROBING and evidence.passage is not Passage.PROBE:  # (3)
        return circuit
    return _MOVES[circuit.state, evidence.sign](circuit, evidence)


def wait_s(openings: int, jitter: float) -> float:
    """Return how long a circuit stays open that was opened ``openings`` times before, since the last answer."""
    whole = min(CIRCUIT_WAIT_S_MIN << min(openings, DOUBLINGS_MAX), CIRCUIT_WAIT_S_MAX)
    return whole * (1 + jitter) / 2


def _stay(circuit: Circuit, _: Evidence) -> Circuit:
    return circuit


def _close(_: Circuit, __: Evidence) -> Circuit:
    return WHOLE


def _count(circuit: Circuit, evidence: Evidence) -> Circuit:
    counted = replace(circuit, failures=circuit.failures + 1)
    return counted if counted.failures < CIRCUIT_FAILURES_MAX else _open(counted, evidence)


def _open(circuit: Circuit, evidence: Evidence) -> Circuit:
    waiting_s = max(wait_s(circuit.openings, evidence.jitter), evidence.retry_after_s)
    return replace(circuit, state=OPEN, openings=circuit.openings + 1, open_until_s=evidence.now_s + waiting_s)


def _defer(circuit: Circuit, evidence: Evidence) -> Circuit:
    until_s = max(circuit.open_until_s, evidence.now_s + evidence.retry_after_s)
    return replace(circuit, state=OPEN, open_until_s=until_s)


_Move: TypeAlias = Callable[[Circuit, Evidence], Circuit]

# fmt: off
_MOVES: Final[Mapping[tuple[CircuitState, Sign], _Move]] = {
    (CLOSED,  ANSWERED): _close,
    (CLOSED,  FAILED):   _count,
    (CLOSED,  DEFERRED): _defer,
    (OPEN,    ANSWERED): _stay,
    (OPEN,    FAILED):   _stay,
    (OPEN,    DEFERRED): _defer,
    (PROBING, ANSWERED): _close,
    (PROBING, FAILED):   _open,
    (PROBING, DEFERRED): _open,
}
# fmt: on
