"""When an item ends: ``forget_at``, in Unix seconds, which each table names as its time to live.

DynamoDB deletes what has ended by itself, at no cost, but up to days later; so every read here passes it over, and a
new item may take its place. It is written when something is over, and taken away if it begins anew.
"""

from typing import Final

from moneta.adapters.aws.attributes import Item
from moneta.application.ports import Clock, Forgotten
from moneta.domain.identifiers import UnixMillis, UnixSeconds
from moneta.domain.retention import DAY_MS, Past, Retention

FORGET_AT: Final = "forget_at"


class Lifetimes:
    """The lifetimes of items, by the clock and the retention of this hub."""

    def __init__(self, clock: Clock, retention: Retention) -> None:
        self._clock = clock
        self._days = retention.days()

    def end(self, past: Past, *, over_since: UnixMillis) -> UnixSeconds:
        """Return when to forget what is over since that moment."""
        return UnixSeconds((over_since + self._days[past] * DAY_MS) // 1000)

    def kept_since(self, past: Past) -> UnixMillis:
        """Return the moment since when what was over has not ended."""
        return UnixMillis(self.now() * 1000 - self._days[past] * DAY_MS)

    def now(self) -> UnixSeconds:
        """Return the moment before which an item has ended."""
        return UnixSeconds(self._clock.now_ms() // 1000)

    def has_ended(self, item: Item) -> bool:
        """Tell whether the item is there only because DynamoDB has not come to it yet."""
        return FORGET_AT in item and item[FORGET_AT] < self.now()


class DynamoDBRetentionStore:
    """See ``ports.RetentionStore``. DynamoDB forgets by itself."""

    def forget(
        self,
        past: Past,  # noqa: ARG002
        *,
        before: UnixMillis,  # noqa: ARG002
        after: str,  # noqa: ARG002
        limit: int,  # noqa: ARG002
        is_trial: bool = False,  # noqa: ARG002
    ) -> Forgotten:
        """See RetentionStore.forget."""
        return Forgotten(count=0, after=None)
