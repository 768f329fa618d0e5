"""One key of Moneta's follows another without a gap, on every adapter: what is signed is always verified."""

import pytest

from moneta.adapters.aws.hub_secret import SECRET_LIFETIME_S, SECRET_STALE_S_MAX
from moneta.domain.errors import MisconfiguredError
from moneta.domain.limits import (
    CLOCK_SKEW_S,
    KEYS_KEPT_S,
    ROTATION_LEAD_S,
    ROTATION_OVERLAP_S,
    SIGNING_PERIOD_S,
)
from tests.key_desks import DeskOfFiles, DeskOnAWS, kid

STEP_S = 61


@pytest.fixture(params=["aws", "embedded"])
def desk(request, tmp_path):
    return DeskOnAWS() if request.param == "aws" else DeskOfFiles(tmp_path)


def kids(keys):
    return [one.public.key_id for one in keys]


def move_to(desk, moment_s):
    desk.clock.moment = moment_s * 1000


def test_the_first_key_signs_for_a_year_and_a_day_from_now(desk):
    key = desk.begin()
    assert (key.not_before, key.expires_at) == (desk.now, desk.now + SIGNING_PERIOD_S)
    assert kid(desk.signer()) == key.public.key_id


def test_a_next_key_is_published_before_it_signs_and_the_one_before_it_stays(desk):
    old = desk.begin()
    desk.clock.moment += 1_000_000
    signer = desk.signer()
    new = desk.rotate()
    assert new.not_before == desk.now + ROTATION_LEAD_S
    desk.clock.moment += desk.lag_s * 1000
    assert kid(signer) == old.public.key_id
    assert kids(signer.published()) == kids([old, new])
    move_to(desk, new.not_before)
    assert kid(signer) == new.public.key_id
    assert kids(signer.published()) == kids([new, old])
    assert signer.published()[1].expires_at == new.not_before + ROTATION_OVERLAP_S


def test_a_partner_who_remembers_the_keys_knows_whatever_is_signed_with_as_long_as_it_is_good(desk):
    """Asked by a partner whose keys are as old as they may be, at each moment around a rotation."""
    desk.begin()
    signer = desk.signer()
    kid(signer)
    end = desk.rotate().not_before + ROTATION_OVERLAP_S + KEYS_KEPT_S
    remembered, signed_by = [signer.published()] * 2, set()
    while desk.now < end:
        used, known = signer.current(), {one.public.key_id: one for one in remembered[0]}
        period = known[used.public.key_id]
        assert period.not_before <= desk.now <= period.expires_at
        signed_by.add(used.public.key_id)
        remembered = [remembered[1], signer.published()]
        desk.clock.moment += STEP_S * 1000
    assert len(signed_by) == 2


def test_times_of_a_rotation_fit_together():
    """What a process or a partner may have remembered is over before a new key signs, and before an old one ends."""
    assert STEP_S > KEYS_KEPT_S
    assert ROTATION_LEAD_S > SECRET_STALE_S_MAX + SECRET_LIFETIME_S + KEYS_KEPT_S + CLOCK_SKEW_S
    assert ROTATION_OVERLAP_S > SECRET_STALE_S_MAX + SECRET_LIFETIME_S + CLOCK_SKEW_S


def test_a_rotation_that_is_run_again_makes_no_second_key(desk):
    desk.begin()
    new = desk.rotate()
    desk.clock.moment += 60_000
    again = desk.rotation()
    assert (again.key, again.is_new) == (new, False)
    move_to(desk, new.not_before)
    assert desk.rotation().is_new


def test_the_private_half_of_a_key_that_is_over_is_deleted_and_its_public_half_stays(desk):
    keys = [desk.begin()]
    for _ in range(3):
        move_to(desk, keys[-1].not_before + 1)
        keys.append(desk.rotate())
    assert sorted(kids(desk.signer().published())) == sorted(kids(keys))
    assert desk.private_halves() == set(kids(keys[-2:]))


def test_a_compromised_key_is_revoked_and_replaced_at_once(desk):
    old = desk.begin()
    waiting = desk.rotate()
    new = desk.rotate(is_compromised=True)
    signer = desk.signer()
    assert kid(signer) == new.public.key_id
    assert new.not_before == desk.now
    revoked = {one.public.key_id: one.revoked_at for one in signer.published()}
    assert revoked == {new.public.key_id: None, waiting.public.key_id: desk.now, old.public.key_id: desk.now}
    assert desk.private_halves() == {new.public.key_id}


def test_a_key_that_is_over_and_still_at_hand_is_revoked_with_the_one_that_signs(desk):
    over = desk.begin()
    current = desk.rotate()
    move_to(desk, current.not_before + 1)
    assert desk.private_halves() == set(kids([over, current]))
    new = desk.rotate(is_compromised=True)
    revoked = [one for one in desk.signer().published() if one.revoked_at == desk.now]
    assert kids(revoked) == kids([current, over])
    assert new.revoked_at is None


def test_what_was_revoked_once_keeps_its_moment(desk):
    old = desk.begin()
    first = desk.now
    desk.rotate(is_compromised=True)
    desk.clock.moment += 60_000
    desk.rotate(is_compromised=True)
    [kept] = [one for one in desk.signer().published() if one.public == old.public]
    assert kept.revoked_at == first


def test_a_hub_whose_key_has_expired_signs_again_at_once_after_a_rotation(desk):
    old = desk.begin()
    signer = desk.signer()
    move_to(desk, old.expires_at)
    with pytest.raises(MisconfiguredError, match=r"expired; moneta rotate-key, or moneta aws rotate-key"):
        signer.current()
    assert kids(signer.published()) == kids([old])  # what it signed is still to be verified
    new = desk.rotate()
    assert new.not_before == desk.now
    assert kid(desk.signer()) == new.public.key_id


def test_by_a_clock_that_is_a_little_behind_the_first_key_signs(desk):
    old = desk.begin()
    desk.clock.moment -= 5_000
    assert kid(desk.signer()) == old.public.key_id
