"""What the log of a running hub says at its most talkative: who follows what, and nobody's secret."""

import json
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from moneta.client import build_event, cancel, sign_first, system_clock
from moneta.entrypoints.http.routes import ROUTES
from moneta.entrypoints.telemetry.correlation import trace_id_of
from tests.running_hub import moneta, running_hub, trading, wait_until

MARKER = "do-not-log-me"
FORBIDDEN = {
    "a marker of ours": re.compile(MARKER),
    "JSON in base64url: a token, a JWS, a payload": re.compile("eyJ[A-Za-z0-9_-]{8}"),
    "a signature, or anything else that long": re.compile(r"[A-Za-z0-9_+/-]{65}"),
    "a webhook's secret": re.compile("whsec_"),
    "a webhook's signature": re.compile("v1,"),
    "a bearer token": re.compile("[Bb]earer"),
    "a key": re.compile("BEGIN|PRIVATE"),
    "a member": re.compile("member-1"),
    "a query": re.compile(r"\?[a-z]+="),
}
PATH_VALUES = {"kind": "publisher", "version": "1"}


class Faulty(BaseHTTPRequestHandler):
    """A webhook endpoint whose path says what it answers, with a body that nobody wants in a log."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status = int(self.path.partition("?")[0].strip("/"))
        self.send_response(status)
        body = MARKER.encode()
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", f"http://127.0.0.1:1/{MARKER}?key={MARKER}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


@contextmanager
def faulty_endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def lines(hub):
    return [json.loads(line) for line in (hub.data.parent / "hub.log").read_text(encoding="utf-8").splitlines()]


def events(hub, event, /, **facts):
    return [line for line in lines(hub) if line["event"] == event and facts.items() <= line.items()]


def every_call(hub, market, *, markers=True):
    """Make every call of the routes table with every kind of token, its query and body full of what must not show."""
    operator = moneta("token", "--data", hub.data).stdout.strip()
    tokens = [operator, market.mo.client.caller._token(), f"{MARKER}.x.y"]
    for route in ROUTES:
        path = re.sub(r"\{(\w+)\}", lambda match: PATH_VALUES.get(match[1], MARKER), route.path)
        for token in tokens:
            for query in ("", f"?cursor={MARKER}&limit=1", f"?{MARKER}={MARKER}"):
                for body in (b"", json.dumps({MARKER: MARKER, "member_ref": MARKER, "webhook_url": MARKER}).encode()):
                    httpx.request(
                        route.method,
                        f"{hub.url}{path}{query}",
                        content=body,
                        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
                        timeout=30,
                    )


def every_event(hub, market):
    """Send events that end in every way: accepted, replayed, refused before and after the 202, declined, cancelled."""
    mo, publisher = market.mo, market.publisher
    signed = sign_first(market.body("followed", description=MARKER), mo.party, issued_at=system_clock())
    event = build_event(mo.party, "submit", signed, now=system_clock(), event_id="event-1")
    assert not mo.client.post(event).was_replayed
    assert mo.client.post(event).was_replayed
    wait_until(lambda: events(hub, "contract_committed", contract_id="followed", status="finalized"))
    headers = {"authorization": f"Bearer {mo.client.caller._token()}", "content-type": "application/json"}
    for raw in (b"", b"{", json.dumps({"specversion": "1.0", "id": MARKER}).encode()):
        httpx.post(f"{hub.url}/event", content=raw, headers=headers)
    foreign = sign_first(market.body("foreign", description=MARKER), mo.party, issued_at=system_clock() - 86_500)
    mo.client.post(build_event(mo.party, "submit", foreign, now=system_clock(), event_id="too-old"))
    publisher.signs = False
    pending = sign_first(market.body("cancelled", description=MARKER), mo.party, issued_at=system_clock())
    mo.client.submit(pending)
    wait_until(lambda: events(hub, "contract_committed", contract_id="cancelled", status="pending_publisher_signature"))
    mo.client.cancel(cancel(pending, mo.party, reason_code="test", reason=MARKER, issued_at=system_clock()))
    wait_until(lambda: events(hub, "contract_committed", contract_id="cancelled", status="cancelled"))


def every_endpoint(hub, market, url):
    """Deliver to endpoints that answer whatever there is."""
    path = f"/organizations/publisher/{market.publisher.organization_id}"
    for number, answer in enumerate((500, 302, 404, 200, 410)):
        webhook_url = f"{url}/{answer}?key={MARKER}"
        market.publisher.client.caller.send("PUT", path, {"metadata": {"webhook_url": webhook_url}})
        market.submit(f"faulty-{number}")
        wait_until(lambda number=number: events(hub, "delivery_attempted", contract_id=f"faulty-{number}"))


@pytest.fixture(scope="module")
def talkative(tmp_path_factory):
    """Give a hub and a market, after everything has happened once, at the level debug."""
    folder = tmp_path_factory.mktemp("hub")
    with running_hub(folder, "--log-level", "debug") as hub, faulty_endpoint() as url:
        with trading(hub, tmp_path_factory.mktemp("market")) as market:
            every_event(hub, market)
            every_call(hub, market)
            every_endpoint(hub, market, url)
            hub.kill_child("deliverer")
        yield hub, market


def test_every_line_is_a_json_object_with_an_event_in_the_past_tense(talkative):
    hub, _ = talkative
    assert all({"event", "level", "process", "timestamp"} <= line.keys() for line in lines(hub))
    assert {line["process"] for line in lines(hub)} == {"supervisor", "web", "processor", "deliverer"}
    odd = {line["event"] for line in lines(hub)} - {"webhooks_less_safe"}
    assert not [event for event in odd if not re.fullmatch(r"[a-z_]+(ed|died|ready|forgotten)", event)]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_line_holds(talkative, what):
    hub, _ = talkative
    assert [line for line in map(json.dumps, lines(hub)) if FORBIDDEN[what].search(line)] == []


def test_one_id_follows_a_contract_through_every_process(talkative):
    hub, _ = talkative
    followed = [line for line in lines(hub) if line.get("trace_id") == trace_id_of("followed")]
    assert {(line["process"], line["event"]) for line in followed} == {
        ("web", "event_accepted"),
        ("processor", "contract_committed"),
        ("deliverer", "delivery_attempted"),
    }
    assert {line["contract_id"] for line in followed} == {"followed"}


def test_what_happened_is_told(talkative):
    hub, market = talkative
    assert events(hub, "event_accepted", contract_id="followed", is_replay=True)
    assert events(hub, "event_rejected", contract_id="foreign")
    assert events(hub, "request_refused", route="/event", code="malformed_json")
    assert events(hub, "contract_committed", contract_id="cancelled", status="cancelled")
    assert {line["result"] for line in events(hub, "delivery_attempted")} == {"2xx", "3xx", "4xx", "5xx"}
    assert events(hub, "endpoint_disabled", organization_id=market.publisher.organization_id, level="warning")
    assert events(hub, "process_died", name="deliverer", level="error")


def test_every_line_of_a_call_has_its_ids_bound_once(talkative):
    hub, market = talkative
    calls = events(hub, "call_answered")
    assert all({"request_id", "operation", "status"} <= call.keys() for call in calls)
    assert len({call["request_id"] for call in calls}) == len(calls)
    changes = [call for call in calls if call["level"] == "info"]
    assert {call["operation"] for call in changes} >= {"create_organization", "change_organization_status"}
    assert market.publisher.organization_id in {call["caller_id"] for call in changes}


RAISE = f"""
from moneta.entrypoints.logs import configure_logs
log = configure_logs("info", process="test")
def fail():
    raise ValueError("{MARKER}")
try:
    fail()
except ValueError as error:
    log.exception("first_failed", contract_id="c1")
    log.error("second_failed", exc_info=error)
log.exception("nothing_failed")
"""


def test_of_an_exception_its_class_and_its_places_are_shown_and_not_its_message():
    done = subprocess.run([sys.executable, "-c", RAISE], capture_output=True, text=True, check=True)
    first, second, third = map(json.loads, done.stderr.splitlines())
    assert MARKER not in done.stderr
    assert (first["error"], first["trace_id"]) == ("ValueError", trace_id_of("c1"))
    assert first["at"] == second["at"] == ["<string>:7 <module>", "<string>:5 fail"]
    assert "error" not in third


LIBRARY = f"""
import logging
from moneta.entrypoints.logs import configure_logs
configure_logs("info", process="before the fork")
configure_logs("info", process="test")
log = logging.getLogger("some.library")
def say():
    log.warning("found %s", "{MARKER}")
say()
say()
log.info("nobody asked for this")
try:
    raise OSError("{MARKER}")
except OSError:
    log.exception("failed with {MARKER}")
"""


def test_what_a_library_logs_is_a_line_of_ours_once_and_without_its_message():
    done = subprocess.run([sys.executable, "-c", LIBRARY], capture_output=True, text=True, check=True)
    warned, failed = map(json.loads, done.stderr.splitlines())
    assert MARKER not in done.stderr
    assert (warned["event"], warned["logger"], warned["level"]) == ("library_logged", "some.library", "warning")
    assert warned["place"] == "<string>:8 say"
    assert (failed["level"], failed["error"], failed["process"]) == ("error", "OSError", "test")
