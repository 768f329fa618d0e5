"""The policy of an mPass: read strictly, each rule asked at its boundary."""

import pytest

from moneta.domain.errors import (
    InvalidAmountError,
    InvalidFieldError,
    MPassLimitExceededError,
    MPassPolicyError,
    UnknownFieldError,
)
from moneta.domain.ijson import NumberText
from moneta.domain.mpass_policies import (
    Activation,
    Names,
    Per,
    amounts_of,
    counters_of,
    period,
    read_policy,
    services_of,
)

AT = 1_795_564_799_000  # 2026-11-24 23:59:59 UTC
M = "mpass-1"
EUR = 1_000_000
"""One euro at the ledger's scale."""


def limits(*rows):
    return {"limits": [dict(zip(("currency", "per", "amount"), row, strict=True)) for row in rows]}


def test_every_member_is_optional():
    policy = read_policy({})
    assert (policy.activation, policy.limits, policy.publishers, policy.services) == (Activation.MO, (), None, None)


def test_a_policy_is_read_whole():
    policy = read_policy(
        {
            "activation": "holder",
            **limits(("EUR", "day", "1.50"), ("EUR", "month", NumberText("20.00")), ("JPY", "transaction", 500)),
            "publishers": {"allowed": ["p1"]},
            "services": {"denied": ["gambling"]},
            "valid_from": 1,
            "valid_until": 2,
        }
    )
    assert [(one.currency, one.per, one.units) for one in policy.limits] == [
        ("EUR", Per.DAY, 1_500_000),
        ("EUR", Per.MONTH, 20_000_000),
        ("JPY", Per.TRANSACTION, 5_000_000),
    ]
    assert policy.publishers == Names(is_allowed=True, names=frozenset({"p1"}))
    assert policy.services == Names(is_allowed=False, names=frozenset({"gambling"}))
    assert (policy.activation, policy.valid_from, policy.valid_until) == (Activation.HOLDER, 1, 2)


# fmt: off
WRONG = {
    "an unknown member":         ({"limit": []}, UnknownFieldError, "policy.limit"),
    "an unknown activation":     ({"activation": "anybody"}, InvalidFieldError, "policy.activation"),
    "limits that are no list":   ({"limits": {}}, InvalidFieldError, "policy.limits"),
    "too many limits":           (limits(*[("EUR", "day", "1")] * 101), InvalidFieldError, "policy.limits"),
    "a limit that is none":      ({"limits": [7]}, InvalidFieldError, "policy.limits[0]"),
    "a limit's unknown member":  ({"limits": [{"max": 1}]}, UnknownFieldError, "policy.limits[0].max"),
    "a limit over a year":       (limits(("EUR", "year", "1")), InvalidFieldError, "policy.limits[0].per"),
    "a limit without an amount": (limits(("EUR", "day", None)), InvalidAmountError, "policy.limits[0].amount"),
    "an unknown currency":       (limits(("EUX", "day", "1")), InvalidAmountError, "policy.limits[0].currency"),
    "two limits alike":          (limits(("EUR", "day", "1"), ("EUR", "day", "2")), InvalidFieldError, "policy.limits"),
    "publishers as a list":      ({"publishers": ["p1"]}, InvalidFieldError, "policy.publishers"),
    "allowed and denied":        ({"services": {"allowed": [], "denied": []}}, InvalidFieldError, "policy.services"),
    "neither":                   ({"services": {}}, InvalidFieldError, "policy.services"),
    "permitted":                 ({"services": {"permitted": []}}, UnknownFieldError, "policy.services.permitted"),
    "a name that is none":       ({"services": {"denied": [1]}}, InvalidFieldError, "policy.services.denied"),
    "a moment that is text":     ({"valid_from": "now"}, InvalidFieldError, "policy.valid_from"),
    "a moment that is true":     ({"valid_until": True}, InvalidFieldError, "policy.valid_until"),
}
# fmt: on


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named(what):
    policy, error, field = WRONG[what]
    with pytest.raises(error) as refused:
        read_policy(policy)
    assert refused.value.facts["field"] == field


# fmt: off
USES = {
    # policy                                   publisher  service   moments       refused by
    "an allowed publisher":      ({"publishers": {"allowed": ["p1"]}}, "p1", None, (5, 5), None),
    "another publisher":         ({"publishers": {"allowed": ["p1"]}}, "p2", None, (5, 5), "publishers"),
    "no publisher":              ({"publishers": {"allowed": ["p1"]}}, None, None, (5, 5), "publishers"),
    "a denied publisher":        ({"publishers": {"denied": ["p1"]}},  "p1", None, (5, 5), "publishers"),
    "one that is not denied":    ({"publishers": {"denied": ["p1"]}},  "p2", None, (5, 5), None),
    "an allowed service":        ({"services": {"allowed": ["news"]}}, "p1", "news", (5, 5), None),
    "no service":                ({"services": {"allowed": ["news"]}}, "p1", None, (5, 5), "services"),
    "a denied service":          ({"services": {"denied": ["news"]}},  "p1", "news", (5, 5), "services"),
    "from its first moment":     ({"valid_from": 5}, "p1", None, (5_000, 6_000), None),
    "a moment too early":        ({"valid_from": 5}, "p1", None, (4_999, 6_000), "valid_from"),
    "to its last moment":        ({"valid_until": 6}, "p1", None, (5_000, 5_999), None),
    "a moment too late":         ({"valid_until": 6}, "p1", None, (5_000, 6_000), "valid_until"),
}
# fmt: on


@pytest.mark.parametrize("what", USES)
def test_a_use_is_admitted_or_refused_by_its_rule(what):
    policy, publisher, service, moments, rule = USES[what]
    read = read_policy(policy)
    if rule is None:
        read.check_use(publisher_id=publisher, services=[service], moments=moments)
        return
    with pytest.raises(MPassPolicyError) as refused:
        read.check_use(publisher_id=publisher, services=[service], moments=moments)
    assert refused.value.facts["rule"] == rule


LIMITED = read_policy(limits(("EUR", "transaction", "10"), ("EUR", "day", "20"), ("EUR", "month", "30")))
TODAY, NOVEMBER = (M, "EUR", "2026-11-24"), (M, "EUR", "2026-11")


@pytest.mark.parametrize(
    ("units", "spent", "per"),
    [
        (10 * EUR, {}, None),
        (10 * EUR + 1, {}, "transaction"),
        (10 * EUR, {TODAY: 10 * EUR}, None),
        (10 * EUR, {TODAY: 10 * EUR + 1}, "day"),
        (10 * EUR, {NOVEMBER: 20 * EUR}, None),
        (10 * EUR, {NOVEMBER: 20 * EUR + 1}, "month"),
        (10 * EUR, {("another", "EUR", "2026-11-24"): 20 * EUR}, None),
    ],
)
def test_a_limit_is_held_to_the_unit(units, spent, per):
    if per is None:
        LIMITED.check_limits({"EUR": units}, spent, mpass_id=M, at=AT)
        return
    with pytest.raises(MPassLimitExceededError) as refused:
        LIMITED.check_limits({"EUR": units}, spent, mpass_id=M, at=AT)
    assert refused.value.facts == {"currency": "EUR", "per": per}


def test_another_currency_is_no_way_around_the_limits():
    with pytest.raises(MPassPolicyError):
        LIMITED.check_limits({"USD": 1}, {}, mpass_id=M, at=AT)
    read_policy({}).check_limits({"USD": 1}, {}, mpass_id=M, at=AT)


def test_only_limits_over_time_are_counted():
    counted = counters_of(LIMITED, {"EUR": 7, "USD": 7}, mpass_id=M, at=AT)
    assert [(one.key, one.units, one.limit_units) for one in counted] == [
        (TODAY, 7, 20 * EUR),
        (NOVEMBER, 7, 30 * EUR),
    ]
    assert counters_of(LIMITED, {"EUR": 0}, mpass_id=M, at=AT) == ()


def test_a_day_ends_at_midnight_in_utc():
    assert [period(Per.DAY, AT + ms) for ms in (0, 999, 1_000)] == ["2026-11-24", "2026-11-24", "2026-11-25"]
    assert period(Per.MONTH, AT) == "2026-11"


@pytest.mark.parametrize(
    ("payload", "services"),
    [
        ({}, [None]),
        ({"service": "books"}, ["books"]),
        ({"transaction": {"service": "books"}}, ["books"]),
        ({"service": "books", "lines": [{"deep": {"service": "films"}}]}, ["books", "films"]),
        ({"service": ["books", {"id": "films"}]}, ["books", "films"]),
        ({"service": 7}, [None]),
    ],
)
def test_every_service_counts_wherever_it_stands(payload, services):
    assert services_of(payload) == services


def test_every_amount_counts_wherever_it_stands():
    money = {"amount": "1.00", "currency": "EUR"}
    payload = {**money, "a": {**money, "b": {"c": money}}, "lines": [money, [money]], "else": {"amount": None}}
    others = {"tip": {"amount": 3, "currency": "USD"}, "exact": {"amount": NumberText("2.50"), "currency": "EUR"}}
    assert amounts_of({**payload, **others}) == {"EUR": 7_500_000, "USD": 3_000_000}
