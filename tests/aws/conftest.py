"""The AWS store for a module's tests, and processes that die on purpose."""

import uuid
from collections.abc import Callable

import pytest

from tests.conformance.builders import StillClock
from tests.emulated import emulated_services


class Crash(BaseException):
    """The process is gone. Nothing in the program may catch it."""


def crash_at(number: int) -> Callable[[int], None]:
    def crash(at: int) -> None:
        if at == number:
            raise Crash(number)

    return crash


@pytest.fixture(scope="module")
def prefix():
    prefix = f"aws-{uuid.uuid4().hex[:12]}-"
    with emulated_services(StillClock(), table_prefix=prefix) as services:
        store = services.store(StillClock())
        store.create_tables()
        yield prefix
        store.delete_tables()


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def services(prefix, clock):
    """The module's tables, and queues of the test's own."""
    with emulated_services(clock, table_prefix=prefix) as services:
        yield services


@pytest.fixture
def open_store(services, clock):
    """Open the store as a new process would, with nothing remembered; the clients may be others."""
    return lambda other=services: other.store(clock)
