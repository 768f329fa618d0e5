"""What the commands about a hub on AWS do."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from moneta import bootstrap
from moneta.application import identities
from moneta.application.ports import Hub, IdentityRole
from moneta.application.templates import publish_built_ins
from moneta.bootstrap import deployment
from moneta.domain.identifiers import OrganizationId
from moneta.entrypoints.cli.failures import CommandError
from moneta.entrypoints.cli.rotation import rotation_lines
from moneta.settings import AwsSettings, Settings, StoreKind


def initialize(aws: AwsSettings, *, base_url: str, key_files: Mapping[str, Path]) -> list[str]:
    """Bring a hub that was deployed to where it can be used, and return what there is to know of its keys.

    ``key_files``: that of each identity, whose name is that of its role. Keys first, then templates, then identities:
    each is made unless it is there, so that what broke off can be run again.
    """
    deployment.check(aws, has_keys=False)
    made = deployment.make_keys(aws, base_url=base_url).key
    settings = Settings(data_dir=Path(), base_url=base_url, store=StoreKind.AWS, aws=aws)
    with bootstrap.opened(settings) as hub:
        publish_built_ins(hub, bootstrap.builtin_template_payloads())
        for name, key_file in key_files.items():
            _add_identity(hub, OrganizationId(name), IdentityRole(name), key_file)
    return [f"hub key {made.public.key_id}", f"root certificate {hashlib.sha256(made.certificates[-1]).hexdigest()}"]


def rotate_key(aws: AwsSettings, *, base_url: str | None, is_compromised: bool) -> list[str]:
    """Make the next signing key, unless one waits already, and return what there is to know of it."""
    rotation = deployment.rotate_key(aws, base_url=base_url, is_compromised=is_compromised)
    return rotation_lines(rotation.key, is_new=rotation.is_new)


def _add_identity(hub: Hub, identity_id: OrganizationId, role: IdentityRole, key_file: Path) -> None:
    """Add an identity with the key in its file, which is made first, unless it is there with that key."""
    if not any(one.identity_id == identity_id for one in hub.directory.identities()):
        key = deployment.identity_key(key_file).public
        identities.add_identity(hub, identity_id=identity_id, role=role, key=key)
        return
    known = hub.directory.keys_of([identity_id], is_fresh=True).get(identity_id, {})
    if not key_file.exists() or deployment.identity_key(key_file).public.key_id not in known:
        raise CommandError(f"{identity_id} is there with another key than {key_file}; name the file that has it")
