"""The web application: Litestar over the routes tables, every refusal a problem document."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.types import HTTPScope, Method, Receive, Send
from typing_extensions import override

from moneta.application.ingest_events import ingest_events
from moneta.application.ports import Hub
from moneta.domain.errors import MalformedRequestError, MethodNotAllowedError, NotFoundError
from moneta.entrypoints.http import event_route, openapi
from moneta.entrypoints.http.answers import Answer, problem_answer, send_answer
from moneta.entrypoints.http.calls import Calls, Route
from moneta.entrypoints.http.event_batches import EventBatches
from moneta.entrypoints.http.event_route import EventRoute
from moneta.entrypoints.http.failures import internal_error
from moneta.entrypoints.http.metrics import Metrics
from moneta.entrypoints.http.open_routes import OPEN_ROUTES, OpenRoute, Service
from moneta.entrypoints.http.requests import query_parameters
from moneta.entrypoints.http.routes import ROUTES

AnyRequest = Request[Any, Any, Any]  # Litestar's user, auth and state: none is used
Handler = Callable[[AnyRequest], Awaitable[Response[bytes]]]

UNROUTED: Final = "unrouted"


class LeanLitestar(Litestar):
    """Litestar without the plugins it looks for: the one for pydantic alone costs 13 MB, and 0.1 s of the start."""

    @staticmethod
    @override
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins


class WebApp:
    """The ASGI application of one hub, with the threads that answer for it. ``close`` ends them.

    ``wake_processor``: see ``EventBatches``; both are called after a change by a management call too.
    ``worker_alive`` answers for ``GET /ready``.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        wake_processor: Callable[[], None],
        wake_deliverer: Callable[[], None],
        worker_alive: Callable[[], bool],
    ) -> None:
        self._hub = hub
        self._wakers = (wake_processor, wake_deliverer)
        self._metrics = Metrics()
        self._batches = EventBatches(partial(ingest_events, hub), wake=wake_processor, randomness=hub.randomness)
        self._metrics.events_waiting.set_function(lambda: self._batches.waiting)
        self._calls = Calls(hub, self._metrics)
        self._service = Service(
            hub=hub, metrics=self._metrics, worker_alive=worker_alive, description=openapi.document_bytes
        )
        self._event = EventRoute(self._batches, self._metrics, hub.randomness)
        self._litestar = LeanLitestar(
            route_handlers=[
                *[_handler(route.method, route.path, self._call_handler(route)) for route in ROUTES],
                *[_handler("GET", route.path, self._open_handler(route)) for route in OPEN_ROUTES],
            ],
            exception_handlers={Exception: self._failed},
            openapi_config=None,
            logging_config=None,
            debug=False,
            request_max_body_size=None,  # each route has its own limit
        )

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer one request. The hot path goes past Litestar's router, which takes as long as all the rest of it."""
        if scope["path"] == event_route.PATH:
            await self._event(scope, receive, send)
        elif _has_empty_part(scope["path"]):
            await send_answer(problem_answer(NotFoundError("there is no such path")), send)
        else:
            await self._litestar(scope, receive, send)

    def close(self) -> None:
        """Let what is under way end."""
        self._batches.close()
        self._calls.close()

    def _call_handler(self, route: Route) -> Handler:
        async def call(request: AnyRequest) -> Response[bytes]:
            answer = await self._calls.answer(route, request.scope, request.receive)
            if route.method != "GET" and answer.status < 300:  # noqa: PLR2004  # done: 2xx (RFC 9110, section 15)
                for wake in self._wakers:
                    wake()  # a key may be compromised now, an endpoint enabled
            return _response(answer)

        return call

    def _open_handler(self, route: OpenRoute) -> Handler:
        def respond(request: AnyRequest) -> Answer:
            query_parameters(request.scope["query_string"], ())
            return route.respond(self._service, request.path_params)

        async def read(request: AnyRequest) -> Response[bytes]:
            return _response(await self._calls.run(route.name, lambda: respond(request)))

        return read

    def _failed(self, _request: AnyRequest, error: Exception) -> Response[bytes]:
        """Answer what Litestar itself raises: there is no such path or method, or it can't read the request."""
        answer = _routing_answer(error)
        if answer is None:
            answer = problem_answer(internal_error(error, self._hub.randomness, where=UNROUTED))
        self._metrics.refused(UNROUTED, str(answer.status))
        return _response(answer)


def _has_empty_part(path: str) -> bool:
    """Tell whether Litestar would drop parts of ``path``: a thing has one path, for whoever filters by it too."""
    return "//" in path or (path.endswith("/") and path != "/")


def _routing_answer(error: Exception) -> Answer | None:
    match error:
        case NotFoundException():
            return problem_answer(NotFoundError("there is no such path"))
        case MethodNotAllowedException():
            allowed = (error.headers or {}).get("allow", "")
            refusal = MethodNotAllowedError(f"expected one of {allowed}", allowed=allowed.split(", "))
            return problem_answer(refusal, headers=((b"allow", allowed.encode("ascii")),))
        case HTTPException(status_code=status) if status < 500:  # noqa: PLR2004  # the first of the server's own
            return problem_answer(MalformedRequestError("the request can't be read"))
        case _:
            return None


def _response(answer: Answer) -> Response[bytes]:
    headers = {name.decode("ascii"): value.decode("ascii") for name, value in answer.all_headers()}
    return Response(content=answer.body, status_code=answer.status, headers=headers, media_type=headers["content-type"])


def _handler(method: str, path: str, handler: Handler) -> HTTPRouteHandler:
    methods: list[Method] = ["GET", "HEAD"] if method == "GET" else ["POST"] if method == "POST" else ["PUT"]
    return HTTPRouteHandler(_typed(path), http_method=methods, status_code=200)(handler)


def _typed(path: str) -> str:
    """Return ``path`` as Litestar wants it; every value of a path is text, and judged by the use case."""
    return path.replace("}", ":str}")
