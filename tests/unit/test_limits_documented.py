"""``docs/limits.md`` lists every limit of ``domain/limits.py``, and no other, with its number and its unit."""

import re
from pathlib import Path

import pytest

from moneta.domain import limits

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
ROW = re.compile(r"\| `([A-Z0-9_]+)` \| ([0-9, ]+) \| ([a-z]*) \| (\S.*) \|")
ROWS = [match.groups() for line in PAGE.read_text(encoding="utf-8").splitlines() if (match := ROW.fullmatch(line))]
DOCUMENTED = {name: (number, unit) for name, number, unit, _ in ROWS}
KEPT = {name: value for name, value in vars(limits).items() if name.isupper()}
UNITS = {"BYTES": "bytes", "CHARS": "characters", "BITS": "bits", "S": "seconds", "MS": "milliseconds"}


def test_the_page_and_the_code_name_the_same_limits():
    assert sorted(DOCUMENTED) == sorted(KEPT)


def test_every_limit_stands_once_and_every_row_is_one():
    assert len(ROWS) == len(DOCUMENTED)
    assert len(ROWS) == PAGE.read_text(encoding="utf-8").count("\n| `")


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_limit_is_documented_with_its_number(name):
    value = KEPT[name]
    numbers = value if isinstance(value, tuple) else (value,)
    assert DOCUMENTED[name][0] == ", ".join(f"{number:,}" for number in numbers)


@pytest.mark.parametrize("name", sorted(name for name in KEPT if UNITS.keys() & set(name.split("_"))))
def test_a_limit_is_documented_in_the_unit_of_its_name(name):
    (unit,) = (UNITS[word] for word in name.split("_") if word in UNITS)
    assert DOCUMENTED[name][1] == unit
