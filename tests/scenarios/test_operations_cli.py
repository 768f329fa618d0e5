"""The commands that keep a hub well, each in a process of its own, as an operator or a timer runs them."""

import json

import apsw
import pytest

from moneta.settings import Settings
from tests.running_hub import RunningHub, moneta
from tests.unit.test_embedded_migrations import VERSION_1

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


# Migration.


def test_a_migration_keeps_the_older_store_and_the_hub_starts(data):
    new = (data / "moneta.db").rename(data / "new.db")
    connection = apsw.Connection(str(data / "moneta.db"))
    connection.execute(VERSION_1).fetchall()
    connection.close()
    assert "run moneta migrate" in moneta("up", "--data", data, "--port", "0").stderr
    done = moneta("migrate", "--data", data, "--json")
    assert json.loads(done.stdout) == {"migrated": True, "kept": str(data / "moneta.db.version-1")}
    kept = apsw.Connection(str(data / "moneta.db.version-1"))
    assert kept.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchall() == [(1,)]
    assert kept.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    kept.close()
    assert json.loads(moneta("migrate", "--data", data, "--json").stdout) == {"migrated": False, "kept": None}
    assert RunningHub(data).start().stop()[0] == DONE
    assert new.exists()
