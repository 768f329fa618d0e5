"""The key registry's rules: which key counts for what, at which position."""

from itertools import product

import pytest

from moneta.domain.errors import KeyNotValidError, TransitionRefusedError
from moneta.domain.keys import (
    KEY_LIFECYCLE,
    KeyActor,
    KeyChange,
    KeyEvent,
    KeyStatus,
    KeyUse,
    RegisteredKey,
)

ACTIVE, RETIRED, REVOKED, COMPROMISED = KeyStatus


def key(*changes, uses=(KeyUse.CONTRACT,)):
    """Return a key registered at position 10, with ``changes`` of (position, status)."""
    made = tuple(KeyChange(seq=seq, at=seq * 1_000, status=status) for seq, status in [(10, ACTIVE), *changes])
    return RegisteredKey(owner="mo-1", key_id="kid", jwk={}, uses=frozenset(uses), changes=made)


ALLOWED = {
    (ACTIVE, KeyEvent.RETIRE): RETIRED,
    (ACTIVE, KeyEvent.REVOKE): REVOKED,
    (ACTIVE, KeyEvent.COMPROMISE): COMPROMISED,
    (RETIRED, KeyEvent.REVOKE): REVOKED,
    (RETIRED, KeyEvent.COMPROMISE): COMPROMISED,
    (REVOKED, KeyEvent.COMPROMISE): COMPROMISED,
}


@pytest.mark.parametrize(("state", "event", "actor"), list(product(KeyStatus, KeyEvent, KeyActor)))
def test_every_change_of_a_key_is_a_row_or_refused(state, event, actor):
    before = key() if state is ACTIVE else key((11, state))
    change = KeyChange(seq=12, at=12_000, status=KeyStatus(event), since=5)
    target = ALLOWED.get((state, event))
    if target is None:
        with pytest.raises(TransitionRefusedError) as refusal:
            before.changed(event, by=actor, change=change)
        assert refusal.value.facts["allowed"] == [name for (source, name) in ALLOWED if source is state]
    else:
        after = before.changed(event, by=actor, change=change)
        assert after.status is target
        assert after.changes == (*before.changes, change)
        assert before.status is state


def test_every_status_of_a_key_is_reachable_and_the_last_one_final():
    assert set(KEY_LIFECYCLE.states()) == set(KeyStatus)
    assert all(KEY_LIFECYCLE.allowed(COMPROMISED, by=actor) == [] for actor in KeyActor)


def test_no_key_becomes_active_again():
    assert ACTIVE not in {target for _, _, target, _ in KEY_LIFECYCLE.rows}


def test_a_key_stands_at_each_position_as_it_stood_then():
    known = key((20, RETIRED), (30, COMPROMISED))
    stood = [known.status_at(seq) for seq in (0, 9, 10, 19, 20, 29, 30, 99)]
    assert stood == [None, None, ACTIVE, ACTIVE, RETIRED, RETIRED, COMPROMISED, COMPROMISED]


# fmt: off
JUDGEMENTS = {
    # case                                       changes                          received  judged  valid
    "active then and now":                       ((),                              15,       25,     True),
    "registered in the commit that judges":      ((),                              10,       10,     True),
    "registered after the receipt":              ((),                              9,        10,     True),
    "not registered yet":                        ((),                              9,        9,      False),
    "retired after the receipt":                 (((20, RETIRED),),                19,       25,     True),
    "retired at the receipt":                    (((20, RETIRED),),                20,       25,     False),
    "retired before the receipt":                (((20, RETIRED),),                21,       25,     False),
    "retired after the judgement":               (((20, RETIRED),),                15,       19,     True),
    "retired, and received before registration": (((20, RETIRED),),                9,        25,     False),
    "revoked after the receipt":                 (((20, REVOKED),),                15,       20,     False),
    "revoked after the judgement":               (((20, REVOKED),),                15,       19,     True),
    "compromised after the receipt":             (((20, COMPROMISED),),            15,       25,     False),
    "compromised after the judgement":           (((20, COMPROMISED),),            15,       19,     True),
    "retired, then revoked":                     (((20, RETIRED), (22, REVOKED)),  15,       22,     False),
    "retired, revoked after the judgement":      (((20, RETIRED), (22, REVOKED)),  15,       21,     True),
}
# fmt: on


@pytest.mark.parametrize("case", JUDGEMENTS)
def test_validity_is_decided_by_position(case):
    changes, received_at, judged_at, is_valid = JUDGEMENTS[case]
    known = key(*changes)
    if is_valid:
        known.check_valid(KeyUse.CONTRACT, judged_at=judged_at, received_at=received_at, received_ms=0)
    else:
        with pytest.raises(KeyNotValidError):
            known.check_valid(KeyUse.CONTRACT, judged_at=judged_at, received_at=received_at, received_ms=0)


@pytest.mark.parametrize("uses", [(), (KeyUse.AUTH,), (KeyUse.CONTRACT,), tuple(KeyUse)])
@pytest.mark.parametrize("use", KeyUse)
def test_a_key_signs_only_what_it_was_registered_for(use, uses):
    known = key(uses=uses)
    if use in uses:
        known.check_valid(use, judged_at=10, received_at=10, received_ms=0)
    else:
        with pytest.raises(KeyNotValidError, match=f"not registered for use {use}"):
            known.check_valid(use, judged_at=10, received_at=10, received_ms=0)


def test_a_key_with_an_end_signs_until_then_by_monetas_clock_from_the_position_that_set_it_on():
    ending = key().ending(ends_at=100, seq=20, at=20_000)
    ending.check_valid(KeyUse.CONTRACT, judged_at=20, received_at=20, received_ms=99_999)
    ending.check_valid(KeyUse.CONTRACT, judged_at=19, received_at=19, received_ms=100_000)
    for judged_at in (20, 21):
        with pytest.raises(KeyNotValidError, match="its rotation has ended"):
            ending.check_valid(KeyUse.CONTRACT, judged_at=judged_at, received_at=10, received_ms=100_000)


@pytest.mark.parametrize(
    "known", [key((20, RETIRED)), key().ending(ends_at=100, seq=20, at=20_000)], ids=["ended", "ending"]
)
def test_only_an_active_key_without_an_end_is_given_one(known):
    with pytest.raises(KeyNotValidError):
        known.ending(ends_at=200, seq=30, at=30_000)


def test_what_was_stated_about_the_past_changes_nothing_committed():
    known = key().changed(
        KeyEvent.COMPROMISE, by=KeyActor.OWNER, change=KeyChange(seq=20, at=20_000, status=COMPROMISED, since=0)
    )
    known.check_valid(KeyUse.CONTRACT, judged_at=19, received_at=15, received_ms=0)
