"""The commands that keep a hub well, each in a process of its own, as an operator or a timer runs them."""

import json

import pytest

from moneta.settings import Settings
from tests.running_hub import RunningHub, moneta

DONE, NO, MISUSED = 0, 1, 2


@pytest.fixture
def data(tmp_path):
    """The data directory of a new hub."""
    assert moneta("init", "--data", tmp_path / "hub").returncode == DONE
    return tmp_path / "hub"


# Retention.


def test_retention_by_hand_counts_first_and_says_what_it_forgot(data):
    nothing = "deliveries: 0 {0}\ndead deliveries: 0 {0}\nevents: 0 {0}\nanswers: 0 {0}\n"
    assert moneta("retention", "--data", data, "--dry-run").stdout == nothing.format("would be forgotten")
    assert moneta("retention", "--data", data).stdout == nothing.format("forgotten")
    counts = {"deliveries": 0, "dead_deliveries": 0, "events": 0, "answers": 0}
    assert json.loads(moneta("retention", "--data", data, "--json").stdout) == {"is_trial": False, **counts}


@pytest.mark.parametrize("command", [("retention",), ("up", "--port", "0")])
def test_an_event_is_kept_as_long_as_any_delivery_or_the_command_is_refused(data, command):
    refused = moneta(*command, "--data", data, "--keep-dead-days", "401")
    assert (refused.returncode, refused.stdout) == (NO, "")
    assert "events: expected to be kept for 401 days or more" in refused.stderr


def test_what_the_hub_was_last_started_with_is_what_retention_by_hand_keeps_to(data):
    hub = RunningHub(data, "--keep-events-days", "95").start()
    assert hub.stop()[0] == DONE
    assert Settings.last(data).keep_events_days == 95
    assert moneta("retention", "--data", data, "--dry-run").returncode == DONE
    assert "got 95" in moneta("retention", "--data", data, "--keep-dead-days", "96").stderr
