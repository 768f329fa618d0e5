"""What would become of a contract under a template, told before anybody signs it; nothing is stored or asked.

What the body and the template decide together is decided here by the same functions that judge an event. What the
hub's state decides (are the parties active, is the id taken) is named as what will be asked.
"""

from collections.abc import Iterator, Mapping

from moneta.application.ports import CompiledTemplate
from moneta.application.problems import problem_document
from moneta.domain.contract_body import ContractBody, body_of, find_field
from moneta.domain.errors import InvalidFieldError, Refused
from moneta.domain.ijson import Value, parse_object
from moneta.domain.template_graphs import graph_of
from moneta.domain.template_rules import check_body
from moneta.domain.templates import Template


def simulate(compiled: CompiledTemplate, raw: bytes) -> dict[str, object]:
    """Return what happens to a contract whose body's bytes are ``raw``.

    ``problems`` are all that can be told at once: each required field that is missing, else the first thing that is
    wrong with the payload. Signed as it is, such a body would be rejected with the first of them.
    """
    template = compiled.template
    problems = [problem_document(refusal) for refusal in _refusals(compiled, raw)]
    return {
        "template_name": template.name,
        "version": template.version,
        "template_sha256": template.sha256,
        "is_accepted": not problems,
        "problems": problems,
        "guards": sorted(template.guards),
        "effects": {phase: list(verbs) for phase, verbs in template.effects.items()},
        "expires_in_s": template.expires_in_s,
        "deem_after_s": template.deem_after_s,
        "notify": list(template.notify),
        "signing": _signing(template),
        "ways": [
            {"from": arrow.source, "by": arrow.by, "event": arrow.event, "to": arrow.target}
            for arrow in graph_of(template).arrows
        ],
    }


def _refusals(compiled: CompiledTemplate, raw: bytes) -> list[Refused]:
    try:
        members = parse_object(raw, what="contract body")
        body = body_of(members)
    except Refused as refusal:
        return [refusal]
    found = [*_other_template(compiled, body), *_missing_fields(compiled, members)]
    if not found:
        try:
            compiled.check_payload(check_body(members, body, compiled.template))
        except Refused as refusal:
            found.append(refusal)
    return found


def _other_template(compiled: CompiledTemplate, body: ContractBody) -> Iterator[Refused]:
    template = compiled.template
    if (body.template_id, body.version) != (template.name, template.version):
        yield InvalidFieldError(
            f"the body names {body.template_id} version {body.version}, this is {template.name} {template.version}",
            field="template_id",
        )


def _missing_fields(compiled: CompiledTemplate, members: Mapping[str, Value]) -> Iterator[Refused]:
    for name in compiled.template.required_fields:
        try:
            find_field(members, name)
        except Refused as refusal:
            yield refusal


def _signing(template: Template) -> list[dict[str, object]]:
    """Return each step: who signs, and the state that follows once all of them have; last those who acknowledge."""
    graph = graph_of(template)
    after_signing = {(one.source, one.by): one.target for one in graph.arrows if one.event == "signs"}
    state, steps = graph.initial, list[dict[str, object]]()
    for index, step in enumerate(template.whole_order):
        for role in step if index else ():
            state = after_signing[state, role]
        steps.append({"roles": list(step), "then": state})
    return steps
