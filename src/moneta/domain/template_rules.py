"""What a template's YAML may say, and what a contract must have under it (protocol, sections 3 and 9).

The reader gets a plain document and its lines, and gives the template or every problem with its line. The lists are
closed: a key, role, guard or verb that is not in them is refused by name, so that nothing an author meant is ignored.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

from moneta.domain.contract_body import PARTY_MEMBERS, ContractBody, find_field
from moneta.domain.errors import MissingFieldError
from moneta.domain.ijson import Value, type_name
from moneta.domain.limits import (
    DESCRIPTION_CHARS_MAX,
    EXPIRES_IN_S_MAX,
    NAME_CHARS_MAX,
    TEMPLATE_FIELDS_MAX,
    TEMPLATE_ROLES_MAX,
    TEMPLATE_VERSION_MAX,
)
from moneta.domain.money_fields import payload_view
from moneta.domain.schema_proofs import payload_faults
from moneta.domain.schema_rules import read_schema
from moneta.domain.template_problems import Findings, Lines, Path, TemplateProblem, name_of, shown
from moneta.domain.template_proofs import order_faults
from moneta.domain.template_verbs import read_effects, read_guards
from moneta.domain.templates import Guard, Role, SigningOrder, Template

ID_MEMBERS: Final = frozenset({*PARTY_MEMBERS.values(), "mpass_id"})
REQUIRED_KEYS: Final = ("template_name", "version", "schema", "signature_rules")
KNOWN_KEYS: Final = frozenset(
    {*REQUIRED_KEYS, "description", "acknowledge", "notify", "expires_in", "guards", "effects"}
)
SCHEMA_KEYS: Final = frozenset({"required_fields", "json_schema"})
SIGNATURE_KEYS: Final = ("required_signatures", "signing_order")
NOT_SIGNING: Final = (Role.MO, Role.PUBLISHER, Role.ORG)
"""The roles that can be asked or told without signing in the order."""
DURATION_EXPECTED: Final = (
    "expected an ISO 8601 duration in weeks, or in days, hours, minutes and seconds (PT72H), "
    f"from 1 to {EXPIRES_IN_S_MAX} seconds"
)
JSON_SCHEMA_PATH: Final = ("schema", "json_schema")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_FIELD: Final = re.compile(r"[^.]+(?:\.[^.]+)*")
_DURATION: Final = re.compile(
    r"P(?:(?P<W>\d{1,9})W|(?=.)(?:(?P<D>\d{1,9})D)?(?:T(?=.)(?:(?P<H>\d{1,9})H)?(?:(?P<M>\d{1,9})M)?(?:(?P<S>\d{1,9})S)?)?)",
    re.ASCII,
)
_UNIT_S: Final = {"W": 7 * 86_400, "D": 86_400, "H": 3_600, "M": 60, "S": 1}


def check_body(members: Mapping[str, Value], body: ContractBody, template: Template) -> dict[str, Value]:
    """Return the payload's view (``payload_view``) of a contract that has what ``template`` requires.

    ``members`` are the body's, ``body`` what they mean. The JSON Schema is the adapter's to check, on the view.

    Raises:
        MissingFieldError, AmbiguousFieldError: A required field, or the id of a role that signs, is not there once.
        InvalidAmountError: Money that is not of its form.
    """
    for role, member in PARTY_MEMBERS.items():
        if role in template.roles and body.party(role) is None:
            raise MissingFieldError(f"contract body: {member} is missing, since {role} signs", field=member)
    for name in template.required_fields:
        # An id that only the payload has would be found, and no guard would look at what it names.
        if name in ID_MEMBERS and name not in members:
            raise MissingFieldError(f"contract body: {name} is missing", field=name)
        find_field(members, name)
    return payload_view(body.payload, template)


def read_template(document: Value, lines: Lines, *, sha256: str) -> Template | tuple[TemplateProblem, ...]:
    """Return the template that ``document`` is, or everything that is wrong with it, in the order of lines.

    ``sha256``: base64url of the digest of the YAML bytes.
    """
    findings = Findings(lines)
    members = findings.members(document, (), known=KNOWN_KEYS, required=REQUIRED_KEYS)
    schema = _section(members, "schema", findings, known=SCHEMA_KEYS, required=("required_fields",))
    rules = _section(members, "signature_rules", findings, known=SIGNATURE_KEYS, required=SIGNATURE_KEYS)
    required_fields = _required_fields(schema, findings)
    json_schema = _json_schema(schema, findings)
    acknowledge = _acknowledge(members, findings)
    unable = () if "new_key" in required_fields else (Role.ORG_NEW_KEY,)
    signing_order = _signing_order(rules, tuple(role for role, _ in acknowledge), unable, findings)
    template = Template(
        name=_name(members, findings),
        version=_version(members, findings),
        description=_description(members, findings),
        sha256=sha256,
        signing_order=signing_order,
        required_fields=required_fields,
        guards=read_guards(members, required_fields, findings),
        money_rules=read_schema(json_schema, JSON_SCHEMA_PATH, findings),
        json_schema=json_schema,
        expires_in_s=_expires_in_s(members, findings),
        effects=read_effects(members, required_fields, signing_order, findings),
        acknowledge=acknowledge,
        notify=_notify(members, findings),
    )
    _check_roles(template, findings)
    _check_told(template, findings)
    if not findings.problems:  # what is proven rests on forms that hold
        for place, message in payload_faults(required_fields, json_schema):
            findings.add(("schema", *place), message)
    return findings.in_order() or template


def seconds_of(duration: str) -> int | None:
    """Return the seconds of an ISO 8601 duration; None if it is not one of fixed length, in whole units."""
    matched = _DURATION.fullmatch(duration)
    if matched is None:
        return None
    return sum(int(count) * _UNIT_S[unit] for unit, count in matched.groupdict(default="0").items())


def _section(
    members: Mapping[str, Value], name: str, findings: Findings, *, known: Collection[str], required: Collection[str]
) -> Mapping[str, Value]:
    return findings.members(members[name], (name,), known=known, required=required) if name in members else {}


def _name(members: Mapping[str, Value], findings: Findings) -> str:
    name = members.get("template_name", "")
    if isinstance(name, str) and (_NAME.fullmatch(name) is not None or "template_name" not in members):
        return name
    findings.add(("template_name",), "template_name: expected 1 to 64 of a-z 0-9 -, not beginning with -")
    return ""


def _version(members: Mapping[str, Value], findings: Findings) -> int:
    version = members.get("version", 1)
    if isinstance(version, int) and not isinstance(version, bool) and 1 <= version <= TEMPLATE_VERSION_MAX:
        return version
    findings.add(("version",), f"version: expected an integer from 1 to {TEMPLATE_VERSION_MAX}")
    return 1


def _description(members: Mapping[str, Value], findings: Findings) -> str | None:
    description = members.get("description")
    if description is None or (isinstance(description, str) and len(description) <= DESCRIPTION_CHARS_MAX):
        return description
    findings.add(("description",), f"description: expected a text of at most {DESCRIPTION_CHARS_MAX} characters")
    return None


def _required_fields(schema: Mapping[str, Value], findings: Findings) -> tuple[str, ...]:
    names = findings.names(schema.get("required_fields", []), ("schema", "required_fields"))
    for path, _ in names[TEMPLATE_FIELDS_MAX : TEMPLATE_FIELDS_MAX + 1]:
        findings.add(path, f"required_fields: at most {TEMPLATE_FIELDS_MAX}")
    for path, name in names:
        if _FIELD.fullmatch(name) is None or len(name) > NAME_CHARS_MAX:
            findings.add(path, f"required_fields: expected a name or a dotted path, got {shown(name)}")
    return tuple(name for _, name in names)


def _json_schema(schema: Mapping[str, Value], findings: Findings) -> Mapping[str, Value] | bool | None:
    json_schema = schema.get("json_schema")
    if json_schema is None or isinstance(json_schema, (dict, bool)):
        return json_schema
    findings.add(JSON_SCHEMA_PATH, f"json_schema: expected a JSON Schema, got {type_name(json_schema)}")
    return None


def _signing_order(
    rules: Mapping[str, Value], acknowledging: tuple[Role, ...], unable: tuple[Role, ...], findings: Findings
) -> SigningOrder:
    """Return the steps, and note what keeps them from being an order in which no party completes a contract alone."""
    path, noted = ("signature_rules", "signing_order"), len(findings.problems)
    steps = [
        _step(item, (*path, index), findings)
        for index, item in enumerate(findings.items(rules.get("signing_order", []), path)[:TEMPLATE_ROLES_MAX])
    ]
    order = tuple(step for step in steps if step)
    required = _required_signatures(rules, findings)
    # What can't be read as roles has been noted; what these few would add to it is noise.
    if len(findings.problems) == noted and rules.keys() >= set(SIGNATURE_KEYS):
        for place, message in order_faults(order, required, acknowledging=acknowledging, unable=unable):
            findings.add((*path, *place), f"signing_order: {message}")
    return order


def _step(item: Value, path: Path, findings: Findings) -> tuple[Role, ...]:
    members = [(path, item)] if not isinstance(item, list) else [((*path, at), one) for at, one in enumerate(item)]
    if not members:
        findings.add(path, "signing_order: a step has at least one role")
    roles = [_role(member, place, findings) for place, member in members[:TEMPLATE_ROLES_MAX]]
    return tuple(role for role in roles if role is not None)


def _required_signatures(rules: Mapping[str, Value], findings: Findings) -> frozenset[Role]:
    names = findings.names(rules.get("required_signatures", []), ("signature_rules", "required_signatures"))
    roles = [_role(name, path, findings) for path, name in names]
    return frozenset(role for role in roles if role is not None)


def _role(name: Value, path: Path, findings: Findings) -> Role | None:
    if isinstance(name, str) and name in list(Role):
        return Role(name)
    got = shown(name) if isinstance(name, str) else type_name(name)
    findings.add(path, f"{name_of(path[:2])}: expected one of {', '.join(Role)}, got {got}")
    return None


def _expires_in_s(members: Mapping[str, Value], findings: Findings) -> int | None:
    duration = members.get("expires_in")
    if duration is None:
        return None
    seconds = seconds_of(duration) if isinstance(duration, str) else None
    if seconds is None or not 1 <= seconds <= EXPIRES_IN_S_MAX:
        findings.add(
            ("expires_in",),
            f"expires_in: {DURATION_EXPECTED}",
        )
    return seconds


def _acknowledge(members: Mapping[str, Value], findings: Findings) -> tuple[tuple[Role, int], ...]:
    """Return the roles that are asked once the order is complete, in the order named, each with its wait in seconds."""
    waits = findings.members(members.get("acknowledge", {}), ("acknowledge",), known=NOT_SIGNING)
    found: list[tuple[Role, int]] = []
    for name, duration in waits.items():
        path = ("acknowledge", name)
        seconds = seconds_of(duration) if isinstance(duration, str) else None
        if seconds is None or not 1 <= seconds <= EXPIRES_IN_S_MAX:
            findings.add(path, f"acknowledge: {DURATION_EXPECTED}")
        else:
            found.append((Role(name), seconds))
    return tuple(found)


def _notify(members: Mapping[str, Value], findings: Findings) -> tuple[Role, ...]:
    found: list[Role] = []
    for path, name in findings.names(members.get("notify", []), ("notify",)):
        if name in NOT_SIGNING:
            found.append(Role(name))
        else:
            findings.add(path, f"notify: expected one of {', '.join(NOT_SIGNING)}, got {shown(name)}")
    return tuple(found)


def _check_told(template: Template, findings: Findings) -> None:
    """Note a role that is asked or told after the order though it signs in it, or is asked."""
    in_order = {role for step in template.signing_order for role in step}
    for role, _ in template.acknowledge:
        if role in in_order:
            findings.add(("acknowledge", role), f"acknowledge: {role} is in the signing order")
    for index, role in enumerate(template.notify):
        if role in template.roles:
            findings.add(("notify", index), f"notify: {role} signs, and is told anyway")


def _check_roles(template: Template, findings: Findings) -> None:
    """Note what is missing for its roles: the new key, which proves itself after the old one, and whom a guard asks."""
    roles = [role for step in template.signing_order for role in step]
    if Role.ORG_NEW_KEY in roles:
        if "new_key" not in template.required_fields:
            findings.add(("schema", "required_fields"), "required_fields: org_new_key signs with the field new_key")
        if Role.ORG not in roles[: roles.index(Role.ORG_NEW_KEY)]:
            findings.add(("signature_rules", "signing_order"), "signing_order: org signs before org_new_key")
    if Guard.ORGANIZATION_PENDING in template.guards and Role.ORG not in template.roles:
        findings.add(("guards",), "guard organization_pending: there is nothing to check, since org does not sign")
