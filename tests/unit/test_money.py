"""Money keeps its digits, adds up as integers, and is refused where a float or a guess would be needed."""

from decimal import Decimal

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.currencies import CURRENCY_EXPONENTS
from moneta.domain.errors import InvalidAmountError
from moneta.domain.ijson import NumberText
from moneta.domain.money import LEDGER_EXTRA_DIGITS, Money, digits_of, exponent_of, parse_money

currencies = st.sampled_from(sorted(CURRENCY_EXPONENTS))


def test_the_currency_table_is_iso_4217():
    published = {currency.code: currency.exponent for currency in iso4217.Currency if currency.exponent is not None}
    assert published == CURRENCY_EXPONENTS


@pytest.mark.parametrize(
    ("value", "currency", "units"),
    [
        ("100.00", "USD", 100_000_000),
        ("1", "USD", 1_000_000),
        ("0.01", "EUR", 10_000),
        ("1.5", "EUR", 1_500_000),
        (NumberText("100.00"), "USD", 100_000_000),
        (100, "USD", 100_000_000),
        ("1012", "JPY", 10_120_000),
        ("1.012", "KWD", 10_120_000),
        ("1.0125", "CLF", 101_250_000),
        ("999999999999999.99", "USD", 999_999_999_999_999_990_000),
    ],
)
def test_money_is_an_integer_at_the_ledgers_scale_and_keeps_its_digits(value, currency, units):
    expected = Money(units=units, currency=currency, digits=digits_of(value, where="amount"))
    assert parse_money(value, currency, where="amount") == expected


@pytest.mark.parametrize(
    ("value", "currency", "options", "units"),
    [
        ("0.0001", "USD", {"decimals": 4}, 100),
        ("0.000001", "USD", {"decimals": 8}, 1),
        ("0.0001", "JPY", {"decimals": 4}, 1),
        ("7", "USD", {"decimals": 0}, 7_000_000),
        ("0", "USD", {"allows_zero": True}, 0),
        ("0.00", "USD", {"allows_zero": True}, 0),
    ],
)
def test_a_template_may_allow_more_decimals_and_zero(value, currency, options, units):
    assert parse_money(value, currency, where="fee", **options).units == units


@pytest.mark.parametrize(
    ("value", "currency", "options"),
    [
        ("0.001", "USD", {}),
        ("0.1", "JPY", {}),
        ("0.00001", "USD", {"decimals": 4}),
        ("0.0000001", "USD", {"decimals": 8}),
        ("0.00001", "JPY", {"decimals": 8}),
        ("0.1", "USD", {"decimals": 0}),
        ("0", "USD", {}),
        ("0.00", "USD", {}),
        (0, "USD", {}),
        (NumberText("0.0"), "USD", {}),
        (NumberText("-0"), "USD", {"allows_zero": True}),
        (NumberText("1e2"), "USD", {}),
        (NumberText("1E+2"), "USD", {}),
        (-1, "USD", {}),
        *(
            (text, "USD", {})
            for text in (
                "", " 1", "1 ", "1\n", "+1", "-1", "01", "00", ".5", "1.", "1,00", "1_000", "1e2", "0x1", "NaN",
                "Infinity", "\u0661", "\uff11", "1.\u0661", "1000000000000000", "$1",
            )
        ),
        *((value, "USD", {}) for value in (None, True, False, {}, [], ["1"])),
    ],
)  # fmt: skip
def test_what_is_no_money_is_refused_by_the_name_of_its_place(value, currency, options):
    with pytest.raises(InvalidAmountError) as refused:
        parse_money(value, currency, where="lines[0].amount", **options)
    assert refused.value.facts["field"] == "lines[0].amount"


@pytest.mark.parametrize(
    "currency",
    ["usd", "USD\n", "US", "XXX", "XTS", "XAU", "XDR", "DEM", "", "\uff35\uff33\uff24", None, 840, True, ["USD"]],
)
def test_a_currency_is_one_that_can_be_paid_in(currency):
    with pytest.raises(InvalidAmountError) as refused:
        parse_money("1", currency, where="lines[0].amount")
    assert refused.value.facts["field"] == "lines[0].currency"


def test_the_currency_of_a_payloads_own_amount_stands_in_the_payload():
    with pytest.raises(InvalidAmountError) as refused:
        parse_money("1", "usd", where="amount")
    assert refused.value.facts["field"] == "currency"


def test_a_refusal_shows_no_more_than_the_beginning_of_what_came():
    with pytest.raises(InvalidAmountError) as refused:
        parse_money("x" * 10_000, "USD", where="amount")
    assert len(refused.value.detail) < 100
    with pytest.raises(InvalidAmountError) as refused:
        parse_money("1", "U" * 10_000, where="amount")
    assert len(refused.value.detail) < 100


@given(currencies, st.integers(min_value=1, max_value=10**15 - 1), st.data())
def test_an_amount_is_worth_exactly_its_digits(currency, whole, data):
    exponent = exponent_of(currency, where="currency")
    fraction = data.draw(st.text(alphabet="0123456789", max_size=exponent))
    text = f"{whole}.{fraction}" if fraction else str(whole)
    money = parse_money(text, currency, where="amount")
    assert money.digits == text
    assert Decimal(money.units).scaleb(-(exponent + LEDGER_EXTRA_DIGITS)) == Decimal(text)


@given(st.text(), currencies)
def test_a_text_is_money_only_if_it_is_digits_with_at_most_one_point(text, currency):
    try:
        money = parse_money(text, currency, where="amount", allows_zero=True)
    except InvalidAmountError:
        return
    assert set(text) <= set("0123456789.")
    assert money.units == int(Decimal(text).scaleb(exponent_of(currency, where="currency") + LEDGER_EXTRA_DIGITS))
