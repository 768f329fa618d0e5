"""The commands of ``docs/operations.md`` work as they stand: its blocks are run as one script."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
SCRIPT_S_MAX = 120


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_commands_of_the_page_work_in_their_order(tmp_path):
    program = tmp_path / "bin" / "moneta"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m moneta "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    stop = "set -m; trap 'kill %1 2>/dev/null || true; wait' EXIT\nexport PATH=$PWD/bin:$PATH\n"
    done = subprocess.run(
        [shutil.which("bash"), "-euo", "pipefail", "-c", stop + "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SCRIPT_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "restored backups/monday to hub-restored" in done.stdout
    assert "nothing to do: the store is of this version" in done.stdout
    assert "events: 0 forgotten" in done.stdout
