"""The store on DynamoDB and SQS put together: its tables and queues, and the ports that they serve."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from botocore.exceptions import ClientError

from moneta.adapters.aws.announcements import Announcer
from moneta.adapters.aws.buckets import Calendar
from moneta.adapters.aws.commits import Commits
from moneta.adapters.aws.contracts import DynamoDBContractStore
from moneta.adapters.aws.deliveries import DynamoDBDeliveryStore
from moneta.adapters.aws.directory import DynamoDBDirectoryStore
from moneta.adapters.aws.directory_steps import DirectorySteps
from moneta.adapters.aws.dynamodb import DynamoDB, Table
from moneta.adapters.aws.event_queue import WAIT_S, SQSEventQueue
from moneta.adapters.aws.events import DynamoDBEventStore
from moneta.adapters.aws.lifetimes import FORGET_AT, DynamoDBRetentionStore, Lifetimes
from moneta.adapters.aws.relay import DynamoDBRelay
from moneta.adapters.aws.serverless import SQSDeliveryLines, SQSMessages
from moneta.adapters.aws.sqs import Queue
from moneta.adapters.aws.tables import table_definition
from moneta.application.ports import Clock
from moneta.domain.retention import Retention

RETENTION_DEFAULT: Final = Retention()


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the tables and queues are called, and in which region they are.

    ``announces``: what becomes due is announced in the queue of webhooks. ``queue_wait_s``: see ``event_queue``.
    """

    table_prefix: str
    events_queue_url: str
    webhooks_queue_url: str
    region: str
    announces: bool
    queue_wait_s: int = WAIT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoDBStore:
    """Every store port. Safe for threads; any number of processes may share it."""

    db: DynamoDB
    client: Any  # botocore has no types
    events: DynamoDBEventStore
    queue: SQSEventQueue
    contracts: DynamoDBContractStore
    deliveries: DynamoDBDeliveryStore
    directory: DynamoDBDirectoryStore
    retention: DynamoDBRetentionStore
    relay: DynamoDBRelay
    lines: SQSDeliveryLines
    messages: SQSMessages

    @classmethod
    def on(
        cls,
        client: Any,  # botocore has no types
        sqs: Any,  # botocore has no types
        names: Names,
        clock: Clock,
        retention: Retention = RETENTION_DEFAULT,
    ) -> Self:
        """Return the store on clients of DynamoDB and SQS. Nothing is asked of the services yet."""
        lifetimes = Lifetimes(clock, retention)
        db = DynamoDB(client, prefix=names.table_prefix, lifetimes=lifetimes)
        messages = Queue(sqs, names.events_queue_url)
        announcer = Announcer(Queue(sqs, names.webhooks_queue_url))
        calendar, directory = Calendar(db), DynamoDBDirectoryStore(db, lifetimes)
        events = DynamoDBEventStore(db, clock, messages)
        queue = SQSEventQueue(db, clock, messages, wait_s=names.queue_wait_s)
        deliveries = DynamoDBDeliveryStore(
            db,
            lifetimes,
            calendar=calendar,
            directory=directory,
            events=events,
            announcer=announcer if names.announces else None,
        )
        commits = Commits(
            db,
            clock,
            lifetimes,
            calendar=calendar,
            deliveries=deliveries,
            directory=DirectorySteps(db, lifetimes, directory),
            queue=queue,
            home=names.region,
        )
        return cls(
            db=db,
            client=client,
            events=events,
            queue=queue,
            contracts=DynamoDBContractStore(db, clock, calendar=calendar, commits=commits),
            deliveries=deliveries,
            directory=directory,
            retention=DynamoDBRetentionStore(),
            relay=DynamoDBRelay(db, commits, events),
            lines=SQSDeliveryLines(deliveries, announcer),
            messages=SQSMessages(messages),
        )

    def create_tables(self) -> None:
        """Make the tables that are not there, for tests and local use; the deployed template makes its own."""
        for table in Table:
            with _done_before("ResourceInUseException"):
                self.client.create_table(**table_definition(table, self.db.table_name(table)))
        for table in Table:
            self.client.get_waiter("table_exists").wait(TableName=self.db.table_name(table))
            with _done_before("TimeToLive is already enabled"):
                self.client.update_time_to_live(
                    TableName=self.db.table_name(table),
                    TimeToLiveSpecification={"Enabled": True, "AttributeName": FORGET_AT},
                )

    def delete_tables(self) -> None:
        """Drop the tables that ``create_tables`` made."""
        for table in Table:
            with _done_before("ResourceNotFoundException"):
                self.client.delete_table(TableName=self.db.table_name(table))

    def close(self) -> None:
        """Close every connection."""
        self.db.close()


@contextmanager
def _done_before(told: str) -> Iterator[None]:
    """Pass over the error of a call that timed out, was done nevertheless, and is tried again."""
    try:
        yield
    except ClientError as error:
        if told not in str(error):
            raise
