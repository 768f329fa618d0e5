"""What is checked before Moneta signs: each name of a template's ``guards`` is one function here.

They are asked when a contract is received and again when Moneta signs, for each of the moments that count. A guard
looks at what was read for the batch, and changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from moneta.application.circumstances import Circumstances
from moneta.application.mpasses import standing_at
from moneta.application.organization_effects import check_onboarding, check_rotation
from moneta.domain.contract_body import ContractBody
from moneta.domain.identifiers import MPassId, OrganizationId, UnixMillis
from moneta.domain.ijson import Value
from moneta.domain.mpass_policies import amounts_of, read_policy, services_of
from moneta.domain.mpasses import MPass, check_mpass_active
from moneta.domain.organization_policies import check_agreement, have_rules
from moneta.domain.organizations import check_active, check_pending
from moneta.domain.templates import Guard, Template

Moments = Sequence[UnixMillis]


def check_guards(body: ContractBody, template: Template, around: Circumstances, *moments: UnixMillis) -> None:
    """Refuse unless every guard of the template holds at each of ``moments``.

    Raises:
        Refused: The first that does not.
    """
    for guard, check in GUARDS.items():
        if guard in template.guards:
            check(body, around, moments)


def _organizations_active(body: ContractBody, around: Circumstances, moments: Moments) -> None:
    for party in body.parties():
        organization = around.organizations[party]
        check_active(organization, [organization.status_at(moment) for moment in moments])


def _organization_pending(body: ContractBody, around: Circumstances, moments: Moments) -> None:
    onboarded = around.organizations[_org_id(body)]
    check_pending(onboarded, [onboarded.status_at(moment) for moment in moments])


def _organizations_agree(body: ContractBody, around: Circumstances, _moments: Moments) -> None:
    parties = [around.organizations[party] for party in body.parties()]
    if have_rules(parties):  # most have none, and to look through a payload is work
        check_agreement(parties, services_of(body.payload))


def _mpass_active(body: ContractBody, around: Circumstances, moments: Moments) -> None:
    mpass = around.mpasses[cast("MPassId", body.mpass_id)]  # a required field of every template with this guard
    issuer = around.organizations[mpass.mo_id]
    check_mpass_active(mpass, [standing_at(mpass, issuer, moment)[0] for moment in moments])
    if mpass.policy:
        _check_policy(mpass, body, around, moments)


def _check_policy(mpass: MPass, body: ContractBody, around: Circumstances, moments: Moments) -> None:
    policy = read_policy(mpass.policy)
    policy.check_use(publisher_id=body.publisher_id, services=services_of(body.payload), moments=moments)
    policy.check_limits(amounts_of(body.payload), around.spent, mpass_id=mpass.mpass_id, at=around.now)


def _org_id(body: ContractBody) -> OrganizationId:
    """Return the organization that every template with such a guard lets sign, or requires, so that it is there."""
    return cast("OrganizationId", body.org_id)


def _part(body: ContractBody, name: str) -> Mapping[str, Value]:
    """Return an object of the payload that the guard's fields are members of, so that it is there."""
    return cast("Mapping[str, Value]", body.payload[name])


def _onboarding_matches(body: ContractBody, around: Circumstances, _moments: Moments) -> None:
    org_id = _org_id(body)
    check_onboarding(_part(body, "onboarding"), around.organizations[org_id], around.keys.get(org_id, {}).values())


def _rotation_possible(body: ContractBody, around: Circumstances, moments: Moments) -> None:
    check_rotation(_part(body, "rotation"), around.keys.get(_org_id(body), {}), moments)


# fmt: off
GUARDS: Final[Mapping[Guard, Callable[[ContractBody, Circumstances, Moments], None]]] = {
    # In this order: the first that does not hold is what the sender is told.
    Guard.ORGANIZATIONS_ACTIVE:  _organizations_active,
    Guard.ORGANIZATION_PENDING:  _organization_pending,
    Guard.ONBOARDING_MATCHES:    _onboarding_matches,
    Guard.ROTATION_POSSIBLE:     _rotation_possible,
    Guard.ORGANIZATIONS_AGREE:   _organizations_agree,
    Guard.MPASS_ACTIVE:          _mpass_active,
}
# fmt: on
