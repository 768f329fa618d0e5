"""Money: read exactly from its digits, kept as an integer, shown with the digits as they were written.

The form is that of protocol section 3; the ledger's scale, of the currency's exponent + 4, that of ``domain.md``
section 3. No float is made anywhere on the way.
"""

import re
from dataclasses import dataclass
from typing import Final

from moneta.domain.currencies import CURRENCY_EXPONENTS
from moneta.domain.errors import InvalidAmountError
from moneta.domain.ijson import NumberText, Value, type_name

LEDGER_EXTRA_DIGITS: Final = 4
"""The ledger counts in units of 10^-(exponent + 4): $1 is 1,000,000, since real charges are as small as $0.0001."""

_FORM: Final = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """An amount of one currency; ``units`` at the ledger's scale, ``digits`` as they were written."""

    units: int
    currency: str
    digits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyRule:
    """Where a template has money beside ``amount``, and what it allows there.

    ``path``: member names from the payload down; ``[]`` stands for each item of an array.
    ``decimals``: None for the currency's own.
    """

    path: tuple[str, ...]
    decimals: int | None = None
    allows_zero: bool = False


def exponent_of(currency: Value, *, where: str) -> int:
    """Return how many decimals ``currency`` has.

    Raises:
        InvalidAmountError: It is not the upper-case code of an ISO 4217 currency that has minor units.
    """
    if not isinstance(currency, str) or currency not in CURRENCY_EXPONENTS:
        got = repr(currency[:8]) if isinstance(currency, str) else type_name(currency)
        raise InvalidAmountError(f"{where}: expected an ISO 4217 currency code in upper case, got {got}", field=where)
    return CURRENCY_EXPONENTS[currency]


def parse_money(
    value: Value, currency: Value, *, where: str, decimals: int | None = None, allows_zero: bool = False
) -> Money:
    """Return the money that ``value`` in ``currency`` is.

    ``value``: a decimal string, or a JSON number as it was written. ``where`` names the member in errors.
    ``decimals``: how many are allowed; None for the currency's own, never more than its exponent + 4.

    Raises:
        InvalidAmountError: Not of the form, too many decimals, zero where it is not allowed, no such currency.
    """
    exponent = exponent_of(currency, where=_sibling(where))
    digits = digits_of(value, where=where)
    if _FORM.fullmatch(digits) is None:
        raise InvalidAmountError(f"{where}: expected digits like 100.00, got {digits[:32]!r}", field=where)
    whole, _, fraction = digits.partition(".")
    allowed = exponent if decimals is None else min(decimals, exponent + LEDGER_EXTRA_DIGITS)
    if len(fraction) > allowed:
        raise InvalidAmountError(
            f"{where}: expected at most {allowed} decimals in {currency}, got {len(fraction)}", field=where
        )
    units = int(whole + fraction.ljust(exponent + LEDGER_EXTRA_DIGITS, "0"))
    if units == 0 and not allows_zero:
        raise InvalidAmountError(f"{where}: expected an amount above zero, got {digits[:32]}", field=where)
    return Money(units=units, currency=str(currency), digits=digits)


def digits_of(value: Value, *, where: str) -> str:
    """Return the digits of an amount, as written.

    Raises:
        InvalidAmountError: Neither a string nor a number.
    """
    if isinstance(value, NumberText):
        return value.digits
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InvalidAmountError(f"{where}: expected a decimal string, got {type_name(value)}", field=where)


def _sibling(where: str) -> str:
    """Return the path of ``currency`` in the object that holds the amount at ``where``."""
    parent, dot, _ = where.rpartition(".")
    return f"{parent}{dot}currency"
