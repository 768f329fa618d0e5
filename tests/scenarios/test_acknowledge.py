"""Who is asked after the order is complete: signing, declining, and the silence that counts."""

import json

import pytest

from moneta.application import templates
from moneta.application.end_contracts import expire_contracts, next_expiry_ms
from moneta.application.organization_keys import change_key_status
from moneta.application.ports import DeliveryQuery, EventType
from moneta.application.submit import submit_as_moneta
from moneta.client import Keyring, MessageRefusedError, Verifier
from moneta.client.verified import KnownTemplate
from moneta.domain.contracts import ActName
from moneta.domain.identifiers import ContractId, UnixMillis
from moneta.domain.limits import EXPIRY_GRACE_S
from moneta.domain.organizations import OrganizationKind
from moneta.domain.templates import Role
from moneta.entrypoints.cli.verification import verify_file
from moneta.signing import statements
from moneta.signing.chain import head_of
from tests.scenarios.solo import body_of, client_of, sends, signs, status, submits, template, verifier, view

MO, PUBLISHER = OrganizationKind
HOUR_S = 3_600

ACKNOWLEDGE = "acknowledge: {publisher: PT1H}\n"
TEMPLATES = (
    template("test-ack", "mo, moneta", "mo_id, publisher_id", more=ACKNOWLEDGE),
    template("test-told", "mo, moneta", "mo_id, publisher_id", more="notify: [publisher]\n"),
    template(
        "test-term", "mo, moneta", "mo_id, publisher_id", more="acknowledge: {publisher: PT1H}\nexpires_in: PT1H\n"
    ),
    template(
        "test-late", "mo, moneta", "mo_id, publisher_id", more="acknowledge: {publisher: PT1H}\nexpires_in: P9D\n"
    ),
    template("test-own", "moneta", "org_id", more="acknowledge: {org: PT1H}\n"),
    template("test-two", "moneta", "mo_id, publisher_id", more="acknowledge: {mo: PT1H, publisher: PT2H}\n"),
)


@pytest.fixture
def town(house_on_each_store):
    """Give a hub with the templates above, an MO and a publisher."""
    made = house_on_each_store
    for yaml in TEMPLATES:
        templates.publish_template(made.hub, made.operator, yaml, {})
    made.mo, made.publisher = made.register(MO, "MOA"), made.register(PUBLISHER, "PUBA")
    return made


def begin(house, name="test-ack"):
    body = body_of(house, name, mo_id=house.mo.organization_id, publisher_id=house.publisher.organization_id)
    return submits(house, house.mo, body, role="mo")


def begin_as_moneta(house, name):
    parties = {"mo_id": house.mo.organization_id, "publisher_id": house.publisher.organization_id}
    if name == "test-own":
        parties = {"org_id": house.mo.organization_id}
    members = {"contract_id": "c-1", "template_id": name, "version": 1, "payload": {}, **parties}
    return submit_as_moneta(house.hub, house.operator, members)


def told(house):
    names = {house.mo.organization_id: "mo", house.publisher.organization_id: "publisher"}
    page = house.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=50))
    return sorted(f"{names[one.owed.organization_id]}: {one.owed.type.rpartition('.')[2]}" for one in page.items)


def wait(house, seconds):
    house.clock.advance(seconds + EXPIRY_GRACE_S)
    return expire_contracts(house.hub)


def declines(house, party, event_id="decline"):
    act = statements.make_act(
        party.key,
        name=ActName.DECLINE,
        contract_id=ContractId("c-1"),
        reason_code="no",
        reason="",
        prev=head_of(house.contract(ContractId("c-1")).signatures[:1]),
        issued_at=house.hub.now_s(),
        audience=house.hub.base_url,
    )
    return sends(house, party, EventType.DECLINE, {"act": act}, event_id)


def test_who_acknowledges_is_asked_once_the_order_is_complete(town):
    assert begin(town) == "processed"
    assert status(town) == "pending_publisher_signature"
    assert told(town) == ["publisher: signature_requested"]
    assert signs(town, town.publisher) == "processed"
    assert status(town) == "finalized"
    assert view(town)["acts"] == []
    assert told(town) == ["mo: finalized", "publisher: finalized", "publisher: signature_requested"]


def test_who_is_asked_may_decline(town):
    begin(town)
    assert declines(town, town.mo, "e-1") == "act_not_allowed"
    assert declines(town, town.publisher, "e-2") == "processed"
    assert status(town) == "declined"
    assert wait(town, HOUR_S) == 0


def test_silence_counts_after_the_wait_and_not_before(town):
    begin(town)
    due = town.contract(ContractId("c-1")).deem_at
    assert due == town.hub.now_s() + HOUR_S
    assert next_expiry_ms(town.hub) == UnixMillis((due + EXPIRY_GRACE_S) * 1000)
    town.clock.advance(HOUR_S - 1)
    assert expire_contracts(town.hub) == 0
    assert wait(town, 1) == 1
    assert (status(town), next_expiry_ms(town.hub)) == ("finalized", None)
    (act,) = town.contract(ContractId("c-1")).acts
    assert (act.name, act.actor) == (ActName.DEEM, "moneta_core")
    assert told(town) == ["mo: finalized", "publisher: finalized", "publisher: signature_requested"]
    assert wait(town, HOUR_S) == 0


def test_the_receipt_of_a_silence_names_the_deem_and_the_last_complete_step(town):
    begin(town)
    wait(town, HOUR_S)
    contract = town.contract(ContractId("c-1"))
    claims = statements.verify_receipt(
        contract.receipt, lambda _: town.hub.signer.current().public, issuer=town.hub.base_url
    )
    statement = statements.parse_act(contract.acts[0].compact)
    assert (claims["status"], claims["head"]) == ("finalized", statement.prev)
    assert claims["act_sha256"] is not None
    assert [line.event for line in contract.log][-1] == "contract_finalized"


def test_silence_finalizes_nothing_that_a_compromised_key_has_signed(town):
    begin(town)
    kid = town.mo.key.public.key_id
    change_key_status(town.hub, town.operator, MO, town.mo.organization_id, kid, {"status": "compromised"})
    assert wait(town, HOUR_S) == 1  # before the sweep for such keys has come to it
    assert status(town) == "declined"


def test_what_comes_after_the_silence_counts_is_too_late_though_nothing_is_committed(town):
    begin(town)
    town.clock.advance(HOUR_S)
    assert signs(town, town.publisher) == "contract_closed"
    assert declines(town, town.publisher) == "contract_closed"
    assert status(town) == "pending_publisher_signature"
    assert wait(town, 0) == 1


def test_a_signature_received_in_time_counts_though_it_is_processed_late(town):
    begin(town)
    signed = town.sign_next(town.publisher, town.contract(ContractId("c-1")))
    town.send(town.publisher, town.event(town.publisher, EventType.SIGN, "c-1", {"contract": signed}, "late"))
    assert wait(town, HOUR_S) == 0  # it waits for what was received before
    town.process()
    assert (status(town), view(town)["acts"]) == ("finalized", [])


def test_a_term_that_ends_with_the_silence_or_before_it_comes_first(town):
    begin(town, "test-term")
    assert town.contract(ContractId("c-1")).ends_at == town.hub.now_s() + HOUR_S
    assert wait(town, HOUR_S) == 1
    assert status(town) == "expired"


def test_a_silence_that_counts_before_the_term_is_over_comes_first(town):
    begin(town, "test-late")
    assert wait(town, HOUR_S) == 1
    assert status(town) == "finalized"


def test_of_several_who_are_asked_the_longest_wait_counts(town):
    begin_as_moneta(town, "test-two")
    assert status(town) == "pending_mo_and_publisher_signature"
    due = town.contract(ContractId("c-1")).deem_at
    assert due == town.hub.now_s() + 2 * HOUR_S
    assert wait(town, HOUR_S) == 0
    assert signs(town, town.mo) == "processed"
    assert (status(town), town.contract(ContractId("c-1")).deem_at) == ("pending_publisher_signature", due)
    assert wait(town, HOUR_S) == 1
    assert status(town) == "finalized"
    shown, me = view(town), client_of(town, town.mo)
    contract = verifier(town, me).contract({**shown["jws"]})
    end = verifier(town, me).end(contract, status="finalized", receipt=shown["receipt"], act=shown["acts"][0])
    assert end.actor is Role.MONETA


def test_both_may_sign_before_silence_has_to_count(town):
    begin_as_moneta(town, "test-two")
    assert signs(town, town.publisher, "e-1") == "processed"
    assert signs(town, town.mo, "e-2") == "processed"
    assert status(town) == "finalized"


def test_moneta_begins_and_the_organization_s_silence_counts(town):
    begin_as_moneta(town, "test-own")
    assert status(town) == "pending_org_signature"
    assert wait(town, HOUR_S) == 1
    assert status(town) == "finalized"


def test_who_is_named_under_notify_is_told_of_the_end_and_never_asked(town):
    assert begin(town, "test-told") == "processed"
    assert status(town) == "finalized"
    assert told(town) == ["mo: finalized", "publisher: finalized"]


# What others make of it, from the bytes alone.


def deemed(house, tmp_path, **changed):
    begin(house)
    wait(house, HOUR_S)
    file = tmp_path / "c.json"
    file.write_text(json.dumps({**view(house), **changed}), encoding="utf-8")
    return verify_file(file, hub_keys=frozenset({house.hub.signer.current().public.key_id}), trust=None)


def test_a_file_with_a_deem_is_verified_offline(town, tmp_path):
    report = deemed(town, tmp_path)
    assert (report.exit_code, report.status) == (0, "finalized"), report.to_text()
    assert "deem by moneta" in report.to_text()


def test_a_file_without_its_deem_is_broken(town, tmp_path):
    assert deemed(town, tmp_path, acts=[]).exit_code == 1


def pinned(house, *, acknowledge):
    yaml = house.hub.directory.template("test-ack", 1)
    order = ((Role.MO,), (Role.MONETA,)) if acknowledge else ((Role.MO,), (Role.MONETA,), (Role.PUBLISHER,))
    return KnownTemplate(name="test-ack", version=1, sha256=yaml.sha256, signing_order=order, acknowledge=acknowledge)


@pytest.mark.parametrize("is_pinned", [True, False])
def test_a_partner_verifies_a_deem(town, is_pinned):
    begin(town)
    wait(town, HOUR_S)
    shown, me = view(town), client_of(town, town.mo)
    known = [pinned(town, acknowledge=(Role.PUBLISHER,))] if is_pinned else []
    checks = Verifier(me, Keyring(lambda _: hub_keys(town), clock=town.hub.now_s), known)
    contract = checks.contract(shown["jws"])
    end = checks.end(contract, status="finalized", receipt=shown["receipt"], act=shown["acts"][0])
    assert (end.status, end.actor, end.reason_code) == ("finalized", Role.MONETA, "deemed_acknowledged")
    with pytest.raises(MessageRefusedError):
        checks.end(contract, status="finalized", receipt=shown["receipt"], act=None)


def test_a_partner_does_not_believe_a_deem_in_place_of_a_signature(town):
    begin(town)
    wait(town, HOUR_S)
    shown, me = view(town), client_of(town, town.mo)
    checks = Verifier(me, Keyring(lambda _: hub_keys(town), clock=town.hub.now_s), [pinned(town, acknowledge=())])
    contract = checks.contract(shown["jws"])
    with pytest.raises(MessageRefusedError, match="asks for a signature"):
        checks.end(contract, status="finalized", receipt=shown["receipt"], act=shown["acts"][0])


def hub_keys(house):
    key = house.hub.signer.current().public
    return {"keys": [{**key.jwk, "use": "sig"}]}
