"""What only functions need: lines that are announced, and messages as the service hands them over."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from moneta.adapters.aws.announcements import Announcer, line_of_message
from moneta.adapters.aws.deliveries import DynamoDBDeliveryStore, seconds_until
from moneta.adapters.aws.event_messages import event_of
from moneta.adapters.aws.sqs import Queue, received_by_function
from moneta.application.ports import DueDelivery, Line, QueuedEvent
from moneta.domain.identifiers import UnixMillis

ANNOUNCE_AGAIN_MS: Final = 300_000
"""For how long what was announced is left alone: longer than a message stays hidden that a dispatcher died of."""


class SQSDeliveryLines:
    """See ``ports.DeliveryLines``. Remembers what the last look found, and when that was announced.

    What waits in the queue for its turn is due all that time. To announce it at every look would have a backlog grow by
    itself, by a message a line and minute. Whoever dies with a line, or before what follows in it is announced, has its
    message brought back by the queue; a look is for what has none.
    """

    def __init__(self, deliveries: DynamoDBDeliveryStore, announcer: Announcer) -> None:
        self._deliveries = deliveries
        self._announcer = announcer
        self._looked: Mapping[Line, _Announced] = {}

    def take(self, lines: Sequence[Line], *, now: UnixMillis, lease_s: int) -> Sequence[DueDelivery]:
        """See DeliveryLines.take."""
        return self._deliveries.take(lines, now=now, lease_s=lease_s)

    def announce(self, lines: Sequence[Line], *, delay_s: int = 0) -> None:
        """See DeliveryLines.announce."""
        self._announcer.announce(dict.fromkeys(lines, delay_s))

    def announce_due(self, *, now: UnixMillis, until: UnixMillis) -> int:
        """See DeliveryLines.announce_due."""
        moments = self._deliveries.due_lines(now=now, until=until)
        known = {line: self._looked.get(line, NEVER) for line in moments}
        new = [line for line, due_at in moments.items() if not known[line].is_recent(due_at, now)]
        self._announcer.announce({line: seconds_until(moments[line], now) for line in new})
        self._looked = known | {line: _Announced(moments[line], max(moments[line], now)) for line in new}
        return len(new)


class _Announced(NamedTuple):
    """What was due when, and when its message could be received."""

    due_at: UnixMillis
    shown_at: UnixMillis

    def is_recent(self, due_at: UnixMillis, now: UnixMillis) -> bool:
        """Tell whether it is known to be announced: the same message of the line, and not long ago."""
        return due_at == self.due_at and now < self.shown_at + ANNOUNCE_AGAIN_MS


NEVER: Final = _Announced(UnixMillis(-1), UnixMillis(-ANNOUNCE_AGAIN_MS))


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
