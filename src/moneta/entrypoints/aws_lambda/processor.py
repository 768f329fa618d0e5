"""The processor: a batch of messages from the queue of events, each brought to its outcome.

Whatever is kept comes again, however often; so a message is done only when its event's outcome is durable, or when it
lies with the dead letters. How often it came counts as its tries, as it does in the worker; but here it comes again
after an outage too, so the first bug after a long one may be its last try.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from moneta.application.ports import QueuedEvent, Serverless
from moneta.application.process_events import process_or_return
from moneta.domain.errors import TryAgainError
from moneta.entrypoints.aws_lambda import warm
from moneta.entrypoints.aws_lambda.invocation import (
    Event,
    LambdaContext,
    Record,
    Response,
    failed,
    message_ids,
    read_each,
)
from moneta.entrypoints.failed_events import give_back_or_bury

log = structlog.get_logger()


def handler(event: Event, context: LambdaContext) -> Response:
    """Process one batch."""
    with warm.call(context, event):
        return handle(warm.serverless, event)


def handle(serverless: Callable[[], Serverless], event: Event) -> Response:
    """Return the messages that must come again; ``serverless`` gives the hub, if that can be had."""
    try:
        return failed(_process(serverless(), event["Records"]))
    except TryAgainError as error:
        log.warning("store_unavailable", detail=str(error))
        return failed(message_ids(event))


def _process(serverless: Serverless, records: Sequence[Record]) -> Sequence[str]:
    """Return the ids of the messages that must come again."""
    hub = serverless.hub
    read, kept = read_each(serverless.messages.event, records)
    ids: dict[QueuedEvent, list[str]] = defaultdict(list)
    for message_id, event in read:
        ids[event].append(message_id)

    def keep(event: QueuedEvent, error: Exception) -> None:
        if not give_back_or_bury(hub, event, error):
            kept.extend(ids[event])

    again = process_or_return(hub, [event for _, event in read], keep)
    if again:
        hub.queue.release(again, delay_s=0)
    return [*kept, *(message_id for event in again for message_id in ids[event])]


def _warm_up() -> None:
    warm.hub().templates.lint(b"")  # imports what reads templates, 0.3 s, before an event needs it


warm.at_start(_warm_up)
