"""Batches, rounds, conflicts and bugs: what the tables of single contracts don't show."""

import json
from dataclasses import replace

import pytest

from moneta.application import templates
from moneta.application.circumstances import Circumstances, Countersignature
from moneta.application.countersign import owed_between
from moneta.application.end_contracts import decline_compromised, next_expiry_ms
from moneta.application.judgement import judge
from moneta.application.organization_keys import change_key_status
from moneta.application.ports import Committed, EventType
from moneta.application.process_events import process_events, process_or_return
from moneta.domain.errors import NotNextSignerError, StoreUnavailableError
from moneta.domain.identifiers import EventId, Revision
from moneta.domain.templates import Role
from moneta.signing import jws
from tests.hub import MO, PUBLISHER
from tests.scenarios.play import Play

LAST_TURN = b"""
template_name: settle-last
version: 1
schema: {required_fields: [contract_id, mo_id, publisher_id]}
signature_rules:
  required_signatures: [mo, publisher, moneta]
  signing_order: [mo, publisher, moneta]
"""


@pytest.fixture
def play(house):
    return Play(house)


def send(play, who, type_, contract, event_id):
    party = play.parties[who]
    play.house.send(party, play.house.event(party, type_, play.contract_id, {"contract": contract}, event_id))


def taken(play):
    return play.house.hub.queue.take(limit=100, lease_s=60)


def last_turn(house):
    templates.publish_template(house.hub, house.operator, LAST_TURN, {})
    return Play(house, "settle-last", mpass_id=None, payload={})


def test_events_on_one_contract_are_taken_one_after_the_other(play):
    signed = play.house.sign_first(play.mo, play.body)
    for number in range(3):
        send(play, "mo", EventType.SUBMIT, signed, f"e-{number}")
    assert process_events(play.house.hub, taken(play)) == []
    assert [play.outcome("mo", f"e-{number}") for number in range(3)] == [
        "processed",
        "contract_exists",
        "contract_exists",
    ]


def test_an_event_that_is_processed_twice_has_one_outcome(play):
    send(play, "mo", EventType.SUBMIT, play.house.sign_first(play.mo, play.body), "e-1")
    events = taken(play)
    process_events(play.house.hub, events)
    first, owed = play.contract, play.owed()
    assert process_events(play.house.hub, events) == []
    assert (play.contract, play.owed(), play.outcome("mo", "e-1")) == (first, owed, "processed")


def test_moneta_can_be_the_last_to_sign(house):
    play = last_turn(house)
    play.does("mo submits")
    assert play.status == "pending_publisher_signature"
    assert play.does("publisher signs") == "processed"
    assert play.status == "finalized"
    assert play.contract.signed_roles == (Role.MO, Role.PUBLISHER, Role.MONETA)


def test_moneta_declines_when_a_guard_fails_on_its_later_turn(house):
    play = last_turn(house)
    play.does("mo submits")
    house.set_status(play.mo, "Suspended")
    assert play.does("publisher signs") == "processed"
    assert play.status == "declined"
    assert play.contract.acts[0].actor == "moneta_core"
    assert play.owed() == ["mo: declined", "publisher: declined", "publisher: signature_requested"]


@pytest.mark.parametrize("status", ["retired", "draft"])
def test_a_version_that_takes_no_new_contracts_lets_running_ones_finish(house, status):
    play = last_turn(house)
    if status == "draft":
        newer = LAST_TURN.replace(b"version: 1", b"version: 2")
        templates.publish_template(house.hub, house.operator, newer, {"status": "draft"})
        play.body = house.body(play.mo, play.publisher, None, template_id="settle-last", version=2, payload={})
        assert play.does("mo submits") == "unknown_template"
        return
    play.does("mo submits")
    templates.change_template_status(house.hub, house.operator, "settle-last", 1, {"status": "retired"})
    play.body = house.body(
        play.mo, play.publisher, None, template_id="settle-last", contract_id="contract-2", payload={}
    )
    running, play.contract_id = play.contract_id, "contract-2"
    assert play.does("mo submits") == "template_retired"
    play.contract_id = running
    play.does("publisher signs")
    assert play.status == "finalized"


def test_a_body_can_t_be_altered_after_the_signature(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    play.sends("publisher", EventType.SIGN, signed, "e-2")
    other = play.body.replace(b"100.00", b"900.00")
    again = {**signed, **play.house.sign_first(play.publisher, other)}
    play.contract_id = play.contract.contract_id
    assert play.sends("publisher", EventType.SIGN, again, "e-3") == "contract_closed"


def test_an_altered_twin_on_an_open_contract_is_a_conflict(play):
    play.does("mo submits")
    other = play.house.sign_first(play.mo, play.body.replace(b"100.00", b"900.00"))
    assert play.sends("mo", EventType.SIGN, other, "e-2") == "revision_conflict"


def test_nobody_signs_out_of_turn(play):
    play.does("mo submits")
    stored = play.contract
    waiting = replace(stored, signatures=stored.signatures[:1])  # as if it were still Moneta's turn
    signed = jws.parse_contract(play.house.sign_next(play.publisher, waiting))
    hub = play.house.hub
    send(play, "publisher", EventType.SIGN, play.house.sign_next(play.publisher, stored), "e-2")
    (event,) = taken(play)
    around = Circumstances(
        spent={},
        audience=hub.base_url,
        now=hub.clock.now_ms(),
        registry_seq=hub.directory.registry_position(),
        contract=waiting,
        organizations={},
        keys=hub.directory.keys_of([play.publisher.organization_id]),
        mpasses={},
        record=None,
        compiled=None,
    )
    with pytest.raises(NotNextSignerError, match="next signer is moneta, got publisher"):
        judge(Countersignature(event=event, contract=signed), around)


def test_a_parallel_step_that_goes_on_asks_nobody_again(play):
    play.does("mo submits")
    order = ((Role.MO,), (Role.PUBLISHER, Role.MONETA))
    after = replace(play.contract, signing_order=order)
    before = replace(after, signatures=after.signatures[:1])
    assert owed_between(before, after, now=play.house.hub.clock.now_ms()) == ()


class AlwaysConflicting:
    """A contract store where somebody else is always faster."""

    def __init__(self, store):
        self.store, self.commits = store, 0

    def __getattr__(self, name):
        return getattr(self.store, name)

    def commit(self, changes):
        self.commits += 1
        return [Committed.CONFLICT for _ in changes]


def test_a_conflict_that_does_not_end_is_tried_again_later(play):
    send(play, "mo", EventType.SUBMIT, play.house.sign_first(play.mo, play.body), "e-1")
    store = AlwaysConflicting(play.house.hub.contracts)
    events = taken(play)
    assert process_events(replace(play.house.hub, contracts=store), events) == list(events)
    assert store.commits > 1


def test_a_conflict_is_judged_anew(play):
    play.does("mo submits")
    signed = play.house.sign_next(play.publisher, play.contract)
    send(play, "publisher", EventType.SIGN, signed, "e-2")
    (event,) = taken(play)

    class Overtaken(AlwaysConflicting):
        def commit(self, changes):
            if not self.commits:
                self.commits += 1
                play.does("publisher declines")
            return self.store.commit(changes)

    assert process_events(replace(play.house.hub, contracts=Overtaken(play.house.hub.contracts)), [event]) == []
    assert (play.outcome("publisher", "e-2"), play.status) == ("contract_closed", "declined")


class SmallPages(AlwaysConflicting):
    """A contract store that gives its lists one by one."""

    def commit(self, changes):
        return self.store.commit(changes)

    def pending_with(self, organization, *, limit, cursor):
        return self.store.pending_with(organization, limit=min(limit, 1), cursor=cursor)


def test_every_contract_pending_on_a_compromised_key_is_declined(play):
    for number in range(3):
        body = play.house.body(play.mo, play.publisher, play.mpass_id, contract_id=f"contract-{number}")
        play.house.submit(play.mo, body)
    mo = play.mo
    change_key_status(
        play.house.hub,
        play.house.operator,
        mo.kind,
        mo.organization_id,
        mo.key.public.key_id,
        {"status": "compromised"},
    )
    hub = replace(play.house.hub, contracts=SmallPages(play.house.hub.contracts))
    assert decline_compromised(hub) == 3


def test_a_template_may_ask_for_no_guard(house):
    templates.publish_template(house.hub, house.operator, LAST_TURN + b"guards: []\n", {})
    play = Play(house, "settle-last", mpass_id=None, payload={})
    house.set_status(play.publisher, "Suspended")
    assert play.does("mo submits") == "processed"


def test_what_nobody_submitted_can_t_be_signed(play):
    unheard = play.house.sign_first(play.publisher, play.body)
    assert play.sends("publisher", EventType.SIGN, unheard, "e-1") == "unknown_contract"


def test_a_contract_that_changed_under_the_sweep_is_swept_again(play):
    play.does("mo submits")
    mo = play.mo
    change_key_status(
        play.house.hub,
        play.house.operator,
        mo.kind,
        mo.organization_id,
        mo.key.public.key_id,
        {"status": "compromised"},
    )
    hub = play.house.hub
    assert decline_compromised(replace(hub, contracts=AlwaysConflicting(hub.contracts))) == 0
    assert decline_compromised(hub) == 1


class Broken:
    """A template reader with a bug that one template meets."""

    def __init__(self, reader, error):
        self.reader, self.error = reader, error

    def compile(self, payload):
        if b"charge-contract" in payload:
            raise self.error
        return self.reader.compile(payload)


def charge(play):
    """A submission under the template that the bug is in."""
    body = play.house.body(
        play.mo, play.publisher, play.mpass_id, template_id="charge-contract", contract_id="contract-9"
    )
    play.contract_id = "contract-9"
    send(play, "publisher", EventType.SUBMIT, play.house.sign_first(play.publisher, body), "e-9")
    play.contract_id = "contract-1"


def test_a_bug_that_one_event_meets_does_not_stop_the_others(play):
    charge(play)
    send(play, "mo", EventType.SUBMIT, play.house.sign_first(play.mo, play.body), "e-1")
    hub = replace(play.house.hub, templates=Broken(play.house.hub.templates, ZeroDivisionError()))
    told = []
    assert list(process_or_return(hub, taken(play), lambda event, error: told.append((event.event_id, error)))) == []
    assert [(event_id, type(error)) for event_id, error in told] == [("e-9", ZeroDivisionError)]
    assert (play.outcome("mo", "e-1"), play.outcome("publisher", "e-9")) == ("processed", "accepted")


def test_a_store_that_is_away_is_nobody_s_bug(play):
    charge(play)
    hub = replace(play.house.hub, templates=Broken(play.house.hub.templates, StoreUnavailableError()))
    with pytest.raises(StoreUnavailableError):
        process_or_return(hub, taken(play), lambda *_: pytest.fail("told of a bug"))


def test_an_event_about_a_body_that_is_wrong_reads_nothing_for_it(play):
    play.body = play.house.body(play.mo, play.publisher, play.mpass_id, created_at="now")
    assert play.does("mo submits") == "invalid_field"


def test_the_next_expiry_is_the_earliest_term_and_a_grace(house):
    assert next_expiry_ms(house.hub) is None
    play = Play(house, expires_at=house.hub.now_s() + 600)
    play.does("mo submits")
    assert next_expiry_ms(house.hub) == (house.hub.now_s() + 602) * 1000
    assert play.contract.revision == Revision(1)


def test_a_contract_without_a_term_never_expires(play):
    play.does("mo submits")
    assert play.contract.expires_at is None
    assert next_expiry_ms(play.house.hub) is None


@pytest.mark.parametrize("name", ["mpass_id", "mo_id", "publisher_id"])
def test_an_id_that_only_the_payload_has_is_missing(house, name):
    mo, publisher = house.register(MO, "MOX"), house.register(PUBLISHER, "PUBX")
    mpass = house.issue_mpass(mo, is_active=False)
    members = {"mo_id": mo.organization_id, "publisher_id": publisher.organization_id, "mpass_id": mpass}
    payload = {"transaction": {"amount": "1.00", "currency": "USD", name: members[name]}}
    body = json.dumps(
        {
            "contract_id": "contract-1",
            "template_id": "transaction-contract",
            "version": 1,
            "created_at": house.hub.now_s(),
            "payload": payload,
            **{one: members[one] for one in members if one != name},
        }
    ).encode()
    data = {"contract": house.sign_first(mo, body)}
    house.send(mo, house.event(mo, EventType.SUBMIT, "contract-1", data, "e-1"))
    house.process()
    problem = json.loads(house.hub.events.find(mo.organization_id, EventId("e-1")).problem)
    assert (problem["code"], problem["field"]) == ("missing_field", name)
