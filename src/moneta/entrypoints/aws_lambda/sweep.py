"""The sweep, every minute: what no message brings about, because it follows from time, or from a death in between.

1. What waits is measured, for the alarms.
2. Contracts pending on a compromised key are declined, and those whose term is over expire.
3. Deliveries that are due, or will be before the next sweeps, are announced: long waits, and lost announcements.
4. What a crash left unfinished is completed.
5. Once an hour, organizations are warned of certificates that end.

Each is done whatever becomes of the others, as far as time allows; the next sweep goes on. What fails fails the call,
so that the error rate tells of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from moneta.application.certificate_warnings import warn_of_certificates
from moneta.application.end_contracts import decline_compromised, expire_contracts
from moneta.application.ports import Serverless
from moneta.domain.identifiers import UnixMillis
from moneta.domain.limits import ANNOUNCE_AHEAD_S, PROCESS_BATCH_MAX, SWEEP_RESERVE_S, WARN_EVERY_S
from moneta.entrypoints.aws_lambda import warm
from moneta.entrypoints.aws_lambda.invocation import Event, LambdaContext, Response
from moneta.entrypoints.telemetry.backlog import measure_backlog
from moneta.entrypoints.telemetry.observing import Tally

SWEEP_EVERY_S: Final = 60
"""As the template schedules it."""

log = structlog.get_logger()


class SweepError(Exception):
    """Some of a sweep failed; the log says what, and the next sweep tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep has at hand. ``left_ms``: how long it may still take."""

    serverless: Serverless
    figures: Tally
    left_ms: Callable[[], int]

    def has_time(self) -> bool:
        """Tell whether there is time to begin something more."""
        return self.left_ms() >= SWEEP_RESERVE_S * 1000


def handler(event: Event, context: LambdaContext) -> Response:
    """Sweep once."""
    with warm.call(context, event) as figures:
        return handle(
            Sweep(serverless=warm.serverless(), figures=figures, left_ms=context.get_remaining_time_in_millis)
        )


def handle(sweep: Sweep) -> Response:
    """Sweep once, and return how much of each was done; what there was no time for is not in it.

    Raises:
        SweepError: Some of it failed; all the rest is done.
    """
    done: dict[str, int] = {}
    failed: list[str] = []
    for name, part in PARTS.items():
        if not sweep.has_time():
            log.warning("sweep_cut_short", before=name)
            break
        try:
            done[name] = part(sweep)
        except Exception as error:  # each of the others is done all the same
            log.exception("sweep_failed", part=name, error=type(error).__name__)
            failed.append(name)
    log.info("swept", **done)
    if failed:
        raise SweepError(", ".join(failed))
    return {**done}


def _measure(sweep: Sweep) -> int:
    measure_backlog(sweep.figures, sweep.serverless.hub)
    return 1


def _decline(sweep: Sweep) -> int:
    return decline_compromised(sweep.serverless.hub)


def _expire(sweep: Sweep) -> int:
    """Expire batch after batch, until one is not full or the time is over."""
    expired, is_full = 0, True
    while is_full and sweep.has_time():
        count = expire_contracts(sweep.serverless.hub)
        expired, is_full = expired + count, count >= PROCESS_BATCH_MAX
    return expired


def _announce(sweep: Sweep) -> int:
    now = sweep.serverless.hub.clock.now_ms()
    return sweep.serverless.lines.announce_due(now=now, until=UnixMillis(now + ANNOUNCE_AHEAD_S * 1000))


def _complete(sweep: Sweep) -> int:
    return sweep.serverless.relay.complete_waiting()


def _warn(sweep: Sweep) -> int:
    """Warn of certificates that end, in the first minute of each hour: it reads every organization."""
    hub = sweep.serverless.hub
    return warn_of_certificates(hub) if hub.now_s() % WARN_EVERY_S < SWEEP_EVERY_S else 0


# fmt: off
PARTS: Final[Mapping[str, Callable[[Sweep], int]]] = {
    "measured":  _measure,
    "declined":  _decline,
    "expired":   _expire,
    "announced": _announce,
    "completed": _complete,
    "warned":    _warn,
}
# fmt: on


warm.at_start(warm.serverless)
