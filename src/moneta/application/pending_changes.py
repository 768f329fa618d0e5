"""Maker and checker (ADR 0048): what an operator asks for where two are configured, and how another decides it.

1. What would be refused now is refused to who asks; nobody else need look at it. Nothing is changed yet.
2. Who asked does not decide. What is approved is decided anew from a fresh read, as if it were asked for now; that
   change and the end of the waiting are one write, so that of two checkers at once one wins.
3. If the state of then says no, that is the checker's answer, and the change is over: it must be asked for again.

Both the asking and the decision are signed records in the audit log; that of what was done names the change.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from moneta.application.access import Operation, check_right, not_found
from moneta.application.authenticate import Caller, CallerRole
from moneta.application.changes import Decision, decide_and_apply
from moneta.application.check_effects import COUNTERSIGN
from moneta.application.documents import (
    ASKED_CHANGE,
    Document,
    check_if_match,
    check_names,
    check_parameters,
    choice,
    list_cursor,
    list_limit,
    optional_text,
    parameter_choice,
    seconds,
    to_json,
)
from moneta.application.ports import Change, DirectoryChange, Hub
from moneta.application.problems import problem_document
from moneta.application.records import make_record
from moneta.domain.errors import ForbiddenError, Refused
from moneta.domain.ijson import Value, parse
from moneta.domain.limits import REASON_CHARS_MAX
from moneta.domain.pending_changes import AWAITING, ChangeDecision, ChangeEvent, ChangeState, PendingChange
from moneta.signing import base64url


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A management call as it was made: what its path names, its body, and the revision that it was meant for."""

    operation: Operation
    subject: str
    target: Mapping[str, str]
    members: Mapping[str, Value]
    if_match: int | None = None


Decide = Callable[[Hub, Caller, PendingChange], Decision]
"""Decides anew what a change asks for."""
End = Callable[[Hub, PendingChange, str | None, str | None], Change | None]
"""Gives what is done to a contract that is not signed: the code of what stood in the way, if anything; a reason."""
NO_ENDINGS: Final[Mapping[str, End]] = {}


def with_checker(hub: Hub, caller: Caller, asked: Asked, decide: Callable[[], Decision]) -> Callable[[], Decision]:
    """Return ``decide``, but where what it decides takes two, one that keeps what was asked for the second of them."""

    def decided() -> Decision:
        decision = decide()
        if hub.checkers == 1 or not decision.needs_checker or caller.role is not CallerRole.OPERATOR:
            return decision
        return _kept(hub, caller, asked)

    return decided


def _kept(hub: Hub, caller: Caller, asked: Asked) -> Decision:
    pending = PendingChange(
        change_id=hub.randomness.uuid4(),
        operation=asked.operation,
        subject=asked.subject,
        target=asked.target,
        members=asked.members,
        if_match=asked.if_match,
        asked_by=caller.caller_id,
        asked_at=hub.clock.now_ms(),
    )
    record = _record(hub, caller, "ask_change", pending, {"members_sha256": _digest(asked.members)})
    return Decision(
        change=DirectoryChange(record=record, pending_change=pending),
        answer=Document(body={ASKED_CHANGE: pending.change_id, "state": AWAITING}),
    )


def list_changes(hub: Hub, caller: Caller, parameters: Mapping[str, str]) -> Document:
    """Return a page of what was asked for, newest first.

    Raises:
        InvalidParameterError: A parameter is unknown or out of range, or the cursor is not one of this list.
    """
    check_right(caller, Operation.LIST_CHANGES)
    check_parameters(parameters, ("state", "limit", "cursor"))
    now = hub.clock.now_ms()
    page = hub.directory.list_pending_changes(
        state=parameter_choice(parameters, "state", ChangeState),
        now=now,
        limit=list_limit(parameters),
        cursor=list_cursor(parameters),
    )
    items = [_document(hub, one) for one in page.items]
    return Document(body={"items": items, "next_cursor": page.next_cursor})


def read_change(hub: Hub, caller: Caller, change_id: str) -> Document:
    """Return what was asked for, and what became of it.

    Raises:
        NotFoundError: Nothing was asked under that id.
    """
    check_right(caller, Operation.READ_CHANGE)
    return _answer(hub, _find(hub, change_id))


def decide_change(
    hub: Hub,
    caller: Caller,
    change_id: str,
    members: Mapping[str, Value],
    decisions: Mapping[str, Decide],
    *,
    endings: Mapping[str, End] = NO_ENDINGS,
    if_match: int | None = None,
) -> Document:
    """Approve what another asked for, which does it, or refuse it; return what became of it.

    ``decisions``: how each operation that can wait for a checker is decided; ``endings``: what those do that do
    something even if they are not approved, or approved in vain.

    Raises:
        NotFoundError: Nothing was asked under that id.
        ForbiddenError: The caller asked for it, or is no checker where a contract asks.
        PreconditionFailedError: ``if_match`` is another revision.
        TransitionRefusedError: It is decided already, or expired.
        Refused: It was approved, and the state of now says no; it is over with that.
    """
    check_right(caller, Operation.DECIDE_CHANGE)
    asked = _find(hub, change_id)
    asked.check_checker(caller.caller_id)
    if asked.operation == COUNTERSIGN and caller.role is not CallerRole.CHECKER:
        # Its organization asked. An operator who has registered one with keys of its own would be both of the two.
        raise ForbiddenError(f"change {change_id}: a contract is approved by a checker", role=caller.role)
    check_names(members, ("decision", "reason"))
    check_if_match(if_match, asked.revision)  # a later decision than this read finds the state it left, not a revision
    event = ChangeEvent(choice(members, "decision", ChangeDecision))
    reason = optional_text(members, "reason", chars_max=REASON_CHARS_MAX)
    if event is ChangeEvent.REFUSE:
        return decide_and_apply(hub, lambda: _closed(hub, caller, change_id, event, endings, reason=reason))
    try:
        return decide_and_apply(hub, lambda: _approved(hub, caller, change_id, reason, decisions))
    except Refused as refusal:
        failure = refusal  # ``except`` forgets its own name
        decide_and_apply(hub, lambda: _failed(hub, caller, change_id, endings, reason, failure))
        raise


def _approved(
    hub: Hub, caller: Caller, change_id: str, reason: str | None, decisions: Mapping[str, Decide]
) -> Decision:
    pending = _find(hub, change_id)
    done = pending.decided(ChangeEvent.APPROVE, by=caller.caller_id, at=hub.clock.now_ms(), reason=reason)
    approver = replace(caller, role=CallerRole.OPERATOR, approves=change_id)
    decision = decisions[pending.operation](hub, approver, pending)
    return Decision(
        change=None if decision.change is None else replace(decision.change, pending_change=done),
        contract=decision.contract,
        answer=_answer(hub, done),
    )


def _failed(  # noqa: PLR0917  # who decided what, and what became of it
    hub: Hub, caller: Caller, change_id: str, endings: Mapping[str, End], reason: str | None, failure: Refused
) -> Decision:
    """Return the end of a change that was approved in vain; nothing if another decision came first."""
    pending = _find(hub, change_id)
    if pending.state_at(hub.clock.now_ms()) is not AWAITING:
        return Decision(change=None, answer=_answer(hub, pending))
    return _closed(hub, caller, change_id, ChangeEvent.FAIL, endings, reason=reason, failure=failure)


def _closed(
    hub: Hub,
    caller: Caller,
    change_id: str,
    event: ChangeEvent,
    endings: Mapping[str, End],
    *,
    reason: str | None,
    failure: Refused | None = None,
) -> Decision:
    """Return the end of a change that is not done."""
    pending = _find(hub, change_id)
    problem = None if failure is None else to_json(problem_document(failure))
    done = pending.decided(event, by=caller.caller_id, at=hub.clock.now_ms(), reason=reason, problem=problem)
    record = _record(hub, caller, f"{event}_change", done, {"reason": reason})
    ending = endings.get(pending.operation, _no_end)
    contract = ending(hub, pending, None if failure is None else failure.code, reason)
    directory = DirectoryChange() if contract is None else contract.directory or DirectoryChange()
    change = replace(directory, record=record, pending_change=done)
    return Decision(change=change, contract=contract, answer=_answer(hub, done))


def _no_end(_hub: Hub, _pending: PendingChange, _code: str | None, _reason: str | None) -> None:
    """Do nothing: what was asked for is left undone."""


def _find(hub: Hub, change_id: str) -> PendingChange:
    pending = hub.directory.pending_change(change_id)
    if pending is None:
        raise not_found()
    return pending


def _record(hub: Hub, caller: Caller, act: str, pending: PendingChange, facts: Mapping[str, object]) -> bytes:
    change = {"change": pending.change_id, "operation": pending.operation, **facts}
    position = hub.directory.registry_position()
    return make_record(hub, caller, act, subject=pending.subject, change=change, registry_seq=position)


def _digest(members: Mapping[str, Value]) -> str:
    return base64url.encode(hashlib.sha256(to_json(members, is_sorted=True)).digest())


def _answer(hub: Hub, pending: PendingChange) -> Document:
    return Document(body=_document(hub, pending), revision=pending.revision)


def _document(hub: Hub, pending: PendingChange) -> dict[str, object]:
    return {
        "id": pending.change_id,
        "state": pending.state_at(hub.clock.now_ms()),
        "operation": pending.operation,
        "subject": pending.subject,
        "target": pending.target,
        "members": pending.members,
        "if_match": pending.if_match,
        "asked_by": pending.asked_by,
        "asked_at": seconds(pending.asked_at),
        "expires_at": seconds(pending.expires_at),
        "decided_by": pending.decided_by,
        "decided_at": seconds(pending.decided_at),
        "reason": pending.reason,
        "problem": None if pending.problem is None else parse(pending.problem, what="problem"),
    }
