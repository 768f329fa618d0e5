"""An organization becomes active once its endpoint has answered a check, sent when it is activated at the latest."""

import json
from dataclasses import replace

import pytest

from moneta.application import checked, organizations
from moneta.application.deliver_webhooks import prepare_attempts, record_attempts
from moneta.application.endpoint_tests import send_endpoint_test
from moneta.application.ports import Answer, IdentityRole, NoAnswer
from moneta.domain.errors import EndpointNotCheckedError, ForbiddenError
from moneta.domain.limits import DELIVER_LEASE_S, ENDPOINT_CHECK_LOOK_MS, ENDPOINT_CHECK_S_MAX
from moneta.domain.organizations import OrganizationStatus
from tests.hub import MO

OK, FAILED = 204, 503


def answered(status):
    return Answer(status=status, content_type="", retry_after=None, body=b"", is_truncated=False, duration_ms=7)


def deliver(house, came, *, between=lambda: None):
    """Send what is due; return the types, and the address each went to."""
    hub = house.hub
    due = hub.deliveries.take_due(now=hub.clock.now_ms(), limit=100, lease_s=DELIVER_LEASE_S)
    prepared = prepare_attempts(hub, due)
    between()
    record_attempts(hub, [(one, came) for one in prepared])
    return [(json.loads(one.request.body)["type"], one.request.url) for one in prepared]


class Endpoint:
    """What the deliverer does while a call waits: ``came`` is what each message gets, None for no deliverer at all."""

    def __init__(self, house):
        self.house, self.came, self.sent, self.woken, self.slept_ms = house, answered(OK), [], 0, 0

    def wake(self):
        self.woken += 1

    def pause(self, seconds):
        self.slept_ms += round(seconds * 1000)
        if self.came is not None:
            self.sent += deliver(self.house, self.came)


@pytest.fixture
def strict(house):
    """A hub that asks for an answer, with a Pending organization to which nothing was sent yet."""
    house.endpoint = Endpoint(house)
    house.hub = replace(
        house.hub, require_endpoint_check=True, wake_deliverer=house.endpoint.wake, pause=house.endpoint.pause
    )
    house.party = house.register(MO, "ACME", status="Pending")
    return house


def activate(strict):
    return organizations.change_organization_status(
        strict.hub, strict.operator, MO, strict.party.organization_id, {"status": "Active"}
    )


def move(strict, url):
    members = {"metadata": {"webhook_url": url}}
    return organizations.update_organization(strict.hub, strict.operator, MO, strict.party.organization_id, members)


def status(strict):
    return strict.hub.directory.organizations([strict.party.organization_id])[strict.party.organization_id].status


def test_registration_sends_a_check_and_what_was_answered_then_counts(strict):
    assert deliver(strict, answered(OK)) == [("moneta.endpoint.check", "https://acme.example/hooks")]
    shown = organizations.read_organization(strict.hub, strict.operator, MO, strict.party.organization_id).body
    assert shown["webhook"]["checked_at"] == strict.hub.now_s()
    assert activate(strict).body["status"] == "Active"
    assert (strict.endpoint.sent, strict.endpoint.woken, strict.endpoint.slept_ms) == ([], 0, 0)


def test_activation_sends_a_check_and_waits_for_its_answer(strict):
    deliver(strict, answered(FAILED))
    assert activate(strict).body["status"] == "Active"
    assert strict.endpoint.sent == [("moneta.endpoint.check", "https://acme.example/hooks")]
    assert (strict.endpoint.woken, strict.endpoint.slept_ms) == (1, ENDPOINT_CHECK_LOOK_MS)


@pytest.mark.parametrize(
    "came", [answered(FAILED), answered(302), answered(410), NoAnswer(reason="timeout", detail="", duration_ms=9)]
)
def test_an_endpoint_that_answers_anything_else_keeps_it_pending_and_nobody_waits_longer(strict, came):
    strict.endpoint.came = came
    with pytest.raises(EndpointNotCheckedError):
        activate(strict)
    assert status(strict) is OrganizationStatus.PENDING
    assert strict.endpoint.slept_ms < ENDPOINT_CHECK_S_MAX * 1000
    strict.endpoint.came = answered(OK)
    activate(strict)
    assert status(strict) is OrganizationStatus.ACTIVE


def test_a_check_that_nothing_comes_of_is_waited_for_so_long_and_no_longer(strict):
    strict.endpoint.came = None
    with pytest.raises(EndpointNotCheckedError):
        activate(strict)
    assert strict.endpoint.slept_ms == ENDPOINT_CHECK_S_MAX * 1000


def test_an_answer_from_the_address_before_says_nothing_of_the_new_one(strict):
    deliver(strict, answered(OK), between=lambda: move(strict, "https://moved.example/hooks"))
    strict.endpoint.came = None
    with pytest.raises(EndpointNotCheckedError):
        activate(strict)


def test_a_new_address_is_sent_a_check_of_its_own(strict):
    deliver(strict, answered(OK))
    move(strict, "https://moved.example/hooks")
    assert deliver(strict, answered(OK)) == [("moneta.endpoint.check", "https://moved.example/hooks")]
    activate(strict)
    assert strict.endpoint.sent == []


def test_a_test_that_was_answered_counts_as_well(strict):
    deliver(strict, answered(FAILED))
    send_endpoint_test(strict.hub, strict.caller(strict.party), MO, strict.party.organization_id)
    assert [kind for kind, _ in deliver(strict, answered(OK))] == ["moneta.endpoint.test"]
    activate(strict)
    assert strict.endpoint.sent == []


def test_what_was_suspended_is_active_again_without_a_check(strict):
    activate(strict)
    move(strict, "https://moved.example/hooks")
    strict.endpoint.came = None
    strict.set_status(strict.party, "Suspended")
    assert activate(strict).body["status"] == "Active"


def test_other_refusals_come_before_anything_is_sent(strict):
    deliver(strict, answered(FAILED))
    with pytest.raises(ForbiddenError):
        organizations.change_organization_status(
            strict.hub, strict.caller(strict.party), MO, strict.party.organization_id, {"status": "Active"}
        )
    assert strict.endpoint.woken == 0


def test_a_checkers_approval_asks_for_the_answer_of_then(strict):
    strict.hub = replace(strict.hub, checkers=2)
    checker = strict.add_identity("checker", IdentityRole.CHECKER)
    asked = activate(strict)
    assert [kind for kind, _ in strict.endpoint.sent] == ["moneta.endpoint.check"] * 2  # that of registration first
    move(strict, "https://moved.example/hooks")
    with pytest.raises(EndpointNotCheckedError):
        checked.decide_change(strict.hub, strict.caller(checker), asked.change_id, {"decision": "approve"})
    deliver(strict, answered(OK))
    again = activate(strict)
    checked.decide_change(strict.hub, strict.caller(checker), again.change_id, {"decision": "approve"})
    assert status(strict) is OrganizationStatus.ACTIVE


def test_the_same_registration_again_sends_no_second_check(strict):
    members = strict.organization_members(MO, "ONCE")
    deliver(strict, answered(OK))
    for _ in range(2):
        organizations.create_organization(strict.hub, strict.operator, MO, members, idempotency_key="once")
    assert len(deliver(strict, answered(OK))) == 1


def test_a_hub_that_does_not_ask_sends_nothing(house):
    party = house.register(MO, "ACME")
    members = {"metadata": {"webhook_url": "https://moved.example/hooks"}}
    organizations.update_organization(house.hub, house.operator, MO, party.organization_id, members)
    assert deliver(house, answered(OK)) == []
