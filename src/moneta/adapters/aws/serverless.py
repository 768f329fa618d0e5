"""What only functions need: lines that are announced, and messages as the service hands them over."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from moneta.adapters.aws.announcements import Announcer, line_of_message
from moneta.adapters.aws.deliveries import DynamoDBDeliveryStore, seconds_until
from moneta.adapters.aws.event_messages import event_of
from moneta.adapters.aws.sqs import Queue, received_by_function
from moneta.application.ports import DueDelivery, Line, QueuedEvent
from moneta.domain.identifiers import UnixMillis


class SQSDeliveryLines:
    """See ``ports.DeliveryLines``."""

    def __init__(self, deliveries: DynamoDBDeliveryStore, announcer: Announcer) -> None:
        self._deliveries = deliveries
        self._announcer = announcer

    def take(self, lines: Sequence[Line], *, now: UnixMillis, lease_s: int) -> Sequence[DueDelivery]:
        """See DeliveryLines.take."""
        return self._deliveries.take(lines, now=now, lease_s=lease_s)

    def announce(self, lines: Sequence[Line], *, delay_s: int = 0) -> None:
        """See DeliveryLines.announce."""
        self._announcer.announce(dict.fromkeys(lines, delay_s))

    def announce_due(self, *, now: UnixMillis, until: UnixMillis) -> int:
        """See DeliveryLines.announce_due."""
        moments = self._deliveries.due_lines(now=now, until=until)
        self._announcer.announce({line: seconds_until(due_at, now) for line, due_at in moments.items()})
        return len(moments)


class SQSMessages:
    """See ``ports.QueueMessages``."""

    def __init__(self, events: Queue) -> None:
        self._events = events

    def event(self, record: Mapping[str, Any]) -> QueuedEvent:  # it is JSON
        """See QueueMessages.event. The handle of a message of another queue would do no good in this one."""
        received = received_by_function(record)
        is_ours = str(record.get("eventSourceARN")).rsplit(":", 1)[-1] == self._events.name()
        return event_of(received if is_ours else replace(received, handle=""))

    def line(self, record: Mapping[str, Any]) -> Line:  # it is JSON
        """See QueueMessages.line."""
        return line_of_message(received_by_function(record).body)
