"""A running hub as its operator sees it: figures of all its processes in one answer."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.running_hub import running_hub, trading, wait_until


@pytest.fixture
def hub(tmp_path):
    """A hub for each test: they count what it has done."""
    with running_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def market(hub, tmp_path):
    with trading(hub, tmp_path / "market") as market:
        yield market


def figures(hub):
    """Return every sample's value by its name and labels, a few seconds after what it tells of at the latest."""
    families = text_string_to_metric_families(httpx.get(f"{hub.url}/metrics", timeout=30).text)
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_contract_is_counted_by_every_process_it_goes_through(hub, market):
    for number in range(3):
        market.submit(f"counted-{number}")
    expected = {
        ("moneta_events_accepted_total",): 3,
        ("moneta_answers_accepted_total",): 3,
        ("moneta_events_processed_total", "outcome=processed"): 6,
        ("moneta_contracts_ended_total", "status=finalized"): 3,
        ("moneta_delivery_attempts_total", "result=2xx"): 9,
        ("moneta_deliveries_settled_total", "status=delivered"): 9,
        ("moneta_event_outcome_seconds_count",): 6,
        ("moneta_delivery_first_seconds_count",): 9,
        ("moneta_event_queue_depth",): 0,
        ("moneta_deliveries_pending",): 0,
        **{("moneta_process_up", f"process={name}"): 1 for name in ("web", "processor", "deliverer")},
    }
    wait_until(lambda: expected.items() <= figures(hub).items())
    found = figures(hub)
    for process in ("web", "processor", "deliverer"):
        assert found["moneta_store_sync_seconds_count", f"process={process}"] > 0
        assert found["moneta_process_resident_bytes", f"process={process}"] > 10 * 2**20


def test_a_process_that_was_started_again_is_told(hub, market):
    starts = ("moneta_process_starts_total", "process=deliverer")
    wait_until(lambda: figures(hub).get(starts) == 1)
    hub.kill_child("deliverer")
    wait_until(lambda: figures(hub).get(starts) == 2)
    market.submit("after-the-restart")
    wait_until(lambda: figures(hub).get(("moneta_delivery_attempts_total", "result=2xx")) == 3)  # it begins at 0


def test_no_figure_names_a_party(hub, market):
    text = httpx.get(f"{hub.url}/metrics", timeout=30).text
    for trader in (market.mo, market.publisher):
        assert trader.organization_id not in text
    assert market.mpass_id not in text
    assert "counted-" not in text
