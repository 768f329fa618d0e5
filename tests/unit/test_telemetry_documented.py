"""``docs/telemetry.md`` names every figure and every check, and no other."""

import re
from pathlib import Path

from moneta.entrypoints.http.readiness import CHECKS
from moneta.entrypoints.telemetry.metrics import METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| `(moneta_\w+)` \| (\w+) \| (\w*) \| ([\w`, ]*) \| ([\w ]+) \| (\S.*) \|")
DOCUMENTED = [match.groups() for line in PAGE.splitlines() if (match := ROW.fullmatch(line))]


def test_every_figure_is_documented_as_it_is_and_in_its_order():
    assert [
        (
            one.shown_name,
            one.kind,
            one.unit,
            ", ".join(f"`{label}`" for label in one.labels),
            one.source,
            one.meaning,
        )
        for one in METRICS
    ] == DOCUMENTED


def test_no_figure_stands_twice():
    names = [one.name for one in METRICS]
    assert sorted(set(names)) == sorted(names)


def test_every_check_is_documented():
    checks = PAGE.partition("## Checks")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", checks, re.MULTILINE) == [check.name for check in CHECKS]


def test_a_figure_has_the_unit_that_its_name_ends_with():
    for one in METRICS:
        unit = one.name.rpartition("_")[2]
        assert one.unit == unit or unit not in {"seconds", "bytes"}
