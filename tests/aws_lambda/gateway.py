"""Requests as API Gateway's HTTP API hands them to a function, payload format 2.0, and the two functions of an event.

Names of headers in lower case, equal ones joined; the path decoded; the body as text where the gateway takes its type
for text, else in base64 (docs: "Working with AWS Lambda proxy integrations for HTTP APIs").
"""

import base64
from urllib.parse import unquote

from moneta.entrypoints.aws_lambda import authorizer
from moneta.entrypoints.aws_lambda.ingestor import Ingestor
from moneta.entrypoints.telemetry.emf import EmbeddedFigures
from moneta.entrypoints.telemetry.metrics import Source

TEXT_TYPES = ("text/", "application/json", "application/javascript", "application/xml")


def gateway_event(method, target, *, headers=(), body=b"", authorized=None):
    """Return the event of a request. ``target``: path and query as on the wire; ``headers``: pairs of text."""
    path, _, query = target.partition("?")
    joined = {}
    for name, value in headers:
        joined[name.lower()] = f"{joined[name.lower()]},{value}" if name.lower() in joined else value
    is_text = joined.get("content-type", "").lower().startswith(TEXT_TYPES) and is_utf8(body)
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(path),
        "rawQueryString": query,
        "headers": {**joined, "x-forwarded-proto": "https"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "http": {"method": method, "path": unquote(path), "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
            "requestId": "JKJaXmPLvHcESHA=",
            "stage": "$default",
            "timeEpoch": 1583348638390,
        },
        "isBase64Encoded": not is_text,
    }
    if body:
        event["body"] = body.decode() if is_text else base64.b64encode(body).decode()
    if authorized is not None:
        event["requestContext"]["authorizer"] = {"lambda": authorized}
    return event


def is_utf8(body):
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def new_figures():
    return EmbeddedFigures(Source.EVERY, {"Hub": "test"})


class EventAPI:
    """``POST /event`` of a hub through its authorizer and its ingestor, as the gateway puts them together."""

    def __init__(self, hub):
        self.hub, self.figures = hub, new_figures()

    def authorize(self, event):
        answer = authorizer.handle(lambda: self.hub, event)
        assert answer["isAuthorized"] is True
        assert all(isinstance(value, str) for value in answer["context"].values())
        return answer["context"]

    def request(self, method, target, *, headers=(), body=b""):
        event = gateway_event(method, target, headers=headers, body=body)
        event["requestContext"]["authorizer"] = {"lambda": self.authorize(event)}
        return Ingestor(hub=lambda: self.hub, figures=self.figures).handle(event)
