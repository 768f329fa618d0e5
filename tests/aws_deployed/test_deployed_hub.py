"""The hub as an account would have it: the real template and artifact, real roles, real receivers of webhooks.

Every test leaves the hub at work. None sleeps for a result: it asks until the result is there.
"""

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from moneta.client import (
    HubProblemError,
    HubUnreachableError,
    Keyring,
    Verifier,
    build_event,
    cancel,
    decline,
    sign_first,
    system_clock,
)
from moneta.entrypoints.demo.conductor import DemoHub, run_demo_at
from tests import stranger
from tests.running_hub import wait_until

pytestmark = pytest.mark.deployed

OUTCOME_S_MAX = 240
WRITERS = 8
FINALIZED = "moneta.contract.finalized"
DEMO_S_MAX = 300


def new_id(what):
    return f"{what}-{uuid.uuid4().hex[:12]}"


def post(trader, event):
    """Send an event, again while there is no answer: eight cold starts at once take their time."""
    wait_until(lambda: _is_answered(trader, event), OUTCOME_S_MAX)


def _is_answered(trader, event):
    with suppress(HubUnreachableError):
        return trader.client.post(event) is not None
    return False


def is_told(market, contract_id):
    told = [{(subject, kind) for subject, kind, _ in one.told} for one in (market.mo, market.publisher)]
    return all((contract_id, FINALIZED) in found for found in told)


def finalized(market, contract_id):
    """Wait until a contract is final and both parties were told; return what the hub shows."""
    found = market.mo.client.wait_for(contract_id, ["finalized"], timeout_s=OUTCOME_S_MAX)
    wait_until(lambda: is_told(market, contract_id), OUTCOME_S_MAX)
    return found


def outcome(trader, event_id):
    """Wait for an event's outcome, and return it."""
    wait_until(lambda: trader.client.event(event_id).status != "accepted", OUTCOME_S_MAX)
    return trader.client.event(event_id).status


def is_whole(hub, contract_id, *, revision):
    """Tell whether a contract has each step once, and a head that has caught up."""
    steps = hub.steps(contract_id)
    return sorted(steps) == [*range(revision + 1)] and int(steps[0]["revision"]["N"]) == revision


def test_a_contract_is_finalized_and_both_parties_are_told(hub, market):
    contract_id = new_id("flow")
    market.submit(contract_id)
    found = finalized(market, contract_id)
    assert len(found.jws["signatures"]) == 3
    assert is_whole(hub, contract_id, revision=found.revision)


def test_every_kind_of_contract_of_the_demos_plays_through_the_apis_url(hub, tmp_path):
    played_at = DemoHub(url=hub.url, key=hub.key_id, token=hub.operator_token())
    assert run_demo_at(played_at, tmp_path, each_max=1, wait_s_max=DEMO_S_MAX) == 0


def test_a_stranger_plays_a_contract_by_the_protocol_s_page_alone(hub):
    stranger.play(hub.url, hub.operator_token(), timeout_s=OUTCOME_S_MAX)


def test_the_sequence_is_the_adrs(hub, market):
    contract_id = new_id("sequence")
    since = time.time()
    market.submit(contract_id)
    finalized(market, contract_id)
    made = [(one.caller, one.service, one.action, str(one.parameters)) for one in hub.calls(since=since)]

    def first(caller, service, actions, about=""):
        return next(
            place
            for place, (by, at, action, parameters) in enumerate(made)
            if by == caller and at == service and action in actions and about in parameters
        )

    accepted = first("ingestor", "dynamodb", {"PutItem", "UpdateItem"}, "-events")
    queued = first("ingestor", "sqs", {"SendMessage", "SendMessageBatch"}, "-events")
    read = first("processor", "dynamodb", {"GetItem", "BatchGetItem", "Query"}, "-contracts")
    stored = first("processor", "dynamodb", {"PutItem"}, "-contracts")
    announced = first("processor", "sqs", {"SendMessage", "SendMessageBatch"}, "-webhooks")
    dispatched = first("dispatcher", "dynamodb", {"UpdateItem"}, "-deliveries")
    assert accepted < queued < read < stored < announced < dispatched
    everything = hub.calls()
    assert "processor" in {one.caller for one in everything if one.action == "GetSecretValue"}
    assert not [one for one in everything if one.service == "kms"]  # the root key is for who makes keys


def test_the_same_event_sent_at_once_by_many_has_one_effect(hub, market):
    contract_id = new_id("many")
    now = system_clock()
    signed = sign_first(market.body(contract_id), market.mo.party, issued_at=now)
    event = build_event(market.mo.party, "submit", signed, now=now, event_id=f"submit-{contract_id}")
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda _: post(market.mo, event), range(WRITERS)))
    assert is_whole(hub, contract_id, revision=finalized(market, contract_id).revision)


def test_messages_that_come_twice_and_in_another_order_change_nothing(hub, market):
    ids = [new_id("order") for _ in range(4)]
    queue, url = hub.account.client("sqs"), hub.outputs["EventsQueueUrl"]
    with hub.processor_waits():
        for contract_id in ids:
            market.submit(contract_id)
        taken = hub.messages(url, len(ids))
        for message in [*reversed(taken), *taken]:
            hub.send_again(url, message)
    for message in taken:  # what was sent first comes too, once it shows again
        queue.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    for contract_id in ids:
        assert is_whole(hub, contract_id, revision=finalized(market, contract_id).revision)
    wait_until(lambda: hub.depth(url) == 0, OUTCOME_S_MAX)


def test_what_a_processor_stored_before_it_died_is_not_done_twice(hub, market):
    contract_id = new_id("death")
    url = hub.outputs["EventsQueueUrl"]
    with hub.queue_has(url, VisibilityTimeout="5"), hub.processor_runs("crashing.after_the_store"):
        market.submit(contract_id)
        found = finalized(market, contract_id)
        wait_until((hub.account.folder / "died-after-the-store").exists, OUTCOME_S_MAX)
        wait_until(lambda: hub.depth(url) == 0, OUTCOME_S_MAX)
    assert is_whole(hub, contract_id, revision=found.revision)
    assert outcome(market.mo, f"submit-{contract_id}") == "processed"


def test_poison_ends_as_a_letter_and_comes_back_once_the_processor_is_mended(hub, market):
    contract_id = new_id("poison")
    url = hub.outputs["EventsQueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": hub.queue_arn("events-dead"), "maxReceiveCount": 2})
    with hub.queue_has(url, VisibilityTimeout="2", RedrivePolicy=redrive), hub.processor_runs("crashing.of_poison"):
        market.submit(contract_id)
        wait_until(lambda: contract_id in hub.letters(), OUTCOME_S_MAX)
    assert hub.depth(hub.queue_url("events-dead")) == 0
    letter = hub.letters()[contract_id]["id"]
    hub.moneta("dlq", "redrive", "--url", hub.url, "--token", hub.operator_token(), letter)
    assert is_whole(hub, contract_id, revision=finalized(market, contract_id).revision)
    assert contract_id not in hub.letters()


def test_of_eight_writers_at_one_contract_one_wins_and_nothing_is_lost(hub, market):
    contract_id, mo, publisher = new_id("race"), market.mo, market.publisher
    now = system_clock()
    signed = sign_first(market.body(contract_id), mo.party, issued_at=now)
    publisher.signs = False
    try:
        post(mo, build_event(mo.party, "submit", signed, now=now, event_id=f"submit-{contract_id}"))
        shown = mo.client.wait_for(contract_id, ["pending_publisher_signature"], timeout_s=OUTCOME_S_MAX)
        seen = Verifier(publisher.party, Keyring(publisher.client.caller.get)).contract(shown.jws)
        writers = []
        for number in range(WRITERS // 2):
            reason = {"reason_code": "race", "reason": str(number), "issued_at": now}
            for trader, kind, act in (
                (mo, "cancel", cancel(signed, mo.party, **reason)),
                (publisher, "decline", decline(seen, publisher.party, **reason)),
            ):
                writers.append((trader, build_event(trader.party, kind, act, now=now, event_id=new_id(kind))))
        with hub.one_message_a_call():
            with hub.processor_waits():
                for trader, event in writers:
                    post(trader, event)
            outcomes = {(trader.role, outcome(trader, event.event_id)) for trader, event in writers}
    finally:
        publisher.signs = True
    ended = mo.client.contract(contract_id)
    winner, loser = (mo, publisher) if ended.status == "cancelled" else (publisher, mo)
    assert ended.status in {"cancelled", "declined"}
    assert outcomes == {(winner.role, "processed"), (loser.role, "rejected")}  # who repeats what is so already is right
    assert len(ended.document["acts"]) == 1
    assert is_whole(hub, contract_id, revision=ended.revision)


def test_what_takes_two_waits_for_the_checker_and_is_done_then(hub, market):
    path, operator = f"/organizations/mo/{market.mo.organization_id}", hub.operator()
    with hub.takes_two() as checker:
        for status, before in (("Suspended", "Active"), ("Active", "Suspended")):
            asked = operator.send("PUT", f"{path}/status", {"status": status})
            assert operator.get(path)["status"] == before
            place = f"/changes/{asked['change']}"
            with pytest.raises(HubProblemError) as own:
                operator.send("PUT", place, {"decision": "approve"})
            assert own.value.status == 403
            assert checker.send("PUT", place, {"decision": "approve"})["state"] == "approved"
            assert operator.get(path)["status"] == status


def test_a_request_without_a_token_gets_the_protocols_problem(hub):
    with pytest.raises(HubProblemError) as refused:
        hub.as_nobody().send("POST", "/event", {})
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")


def test_nothing_was_refused_to_a_function_for_want_of_a_permission(hub, market):
    finalized(market, _submitted(market))
    denied = {name: [line for line in hub.log(name) if "AccessDenied" in line] for name in hub.functions}
    assert {name: lines for name, lines in denied.items() if lines} == {}


def _submitted(market):
    contract_id = new_id("allowed")
    market.submit(contract_id)
    return contract_id
