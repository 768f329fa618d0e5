"""One suite for every adapter of the store ports: ``store`` is each in turn, empty, on a clock that stands still.

DynamoDB's is tested where ``MONETA_DYNAMODB_URL`` says there is one (``make test-dynamodb``), and skipped elsewhere.
"""

import os
import shutil
import uuid

import pytest

from moneta.adapters.embedded.store import EmbeddedStore
from tests.conformance.builders import HUB, StillClock

DYNAMODB_URL = os.environ.get("MONETA_DYNAMODB_URL")


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


@pytest.fixture
def aws(clock):
    if DYNAMODB_URL is None:
        pytest.skip("needs DynamoDB: set MONETA_DYNAMODB_URL")
    from moneta.adapters.aws.store import DynamoDBStore  # noqa: PLC0415  # botocore is installed with the aws extra only

    store = DynamoDBStore.connect(DYNAMODB_URL, table_prefix=f"conformance-{uuid.uuid4().hex[:12]}-", clock=clock)
    store.create_tables()
    yield store
    store.delete_tables()
    store.close()


@pytest.fixture(params=["embedded", pytest.param("aws", marks=pytest.mark.dynamodb)])
def store(request):
    return request.getfixturevalue(request.param)
