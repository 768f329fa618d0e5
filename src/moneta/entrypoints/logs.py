"""Logs: one JSON object a line on standard error; events in the past tense, no payloads, no secrets."""

import logging
import sys
from functools import partial

import structlog
from structlog.typing import EventDict


def configure_logs(level: str, *, process: str) -> None:
    """Set up structlog for a process. ``level``: debug, info, warning or error."""
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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _add_process(_logger: object, _method: str, event: EventDict, *, process: str) -> EventDict:
    return {"process": process, **event}
