"""What a contract does to the directory: each verb of a template's ``effects`` is one function here.

A verb is computed where the step is made that it belongs to, and what it gives is written with that step, or neither
is (``Change.directory``). It reads what it needs afresh, since a change that turns out to be made from something stale
is judged anew. One that can't be done refuses: a first submission is refused for it; on a later turn of Moneta's,
Moneta declines; and a party's signature that would complete the contract is refused, and may be tried again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from moneta.application.effect_context import EffectContext
from moneta.application.mpass_changes import change_mpass, change_mpass_as_admin
from moneta.application.mpass_effects import issue_mpass, issue_mpasses
from moneta.application.organization_effects import (
    activate_organization,
    destroy_organization,
    rotate_key,
    suspend_organization,
)
from moneta.application.ports import DirectoryChange, Hub
from moneta.domain.contracts import Contract, EndStatus, end_of
from moneta.domain.identifiers import RegistrySeq, UnixMillis
from moneta.domain.templates import Effect, EffectPhase, Role, Template

DirectoryPart = DirectoryChange
"""What one verb does: a change without a record, since the contract's leaf is the record."""

# fmt: off
EFFECTS: Final[Mapping[Effect, Callable[[EffectContext], DirectoryPart]]] = {
    Effect.ISSUE_MPASS:            issue_mpass,
    Effect.ISSUE_MPASSES:          issue_mpasses,
    Effect.CHANGE_MPASS:           change_mpass,
    Effect.CHANGE_MPASS_AS_ADMIN:  change_mpass_as_admin,
    Effect.ACTIVATE_ORGANIZATION:  activate_organization,
    Effect.SUSPEND_ORGANIZATION:   suspend_organization,
    Effect.DESTROY_ORGANIZATION:   destroy_organization,
    Effect.ROTATE_KEY:             rotate_key,
}

PHASE_OF_END: Final[Mapping[EndStatus, EffectPhase]] = {
    EndStatus.FINALIZED:  EffectPhase.ON_FINALIZED,
    EndStatus.DECLINED:   EffectPhase.ON_DECLINED,
    EndStatus.CANCELLED:  EffectPhase.ON_DECLINED,
    EndStatus.EXPIRED:    EffectPhase.ON_EXPIRED,
}
# fmt: on


def directory_change(
    hub: Hub,
    before: Contract | None,
    after: Contract,
    template: Template,
    *,
    now: UnixMillis,
    registry_seq: RegistrySeq,
) -> DirectoryChange | None:
    """Return what the step from ``before`` to ``after`` does to the directory; None if it does nothing.

    Raises:
        Refused: A verb can't be done, and why.
    """
    if not template.effects:
        return None
    context = EffectContext(hub=hub, contract=after, now=now, registry_seq=registry_seq)
    phases = _phases_between(before, after)
    parts = [EFFECTS[verb](context) for phase in phases for verb in template.effects.get(phase, ())]
    return as_one_change(parts) if parts else None


def _phases_between(before: Contract | None, after: Contract) -> Sequence[EffectPhase]:
    had_signed = before is not None and Role.MONETA in before.signed_roles
    phases = [EffectPhase.ON_RESERVE] if Role.MONETA in after.signed_roles and not had_signed else []
    end = end_of(after)
    return phases if end is None else [*phases, PHASE_OF_END[end]]


def as_one_change(parts: Sequence[DirectoryPart]) -> DirectoryChange:
    """Return what the verbs of one step do as one change. Raises ValueError if two of them put an organization."""
    organizations = [part.organization for part in parts if part.organization is not None]
    if len(organizations) > 1:
        raise ValueError(f"two verbs put an organization: {organizations[0].organization_id}")
    return DirectoryChange(
        organization=organizations[0] if organizations else None,
        keys=tuple(key for part in parts for key in part.keys),
        mpasses=tuple(mpass for part in parts for mpass in part.mpasses),
    )
