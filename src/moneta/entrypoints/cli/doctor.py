"""What ``moneta doctor`` looks at: a table of checks, each with what it found and what to do about it."""

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import IntEnum
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from cryptography import x509

from moneta import bootstrap
from moneta.bootstrap import data_directory
from moneta.domain.errors import BackupError
from moneta.domain.limits import CERTIFICATE_WARNING_DAYS, ENDPOINT_FAILING_S_MAX
from moneta.domain.retention import DAY_MS
from moneta.entrypoints.heartbeats import WORKERS, HeartbeatFile
from moneta.entrypoints.supervisor import StartError, supervisor_lock
from moneta.settings import Settings

TIME_ERROR: Final = 5
ADJTIMEX_BYTES: Final = 512
SKEW_MS_MAX: Final = 5_000
FREE_BYTES_MIN: Final = 1024**3
FSYNC_MS_SLOW: Final = 20.0
WAL_BYTES_LARGE: Final = 256 * 1024**2
EVENT_WAITS_MS_MAX: Final = 60_000
DELIVERY_WAITS_MS_MAX: Final = 3_600_000
FAILING_MS_MAX: Final = 3_600_000
DAY_S: Final = 24 * 3600
KEY_AGE_DAYS_MAX: Final = 365
SHOWN_MAX: Final = 5
BACKUP_AGE_MS_MAX: Final = 26 * 3_600_000
URL_TIMEOUT_S: Final = 5


class Level(IntEnum):
    """How a check ended; the worst is the exit code."""

    OK = 0
    WARN = 1
    FAIL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What the checks look at. ``found``: the examination of the store; ``now``: Unix milliseconds."""

    data_dir: Path
    settings: Settings
    found: Any  # the adapter's, which only bootstrap may name
    now: int
    is_running: bool
    url: str | None
    backups: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found. ``advice``: what to do, empty where all is well."""

    check: str
    level: Level
    text: str
    advice: str = ""


Verdict = tuple[Level, str, str]


def _warn_unless(is_well: bool, text: str, advice: str) -> Verdict:  # noqa: FBT001  # what it reads like at each call
    return (Level.OK, text, "") if is_well else (Level.WARN, text, advice)


def examine(data_dir: Path, *, url: str | None, backups: Path | None) -> Sequence[Finding]:
    """Return what every check found.

    Raises:
        MonetaError, FileNotFoundError: The hub could not start there at all; the text says why.
    """
    patient = Patient(
        data_dir=data_dir,
        settings=Settings.last(data_dir),
        found=data_directory.examine_store(data_dir),
        now=bootstrap.system_clock().now_ms(),
        is_running=_is_running(data_dir),
        url=url,
        backups=backups,
    )
    verdicts = ((name, check(patient)) for name, check in CHECKS.items())
    return [Finding(check=name, level=level, text=text, advice=advice) for name, (level, text, advice) in verdicts]


def worst(findings: Sequence[Finding]) -> int:
    """Return the exit code."""
    return int(max(one.level for one in findings))


def to_json(findings: Sequence[Finding]) -> bytes:
    """Return the findings for a program."""
    return msgspec.json.encode([asdict(one) | {"level": one.level.name.lower()} for one in findings])


def _store(it: Patient) -> Verdict:
    if it.found.broken:
        return Level.FAIL, "; ".join(it.found.broken), "stop the hub; restore the last sound backup: moneta restore"
    return Level.OK, "every page and the log's numbers are sound", ""


def _files(it: Patient) -> Verdict:
    if it.found.open_files:
        shown = ", ".join(it.found.open_files[:3])
        return Level.FAIL, f"others can read {shown}", "chmod go= on it; a key that others could read must be replaced"
    return Level.OK, "keys and store are their owner's alone", ""


def _space(it: Patient) -> Verdict:
    free, needed = it.found.free_bytes, max(FREE_BYTES_MIN, it.found.store_bytes // 10)
    level = Level.OK if free >= needed else Level.WARN if free >= needed // 4 else Level.FAIL
    advice = "" if level is Level.OK else "make room: a full disk stops the hub; moneta retention frees pages for reuse"
    return level, f"{free:,} bytes are free", advice


def _speed(it: Patient) -> Verdict:
    return _warn_unless(
        it.found.fsync_ms < FSYNC_MS_SLOW,
        f"a durable write takes {it.found.fsync_ms:.1f} ms",
        "every 202 waits for this: use a faster disk, or find who else loads it",
    )


def _wal(it: Patient) -> Verdict:
    return _warn_unless(
        it.found.wal_bytes < WAL_BYTES_LARGE,
        f"the WAL has {it.found.wal_bytes:,} bytes",
        "something reads the store for very long: a backup, or a shell left open",
    )


def _clock(it: Patient) -> Verdict:
    newest = it.found.newest_at or 0
    if newest > it.now + SKEW_MS_MAX:
        behind = (newest - it.now) // 1000
        return (
            Level.FAIL,
            f"the clock is {behind} s behind the newest row",
            "set it right before the hub works on",
        )
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(ADJTIMEX_BYTES))  # all zero: it only asks
    if state == TIME_ERROR:
        return Level.WARN, "the kernel says that nothing keeps the clock right", "run chrony or systemd-timesyncd"
    return Level.OK, "the clock is ahead of the newest row, and kept right", ""


def _answer(it: Patient) -> Verdict:
    if it.url is None:
        return Level.OK, "not asked: give --url", ""
    try:
        status, skew_ms = _asked(it.url, it.now)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: an address, or a Date, that is none
        return Level.FAIL, f"{it.url} does not answer: {error}", "is it up, and is this the address?"
    if status >= 300:  # noqa: PLR2004  # RFC 9110, section 15
        return Level.FAIL, f"{it.url}/ready says {status}", "its body says which part is not ready"
    if skew_ms > SKEW_MS_MAX:
        return Level.WARN, f"its clock and this one differ by {skew_ms / 1000:.0f} s", "signatures are judged by time"
    return Level.OK, f"{it.url} is ready", ""


def _asked(url: str, now_ms: int) -> tuple[int, float]:
    """Return the status of ``/ready``, and by how many milliseconds the clock there differs."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc, timeout=URL_TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path}/ready")
        answer = connection.getresponse()
    finally:
        connection.close()
    date = answer.getheader("date")
    return answer.status, 0 if date is None else abs(parsedate_to_datetime(date).timestamp() * 1000 - now_ms)


def _processes(it: Patient) -> Verdict:
    if not it.is_running:
        return Level.WARN, "no hub runs on this directory", f"moneta up --data {it.data_dir}"
    dead = [name for name in WORKERS if HeartbeatFile(it.data_dir, name).alive(it.now) is None]
    if dead:
        return Level.FAIL, f"no sign of life from {', '.join(dead)}", "see the log for process_died; restart the hub"
    return Level.OK, "every process shows signs of life", ""


# fmt: off
ENDS: Final = (
    # days left, and what to do then; the first row that holds
    (0,  Level.FAIL, "it has ended: what it signs is refused; replace it now"),
    (1,  Level.FAIL, "replace it today: what it signs after its end is refused"),
    (7,  Level.WARN, "replace it this week: what it signs after its end is refused"),
    (30, Level.WARN, "replace it this month: what it signs after its end is refused"),
)
# fmt: on


def _end(what: str, until_s: float, now_ms: int) -> Verdict:
    """Judge something that ends at a moment."""
    left_s = until_s - now_ms / 1000
    text = f"{what} ends in {left_s / DAY_S:.0f} days" if left_s > 0 else f"{what} ended {-left_s / DAY_S:.0f} days ago"
    level, advice = next(((level, advice) for days, level, advice in ENDS if left_s <= days * DAY_S), (Level.OK, ""))
    return level, text, advice


def _key(it: Patient) -> Verdict:
    return _end("Moneta's signing key", it.found.signing_until, it.now)


def _certificate(it: Patient) -> Verdict:
    path = it.settings.tls_cert
    if path is None:
        return Level.OK, "none: the hub does not end TLS itself", ""
    try:
        until = x509.load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        return Level.FAIL, f"{path} can't be read: {error}", "start the hub with a certificate that is there"
    return _end("the TLS certificate", until.timestamp(), it.now)


def _partner_keys(it: Patient) -> Verdict:
    advice = "ask their owners to register new ones and to retire these (docs/partner-guide.md)"
    return _ages(it.found.partner_keys, it.now, advice)


def _partner_certificates(it: Patient) -> Verdict:
    """Judge the certificates of organizations: who is warned by webhook may not have seen to it."""
    ends_at = {name: until - it.now // 1000 for name, until in it.found.certificates.items()}
    soon = sorted(
        (name for name in ends_at if ends_at[name] <= max(CERTIFICATE_WARNING_DAYS) * DAY_S),
        key=lambda name: ends_at[name],
    )
    if not soon:
        return Level.OK, f"{len(ends_at)}, none of which ends within {max(CERTIFICATE_WARNING_DAYS)} days", ""
    shown = _first(f"{name} in {ends_at[name] // DAY_S} days" for name in soon)
    advice = "ask their owners for new ones: PUT /organizations/{kind}/{id} replaces them"
    return Level.WARN, f"{len(soon)} of {len(ends_at)} end soon or have ended: {shown}", advice


def _identity_keys(it: Patient) -> Verdict:
    advice = "moneta identity add makes an identity with a new key: have its owner use that one's tokens"
    return _ages(it.found.identity_keys, it.now, advice)


def _ages(registered_at: Mapping[str, int], now_ms: int, advice: str) -> Verdict:
    """Judge keys that have no end of their own by their age."""
    days = {name: (now_ms - at) // DAY_MS for name, at in registered_at.items()}
    old = sorted((name for name in days if days[name] > KEY_AGE_DAYS_MAX), key=lambda name: -days[name])
    if not old:
        return Level.OK, f"{len(days)} may sign, the oldest for {max(days.values(), default=0)} days", ""
    shown = _first(f"{name} for {days[name]} days" for name in old)
    return Level.WARN, f"{len(old)} of {len(days)} have signed for more than a year: {shown}", advice


def _first(texts: Iterable[str]) -> str:
    shown = list(islice(texts, SHOWN_MAX + 1))
    return ", ".join(shown[:SHOWN_MAX]) + (" and others" if len(shown) > SHOWN_MAX else "")


def _events(it: Patient) -> Verdict:
    waits_ms = 0 if it.found.oldest_event_at is None else it.now - it.found.oldest_event_at
    return _warn_unless(
        waits_ms < EVENT_WAITS_MS_MAX,
        f"the oldest event waits for {waits_ms // 1000} s",
        "does the processor work? see the log for event_failed",
    )


def _dead_letters(it: Patient) -> Verdict:
    return _warn_unless(
        not it.found.dead_letters,
        f"{it.found.dead_letters} events met a bug ten times",
        "moneta dlq list; after what they died of is mended, moneta dlq redrive",
    )


def _deliveries(it: Patient) -> Verdict:
    waits_ms = 0 if it.found.oldest_delivery_at is None else it.now - it.found.oldest_delivery_at
    return _warn_unless(
        waits_ms < DELIVERY_WAITS_MS_MAX,
        f"the oldest webhook waits for {waits_ms // 1000} s, {it.found.dead_deliveries} are dead",
        "moneta deliveries list --status pending: ask whose they are",
    )


def _endpoints(it: Patient) -> Verdict:
    if it.found.disabled:
        shown = _first(it.found.disabled)
        return Level.WARN, f"disabled: {shown}", "ask them to mend it; any change of webhook_url enables it again"
    return Level.OK, "no endpoint is disabled", ""


def _failing(it: Patient) -> Verdict:
    late = {one: since for one, since in it.found.failing.items() if it.now - since > FAILING_MS_MAX}
    if not late:
        return Level.OK, f"{len(it.found.failing)} endpoints have failed of late, none for an hour", ""
    shown = _first(f"{one} since {_moment(at)}, disabled at {_moment(_disabled_at(at))}" for one, at in late.items())
    return (
        Level.WARN,
        f"nothing but failures: {shown}",
        "moneta deliveries list shows what they answer: ask them to mend it, and to try it by a webhook-test",
    )


def _disabled_at(failing_since: int) -> int:
    """Return the moment at which the next failed attempt disables an endpoint. See ``domain.endpoints``."""
    return failing_since + ENDPOINT_FAILING_S_MAX * 1000


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _retention(it: Patient) -> Verdict:
    oldest = it.found.oldest_delivered_at
    late = oldest is not None and it.now - oldest > (it.settings.keep_deliveries_days + 2) * DAY_MS
    if late:
        return Level.WARN, "webhooks are kept longer than they should be", f"moneta retention --data {it.data_dir}"
    return Level.OK, "nothing is kept longer than it should be", ""


def _settings(it: Patient) -> Verdict:
    loose = [name for name in ("allow_http_webhooks", "allow_private_webhooks") if getattr(it.settings, name)]
    parts = urlsplit(it.settings.base_url or "")
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        loose.append("base_url without TLS")
    if loose:
        return Level.WARN, f"for tests alone: {', '.join(loose)}", "start the hub without it in production"
    return Level.OK, "no setting is for tests alone", ""


def _backups(it: Patient) -> Verdict:
    if it.backups is None:
        return Level.OK, "not asked: give --backups", ""
    try:
        made = [data_directory.backup_moment(path.parent) for path in it.backups.glob("*/manifest.json")]
    except BackupError as error:
        return Level.FAIL, str(error), "it restores nothing: delete it, and make another"
    if not made:
        return (
            Level.WARN,
            f"{it.backups} holds no backup",
            f"moneta backup --data {it.data_dir} --out {it.backups}/NAME",
        )
    age_ms = it.now - max(made)
    return _warn_unless(
        age_ms < BACKUP_AGE_MS_MAX,
        f"the last backup is {age_ms // 3_600_000} hours old",
        "see why the timer does not run",
    )


# fmt: off
CHECKS: Final[dict[str, Callable[[Patient], Verdict]]] = {
    "store":         _store,
    "files":         _files,
    "disk space":    _space,
    "disk speed":    _speed,
    "WAL":           _wal,
    "clock":         _clock,
    "answer":        _answer,
    "processes":     _processes,
    "signing key":   _key,
    "certificate":   _certificate,
    "partner keys":  _partner_keys,
    "identity keys": _identity_keys,
    "partner certificates": _partner_certificates,
    "events":        _events,
    "dead letters":  _dead_letters,
    "deliveries":    _deliveries,
    "endpoints":     _endpoints,
    "failing":       _failing,
    "retention":     _retention,
    "settings":      _settings,
    "backups":       _backups,
}
# fmt: on


def _is_running(data_dir: Path) -> bool:
    try:
        with supervisor_lock(data_dir):
            return False
    except StartError:
        return True
