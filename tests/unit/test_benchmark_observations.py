"""What a benchmark concludes from what it saw."""

import pytest

from benchmarks.observations import Observations


def seen(*rows):
    """Give observations of events, each (answered, status, webhook, Retry-After)."""
    made = Observations.empty(len(rows))
    for index, (answered, status, requested, retry_after_s) in enumerate(rows):
        made.scheduled[index] = 1
        made.answered[index], made.status[index] = answered, status
        made.requested[index], made.retry_after_s[index] = requested, retry_after_s
    return made


def test_a_refusal_that_says_not_when_to_come_back_is_counted():
    assert seen((2, 202, 3, 0), (2, 503, 0, 1), (2, 429, 0, 0), (0, 0, 0, 0)).without_retry_after() == 1


@pytest.mark.parametrize(
    ("rows", "most"),
    [
        ([], 0),
        ([(10, 202, 20, 0)], 1),
        ([(10, 202, 20, 0), (20, 202, 30, 0)], 1),
        ([(10, 202, 30, 0), (20, 202, 40, 0), (25, 202, 50, 0)], 3),
        ([(10, 202, 30, 0), (20, 503, 0, 1)], 1),
        ([(10, 202, 9, 0), (10, 202, 9, 0)], 0),
    ],
    ids=["nothing", "one", "one after the other", "three at a time", "a refusal", "told before it was answered"],
)
def test_what_waits_is_counted_at_its_most(rows, most):
    assert seen(*rows).waiting_max() == most
