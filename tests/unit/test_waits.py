"""What counts as having waited for the deliverer, and what waited for something else."""

import pytest

from moneta.application.ports import DueDelivery, OwedDelivery, WebhookType
from moneta.domain.limits import DELIVERY_LAG_MS_MAX
from moneta.entrypoints.worker.waits import Waits

NOW = 1_800_000_000_000
A, B = "a", "b"


def delivery(*, owed=NOW, due=None, attempts=0, organization=A):
    owed_delivery = OwedDelivery(
        webhook_id="w",
        organization_id=organization,
        type=WebhookType.FINALIZED,
        contract_id="c",
        revision=1,
        owed_at=owed,
    )
    return DueDelivery(owed=owed_delivery, attempts_done=attempts, due_at=owed if due is None else due)


@pytest.mark.parametrize(
    ("one", "lag_ms"),
    [
        (delivery(owed=NOW - 200), 200),
        (delivery(owed=NOW + 5), 0),
        (delivery(owed=NOW - 200, attempts=1), 0),
        (delivery(owed=NOW - 900, due=NOW - 200), 0),
        (delivery(owed=NOW - DELIVERY_LAG_MS_MAX), DELIVERY_LAG_MS_MAX),
        (delivery(owed=NOW - DELIVERY_LAG_MS_MAX - 1), 0),
        (delivery(owed=NOW - 200, organization=B), 50),
    ],
    ids=["first attempt", "clocks differ", "later attempt", "behind another", "old", "too old", "endpoint was busy"],
)
def test_only_a_wait_for_the_deliverer_counts(one, lag_ms):
    waits = Waits()
    waits.note_held_back([B], NOW - 50)
    assert waits.lag_ms([one], NOW) == lag_ms


def test_the_longest_wait_of_a_batch_counts():
    assert Waits().lag_ms([delivery(owed=NOW - 5), delivery(owed=NOW - 9)], NOW) == 9
    assert Waits().lag_ms([], NOW) == 0


def test_who_was_busy_long_ago_is_forgotten():
    waits = Waits()
    waits.note_held_back([A], NOW)
    waits.note_held_back([B], NOW + DELIVERY_LAG_MS_MAX + 1)
    assert waits._held_back_at.keys() == {B}
