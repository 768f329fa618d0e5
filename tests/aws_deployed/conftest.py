"""One hub for all tests of this room: deploying takes longer than any of them. What they make is told apart by ids."""

import pytest

from tests.aws_deployed.account import account
from tests.aws_deployed.deployment import deployment
from tests.running_hub import trading


@pytest.fixture(scope="session")
def hub():
    with account() as found, deployment(found) as deployed:
        deployed.initialize()
        yield deployed


@pytest.fixture(scope="session")
def market(hub, tmp_path_factory):
    with trading(hub, tmp_path_factory.mktemp("market")) as opened:
        yield opened
