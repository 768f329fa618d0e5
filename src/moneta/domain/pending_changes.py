"""Maker and checker: what one operator asked for, and what became of it when another looked at it.

1. The asker never decides. Two identities stand behind everything that is approved.
2. What is approved is judged anew, by the state of then. If that says no, the change has failed, and is over.
3. Nobody has for ever: a change that nobody decided is expired, by time alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from moneta.domain.errors import ForbiddenError
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.ijson import Value
from moneta.domain.lifecycle import lifecycle
from moneta.domain.limits import CHANGE_AGE_S_MAX


class ChangeState(StrEnum):
    """How a change stands."""

    AWAITING = "awaiting_checker"
    APPROVED = "approved"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"


class ChangeEvent(StrEnum):
    """What can happen to one: a checker's decision in the wire's words, or what came of it."""

    APPROVE = "approve"
    REFUSE = "refuse"
    FAIL = "fail"
    EXPIRE = "expire"


class ChangeDecision(StrEnum):
    """What a checker can say."""

    APPROVE = "approve"
    REFUSE = "refuse"


class ChangeActor(StrEnum):
    """Who can make it happen."""

    CHECKER = "checker"
    MONETA = "moneta"


AWAITING, APPROVED, REFUSED, FAILED, EXPIRED = ChangeState
CHECKER: Final = frozenset({ChangeActor.CHECKER})
MONETA: Final = frozenset({ChangeActor.MONETA})

# fmt: off
CHANGE_LIFECYCLE = lifecycle("change", AWAITING, (
    # from      event                to         by
    (AWAITING,  ChangeEvent.APPROVE, APPROVED,  CHECKER),
    (AWAITING,  ChangeEvent.REFUSE,  REFUSED,   CHECKER),
    # Approved, and refused by the state of then.
    (AWAITING,  ChangeEvent.FAIL,    FAILED,    MONETA),
    (AWAITING,  ChangeEvent.EXPIRE,  EXPIRED,   MONETA),
))
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingChange:
    """One change that waits for a checker, or what became of it.

    ``operation``: the call that was asked for, ``target``: what its path named, ``members``: its body. ``if_match``:
    the revision that it was meant for, if it said so. ``problem``: the JSON of the problem that a failed one met.
    """

    change_id: str
    operation: str
    subject: str
    target: Mapping[str, str]
    members: Mapping[str, Value]
    if_match: int | None
    asked_by: OrganizationId
    asked_at: UnixMillis
    decided_as: ChangeState = field(default=AWAITING)
    decided_by: OrganizationId | None = None
    decided_at: UnixMillis | None = None
    reason: str | None = None
    problem: bytes | None = None
    revision: int = 1

    @property
    def expires_at(self) -> UnixMillis:
        """From when on nobody can decide it."""
        return UnixMillis(self.asked_at + CHANGE_AGE_S_MAX * 1000)

    def state_at(self, moment: UnixMillis) -> ChangeState:
        """Return how it stands at ``moment``."""
        if self.decided_as is AWAITING and moment >= self.expires_at:
            return EXPIRED
        return self.decided_as

    def check_checker(self, checker: OrganizationId) -> None:
        """Refuse whoever asked for it: the two must be two.

        Raises:
            ForbiddenError: They are one.
        """
        if checker == self.asked_by:
            raise ForbiddenError(f"change {self.change_id}: who asked for it does not decide it", change=self.change_id)

    def decided(
        self,
        event: ChangeEvent,
        *,
        by: OrganizationId,
        at: UnixMillis,
        reason: str | None = None,
        problem: bytes | None = None,
    ) -> "PendingChange":
        """Return the change after ``event``, which the decision of the identity ``by`` causes.

        Raises:
            TransitionRefusedError: It is decided already, or expired.
        """
        actor = ChangeActor.MONETA if event is ChangeEvent.FAIL else ChangeActor.CHECKER
        state = CHANGE_LIFECYCLE.follow(self.state_at(at), event, by=actor)
        return replace(
            self,
            decided_as=state,
            decided_by=by,
            decided_at=at,
            reason=reason,
            problem=problem,
            revision=self.revision + 1,
        )
