"""What a process keeps from one call to the next: the hub, the log, the figures.

1. What a function needs is made when its process starts (``at_start``), where its CPU is not yet that of its memory,
   and where a snapshot (SnapStart) takes it along. So nothing is asked of a service then, connected, or drawn.
2. Keys, tokens and ids are drawn by the system's generator and by OpenSSL's, which draw anew after a restore. Python's
   own ``random``, which spreads the waits between tries, is seeded anew.
3. A call binds its ids to the log, and writes its figures when it ends, whatever becomes of it.
"""

import logging
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Final

from snapshot_restore_py import register_after_restore
from structlog.contextvars import bind_contextvars, clear_contextvars

from moneta import bootstrap
from moneta.application.ports import Hub, Relay, Serverless
from moneta.domain.errors import MisconfiguredError
from moneta.domain.limits import SPANS_CLOSE_S_MAX
from moneta.entrypoints.aws_lambda.invocation import Event, LambdaContext
from moneta.entrypoints.logs import Forgiving, configure_logs
from moneta.entrypoints.telemetry.emf import EmbeddedFigures
from moneta.entrypoints.telemetry.metrics import Source
from moneta.entrypoints.telemetry.observing import HubObserver
from moneta.entrypoints.telemetry.tracing import Traces
from moneta.settings import Settings

if TYPE_CHECKING:
    from moneta.entrypoints.telemetry.export import SpanExport

FUNCTION_NAME: Final = "AWS_LAMBDA_FUNCTION_NAME"

_open: Final = ExitStack()
"""Never closed: a process of Lambda's ends without a word."""


@cache
def settings() -> Settings:
    """Return what the function's environment says. See ``Settings.from_environment`` for what it raises."""
    return Settings.from_environment(os.environ, data_dir=Path(gettempdir()))


@cache
def figures() -> EmbeddedFigures:
    """Return where the process notes its figures."""
    return EmbeddedFigures(Source.EVERY, {"Hub": os.environ.get("MONETA_TABLE_PREFIX", "").rstrip("-")})


@cache
def traces() -> Traces | None:
    """Return what makes spans of what is done; None where no collector is configured. See ``settings``."""
    export = _export()
    return None if export is None else Traces(export.take, ratio=settings().trace_ratio)


@cache
def _export() -> "SpanExport | None":
    endpoint = settings().otlp_endpoint
    if endpoint is None:
        return None
    # Its import takes a third of a cold start, and most hubs go without it.
    from moneta.entrypoints.telemetry.export import SpanExport  # noqa: PLC0415

    return SpanExport(endpoint, figures())


@cache
def serverless() -> Serverless:
    """Return the hub with what only functions use of it. Nothing is asked of a service yet.

    Raises:
        MisconfiguredError: The function's environment is not that of a hub.
    """
    is_verbose = settings().log_level == "debug"
    observer = HubObserver(figures(), bootstrap.system_clock(), traces=traces(), is_verbose=is_verbose)
    return _open.enter_context(bootstrap.aws(settings(), observer=observer, announces=True))


def at_start(make: Callable[[], object]) -> None:
    """Make what the calls of a function will need, if this is the process of one.

    In an environment that is not a hub's, the first call says so.
    """
    if FUNCTION_NAME in os.environ:
        _begin_log()
        with suppress(MisconfiguredError):
            make()


def hub() -> Hub:
    """Return the hub. See ``serverless``."""
    return serverless().hub


def relay() -> Relay:
    """Return the relay. See ``serverless``."""
    return serverless().relay


@contextmanager
def call(context: LambdaContext, event: Event) -> Iterator[EmbeddedFigures]:
    """Bind the ids of a call to all that is logged in it, and write its figures when it ends."""
    _begin_log()
    noted = figures()
    bind_contextvars(request_id=context.aws_request_id, **_ids_in(event))
    try:
        yield noted
    finally:
        _flush_spans()
        _write(noted.take_lines(bootstrap.system_clock().now_ms()))
        clear_contextvars()


def _ids_in(event: Event) -> Mapping[str, str]:
    """Return the gateway's id of a request, under which its access log has it."""
    match event:
        case {"requestContext": {"requestId": str(request_id)}}:
            return {"api_request_id": request_id}
        case _:
            return {}


@cache
def _begin_log() -> None:
    level = "info"
    with suppress(MisconfiguredError):
        level = settings().log_level
    configure_logs(level, process=os.environ[FUNCTION_NAME])
    logging.getLogger("botocore.credentials").setLevel(logging.WARNING)  # where it found them is not JSON, and no news


def _flush_spans() -> None:
    """Send what spans there are, since a process may be stopped for good when its call is over."""
    with suppress(MisconfiguredError):
        export = _export()
        if export is not None:
            export.flush(SPANS_CLOSE_S_MAX)


def _write(lines: Sequence[bytes]) -> None:
    """Write figures where the log goes, since CloudWatch takes both from there."""
    stream = Forgiving(sys.stderr)
    for line in lines:
        stream.write(f"{line.decode('utf-8')}\n")
    stream.flush()


register_after_restore(random.seed)
