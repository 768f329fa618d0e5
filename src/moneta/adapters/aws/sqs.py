"""A queue of SQS: messages sent, hidden and deleted in batches, of which a part may fail, and what its errors mean.

The rules:

1. What becomes of errors is in ``clients``. What failed of a batch is tried again here, a bounded number of times with
   jitter; then it becomes ``StoreUnavailableError``.
2. A call that was tried again may have been done the first time, so a message may stand in the queue twice.
3. Nothing is read from a receipt handle: an old one may work, or not, or be said to be invalid.
"""

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from moneta.adapters.aws import clients
from moneta.domain.errors import StoreUnavailableError

BATCH_MAX: Final = 10
BATCH_BYTES_MAX: Final = 1024 * 1024
BATCH_TRIES_MAX: Final = 5
BATCH_WAIT_S: Final = 0.05
TEXT_TYPE: Final = "String"
# A carriage return is allowed, but what comes of it depends on the protocol; so it is not sent.
_REFUSED: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Raw = dict[str, Any]  # botocore has no types


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to send. ``group``: who it is for; of fair queues none keeps the others waiting."""

    body: str
    group: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    delay_s: int = 0

    def size(self) -> int:
        """Return the bytes that the service counts."""
        texts = [self.body, *(text for name, value in self.attributes.items() for text in (name, value, TEXT_TYPE))]
        return sum(len(text.encode("utf-8")) for text in texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that was received. ``handle``: the service's name for this receiving. ``count``: of receivings."""

    body: str
    attributes: Mapping[str, str]
    handle: str
    count: int


class Queue:
    """One queue. Safe for threads."""

    def __init__(
        self,
        client: Any,  # botocore has no types
        url: str,
        *,
        batch_wait_s: float = BATCH_WAIT_S,
    ) -> None:
        self._client = client
        self._url = url
        self._batch_wait_s = batch_wait_s

    def name(self) -> str:
        """Return the queue's name."""
        return self._url.rsplit("/", 1)[-1]

    def send(self, batch: Sequence[Message]) -> None:
        """Send one of ``batches``.

        Raises:
            StoreUnavailableError: Not each message is known to be in the queue.
        """
        failed = self._each("send_message_batch", [_sent(message) for message in batch])
        if any(failure["SenderFault"] for failure in failed):
            raise ValueError(f"queue {self.name()}: refused {[failure['Code'] for failure in failed]}")
        if failed:
            raise StoreUnavailableError(f"queue {self.name()}: {len(failed)} of {len(batch)} messages were not sent")

    def receive(self, limit: int, *, lease_s: int, wait_s: int) -> Sequence[Received]:
        """Receive up to ``limit`` messages, ten at most; each is hidden for ``lease_s`` seconds."""
        found = self._call(
            "receive_message",
            MaxNumberOfMessages=min(limit, BATCH_MAX),
            VisibilityTimeout=lease_s,
            WaitTimeSeconds=wait_s,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return [_received(raw) for raw in found.get("Messages", ())]

    def hide(self, handles: Sequence[str], *, delay_s: int) -> None:
        """Show messages again after ``delay_s``. Those that are gone, or another's by now, are left as they are."""
        self._change("change_message_visibility_batch", handles, {"VisibilityTimeout": delay_s})

    def delete(self, handles: Sequence[str]) -> None:
        """Delete messages. Those that are gone, or another's by now, are left as they are."""
        self._change("delete_message_batch", handles, {})

    def depth(self) -> int:
        """Return about how many messages wait, are hidden, or delayed: the service counts with a delay."""
        names = ["ApproximateNumberOfMessages" + kind for kind in ("", "NotVisible", "Delayed")]
        counts = self._call("get_queue_attributes", AttributeNames=names)["Attributes"]
        return sum(int(counts[name]) for name in names)

    def _change(self, operation: str, handles: Sequence[str], change: Raw) -> None:
        for start in range(0, len(handles), BATCH_MAX):
            self._each(
                operation, [{"ReceiptHandle": handle, **change} for handle in handles[start : start + BATCH_MAX]]
            )

    def _each(self, operation: str, entries: Sequence[Raw]) -> Sequence[Raw]:
        """Do it for each entry of a batch, and return the failures that are left: those that stay, by our own fault."""
        left: Sequence[Raw] = [{"Id": str(place), **entry} for place, entry in enumerate(entries)]
        lasting: list[Raw] = []
        failed: Sequence[Raw] = ()
        for number in range(BATCH_TRIES_MAX):
            failed = self._call(operation, Entries=left).get("Failed", ())
            lasting += [failure for failure in failed if failure["SenderFault"]]
            passing = {failure["Id"] for failure in failed if not failure["SenderFault"]}
            left = [entry for entry in left if entry["Id"] in passing]
            if not left:
                return lasting
            # Full jitter, so that those who were throttled together do not come back together.
            time.sleep(self._batch_wait_s * 2**number * random.random())  # noqa: S311  # spreads load, guards nothing
        return [*lasting, *(failure for failure in failed if not failure["SenderFault"])]

    def _call(self, operation: str, **arguments: Any) -> Raw:  # botocore has no types
        """Call the client on the queue. See ``clients.call`` for what it raises."""
        return clients.call(self._client, operation, f"queue {self.name()}", QueueUrl=self._url, **arguments)


def can_be_sent(text: str) -> bool:
    """Tell whether a text arrives as it is."""
    return bool(text) and _REFUSED.search(text) is None


def batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Give the messages in as few batches as one call each can send, in order."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        if batch and (len(batch) == BATCH_MAX or size + message.size() > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += message.size()
    if batch:
        yield batch


def received_by_function(record: Mapping[str, Any]) -> Received:  # it is JSON
    """Return a message as the service hands it to a function, in a batch that it received for it.

    Raises:
        ValueError: It is none.
    """
    try:
        found = record["messageAttributes"].items()
        return Received(
            body=record["body"],
            attributes={name: value["stringValue"] for name, value in found if "stringValue" in value},
            handle=record["receiptHandle"],
            count=int(record["attributes"]["ApproximateReceiveCount"]),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a message of SQS: {error!r}") from error


def _received(raw: Raw) -> Received:
    found = raw.get("MessageAttributes", {}).items()
    return Received(
        body=raw["Body"],
        attributes={name: value["StringValue"] for name, value in found if "StringValue" in value},
        handle=raw["ReceiptHandle"],
        count=int(raw["Attributes"]["ApproximateReceiveCount"]),
    )


def _sent(message: Message) -> Raw:
    attributes = {name: {"DataType": TEXT_TYPE, "StringValue": value} for name, value in message.attributes.items()}
    return {
        "MessageBody": message.body,
        "MessageGroupId": message.group,
        "MessageAttributes": attributes,
        "DelaySeconds": message.delay_s,
    }
