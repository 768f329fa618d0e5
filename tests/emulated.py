"""The AWS store for tests: on DynamoDB Local, and on SQS as MiniStack has it, by a clock that stands still."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from threading import Lock
from typing import Any

import pytest

from tests.conformance.builders import StillClock

HIDDEN_S = 43_200
"""For how long the service hides a message: as long as it can, and longer than a test takes."""
REGION = "eu-west-1"
"""Where the hub's contracts are at home, other than where anybody would look by default."""


def emulator_url(name: str) -> str:
    """Return the URL of an emulator, or skip the test."""
    url = os.environ.get(name)
    if url is None:
        pytest.skip("needs DynamoDB Local and MiniStack: make test-aws")
    return url


@cache
def _session() -> Any:
    """Return the session that all clients are made in: a new one reads the services' descriptions, for 0.2 s."""
    from botocore.session import Session  # noqa: PLC0415  # comes with the aws extra

    return Session()


def make_client(service: str, endpoint_url: str) -> Any:
    """Return the client of a service on this machine."""
    from moneta.adapters.aws import clients  # noqa: PLC0415  # likewise

    return clients.make_client(_session(), service, region="us-east-1", endpoint_url=endpoint_url)


@dataclass(frozen=True, kw_only=True)
class Services:
    """The clients of a store, and the names of what they are used on."""

    dynamodb: Any
    sqs: Any
    names: Any

    def store(self, clock: StillClock) -> Any:
        """Return the store as a new process would open it, with nothing remembered."""
        from moneta.adapters.aws.store import DynamoDBStore  # noqa: PLC0415  # comes with the aws extra

        return DynamoDBStore.on(self.dynamodb, self.sqs, self.names, clock)

    def empty_tables(self) -> None:
        """Delete every item, which takes a quarter of the time of making the tables anew."""
        from moneta.adapters.aws.tables import KEYS  # noqa: PLC0415  # likewise

        for table, names in KEYS.items():
            name = f"{self.names.table_prefix}{table}"
            for page in self.dynamodb.get_paginator("scan").paginate(TableName=name, ConsistentRead=True):
                for item in page["Items"]:
                    self.dynamodb.delete_item(TableName=name, Key={key: item[key] for key in names})

    def announced(self) -> list[Any]:
        """Return the lines that are announced by now, and delete their messages."""
        from moneta.adapters.aws.announcements import line_of_message  # noqa: PLC0415  # likewise

        return [line_of_message(one["Body"]) for one in self.messages(self.names.webhooks_queue_url)]

    def messages(self, url: str) -> list[Any]:
        """Return the messages that can be received of a queue, and delete them."""
        found: list[Any] = []
        asked = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"], "MaxNumberOfMessages": 10}
        while messages := self.sqs.receive_message(QueueUrl=url, VisibilityTimeout=60, **asked).get("Messages"):
            for one in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
            found += messages
        return found

    def hooked(self, **hooks: Callable[[int], None]) -> "Services":
        """Return services whose calls are numbered over both, and call a hook before or after each."""
        operations: list[str] = []
        clients = {name: HookedClient(getattr(self, name), operations, **hooks) for name in ("dynamodb", "sqs")}
        return replace(self, **clients)


class HookedClient:
    """A client that calls ``before`` and ``after`` with the number of each call of an operation, from 0."""

    def __init__(
        self,
        client: Any,
        operations: list[str],
        *,
        before: Callable[[int], None] = lambda number: None,
        after: Callable[[int], None] = lambda number: None,
    ):
        self._client = client
        self._before = before
        self._after = after
        self.operations = operations

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)

        def hooked(**arguments: Any) -> Any:
            number = len(self.operations)
            self.operations.append(operation)
            self._before(number)
            answer = call(**arguments)
            self._after(number)
            return answer

        return hooked


class ClockedSQS:
    """SQS that shows hidden and delayed messages by a test's clock instead of its own.

    Everything else is the service's. It hides a message for as long as it can; when the clock has come far enough, it
    is told to show it, which it does unless that was received by another, or deleted, in the meantime.
    """

    def __init__(self, client: Any, clock: StillClock):
        self._client = client
        self._clock = clock
        self._shown_at: dict[tuple[str, str], int] = {}
        self._sent_at: list[tuple[int, str, dict]] = []
        self._lock = Lock()

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._client, operation)

    def receive_message(self, *, QueueUrl: str, VisibilityTimeout: int, **arguments: Any) -> Any:  # noqa: N803
        self._catch_up(QueueUrl)
        answer = self._client.receive_message(QueueUrl=QueueUrl, VisibilityTimeout=HIDDEN_S, **arguments)
        handles = [message["ReceiptHandle"] for message in answer.get("Messages", ())]
        self._hide(QueueUrl, dict.fromkeys(handles, VisibilityTimeout))
        return answer

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: list) -> Any:  # noqa: N803
        hidden = [{**entry, "VisibilityTimeout": HIDDEN_S} for entry in Entries]
        answer = self._client.change_message_visibility_batch(QueueUrl=QueueUrl, Entries=hidden)
        changed = {one["Id"] for one in answer["Successful"]}
        self._hide(
            QueueUrl, {one["ReceiptHandle"]: one["VisibilityTimeout"] for one in Entries if one["Id"] in changed}
        )
        return answer

    def send_message_batch(self, *, QueueUrl: str, Entries: list) -> Any:  # noqa: N803
        now = self._clock.now_ms()
        later = [entry for entry in Entries if entry["DelaySeconds"]]
        with self._lock:
            self._sent_at += [(now + entry["DelaySeconds"] * 1000, QueueUrl, entry) for entry in later]
        prompt = [entry for entry in Entries if not entry["DelaySeconds"]]
        answer = {"Successful": [], "Failed": []}
        if prompt:
            answer = self._client.send_message_batch(QueueUrl=QueueUrl, Entries=prompt)
        return {**answer, "Successful": [*answer["Successful"], *({"Id": entry["Id"]} for entry in later)]}

    def _hide(self, url: str, seconds: dict[str, int]) -> None:
        now = self._clock.now_ms()
        with self._lock:
            self._shown_at |= {(url, handle): now + delay_s * 1000 for handle, delay_s in seconds.items()}

    def _catch_up(self, url: str) -> None:
        now = self._clock.now_ms()
        with self._lock:
            shown = [one for one, at in self._shown_at.items() if one[0] == url and at <= now]
            for one in shown:
                del self._shown_at[one]
            sent = [entry for at, queue, entry in self._sent_at if queue == url and at <= now]
            self._sent_at = [one for one in self._sent_at if one[1] != url or one[0] > now]
        for number, (_, handle) in enumerate(shown):
            entry = {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            self._client.change_message_visibility_batch(QueueUrl=url, Entries=[entry])
        for entry in sent:
            self._client.send_message_batch(QueueUrl=url, Entries=[{**entry, "DelaySeconds": 0}])


@contextmanager
def emulated_services(clock: StillClock, *, table_prefix: str) -> Iterator[Services]:
    """Give clients with two empty queues. Tables are made by ``DynamoDBStore.create_tables``."""
    from moneta.adapters.aws.store import Names  # noqa: PLC0415  # comes with the aws extra

    dynamodb = make_client("dynamodb", emulator_url("MONETA_DYNAMODB_URL"))
    sqs = make_client("sqs", emulator_url("MONETA_MINISTACK_URL"))
    name = uuid.uuid4().hex[:12]
    events, webhooks = (sqs.create_queue(QueueName=f"{name}-{kind}")["QueueUrl"] for kind in ("events", "webhooks"))
    names = Names(
        table_prefix=table_prefix,
        events_queue_url=events,
        webhooks_queue_url=webhooks,
        region=REGION,
        announces=True,
        queue_wait_s=0,
    )
    yield Services(dynamodb=dynamodb, sqs=ClockedSQS(sqs, clock), names=names)
    for url in (events, webhooks):
        sqs.delete_queue(QueueUrl=url)
    sqs.close()
    dynamodb.close()
