"""Requests and answers as API Gateway's HTTP API hands them to a function and takes them back: payload format 2.0.

What it does to a request is not ours to undo: names of headers in lower case, equal ones joined with a comma, and the
path decoded (but not the query). So a header that came twice is one with a comma in it, which is none of the values
that we take.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from moneta.entrypoints.answers import Answer
from moneta.entrypoints.aws_lambda.invocation import Event, Response
from moneta.entrypoints.requests import Headers

UNSENT: Final = frozenset({b"connection", b"content-length"})
"""Headers of one connection: the gateway writes its own."""


class _Http(msgspec.Struct):
    method: str


class _Authorizer(msgspec.Struct):
    lambda_: dict[str, Any] = msgspec.field(name="lambda", default_factory=dict)  # as the authorizer answered


class _RequestContext(msgspec.Struct, rename="camel"):
    http: _Http
    authorizer: _Authorizer = msgspec.field(default_factory=_Authorizer)


class _Request(msgspec.Struct, rename="camel"):
    raw_path: str
    request_context: _RequestContext
    raw_query_string: str = ""
    headers: dict[str, str] = {}
    body: str = ""
    is_base64_encoded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRequest:
    """One request. ``authorized``: the context that the authorizer gave; empty on a route that has none."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes
    authorized: Mapping[str, object]


def read_request(event: Event) -> GatewayRequest:
    """Return the request in ``event``.

    Raises:
        msgspec.ValidationError: The gateway sends another format than 2.0.
    """
    given = msgspec.convert(event, _Request)
    # A lone surrogate is no UTF-8; its bytes go on as they are, for the reader of the body to refuse.
    text = given.body.encode("utf-8", "surrogatepass")
    return GatewayRequest(
        method=given.request_context.http.method,
        path=given.raw_path,
        query=given.raw_query_string.encode("utf-8", "surrogatepass"),
        headers=[(_bytes(name.lower()), _bytes(value)) for name, value in given.headers.items()],
        body=base64.b64decode(text) if given.is_base64_encoded else text,
        authorized=given.request_context.authorizer.lambda_,
    )


def gateway_response(status: int, headers: Headers, body: bytes) -> Response:
    """Return an answer as the gateway takes it. Every body of ours is text."""
    sent = {name.decode("ascii"): value.decode("ascii") for name, value in headers if name not in UNSENT}
    return {"statusCode": status, "headers": sent, "body": body.decode("utf-8"), "isBase64Encoded": False}


def gateway_answer(answer: Answer) -> Response:
    """Return ``answer`` as the gateway takes it."""
    return gateway_response(answer.status, answer.all_headers(), answer.body)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
