"""How an organization's endpoint stands over days: enabled, failing, or disabled.

1. The first failed attempt after a delivered one sets ``failing_since``; a delivered one clears it.
2. An attempt that fails ``ENDPOINT_FAILING_S_MAX`` after that, with nothing but failures between, disables the
   endpoint; an answer of 410 does at once. Its deliveries wait.
3. A new address or secret makes it an endpoint that nothing is known of, and what waited is delivered.
4. An address that answered a signed check or test with a 2xx is a checked one. It is kept with the address that it was
   sent to, so that an answer which comes after a change of address says nothing of the new one.
"""

from dataclasses import dataclass
from enum import StrEnum

from moneta.domain.identifiers import UnixMillis
from moneta.domain.limits import ENDPOINT_FAILING_S_MAX


class EndpointStatus(StrEnum):
    """Whether deliveries are sent, and with what success."""

    ENABLED = "enabled"
    FAILING = "failing"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why an endpoint is disabled: it said 410, or there was nothing but failures for too long."""

    GONE = "gone"
    FAILING = "failing"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHealth:
    """What is known of an endpoint. ``reason`` stands beside ``disabled_at``."""

    failing_since: UnixMillis | None = None
    disabled_at: UnixMillis | None = None
    reason: DisabledReason | None = None
    checked_at: UnixMillis | None = None
    checked_url: str | None = None
    """The address that answered a signed check or test last, which need not be the address now; and when."""

    @property
    def status(self) -> EndpointStatus:
        """The word for it."""
        if self.disabled_at is not None:
            return EndpointStatus.DISABLED
        return EndpointStatus.ENABLED if self.failing_since is None else EndpointStatus.FAILING


def failing_limit(attempt_at: UnixMillis) -> UnixMillis:
    """Return since when an endpoint must have been failing for an attempt at that moment to disable it."""
    return UnixMillis(attempt_at - ENDPOINT_FAILING_S_MAX * 1000)
