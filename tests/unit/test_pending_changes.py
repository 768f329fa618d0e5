"""A change that waits for a checker: its table whole, its end by time, and that two are two."""

from itertools import product

import pytest

from moneta.domain.errors import ForbiddenError, TransitionRefusedError
from moneta.domain.limits import CHANGE_AGE_S_MAX
from moneta.domain.pending_changes import (
    CHANGE_LIFECYCLE,
    ChangeActor,
    ChangeDecision,
    ChangeEvent,
    ChangeState,
    PendingChange,
)

AWAITING, APPROVED, REFUSED, FAILED, EXPIRED = ChangeState
CHECKER, MONETA = ChangeActor
ASKED_AT = 1_000_000
ALLOWED = {
    (AWAITING, ChangeEvent.APPROVE, CHECKER): APPROVED,
    (AWAITING, ChangeEvent.REFUSE, CHECKER): REFUSED,
    (AWAITING, ChangeEvent.FAIL, MONETA): FAILED,
    (AWAITING, ChangeEvent.EXPIRE, MONETA): EXPIRED,
}


def pending(**members):
    return PendingChange(
        **{
            "change_id": "c1",
            "operation": "change_organization_status",
            "subject": "o1",
            "target": {"kind": "mo", "organization_id": "o1"},
            "members": {"status": "Active"},
            "if_match": None,
            "asked_by": "anna",
            "asked_at": ASKED_AT,
            **members,
        }
    )


@pytest.mark.parametrize(("state", "event", "actor"), list(product(ChangeState, ChangeEvent, ChangeActor)))
def test_every_pair_of_state_and_event_is_a_row_or_refused(state, event, actor):
    expected = ALLOWED.get((state, event, actor))
    if expected is None:
        with pytest.raises(TransitionRefusedError):
            CHANGE_LIFECYCLE.follow(state, event, by=actor)
    else:
        assert CHANGE_LIFECYCLE.follow(state, event, by=actor) is expected


def test_every_state_is_reachable_and_all_but_the_first_are_final():
    assert CHANGE_LIFECYCLE.states() == [AWAITING, APPROVED, REFUSED, FAILED, EXPIRED]
    assert {source for source, *_ in CHANGE_LIFECYCLE.rows} == {AWAITING}


def test_a_checker_says_what_the_table_knows():
    assert {str(one) for one in ChangeDecision} <= {str(one) for one in ChangeEvent}


@pytest.mark.parametrize(
    ("event", "state"),
    [(ChangeEvent.APPROVE, APPROVED), (ChangeEvent.REFUSE, REFUSED), (ChangeEvent.FAIL, FAILED)],
)
def test_a_decision_names_who_made_it_and_when(event, state):
    done = pending().decided(event, by="ben", at=ASKED_AT + 5, reason="because", problem=b"{}")
    assert (done.state_at(ASKED_AT + 9), done.decided_by, done.decided_at) == (state, "ben", ASKED_AT + 5)
    assert (done.reason, done.problem, done.revision) == ("because", b"{}", 2)


@pytest.mark.parametrize("event", [ChangeEvent.APPROVE, ChangeEvent.REFUSE, ChangeEvent.FAIL])
def test_what_is_decided_is_not_decided_again(event):
    done = pending().decided(ChangeEvent.REFUSE, by="ben", at=ASKED_AT)
    with pytest.raises(TransitionRefusedError):
        done.decided(event, by="carl", at=ASKED_AT + 1)


def test_a_change_expires_by_time_alone_to_the_millisecond():
    last = ASKED_AT + CHANGE_AGE_S_MAX * 1000
    assert pending().expires_at == last
    assert pending().state_at(last - 1) is AWAITING
    assert pending().state_at(last) is EXPIRED
    with pytest.raises(TransitionRefusedError):
        pending().decided(ChangeEvent.APPROVE, by="ben", at=last)


def test_what_was_decided_in_time_does_not_expire():
    done = pending().decided(ChangeEvent.APPROVE, by="ben", at=ASKED_AT)
    assert done.state_at(ASKED_AT + 2 * CHANGE_AGE_S_MAX * 1000) is APPROVED


def test_who_asked_does_not_decide():
    pending().check_checker("ben")
    with pytest.raises(ForbiddenError):
        pending().check_checker("anna")
