"""What scenarios share: a hub on a temporary folder."""

import tempfile
from pathlib import Path

import pytest

from tests.hub import make_hub
from tests.stores import STORES

MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  # a temporary folder within it is made for each test


@pytest.fixture
def house():
    """Give a ``TestHub``: the hub and short ways to what a test needs first.

    In memory where the system has a folder for that: scenarios ask what is decided, not what survives.
    """
    where = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        made = make_hub(Path(folder))
        yield made
        made.close()


@pytest.fixture(params=STORES)
def house_on_each_store(tmp_path, request):
    """Give a ``TestHub`` on each kind of store, for a module whose ``house`` this is."""
    made = make_hub(tmp_path, store=request.param)
    yield made
    made.close()
