"""Keys in files that only their owner can read; and the key there that seals small secrets.

The rules:

1. A private file has mode 0600 or stricter and belongs to whoever runs the hub; anything looser is refused by name,
   since a key that others could have read is not a secret.
2. A file is written beside its place and synced before it has its name: it is there whole or not at all. A key never
   takes the place of another.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from moneta.adapters.sealing import SEALING_KEY_BYTES, AESGCMSealer
from moneta.domain.errors import MisconfiguredError
from moneta.domain.limits import PRIVATE_FILE_BYTES_MAX

SEALING_KEY_FILE: Final = "sealing.key"


class KeyFileError(MisconfiguredError):
    """A key file is missing, not private, or not what it should be."""


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, durably.

    Raises:
        FileExistsError: There is one; a key is never overwritten.
    """
    with _draft_of(path, content) as draft:
        os.link(draft, path)
    sync_directory(path.parent)


def replace_private_file(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, durably, in the place of the one that may be there: whoever reads gets one of them."""
    with _draft_of(path, content) as draft:
        draft.replace(path)
    sync_directory(path.parent)


@contextmanager
def _draft_of(path: Path, content: bytes) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


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
