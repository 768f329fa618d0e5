"""Logs: one JSON object a line on standard error; events in the past tense, no payloads, no secrets."""

import logging
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger


def spare_rich() -> None:
    """Keep structlog from importing rich, 0.15 s and 6 MB, for the coloured console that we never use.

    To be called before structlog is imported, in a process that has no other use for rich.
    """
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # None: an import of it fails, and structlog copes


def configure_logs(level: str, *, process: str) -> "FilteringBoundLogger":
    """Set up structlog for a process, and return a logger. ``level``: debug, info, warning or error."""
    import structlog  # noqa: PLC0415  # so that the supervisor can start its children before it pays for this

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            partial(_add_process, process=process),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Forgiving(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


class Forgiving:
    """A stream whose faults are nobody's: a log that can't be written must not stop what it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def _add_process(_logger: object, _method: str, event: "EventDict", *, process: str) -> "EventDict":
    return {"process": process, **event}
