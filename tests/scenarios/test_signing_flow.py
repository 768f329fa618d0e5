"""A contract's way, as tables of steps: who does what, what becomes of it, and what state it leads to."""

import pytest

from moneta.domain.contracts import Contract
from moneta.signing import jws, statements
from tests.scenarios.play import Play

SERIAL = "transaction-contract"
CHARGE = "charge-contract"
PARALLEL = "joint-campaign-agreement"
CAMPAIGN = {
    "campaign": {"title": "Autumn", "starts_on": "2026-12-01", "ends_on": "2026-12-31"},
    "budget": {"amount": "900.00", "currency": "EUR", "mo_share": "450.00", "publisher_share": "450.00"},
}
MEMBERS = {PARALLEL: {"mpass_id": None, "payload": CAMPAIGN}}
PENDING_PUBLISHER = "pending_publisher_signature"
PENDING_MO = "pending_mo_signature"

# fmt: off
FLOWS = {
    "mo starts, publisher completes": (SERIAL, [
        ("mo submits",          "processed",         PENDING_PUBLISHER),
        ("publisher signs",     "processed",         "finalized"),
    ]),
    "publisher starts, mo completes": (CHARGE, [
        ("publisher submits",   "processed",         PENDING_MO),
        ("mo signs",            "processed",         "finalized"),
    ]),
    "a step in parallel": (PARALLEL, [
        ("mo submits",          "processed",         PENDING_PUBLISHER),
        ("publisher signs",     "processed",         "finalized"),
    ]),
    "the counterparty declines": (SERIAL, [
        ("mo submits",          "processed",         PENDING_PUBLISHER),
        ("publisher declines",  "processed",         "declined"),
        ("publisher signs",     "contract_closed",   "declined"),
        ("mo cancels",          "contract_closed",   "declined"),
    ]),
    "declining twice is answered as before": (SERIAL, [
        ("mo submits",          "processed",         PENDING_PUBLISHER),
        ("publisher declines",  "processed",         "declined"),
        ("publisher declines",  "processed",         "declined"),
    ]),
    "the initiator cancels": (SERIAL, [
        ("mo submits",          "processed",         PENDING_PUBLISHER),
        ("mo cancels",          "processed",         "cancelled"),
        ("mo cancels",          "processed",         "cancelled"),
        ("publisher signs",     "contract_closed",   "cancelled"),
    ]),
    "who has signed can't decline, and only the initiator cancels": (SERIAL, [
        ("mo submits",          "processed",         PENDING_PUBLISHER),
        ("mo declines",         "act_not_allowed",   PENDING_PUBLISHER),
        ("publisher cancels",   "act_not_allowed",   PENDING_PUBLISHER),
        ("publisher signs",     "processed",         "finalized"),
        ("mo cancels",          "contract_closed",   "finalized"),
        ("publisher declines",  "contract_closed",   "finalized"),
    ]),
    "nobody starts out of turn": (SERIAL, [
        ("publisher submits",   "wrong_signer",      "none"),
        ("mo submits",          "processed",         PENDING_PUBLISHER),
        ("mo submits",          "contract_exists",   PENDING_PUBLISHER),
    ]),
}
EXPIRING = {
    "nobody answers": [
        ("mo submits",          "processed",         PENDING_PUBLISHER),
        ("time expires",        "nothing",           PENDING_PUBLISHER),
        ("time passes",         "processed",         PENDING_PUBLISHER),
        ("time expires",        "processed",         "expired"),
        ("publisher signs",     "contract_closed",   "expired"),
        ("time expires",        "nothing",           "expired"),
    ],
    "a signature after the term doesn't count, though the expiry is not committed": [
        ("mo submits",          "processed",         PENDING_PUBLISHER),
        ("time passes",         "processed",         PENDING_PUBLISHER),
        ("publisher signs",     "contract_closed",   PENDING_PUBLISHER),
        ("publisher declines",  "contract_closed",   PENDING_PUBLISHER),
        ("mo cancels",          "contract_closed",   PENDING_PUBLISHER),
        ("time expires",        "processed",         "expired"),
    ],
    "a first submission after the term makes no contract": [
        ("time passes",         "processed",         "none"),
        ("mo submits",          "contract_expired",  "none"),
        ("time expires",        "nothing",           "none"),
    ],
}
# fmt: on


def run(play, steps):
    seen = [(words, play.does(words), play.status) for words, _, _ in steps]
    assert seen == steps


@pytest.mark.parametrize("name", FLOWS)
def test_a_contract_goes_its_way(house, name):
    template, steps = FLOWS[name]
    run(Play(house, template, **MEMBERS.get(template, {})), steps)


@pytest.mark.parametrize("name", EXPIRING)
def test_a_contract_with_a_term_goes_its_way(house, name):
    run(Play(house, expires_at=house.hub.now_s() + 600), EXPIRING[name])


def test_the_template_s_term_counts_from_the_receipt(house):
    play = Play(house, PARALLEL, **MEMBERS[PARALLEL])
    play.does("mo submits")
    assert play.contract.expires_at == play.contract.received_at // 1000 + 14 * 86_400


# fmt: off
OWED = {
    "finalized":  (["mo submits", "publisher signs"],
                   ["mo: finalized", "publisher: finalized", "publisher: signature_requested"]),
    "declined":   (["mo submits", "publisher declines"],
                   ["mo: declined", "publisher: declined", "publisher: signature_requested"]),
    "cancelled":  (["mo submits", "mo cancels"],
                   ["mo: cancelled", "publisher: cancelled", "publisher: signature_requested"]),
    "rejected":   (["mo submits", "mo submits"],
                   ["mo: rejected", "publisher: signature_requested"]),
}
# fmt: on


@pytest.mark.parametrize("end", OWED)
def test_each_end_is_owed_to_whom_it_concerns(house, end):
    steps, owed = OWED[end]
    play = Play(house)
    for words in steps:
        play.does(words)
    assert play.owed() == owed


def test_the_signers_of_a_parallel_step_are_asked_once(house):
    play = Play(house, PARALLEL, **MEMBERS[PARALLEL])
    play.does("mo submits")
    assert play.owed() == ["publisher: signature_requested"]


def test_moneta_signs_what_it_judged_by(house):
    play = Play(house)
    play.does("mo submits")
    moneta = play.contract.signatures[1]
    header = jws.parse_entry(moneta.protected, moneta.signature, jws.CONTRACT_HEADER, what="moneta").header
    assert header.registry_seq == house.hub.directory.registry_position()
    assert header.received_at == play.contract.received_at // 1000
    assert header.template_sha256 == play.contract.template_sha256


@pytest.mark.parametrize("last", ["publisher signs", "publisher declines", "mo cancels"])
def test_every_end_has_a_receipt_by_moneta(house, last):
    play = Play(house)
    play.does("mo submits")
    play.does(last)
    contract: Contract = play.contract
    claims = statements.verify_receipt(
        contract.receipt, lambda _: house.hub.signer.current().public, issuer=house.hub.base_url
    )
    assert (claims["contract_id"], claims["status"]) == (contract.contract_id, play.status)
    assert (claims["act_sha256"] is None) == (not contract.acts)
    assert claims["finalized_at"] == contract.finalized_at


def test_the_event_log_tells_who_did_what(house):
    play = Play(house)
    play.does("mo submits")
    play.does("publisher signs")
    told = [(line.event, line.actor, line.revision) for line in play.contract.log]
    assert told == [
        ("contract_created", play.mo.organization_id, 1),
        ("contract_signed", "moneta_core", 1),
        ("contract_signed", play.publisher.organization_id, 2),
        ("contract_finalized", "moneta_core", 2),
    ]
