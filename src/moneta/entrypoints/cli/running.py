"""What ``up`` and ``migrate`` do: what nobody may do while a hub runs on the same data."""

from collections.abc import Callable
from pathlib import Path

from moneta import bootstrap
from moneta.entrypoints.supervisor import supervise, supervisor_lock
from moneta.settings import Settings


def serve(settings: Settings, *, on_ready: Callable[[str], None]) -> int:
    """Run the hub until it is told to stop, and return the exit code."""
    for path in (settings.tls_cert, settings.tls_key):
        if path is not None:
            path.open("rb").close()  # said here, by name, and not by the web process that would die of it
    return supervise(settings, on_ready=on_ready)


def migrate(data_dir: Path) -> bool:
    """Bring an older store forward; tell whether there was anything to do."""
    with supervisor_lock(data_dir):
        return bootstrap.migrate_embedded(data_dir)
