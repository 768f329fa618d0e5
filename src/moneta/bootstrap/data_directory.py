"""What is done to the files of an embedded hub before its processes open it, and beside them."""

from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from moneta.adapters.embedded import backup, examination, keyfiles, signing_key_files, store
from moneta.adapters.embedded.backup import Manifest
from moneta.adapters.embedded.progress import OnProgress
from moneta.adapters.signing_keys import Rotation
from moneta.adapters.system import SystemClock
from moneta.domain.identifiers import UnixSeconds
from moneta.signing.keys import PrivateKey, generate, load_pem

IDENTITIES_DIR: Final = "identities"


def create_embedded(data_dir: Path, *, base_url: str, checkers: int = 1) -> None:
    """Make the keys and the store of a new hub, those that are not there yet: what broke off can be run again."""
    clock = SystemClock()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    signing_key_files.make_first_key(data_dir, now=UnixSeconds(clock.now_ms() // 1000))
    if not (data_dir / keyfiles.SEALING_KEY_FILE).exists():
        keyfiles.FileSealer.create(data_dir)
    with suppress(FileExistsError):
        store.EmbeddedStore.create(data_dir, base_url=base_url, clock=clock, checkers=checkers).close()


def rotate_key(data_dir: Path, *, is_compromised: bool) -> Rotation:
    """Make the next signing key of a hub that may be running. See ``signing_key_files.rotate_key``."""
    now = UnixSeconds(SystemClock().now_ms() // 1000)
    return signing_key_files.rotate_key(data_dir, now=now, is_compromised=is_compromised)


def stored_base_url(data_dir: Path) -> str:
    """Return the hub's base URL, as it was recorded last. See ``bootstrap.embedded`` for what it raises."""
    with closing(store.EmbeddedStore.open(data_dir, clock=SystemClock())) as opened:
        return opened.base_url


def record_base_url(data_dir: Path, base_url: str) -> str:
    """Record the hub's base URL, and return the one before. See ``bootstrap.embedded`` for what it raises.

    It is written even if it is the same: the supervisor's first write makes safe, before anybody reads or is told of
    it, what the processes of one that was killed had written and not synced.
    """
    with closing(store.EmbeddedStore.open(data_dir, clock=SystemClock())) as opened:
        before = opened.base_url
        opened.set_base_url(base_url)
        return before


def reclaim_events(data_dir: Path) -> None:
    """Count a try of each event that a processor had in hand when it died. See ``SQLiteEventQueue.reclaim``."""
    with closing(store.EmbeddedStore.open(data_dir, clock=SystemClock())) as opened:
        opened.queue.reclaim()


def migrate_embedded(data_dir: Path, *, keeps_copy: bool, on_progress: OnProgress) -> tuple[bool, Path | None]:
    """Bring an older store forward; tell whether there was anything to do, and where the older one is kept.

    See ``store.migrate`` for what it raises.
    """
    version, kept = store.older_version(data_dir), None
    if version is not None and keeps_copy:
        kept = backup.keep_version(data_dir, version, on_progress)
    return store.migrate(data_dir, on_progress), kept


def back_up(data_dir: Path, out: Path, *, with_keys: bool, on_progress: OnProgress) -> Manifest:
    """Make a backup of a hub that may be running. See ``backup.make_backup``."""
    plan = backup.Plan(
        data_dir=data_dir, out=out, with_keys=with_keys, clock=SystemClock().now_ms, on_progress=on_progress
    )
    return backup.make_backup(plan)


def verify_backup(folder: Path, *, is_quick: bool, on_progress: OnProgress) -> Manifest:
    """Return the manifest of a sound backup. See ``backup.verify_backup``."""
    return backup.verify_backup(folder, is_quick=is_quick, on_progress=on_progress)


def restore_backup(folder: Path, data_dir: Path, *, on_progress: OnProgress) -> Manifest:
    """Put a backup where ``moneta up`` can run on it. See ``backup.restore_backup``."""
    return backup.restore_backup(folder, data_dir, on_progress=on_progress)


def backup_moment(folder: Path) -> int:
    """Return the moment that a backup shows, in Unix milliseconds. Raises BackupError if it is none."""
    return backup.Manifest.read(folder).began_at


def examine_store(data_dir: Path) -> examination.Examination:
    """Return what there is to know of a hub's store. See ``examination.examine``."""
    return examination.examine(data_dir)


def identity_key(data_dir: Path, identity_id: str) -> PrivateKey:
    """Return the private key of a configured identity, whose file ``new_identity_key`` made.

    Raises:
        KeyFileError: There is none, or it is open to others.
    """
    return load_pem(keyfiles.read_private_file(_identity_path(data_dir, identity_id)))


def new_identity_key(data_dir: Path, identity_id: str) -> PrivateKey:
    """Make the key of a configured identity in a file of its own and return it; the one that is there, if one is."""
    path = _identity_path(data_dir, identity_id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        keyfiles.write_private_file(path, generate("ES256").to_pem())
    return identity_key(data_dir, identity_id)


def _identity_path(data_dir: Path, identity_id: str) -> Path:
    return data_dir / IDENTITIES_DIR / f"{identity_id}.pem"
