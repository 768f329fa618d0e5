"""The dispatcher: one message of each line is sent, and a line is kept until what came of it is durable."""

import asyncio
import json

import pytest

from moneta.application.ports import Answer, DeliveryQuery, DeliveryStatus, EventStatus, Line, NoAnswer
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.limits import DISPATCH_RECORD_S, SEND_TIMEOUT_S
from moneta.entrypoints.aws_lambda.dispatcher import RECORD_MS_MIN, Dispatcher
from moneta.entrypoints.telemetry.correlation import trace_id_of
from moneta.entrypoints.telemetry.tracing import Traces
from tests.aws_lambda.loopback import CALLS_MAX, Away, BrokenFor, Crash, Dying, ids, kept

AMPLE_MS = 60_000
DELIVERED = Answer(status=200, content_type="", retry_after=None, body=b"", is_truncated=False, duration_ms=5)


class Receiver:
    """A sender that answers as it is told, and remembers what was sent."""

    def __init__(self):
        self.sent = []
        self.answer = lambda _message: DELIVERED
        self.hangs_for = ""
        self.is_closed = False

    async def send(self, request):
        message = json.loads(request.body)
        self.sent.append(message["id"])
        self.headers = request.headers
        if self.hangs_for and self.hangs_for in message["subject"]:
            await asyncio.Event().wait()
        return self.answer(message)

    async def close(self):
        self.is_closed = True


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def dispatcher(receiver):
    dispatcher = Dispatcher(receiver)
    yield dispatcher
    dispatcher.close()
    assert receiver.is_closed


@pytest.fixture
def owe(loopback, send):
    """Have the hub owe the publisher its first message about a contract; return the line."""

    def owe(name, **changed):
        send(name, **changed)
        loopback.test_hub.process()
        return Line(organization_id=loopback.test_hub.publisher.organization_id, contract_id=name)

    return owe


def dispatch(dispatcher, loopback, batch, *, left_ms=lambda: AMPLE_MS, **changed):
    return kept(dispatcher.handle(lambda: loopback.serverless(**changed), batch, left_ms))


def record_of(loopback, name):
    hub = loopback.test_hub.hub
    (record,) = hub.deliveries.list(DeliveryQuery(visible_to=None, limit=10, contract_id=name)).items
    return record


def test_what_is_due_is_sent_and_recorded(dispatcher, loopback, owe, receiver):
    lines = [owe("c-1"), owe("c-2")]
    assert dispatch(dispatcher, loopback, loopback.lines(*lines)) == []
    records = [record_of(loopback, name) for name in ("c-1", "c-2")]
    assert [one.status for one in records] == [DeliveryStatus.DELIVERED] * 2
    assert sorted(receiver.sent) == sorted(one.owed.webhook_id for one in records)


def test_a_line_in_which_nothing_is_due_is_done(dispatcher, loopback, owe, receiver):
    line = owe("c-1")
    batch = loopback.lines(line, line)
    assert dispatch(dispatcher, loopback, batch) == []
    assert dispatch(dispatcher, loopback, batch) == []
    assert len(receiver.sent) == 1


def test_a_receiver_is_told_of_the_trace_that_its_message_is_part_of(loopback, owe, receiver):
    traces = Traces([].append, ratio=1.0)
    dispatcher = Dispatcher(receiver, traceparent=traces.traceparent)
    assert dispatch(dispatcher, loopback, loopback.lines(owe("c-1"))) == []
    dispatcher.close()
    assert receiver.headers["traceparent"].split("-")[1] == trace_id_of("c-1")


def test_an_empty_batch_is_done(dispatcher, loopback):
    assert dispatch(dispatcher, loopback, {"Records": []}) == []


def test_an_attempt_that_failed_is_recorded_and_its_line_is_done(dispatcher, loopback, owe, receiver):
    receiver.answer = lambda _message: NoAnswer(reason="connect", detail="", duration_ms=1)
    assert dispatch(dispatcher, loopback, loopback.lines(owe("c-1"))) == []
    record = record_of(loopback, "c-1")
    assert (record.status, [one.failure for one in record.attempts]) == (DeliveryStatus.PENDING, ["connect"])
    assert record.next_attempt_at is not None


def test_a_signature_in_the_answer_is_an_event(dispatcher, loopback, owe, receiver):
    test_hub = loopback.test_hub
    line = owe("c-1")
    signed = json.dumps({"contract": test_hub.sign_next(test_hub.publisher, test_hub.contract("c-1"))}).encode()
    receiver.answer = lambda _message: Answer(
        status=200, content_type="application/json", retry_after=None, body=signed, is_truncated=False, duration_ms=5
    )
    assert dispatch(dispatcher, loopback, loopback.lines(line)) == []
    found = test_hub.hub.events.find(test_hub.publisher.organization_id, receiver.sent[0])
    assert found.status is EventStatus.ACCEPTED


def test_an_endpoint_that_is_gone_is_disabled(dispatcher, loopback, owe, receiver):
    receiver.answer = lambda _message: Answer(
        status=410, content_type="", retry_after=None, body=b"", is_truncated=False, duration_ms=5
    )
    line = owe("c-1")
    assert dispatch(dispatcher, loopback, loopback.lines(line)) == []
    health = loopback.test_hub.hub.directory.endpoint_health([line.organization_id])
    assert health[line.organization_id].reason == "gone"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_message_whose_process_dies_at_any_call_is_recorded_once_in_the_end(
    dispatcher, loopback, owe, receiver, moment
):
    for number in range(CALLS_MAX):
        name = f"c-{number}"
        line = owe(name)
        receiver.sent.clear()
        dying = Dying(loopback.test_hub.hub, number, moment)
        try:
            dispatch(dispatcher, loopback, loopback.lines(line), **dying.ports)
        except Crash:
            loopback.again()
            assert dispatch(dispatcher, loopback, loopback.lines(line)) == []
        record = record_of(loopback, name)
        assert (record.status, len(record.attempts)) == (DeliveryStatus.DELIVERED, 1)
        assert set(receiver.sent) == {record.owed.webhook_id}
        assert len(receiver.sent) <= 2
        if dying.calls <= number:
            return
    raise AssertionError(f"the dispatcher makes more than {CALLS_MAX} calls")


def test_what_has_not_answered_by_the_end_of_the_call_is_kept_and_stops_no_other(dispatcher, loopback, owe, receiver):
    lines = [owe("c-1"), owe("c-slow")]
    batch = loopback.lines(*lines)
    receiver.hangs_for = "c-slow"
    left = iter([AMPLE_MS, DISPATCH_RECORD_S * 1000 + 50])  # so that the sends have 50 ms
    assert dispatch(dispatcher, loopback, batch, left_ms=lambda: next(left)) == [ids(batch)[1]]
    assert record_of(loopback, "c-1").status is DeliveryStatus.DELIVERED
    assert record_of(loopback, "c-slow").attempts == ()
    receiver.hangs_for = ""
    loopback.again()
    assert dispatch(dispatcher, loopback, batch) == []
    assert record_of(loopback, "c-slow").status is DeliveryStatus.DELIVERED


def test_a_receiver_that_takes_its_time_holds_up_no_other_s_record(dispatcher, loopback, owe, receiver):
    batch = loopback.lines(owe("c-1"), owe("c-slow"))
    seen = []

    async def send(request):
        message = json.loads(request.body)
        while "slow" in message["subject"] and not seen:  # answers once the other is recorded, whenever that is
            await asyncio.sleep(0.01)
            seen.extend(one for one in [record_of(loopback, "c-1").status] if one is DeliveryStatus.DELIVERED)
        return DELIVERED

    receiver.send = send
    assert dispatch(dispatcher, loopback, batch) == []
    assert seen == [DeliveryStatus.DELIVERED]
    assert record_of(loopback, "c-slow").status is DeliveryStatus.DELIVERED


def test_nothing_is_taken_in_a_call_that_could_not_send_it(dispatcher, loopback, owe, receiver):
    batch = loopback.lines(owe("c-1"))
    too_short_ms = (SEND_TIMEOUT_S + DISPATCH_RECORD_S) * 1000 - 1
    assert dispatch(dispatcher, loopback, batch, left_ms=lambda: too_short_ms) == ids(batch)
    assert receiver.sent == []
    assert dispatch(dispatcher, loopback, batch) == []  # no lease was taken


@pytest.mark.parametrize("port", ["deliveries", "directory", "contracts"])
def test_whoever_cannot_reach_the_store_keeps_every_line(dispatcher, loopback, owe, receiver, port):
    batch = loopback.lines(owe("c-1"), owe("c-2"))
    assert dispatch(dispatcher, loopback, batch, **{port: Away()}) == ids(batch)
    assert receiver.sent == []


class RecordsLater:
    """A store of deliveries that is away for the first ``times`` records."""

    def __init__(self, port, times):
        self._port, self.times = port, times

    def __getattr__(self, name):
        return getattr(self._port, name)

    def record(self, results):
        self.times -= 1
        if self.times >= 0:
            raise StoreUnavailableError("DynamoDB: ThrottlingException")
        return self._port.record(results)


def test_a_record_is_tried_again_while_there_is_time(dispatcher, loopback, owe, receiver):
    batch = loopback.lines(owe("c-1"))
    deliveries = RecordsLater(loopback.test_hub.hub.deliveries, 1)
    assert dispatch(dispatcher, loopback, batch, deliveries=deliveries) == []
    assert (deliveries.times, len(receiver.sent)) == (-1, 1)


def test_what_could_not_be_recorded_in_time_is_kept(dispatcher, loopback, owe):
    batch = loopback.lines(owe("c-1"))
    deliveries = RecordsLater(loopback.test_hub.hub.deliveries, 1)
    left = iter([AMPLE_MS, AMPLE_MS, RECORD_MS_MIN - 1])
    assert dispatch(dispatcher, loopback, batch, left_ms=lambda: next(left), deliveries=deliveries) == ids(batch)
    assert deliveries.times == 0


@pytest.mark.parametrize("port", ["contracts", "deliveries"], ids=["in the making", "in the record"])
def test_a_delivery_that_meets_a_bug_is_kept_and_stops_no_other(dispatcher, loopback, owe, port):
    batch = loopback.lines(owe("c-1"), owe("c-2"))
    mark = {"contracts": "c-2", "deliveries": record_of(loopback, "c-2").owed.webhook_id}[port]
    broken = BrokenFor(getattr(loopback.test_hub.hub, port), mark)
    assert dispatch(dispatcher, loopback, batch, **{port: broken}) == [ids(batch)[1]]
    assert record_of(loopback, "c-1").status is DeliveryStatus.DELIVERED
    loopback.again()
    assert dispatch(dispatcher, loopback, batch) == []


def test_a_bug_of_the_sender_is_a_failed_attempt(dispatcher, loopback, owe, receiver):
    receiver.answer = lambda _message: 1 / 0
    assert dispatch(dispatcher, loopback, loopback.lines(owe("c-1"))) == []
    assert [one.failure for one in record_of(loopback, "c-1").attempts] == ["internal"]


def test_a_line_that_the_hub_did_not_announce_is_kept_for_whoever_looks(dispatcher, loopback, owe):
    batch = {"Records": [{"messageId": "foreign"}, *loopback.lines(owe("c-1"))["Records"]]}
    assert dispatch(dispatcher, loopback, batch) == ["foreign"]
