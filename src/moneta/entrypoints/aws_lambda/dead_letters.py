"""What killed its function, time and again, until SQS put it aside: it is recorded as a dead letter of the hub's.

SQS would forget it after two weeks, and can't list it; the hub keeps what it has answered 202 until it has an outcome
(docs/adr/0043).
"""

from collections.abc import Callable
from typing import Final

import structlog

from moneta.application.ports import EventStatus, Hub, QueuedEvent, Serverless
from moneta.domain.errors import TryAgainError
from moneta.entrypoints.aws_lambda import warm
from moneta.entrypoints.aws_lambda.invocation import Event, LambdaContext, Response, failed, message_ids, read_each

REASON: Final = "FunctionDied"

log = structlog.get_logger()


def handler(event: Event, context: LambdaContext) -> Response:
    """Record one batch."""
    with warm.call(context, event):
        return handle(warm.serverless, event)


def handle(serverless: Callable[[], Serverless], event: Event) -> Response:
    """Return the messages that must come again; ``serverless`` gives the hub, if that can be had."""
    try:
        ready = serverless()
        read, kept = read_each(ready.messages.event, event["Records"])
    except TryAgainError as error:
        log.warning("store_unavailable", detail=str(error))
        return failed(message_ids(event))
    return failed([*kept, *(message_id for message_id, queued in read if not _is_recorded(ready.hub, queued))])


def _is_recorded(hub: Hub, event: QueuedEvent) -> bool:
    """Bury an event that has no outcome; tell whether that, or its outcome, is durable."""
    try:
        record = hub.events.find(event.source, event.event_id)
        if record is None or record.status is EventStatus.ACCEPTED:
            hub.queue.bury(event, reason=REASON)
            hub.observer.failed(event, reason=REASON, is_buried=True)
    except TryAgainError as error:
        log.warning("store_unavailable", detail=str(error))
        return False
    except Exception as error:  # a bug, which must not keep the others from being recorded
        log.exception(
            "letter_not_recorded", event_id=event.event_id, contract_id=event.contract_id, error=type(error).__name__
        )
        return False
    return True


warm.at_start(warm.serverless)
