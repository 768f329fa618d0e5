"""``docs/partner-guide.md`` works as it stands: each of its programs is run, in its order, against a hub that runs.

Every Python block opens with a comment that names its file. The shell blocks are not run; what they do is done here,
and a test sees to it that no program of the guide is left out.
"""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moneta.client import Caller, Role

GUIDE = Path(__file__).parents[2] / "docs" / "partner-guide.md"
MONETA = Path(sys.executable).with_name("moneta")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
PROGRAMS = {block.split()[1].rstrip(":"): block for block in BLOCKS}
TIMEOUT_S = 30
LINES_MAX = 20

pytestmark = pytest.mark.skipif(not MONETA.exists(), reason="the program moneta is not installed beside Python")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Sandbox:
    """A folder with the guide's programs, a hub that runs, and what was started there."""

    def __init__(self, folder):
        self.folder = folder
        self.hub = f"http://127.0.0.1:{free_port()}"
        self.started = []
        for name, source in PROGRAMS.items():
            (folder / name).write_text(source.replace("http://127.0.0.1:8080", self.hub), encoding="utf-8")

    def moneta(self, *arguments):
        done = subprocess.run(
            [MONETA, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self, *arguments, **options):
        process = subprocess.Popen(arguments, cwd=self.folder, stdout=subprocess.PIPE, text=True, **options)
        self.started.append(process)
        return process

    def start_hub(self):
        self.moneta("init", "--data", "hub")
        webhooks = ("--allow-http-webhooks", "--allow-private-webhooks")
        port = self.hub.rpartition(":")[2]
        with (self.folder / "hub.log").open("wb") as log:
            process = self.start(MONETA, "up", "--data", "hub", "--port", port, *webhooks, stderr=log)
        assert process.stdout.readline().strip() == f"ready {self.hub}", (self.folder / "hub.log").read_text()
        token = self.moneta("token", "--data", "hub")
        return Caller(self.hub, lambda: token)

    def run(self, program, *arguments):
        done = subprocess.run(
            [sys.executable, program, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def receive(self, folder, port):
        process = self.start(sys.executable, "receiver.py", folder, str(port))
        wait_until(lambda: is_listening(port))
        return process

    def stop(self):
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            process.wait(TIMEOUT_S)
            process.stdout.close()


@pytest.fixture
def sandbox(tmp_path):
    made = Sandbox(tmp_path)
    yield made
    made.stop()


def settle(sandbox, operator, role, name, port):
    """Do what sections 1 and 2 of the guide say, for one organization."""
    folder = sandbox.folder / name.lower()
    sandbox.run("join.py", role, name, name.upper(), f"http://127.0.0.1:{port}/")
    answer = operator.send("POST", f"/organizations/{role}", json.loads((folder / "registration.json").read_text()))
    operator.send("PUT", f"/organizations/{role}/{answer['id']}/status", {"status": "Active", "reason": "sandbox"})
    (folder / "organization.json").write_text(json.dumps({name: answer[name] for name in ("id", "webhook_secret")}))
    sandbox.run("settle_in.py", role, name.lower())
    return answer["id"]


@pytest.mark.slow
def test_the_guide_leads_from_keys_to_a_finalized_contract(sandbox):
    operator = sandbox.start_hub()
    ports = {"gazette": free_port(), "aurora": free_port()}
    publisher_id = settle(sandbox, operator, Role.PUBLISHER, "Gazette", ports["gazette"])
    settle(sandbox, operator, Role.MO, "Aurora", ports["aurora"])
    assert {path.stat().st_mode & 0o077 for path in (sandbox.folder / "gazette").glob("*.pem")} == {0}
    assert (sandbox.folder / "gazette" / "secrets").stat().st_mode & 0o077 == 0

    gazette = sandbox.receive("gazette", ports["gazette"])
    aurora = sandbox.receive("aurora", ports["aurora"])
    signed = sandbox.run("submit.py", publisher_id, "order-1", "100.00", "USD", "10").split()
    assert signed[1:] == ["finalized", "mo", "moneta", "publisher"]
    assert (
        gazette.stdout.readline().split()
        == aurora.stdout.readline().split()
        == [
            "moneta.contract.finalized",
            signed[0],
        ]
    )

    declined = sandbox.run("submit.py", publisher_id, "order-2", "99.99", "EUR", "10").split()
    assert declined[1:] == ["declined", "mo", "moneta", "wrong_amount"]

    submit = (sys.executable, "submit.py", publisher_id)
    later = [sandbox.start(*submit, order, "7.00", "USD", str(TIMEOUT_S)) for order in ("order-3", "stray")]
    waiting = {"status": "pending_publisher_signature"}
    wait_until(lambda: len(operator.get("/contracts", **waiting)["items"]) == len(later))
    responses = sandbox.run("respond.py", "gazette").split()
    assert sorted(responses[1::2]) == ["SignedAct", "SignedContract"]
    ends = [process.communicate(timeout=TIMEOUT_S)[0].split()[1] for process in later]
    assert ends == ["finalized", "declined"]

    assert sandbox.run("rotate.py", "gazette") == "restart the receiver\n"
    gazette.terminate()
    gazette.wait(TIMEOUT_S)
    sandbox.receive("gazette", ports["gazette"])
    again = sandbox.run("submit.py", publisher_id, "order-1", "100.00", "USD", "10").split()
    assert again[1] == "finalized"

    assert sandbox.run("new_contract_key.py", "aurora") == "finalized\n"
    with_new_key = sandbox.run("submit.py", publisher_id, "order-1", "100.00", "USD", "10").split()
    assert with_new_key[1:] == ["finalized", "mo", "moneta", "publisher"]
    again = with_new_key
    failed = operator.get("/deliveries", status="pending")["items"]
    assert [one["type"] for one in failed if one["type"].endswith("signature_requested")] == []

    event = json.loads((sandbox.folder / "event.json").read_text())
    assert event["subject"] == again[0]


def test_every_program_of_the_guide_is_run_here():
    source = Path(__file__).read_text(encoding="utf-8")
    assert len(PROGRAMS) == len(BLOCKS)
    assert [name for name in PROGRAMS if f'"{name}"' not in source] == []


def test_the_receiver_of_the_guide_has_twenty_lines_beside_its_imports():
    lines = [line for line in PROGRAMS["receiver.py"].splitlines() if line.strip()]
    assert len([line for line in lines if not line.startswith(("#", "import ", "from "))]) <= LINES_MAX
