"""What ``token`` does, apart from the rest of the hub's commands: it is called often, and imports a third as much."""

from pathlib import Path
from typing import Final

from moneta import bootstrap
from moneta.bootstrap import data_directory
from moneta.domain.identifiers import UnixSeconds, is_chosen_id
from moneta.entrypoints.cli.failures import CommandError
from moneta.signing.statements import SigningKey
from moneta.signing.tokens import make_token

TOKEN_ID_BYTES: Final = 16


def identity_token(data_dir: Path, identity_id: str, *, lifetime_s: int) -> str:
    """Return a token of a configured identity whose key is in the data directory."""
    base_url = data_directory.stored_base_url(data_dir)
    if not is_chosen_id(identity_id):
        raise CommandError(f"--as: {identity_id!r} can't be an identity's id")
    key = data_directory.identity_key(data_dir, identity_id)
    return _token(key, identity_id, base_url, lifetime_s=lifetime_s)


def party_token(key_file: Path, organization_id: str, base_url: str, *, lifetime_s: int) -> str:
    """Return a token of an organization whose auth key is in a file."""
    from moneta.client.keys import load  # noqa: PLC0415  # an operator's token needs nothing of the client

    return _token(load(key_file), organization_id, base_url, lifetime_s=lifetime_s)


def _token(key: SigningKey, subject: str, base_url: str, *, lifetime_s: int) -> str:
    return make_token(
        key,
        subject=subject,
        audience=base_url,
        token_id=bootstrap.system_randomness().token(TOKEN_ID_BYTES).hex(),
        issued_at=UnixSeconds(bootstrap.system_clock().now_ms() // 1000),
        lifetime_s=lifetime_s,
    )
