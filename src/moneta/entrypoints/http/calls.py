"""From a row of the routes table to an answer: one way for every call that takes a token.

1. Who is calling. Calls that change something ask the registry, not a cache.
2. May they; where the path names whose it is, that too, so that the body tells nobody what exists.
3. The query, the conditions in the headers, and the body, strictly.
4. The use case, and its document as JSON.

Before all that: whose token it is and how many requests it sent (``callers``, ``rate_limits``), so that nobody's body
is read, and no thread is taken, for one who may not send it. The use cases wait for the disk, so they run in a few
threads beside the event loop.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote

import structlog
from msgspec import Struct
from structlog.contextvars import bind_contextvars

from moneta.application.access import Operation, authorize, check_right, not_found
from moneta.application.authenticate import Caller, authenticate
from moneta.application.documents import Document, to_json
from moneta.application.ports import Hub
from moneta.domain.errors import HubBusyError, MalformedRequestError, Refused, TryAgainError, UnavailableError
from moneta.domain.identifiers import OrganizationId, is_chosen_id
from moneta.domain.ijson import Value, parse_object
from moneta.domain.limits import (
    CALLS_OF_CALLER_MAX,
    CALLS_WAITING_MAX,
    MANAGEMENT_BYTES_MAX,
    TEMPLATE_BYTES_MAX,
    TEMPLATE_VERSION_MAX,
)
from moneta.domain.organizations import OrganizationKind
from moneta.entrypoints.answers import RETRY_AFTER_S, Answer, AnswerHeaders, problem_answer
from moneta.entrypoints.failures import internal_error
from moneta.entrypoints.http.asgi import Receive, Scope
from moneta.entrypoints.http.bodies import read_body
from moneta.entrypoints.http.gate import Gate
from moneta.entrypoints.http.metrics import Metrics
from moneta.entrypoints.requests import (
    JSON_TYPES,
    YAML_TYPES,
    Headers,
    bearer_token,
    check_content_type,
    idempotency_key,
    if_match,
    query_parameters,
)

log = structlog.get_logger()

THREADS: Final = 4
UNAUTHORIZED: Final = 401
_VERSION: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
CHANGE_PATH: Final = "/changes/{change_id}"
REPLAYED: Final[AnswerHeaders] = ((b"idempotency-replayed", b"true"),)


@dataclass(frozen=True, slots=True)
class BodyKind:
    """What a call takes as its body: the media types it may come as, and the most bytes."""

    media_types: tuple[str, ...]
    bytes_max: int


EMPTY_DOCUMENT: Final = b"{}"
NO_BODY: Final = BodyKind((), len(EMPTY_DOCUMENT))
JSON_BODY: Final = BodyKind(JSON_TYPES, MANAGEMENT_BYTES_MAX)
YAML_BODY: Final = BodyKind(YAML_TYPES, TEMPLATE_BYTES_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, read and allowed: what a row's use case takes. ``path``: the values of the path's names."""

    hub: Hub
    caller: Caller
    path: Mapping[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Value] = field(default_factory=dict)
    raw: bytes = b""
    if_match: int | None = None
    idempotency_key: str | None = None

    @property
    def kind(self) -> OrganizationKind:
        """The kind of organization that the path names."""
        return _kind(self.path)

    @property
    def organization_id(self) -> OrganizationId:
        """The organization that the path names."""
        return OrganizationId(self.path["organization_id"])

    @property
    def version(self) -> int:
        """The version that the path names.

        Raises:
            NotFoundError: It can't be one.
        """
        text = self.path["version"]
        if _VERSION.fullmatch(text) is None or int(text) > TEMPLATE_VERSION_MAX:
            raise not_found()
        return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row: a method on a path, who may, what it takes, what does it, and what it answers.

    ``request``: the shapes that a JSON body may have. ``location`` of a 201: the path of what was made, from the names
    of the path and the members of the answer. ``is_revised``: the answer has an ``ETag``. ``is_deferred``: it is kept
    durably, and the worker does it: 202. ``may_wait``: where two operators are configured it may be kept for the
    second, and is answered 202 with the change's id. ``problems``: the codes that this call can give beyond those that
    follow from the other columns.
    """

    method: str
    path: str
    operation: Operation
    summary: str
    use_case: Callable[[Call], Document]
    answer: type[Struct]
    body: BodyKind = NO_BODY
    request: tuple[type[Struct], ...] = ()
    query: tuple[str, ...] = ()
    is_revised: bool = False
    is_conditional: bool = False
    is_idempotent: bool = False
    location: str | None = None
    is_deferred: bool = False
    may_wait: bool = False
    problems: tuple[type[Refused], ...] = ()

    @property
    def operation_id(self) -> str:
        """The name of the call; two paths of one operation differ by what the longer one adds."""
        return f"{self.operation}_version" if self.path.endswith("{version}") else str(self.operation)

    def has_changed(self, answer: Answer) -> bool:
        """Tell whether the call that was answered so has changed something."""
        return self.method != "GET" and answer.status < 300  # noqa: PLR2004  # done: 2xx (RFC 9110, section 15)

    @property
    def status(self) -> int:
        """The status of a call that did what was asked."""
        if self.is_deferred:
            return 202
        return 200 if self.location is None else 201


class Calls:
    """Runs calls in threads; ``answer`` and ``close`` belong to one event loop."""

    def __init__(self, hub: Hub, metrics: Metrics, gate: Gate) -> None:
        self._hub = hub
        self._metrics = metrics
        self._gate = gate
        self._waiting = 0
        self._of_caller: Counter[OrganizationId] = Counter()
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="call")

    async def answer(self, route: Route, scope: Scope, receive: Receive) -> Answer:
        """Return the answer to one request that came to ``route``."""
        started = time.perf_counter()
        # Each request has a task, and so a context, of its own.
        bind_contextvars(request_id=self._hub.randomness.uuid4(), operation=route.operation_id)
        try:
            answer = await self._answer_known(route, scope, receive)
        except Refused as refusal:
            answer = self._refused(route.operation, refusal, self._gate.quota.refusal_headers(refusal))
        except Exception as error:  # noqa: BLE001  # as in ``run``
            answer = self._refused(route.operation, internal_error(error, self._hub.randomness, where=route.operation))
        self._metrics.answered(route.operation, time.perf_counter() - started)
        (log.info if route.has_changed(answer) else log.debug)("call_answered", status=answer.status)
        return answer

    async def _answer_known(self, route: Route, scope: Scope, receive: Receive) -> Answer:
        token = bearer_token(scope["headers"])
        caller_id, quota = await self._gate.enter(token)
        bind_contextvars(caller_id=caller_id)
        if self._of_caller[caller_id] >= CALLS_OF_CALLER_MAX:
            raise HubBusyError("more calls of this caller than can wait", retry_after_s=RETRY_AFTER_S)
        self._of_caller[caller_id] += 1
        try:
            with self._gate.held.of(caller_id) as held:
                body = await _body(route, scope, receive, held.add)
                answer = await self.run(route.operation, lambda: answer_call(self._hub, route, scope, body))
        finally:
            self._of_caller[caller_id] -= 1
            if not self._of_caller[caller_id]:
                del self._of_caller[caller_id]
        if answer.status == UNAUTHORIZED:
            self._gate.callers.forget(token)
        return replace(answer, headers=(*answer.headers, *quota))

    async def run(self, name: str, answer: Callable[[], Answer]) -> Answer:
        """Return what ``answer`` gives in a thread, or the problem that it meets; ``name`` is for logs and figures."""
        if self._waiting >= CALLS_WAITING_MAX:
            return self._refused(name, HubBusyError("more calls than can wait", retry_after_s=RETRY_AFTER_S))
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, answer)
        except Refused as refusal:
            return self._refused(name, refusal)
        except TryAgainError:
            unavailable = UnavailableError("the store could not be read or written", retry_after_s=RETRY_AFTER_S)
            return self._refused(name, unavailable)
        except Exception as error:  # noqa: BLE001  # the last line of defence: logged, and answered with an id
            return self._refused(name, internal_error(error, self._hub.randomness, where=name))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let what is under way end, and the threads with it."""
        self._threads.shutdown(wait=True)

    def _refused(self, name: str, refusal: Refused, headers: AnswerHeaders = ()) -> Answer:
        self._metrics.refused(name, refusal.code)
        return problem_answer(refusal, headers=headers)


async def _body(route: Route, scope: Scope, receive: Receive, hold: Callable[[int], None]) -> bytes | Refused:
    """Return the body, or what is wrong with it, which is told only to who may call."""
    try:
        return await read_body(scope["headers"], receive, bytes_max=route.body.bytes_max, what="body", hold=hold)
    except HubBusyError:
        raise
    except Refused as refusal:
        return refusal


def answer_call(hub: Hub, route: Route, scope: Scope, body: bytes | Refused) -> Answer:
    """Return the answer of ``route`` to a request whose body has been read, or was too large to be.

    Raises:
        Refused: The first of the checks that fails, in the order that the module names.
    """
    headers, path = scope["headers"], scope["path_params"]
    caller = authenticate(hub, bearer_token(headers), is_fresh=route.method != "GET")  # (1)
    _check_may(caller, route, path)  # (2)
    parameters = query_parameters(scope["query_string"], route.query)  # (3)
    members, raw = _read_content(route, headers, body)
    call = Call(
        hub=hub,
        caller=caller,
        path=path,
        parameters=parameters,
        members=members,
        raw=raw,
        if_match=if_match(headers) if route.is_conditional else None,
        idempotency_key=idempotency_key(headers) if route.is_idempotent else None,
    )
    return _document_answer(route, path, route.use_case(call))  # (4)


def _check_may(caller: Caller, route: Route, path: Mapping[str, str]) -> None:
    check_right(caller, route.operation)
    if not all(map(is_chosen_id, path.values())):
        raise not_found()  # whatever the path names has an id of this form, and no store need see another
    if "kind" in path:
        _kind(path)
    if "organization_id" in path and route.body is not NO_BODY:
        authorize(caller, route.operation, owner=OrganizationId(path["organization_id"]))


def _kind(path: Mapping[str, str]) -> OrganizationKind:
    try:
        return OrganizationKind(path["kind"])
    except ValueError as error:
        raise not_found() from error


def _read_content(route: Route, headers: Headers, body: bytes | Refused) -> tuple[Mapping[str, Value], bytes]:
    if route.body is NO_BODY:
        # Some clients can't POST without a document.
        if body != b"" and (route.method, body) != ("POST", EMPTY_DOCUMENT):
            raise MalformedRequestError("body: expected none")
        return {}, b""
    check_content_type(headers, route.body.media_types)
    if isinstance(body, Refused):
        raise body
    return ({}, body) if route.body is YAML_BODY else (parse_object(body, what="body"), b"")


def _document_answer(route: Route, path: Mapping[str, str], document: Document) -> Answer:
    if document.change_id is not None and route.may_wait:
        return _waiting_answer(document)
    headers: AnswerHeaders = ()
    if document.revision is not None:
        headers += ((b"etag", f'"{document.revision}"'.encode("ascii")),)
    if route.location is not None:
        headers += ((b"location", quote(route.location.format(**{**document.body, **path})).encode("ascii")),)
    if document.is_replay:
        headers += REPLAYED
    return Answer(status=route.status, body=to_json(document.body), headers=headers)


def _waiting_answer(document: Document) -> Answer:
    replayed = REPLAYED if document.is_replay else ()
    place = CHANGE_PATH.format(change_id=document.change_id).encode("ascii")
    return Answer(status=202, body=to_json(document.body), headers=((b"location", place), *replayed))
