"""Every route but ``POST /event``: the web process's own application, behind the HTTP API.

The one function that imports it, with its framework. The application belongs to an event loop, which is kept with it
from call to call; between two calls nothing is under way.
"""

import asyncio
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final

import structlog

from moneta.application.ports import Hub
from moneta.domain.errors import NotFoundError, TryAgainError, UnavailableError
from moneta.entrypoints.answers import RETRY_AFTER_S, problem_answer
from moneta.entrypoints.aws_lambda import warm
from moneta.entrypoints.aws_lambda.api import GatewayRequest, gateway_answer, gateway_response, read_request
from moneta.entrypoints.aws_lambda.invocation import Event, LambdaContext, Response
from moneta.entrypoints.http.app import WebApp
from moneta.entrypoints.http.readiness import SERVERLESS_CHECKS
from moneta.settings import RATE_BURST_DEFAULT, RATE_LIMIT_DEFAULT

UNSERVED: Final = frozenset({"/metrics"})
"""The figures of one of many short-lived processes say nothing; CloudWatch has those of all."""
log = structlog.get_logger()

ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


def handler(event: Event, context: LambdaContext) -> Response:
    """Answer one request of the gateway's."""
    with warm.call(context, event):
        try:
            service = _service()
        except TryAgainError as error:
            log.warning("hub_not_ready", reason=str(error))
            return gateway_answer(problem_answer(UnavailableError("the hub is not ready", retry_after_s=RETRY_AFTER_S)))
        return service.handle(event)


@cache
def _service() -> "ManagementService":
    settings = warm.settings()
    return ManagementService(warm.hub(), rate_limit=settings.rate_limit, rate_burst=settings.rate_burst)


class ManagementService:
    """The application with its loop. ``close`` ends both."""

    def __init__(self, hub: Hub, *, rate_limit: int = RATE_LIMIT_DEFAULT, rate_burst: int = RATE_BURST_DEFAULT) -> None:
        self._loop = asyncio.new_event_loop()
        self._app = WebApp(
            hub,
            # What a change brings about is announced by the store, or found by the next sweep.
            wake_processor=lambda: None,
            wake_deliverer=lambda: None,
            data_dir=Path(gettempdir()),
            checks=SERVERLESS_CHECKS,
            rate_limit=rate_limit,
            rate_burst=rate_burst,
        )
        self._loop.run_until_complete(self._load())

    def handle(self, event: Event) -> Response:
        """Return the answer to one request."""
        request = read_request(event)
        if request.path in UNSERVED:
            return gateway_answer(problem_answer(NotFoundError("there is no such path")))
        return self._loop.run_until_complete(self._answer(request))

    def close(self) -> None:
        """End the threads, and the loop."""
        self._app.close()
        self._loop.close()

    async def _load(self) -> None:
        await self._app.load()

    async def _answer(self, request: GatewayRequest) -> Response:
        sent: list[Mapping[str, Any]] = []  # ASGI's messages, as the application types them
        received = iter([{"type": "http.request", "body": request.body, "more_body": False}])

        async def receive() -> Mapping[str, Any]:
            return next(received, {"type": "http.disconnect"})

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message)

        await self._app(_scope(request), receive, send)
        start, *parts = sent
        # A web server leaves out what is no answer to a HEAD (RFC 9110, section 9.3.2); here there is none.
        body = b"" if request.method == "HEAD" else b"".join(part.get("body", b"") for part in parts)
        return gateway_response(start["status"], start["headers"], body)


def _scope(request: GatewayRequest) -> Mapping[str, Any]:
    """Return the request as ASGI has it."""
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": "1.1",
        "scheme": "https",
        "method": request.method,
        "path": request.path,
        "raw_path": request.path.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "query_string": request.query,
        "headers": request.headers,
        "client": None,
        "server": None,
    }


warm.at_start(_service)
