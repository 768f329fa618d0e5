"""What the demo plays: one row a kind of contract, in figures and expectations; and the contracts that follow."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ID_BYTES: Final = 8
REFUSED_EACH: Final = 2


class Reply(StrEnum):
    """What the party that did not start does when it is asked to sign."""

    SIGN = "sign"
    SIGN_LATER = "sign_later"
    DECLINE = "decline"
    DECLINE_LATER = "decline_later"
    NOTHING = "nothing"


class Twist(StrEnum):
    """What the starter does beside submitting; what comes after ``EXPIRES`` makes the hub refuse it."""

    NONE = "none"
    CANCELS = "cancels"
    EXPIRES = "expires"
    FORGED = "forged"
    CHANGED = "changed"
    OTHER_HUB = "other_hub"
    WRONG_KEY = "wrong_key"
    WRONG_ROLE = "wrong_role"
    UNKNOWN_TEMPLATE = "unknown_template"
    MISSING_AMOUNT = "missing_amount"
    THIRD_DECIMAL = "third_decimal"
    FOREIGN_MPASS = "foreign_mpass"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the plan. ``code``: the problem that a refused one must meet."""

    title: str
    count: int
    starter: str
    template: str
    reply: Reply
    outcome: str
    twist: Twist = Twist.NONE
    code: str | None = None


def refused_kinds(rows: Sequence[tuple[str, str, str, Twist, str]]) -> Iterator[Kind]:
    """Return a kind for each row."""
    for title, starter, template, twist, code in rows:
        yield Kind(title, REFUSED_EACH, starter, template, Reply.NOTHING, "refused", twist, code)


TRANSACTION: Final = "transaction-contract"
CHARGE: Final = "charge-contract"
CAMPAIGN: Final = "joint-campaign-agreement"

ORDERS: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    TRANSACTION: (("mo",), ("moneta",), ("publisher",)),
    CHARGE: (("publisher",), ("moneta",), ("mo",)),
    CAMPAIGN: (("mo",), ("publisher", "moneta")),
}
"""Who signs in which step, as the conductor expects it, not as the hub says."""

MO, PUBLISHER = "mo", "publisher"
CANCELS, EXPIRES = Twist.CANCELS, Twist.EXPIRES
# fmt: off
KINDS: Final = (
    #    what happens               how many  starter    template     reply                outcome     beside
    Kind("expires unanswered",               12, MO,        TRANSACTION, Reply.NOTHING,       "expired", EXPIRES),
    Kind("expires unanswered",                8, PUBLISHER, CHARGE,      Reply.NOTHING,       "expired", EXPIRES),
    Kind("signed in the webhook's answer",   45, MO,        TRANSACTION, Reply.SIGN,          "finalized"),
    Kind("signed in the webhook's answer",   35, PUBLISHER, CHARGE,      Reply.SIGN,          "finalized"),
    Kind("signed by a second event",         18, MO,        TRANSACTION, Reply.SIGN_LATER,    "finalized"),
    Kind("signed by a second event",         12, PUBLISHER, CHARGE,      Reply.SIGN_LATER,    "finalized"),
    Kind("a campaign, signed in parallel",   10, MO,        CAMPAIGN,    Reply.SIGN,          "finalized"),
    Kind("declined in the webhook's answer", 12, MO,        TRANSACTION, Reply.DECLINE,       "declined"),
    Kind("declined by a second event",        8, PUBLISHER, CHARGE,      Reply.DECLINE_LATER, "declined"),
    Kind("cancelled by its starter",         12, MO,        TRANSACTION, Reply.NOTHING,       "cancelled", CANCELS),
    Kind("cancelled by its starter",          8, PUBLISHER, CHARGE,      Reply.NOTHING,       "cancelled", CANCELS),
    *refused_kinds((
        # what is wrong                         starter    template      twist                   problem
        ("a bit of its signature flipped",      MO,        TRANSACTION,  Twist.FORGED,           "invalid_signature"),
        ("its amount changed after signing",    PUBLISHER, CHARGE,       Twist.CHANGED,          "invalid_signature"),
        ("signed for another hub",              MO,        TRANSACTION,  Twist.OTHER_HUB,        "invalid_signature"),
        ("signed with the key for tokens",      PUBLISHER, CHARGE,       Twist.WRONG_KEY,        "key_not_valid"),
        ("started by whose turn it is not",     PUBLISHER, TRANSACTION,  Twist.WRONG_ROLE,       "wrong_signer"),
        ("under a template that is not there",  MO,        TRANSACTION,  Twist.UNKNOWN_TEMPLATE, "unknown_template"),
        ("without an amount",                   PUBLISHER, CHARGE,       Twist.MISSING_AMOUNT,   "missing_field"),
        ("with a third decimal of a dollar",    MO,        TRANSACTION,  Twist.THIRD_DECIMAL,    "invalid_amount"),
        ("for an mPass that nobody has",        MO,        TRANSACTION,  Twist.FOREIGN_MPASS,    "unknown_mpass"),
        ("after its own term",                  PUBLISHER, CHARGE,       Twist.EXPIRED,          "contract_expired"),
    )),
)
# fmt: on
OUTCOMES: Final = ("finalized", "declined", "cancelled", "expired", "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedContract:
    """One contract of the plan. Both partners have it in their own records, with its amount."""

    contract_id: str
    kind: int
    amount: str

    @property
    def row(self) -> Kind:
        """Its kind."""
        return KINDS[self.kind]


def make_plan(*, each_max: int | None = None) -> Sequence[PlannedContract]:
    """Return every contract, the ones that take their time first. ``each_max``: of each kind not more than so many."""
    return tuple(_contracts(each_max))


def _contracts(each_max: int | None) -> Iterator[PlannedContract]:
    number = 0
    for index, kind in enumerate(KINDS):
        for _ in range(kind.count if each_max is None else min(kind.count, each_max)):
            number += 1
            amount = f"{10 + number}.{number % 100:02d}"
            yield PlannedContract(
                contract_id=f"demo-{number:03d}-{secrets.token_hex(ID_BYTES)}", kind=index, amount=amount
            )
