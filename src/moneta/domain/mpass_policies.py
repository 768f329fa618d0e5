"""What an mPass may be used for: its policy, read strictly, and asked when Moneta countersigns.

1. Every member is optional, and no other is known: a rule that was misspelt must not be a rule that is not there.
2. Where there are limits, a currency that none of them names is refused: nothing is converted here, so paying in
   another currency would be the way around every limit.
3. ``day`` and ``month`` are Moneta's, in UTC. What is reserved when Moneta signs is given back in the same period if
   the contract ends otherwise than finalized.
4. What a contract spends is every ``amount`` in its payload and in each object directly inside it: the places where a
   template's required fields are found.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

from moneta.domain.errors import (
    InvalidFieldError,
    MPassLimitExceededError,
    MPassPolicyError,
    UnknownFieldError,
)
from moneta.domain.identifiers import MPassId, OrganizationId, UnixMillis, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.limits import JSON_INTEGER_MAX, LIST_MEMBERS_MAX, MONEY_DECIMALS_MAX, NAME_CHARS_MAX
from moneta.domain.money import parse_money

Word = TypeVar("Word", bound=StrEnum)


class Activation(StrEnum):
    """Who brings an mPass from Pending to Active."""

    MO = "mo"
    HOLDER = "holder"


class Per(StrEnum):
    """What a limit is counted over."""

    TRANSACTION = "transaction"
    DAY = "day"
    MONTH = "month"


PERIOD_FORMS: Final[Mapping[Per, str]] = {Per.DAY: "%Y-%m-%d", Per.MONTH: "%Y-%m"}
MEMBERS: Final = ("activation", "limits", "publishers", "services", "valid_from", "valid_until")

SpendingKey = tuple[MPassId, str, str]
"""An mPass, a currency and a period: what a counter is known by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What a step adds to a counter; ``units`` below zero give back. At most ``limit_units`` may stand there then."""

    mpass_id: MPassId
    currency: str
    period: str
    units: int
    limit_units: int | None = None

    @property
    def key(self) -> SpendingKey:
        """What the counter is known by."""
        return self.mpass_id, self.currency, self.period


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most so much, ``units`` at the ledger's scale, of one currency."""

    currency: str
    per: Per
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Those that are allowed, and no others; or those that are denied."""

    is_allowed: bool
    names: frozenset[str]

    def admits(self, name: str | None) -> bool:
        """Tell whether it is all right; None, which nobody named, only where not everything else is refused."""
        return (name in self.names) is self.is_allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy as it was read. None: there is no such rule."""

    activation: Activation = Activation.MO
    limits: tuple[Limit, ...] = ()
    publishers: Names | None = None
    services: Names | None = None
    valid_from: UnixSeconds | None = None
    valid_until: UnixSeconds | None = None

    def limits_on(self, currency: str) -> Iterator[Limit]:
        """Give the limits of a currency."""
        return (limit for limit in self.limits if limit.currency == currency)

    def check_use(
        self, *, publisher_id: OrganizationId | None, services: Sequence[str | None], moments: Sequence[UnixMillis]
    ) -> None:
        """Refuse a use at a time, with a publisher or for a service that the policy does not admit.

        Raises:
            MPassPolicyError: ``rule`` names which.
        """
        held = {
            "valid_from": self.valid_from is None or min(moments) >= self.valid_from * 1000,
            "valid_until": self.valid_until is None or max(moments) < self.valid_until * 1000,
            "publishers": self.publishers is None or self.publishers.admits(publisher_id),
            "services": self.services is None or all(map(self.services.admits, services)),
        }
        for rule, is_held in held.items():
            if not is_held:
                raise MPassPolicyError(f"the mPass's policy does not admit this: {rule}", rule=rule)

    def check_limits(
        self, amounts: Mapping[str, int], spent: Mapping[SpendingKey, int], *, mpass_id: MPassId, at: UnixMillis
    ) -> None:
        """Refuse amounts that are more than a limit leaves. ``spent``: what the counters say, none for zero.

        Raises:
            MPassPolicyError: There are limits, and none in that currency.
            MPassLimitExceededError: Naming the limit, and not what was spent: the other party reads it.
        """
        for currency, units in amounts.items():
            limits = tuple(self.limits_on(currency))
            if self.limits and not limits:
                raise MPassPolicyError(f"the mPass has limits, and none in {currency}", rule="limits")
            for limit in limits:
                is_counted = limit.per is not Per.TRANSACTION
                before = spent.get((mpass_id, currency, period(limit.per, at)), 0) if is_counted else 0
                if before + units > limit.units:
                    raise MPassLimitExceededError(
                        f"the mPass's limit in {currency} for each {limit.per} leaves less than this",
                        currency=currency,
                        per=limit.per,
                    )


def period(per: Per, at: UnixMillis) -> str:
    """Return the day or the month of a moment, in UTC."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime(PERIOD_FORMS[per])


def counters_of(
    policy: Policy, amounts: Mapping[str, int], *, mpass_id: MPassId, at: UnixMillis
) -> tuple[Spending, ...]:
    """Return what amounts add to the counters of the policy's limits in the periods of ``at``."""
    return tuple(
        Spending(
            mpass_id=mpass_id,
            currency=currency,
            period=period(limit.per, at),
            units=units,
            limit_units=limit.units,
        )
        for currency, units in amounts.items()
        for limit in policy.limits_on(currency)
        if limit.per is not Per.TRANSACTION and units
    )


def amounts_of(payload: Mapping[str, Value]) -> Mapping[str, int]:
    """Return what a contract spends by its currency, in units; the payload was checked to have money of its form.

    Every ``amount`` counts, wherever it stands: one that is not counted would be a way around the limits.
    """
    found: Counter[str] = Counter()
    for place in _objects_in(payload):
        if place.get("amount") is not None:
            money = parse_money(
                place["amount"], place.get("currency"), where="amount", decimals=MONEY_DECIMALS_MAX, allows_zero=True
            )
            found[money.currency] += money.units
    return found


def services_of(payload: Mapping[str, Value]) -> Sequence[str | None]:
    """Return every service that a payload names, wherever it stands, for each to be admitted; None alone for none.

    What is no text names all texts that are in it, so that a list does not pass for nothing.
    """
    named = [text for place in _objects_in(payload) if "service" in place for text in _texts_in(place["service"])]
    return named or [None]


def _objects_in(value: Value) -> Iterator[Mapping[str, Value]]:
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _objects_in(one)


def _texts_in(value: Value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts_in(list(value.values()))
    elif isinstance(value, list):
        for one in value:
            yield from _texts_in(one)


def read_policy(policy: Mapping[str, Value], *, prefix: str = "policy.") -> Policy:
    """Return the policy that ``policy`` is. ``prefix``: the path that leads to its members, for errors.

    Raises:
        UnknownFieldError, InvalidFieldError, InvalidAmountError: The first member that is wrong.
    """
    check_known(policy, MEMBERS, prefix)
    limits = tuple(_limit(one, f"{prefix}limits[{at}].") for at, one in enumerate(_list(policy, "limits", prefix)))
    if len({(limit.currency, limit.per) for limit in limits}) != len(limits):
        raise InvalidFieldError(f"{prefix}limits: two for the same currency and period", field=f"{prefix}limits")
    return Policy(
        activation=_word(policy.get("activation", Activation.MO), Activation, f"{prefix}activation"),
        limits=limits,
        publishers=read_names(policy, "publishers", prefix),
        services=read_names(policy, "services", prefix),
        valid_from=_moment(policy, "valid_from", prefix),
        valid_until=_moment(policy, "valid_until", prefix),
    )


def _limit(value: Value, prefix: str) -> Limit:
    limit = _object(value, prefix)
    check_known(limit, ("currency", "per", "amount"), prefix)
    per = _word(limit.get("per"), Per, f"{prefix}per")
    money = parse_money(limit.get("amount"), limit.get("currency"), where=f"{prefix}amount", allows_zero=True)
    return Limit(currency=money.currency, per=per, units=money.units)


def read_names(policy: Mapping[str, Value], name: str, prefix: str) -> Names | None:
    """Return the rule ``name``, which either allows or denies; None where there is none.

    Raises:
        UnknownFieldError, InvalidFieldError: It has another form.
    """
    if name not in policy:
        return None
    place = f"{prefix}{name}."
    rule = _object(policy[name], place)
    check_known(rule, ("allowed", "denied"), place)
    if len(rule) != 1:
        raise InvalidFieldError(f"{prefix}{name}: expected either allowed or denied", field=f"{prefix}{name}")
    (which,) = rule
    named = _list(rule, which, place)
    if not all(isinstance(one, str) and 1 <= len(one) <= NAME_CHARS_MAX for one in named):
        raise InvalidFieldError(f"{place}{which}: expected names", field=f"{place}{which}")
    return Names(is_allowed=which == "allowed", names=frozenset(map(str, named)))


def check_known(members: Mapping[str, Value], known: Collection[str], prefix: str) -> None:
    """Refuse a member that is not ``known``."""
    for name in members:
        if name not in known:
            raise UnknownFieldError(f"{prefix}{name[:64]}: unknown member", field=f"{prefix}{name[:64]}")


def _object(value: Value, prefix: str) -> Mapping[str, Value]:
    if not isinstance(value, dict):
        raise InvalidFieldError(f"{prefix[:-1]}: expected an object", field=prefix[:-1])
    return value


def _list(members: Mapping[str, Value], name: str, prefix: str) -> Sequence[Value]:
    value = members.get(name, [])
    if not isinstance(value, list) or len(value) > LIST_MEMBERS_MAX:
        raise InvalidFieldError(
            f"{prefix}{name}: expected an array of at most {LIST_MEMBERS_MAX} items", field=f"{prefix}{name}"
        )
    return value


def _word(value: Value, among: type[Word], field: str) -> Word:
    if not isinstance(value, str) or value not in list(among):
        raise InvalidFieldError(f"{field}: expected one of {', '.join(among)}", field=field)
    return among(value)


def _moment(members: Mapping[str, Value], name: str, prefix: str) -> UnixSeconds | None:
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= JSON_INTEGER_MAX:
        raise InvalidFieldError(f"{prefix}{name}: expected whole Unix seconds", field=f"{prefix}{name}")
    return UnixSeconds(value)
