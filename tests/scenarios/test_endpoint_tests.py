"""A test message: signed like any other, sent once, and shown with what came of it."""

import json

import pytest

from moneta.application import redelivery
from moneta.application.deliver_webhooks import prepare_attempts, record_attempts
from moneta.application.endpoint_tests import send_endpoint_test
from moneta.application.ports import Answer, DeliveryStatus, NoAnswer
from moneta.application.queries import list_deliveries, read_delivery
from moneta.client import Keyring, Receiver, Verifier
from moneta.domain.errors import ForbiddenError, NotFoundError, TransitionRefusedError
from moneta.domain.limits import DELIVER_LEASE_S
from moneta.domain.organizations import OrganizationKind
from tests.hub import MO, PUBLISHER
from tests.scenarios.solo import client_of


@pytest.fixture
def mo(house):
    return house.register(MO, "MOA")


def answered(status, body=b""):
    return Answer(status=status, content_type="", retry_after=None, body=body, is_truncated=False, duration_ms=7)


def ask(house, party, caller=None, kind=None):
    caller = house.caller(party) if caller is None else caller
    return send_endpoint_test(house.hub, caller, party.kind if kind is None else kind, party.organization_id).body


def deliver(house, came):
    hub = house.hub
    due = hub.deliveries.take_due(now=hub.clock.now_ms(), limit=100, lease_s=DELIVER_LEASE_S)
    prepared = prepare_attempts(hub, due)
    record_attempts(hub, [(one, came) for one in prepared])
    return [one.request for one in prepared]


def shown(house, party, webhook_id):
    return read_delivery(house.hub, house.caller(party), webhook_id).body


def test_a_test_says_that_it_is_one_and_nothing_else(house, mo):
    owed = ask(house, mo)
    (request,) = deliver(house, answered(204))
    message = json.loads(request.body)
    assert request.url == "https://moa.example/hooks"
    assert (
        message.items()
        >= {
            "id": owed["webhook_id"],
            "type": "moneta.endpoint.test",
            "source": house.hub.base_url,
            "subject": mo.organization_id,
            "sequence": "0000000000",
        }.items()
    )
    assert message["data"] == dict.fromkeys(("contract_id", "status", "contract", "receipt", "act", "problem"))
    found = shown(house, mo, owed["webhook_id"])
    assert (found["status"], found["contract_id"], found["type"]) == ("delivered", None, "moneta.endpoint.test")
    assert [one["status"] for one in found["attempts"]] == [204]


def test_a_partners_receiver_verifies_a_test_and_is_told_of_it(house, mo):
    party = client_of(house, mo)
    told = []
    receiver = Receiver(
        Verifier(party, Keyring(lambda _path: pytest.fail("a test needs no keys"))),
        secrets=[mo.webhook_secret],
        decide=lambda _contract: pytest.fail("a test asks for nothing"),
        notice=told.append,
        clock=house.hub.now_s,
    )
    owed = ask(house, mo)
    (request,) = deliver(house, answered(200))
    answer = receiver.handle(request.headers, request.body)
    assert (answer.status, answer.body) == (200, b"")
    assert [(one.webhook_id, one.contract_id) for one in told] == [(owed["webhook_id"], None)]


@pytest.mark.parametrize(
    "came", [answered(500), answered(302), NoAnswer(reason="timeout", detail="", duration_ms=9)], ids=str
)
def test_a_test_that_fails_is_not_tried_again(house, mo, came):
    owed = ask(house, mo)
    deliver(house, came)
    assert shown(house, mo, owed["webhook_id"])["status"] == "dead"
    house.clock.advance(10**6)
    assert deliver(house, came) == []


def test_a_test_that_failed_is_redelivered_and_tried_once_more(house, mo):
    owed = ask(house, mo)
    deliver(house, answered(500))
    redelivery.redeliver(house.hub, house.caller(mo), owed["webhook_id"])
    deliver(house, answered(500))
    assert (shown(house, mo, owed["webhook_id"])["status"], deliver(house, answered(200))) == ("dead", [])


def test_a_test_goes_out_though_the_endpoint_is_disabled_and_leaves_it_so(house, mo):
    ask(house, mo)
    deliver(house, answered(410))
    owed = ask(house, mo)
    (request,) = deliver(house, answered(200))
    assert json.loads(request.body)["id"] == owed["webhook_id"]
    mpass = house.issue_mpass(mo)
    publisher = house.register(PUBLISHER, "PUBA")
    raw = house.body(mo, publisher, mpass, expires_at=1)
    house.submit(mo, raw)  # refused, which is told to the MO
    assert deliver(house, answered(200)) == []


def test_an_answer_to_a_test_is_no_event(house, mo):
    owed = ask(house, mo)
    deliver(house, answered(200, b'{"contract": {}}'))
    assert house.hub.events.find(mo.organization_id, owed["webhook_id"]) is None


def test_who_is_still_being_registered_tests_its_endpoint_and_sees_what_came_of_it(house):
    pending = house.register(MO, "NEW", status="Pending")
    owed = ask(house, pending)
    deliver(house, answered(200))
    assert shown(house, pending, owed["webhook_id"])["status"] == "delivered"
    (item,) = list_deliveries(house.hub, house.caller(pending), {}).body["items"]
    assert item["webhook_id"] == owed["webhook_id"]


def test_the_operator_tests_anybodys_endpoint_and_nobody_else_another_s(house, mo):
    publisher = house.register(PUBLISHER, "PUBA")
    assert ask(house, mo, caller=house.operator)["organization_id"] == mo.organization_id
    with pytest.raises(NotFoundError):
        ask(house, mo, caller=house.caller(publisher))
    with pytest.raises(NotFoundError):
        ask(house, mo, kind=OrganizationKind.PUBLISHER)
    with pytest.raises(ForbiddenError):
        ask(house, mo, caller=house.caller(house.add_identity("auditor", "auditor")))


def test_a_tombstone_is_not_tested(house):
    gone = house.register(MO, "GONE", status="Destroyed")
    with pytest.raises(TransitionRefusedError):
        ask(house, gone, caller=house.operator)


def test_two_tests_are_two_messages(house, mo):
    first, second = ask(house, mo), ask(house, mo)
    assert first["webhook_id"] != second["webhook_id"]
    sent = [json.loads(one.body)["id"] for _ in range(2) for one in deliver(house, answered(200))]
    assert sent == [first["webhook_id"], second["webhook_id"]]
    found = house.hub.deliveries.find(second["webhook_id"])
    assert (found.status, found.owed.contract_id) == (DeliveryStatus.DELIVERED, None)
