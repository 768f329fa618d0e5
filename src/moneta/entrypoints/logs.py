"""Logs: one JSON object a line on standard error; events in the past tense, no payloads, no secrets.

1. Ids are bound once, where a request or a process begins, and stand in every line that it causes. Whatever names a
   contract has its ``trace_id``: the same in every process, and in traces.
2. Of an exception only its class and the places it came through are shown: its message may quote anything.
3. What libraries log by the standard library's means is shown as whose line it is and where it comes from.
4. What is logged of single events, attempts and reads is ``debug``, and costs nothing where that is off.
"""

import logging
import sys
import traceback
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TextIO, cast

from typing_extensions import override

from moneta.domain.limits import LIBRARY_LINE_S
from moneta.entrypoints.telemetry.correlation import trace_id_of

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger

FRAMES_LOGGED: Final = 8


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
            _add_trace_id,
            _show_where,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Forgiving(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logger: FilteringBoundLogger = structlog.get_logger()
    _libraries.logger = logger
    logging.getLogger().addHandler(_libraries)  # once, however often
    return logger


class LibraryLog(logging.Handler):
    """Shows what libraries log, without the message, which may quote anything; one line a place in a while."""

    def __init__(self) -> None:
        super().__init__()
        self.logger: FilteringBoundLogger | None = None
        self._shown_at: dict[tuple[str, int], float] = {}

    @override
    def emit(self, record: logging.LogRecord) -> None:
        place = (record.name, record.lineno)
        if self.logger is None or record.created - self._shown_at.get(place, 0) < LIBRARY_LINE_S:
            return
        self._shown_at[place] = record.created
        where = f"{record.filename}:{record.lineno} {record.funcName}"
        error = record.exc_info[1] if record.exc_info else None
        self.logger.log(record.levelno, "library_logged", logger=record.name, place=where, exc_info=error)


_libraries: Final = LibraryLog()


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


def failed_at(error: BaseException) -> list[str]:
    """Return the last places of the traceback, innermost last, without any value."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_LOGGED:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]


def _add_process(_logger: object, _method: str, event: "EventDict", *, process: str) -> "EventDict":
    return {"process": process, **event}


def _add_trace_id(_logger: object, _method: str, event: "EventDict") -> "EventDict":
    contract_id = event.get("contract_id")
    return event if contract_id is None else {**event, "trace_id": trace_id_of(str(contract_id))}


def _show_where(_logger: object, _method: str, event: "EventDict") -> "EventDict":
    """Replace an exception by its class and its places. The message is left out (see 2)."""
    shown = event.pop("exc_info", None)
    error = shown if isinstance(shown, BaseException) else sys.exc_info()[1] if shown else None
    return event if error is None else {**event, "error": type(error).__name__, "at": failed_at(error)}
