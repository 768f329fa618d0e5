"""The first contract by hand in ``README.md`` works as it stands: its blocks are run as one script."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
TOOLS = ("bash", "python3")
SCRIPT_S_MAX = 120


def blocks():
    part = PAGE.read_text(encoding="utf-8").partition("## A first contract, by hand")[2].partition("\n## ")[0]
    return BLOCK.findall(part)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")
def test_the_first_contract_by_hand_works_as_it_is_written(tmp_path):
    program = tmp_path / ".venv" / "bin" / "moneta"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m moneta "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    port = free_port()
    script = "\n".join(blocks()).replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    script = script.replace("moneta up --data hub", f"moneta up --data hub --port {port}")
    stop = "trap 'kill %1 2>/dev/null || true; wait' EXIT\n"
    done = subprocess.run(
        [shutil.which("bash"), "-euo", "pipefail", "-c", stop + script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SCRIPT_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "verified: contract first-1 is finalized" in done.stdout
    assert '"event": "stopped"' in (tmp_path / "hub.log").read_text(encoding="utf-8")
