"""A test message to an organization's endpoint, signed like any other (protocol, sections 7 and 14).

It is a delivery, with an attempt that ``GET /deliveries/{webhook-id}`` shows. It is tried once, at once, whether or not
the endpoint is disabled or fails at present; it enables nothing, and holds up nothing. Where the deliverer has ceased
to send because the endpoint fails, an answer to the test has it begin again (``domain.circuits``).
"""

from moneta.application.access import Operation, authorize
from moneta.application.authenticate import Caller
from moneta.application.documents import Document
from moneta.application.endpoint_messages import message_about
from moneta.application.organization_views import organization_to_change
from moneta.application.ports import DeliveryRecord, DeliveryStatus, Hub, WebhookType
from moneta.application.queries import delivery_document
from moneta.domain.identifiers import OrganizationId
from moneta.domain.organizations import OrganizationKind


def send_endpoint_test(hub: Hub, caller: Caller, kind: OrganizationKind, organization_id: OrganizationId) -> Document:
    """Owe the organization a test message, and return it as a delivery.

    Raises:
        NotFoundError, TransitionRefusedError: See ``organization_to_change``.
    """
    authorize(caller, Operation.TEST_ENDPOINT, owner=organization_id)
    organization_to_change(hub, kind, organization_id)
    now = hub.clock.now_ms()
    owed = message_about(organization_id, WebhookType.ENDPOINT_TEST, hub.randomness.uuid4(), now=now)
    hub.deliveries.owe(owed)
    return Document(
        body=delivery_document(DeliveryRecord(owed=owed, status=DeliveryStatus.PENDING, next_attempt_at=now))
    )
