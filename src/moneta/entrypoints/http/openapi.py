"""The OpenAPI 3.1 document, made from the routes tables and the Structs of the edge; ``docs/openapi.json`` is this.

``python -m moneta.entrypoints.http.openapi DOCS`` writes it into the folder ``DOCS`` (``docs`` by default), and beside
it the pages made from other tables: ``problems.md``, ``roles.md`` and ``lifecycles.md``. It is written by hand rather
than by Litestar because the problems of a call, code by code, follow from the columns of its row.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from moneta import __version__
from moneta.application.access import Operation
from moneta.application.ports import DeliveryStatus
from moneta.application.problems import PROBLEM_TYPES, problems_page
from moneta.application.templates import FirstStatus
from moneta.domain import errors
from moneta.domain.errors import Refused
from moneta.domain.limits import (
    CURSOR_CHARS_MAX,
    IDEMPOTENCY_KEY_CHARS_MAX,
    JSON_INTEGER_MAX,
    LIST_LIMIT_DEFAULT,
    LIST_LIMIT_MAX,
)
from moneta.domain.mpasses import MPassStatus
from moneta.domain.organizations import OrganizationKind, OrganizationStatus
from moneta.domain.pending_changes import ChangeState
from moneta.domain.templates import TemplateStatus
from moneta.entrypoints import event_exchange
from moneta.entrypoints.answers import JSON, PROBLEM
from moneta.entrypoints.http import schemas
from moneta.entrypoints.http.calls import JSON_BODY, NO_BODY, Route
from moneta.entrypoints.http.open_routes import OPEN_ROUTES, OpenRoute
from moneta.entrypoints.http.roles_page import roles_of, roles_page
from moneta.entrypoints.http.routes import ROUTES
from moneta.entrypoints.lifecycles_page import lifecycles_page
from moneta.entrypoints.requests import EVENT_TYPES

Node = dict[str, Any]  # a piece of JSON; OpenAPI has no narrower type for us
ProblemClasses = Sequence[type[Refused]]

# fmt: off
CHOSEN_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9._:~-]{1,128}$"}
UUID:      Final = {"type": "string", "format": "uuid"}
SECONDS:   Final = {"type": "integer", "minimum": 0, "maximum": JSON_INTEGER_MAX}
TEXT:      Final = {"type": "string"}

PATH_PARAMETERS: Final[Mapping[str, tuple[Node, str]]] = {
    "event_id":        (CHOSEN_ID, "The id that the sender chose."),
    "contract_id":     (CHOSEN_ID, "The contract's id."),
    "webhook_id":      (CHOSEN_ID, "The webhook-id that the message carries."),
    "letter_id":       (CHOSEN_ID, "The dead letter's id."),
    "kind":            ({"type": "string", "enum": list(OrganizationKind)}, "The kind of organization."),
    "organization_id": (UUID, "The organization's id."),
    "kid":             ({"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}, "The key's RFC 7638 thumbprint."),
    "mpass_id":        (UUID, "The mPass's id."),
    "change_id":       (UUID, "The change's id."),
    "list_id":         (TEXT, "The status list's id, as a credential's `status` names it."),
    "name":            (TEXT, "The template's name."),
    "version":         ({"type": "integer", "minimum": 1}, "The template's version."),
    "code":            (TEXT, "The problem's code."),
}
QUERY_PARAMETERS: Final[Mapping[str, tuple[Node, str]]] = {
    "source":        (CHOSEN_ID, "Whose event it is; only the operator, the checker and the auditor may name another."),
    "mo_id":         (CHOSEN_ID, "Only those of this membership organization."),
    "publisher_id":  (CHOSEN_ID, "Only those of this publisher."),
    "mpass_id":      (CHOSEN_ID, "Only those of this mPass."),
    "contract_id":   (CHOSEN_ID, "Only those of this contract."),
    "received_from": (SECONDS, "Received at this Unix second or later."),
    "received_to":   (SECONDS, "Received at this Unix second or earlier."),
    "mic":           (CHOSEN_ID, "Only the membership organization with this code."),
    "mpc":           (CHOSEN_ID, "Only the publisher with this code."),
    "at":            (SECONDS, "As it was at the end of this Unix second."),
    "state":         ({"type": "string", "enum": list(ChangeState)}, "Only those in this state."),
    "status":        (TEXT, "Only those of this status."),
    "limit":         ({"type": "integer", "minimum": 1, "maximum": LIST_LIMIT_MAX, "default": LIST_LIMIT_DEFAULT}, "The most items of a page."),  # noqa: E501  # one row a fact
    "cursor":        ({"type": "string", "minLength": 1, "maxLength": CURSOR_CHARS_MAX}, "`next_cursor` of the page before."),  # noqa: E501  # one row a fact
}
STATUSES: Final[Mapping[Operation, Sequence[str]]] = {
    Operation.LIST_DELIVERIES:    list(DeliveryStatus),
    Operation.LIST_ORGANIZATIONS: list(OrganizationStatus),
    Operation.LIST_MPASSES:       list(MPassStatus),
    Operation.LIST_TEMPLATES:     list(TemplateStatus),
    Operation.PUBLISH_TEMPLATE:   list(FirstStatus),
}

ALWAYS:        Final = (errors.MalformedRequestError, errors.InvalidParameterError, errors.UnavailableError, errors.HubBusyError, errors.InternalError)  # noqa: E501  # one row a fact
WITH_TOKEN:    Final = (errors.UnauthorizedError, errors.ForbiddenError, errors.TooManyRequestsError)
WITH_BODY:     Final = (errors.TooLargeError, errors.UnsupportedMediaTypeError)
WITH_MEMBERS:  Final = (errors.MalformedJSONError, errors.MissingFieldError, errors.InvalidFieldError, errors.UnknownFieldError)  # noqa: E501  # one row a fact
OF_EVENTS:     Final = (errors.MalformedJSONError, errors.MalformedJWSError, errors.SubjectMismatchError, errors.EventIdReusedError)  # noqa: E501  # one row a fact

HEADERS: Final[Mapping[str, Node]] = {
    "ETag":                 {"description": "The revision, quoted; for If-Match.", "schema": TEXT},
    "Location":             {"description": "Where what was made can be read.", "schema": TEXT},
    "Idempotency-Replayed": {"description": "`true`: this was answered before.", "schema": {"type": "string", "const": "true"}},  # noqa: E501  # one row a fact
    "Retry-After":          {"description": "Seconds after which to try again.", "schema": {"type": "integer", "minimum": 1}},  # noqa: E501  # one row a fact
    "WWW-Authenticate":     {"description": "`Bearer`", "schema": TEXT},
    "RateLimit-Policy":     {"description": "How many requests `q` fit into `w` seconds.", "schema": {"type": "string", "examples": ['"requests";q=10000;w=2']}},  # noqa: E501  # one row a fact
    "RateLimit":            {"description": "How many more requests `r` fit now; all of them again in `t` seconds, or where `r` is 0, one.", "schema": {"type": "string", "examples": ['"requests";r=9999;t=1']}},  # noqa: E501  # one row a fact
}
PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "problems.md":   problems_page,
    "roles.md":      roles_page,
    "lifecycles.md": lifecycles_page,
}
ENTITY_TAG: Final = r'^(\*|(W/)?"[!#-~]*")$'
RATE_LIMIT: Final = ("RateLimit-Policy", "RateLimit")
PROBLEM_HEADERS: Final[Mapping[int, Sequence[str]]] = {
    401: ("WWW-Authenticate",), 429: ("Retry-After", *RATE_LIMIT), 503: ("Retry-After",),
}
# fmt: on


def document() -> Node:
    """Return the OpenAPI document."""
    _, components = msgspec.json.schema_components(_shapes(), ref_template="#/components/schemas/{name}")
    paths: dict[str, Node] = {event_exchange.PATH: {"post": _event_operation()}}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _call_operation(route)
    for open_route in OPEN_ROUTES:
        paths[open_route.path] = {"get": _open_operation(open_route)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Moneta Core",
            "version": __version__,
            "summary": "The trusted hub between membership organizations and publishers.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": _problem_components(),
            "headers": dict(HEADERS),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A JWT by the caller's own auth key, good for at most 15 minutes.",
                }
            },
        },
    }


@cache
def document_bytes() -> bytes:
    """Return the document as ``GET /openapi.json`` serves it and ``docs/openapi.json`` keeps it."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2) + b"\n"


def call_problems(route: Route) -> ProblemClasses:
    """Return every refusal that a call can give."""
    classes: list[type[Refused]] = [*ALWAYS, *WITH_TOKEN, *route.problems]
    if "{" in route.path:
        classes.append(errors.NotFoundError)
    if route.body is not NO_BODY:
        classes += WITH_BODY
    if route.body is JSON_BODY:
        classes += WITH_MEMBERS
    if route.is_conditional:
        classes.append(errors.PreconditionFailedError)
    if route.is_idempotent:
        classes.append(errors.IdempotencyKeyReusedError)
    return classes


def open_problems(route: OpenRoute) -> ProblemClasses:
    """Return every refusal that an open route can give."""
    return (*ALWAYS, errors.NotFoundError) if "{" in route.path else ALWAYS


def event_problems() -> ProblemClasses:
    """Return every refusal that ``POST /event`` can give."""
    return (*ALWAYS, *WITH_TOKEN, *WITH_BODY, *OF_EVENTS)


def _shapes() -> list[type[msgspec.Struct]]:
    of_calls: list[type[msgspec.Struct]] = [shape for route in ROUTES for shape in (route.answer, *route.request)]
    of_waiting: list[type[msgspec.Struct]] = [schemas.ChangeAsked]
    of_open_routes = [route.answer for route in OPEN_ROUTES if route.answer is not None]
    of_events: list[type[msgspec.Struct]] = [schemas.ContractEvent, schemas.ActEvent, schemas.EventAccepted]
    return [schemas.Problem, *of_events, *of_calls, *of_waiting, *of_open_routes]


def _event_operation() -> Node:
    accepted = _json_answer(schemas.EventAccepted, "Durably stored.", ("Location", "Idempotency-Replayed", *RATE_LIMIT))
    return {
        "operationId": Operation.SEND_EVENT,
        "summary": "Submit, sign, decline or cancel a contract",
        "tags": ["event"],
        "security": [{"bearer": []}],
        "x-roles": roles_of(Operation.SEND_EVENT),
        "requestBody": _request_body(EVENT_TYPES, _one_of((schemas.ContractEvent, schemas.ActEvent))),
        "responses": {"202": accepted, **_problem_answers(event_problems())},
    }


def _call_operation(route: Route) -> Node:
    parameters = [*_path_parameters(route.path), *_query_parameters(route), *_header_parameters(route)]
    answer = _json_answer(route.answer, route.summary, _answer_headers(route))
    operation: Node = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": [route.path.split("/")[1]],
        "security": [{"bearer": []}],
        "x-roles": roles_of(route.operation),
    }
    if parameters:
        operation["parameters"] = parameters
    if route.body is not NO_BODY:
        shape = _one_of(route.request) if route.body is JSON_BODY else {"description": "A template."}
        operation["requestBody"] = _request_body(route.body.media_types, shape)
    operation["responses"] = {str(route.status): answer, **_waiting(route), **_problem_answers(call_problems(route))}
    return operation


def _waiting(route: Route) -> Node:
    """Return the answer of a call that was kept for a second operator, if it can be."""
    if not route.may_wait:
        return {}
    headers = ("Location", *(("Idempotency-Replayed",) if route.is_idempotent else ()), *RATE_LIMIT)
    return {"202": _json_answer(schemas.ChangeAsked, "Kept until a second operator decides it.", headers)}


def _open_operation(route: OpenRoute) -> Node:
    shape = {"type": "object"} if route.answer is None else _reference(route.answer)
    content = {route.media_type: {"schema": shape if route.media_type == JSON.decode("ascii") else TEXT}}
    answers = {str(status): {"description": route.summary, "content": content} for status in route.statuses}
    operation: Node = {"operationId": route.name, "summary": route.summary, "tags": ["hub"], "security": []}
    if "{" in route.path:
        operation["parameters"] = _path_parameters(route.path)
    problems = _problem_answers(open_problems(route))
    inlined = {status: answer for status, (_, answer) in _problems(open_problems(route)).items()}
    both = {status: _either(answers[status], inlined[status]) for status in answers.keys() & inlined.keys()}
    operation["responses"] = dict(sorted({**problems, **answers, **both}.items()))
    return operation


def _either(answer: Node, problem: Node) -> Node:
    return {**problem, "description": answer["description"], "content": {**answer["content"], **problem["content"]}}


def _path_parameters(path: str) -> list[Node]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"in": "path", "required": True, **_parameter(name, *PATH_PARAMETERS[name])} for name in names]


def _query_parameters(route: Route) -> list[Node]:
    shapes = {name: QUERY_PARAMETERS[name] for name in route.query}
    if "status" in shapes and route.operation in STATUSES:
        shapes["status"] = ({"type": "string", "enum": list(STATUSES[route.operation])}, shapes["status"][1])
    return [{"in": "query", **_parameter(name, *shape)} for name, shape in shapes.items()]


def _header_parameters(route: Route) -> list[Node]:
    parameters = []
    if route.is_conditional:
        shape = {"type": "string", "pattern": ENTITY_TAG, "examples": ['"3"']}
        parameters.append({"in": "header", **_parameter("If-Match", shape, "Change only this revision.")})
    if route.is_idempotent:
        shape = {"type": "string", "pattern": f"^[!-~]{{1,{IDEMPOTENCY_KEY_CHARS_MAX}}}$"}
        parameters.append({"in": "header", **_parameter("Idempotency-Key", shape, "Make it once.")})
    return parameters


def _parameter(name: str, schema: Node, description: str) -> Node:
    return {"name": name, "description": description, "schema": schema}


def _answer_headers(route: Route) -> Sequence[str]:
    if route.is_deferred:
        return (*(("Location",) if route.location else ()), *(("Idempotency-Replayed",) if route.is_idempotent else ()))
    made = () if route.location is None else ("Location", "Idempotency-Replayed")
    is_revised = route.location is not None or route.is_conditional or route.is_revised
    return (*made, "ETag", *RATE_LIMIT) if is_revised else (*made, *RATE_LIMIT)


def _request_body(media_types: Iterable[str], schema: Node) -> Node:
    return {"required": True, "content": {media_type: {"schema": schema} for media_type in media_types}}


def _json_answer(shape: type[msgspec.Struct], description: str, headers: Sequence[str]) -> Node:
    answer: Node = {"description": description}
    if headers:
        answer["headers"] = _headers(headers)
    return {**answer, "content": {JSON.decode("ascii"): {"schema": _reference(shape)}}}


def _problem_answers(classes: ProblemClasses) -> Node:
    """Return one answer a status, in order, by reference: many calls give the same codes with a status."""
    return {status: {"$ref": f"#/components/responses/{name}"} for status, (name, _) in _problems(classes).items()}


def _problem_components() -> Node:
    """Return every answer that a call refers to, by name."""
    described = [event_problems(), *map(call_problems, ROUTES), *map(open_problems, OPEN_ROUTES)]
    answers = [answer for classes in described for answer in _problems(classes).values()]
    return dict(sorted(answers, key=lambda named: named[0]))


def _problems(classes: ProblemClasses) -> Mapping[str, tuple[str, Node]]:
    """Return the name and the answer of each status; its schema lists the codes that come with that status."""
    codes: dict[int, list[str]] = {}
    for error in dict.fromkeys(classes):
        codes.setdefault(PROBLEM_TYPES[error].status, []).append(error.code)
    named = {status: ".".join([str(status), *sorted(codes[status])]) for status in sorted(codes)}
    return {str(status): (name, _problem_answer(status, sorted(codes[status]))) for status, name in named.items()}


def _problem_answer(status: int, codes: Sequence[str]) -> Node:
    shape = {"allOf": [_reference(schemas.Problem), {"properties": {"code": {"enum": list(codes)}}}]}
    answer: Node = {"description": ", ".join(codes)}
    if status in PROBLEM_HEADERS:
        answer["headers"] = _headers(PROBLEM_HEADERS[status])
    return {**answer, "content": {PROBLEM.decode("ascii"): {"schema": shape}}}


def _headers(names: Sequence[str]) -> Node:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _one_of(shapes: Sequence[type[msgspec.Struct]]) -> Node:
    references = [_reference(shape) for shape in shapes]
    return references[0] if len(references) == 1 else {"oneOf": references}


def _reference(shape: type[msgspec.Struct]) -> Node:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def write(docs: Path) -> None:
    """Write the document and the pages made from tables into the folder ``docs``."""
    (docs / "openapi.json").write_bytes(document_bytes())
    for name, page in PAGES.items():
        (docs / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
