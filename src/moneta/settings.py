"""What a running hub is told: one frozen value, read once at the start, handed to every process of the hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOST_DEFAULT: Final = "127.0.0.1"
PORT_DEFAULT: Final = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of an embedded hub. ``docs/settings.md`` has a heading for each; a test compares.

    ``base_url`` None: the one that the store has. ``log_level``: debug, info, warning or error.
    """

    data_dir: Path
    host: str = HOST_DEFAULT
    port: int = PORT_DEFAULT
    base_url: str | None = None
    allow_http_webhooks: bool = False
    allow_private_webhooks: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    log_level: str = "info"
