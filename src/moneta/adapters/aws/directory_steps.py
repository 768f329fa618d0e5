"""What a step does to the directory: one transaction with the step, or, where that is too small, around it.

1. The step's item and the writes of its ``DirectoryChange`` are one transaction: all are there, or none is.
2. A transaction has 100 actions. New mPasses beyond that have their numbers held first, each for its own mPass, so that
   the same again changes nothing; then the step's item, with the rest of the change, carries them; and whoever fans the
   step out puts them where they belong. A number that was held for a step that never came is lost, and harms nobody.
"""

import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import msgspec

from moneta.adapters.aws.attributes import Item
from moneta.adapters.aws.directory import DynamoDBDirectoryStore
from moneta.adapters.aws.directory_changes import Action, actions_of, mpass_holds, mpass_issuers, mpass_puts
from moneta.adapters.aws.directory_items import mpass_item, mpass_of
from moneta.adapters.aws.dynamodb import TRANSACTION_ACTIONS_MAX, DynamoDB, Table, TransactionFailedError, Write
from moneta.adapters.aws.lifetimes import Lifetimes
from moneta.application.ports import DirectoryChange, DirectoryConflictError
from moneta.domain.errors import CodeTakenError, KeyTakenError, StoreUnavailableError, TemplateExistsError
from moneta.domain.mpasses import MPass

CARRIED: Final = "mpasses"
"""The attribute of a step's item with the new mPasses that were too many for its transaction."""
CARRIED_CHUNK: Final = 25
"""How many of them are put at once: each is a few actions of a transaction."""
CARRIED_TRIES_MAX: Final = 10
TAKEN_ERRORS: Final = (CodeTakenError, KeyTakenError, TemplateExistsError)
"""What a use case is told at once, and an effect finds when it is computed again from what is there now."""

One = TypeVar("One")


class DirectorySteps:
    """Puts steps together with what they do to the directory."""

    def __init__(self, db: DynamoDB, lifetimes: Lifetimes, directory: DynamoDBDirectoryStore) -> None:
        self._db = db
        self._lifetimes = lifetimes
        self._directory = directory

    def put_new(self, item: Item, change: DirectoryChange, *, other: Item | None = None) -> tuple[Item, Item | None]:
        """Put a step's item where none is, with its change; ``other``: that of another contract's step with it.

        Returns the item as it was put, with what it carries, and the one that is there if that is another.

        Raises:
            DirectoryConflictError: The directory, or the other contract, is no longer as it was read, and nothing was
                changed.
        """
        actions = self._actions(change)
        if len(actions) + (1 if other is None else 2) > TRANSACTION_ACTIONS_MAX:
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
            self._transact([*steps, *(action.write for action in actions)])
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
