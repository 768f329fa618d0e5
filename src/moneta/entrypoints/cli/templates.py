"""What the ``templates`` commands do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from moneta import bootstrap
from moneta.application.ports import CompiledTemplate
from moneta.application.simulate import simulate
from moneta.application.templates import change_template_status, publish_template
from moneta.domain.limits import BODY_BYTES_MAX, TEMPLATE_BYTES_MAX
from moneta.domain.template_compat import incompatibilities
from moneta.domain.template_problems import Findings
from moneta.entrypoints.cli.changing import at_the_store, change
from moneta.entrypoints.cli.failures import CommandError
from moneta.entrypoints.cli.reading import Place, call


def lint(file: Path) -> Sequence[str]:
    """Return the problems of a template, each as ``FILE:LINE: problem``."""
    payload = _read(file, TEMPLATE_BYTES_MAX)
    if len(payload) > TEMPLATE_BYTES_MAX:
        return [f"{file}:1: more than {TEMPLATE_BYTES_MAX} bytes"]
    return [f"{file}:{problem.line}: {problem.message}" for problem in bootstrap.template_reader().lint(payload)]


def compat(old: Path, new: Path) -> Sequence[str]:
    """Return what a client of the template in ``old`` trips over, each as ``NEW:LINE: what``."""
    before, after = _compiled(old), _compiled(new)
    findings = Findings(bootstrap.template_lines(_read(new, TEMPLATE_BYTES_MAX)))
    for path, message in incompatibilities(before.template, after.template):
        findings.add(path, message)
    return [f"{new}:{found.line}: {found.message}" for found in findings.in_order()]


def trial(file: Path, body: Path) -> Mapping[str, object]:
    """Return what becomes of the contract whose body is in ``body`` under the template in ``file``."""
    compiled = _compiled(file)
    raw = _read(body, BODY_BYTES_MAX)
    if len(raw) > BODY_BYTES_MAX:
        raise CommandError(f"{body}: more than {BODY_BYTES_MAX} bytes")
    return simulate(compiled, raw)


def publish(where: Place, file: Path, identity_id: str, status: str | None) -> bytes:
    """Publish the version in ``file``, and return the hub's document of it."""
    parameters = {} if status is None else {"status": status}
    payload = _read(file, TEMPLATE_BYTES_MAX)
    if where.data_dir is None:
        path = f"/templates?{urlencode(parameters)}".rstrip("?")
        return call(where, "POST", path, body=payload, content_type="application/yaml")
    return at_the_store(where, identity_id, lambda hub, caller: publish_template(hub, caller, payload, parameters))


def change_status(where: Place, name: str, version: int, status: str, identity_id: str) -> bytes:
    """Move a version along its state table, and return the hub's document of it."""
    members = {"status": status}
    return change(
        where,
        "PUT",
        f"/templates/{quote(name, safe='')}/{version}/status",
        members,
        identity_id,
        lambda hub, caller: change_template_status(hub, caller, name, version, members),
    )


def _compiled(file: Path) -> CompiledTemplate:
    problems = lint(file)
    if problems:
        raise CommandError(f"{problems[0]}; moneta templates lint {file} shows all")
    return bootstrap.template_reader().compile(_read(file, TEMPLATE_BYTES_MAX))


def _read(file: Path, bytes_max: int) -> bytes:
    with file.open("rb") as opened:
        return opened.read(bytes_max + 1)
