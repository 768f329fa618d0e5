"""Forgetting what has been over for long enough, a small write at a time (see ``domain.retention``).

Doing it twice, or half, changes nothing but how much is still there.
"""

from collections.abc import Iterator

from moneta.application.ports import Hub
from moneta.domain.limits import FORGET_BATCH_MAX
from moneta.domain.retention import Past, Retention


def forget_past(hub: Hub, retention: Retention, *, is_trial: bool = False) -> Iterator[tuple[Past, int]]:
    """Forget all that is over, the oldest first; give after each write of what kind it was, and how many.

    Whoever takes the next one decides when: the pauses in between are what leaves the store to the others.
    ``is_trial``: forget nothing, and count what would be.

    Raises:
        StoreUnavailableError: As far as it came, it is done; begin again later.
    """
    now = hub.clock.now_ms()
    for past in Past:
        before, cursor, is_done = retention.forgotten_before(past, now=now), "", False
        while not is_done:  # each look begins after the one before it, so there is an end
            found = hub.retention.forget(past, before=before, after=cursor, limit=FORGET_BATCH_MAX, is_trial=is_trial)
            yield past, found.count
            cursor, is_done = found.after or "", found.after is None
