"""The last answer, for as long as it is fresh."""

from moneta.entrypoints.http.recent import Recent


def test_an_answer_is_remembered_until_it_is_too_old():
    now_s = [100.0]
    recent = Recent(1.0, lambda: now_s[0])
    assert recent.fresh() is None
    assert recent.keep(b"figures") == b"figures"
    now_s[0] += 0.9
    assert recent.fresh() == b"figures"
    now_s[0] += 0.1
    assert recent.fresh() is None


def test_nothing_found_is_an_answer_too():
    recent = Recent(1.0, lambda: 0.0)
    recent.keep(())
    assert recent.fresh() == ()
