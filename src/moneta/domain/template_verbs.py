"""The closed lists that a template names: what is checked before Moneta signs, and what a step does to the directory.

A name is no more than a name here; what stands behind it is a row of ``application.guards`` or ``application.effects``.
What each needs of its template is a row below, so that a template which could never do what it says is found by the
lint, with the line:

1. Fields that the verb reads must be required.
2. Whose will a verb carries out must have signed by then: nobody may issue in another's name by naming it.
3. A verb that can refuse has no place where a contract ends anyway.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from moneta.domain.ijson import Value
from moneta.domain.template_problems import Findings, shown
from moneta.domain.templates import Effect, EffectPhase, Guard, Role, SigningOrder, Template

DEFAULT_GUARDS: Final = frozenset({Guard.ORGANIZATIONS_ACTIVE, Guard.ORGANIZATIONS_AGREE})
"""A policy that a template could forget to ask would be none, so what names no guards asks the parties' as well."""
ON_RESERVE, ON_FINALIZED = EffectPhase.ON_RESERVE, EffectPhase.ON_FINALIZED
AT_END, EITHER = frozenset({ON_FINALIZED}), frozenset({ON_RESERVE, ON_FINALIZED})
MO, M, ORG, NEW = Role.MO, Role.MONETA, Role.ORG, Role.ORG_NEW_KEY


@dataclass(frozen=True, slots=True)
class Needs:
    """What a verb needs of its template."""

    phases: AbstractSet[EffectPhase]
    signers: AbstractSet[Role]
    fields: tuple[str, ...]
    takes_two: bool = False
    """Where two operators are configured, Moneta does it only with the consent of both."""


# fmt: off
GUARD_FIELDS: Final[Mapping[Guard, tuple[str, ...]]] = {
    Guard.ORGANIZATIONS_ACTIVE:  (),
    Guard.ORGANIZATIONS_AGREE:   (),
    Guard.ORGANIZATION_PENDING:  (),  # that ``org`` signs is in ``template_rules``
    Guard.MPASS_ACTIVE:          ("mpass_id",),
    Guard.ONBOARDING_MATCHES:    ("org_id", "onboarding.type", "onboarding.legal_name", "onboarding.endpoint", "onboarding.keys"),  # noqa: E501  # one row a fact
    Guard.ROTATION_POSSIBLE:     ("org_id", "new_key", "rotation.old_kid", "rotation.overlap_until"),
}

EFFECT_NEEDS: Final[Mapping[Effect, Needs]] = {
    # verb                              phases       signed by  required fields
    Effect.ISSUE_MPASS:            Needs(AT_END,     {MO},      ("mo_id", "mpass.number", "mpass.member_ref")),
    Effect.ISSUE_MPASSES:          Needs(AT_END,     {MO},      ("mo_id", "batch.mpasses")),
    Effect.CHANGE_MPASS:           Needs(AT_END,     {MO},      ("mo_id", "mpass_id", "change.action")),
    Effect.CHANGE_MPASS_AS_ADMIN:  Needs(EITHER,     {M},       ("mo_id", "mpass_id", "change.action")),
    Effect.ACTIVATE_ORGANIZATION:  Needs(AT_END,     {ORG, M},  ("org_id",), takes_two=True),
    Effect.SUSPEND_ORGANIZATION:   Needs(EITHER,     {M},       ("org_id",)),
    Effect.DESTROY_ORGANIZATION:   Needs(AT_END,     {M},       ("org_id",), takes_two=True),
    Effect.ROTATE_KEY:             Needs(AT_END,     {ORG, NEW, M}, ("org_id", "new_key", "rotation.old_kid", "rotation.overlap_until")),  # noqa: E501  # one row a fact
}
# fmt: on


def takes_two(template: Template) -> bool:
    """Tell whether an effect of ``template`` takes the consent of two operators, where two are configured."""
    return any(EFFECT_NEEDS[verb].takes_two for verbs in template.effects.values() for verb in verbs)


def read_guards(members: Mapping[str, Value], required_fields: Sequence[str], findings: Findings) -> frozenset[Guard]:
    """Return the guards named; without the key, those that every contract of this kind should have."""
    if "guards" not in members:
        return DEFAULT_GUARDS | ({Guard.MPASS_ACTIVE} if "mpass_id" in required_fields else frozenset())
    guards: set[Guard] = set()
    for path, name in findings.names(members["guards"], ("guards",)):
        if name not in list(Guard):
            findings.add(path, f"unknown guard: {shown(name)}; known are {', '.join(Guard)}")
            continue
        guards.add(Guard(name))
        for field in set(GUARD_FIELDS[Guard(name)]) - set(required_fields):
            findings.add(path, f"guard {name}: there is nothing to check, since {field} is not in required_fields")
    return frozenset(guards)


def read_effects(
    members: Mapping[str, Value], required_fields: Sequence[str], order: SigningOrder, findings: Findings
) -> Mapping[EffectPhase, tuple[Effect, ...]]:
    """Return the verbs of each phase, in the order in which they stand."""
    phases = findings.members(members.get("effects", {}), ("effects",), known=frozenset(EffectPhase))
    effects: dict[EffectPhase, tuple[Effect, ...]] = {}
    for name, value in phases.items():
        phase, verbs = EffectPhase(name), []
        for path, verb in findings.names(value, ("effects", name)):
            if verb not in list(Effect):
                findings.add(path, f"unknown effect: {shown(verb)}; known are {', '.join(Effect)}")
                continue
            verbs.append(Effect(verb))
            for message in _unmet(Effect(verb), phase, required_fields, order):
                findings.add(path, f"effect {verb}: {message}")
        if verbs:
            effects[phase] = tuple(verbs)
    return effects


def _unmet(verb: Effect, phase: EffectPhase, required_fields: Sequence[str], order: SigningOrder) -> Iterator[str]:
    needs = EFFECT_NEEDS[verb]
    if phase not in needs.phases:
        yield f"it can't be done {phase}, only {' or '.join(sorted(needs.phases))}"
    for field in needs.fields:
        if field not in required_fields:
            yield f"{field} is not in required_fields"
    for role in sorted(needs.signers - _signed_by(phase, order)):
        yield f"{role} has not signed by then"


def _signed_by(phase: EffectPhase, order: SigningOrder) -> frozenset[Role]:
    """Return the roles that have signed for certain once the phase is reached."""
    steps: list[Sequence[Role]] = []
    for step in order:
        if phase is ON_RESERVE and Role.MONETA in step:
            steps.append([Role.MONETA])  # who signs in parallel with Moneta may come after it
            break
        steps.append(step)
    return frozenset(role for step in steps for role in step)
