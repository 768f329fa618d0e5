"""For how long deliveries have waited for the deliverer, and for nothing else: what the web process holds back for.

A message waits for other things too, and nobody's events are refused for those: a next attempt, a circuit, a place at
a slow endpoint, an earlier message on the same contract, somebody who asks for it again or enables an endpoint.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from moneta.application.ports import DueDelivery
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.limits import DELIVERY_LAG_MS_MAX


class Waits:
    """Remembers which organizations were held back when. ``now``: Unix milliseconds, as the store counts them."""

    def __init__(self) -> None:
        self._held_back_at: Final[dict[OrganizationId, UnixMillis]] = {}

    def note_held_back(self, organizations: Iterable[OrganizationId], now: UnixMillis) -> None:
        """Note whose messages could not be taken now."""
        self._held_back_at.update(dict.fromkeys(organizations, now))
        for organization, at in list(self._held_back_at.items()):
            if now - at > DELIVERY_LAG_MS_MAX:
                del self._held_back_at[organization]

    def lag_ms(self, taken: Sequence[DueDelivery], now: UnixMillis) -> int:
        """Return for how long that one of ``taken`` waited for us which waited longest."""
        return max((self._wait_ms(one, now) for one in taken), default=0)

    def _wait_ms(self, one: DueDelivery, now: UnixMillis) -> int:
        is_moved = one.attempts_done > 0 or one.due_at != one.owed.owed_at
        since = max(one.due_at, self._held_back_at.get(one.owed.organization_id, 0))
        return 0 if is_moved or now - one.due_at > DELIVERY_LAG_MS_MAX else max(0, now - since)
