"""What DynamoDB's errors become, with a client that answers what a test tells it to; nothing is sent."""

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from moneta.adapters.aws import dynamodb
from moneta.adapters.aws.attributes import pack, unpack
from moneta.adapters.aws.dynamodb import (
    ConditionFailedError,
    DynamoDB,
    Query,
    Table,
    TransactionFailedError,
    Write,
)
from moneta.adapters.aws.lifetimes import Lifetimes
from moneta.adapters.aws.store import DynamoDBStore, Names
from moneta.application.ports import Taken
from moneta.domain.errors import MisconfiguredError, StoreUnavailableError
from moneta.domain.retention import Retention
from tests.aws.key_services import META
from tests.conformance.builders import NOW, StillClock, new_event, submitted
from tests.emulated import make_client

ITEM = {"event": "mo-1#event-1", "received_at": 7, "raw": b"\x00", "tags": frozenset({"b", "a"}), "attempts": [b"1"]}


class ScriptedClient:
    """Answers each call with the next line of its script: an error is raised, anything else is the answer."""

    meta = META

    def __init__(self, *script):
        self._script = list(script)
        self.calls = []

    def __getattr__(self, operation):
        def call(**arguments):
            self.calls.append((operation, arguments))
            answer = self._script.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def refused(code, *, status=400, **more):
    response = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return ClientError(response, "PutItem")


def error_name(error):
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


def cancelled(*codes):
    return refused("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])


def database(*script):
    return DynamoDB(
        ScriptedClient(*script), prefix="test-", lifetimes=Lifetimes(StillClock(), Retention()), batch_wait_s=0
    )


def scripted_store(dynamodb, sqs=None):
    names = Names(
        table_prefix="test-",
        events_queue_url="https://sqs.example/1/e",
        webhooks_queue_url="",
        region="r",
        announces=False,
    )
    return DynamoDBStore.on(dynamodb, sqs or ScriptedClient(), names, StillClock())


def test_an_item_is_read_as_it_was_written():
    assert unpack(pack(ITEM)) == ITEM
    assert pack({"event": "e", "problem": None}) == {"event": {"S": "e"}}


@pytest.mark.parametrize(
    "error",
    [
        refused("ProvisionedThroughputExceededException"),
        refused("ThrottlingException"),
        refused("RequestLimitExceeded"),
        refused("InternalServerError", status=500),
        refused("SomethingNew", status=503),
        refused("TransactionConflictException"),
        ReadTimeoutError(endpoint_url="http://127.0.0.1"),
        ConnectTimeoutError(endpoint_url="http://127.0.0.1"),
        EndpointConnectionError(endpoint_url="http://127.0.0.1"),
    ],
    ids=error_name,
)
def test_what_may_pass_makes_the_store_unavailable(error):
    with pytest.raises(StoreUnavailableError):
        database(error).get(Table.EVENTS, {"event": "e"})


def test_what_is_a_bug_crashes():
    with pytest.raises(ClientError):
        database(refused("ValidationException")).get(Table.EVENTS, {"event": "e"})


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refused("ResourceNotFoundException"), "table test-events: it is not there .eu-west-1"),
        (refused("AccessDeniedException"), "table test-events: no permission"),
        (refused("ExpiredTokenException"), "table test-events: the credentials have expired"),
        (NoCredentialsError(), "table test-events: Unable to locate credentials"),
    ],
    ids=lambda one: "" if isinstance(one, str) else error_name(one),
)
def test_what_an_operator_must_mend_is_named_and_keeps_the_message(error, said):
    with pytest.raises(MisconfiguredError, match=said):
        database(error).get(Table.EVENTS, {"event": "e"})


def test_of_many_tables_all_are_named():
    writes = [Write(table=one, item={"object": "a"}) for one in (Table.EVENTS, Table.DIRECTORY)]
    with pytest.raises(MisconfiguredError, match="table test-directory, test-events: it is not there"):
        database(refused("ResourceNotFoundException")).transact(writes, request_id="r")
    with pytest.raises(MisconfiguredError, match="table test-events: it is not there"):
        database(refused("ResourceNotFoundException")).batch_get(Table.EVENTS, [{"event": "e"}])


def test_a_put_gives_back_what_stands_there():
    db = database(refused("ConditionalCheckFailedException", Item=pack(ITEM)), {})
    assert db.put_new(Table.EVENTS, {"event": "e"}) == ITEM
    assert db.put_new(Table.EVENTS, {"event": "e"}) is None


class LosesAnswers:
    """Does what it is told, tells nobody, and is asked again by botocore: the condition no longer holds then."""

    def put_item(self, **arguments):
        raise refused("ConditionalCheckFailedException", Item=arguments["Item"])

    def update_item(self, **arguments):
        mark = arguments["ExpressionAttributeValues"][":mark"]
        raise refused("ConditionalCheckFailedException", Item={**pack(ITEM), "mark": mark})


def test_a_write_knows_what_its_own_first_try_has_done():
    db = DynamoDB(LosesAnswers(), prefix="test-", lifetimes=Lifetimes(StillClock(), Retention()))
    assert db.put_new(Table.EVENTS, {"event": "e"}) is None
    db.update(Table.EVENTS, {"event": "e"}, "SET #a = :a", values={"a": 1}, condition="attribute_exists(#event)")


def test_an_update_of_nothing_fails_with_nothing():
    with pytest.raises(ConditionFailedError) as failure:
        database(refused("ConditionalCheckFailedException")).update(
            Table.EVENTS, {"event": "e"}, "SET #a = :a", values={"a": 1}, condition="attribute_exists(#event)"
        )
    assert failure.value.item is None


@pytest.mark.parametrize(
    ("codes", "failed"),
    [
        (("None", "ConditionalCheckFailed"), [1]),
        (("TransactionConflict", "None"), []),
        (("ConditionalCheckFailed",) * 2, [0, 1]),
    ],
)
def test_a_transaction_says_which_conditions_failed(codes, failed):
    writes = [Write(table=Table.DIRECTORY, item={"object": "a", "part": "b"})] * 2
    with pytest.raises(TransactionFailedError) as failure:
        database(cancelled(*codes)).transact(writes, request_id="r")
    assert list(failure.value.failed) == failed


@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_transaction_that_was_throttled_makes_the_store_unavailable(code):
    with pytest.raises(StoreUnavailableError):
        database(cancelled("None", code)).transact([], request_id="r")


def test_pages_are_fetched_for_as_long_as_they_are_asked_for():
    page = {"Items": [pack(ITEM)], "LastEvaluatedKey": {"event": {"S": "e"}}}
    db = database(page, page, {"Items": []})
    found = db.query(Query(table=Table.EVENTS, where="#event = :e", values={"e": "e"}))
    assert next(found) == ITEM
    assert len(db._client.calls) == 1
    assert list(found) == [ITEM]
    assert [arguments.get("ExclusiveStartKey") for _, arguments in db._client.calls] == [
        None,
        *[{"event": {"S": "e"}}] * 2,
    ]


def test_keys_that_were_left_unread_are_asked_for_again():
    left = {"test-events": {"Keys": [pack({"event": "e"})]}}
    db = database(
        {"Responses": {"test-events": [pack({"event": "d"})]}, "UnprocessedKeys": left},
        {"Responses": {"test-events": [pack({"event": "e"})]}, "UnprocessedKeys": {}},
    )
    assert db.batch_get(Table.EVENTS, [{"event": "d"}, {"event": "e"}]) == [{"event": "d"}, {"event": "e"}]
    assert db._client.calls[1][1]["RequestItems"] == left


def test_keys_that_are_left_unread_for_ever_make_the_store_unavailable():
    left = {"test-events": {"Keys": [pack({"event": "e"})]}}
    db = database(*[{"Responses": {}, "UnprocessedKeys": left}] * dynamodb.BATCH_TRIES_MAX)
    with pytest.raises(StoreUnavailableError):
        db.batch_get(Table.EVENTS, [{"event": "e"}])


def test_of_many_calls_each_is_made_before_an_error_is_raised():
    done = []

    def do(number):
        done.append(number)
        if number == 0:
            raise StoreUnavailableError("throttled")

    db = database()
    with pytest.raises(StoreUnavailableError):
        db.each(do, range(40))
    assert sorted(done) == list(range(40))


def test_an_event_whose_put_was_throttled_is_not_accepted():
    store = scripted_store(ScriptedClient(refused("ThrottlingException"), {}), sqs=ScriptedClient({}))
    with pytest.raises(StoreUnavailableError):
        store.events.accept([new_event()])
    assert store.events.accept([new_event()]) == [Taken(received_at=NOW, is_replay=False)]


NOTHING_THERE = refused("ConditionalCheckFailedException")


@pytest.mark.parametrize(
    ("table", "queue", "error", "what"),
    [
        (refused("AccessDeniedException"), {}, MisconfiguredError, "events: no permission"),
        (refused("ThrottlingException"), {}, StoreUnavailableError, "ThrottlingException"),
        (NOTHING_THERE, refused("QueueDoesNotExist"), MisconfiguredError, "queue e: it is not there"),
    ],
)
def test_whoever_accepts_nothing_is_told_that_an_event_could_not_be_recorded(table, queue, error, what):
    store = scripted_store(ScriptedClient(table), sqs=ScriptedClient(queue))
    with pytest.raises(error, match=what):
        store.events.accept([])


def test_a_commit_that_met_a_time_out_is_not_known_to_be_durable():
    store = scripted_store(ScriptedClient(ReadTimeoutError(endpoint_url="")))
    with pytest.raises(StoreUnavailableError):
        store.contracts.commit([submitted()])


def test_the_client_tries_again_a_bounded_number_of_times():
    config = make_client("dynamodb", "http://127.0.0.1:1").meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 4}
    assert (config.connect_timeout, config.read_timeout) == (2, 5)
