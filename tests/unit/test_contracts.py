import json
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.contract_body import MEMBERS, REQUIRED_MEMBERS, find_field, parse_body
from moneta.domain.contracts import (
    END_OF_ACT,
    Act,
    ActName,
    Contract,
    EndStatus,
    LogLine,
    Signature,
    Start,
    Step,
    assemble,
    check_may_cancel,
    check_may_decline,
    complete_steps,
    effective_expiry,
    end_of,
    next_signers,
    signatures_by_step,
    status_of,
)
from moneta.domain.errors import (
    ActNotAllowedError,
    AmbiguousFieldError,
    InvalidFieldError,
    MalformedJSONError,
    MissingFieldError,
    UnknownFieldError,
)
from moneta.domain.ijson import NumberText, parse_object
from moneta.domain.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX
from moneta.domain.templates import Role
from tests import signing_examples as examples

MO, PUBLISHER, MONETA = Role.MO, Role.PUBLISHER, Role.MONETA
SERIAL, PARALLEL = examples.SERIAL, examples.PARALLEL
BODY = parse_body(examples.BODY)


def signature(role):
    return Signature(
        role=role, key_id="kid", algorithm="ES256", issued_at=1, protected=f"p-{role}", signature=f"s-{role}"
    )


def act(name, actor="mo-1"):
    return Act(name=name, actor=actor, compact=f"{name}.a.b")


def contract(order=SERIAL, signed=(), acts=(), **members):
    return Contract(
        **{
            "known_body": BODY,
            "body_bytes": examples.BODY,
            "signing_order": order,
            "template_sha256": "t",
            "received_at": 1_000,
            "expires_at": None,
            "signatures": tuple(map(signature, signed)),
            "acts": tuple(map(act, acts)),
            **members,
        }
    )


# The body.


def body_with(**changes):
    """Return the bytes of a good body with ``changes``; a member set to ``...`` is left out."""
    members = {name: value for name, value in {**examples.MEMBERS, **changes}.items() if value is not ...}
    return json.dumps(members).encode()


def test_a_body_is_read():
    assert BODY.contract_id == "contract_12345"
    assert BODY.payload == {"transaction": {"amount": "100.00", "currency": "USD"}}
    assert (BODY.mo_id, BODY.publisher_id, BODY.mpass_id) == ("mo-1", "publisher-1", "mpass-1")
    assert (BODY.description, BODY.expires_at, BODY.nonce) == (None, None, None)


def test_an_amount_that_is_a_number_keeps_its_digits():
    raw = body_with().replace(b'"100.00"', b"100.00")
    assert parse_body(raw).payload["transaction"]["amount"] == NumberText("100.00")


IDENTIFIERS = ("contract_id", "template_id", "mo_id", "publisher_id", "mpass_id")
WRONG_IDENTIFIERS = (1, True, [], {}, "", ".", "..", "a b", "a\n", "a" * 129, "é")
WRONG_NUMBERS = ("1", True, False, 1.5, 1.0, -1, [], {})

# fmt: off
WRONG_VALUES = {
    **dict.fromkeys((*IDENTIFIERS, "org_id", "supersedes"), WRONG_IDENTIFIERS),
    "version":     (*WRONG_NUMBERS, 0),
    "created_at":  WRONG_NUMBERS,
    "expires_at":  (*WRONG_NUMBERS, None),
    "payload":     ("{}", 1, True, []),
    "description": (1, None, True, [], {}),
    "nonce":       (1, None, "", "A" * 21, "A" * 25, "A" * 20 + "/A", "A" * 22 + "==", "A" * 22 + "\n", "A" * 21 + "B"),
}
RIGHT_VALUES = {
    **dict.fromkeys(IDENTIFIERS, ("a", "...", "A" * 128, "a:b~c._-9")),
    "org_id":      ("mo-1", "publisher-1"),
    "supersedes":  ("a", "A" * 128),
    "version":     (1, 2, JSON_INTEGER_MAX),
    "created_at":  (0, 1, JSON_INTEGER_MAX),
    "expires_at":  (0, 1, JSON_INTEGER_MAX),
    "payload":     ({}, {"a": None}),
    "description": ("", "x" * 5_000, "\U0001f600", "\0\n"),
    "nonce":       ("A" * 22, "-_" * 10 + "AQ", "A" * 23, "A" * 24, "A" * 43, "A" * 400),
}
# fmt: on


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG_VALUES.items() for value in values]
)
def test_a_member_of_another_form_is_refused_by_name(name, value):
    with pytest.raises(InvalidFieldError) as refusal:
        parse_body(body_with(**{name: value}))
    assert refusal.value.facts == {"field": name}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in RIGHT_VALUES.items() for value in values]
)
def test_a_member_of_its_form_is_read(name, value):
    assert getattr(parse_body(body_with(**{name: value})), name) == value


def test_every_member_has_cases():
    assert set(WRONG_VALUES) == set(RIGHT_VALUES) == set(MEMBERS)


@pytest.mark.parametrize("value", [None, ...], ids=["null", "absent"])
@pytest.mark.parametrize("name", REQUIRED_MEMBERS)
def test_a_required_member_is_there_and_not_null(name, value):
    with pytest.raises(MissingFieldError) as refusal:
        parse_body(body_with(**{name: value}))
    assert refusal.value.facts == {"field": name}


@pytest.mark.parametrize("name", ["mo_id", "publisher_id", "org_id", "mpass_id", "supersedes"])
def test_an_identifier_may_be_absent_but_not_null(name):
    assert getattr(parse_body(body_with(**{name: ...})), name) is None
    with pytest.raises(InvalidFieldError):
        parse_body(body_with(**{name: None}))


@pytest.mark.parametrize("name", ["status", "Contract_id", "contract_id ", "", "__proto__", "signatures", "x" * 200])
def test_an_unknown_member_is_refused(name):
    with pytest.raises(UnknownFieldError) as refusal:
        parse_body(body_with(**{name: 1}))
    assert refusal.value.facts == {"field": name[:64]}


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{", b'{"contract_id": "a", "contract_id": "a"}'])
def test_a_body_is_an_i_json_object(raw):
    with pytest.raises(MalformedJSONError, match="contract body"):
        parse_body(raw)


def test_the_payload_shares_the_bodys_depth():
    fits, too_deep = ("[" * depth + "]" * depth for depth in (JSON_DEPTH_MAX - 2, JSON_DEPTH_MAX - 1))
    assert parse_body(body_with(payload={"a": 0}).replace(b'{"a": 0}', f'{{"a": {fits}}}'.encode()))
    with pytest.raises(MalformedJSONError, match="nested deeper"):
        parse_body(body_with(payload={"a": 0}).replace(b'{"a": 0}', f'{{"a": {too_deep}}}'.encode()))


@pytest.mark.parametrize(
    ("organization", "roles"), [("mo-1", (MO,)), ("publisher-1", (PUBLISHER,)), ("moneta_core", ()), ("other", ())]
)
def test_the_body_says_who_plays_which_role(organization, roles):
    assert BODY.roles_of(organization) == roles


def test_an_organization_may_have_more_than_one_role():
    body = replace(BODY, org_id="mo-1")
    assert body.roles_of("mo-1") == (MO, Role.ORG, Role.ORG_NEW_KEY)
    assert body.party(Role.ORG) == body.party(Role.ORG_NEW_KEY) == "mo-1"
    assert body.parties() == ("mo-1", "publisher-1")


def test_a_body_names_two_organizations_at_most():
    assert parse_body(body_with(org_id="publisher-1")).org_id == "publisher-1"
    with pytest.raises(InvalidFieldError) as refusal:
        parse_body(body_with(org_id="org-1"))
    assert refusal.value.facts == {"field": "org_id"}


def test_the_body_names_its_parties_the_mo_first():
    assert BODY.parties() == ("mo-1", "publisher-1")
    assert (BODY.party(MO), BODY.party(PUBLISHER), BODY.party(MONETA)) == ("mo-1", "publisher-1", None)
    assert replace(BODY, mo_id=None).parties() == ("publisher-1",)
    assert replace(BODY, mo_id=None, publisher_id=None).parties() == ()


# A template's required fields.

PAYLOAD = {
    "amount": "1",
    "note": None,
    "flag": False,
    "nought": 0,
    "empty": "",
    "list": [{"hidden": 1}],
    "transaction": {"currency": "USD", "deep": {"deeper": 2}, "twice": 1, "a.b": 5, "half": None},
    "other": {"twice": 2, "mo_id": 3, "half": 4},
}

# fmt: off
FOUND = {
    "contract_id":              "contract_12345",
    "version":                  1,
    "payload":                  PAYLOAD,
    "amount":                   "1",
    "flag":                     False,
    "nought":                   0,
    "empty":                    "",
    "currency":                 "USD",
    "transaction.currency":     "USD",
    "transaction.twice":        1,
    "other.twice":              2,
    "other.half":               4,
    "other.mo_id":              3,
    "transaction.deep.deeper":  2,
}
NOT_FOUND = {
    "nonce":                    MissingFieldError,
    "note":                     MissingFieldError,
    "deeper":                   MissingFieldError,
    "hidden":                   MissingFieldError,
    "transaction.missing":      MissingFieldError,
    "missing.currency":         MissingFieldError,
    "amount.currency":          MissingFieldError,
    "list.hidden":              MissingFieldError,
    "transaction.a.b":          MissingFieldError,
    "transaction.":             MissingFieldError,
    ".amount":                  MissingFieldError,
    "payload.amount":           MissingFieldError,
    "transaction.half":         MissingFieldError,
    "twice":                    AmbiguousFieldError,
    "mo_id":                    AmbiguousFieldError,
    "half":                     AmbiguousFieldError,
}
# fmt: on


@pytest.mark.parametrize("name", FOUND)
def test_a_required_field_is_found_where_it_stands(name):
    members = parse_object(body_with(payload=PAYLOAD), what="test")
    assert find_field(members, name) == FOUND[name]


@pytest.mark.parametrize("name", NOT_FOUND)
def test_a_required_field_that_is_missing_null_or_doubled_is_refused_by_name(name):
    members = parse_object(body_with(payload=PAYLOAD), what="test")
    with pytest.raises(NOT_FOUND[name]) as refusal:
        find_field(members, name)
    assert refusal.value.facts == {"field": name}


def test_a_payload_that_is_no_object_holds_no_field():
    with pytest.raises(MissingFieldError):
        find_field({"payload": "text"}, "amount")


# The state.


def orders():
    """Return every signing order over the three roles: the first step one role, then any grouping."""
    serial = [tuple((role,) for role in some) for size in (1, 2, 3) for some in permutations(Role, size)]
    parallel = [((first,), rest) for first, *rest in permutations(Role, 3) for rest in [tuple(rest)]]
    return serial + parallel


def ways_to_sign(order):
    """Return every order in which the roles can sign."""
    ways = [()]
    for step in order:
        ways = [way + more for way in ways for more in permutations(step)]
    return ways


ORDERS = orders()


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_signing_leads_from_the_initiator_to_the_end_and_never_out_of_turn(order):
    for way in ways_to_sign(order):
        for count in range(len(way)):
            now = contract(order, way[:count])
            awaited = next_signers(now)
            step = order[complete_steps(order, way[:count])]
            assert awaited == tuple(role for role in step if role not in way[:count])
            assert way[count] in awaited
            assert end_of(now) is None
            assert status_of(now) == "pending_" + "_and_".join(awaited) + "_signature"
        done = contract(order, way)
        assert (next_signers(done), end_of(done), status_of(done)) == ((), EndStatus.FINALIZED, "finalized")


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("name", ActName)
def test_an_act_ends_a_contract_from_any_state_and_there_is_no_way_out(order, name):
    for way in ways_to_sign(order):
        for count in range(1, len(way) + 1):
            ended = contract(order, way[:count], [name])
            assert next_signers(ended) == ()
            assert end_of(ended) is END_OF_ACT[name]
            assert status_of(ended) == END_OF_ACT[name]


def test_the_first_act_decides():
    assert end_of(contract(acts=[ActName.CANCEL, ActName.DECLINE])) is EndStatus.CANCELLED


def test_every_act_leads_to_its_own_end():
    assert set(END_OF_ACT) == set(ActName)
    assert {*END_OF_ACT.values(), EndStatus.FINALIZED} == set(EndStatus)


STATUSES = {
    "serial, nobody yet": (SERIAL, (), "pending_mo_signature"),
    "serial, the first": (SERIAL, (MO,), "pending_moneta_signature"),
    "serial, the second": (SERIAL, (MO, MONETA), "pending_publisher_signature"),
    "parallel, both missing": (PARALLEL, (MO,), "pending_moneta_and_publisher_signature"),
    "parallel, the first there": (PARALLEL, (MO, MONETA), "pending_publisher_signature"),
    "parallel, the second there": (PARALLEL, (MO, PUBLISHER), "pending_moneta_signature"),
    "parallel, listed the other way": (((MO,), (PUBLISHER, MONETA)), (MO,), "pending_publisher_and_moneta_signature"),
}


@pytest.mark.parametrize("case", STATUSES)
def test_a_pending_state_names_the_roles_still_missing_in_template_order(case):
    order, signed, status = STATUSES[case]
    assert status_of(contract(order, signed)) == status


@given(st.sampled_from(ORDERS), st.lists(st.sampled_from(Role), max_size=8))
def test_signatures_stay_a_prefix_of_the_order(order, moves):
    signed = ()
    for role in moves:
        if role in next_signers(contract(order, signed)):
            signed = (*signed, role)
    done = complete_steps(order, signed)
    flat = [role for step in order[:done] for role in step]
    assert set(signed[: len(flat)]) == set(flat)
    assert all(role in order[done] for role in signed[len(flat) :])
    assert len(set(signed)) == len(signed)


def test_signatures_are_told_apart_by_complete_step():
    roles = [
        [[one.role for one in step] for step in signatures_by_step(contract(PARALLEL, signed))]
        for signed in [(), (MO,), (MO, PUBLISHER), (MO, PUBLISHER, MONETA)]
    ]
    assert roles == [[], [[MO]], [[MO]], [[MO], [PUBLISHER, MONETA]]]


# Who may end it.

ORG, ORG_NEW_KEY = Role.ORG, Role.ORG_NEW_KEY
ROTATION = ((ORG,), (ORG_NEW_KEY,), (MONETA,))

# fmt: off
MAY = {
    # order     signed                       declines               cancels
    "first":    (SERIAL,   (),                        (MO, MONETA, PUBLISHER),  (MO,)),
    "second":   (SERIAL,   (MO,),                     (MONETA, PUBLISHER),      (MO,)),
    "third":    (SERIAL,   (MO, MONETA),              (PUBLISHER,),             (MO,)),
    "whole":    (SERIAL,   (MO, MONETA, PUBLISHER),   (),                       ()),
    "parallel": (PARALLEL, (MO,),                     (MONETA, PUBLISHER),      (MO,)),
    "hub":      (PARALLEL, (MO, MONETA),              (PUBLISHER,),             (MO,)),
    "party":    (PARALLEL, (MO, PUBLISHER),           (MONETA,),                ()),
    "two":      (((MO,), (MONETA,)), (MO,),           (MONETA,),                (MO,)),
    "moneta":   (((MONETA,), (PUBLISHER,)), (MONETA,), (PUBLISHER,),            (MONETA,)),
    "old key":  (ROTATION, (ORG, ORG_NEW_KEY),        (MONETA,),                (ORG,)),
    "other":    (((PUBLISHER,), (MONETA,), (MO,)), (PUBLISHER, MONETA), (MO,),  (PUBLISHER,)),
}
# fmt: on


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("case", MAY)
def test_a_party_whose_signature_is_missing_may_decline(case, role):
    order, signed, declines, _ = MAY[case]
    if role in declines:
        check_may_decline(contract(order, signed), (role,))
    else:
        with pytest.raises(ActNotAllowedError) as refusal:
            check_may_decline(contract(order, signed), (role,))
        assert refusal.value.facts == {"roles": [role]}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("case", MAY)
def test_the_initiator_may_cancel_while_no_other_party_signed(case, role):
    order, signed, _, cancels = MAY[case]
    if role in cancels:
        check_may_cancel(contract(order, signed), (role,))
    else:
        with pytest.raises(ActNotAllowedError) as refusal:
            check_may_cancel(contract(order, signed), (role,))
        assert refusal.value.facts == {"roles": [role]}


# Its term.


@pytest.mark.parametrize(
    ("body_term", "template_term", "expected"),
    [
        (None, None, None),
        (5_000, None, 5_000),
        (None, 60, 1_060),
        (1_059, 60, 1_059),
        (1_061, 60, 1_060),
        (0, 60, 0),
        (None, 0, 1_000),
    ],
)
def test_the_earlier_term_counts(body_term, template_term, expected):
    body = replace(BODY, expires_at=body_term)
    assert effective_expiry(body, expires_in_s=template_term, received_at=1_000_999) == expected


@pytest.mark.parametrize(("moment", "is_late"), [(0, False), (9_999, False), (10_000, True), (10_001, True)])
def test_what_comes_at_the_term_comes_too_late(moment, is_late):
    assert contract(expires_at=10).is_over_at(moment) is is_late
    assert not contract(expires_at=None).is_over_at(moment)


# Assembly from steps.


def steps(order=PARALLEL):
    """Return the steps of a contract that is finalized in three commits."""
    start = Start(body_bytes=examples.BODY, signing_order=order, template_sha256="t", received_at=9, expires_at=99)
    signed = [(MO, MONETA), (PUBLISHER,)]
    made = [
        Step(
            revision=number,
            committed_at=number * 10,
            leaf=b"leaf",
            signatures=tuple(map(signature, roles)),
            log=(LogLine(event="contract_signed", timestamp=number, actor="mo-1", revision=number),),
            start=start if number == 1 else None,
        )
        for number, roles in enumerate(signed, start=1)
    ]
    return [made[0], replace(made[1], receipt="r.e.c", finalized_at=20)]


def test_a_contract_is_what_its_steps_add_up_to():
    whole = assemble(steps())
    assert whole.contract_id == "contract_12345"
    assert whole.signed_roles == (MO, MONETA, PUBLISHER)
    assert (whole.receipt, whole.finalized_at, whole.revision) == ("r.e.c", 20, 2)
    assert [line.revision for line in whole.log] == [1, 2]
    assert (whole.body, whole.body_bytes, whole.expires_at, whole.received_at) == (BODY, examples.BODY, 99, 9)
    assert status_of(whole) == "finalized"


def test_a_prefix_of_the_steps_is_the_contract_as_it_was():
    early = assemble(steps()[:1])
    assert (early.receipt, early.finalized_at, early.revision) == (None, None, 1)
    assert early.signed_roles == (MO, MONETA)
    assert status_of(early) == "pending_publisher_signature"


def test_an_act_is_added_by_its_step():
    first = steps()[0]
    ended = Step(revision=2, committed_at=20, leaf=b"", acts=(act(ActName.DECLINE),), receipt="r.e.c", finalized_at=20)
    assert status_of(assemble([first, ended])) == "declined"


@pytest.mark.parametrize(
    "broken",
    [
        lambda made: made[1:],
        lambda made: made[::-1],
        lambda made: [made[0], made[0]],
        lambda made: [made[0], replace(made[1], revision=3)],
        lambda made: [replace(made[0], start=None), made[1]],
        lambda made: [replace(made[0], revision=0), replace(made[1], revision=1)],
        lambda made: [made[0], replace(made[1], start=made[0].start)],
        lambda _: [],
    ],
    ids=["headless", "reversed", "doubled", "a gap", "no start", "from nought", "two starts", "none"],
)
def test_steps_that_make_no_contract_are_a_bug(broken):
    with pytest.raises(ValueError, match="a contract's steps"):
        assemble(broken(steps()))
