"""How endpoints stand (``domain.endpoints``): in the row of their secrets, and in no cache.

The directory's caches are dropped at every change of it. These columns change with the luck of deliveries: an endpoint
that fails every other time would have every process read its keys and organizations anew, a hundred times a second.
"""

from collections.abc import Mapping
from typing import Final

import apsw

from moneta.adapters.embedded.database import row, rows
from moneta.adapters.embedded.schema import Writing
from moneta.application.ports import AttemptResult, DeliveryStatus
from moneta.domain.endpoints import DisabledReason, EndpointHealth, EndpointStatus
from moneta.domain.identifiers import OrganizationId


def note_attempt(writing: Writing, result: AttemptResult) -> DisabledReason | None:
    """Write what an attempt changes of its endpoint; return why that is disabled now, if it was not before."""
    connection, organization = writing.connection, writing.ref(result.organization_id)
    if result.status is DeliveryStatus.DELIVERED:
        connection.execute(_RECOVERED, (organization,))
        if result.checked_url is not None:
            connection.execute(_CHECKED, (organization, result.attempt.at, result.checked_url))
        return None
    is_gone, at = result.disables_endpoint, result.attempt.at
    connection.execute(_FAILED, (organization, at))
    reason = DisabledReason.GONE if is_gone else DisabledReason.FAILING
    connection.execute(_DISABLE, (at, reason, organization, is_gone, result.failing_limit))
    return reason if connection.changes() else None


def enable_endpoint(writing: Writing, organization: OrganizationId) -> None:
    """Hold nothing against an endpoint any more."""
    writing.connection.execute(_ENABLE, (writing.ref(organization),))


def read_health(connection: apsw.Connection, organization: OrganizationId) -> EndpointHealth:
    """Return how an endpoint stands."""
    found = row(connection, _HEALTH, (organization,)) or (None, None, None, None, None)
    failing_since, disabled_at, reason, checked_at, checked_url = found
    return EndpointHealth(
        failing_since=failing_since,
        disabled_at=disabled_at,
        reason=None if reason is None else DisabledReason(reason),
        checked_at=checked_at,
        checked_url=checked_url,
    )


def count_endpoints(connection: apsw.Connection) -> Mapping[EndpointStatus, int]:
    """Return how many are failing, and how many disabled."""
    failing, disabled = rows(connection, _COUNTS)[0]
    return {EndpointStatus.FAILING: failing, EndpointStatus.DISABLED: disabled}


# A row that is as it should be is not written.
_RECOVERED: Final = "UPDATE endpoints SET failing_since = NULL WHERE organization = ? AND failing_since IS NOT NULL"
_CHECKED: Final = """
INSERT INTO endpoints (organization, checked_at, checked_url) VALUES (?, ?, ?)
ON CONFLICT (organization) DO UPDATE SET checked_at = excluded.checked_at, checked_url = excluded.checked_url
"""
_FAILED: Final = """
INSERT INTO endpoints (organization, failing_since) VALUES (?, ?)
ON CONFLICT (organization) DO UPDATE SET failing_since = excluded.failing_since WHERE failing_since IS NULL
"""
_DISABLE: Final = """
UPDATE endpoints SET disabled_at = ?, disabled_reason = ?
WHERE organization = ? AND disabled_at IS NULL AND (? OR failing_since <= ?)
"""
_ENABLE: Final = """
UPDATE endpoints
SET disabled_at = NULL, disabled_reason = NULL, failing_since = NULL, checked_at = NULL, checked_url = NULL
WHERE organization = ?
"""
_HEALTH: Final = """
SELECT failing_since, disabled_at, disabled_reason, checked_at, checked_url
FROM endpoints JOIN names ON ref = organization WHERE name = ?
"""
_COUNTS: Final = """
SELECT count(*) FILTER (WHERE disabled_at IS NULL AND failing_since IS NOT NULL), count(disabled_at) FROM endpoints
"""
