"""Whether an organization's endpoint answers, before the organization is active (protocol, section 12).

Where ``Hub.require_endpoint_check`` is on, activation needs a 2xx to a signed check or test, from the address that the
organization has now. What came of a check stands with the endpoint (``EndpointHealth``), so who activates by contract
asks only that; who activates by a call has one sent, and waits.
"""

from moneta.application.endpoint_messages import message_about
from moneta.application.ports import DeliveryStatus, Hub, WebhookType
from moneta.domain.errors import EndpointNotCheckedError
from moneta.domain.identifiers import OrganizationId, WebhookId
from moneta.domain.limits import ENDPOINT_CHECK_LOOK_MS, ENDPOINT_CHECK_S_MAX
from moneta.domain.organizations import Organization


def check_answers(hub: Hub, organization: Organization) -> None:
    """Return if the endpoint answered since its address was set, or if this hub does not ask.

    Raises:
        EndpointNotCheckedError: It did not.
    """
    if not hub.require_endpoint_check:
        return
    organization_id = organization.organization_id
    health = hub.directory.endpoint_health([organization_id])[organization_id]
    if health.checked_url != organization.webhook_url:
        raise EndpointNotCheckedError(
            f"organization {organization_id}: its endpoint has answered no signed check since its address was set",
            organization=organization_id,
        )


def owe_check(hub: Hub, organization_id: OrganizationId) -> WebhookId:
    """Owe the endpoint a check: one attempt, at once."""
    owed = message_about(organization_id, WebhookType.ENDPOINT_CHECK, hub.randomness.uuid4(), now=hub.clock.now_ms())
    hub.deliveries.owe(owed)
    return owed.webhook_id


def await_check(hub: Hub, organization_id: OrganizationId) -> None:
    """Have a check sent, and return once something came of it, or after ``ENDPOINT_CHECK_S_MAX``."""
    sent = owe_check(hub, organization_id)
    hub.wake_deliverer()
    for _ in range(ENDPOINT_CHECK_S_MAX * 1000 // ENDPOINT_CHECK_LOOK_MS):
        found = hub.deliveries.find(sent)
        if found is not None and found.status is not DeliveryStatus.PENDING:
            return
        hub.pause(ENDPOINT_CHECK_LOOK_MS / 1000)
