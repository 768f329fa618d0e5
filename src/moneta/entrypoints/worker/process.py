"""The worker's main: one thread processes, the event loop delivers, and three file descriptors tie it to the rest.

There is one worker a store; a lock on a file sees to it, and so the leases of one that died can be forgotten.

``lifeline``: closed when the supervisor is gone, however it went. ``wake``: a byte whenever there may be work.
``ready``: one line when the worker can work. The settings come as a line on standard input, once the supervisor has
seen to it that the store is there; the imports need not wait for that.
"""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
import uvloop

from moneta.bootstrap import embedded, forget_leases, http_sender
from moneta.entrypoints.logs import configure_logs
from moneta.entrypoints.worker.processor import Processor
from moneta.entrypoints.worker.pump import DeliveryPump
from moneta.settings import Settings

LOCK_FILE: Final = "worker.lock"
HEARTBEAT_FILE: Final = "worker.alive"
HEARTBEAT_S: Final = 2.0
WAKE_BYTES_MAX: Final = 65_536

log = structlog.get_logger()


def main(arguments: Sequence[str]) -> int:
    """Work until told to stop; return the exit code. ``arguments``: lifeline, wake, ready."""
    lifeline, wake, ready = (int(argument) for argument in arguments)
    settings = Settings.read(sys.stdin)
    if settings is None:
        return 0
    configure_logs(settings.log_level, process="worker")
    with (settings.data_dir / LOCK_FILE).open("ab") as file:
        # The worker of a supervisor that was killed may still be draining. Waiting for it makes us the only one.
        fcntl.flock(file, fcntl.LOCK_EX)
        forget_leases(settings.data_dir)
        uvloop.run(_work(settings, lifeline=lifeline, wake=wake, ready=ready))
    return 0


async def _work(settings: Settings, *, lifeline: int, wake: int, ready: int) -> None:
    loop = asyncio.get_running_loop()
    with embedded(settings) as hub:
        sender = http_sender(settings)
        processor = Processor(hub, lambda: _call_soon(loop, pump.wake))
        pump = DeliveryPump(hub, sender, processor.wake)

        def wake_both() -> None:
            processor.wake()
            pump.wake()

        _on_readable(loop, wake, wake_both)
        _on_readable(loop, lifeline, pump.stop, at_end=pump.stop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, pump.stop)
        heartbeat = asyncio.create_task(_beat(settings.data_dir / HEARTBEAT_FILE))
        os.write(ready, b"ready\n")
        log.info("worker_started")
        await asyncio.to_thread(
            hub.templates.lint, b""
        )  # imports what reads templates, 0.3 s, before an event needs it
        processor.start()
        try:
            await pump.run()
        finally:
            heartbeat.cancel()
            await asyncio.to_thread(processor.stop)
    log.info("worker_stopped")


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call ``callback`` on the loop from another thread, unless the loop has ended meanwhile."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


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


async def _beat(path: Path) -> None:
    """Show that the loop turns: the web process calls the worker alive while the file is young."""
    while True:  # until cancelled
        with suppress(OSError):  # a full disk: the store says so itself
            await asyncio.to_thread(path.touch)
        await asyncio.sleep(HEARTBEAT_S)
