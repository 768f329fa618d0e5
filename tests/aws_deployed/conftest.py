"""The deployed hub by this room's names for it; all rooms share it, and what they make is told apart by ids."""

import pytest


@pytest.fixture(scope="session")
def hub(deployed_hub):
    return deployed_hub


@pytest.fixture(scope="session")
def market(deployed_market):
    return deployed_market
