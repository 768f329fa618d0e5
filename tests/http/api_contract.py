"""The OpenAPI document as a judge: every answer must be one that it describes."""

import json
from functools import cache

import jsonschema_rs

from moneta.entrypoints.http import openapi

ROUTING_CODES = {400: "malformed_request", 404: "not_found", 405: "method_not_allowed"}
"""What is answered where there is no route, or no request to speak of."""


@cache
def document():
    return json.loads(openapi.document_bytes())


def operations():
    """Give (method, path, operation) of each."""
    return [
        (method.upper(), path, operation)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]


def resolve(node):
    """Return what a reference within the document points at."""
    if "$ref" not in node:
        return node
    target = document()
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return target


@cache
def validator(method, path, status, media_type):
    answers = document()["paths"][path][method.lower()]["responses"]
    assert status in answers, f"{method} {path}: status {status} is not described"
    content = resolve(answers[status])["content"]
    assert media_type in content, f"{method} {path}: {status} as {media_type} is not described"
    return jsonschema_rs.validator_for({**content[media_type]["schema"], "components": document()["components"]})


def check_described(answer, method, path):
    """Return if ``answer`` is one that the operation describes, or what any request may meet."""
    media_type = answer.headers["content-type"].partition(";")[0]
    body = answer.json() if media_type.endswith("json") else answer.text
    if media_type == "application/problem+json":
        assert body["status"] == answer.status_code
        assert body["type"] == f"/problems/{body['code']}"
        if ROUTING_CODES.get(answer.status_code) == body["code"]:
            return
    check = validator(method, path, str(answer.status_code), media_type)
    errors = [error.message for error in check.iter_errors(body)]
    assert not errors, f"{method} {path}: {answer.status_code}: {errors[:3]} in {answer.text[:500]}"
