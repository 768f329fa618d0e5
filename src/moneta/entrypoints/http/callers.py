"""Who sends a request, told before its body is read: what a caller may hold, send and crowd out depends on it.

A token that was verified lately is known, and costs a look-up. One that is not is verified in a thread of its own, of
which there is one, behind a line that has an end; and in the name of an organization only so many may turn out false a
second. Whoever is known notices nothing of a flood of false tokens.

What is known here decides about order and numbers alone: whether a request counts is judged anew by the use case.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from moneta.application.authenticate import authenticate, claimed_subject
from moneta.application.ports import Hub
from moneta.domain.errors import HubBusyError, TooManyRequestsError, TryAgainError, UnauthorizedError, UnavailableError
from moneta.domain.identifiers import OrganizationId
from moneta.domain.limits import FALSE_TOKENS_MAX, TOKENS_REMEMBERED_MAX, TOKENS_WAITING_MAX
from moneta.entrypoints.answers import RETRY_AFTER_S
from moneta.entrypoints.http.rate_limits import RateLimits
from moneta.signing.tokens import unauthorized


class Callers:
    """The callers by their tokens. All but ``close`` belongs to one event loop."""

    def __init__(self, hub: Hub, *, false_max: int = FALSE_TOKENS_MAX) -> None:
        self._hub = hub
        self._known: dict[str, OrganizationId] = {}
        self._waiting = 0
        self._false = RateLimits(per_s=false_max, burst=false_max)
        self._checker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="token-checker")

    def known(self, token: str | None) -> OrganizationId | None:
        """Return whose token it is, if that is known."""
        return None if token is None else self._known.get(token)

    async def check(self, token: str | None) -> OrganizationId:
        """Verify a token that is not known, and return whose it is.

        Raises:
            UnauthorizedError: Nobody's.
            TooManyRequestsError: So many false ones came in that name that this one is not looked at.
            HubBusyError: Too many wait to be looked at.
            UnavailableError: The store can't be read.
        """
        if token is None:
            raise unauthorized()
        subject = claimed_subject(token)
        if self._false.is_empty(subject):
            raise TooManyRequestsError("too many false tokens in this name", retry_after_s=RETRY_AFTER_S)
        try:
            caller_id = await self._verified(token)
        except UnauthorizedError:
            self._false.take(subject)
            raise
        if len(self._known) >= TOKENS_REMEMBERED_MAX:
            del self._known[next(iter(self._known))]
        self._known[token] = caller_id
        return caller_id

    def forget(self, token: str | None) -> None:
        """Look at a token anew when it comes again: it counts no longer."""
        if token is not None:
            self._known.pop(token, None)

    def close(self) -> None:
        """Let the check under way end, and the thread with it."""
        self._checker.shutdown(wait=True)

    async def _verified(self, token: str) -> OrganizationId:
        if self._waiting >= TOKENS_WAITING_MAX:
            raise HubBusyError("more new tokens than can be verified at once", retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        try:
            caller = await asyncio.get_running_loop().run_in_executor(self._checker, authenticate, self._hub, token)
        except TryAgainError as error:
            raise UnavailableError("the token could not be verified", retry_after_s=RETRY_AFTER_S) from error
        finally:
            self._waiting -= 1
        return caller.caller_id
