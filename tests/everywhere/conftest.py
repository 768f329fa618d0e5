"""``target``: the same hub as three things that a client can't tell apart, each started once for all scenarios.

1. ``embedded``: ``moneta up`` on a folder.   2. ``aws``: ``moneta up --store aws`` over the emulators.
3. ``deployed``: the template in an account (``tests.aws_deployed``), by its API's address.
"""

from contextlib import closing

import pytest

from tests.everywhere.target import Target, new_id
from tests.running_hub import running_hub, trading

TARGETS = (
    "embedded",
    pytest.param("aws", marks=pytest.mark.dynamodb),
    pytest.param("deployed", marks=pytest.mark.deployed),
)


def opened(kind, folder):
    with (
        running_hub(folder, store=kind) as hub,
        trading(hub, folder / "market") as market,
        closing(Target(kind, hub, market)) as target,
    ):
        yield target


@pytest.fixture(scope="session")
def embedded(tmp_path_factory):
    yield from opened("embedded", tmp_path_factory.mktemp("embedded"))


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    yield from opened("aws", tmp_path_factory.mktemp("aws"))


@pytest.fixture(scope="session")
def deployed(deployed_hub, deployed_market):
    with closing(Target("deployed", deployed_hub, deployed_market)) as target:
        yield target


@pytest.fixture(scope="session", params=TARGETS)
def target(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session", params=TARGETS[1:])
def other(request):
    """A target that is to answer as the embedded one does."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def finalized(target):
    """The id of a contract that has come to its end."""
    contract_id = new_id("end")
    target.submit(contract_id)
    target.contract(contract_id, "finalized")
    return contract_id
