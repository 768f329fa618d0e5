"""The authorizer of the HTTP API: from the ``Authorization`` header to the caller (docs/adr/0044).

It lets every request pass: the gateway's own 401 and 403 have bodies that are not the protocol's. Who calls, or which
problem to answer, is in the context, and the function behind it answers.

A token that a process knows costs no verification: that a key has verified it is remembered for as long as there is
room. Status, keys and times are judged on every call, by what the directory says then, since the gateway may remember
the answer for as long as a revoked key may count (``AUTHORIZATION_KEPT_S_MAX``).
"""

from collections.abc import Callable

from moneta.application.authenticate import authenticate
from moneta.application.ports import Hub
from moneta.bootstrap import system_randomness
from moneta.domain.errors import TryAgainError, UnauthorizedError
from moneta.entrypoints.aws_lambda import warm
from moneta.entrypoints.aws_lambda.api import read_request
from moneta.entrypoints.aws_lambda.authorized import Context, caller_context, problem_context, unverified
from moneta.entrypoints.aws_lambda.invocation import Event, LambdaContext, Response
from moneta.entrypoints.failures import internal_error
from moneta.entrypoints.requests import bearer_token


def handler(event: Event, context: LambdaContext) -> Response:
    """Answer one request of the gateway's."""
    with warm.call(context, event):
        return handle(warm.hub, event)


def handle(hub: Callable[[], Hub], event: Event) -> Response:
    """Return the gateway's "simple response"; ``hub`` gives the hub, if that can be had."""
    return {"isAuthorized": True, "context": _context(hub, event)}


def _context(hub: Callable[[], Hub], event: Event) -> Context:
    try:
        request = read_request(event)
        return caller_context(authenticate(hub(), bearer_token(request.headers)))
    except UnauthorizedError as refusal:
        return problem_context(refusal)
    except TryAgainError:
        return problem_context(unverified())
    except Exception as error:  # noqa: BLE001  # the last line of defence: logged, and answered with an id
        return problem_context(internal_error(error, system_randomness(), where="authorizer"))


warm.at_start(warm.serverless)
