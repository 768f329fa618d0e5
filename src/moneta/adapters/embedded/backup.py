"""Backups: a hub's directory at one moment, made while the hub runs, and checked; and the way back.

A backup is a directory with the store, the key files, and ``manifest.json``, which has the SHA-256 of each and tells
what the store holds. The rules:

1. One read transaction gives one moment. SQLite copies its pages; meanwhile the WAL can't begin anew, so nothing else
   is done in it: checks and digests look at the copy. If the WAL grows beyond ``BACKUP_WAL_BYTES_MAX`` all the same,
   the backup gives up: a full disk would be worse than an old backup. The key files are copied after that moment, so
   that none is missing that the store names.
2. What is written is synced as it goes, a few megabytes at a time, so that no fsync of the hub's waits behind
   gigabytes; and after each the copier rests, so that it takes no more than a share of a disk or a core.
3. A backup, like what is restored from it, is made under another name, synced, and renamed at the end: under its own
   name it is whole or not there. What broke off can be deleted.
4. Nothing is restored over anything.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

import apsw
import msgspec

from moneta import __version__
from moneta.adapters.embedded.checks import Facts, facts_of, faults_of, frozen
from moneta.adapters.embedded.database import UNAVAILABLE_ERRORS, connect, rows
from moneta.adapters.embedded.keyfiles import SEALING_KEY_FILE, sync_directory
from moneta.adapters.embedded.progress import OnProgress
from moneta.adapters.embedded.signing_key_files import PRIVATE_PATTERN, SIGNING_KEYS_FILE, locked, published_keys
from moneta.adapters.embedded.store import FILE_NAME, existing_store
from moneta.domain.errors import BackupError, StoreUnavailableError, StoreVersionError
from moneta.domain.identifiers import KeyId, UnixMillis
from moneta.domain.limits import BACKUP_WAL_BYTES_MAX
from moneta.signing.keys import PublicKey

FORMAT: Final = "moneta-backup-1"
MANIFEST_FILE: Final = "manifest.json"
SETTINGS_FILE: Final = "settings.json"
PRIVATE_PATTERNS: Final = (PRIVATE_PATTERN, SEALING_KEY_FILE, "identities/*.pem")
PUBLIC_PATTERNS: Final = (SIGNING_KEYS_FILE, SETTINGS_FILE)

PAGES_PER_STEP: Final = 1_024
RESTS_PER_STEP: Final = 0.5
"""How long the copier rests after each step, in steps."""
CHUNK_BYTES: Final = 4 * 1024 * 1024


class FileEntry(msgspec.Struct, frozen=True):
    """A file of a backup, as its manifest has it."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``manifest.json`` says. ``store``: the ``Facts`` of the store; ``began_at``: the moment that it shows."""

    format: str
    program: str
    began_at: UnixMillis
    ended_at: UnixMillis
    has_keys: bool
    hub_key: str
    store: dict[str, str | int]
    files: dict[str, FileEntry]

    @classmethod
    def read(cls, backup: Path) -> Self:
        """Return the manifest of a backup.

        Raises:
            BackupError: There is none, or not one that this program can read.
        """
        path = backup / MANIFEST_FILE
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError as error:
            raise BackupError(f"{backup} is no backup: it has no {MANIFEST_FILE}") from error
        except msgspec.DecodeError as error:
            raise BackupError(f"{path}: can't be read: {error}") from error
        if manifest.format != FORMAT:
            raise BackupError(f"{path}: expected a backup of form {FORMAT}, got {manifest.format[:64]!r}")
        for name in manifest.files:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise BackupError(f"{path}: names a file outside the backup: {name[:64]!r}")
        return manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to make a backup. ``clock`` gives Unix milliseconds."""

    data_dir: Path
    out: Path
    with_keys: bool
    clock: Callable[[], UnixMillis]
    on_progress: OnProgress


def make_backup(plan: Plan) -> Manifest:
    """Make a backup of a hub that may be running, and return its manifest.

    Raises:
        BackupError: It can't be made, or what was copied is not sound; nothing is left under its name.
        StoreUnavailableError: The store can't be read.
        FileNotFoundError: There is no store.
    """
    store = existing_store(plan.data_dir)
    with _arriving_at(plan.out) as draft:
        _check_space(draft, store)
        began_at = plan.clock()
        copy_store(store, draft / FILE_NAME, plan.on_progress)
        with locked(plan.data_dir, is_shared=True):  # a rotation in between would leave a list without its key
            names = _copy_files(plan.data_dir, draft, PRIVATE_PATTERNS if plan.with_keys else ())
            names += _copy_files(plan.data_dir, draft, PUBLIC_PATTERNS)
        facts = _check(draft, is_quick=False, on_progress=plan.on_progress)
        manifest = Manifest(
            format=FORMAT,
            program=__version__,
            began_at=began_at,
            ended_at=plan.clock(),
            has_keys=plan.with_keys,
            hub_key=next(iter(published_keys(draft))),
            store=asdict(facts),
            files={name: _entry(draft / name, plan.on_progress) for name in [FILE_NAME, *names]},
        )
        _write_manifest(draft, manifest)
    return manifest


def verify_backup(backup: Path, *, is_quick: bool, on_progress: OnProgress) -> Manifest:
    """Return the manifest of a backup whose files are those it names, and whose store is sound. Nothing is written.

    Raises:
        BackupError: It is not; the text says what is wrong.
    """
    manifest = Manifest.read(backup)
    for name, entry in manifest.files.items():
        _check_entry(backup / name, entry, _entry_of_existing(backup / name, on_progress))
    _check_facts(manifest, _check(backup, is_quick=is_quick, on_progress=on_progress))
    return manifest


def restore_backup(backup: Path, data_dir: Path, *, on_progress: OnProgress) -> Manifest:
    """Put a backup where ``moneta up`` can run on it, and return its manifest.

    Each file is digested as it is copied and read again from where it arrived. What the whole check of the store said
    when the backup was made holds for the same bytes; the quick one is made anew.

    Raises:
        BackupError: ``data_dir`` holds something, or the backup is not sound; then nothing is left there.
    """
    manifest = Manifest.read(backup)
    if data_dir.exists() and any(data_dir.iterdir()):
        raise BackupError(f"{data_dir} is not empty; restore into a new directory, and move that into its place")
    with _arriving_at(data_dir) as draft:
        for name, entry in manifest.files.items():
            _check_entry(backup / name, entry, _copy(backup / name, draft / name, on_progress))
        _check_facts(manifest, _check(draft, is_quick=True, on_progress=on_progress))
        for name, entry in manifest.files.items():
            _check_entry(draft / name, entry, _entry(draft / name, on_progress))
    return manifest


def keep_version(data_dir: Path, version: int, on_progress: OnProgress) -> Path:
    """Keep the store as it is beside itself, before a migration, and return where; whole, or not there.

    Raises:
        StoreUnavailableError: The store can't be read, or there is no room.
    """
    kept = data_dir / f"{FILE_NAME}.version-{version}"
    draft = kept.with_name(f".{kept.name}.partial")
    draft.unlink(missing_ok=True)  # what broke off before
    copy_store(data_dir / FILE_NAME, draft, on_progress)
    draft.replace(kept)
    sync_directory(data_dir)
    return kept


def copy_store(source: Path, target: Path, on_progress: OnProgress) -> None:
    """Write one moment of a store, which others may be writing, into a new file that needs no WAL.

    Raises:
        BackupError: The WAL has grown too large meanwhile.
        StoreUnavailableError: The store can't be read, or the copy not written.
    """
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    descriptor = os.open(target, os.O_RDWR | os.O_CLOEXEC)
    try:
        reader, copy = connect(source, is_reader=True), apsw.Connection(str(target))
        try:
            _copy_pages(reader, copy, descriptor, source.with_name(f"{source.name}-wal"), on_progress)
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()  # else it would want a WAL when it is opened
        finally:
            copy.close()
            reader.close()
        os.fsync(descriptor)
    except UNAVAILABLE_ERRORS as error:
        raise StoreUnavailableError(f"{target}: {type(error).__name__}: {error}") from error
    finally:
        os.close(descriptor)


def _copy_pages(
    reader: apsw.Connection, copy: apsw.Connection, descriptor: int, wal: Path, on_progress: OnProgress
) -> None:
    for pragma in ("journal_mode = OFF", "synchronous = OFF"):  # what breaks off is thrown away; we sync ourselves
        copy.execute(f"PRAGMA {pragma}").fetchall()
    page_bytes = rows(reader, "PRAGMA page_size")[0][0]
    reader.execute("BEGIN")
    rows(reader, "SELECT 1 FROM meta")  # the moment: SQLite takes its snapshot at the first read
    with copy.backup("main", reader, "main") as pages:
        while not pages.done:  # ends with the last page: the snapshot does not grow
            began_at = time.monotonic()
            pages.step(PAGES_PER_STEP)
            os.fdatasync(descriptor)
            on_progress("copy", (pages.page_count - pages.remaining) * page_bytes, pages.page_count * page_bytes)
            _check_wal(wal)
            time.sleep((time.monotonic() - began_at) * RESTS_PER_STEP)
    reader.execute("ROLLBACK")


def _check_wal(wal: Path) -> None:
    grown = wal.stat().st_size if wal.exists() else 0
    if grown > BACKUP_WAL_BYTES_MAX:
        raise BackupError(
            f"{wal}: {grown:,} bytes of changes while the copy was made, more than {BACKUP_WAL_BYTES_MAX:,}; "
            "try again when there is less to do, or onto a faster disk"
        )


@contextmanager
def _arriving_at(place: Path) -> Iterator[Path]:
    """Give a directory for its owner alone, that takes its ``place`` at the end, whole and synced, or not at all."""
    place = place.absolute()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise BackupError(f"{place} is there already; name a new one")
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.{os.getpid()}.partial")
    draft.mkdir(mode=0o700)
    try:
        yield draft
        for folder in (*(one for one in draft.rglob("*") if one.is_dir()), draft):
            sync_directory(folder)
        draft.rename(place)  # over an empty directory, if there is one
        sync_directory(place.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _check_space(draft: Path, store: Path) -> None:
    wal = store.with_name(f"{store.name}-wal")
    needed = store.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    free = shutil.disk_usage(draft).free
    if free < needed:
        raise BackupError(f"{draft.parent}: {free:,} bytes are free, and the store needs {needed:,}")


def _copy_files(data_dir: Path, draft: Path, patterns: Sequence[str]) -> list[str]:
    """Copy what matches, and return the names."""
    names = sorted(str(path.relative_to(data_dir)) for pattern in patterns for path in data_dir.glob(pattern))
    for name in names:
        _copy(data_dir / name, draft / name, lambda *_: None)
    return names


def _copy(source: Path, target: Path, on_progress: OnProgress) -> FileEntry:
    """Copy a file, for its owner alone and synced, and return what was read. The target must not be there."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    digest, done, size = hashlib.sha256(), 0, _size_of(source)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as arriving, source.open("rb", buffering=0) as leaving:
        while chunk := leaving.read(CHUNK_BYTES):  # ends with the file
            arriving.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            on_progress("copy", done, size)
        os.fsync(arriving.fileno())
    return FileEntry(bytes=done, sha256=digest.hexdigest())


def _size_of(path: Path) -> int:
    if not path.is_file():
        raise BackupError(f"{path} is missing")
    return path.stat().st_size


def _entry_of_existing(path: Path, on_progress: OnProgress) -> FileEntry:
    _size_of(path)
    return _entry(path, on_progress)


def _entry(path: Path, on_progress: OnProgress) -> FileEntry:
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):  # ends with the file
            digest.update(chunk)
            done += len(chunk)
            on_progress("digest", done, size)
    return FileEntry(bytes=done, sha256=digest.hexdigest())


def _check_entry(path: Path, expected: FileEntry, got: FileEntry) -> None:
    if got != expected:
        raise BackupError(
            f"{path}: expected {expected.bytes:,} bytes of SHA-256 {expected.sha256}, "
            f"got {got.bytes:,} of {got.sha256}: it was changed or damaged; use another backup"
        )


def _check(folder: Path, *, is_quick: bool, on_progress: OnProgress) -> Facts:
    """Return what the store in ``folder`` holds, if it is sound. Raises BackupError if not."""
    path = folder / FILE_NAME
    on_progress("check", 0, 0)
    keys: Mapping[KeyId, PublicKey] = published_keys(folder)
    connection = frozen(path)
    try:
        facts = facts_of(connection)
        faults = faults_of(connection, keys, is_quick=is_quick)
        if faults:
            raise BackupError(f"{path} is not sound: {'; '.join(faults)}")
    except StoreVersionError as error:
        raise BackupError(
            f"{path}: {error}; a backup is restored by the program that made it, and brought forward then"
        ) from error
    except apsw.Error as error:
        raise BackupError(f"{path} is not sound: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    return facts


def _check_facts(manifest: Manifest, facts: Facts) -> None:
    differing = facts.differing_from(manifest.store)
    if differing:
        raise BackupError(f"the store is not the one that {MANIFEST_FILE} tells of: {', '.join(differing)}")


def _write_manifest(draft: Path, manifest: Manifest) -> None:
    descriptor = os.open(draft / MANIFEST_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)))
        file.flush()
        os.fsync(file.fileno())
