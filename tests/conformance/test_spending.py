"""What steps spend of an mPass's limits: added with the step or not at all, and never beyond, whoever writes."""

from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moneta.application.ports import DirectoryChange
from moneta.domain.mpass_policies import Spending
from tests.conformance.builders import MPASS, locked, mpass, race, submitted

DAY, MONTH = "2026-11-18", "2026-11"
LIMIT = 1_000
HUGE = 10**24


def spending(units, *, period=DAY, limit=LIMIT, mpass_id=MPASS, currency="EUR"):
    return Spending(mpass_id=mpass_id, currency=currency, period=period, units=units, limit_units=limit)


def spends(name, *spendings, **parts):
    return replace(submitted(name), spending=spendings, **parts)


def committed(store, *changes):
    return list(store.contracts.commit(changes))


def spent(store, *, period=DAY, mpass_id=MPASS, currency="EUR"):
    return store.directory.spent([(mpass_id, currency, period)]).get((mpass_id, currency, period), 0)


def test_what_a_step_spends_is_counted_with_it(store):
    assert committed(store, spends("c1", spending(400), spending(400, period=MONTH, limit=5_000))) == ["committed"]
    assert committed(store, spends("c2", spending(600), spending(600, period=MONTH, limit=5_000))) == ["committed"]
    keys = [(MPASS, "EUR", DAY), (MPASS, "EUR", MONTH), (MPASS, "USD", DAY)]
    assert store.directory.spent(keys) == {keys[0]: 1_000, keys[1]: 1_000}
    assert store.directory.spent([]) == {}


def test_each_mpass_currency_and_period_has_a_counter_of_its_own(store):
    others = [{"mpass_id": "mpass-2"}, {"currency": "USD"}, {"period": "2026-11-19"}]
    assert committed(store, spends("c0", spending(LIMIT))) == ["committed"]
    for number, other in enumerate(others):
        assert committed(store, spends(f"c{number + 1}", spending(LIMIT, **other))) == ["committed"]
        assert spent(store, **other) == LIMIT


def test_what_a_limit_leaves_no_room_for_changes_nothing(store):
    committed(store, spends("c1", spending(700)))
    both = spends("c2", spending(1, period=MONTH, limit=5_000), spending(301))
    assert committed(store, both, spends("c3", spending(LIMIT + 1, mpass_id="mpass-2"))) == ["conflict"] * 2
    assert (spent(store), spent(store, period=MONTH), spent(store, mpass_id="mpass-2")) == (700, 0, 0)
    assert store.contracts.read(["c2", "c3"]) == {}


def test_what_is_given_back_can_be_spent_again(store):
    committed(store, spends("c1", spending(LIMIT)))
    assert committed(store, spends("c2", spending(-400, limit=None))) == ["committed"]
    assert committed(store, spends("c3", spending(401))) == ["conflict"]
    assert committed(store, spends("c4", spending(400))) == ["committed"]
    assert spent(store) == LIMIT


def test_a_step_that_conflicts_spends_nothing(store):
    store.directory.apply(DirectoryChange(record=b"a.b.c", mpasses=(mpass(),)))
    stale = DirectoryChange(mpasses=(mpass(),))
    assert committed(store, spends("c1", spending(1), directory=stale)) == ["conflict"]
    fresh = DirectoryChange(mpasses=(locked(mpass()),))
    assert committed(store, spends("c1", spending(1), directory=fresh)) == ["committed"]
    assert committed(store, spends("c1", spending(1))) == ["conflict"]
    assert spent(store) == 1


def test_an_amount_of_any_size_is_counted_exactly(store):
    committed(store, spends("c1", spending(HUGE, limit=3 * HUGE)))
    committed(store, spends("c2", spending(HUGE + 1, limit=3 * HUGE)))
    assert spent(store) == 2 * HUGE + 1


def test_a_new_period_forgets_what_is_long_over(store, clock):
    for number, period in enumerate(["2026-01-31", "2026-01", "2026-02-28", "2026-02", "2026-03-01"]):
        committed(store, spends(f"c{number}", spending(1, period=period)))
        clock.advance(1)
    assert [spent(store, period=period) for period in ("2026-02", "2026-02-28", "2026-03-01")] == [1, 1, 1]


def test_the_embedded_store_keeps_this_month_and_the_last(embedded):
    for number, period in enumerate(["2025-11-30", "2025-12-31", "2026-01-01"]):
        committed(embedded, spends(f"c{number}", spending(1, period=period)))
    assert [spent(embedded, period=period) for period in ("2025-11-30", "2025-12-31", "2026-01-01")] == [0, 1, 1]


def test_writers_at_once_never_spend_more_than_the_limit(store):
    writers, tries, amount, limit = 6, 4, 100, 1_500

    def spend(number):
        """Commit, and judge anew what conflicts while there is room, as the processor does."""
        done = 0
        for one in range(tries):
            name = f"c-{number}-{one}"
            for _ in range(200):
                if spent(store) + amount > limit:
                    break
                if committed(store, spends(name, spending(amount, limit=limit))) == ["committed"]:
                    done += 1
                    break
        return done

    done = sum(race([lambda number=number: spend(number) for number in range(writers)]))
    assert (done * amount, spent(store)) == (limit, limit)


@pytest.mark.parametrize("seed", range(3))
def test_spending_and_giving_back_at_once_add_up(store, seed):
    amounts = [((7 * number + seed) % 5 - 1) * 100 or 50 for number in range(12)]

    def spend(number):
        units = amounts[number]
        change = spends(f"c-{number}", spending(units, limit=600 if units > 0 else None))
        return units if committed(store, change) == ["committed"] else 0

    total = sum(race([lambda number=number: spend(number) for number in range(len(amounts))]))
    assert spent(store) == total <= 600


SERIAL = count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([DAY, MONTH]), st.integers(1, 500), st.booleans()), min_size=1, max_size=30))
def test_in_no_order_of_steps_is_a_counter_above_its_limit(embedded, steps):
    """Reservations are given back at most once each; what was refused is not given back."""
    mpass_id, expected, reserved = f"mpass-{next(SERIAL)}", {DAY: 0, MONTH: 0}, []
    for number, (period, units, gives_back) in enumerate(steps):
        one = spending(units, period=period, mpass_id=mpass_id)
        if gives_back and reserved:
            one = replace(reserved.pop(), limit_units=None)
            one = replace(one, units=-one.units)
        has_room = one.limit_units is None or expected[one.period] + one.units <= LIMIT
        (answer,) = committed(embedded, spends(f"{mpass_id}-{number}", one))
        assert answer == ("committed" if has_room else "conflict")
        expected[one.period] += one.units if has_room else 0
        reserved += [one] if has_room and one.units > 0 else []
        assert 0 <= spent(embedded, period=one.period, mpass_id=mpass_id) == expected[one.period] <= LIMIT
