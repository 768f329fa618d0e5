"""What every room of tests shares: Hypothesis profiles and the published vectors."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
