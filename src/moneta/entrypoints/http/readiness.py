"""``GET /ready``: every check by name, and for one that fails what was found and what to do about it.

1. The checks run in a thread of their own, at most once a second, however many ask: a flood costs the store one empty
   transaction a second.
2. A store that hangs is a finding too: who has waited ``PROBE_S_MAX`` answers with it, and nobody waits again while
   that probe is stuck.
3. What a counterparty can cause is no check: a dead endpoint must not take the hub out of service for the others.
"""

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from moneta.application.ports import ContractQuery, Hub
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.limits import (
    CLOCK_SKEW_S,
    DISK_FREE_BYTES_MIN,
    HEARTBEAT_AGE_S_MAX,
    LAG_S_MAX,
    PROBE_AGE_S_MAX,
    PROBE_S_MAX,
    TURN_S_MAX,
)
from moneta.entrypoints.heartbeats import DELIVERER, PROCESSOR, Heartbeat, HeartbeatFile
from moneta.entrypoints.http.recent import Recent

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the checks look at."""

    hub: Hub
    data_dir: Path

    def beat(self, name: str) -> Heartbeat | None:
        """Return the heartbeat of a worker process if it is alive."""
        return HeartbeatFile(self.data_dir, name).alive(self.hub.clock.now_ms())


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row. ``fault`` says what is wrong, None if nothing is; ``remedy`` what to do about it."""

    name: str
    fault: Callable[[Surroundings], str | None]
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found; None: all is well."""

    check: Check
    fault: str | None


class Readiness:
    """Runs the checks when somebody asks. Safe from any thread."""

    def __init__(self, surroundings: Surroundings, checks: Sequence[Check]) -> None:
        self._surroundings = surroundings
        self._checks = checks
        self._lock = threading.Lock()
        self._recent: Recent[Sequence[Finding]] = Recent(PROBE_AGE_S_MAX)
        self._probe: _Probe | None = None

    def fresh(self) -> Sequence[Finding] | None:
        """Return the last findings if they are fresh; never waits."""
        return self._recent.fresh()

    def findings(self) -> Sequence[Finding]:
        """Return what each check found, at most ``PROBE_AGE_S_MAX`` ago; waits for at most ``PROBE_S_MAX``."""
        with self._lock:
            findings = self.fresh()
            if findings is not None:
                return findings
            if self._probe is None or self._probe.has_ended:
                self._probe = _Probe(self._surroundings, self._checks)
            probe = self._probe
        return self._recent.keep(probe.findings())


class _Probe:
    """One run of all checks, in a thread that nobody has to wait for."""

    def __init__(self, surroundings: Surroundings, checks: Sequence[Check]) -> None:
        self._surroundings = surroundings
        self._checks = checks
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._findings: Sequence[Finding] = ()
        threading.Thread(target=self._run, name="readiness", daemon=True).start()

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    def findings(self) -> Sequence[Finding]:
        if self._ended.wait(max(0.0, self._started + PROBE_S_MAX - time.monotonic())):
            return self._findings
        waited_s = time.monotonic() - self._started
        return [Finding(check=STORE, fault=f"it has not answered for {waited_s:.0f} s")]

    def _run(self) -> None:
        self._findings = [Finding(check=check, fault=_fault(check, self._surroundings)) for check in self._checks]
        self._ended.set()


def _fault(check: Check, surroundings: Surroundings) -> str | None:
    try:
        return check.fault(surroundings)
    except Exception as error:  # a check that can't be made does not hold
        log.exception("check_failed", check=check.name, error=type(error).__name__)
        return f"it could not be checked: {type(error).__name__}"


def _store_fault(around: Surroundings) -> str | None:
    try:
        around.hub.events.accept(())  # does all that accepting does, but for writing
    except StoreUnavailableError as error:
        return str(error)
    return None


def _disk_fault(around: Surroundings) -> str | None:
    free = shutil.disk_usage(around.data_dir).free
    return f"{free:,} bytes are free, fewer than {DISK_FREE_BYTES_MIN:,}" if free < DISK_FREE_BYTES_MIN else None


def _clock_fault(around: Surroundings) -> str | None:
    """Find a clock behind what the hub has recorded: its key's first day, and the newest contract's receipt."""
    newest = around.hub.contracts.list(ContractQuery(visible_to=None, limit=1)).items
    known_s = max(around.hub.signer.published()[0].not_before, *(one.received_at // 1000 for one in newest), 0)
    behind_s = known_s - around.hub.now_s()
    return f"it is {behind_s} s behind what the hub has recorded" if behind_s > CLOCK_SKEW_S else None


def _alive_fault(name: str) -> Callable[[Surroundings], str | None]:
    def fault(around: Surroundings) -> str | None:
        return None if around.beat(name) else f"it has shown no sign of life for {HEARTBEAT_AGE_S_MAX} s"

    return fault


def _moving_fault(name: str) -> Callable[[Surroundings], str | None]:
    def fault(around: Surroundings) -> str | None:
        beat = around.beat(name)
        turn_s = 0 if beat is None else beat.turn_ms // 1000
        return f"it has been at one turn for {turn_s} s, longer than {TURN_S_MAX}" if turn_s > TURN_S_MAX else None

    return fault


def _lag_fault(around: Surroundings) -> str | None:
    beat = around.beat(PROCESSOR)
    lag_s = 0 if beat is None else beat.lag_ms // 1000
    return f"an event waited {lag_s} s for its first try, longer than {LAG_S_MAX}" if lag_s > LAG_S_MAX else None


STORE: Final = Check(
    name="store_writable",
    fault=_store_fault,
    remedy="make room on the disk, or look for store_unavailable in the log; what is not durable is answered 503",
)
_LOOK: Final = "it is started again by itself; look for process_died in the log, with its exit code and how often"
_STUCK: Final = "look at its last log lines, at the disk and at the CPU; if it does not go on, end its process: "
CLOCK: Final = Check(
    name="clock",
    fault=_clock_fault,
    remedy="set the machine's clock, and keep it by NTP: times are signed, and tokens and terms judged by them",
)
SERVERLESS_CHECKS: Final = (STORE, CLOCK)
"""Where there is no disk, and whether events are processed in time is for alarms on the queues to tell."""
CHECKS: Final = (
    STORE,
    Check(
        name="disk_space",
        fault=_disk_fault,
        remedy="make room where the data directory is: a full disk stops the hub, and loses nothing",
    ),
    CLOCK,
    Check(name="processor_alive", fault=_alive_fault(PROCESSOR), remedy=_LOOK),
    Check(
        name="processor_moving",
        fault=_moving_fault(PROCESSOR),
        remedy=f"{_STUCK}what it had taken is taken again",
    ),
    Check(
        name="processor_in_time",
        fault=_lag_fault,
        remedy="more is accepted than can be processed: look at moneta_event_queue_depth and at the CPU",
    ),
    Check(name="deliverer_alive", fault=_alive_fault(DELIVERER), remedy=_LOOK),
    Check(
        name="deliverer_moving",
        fault=_moving_fault(DELIVERER),
        remedy=f"{_STUCK}what it had sent and not recorded is sent again",
    ),
)
