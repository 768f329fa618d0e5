"""What is left when our own code fails: an answer with an id, and a log entry with the same id and the place.

No message of the exception goes anywhere: it may quote the input.
"""

import traceback
from typing import Final

import structlog

from moneta.application.ports import Randomness
from moneta.domain.errors import InternalError

FRAMES_LOGGED: Final = 8

log = structlog.get_logger()


def internal_error(error: BaseException, randomness: Randomness, *, where: str) -> InternalError:
    """Log that ``where`` failed, and return the problem that names the log entry."""
    request_id = randomness.uuid4()
    log.error("request_failed", request_id=request_id, where=where, error=type(error).__name__, at=failed_at(error))
    return InternalError("the request met a bug of the hub's", request_id=request_id)


def failed_at(error: BaseException) -> list[str]:
    """Return the last places of the traceback, innermost last, without any value."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_LOGGED:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
