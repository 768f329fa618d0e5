"""What a running hub is told: one frozen value, read once at the start, handed to every process of the hub."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TextIO

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

    def to_json(self) -> str:
        """Return the settings as text for a child process. They hold no secret."""
        return json.dumps(asdict(self), default=str)  # noqa: TID251  # passed on, never signed

    @classmethod
    def read(cls, file: TextIO) -> "Settings | None":
        """Return the settings that a parent process writes as one line; None if it is gone before it did."""
        line = file.readline()
        return cls.from_json(line) if line.endswith("\n") else None

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Return the settings that ``to_json`` wrote."""
        members = json.loads(text)
        paths = {name: Path(members[name]) for name in ("data_dir", "tls_cert", "tls_key") if members[name] is not None}
        return cls(**{**members, **paths})
