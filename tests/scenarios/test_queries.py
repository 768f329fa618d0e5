"""What callers read: events, contracts, deliveries and Moneta's keys, each as the protocol has it and to whom."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key

from moneta.application import queries
from moneta.application.deliver_webhooks import contract_jws
from moneta.application.documents import to_json
from moneta.application.ports import (
    Attempt,
    AttemptResult,
    DeliveryStatus,
    EventType,
    IdentityRole,
    PublishedKey,
)
from moneta.domain.errors import InvalidParameterError, NotFoundError, UnknownContractError
from moneta.domain.identifiers import ContractId, EventId, UnixMillis, WebhookId
from moneta.signing import statements
from tests.hub import MO, PUBLISHER
from tests.signing_examples import NOW, key_of


@pytest.fixture
def parties(house):
    return house.register(MO, "ACME", "RS256"), house.register(PUBLISHER, "PUB", "EdDSA")


def read(house, holder, contract_id):
    return queries.read_contract(house.hub, house.caller(holder), ContractId(contract_id))


# Contracts.


def test_a_pending_contract_is_shown_in_the_adrs_structure_and_in_full(house, parties):
    mo, publisher = parties
    mpass_id = house.issue_mpass(mo)
    contract_id = house.submit(mo, house.body(mo, publisher, mpass_id, description="Premium", created_at=NOW - 60))
    stored = house.contract(contract_id)
    answer = read(house, mo, contract_id)
    signed, countersigned = stored.signatures
    assert answer.body == {
        "contract_id": "contract-1",
        "template_id": "transaction-contract",
        "mo_id": mo.organization_id,
        "publisher_id": publisher.organization_id,
        "org_id": None,
        "mpass_id": mpass_id,
        "version": 1,
        "payload": {"transaction": {"amount": "100.00", "currency": "USD"}},
        "signatures_map": {
            "mo": {
                "signature": signed.signature,
                "timestamp": NOW,
                "public_key": answer.body["signatures_map"]["mo"]["public_key"],
                "kid": mo.key.public.key_id,
                "alg": "RS256",
            },
            "moneta": {
                "signature": countersigned.signature,
                "timestamp": NOW,
                "public_key": answer.body["signatures_map"]["moneta"]["public_key"],
                "kid": house.hub.signer.current().public.key_id,
                "alg": "ES256",
            },
        },
        "event_logs": [
            {"event": line.event, "timestamp": NOW, "actor": line.actor, "revision": 1} for line in stored.log
        ],
        "status": "pending_publisher_signature",
        "created_at": NOW - 60,
        "finalized_at": None,
        "description": "Premium",
        "supersedes": None,
        "superseded_by": None,
        "received_at": NOW,
        "revision": 1,
        "next_signers": ["publisher"],
        "jws": contract_jws(stored),
        "acts": [],
        "receipt": None,
    }
    assert answer.body["event_logs"][0]["event"] == "contract_created"
    assert answer.revision == 1
    for role, key in (("mo", mo.key), ("moneta", house.hub.signer.key)):
        shown = answer.body["signatures_map"][role]["public_key"]
        loaded = load_der_public_key(base64.urlsafe_b64decode(shown + "=" * (-len(shown) % 4)))
        assert loaded == key.public.numbers


def test_a_finalized_contract_has_all_three_signatures_and_its_receipt(house, parties):
    mo, publisher = parties
    contract_id = house.submit(mo, house.body(mo, publisher, house.issue_mpass(mo)))
    house.clock.advance(5)
    house.sign(publisher, contract_id)
    body = read(house, publisher, contract_id).body
    assert (body["status"], body["finalized_at"], body["revision"]) == ("finalized", NOW + 5, 2)
    assert list(body["signatures_map"]) == ["mo", "moneta", "publisher"]
    assert body["next_signers"] == []
    receipt = statements.verify_receipt(
        body["receipt"], lambda _: house.hub.signer.current().public, issuer=house.hub.base_url
    )
    assert receipt["status"] == "finalized"
    assert body["event_logs"][-1]["event"] == "contract_finalized"


def test_amounts_are_shown_as_strings_with_the_digits_as_written(house, parties):
    mo, publisher = parties
    body = house.body(mo, publisher, house.issue_mpass(mo)).replace(b'"100.00"', b"100.00")
    body = body.replace(b'"currency"', b'"rate": 0.10, "currency"')
    shown = read(house, mo, house.submit(mo, body)).body
    assert shown["payload"]["transaction"]["amount"] == "100.00"
    assert b'"rate":0.10' in to_json(shown["payload"])


def test_a_contract_whose_template_or_key_is_not_at_hand_is_shown_all_the_same(house, parties):
    mo, publisher = parties
    contract_id = house.submit(mo, house.body(mo, publisher, house.issue_mpass(mo)))
    hub = replaced(house, directory=ForgetfulDirectory(house.hub.directory))
    shown = queries.contract_document(hub, house.contract(contract_id))
    assert shown["payload"] == {"transaction": {"amount": "100.00", "currency": "USD"}}
    assert shown["signatures_map"]["mo"]["public_key"] is None


class ForgetfulDirectory:
    """A directory that has lost its templates and keys."""

    def __init__(self, directory):
        self.directory = directory

    def __getattr__(self, name):
        return getattr(self.directory, name)

    def template(self, name, version):
        return None

    def keys_of(self, owners, *, is_fresh=False):
        return {}


def replaced(house, **members):
    every = {name: getattr(house.hub, name) for name in house.hub.__slots__}
    return type(house.hub)(**{**every, **members})


def test_a_party_sees_only_contracts_that_name_it(house, parties):
    mo, publisher = parties
    contract_id = house.submit(mo, house.body(mo, publisher, house.issue_mpass(mo)))
    strangers = house.register(MO, "OTHER"), house.register(PUBLISHER, "OTHERPUB")
    auditor, checker = house.add_identity("aud", IdentityRole.AUDITOR), house.add_identity("chk", IdentityRole.CHECKER)
    for holder in (mo, publisher, house.console, auditor, checker):
        assert read(house, holder, contract_id).body["contract_id"] == contract_id
    refusals = []
    for holder, wanted in [(one, name) for one in strangers for name in (contract_id, "unknown")]:
        with pytest.raises(UnknownContractError) as refused:
            read(house, holder, wanted)
        refusals.append((refused.value.detail, refused.value.facts))
    assert all(refusal == refusals[0] for refusal in refusals)
    with pytest.raises(UnknownContractError):
        read(house, house.console, "unknown")


def listed(house, holder, **parameters):
    return queries.list_contracts(house.hub, house.caller(holder), parameters).body


def ids(page):
    return [item["contract_id"] for item in page["items"]]


def test_contracts_are_listed_newest_first_with_the_members_of_the_protocol(house, parties):
    mo, publisher = parties
    mpass_id = house.issue_mpass(mo)
    for number in range(3):
        house.submit(mo, house.body(mo, publisher, mpass_id, contract_id=f"c{number}"))
        house.clock.advance(10)
    house.sign(publisher, ContractId("c1"))
    page = listed(house, mo)
    assert ids(page) == ["c2", "c1", "c0"]
    assert page["items"][1] == {
        "contract_id": "c1",
        "template_id": "transaction-contract",
        "version": 1,
        "mo_id": mo.organization_id,
        "publisher_id": publisher.organization_id,
        "mpass_id": mpass_id,
        "status": "finalized",
        "created_at": NOW + 10,
        "received_at": NOW + 10,
        "finalized_at": NOW + 30,
        "revision": 2,
    }
    first = listed(house, publisher, limit="2")
    rest = listed(house, publisher, limit="2", cursor=first["next_cursor"])
    assert (ids(first), ids(rest), rest["next_cursor"]) == (["c2", "c1"], ["c0"], None)


def test_filters_may_be_combined_and_anothers_id_gives_an_empty_list(house, parties):
    mo, publisher = parties
    other_mo = house.register(MO, "OTHER")
    mpass_id, other_mpass = house.issue_mpass(mo), house.issue_mpass(other_mo)
    house.submit(mo, house.body(mo, publisher, mpass_id, contract_id="c0"))
    house.clock.advance(10)
    house.submit(other_mo, house.body(other_mo, publisher, other_mpass, contract_id="c1"))
    pending = "pending_publisher_signature"
    assert ids(listed(house, publisher)) == ["c1", "c0"]
    assert ids(listed(house, house.console)) == ["c1", "c0"]
    assert ids(listed(house, publisher, mo_id=mo.organization_id, status=pending)) == ["c0"]
    assert ids(listed(house, publisher, mpass_id=other_mpass)) == ["c1"]
    assert ids(listed(house, mo, publisher_id=publisher.organization_id)) == ["c0"]
    assert ids(listed(house, house.console, received_from=str(NOW + 10))) == ["c1"]
    assert ids(listed(house, house.console, received_to=str(NOW + 9))) == ["c0"]
    for parameters in (
        {"mo_id": other_mo.organization_id},
        {"mpass_id": other_mpass},
        {"status": "finalized"},
        {"status": "superseded"},
        {"publisher_id": "unknown"},
    ):
        assert listed(house, mo, **parameters) == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "ten"},
        {"limit": "٣"},
        {"cursor": "nonsense"},
        {"status": "done"},
        {"status": "pending"},
        {"received_from": "-1"},
        {"received_from": "1.5"},
        {"received_to": "2026-01-01"},
        {"received_to": "9" * 16},
        {"mo_id": ""},
        {"mpass_id": "a/b"},
        {"template_id": "x"},
        {"limit ": "1"},
    ],
)
def test_a_wrong_parameter_of_a_list_is_refused(house, parameters):
    with pytest.raises(InvalidParameterError) as refused:
        queries.list_contracts(house.hub, house.operator, parameters)
    assert refused.value.facts["field"] == next(iter(parameters))


# Events.


def event(house, holder, event_id, **parameters):
    return queries.read_event(house.hub, house.caller(holder), EventId(event_id), parameters).body


def test_an_event_tells_how_far_it_has_come(house, parties):
    mo, publisher = parties
    body = house.body(mo, publisher, house.issue_mpass(mo))
    data = {"contract": house.sign_first(mo, body)}
    house.send(mo, house.event(mo, EventType.SUBMIT, "contract-1", data, "e1"))
    accepted = {
        "event_id": "e1",
        "type": "moneta.contract.submit",
        "contract_id": "contract-1",
        "status": "accepted",
        "received_at": NOW,
        "processed_at": None,
        "problem": None,
    }
    assert event(house, mo, "e1") == accepted
    house.clock.advance(2)
    house.process()
    assert event(house, mo, "e1") == {**accepted, "status": "processed", "processed_at": NOW + 2}


def test_a_rejected_event_tells_what_was_wrong(house, parties):
    mo, publisher = parties
    house.submit(mo, house.body(mo, publisher, "unknown-mpass"), event_id="e1")
    shown = event(house, mo, "e1")
    assert shown["status"] == "rejected"
    assert (shown["problem"]["code"], shown["problem"]["status"]) == ("unknown_mpass", 422)
    assert json.loads(to_json(shown))["problem"]["type"] == "/problems/unknown_mpass"


def test_an_event_is_its_senders_and_the_identities_name_whose(house, parties):
    mo, publisher = parties
    house.submit(mo, house.body(mo, publisher, house.issue_mpass(mo)), event_id="e1")
    auditor = house.add_identity("auditor", IdentityRole.AUDITOR)
    assert event(house, mo, "e1", source=mo.organization_id)["event_id"] == "e1"
    for holder in (house.console, auditor):
        assert event(house, holder, "e1", source=mo.organization_id)["event_id"] == "e1"
        with pytest.raises(NotFoundError):
            event(house, holder, "e1")
    for parameters in ({}, {"source": mo.organization_id}):
        with pytest.raises(NotFoundError):
            event(house, publisher, "e1", **parameters)
    for parameters in ({"source": "a b"}, {"limit": "1"}):
        with pytest.raises(InvalidParameterError):
            event(house, mo, "e1", **parameters)


# Deliveries.


def deliveries(house, holder, **parameters):
    return queries.list_deliveries(house.hub, house.caller(holder), parameters).body


def test_a_delivery_is_shown_to_whom_it_is_owed_with_its_attempts(house, parties):
    mo, publisher = parties
    contract_id = house.submit(mo, house.body(mo, publisher, house.issue_mpass(mo)))
    (due,) = house.hub.deliveries.take_due(now=house.clock.now_ms(), limit=10, lease_s=60)
    attempt = Attempt(at=house.clock.now_ms(), duration_ms=12, http_status=500, snippet=b"oh \xff no")
    silent = Attempt(at=house.clock.now_ms(), duration_ms=9, http_status=None, failure="timeout")
    for one in (attempt, silent):
        house.hub.deliveries.record(
            [
                AttemptResult(
                    webhook_id=due.owed.webhook_id,
                    organization_id=publisher.organization_id,
                    attempt=one,
                    status=DeliveryStatus.PENDING,
                    retry_at=UnixMillis((NOW + 5) * 1000),
                )
            ]
        )
    expected = {
        "webhook_id": due.owed.webhook_id,
        "organization_id": publisher.organization_id,
        "type": "moneta.contract.signature_requested",
        "contract_id": contract_id,
        "revision": 1,
        "status": "pending",
        "owed_at": NOW,
        "next_attempt_at": NOW + 5,
        "attempts": [
            {"time": NOW, "status": 500, "duration_ms": 12, "failure": None, "answer": "oh � no"},
            {"time": NOW, "status": None, "duration_ms": 9, "failure": "timeout", "answer": ""},
        ],
    }
    shown = queries.read_delivery(house.hub, house.caller(publisher), due.owed.webhook_id).body
    assert shown == expected
    assert deliveries(house, publisher) == {"items": [expected], "next_cursor": None}
    assert deliveries(house, house.console)["items"] == [expected]
    assert deliveries(house, mo)["items"] == []
    assert deliveries(house, publisher, contract_id=contract_id, status="pending")["items"] == [expected]
    assert deliveries(house, publisher, status="dead")["items"] == []
    assert deliveries(house, publisher, contract_id="other")["items"] == []


def test_anothers_delivery_is_not_there(house, parties):
    mo, publisher = parties
    house.submit(mo, house.body(mo, publisher, house.issue_mpass(mo)))
    (owed,) = deliveries(house, publisher)["items"]
    for holder, webhook_id in ((mo, owed["webhook_id"]), (publisher, "unknown"), (house.console, "unknown")):
        with pytest.raises(NotFoundError):
            queries.read_delivery(house.hub, house.caller(holder), WebhookId(webhook_id))


@pytest.mark.parametrize(
    "parameters", [{"status": "lost"}, {"contract_id": "."}, {"limit": "0"}, {"cursor": "?"}, {"type": "x"}]
)
def test_a_wrong_parameter_of_deliveries_is_refused(house, parameters):
    with pytest.raises(InvalidParameterError):
        queries.list_deliveries(house.hub, house.operator, parameters)


# Moneta's own keys.


class SignerWithHistory:
    """A signer whose key before this one was certified, and compromised."""

    def __init__(self, signer):
        self.signer = signer

    def published(self):
        old = PublishedKey(
            public=key_of("ES256", "old moneta").public,
            not_before=NOW - 200,
            expires_at=NOW,
            revoked_at=NOW - 100,
            certificates=(b"\xfb\xefleaf", b"root"),
        )
        return [*self.signer.published(), old]


def test_the_hubs_keys_are_served_with_their_periods_and_ends(house):
    hub = replaced(house, signer=SignerWithHistory(house.hub.signer))
    current, old = queries.read_moneta_keys(hub).body["keys"]
    public = house.hub.signer.current().public
    assert current == {**public.jwk, "use": "sig", "nbf": NOW, "exp": NOW + 366 * 86400}
    assert (current["kid"], current["alg"]) == (public.key_id, "ES256")
    assert (old["nbf"], old["exp"], old["revoked_at"]) == (NOW - 200, NOW, NOW - 100)
    assert old["x5c"] == ["++9sZWFm", "cm9vdA=="]
    assert not {"d", "k"} & current.keys()
