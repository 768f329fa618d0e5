"""What needs no token: whether the hub is well, its figures, its public keys, and what describes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from moneta.application.access import not_found
from moneta.application.documents import to_json
from moneta.application.ports import Hub
from moneta.application.problems import ERRORS_BY_CODE, PROBLEM_TYPES
from moneta.application.queries import read_moneta_keys
from moneta.entrypoints.answers import NOT_MODIFIED, Answer
from moneta.entrypoints.http import schemas
from moneta.entrypoints.http.asgi import Scope
from moneta.entrypoints.http.calls import Calls
from moneta.entrypoints.http.metrics import CONTENT_TYPE, Metrics
from moneta.entrypoints.http.readiness import Finding, Readiness
from moneta.entrypoints.http.status_lists import STATUS_LIST_MEDIA_TYPE, StatusLists
from moneta.entrypoints.requests import has_already, query_parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the open routes look at."""

    hub: Hub
    metrics: Metrics
    readiness: Readiness
    status_lists: StatusLists = field(default_factory=StatusLists)


def _nothing_at_hand(_service: Service) -> Answer | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRoute:
    """One row: a path that ``GET`` reads without a token.

    ``answer`` None: no shape that is told, only ``media_type``. ``statuses``: those that answer in that shape.
    ``at_hand`` gives the answer if nothing need be read or waited for; None if ``respond`` has to make it, in a thread.
    """

    path: str
    name: str
    summary: str
    respond: Callable[[Service, Mapping[str, str]], Answer]
    answer: type[msgspec.Struct] | None = None
    media_type: str = "application/json"
    statuses: tuple[int, ...] = (200,)
    at_hand: Callable[[Service], Answer | None] = _nothing_at_hand


def health(_service: Service, _path: Mapping[str, str]) -> Answer:
    """Answer that the process is alive."""
    return Answer(status=200, body=msgspec.json.encode(schemas.Health(status="ok")))


def readiness(service: Service, _path: Mapping[str, str]) -> Answer:
    """Answer 200 if events can be made durable and will be processed, else 503."""
    return _readiness_answer(service.readiness.findings())


def metrics(service: Service, _path: Mapping[str, str]) -> Answer:
    """Answer with every figure, for Prometheus."""
    return _metrics_answer(service.metrics.exposition(service.hub, service.readiness.findings()))


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


def status_list(service: Service, path: Mapping[str, str]) -> Answer:
    """Answer with a status list of an MO's.

    Raises:
        NotFoundError: There is none of that id.
    """
    return service.status_lists.answer(service.hub, path["list_id"])


def _readiness_answer(findings: Sequence[Finding]) -> Answer:
    checks = [
        schemas.ReadinessCheck(
            name=found.check.name,
            holds=found.fault is None,
            fault=found.fault,
            remedy=None if found.fault is None else found.check.remedy,
        )
        for found in findings
    ]
    is_ready = all(check.holds for check in checks)
    body = schemas.Readiness(status="ready" if is_ready else "not_ready", checks=checks)
    return Answer(status=200 if is_ready else 503, body=msgspec.json.encode(body))


def _metrics_answer(exposition: bytes) -> Answer:
    return Answer(status=200, body=exposition, media_type=CONTENT_TYPE)


def _fresh_readiness(service: Service) -> Answer | None:
    findings = service.readiness.fresh()
    return None if findings is None else _readiness_answer(findings)


def _fresh_metrics(service: Service) -> Answer | None:
    exposition = service.metrics.fresh()
    return None if exposition is None else _metrics_answer(exposition)


async def answer_open(calls: Calls, service: Service, route: OpenRoute, scope: Scope) -> Answer:
    """Return the answer to one request that came to ``route``."""
    at_hand = None if scope["query_string"] else route.at_hand(service)
    if at_hand is not None:
        return at_hand

    def respond() -> Answer:
        query_parameters(scope["query_string"], ())
        return route.respond(service, scope.get("path_params", {}))

    return _unless_known(await calls.run(route.name, respond), scope)


def _unless_known(answer: Answer, scope: Scope) -> Answer:
    """Return 304 where the caller has what the answer's ``ETag`` names, else the answer."""
    is_known = any(name == b"etag" and has_already(scope["headers"], tag) for name, tag in answer.headers)
    return replace(answer, status=NOT_MODIFIED, body=b"") if is_known else answer


PROBES: Final = (
    OpenRoute(
        path="/health",
        name="read_health",
        summary="The process is alive",
        respond=health,
        answer=schemas.Health,
        at_hand=lambda service: health(service, {}),
    ),
    OpenRoute(
        path="/ready",
        name="read_readiness",
        summary="Events can be made durable, and will be processed and delivered",
        respond=readiness,
        answer=schemas.Readiness,
        statuses=(200, 503),
        at_hand=_fresh_readiness,
    ),
    OpenRoute(
        path="/metrics",
        name="read_metrics",
        summary="Figures for Prometheus",
        respond=metrics,
        media_type="text/plain",
        at_hand=_fresh_metrics,
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
        path="/status-lists/{list_id}",
        name="read_status_list",
        summary="A Token Status List of an MO's mPasses, signed; kept for as long as it says",
        respond=status_list,
        media_type=STATUS_LIST_MEDIA_TYPE,
    ),
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
