"""What SQS's answers become, with a client that answers what a test tells it to; nothing is sent."""

import base64

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from moneta.adapters.aws.announcements import Announcer, line_of_message
from moneta.adapters.aws.event_messages import EventMessage, event_of, message_of
from moneta.adapters.aws.serverless import SQSMessages
from moneta.adapters.aws.sqs import (
    BATCH_BYTES_MAX,
    BATCH_TRIES_MAX,
    Message,
    Queue,
    Received,
    batches,
)
from moneta.application.ports import EventType, Line
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.limits import EVENT_BYTES_MAX
from tests.aws.test_client import ScriptedClient, error_name, refused
from tests.conformance.builders import MO, NOW

URL = "https://sqs.us-east-1.amazonaws.com/1/moneta-events"
FACTS = EventMessage(
    source=MO,
    event_id="event-1",
    type=EventType.SUBMIT,
    contract_id="contract-1",
    received_at=NOW,
    ready_at=NOW + 1,
    registry_seq=7,
)


def queue_on(*script):
    return Queue(ScriptedClient(*script), URL, batch_wait_s=0)


def message(body="body", group=MO):
    return Message(body=body, group=group)


def failure(number, *, by_us=False, code="InternalError"):
    return {"Id": str(number), "Code": code, "SenderFault": by_us}


def test_what_failed_of_a_batch_is_sent_again_and_nothing_else():
    queue = queue_on({"Failed": [failure(1), failure(2)]}, {"Failed": [failure(2)]}, {})
    queue.send([message("a"), message("b"), message("c")])
    sent = [[entry["MessageBody"] for entry in arguments["Entries"]] for _, arguments in queue._client.calls]
    assert sent == [["a", "b", "c"], ["b", "c"], ["c"]]


def test_a_message_that_can_not_be_sent_makes_the_store_unavailable():
    queue = queue_on(*[{"Failed": [failure(1)]}] * BATCH_TRIES_MAX)
    with pytest.raises(StoreUnavailableError):
        queue.send([message(), message()])
    assert len(queue._client.calls) == BATCH_TRIES_MAX


def test_a_message_that_is_refused_is_a_bug_and_the_others_are_sent():
    queue = queue_on({"Failed": [failure(0, by_us=True, code="InvalidMessageContents"), failure(1)]}, {})
    with pytest.raises(ValueError, match="InvalidMessageContents"):
        queue.send([message("a"), message("b")])
    assert [entry["MessageBody"] for entry in queue._client.calls[1][1]["Entries"]] == ["b"]


def test_a_message_that_is_gone_is_not_deleted_and_that_is_no_error():
    queue = queue_on({"Failed": [failure(0, by_us=True, code="ReceiptHandleIsInvalid")]}, {})
    queue.delete(["gone"])
    queue.hide(["there"], delay_s=3)
    assert queue._client.calls[1][1]["Entries"] == [{"Id": "0", "ReceiptHandle": "there", "VisibilityTimeout": 3}]


def test_handles_are_changed_in_tens():
    queue = queue_on({}, {}, {})
    queue.delete([str(number) for number in range(21)])
    assert [len(arguments["Entries"]) for _, arguments in queue._client.calls] == [10, 10, 1]


@pytest.mark.parametrize(
    "error",
    [
        refused("RequestThrottled"),
        refused("OverLimit"),
        refused("KmsThrottled"),
        refused("InternalError", status=500),
        ReadTimeoutError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
    ],
    ids=error_name,
)
def test_what_may_pass_makes_the_store_unavailable(error):
    with pytest.raises(StoreUnavailableError):
        queue_on(error).depth()


def test_everything_that_is_there_is_counted():
    names = ["ApproximateNumberOfMessages" + kind for kind in ("", "NotVisible", "Delayed")]
    assert queue_on({"Attributes": dict(zip(names, "234", strict=True))}).depth() == 9


def test_a_batch_has_ten_messages_and_a_mebibyte_at_most():
    large = message("x" * (BATCH_BYTES_MAX // 3))
    small = [message(str(number)) for number in range(12)]
    found = list(batches([*small, large, large, large, message("ü" * (BATCH_BYTES_MAX // 2))]))
    assert [len(batch) for batch in found] == [10, 4, 1, 1]
    assert all(sum(one.size() for one in batch) <= BATCH_BYTES_MAX for batch in found)
    assert list(batches([])) == []


@pytest.mark.parametrize(
    ("raw", "is_text"),
    [
        (b'{"a": "\xc3\xbc"}\n\t', True),
        ("\U0010ffff\ufffd".encode(), True),
        (b'{\r\n"a": 1}', False),
        ("\ufffe".encode(), False),
        (b"\x7f", True),
        (b"\xff\xfe", False),
        (b"\x00", False),
        (b"{}" * (EVENT_BYTES_MAX // 2), True),
        (b"\x01" * EVENT_BYTES_MAX, False),
    ],
    ids=[f"{number}" for number in range(9)],
)
def test_the_bytes_of_an_event_arrive_as_they_are(raw, is_text):
    sent = message_of(FACTS, raw)
    assert sent.body == (raw.decode() if is_text else base64.b64encode(raw).decode())
    assert sent.size() <= BATCH_BYTES_MAX
    event = event_of(Received(body=sent.body, attributes=sent.attributes, handle="h", count=3))
    assert (event.raw, event.tries, event.source, event.type) == (raw, 3, MO, EventType.SUBMIT)
    assert (event.received_at, event.ready_at, event.registry_seq) == (NOW, NOW + 1, 7)


def record(sent, *, queue="moneta-events", **changes):
    """Return a message as the service hands it to a function."""
    attributes = {
        name: {"stringValue": value, "stringListValues": [], "binaryListValues": [], "dataType": "String"}
        for name, value in sent.attributes.items()
    }
    made = {
        "messageId": "19dd0b57-b21e-4ac1-bd88-01bbb068cb78",
        "receiptHandle": "MessageReceiptHandle",
        "body": sent.body,
        "attributes": {"ApproximateReceiveCount": "2", "SentTimestamp": str(NOW)},
        "messageAttributes": attributes,
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:1:{queue}",
        "awsRegion": "us-east-1",
    }
    return {**made, **changes}


@pytest.mark.parametrize(("queue", "receipt"), [("moneta-events", "MessageReceiptHandle"), ("moneta-events-dead", "")])
def test_a_function_is_given_the_event_and_the_handle_if_it_is_of_the_queue(queue, receipt):
    event = SQSMessages(queue_on()).event(record(message_of(FACTS, b"{}"), queue=queue))
    assert (event.event_id, event.raw, event.tries, event.contract_id) == ("event-1", b"{}", 2, "contract-1")
    assert event.handle.partition(".")[2] == receipt


@pytest.mark.parametrize("contract_id", ["contract-1", None])
def test_a_function_is_given_the_line(contract_id):
    client = ScriptedClient({})
    from_announcer = Line(organization_id=MO, contract_id=contract_id)
    Announcer(Queue(client, URL)).announce({from_announcer: 4})
    (entry,) = client.calls[0][1]["Entries"]
    assert (entry["MessageGroupId"], entry["DelaySeconds"]) == (MO, 4)
    assert SQSMessages(queue_on()).line(record(message(entry["MessageBody"]))) == from_announcer


GOOD = record(message_of(FACTS, b"{}"))


@pytest.mark.parametrize(
    "changes",
    [
        {"messageAttributes": {}},
        {"messageAttributes": None},
        {"attributes": {}},
        {"messageAttributes": {**GOOD["messageAttributes"], "type": {"stringValue": "moneta.contract.eat"}}},
        {"messageAttributes": {**GOOD["messageAttributes"], "received_at": {"stringValue": "soon"}}},
        {"messageAttributes": {**GOOD["messageAttributes"], "encoding": {"stringValue": "base64"}}},
    ],
    ids=str,
)
def test_what_the_hub_did_not_send_is_no_event(changes):
    with pytest.raises(ValueError, match="not a"):
        SQSMessages(queue_on()).event({**GOOD, **changes})


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", '{"organization_id":"mo-1"}', '{"organization_id":1,"contract_id":null}']
)
def test_what_the_hub_did_not_send_is_no_line(body):
    with pytest.raises(ValueError, match="not a line's message"):
        line_of_message(body)
