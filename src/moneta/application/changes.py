"""Changing the directory: read, decide, write if nothing moved meanwhile; and answer the same creation once.

A decision is made anew from a fresh read each time the directory turns out to have changed under it, a bounded number
of times. The answer to a creation with an ``Idempotency-Key`` is remembered in the same write, without secrets.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from moneta.application.access import Operation
from moneta.application.authenticate import Caller
from moneta.application.documents import Document, to_json
from moneta.application.ports import (
    Change,
    Committed,
    DirectoryChange,
    DirectoryConflictError,
    Hub,
    RememberedAnswer,
)
from moneta.domain.errors import (
    CodeTakenError,
    IdempotencyKeyReusedError,
    InvalidParameterError,
    KeyTakenError,
    TryAgainError,
)
from moneta.domain.ijson import Value, parse_object
from moneta.domain.limits import DIRECTORY_TRIES_MAX, IDEMPOTENCY_KEY_CHARS_MAX, JSON_DEPTH_MAX

ANSWER_DEPTH_MAX: Final = JSON_DEPTH_MAX + 2
"""An answer repeats what a body said, one or two levels deeper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to write, and what to answer once it is written. ``change`` None: there is nothing to write.

    ``needs_checker``: an operator does it only with another's consent, where two are configured. ``contract``: a change
    of a contract, whose part in the directory ``change`` is: both are written, or neither is.
    """

    change: DirectoryChange | None
    answer: Document
    needs_checker: bool = False
    contract: Change | None = None


def decide_and_apply(hub: Hub, decide: Callable[[], Decision]) -> Document:
    """Return the answer of a decision that was written while what it was made from still held.

    ``decide`` reads the directory afresh on every call.

    Raises:
        TryAgainError: It was overtaken every time.
    """
    for _ in range(DIRECTORY_TRIES_MAX):
        decision = decide()
        if decision.change is None or _is_applied(hub, decision.change, decision.contract):
            return decision.answer
    raise TryAgainError(f"the directory changed {DIRECTORY_TRIES_MAX} times under the same decision")


def _is_applied(hub: Hub, change: DirectoryChange, contract: Change | None) -> bool:
    """Write a decision, and tell whether what it was made from still held."""
    if contract is not None:
        written = replace(contract, directory=change)
        (outcome,) = hub.contracts.commit([written])
        hub.observer.committed([None], [written], [outcome])
        return outcome is Committed.COMMITTED
    try:
        hub.directory.apply(change)
    except DirectoryConflictError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A creation as its ``Idempotency-Key`` knows it: by whom, and the digest of what was asked."""

    caller: Caller
    idempotency_key: str
    digest: bytes

    def remembered(self, hub: Hub) -> Document | None:
        """Return the first answer, if this was asked before.

        Raises:
            IdempotencyKeyReusedError: Something else was asked with this key.
        """
        before = hub.directory.remembered(self.caller.caller_id, self.idempotency_key)
        if before is None:
            return None
        if before.digest != self.digest:
            raise IdempotencyKeyReusedError("Idempotency-Key: used before, with another request")
        body = parse_object(before.body, what="remembered answer", depth_max=ANSWER_DEPTH_MAX)
        return Document(body=body, revision=1, is_replay=True)

    def remember(self, hub: Hub, body: Mapping[str, object]) -> RememberedAnswer:
        """Return what to keep of the answer; ``body`` is without secrets."""
        return RememberedAnswer(
            caller=self.caller.caller_id,
            idempotency_key=self.idempotency_key,
            digest=self.digest,
            body=to_json(body),
            at=hub.clock.now_ms(),
        )


def creation(
    caller: Caller, operation: Operation, idempotency_key: str | None, *, target: str, members: Mapping[str, Value]
) -> Creation | None:
    """Return the creation that the key stands for; None without a key. ``target``: what the path names.

    Raises:
        InvalidParameterError: The key is not 1 to 255 printable ASCII characters.
    """
    if idempotency_key is None:
        return None
    is_printable = idempotency_key.isascii() and idempotency_key.isprintable()
    if not is_printable or not 1 <= len(idempotency_key) <= IDEMPOTENCY_KEY_CHARS_MAX:
        raise InvalidParameterError(
            f"Idempotency-Key: expected 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters",
            field="Idempotency-Key",
        )
    asked = to_json({"operation": operation, "target": target, "members": members}, is_sorted=True)
    return Creation(caller=caller, idempotency_key=idempotency_key, digest=hashlib.sha256(asked).digest())


def decide_creation(hub: Hub, asked: Creation | None, decide: Callable[[], Decision]) -> Document:
    """Return the answer to a creation: the first one if it was made before, else that of a new decision.

    Two at once with the same key: the store refuses the second, whatever it finds first, and then there is an answer.
    A secret of the answer stands under ``webhook_secret``, and is remembered as null.
    """

    def decided() -> Decision:
        before = None if asked is None else asked.remembered(hub)
        if before is not None:
            return Decision(change=None, answer=before)
        decision = decide()
        if asked is None or decision.change is None:
            return decision
        kept = asked.remember(hub, _without_secret(decision.answer.body))
        return replace(decision, change=replace(decision.change, remember=kept))

    try:
        return decide_and_apply(hub, decided)
    except (CodeTakenError, KeyTakenError):
        before = None if asked is None else asked.remembered(hub)
        if before is None:
            raise
        return before


def _without_secret(body: Mapping[str, object]) -> Mapping[str, object]:
    return {**body, "webhook_secret": None} if "webhook_secret" in body else body
