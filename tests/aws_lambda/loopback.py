"""What functions are called with, over the embedded store: its queue's events as SQS hands them over, and its lines.

A message that is not done comes again when its lease is over, as in SQS: ``again`` moves the clock past it.
"""

import uuid
from dataclasses import replace

from moneta.application.ports import Line, Serverless
from moneta.domain.errors import StoreUnavailableError

LEASE_S = 60
PORTS = ("events", "queue", "contracts", "deliveries", "directory")
CALLS_MAX = 60
"""More than any function makes of a message: a test that does not end by then fails."""


class Messages:
    """See ``QueueMessages``: each message is remembered by its id."""

    def __init__(self):
        self.sent = {}

    def record(self, content):
        message_id = str(uuid.uuid4())
        self.sent[message_id] = content
        return {"messageId": message_id, "receiptHandle": "r", "body": "", "eventSource": "aws:sqs"}

    def event(self, record):
        if record["messageId"] not in self.sent:
            raise ValueError("no message of ours")
        return self.sent[record["messageId"]]

    line = event


class Lines:
    """See ``DeliveryLines``: over a store that takes what is due of all lines at once."""

    def __init__(self, hub):
        self._hub = hub
        self.announced_until = None

    def take(self, lines, *, now, lease_s):
        due = self._hub.deliveries.take_due(now=now, limit=100, lease_s=lease_s)
        assert {line_of(one) for one in due} <= set(lines), "a test announces all that is due"
        return due

    def announce_due(self, *, now, until):
        self.announced_until = until
        return 7


class Relay:
    """See ``Relay``: what it was asked for, and what it fails at."""

    def __init__(self, failing=(), error=None):
        self.failing, self.error = frozenset(failing), error
        self.completed = []

    def complete(self, steps):
        if self.failing & set(steps):
            raise self.error
        self.completed += steps
        return len(steps)

    def complete_waiting(self):
        return 3


class Loopback:
    """A hub of ``tests.hub`` as functions find it."""

    def __init__(self, test_hub):
        self.test_hub = test_hub
        self.messages = Messages()

    def serverless(self, **changed):
        """Return what a function is given; ``changed``: other ports of the hub."""
        hub = replace(self.test_hub.hub, **changed)
        return Serverless(hub=hub, lines=Lines(hub), relay=Relay(), messages=self.messages)

    def events(self):
        """Return the batch that the queue of events holds now."""
        taken = self.test_hub.hub.queue.take(limit=10, lease_s=LEASE_S)
        return {"Records": [self.messages.record(one) for one in taken]}

    def lines(self, *lines):
        return {"Records": [self.messages.record(one) for one in lines]}

    def again(self):
        """Let the leases of what was not done end."""
        self.test_hub.clock.advance(LEASE_S + 1)


def line_of(due):
    return Line(organization_id=due.owed.organization_id, contract_id=due.owed.contract_id)


def ids(event):
    return [record["messageId"] for record in event["Records"]]


def kept(response):
    return [one["itemIdentifier"] for one in response["batchItemFailures"]]


class Crash(BaseException):
    """The process is gone. Nothing in the program may catch it."""


class Dying:
    """Ports of a process that dies before or after its call number ``number``."""

    def __init__(self, hub, number, moment):
        self.number, self.moment, self.calls = number, moment, 0
        self.ports = {name: _DyingPort(self, getattr(hub, name)) for name in PORTS}

    def call(self, function, arguments, named):
        is_last, self.calls = self.calls == self.number, self.calls + 1
        if is_last and self.moment == "before":
            raise Crash(self.number)
        answer = function(*arguments, **named)
        if is_last:
            raise Crash(self.number)
        return answer


class _DyingPort:
    def __init__(self, process, port):
        self._process, self._port = process, port

    def __getattr__(self, name):
        function = getattr(self._port, name)
        return lambda *arguments, **named: self._process.call(function, arguments, named)


class Away:
    """A port that can't be reached."""

    def __getattr__(self, _name):
        raise StoreUnavailableError("DynamoDB: ConnectTimeoutError")


class Broken:
    """A port with a bug."""

    def __getattr__(self, _name):
        raise RuntimeError("a text that may quote anything")


class BrokenFor:
    """A port that has a bug, but only where ``mark`` stands in what it is asked."""

    def __init__(self, port, mark):
        self._port, self._mark = port, mark

    def __getattr__(self, name):
        function = getattr(self._port, name)

        def call(*arguments, **named):
            if self._mark in f"{arguments}{named}":
                raise RuntimeError("a text that may quote anything")
            return function(*arguments, **named)

        return call
