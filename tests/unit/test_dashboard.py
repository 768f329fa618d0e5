"""The example dashboard and alerts ask only for what ``/metrics`` shows, by the labels that it has."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from moneta.entrypoints.http.readiness import CHECKS
from moneta.entrypoints.telemetry.metrics import METRICS, Kind

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "dashboard.json").read_text(encoding="utf-8"))
RULES = YAML(typ="safe").load((DOCS / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
SUFFIXES = {Kind.COUNTER: ("",), Kind.GAUGE: ("",), Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
SHOWN = {one.shown_name + suffix: one for one in METRICS for suffix in SUFFIXES[one.kind]}
QUERIES = [
    (panel["title"], one["expr"], one["legendFormat"]) for panel in DASHBOARD["panels"] for one in panel["targets"]
]
EXPRESSIONS = [query for _, query, _ in QUERIES] + [rule["expr"] for rule in RULES]
NAME = re.compile(r"\bmoneta_\w+")
BY = re.compile(r"by \(([\w, ]+)\)")
MATCHER = re.compile(r"\{(\w+)=")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_query_names_only_what_is_shown_by_labels_that_it_has(expression):
    names = NAME.findall(expression)
    assert names
    assert [name for name in names if name not in SHOWN] == []
    labels = {"le"}.union(*(SHOWN[name].labels for name in names))
    asked = {label.strip() for group in BY.findall(expression) for label in group.split(",")}
    assert asked | set(MATCHER.findall(expression)) <= labels
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize(("title", "expression", "legend"), QUERIES)
def test_a_legend_names_labels_of_its_series(title, expression, legend):
    labels = {label for name in NAME.findall(expression) for label in SHOWN[name].labels}
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= labels, title


def test_a_counter_is_looked_at_by_its_rate():
    counters = [one for one in EXPRESSIONS if re.search(r"_total(?![\w{\[])(?!\{[^}]*\}\[)", one)]
    assert sorted(counters) == [
        "moneta_process_starts_total",
        "sum(moneta_endpoints_disabled_total)",
    ]  # since the start


def test_the_dashboard_can_be_imported():
    assert {"title", "uid", "schemaVersion", "panels", "templating"} <= DASHBOARD.keys()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert sorted(set(ids)) == ids
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {"${datasource}"}


def test_every_alert_says_what_to_do():
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert {"summary", "do"} <= rule["annotations"].keys()
    assert CHECKS  # each of them is in MonetaNotReady, by its label
