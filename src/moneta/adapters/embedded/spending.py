"""What mPasses have spent: counters, kept as text, since an amount has more digits than SQLite's integers.

A transaction that looks at them is the only writer, so what it has read still holds when it writes.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import apsw

from moneta.adapters.embedded.database import value
from moneta.adapters.embedded.schema import Writing
from moneta.domain.mpass_policies import Spending, SpendingKey


def read_spent(connection: apsw.Connection, keys: Sequence[SpendingKey]) -> Mapping[SpendingKey, int]:
    """Return what the counters say that are there."""
    found = {key: value(connection, _SPENT, key) for key in keys}
    return {key: int(units) for key, units in found.items() if units is not None}


def leaves_room(connection: apsw.Connection, spendings: Sequence[Spending]) -> bool:
    """Tell whether every limit holds once all of it is spent."""
    spent = read_spent(connection, [one.key for one in spendings])
    return all(one.limit_units is None or spent.get(one.key, 0) + one.units <= one.limit_units for one in spendings)


def spend(writing: Writing, spendings: Sequence[Spending]) -> None:
    """Add to the counters. A pass that begins a period forgets those before the last month."""
    spent = read_spent(writing.connection, [one.key for one in spendings])
    for one in spendings:
        mpass = writing.ref(one.mpass_id)
        if one.key not in spent:
            writing.connection.execute(_FORGET, (mpass, _month_before(one.period)))
        units = str(spent.get(one.key, 0) + one.units)
        writing.connection.execute(_PUT_SPENT, (mpass, one.currency, one.period, units))


def _month_before(period: str) -> str:
    year, month = int(period[:4]), int(period[5:7])
    return f"{year - (month == 1)}-{(month - 2) % 12 + 1:02}"


_SPENT: Final = "SELECT units FROM spent JOIN names ON ref = mpass WHERE name = ? AND currency = ? AND period = ?"
_FORGET: Final = "DELETE FROM spent WHERE mpass = ? AND period < ?"
_PUT_SPENT: Final = """
INSERT INTO spent (mpass, currency, period, units) VALUES (?, ?, ?, ?)
ON CONFLICT (mpass, currency, period) DO UPDATE SET units = excluded.units
"""
