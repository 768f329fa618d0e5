"""What contracts do to mPasses: issued by one, in batches of 500, all with their step or not at all."""

import json
from dataclasses import replace

import pytest

from moneta.application import mpasses, templates
from moneta.application.end_contracts import expire_contracts
from moneta.application.ports import EventStatus
from moneta.domain.contracts import status_of
from moneta.domain.identifiers import ContractId, EventId, MPassId
from moneta.domain.mpasses import issued_id, make_number
from moneta.signing import base64url
from tests.hub import MO, PUBLISHER
from tests.signing_examples import NOW, key_of

MEMBER = base64url.sha256(b"member 4711")
SECRET_MEMBER = base64url.sha256(b"the member whom nobody may find")


def number(count=1, mic="ACME"):
    return make_number(mic, f"{count:016}")


def mpass(count=1, **members):
    return {"number": number(count), "member_ref": MEMBER, **members}


class Business:
    """An MO and a publisher, and contracts between them and Moneta."""

    def __init__(self, house):
        self.house = house
        self.mo = house.register(MO, "ACME")
        self.publisher = house.register(PUBLISHER, "PUBA")
        self.sent = 0

    def body(self, template, payload, contract_id="contract-1", **members):
        return self.house.body(
            self.mo,
            self.publisher,
            None,
            template_id=template,
            contract_id=contract_id,
            payload=payload,
            **{"publisher_id": None, **members},
        )

    def submit(self, template, payload, *, by=None, **members):
        """Submit a contract, and return what became of the event: ``processed``, or the code of the problem."""
        body = self.body(template, payload, **members)
        party = by or self.mo
        self.sent += 1
        name = f"event-{self.sent}"
        self.house.submit(party, body, event_id=name)
        return self.outcome(party, name)

    def sign(self, party, contract_id="contract-1"):
        self.sent += 1
        name = f"event-{self.sent}"
        self.house.sign(party, ContractId(contract_id), event_id=name)
        return self.outcome(party, name)

    def outcome(self, party, event_id):
        record = self.house.hub.events.find(party.organization_id, EventId(event_id))
        return json.loads(record.problem)["code"] if record.status is EventStatus.REJECTED else str(record.status)

    def status(self, contract_id="contract-1"):
        found = self.house.hub.contracts.read([contract_id])
        return status_of(found[contract_id]) if found else "none"

    def shown(self, mpass_id):
        return mpasses.read_mpass(self.house.hub, self.house.caller(self.mo), MPassId(mpass_id)).body

    def issued(self):
        page = mpasses.list_mpasses(self.house.hub, self.house.caller(self.mo), {"limit": "200"})
        return {one["number"] for one in page.body["items"]}


@pytest.fixture
def business(house):
    return Business(house)


def test_an_mpass_is_issued_by_a_contract_pending_on_the_terms_that_both_signed(business):
    jwk = dict(key_of("ES256", "holder").public.jwk)
    terms = {"tier": "gold", "expires_at": NOW + 86_400, "policy": {}, "holder_jwk": jwk}
    assert business.submit("mpass-issuance", {"mpass": mpass(**terms)}) == "processed"
    assert business.status() == "finalized"
    mpass_id = issued_id(ContractId("contract-1"), number())
    assert business.shown(mpass_id) == {
        "id": mpass_id,
        "number": number(),
        "mo_id": business.mo.organization_id,
        "status": "Pending",
        "locks": [],
        "tier": "gold",
        "policy": {},
        "issued_at": NOW,
        "expires_at": NOW + 86_400,
    }


def test_the_same_contract_and_number_always_give_the_same_id():
    assert issued_id(ContractId("contract-1"), number()) == "f3131733-e808-43bc-933b-b2a476ac9902"


# fmt: off
REFUSED = {
    "a number of another MO's":     (mpass(number=number(mic="OTHER")), "invalid_field"),
    "a wrong check digit":          (mpass(number="ACME" + "0" * 17), "invalid_field"),
    "a number that is too short":   (mpass(number="ACME12"), "schema_mismatch"),
    "a name as member reference":   (mpass(member_ref="Erika Mustermann"), "schema_mismatch"),
    "a hash with stray bits":       (mpass(member_ref="A" * 42 + "B"), "invalid_field"),
    "a term that is over":          (mpass(expires_at=NOW), "invalid_field"),
    "a key that is none":           (mpass(holder_jwk={"kty": "oct", "k": "AA"}), "weak_key"),
    "a member nobody knows":        (mpass(colour="red"), "schema_mismatch"),
}
# fmt: on


@pytest.mark.parametrize("what", REFUSED)
def test_an_issuance_that_is_wrong_makes_neither_contract_nor_mpass(business, what):
    members, code = REFUSED[what]
    assert business.submit("mpass-issuance", {"mpass": members}) == code
    assert business.status() == "none"
    assert business.issued() == set()


def test_a_number_is_given_once_for_ever(business):
    assert business.submit("mpass-issuance", {"mpass": mpass()}) == "processed"
    again = business.submit("mpass-issuance", {"mpass": mpass()}, contract_id="contract-2")
    assert (again, business.status("contract-2")) == ("mpass_number_taken", "none")
    batch = {"batch": {"mpasses": [mpass(2), mpass(1)]}}
    assert business.submit("mpass-batch-issuance", batch, contract_id="contract-3") == "mpass_number_taken"
    assert business.issued() == {number()}


def test_a_batch_of_500_is_issued_by_one_contract(business):
    batch = [mpass(count) for count in range(500)]
    assert business.submit("mpass-batch-issuance", {"batch": {"tier": "gold", "mpasses": batch}}) == "processed"
    ids = [issued_id(ContractId("contract-1"), one["number"]) for one in batch]
    assert business.status() == "finalized"
    assert len(business.house.hub.directory.mpasses(ids)) == 500
    assert {business.shown(one)["tier"] for one in (ids[0], ids[-1])} == {"gold"}


# fmt: off
REFUSED_BATCHES = {
    "one more than 500":        ([mpass(count) for count in range(501)], "schema_mismatch"),
    "a number that is twice":   ([mpass(), mpass()], "invalid_field"),
    "one that is wrong":        ([mpass(), mpass(number="ACME" + "0" * 17)], "invalid_field"),
    "none":                     ([], "schema_mismatch"),
}
# fmt: on


@pytest.mark.parametrize("what", REFUSED_BATCHES)
def test_of_a_batch_with_a_fault_nothing_is_issued(business, what):
    batch, code = REFUSED_BATCHES[what]
    assert business.submit("mpass-batch-issuance", {"batch": {"mpasses": batch}}) == code
    assert (business.status(), business.issued()) == ("none", set())


def test_a_suspended_mo_issues_nothing(business):
    business.house.set_status(business.mo, "Suspended")
    assert business.submit("mpass-issuance", {"mpass": mpass()}) == "organization_suspended"


class Overtaken:
    """The directory, in which another contract gets the number right after the first look at it."""

    def __init__(self, business):
        self.business, self.directory, self.looks = business, business.house.hub.directory, 0

    def __getattr__(self, name):
        return getattr(self.directory, name)

    def mpass_numbers(self, numbers):
        found = self.directory.mpass_numbers(numbers)
        self.looks += 1
        if self.looks == 1:
            rival = self.business.body("mpass-issuance", {"mpass": mpass()}, contract_id="rival")
            self.business.house.submit(self.business.mo, rival, event_id="rival")
        return found


def test_who_loses_a_race_for_a_number_is_told_that_it_is_taken(business):
    house = business.house
    house.hub = replace(house.hub, directory=Overtaken(business))
    assert business.submit("mpass-issuance", {"mpass": mpass()}) == "mpass_number_taken"
    assert (business.status(), business.status("rival")) == ("none", "finalized")
    assert house.hub.directory.mpass_numbers([number()]) == {number(): issued_id(ContractId("rival"), number())}


# What refuses, and where: templates of their own.

TEMPLATE = """\
template_name: {name}
version: 1
schema:
  required_fields: [contract_id, mo_id, publisher_id, mpass.number, mpass.member_ref{more}]
signature_rules:
  required_signatures: [mo, publisher, moneta]
  signing_order: {order}
guards: []
expires_in: PT1H
effects: {{on_finalized: [issue_mpass{verbs}]}}
"""


@pytest.fixture
def both(business):
    """A business whose templates have the publisher sign, too, before Moneta or after it."""
    house = business.house

    def publish(name, order, more="", verbs=""):
        text = TEMPLATE.format(name=name, order=order, more=more, verbs=verbs)
        templates.publish_template(house.hub, house.operator, text.encode(), {})

    publish("moneta-last", "[publisher, mo, moneta]")
    publish("moneta-second", "[mo, moneta, publisher]")
    publish("two-verbs", "[publisher, mo, moneta]", ", batch.mpasses", ", issue_mpasses")
    business.named = {"publisher_id": business.publisher.organization_id}
    return business


def test_on_a_later_turn_of_its_own_moneta_declines_what_cannot_be_done(both):
    both.submit("mpass-issuance", {"mpass": mpass()}, contract_id="earlier")
    both.submit("moneta-last", {"mpass": mpass()}, by=both.publisher, **both.named)
    assert both.status() == "pending_mo_signature"
    assert both.sign(both.mo) == "processed"
    assert both.status() == "declined"
    (act,) = both.house.contract("contract-1").acts
    assert json.loads(base64url.decode(act.compact.split(".")[1], what="act"))["reason_code"] == "mpass_number_taken"
    assert both.issued() == {number()}


def test_a_signature_that_would_complete_what_cannot_be_done_is_refused_and_the_contract_stays(both):
    assert both.submit("moneta-second", {"mpass": mpass()}, **both.named) == "processed"
    assert both.issued() == set()
    both.submit("mpass-issuance", {"mpass": mpass()}, contract_id="earlier")
    assert both.sign(both.publisher) == "mpass_number_taken"
    assert both.status() == "pending_publisher_signature"
    both.house.clock.advance(3_700)
    assert expire_contracts(both.house.hub) == 1
    assert both.status() == "expired"


def test_what_the_last_signature_completes_is_done_with_it(both):
    both.submit("moneta-second", {"mpass": mpass()}, **both.named)
    assert both.sign(both.publisher) == "processed"
    assert (both.status(), both.issued()) == ("finalized", {number()})


def test_two_verbs_of_a_step_are_done_together(both):
    payload = {"mpass": mpass(), "batch": {"mpasses": [mpass(2), mpass(3)]}}
    both.submit("two-verbs", payload, by=both.publisher, **both.named)
    both.sign(both.mo)
    assert both.issued() == {number(1), number(2), number(3)}


@pytest.mark.parametrize("payload", [{"mpass": 7}, {"mpass": {"number": "1"}}, {}])
def test_the_required_fields_have_what_a_verb_reads(both, payload):
    assert both.submit("moneta-second", payload, **both.named) == "missing_field"


@pytest.mark.parametrize("batch", [7, [], [7], [{"number": number(), "member_ref": MEMBER, "tier": "gold"}]])
def test_a_verb_reads_its_part_strictly_whatever_the_schema_lets_pass(both, batch):
    payload = {"mpass": mpass(), "batch": {"mpasses": batch}}
    assert both.submit("two-verbs", payload, by=both.publisher, **both.named) == "processed"
    both.sign(both.mo)
    assert (both.status(), both.issued()) == ("declined", set())


# Nobody finds the member.


def test_a_member_s_reference_is_sealed_and_in_no_record_and_in_no_view(business, caplog):
    business.submit("mpass-issuance", {"mpass": mpass(member_ref=SECRET_MEMBER)})
    (stored,) = business.house.hub.directory.mpasses([issued_id(ContractId("contract-1"), number())]).values()
    assert business.house.hub.sealer.unseal(stored.sealed_member_ref) == SECRET_MEMBER.encode()
    leaf_and_outcome = repr(business.house.contract("contract-1").log) + caplog.text
    assert SECRET_MEMBER not in leaf_and_outcome + json.dumps(business.shown(stored.mpass_id))
