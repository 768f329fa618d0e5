"""Traces of a running hub, as a collector receives them: one a contract, from POST to webhook, across its processes."""

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from moneta.client import build_event, sign_first, system_clock
from moneta.entrypoints.telemetry.correlation import trace_id_of
from tests.collector import HANG, UNAVAILABLE, collecting
from tests.running_hub import moneta, running_hub, trading, wait_until

OUTSIDE = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
SECRET = "do-not-show-me"  # noqa: S105  # which is what is tested


class Endpoint:
    """A webhook endpoint that answers 500, and remembers the headers that came."""

    def __init__(self):
        self.seen = []


@contextmanager
def failing_endpoint():
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        endpoint.url = f"http://127.0.0.1:{server.server_port}/hook?key={SECRET}"
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """Give a hub that sends all its traces, a market, and the collector."""
    with (
        collecting() as (collector, url),
        running_hub(tmp_path_factory.mktemp("hub"), "--otlp-endpoint", url) as hub,
        trading(hub, tmp_path_factory.mktemp("market")) as market,
    ):
        yield hub, market, collector


def shape(spans):
    """Return each span as ``process: name`` by the path of such that leads to it from its root."""
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans), "two spans have one id"

    def path(span):
        above = path(by_id[span.parent_id]) if span.parent_id else ()
        return (*above, f"{span.process}: {span.name}")

    return sorted(path(span) for span in spans)


POSTED = ("web: POST /event",)
FIRST = (*POSTED, "processor: process events")
ASKED = (*FIRST, "deliverer: POST webhook")
ANSWERED = (*ASKED, "deliverer: accept answer")
LAST = (*ANSWERED, "processor: process events")
TOLD = (*LAST, "deliverer: POST webhook")


def test_a_contract_is_one_trace_from_post_to_webhook_across_three_processes(traced):
    _, market, collector = traced
    market.submit("followed")
    trace_id = trace_id_of("followed")
    wait_until(lambda: len(collector.trace(trace_id)) >= 7)
    spans = collector.trace(trace_id)
    assert shape(spans) == sorted([POSTED, FIRST, ASKED, ANSWERED, LAST, TOLD, TOLD])
    assert all(span.duration_ns > 0 and not span.is_error for span in spans)
    assert all(span.attributes["moneta.contract.id"] == "followed" for span in spans)
    statuses = [span.attributes["moneta.contract.status"] for span in spans if span.name == "process events"]
    assert sorted(statuses) == ["finalized", "pending_publisher_signature"]
    kinds = {(span.name, span.kind) for span in spans}
    assert kinds == {
        ("POST /event", "SERVER"),
        ("process events", "CONSUMER"),
        ("POST webhook", "CLIENT"),
        ("accept answer", "INTERNAL"),
    }


def test_the_supervisor_starts_no_thread_for_them(traced):  # it forks
    hub, _, _ = traced
    assert len([*Path(f"/proc/{hub.process.pid}/task").iterdir()]) == 1


def test_every_process_says_who_it_is(traced):
    _, market, collector = traced
    market.submit("whose")
    wait_until(lambda: len(collector.trace(trace_id_of("whose"))) >= 7)
    resources = [span.resource for span in collector.trace(trace_id_of("whose"))]
    assert {one["service.name"] for one in resources} == {"moneta"}
    assert len({(one["moneta.process"], one["service.instance.id"]) for one in resources}) == 3
    assert {path for path, _ in collector.requests} == {"/v1/traces"}


def post(hub, trader, body, headers):
    """Send a submission with more headers than the client sends."""
    signed = sign_first(body, trader.party, issued_at=system_clock())
    event = build_event(trader.party, "submit", signed, now=system_clock())
    headers = {
        "authorization": f"Bearer {trader.client.caller._token()}",
        "content-type": "application/json",
        **headers,
    }
    assert httpx.post(f"{hub.url}/event", content=event.raw, headers=headers).status_code == 202


def test_a_callers_trace_is_a_link_and_never_a_parent(traced):
    hub, market, collector = traced
    post(hub, market.mo, market.body("linked"), {"traceparent": "-".join(("00", *OUTSIDE, "01"))})
    trace_id = trace_id_of("linked")
    wait_until(lambda: len(collector.trace(trace_id)) >= 7)
    assert [span.links for span in collector.trace(trace_id) if span.name == "POST /event"] == [[OUTSIDE]]
    assert shape(collector.trace(trace_id))[-1] == TOLD
    assert collector.trace(OUTSIDE[0]) == []


def test_a_rejection_is_part_of_the_trace(traced):
    _, market, collector = traced
    late = sign_first(market.body("late"), market.mo.party, issued_at=system_clock() - 86_500)
    market.mo.client.post(build_event(market.mo.party, "submit", late, now=system_clock()))
    trace_id = trace_id_of("late")
    wait_until(lambda: len(collector.trace(trace_id)) >= 3)
    assert shape(collector.trace(trace_id)) == [POSTED, FIRST, ASKED]
    (judged,) = (span for span in collector.trace(trace_id) if span.name == "process events")
    assert judged.attributes["moneta.event.outcome"] == "rejected"
    assert judged.attributes["moneta.problem.code"] == "signature_time"
    assert not judged.is_error  # it is the sender's


def test_a_failed_attempt_is_an_error_and_its_receiver_is_told_its_span(traced):
    _, market, collector = traced
    path = f"/organizations/publisher/{market.publisher.organization_id}"
    trace_id = trace_id_of("failing")
    with failing_endpoint() as endpoint:
        caller = market.publisher.client.caller
        caller.send("PUT", path, {"metadata": {"webhook_url": endpoint.url}})
        market.submit("failing")
        wait_until(lambda: [span for span in collector.trace(trace_id) if span.name == "POST webhook"])
        caller.send("PUT", path, {"metadata": {"webhook_url": market.publisher.server.url}})
    attempt = next(span for span in collector.trace(trace_id) if span.name == "POST webhook")
    assert attempt.is_error
    assert attempt.attributes["error.type"] == "500"
    assert attempt.attributes["http.response.status_code"] == 500
    assert attempt.attributes["moneta.delivery.status"] == "pending"
    assert endpoint.seen[0]["traceparent"] == f"00-{trace_id}-{attempt.span_id}-01"
    assert SECRET not in repr(collector.spans)


# What goes wrong with the collector.


@contextmanager
def nobody():
    """Give an address at which nobody listens, since it is bound and does not."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def answering(answer):
    with collecting() as (collector, url):
        collector.answer = answer
        yield url


@pytest.mark.parametrize(
    "collector",
    [lambda: answering(HANG), lambda: answering(UNAVAILABLE), nobody],
    ids=["hangs", "answers 503", "is not there"],
)
def test_a_dead_collector_changes_nothing_but_what_is_counted_and_logged(tmp_path, monkeypatch, collector):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with collector() as url, running_hub(tmp_path / "hub", "--otlp-endpoint", url) as hub:
        with trading(hub, tmp_path / "market") as market:
            for number in range(5):
                market.submit(f"served-{number}")
            wait_until(lambda: sum(kind.endswith("finalized") for _, kind, _ in market.mo.told) == 5)
            for process in ("web", "processor", "deliverer"):
                wait_until(lambda process=process: dropped(hub, process) > 0)
        assert httpx.get(f"{hub.url}/ready").status_code == 200
        code, _ = hub.stop()
    assert code == 0
    events = [line["event"] for line in lines(hub)]
    assert events.count("collector_failed") == 3  # each process says it once
    assert "library_logged" in events
    assert "process_killed" not in events


def dropped(hub, process):
    text = httpx.get(f"{hub.url}/metrics", timeout=30).text
    name = f'moneta_spans_dropped_total{{process="{process}",reason="not_taken"}} '
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


def lines(hub):
    return [json.loads(line) for line in (hub.data.parent / "hub.log").read_text(encoding="utf-8").splitlines()]


# Where it is configured, and where it is not.


def test_the_environment_configures_it_as_the_standard_says(tmp_path, monkeypatch):
    with collecting() as (collector, url):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{url}/")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-api-key={SECRET}")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "our-hub")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1")
        with running_hub(tmp_path / "hub") as hub, trading(hub, tmp_path / "market") as market:
            market.submit("configured")
            wait_until(lambda: len(collector.trace(trace_id_of("configured"))) >= 7)
        found = "".join(path.read_text(encoding="latin-1") for path in hub.data.parent.rglob("*") if path.is_file())
    assert {headers["x-api-key"] for _, headers in collector.requests} == {SECRET}
    assert {path for path, _ in collector.requests} == {"/v1/traces"}
    resources = [span.resource for span in collector.spans]
    assert {one["service.name"] for one in resources} == {"our-hub"}
    assert {one["deployment.environment.name"] for one in resources} == {"test"}
    assert SECRET not in found


def test_a_hub_that_is_not_told_to_trace_imports_nothing_of_it(tmp_path, monkeypatch):
    mark, package = tmp_path / "imported", tmp_path / "shadow" / "opentelemetry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(mark)!r}, 'w').close()\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    with running_hub(tmp_path / "hub") as hub, trading(hub, tmp_path / "market") as market:
        market.submit("untraced")
        wait_until(lambda: any(kind.endswith("finalized") for _, kind, _ in market.mo.told))
        assert httpx.get(f"{hub.url}/metrics").status_code == 200
    assert not mark.exists()
    started = moneta("up", "--data", hub.data, "--port", "0", "--otlp-endpoint", "http://127.0.0.1:4318")
    assert mark.exists()  # so it would have been noticed
    assert started.returncode != 0
    assert "pip install --require-hashes -r requirements/telemetry.txt" in started.stderr
    assert "Traceback" not in started.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://user:{SECRET}@127.0.0.1:4318"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_at_the_start(tmp_path, monkeypatch, variable, value):
    assert moneta("init", "--data", tmp_path / "hub").returncode == 0
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv(variable, value)
    started = moneta("up", "--data", tmp_path / "hub", "--port", "0")
    assert started.returncode != 0
    assert "Traceback" not in started.stderr
    assert SECRET not in started.stderr
