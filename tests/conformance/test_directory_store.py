"""The port ``DirectoryStore``: read exactly, changed whole, codes and keys given once."""

from dataclasses import replace

import pytest

from moneta.application.ports import DirectoryConflictError, Endpoint, IdentityRole
from moneta.domain.endpoints import EndpointHealth
from moneta.domain.errors import CodeTakenError, InvalidParameterError, KeyTakenError, TemplateExistsError
from moneta.domain.keys import KeyStatus, KeyUse
from moneta.domain.limits import CHANGE_AGE_S_MAX
from moneta.domain.mpasses import MPassStatus
from moneta.domain.organizations import OrganizationKind, OrganizationStatus
from moneta.domain.pending_changes import ChangeEvent, ChangeState
from moneta.domain.status_places import ListedStatus, StatusPlace
from moneta.domain.templates import TemplateStatus
from tests.conformance.builders import (
    MO,
    MPASS,
    NOW,
    NOW_S,
    PUBLISHER,
    STRANGE_VALUES,
    change,
    identity,
    key_with,
    locked,
    mpass,
    organization,
    pending_change,
    race,
    registered_key,
    remembered,
    revoked,
    secret,
    template,
)


def apply(store, **parts):
    store.directory.apply(change(**parts))


def refused(store, error, **parts):
    with pytest.raises(error):
        apply(store, **parts)


def activated(one, *, at=NOW + 1):
    history = (*one.history, (at, OrganizationStatus.ACTIVE))
    return replace(one, history=history, updated_at=at, revision=one.revision + 1)


def one_of(store, organization_id=MO):
    return store.directory.organizations([organization_id]).get(organization_id)


# Organizations.


def test_an_organization_is_read_as_it_was_put(store):
    whole = organization(
        metadata=STRANGE_VALUES,
        policies={"refunds": STRANGE_VALUES},
        certificates=("pem 1", "pem 2"),
        services=("news",),
        industries=("media", "press"),
    )
    apply(store, organization=whole)
    assert one_of(store) == whole


def test_those_that_exist_are_returned(store):
    apply(store, organization=organization())
    assert store.directory.organizations([PUBLISHER, MO]).keys() == {MO}
    assert store.directory.organizations([]) == {}


def test_a_change_is_seen_by_the_next_read(store):
    apply(store, organization=organization())
    assert one_of(store).status is OrganizationStatus.PENDING
    apply(store, organization=activated(organization()))
    assert store.directory.organizations([MO], is_fresh=True)[MO] == activated(organization())


def test_what_was_missing_is_seen_once_it_is_there(store):
    assert one_of(store) is None
    apply(store, organization=organization())
    assert store.directory.organizations([MO], is_fresh=True)[MO] == organization()


@pytest.mark.parametrize("revision", [1, 3, 4], ids=lambda number: f"revision {number}")
def test_an_organization_is_written_only_over_the_revision_before(store, revision):
    apply(store, organization=organization())
    refused(store, DirectoryConflictError, organization=organization(name="Another", revision=revision))
    assert store.directory.organizations([MO], is_fresh=True)[MO] == organization()


def test_an_organization_begins_at_revision_1(store):
    refused(store, DirectoryConflictError, organization=organization(revision=2))
    assert one_of(store) is None


def test_a_code_is_given_out_once(store):
    apply(store, organization=organization())
    refused(store, CodeTakenError, organization=organization("mo-2"))
    assert one_of(store, "mo-2") is None


def test_the_code_of_a_destroyed_organization_stays_taken(store):
    apply(store, organization=organization())
    history = ((NOW, OrganizationStatus.PENDING), (NOW + 1, OrganizationStatus.DESTROYED))
    apply(store, organization=replace(organization(), history=history, revision=2))
    refused(store, CodeTakenError, organization=organization("mo-2"))


def test_each_kind_has_its_own_codes(store):
    apply(store, organization=organization())
    apply(store, organization=organization(PUBLISHER, kind=OrganizationKind.PUBLISHER))
    assert store.directory.organizations([MO, PUBLISHER]).keys() == {MO, PUBLISHER}


def test_of_a_race_for_a_code_exactly_one_gets_it(store):
    def register(number):
        try:
            apply(store, organization=organization(f"mo-{number}"))
        except CodeTakenError:
            return "taken"
        return "given"

    answers = race([lambda number=number: register(number) for number in range(8)])
    assert sorted(answers) == ["given"] + ["taken"] * 7
    assert len(store.directory.organizations([f"mo-{number}" for number in range(8)])) == 1


# Endpoints.


def test_an_endpoint_is_the_organizations_url_and_its_secrets(store):
    apply(store, organization=organization(), secrets=(MO, (secret("new"), secret("old", valid_until=NOW + 60))))
    expected = Endpoint(
        organization_id=MO,
        url="https://mo-1.example/hook",
        secrets=(secret("new"), secret("old", valid_until=NOW + 60)),
    )
    assert store.directory.endpoints([MO, PUBLISHER]) == {MO: expected}


def test_an_organization_without_a_secret_has_an_endpoint(store):
    apply(store, organization=organization())
    assert store.directory.endpoints([MO])[MO].secrets == ()


def test_new_secrets_take_the_place_of_the_old(store):
    apply(store, organization=organization(), secrets=(MO, (secret("first"),)))
    assert store.directory.endpoints([MO])[MO].secrets == (secret("first"),)
    apply(store, secrets=(MO, (secret("second"),)))
    assert store.directory.endpoints([MO])[MO].secrets == (secret("second"),)


def test_a_new_url_is_where_deliveries_go(store):
    apply(store, organization=organization())
    moved = organization(metadata={"webhook_url": "https://moved.example/hook"}, revision=2)
    apply(store, organization=moved)
    assert store.directory.endpoints([MO])[MO].url == "https://moved.example/hook"


def test_enabling_an_endpoint_that_is_enabled_changes_nothing(store):
    apply(store, organization=organization())
    apply(store, enables_endpoint=MO)
    assert store.directory.endpoint_health([MO])[MO] == EndpointHealth()


# Keys.


def test_a_key_is_read_as_it_was_put(store):
    key = registered_key(uses=(KeyUse.AUTH, KeyUse.CONTRACT))
    apply(store, keys=(key,))
    assert store.directory.keys_of([MO, PUBLISHER]) == {MO: {key.key_id: key}}


def test_the_registry_is_numbered_without_a_gap(store):
    assert store.directory.registry_position() == 0
    first, second = registered_key("key-1", seq=1), registered_key("key-2", owner=PUBLISHER, seq=2)
    apply(store, keys=(first, second))
    assert store.directory.registry_position() == 2
    apply(store, keys=(key_with(first, KeyStatus.RETIRED, seq=3),))
    assert store.directory.registry_position() == 3
    apply(store, organization=organization())
    assert store.directory.registry_position() == 3


@pytest.mark.parametrize("seq", [0, 1, 3, 4])
def test_a_position_that_does_not_come_next_is_a_conflict(store, seq):
    apply(store, keys=(registered_key(seq=1),))
    refused(store, DirectoryConflictError, keys=(registered_key("key-2", seq=seq),))
    assert store.directory.registry_position() == 1
    assert len(store.directory.keys_of([MO], is_fresh=True)[MO]) == 1


@pytest.mark.parametrize("seqs", [(1, 1), (1, 3), (2, 3)])
def test_keys_of_one_change_take_consecutive_positions(store, seqs):
    keys = tuple(registered_key(f"key-{number}", seq=seq) for number, seq in enumerate(seqs))
    refused(store, DirectoryConflictError, keys=keys)
    assert store.directory.keys_of([MO]) == {}


def test_a_changed_key_is_seen_by_the_next_read(store):
    key = registered_key()
    apply(store, keys=(key,))
    assert store.directory.keys_of([MO])[MO][key.key_id].status is KeyStatus.ACTIVE
    retired = key_with(key, KeyStatus.RETIRED, seq=2, since=NOW_S)
    apply(store, keys=(retired,))
    assert store.directory.keys_of([MO], is_fresh=True) == {MO: {key.key_id: retired}}


def test_a_key_that_changed_since_it_was_read_is_a_conflict(store):
    key = registered_key()
    apply(store, keys=(key,))
    apply(store, keys=(key_with(key, KeyStatus.RETIRED, seq=2),))
    refused(store, DirectoryConflictError, keys=(key_with(key, KeyStatus.REVOKED, seq=3),))
    assert store.directory.keys_of([MO], is_fresh=True)[MO][key.key_id].status is KeyStatus.RETIRED


@pytest.mark.parametrize("owner", [MO, PUBLISHER])
def test_a_key_stands_in_the_registry_once_whoever_holds_it(store, owner):
    apply(store, keys=(registered_key(),))
    refused(store, KeyTakenError, keys=(registered_key(owner=owner, seq=2),))
    assert store.directory.registry_position() == 1


def test_a_key_does_not_change_its_owner(store):
    key = registered_key()
    apply(store, keys=(key,))
    stolen = replace(key_with(key, KeyStatus.RETIRED, seq=2), owner=PUBLISHER)
    refused(store, DirectoryConflictError, keys=(stolen,))
    assert store.directory.keys_of([PUBLISHER]) == {}


def test_compromised_keys_are_found_by_the_position_since(store):
    keys = [registered_key(f"key-{number}", seq=number) for number in (1, 2, 3)]
    apply(store, keys=tuple(keys))
    first = key_with(keys[0], KeyStatus.COMPROMISED, seq=4)
    revoked_key = key_with(keys[1], KeyStatus.REVOKED, seq=5)
    second = key_with(revoked_key, KeyStatus.COMPROMISED, seq=6)
    for key in (first, revoked_key, second):
        apply(store, keys=(key,))
    assert list(store.directory.compromised_since(0)) == [first, second]
    assert list(store.directory.compromised_since(4)) == [second]
    assert list(store.directory.compromised_since(6)) == []


def test_a_key_is_found_by_its_name_whoever_holds_it_and_whatever_became_of_it(store):
    key = registered_key("key-1", seq=1)
    assert store.directory.key_holder(key.key_id) is None
    apply(store, keys=(key,))
    assert store.directory.key_holder(key.key_id) == key.owner
    apply(store, keys=(key_with(key, KeyStatus.REVOKED, seq=2),))
    assert store.directory.key_holder(key.key_id) == key.owner


def test_the_sweep_remembers_how_far_it_came(store):
    assert store.directory.swept_to() == 0
    store.directory.mark_swept(4)
    assert store.directory.swept_to() == 4


def test_of_a_race_for_a_position_exactly_one_gets_it(store):
    def register(number):
        try:
            apply(store, keys=(registered_key(f"key-{number}", owner=f"mo-{number}"),))
        except DirectoryConflictError:
            return "conflict"
        return "applied"

    assert (
        sorted(race([lambda number=number: register(number) for number in range(8)])) == ["applied"] + ["conflict"] * 7
    )
    assert store.directory.registry_position() == 1
    assert len(store.directory.keys_of([f"mo-{number}" for number in range(8)])) == 1


# mPasses.


def test_an_mpass_is_read_as_it_was_put(store):
    whole = mpass(policy=STRANGE_VALUES, holder_jwk={"kty": "OKP", "x": "abc"}, tier=None, expires_at=NOW_S + 9)
    apply(store, mpasses=(whole,))
    assert store.directory.mpasses(["mpass-1", "mpass-2"]) == {"mpass-1": whole}


def test_an_mpass_is_written_only_over_the_revision_before(store):
    apply(store, mpasses=(mpass(),))
    apply(store, mpasses=(locked(mpass()),))
    refused(store, DirectoryConflictError, mpasses=(revoked(mpass()),))
    refused(store, DirectoryConflictError, mpasses=(mpass(),))
    assert store.directory.mpasses(["mpass-1"]) == {"mpass-1": locked(mpass())}


def test_a_number_is_given_to_one_mpass(store):
    apply(store, mpasses=(mpass(number="ACME1"),))
    refused(store, DirectoryConflictError, mpasses=(mpass("mpass-2", number="ACME1"),))
    assert store.directory.mpasses(["mpass-2"]) == {}


def test_a_number_leads_to_its_mpass(store):
    apply(store, mpasses=(mpass(number="ACME1"), mpass("mpass-2", number="ACME2")))
    assert store.directory.mpass_numbers(["ACME2", "ACME3"]) == {"ACME2": "mpass-2"}
    assert store.directory.mpass_numbers([]) == {}


# Templates.


def test_a_version_is_read_as_it_was_put(store):
    record = template(description=None, status=TemplateStatus.DRAFT)
    apply(store, template=record)
    assert store.directory.template("transaction-contract", 1) == record
    assert store.directory.template("transaction-contract", 2) is None
    assert store.directory.template("another", 1) is None


def test_a_version_is_published_once(store):
    apply(store, template=template())
    refused(store, TemplateExistsError, template=template(description="another"))
    assert store.directory.template("transaction-contract", 1) == template()


def test_the_status_of_a_version_changes_over_the_revision_before(store):
    apply(store, template=template())
    retired = template(status=TemplateStatus.RETIRED, revision=2)
    apply(store, template=retired)
    assert store.directory.template("transaction-contract", 1) == retired
    refused(store, DirectoryConflictError, template=template(status=TemplateStatus.DEPRECATED, revision=2))


def test_templates_are_listed_by_name_and_version(store):
    for name, version in (("b", 2), ("a", 10), ("a", 9), ("b", 1)):
        apply(store, template=template(name, version))
    assert [(one.name, one.version) for one in store.directory.templates()] == [("a", 9), ("a", 10), ("b", 1), ("b", 2)]
    assert [one.version for one in store.directory.templates("a")] == [9, 10]
    assert list(store.directory.templates("c")) == []


# Identities, and answers to remember.


def test_identities_are_read_as_they_were_put(store):
    both = [identity(), identity("auditor", IdentityRole.AUDITOR, at=NOW + 1)]
    for one in both:
        apply(store, identity=one)
    assert sorted(store.directory.identities(), key=lambda one: one.created_at) == both


def test_an_identity_is_made_once(store):
    apply(store, identity=identity())
    refused(store, DirectoryConflictError, identity=identity(role=IdentityRole.AUDITOR))
    assert list(store.directory.identities()) == [identity()]


def test_an_answer_is_remembered_for_its_caller_and_key(store):
    apply(store, organization=organization(), remember=remembered())
    assert store.directory.remembered(MO, "once") == remembered()
    assert store.directory.remembered(MO, "twice") is None
    assert store.directory.remembered(PUBLISHER, "once") is None


def test_a_key_that_has_an_answer_gets_no_other(store):
    apply(store, organization=organization(), remember=remembered())
    again = remembered(body=b"another")
    refused(store, DirectoryConflictError, organization=organization("mo-2", code="OTHER"), remember=again)
    assert store.directory.remembered(MO, "once") == remembered()
    assert one_of(store, "mo-2") is None


def test_an_answer_without_a_change_is_remembered_once(store):
    store.directory.remember(remembered())
    store.directory.remember(remembered(body=b"another"))
    assert store.directory.remembered(MO, "once") == remembered()


# What waits for a checker.


def decided(one, event=ChangeEvent.REFUSE, *, at=NOW + 5, **facts):
    return one.decided(event, by="checker", at=at, **facts)


def test_a_pending_change_is_read_as_it_was_put(store):
    whole = pending_change(members={**STRANGE_VALUES, "status": "Active"}, if_match=7)
    apply(store, pending_change=whole)
    assert store.directory.pending_change("change-1") == whole
    assert store.directory.pending_change("change-2") is None
    done = decided(whole, ChangeEvent.FAIL, reason="because", problem=b"{}")
    apply(store, pending_change=done)
    assert store.directory.pending_change("change-1") == done


def test_a_pending_change_is_decided_once(store):
    apply(store, pending_change=pending_change())
    apply(store, pending_change=decided(pending_change()))
    refused(store, DirectoryConflictError, pending_change=decided(pending_change(), ChangeEvent.APPROVE))
    refused(store, DirectoryConflictError, pending_change=pending_change())
    assert store.directory.pending_change("change-1").state_at(NOW) is ChangeState.REFUSED


def test_of_a_race_for_a_decision_exactly_one_is_made_with_what_it_does(store):
    apply(store, pending_change=pending_change())

    def decide(number):
        done, made = decided(pending_change(), ChangeEvent.APPROVE), organization(f"mo-{number}", code=f"MO{number}")
        try:
            apply(store, pending_change=done, organization=made)
        except DirectoryConflictError:
            return "conflict"
        return "decided"

    answers = race([lambda number=number: decide(number) for number in range(8)])
    assert sorted(answers) == ["conflict"] * 7 + ["decided"]
    assert len(store.directory.organizations([f"mo-{number}" for number in range(8)])) == 1


@pytest.fixture
def waiting(store):
    """Five changes, c0 the oldest: c0 expired at ``NOW``, c1 is refused, c2 approved, c3 and c4 wait."""
    for number in range(5):
        at = NOW - CHANGE_AGE_S_MAX * 1000 if number == 0 else NOW - 10 + number
        apply(store, pending_change=pending_change(f"c{number}", at=at))
    apply(store, pending_change=decided(pending_change("c1", at=NOW - 9)))
    apply(store, pending_change=decided(pending_change("c2", at=NOW - 8), ChangeEvent.APPROVE))
    return store


def list_changes(store, state=None, *, limit=50, cursor=None):
    return store.directory.list_pending_changes(state=state, now=NOW, limit=limit, cursor=cursor)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, "c4 c3 c2 c1 c0"),
        (ChangeState.AWAITING, "c4 c3"),
        (ChangeState.EXPIRED, "c0"),
        (ChangeState.REFUSED, "c1"),
        (ChangeState.APPROVED, "c2"),
        (ChangeState.FAILED, ""),
    ],
)
def test_pending_changes_are_listed_newest_first_by_their_state_now(waiting, state, expected):
    assert [one.change_id for one in list_changes(waiting, state).items] == expected.split()


def test_pages_of_pending_changes_add_up(waiting):
    first = list_changes(waiting, limit=3)
    second = list_changes(waiting, limit=3, cursor=first.next_cursor)
    assert [one.change_id for one in (*first.items, *second.items)] == ["c4", "c3", "c2", "c1", "c0"]
    assert second.next_cursor is None


def test_a_cursor_of_another_list_of_changes_is_refused(waiting):
    cursor = list_changes(waiting, limit=1).next_cursor
    for bad in (cursor[:-2], "!"):
        with pytest.raises(InvalidParameterError):
            list_changes(waiting, cursor=bad)
    with pytest.raises(InvalidParameterError):
        list_changes(waiting, ChangeState.AWAITING, cursor=cursor)


# Status lists.
def take(store, count=1, *, mo=MO, secret=b"first"):
    return store.directory.take_status_positions(mo, count, sealed_secret=secret)


def placed(mpass_id=MPASS, index=7, *, list_number=0, **more):
    return mpass(mpass_id, status_place=StatusPlace(list_number=list_number, index=index), **more)


def test_positions_go_on_behind_those_that_were_given(store):
    # A call that is tried again may give positions to nobody, and leaves a gap.
    ends = [0]
    for count in (500, 1, 2):
        taken = take(store, count)
        assert (taken.first >= ends[-1], taken.count) == (True, count)
        ends.append(taken.first + count)
        assert store.directory.status_positions_given(MO) == ends[-1]
    assert take(store, mo="mo-2").first < 500
    assert store.directory.status_positions_given("mo-3") == 0


def test_the_first_secret_of_an_mo_stays(store):
    taken = [take(store), take(store, secret=b"second"), take(store, mo="mo-2", secret=b"another")]
    assert [one.sealed_secret for one in taken] == [b"first", b"first", b"another"]


def test_no_position_is_given_twice_to_those_who_ask_at_once(store):
    taken = race([lambda: take(store, 10) for _ in range(8)])
    positions = [position for one in taken for position in range(one.first, one.first + 10)]
    assert len(set(positions)) == 80


def test_a_list_tells_of_what_is_locked_or_revoked_and_of_nothing_else(store):
    passes = {name: placed(name, index) for index, name in enumerate(("fine", "locked", "revoked", "pending"))}
    passes["pending"] = placed("pending", 3, active=False)
    apply(store, organization=organization())
    for one in passes.values():
        apply(store, mpasses=(one,))
    assert store.directory.not_valid(MO, 0) == {}
    apply(store, mpasses=(locked(passes["locked"]),))
    apply(store, mpasses=(revoked(passes["revoked"]),))
    assert store.directory.not_valid(MO, 0) == {1: ListedStatus.SUSPENDED, 2: ListedStatus.INVALID}


def test_a_lock_that_is_lifted_leaves_the_list(store):
    one = placed()
    unlocked = replace(locked(one), history=(*locked(one).history, replace(one.history[-1], since=NOW + 2)), revision=3)
    told = []
    for step in (one, locked(one), unlocked):
        apply(store, mpasses=(step,))
        told.append(store.directory.not_valid(MO, 0))
    assert told == [{}, {7: ListedStatus.SUSPENDED}, {}]
    assert store.directory.mpasses([MPASS]) == {MPASS: unlocked}


def test_the_place_of_a_holders_key_before_is_invalid_for_ever(store):
    one = placed(index=7)
    second = one.rekeyed({"kty": "OKP", "x": "2"}, place=StatusPlace(list_number=0, index=8))
    third = second.rekeyed({"kty": "OKP", "x": "3"}, place=StatusPlace(list_number=1, index=9))
    told = []
    for step in (one, second, third, locked(third), revoked(replace(third, revision=4))):
        apply(store, mpasses=(step,))
        told.append((store.directory.not_valid(MO, 0), store.directory.not_valid(MO, 1)))
    gone = {7: ListedStatus.INVALID, 8: ListedStatus.INVALID}
    assert told == [
        ({}, {}),
        ({7: ListedStatus.INVALID}, {}),
        (gone, {}),
        (gone, {9: ListedStatus.SUSPENDED}),
        (gone, {9: ListedStatus.INVALID}),
    ]
    assert store.directory.mpasses([MPASS])[MPASS].ended_place == second.status_place


def test_each_list_of_each_mo_tells_of_its_own(store):
    apply(store, mpasses=(placed("p1", 1),))
    apply(store, mpasses=(placed("p2", 1, list_number=1),))
    apply(store, mpasses=(placed("p3", 1, mo="mo-2"),))
    apply(store, mpasses=(mpass("p4"),))
    apply(store, mpasses=(locked(placed("p2", 1, list_number=1)),))
    apply(store, mpasses=(locked(placed("p3", 1, mo="mo-2")),))
    apply(store, mpasses=(locked(mpass("p4")),))
    lists = [store.directory.not_valid(*one) for one in ((MO, 0), (MO, 1), ("mo-2", 0), ("mo-3", 0))]
    assert lists == [{}, {1: ListedStatus.SUSPENDED}, {1: ListedStatus.SUSPENDED}, {}]


def test_an_mpass_of_before_there_were_lists_is_given_a_place(store):
    apply(store, mpasses=(locked(replace(mpass(), revision=0)),))
    given = replace(revoked(mpass()), status_place=StatusPlace(list_number=2, index=5))
    apply(store, mpasses=(given,))
    assert store.directory.mpasses([MPASS]) == {MPASS: given}
    assert store.directory.not_valid(MO, 2) == {5: ListedStatus.INVALID}


# All or nothing.

FINE = {
    "organization": organization("mo-2", code="OTHER"),
    "keys": (registered_key("key-2", seq=2),),
    "secrets": ("mo-2", (secret(),)),
    "mpasses": (mpass("mpass-2"),),
    "template": template("another"),
    "identity": identity("checker", IdentityRole.CHECKER),
    "remember": remembered("twice"),
    "pending_change": pending_change("change-2"),
}
SPOILT = {
    "organization": (organization("mo-2"), CodeTakenError),
    "keys": ((registered_key("key-1", owner="mo-2", seq=2),), KeyTakenError),
    "mpasses": ((mpass(),), DirectoryConflictError),
    "template": (template(), TemplateExistsError),
    "identity": (identity(), DirectoryConflictError),
    "remember": (remembered(), DirectoryConflictError),
    "pending_change": (pending_change(), DirectoryConflictError),
}


@pytest.fixture
def furnished(store):
    apply(
        store,
        organization=organization(),
        keys=(registered_key("key-1"),),
        mpasses=(mpass(),),
        template=template(),
        identity=identity(),
        remember=remembered(),
        pending_change=pending_change(),
    )
    return store


def everything(store):
    directory = store.directory
    return (
        directory.organizations([MO, "mo-2"], is_fresh=True),
        directory.keys_of([MO, "mo-2"], is_fresh=True),
        directory.registry_position(),
        directory.endpoints([MO, "mo-2"]),
        directory.mpasses(["mpass-1", "mpass-2"]),
        list(directory.templates()),
        list(directory.identities()),
        directory.remembered(MO, "twice"),
        directory.pending_change("change-2"),
    )


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_change_with_one_part_that_is_refused_writes_nothing(furnished, spoilt):
    before = everything(furnished)
    part, error = SPOILT[spoilt]
    refused(furnished, error, **(FINE | {spoilt: part}))
    assert everything(furnished) == before


def test_a_change_of_everything_is_written_whole(furnished):
    apply(furnished, **FINE)
    organizations, keys, position, endpoints, mpasses, templates, identities, answer, waiting = everything(furnished)
    assert organizations["mo-2"] == FINE["organization"]
    assert keys[MO].keys() == {registered_key("key-1").key_id, registered_key("key-2").key_id}
    assert position == 2
    assert endpoints["mo-2"].secrets == (secret(),)
    assert mpasses.keys() == {"mpass-1", "mpass-2"}
    assert [one.name for one in templates] == ["another", "transaction-contract"]
    assert {one.identity_id for one in identities} == {"operator", "checker"}
    assert answer == FINE["remember"]
    assert waiting == FINE["pending_change"]


# Lists.


@pytest.fixture
def register(store):
    """Four MOs, oldest m0, of which m2 and m3 are active, and a publisher."""
    for number in range(4):
        one = organization(f"m{number}", code=f"MO{number}", at=NOW + number)
        apply(store, organization=one)
        if number > 1:
            apply(store, organization=activated(one, at=NOW + 10))
    apply(store, organization=organization("p0", kind=OrganizationKind.PUBLISHER, code="MO0"))
    return store


def list_organizations(store, kind=OrganizationKind.MO, *, code=None, status=None, limit=50, cursor=None):
    return store.directory.list_organizations(kind, code=code, status=status, limit=limit, cursor=cursor)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "m3 m2 m1 m0"),
        ({"kind": OrganizationKind.PUBLISHER}, "p0"),
        ({"code": "MO1"}, "m1"),
        ({"code": "MO9"}, ""),
        ({"status": OrganizationStatus.ACTIVE}, "m3 m2"),
        ({"status": OrganizationStatus.PENDING}, "m1 m0"),
        ({"code": "MO1", "status": OrganizationStatus.ACTIVE}, ""),
    ],
    ids=str,
)
def test_organizations_are_listed_newest_first(register, members, expected):
    assert [one.organization_id for one in list_organizations(register, **members).items] == expected.split()


def test_pages_of_organizations_add_up(register):
    first = list_organizations(register, limit=3)
    second = list_organizations(register, limit=3, cursor=first.next_cursor)
    assert [one.organization_id for one in (*first.items, *second.items)] == ["m3", "m2", "m1", "m0"]
    assert second.next_cursor is None


def test_a_cursor_of_other_organizations_is_refused(register):
    cursor = list_organizations(register, limit=1).next_cursor
    for bad in ({"cursor": "x"}, {"cursor": cursor, "status": OrganizationStatus.ACTIVE}):
        with pytest.raises(InvalidParameterError) as refusal:
            list_organizations(register, **bad)
        assert refusal.value.facts["field"] == "cursor"


@pytest.fixture
def passes(store):
    """Six mPasses, oldest p0, of two MOs, in each state."""
    p0, p1 = mpass("p0", at=NOW), mpass("p1", at=NOW + 1, active=False)
    p2, p3 = mpass("p2", at=NOW + 2, expires_at=NOW_S + 10), mpass("p3", at=NOW + 3)
    p4, p5 = mpass("p4", at=NOW + 4, expires_at=NOW_S + 10), mpass("p5", at=NOW + 5, mo="mo-2")
    for one in (p0, p1, p2, p3, p4, p5, locked(p3, at=NOW + 6), revoked(p4, at=NOW + 6)):
        apply(store, mpasses=(one,))
    return store


def list_mpasses(store, *, mo_id=None, status=None, now=NOW + 5000, limit=50, cursor=None):
    return store.directory.list_mpasses(mo_id=mo_id, status=status, now=now, limit=limit, cursor=cursor)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "p5 p4 p3 p2 p1 p0"),
        ({"mo_id": MO}, "p4 p3 p2 p1 p0"),
        ({"mo_id": "nobody"}, ""),
        ({"status": MPassStatus.ACTIVE}, "p5 p2 p0"),
        ({"status": MPassStatus.ACTIVE, "mo_id": MO}, "p2 p0"),
        ({"status": MPassStatus.PENDING, "mo_id": MO}, "p1"),
        ({"status": MPassStatus.LOCKED}, "p3"),
        ({"status": MPassStatus.REVOKED}, "p4"),
        ({"status": MPassStatus.EXPIRED}, ""),
        ({"status": MPassStatus.EXPIRED, "now": NOW + 9999}, ""),
        ({"status": MPassStatus.EXPIRED, "now": NOW + 10_000}, "p2"),
        ({"status": MPassStatus.ACTIVE, "now": NOW + 10_000, "mo_id": MO}, "p0"),
        ({"status": MPassStatus.REVOKED, "now": NOW + 10_000}, "p4"),
    ],
    ids=str,
)
def test_mpasses_are_listed_by_the_status_that_they_have_at_the_moment(passes, members, expected):
    assert [one.mpass_id for one in list_mpasses(passes, **members).items] == expected.split()


@pytest.mark.parametrize("members", [{}, {"mo_id": MO}, {"status": MPassStatus.ACTIVE}], ids=str)
def test_pages_of_mpasses_add_up(passes, members):
    first = list_mpasses(passes, limit=2, **members)
    rest = list_mpasses(passes, cursor=first.next_cursor, **members)
    assert [*first.items, *rest.items] == list(list_mpasses(passes, **members).items)


def test_a_cursor_of_other_mpasses_is_refused(passes):
    cursor = list_mpasses(passes, limit=1).next_cursor
    for bad in ({"cursor": "x"}, {"cursor": cursor, "mo_id": MO}):
        with pytest.raises(InvalidParameterError):
            list_mpasses(passes, **bad)
