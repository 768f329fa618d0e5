"""A client of somebody else's plays a whole contract at a real hub, whatever its store."""

import ast
from pathlib import Path

import pytest

from tests import stranger
from tests.running_hub import running_hub
from tests.stores import STORES


@pytest.mark.parametrize("store", STORES)
def test_a_stranger_plays_a_contract_by_the_protocol_s_page_alone(tmp_path, store):
    with running_hub(tmp_path, store=store) as hub:
        stranger.play(hub.url, hub.operator_token())


def test_the_stranger_knows_nothing_of_ours():
    tree = ast.parse(Path(stranger.__file__).read_text(encoding="utf-8"))
    named = [one.module for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)]
    named += [name.name for one in ast.walk(tree) if isinstance(one, ast.Import) for name in one.names]
    assert {name.split(".")[0] for name in named} & {"joserfc", "moneta", "tests"} == set()
