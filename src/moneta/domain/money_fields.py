"""Where money stands in a payload, and what it must look like there (protocol, section 3).

``amount`` is money in the ``currency`` of the same object, at any depth and under every template. Other money
members, and what else than the currency's own decimals or zero is allowed, are a template's ``MoneyRule``.
"""

from collections.abc import Mapping
from typing import Final

from moneta.domain.errors import MissingFieldError
from moneta.domain.ijson import Value
from moneta.domain.money import MoneyRule, parse_money
from moneta.domain.templates import Template

AMOUNT: Final = "amount"
CURRENCY: Final = "currency"
EACH_ITEM: Final = "[]"
"""What stands in a rule's path for each item of an array."""

_Path = tuple[str, ...]
_Rules = Mapping[_Path, MoneyRule]


def payload_view(payload: Mapping[str, Value], template: Template) -> dict[str, Value]:
    """Return ``payload`` with its money as decimal strings, the digits as they were written, and all else as it is.

    Fields in errors are paths from the payload down (``transaction.amount``, ``lines[0].amount``).

    Raises:
        MissingFieldError: Money without a ``currency`` beside it.
        InvalidAmountError: Money that is not of the form that this template allows at its place.
    """
    return _object_view(payload, {rule.path: rule for rule in template.money_rules}, path=(), where="")


def _object_view(members: Mapping[str, Value], rules: _Rules, *, path: _Path, where: str) -> dict[str, Value]:
    prefix = f"{where}." if where else ""
    view: dict[str, Value] = {}
    for name, value in members.items():
        rule = rules.get((*path, name))
        if rule is not None or name == AMOUNT:
            view[name] = _money_digits(value, members, rule, where=prefix + name)
        else:
            view[name] = _value_view(value, rules, path=(*path, name), where=prefix + name)
    return view


def _value_view(value: Value, rules: _Rules, *, path: _Path, where: str) -> Value:
    """Return the view of ``value``; the recursion is as deep as the body, which ``ijson`` has limited."""
    if isinstance(value, dict):
        return _object_view(value, rules, path=path, where=where)
    if isinstance(value, list):
        each = (*path, EACH_ITEM)
        return [_value_view(item, rules, path=each, where=f"{where}[{index}]") for index, item in enumerate(value)]
    return value


def _money_digits(value: Value, beside: Mapping[str, Value], rule: MoneyRule | None, *, where: str) -> str:
    currency = beside.get(CURRENCY)
    if currency is None:
        parent, dot, _ = where.rpartition(".")
        raise MissingFieldError(f"{where}: there is no {CURRENCY} in the same object", field=f"{parent}{dot}{CURRENCY}")
    if rule is None:
        return parse_money(value, currency, where=where).digits
    return parse_money(value, currency, where=where, decimals=rule.decimals, allows_zero=rule.allows_zero).digits
