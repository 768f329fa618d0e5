"""mPasses: issued, activated, locked by several, revoked; another MO's is not there; the member stays unknown."""

import json

import pytest

from moneta.application import mpasses
from moneta.application.ports import IdentityRole
from moneta.domain.errors import (
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidFieldError,
    InvalidParameterError,
    MissingFieldError,
    NotFoundError,
    OrganizationSuspendedError,
    PreconditionFailedError,
    TransitionRefusedError,
    UnknownFieldError,
    WeakKeyError,
)
from moneta.domain.identifiers import MPassId, OrganizationId, UnixMillis, is_uuid4
from moneta.domain.ijson import NumberText
from moneta.domain.mpasses import MPassStatus, is_number
from tests.hub import MO, PUBLISHER
from tests.signing_examples import NOW, key_of


def issue(house, mo, /, *, idempotency_key=None, **members):
    body = {"mo_id": mo.organization_id, "member_ref": "member-1", **members}
    return mpasses.issue_mpass(house.hub, house.caller(mo), body, idempotency_key=idempotency_key)


def change(house, holder, mpass_id, status, *, if_match=None, **members):
    body = {"status": status, **members}
    return mpasses.change_mpass_status(house.hub, house.caller(holder), mpass_id, body, if_match=if_match)


def read(house, holder, mpass_id):
    return mpasses.read_mpass(house.hub, house.caller(holder), mpass_id)


def standing(document):
    return document.body["status"], document.body["locks"]


# Issuing.


def test_an_mpass_is_issued_pending_with_a_number_of_its_own(house):
    mo = house.register(MO, "ACME")
    policy = {"limits": [{"currency": "USD", "per": "day", "amount": NumberText("100.00")}]}
    jwk = dict(key_of("ES256", "holder").public.jwk)
    answer = issue(house, mo, tier="gold", expires_at=NOW + 86400, policy=policy, holder_jwk=jwk)
    body = answer.body
    assert is_uuid4(body["id"])
    assert is_number(body["number"])
    assert body["number"].startswith("ACME")
    assert body == {
        "id": body["id"],
        "number": body["number"],
        "mo_id": mo.organization_id,
        "status": "Pending",
        "locks": [],
        "tier": "gold",
        "policy": policy,
        "issued_at": NOW,
        "expires_at": NOW + 86400,
    }
    assert answer.revision == 1
    assert read(house, mo, MPassId(body["id"])) == answer
    stored = house.hub.directory.mpasses([body["id"]])[body["id"]]
    assert stored.holder_jwk == jwk
    assert issue(house, mo).body["number"] != body["number"]


def test_only_the_mo_and_the_member_ref_are_required(house):
    body = issue(house, house.register(MO, "ACME"), tier=None, expires_at=None).body
    assert (body["tier"], body["policy"], body["expires_at"]) == (None, {}, None)


def test_the_member_ref_is_sealed_and_comes_out_nowhere(house):
    mo = house.register(MO, "ACME")
    issued = issue(house, mo, member_ref="member-4711")
    stored = house.hub.directory.mpasses([issued.body["id"]])[issued.body["id"]]
    assert house.hub.sealer.unseal(stored.sealed_member_ref) == b"member-4711"
    with house.store.database.read() as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        rows = [connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables]  # noqa: S608  # our names
    assert "member-4711" not in repr(rows)
    listed = mpasses.list_mpasses(house.hub, house.caller(mo), {}).body
    assert "member" not in json.dumps([issued.body, listed])


@pytest.mark.parametrize(
    ("members", "error", "field"),
    [
        ({"member_ref": None}, MissingFieldError, "member_ref"),
        ({"member_ref": 7}, InvalidFieldError, "member_ref"),
        ({"member_ref": "x" * 201}, InvalidFieldError, "member_ref"),
        ({"mo_id": None}, MissingFieldError, "mo_id"),
        ({"tier": ["gold"]}, InvalidFieldError, "tier"),
        ({"policy": "none"}, InvalidFieldError, "policy"),
        ({"policy": {"limit": "100.00"}}, UnknownFieldError, "policy.limit"),
        ({"expires_at": NOW}, InvalidFieldError, "expires_at"),
        ({"expires_at": "2030"}, InvalidFieldError, "expires_at"),
        ({"expires_at": 2**60}, InvalidFieldError, "expires_at"),
        ({"holder_jwk": {"kty": "oct"}}, WeakKeyError, "jwk.alg"),
        ({"number": "ACME1"}, UnknownFieldError, "number"),
        ({"status": "Active"}, UnknownFieldError, "status"),
    ],
)
def test_a_wrong_member_is_refused_by_name(house, members, error, field):
    with pytest.raises(error) as refused:
        issue(house, house.register(MO, "ACME"), **members)
    assert refused.value.facts["field"] == field


def test_an_mo_issues_for_itself_while_it_is_active(house):
    mo, other, publisher = house.register(MO, "ACME"), house.register(MO, "OTHER"), house.register(PUBLISHER, "PUB")
    with pytest.raises(ForbiddenError):
        issue(house, mo, mo_id=other.organization_id)
    for holder in (publisher, house.console, house.register(MO, "NEW", status="Pending")):
        with pytest.raises(ForbiddenError):
            mpasses.issue_mpass(house.hub, house.caller(holder), {"not": "looked at"})
    house.set_status(mo, "Suspended")
    with pytest.raises(OrganizationSuspendedError):
        issue(house, mo)


def test_the_same_creation_again_gives_the_first_answer(house):
    mo = house.register(MO, "ACME")
    first = issue(house, mo, idempotency_key="key-1")
    change(house, mo, first.body["id"], "Active")
    again = issue(house, mo, idempotency_key="key-1")
    assert (again.body, again.is_replay) == (first.body, True)
    with pytest.raises(IdempotencyKeyReusedError):
        issue(house, mo, idempotency_key="key-1", tier="gold")
    assert not issue(house, house.register(MO, "OTHER"), idempotency_key="key-1").is_replay


# Status and locks.

STORIES = {
    "activated": [("mo", "Active", "Active", [])],
    "locked by the MO and lifted": [
        ("mo", "Active", "Active", []),
        ("mo", "Locked", "Locked", ["mo"]),
        ("mo", "Active", "Active", []),
    ],
    "each lifts its own lock alone": [
        ("mo", "Active", "Active", []),
        ("mo", "Locked", "Locked", ["mo"]),
        ("user", "Locked", "Locked", ["mo", "user"]),
        ("admin", "Locked", "Locked", ["admin", "mo", "user"]),
        ("mo", "Active", "Locked", ["admin", "user"]),
        ("mo", "Active", "Locked", ["admin", "user"]),
        ("admin", "Active", "Locked", ["user"]),
        ("user", "Active", "Active", []),
    ],
    "locked before it was active": [
        ("admin", "Locked", "Locked", ["admin"]),
        ("mo", "Active", "Locked", ["admin"]),
        ("admin", "Active", "Pending", []),
        ("mo", "Active", "Active", []),
    ],
    "the operator activates": [("admin", "Active", "Active", [])],
    "revoked while pending": [("mo", "Revoked", "Revoked", [])],
    "revoked by the operator with locks on": [
        ("mo", "Active", "Active", []),
        ("user", "Locked", "Locked", ["user"]),
        ("admin", "Revoked", "Revoked", ["user"]),
    ],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_the_status_is_what_the_facts_add_up_to(house, story):
    mo = house.register(MO, "ACME")
    mpass_id = house.issue_mpass(mo, is_active=False)
    for revision, (who, asked, status, locks) in enumerate(story, start=2):
        house.clock.advance(1)
        holder = house.console if who == "admin" else mo
        behalf = {"on_behalf_of": "user"} if who == "user" else {}
        answer = change(house, holder, mpass_id, asked, **behalf)
        assert (standing(answer), answer.revision) == ((status, locks), revision)
        assert read(house, mo, mpass_id) == answer


REFUSED = [
    (["Active"], "Active", ["Locked", "Revoked"]),
    (["Revoked"], "Active", []),
    (["Revoked"], "Locked", []),
    (["Revoked"], "Revoked", []),
]


@pytest.mark.parametrize(("before", "asked", "allowed"), REFUSED)
def test_a_change_that_the_status_does_not_allow_is_refused(house, before, asked, allowed):
    mo = house.register(MO, "ACME")
    mpass_id = house.issue_mpass(mo, is_active=False)
    for status in before:
        change(house, mo, mpass_id, status)
    with pytest.raises(TransitionRefusedError) as refused:
        change(house, mo, mpass_id, asked)
    assert refused.value.facts["allowed"] == allowed


def test_an_expired_mpass_can_only_be_revoked(house):
    mo = house.register(MO, "ACME")
    mpass_id = house.issue_mpass(mo, expires_at=NOW + 60)
    assert read(house, mo, mpass_id).body["status"] == "Active"
    house.clock.advance(60)
    assert read(house, mo, mpass_id).body["status"] == "Expired"
    for status in ("Active", "Locked"):
        with pytest.raises(TransitionRefusedError):
            change(house, mo, mpass_id, status)
    assert change(house, mo, mpass_id, "Revoked", reason="over").body["status"] == "Revoked"


def test_the_mpasses_of_a_suspended_mo_are_locked_until_it_is_active_again(house):
    mo = house.register(MO, "ACME")
    active, pending = house.issue_mpass(mo), house.issue_mpass(mo, is_active=False)
    revoked = house.issue_mpass(mo)
    change(house, mo, revoked, "Revoked")
    house.clock.advance(1)
    house.set_status(mo, "Suspended")
    assert standing(read(house, mo, active)) == ("Locked", ["org"])
    assert standing(read(house, mo, pending)) == ("Locked", ["org"])
    assert read(house, mo, revoked).body["status"] == "Revoked"
    for mpass_id in (active, pending):
        with pytest.raises(TransitionRefusedError) as refused:
            change(house, mo, mpass_id, "Active")
        assert refused.value.facts["allowed"] == ["Locked", "Revoked"]
    assert standing(change(house, mo, active, "Locked")) == ("Locked", ["mo", "org"])
    house.set_status(mo, "Active")
    assert standing(read(house, mo, active)) == ("Locked", ["mo"])
    assert standing(read(house, mo, pending)) == ("Pending", [])


def test_the_mpasses_of_a_destroyed_mo_are_revoked(house):
    mo = house.register(MO, "ACME")
    mpass_id = house.issue_mpass(mo)
    house.clock.advance(1)
    house.set_status(mo, "Destroyed")
    assert read(house, house.console, mpass_id).body["status"] == "Revoked"
    with pytest.raises(TransitionRefusedError):
        change(house, house.console, mpass_id, "Locked")


def test_the_past_stays_as_it_was(house):
    mo = house.register(MO, "ACME")
    before = house.clock.now_ms()
    house.clock.advance(1)
    mpass_id = house.issue_mpass(mo)
    active = house.clock.now_ms()
    house.clock.advance(1)
    house.set_status(mo, "Suspended")
    stored = house.hub.directory.mpasses([mpass_id])[mpass_id]
    organization = house.hub.directory.organizations([mo.organization_id])[mo.organization_id]
    statuses = [
        mpasses.standing_at(stored, organization, UnixMillis(moment))[0]
        for moment in (before, active, house.clock.now_ms())
    ]
    assert statuses == [MPassStatus.PENDING, MPassStatus.ACTIVE, MPassStatus.LOCKED]


@pytest.mark.parametrize(
    ("who", "members", "error"),
    [
        ("mo", {}, MissingFieldError),
        ("mo", {"status": "Pending"}, InvalidFieldError),
        ("mo", {"status": "Expired"}, InvalidFieldError),
        ("mo", {"status": "Locked", "on_behalf_of": "admin"}, InvalidFieldError),
        ("mo", {"status": "Locked", "lock": "admin"}, UnknownFieldError),
        ("mo", {"status": "Locked", "reason": 1}, InvalidFieldError),
        ("operator", {"status": "Locked", "on_behalf_of": "user"}, ForbiddenError),
    ],
)
def test_a_wrong_change_is_refused(house, who, members, error):
    mo = house.register(MO, "ACME")
    mpass_id = house.issue_mpass(mo)
    caller = house.operator if who == "operator" else house.caller(mo)
    with pytest.raises(error):
        mpasses.change_mpass_status(house.hub, caller, mpass_id, members)
    assert read(house, mo, mpass_id).body["status"] == "Active"


def test_a_stale_if_match_changes_nothing(house):
    mo = house.register(MO, "ACME")
    mpass_id = house.issue_mpass(mo)
    with pytest.raises(PreconditionFailedError):
        change(house, mo, mpass_id, "Locked", if_match=1)
    assert standing(change(house, mo, mpass_id, "Locked", if_match=2)) == ("Locked", ["mo"])


# Whose it is.


def test_another_mos_mpass_is_not_there(house):
    mo, other = house.register(MO, "ACME"), house.register(MO, "OTHER")
    mpass_id = house.issue_mpass(mo)
    for unseen in (mpass_id, MPassId("00000000-0000-4000-8000-000000000000")):
        with pytest.raises(NotFoundError):
            read(house, other, unseen)
        with pytest.raises(NotFoundError):
            mpasses.change_mpass_status(house.hub, house.caller(other), unseen, {"not": "looked at"})


def test_a_publisher_has_no_part_in_mpasses(house):
    mo, publisher = house.register(MO, "ACME"), house.register(PUBLISHER, "PUB")
    for mpass_id in (house.issue_mpass(mo), MPassId("unknown")):
        with pytest.raises(ForbiddenError):
            read(house, publisher, mpass_id)
        with pytest.raises(ForbiddenError):
            change(house, publisher, mpass_id, "Locked")
    with pytest.raises(ForbiddenError):
        mpasses.list_mpasses(house.hub, house.caller(publisher), {})


def test_the_auditor_reads_and_does_not_change(house):
    mo, auditor = house.register(MO, "ACME"), house.add_identity("auditor", IdentityRole.AUDITOR)
    mpass_id = house.issue_mpass(mo)
    assert read(house, auditor, mpass_id).body["id"] == mpass_id
    with pytest.raises(ForbiddenError):
        change(house, auditor, mpass_id, "Locked")


# Lists.


def ids(house, holder, **parameters):
    page = mpasses.list_mpasses(house.hub, house.caller(holder), parameters).body
    return [item["id"] for item in page["items"]]


def test_a_list_shows_an_mo_its_own_and_the_operator_all(house):
    mo, other = house.register(MO, "ACME"), house.register(MO, "OTHER")
    first = house.issue_mpass(mo)
    house.clock.advance(1)
    second = house.issue_mpass(other)
    house.clock.advance(1)
    third = house.issue_mpass(mo, is_active=False)
    assert ids(house, mo) == [third, first]
    assert ids(house, mo, mo_id=mo.organization_id) == [third, first]
    assert ids(house, mo, mo_id=other.organization_id) == []
    assert ids(house, house.console) == [third, second, first]
    assert ids(house, house.console, mo_id=other.organization_id) == [second]
    assert ids(house, house.console, mo_id=OrganizationId("unknown")) == []
    assert ids(house, mo, status="Pending") == [third]
    assert ids(house, mo, status="Active") == [first]
    page = mpasses.list_mpasses(house.hub, house.operator, {"limit": "2"}).body
    rest = mpasses.list_mpasses(house.hub, house.operator, {"limit": "2", "cursor": page["next_cursor"]}).body
    assert [item["id"] for item in page["items"] + rest["items"]] == [third, second, first]
    assert rest["next_cursor"] is None


def test_a_filter_goes_by_the_status_that_is_shown(house):
    mo, other = house.register(MO, "ACME"), house.register(MO, "OTHER")
    expired = house.issue_mpass(mo, expires_at=NOW + 1)
    locked, suspended, revoked = house.issue_mpass(mo), house.issue_mpass(other), house.issue_mpass(mo)
    change(house, mo, locked, "Locked")
    change(house, mo, revoked, "Revoked")
    house.clock.advance(1)
    house.set_status(other, "Suspended")
    assert set(ids(house, house.console, status="Locked")) == {locked, suspended}
    assert ids(house, house.console, status="Active") == []
    assert ids(house, house.console, status="Expired") == [expired]
    assert ids(house, house.console, status="Revoked") == [revoked]


@pytest.mark.parametrize(
    "parameters", [{"limit": "0"}, {"status": "Gone"}, {"mo_id": "a b"}, {"cursor": "?"}, {"tier": "gold"}]
)
def test_a_wrong_parameter_is_refused(house, parameters):
    with pytest.raises(InvalidParameterError):
        mpasses.list_mpasses(house.hub, house.operator, parameters)
