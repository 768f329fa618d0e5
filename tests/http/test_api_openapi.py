"""The OpenAPI document is whole, well-formed, checked in, and says what the app serves."""

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest

from moneta.application.access import RIGHTS, Operation
from moneta.application.problems import ERRORS_BY_CODE, PROBLEM_TYPES
from moneta.entrypoints.http import openapi
from moneta.entrypoints.http.management import Management
from moneta.entrypoints.http.roles_page import ROLES
from moneta.entrypoints.http.routes import ROUTES
from tests.http.api_contract import document, operations, resolve
from tests.http.api_server import serving

BODILESS = {"redeliver", "redrive", "test_endpoint", "issue_credential"}
DOCS = Path(__file__).parents[2] / "docs"


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_checked_in_document_is_the_generated_one():
    assert (DOCS / "openapi.json").read_bytes() == openapi.document_bytes(), (
        "run python -m moneta.entrypoints.http.openapi"
    )


@pytest.mark.parametrize("name", ["openapi.json", *openapi.PAGES])
def test_what_is_made_from_the_tables_is_checked_in(tmp_path, name):
    openapi.write(tmp_path)
    assert (tmp_path / name).read_bytes() == (DOCS / name).read_bytes(), "run python -m moneta.entrypoints.http.openapi"


def test_each_operation_with_a_token_says_who_may():
    for _, _, operation in operations():
        right = RIGHTS.get(operation["operationId"].removesuffix("_version"))
        scopes = {} if right is None else {role: str(getattr(right, role)) for role in ROLES}
        expected = {role: scope for role, scope in scopes.items() if scope != "none"}
        assert operation.get("x-roles", {}) == expected
        assert bool(operation["security"]) == (right is not None)


def test_every_reference_leads_somewhere_and_every_component_is_used():
    used = set(references(document()))
    for reference in used:
        assert resolve({"$ref": reference}) is not None
    named = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "headers")
        for name in document()["components"][kind]
    }
    assert named == used


def test_every_schema_is_json_schema_2020_12():
    for schema in document()["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_component_names_have_the_form_that_openapi_asks_for():
    for names in document()["components"].values():
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)


def test_operation_ids_are_unique_and_cover_every_right():
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))
    assert set(Operation) <= set(ids)


@pytest.mark.parametrize(("method", "path", "operation"), operations(), ids=lambda value: str(value)[:60])
def test_an_operation_is_described_whole(method, path, operation):
    declared = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
    assert declared == set(re.findall(r"{(\w+)}", path))
    statuses = set(operation["responses"])
    assert {"400", "500", "503"} <= statuses
    if operation["security"]:
        assert {"401", "403"} <= statuses
    assert ("requestBody" in operation) == (method in {"POST", "PUT"} and operation["operationId"] not in BODILESS)
    for answer in map(resolve, operation["responses"].values()):
        assert answer["description"]
        assert answer["content"]


MADE_ONCE = {Operation.PUBLISH_TEMPLATE}  # the same version with the same bytes is the same version
PAGED = {"limit", "cursor"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_change_takes_a_revision_a_creation_a_key_and_a_list_a_cursor(route):
    if route.method == "PUT":
        assert route.is_conditional
    if route.location is not None and not route.is_deferred:
        assert route.is_idempotent or route.operation in MADE_ONCE
    if {"items", "next_cursor"} <= set(route.answer.__struct_fields__):
        assert set(route.query) >= PAGED
    changed = {other.path.removesuffix("/status") for other in ROUTES if other.method == "PUT"}
    if route.method == "GET" and route.path in changed:
        assert route.is_revised


def test_every_code_of_a_described_problem_has_its_status():
    for name, answer in document()["components"]["responses"].items():
        status, *codes = name.split(".")
        [content] = answer["content"].values()
        assert content["schema"]["allOf"][1]["properties"]["code"]["enum"] == codes
        assert {PROBLEM_TYPES[ERRORS_BY_CODE[code]].status for code in codes} == {int(status)}


def test_the_app_serves_what_is_described_and_nothing_else(tmp_path):
    with serving(tmp_path) as served:
        assert served.client.get("/openapi.json").content == openapi.document_bytes()
        management = Management(None, None, on_change=lambda: None)
        routed = {
            (method, re.sub(r":str}", "}", route.path))
            for route in management._litestar.routes
            for method in route.methods
            if method not in {"HEAD", "OPTIONS"}
        }
    routed.add(("POST", "/event"))  # goes past the router, and has tests of its own
    assert routed == {(method, path) for method, path, _ in operations()}


def test_examples_of_the_event_pass_the_schema_of_the_request():
    body = document()["paths"]["/event"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    check = jsonschema_rs.validator_for({**body, "components": document()["components"]})
    event = {
        "specversion": "1.0",
        "id": "e1",
        "source": "00000000-0000-4000-8000-000000000000",
        "type": "moneta.contract.submit",
        "subject": "c1",
        "time": "2026-11-24T10:00:00Z",
        "data": {"contract": {"payload": "YQ", "signatures": [{"protected": "YQ", "signature": "YQ"}]}},
        "extension": "ignored",
    }
    act = {**event, "type": "moneta.contract.decline", "data": {"act": "a.b.c"}}
    assert check.is_valid(event)
    assert check.is_valid(act)
    assert not check.is_valid({**event, "data": act["data"]})
    assert json.loads(openapi.document_bytes())["openapi"] == "3.1.0"
