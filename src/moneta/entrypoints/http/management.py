"""The calls of the two routes tables, by Litestar; every refusal is a problem document.

A module of its own because Litestar and the tables take 0.6 s to import: the web process does that in the background,
once it takes events (see ``app``).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, cast

from litestar import Litestar, Request, Response
from litestar.config.app import AppConfig
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.types import Method
from typing_extensions import override

from moneta.domain.errors import MalformedRequestError, MethodNotAllowedError, NotFoundError
from moneta.entrypoints.answers import Answer, problem_answer
from moneta.entrypoints.failures import internal_error
from moneta.entrypoints.http.asgi import Application, Receive, Scope, Send
from moneta.entrypoints.http.calls import Calls, Route
from moneta.entrypoints.http.open_routes import OPEN_ROUTES, OpenRoute, Service, answer_open
from moneta.entrypoints.http.routes import ROUTES

AnyRequest = Request[Any, Any, Any]  # Litestar's user, auth and state: none is used
Handler = Callable[[AnyRequest], Awaitable[Response[bytes]]]

METHODS: Final[Mapping[str, list[Method]]] = {
    "GET": ["GET", "HEAD"],
    "POST": ["POST"],
    "PUT": ["PUT"],
    "OPTIONS": ["OPTIONS"],
}
"""What each method of the tables is asked as."""
UNROUTED: Final = "unrouted"


class LeanLitestar(Litestar):
    """Litestar without the plugins it looks for: the one for pydantic alone costs 13 MB, and 0.1 s of the start.

    That for OpenTelemetry would be imported wherever the extra is installed, configured or not.
    """

    @staticmethod
    @override
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins

    @staticmethod
    @override
    def _patch_opentelemetry_middleware(config: AppConfig) -> AppConfig:
        return config


class Management:
    """The ASGI application. ``on_change`` is called after each call that has changed something."""

    def __init__(self, calls: Calls, service: Service, *, on_change: Callable[[], None]) -> None:
        self._calls = calls
        self._service = service
        self._on_change = on_change
        self._litestar = LeanLitestar(
            route_handlers=[
                # First: where a path has none yet, Litestar makes one, which tells of the path's last call alone.
                *[_handler("OPTIONS", path, _telling(methods)) for path, methods in _methods_by_path().items()],
                *[_handler(route.method, route.path, self._call_handler(route)) for route in ROUTES],
                *[_handler("GET", route.path, self._open_handler(route)) for route in OPEN_ROUTES],
            ],
            exception_handlers={Exception: self._failed},
            openapi_config=None,
            logging_config=None,
            debug=False,
            request_max_body_size=None,  # each route has its own limit
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await cast("Application", self._litestar)(scope, receive, send)  # its own types of the same messages are narrow

    def _call_handler(self, route: Route) -> Handler:
        async def call(request: AnyRequest) -> Response[bytes]:
            answer = await self._calls.answer(route, request.scope, request.receive)
            if route.has_changed(answer):
                self._on_change()  # a key may be compromised now, an endpoint enabled
            return _response(answer)

        return call

    def _open_handler(self, route: OpenRoute) -> Handler:
        async def read(request: AnyRequest) -> Response[bytes]:
            return _response(await answer_open(self._calls, self._service, route, request.scope))

        return read

    def _failed(self, _request: AnyRequest, error: Exception) -> Response[bytes]:
        """Answer what Litestar itself raises: there is no such path or method, or it can't read the request."""
        answer = _routing_answer(error)
        if answer is None:
            answer = problem_answer(internal_error(error, self._service.hub.randomness, where=UNROUTED))
        self._service.metrics.refused(UNROUTED, str(answer.status))
        return _response(answer)


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
    return HTTPRouteHandler(_typed(path), http_method=METHODS[method], status_code=200)(handler)


def _methods_by_path() -> Mapping[str, Sequence[Method]]:
    """Return the methods of each path, whose calls are rows of their own."""
    methods: dict[str, list[Method]] = {}
    for route in ROUTES:
        methods.setdefault(route.path, []).extend(METHODS[route.method])
    return {**methods, **{route.path: METHODS["GET"] for route in OPEN_ROUTES}}


def _telling(methods: Sequence[Method]) -> Handler:
    allowed = ", ".join((*methods, "OPTIONS"))

    async def tell(request: AnyRequest) -> Response[bytes]:  # noqa: ARG001  # Litestar hands it in by this name
        return Response(content=b"", status_code=204, headers={"allow": allowed})

    return tell


def _typed(path: str) -> str:
    """Return ``path`` as Litestar wants it; every value of a path is text, and judged by the use case."""
    return path.replace("}", ":str}")
