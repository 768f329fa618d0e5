"""Moneta's signing keys in the data directory, and how the next one comes there while the hub runs.

The rules:

1. ``signing-keys.json`` holds the public half and the signing period of every key the hub ever signed with, and of the
   next, the newest first. A private half is in ``signing-<kid>.pem``, PKCS #8, until it can't sign any more.
2. What counts is the list. A rotation writes the private half first, then puts a new list in the place of the old one,
   and deletes last: whoever is killed in between leaves the keys before or those after, and what no list names is
   deleted by the next rotation.
3. A process reads the list again when another one is in its place, so the next key needs no restart, and one that was
   compromised signs nothing any more from then on.
4. One rotation at a time, and none while the files are copied: both hold a lock on the directory.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from moneta.adapters.embedded.keyfiles import (
    KeyFileError,
    read_private_file,
    replace_private_file,
    sync_directory,
    write_private_file,
)
from moneta.adapters.signing_keys import (
    KeyEntry,
    Rotation,
    SigningKeys,
    entry_of,
    first_period,
    may_sign,
    published_of,
)
from moneta.application.ports import Clock, PublishedKey
from moneta.domain.errors import WeakKeyError
from moneta.domain.identifiers import KeyId, UnixSeconds
from moneta.signing.keys import PrivateKey, PublicKey, generate, load_pem

SIGNING_KEYS_FILE: Final = "signing-keys.json"
PRIVATE_PATTERN: Final = "signing-*.pem"
DRAFT_PATTERN: Final = ".signing-*"

_KeyEntries = Annotated[list[KeyEntry], msgspec.Meta(min_length=1)]
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of the list that has this stamp."""

    stamp: _Stamp
    keys: SigningKeys


class SigningKeyFiles:
    """The keys as a running process has them. Safe for threads.

    Raises:
        KeyFileError: A file is missing, not private, or not what it should be.
    """

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._data_dir = data_dir
        self._list = str(data_dir / SIGNING_KEYS_FILE)  # as text: it is looked at for each signature
        self._clock = clock
        self._known = self._read()

    def now(self) -> SigningKeys:
        """Return the keys as they are in the files now. See the class for what it raises."""
        known = self._known
        if _stamp_of(self._list) != known.stamp:
            self._known = known = self._read()
        return known.keys

    def _read(self) -> _Known:
        # The stamp first: if the list is replaced in between, the next call finds another stamp and reads again.
        stamp = _stamp_of(self._list)
        return _Known(stamp, read_keys(self._data_dir, UnixSeconds(self._clock.now_ms() // 1000)))


def make_first_key(data_dir: Path, *, now: UnixSeconds) -> None:
    """Make the hub's first signing key, unless it has one."""
    with locked(data_dir, is_shared=False):
        if not (data_dir / SIGNING_KEYS_FILE).exists():
            key = generate("ES256")
            first = SigningKeys(published=(first_period(key, now),), private={key.public.key_id: key})
            _keep(data_dir, first, now)


def rotate_key(data_dir: Path, *, now: UnixSeconds, is_compromised: bool) -> Rotation:
    """Make the next signing key, unless one waits for its time already. The hub may run.

    It signs ``ROTATION_LEAD_S`` from now. ``is_compromised``: at once, since every key whose private half is in the
    directory is revoked now.

    Raises:
        KeyFileError: A file is missing, not private, or not what it should be; nothing was changed.
    """
    with locked(data_dir, is_shared=False):
        keys = read_keys(data_dir, now)
        before = keys.revoked(now) if is_compromised else keys
        begins = before.begin_of_next(now)
        if begins is None:
            _sweep(data_dir, keys, now)
            return Rotation(key=keys.published[0], is_new=False)
        key = generate("ES256")
        published = first_period(key, begins)
        _keep(data_dir, before.followed_by(key, published), now)
        return Rotation(key=published, is_new=True)


@contextmanager
def locked(data_dir: Path, *, is_shared: bool) -> Iterator[None]:
    """Keep rotations out during the block; ``is_shared``: others who only read may be inside too."""
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_keys(data_dir: Path, now: UnixSeconds) -> SigningKeys:
    """Return the keys with the private halves that are there. See ``SigningKeyFiles`` for what it raises."""
    published = _read_published(data_dir)
    needed = {one.public.key_id for one in may_sign(published, now)}
    private = {
        one.public.key_id: _load(data_dir, one.public)
        for one in published
        if one.public.key_id in needed or _pem_path(data_dir, one.public.key_id).exists()
    }
    return SigningKeys(published=published, private=private)


def published_keys(data_dir: Path) -> Mapping[KeyId, PublicKey]:
    """Return every key that the hub ever signed with, the newest first, without its private half.

    Raises:
        KeyFileError: The file is missing, not private, or not what it should be.
    """
    return {one.public.key_id: one.public for one in _read_published(data_dir)}


def signing_period_end(data_dir: Path) -> UnixSeconds:
    """Return from when on the hub can't sign unless another key is made. See ``published_keys`` for what it raises."""
    return _read_published(data_dir)[0].expires_at


def _keep(data_dir: Path, keys: SigningKeys, now: UnixSeconds) -> None:
    """Make ``keys`` what is in the directory, the newest of them being new (rule 2)."""
    newest = keys.published[0].public.key_id
    write_private_file(_pem_path(data_dir, newest), keys.private[newest].to_pem())
    entries = [entry_of(one) for one in keys.published]
    replace_private_file(data_dir / SIGNING_KEYS_FILE, msgspec.json.format(msgspec.json.encode(entries)))
    _sweep(data_dir, keys, now)


def _sweep(data_dir: Path, keys: SigningKeys, now: UnixSeconds) -> None:
    """Delete the private halves that sign no more, and what a rotation left that was killed."""
    kept = {_pem_path(data_dir, one.public.key_id) for one in may_sign(keys.published, now)}
    found = {path for pattern in (PRIVATE_PATTERN, DRAFT_PATTERN) for path in data_dir.glob(pattern)}
    for path in sorted(found - kept):
        path.unlink()
    sync_directory(data_dir)


def _stamp_of(path: str) -> _Stamp:
    try:
        found = os.lstat(path)
    except OSError as error:
        raise KeyFileError(f"{path}: can't be opened: {error.strerror}") from error
    return found.st_ino, found.st_mtime_ns, found.st_size


def _pem_path(data_dir: Path, key_id: KeyId) -> Path:
    return data_dir / f"signing-{key_id}.pem"


def _read_published(data_dir: Path) -> tuple[PublishedKey, ...]:
    path = data_dir / SIGNING_KEYS_FILE
    content = read_private_file(path)
    try:
        return tuple(published_of(entry) for entry in msgspec.json.decode(content, type=_KeyEntries))
    except (msgspec.DecodeError, WeakKeyError) as error:
        raise KeyFileError(f"{path}: {error}") from error


def _load(data_dir: Path, expected: PublicKey) -> PrivateKey:
    path = _pem_path(data_dir, expected.key_id)
    content = read_private_file(path)
    try:
        key = load_pem(content)
    except WeakKeyError as error:
        raise KeyFileError(f"{path}: {error}") from error
    if key.public.key_id != expected.key_id:
        raise KeyFileError(f"{path}: expected the key {expected.key_id}, got {key.public.key_id}")
    return key
