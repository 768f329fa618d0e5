"""What becomes of an event that met a bug, whoever processes it: another try later, or the dead letters."""

import structlog

from moneta.application.ports import Hub, QueuedEvent
from moneta.domain.limits import PROCESS_RETRY_S_MAX, PROCESS_TRIES_MAX

log = structlog.get_logger()


def give_back_or_bury(hub: Hub, event: QueuedEvent, error: Exception) -> bool:
    """Keep an event that met a bug: give it back for later, or bury it after its last try; tell whether it is buried.

    Raises:
        StoreUnavailableError: It is where it was, under its lease.
    """
    log.error(
        "event_failed",
        event_id=event.event_id,
        contract_id=event.contract_id,
        source=event.source,
        tries=event.tries,
        exc_info=error,
    )
    is_buried = event.tries >= PROCESS_TRIES_MAX
    if is_buried:
        hub.queue.bury(event, reason=type(error).__name__)
    else:
        hub.queue.release([event], delay_s=min(2**event.tries, PROCESS_RETRY_S_MAX))
    hub.observer.failed(event, reason=type(error).__name__, is_buried=is_buried)
    return is_buried
