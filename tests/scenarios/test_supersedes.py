"""A later contract that takes the place of a finalized one."""

import json
from dataclasses import replace

import pytest

from moneta.application import queries, templates
from moneta.application.check_stored import check_stored
from moneta.application.countersign import superseding_step
from moneta.application.end_contracts import expire_contracts
from moneta.application.ports import DeliveryQuery
from moneta.domain.contracts import status_of
from moneta.domain.errors import InvalidSignatureError
from moneta.domain.identifiers import ContractId, EventId, Revision, UnixMillis
from moneta.domain.limits import EXPIRY_GRACE_S
from moneta.domain.organizations import OrganizationKind
from tests.scenarios.solo import body_of, sends, steps_with_leaves, submits, template

MO, PUBLISHER = OrganizationKind
NOW_MS = UnixMillis(1_800_000_000_000)


@pytest.fixture
def town(house_on_each_store):
    """Give a hub, an MO and a publisher, and a finalized contract ``old`` between them."""
    made = house_on_each_store
    for yaml in (
        template("test-terms", "mo, moneta, publisher", "mo_id, publisher_id"),
        template("test-other", "mo, moneta, publisher", "mo_id, publisher_id"),
        template("test-quick", "mo, moneta", "mo_id"),
        template("test-silent", "mo, moneta", "mo_id, publisher_id", more="acknowledge: {publisher: PT1H}\n"),
    ):
        templates.publish_template(made.hub, made.operator, yaml, {})
    made.mo, made.publisher = made.register(MO, "MOA"), made.register(PUBLISHER, "PUBA")
    complete(made, "old")
    return made


def submit(house, contract_id, *, name="test-terms", supersedes=None, **members):
    parties = {"mo_id": house.mo.organization_id, "publisher_id": house.publisher.organization_id, **members}
    older = {} if supersedes is None else {"supersedes": supersedes}
    body = body_of(house, name, contract_id=contract_id, **parties, **older)
    return submits(house, house.mo, body, f"submit-{contract_id}", contract_id=contract_id, role="mo")


def sign(house, contract_id, event_id=None):
    signed = house.sign_next(house.publisher, house.contract(ContractId(contract_id)))
    event_id = event_id or f"sign-{contract_id}"
    return sends(
        house, house.publisher, "moneta.contract.sign", {"contract": signed}, event_id, contract_id=contract_id
    )


def complete(house, contract_id, **members):
    return submit(house, contract_id, **members), sign(house, contract_id)


def status(house, contract_id):
    return status_of(house.contract(ContractId(contract_id)))


def test_a_finalized_contract_is_superseded_by_one_that_names_it(town):
    receipt = town.contract(ContractId("old")).receipt
    finalized_at = town.contract(ContractId("old")).finalized_at
    assert submit(town, "new", supersedes="old") == "processed"
    assert status(town, "old") == "finalized"  # not before the new one is finalized
    town.clock.advance(5)
    assert sign(town, "new") == "processed"
    assert (status(town, "new"), status(town, "old")) == ("finalized", "superseded")
    old = town.contract(ContractId("old"))
    assert (old.receipt, old.finalized_at, old.superseded_by) == (receipt, finalized_at, "new")
    last = old.log[-1]
    assert (last.event, last.actor, last.revision) == ("contract_superseded", "moneta_core", 3)


def test_it_is_shown_and_listed_as_superseded(town):
    complete(town, "new", supersedes="old")
    operator = town.operator
    shown = queries.read_contract(town.hub, operator, ContractId("old"))
    assert (shown.body["status"], shown.body["superseded_by"], shown.revision) == ("superseded", "new", 3)
    assert shown.body["finalized_at"] is not None
    assert queries.read_contract(town.hub, operator, ContractId("new")).body["supersedes"] == "old"
    for asked, found in (("superseded", ["old"]), ("finalized", ["new"])):
        items = queries.list_contracts(town.hub, operator, {"status": asked}).body["items"]
        assert [(item["contract_id"], item["finalized_at"] is not None) for item in items] == [(*found, True)]


def test_nobody_is_told_of_it_by_webhook(town):
    before = len(town.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=50, contract_id="old")).items)
    complete(town, "new", supersedes="old")
    after = len(town.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=50, contract_id="old")).items)
    assert before == after


def test_it_is_superseded_once(town):
    complete(town, "new", supersedes="old")
    assert submit(town, "again", supersedes="old") == "not_supersedable"
    assert submit(town, "newer", supersedes="new") == "processed"
    assert sign(town, "newer") == "processed"
    assert [status(town, one) for one in ("old", "new", "newer")] == ["superseded", "superseded", "finalized"]


def test_of_two_that_would_supersede_it_the_first_to_be_finalized_does(town):
    submit(town, "left", supersedes="old")
    submit(town, "right", supersedes="old")
    assert (sign(town, "right"), sign(town, "left")) == ("processed", "not_supersedable")
    assert [status(town, one) for one in ("old", "left", "right")] == [
        "superseded",
        "pending_publisher_signature",
        "finalized",
    ]


def test_of_two_that_are_finalized_in_one_batch_one_supersedes_it(town):
    for one in ("left", "right"):
        submit(town, one, supersedes="old")
        signed = town.sign_next(town.publisher, town.contract(ContractId(one)))
        event = town.event(town.publisher, "moneta.contract.sign", one, {"contract": signed}, f"sign-{one}")
        town.send(town.publisher, event)
    town.process()
    ends = sorted(status(town, one) for one in ("left", "right"))
    assert (ends, status(town, "old")) == (["finalized", "pending_publisher_signature"], "superseded")


def test_where_moneta_signs_last_it_declines_what_can_not_be_superseded_any_more(town):
    body = {"name": "test-quick", "publisher_id": town.publisher.organization_id}
    assert submit(town, "base", **body) == "processed"
    assert submit(town, "next", supersedes="base", **body) == "processed"
    assert submit(town, "late", supersedes="base", **body) == "not_supersedable"
    assert (status(town, "base"), status(town, "next")) == ("superseded", "finalized")


def test_a_silence_that_would_finalize_what_can_not_be_superseded_any_more_is_a_decline(town):
    submit(town, "base", name="test-silent")
    town.clock.advance(3_600 + EXPIRY_GRACE_S)
    expire_contracts(town.hub)
    for one in ("first", "second"):
        submit(town, one, name="test-silent", supersedes="base")
    town.clock.advance(3_600 + EXPIRY_GRACE_S)
    while expire_contracts(town.hub):
        pass
    ends = sorted(status(town, one) for one in ("first", "second"))
    assert (ends, status(town, "base")) == (["declined", "finalized"], "superseded")


# fmt: off
REFUSED = {
    "one that there isn't":   {"supersedes": "nothing"},
    "another template's":     {"supersedes": "old", "name": "test-other"},
    "one that is pending":    {"supersedes": "pending"},
    "itself":                 {"supersedes": "new"},
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_be_superseded_is_not(town, name):
    submit(town, "pending")
    assert submit(town, "new", **REFUSED[name]) == "not_supersedable"
    assert town.hub.contracts.read([ContractId("new")]) == {}


def test_a_contract_between_others_is_answered_as_one_that_there_is_not(town):
    stranger = town.register(MO, "OTHER")
    body = body_of(
        town,
        "test-terms",
        contract_id="new",
        mo_id=stranger.organization_id,
        publisher_id=town.publisher.organization_id,
        supersedes="old",
    )
    assert submits(town, stranger, body, contract_id="new", role="mo") == "not_supersedable"
    assert status(town, "old") == "finalized"


def test_a_superseded_contract_is_closed_and_says_so(town):
    complete(town, "new", supersedes="old")
    assert sign(town, "old", "again") == "contract_closed"
    problem = json.loads(town.hub.events.find(town.publisher.organization_id, EventId("again")).problem)
    assert problem["status"] == 409
    assert "old is superseded" in problem["detail"]


def test_what_the_store_holds_of_a_superseded_contract_is_checked(town):
    complete(town, "new", supersedes="old")
    keys = {one.key.public.key_id: one.key.public for one in (town.mo, town.publisher)}
    keys |= {one.public.key_id: one.public for one in town.hub.signer.published()}
    old = town.contract(ContractId("old"))
    first = next(iter(steps_with_leaves(old)))
    later = superseding_step(replace(old, superseded_by=None, revision=Revision(1)), by=ContractId("new"), now=NOW_MS)
    check_stored(ContractId("old"), [first, later], lambda _, key_id: keys.get(key_id))
    forged = replace(later, superseded_by=ContractId("other"))
    with pytest.raises(InvalidSignatureError, match="leaf of revision 2"):
        check_stored(ContractId("old"), [first, forged], lambda _, key_id: keys.get(key_id))
