"""What must be there before an organization's status changes, whoever asks for it: a call, or a contract."""

from moneta.application.endpoint_checks import check_answers
from moneta.application.organization_views import active_keys
from moneta.application.ports import Hub
from moneta.domain.errors import TransitionRefusedError
from moneta.domain.identifiers import ContractId
from moneta.domain.keys import KeyUse
from moneta.domain.organizations import ACTIVATE, DESTROY, DESTROYED, PENDING, Organization, OrganizationEvent


def check_ready(
    hub: Hub, organization: Organization, event: OrganizationEvent, *, apart_from: ContractId | None = None
) -> None:
    """Refuse an activation without keys or an answering endpoint, and the end of what has contracts open.

    ``apart_from``: the contract that asks for it, which may be open itself. Balances stand in no ledger yet.

    Raises:
        TransitionRefusedError: With what is missing, or the first contract that is open.
        EndpointNotCheckedError: This hub asks for an answer, and there was none.
    """
    if event is ACTIVATE and organization.status is PENDING:
        _check_keys(hub, organization)
        check_answers(hub, organization)
    if event is DESTROY and organization.status is not DESTROYED:
        _check_nothing_open(hub, organization, apart_from)


def _check_keys(hub: Hub, organization: Organization) -> None:
    active = active_keys(hub, organization.organization_id)
    missing = [str(use) for use in KeyUse if not any(use in key.uses for key in active)]
    if missing:
        raise TransitionRefusedError(
            f"organization {organization.organization_id}: it has no active {' and no '.join(missing)} key",
            state=organization.status,
            allowed=[DESTROY],
            missing=missing,
        )


def _check_nothing_open(hub: Hub, organization: Organization, apart_from: ContractId | None) -> None:
    found = hub.contracts.pending_with(organization.organization_id, limit=2, cursor=None).items
    still_open = [contract_id for contract_id in found if contract_id != apart_from]
    if still_open:
        raise TransitionRefusedError(
            f"organization {organization.organization_id}: it has contracts open",
            state=organization.status,
            allowed=[],
            contract_id=still_open[0],
        )
