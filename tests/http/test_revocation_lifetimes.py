"""A key that was revoked, or reported compromised, counts nowhere after a minute, whatever was remembered before.

The time is the hub's and the partner's alike, and stands still but where a test moves it. Each way on which a key
counts is a row, with what is kept on it and for how long (docs/limits.md).
"""

from dataclasses import replace

import pytest

from moneta.application.organization_keys import change_key_status
from moneta.application.ports import EventType
from moneta.client import Keyring, MessageRefusedError
from moneta.domain.limits import (
    AUTHORIZATION_KEPT_S_MAX,
    DIRECTORY_KEPT_S,
    JUDGEMENT_AGE_S_MAX,
    KEYS_KEPT_S,
    REVOCATION_S_MAX,
)
from tests.aws_lambda.gateway import EventAPI
from tests.http.api_server import parties, serving
from tests.hub import MemorySigner
from tests.stores import STORES

ACCEPTED, UNAUTHORIZED, OK = 202, 401, 200


@pytest.fixture(params=STORES)
def served(request, tmp_path):
    with serving(tmp_path, store=request.param) as served:
        house = served.test_hub
        house.mo, house.publisher = parties(house)
        house.mpass = house.issue_mpass(house.mo)
        house.submit(house.mo, house.body(house.mo, house.publisher, house.mpass, contract_id="shared"))
        yield served


def revoke(house, key, status):
    owner = house.mo
    change_key_status(
        house.hub, house.operator, owner.kind, owner.organization_id, key.public.key_id, {"status": status}
    )


def submission(house, name):
    """An event of the MO's, signed by its contract key, with a contract of that name."""
    body = house.body(house.mo, house.publisher, house.mpass, contract_id=name)
    data = {"contract": house.sign_first(house.mo, body)}
    return house.event(house.mo, EventType.SUBMIT, name, data, f"submit-{name}")


class Reading:
    """A call that reads, with a token that the web process knows."""

    def __init__(self, served):
        self.served, self.house = served, served.test_hub
        self.headers = served.headers(self.house.mo)
        self.key = self.house.mo.auth_key

    def counts(self):
        return self.served.client.get("/contracts", headers=self.headers).status_code == OK


class Sending(Reading):
    """An event, with a token that the web process knows."""

    sent = 0

    def counts(self):
        self.sent += 1
        headers = {**self.headers, "content-type": "application/cloudevents+json"}
        answer = self.served.client.post("/event", content=submission(self.house, f"c-{self.sent}"), headers=headers)
        assert answer.status_code in {ACCEPTED, UNAUTHORIZED}
        return answer.status_code == ACCEPTED


class CachingGateway(EventAPI):
    """The gateway with its own cache of what the authorizer said, by the header, for as long as it can be set."""

    def __init__(self, house):
        super().__init__(house.hub)
        self.kept = {}

    def authorize(self, event):
        header, now = event["headers"]["authorization"], self.hub.now_s()
        if header not in self.kept or now - self.kept[header][0] >= AUTHORIZATION_KEPT_S_MAX:
            self.kept[header] = now, super().authorize(event)
        return self.kept[header][1]


class SendingThroughTheGateway(Sending):
    """An event through the gateway of a hub on AWS, which remembers what the authorizer said of the token."""

    def __init__(self, served):
        super().__init__(served)
        self.gateway = CachingGateway(self.house)
        self.headers = [*self.headers.items(), ("content-type", "application/cloudevents+json")]

    def counts(self):
        self.sent += 1
        raw = submission(self.house, f"g-{self.sent}")
        answer = self.gateway.request("POST", "/event", headers=self.headers, body=raw)
        return answer["statusCode"] == ACCEPTED


class Signing:
    """A contract that was signed and accepted before, and is judged now."""

    sent = 0

    def __init__(self, served):
        self.house = served.test_hub
        self.key = self.house.mo.key
        self.waiting = self._send()

    def counts(self):
        judged = self.waiting
        self.house.process()
        self.waiting = self._send()  # received while the key is good, if this is
        return judged in self.house.hub.contracts.read([judged])

    def _send(self):
        self.sent += 1
        return self.house.send(self.house.mo, submission(self.house, f"s-{self.sent}")).contract_id


class BelievingAsAPartner:
    """A partner's ``moneta.client``, which remembers the MO's keys."""

    def __init__(self, served):
        self.house = served.test_hub
        self.key = self.house.mo.key

        def fetch(path):
            return served.call("GET", path, self.house.publisher).raise_for_status().json()

        self.ring = Keyring(fetch, clock=self.house.hub.now_s)

    def counts(self):
        known = self.ring.party_key((self.house.mo.role,), self.house.mo.organization_id, self.key.public.key_id)
        try:
            known.check_judged_at(None)
        except MessageRefusedError:
            return False
        return True


# fmt: off
WAYS = {
    # the way            what is kept on it, one behind the other
    Reading:                  (DIRECTORY_KEPT_S,),
    Sending:                  (DIRECTORY_KEPT_S,),
    SendingThroughTheGateway: (AUTHORIZATION_KEPT_S_MAX, DIRECTORY_KEPT_S),
    Signing:                  (DIRECTORY_KEPT_S,),
    BelievingAsAPartner:      (KEYS_KEPT_S, DIRECTORY_KEPT_S),
}
# fmt: on


@pytest.mark.parametrize("way", WAYS)
def test_what_is_kept_on_a_way_sums_up_to_no_more_than_a_minute(way):
    assert sum(WAYS[way]) <= REVOCATION_S_MAX


@pytest.mark.parametrize("status", ["revoked", "compromised"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_key_counts_no_longer_than_what_is_kept_on_the_way(served, way, status):
    going = way(served)
    assert going.counts()  # and is remembered from now on
    revoke(going.house, going.key, status)
    kept_s = sum(WAYS[way])
    if kept_s:
        going.house.clock.advance(kept_s - 1)
        assert going.counts()
        going.house.clock.advance(1)
    assert not going.counts()


class StandingStill(MemorySigner):
    """A process that stands still for ``away_s`` while it signs, once, and a key that is revoked meanwhile."""

    def __init__(self, house, away_s):
        super().__init__()
        self.house, self.away_s, self.is_due = house, away_s, True

    def current(self):
        if self.is_due:
            self.is_due = False
            revoke(self.house, self.house.mo.key, "revoked")
            self.house.clock.advance(self.away_s)
        return super().current()


@pytest.mark.parametrize(("away_s", "is_committed"), [(0, True), (JUDGEMENT_AGE_S_MAX + 1, False)])
def test_what_a_process_had_judged_before_it_stood_still_is_judged_anew(served, away_s, is_committed):
    house = served.test_hub
    house.hub = replace(house.hub, signer=StandingStill(house, away_s))
    house.submit(house.mo, house.body(house.mo, house.publisher, house.mpass, contract_id="slow"))
    assert ("slow" in house.hub.contracts.read(["slow"])) is is_committed
