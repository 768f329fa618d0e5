"""Messages that the hub owes an organization about itself, not about a contract: tests, checks and warnings."""

from moneta.application.countersign import webhook_id
from moneta.application.ports import OwedDelivery, WebhookType
from moneta.domain.identifiers import OrganizationId, Revision, UnixMillis


def message_about(
    organization_id: OrganizationId, kind: WebhookType, *cause: str, now: UnixMillis, problem: bytes | None = None
) -> OwedDelivery:
    """Return the message to the organization that ``cause`` makes the hub owe; the same cause, the same webhook-id."""
    return OwedDelivery(
        webhook_id=webhook_id(organization_id, *cause, kind),
        organization_id=organization_id,
        type=kind,
        contract_id=None,
        revision=Revision(0),
        owed_at=now,
        problem=problem,
    )
