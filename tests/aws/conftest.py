"""A DynamoDB store for a module's tests, and clients that fail on purpose."""

import os
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from moneta.adapters.aws.store import DynamoDBStore, make_client
from tests.conformance.builders import StillClock

CONTROL = {"close", "create_table", "delete_table", "get_waiter", "update_time_to_live"}


class Crash(BaseException):
    """The process is gone. Nothing in the program may catch it."""


class HookedClient:
    """A client that calls ``before`` and ``after`` with the number of each call of an operation, from 0."""

    def __init__(self, client: Any, *, before: Callable = lambda number: None, after: Callable = lambda number: None):
        self._client = client
        self._before = before
        self._after = after
        self.operations: list[str] = []

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)
        if operation in CONTROL:
            return call

        def hooked(**arguments: Any) -> Any:
            number = len(self.operations)
            self.operations.append(operation)
            self._before(number)
            answer = call(**arguments)
            self._after(number)
            return answer

        return hooked


def crash_at(number: int) -> Callable[[int], None]:
    def crash(at: int) -> None:
        if at == number:
            raise Crash(number)

    return crash


@pytest.fixture(scope="module")
def client():
    url = os.environ.get("MONETA_DYNAMODB_URL")
    if url is None:
        pytest.skip("needs DynamoDB: set MONETA_DYNAMODB_URL")
    client = make_client(url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def prefix(client):
    prefix = f"aws-{uuid.uuid4().hex[:12]}-"
    tables = DynamoDBStore.on(client, prefix, StillClock())
    tables.create_tables()
    yield prefix
    tables.delete_tables()


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def open_store(client, prefix, clock):
    """Open the store as a new process would, with nothing remembered; the client may be another."""
    return lambda other=client: DynamoDBStore.on(other, prefix, clock)
