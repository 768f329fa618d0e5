"""Changing the directory: the same creation once, and two at once decided one after the other."""

import pytest

from moneta.application import organizations
from moneta.domain.errors import (
    CodeTakenError,
    IdempotencyKeyReusedError,
    InvalidParameterError,
    MissingFieldError,
    PreconditionFailedError,
    TryAgainError,
)
from moneta.domain.ijson import NumberText
from moneta.domain.limits import DIRECTORY_TRIES_MAX
from tests.hub import MO, PUBLISHER


def create(house, kind, members, **options):
    return organizations.create_organization(house.hub, house.operator, kind, members, **options)


def update(house, caller, party, members, **options):
    return organizations.update_organization(house.hub, caller, party.kind, party.organization_id, members, **options)


def read(house, caller, party):
    return organizations.read_organization(house.hub, caller, party.kind, party.organization_id)


def registered(house):
    return organizations.list_organizations(house.hub, house.operator, MO, {}).body["items"]


# The same creation twice.


def test_the_same_key_and_body_give_the_first_answer_without_its_secret(house):
    members = house.organization_members(MO, "ACME")
    members["metadata"]["share"] = NumberText("0.10")
    first = create(house, MO, members, idempotency_key="key-1")
    house.clock.advance(600)  # the proofs are stale by now, and not asked again
    again = create(house, MO, dict(reversed(members.items())), idempotency_key="key-1")
    assert again.is_replay
    assert again.body == {**first.body, "webhook_secret": None}
    assert again.revision == first.revision


def test_the_same_key_with_another_request_is_refused(house):
    members = house.organization_members(MO, "ACME")
    create(house, MO, members, idempotency_key="key-1")
    for kind, other in ((MO, {**members, "name": "Other"}), (PUBLISHER, members)):
        with pytest.raises(IdempotencyKeyReusedError):
            create(house, kind, other, idempotency_key="key-1")


def test_a_refused_creation_uses_up_no_key(house):
    members = house.organization_members(MO, "ACME")
    with pytest.raises(MissingFieldError):
        create(house, MO, {**members, "name": None}, idempotency_key="key-1")
    assert not create(house, MO, members, idempotency_key="key-1").is_replay


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\t", "ümlaut"])
def test_an_idempotency_key_is_short_printable_ascii(house, key):
    with pytest.raises(InvalidParameterError):
        create(house, MO, house.organization_members(MO, "ACME"), idempotency_key=key)


# Two at once.


class OvertakenDirectory:
    """The directory, but something else is written first, a number of times."""

    def __init__(self, directory, overtake, times):
        self.directory, self.overtake, self.times = directory, overtake, times

    def __getattr__(self, name):
        return getattr(self.directory, name)

    def apply(self, change):
        if self.times > 0:
            self.times -= 1
            self.overtake()
        self.directory.apply(change)


def overtaken(house, overtake, times):
    members = {name: getattr(house.hub, name) for name in house.hub.__slots__}
    directory = OvertakenDirectory(house.hub.directory, overtake, times)
    return type(house.hub)(**{**members, "directory": directory})


def test_a_change_that_is_overtaken_is_decided_anew(house):
    party, operator = house.register(MO, "ACME"), house.operator
    hub = overtaken(house, lambda: update(house, operator, party, {"services": ["tv"]}), times=2)
    answer = organizations.update_organization(hub, operator, MO, party.organization_id, {"name": "New"})
    assert (answer.body["name"], answer.body["services"]) == ("New", ["tv"])
    assert read(house, operator, party) == answer


def test_a_change_that_is_overtaken_every_time_asks_to_be_sent_again(house):
    party, operator = house.register(MO, "ACME"), house.operator
    hub = overtaken(house, lambda: update(house, operator, party, {"name": "Other"}), times=DIRECTORY_TRIES_MAX)
    with pytest.raises(TryAgainError):
        organizations.update_organization(hub, operator, MO, party.organization_id, {"name": "New"})


def test_an_overtaken_change_with_if_match_fails(house):
    party, operator = house.register(MO, "ACME"), house.operator
    revision = read(house, operator, party).revision
    hub = overtaken(house, lambda: update(house, operator, party, {"name": "Other"}), times=1)
    with pytest.raises(PreconditionFailedError):
        organizations.update_organization(hub, operator, MO, party.organization_id, {"name": "New"}, if_match=revision)


def test_two_creations_at_once_with_one_key_make_one_organization(house):
    members, operator = house.organization_members(MO, "ACME"), house.operator
    hub = overtaken(house, lambda: create(house, MO, members, idempotency_key="key-1"), times=1)
    answer = organizations.create_organization(hub, operator, MO, members, idempotency_key="key-1")
    assert answer.is_replay
    assert len(registered(house)) == 1


@pytest.mark.parametrize("key", [None, "key-1"])
def test_two_creations_at_once_without_a_key_in_common_make_one_organization(house, key):
    members, operator = house.organization_members(MO, "ACME"), house.operator
    hub = overtaken(house, lambda: create(house, MO, members, idempotency_key="another"), times=1)
    with pytest.raises(CodeTakenError):
        organizations.create_organization(hub, operator, MO, members, idempotency_key=key)
    assert len(registered(house)) == 1
