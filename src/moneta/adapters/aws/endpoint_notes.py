"""What attempts change of their endpoints (``domain.endpoints``), written only where it changes something.

A write costs ten times a read, and almost every attempt finds its endpoint as it leaves it. Whoever takes deliveries
reads their endpoints anyway, to leave the disabled ones; what it saw is remembered until the next look. So another
process's change in the seconds between may be missed, and is made good at the next attempt; an endpoint is disabled
only under a condition on what the table says.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from moneta.adapters.aws.directory import DynamoDBDirectoryStore
from moneta.application.ports import AttemptResult, DeliveryStatus
from moneta.domain.endpoints import DisabledReason
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.limits import CACHE_ENTRIES_MAX


class EndpointNotes:
    """Remembers since when each endpoint fails, None for one that doesn't."""

    def __init__(self, directory: DynamoDBDirectoryStore) -> None:
        self._directory = directory
        self._failing_since: dict[OrganizationId, UnixMillis | None] = {}

    def look_at(self, organizations: AbstractSet[OrganizationId]) -> frozenset[OrganizationId]:
        """Read how the endpoints stand, remember it, and return those that are disabled."""
        if not organizations:
            return frozenset()
        if len(self._failing_since) >= CACHE_ENTRIES_MAX:
            self._failing_since.clear()
        found = self._directory.endpoint_health(sorted(organizations))
        self._failing_since |= {one: health.failing_since for one, health in found.items()}
        return frozenset(one for one, health in found.items() if health.disabled_at is not None)

    def note(self, results: Sequence[AttemptResult]) -> Mapping[OrganizationId, DisabledReason]:
        """Write what the attempts change, in their order; return the endpoints that are disabled by it."""
        self.look_at({result.organization_id for result in results} - self._failing_since.keys())
        disabled = {result.organization_id: self._note(result) for result in results}
        return {organization: reason for organization, reason in disabled.items() if reason is not None}

    def _note(self, result: AttemptResult) -> DisabledReason | None:
        organization, at = result.organization_id, result.attempt.at
        since = self._failing_since.get(organization)
        if result.status is DeliveryStatus.DELIVERED:
            if since is not None:
                self._directory.mark_recovered(organization)
                self._failing_since[organization] = None
            if result.checked_url is not None:
                self._directory.mark_checked(organization, result.checked_url, at=at)
            return None
        if since is None:
            self._directory.mark_failing(organization, at=at)
            self._failing_since[organization] = at
        return self._disable(result, since)

    def _disable(self, result: AttemptResult, since: UnixMillis | None) -> DisabledReason | None:
        is_gone, limit = result.disables_endpoint, result.failing_limit
        if not is_gone and (since is None or limit is None or since > limit):
            return None
        reason = DisabledReason.GONE if is_gone else DisabledReason.FAILING
        is_new = self._directory.disable_endpoint(
            result.organization_id, reason, at=result.attempt.at, failing_limit=None if is_gone else limit
        )
        return reason if is_new else None
