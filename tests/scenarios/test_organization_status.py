"""The state table of organizations: who moves them, what they need first, and what keeps them from their end."""

import pytest

from moneta.application import organizations
from moneta.domain.errors import (
    ForbiddenError,
    InvalidFieldError,
    MissingFieldError,
    TransitionRefusedError,
    UnauthorizedError,
    UnknownFieldError,
)
from moneta.domain.identifiers import OrganizationId
from tests.hub import MO, PUBLISHER
from tests.signing_examples import key_of


def create(house, kind, members, **options):
    return organizations.create_organization(house.hub, house.operator, kind, members, **options)


def change(house, caller, party, status, **options):
    members = {"status": status, "reason": "because"}
    return organizations.change_organization_status(
        house.hub, caller, party.kind, party.organization_id, members, **options
    )


def update(house, caller, party, members, **options):
    return organizations.update_organization(house.hub, caller, party.kind, party.organization_id, members, **options)


def read(house, caller, party):
    return organizations.read_organization(house.hub, caller, party.kind, party.organization_id)


def test_a_pending_organization_needs_a_key_of_each_use(house):
    members = house.organization_members(MO, "ACME")
    for keys, missing in ((members["keys"][:1], ["auth"]), (members["keys"][1:], ["contract"])):
        code = f"X{len(missing[0])}"
        key = key_of("ES256", f"only {missing}")
        offered = house.new_key(key, code, *keys[0]["use"])
        created = create(house, MO, {**members, "mic": code, "keys": [offered]}).body
        with pytest.raises(TransitionRefusedError) as refused:
            organizations.change_organization_status(
                house.hub, house.operator, MO, OrganizationId(created["id"]), {"status": "Active"}
            )
        assert refused.value.facts["missing"] == missing


def test_one_key_may_have_both_uses(house):
    members = house.organization_members(MO, "ACME")
    key = key_of("ES256", "both")
    created = create(house, MO, {**members, "keys": [house.new_key(key, "ACME", "auth", "contract")]}).body
    answer = organizations.change_organization_status(
        house.hub, house.operator, MO, OrganizationId(created["id"]), {"status": "Active"}
    )
    assert answer.body["status"] == "Active"


PATHS = [
    ("Pending", "Active", "Active"),
    ("Pending", "Suspended", None),
    ("Pending", "Destroyed", "Destroyed"),
    ("Active", "Active", None),
    ("Active", "Suspended", "Suspended"),
    ("Active", "Destroyed", "Destroyed"),
    ("Suspended", "Active", "Active"),
    ("Suspended", "Suspended", None),
    ("Suspended", "Destroyed", "Destroyed"),
    ("Destroyed", "Active", None),
    ("Destroyed", "Suspended", None),
    ("Destroyed", "Destroyed", None),
]


@pytest.mark.parametrize(("before", "asked", "after"), PATHS)
def test_the_operator_moves_an_organization_along_its_table(house, before, asked, after):
    party = house.register(PUBLISHER, "PUB", status=before)
    if after is None:
        with pytest.raises(TransitionRefusedError) as refused:
            change(house, house.operator, party, asked)
        assert asked not in refused.value.facts["allowed"]
        after = before
    else:
        assert change(house, house.operator, party, asked).body["status"] == after
    assert read(house, house.operator, party).body["status"] == after


def test_an_organization_may_suspend_itself_and_nothing_more(house):
    party = house.register(MO, "ACME")
    for status in ("Active", "Destroyed"):
        with pytest.raises(ForbiddenError):
            change(house, house.caller(party), party, status)
    assert change(house, house.caller(party), party, "Suspended").body["status"] == "Suspended"
    with pytest.raises(ForbiddenError):
        change(house, house.caller(party), party, "Active")
    assert read(house, house.caller(party), party).body["status"] == "Suspended"


def test_a_pending_organization_does_not_touch_its_status(house):
    party = house.register(MO, "ACME", status="Pending")
    with pytest.raises(ForbiddenError):
        change(house, house.caller(party), party, "Suspended")


def test_a_destroyed_organization_is_a_tombstone(house):
    party = house.register(MO, "ACME", status="Destroyed")
    with pytest.raises(UnauthorizedError):
        house.caller(party)
    with pytest.raises(TransitionRefusedError):
        update(house, house.operator, party, {"name": "New"})


def test_open_contracts_keep_an_organization_from_its_end(house):
    mo, publisher = house.register(MO, "ACME"), house.register(PUBLISHER, "PUB")
    contract_id = house.submit(mo, house.body(mo, publisher, house.issue_mpass(mo)))
    for party in (mo, publisher):
        with pytest.raises(TransitionRefusedError) as refused:
            change(house, house.operator, party, "Destroyed")
        assert refused.value.facts["contract_id"] == contract_id
    house.sign(publisher, contract_id)
    assert change(house, house.operator, publisher, "Destroyed").body["status"] == "Destroyed"


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({}, MissingFieldError),
        ({"status": None}, MissingFieldError),
        ({"status": "Pending"}, InvalidFieldError),
        ({"status": "active"}, InvalidFieldError),
        ({"status": ["Active"]}, InvalidFieldError),
        ({"status": "Suspended", "reason": "x" * 501}, InvalidFieldError),
        ({"status": "Suspended", "since": 1}, UnknownFieldError),
    ],
)
def test_a_malformed_change_of_status_is_refused(house, members, error):
    party = house.register(MO, "ACME")
    with pytest.raises(error):
        organizations.change_organization_status(house.hub, house.operator, MO, party.organization_id, members)
