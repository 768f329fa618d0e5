"""The figures of ``make bench``: each name that a run always writes is explained."""

from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_explained(name):
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
