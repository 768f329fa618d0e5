"""What the commands that keep a hub well do."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from moneta import bootstrap
from moneta.bootstrap import data_directory
from moneta.domain.retention import Past
from moneta.entrypoints.cli.progress import progress
from moneta.entrypoints.forgetting import forget_slowly
from moneta.entrypoints.supervisor import supervisor_lock
from moneta.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a backup: for a person, and for a program."""

    lines: tuple[str, ...]
    document: bytes
    has_keys: bool


def migrate(data_dir: Path, *, keeps_copy: bool) -> tuple[bool, Path | None]:
    """Bring an older store forward; tell whether there was anything to do, and where the older one is kept."""
    with supervisor_lock(data_dir), progress() as on_progress:
        return data_directory.migrate_embedded(data_dir, keeps_copy=keeps_copy, on_progress=on_progress)


def retention(data_dir: Path, days: Mapping[str, int], *, is_trial: bool) -> Mapping[Past, int]:
    """Forget what is over, or only count it; return how many of each kind."""
    settings = Settings.last(data_dir).with_days(days)

    def pause(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    with bootstrap.embedded(settings) as hub:
        return forget_slowly(hub, settings.retention, pause=pause, is_trial=is_trial)


def back_up(data_dir: Path, out: Path, *, with_keys: bool) -> Report:
    """Make a backup."""
    with progress() as on_progress:
        manifest = data_directory.back_up(data_dir, out, with_keys=with_keys, on_progress=on_progress)
    return _report(f"backed up {data_dir} to {out}", manifest)


def verify_backup(folder: Path, *, is_quick: bool) -> Report:
    """Check a backup."""
    with progress() as on_progress:
        manifest = data_directory.verify_backup(folder, is_quick=is_quick, on_progress=on_progress)
    return _report(f"sound: {folder}", manifest)


def restore(folder: Path, data_dir: Path) -> Report:
    """Put a backup in a new data directory."""
    with progress() as on_progress:
        manifest = data_directory.restore_backup(folder, data_dir, on_progress=on_progress)
    return _report(f"restored {folder} to {data_dir}", manifest)


def _report(done: str, manifest: Any) -> Report:  # a msgspec.Struct of the adapter's, which only bootstrap may name
    store, began_at = manifest.store, datetime.fromtimestamp(manifest.began_at / 1000, UTC)
    size = sum(entry.bytes for entry in manifest.files.values())
    counts = f"{store['contracts']:,} contracts, {store['leaves']:,} leaves of the audit log"
    lines = (
        f"{done}: {size:,} bytes, as of {began_at:%Y-%m-%d %H:%M:%S} UTC",
        f"{counts}, registry position {store['registry_position']}, hub key {manifest.hub_key}",
    )
    return Report(lines=lines, document=msgspec.json.encode(manifest), has_keys=manifest.has_keys)
