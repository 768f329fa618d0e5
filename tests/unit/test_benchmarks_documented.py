"""The figures of ``make bench``: each name that a run always writes is explained."""

from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.memory import slope_mb_per_h

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_explained(name):
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")


def test_what_fills_at_first_is_not_called_a_slope():
    assert slope_mb_per_h([100, 150, *[160] * 4]) == 0


def test_what_grows_by_the_minute_is_told_by_the_hour():
    assert slope_mb_per_h([100, 150, 160, 160.5, 161, 161.5]) == 30


def test_one_minute_has_no_slope():
    assert slope_mb_per_h([100]) is None
