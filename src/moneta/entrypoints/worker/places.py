"""Who may be sent to: each endpoint has only so many places, and none while its circuit is open (``domain.circuits``).

What is known here dies with the process: the next one finds out within ``CIRCUIT_FAILURES_MAX`` attempts. A deliverer
of many short-lived processes would keep the circuits, which are values, where all of them see them.
"""

from collections import Counter
from collections.abc import Callable

from moneta.application.deliver_webhooks import jitter
from moneta.application.ports import Randomness
from moneta.domain.circuits import (
    WHOLE,
    Circuit,
    Evidence,
    Passage,
    Sign,
    awaits_probe,
    takes_nothing,
    when_ended,
    when_sent,
)
from moneta.domain.identifiers import OrganizationId
from moneta.domain.limits import SENDS_MAX, SENDS_PER_ENDPOINT_CROWDED_MAX, SENDS_PER_ENDPOINT_MAX


class Places:
    """Counts what is under way, by organization. ``clock_s``: a clock that is never set back."""

    def __init__(self, *, clock_s: Callable[[], float], randomness: Randomness) -> None:
        self._clock_s = clock_s
        self._randomness = randomness
        self._under_way: Counter[OrganizationId] = Counter()
        self._circuits: dict[OrganizationId, Circuit] = {}

    @property
    def of_one(self) -> int:
        """How many places one endpoint has: fewer once half of all are taken.

        So it takes 40 endpoints that all hang at once to fill the other half too, for one time-out.
        """
        is_crowded = self._under_way.total() >= SENDS_MAX // 2
        return SENDS_PER_ENDPOINT_CROWDED_MAX if is_crowded else SENDS_PER_ENDPOINT_MAX

    @property
    def free(self) -> int:
        """How many messages may be taken at once: no more than one endpoint has places, lest it get them all."""
        return min(SENDS_MAX - self._under_way.total(), self.of_one)

    def busy(self) -> frozenset[OrganizationId]:
        """Return the organizations that nothing may be taken for."""
        now_s, most = self._clock_s(), self.of_one
        full = {one for one, count in self._under_way.items() if count >= most}
        return frozenset(full.union(one for one, circuit in self._circuits.items() if takes_nothing(circuit, now_s)))

    def probed(self) -> frozenset[OrganizationId]:
        """Return the organizations that no more than one message may be taken for."""
        now_s = self._clock_s()
        return frozenset(one for one, circuit in self._circuits.items() if awaits_probe(circuit, now_s))

    def next_probe_s(self) -> float | None:
        """Return in how many seconds the next wait of an open circuit is over; None if there is none."""
        now_s = self._clock_s()
        waits = (circuit.open_until_s - now_s for circuit in self._circuits.values() if takes_nothing(circuit, now_s))
        return min((wait_s for wait_s in waits if wait_s > 0), default=None)

    def begin(self, organization: OrganizationId, *, is_test: bool = False) -> Passage:
        """Note that a message is sent, and tell how it passed the circuit. ``is_test``: of the endpoint."""
        self._under_way[organization] += 1
        circuit = self._circuits.get(organization)
        if circuit is None:
            return Passage.FREE  # as almost always
        self._circuits[organization], passage = when_sent(circuit, is_test=is_test, now_s=self._clock_s())
        return passage

    def judge(
        self, organization: OrganizationId, sign: Sign, *, passage: Passage, retry_after_s: int
    ) -> Circuit | None:
        """Note what an attempt tells of the endpoint; return its circuit if that is in another state now."""
        before = self._circuits.get(organization)
        if before is None and sign is Sign.ANSWERED:
            return None  # as almost always
        evidence = Evidence(
            sign=sign,
            passage=passage,
            now_s=self._clock_s(),
            jitter=jitter(self._randomness),
            retry_after_s=retry_after_s,
        )
        before = before or WHOLE
        after = when_ended(before, evidence)
        if after == WHOLE:
            self._circuits.pop(organization, None)
        else:
            self._circuits[organization] = after
        return None if after.state is before.state else after

    def forget(self, organization: OrganizationId) -> None:
        """Hold nothing against an endpoint any more: it is disabled, and when it is not, it is a new one."""
        self._circuits.pop(organization, None)

    def end(self, organization: OrganizationId) -> None:
        """Give the place of a message back."""
        self._under_way[organization] -= 1
        if not self._under_way[organization]:
            del self._under_way[organization]
