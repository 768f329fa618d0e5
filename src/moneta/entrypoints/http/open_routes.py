"""What needs no token: whether the hub is well, its figures, its public keys, and what describes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from moneta.application.access import not_found
from moneta.application.documents import to_json
from moneta.application.ports import Hub
from moneta.application.problems import ERRORS_BY_CODE, PROBLEM_TYPES
from moneta.application.queries import read_moneta_keys
from moneta.domain.errors import StoreUnavailableError
from moneta.entrypoints.http import schemas
from moneta.entrypoints.http.answers import Answer
from moneta.entrypoints.http.asgi import Scope
from moneta.entrypoints.http.calls import Calls
from moneta.entrypoints.http.metrics import Metrics
from moneta.entrypoints.http.requests import query_parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the open routes look at."""

    hub: Hub
    metrics: Metrics
    worker_alive: Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRoute:
    """One row: a path that ``GET`` reads without a token.

    ``answer`` None: no shape that is told, only ``media_type``. ``statuses``: those that answer in that shape.
    """

    path: str
    name: str
    summary: str
    respond: Callable[[Service, Mapping[str, str]], Answer]
    answer: type[msgspec.Struct] | None = None
    media_type: str = "application/json"
    statuses: tuple[int, ...] = (200,)


def health(_service: Service, _path: Mapping[str, str]) -> Answer:
    """Answer that the process is alive."""
    return Answer(status=200, body=msgspec.json.encode(schemas.Health(status="ok")))


def readiness(service: Service, _path: Mapping[str, str]) -> Answer:
    """Answer 200 if events can be made durable and will be processed, else 503."""
    is_writable, is_alive = _store_is_writable(service.hub), service.worker_alive()
    is_ready = is_writable and is_alive
    body = schemas.Readiness(
        status="ready" if is_ready else "not_ready", store_writable=is_writable, worker_alive=is_alive
    )
    return Answer(status=200 if is_ready else 503, body=msgspec.json.encode(body))


def metrics(service: Service, _path: Mapping[str, str]) -> Answer:
    """Answer with every figure, for Prometheus."""
    body = service.metrics.exposition(service.hub)
    return Answer(status=200, body=body, media_type=CONTENT_TYPE_LATEST.encode("ascii"))


def moneta_keys(service: Service, _path: Mapping[str, str]) -> Answer:
    """Answer with the hub's own public keys."""
    return Answer(status=200, body=to_json(read_moneta_keys(service.hub).body))


def api_description(_service: Service, _path: Mapping[str, str]) -> Answer:
    """Answer with the OpenAPI document."""
    from moneta.entrypoints.http import openapi  # noqa: PLC0415  # it describes these routes, and so imports them

    return Answer(status=200, body=openapi.document_bytes())


def problem(_service: Service, path: Mapping[str, str]) -> Answer:
    """Answer with what a problem code means.

    Raises:
        NotFoundError: There is no such code.
    """
    error = ERRORS_BY_CODE.get(path["code"])
    if error is None:
        raise not_found()
    kind = PROBLEM_TYPES[error]
    body = schemas.ProblemDescription(
        code=error.code, title=kind.title, status=kind.status, explanation=kind.explanation
    )
    return Answer(status=200, body=msgspec.json.encode(body))


def _store_is_writable(hub: Hub) -> bool:
    try:
        hub.events.accept(())  # takes the writer's place, and begins and ends a transaction
    except StoreUnavailableError:
        return False
    return True


async def answer_open(calls: Calls, service: Service, route: OpenRoute, scope: Scope) -> Answer:
    """Return the answer to one request that came to ``route``."""

    def respond() -> Answer:
        query_parameters(scope["query_string"], ())
        return route.respond(service, scope.get("path_params", {}))

    return await calls.run(route.name, respond)


PROBES: Final = (
    OpenRoute(
        path="/health",
        name="read_health",
        summary="The process is alive",
        respond=health,
        answer=schemas.Health,
    ),
    OpenRoute(
        path="/ready",
        name="read_readiness",
        summary="The store can be written and the worker is alive",
        respond=readiness,
        answer=schemas.Readiness,
        statuses=(200, 503),
    ),
    OpenRoute(
        path="/metrics",
        name="read_metrics",
        summary="Figures for Prometheus",
        respond=metrics,
        media_type="text/plain",
    ),
)
"""What is asked of a hub that starts."""

OPEN_ROUTES: Final = (
    OpenRoute(
        path="/.well-known/jwks.json",
        name="read_moneta_keys",
        summary="Moneta's own keys, retired ones too",
        respond=moneta_keys,
        answer=schemas.JWKS,
    ),
    *PROBES,
    OpenRoute(
        path="/openapi.json",
        name="read_openapi",
        summary="This document",
        respond=api_description,
    ),
    OpenRoute(
        path="/problems/{code}",
        name="read_problem",
        summary="What a problem code means",
        respond=problem,
        answer=schemas.ProblemDescription,
    ),
)
