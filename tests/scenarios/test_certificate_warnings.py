"""Whoever has a certificate that ends is told: 30, 7 and 1 days ahead, once each, and again while nobody answers."""

import json
from dataclasses import replace
from threading import Event

import pytest

from moneta.application import organizations
from moneta.application.certificate_warnings import stage_of, warn_of_certificates
from moneta.application.deliver_webhooks import prepare_attempts, record_attempts
from moneta.application.ports import Answer
from moneta.client import Keyring, Receiver, Verifier
from moneta.domain.limits import DELIVER_LEASE_S
from moneta.domain.retention import DAY_MS
from moneta.entrypoints.warning import warning_thread
from tests.certificates import make_certificate
from tests.hub import MO, PUBLISHER
from tests.scenarios.solo import client_of
from tests.signing_examples import NOW, key_of

DAY_S = DAY_MS // 1000


def certify(house, party, *, days):
    certificate = make_certificate(key=key_of("ES256", f"{party.code} contract").numbers, ends_at=NOW + days * DAY_S)
    members = {"certificates": [certificate]}
    organizations.update_organization(house.hub, house.operator, party.kind, party.organization_id, members)


def deliver(house, status=204):
    hub = house.hub
    came = Answer(status=status, content_type="", retry_after=None, body=b"", is_truncated=False, duration_ms=7)
    due = hub.deliveries.take_due(now=hub.clock.now_ms(), limit=100, lease_s=DELIVER_LEASE_S)
    prepared = prepare_attempts(hub, due)
    record_attempts(hub, [(one, came) for one in prepared])
    return [one.request for one in prepared]


def warned(house, status=204):
    """Look for what ends, deliver it, and return the days that each message names."""
    warn_of_certificates(house.hub)
    return [json.loads(one.body)["data"]["problem"]["days"] for one in deliver(house, status)]


@pytest.mark.parametrize(
    ("left_ms", "stage"),
    [
        (30 * DAY_MS + 1, None),
        (30 * DAY_MS, 30),
        (7 * DAY_MS + 1, 30),
        (7 * DAY_MS, 7),
        (DAY_MS + 1, 7),
        (DAY_MS, 1),
        (1, 1),
        (0, None),
        (-1, None),
    ],
)
def test_a_stage_begins_at_its_days_and_lasts_until_the_next(left_ms, stage):
    assert stage_of(NOW * 1000 + left_ms, NOW * 1000) == stage


def test_each_stage_is_told_once_however_often_somebody_looks(house):
    certify(house, house.register(MO, "ACME"), days=31)
    told = []
    for _ in range(33 * 4):
        told += warned(house)
        house.clock.advance(DAY_S // 4)
    assert told == [30, 7, 1]


def test_a_message_says_which_certificate_ends_and_when_and_a_partner_understands_it(house):
    party = house.register(MO, "ACME")
    certify(house, party, days=5)
    assert warn_of_certificates(house.hub) == 1
    (request,) = deliver(house)
    message = json.loads(request.body)
    assert (message["type"], message["subject"]) == ("moneta.certificate.expiring", party.organization_id)
    assert message["sequence"] == "0000000000"
    problem = message["data"]["problem"]
    assert (problem["code"], problem["days"], problem["expires_at"]) == ("certificate_expiring", 7, NOW + 5 * DAY_S)
    told = []
    client = client_of(house, party)
    receiver = Receiver(
        Verifier(client, Keyring(lambda _path: pytest.fail("a warning needs no keys"))),
        secrets=[party.webhook_secret],
        decide=lambda _contract: pytest.fail("a warning asks for nothing"),
        notice=told.append,
        clock=house.hub.now_s,
    )
    assert receiver.handle(request.headers, request.body).status == 200
    assert told[0].problem.code == "certificate_expiring"


def test_what_nobody_answered_is_sent_again_a_day_later_under_its_id(house):
    certify(house, house.register(PUBLISHER, "PUB"), days=20)
    warn_of_certificates(house.hub)
    first = deliver(house, 503)
    house.clock.advance(DAY_S - 60)
    assert warned(house) == []
    house.clock.advance(60)
    assert warn_of_certificates(house.hub) == 1
    again = deliver(house)
    assert [one.body for one in again] == [one.body for one in first]
    house.clock.advance(DAY_S)
    assert warned(house) == []


def test_every_organization_is_looked_at_but_those_that_are_destroyed(house):
    parties = [house.register(kind, f"ORG{number}") for number, kind in enumerate((MO, PUBLISHER, MO))]
    for party in parties:
        certify(house, party, days=1)
    house.set_status(parties[2], "Destroyed")
    assert warn_of_certificates(house.hub) == 2


def test_a_certificate_that_was_replaced_is_no_longer_warned_of(house):
    party = house.register(MO, "ACME")
    certify(house, party, days=8)
    assert warned(house) == [30]
    certify(house, party, days=300)
    house.clock.advance(3 * DAY_S)
    assert warned(house) == []


def test_the_thread_beside_the_processor_looks_and_wakes_the_deliverer(house):
    certify(house, house.register(MO, "ACME"), days=1)
    woken = Event()
    thread = warning_thread(house.hub, on_owed=woken.set, first_s=0, every_s=0.01)
    thread.start()
    try:
        assert woken.wait(30)
    finally:
        thread.stop()
    assert len(deliver(house)) == 1


class OnePerPage:
    """The directory, whose pages of organizations have one each."""

    def __init__(self, directory):
        self._directory = directory

    def __getattr__(self, name):
        return getattr(self._directory, name)

    def list_organizations(self, kind, **asked):
        return self._directory.list_organizations(kind, **{**asked, "limit": 1})


def test_every_page_of_organizations_is_looked_at(house):
    for number in range(3):
        certify(house, house.register(MO, f"MO{number}"), days=1)
    assert warn_of_certificates(replace(house.hub, directory=OnePerPage(house.hub.directory))) == 3
