"""Warnings before a registered certificate ends: 30, 7 and 1 days ahead, each once (protocol, section 7).

A warning is a message about the organization. It is tried once, like all that stands in an endpoint's own line, so that
it holds up nothing; what failed is owed again a day later, for as long as it is that stage's turn. Its id derives from
the certificate and the stage, so that however often this runs, a receiver sees one message a stage.
"""

from collections.abc import Iterator

from moneta.application.documents import to_json
from moneta.application.endpoint_messages import message_about
from moneta.application.ports import DeliveryRecord, DeliveryStatus, Hub, OwedDelivery, WebhookType
from moneta.application.problems import problem_document
from moneta.domain.errors import CertificateExpiringError
from moneta.domain.identifiers import UnixMillis
from moneta.domain.limits import CERTIFICATE_WARNING_DAYS, LIST_LIMIT_MAX
from moneta.domain.organizations import DESTROYED, Organization, OrganizationKind
from moneta.domain.retention import DAY_MS
from moneta.signing.certificates import Certificate, parse_certificate


def warn_of_certificates(hub: Hub) -> int:
    """Owe every warning that is due; return how many are owed now that were not before."""
    found = (
        (organization, parse_certificate(pem, field="certificates"))
        for organization in _organizations(hub)
        for pem in organization.certificates
    )
    return sum(_warn(hub, organization, certificate) for organization, certificate in found)


def stage_of(ends_at: UnixMillis, now: UnixMillis) -> int | None:
    """Return how many days ahead of its end a certificate's warning is due at ``now``; None: there is none to give."""
    left_ms = ends_at - now
    reached = [days for days in CERTIFICATE_WARNING_DAYS if 0 < left_ms <= days * DAY_MS]
    return min(reached, default=None)


def _organizations(hub: Hub) -> Iterator[Organization]:
    """Give every organization that is not Destroyed."""
    for kind in OrganizationKind:
        cursor: str | None = None
        while True:  # ends with the last page
            page = hub.directory.list_organizations(kind, code=None, status=None, limit=LIST_LIMIT_MAX, cursor=cursor)
            yield from (one for one in page.items if one.status is not DESTROYED)
            cursor = page.next_cursor
            if cursor is None:
                break


def _warn(hub: Hub, organization: Organization, certificate: Certificate) -> int:
    now = hub.clock.now_ms()
    days = stage_of(UnixMillis(certificate.ends_at * 1000), now)
    if days is None:
        return 0
    owed = _warning(organization, certificate, days, now)
    before = hub.deliveries.find(owed.webhook_id)
    if before is None:
        hub.deliveries.owe(owed)
        return 1
    return hub.deliveries.owe_again([owed.webhook_id], now=now) if _may_try_again(before, now) else 0


def _may_try_again(before: DeliveryRecord, now: UnixMillis) -> bool:
    return before.status is DeliveryStatus.DEAD and now - before.attempts[-1].at >= DAY_MS


def _warning(organization: Organization, certificate: Certificate, days: int, now: UnixMillis) -> OwedDelivery:
    notice = CertificateExpiringError(
        f"a certificate of organization {organization.organization_id} ends at {certificate.ends_at} (Unix seconds)",
        certificate=certificate.fingerprint,
        expires_at=certificate.ends_at,
        days=days,
    )
    return message_about(
        organization.organization_id,
        WebhookType.CERTIFICATE_EXPIRING,
        certificate.fingerprint,
        str(days),
        now=now,
        problem=to_json(problem_document(notice)),
    )
