"""A state table is asked by name, and refuses what it has no row for. Every table of the hub is walked whole here."""

from itertools import product

import pytest

from moneta.domain.errors import TransitionRefusedError
from moneta.domain.lifecycle import lifecycle
from moneta.domain.organizations import ORGANIZATION_LIFECYCLE, OrganizationActor, OrganizationEvent, OrganizationStatus
from moneta.domain.pending_changes import CHANGE_LIFECYCLE, ChangeActor, ChangeEvent, ChangeState
from moneta.domain.templates import TEMPLATE_LIFECYCLE, TemplateActor, TemplateStatus

ANN, BOB = frozenset({"ann"}), frozenset({"bob"})
DOOR = lifecycle(
    "door",
    "shut",
    (
        ("shut", "open", "ajar", ANN | BOB),
        ("ajar", "shut", "shut", ANN),
        ("ajar", "burn", "gone", BOB),
    ),
)


def test_an_event_leads_to_the_state_of_its_row():
    assert DOOR.follow("shut", "open", by="bob") == "ajar"


@pytest.mark.parametrize(
    ("state", "event", "actor", "allowed"),
    [
        ("shut", "burn", "ann", ["open"]),
        ("ajar", "burn", "ann", ["shut"]),
        ("ajar", "shut", "bob", ["burn"]),
        ("gone", "open", "ann", []),
        ("shut", "open", "eve", []),
        ("nowhere", "open", "ann", []),
    ],
)
def test_without_a_row_for_the_event_and_its_actor_there_is_no_way(state, event, actor, allowed):
    with pytest.raises(TransitionRefusedError) as refused:
        DOOR.follow(state, event, by=actor)
    assert refused.value.facts == {"state": state, "allowed": allowed}


def test_the_states_are_the_initial_one_and_those_that_rows_name():
    assert DOOR.states() == ["shut", "ajar", "gone"]


def test_two_arrows_for_one_event_are_refused_when_the_table_is_made():
    with pytest.raises(ValueError, match="more than one arrow"):
        lifecycle("door", "shut", (("shut", "open", "ajar", ANN), ("shut", "open", "gone", BOB)))


TABLES = [
    pytest.param(ORGANIZATION_LIFECYCLE, OrganizationStatus, OrganizationEvent, OrganizationActor, id="organization"),
    pytest.param(CHANGE_LIFECYCLE, ChangeState, ChangeEvent, ChangeActor, id="change"),
    pytest.param(TEMPLATE_LIFECYCLE, TemplateStatus, TemplateStatus, TemplateActor, id="template"),
]
FINAL = {
    "organization": {OrganizationStatus.DESTROYED},
    "template": set(),
    "change": set(ChangeState) - {ChangeState.AWAITING},
}


@pytest.mark.parametrize(("table", "states", "events", "actors"), TABLES)
def test_every_state_is_in_the_table_and_can_be_reached(table, states, events, actors):
    reached = {table.initial}
    while grown := {target for source, _, target, _ in table.rows if source in reached} - reached:
        reached |= grown
    assert reached == set(table.states()) == set(states)


@pytest.mark.parametrize(("table", "states", "events", "actors"), TABLES)
def test_final_states_and_no_others_have_no_way_out(table, states, events, actors):
    assert {state for state in states if not any(row[0] == state for row in table.rows)} == FINAL[table.name]


@pytest.mark.parametrize(("table", "states", "events", "actors"), TABLES)
def test_every_pair_of_state_and_event_is_a_row_or_is_refused(table, states, events, actors):
    rows = {(source, event): (target, by) for source, event, target, by in table.rows}
    for state, event, actor in product(states, events, actors):
        target, by = rows.get((state, event), (None, frozenset()))
        if actor in by:
            assert table.follow(state, event, by=actor) is target
        else:
            with pytest.raises(TransitionRefusedError):
                table.follow(state, event, by=actor)
