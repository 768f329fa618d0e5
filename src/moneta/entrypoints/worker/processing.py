"""The processor's main: it sleeps on its pipes, and works when there is something to do.

There is one processor a store; a lock on a file sees to it, so that leases can be its own affair.

``lifeline``: closed when the supervisor is gone, however it went. ``wake``: a byte whenever there may be an event.
``deliverer``: takes a byte when something may be due. ``ready``: one line when the processor can work.
"""

import fcntl
import os
from typing import Final

import structlog

from moneta.bootstrap import opened_with_relay
from moneta.bootstrap.data_directory import reclaim_events
from moneta.entrypoints.forgetting import forgetting_thread
from moneta.entrypoints.logs import configure_logs
from moneta.entrypoints.pipes import Pipes, waker
from moneta.entrypoints.telemetry.metrics import Source
from moneta.entrypoints.telemetry.process import telemetry_of
from moneta.entrypoints.warning import warning_thread
from moneta.entrypoints.worker.beats import Beats
from moneta.entrypoints.worker.completing import completing_thread
from moneta.entrypoints.worker.processor import Processor
from moneta.settings import Settings, StoreKind

LOCK_FILE: Final = "processor.lock"

log = structlog.get_logger()


def main(settings: Settings, *, lifeline: int, wake: int, deliverer: int, ready: int) -> int:
    """Work until told to stop; return the exit code."""
    configure_logs(settings.log_level, process="processor")
    with (settings.data_dir / LOCK_FILE).open("ab") as file:
        # The processor of a supervisor that was killed may still be at work. Waiting for it makes us the only one.
        fcntl.flock(file, fcntl.LOCK_EX)
        if settings.store is StoreKind.EMBEDDED:
            reclaim_events(settings.data_dir)
        _work(settings, Pipes(lifeline=lifeline, wake=wake), deliverer=deliverer, ready=ready)
    return 0


def _work(settings: Settings, pipes: Pipes, *, deliverer: int, ready: int) -> None:
    with (
        telemetry_of(settings, Source.PROCESSOR) as telemetry,
        opened_with_relay(settings, observer=telemetry.observer) as (hub, relay),
    ):
        processor = Processor(hub, on_progress=waker(deliverer), wait=pipes.wait)
        pipes.on_stop(processor.stop)
        beats = Beats(settings.data_dir, telemetry.figures, processor.heartbeat, on_asked=pipes.wake)
        beside = [
            forgetting_thread(hub, settings.retention),
            warning_thread(hub, on_owed=waker(deliverer)),
            *([] if relay is None else [completing_thread(relay)]),
        ]
        beats.start()
        for thread in beside:
            thread.start()
        os.write(ready, b"ready\n")
        log.info("processor_started")
        hub.templates.lint(b"")  # imports what reads templates, 0.3 s, before an event needs it
        try:
            processor.run()
        finally:
            for thread in beside:
                thread.stop()
            beats.stop()
    log.info("processor_stopped")
