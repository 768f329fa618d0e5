"""What a command changes in the store of a running hub is seen by it at once, not at its next look."""

import hashlib

import pytest

from moneta import bootstrap
from moneta.application.ports import NewEvent
from moneta.client import build_event, sign_first, system_clock
from moneta.domain.limits import PROCESS_LEASE_S
from moneta.settings import Settings
from tests.running_hub import RunningHub, moneta, running_hub, trading, wait_until


@pytest.fixture
def buried(tmp_path):
    """A stopped hub with one dead letter, whose event nothing is wrong with; and its source."""
    with running_hub(tmp_path) as hub, trading(hub, tmp_path) as market:
        mo = market.mo.party
        signed = sign_first(market.body("c-1"), mo, issued_at=system_clock())
        raw = build_event(mo, "submit", signed, now=system_clock(), event_id="e-1").raw
    with bootstrap.embedded(Settings(data_dir=hub.data)) as at_store:
        event = NewEvent(
            source=mo.organization_id,
            event_id="e-1",
            type="moneta.contract.submit",
            contract_id="c-1",
            raw=raw,
            digest=hashlib.sha256(raw).digest(),
            registry_seq=at_store.directory.registry_position(),
        )
        at_store.events.accept([event])
        (taken,) = at_store.queue.take(limit=1, lease_s=PROCESS_LEASE_S)
        at_store.queue.bury(taken, reason="ZeroDivisionError")
    return hub, mo.organization_id


def test_what_is_redriven_at_the_store_is_processed_at_once(buried):
    stopped, source = buried
    data = stopped.data
    hub = RunningHub(data, *stopped.options, port=stopped.port).start()
    try:
        with bootstrap.embedded(Settings(data_dir=data)) as at_store:
            assert at_store.events.find(source, "e-1").status == "accepted"
            assert moneta("dlq", "redrive", "--data", data, "--all").returncode == 0
            wait_until(lambda: at_store.events.find(source, "e-1").status == "processed")
    finally:
        hub.stop()
