"""The tables of guards and effects: every name of the closed lists has its row, and nothing has one that is no name."""

from dataclasses import replace

import pytest

from moneta.application.effects import EFFECTS, PHASE_OF_END, as_one_change
from moneta.application.guards import GUARDS
from moneta.application.ports import DirectoryChange
from moneta.domain.contracts import EndStatus
from moneta.domain.template_verbs import EFFECT_NEEDS, GUARD_FIELDS
from moneta.domain.templates import Effect, EffectPhase, Guard
from tests.conformance.builders import mpass, organization, registered_key


@pytest.mark.parametrize(
    ("names", "rows"),
    [(Guard, GUARDS), (Guard, GUARD_FIELDS), (Effect, EFFECTS), (Effect, EFFECT_NEEDS), (EndStatus, PHASE_OF_END)],
    ids=["guards", "guards' fields", "effects", "effects' needs", "ends"],
)
def test_every_name_has_a_row(names, rows):
    assert set(rows) == set(names)


def test_only_what_cannot_refuse_may_stand_where_a_contract_ends_anyway():
    ending = {EffectPhase.ON_DECLINED, EffectPhase.ON_EXPIRED}
    assert [verb for verb, needs in EFFECT_NEEDS.items() if needs.phases & ending] == []


def test_what_several_verbs_do_is_one_change():
    first = DirectoryChange(organization=organization(), mpasses=(mpass("mpass-1"),))
    second = DirectoryChange(keys=(registered_key(),), mpasses=(mpass("mpass-2"),))
    assert as_one_change([first, second]) == replace(
        first, keys=(registered_key(),), mpasses=(mpass("mpass-1"), mpass("mpass-2"))
    )
    with pytest.raises(ValueError, match="two verbs put an organization"):
        as_one_change([first, first])
