"""What a running hub really sends, judged by Standard Webhooks' own implementation behind a bare HTTP server."""

import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from moneta.client import HubClient, Party, Role, build_contract, keys, registration, sign_first, system_clock
from tests.running_hub import running_hub, wait_until
from tests.stores import STORES

OVERLAP_S = 3
DAY_S = 24 * 3600
NUMBERS = itertools.count(1)


class Inbox:
    """An endpoint that keeps what it gets, and answers with ``status``."""

    def __init__(self):
        self.status, self.requests = 200, []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # the standard library's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(inbox.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.requests]

    def get(self, webhook_id, count=1):
        """Return what came under an id, once it came so often."""
        wait_until(lambda: self.ids().count(webhook_id) >= count)
        return [one for one in self.requests if one[0]["webhook-id"] == webhook_id]


class Member:
    """An organization of its own at a running hub, with an inbox."""

    def __init__(self, hub, folder):
        folder.mkdir()
        self.inbox = Inbox()
        key, auth_key = keys.load_or_generate(folder / "key.pem"), keys.load_or_generate(folder / "auth.pem")
        offered = registration(
            Role.MO,
            name="Member",
            code=f"MEMBER{next(NUMBERS)}",
            webhook_url=self.inbox.url,
            hub=hub.url,
            auth_key=auth_key,
            contract_key=key,
            now=system_clock(),
        )
        self.operator = hub.operator()
        made = self.operator.send("POST", "/organizations/mo", offered)
        self.path = f"/organizations/mo/{made['id']}"
        self.operator.send("PUT", f"{self.path}/status", {"status": "Active"})
        self.secret = made["webhook_secret"]
        self.client = HubClient(
            Party(organization_id=made["id"], role=Role.MO, hub=hub.url, auth_key=auth_key, contract_key=key)
        )

    def tested(self):
        """Ask for a test message, and return what came."""
        (request,) = self.inbox.get(self.client.test_endpoint().webhook_id)
        return request

    def settled(self, webhook_id, count=1):
        """Return a delivery once it has been tried so often and is settled."""

        def is_settled():
            found.update(self.client.delivery(webhook_id).document)
            return len(found["attempts"]) >= count and found["status"] != "pending"

        found = {}
        wait_until(is_settled)
        return found

    def refused(self):
        """Send what the hub must refuse, and return the id of the message that tells so."""
        now, party = system_clock(), self.client.party
        body = build_contract(
            template_id="transaction-contract",
            version=1,
            payload={"transaction": {"amount": "1.00", "currency": "USD"}},
            created_at=now,
            mo_id=party.organization_id,
            publisher_id="nobody",
            mpass_id="none",
        )
        accepted = self.client.submit(sign_first(body, party, issued_at=now))
        wait_until(lambda: self.client.event(accepted.event_id).status == "rejected")
        (owed,) = self.client.caller.get("/deliveries", contract_id=accepted.contract_id)["items"]
        return owed["webhook_id"]

    def rotate(self, overlap_s):
        return self.client.caller.send("POST", f"{self.path}/webhook-secret", {"overlap_s": overlap_s})


def is_by(secret, request):
    """Tell whether the reference implementation finds the request signed with ``secret``."""
    headers, body = request
    try:
        return Webhook(secret).verify(body, headers) == json.loads(body)
    except WebhookVerificationError:
        return False


@pytest.fixture(scope="module", params=STORES)
def hub(tmp_path_factory, request):
    with running_hub(tmp_path_factory.mktemp("webhooks"), store=request.param) as running:
        yield running


@pytest.fixture
def member(hub, tmp_path):
    made = Member(hub, tmp_path / "member")
    yield made
    made.operator.send("PUT", f"{made.path}/status", {"status": "Destroyed"})
    made.inbox.close()


def test_a_secret_signs_before_within_and_not_after_its_overlap(member):
    old, before = member.secret, member.tested()
    assert is_by(old, before)

    rotated = member.rotate(OVERLAP_S)
    new, within = rotated["webhook_secret"], member.tested()
    assert (is_by(old, within), is_by(new, within)) == (True, True)
    assert not is_by(new, before)

    wait_until(lambda: time.time() > rotated["previous_until"] + 1)
    after = member.tested()
    assert (is_by(old, after), is_by(new, after)) == (False, True)

    # What was owed under the old secret is signed with the one of the moment in which it is sent.
    webhook_id = before[0]["webhook-id"]
    member.client.redeliver(webhook_id)
    _, again = member.inbox.get(webhook_id, 2)
    assert (is_by(old, again), is_by(new, again)) == (False, True)


def test_without_an_overlap_a_secret_ends_at_once(member):
    new = member.rotate(0)["webhook_secret"]
    request = member.tested()
    assert (is_by(member.secret, request), is_by(new, request)) == (False, True)


def test_a_rotation_whose_answer_was_lost_is_repeated_and_cuts_nobody_off(member):
    member.rotate(60)
    new = member.rotate(60)["webhook_secret"]
    request = member.tested()
    assert (is_by(member.secret, request), is_by(new, request)) == (True, True)
    assert len(request[0]["webhook-signature"].split()) == 3


def test_a_test_that_fails_is_shown_and_not_repeated(member):
    member.inbox.status = 500
    webhook_id = member.client.test_endpoint().webhook_id
    found = member.settled(webhook_id)
    assert (found["status"], [one["status"] for one in found["attempts"]]) == ("dead", [500])
    assert member.inbox.ids() == [webhook_id]


def test_a_message_is_sent_again_byte_for_byte(member):
    headers, body = member.tested()
    webhook_id = headers["webhook-id"]
    member.settled(webhook_id)
    assert member.client.redeliver(webhook_id).status == "pending"
    first, again = member.inbox.get(webhook_id, 2)
    assert again[1] == first[1] == body
    assert is_by(member.secret, again)
    assert member.settled(webhook_id, 2)["status"] == "delivered"


def test_a_range_is_sent_again(member):
    now = system_clock()
    ids = [member.tested()[0]["webhook-id"] for _ in range(3)]
    for webhook_id in ids:
        member.settled(webhook_id)
    assert member.client.replay(owed_from=now - DAY_S, owed_to=now + DAY_S) == 3
    for webhook_id in ids:
        member.inbox.get(webhook_id, 2)
    assert member.inbox.ids() == [*ids, *ids]
    assert member.client.replay(owed_from=now - 2 * DAY_S, owed_to=now - DAY_S) == 0


def test_a_disabled_endpoint_is_tested_and_gets_the_rest_when_it_is_enabled(member):
    member.inbox.status = 410
    gone = member.client.test_endpoint().webhook_id
    member.settled(gone)
    member.inbox.status = 200
    assert member.settled(member.tested()[0]["webhook-id"])["status"] == "delivered"

    waiting = member.refused()
    member.client.redeliver(waiting)
    assert member.settled(member.tested()[0]["webhook-id"])["status"] == "delivered"
    assert member.client.delivery(waiting).document["attempts"] == []
    secret = member.rotate(0)["webhook_secret"]
    assert is_by(secret, *member.inbox.get(waiting))
