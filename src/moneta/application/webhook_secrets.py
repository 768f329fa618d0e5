"""Webhook secrets: made here, shown once, kept sealed, and rotated with an overlap in which the old one signs too."""

from collections.abc import Mapping
from dataclasses import replace

from moneta.application.access import Operation, authorize
from moneta.application.authenticate import Caller
from moneta.application.changes import Decision, decide_and_apply
from moneta.application.documents import Document, check_if_match, check_names, seconds, whole_number
from moneta.application.organization_views import organization_to_change, touched
from moneta.application.ports import DirectoryChange, Endpoint, Hub, WebhookSecret
from moneta.application.records import make_record
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.ijson import Value
from moneta.domain.limits import SECRET_OVERLAP_S_MAX, WEBHOOK_SECRETS_MAX
from moneta.domain.organizations import OrganizationKind
from moneta.signing.webhooks import SECRET_BYTES, format_secret


def new_secret(hub: Hub) -> tuple[str, WebhookSecret]:
    """Return a new secret as its owner holds it, and as the store keeps it."""
    raw = hub.randomness.token(SECRET_BYTES)
    return format_secret(raw), WebhookSecret(sealed=hub.sealer.seal(raw), created_at=hub.clock.now_ms())


def signing_secrets(hub: Hub, endpoint: Endpoint, now: UnixMillis) -> list[bytes]:
    """Return the secrets that sign a message to ``endpoint`` at ``now``, the newest first."""
    return [hub.sealer.unseal(secret.sealed) for secret in endpoint.secrets if _is_in_force(secret, now)]


def rotate_webhook_secret(
    hub: Hub,
    caller: Caller,
    kind: OrganizationKind,
    organization_id: OrganizationId,
    members: Mapping[str, Value],
    *,
    if_match: int | None = None,
) -> Document:
    """Make a new secret and return it, this once; those before it sign for ``overlap_s`` seconds more.

    A disabled endpoint is enabled again. The revision is the organization's.

    Raises:
        NotFoundError, TransitionRefusedError: See ``organization_to_change``.
        PreconditionFailedError: ``if_match`` is another revision.
    """
    authorize(caller, Operation.ROTATE_WEBHOOK_SECRET, owner=organization_id)

    def decide() -> Decision:
        organization = organization_to_change(hub, kind, organization_id)
        check_names(members, ("overlap_s",))
        overlap_s = whole_number(members, "overlap_s", most=SECRET_OVERLAP_S_MAX)
        check_if_match(if_match, organization.revision)
        now = hub.clock.now_ms()
        shown, current = new_secret(hub)
        ends_at = UnixMillis(now + overlap_s * 1000)
        changed = touched(organization, at=now)
        record = make_record(
            hub,
            caller,
            Operation.ROTATE_WEBHOOK_SECRET,
            subject=organization_id,
            change={"overlap_s": overlap_s},
            registry_seq=hub.directory.registry_position(),
        )
        return Decision(
            change=DirectoryChange(
                record=record,
                organization=changed,
                secrets=(organization_id, (current, *_overlapping(hub, organization_id, ends_at=ends_at, now=now))),
                enables_endpoint=organization_id,
            ),
            answer=Document(
                body={"webhook_secret": shown, "previous_until": seconds(ends_at)}, revision=changed.revision
            ),
        )

    return decide_and_apply(hub, decide)


def _overlapping(
    hub: Hub, organization_id: OrganizationId, *, ends_at: UnixMillis, now: UnixMillis
) -> list[WebhookSecret]:
    """Return the secrets that go on signing beside a new one: the current until ``ends_at``, older ones as promised.

    Older ones stay, so that a rotation whose answer got lost can be repeated without cutting off who still holds the
    secret before it.
    """
    endpoint = hub.directory.endpoints([organization_id])[organization_id]
    kept = [replace(secret, valid_until=secret.valid_until or ends_at) for secret in endpoint.secrets]
    return [secret for secret in kept if _is_in_force(secret, now)][: WEBHOOK_SECRETS_MAX - 1]


def _is_in_force(secret: WebhookSecret, now: UnixMillis) -> bool:
    return secret.valid_until is None or now < secret.valid_until
