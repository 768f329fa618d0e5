"""What is left when our own code fails: an answer with an id, and a log entry with the same id and the place.

No message of the exception goes anywhere: it may quote the input.
"""

import structlog

from moneta.application.ports import Randomness
from moneta.domain.errors import InternalError
from moneta.entrypoints.logs import failed_at

log = structlog.get_logger()


def internal_error(error: BaseException, randomness: Randomness, *, where: str) -> InternalError:
    """Log that ``where`` failed, and return the problem that names the log entry."""
    request_id = str(structlog.contextvars.get_contextvars().get("request_id") or randomness.uuid4())
    log.error("request_failed", request_id=request_id, where=where, error=type(error).__name__, at=failed_at(error))
    return InternalError("the request met a bug of the hub's", request_id=request_id)
