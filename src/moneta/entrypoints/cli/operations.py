"""What the commands that keep a hub well do."""

import time
from collections.abc import Mapping
from pathlib import Path

from moneta import bootstrap
from moneta.domain.retention import Past
from moneta.entrypoints.forgetting import forget_slowly
from moneta.entrypoints.supervisor import supervisor_lock
from moneta.settings import Settings


def migrate(data_dir: Path) -> bool:
    """Bring an older store forward; tell whether there was anything to do."""
    with supervisor_lock(data_dir):
        return bootstrap.migrate_embedded(data_dir)


def retention(data_dir: Path, days: Mapping[str, int], *, is_trial: bool) -> Mapping[Past, int]:
    """Forget what is over, or only count it; return how many of each kind."""
    settings = Settings.last(data_dir).with_days(days)

    def pause(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    with bootstrap.embedded(settings) as hub:
        return forget_slowly(hub, settings.retention, pause=pause, is_trial=is_trial)
