"""What contracts do to mPasses: issued by one, in batches of 500, all with their step or not at all."""

import json
from dataclasses import replace

import pytest

from moneta.application import mpasses, templates
from moneta.application.end_contracts import expire_contracts
from moneta.application.ports import EventStatus, EventType
from moneta.application.submit import submit_as_moneta
from moneta.domain.contracts import status_of
from moneta.domain.errors import InvalidParameterError, InvalidProofError, Refused, TransitionRefusedError
from moneta.domain.identifiers import ContractId, EventId, MPassId
from moneta.domain.mpasses import issued_id, make_number
from moneta.signing import base64url, statements
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
            members.pop("mpass_id", None),
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
def house(house_on_each_store):
    return house_on_each_store


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


# What becomes of an mPass: one action a contract.


class Pass:
    """An mPass that a contract has issued, and what contracts then do to it."""

    def __init__(self, business, **members):
        self.business, self.count = business, 0
        assert business.submit("mpass-issuance", {"mpass": mpass(**members)}, contract_id="issuance") == "processed"
        self.mpass_id = issued_id(ContractId("issuance"), number())

    def does(self, action, **members):
        """Do it, and return the status and the locks then, or the code of what refused it."""
        self.count += 1
        self.business.house.clock.advance(1)
        answer = self.business.submit(
            "mpass-status-change",
            {"change": {"action": action, "reason_code": "asked", **members}},
            contract_id=f"change-{self.count}",
            mpass_id=self.mpass_id,
        )
        return self.standing if answer == "processed" else answer

    @property
    def standing(self):
        shown = self.business.shown(self.mpass_id)
        return " ".join([shown["status"], *shown["locks"]])

    @property
    def stored(self):
        return self.business.house.hub.directory.mpasses([self.mpass_id])[self.mpass_id]

    def proof(self, name, subject=None):
        house = self.business.house
        return statements.make_key_proof(
            key_of("ES256", name),
            audience=house.hub.base_url,
            subject=subject or self.mpass_id,
            issued_at=house.hub.now_s(),
        )


LOCKED_BY_USER = ("lock", {"lock": "user"}, "Locked user")
# fmt: off
LIVES = {
    "one lock never lifts another": [
        ("activate", {},                  "Active"),
        LOCKED_BY_USER,
        ("lock",     {"lock": "mo"},      "Locked mo user"),
        ("unlock",   {"lock": "user"},    "Locked mo"),
        ("unlock",   {"lock": "user"},    "transition_refused"),
        ("unlock",   {},                  "Active"),
    ],
    "an unlock activates nothing": [
        LOCKED_BY_USER,
        ("activate", {},                  "transition_refused"),
        ("unlock",   {"lock": "user"},    "Pending"),
        ("unlock",   {"lock": "user"},    "transition_refused"),
        ("activate", {},                  "Active"),
        ("activate", {},                  "transition_refused"),
    ],
    "revoked is for ever": [
        ("activate", {},                  "Active"),
        ("revoke",   {},                  "Revoked"),
        ("renew",    {"expires_at": 4_000_000_000}, "transition_refused"),
        ("lock",     {},                  "transition_refused"),
        ("revoke",   {},                  "transition_refused"),
    ],
    "a member that an action has no use for": [
        ("activate", {"lock": "mo"},      "unknown_field"),
        ("revoke",   {"lock": "mo"},      "unknown_field"),
        ("renew",    {},                  "missing_field"),
        ("renew",    {"expires_at": NOW}, "invalid_field"),
        ("lock",     {"lock": "admin"},   "schema_mismatch"),
        ("burn",     {},                  "schema_mismatch"),
    ],
}
# fmt: on


@pytest.mark.parametrize("name", LIVES)
def test_an_mpass_lives_by_contracts(business, name):
    one = Pass(business)
    assert [(action, members, one.does(action, **members)) for action, members, _ in LIVES[name]] == LIVES[name]


def test_an_expired_mpass_is_renewed_and_its_past_stays_as_it_was(business):
    one = Pass(business, expires_at=NOW + 100)
    assert one.does("activate") == "Active"
    business.house.clock.advance(200)
    expired_at = business.house.clock.now_ms()
    assert one.standing == "Expired"
    assert one.does("lock") == "transition_refused"
    assert one.does("renew", expires_at=NOW + 9_000) == "Active"
    assert [one.stored.status_at(moment) for moment in (NOW * 1000, expired_at, expired_at + 9_000)] == [
        "Pending",
        "Expired",
        "Active",
    ]
    assert (one.stored.term_at(expired_at), one.stored.expires_at) == (NOW + 100, NOW + 9_000)


def test_the_history_names_contract_and_reason(business):
    one = Pass(business)
    one.does("activate")
    one.does("lock", lock="user", reason_code="lost_phone")
    told = [(facts.action, facts.contract_id, facts.reason_code) for facts in one.stored.history]
    assert told == [
        (None, None, None),
        ("activate", "change-1", "asked"),
        ("lock", "change-2", "lost_phone"),
    ]


def test_the_status_at_any_past_time_is_told(business):
    one, house = Pass(business, expires_at=NOW + 100), business.house
    one.does("activate")
    one.does("lock", lock="user", reason_code="lost_phone")
    house.clock.advance(200)
    one.does("renew", expires_at=NOW + 9_000)
    history = mpasses.read_mpass_history(house.hub, house.caller(business.mo), one.mpass_id).body["history"]
    assert [tuple(moment.values()) for moment in history] == [
        (NOW, "Pending", [], NOW + 100, None, None, None),
        (NOW + 1, "Active", [], NOW + 100, "activate", "asked", "change-1"),
        (NOW + 2, "Locked", ["user"], NOW + 100, "lock", "lost_phone", "change-2"),
        (NOW + 203, "Locked", ["user"], NOW + 9_000, "renew", "asked", "change-3"),
    ]

    def at(moment):
        answer = mpasses.read_mpass(house.hub, house.caller(business.mo), one.mpass_id, {"at": str(moment)}).body
        return answer["status"], answer["locks"], answer["expires_at"]

    assert [at(NOW + later) for later in (0, 1, 2, 99, 100, 203)] == [
        ("Pending", [], NOW + 100),
        ("Active", [], NOW + 100),
        ("Locked", ["user"], NOW + 100),
        ("Locked", ["user"], NOW + 100),
        ("Expired", ["user"], NOW + 100),
        ("Locked", ["user"], NOW + 9_000),
    ]
    with pytest.raises(InvalidParameterError):
        at(NOW - 1)


HOLDER = {"policy": {"activation": "holder"}, "holder_jwk": dict(key_of("ES256", "holder").public.jwk)}


def test_where_the_policy_says_so_the_holder_s_key_activates(business):
    one = Pass(business, **HOLDER)
    assert one.does("activate") == "invalid_proof"
    assert one.does("activate", holder_proof=one.proof("thief")) == "invalid_proof"
    assert one.does("activate", holder_proof=one.proof("holder", subject="another")) == "invalid_proof"
    assert one.does("activate", holder_proof="no.proof.at-all") == "invalid_proof"
    stale = one.proof("holder")
    business.house.clock.advance(400)
    assert one.does("activate", holder_proof=stale) == "invalid_proof"
    assert one.does("activate", holder_proof=one.proof("holder", subject=number())) == "Active"


def test_the_holder_activates_by_the_management_call_too(business):
    house, one = business.house, Pass(business, **HOLDER)

    def put(**members):
        body = {"status": "Active", **members}
        return mpasses.change_mpass_status(house.hub, house.caller(business.mo), one.mpass_id, body).body["status"]

    with pytest.raises(InvalidProofError):
        put()
    assert put(holder_proof=one.proof("holder")) == "Active"


def test_a_holder_without_a_key_activates_nothing(business):
    one = Pass(business, policy={"activation": "holder"})
    assert one.does("activate", holder_proof=one.proof("holder")) == "invalid_proof"


def test_a_new_key_of_the_holder_s_proves_itself_and_ends_what_named_the_old_one(business):
    one = Pass(business, **HOLDER)
    place, jwk = one.stored.status_place, dict(key_of("ES256", "new telephone").public.jwk)
    assert one.does("rotate_holder_key", holder_jwk=jwk) == "invalid_proof"
    assert one.does("rotate_holder_key", holder_proof=one.proof("new telephone")) == "missing_field"
    proof = one.proof("new telephone")
    assert one.does("rotate_holder_key", holder_jwk=jwk, holder_proof=proof) == "Pending"
    assert (one.stored.holder_jwk["kid"], one.stored.ended_place) == (jwk["kid"], place)
    assert one.stored.history[-1].action == "rotate_holder_key"
    assert one.does("activate", holder_proof=one.proof("holder")) == "invalid_proof"
    assert one.does("activate", holder_proof=one.proof("new telephone")) == "Active"


def admin_acts(business, mpass_id, action, contract_id):
    members = {
        "contract_id": contract_id,
        "template_id": "mpass-lock",
        "version": 1,
        "mo_id": business.mo.organization_id,
        "mpass_id": mpass_id,
        "payload": {"change": {"action": action, "reason_code": "fraud_suspected"}},
    }
    submit_as_moneta(business.house.hub, business.house.operator, members)
    return business.shown(mpass_id)


def test_moneta_locks_at_once_lifts_no_other_s_lock_and_revokes(business):
    mpass_id = business.house.issue_mpass(business.mo)
    mpasses.change_mpass_status(business.house.hub, business.house.caller(business.mo), mpass_id, {"status": "Locked"})
    assert admin_acts(business, mpass_id, "lock", "m-1")["locks"] == ["admin", "mo"]
    assert business.status("m-1") == "pending_mo_signature"  # the MO is asked; the lock stands already
    assert admin_acts(business, mpass_id, "unlock", "m-2")["locks"] == ["mo"]
    with pytest.raises(TransitionRefusedError):
        admin_acts(business, mpass_id, "unlock", "m-3")
    assert admin_acts(business, mpass_id, "revoke", "m-4")["status"] == "Revoked"


@pytest.mark.parametrize("action", ["activate", "renew", "rotate_holder_key", "sing"])
def test_moneta_does_nothing_else_to_an_mpass(business, action):
    mpass_id = business.house.issue_mpass(business.mo)
    with pytest.raises(Refused):
        admin_acts(business, mpass_id, action, "m-1")
    assert business.status("m-1") == "none"


LOOSE = """\
template_name: {name}
version: 1
schema: {{required_fields: [contract_id, mo_id, mpass_id, change.action]}}
signature_rules: {{required_signatures: [mo, moneta], signing_order: [mo, moneta]}}
effects: {{on_finalized: [{verb}]}}
"""


@pytest.mark.parametrize(
    ("verb", "change"),
    [
        ("change_mpass", {"action": "lock", "reason_code": "x", "lock": "org"}),
        ("change_mpass", {"action": "lock", "reason_code": "NO CODE"}),
        ("change_mpass_as_admin", {"action": "activate", "reason_code": "x"}),
    ],
    ids=["a lock of nobody's", "a reason that is no code", "what an admin does not do"],
)
def test_a_change_is_read_strictly_whatever_the_schema_lets_pass(business, verb, change):
    name = verb.replace("_", "-")
    loose = LOOSE.format(name=name, verb=verb).encode()
    templates.publish_template(business.house.hub, business.house.operator, loose, {})
    mpass_id = business.house.issue_mpass(business.mo)
    assert business.submit(name, {"change": change}, mpass_id=mpass_id) == "invalid_field"


def test_nobody_changes_another_mo_s_mpass(business):
    one = Pass(business)
    other = business.house.register(MO, "OTHER")
    change = {"change": {"action": "revoke", "reason_code": "theft"}}
    members = {"mo_id": other.organization_id, "mpass_id": one.mpass_id, "contract_id": "theirs"}
    assert business.submit("mpass-status-change", change, by=other, **members) == "unknown_mpass"
    assert one.standing == "Pending"


def test_of_two_changes_of_one_mpass_in_a_batch_both_are_done_in_one_order(business):
    one, house = Pass(business), business.house
    one.does("activate")
    for lock in ("mo", "user"):
        payload = {"change": {"action": "lock", "lock": lock, "reason_code": "asked"}}
        body = business.body("mpass-status-change", payload, contract_id=f"lock-{lock}", mpass_id=one.mpass_id)
        data = {"contract": house.sign_first(business.mo, body)}
        house.send(business.mo, house.event(business.mo, EventType.SUBMIT, f"lock-{lock}", data, f"lock-{lock}"))
    house.process()
    assert one.standing == "Locked mo user"


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
