"""One organization as the use cases read it for a change, and as a client sees it, its keys included."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from moneta.application.access import not_found
from moneta.application.documents import seconds
from moneta.application.ports import Hub
from moneta.domain.endpoints import EndpointHealth
from moneta.domain.errors import TransitionRefusedError
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.keys import ACTIVE, RegisteredKey
from moneta.domain.organizations import DESTROYED, Organization, OrganizationKind

CODE_MEMBER: Final[Mapping[OrganizationKind, str]] = {OrganizationKind.MO: "mic", OrganizationKind.PUBLISHER: "mpc"}


def find_organization(
    hub: Hub, kind: OrganizationKind, organization_id: OrganizationId, *, is_fresh: bool = False
) -> Organization:
    """Return the organization of that kind.

    Raises:
        NotFoundError: There is none.
    """
    organization = hub.directory.organizations([organization_id], is_fresh=is_fresh).get(organization_id)
    if organization is None or organization.kind is not kind:
        raise not_found()
    return organization


def organization_to_change(hub: Hub, kind: OrganizationKind, organization_id: OrganizationId) -> Organization:
    """Return the organization as it is right now, for a change of what belongs to it.

    Raises:
        NotFoundError: There is none.
        TransitionRefusedError: It is Destroyed: a tombstone stays as it is.
    """
    organization = find_organization(hub, kind, organization_id, is_fresh=True)
    if organization.status is DESTROYED:
        raise TransitionRefusedError(f"organization {organization_id} is Destroyed", state=DESTROYED, allowed=[])
    return organization


def keys_of(hub: Hub, organization_id: OrganizationId, *, is_fresh: bool = False) -> list[RegisteredKey]:
    """Return the organization's keys in the order of their registration."""
    keys = hub.directory.keys_of([organization_id], is_fresh=is_fresh).get(organization_id, {})
    return in_order(keys.values())


def active_keys(hub: Hub, organization_id: OrganizationId) -> list[RegisteredKey]:
    """Return those of its keys that are active right now."""
    return [key for key in keys_of(hub, organization_id, is_fresh=True) if key.status is ACTIVE]


def in_order(keys: Iterable[RegisteredKey]) -> list[RegisteredKey]:
    """Return ``keys`` in the order of their registration."""
    return sorted(keys, key=lambda key: key.changes[0].seq)


def touched(organization: Organization, *, at: UnixMillis) -> Organization:
    """Return the next revision of an organization something of whose own changes: its profile, keys or secret.

    So that its ETag tells of every change that its document shows, and two changes at once meet. How its endpoint
    stands is no change of its own: that comes and goes with the luck of deliveries.
    """
    return replace(organization, updated_at=at, revision=organization.revision + 1)


def organization_document(
    organization: Organization, keys: Iterable[RegisteredKey], health: EndpointHealth
) -> dict[str, object]:
    """Return the organization in the ADR's words (protocol, section 12), and how its endpoint stands."""
    return {
        "id": organization.organization_id,
        CODE_MEMBER[organization.kind]: organization.code,
        "name": organization.name,
        "status": organization.status,
        "createdAt": seconds(organization.created_at),
        "updatedAt": seconds(organization.updated_at),
        "metadata": organization.metadata,
        "certificates": list(organization.certificates),
        "services": list(organization.services),
        "industries": list(organization.industries),
        "policies": organization.policies,
        "keys": [key_document(key) for key in keys],
        "webhook": {
            "status": health.status,
            "failing_since": seconds(health.failing_since),
            "disabled_at": seconds(health.disabled_at),
            "reason": health.reason,
            "checked_at": seconds(health.checked_at) if health.checked_url == organization.webhook_url else None,
        },
    }


def key_document(key: RegisteredKey) -> dict[str, object]:
    """Return one key; ``registry_seq`` and ``changed_at`` are those of its last change."""
    last = key.changes[-1]
    return {
        "kid": key.key_id,
        "jwk": dict(key.jwk),
        "use": sorted(key.uses),
        "status": key.status,
        "registry_seq": last.seq,
        "registered_at": seconds(key.changes[0].at),
        "changed_at": seconds(last.at),
        "since": last.since,
        "ends_at": key.ends_at,
    }
