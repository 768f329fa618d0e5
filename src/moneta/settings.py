"""What a running hub is told: one frozen value, read once at the start, handed to every process of the hub."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from moneta.domain.limits import KEEP_ANSWERS_DAYS, KEEP_DEAD_DAYS, KEEP_DELIVERIES_DAYS, KEEP_EVENTS_DAYS
from moneta.domain.retention import Retention

HOST_DEFAULT: Final = "127.0.0.1"
PORT_DEFAULT: Final = 8080
RATE_LIMIT_DEFAULT: Final = 5_000
RATE_BURST_DEFAULT: Final = 10_000
SETTINGS_FILE: Final = "settings.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of an embedded hub. ``docs/settings.md`` has a heading for each; a test compares.

    ``base_url`` None: the one that the store has. ``log_level``: debug, info, warning or error. ``rate_limit``:
    requests a second of each organization, 0 for any number; ``rate_burst``: how many it may send at once.
    ``otlp_endpoint``: the base URL of the collector that traces go to, None for no traces; ``trace_ratio``: the share
    of contracts that are traced.
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
    otlp_endpoint: str | None = None
    trace_ratio: float = 1.0
    keep_deliveries_days: int = KEEP_DELIVERIES_DAYS
    keep_dead_days: int = KEEP_DEAD_DAYS
    keep_events_days: int = KEEP_EVENTS_DAYS
    keep_answers_days: int = KEEP_ANSWERS_DAYS

    @property
    def retention(self) -> Retention:
        """How long what is over is kept. Raises RetentionError if that would break a promise."""
        return Retention(
            deliveries_days=self.keep_deliveries_days,
            dead_days=self.keep_dead_days,
            events_days=self.keep_events_days,
            answers_days=self.keep_answers_days,
        )

    def with_days(self, days: Mapping[str, int]) -> "Settings":
        """Return the settings with other ``keep_..._days``."""
        return replace(self, **dict[str, Any](days))  # replace() has no types for names that are not written out

    def save(self) -> None:
        """Leave the settings in the data directory for the operator's tools, which look at the hub from outside."""
        members = {name: str(one) if isinstance(one, Path) else one for name, one in asdict(self).items()}
        draft = self.data_dir / f".{SETTINGS_FILE}"
        draft.write_text(f"{json.dumps(members, indent=2)}\n", encoding="utf-8")  # noqa: TID251  # never signed
        draft.replace(self.data_dir / SETTINGS_FILE)

    @classmethod
    def last(cls, data_dir: Path) -> "Settings":
        """Return the settings that a hub was last started with there; the defaults if it never was."""
        try:
            found = json.loads((data_dir / SETTINGS_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(data_dir=data_dir)
        known = {one.name for one in fields(cls)}  # another version's file may have others
        members = {name: member for name, member in found.items() if name in known}
        paths = {name: Path(members[name]) for name in ("tls_cert", "tls_key") if members.get(name) is not None}
        return cls(**{**members, **paths, "data_dir": data_dir})  # which may have moved
