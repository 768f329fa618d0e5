"""Figures as CloudWatch's embedded metric format has them."""

import json

from moneta.entrypoints.telemetry import metrics
from moneta.entrypoints.telemetry.emf import VALUES_MAX, EmbeddedFigures
from moneta.entrypoints.telemetry.metrics import Source

NOW_MS = 1_795_514_400_000


def new_figures():
    return EmbeddedFigures(Source.EVERY, {"Hub": "prod"})


def lines_of(figures):
    return [json.loads(line) for line in figures.take_lines(NOW_MS)]


def test_a_line_says_what_is_a_metric_and_what_only_tells_of_it():
    figures = new_figures()
    figures.set(metrics.DEAD_LETTERS, to=3)
    figures.observe(metrics.EVENT_SECONDS, [0.5, 0.25])
    assert lines_of(figures) == [
        {
            "_aws": {
                "Timestamp": NOW_MS,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Moneta",
                        "Dimensions": [["Hub"]],
                        "Metrics": [
                            {"Name": "moneta_dead_letters", "Unit": "Count"},
                            {"Name": "moneta_event_seconds", "Unit": "Seconds"},
                        ],
                    }
                ],
            },
            "Hub": "prod",
            "moneta_dead_letters": 3,
            "moneta_event_seconds": [0.5, 0.25],
        }
    ]


def test_counts_add_up_and_begin_anew():
    figures = new_figures()
    figures.count(metrics.EVENTS_ACCEPTED)
    figures.count(metrics.EVENTS_ACCEPTED, by=2)
    assert lines_of(figures)[0]["moneta_events_accepted_total"] == 3
    assert lines_of(figures) == []
    figures.count(metrics.EVENTS_ACCEPTED)
    assert lines_of(figures)[0]["moneta_events_accepted_total"] == 1


def test_the_last_value_of_a_gauge_is_told():
    figures = new_figures()
    figures.set(metrics.DEAD_LETTERS, to=3)
    figures.set(metrics.DEAD_LETTERS, to=0)
    assert lines_of(figures)[0]["moneta_dead_letters"] == 0


def test_each_combination_of_labels_has_a_line_and_none_is_a_dimension():
    figures = new_figures()
    figures.count(metrics.REQUESTS_REFUSED, "/event", "forbidden")
    figures.count(metrics.REQUESTS_REFUSED, "/event", "unauthorized", by=2)
    lines = lines_of(figures)
    assert [(one["code"], one["moneta_requests_refused_total"]) for one in lines] == [
        ("forbidden", 1),
        ("unauthorized", 2),
    ]
    assert {json.dumps(one["_aws"]["CloudWatchMetrics"][0]["Dimensions"]) for one in lines} == {'[["Hub"]]'}


def test_more_values_than_a_line_takes_are_told_in_several():
    figures = new_figures()
    figures.observe(metrics.EVENT_SECONDS, range(2 * VALUES_MAX + 1))
    figures.count(metrics.EVENTS_ACCEPTED)
    lines = lines_of(figures)
    assert [len(one["moneta_event_seconds"]) for one in lines] == [VALUES_MAX, VALUES_MAX, 1]
    assert [one.get("moneta_events_accepted_total") for one in lines] == [1, None, None]


def test_what_was_observed_without_a_value_has_no_line():
    figures = new_figures()
    figures.observe(metrics.EVENT_SECONDS, [])
    assert lines_of(figures) == []
