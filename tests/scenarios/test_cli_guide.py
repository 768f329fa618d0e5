"""What is done by hand in the pages works as it stands: the blocks of such a part are run as one script."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
TOOLS = ("bash", "curl", "python3")
SCRIPT_S_MAX = 300


def blocks(page, title):
    part = (PROJECT / page).read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    return BLOCK.findall(part)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def run(folder, page, title):
    """Run a part of a page in a folder, and return what it printed."""
    program = folder / ".venv" / "bin" / "moneta"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m moneta "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    port = free_port()
    script = "\n".join(blocks(page, title)).replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    script = script.replace("moneta up --data hub", f"moneta up --data hub --port {port}")
    stop = "trap 'kill %1 2>/dev/null || true; wait' EXIT\n"
    done = subprocess.run(
        [shutil.which("bash"), "-euo", "pipefail", "-c", stop + script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SCRIPT_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"event": "stopped"' in (folder / "hub.log").read_text(encoding="utf-8")
    return done.stdout


tools_required = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")


@tools_required
def test_the_first_contract_by_hand_works_as_it_is_written(tmp_path):
    printed = run(tmp_path, "README.md", "A first contract, by hand")
    assert "verified: contract first-1 is finalized" in printed


@tools_required
def test_a_pass_by_hand_works_as_it_is_written(tmp_path):
    printed = run(tmp_path, "docs/credentials.md", "A pass, by hand")
    valid, number, tier, locked, exit_code = printed.splitlines()
    assert (valid.split(":")[0], number.split(":")[0].strip(), tier) == ("valid", "number", '  tier: "gold"')
    assert locked.startswith("refused: mpass_not_active")
    assert exit_code == "exit 1"
