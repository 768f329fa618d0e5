"""What Lambda tells a function about a call, and what a function answers to a batch of messages."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import structlog

Event = Mapping[str, Any]  # JSON, of a shape that only its sender knows
Record = Mapping[str, Any]  # one message of such an event
Response = dict[str, object]
Read = TypeVar("Read")

log = structlog.get_logger()


class LambdaContext(Protocol):
    """The part of awslambdaric's context that we read."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the call may still take."""


def message_ids(event: Event) -> list[str]:
    """Return the id of each message of a batch from SQS, in order."""
    return [record["messageId"] for record in event["Records"]]


def failed(ids: Iterable[str]) -> Response:
    """Return the answer that keeps the messages of those ``ids``; the others of the batch are done."""
    return {"batchItemFailures": [{"itemIdentifier": one} for one in ids]}


def read_each(
    read: Callable[[Record], Read], records: Sequence[Record]
) -> tuple[Sequence[tuple[str, Read]], list[str]]:
    """Return each message that can be read, with its id, and the ids of those that can't.

    Those the hub did not send. They are kept: SQS moves them to the dead ones, where somebody finds out who did.
    """
    found: list[tuple[str, Read]] = []
    kept: list[str] = []
    for record in records:
        try:
            found.append((record["messageId"], read(record)))
        except ValueError as error:
            log.exception("message_not_read", message_id=record["messageId"], error=type(error).__name__)
            kept.append(record["messageId"])
    return found, kept
