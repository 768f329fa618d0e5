"""The template registry: versions published once and for good, their status, and what is wrong with a draft.

1. A version's bytes never change. The same bytes again are answered as before; other bytes are refused.
2. The latest version of a name is the highest that is published.
3. Drafts are the hub's own affair: organizations do not see them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from moneta.application.access import IDENTITY_ROLES, Operation, authorize, check_right, not_found
from moneta.application.authenticate import Caller
from moneta.application.changes import Decision, decide_and_apply
from moneta.application.documents import (
    Document,
    check_if_match,
    check_names,
    check_parameters,
    choice,
    list_cursor,
    list_limit,
    parameter_choice,
)
from moneta.application.ports import DirectoryChange, Hub
from moneta.application.records import make_record
from moneta.domain.errors import InvalidParameterError, MalformedJWSError, TemplateExistsError, TooLargeError
from moneta.domain.ijson import Value
from moneta.domain.limits import TEMPLATE_BYTES_MAX
from moneta.domain.templates import DRAFT, PUBLISHED, TemplateRecord, TemplateStatus, check_transition
from moneta.signing import base64url


class FirstStatus(StrEnum):
    """How a new version can stand: published at once, or kept as a draft."""

    DRAFT = "draft"
    PUBLISHED = "published"


def publish_template(hub: Hub, caller: Caller, payload: bytes, parameters: Mapping[str, str]) -> Document:
    """Keep a new version from its YAML bytes and return it; ``?status=draft`` keeps it from taking contracts.

    The same bytes again are answered with the version as it is, ``is_replay``.

    Raises:
        TemplateInvalidError, TooLargeError: The YAML is no template; ``problems`` says why.
        TemplateExistsError: That version is there, with other bytes.
    """
    authorize(caller, Operation.PUBLISH_TEMPLATE, owner=None)
    check_parameters(parameters, ("status",))
    status = parameter_choice(parameters, "status", FirstStatus) or FirstStatus.PUBLISHED
    return _publish(hub, caller, payload, TemplateStatus(status))


def publish_built_ins(hub: Hub, payloads: Sequence[bytes]) -> Sequence[Document]:
    """Publish the templates that ship, at the store itself, and return them; those that are there stay as they are.

    Raises:
        TemplateExistsError: A version of the same name and number is there, with other bytes.
    """
    return [_publish(hub, None, payload, PUBLISHED) for payload in payloads]


def lint_template(hub: Hub, caller: Caller, payload: bytes) -> Document:
    """Return what is wrong with a template, line by line; nothing is stored.

    Raises:
        TooLargeError: More bytes than a template may have.
    """
    check_right(caller, Operation.LINT_TEMPLATE)
    _check_size(payload)
    problems = [{"line": problem.line, "message": problem.message} for problem in hub.templates.lint(payload)]
    return Document(body={"problems": problems})


def change_template_status(
    hub: Hub,
    caller: Caller,
    name: str,
    version: int,
    members: Mapping[str, Value],
    *,
    if_match: int | None = None,
) -> Document:
    """Move a version along its state table, and return it.

    Raises:
        NotFoundError: There is no such version.
        TransitionRefusedError: The table has no such row.
        PreconditionFailedError: ``if_match`` is another revision.
    """
    authorize(caller, Operation.CHANGE_TEMPLATE_STATUS, owner=None)

    def decide() -> Decision:
        record = hub.directory.template(name, version)
        if record is None:
            raise not_found()
        check_names(members, ("status",))
        status = choice(members, "status", TemplateStatus)
        check_if_match(if_match, record.revision)
        check_transition(record, status)
        changed = replace(record, status=status, revision=record.revision + 1)
        signed = make_record(
            hub,
            caller,
            Operation.CHANGE_TEMPLATE_STATUS,
            subject=f"{name}/{version}",
            change={"from": record.status, "to": status},
            registry_seq=hub.directory.registry_position(),
        )
        others = [one for one in hub.directory.templates(name) if one.version != version]
        answer = _answer(changed, latest=_latest([*others, changed]))
        return Decision(change=DirectoryChange(record=signed, template=changed), answer=answer)

    return decide_and_apply(hub, decide)


def read_template(hub: Hub, caller: Caller, name: str, version: int | None = None) -> Document:
    """Return one version with its YAML; without ``version`` the latest, or where none is published, the highest.

    Raises:
        NotFoundError: There is none that the caller may see.
    """
    check_right(caller, Operation.READ_TEMPLATE)
    versions = [record for record in hub.directory.templates(name) if _is_visible(caller, record)]
    latest = _latest(versions)
    wanted = version if version is not None else latest or max((one.version for one in versions), default=0)
    record = next((one for one in versions if one.version == wanted), None)
    if record is None:
        raise not_found()
    return _answer(record, latest=latest)


def list_templates(hub: Hub, caller: Caller, parameters: Mapping[str, str]) -> Document:
    """Return a page of every version of every template, by name and version, without ``template_payload``.

    Raises:
        InvalidParameterError: A parameter is unknown or out of range, or the cursor is not one of this list.
    """
    check_right(caller, Operation.LIST_TEMPLATES)
    check_parameters(parameters, ("status", "limit", "cursor"))
    status, limit = parameter_choice(parameters, "status", TemplateStatus), list_limit(parameters)
    after = _read_cursor(list_cursor(parameters))
    records = [record for record in hub.directory.templates() if _is_visible(caller, record)]
    latest = {name: _latest([one for one in records if one.name == name]) for name in {one.name for one in records}}
    following = [
        record for record in records if (record.name, record.version) > after and status in {None, record.status}
    ]
    page = following[:limit]
    return Document(
        body={
            "items": [_document(record, latest=latest[record.name]) for record in page],
            "next_cursor": _cursor(page[-1]) if len(following) > limit else None,
        }
    )


def _publish(hub: Hub, caller: Caller | None, payload: bytes, status: TemplateStatus) -> Document:
    _check_size(payload)
    template = hub.templates.compile(payload).template

    def decide() -> Decision:
        there = hub.directory.templates(template.name)
        before = next((one for one in there if one.version == template.version), None)
        if before is not None:
            if before.payload != payload:
                raise TemplateExistsError(
                    f"template {template.name} version {template.version} is there", sha256=before.sha256
                )
            answer = _answer(before, latest=_latest(there))
            return Decision(change=None, answer=replace(answer, is_replay=True))
        record = TemplateRecord(
            name=template.name,
            version=template.version,
            description=template.description,
            payload=payload,
            sha256=template.sha256,
            status=status,
            created_at=hub.now_s(),
        )
        signed = make_record(
            hub,
            caller,
            Operation.PUBLISH_TEMPLATE,
            subject=f"{record.name}/{record.version}",
            change={"sha256": record.sha256, "status": status},
            registry_seq=hub.directory.registry_position(),
        )
        answer = _answer(record, latest=_latest([*there, record]))
        return Decision(change=DirectoryChange(record=signed, template=record), answer=answer)

    return decide_and_apply(hub, decide)


def _check_size(payload: bytes) -> None:
    if len(payload) > TEMPLATE_BYTES_MAX:
        raise TooLargeError(f"template: at most {TEMPLATE_BYTES_MAX} bytes", limit=TEMPLATE_BYTES_MAX)


def _is_visible(caller: Caller, record: TemplateRecord) -> bool:
    return record.status is not DRAFT or caller.role in IDENTITY_ROLES


def _latest(versions: Sequence[TemplateRecord]) -> int | None:
    """Return the highest published version of one name."""
    return max((record.version for record in versions if record.status is PUBLISHED), default=None)


def _answer(record: TemplateRecord, *, latest: int | None) -> Document:
    payload = record.payload.decode("utf-8")
    return Document(body={**_document(record, latest=latest), "template_payload": payload}, revision=record.revision)


def _document(record: TemplateRecord, *, latest: int | None) -> dict[str, object]:
    return {
        "template_name": record.name,
        "version": record.version,
        "description": record.description,
        "created_at": record.created_at,
        "is_latest": record.version == latest,
        "status": record.status,
        "sha256": record.sha256,
    }


def _cursor(record: TemplateRecord) -> str:
    return base64url.encode(f"{record.version}:{record.name}".encode())


def _read_cursor(cursor: str | None) -> tuple[str, int]:
    """Return the name and version that the page before ended with."""
    if cursor is None:
        return "", 0
    try:
        version, _, name = base64url.decode(cursor, what="cursor").decode("utf-8").partition(":")
        return name, int(version)
    except (MalformedJWSError, ValueError) as error:
        raise InvalidParameterError("cursor: not one that this list gave", field="cursor") from error
