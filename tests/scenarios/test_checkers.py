"""Maker and checker through the use cases: what takes two, what is judged anew, and what a race comes to."""

import json
from base64 import urlsafe_b64decode
from dataclasses import replace

import pytest

from moneta.application import checked, organization_keys, organizations, pending_changes
from moneta.application.ports import DirectoryConflictError, IdentityRole
from moneta.domain.errors import (
    ForbiddenError,
    InvalidFieldError,
    InvalidProofError,
    KeyTakenError,
    MissingFieldError,
    NotFoundError,
    PreconditionFailedError,
    TransitionRefusedError,
    UnknownFieldError,
)
from moneta.domain.limits import CHANGE_AGE_S_MAX
from tests.conformance.builders import race
from tests.hub import MO
from tests.signing_examples import key_of

APPROVE, REFUSE = {"decision": "approve"}, {"decision": "refuse", "reason": "not yet"}


@pytest.fixture
def two(house):
    """A hub that takes two, with an operator, another operator and a checker, and a Pending organization."""
    house.hub = replace(house.hub, checkers=2)
    house.second = house.add_identity("second", IdentityRole.OPERATOR)
    house.checker = house.add_identity("checker", IdentityRole.CHECKER)
    house.party = house.register(MO, "ACME", status="Pending")
    return house


def ask(two, status="Active", **options):
    party = two.party
    return organizations.change_organization_status(
        two.hub, options.pop("caller", two.operator), party.kind, party.organization_id, {"status": status}, **options
    )


def decide(two, asked, decision=APPROVE, *, by=None):
    return checked.decide_change(two.hub, two.caller(by or two.checker), asked.body["change"], decision)


def shown(two, asked):
    return pending_changes.read_change(two.hub, two.operator, asked.body["change"])


def organization(two):
    return two.hub.directory.organizations([two.party.organization_id])[two.party.organization_id]


def records(two):
    """Every record of a management change in the audit log, as its claims."""
    with two.store.database.read() as connection:
        entries = [entry for (entry,) in connection.execute("SELECT entry FROM leaves WHERE kind = 1 ORDER BY leaf")]
    payloads = [entry.split(b".")[1] for entry in entries]
    return [json.loads(urlsafe_b64decode(one + b"=" * (-len(one) % 4))) for one in payloads]


def test_what_an_operator_asks_waits_and_changes_nothing(two):
    asked = ask(two)
    assert asked.body == {"change": asked.change_id, "state": "awaiting_checker"}
    assert asked.revision is None
    assert organization(two).status == "Pending"
    document = shown(two, asked)
    assert document.revision == 1
    assert document.body == {
        "id": asked.change_id,
        "state": "awaiting_checker",
        "operation": "change_organization_status",
        "subject": two.party.organization_id,
        "target": {"kind": "mo", "organization_id": two.party.organization_id},
        "members": {"status": "Active"},
        "if_match": None,
        "asked_by": "operator",
        "asked_at": two.hub.now_s(),
        "expires_at": two.hub.now_s() + CHANGE_AGE_S_MAX,
        "decided_by": None,
        "decided_at": None,
        "reason": None,
        "problem": None,
    }


@pytest.mark.parametrize("role", ["second", "checker"])
def test_another_operator_or_a_checker_approves_and_then_it_is_done(two, role):
    asked = ask(two)
    answer = decide(two, asked, {"decision": "approve", "reason": "seen"}, by=getattr(two, role))
    assert (answer.body["state"], answer.body["decided_by"], answer.body["reason"]) == ("approved", role, "seen")
    assert answer.revision == 2
    assert organization(two).status == "Active"


def test_both_the_asking_and_the_deed_are_signed_records_that_name_each_other(two):
    asked = ask(two)
    decide(two, asked)
    made, done = records(two)[-2:]
    assert (made["act"], made["by"]["sub"], made["subject"]) == ("ask_change", "operator", two.party.organization_id)
    assert made["change"]["change"] == asked.change_id
    assert made["change"]["operation"] == done["act"] == "change_organization_status"
    assert len(made["change"]["members_sha256"]) == 43
    assert (done["by"]["sub"], done["by"]["approves"]) == ("checker", asked.change_id)
    assert done["change"] == {"from": "Pending", "to": "Active", "reason": None}


def test_what_is_refused_stays_undone_for_ever(two):
    asked = ask(two)
    assert decide(two, asked, REFUSE).body["state"] == "refused"
    assert records(two)[-1]["act"] == "refuse_change"
    assert organization(two).status == "Pending"
    for again in (APPROVE, REFUSE):
        with pytest.raises(TransitionRefusedError):
            decide(two, asked, again)
    assert shown(two, asked).body["reason"] == "not yet"


@pytest.mark.parametrize("decision", [APPROVE, REFUSE])
def test_the_asker_does_not_decide_its_own(two, decision):
    asked = ask(two)
    with pytest.raises(ForbiddenError):
        decide(two, asked, decision, by=two.console)
    assert shown(two, asked).body["state"] == "awaiting_checker"
    assert organization(two).status == "Pending"


def test_what_is_refused_now_is_refused_to_the_asker_and_nobody_need_look(two):
    with pytest.raises(TransitionRefusedError):
        ask(two, "Suspended")
    with pytest.raises(PreconditionFailedError):
        ask(two, if_match=9)
    assert pending_changes.list_changes(two.hub, two.operator, {}).body["items"] == []


def test_what_is_approved_is_judged_by_the_state_of_then_and_fails_for_good(two):
    first, second = ask(two), ask(two, caller=two.caller(two.second))
    decide(two, first)
    with pytest.raises(TransitionRefusedError):
        decide(two, second)
    document = shown(two, second).body
    assert (document["state"], document["decided_by"]) == ("failed", "checker")
    assert document["problem"]["code"] == "transition_refused"
    assert records(two)[-1]["act"] == "fail_change"
    with pytest.raises(TransitionRefusedError):
        decide(two, second)
    assert organization(two).revision == 2


def test_a_revision_that_was_asked_for_must_be_there_when_it_is_approved(two):
    asked = ask(two, if_match=1)
    metadata = {"metadata": {"webhook_url": "https://moved.example/hooks"}}
    organizations.update_organization(two.hub, two.operator, MO, two.party.organization_id, metadata)
    with pytest.raises(PreconditionFailedError):
        decide(two, asked)
    assert shown(two, asked).body["problem"]["code"] == "precondition_failed"
    assert organization(two).status == "Pending"


def test_a_change_of_the_object_between_is_no_matter_where_no_revision_was_asked_for(two):
    asked = ask(two)
    metadata = {"metadata": {"webhook_url": "https://moved.example/hooks"}}
    organizations.update_organization(two.hub, two.operator, MO, two.party.organization_id, metadata)
    decide(two, asked)
    assert (organization(two).status, organization(two).webhook_url) == ("Active", "https://moved.example/hooks")


def test_a_change_that_nobody_decided_is_expired(two):
    asked = ask(two)
    two.clock.advance(CHANGE_AGE_S_MAX)
    for decision in (APPROVE, REFUSE):
        with pytest.raises(TransitionRefusedError):
            decide(two, asked, decision)
    assert shown(two, asked).body["state"] == "expired"
    assert organization(two).status == "Pending"


@pytest.mark.parametrize("decisions", [(APPROVE, APPROVE), (APPROVE, REFUSE), (REFUSE, REFUSE)])
def test_of_two_checkers_at_once_one_wins(two, decisions):
    asked = ask(two)
    third = two.add_identity("third", IdentityRole.CHECKER)

    def attempt(decision, by):
        try:
            return decide(two, asked, decision, by=by).body["state"]
        except TransitionRefusedError:
            return "too late"

    answers = race(
        [
            lambda decision=decision, by=by: attempt(decision, by)
            for decision, by in zip(decisions, (two.checker, third), strict=True)
        ]
    )
    assert max(answers) == "too late"
    winner = min(answers)
    assert shown(two, asked).body["state"] == winner
    assert organization(two).status == ("Active" if winner == "approved" else "Pending")


def test_a_decision_that_the_directory_overtook_is_made_again(two):
    asked, applied = ask(two), two.hub.directory.apply
    others = iter([lambda: two.add_identity("late", IdentityRole.AUDITOR)])

    class Overtaken:
        def __getattr__(self, name):
            return getattr(two.store.directory, name)

        def apply(self, change):
            for other in others:
                other()
                raise DirectoryConflictError("overtaken")
            applied(change)

    hub = replace(two.hub, directory=Overtaken())
    answer = checked.decide_change(hub, two.caller(two.checker), asked.body["change"], APPROVE)
    assert answer.body["state"] == "approved"


def test_a_decision_meets_the_revision_it_was_meant_for(two):
    asked = ask(two)
    change, checker = asked.body["change"], two.caller(two.checker)
    seen = shown(two, asked).revision
    with pytest.raises(PreconditionFailedError):
        checked.decide_change(two.hub, checker, change, APPROVE, if_match=seen + 1)
    assert shown(two, asked).body["state"] == "awaiting_checker"
    assert checked.decide_change(two.hub, checker, change, APPROVE, if_match=seen).revision == seen + 1


def test_a_failure_that_another_decision_came_before_is_not_written_over_it(two):
    asked, checker = ask(two), two.caller(two.checker)
    decisions = {"change_organization_status": _refused_meanwhile(two, asked)}
    with pytest.raises(TransitionRefusedError):
        pending_changes.decide_change(two.hub, checker, asked.body["change"], APPROVE, decisions)
    assert shown(two, asked).body["state"] == "refused"


def _refused_meanwhile(two, asked):
    def decide_anew(_hub, _caller, _pending):
        decide(two, asked, REFUSE, by=two.second)
        raise TransitionRefusedError("too late", state="Active", allowed=[])

    return decide_anew


# Keys.


def add_key(two, *uses):
    members = two.new_key(key_of("ES256", "added"), two.party.organization_id, *uses)
    return organization_keys.add_key(two.hub, two.operator, MO, two.party.organization_id, members)


def key(two, name="added"):
    return two.hub.directory.keys_of([two.party.organization_id])[two.party.organization_id].get(
        key_of("ES256", name).public.key_id
    )


def test_a_contract_key_waits_and_its_proof_need_not_be_fresh_when_it_is_approved(two):
    asked = add_key(two, "contract", "auth")
    two.clock.advance(3_600)
    assert key(two) is None
    decide(two, asked)
    assert key(two).status == "active"


def test_a_stale_proof_is_refused_to_the_asker(two):
    members = two.new_key(key_of("ES256", "added"), two.party.organization_id, "contract")
    two.clock.advance(3_600)
    with pytest.raises(InvalidProofError):
        organization_keys.add_key(two.hub, two.operator, MO, two.party.organization_id, members)


def test_an_auth_key_is_added_at_once(two):
    assert add_key(two, "auth").body["status"] == "active"


def test_the_same_asking_with_its_key_is_one_change(two):
    members = two.new_key(key_of("ES256", "added"), two.party.organization_id, "contract")
    asked, again = (
        organization_keys.add_key(two.hub, two.operator, MO, two.party.organization_id, members, idempotency_key="once")
        for _ in range(2)
    )
    assert (again.is_replay, again.change_id) == (True, asked.change_id)
    assert len(pending_changes.list_changes(two.hub, two.operator, {}).body["items"]) == 1


def test_a_key_that_was_taken_meanwhile_fails(two):
    asked = add_key(two, "contract")
    other = two.register(MO, "OTHER", status="Pending")
    offered = two.new_key(key_of("ES256", "added"), other.organization_id, "auth")
    organization_keys.add_key(two.hub, two.operator, MO, other.organization_id, offered)
    with pytest.raises(KeyTakenError):
        decide(two, asked)
    assert shown(two, asked).body["problem"]["code"] == "key_taken"


def test_a_contract_key_ends_when_another_approves_it(two):
    kid = two.party.key.public.key_id
    asked = organization_keys.change_key_status(
        two.hub, two.operator, MO, two.party.organization_id, kid, {"status": "revoked"}
    )
    keys = two.hub.directory.keys_of([two.party.organization_id])[two.party.organization_id]
    assert keys[kid].status == "active"
    decide(two, asked)
    keys = two.hub.directory.keys_of([two.party.organization_id])[two.party.organization_id]
    assert keys[kid].status == "revoked"


@pytest.mark.parametrize("caller", ["operator", "party"])
def test_an_auth_key_ends_at_once(two, caller):
    by = two.operator if caller == "operator" else two.caller(two.party)
    kid = two.party.auth_key.public.key_id
    ended = organization_keys.change_key_status(two.hub, by, MO, two.party.organization_id, kid, {"status": "retired"})
    assert ended.body["status"] == "retired"


def test_an_organization_suspends_itself_without_anybody(two):
    decide(two, ask(two))
    suspended = ask(two, "Suspended", caller=two.caller(two.party))
    assert suspended.body["status"] == "Suspended"


def test_with_one_checker_everything_applies_at_once(house):
    party = house.register(MO, "ACME")
    assert house.hub.checkers == 1
    assert house.hub.directory.organizations([party.organization_id])[party.organization_id].status == "Active"
    assert pending_changes.list_changes(house.hub, house.operator, {}).body == {"items": [], "next_cursor": None}


# Reading, and bad input.


def test_changes_are_listed_newest_first_by_state_and_page(two):
    asked = [ask(two).change_id for _ in range(3)]
    checked.decide_change(two.hub, two.caller(two.checker), asked[0], REFUSE)

    def listed(**parameters):
        page = pending_changes.list_changes(two.hub, two.operator, parameters).body
        return [one["id"] for one in page["items"]], page["next_cursor"]

    assert listed()[0] == asked[::-1]
    assert listed(state="refused")[0] == asked[:1]
    first, cursor = listed(state="awaiting_checker", limit="1")
    assert first + listed(state="awaiting_checker", limit="1", cursor=cursor)[0] == asked[:0:-1]
    two.clock.advance(CHANGE_AGE_S_MAX)
    assert listed(state="expired")[0] == asked[:0:-1]
    assert listed(state="awaiting_checker")[0] == []


def test_who_may_not_decide_is_refused_and_what_is_not_there_is_not_found(two):
    asked = ask(two)
    auditor = two.caller(two.add_identity("auditor", IdentityRole.AUDITOR))
    for caller in (auditor, two.caller(two.party)):
        with pytest.raises(ForbiddenError):
            checked.decide_change(two.hub, caller, asked.body["change"], APPROVE)
    for call in (
        lambda: checked.decide_change(two.hub, two.caller(two.checker), "none", APPROVE),
        lambda: pending_changes.read_change(two.hub, two.operator, "none"),
    ):
        with pytest.raises(NotFoundError):
            call()


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({}, MissingFieldError),
        ({"decision": "fail"}, InvalidFieldError),
        ({"decision": "approve", "force": True}, UnknownFieldError),
        ({"decision": "approve", "reason": "x" * 501}, InvalidFieldError),
    ],
)
def test_a_decision_of_another_form_changes_nothing(two, members, error):
    asked = ask(two)
    with pytest.raises(error):
        decide(two, asked, members)
    assert shown(two, asked).body["state"] == "awaiting_checker"
