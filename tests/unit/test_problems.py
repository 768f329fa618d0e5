"""The problem table is complete, and its documents are RFC 9457's."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from moneta.application.problems import (
    ERRORS_BY_CODE,
    PROBLEM_TYPES,
    http_status,
    problem_document,
    problem_section,
    problems_page,
)
from moneta.domain.errors import (
    ContractClosedError,
    MissingFieldError,
    Refused,
    TransitionRefusedError,
)

DOCS = Path(__file__).parents[2] / "docs"


def refusals(parent: type[Refused] = Refused) -> Iterator[type[Refused]]:
    for child in parent.__subclasses__():
        yield child
        yield from refusals(child)


def test_every_refusal_of_the_domain_has_a_row():
    ours = {error for error in refusals() if error.__module__.startswith("moneta.")}
    assert ours == set(PROBLEM_TYPES)


def test_no_two_refusals_share_a_code():
    assert len(ERRORS_BY_CODE) == len(PROBLEM_TYPES)


@pytest.mark.parametrize("error", PROBLEM_TYPES, ids=lambda error: error.code)
def test_a_row_has_a_code_a_real_status_a_title_and_a_sentence(error):
    row = PROBLEM_TYPES[error]
    assert re.fullmatch(r"[a-z][a-z0-9_]{2,40}", error.code)
    assert HTTPStatus(row.status) < 500 or error.code in {"unavailable", "hub_busy", "internal_error"}
    assert row.title
    assert row.explanation.endswith(".")
    assert http_status(error("x")) == row.status


def test_a_document_has_the_members_of_rfc_9457_then_the_facts():
    document = problem_document(MissingFieldError("contract c1: mpass_id is missing", field="mpass_id"))
    assert list(document.items()) == [
        ("type", "/problems/missing_field"),
        ("title", "Missing field"),
        ("status", 422),
        ("detail", "contract c1: mpass_id is missing"),
        ("code", "missing_field"),
        ("field", "mpass_id"),
    ]


def test_a_list_of_what_is_allowed_stays_a_list():
    assert problem_document(TransitionRefusedError("no", allowed=["activate"]))["allowed"] == ["activate"]


def test_a_fact_cannot_pass_itself_off_as_a_standing_member():
    document = problem_document(ContractClosedError("closed", status="finalized", code="ok", title="fine"))
    assert (document["status"], document["code"], document["title"]) == (409, "contract_closed", "Contract closed")


def test_the_page_has_one_section_a_code():
    page = problems_page()
    assert re.findall(r"^## (\S+)$", page, re.MULTILINE) == list(ERRORS_BY_CODE)
    assert "\n".join(problem_section("forbidden")) in page


def test_the_page_in_docs_is_the_generated_one():
    assert (DOCS / "problems.md").read_text(encoding="utf-8") == problems_page(), (
        "run python -m moneta.entrypoints.http.openapi"
    )
