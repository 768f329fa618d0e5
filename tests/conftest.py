"""What every room of tests shares: Hypothesis profiles, the published vectors, and one deployed hub."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.shared_vectors import VECTORS

# No deadline: a loaded machine is slow, not wrong. In CI the same commit always tries the same examples.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Return the folder of published vectors, or skip the test."""
    if not VECTORS.is_dir():
        pytest.skip("the test vectors are absent: set MONETA_VECTORS to their folder")
    return VECTORS


@pytest.fixture(scope="session")
def deployed_hub():
    """One hub for all tests: deploying takes longer than any of them. What they make is told apart by ids."""
    from tests.aws_deployed.account import account  # noqa: PLC0415  # botocore is installed with the aws extra only
    from tests.aws_deployed.deployment import deployment  # noqa: PLC0415  # likewise

    with account() as found, deployment(found) as deployed:
        deployed.initialize()
        yield deployed


@pytest.fixture(scope="session")
def deployed_market(deployed_hub, tmp_path_factory):
    from tests.running_hub import trading  # noqa: PLC0415  # a process that deploys nothing starts without it

    with trading(deployed_hub, tmp_path_factory.mktemp("market")) as opened:
        yield opened


NEEDS_DEPLOYED = re.compile(r"/aws_deployed/|[\[-]deployed[\]-]")
"""The ids of its own room's tests, and of those with a parameter of that name."""


class DeployedTogether(LoadScopeScheduling):
    """By module (``--dist loadscope``), but all that needs the deployed hub in one process, which deploys it once."""

    def _split_scope(self, nodeid):
        return "deployed" if NEEDS_DEPLOYED.search(nodeid) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    """Give the scheduler of ``make test-aws``; None leaves the choice to xdist."""
    return DeployedTogether(config, log) if config.getoption("dist") == "loadscope" else None
