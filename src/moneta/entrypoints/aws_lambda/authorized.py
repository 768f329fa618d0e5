"""What the authorizer tells the functions behind it: who calls, or which problem to answer (docs/adr/0044).

A context is a flat object of strings. Anything that is not a whole caller or a known problem is nobody's.
"""

from collections.abc import Mapping
from typing import Final

from moneta.application.authenticate import Caller, CallerRole
from moneta.domain.errors import InternalError, Refused, UnauthorizedError, UnavailableError
from moneta.domain.identifiers import KeyId, OrganizationId
from moneta.domain.organizations import OrganizationStatus
from moneta.entrypoints.answers import RETRY_AFTER_S
from moneta.signing.tokens import unauthorized

Context = dict[str, str]

PROBLEM: Final = "problem"
MEMBERS: Final = ("caller_id", "role", "key_id", "token_id")


def caller_context(caller: Caller) -> Context:
    """Return the context that names ``caller``."""
    members = {name: str(getattr(caller, name)) for name in MEMBERS}
    return members if caller.status is None else {**members, "status": caller.status}


def problem_context(problem: UnauthorizedError | UnavailableError | InternalError) -> Context:
    """Return the context of a request that is nobody's, or can't be told whose."""
    request_id = problem.facts.get("request_id")
    return {PROBLEM: problem.code, **({} if request_id is None else {"request_id": str(request_id)})}


def authorized_caller(context: Mapping[str, object]) -> Caller:
    """Return the caller that ``context`` names.

    Raises:
        Refused: It names none, but the problem to answer.
    """
    if context.get(PROBLEM) is not None:
        raise _problem(context)
    try:
        members = {name: str(context[name]) for name in MEMBERS}
        status = context.get("status")
        return Caller(
            caller_id=OrganizationId(members["caller_id"]),
            role=CallerRole(members["role"]),
            key_id=KeyId(members["key_id"]),
            token_id=members["token_id"],
            status=None if status is None else OrganizationStatus(str(status)),
        )
    except (KeyError, ValueError) as error:
        raise unauthorized() from error


def _problem(context: Mapping[str, object]) -> Refused:
    if context[PROBLEM] == UnavailableError.code:
        return unverified()
    if context[PROBLEM] == InternalError.code:
        return InternalError("the request met a bug of the hub's", request_id=str(context.get("request_id")))
    return unauthorized()


def unverified() -> UnavailableError:
    """Return the problem of a token that can't be verified now, for want of the store."""
    return UnavailableError("the token could not be verified", retry_after_s=RETRY_AFTER_S)
