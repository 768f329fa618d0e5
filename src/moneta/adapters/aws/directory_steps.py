"""What a step does to the directory: one transaction with the step, or, where that is too small, around it.

1. The step's item and the writes of its ``DirectoryChange`` are one transaction: all are there, or none is.
2. A transaction has 100 actions. New mPasses beyond that have their numbers held first, each for its own mPass, so that
   the same again changes nothing; then the step's item, with the rest of the change, carries them; and whoever fans the
   step out puts them where they belong. A number that was held for a step that never came is lost, and harms nobody.
"""

import random
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import msgspec

from moneta.adapters.aws.attributes import Item, Value
from moneta.adapters.aws.directory import DynamoDBDirectoryStore
from moneta.adapters.aws.directory_changes import Action, actions_of, mpass_holds, mpass_issuers, mpass_puts
from moneta.adapters.aws.directory_items import mpass_item, mpass_of, spent_key
from moneta.adapters.aws.dynamodb import TRANSACTION_ACTIONS_MAX, DynamoDB, Table, TransactionFailedError, Write
from moneta.adapters.aws.lifetimes import FORGET_AT, Lifetimes
from moneta.application.ports import DirectoryChange, DirectoryConflictError
from moneta.domain.errors import CodeTakenError, KeyTakenError, StoreUnavailableError, TemplateExistsError
from moneta.domain.limits import SPENT_KEPT_DAYS
from moneta.domain.mpass_policies import Spending
from moneta.domain.mpasses import MPass

CARRIED: Final = "mpasses"
"""The attribute of a step's item with the new mPasses that were too many for its transaction."""
CARRIED_CHUNK: Final = 25
"""How many of them are put at once: each is a few actions of a transaction."""
CARRIED_TRIES_MAX: Final = 10
DAY_S: Final = 86_400
TURN_TRIES_MAX: Final = 6
TURN_WAIT_S: Final = 0.01
TAKEN_ERRORS: Final = (CodeTakenError, KeyTakenError, TemplateExistsError)
"""What a use case is told at once, and an effect finds when it is computed again from what is there now."""

One = TypeVar("One")


class DirectorySteps:
    """Puts steps together with what they do to the directory."""

    def __init__(self, db: DynamoDB, lifetimes: Lifetimes, directory: DynamoDBDirectoryStore) -> None:
        self._db = db
        self._lifetimes = lifetimes
        self._directory = directory

    def put_new(
        self, item: Item, change: DirectoryChange, spending: Sequence[Spending] = (), *, other: Item | None = None
    ) -> tuple[Item, Item | None]:
        """Put a step's item where none is, with its change and what it spends.

        ``other``: the item of another contract's step, put with it.

        Returns the item as it was put, with what it carries, and the one that is there if that is another.

        Raises:
            DirectoryConflictError: The directory, or the other contract, is no longer as it was read, or a limit leaves
                no room, and nothing was changed.
        """
        actions = self._actions(change)
        if len(actions) + len(spending) + (1 if other is None else 2) > TRANSACTION_ACTIONS_MAX:
            new = [mpass for mpass in change.mpasses if mpass.revision == 1]
            rest = replace(change, mpasses=tuple(mpass for mpass in change.mpasses if mpass.revision > 1))
            self._hold_numbers(new)
            actions = [*self._actions(rest), *mpass_issuers(new)]
            item = {**item, CARRIED: _packed(new)}
        steps = [
            Write(table=Table.CONTRACTS, item=one, **self._db.where_none_is(Table.CONTRACTS))
            for one in (item, other)
            if one is not None
        ]
        try:
            self._transact_in_turn([*steps, *(action.write for action in actions), *map(self._spend, spending)])
        except TransactionFailedError as error:
            if 0 not in error.failed:
                raise DirectoryConflictError("the directory is no longer as it was read") from error
            return item, self._db.get(Table.CONTRACTS, {"contract_id": item["contract_id"], "seq": item["seq"]})
        return item, None

    def put_carried(self, item: Item) -> None:
        """Put the mPasses that a step's item carries, but for those that are there.

        Raises:
            StoreUnavailableError: Others were at the same ones every time.
        """
        for chunk in _chunks(_unpacked(item), CARRIED_CHUNK):
            self._put_missing(chunk)

    def _actions(self, change: DirectoryChange) -> list[Action]:
        stored = self._directory.keys_of(list(dict.fromkeys(key.owner for key in change.keys)))
        try:
            return actions_of(change, stored, self._lifetimes)
        except TAKEN_ERRORS as error:
            raise DirectoryConflictError(error.detail) from error

    def _hold_numbers(self, mpasses: Sequence[MPass]) -> None:
        for chunk in _chunks(mpasses, TRANSACTION_ACTIONS_MAX):
            try:
                self._transact([action.write for action in mpass_holds(chunk)])
            except TransactionFailedError as error:
                raise DirectoryConflictError("mPass number: expected none in the store") from error

    def _put_missing(self, mpasses: Sequence[MPass]) -> None:
        for _ in range(CARRIED_TRIES_MAX):
            there = self._directory.mpasses([mpass.mpass_id for mpass in mpasses])
            missing = [mpass for mpass in mpasses if mpass.mpass_id not in there]
            if not missing:
                return
            try:
                self._transact([action.write for mpass in missing for action in mpass_puts(mpass)])
            except TransactionFailedError:
                continue  # Somebody else puts them, too.
            return
        raise StoreUnavailableError(f"mPass {mpasses[0].mpass_id}: others were at it {CARRIED_TRIES_MAX} times")

    def _spend(self, spending: Spending) -> Write:
        values: dict[str, Value] = {
            "units": spending.units,
            FORGET_AT: self._lifetimes.now() + SPENT_KEPT_DAYS * DAY_S,
        }
        condition = ""
        if spending.limit_units is not None:
            condition = "attribute_not_exists(#units) OR #units <= :room"
            room = values["room"] = spending.limit_units - spending.units
            if room < 0:
                raise DirectoryConflictError("more than the limit, whatever was spent before")
        expression = f"SET #{FORGET_AT} = :{FORGET_AT} ADD #units :units"
        key = spent_key(spending.key)
        return Write(table=Table.DIRECTORY, key=key, expression=expression, values=values, condition=condition)

    def _transact_in_turn(self, writes: Sequence[Write]) -> None:
        """Do every write or none; while others are at the same items, try again after a moment of its own.

        Many transactions on one mPass meet at its counter. Beyond these tries the contract is judged anew, and beyond
        those its message is tried again: nothing is let through that was not counted.
        """
        for number in range(TURN_TRIES_MAX):
            try:
                return self._transact(writes)
            except TransactionFailedError as error:
                if error.failed or number == TURN_TRIES_MAX - 1:
                    raise
            time.sleep(TURN_WAIT_S * 2**number * random.random())  # noqa: S311  # spreads load, guards nothing
        raise AssertionError("the last try returns or raises")

    def _transact(self, writes: Sequence[Write]) -> None:
        self._db.transact(writes, request_id=str(uuid.uuid4()))


def _packed(mpasses: Sequence[MPass]) -> bytes:
    """Return mPasses small: what they have in common, as those of one batch do, is there once after the packing."""
    return zlib.compress(msgspec.msgpack.encode([mpass_item(mpass) for mpass in mpasses]))


def _unpacked(item: Item) -> Sequence[MPass]:
    if CARRIED not in item:
        return ()
    return [mpass_of(one) for one in msgspec.msgpack.decode(zlib.decompress(item[CARRIED]))]


def _chunks(given: Sequence[One], size: int) -> Iterator[Sequence[One]]:
    return (given[start : start + size] for start in range(0, len(given), size))
