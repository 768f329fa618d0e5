"""Organizations: the two kinds, their state table, and what each state lets them do.

The capabilities derive from the state; nothing else decides. A destroyed organization stays as a tombstone, and
its code (MIC or MPC) is never given out again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from moneta.domain.errors import (
    InvalidFieldError,
    OrganizationNotActiveError,
    OrganizationNotPendingError,
    OrganizationSuspendedError,
)
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.ijson import Value
from moneta.domain.lifecycle import lifecycle


class OrganizationKind(StrEnum):
    """The two kinds of organization that trade through the hub."""

    MO = "mo"
    PUBLISHER = "publisher"


class OrganizationStatus(StrEnum):
    """The ADR's four states."""

    PENDING = "Pending"
    ACTIVE = "Active"
    SUSPENDED = "Suspended"
    DESTROYED = "Destroyed"


class OrganizationEvent(StrEnum):
    """What can happen to one, in the wire's words: the status that is asked for."""

    ACTIVATE = "Active"
    SUSPEND = "Suspended"
    DESTROY = "Destroyed"


class OrganizationActor(StrEnum):
    """Who can make it happen."""

    OPERATOR = "operator"
    ITSELF = "organization"
    CONTRACT = "contract"
    """A contract that a template lets do it, once it and Moneta have signed."""


class Capability(StrEnum):
    """What a state lets an organization do."""

    AUTHENTICATE = "authenticate"
    ONBOARD = "onboard"
    CONTINUE_CONTRACTS = "continue_contracts"
    START_CONTRACTS = "start_contracts"


PENDING, ACTIVE, SUSPENDED, DESTROYED = OrganizationStatus
ACTIVATE, SUSPEND, DESTROY = OrganizationEvent
OPERATOR: Final = frozenset({OrganizationActor.OPERATOR, OrganizationActor.CONTRACT})
EITHER: Final = frozenset(OrganizationActor)

# fmt: off
ORGANIZATION_LIFECYCLE = lifecycle("organization", PENDING, (
    # from        event       to           by
    (PENDING,     ACTIVATE,   ACTIVE,      OPERATOR),
    (PENDING,     DESTROY,    DESTROYED,   OPERATOR),
    (ACTIVE,      SUSPEND,    SUSPENDED,   EITHER),
    (ACTIVE,      DESTROY,    DESTROYED,   OPERATOR),
    (SUSPENDED,   ACTIVATE,   ACTIVE,      OPERATOR),
    (SUSPENDED,   DESTROY,    DESTROYED,   OPERATOR),
))

CAPABILITIES: Final[Mapping[OrganizationStatus, frozenset[Capability]]] = {
    PENDING:    frozenset({Capability.AUTHENTICATE, Capability.ONBOARD}),
    ACTIVE:     frozenset(Capability) - {Capability.ONBOARD},
    SUSPENDED:  frozenset({Capability.AUTHENTICATE, Capability.CONTINUE_CONTRACTS}),
    DESTROYED:  frozenset(),
}
# fmt: on

_CODE: Final = re.compile(r"[A-Z0-9]{2,12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """One MO or publisher, as the ADR's table has it.

    ``code``: the MIC of an MO, the MPC of a publisher. ``history``: each status with the moment it began, oldest
    first, so that the status at the receipt of an event can be told afterwards.
    """

    organization_id: OrganizationId
    kind: OrganizationKind
    code: str
    name: str
    history: tuple[tuple[UnixMillis, OrganizationStatus], ...]
    updated_at: UnixMillis
    metadata: Mapping[str, Value]
    certificates: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    industries: tuple[str, ...] = ()
    policies: Mapping[str, Value]
    revision: int = 1

    @property
    def status(self) -> OrganizationStatus:
        """The status now."""
        return self.history[-1][1]

    @property
    def created_at(self) -> UnixMillis:
        """When it was registered."""
        return self.history[0][0]

    @property
    def webhook_url(self) -> str:
        """Where its deliveries go."""
        return str(self.metadata["webhook_url"])

    def status_at(self, moment: UnixMillis) -> OrganizationStatus:
        """Return the status at ``moment``; before its registration, that of its registration."""
        past = [status for since, status in self.history if since <= moment]
        return past[-1] if past else self.history[0][1]

    def may(self, capability: Capability) -> bool:
        """Tell whether the status now has ``capability``."""
        return capability in CAPABILITIES[self.status]

    def changed(self, event: OrganizationEvent, *, by: OrganizationActor, at: UnixMillis) -> "Organization":
        """Return the organization after ``event``.

        Raises:
            TransitionRefusedError: The state table has no such row for this actor.
        """
        status = ORGANIZATION_LIFECYCLE.follow(self.status, event, by=by)
        return replace(self, history=(*self.history, (at, status)), updated_at=at, revision=self.revision + 1)


def check_active(organization: Organization, statuses: Sequence[OrganizationStatus]) -> None:
    """Refuse a new contract unless the organization was Active at each of the moments that count.

    Raises:
        OrganizationSuspendedError: It was Suspended at one of them.
        OrganizationNotActiveError: It was Pending or Destroyed at one of them.
    """
    for status in statuses:
        if status is SUSPENDED:
            raise OrganizationSuspendedError(
                f"organization {organization.organization_id} is suspended", organization=organization.organization_id
            )
        if status is not ACTIVE:
            raise OrganizationNotActiveError(
                f"organization {organization.organization_id}: expected Active, got {status}",
                organization=organization.organization_id,
                status=status,
            )


def check_pending(organization: Organization, statuses: Sequence[OrganizationStatus]) -> None:
    """Refuse an onboarding unless the organization was Pending at each of the moments that count.

    Raises:
        OrganizationNotPendingError: It was not at one of them.
    """
    for status in statuses:
        if status is not PENDING:
            raise OrganizationNotPendingError(
                f"organization {organization.organization_id}: expected Pending, got {status}",
                organization=organization.organization_id,
                status=status,
            )


def check_code(code: Value, *, field: str) -> str:
    """Return ``code`` if it has the form of a MIC or MPC: 2 to 12 of ``A-Z 0-9``."""
    if not isinstance(code, str) or _CODE.fullmatch(code) is None:
        raise InvalidFieldError(f"{field}: expected 2 to 12 of A-Z 0-9", field=field)
    return code
