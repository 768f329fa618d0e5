"""What the commands of whoever runs the hub do."""

from pathlib import Path

from moneta import bootstrap
from moneta.application import identities
from moneta.application.documents import to_json
from moneta.application.ports import IdentityRole
from moneta.application.templates import publish_built_ins
from moneta.bootstrap import data_directory
from moneta.domain.errors import Refused
from moneta.domain.identifiers import OrganizationId, is_chosen_id
from moneta.domain.ijson import parse
from moneta.entrypoints.cli.failures import CommandError
from moneta.entrypoints.cli.rotation import rotation_lines
from moneta.settings import Settings
from moneta.signing.keys import PublicKey, parse_public_jwk


def initialize(data_dir: Path, *, base_url: str, operator: str, checkers: int = 1) -> str:
    """Make a new hub in ``data_dir``, and return the thumbprint of Moneta's key.

    What broke off can be run again: it makes what is not there yet.
    """
    data_directory.create_embedded(data_dir, base_url=base_url, checkers=checkers)
    with bootstrap.embedded(Settings(data_dir=data_dir)) as hub:
        if hub.directory.identities():
            raise CommandError(f"{data_dir} holds a hub already; start it with: moneta up --data {data_dir}")
        publish_built_ins(hub, bootstrap.builtin_template_payloads())
        key = data_directory.new_identity_key(data_dir, operator).public
        identities.add_identity(hub, identity_id=OrganizationId(operator), role=IdentityRole.OPERATOR, key=key)
        return hub.signer.current().public.key_id


def rotate_key(data_dir: Path, *, is_compromised: bool) -> list[str]:
    """Make the next signing key, unless one waits already, and return what there is to know of it."""
    rotation = data_directory.rotate_key(data_dir, is_compromised=is_compromised)
    return rotation_lines(rotation.key, is_new=rotation.is_new)


def add_identity(data_dir: Path, identity_id: str, role: str, jwk_file: Path | None) -> str:
    """Add a configured identity and return it as JSON."""
    if not is_chosen_id(identity_id):
        raise CommandError(f"--id: {identity_id!r}: expected 1 to 128 of A-Z a-z 0-9 . _ : ~ -")
    with bootstrap.embedded(Settings(data_dir=data_dir)) as hub:
        if any(one.identity_id == identity_id for one in hub.directory.identities()):
            raise CommandError(f"identity {identity_id} is there already; name another with --id")
        key = _public_key(jwk_file) if jwk_file else data_directory.new_identity_key(data_dir, identity_id).public
        added = identities.add_identity(hub, identity_id=OrganizationId(identity_id), role=IdentityRole(role), key=key)
    return to_json(added.body).decode()


def _public_key(jwk_file: Path) -> PublicKey:
    try:
        return parse_public_jwk(parse(jwk_file.read_bytes(), what=str(jwk_file)))
    except Refused as error:
        raise CommandError(f"{jwk_file}: {error.detail}") from error
