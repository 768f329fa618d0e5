from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.errors import MPassNotActiveError, TransitionRefusedError
from moneta.domain.mpasses import (
    NUMBER_RANDOM_DIGITS,
    Facts,
    Lock,
    MPass,
    MPassEvent,
    MPassStatus,
    check_mpass_active,
    derive_status,
    is_number,
    make_number,
)

PENDING, ACTIVE, LOCKED, EXPIRED, REVOKED = MPassStatus
ACTIVATE, LOCK, REVOKE = MPassEvent
EXPIRES_AT = 1_000


def mpass(facts=None, *, expires_at=EXPIRES_AT):
    return MPass(
        mpass_id="p1",
        number=make_number("ACME", "0" * NUMBER_RANDOM_DIGITS),
        mo_id="mo-1",
        sealed_member_ref=b"sealed",
        tier="gold",
        policy={},
        holder_jwk=None,
        issued_at=1,
        expires_at=expires_at,
        history=(facts or Facts(since=1),),
    )


# fmt: off
IN_STATE = {
    PENDING: (Facts(since=1),                                               10),
    ACTIVE:  (Facts(since=1, activated_at=2),                               10),
    LOCKED:  (Facts(since=1, activated_at=2, locks=frozenset({Lock.MO})),   10),
    EXPIRED: (Facts(since=1, activated_at=2, locks=frozenset({Lock.MO})),   EXPIRES_AT * 1_000),
    REVOKED: (Facts(since=1, activated_at=2, revoked_at=3),                 EXPIRES_AT * 1_000),
}
ALLOWED = {
    PENDING: {ACTIVATE: ACTIVE, LOCK: LOCKED, REVOKE: REVOKED},
    ACTIVE:  {LOCK: LOCKED, REVOKE: REVOKED},
    LOCKED:  {ACTIVATE: ACTIVE, LOCK: LOCKED, REVOKE: REVOKED},
    EXPIRED: {REVOKE: REVOKED},
    REVOKED: {},
}
# fmt: on


@pytest.mark.parametrize(("status", "event"), list(product(MPassStatus, MPassEvent)))
def test_every_change_of_an_mpass_is_a_row_or_refused(status, event):
    facts, moment = IN_STATE[status]
    before = mpass(facts)
    assert before.status_at(moment) is status
    if event in ALLOWED[status]:
        after = before.changed(event, lock=Lock.MO, at=moment)
        assert after.status_at(moment) is ALLOWED[status][event]
        assert (after.revision, after.history[:-1]) == (before.revision + 1, before.history)
    else:
        with pytest.raises(TransitionRefusedError) as refusal:
            before.changed(event, lock=Lock.MO, at=moment)
        assert refusal.value.facts == {"state": status, "allowed": sorted(ALLOWED[status])}


# Every combination of facts, and the first of Revoked, Expired, Locked, Active, Pending that it gives.
LOCKS = [frozenset(), frozenset({Lock.USER})]
COMBINATIONS = list(product([None, 1], [None, 2], LOCKS, [None, EXPIRES_AT], [0, 10**9]))


@pytest.mark.parametrize(("activated_at", "revoked_at", "locks", "expires_at", "moment"), COMBINATIONS)
def test_the_status_is_the_first_that_the_facts_give(activated_at, revoked_at, locks, expires_at, moment):
    facts = Facts(since=0, activated_at=activated_at, revoked_at=revoked_at, locks=locks)
    claims = [
        (REVOKED, revoked_at is not None),
        (EXPIRED, expires_at is not None and moment >= expires_at * 1_000),
        (LOCKED, bool(locks)),
        (ACTIVE, activated_at is not None),
        (PENDING, True),
    ]
    assert derive_status(facts, expires_at=expires_at, moment=moment) is next(name for name, holds in claims if holds)


def test_every_status_can_be_derived():
    found = {
        derive_status(Facts(since=0, activated_at=a, revoked_at=r, locks=locks), expires_at=e, moment=m)
        for a, r, locks, e, m in COMBINATIONS
    }
    assert found == set(MPassStatus)


@pytest.mark.parametrize(
    ("moment", "status"), [(EXPIRES_AT * 1_000 - 1, ACTIVE), (EXPIRES_AT * 1_000, EXPIRED), (10**12, EXPIRED)]
)
def test_an_mpass_expires_on_the_second(moment, status):
    assert mpass(Facts(since=1, activated_at=2)).status_at(moment) is status


def test_an_mpass_without_a_term_never_expires():
    assert mpass(Facts(since=1, activated_at=2), expires_at=None).status_at(10**15) is ACTIVE


def test_the_history_tells_the_status_at_any_moment():
    known = (
        mpass()
        .changed(ACTIVATE, lock=Lock.MO, at=10)
        .changed(LOCK, lock=Lock.USER, at=20)
        .changed(ACTIVATE, lock=Lock.USER, at=30)
        .changed(REVOKE, lock=Lock.MO, at=40)
    )
    stood = [known.status_at(moment) for moment in (0, 1, 9, 10, 19, 20, 29, 30, 39, 40, 10**9)]
    assert stood == [PENDING] * 3 + [ACTIVE] * 2 + [LOCKED] * 2 + [ACTIVE] * 2 + [REVOKED] * 2


def test_an_unlock_never_activates_what_was_pending():
    known = mpass().changed(LOCK, lock=Lock.ADMIN, at=10).changed(ACTIVATE, lock=Lock.ADMIN, at=20)
    assert known.status_at(20) is PENDING
    assert known.changed(ACTIVATE, lock=Lock.MO, at=30).status_at(30) is ACTIVE


steps = st.lists(st.tuples(st.sampled_from([ACTIVATE, LOCK]), st.sampled_from(Lock)), max_size=20)


@given(steps)
def test_one_partys_unlock_never_lifts_anothers_lock(moves):
    known, held = mpass(), set()
    for at, (event, lock) in enumerate(moves, start=2):
        try:
            known = known.changed(event, lock=lock, at=at)
        except TransitionRefusedError:
            assert (event, known.status_at(at)) == (ACTIVATE, ACTIVE)
            continue
        held = held | {lock} if event is LOCK else held - {lock}
        assert known.locks == held
        assert (known.status_at(at) is LOCKED) is bool(held)


@given(steps, st.sampled_from(Lock))
def test_nothing_brings_a_revoked_mpass_back(moves, lock):
    known = mpass().changed(REVOKE, lock=lock, at=2)
    for event, other in [*moves, (REVOKE, lock)]:
        with pytest.raises(TransitionRefusedError):
            known.changed(event, lock=other, at=3)


@pytest.mark.parametrize("statuses", [(), (ACTIVE,), (ACTIVE, ACTIVE)])
def test_an_active_mpass_may_pay(statuses):
    check_mpass_active(mpass(), statuses)


@pytest.mark.parametrize("status", [status for status in MPassStatus if status is not ACTIVE])
@pytest.mark.parametrize("place", [0, 1])
def test_an_mpass_that_was_not_active_may_not_pay(status, place):
    statuses = [ACTIVE, ACTIVE]
    statuses[place] = status
    with pytest.raises(MPassNotActiveError) as refusal:
        check_mpass_active(mpass(), statuses)
    assert refusal.value.facts == {"mpass": "p1", "status": status}


mics = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=2, max_size=12)
random_digits = st.text("0123456789", min_size=NUMBER_RANDOM_DIGITS, max_size=NUMBER_RANDOM_DIGITS)


@given(mics, random_digits)
def test_a_number_that_was_made_is_one(mic, digits):
    number = make_number(mic, digits)
    assert is_number(number)
    assert number.startswith(mic + digits)


@given(mics, random_digits, st.data())
def test_a_wrong_digit_is_always_found(mic, digits, data):
    number = make_number(mic, digits)
    place = data.draw(st.sampled_from([at for at, character in enumerate(number) if character.isdigit()]))
    wrong = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != number[place]]))
    assert not is_number(number[:place] + wrong + number[place + 1 :])


def test_the_check_digit_is_that_of_an_isin():
    # ISO 6166 numbers, whose last digit is Luhn's over letters written as two digits.
    for isin in ("US0378331005", "GB0002634946", "DE000BAY0017"):
        stem = isin[:-1]
        assert make_number(stem[:2], stem[2:]) == isin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ACME",
        make_number("ACME", "0" * 15),
        make_number("A", "0" * 16)[:-1],
        make_number("ACME", "0" * 16).lower(),
        make_number("ACME", "0" * 16) + "\n",
        make_number("ACME", "0" * 16).replace("0", "\u0660"),
        make_number("ABCDEFGHIJKLM", "0" * 16),
    ],
)
def test_another_text_is_no_number(text):
    assert not is_number(text)
