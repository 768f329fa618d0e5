"""What stands before every call that takes a token: who calls, how often, and how much of it is held meanwhile."""

from dataclasses import dataclass

from moneta.application.ports import Hub
from moneta.domain.identifiers import OrganizationId
from moneta.entrypoints.answers import AnswerHeaders
from moneta.entrypoints.http.callers import Callers
from moneta.entrypoints.http.held_bytes import HeldBytes
from moneta.entrypoints.http.rate_limits import Quota


@dataclass(frozen=True, slots=True)
class Gate:
    """One for all routes, since what is limited is a caller's requests, whatever they ask for. For one event loop."""

    callers: Callers
    quota: Quota
    held: HeldBytes

    @classmethod
    def of(cls, hub: Hub, *, rate_limit: int, rate_burst: int) -> "Gate":
        """Return the gate of a hub; ``rate_limit``, ``rate_burst``: see ``Settings``."""
        return cls(Callers(hub), Quota(per_s=rate_limit, burst=rate_burst), HeldBytes())

    async def enter(self, token: str | None) -> tuple[OrganizationId, AnswerHeaders]:
        """Count one request; return whose it is, and the headers that tell how its sender stands.

        Raises:
            Refused: See ``Callers.check`` and ``Quota.take``.
        """
        caller_id = self.callers.known(token) or await self.callers.check(token)
        return caller_id, self.quota.take(caller_id)
