"""The DynamoDB store put together: its tables, and the ports that they serve."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from botocore.exceptions import ClientError
from botocore.session import Session

from moneta.adapters.aws import clients
from moneta.adapters.aws.buckets import Calendar
from moneta.adapters.aws.commits import Commits
from moneta.adapters.aws.contracts import DynamoDBContractStore
from moneta.adapters.aws.deliveries import DynamoDBDeliveryStore
from moneta.adapters.aws.directory import DynamoDBDirectoryStore
from moneta.adapters.aws.dynamodb import DynamoDB, Table
from moneta.adapters.aws.events import DynamoDBEventStore
from moneta.adapters.aws.lifetimes import FORGET_AT, DynamoDBRetentionStore, Lifetimes
from moneta.adapters.aws.relay import DynamoDBRelay
from moneta.adapters.aws.tables import table_definition
from moneta.application.ports import Clock
from moneta.domain.retention import Retention

RETENTION_DEFAULT: Final = Retention()
LOCAL_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class DynamoDBStore:
    """Every store port on DynamoDB, but for the queue. Safe for threads; any number of processes may share it."""

    db: DynamoDB
    client: Any  # botocore has no types
    events: DynamoDBEventStore
    contracts: DynamoDBContractStore
    deliveries: DynamoDBDeliveryStore
    directory: DynamoDBDirectoryStore
    retention: DynamoDBRetentionStore
    relay: DynamoDBRelay

    @classmethod
    def connect(cls, endpoint_url: str, table_prefix: str, clock: Clock) -> Self:
        """Return the store on a DynamoDB on this machine. See ``on``."""
        return cls.on(make_client(endpoint_url), table_prefix, clock)

    @classmethod
    def on(
        cls,
        client: Any,  # botocore has no types
        table_prefix: str,
        clock: Clock,
        retention: Retention = RETENTION_DEFAULT,
    ) -> Self:
        """Return the store whose tables begin with ``table_prefix``. Nothing is asked of the service yet."""
        lifetimes = Lifetimes(clock, retention)
        db = DynamoDB(client, prefix=table_prefix, lifetimes=lifetimes)
        calendar = Calendar(db)
        events = DynamoDBEventStore(db, clock)
        directory = DynamoDBDirectoryStore(db, lifetimes)
        deliveries = DynamoDBDeliveryStore(db, lifetimes, calendar=calendar, directory=directory, events=events)
        commits = Commits(db, clock, lifetimes, calendar=calendar, deliveries=deliveries)
        contracts = DynamoDBContractStore(db, clock, calendar=calendar, commits=commits)
        relay = DynamoDBRelay(db, commits)
        return cls(db, client, events, contracts, deliveries, directory, DynamoDBRetentionStore(), relay)

    def create_tables(self) -> None:
        """Make the tables, for tests and local use; the deployed template makes its own."""
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


def make_client(endpoint_url: str) -> Any:  # botocore has no types
    """Return a client of a DynamoDB on this machine."""
    return clients.make_client(Session(), "dynamodb", region=LOCAL_REGION, endpoint_url=endpoint_url)


@contextmanager
def _done_before(told: str) -> Iterator[None]:
    """Pass over the error of a call that timed out, was done nevertheless, and is tried again."""
    try:
        yield
    except ClientError as error:
        if told not in str(error):
            raise
