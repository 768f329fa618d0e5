"""Keys in files that only their owner can read: Moneta's signing key, and the key that seals small secrets.

The rules:

1. A private file has mode 0600 or stricter and belongs to whoever runs the hub; anything looser is refused by name,
   since a key that others could have read is not a secret.
2. A file is written beside its place, synced, and then linked to it: it is there whole or not at all, and never takes
   the place of another.
3. The public half and the signing period of every key the hub ever signed with stand in ``signing-keys.json``, the
   current one first; a retired private key may be deleted without losing what its signatures are verified with.
"""

import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Self

import msgspec

from moneta.adapters.sealing import SEALING_KEY_BYTES, AESGCMSealer
from moneta.application.ports import PublishedKey
from moneta.domain.errors import MonetaError, WeakKeyError
from moneta.domain.identifiers import KeyId, UnixSeconds
from moneta.domain.limits import (
    PRIVATE_FILE_BYTES_MAX,
)
from moneta.signing.keys import PrivateKey, PublicKey, generate, load_pem, parse_public_jwk

SIGNING_KEYS_FILE: Final = "signing-keys.json"
SEALING_KEY_FILE: Final = "sealing.key"


class KeyFileError(MonetaError):
    """A key file is missing, not private, or not what it should be. Only an operator can mend it."""


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, durably.

    Raises:
        FileExistsError: There is one; a key is never overwritten.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_directory(path.parent)


def read_private_file(path: Path) -> bytes:
    """Return the content of a file that only its owner can read.

    Raises:
        KeyFileError: It is missing, not a regular file, another user's, or open to others.
    """
    try:
        # O_NONBLOCK: a pipe in the file's place is refused below, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(f"{path}: can't be opened: {error.strerror}") from error
    try:
        _check_private(path, os.fstat(descriptor))
        return os.read(descriptor, PRIVATE_FILE_BYTES_MAX)
    finally:
        os.close(descriptor)


def _check_private(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        raise KeyFileError(f"{path}: expected a regular file")
    if mode & 0o077:
        raise KeyFileError(f"{path}: expected mode 0600, got {mode:04o}; others could have read this key")
    if found.st_uid != os.geteuid():
        raise KeyFileError(f"{path}: expected a file of user {os.geteuid()}, got one of {found.st_uid}")


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key in ``signing-keys.json``, with the names that the JWKS uses."""

    jwk: dict[str, str]
    nbf: UnixSeconds
    exp: UnixSeconds
    revoked_at: UnixSeconds | None = None


_KeyEntries = Annotated[list[_KeyEntry], msgspec.Meta(min_length=1)]


class FileSigner:
    """See ``ports.Signer``. The private key is in ``signing-<kid>.pem`` in the data directory, PKCS #8.

    Raises:
        KeyFileError: A file is missing, not private, or not what it should be.
    """

    def __init__(self, data_dir: Path) -> None:
        self._published = _read_published(data_dir / SIGNING_KEYS_FILE)
        self._key = _load(data_dir, self._published[0].public)

    @classmethod
    def create(cls, data_dir: Path, *, not_before: UnixSeconds, expires_at: UnixSeconds) -> Self:
        """Make the hub's first signing key, for that period.

        Raises:
            FileExistsError: There is one.
        """
        if (data_dir / SIGNING_KEYS_FILE).exists():
            raise FileExistsError(f"{data_dir} holds a signing key already")
        key = generate("ES256")
        write_private_file(_pem_path(data_dir, key.public), key.to_pem())
        entry = _KeyEntry(jwk=dict(key.public.jwk), nbf=not_before, exp=expires_at)
        write_private_file(data_dir / SIGNING_KEYS_FILE, msgspec.json.format(msgspec.json.encode([entry])))
        return cls(data_dir)

    def current(self) -> PrivateKey:
        """See Signer.current."""
        return self._key

    def published(self) -> Sequence[PublishedKey]:
        """See Signer.published."""
        return self._published


def published_keys(data_dir: Path) -> Mapping[KeyId, PublicKey]:
    """Return every key that the hub ever signed with, the current one first, without its private half.

    Raises:
        KeyFileError: The file is missing, not private, or not what it should be.
    """
    return {KeyId(one.public.key_id): one.public for one in _read_published(data_dir / SIGNING_KEYS_FILE)}


def signing_period_end(data_dir: Path) -> UnixSeconds:
    """Return when the hub's current key ends. See ``published_keys`` for what it raises."""
    return _read_published(data_dir / SIGNING_KEYS_FILE)[0].expires_at


def _pem_path(data_dir: Path, key: PublicKey) -> Path:
    return data_dir / f"signing-{key.key_id}.pem"


def _read_published(path: Path) -> Sequence[PublishedKey]:
    content = read_private_file(path)
    try:
        return [_published(entry) for entry in msgspec.json.decode(content, type=_KeyEntries)]
    except (msgspec.DecodeError, WeakKeyError) as error:
        raise KeyFileError(f"{path}: {error}") from error


def _published(entry: _KeyEntry) -> PublishedKey:
    return PublishedKey(
        public=parse_public_jwk(entry.jwk),
        not_before=entry.nbf,
        expires_at=entry.exp,
        revoked_at=entry.revoked_at,
    )


def _load(data_dir: Path, expected: PublicKey) -> PrivateKey:
    path = _pem_path(data_dir, expected)
    content = read_private_file(path)
    try:
        key = load_pem(content)
    except WeakKeyError as error:
        raise KeyFileError(f"{path}: {error}") from error
    if key.public.key_id != expected.key_id:
        raise KeyFileError(f"{path}: expected the key {expected.key_id}, got {key.public.key_id}")
    return key


class FileSealer(AESGCMSealer):
    """See ``ports.Sealer``: under the key in ``sealing.key``.

    Raises:
        KeyFileError: The file is missing, not private, or no key.
    """

    def __init__(self, data_dir: Path) -> None:
        path = data_dir / SEALING_KEY_FILE
        key = read_private_file(path)
        if len(key) != SEALING_KEY_BYTES:
            raise KeyFileError(f"{path}: expected {SEALING_KEY_BYTES} bytes, got {len(key)}")
        super().__init__(key)

    @classmethod
    def create(cls, data_dir: Path) -> Self:
        """Make the key. Raises FileExistsError if there is one."""
        write_private_file(data_dir / SEALING_KEY_FILE, secrets.token_bytes(SEALING_KEY_BYTES))
        return cls(data_dir)
