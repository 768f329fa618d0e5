"""A contract from its submission to both receivers, through the functions on DynamoDB Local and MiniStack."""

import json
from collections import Counter

import pytest

from moneta.application.ports import EventType
from moneta.domain.contracts import status_of
from moneta.entrypoints.telemetry.correlation import trace_id_of
from tests.aws_lambda.deployed import deployed
from tests.aws_lambda.runtime_api import LateError
from tests.collector import collecting
from tests.hub import MO, PUBLISHER

pytestmark = pytest.mark.dynamodb


@pytest.fixture(scope="module")
def hub():
    with deployed() as hub:
        hub.mo, hub.publisher = hub.register(MO, "MOA"), hub.register(PUBLISHER, "PUBA")
        hub.mpass = hub.house.issue_mpass(hub.mo)
        hub.receiver.answer = lambda message: signed(hub, message)
        yield hub


def signed(hub, message):
    """The publisher signs in its answer."""
    if message["type"] != "moneta.contract.signature_requested":
        return b""
    contract = hub.house.contract(message["subject"])
    return json.dumps({"contract": hub.house.sign_next(hub.publisher, contract)}).encode()


def submission(hub, name):
    body = hub.house.body(hub.mo, hub.publisher, hub.mpass, contract_id=name)
    data = {"contract": hub.house.sign_first(hub.mo, body)}
    return hub.house.event(hub.mo, EventType.SUBMIT, name, data, f"e-{name}")


def check_finalized_once(hub, name):
    assert status_of(hub.house.contract(name)) == "finalized"
    told = Counter((message["type"], message["id"]) for message in hub.receiver.got if message["subject"] == name)
    assert Counter(kind for kind, _ in told) == {
        "moneta.contract.signature_requested": 1,
        "moneta.contract.finalized": 2,
    }
    return told


def test_a_contract_is_signed_finalized_and_told_to_both(hub):
    raw = submission(hub, "whole")
    answer = hub.post_event(hub.mo, raw)
    assert answer["statusCode"] == 202, answer
    hub.run_until_quiet()
    told = check_finalized_once(hub, "whole")
    assert set(told.values()) == {1}
    again = hub.post_event(hub.mo, raw)
    assert (again["statusCode"], again["headers"]["idempotency-replayed"]) == (202, "true")
    assert json.loads(again["body"]) == json.loads(answer["body"])
    assert hub.get(hub.mo, "/contracts/whole")[1]["status"] == "finalized"
    assert hub.get(hub.mo, "/events/e-whole")[1]["status"] == "processed"
    assert hub.function("sweep").invoke({})["completed"] == 0
    assert "error" not in {json.loads(line).get("level") for line in hub.log().splitlines()}


def test_a_function_that_is_killed_in_its_work_costs_nothing_but_a_repeat(hub):
    """The processor is cut off with its batch in hand, then the dispatcher with its: their messages come again."""
    hub.post_event(hub.mo, submission(hub, "killed"))
    batch = None
    while batch is None:
        batch = hub.batch("EVENTS")
    with pytest.raises(LateError):
        hub.function("processor").invoke(batch, timeout_s=0.01)
    hub.run_until_quiet()
    check_finalized_once(hub, "killed")
    assert hub.function("processor").processes >= 2


def test_a_message_that_is_delivered_twice_changes_nothing(hub):
    hub.post_event(hub.mo, submission(hub, "twice"))
    batch = None
    while batch is None:
        batch = hub.batch("EVENTS")
    for _ in range(2):
        assert hub.function("processor").invoke(batch) == {"batchItemFailures": []}
    hub.done("EVENTS", batch, {"batchItemFailures": []})
    hub.run_until_quiet()
    check_finalized_once(hub, "twice")


def test_the_relay_finds_complete_what_the_stream_tells_of(hub):
    hub.post_event(hub.mo, submission(hub, "relayed"))
    hub.run_until_quiet()
    keys = {"contract_id": {"S": "relayed"}, "seq": {"N": "1"}}
    record = {"eventName": "INSERT", "dynamodb": {"Keys": keys, "SequenceNumber": "1"}}
    assert hub.function("relay").invoke({"Records": [record]}) == {"batchItemFailures": []}


def test_the_spans_of_a_call_are_sent_before_it_ends(hub):
    with collecting() as (collector, url):
        traced = {"MONETA_OTLP_ENDPOINT": url, "MONETA_TRACE_RATIO": "1"}
        assert hub.post_event(hub.mo, submission(hub, "traced"), **traced)["statusCode"] == 202
        assert [(one.name, one.trace_id) for one in collector.spans] == [("POST /event", trace_id_of("traced"))]
        batch = None
        while batch is None:
            batch = hub.batch("EVENTS")
        hub.done("EVENTS", batch, hub.function("processor", **traced).invoke(batch))
        assert len(collector.spans) >= 2
        assert {one.trace_id for one in collector.spans} == {trace_id_of("traced")}
    hub.run_until_quiet()
    check_finalized_once(hub, "traced")
