"""The graph of a template's states, held against what the hub derives of a contract, and what is proven over it."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.contracts import Contract, Signature, check_may_cancel, check_may_decline, status_of
from moneta.domain.errors import ActNotAllowedError
from moneta.domain.template_graphs import ENDS, FINALIZED, state_graph
from moneta.domain.template_proofs import order_faults
from moneta.domain.templates import Role

MO, PUBLISHER, MONETA, ORG, ORG_NEW_KEY = Role
PARTIES = ((MO,), (PUBLISHER,), (ORG, ORG_NEW_KEY))
"""An organization may sign with its old key and with its new one, and is one party."""
ORDERS = (
    ((MO,), (MONETA,), (PUBLISHER,)),
    ((PUBLISHER,), (MONETA, MO)),
    ((MO,), (PUBLISHER,), (MONETA,)),
    ((MO,), (PUBLISHER, MONETA)),
    ((MO,), (MONETA,)),
    ((ORG,), (ORG_NEW_KEY,), (MONETA,)),
    ((ORG,), (MONETA,), (ORG_NEW_KEY,), (PUBLISHER,)),
    ((MONETA,), (ORG,)),
)


def contract(order, signed):
    signatures = tuple(
        Signature(role=role, key_id="k", algorithm="ES256", issued_at=1, protected="", signature="") for role in signed
    )
    body = f'{{"contract_id":"c","template_id":"t","version":1,"created_at":1,"payload":{{"n":{len(signed)}}}}}'
    return Contract(
        body_bytes=body.encode(),
        signing_order=order,
        template_sha256="",
        received_at=0,
        expires_at=None,
        signatures=signatures,
    )


def is_allowed(check, held, role):
    try:
        check(held, role)
    except ActNotAllowedError:
        return False
    return True


def followed(order):
    """Give each contract that signing one by one leads to."""
    for signers in permutations([role for step in order for role in step]):
        signed = ()
        for role in signers:
            step = next(step for step in order if not set(step) <= set(signed))
            if role not in step:
                break
            signed = (*signed, role)
            yield contract(order, signed)


@pytest.mark.parametrize("order", ORDERS)
def test_the_states_are_those_that_a_contract_comes_to(order):
    graph = state_graph(order)
    assert {status_of(one) for one in followed(order)} == set(graph.states) - (ENDS - {FINALIZED})


@pytest.mark.parametrize("order", ORDERS)
def test_a_party_can_end_a_contract_exactly_where_the_graph_says(order):
    graph = state_graph(order)
    for held in followed(order):
        state = status_of(held)
        for roles in PARTIES:
            ways = {arrow.event for arrow in graph.arrows if arrow.source == state and arrow.by in roles}
            if state == FINALIZED:
                assert not ways
                continue
            assert is_allowed(check_may_decline, held, roles) == ("declines" in ways)
            assert is_allowed(check_may_cancel, held, roles) == ("cancels" in ways)


@pytest.mark.parametrize("order", ORDERS)
def test_ends_have_no_way_out_and_everything_else_has(order):
    graph = state_graph(order)
    sources = {arrow.source for arrow in graph.arrows}
    assert sources == set(graph.states) - ENDS
    assert graph.leading_to(FINALIZED, events={"signs"}) >= sources
    assert not list(order_faults(order, {role for step in order for role in step}))


@pytest.mark.parametrize(
    ("order", "acknowledging"),
    [(((MONETA,),), (ORG,)), (((MO,), (MONETA,)), (PUBLISHER,)), (((MO,), (MONETA,)), (PUBLISHER, ORG))],
)
def test_who_acknowledges_is_waited_for_after_the_order(order, acknowledging):
    graph = state_graph(order, acknowledging=acknowledging)
    assert {status_of(one) for one in followed((*order, acknowledging))} == set(graph.states) - (ENDS - {FINALIZED})


def test_silence_after_the_order_counts_only_where_the_template_lets_it():
    graph = state_graph(((MONETA,),), acknowledging=(PUBLISHER,))
    assert (graph.initial, graph.states[0]) == ("pending_publisher_signature",) * 2
    assert {(arrow.event, arrow.by, arrow.target) for arrow in graph.arrows} == {
        ("signs", PUBLISHER, "finalized"),
        ("declines", PUBLISHER, "declined"),
        ("deems", MONETA, "finalized"),
        ("expires", MONETA, "expired"),
    }
    assert state_graph(((MONETA,),)).states == (FINALIZED,)


def test_a_role_without_a_key_leaves_states_that_nothing_finalizes_and_steps_that_nobody_comes_to():
    order = ((MO,), (PUBLISHER,), (MONETA,))
    assert list(order_faults(order, {MO, PUBLISHER, MONETA}, unable={PUBLISHER})) == [
        ((2,), "no contract ever waits for this step: nobody in it has anything left to sign, or can be reached"),
        ((), "nothing finalizes a contract that has come to pending_publisher_signature"),
    ]
    acknowledged = order_faults(((MO,), (MONETA,)), {MO, MONETA}, acknowledging=(PUBLISHER,), unable={PUBLISHER})
    assert not list(acknowledged)  # silence counts, whatever it comes from


@given(st.lists(st.lists(st.sampled_from(list(Role)), min_size=1, max_size=3), min_size=1, max_size=4))
def test_whatever_the_order_a_graph_is_found_and_an_order_without_faults_waits_for_every_step(steps):
    order = ((steps[0][0],), *(tuple(step) for step in steps[1:]))
    graph = state_graph(order)
    roles = [role for step in order for role in step]
    faults = list(order_faults(order, set(roles)))
    assert graph.states[0] == graph.initial
    assert {arrow.source for arrow in graph.arrows} | {arrow.target for arrow in graph.arrows} <= set(graph.states)
    if not faults:
        assert len(roles) == len(set(roles))
        assert graph.steps_waited_for == set(range(len(order)))
        full = replace(contract(order, tuple(roles)), acts=())
        assert status_of(full) == FINALIZED
