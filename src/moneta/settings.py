"""What a running hub is told: one frozen value, read once at the start, handed to every process of the hub."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from moneta.domain.errors import MisconfiguredError
from moneta.domain.limits import (
    CHECKERS_MAX,
    KEEP_ANSWERS_DAYS,
    KEEP_DEAD_DAYS,
    KEEP_DELIVERIES_DAYS,
    KEEP_EVENTS_DAYS,
)
from moneta.domain.retention import Retention

HOST_DEFAULT: Final = "127.0.0.1"
PORT_DEFAULT: Final = 8080
RATE_LIMIT_DEFAULT: Final = 5_000
RATE_BURST_DEFAULT: Final = 10_000
TRACE_RATIO_OF_FUNCTIONS: Final = 0.01
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
SETTINGS_FILE: Final = "settings.json"

# fmt: off
AWS_VARIABLES: Final[Mapping[str, str]] = {
    "region":             "AWS_REGION",
    "table_prefix":       "MONETA_TABLE_PREFIX",
    "events_queue_url":   "MONETA_EVENTS_QUEUE_URL",
    "webhooks_queue_url": "MONETA_WEBHOOKS_QUEUE_URL",
    "secret_id":          "MONETA_SECRET_ID",
    "root_key_id":        "MONETA_ROOT_KEY_ID",
}
"""The environment variable of each field of ``AwsSettings`` that must be given."""
# fmt: on
AWS_ENDPOINT_VARIABLE: Final = "AWS_ENDPOINT_URL"


class StoreKind(StrEnum):
    """Where a hub keeps what it knows."""

    EMBEDDED = "embedded"
    AWS = "aws"


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """What a hub on AWS is made of: the names that the deployed template gave it.

    ``secret_id``: name or ARN of the secret with Moneta's keys. ``root_key_id``: id, ARN or alias of the KMS key that
    certifies them. ``endpoint_url`` None: the services' own.
    """

    region: str
    table_prefix: str
    events_queue_url: str
    webhooks_queue_url: str
    secret_id: str
    root_key_id: str
    endpoint_url: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "AwsSettings":
        """Return the settings that the variables of a process give.

        Raises:
            MisconfiguredError: Some are missing or empty; it names them all.
        """
        missing = [variable for variable in AWS_VARIABLES.values() if not environ.get(variable)]
        if missing:
            raise MisconfiguredError(f"environment: expected {', '.join(missing)}, which the deployed template sets")
        given = {name: environ[variable] for name, variable in AWS_VARIABLES.items()}
        return cls(**given, endpoint_url=environ.get(AWS_ENDPOINT_VARIABLE) or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a hub. ``docs/settings.md`` has a heading for each; a test compares.

    ``base_url`` None: the one that the store has. ``log_level``: debug, info, warning or error. ``rate_limit``:
    requests a second of each organization, 0 for any number; ``rate_burst``: how many it may send at once.
    ``otlp_endpoint``: the base URL of the collector that traces go to, None for no traces; ``trace_ratio``: the share
    of contracts that are traced. ``checkers``: of a hub on AWS; an embedded store has its own.
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
    store: StoreKind = StoreKind.EMBEDDED
    aws: AwsSettings | None = None
    checkers: int = 1
    require_endpoint_check: bool = False

    @property
    def retention(self) -> Retention:
        """How long what is over is kept. Raises RetentionError if that would break a promise."""
        return Retention(
            deliveries_days=self.keep_deliveries_days,
            dead_days=self.keep_dead_days,
            events_days=self.keep_events_days,
            answers_days=self.keep_answers_days,
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, data_dir: Path) -> "Settings":
        """Return the settings of a hub on AWS that a function's variables give. ``data_dir``: for what need not last.

        Raises:
            MisconfiguredError: Some are missing, or say what they can't.
        """
        base_url = environ.get("MONETA_BASE_URL")
        if not base_url:
            raise MisconfiguredError("environment: expected MONETA_BASE_URL, which the deployed template sets")
        return cls(
            data_dir=data_dir,
            base_url=base_url,
            allow_http_webhooks=_is_on(environ, "MONETA_ALLOW_HTTP_WEBHOOKS"),
            allow_private_webhooks=_is_on(environ, "MONETA_ALLOW_PRIVATE_WEBHOOKS"),
            log_level=_level(environ, "MONETA_LOG_LEVEL"),
            rate_limit=_number(environ, "MONETA_RATE_LIMIT", RATE_LIMIT_DEFAULT),
            otlp_endpoint=environ.get("MONETA_OTLP_ENDPOINT") or None,
            trace_ratio=_share(environ, "MONETA_TRACE_RATIO", TRACE_RATIO_OF_FUNCTIONS),
            store=StoreKind.AWS,
            aws=AwsSettings.from_environment(environ),
            checkers=_checkers(environ),
            require_endpoint_check=_is_on(environ, "MONETA_REQUIRE_ENDPOINT_CHECK"),
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
        """Return the settings that a hub was last started with there; the defaults if it never was.

        Raises:
            MisconfiguredError: The file is damaged: it is not synced, so a power cut may have left it empty.
        """
        path = data_dir / SETTINGS_FILE
        try:
            return cls._of_file(json.loads(path.read_text(encoding="utf-8")), data_dir)
        except FileNotFoundError:
            return cls(data_dir=data_dir)
        except (ValueError, TypeError, AttributeError) as error:  # no JSON, or not what ``save`` writes
            raise MisconfiguredError(f"{path}: can't be read; moneta up writes it anew, or delete it") from error

    @classmethod
    def _of_file(cls, found: Mapping[str, Any], data_dir: Path) -> "Settings":  # Any: as JSON has it
        known = {one.name for one in fields(cls)}  # another version's file may have others
        members = {name: member for name, member in found.items() if name in known}
        members["store"] = StoreKind(members.get("store", StoreKind.EMBEDDED))
        if members.get("aws") is not None:
            members["aws"] = AwsSettings(**members["aws"])
        paths = {name: Path(members[name]) for name in ("tls_cert", "tls_key") if members.get(name) is not None}
        return cls(**{**members, **paths, "data_dir": data_dir})  # which may have moved


def _is_on(environ: Mapping[str, str], variable: str) -> bool:
    """Tell whether a variable says ``true``. One that is missing, or empty, does not."""
    given = environ.get(variable, "")
    if given not in {"", "true", "false"}:
        raise MisconfiguredError(f"environment: {variable}: expected true or false, got {given[:32]!r}")
    return given == "true"


def _level(environ: Mapping[str, str], variable: str) -> str:
    given = environ.get(variable) or "info"
    if given not in LOG_LEVELS:
        raise MisconfiguredError(f"environment: {variable}: expected {', '.join(LOG_LEVELS)}, got {given[:32]!r}")
    return given


def _number(environ: Mapping[str, str], variable: str, default: int) -> int:
    given = environ.get(variable) or str(default)
    if not (given.isascii() and given.isdecimal()):
        raise MisconfiguredError(f"environment: {variable}: expected a whole number, got {given[:32]!r}")
    return int(given)


def _checkers(environ: Mapping[str, str]) -> int:
    checkers = _number(environ, "MONETA_CHECKERS", 1)
    if not 1 <= checkers <= CHECKERS_MAX:
        raise MisconfiguredError(f"environment: MONETA_CHECKERS: expected 1 to {CHECKERS_MAX}, got {checkers}")
    return checkers


def _share(environ: Mapping[str, str], variable: str, default: float) -> float:
    given = environ.get(variable) or str(default)
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise MisconfiguredError(f"environment: {variable}: expected a number from 0 to 1, got {given[:32]!r}")
    return share
