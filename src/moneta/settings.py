"""What a running hub is told: one frozen value, read once at the start, handed to every process of the hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOST_DEFAULT: Final = "127.0.0.1"
PORT_DEFAULT: Final = 8080
RATE_LIMIT_DEFAULT: Final = 5_000
RATE_BURST_DEFAULT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of an embedded hub. ``docs/settings.md`` has a heading for each; a test compares.

    ``base_url`` None: the one that the store has. ``log_level``: debug, info, warning or error. ``rate_limit``:
    requests a second of each organization, 0 for any number; ``rate_burst``: how many it may send at once.
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
    rate_limit: int = RATE_LIMIT_DEFAULT
    rate_burst: int = RATE_BURST_DEFAULT
