"""What the load generator saw of each event, and what follows from it, exactly: no buckets, no sampling."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

Column: TypeAlias = "array[int]"  # Python 3.11 can't subscript it when it runs.
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000


@dataclass(slots=True, kw_only=True)
class Observations:
    """A column for each thing seen, a row for each event. Times in nanoseconds, 0 where it was not seen.

    ``requested``, ``told_mo``, ``told_publisher``: when the webhooks came. ``done``: when the flow's last part came.
    ``others``: webhooks of another kind, such as a rejection. ``status``: of the answer, 0 where none came.
    ``retry_after_s``: what a refusal says, 0 where it says nothing.
    """

    scheduled: Column
    answered: Column
    requested: Column
    told_mo: Column
    told_publisher: Column
    done: Column
    status: Column
    retry_after_s: Column
    duplicates: Column
    others: Column
    begin_ns: int = 0
    end_ns: int = 0

    @classmethod
    def empty(cls, count: int) -> Self:
        """Return nothing seen of ``count`` events."""
        columns: dict[str, Any] = {
            name: array("q", bytes(8 * count)) for name in _columns()
        }  # mypy can't tell the names
        return cls(**columns)

    def write(self, path: Path) -> None:
        """Write everything to a file."""
        with path.open("wb") as file:
            array("q", [self.begin_ns, self.end_ns, len(self.scheduled)]).tofile(file)
            for name in _columns():
                getattr(self, name).tofile(file)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what ``write`` wrote."""
        with path.open("rb") as file:
            head = array("q")
            head.fromfile(file, 3)
            begin_ns, end_ns, count = head
            found = cls(**{name: array("q") for name in _columns()}, begin_ns=begin_ns, end_ns=end_ns)
            for name in _columns():
                getattr(found, name).fromfile(file, count)
        return found

    @property
    def seconds(self) -> float:
        """How long was measured."""
        return (self.end_ns - self.begin_ns) / NS_PER_S

    def done_within(self) -> int:
        """Return how many flows ended while it was measured."""
        return sum(self.begin_ns <= one < self.end_ns for one in self.done)

    def answered_within(self) -> int:
        """Return how many events were accepted while it was measured."""
        pairs = zip(self.answered, self.status, strict=True)
        return sum(self.begin_ns <= at < self.end_ns and is_accepted(status) for at, status in pairs)

    def accepted(self) -> Sequence[int]:
        """Return the indices of the events that were accepted, in or outside of what is measured."""
        return [index for index, status in enumerate(self.status) if is_accepted(status)]

    def refusals(self) -> Counter[int]:
        """Return how many events got each other status; 0 stands for no answer."""
        sent = zip(self.scheduled, self.status, strict=True)
        return Counter(status for scheduled, status in sent if scheduled and not is_accepted(status))

    def refusals_ms(self) -> Sequence[float]:
        """Return, sorted, how long after its scheduled moment each refusal came."""
        rows = zip(self.scheduled, self.answered, self.status, strict=True)
        return sorted((at - due) / NS_PER_MS for due, at, status in rows if due and at and not is_accepted(status))

    def without_retry_after(self) -> int:
        """Return how many refusals did not say when to come back."""
        pairs = zip(self.status, self.retry_after_s, strict=True)
        return sum(1 for status, wait_s in pairs if status and not is_accepted(status) and not wait_s)

    def waiting_max(self) -> int:
        """Return the most events that were accepted and had not caused their webhook yet, at any moment."""
        pairs = zip(self.answered, self.requested, self.status, strict=True)
        moments = [
            (at, change)
            for answered, told, status in pairs
            if is_accepted(status) and told
            for at, change in ((answered, 1), (told, -1))
        ]
        return max(accumulate(change for _, change in sorted(moments)), default=0)

    def latencies_ms(self, until: Column, since: Column) -> Sequence[float]:
        """Return, sorted, how long after ``since`` each ``until`` was, of the accepted events that were measured."""
        rows = zip(self.scheduled, since, until, self.status, strict=True)
        return sorted(
            (end - start) / NS_PER_MS
            for scheduled, start, end, status in rows
            if self.begin_ns <= scheduled < self.end_ns and is_accepted(status) and end
        )


def is_accepted(status: int) -> bool:
    """Tell whether an answer is a yes."""
    return 200 <= status < 300  # noqa: PLR2004  # RFC 9110, section 15.3


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that ``percent`` of all are not above; None if there are none."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else None


def _columns() -> Sequence[str]:
    return [field.name for field in fields(Observations) if field.name not in {"begin_ns", "end_ns"}]
