"""Nothing that a client sends makes the hub fail, hang, crash, or answer what is not described."""

import time
from collections import Counter
from contextlib import contextmanager

import pytest

from tests.http.api_contract import check_described
from tests.http.api_server import parties, serving
from tests.http.bad_input import bad_requests
from tests.hub import MO
from tests.stores import STORES

HANG_S = 10.0  # a hang, not a slow moment: the suite runs beside others on two cores
TRIES = 3
IN_CI = 1_500
IN_FULL = 5_000


@contextmanager
def with_a_victim(folder, store):
    with serving(folder, store=store) as served:
        served.mo, served.publisher = parties(served.test_hub)
        served.mpass = served.test_hub.issue_mpass(served.mo)
        served.victim = served.test_hub.register(MO, "VICTIM")
        yield served


@pytest.fixture(scope="module", params=STORES)
def served(tmp_path_factory, request):
    with with_a_victim(tmp_path_factory.mktemp("hub"), request.param) as served:
        yield served


def send_all(served, count):
    """Send ``count`` bad requests, None for all; return the (status, code) of the answers, counted."""
    seen = Counter()
    operator, mo = served.headers(served.test_hub.console), served.headers(served.mo)
    contract = served.test_hub.submit(served.mo, served.test_hub.body(served.mo, served.publisher, served.mpass))
    values = {
        "event_id": f"submit-{contract}",
        "contract_id": contract,
        "webhook_id": "none",
        "letter_id": "none",
        "change_id": "none",
        "kind": "mo",
        "name": "transaction-contract",
        "version": "1",
        "mpass_id": served.mpass,
        "code": "not_found",
    }
    target = {"organization_id": served.victim.organization_id, "kid": served.victim.auth_key.public.key_id}
    for request in bad_requests(values=values, target=target, mo=served.mo.organization_id, count=count):
        token = {} if request.is_anonymous else mo if request.template in {"/event", "/mpass"} else operator
        headers = {name: value.encode("latin-1") for name, value in {**token, **request.headers}.items()}
        answer, took = timed(served, request, headers)
        told = f"{request.what} to {request.method} {request.path[:200]}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code < 500, told
        assert took < HANG_S, f"{took:.2f} s: {told}"
        check_described(answer, request.method, request.template)
        seen[answer.status_code, answer.json().get("code")] += 1
    return seen


def timed(served, request, headers):
    """Send one request; return its answer, and the time it takes at best: a busy machine is not a hang."""
    times = []
    while not times or (times[-1] >= HANG_S and len(times) < TRIES):
        started = time.perf_counter()
        answer = served.client.request(
            request.method,
            "/",
            content=request.content,
            headers=headers,
            extensions={"target": request.path.encode("ascii")},  # as it is: the client would tidy it up
        )
        times.append(time.perf_counter() - started)
    return answer, min(times)


def check_still_well(served, seen):
    assert served.client.get("/ready").json()["status"] == "ready"
    assert served.call("GET", "/contracts", served.mo).status_code == 200
    assert {status for status, _ in seen} >= {400, 401, 404, 412, 415, 422}


def test_bad_input_is_refused_by_its_own_code(served):
    seen = send_all(served, IN_CI)
    check_still_well(served, seen)
    assert sum(seen.values()) == IN_CI


@pytest.mark.slow
def test_much_bad_input_is_refused_by_its_own_code(tmp_path):
    with with_a_victim(tmp_path, "embedded") as served:  # almost nothing of it comes as far as a store
        seen = send_all(served, count=None)
        check_still_well(served, seen)
    assert sum(seen.values()) >= IN_FULL
