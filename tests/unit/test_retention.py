"""How long what is over is kept."""

import pytest

from moneta.domain.errors import RetentionError
from moneta.domain.identifiers import UnixMillis
from moneta.domain.retention import Past, Retention

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("past", "days"),
    [(Past.DELIVERIES, 30), (Past.DEAD_DELIVERIES, 90), (Past.EVENTS, 400), (Past.ANSWERS, 30)],
)
def test_each_kind_is_kept_for_its_days(past, days):
    now = UnixMillis(1_000 * DAY_MS)
    assert Retention().forgotten_before(past, now=now) == (1_000 - days) * DAY_MS


def test_every_kind_has_its_days():
    assert set(Retention().days()) == set(Past)


@pytest.mark.parametrize(
    "days",
    [
        {"events_days": 6, "deliveries_days": 1, "dead_days": 1},
        {"events_days": 29, "dead_days": 1},
        {"events_days": 89},
        {"dead_days": 401},
        {"deliveries_days": 401},
    ],
)
def test_an_event_is_never_forgotten_before_its_deliveries_or_its_seven_days(days):
    with pytest.raises(RetentionError, match="no shorter than any delivery"):
        Retention(**days)


@pytest.mark.parametrize(
    "days", [{"events_days": 7, "deliveries_days": 7, "dead_days": 7}, {"dead_days": 400}, {"answers_days": 36_500}]
)
def test_what_keeps_every_promise_is_taken(days):
    Retention(**days)
