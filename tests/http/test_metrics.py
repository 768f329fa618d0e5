"""``GET /metrics``: figures of every process, put together; bounded, cheap, and of nobody in particular."""

import threading
from dataclasses import replace

import pytest
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

from moneta.application.ports import EventType
from moneta.entrypoints.heartbeats import PROCESSOR, Heartbeat, HeartbeatFile
from moneta.entrypoints.http.metrics import CONTENT_TYPE, Metrics
from moneta.entrypoints.telemetry import metrics
from moneta.entrypoints.telemetry.figures import Figure, Figures
from moneta.entrypoints.telemetry.metrics import METRICS, Kind, Source
from moneta.entrypoints.telemetry.snapshots import SnapshotFile, measure_process
from tests.hub import MO, PUBLISHER, make_hub
from tests.key_desks import DeskOfFiles


@pytest.fixture
def test_hub(tmp_path):
    test_hub = make_hub(tmp_path)
    yield test_hub
    test_hub.close()


def shown(hub, folder, figures=None):
    """Return the exposition's samples: value by name and labels."""
    text = Metrics(folder, figures).exposition(hub, ()).decode()
    families = list(text_string_to_metric_families(text))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_content_type_is_the_library_s():
    assert CONTENT_TYPE.decode() == CONTENT_TYPE_LATEST


def test_every_metric_is_shown_with_its_type_and_meaning(test_hub, tmp_path):
    text = Metrics(tmp_path).exposition(test_hub.hub, ()).decode()
    for one in METRICS:
        assert f"# TYPE {one.shown_name} {one.kind}\n" in text
        assert f"# HELP {one.shown_name} {one.meaning}\n" in text


def test_what_a_process_measures_is_there_before_anything_happens(test_hub, tmp_path):
    samples = shown(test_hub.hub, tmp_path)
    assert samples["moneta_events_accepted_total", ()] == 0
    assert samples["moneta_event_seconds_count", ()] == 0
    assert ("moneta_events_failed_total", ()) not in samples  # the processor's: there is none


def test_other_processes_figures_are_shown_beside_our_own(test_hub, tmp_path):
    figures = Figures(Source.DELIVERER)
    figures.count(metrics.DELIVERY_ATTEMPTS, "2xx", by=3)
    figures.observe(metrics.STORE_SYNC_SECONDS, [0.0002, 0.004, 99.0], Source.DELIVERER)
    measure_process(figures)
    SnapshotFile(tmp_path, Source.DELIVERER).write(figures.taken())
    own = Figures(Source.WEB)
    own.observe(metrics.STORE_SYNC_SECONDS, [0.5], Source.WEB)
    samples = shown(test_hub.hub, tmp_path, own)
    process = ("process", "deliverer")
    assert samples["moneta_delivery_attempts_total", (("result", "2xx"),)] == 3
    assert samples["moneta_store_sync_seconds_count", (process,)] == 3
    assert samples["moneta_store_sync_seconds_sum", (process,)] == pytest.approx(99.0042)
    assert samples["moneta_store_sync_seconds_bucket", (("le", "0.00025"), process)] == 1
    assert samples["moneta_store_sync_seconds_bucket", (("le", "10.0"), process)] == 2
    assert samples["moneta_store_sync_seconds_bucket", (("le", "+Inf"), process)] == 3
    assert samples["moneta_store_sync_seconds_count", (("process", "web"),)] == 1
    assert samples["moneta_process_resident_bytes", (process,)] > 2**20


@pytest.mark.parametrize("content", [b"", b"{", b'[["moneta_x"]]', b"\xff" * 100])
def test_a_file_that_holds_no_figures_is_passed_over(test_hub, tmp_path, content):
    (tmp_path / "deliverer.figures").write_bytes(content)
    assert shown(test_hub.hub, tmp_path)["moneta_process_up", (("process", "web"),)] == 1


def test_figures_of_an_older_program_are_passed_over(test_hub, tmp_path):
    SnapshotFile(tmp_path, Source.DELIVERER).write([Figure("moneta_of_yesterday", (), [1.0])])
    assert not [name for name, _ in shown(test_hub.hub, tmp_path) if "yesterday" in name]


def test_figures_are_for_the_owner_s_eyes_and_a_full_disk_stops_nothing(tmp_path):
    SnapshotFile(tmp_path, Source.PROCESSOR).write(Figures(Source.PROCESSOR).taken())
    assert (tmp_path / "processor.figures").stat().st_mode & 0o777 == 0o600
    SnapshotFile(tmp_path / "none", Source.PROCESSOR).write(())
    assert SnapshotFile(tmp_path / "none", Source.PROCESSOR).read() == ()


def test_heartbeats_are_shown_while_they_are_young(test_hub, tmp_path):
    now = test_hub.clock.now_ms()
    HeartbeatFile(tmp_path, PROCESSOR).write(Heartbeat(at_ms=now, lag_ms=1_500, depth=7, turn_ms=250))
    samples, process = shown(test_hub.hub, tmp_path), (("process", "processor"),)
    assert samples["moneta_process_up", process] == 1
    assert samples["moneta_process_lag_seconds", process] == 1.5
    assert samples["moneta_process_in_hand", process] == 7
    assert samples["moneta_process_turn_seconds", process] == 0.25
    assert samples["moneta_process_up", (("process", "deliverer"),)] == 0
    test_hub.clock.advance(10)
    later = shown(test_hub.hub, tmp_path)
    assert later["moneta_process_up", process] == 0
    assert ("moneta_process_lag_seconds", process) not in later


def test_the_backlog_is_shown_with_its_age(test_hub, tmp_path):
    assert shown(test_hub.hub, tmp_path)["moneta_event_queue_age_seconds", ()] == 0
    mo = test_hub.register(MO, "MOA")
    publisher = test_hub.register(PUBLISHER, "PUBA")
    body = test_hub.body(mo, publisher, test_hub.issue_mpass(mo))
    test_hub.send(
        mo, test_hub.event(mo, EventType.SUBMIT, "contract-1", {"contract": test_hub.sign_first(mo, body)}, "e-1")
    )
    test_hub.clock.advance(90)
    samples = shown(test_hub.hub, tmp_path)
    assert samples["moneta_event_queue_depth", ()] == 1
    assert samples["moneta_event_queue_age_seconds", ()] == 90


def test_counting_from_many_threads_loses_nothing():
    figures = Figures(Source.WEB)

    def count():
        for _ in range(2_000):
            figures.count(metrics.EVENTS_ACCEPTED)
            figures.observe(metrics.EVENT_SECONDS, (0.001, 0.002))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = {one.name: one.values for one in figures.taken()}
    assert values["moneta_events_accepted"] == [16_000]
    assert sum(values["moneta_event_seconds"][1:]) == 32_000


def test_no_label_could_name_a_party():
    labels = {label for one in METRICS for label in one.labels}
    assert labels == {
        "check",
        "code",
        "file",
        "outcome",
        "process",
        "python",
        "reason",
        "result",
        "route",
        "status",
        "version",
    }
    assert {one.kind for one in METRICS} == set(Kind)


def test_a_key_that_is_followed_by_another_does_not_look_as_if_it_ended_soon(test_hub, tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    desk = DeskOfFiles(folder)
    first = desk.begin()
    second = desk.rotate()
    hub = replace(test_hub.hub, signer=desk.signer())

    def key_figures():
        samples = shown(hub, tmp_path)
        return tuple(samples[f"moneta_signing_key_{name}_timestamp_seconds", ()] for name in ("not_before", "expires"))

    assert key_figures() == (first.not_before, second.expires_at)
    desk.clock.moment = second.not_before * 1000
    assert key_figures() == (second.not_before, second.expires_at)
    third = desk.rotate(is_compromised=True)
    assert key_figures() == (third.not_before, third.expires_at)
