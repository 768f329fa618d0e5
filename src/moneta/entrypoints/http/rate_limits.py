"""How many requests each caller may send: a bucket that fills at a steady rate, and what the answers say of it.

A bucket's state is one number, when it is full again (the generic cell rate algorithm, ITU-T I.371): no timer, and
nothing to do while nobody asks. Times are whole nanoseconds, so that they add up. It is on every request's way, and
takes a microsecond of it.

The headers are those of draft-ietf-httpapi-ratelimit-headers-11, structured fields (RFC 9651): the policy's quota is
the bucket, its window the time in which an empty bucket fills; ``r`` is what is left and ``t`` the seconds until it is
full again, or, where nothing is left, until one more request fits, as in ``Retry-After``.
"""

import time
from collections.abc import Callable
from typing import Final

from moneta.domain.errors import Refused, TooManyRequestsError
from moneta.domain.identifiers import OrganizationId
from moneta.domain.limits import CACHE_ENTRIES_MAX
from moneta.entrypoints.answers import AnswerHeaders

NS_PER_S: Final = 1_000_000_000


class RateLimits:
    """A bucket of ``burst`` tokens for each caller, into which ``per_s`` a second flow. For one thread."""

    def __init__(self, *, per_s: int, burst: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.interval_ns: Final = max(1, NS_PER_S // per_s)  # more than one a nanosecond is as good as no limit
        self._span_ns: Final = burst * self.interval_ns
        self._clock = clock
        self._full_at: dict[OrganizationId, int] = {}

    def take(self, caller_id: OrganizationId) -> int:
        """Take one token, and return in how many nanoseconds the bucket is full again.

        Raises:
            TooManyRequestsError: There is none. Nothing is taken, so that asking again does not prolong the wait.
        """
        now, full_at = self._clock(), self._full_at.get(caller_id, 0)
        full_in_ns = (full_at - now if full_at > now else 0) + self.interval_ns
        if full_in_ns > self._span_ns:
            raise TooManyRequestsError("expected fewer at a time", retry_after_s=_whole_s(full_in_ns - self._span_ns))
        if len(self._full_at) >= CACHE_ENTRIES_MAX:
            self._forget_full(now)
        self._full_at[caller_id] = now + full_in_ns
        return full_in_ns

    def is_empty(self, caller_id: OrganizationId) -> bool:
        """Tell whether ``take`` would raise."""
        return self._full_at.get(caller_id, 0) - self._clock() + self.interval_ns > self._span_ns

    def _forget_full(self, now: int) -> None:
        """Let go of the buckets that are full: a caller without one has a full one."""
        self._full_at = {caller: full_at for caller, full_at in self._full_at.items() if full_at > now}


class Quota:
    """The rate limit of requests, and the headers that tell a caller how it stands. For one thread."""

    def __init__(self, *, per_s: int, burst: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._limits = RateLimits(per_s=per_s, burst=burst, clock=clock) if per_s else None
        self._burst = burst
        self._policy: Final = (b"ratelimit-policy", b'"requests";q=%d;w=%d' % (burst, -(-burst // max(1, per_s))))

    def take(self, caller_id: OrganizationId) -> AnswerHeaders:
        """Count one request, and return the headers of its answer, whatever that is. See ``RateLimits.take``."""
        if self._limits is None:
            return ()
        full_in_ns = self._limits.take(caller_id)
        left = self._burst + -full_in_ns // self._limits.interval_ns  # rounded down, since the numerator is negative
        return (self._policy, (b"ratelimit", b'"requests";r=%d;t=%d' % (left, _whole_s(full_in_ns))))

    def refusal_headers(self, refusal: Refused) -> AnswerHeaders:
        """Return the headers of a refusal that ``take`` raised, beside its ``Retry-After``; none of any other."""
        if not isinstance(refusal, TooManyRequestsError):
            return ()
        retry_after_s = str(refusal.facts["retry_after_s"]).encode("ascii")
        return (self._policy, (b"ratelimit", b'"requests";r=0;t=' + retry_after_s))


def _whole_s(duration_ns: int) -> int:
    return -(-duration_ns // NS_PER_S)
