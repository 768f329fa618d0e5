"""What ``templates lint`` and ``templates publish`` do."""

from collections.abc import Sequence
from pathlib import Path

from moneta import bootstrap
from moneta.application.authenticate import authenticate
from moneta.application.documents import to_json
from moneta.application.templates import publish_template
from moneta.domain.limits import TEMPLATE_BYTES_MAX
from moneta.entrypoints.cli.reading import Place, call
from moneta.entrypoints.cli.tokens import identity_token
from moneta.settings import Settings

TOKEN_LIFETIME_S = 60


def lint(file: Path) -> Sequence[str]:
    """Return the problems of a template, each as ``FILE:LINE: problem``."""
    payload = _read(file)
    if len(payload) > TEMPLATE_BYTES_MAX:
        return [f"{file}:1: more than {TEMPLATE_BYTES_MAX} bytes"]
    return [f"{file}:{problem.line}: {problem.message}" for problem in bootstrap.template_reader().lint(payload)]


def publish(where: Place, file: Path, identity_id: str, status: str | None) -> bytes:
    """Publish the version in ``file``, and return the hub's document of it."""
    parameters = {} if status is None else {"status": status}
    payload = _read(file)
    if where.data_dir is None:
        path = "/templates" if status is None else f"/templates?status={status}"
        return call(where, "POST", path, body=payload, content_type="application/yaml")
    token = identity_token(where.data_dir, identity_id, lifetime_s=TOKEN_LIFETIME_S)
    with bootstrap.embedded(Settings(data_dir=where.data_dir)) as hub:
        return to_json(publish_template(hub, authenticate(hub, token), payload, parameters).body)


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(TEMPLATE_BYTES_MAX + 1)
