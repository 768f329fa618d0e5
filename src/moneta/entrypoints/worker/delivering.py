"""The deliverer's main: an event loop that sends, and pipes that tie it to the rest.

There is one deliverer a store; a lock on a file sees to it, so that leases can be its own affair.

``lifeline``: closed when the supervisor is gone, however it went. ``wake``: a byte whenever something may be due.
``processor``: takes a byte when a receiver's answer was accepted as an event. ``ready``: one line when the deliverer
can work.
"""

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable
from typing import Final

import structlog
import uvloop

from moneta.bootstrap import http_sender, opened
from moneta.entrypoints.logs import configure_logs
from moneta.entrypoints.pipes import waker
from moneta.entrypoints.telemetry.metrics import Source
from moneta.entrypoints.telemetry.process import telemetry_of
from moneta.entrypoints.worker.beats import Beats
from moneta.entrypoints.worker.pump import DeliveryPump
from moneta.settings import Settings

LOCK_FILE: Final = "deliverer.lock"
WAKE_BYTES_MAX: Final = 65_536

log = structlog.get_logger()


def main(settings: Settings, *, lifeline: int, wake: int, processor: int, ready: int) -> int:
    """Work until told to stop; return the exit code."""
    configure_logs(settings.log_level, process="deliverer")
    with (settings.data_dir / LOCK_FILE).open("ab") as file:
        # The deliverer of a supervisor that was killed may still be draining. Waiting for it makes us the only one.
        fcntl.flock(file, fcntl.LOCK_EX)
        uvloop.run(_work(settings, lifeline=lifeline, wake=wake, processor=processor, ready=ready))
    return 0


async def _work(settings: Settings, *, lifeline: int, wake: int, processor: int, ready: int) -> None:
    loop = asyncio.get_running_loop()
    with telemetry_of(settings, Source.DELIVERER) as telemetry, opened(settings, observer=telemetry.observer) as hub:
        traceparent = None if telemetry.traces is None else telemetry.traces.traceparent
        pump = DeliveryPump(hub, http_sender(settings), on_answer=waker(processor), traceparent=traceparent)
        _on_readable(loop, wake, pump.wake)
        _on_readable(loop, lifeline, pump.stop, at_end=pump.stop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, pump.stop)
        beats = Beats(settings.data_dir, telemetry.figures, pump.heartbeat)
        beats.start()
        os.write(ready, b"ready\n")
        log.info("deliverer_started")
        try:
            await pump.run()
        finally:
            beats.stop()
    log.info("deliverer_stopped")


def _on_readable(
    loop: asyncio.AbstractEventLoop,
    descriptor: int,
    callback: Callable[[], None],
    *,
    at_end: Callable[[], None] | None = None,
) -> None:
    """Call ``callback`` whenever bytes come, and ``at_end`` when the other side is gone."""
    os.set_blocking(descriptor, False)

    def read() -> None:
        if os.read(descriptor, WAKE_BYTES_MAX):
            callback()
            return
        loop.remove_reader(descriptor)
        if at_end is not None:
            at_end()

    loop.add_reader(descriptor, read)
