"""Events, contracts and deliveries, over HTTP and by webhook, the same at every kind of hub (``conftest``)."""

import pytest

from moneta.client import Keyring, Role, Verifier, build_event, cancel, decline, system_clock
from tests.everywhere.target import CLOUD_EVENT, OUTCOME_S_MAX, new_id
from tests.running_hub import wait_until

ENDED = "moneta.contract.finalized"
PENDING = "pending_publisher_signature"
EXPIRES_S = 3


@pytest.fixture
def silent(target, monkeypatch):
    """The market, whose publisher leaves what it is asked to sign for later."""
    monkeypatch.setattr(target.market.publisher, "signs", False)
    return target.market


def test_a_contract_is_signed_in_a_webhooks_answer_and_both_parties_are_told(target, finalized):
    shown = target.done("GET", f"/contracts/{finalized}", target.publisher)
    assert (shown["status"], shown["next_signers"], len(shown["jws"]["signatures"])) == ("finalized", [], 3)
    assert [one["event"] for one in shown["event_logs"]][-1] == "contract_finalized"
    assert target.outcome(f"submit-{finalized}", target.mo)["status"] == "processed"
    for trader in (target.market.mo, target.market.publisher):
        wait_until(lambda told=trader.told: (finalized, ENDED) in {one[:2] for one in told}, OUTCOME_S_MAX)
    verifier = Verifier(target.market.publisher.party, Keyring(target.market.publisher.client.caller.get))
    assert verifier.contract(shown["jws"]).body.contract_id == finalized


def test_the_same_event_is_answered_as_before_and_another_under_its_id_is_refused(target):
    contract_id = new_id("same")
    event, _ = target.submission(contract_id)
    first = target.send(event, target.mo)
    assert (first.status_code, first.headers["location"]) == (202, f"/events/{event.event_id}")
    again = target.send(event, target.mo)
    assert (again.status_code, again.content) == (202, first.content)
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    given = {"content-type": CLOUD_EVENT}
    refused = target.refusal("POST", "/event", target.mo, content=event.raw + b" ", headers=given)
    assert refused == (422, "event_id_reused")
    assert target.contract(contract_id, "finalized")["revision"] == 2


def test_a_contract_is_declined_by_whose_turn_it_is(target, silent):
    contract_id = new_id("declined")
    target.submit(contract_id)
    shown = target.contract(contract_id, PENDING)
    publisher, now = silent.publisher, system_clock()
    seen = Verifier(publisher.party, Keyring(publisher.client.caller.get)).contract(shown["jws"])
    act = decline(seen, publisher.party, reason_code="scenario", reason="no", issued_at=now)
    event = build_event(publisher.party, "decline", act, now=now)
    assert target.send(event, target.publisher).status_code == 202
    ended = target.contract(contract_id, "declined")
    assert (len(ended["acts"]), ended["receipt"] is not None) == (1, True)
    assert target.outcome(event.event_id, target.publisher)["status"] == "processed"


def test_a_contract_is_cancelled_by_who_began_it_and_is_closed_then(target, silent):
    contract_id = new_id("cancelled")
    signed = target.submit(contract_id)
    pending = target.contract(contract_id, PENDING)
    now, mo = system_clock(), silent.mo.party
    act = cancel(signed, mo, reason_code="scenario", reason="a mistake", issued_at=now)
    event = build_event(mo, "cancel", act, now=now)
    assert target.send(event, target.mo).status_code == 202
    assert len(target.contract(contract_id, "cancelled")["acts"]) == 1
    seen = Verifier(silent.publisher.party, Keyring(silent.publisher.client.caller.get)).contract(pending["jws"])
    late = decline(seen, silent.publisher.party, reason_code="scenario", reason="too late", issued_at=now)
    event = build_event(silent.publisher.party, "decline", late, now=now)
    assert target.send(event, target.publisher).status_code == 202
    outcome = target.outcome(event.event_id, target.publisher)
    assert (outcome["status"], outcome["problem"]["code"]) == ("rejected", "contract_closed")
    assert len(target.contract(contract_id, "cancelled")["acts"]) == 1


def test_a_contract_that_nobody_completes_expires(target, silent):
    contract_id = new_id("expired")
    target.submit(contract_id, expires_at=system_clock() + EXPIRES_S)
    ended = target.contract(contract_id, "expired")
    assert [one["event"] for one in ended["event_logs"]][-1] == "contract_expired"
    assert silent.publisher.signs is False


def test_a_contract_that_no_template_allows_is_rejected_with_its_problem(target):
    contract_id = new_id("late")
    event, _ = target.submission(contract_id, expires_at=system_clock() - 1)
    assert target.send(event, target.mo).status_code == 202
    outcome = target.outcome(event.event_id, target.mo)
    assert (outcome["status"], outcome["problem"]["code"]) == ("rejected", "contract_expired")
    assert target.refusal("GET", f"/contracts/{contract_id}", target.mo)[0] == 404


def test_contracts_are_listed_by_filters_over_pages(target):
    mpass = target.market.mo.issue_mpass()
    made = [new_id("listed") for _ in range(3)]
    for contract_id in made:
        target.submit(contract_id, mpass_id=mpass)
    for contract_id in made:
        target.contract(contract_id, "finalized")

    def listed(query, token):
        pages = target.pages(f"/contracts?{query}", token, limit=2)
        return sorted(one["contract_id"] for page in pages for one in page)

    queries = (
        f"mpass_id={mpass}",
        f"mpass_id={mpass}&status=finalized",
        f"mpass_id={mpass}&mo_id={target.market.mo.organization_id}&received_to={system_clock() + 3600}",
    )
    for query in queries:
        wait_until(lambda asked=query: listed(asked, target.mo) == sorted(made), OUTCOME_S_MAX)
        assert listed(query, target.operator) == sorted(made)
    assert listed(f"mpass_id={mpass}&status=declined", target.mo) == []
    assert listed(f"mpass_id={mpass}", target.register(Role.MO).token) == []


def test_what_was_delivered_is_listed_and_sent_again_on_request(target, finalized):
    publisher = target.market.publisher

    def listed():
        pages = target.pages(f"/deliveries?contract_id={finalized}&status=delivered", target.publisher, limit=1)
        return [one["webhook_id"] for page in pages for one in page]

    wait_until(lambda: len(listed()) == 2, OUTCOME_S_MAX)  # asked to sign, and told of the end
    ends = {told[2] for told in publisher.told if told[:2] == (finalized, ENDED)}
    (webhook_id,) = ends & set(listed())
    before = len(target.done("GET", f"/deliveries/{webhook_id}", target.publisher)["attempts"])
    again = target.call("POST", f"/deliveries/{webhook_id}/redeliver", target.publisher)
    assert (again.status_code, again.json()["webhook_id"]) == (202, webhook_id)

    def attempts():
        return target.done("GET", f"/deliveries/{webhook_id}", target.publisher)["attempts"]

    wait_until(lambda: len(attempts()) > before, OUTCOME_S_MAX)
    assert attempts()[-1]["status"] == 200


def test_a_contracts_messages_are_replayed(target, finalized):
    asked = {"contract_id": finalized}
    given = {"idempotency-key": new_id("replay")}
    first = target.call("POST", "/deliveries/replay", target.publisher, json=asked, headers=given)
    assert (first.status_code, first.json()["count"]) == (202, 2)
    again = target.call("POST", "/deliveries/replay", target.publisher, json=asked, headers=given)
    assert (again.headers["idempotency-replayed"], again.json()) == ("true", first.json())
