"""One suite for every adapter of the store ports: ``store`` is each in turn, empty, on a clock that stands still.

That on AWS is tested where the emulators are (``make test-aws``), and skipped elsewhere.
"""

import shutil
import uuid
import zlib
from types import SimpleNamespace

import pytest

from moneta.adapters.embedded.store import EmbeddedStore
from tests.conformance.builders import HUB, StillClock
from tests.emulated import emulated_services


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture(scope="session")
def blank(tmp_path_factory):
    """Return the folder of an empty store: to copy it takes a tenth of the time of making one."""
    folder = tmp_path_factory.mktemp("blank")
    EmbeddedStore.create(folder, base_url=HUB, clock=StillClock()).close()
    return folder


@pytest.fixture
def embedded(blank, tmp_path, clock):
    shutil.copytree(blank, tmp_path / "store")
    store = EmbeddedStore.open(tmp_path / "store", clock=clock)
    yield store
    store.close()


@pytest.fixture(scope="session")
def tables():
    """The services with the tables that the tests of a process share."""
    with emulated_services(StillClock(), table_prefix=f"conformance-{uuid.uuid4().hex[:12]}-") as services:
        store = services.store(StillClock())
        store.create_tables()
        yield services
        store.delete_tables()
        store.close()


@pytest.fixture
def aws(tables, clock):
    tables.empty_tables()
    with emulated_services(clock, table_prefix=tables.names.table_prefix) as services:
        store = services.store(clock)
        yield store
        store.close()


@pytest.fixture
def aws_with_faults(aws, request, monkeypatch):
    """DynamoDB's store while calls are throttled, fail, are done twice, or are done with nobody hearing of it."""
    from tests.aws.faults import Faults  # noqa: PLC0415  # botocore is installed with the aws extra only

    # Nobody waits between two tries: what comes of them is tested, not when.
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    Faults(seed=zlib.crc32(request.node.name.encode())).beset(aws.client)
    return aws


ON_AWS = [pytest.param(name, marks=pytest.mark.dynamodb) for name in ("aws", "aws_with_faults")]


@pytest.fixture(params=["embedded", *ON_AWS])
def store(request):
    return request.getfixturevalue(request.param)
