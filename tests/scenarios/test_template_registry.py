"""The template registry: published once and for good, drafts apart, the latest version, what is wrong with a file."""

import pytest

from moneta.adapters.template_reader import builtin_templates
from moneta.application import templates
from moneta.application.ports import IdentityRole
from moneta.domain.errors import (
    ForbiddenError,
    InvalidFieldError,
    InvalidParameterError,
    MissingFieldError,
    NotFoundError,
    PreconditionFailedError,
    TemplateExistsError,
    TemplateInvalidError,
    TooLargeError,
    TransitionRefusedError,
    UnknownFieldError,
)
from moneta.domain.limits import TEMPLATE_BYTES_MAX
from moneta.signing import base64url
from tests.hub import MO, PUBLISHER
from tests.signing_examples import NOW

BROKEN = b"template_name: broken\nversion: one\n"


def yaml(name="visit-contract", version=1, description="A visit"):
    return f"""template_name: {name}
version: {version}
description: {description}
schema:
  required_fields: [contract_id, mo_id, publisher_id]
signature_rules:
  required_signatures: [mo, moneta, publisher]
  signing_order: [mo, moneta, publisher]
""".encode()


def publish(house, payload, **parameters):
    return templates.publish_template(house.hub, house.operator, payload, parameters)


def change(house, version, status, *, name="visit-contract", **options):
    return templates.change_template_status(house.hub, house.operator, name, version, {"status": status}, **options)


def read(house, caller, version=None, name="visit-contract"):
    return templates.read_template(house.hub, caller, name, version)


def listed(house, caller, **parameters):
    body = templates.list_templates(house.hub, caller, parameters).body
    return [(item["template_name"], item["version"]) for item in body["items"]], body["next_cursor"]


def test_a_template_is_published_and_shown_as_it_was_sent(house):
    answer = publish(house, yaml())
    assert answer.body == {
        "template_name": "visit-contract",
        "version": 1,
        "description": "A visit",
        "created_at": NOW,
        "is_latest": True,
        "status": "published",
        "sha256": base64url.sha256(yaml()),
        "template_payload": yaml().decode(),
    }
    assert (answer.revision, answer.is_replay) == (1, False)
    assert read(house, house.operator, 1) == answer
    assert read(house, house.operator) == answer


def test_a_version_never_changes(house):
    publish(house, yaml())
    again = publish(house, yaml())
    assert (again.body, again.is_replay) == (read(house, house.operator, 1).body, True)
    for other in (yaml(description="Another"), yaml() + b"\n"):
        with pytest.raises(TemplateExistsError):
            publish(house, other)
    with pytest.raises(TemplateExistsError):
        publish(house, yaml(description="Another"), status="draft")
    assert read(house, house.operator, 1).body["description"] == "A visit"


def test_the_latest_version_is_the_highest_that_is_published(house):
    for version in (1, 3, 2):
        publish(house, yaml(version=version))
    publish(house, yaml(version=4), status="draft")

    def latest():
        return [version for version in (1, 2, 3, 4) if read(house, house.operator, version).body["is_latest"]]

    assert latest() == [3]
    assert read(house, house.operator).body["version"] == 3
    assert change(house, 3, "retired").body["is_latest"] is False
    assert latest() == [2]
    assert change(house, 4, "published").body["is_latest"] is True
    assert latest() == [4]
    for version in (1, 2, 4):
        change(house, version, "deprecated")
    assert latest() == []
    assert read(house, house.operator).body["version"] == 4


MOVES = [
    ("draft", "published", True),
    ("draft", "deprecated", False),
    ("draft", "retired", False),
    ("draft", "draft", False),
    ("published", "deprecated", True),
    ("published", "retired", True),
    ("published", "draft", False),
    ("published", "published", False),
]


@pytest.mark.parametrize(("before", "asked", "is_possible"), MOVES)
def test_a_version_moves_along_its_table(house, before, asked, is_possible):
    publish(house, yaml(), status=before)
    if is_possible:
        answer = change(house, 1, asked)
        assert (answer.body["status"], answer.revision) == (asked, 2)
    else:
        with pytest.raises(TransitionRefusedError):
            change(house, 1, asked)
        assert read(house, house.operator, 1).body["status"] == before


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({}, MissingFieldError),
        ({"status": "gone"}, InvalidFieldError),
        ({"status": "retired", "reason": "x"}, UnknownFieldError),
    ],
)
def test_a_malformed_change_is_refused(house, members, error):
    with pytest.raises(error):
        templates.change_template_status(house.hub, house.operator, "transaction-contract", 1, members)


def test_a_change_meets_the_version_it_was_meant_for(house):
    publish(house, yaml())
    with pytest.raises(PreconditionFailedError):
        change(house, 1, "retired", if_match=2)
    change(house, 1, "retired", if_match=1)
    with pytest.raises(NotFoundError):
        change(house, 2, "retired")
    with pytest.raises(NotFoundError):
        change(house, 1, "retired", name="unknown")


def test_a_file_with_problems_is_told_line_by_line_and_not_stored(house):
    problems = templates.lint_template(house.hub, house.operator, BROKEN).body["problems"]
    assert problems
    assert all(problem["line"] >= 1 and problem["message"] for problem in problems)
    with pytest.raises(TemplateInvalidError):
        publish(house, BROKEN)
    assert templates.lint_template(house.hub, house.operator, yaml()).body == {"problems": []}
    with pytest.raises(NotFoundError):
        read(house, house.operator)


def test_a_template_has_a_limited_size(house):
    large = yaml() + b"#" * TEMPLATE_BYTES_MAX
    with pytest.raises(TooLargeError):
        publish(house, large)
    with pytest.raises(TooLargeError):
        templates.lint_template(house.hub, house.operator, large)


@pytest.mark.parametrize("parameters", [{"status": "retired"}, {"status": ""}, {"state": "draft"}])
def test_a_new_version_is_published_or_a_draft(house, parameters):
    with pytest.raises(InvalidParameterError):
        templates.publish_template(house.hub, house.operator, yaml(), parameters)


def test_everybody_reads_templates_and_only_the_operator_changes_them(house):
    publish(house, yaml())
    publish(house, yaml(version=2), status="draft")
    auditor = house.caller(house.add_identity("auditor", IdentityRole.AUDITOR))
    parties = [
        house.caller(house.register(MO, "ACME")),
        house.caller(house.register(PUBLISHER, "PUB", status="Pending")),
    ]
    for caller in (auditor, *parties):
        assert read(house, caller, 1).body["template_payload"] == yaml().decode()
        with pytest.raises(ForbiddenError):
            templates.publish_template(house.hub, caller, yaml(version=3), {})
        with pytest.raises(ForbiddenError):
            templates.change_template_status(house.hub, caller, "visit-contract", 1, {"status": "retired"})
    assert read(house, auditor, 2).body["status"] == "draft"
    assert templates.lint_template(house.hub, parties[0], BROKEN).body["problems"]
    for caller in parties:
        with pytest.raises(NotFoundError):
            read(house, caller, 2)
        assert ("visit-contract", 2) not in listed(house, caller)[0]


def test_a_template_with_drafts_alone_is_not_there_for_an_organization(house):
    publish(house, yaml(), status="draft")
    caller = house.caller(house.register(MO, "ACME"))
    with pytest.raises(NotFoundError):
        read(house, caller)
    assert read(house, house.operator).body["version"] == 1


def test_the_built_in_templates_are_published_once(house):
    published = templates.publish_built_ins(house.hub, builtin_templates())
    assert len(published) == len(builtin_templates())
    assert all(document.is_replay and document.body["status"] == "published" for document in published)
    with pytest.raises(TemplateExistsError):
        templates.publish_built_ins(house.hub, [builtin_templates()[0] + b"\n"])


def test_a_list_goes_by_name_and_version(house):
    built_in, _ = listed(house, house.operator)
    assert ("transaction-contract", 1) in built_in
    for version in (10, 2, 1):
        publish(house, yaml("a-contract", version))
    change(house, 2, "retired", name="a-contract")
    everything, cursor = listed(house, house.operator)
    assert everything == [("a-contract", 1), ("a-contract", 2), ("a-contract", 10), *built_in]
    assert cursor is None
    walked, cursor = listed(house, house.operator, limit="2")
    while cursor is not None:
        page, cursor = listed(house, house.operator, limit="2", cursor=cursor)
        walked += page
    assert walked == everything
    assert listed(house, house.operator, status="retired") == ([("a-contract", 2)], None)
    items = templates.list_templates(house.hub, house.operator, {}).body["items"]
    assert [item["is_latest"] for item in items[:3]] == [False, False, True]
    assert "template_payload" not in items[0]


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"status": "gone"},
        {"name": "x"},
        {"cursor": "!"},
        {"cursor": base64url.encode(b"x")},
        {"cursor": base64url.encode(b"\xff")},
    ],
)
def test_a_wrong_parameter_is_refused(house, parameters):
    with pytest.raises(InvalidParameterError):
        templates.list_templates(house.hub, house.operator, parameters)
