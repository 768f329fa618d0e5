"""Moneta's key is rotated while a hub runs, and whoever is killed at it leaves keys that sign."""

import base64
import json
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from moneta.adapters.embedded.keyfiles import replace_private_file
from moneta.adapters.embedded.signing_key_files import SIGNING_KEYS_FILE, SigningKeyFiles, make_first_key, rotate_key
from moneta.adapters.signing_keys import RotatingSigner
from moneta.client import Keyring, Verifier
from moneta.domain.limits import ROTATION_LEAD_S
from tests.conformance.builders import StillClock
from tests.running_hub import moneta, running_hub, trading, wait_until

MESSAGE = b"what is signed"

# Rotations, each in a process of its own on a directory of its own, and killed before it touches a file for the n-th
# time; the last is not killed.
ROTATIONS = """
import os, signal, sys
from pathlib import Path
from moneta.adapters.embedded.signing_key_files import rotate_key

def rotate(folder, now, is_compromised, left):
    def count(event, arguments):
        nonlocal left
        if event in {"open", "os.link", "os.rename", "os.remove"} and str(arguments[0]).startswith(str(folder)):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    rotate_key(folder, now=now, is_compromised=is_compromised)

for touch, folder in enumerate(sys.argv[3:]):
    child = os.fork()
    if child == 0:
        rotate(Path(folder), int(sys.argv[1]), sys.argv[2] == "compromised", touch)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
TOUCHES_MAX = 40
"""More than a rotation's; those of the last directories are not killed."""


def new_folder(path, now):
    """A directory with a key that signs and one that is over."""
    path.mkdir(mode=0o700)
    make_first_key(path, now=now - 3 * ROTATION_LEAD_S)
    rotate_key(path, now=now - 2 * ROTATION_LEAD_S, is_compromised=False)
    return path


def check_signs(folder, clock):
    """Sign with what is there, and verify it with what is published."""
    signer = RotatingSigner(SigningKeyFiles(folder, clock).now, clock)
    used = signer.current()
    [published] = [one for one in signer.published() if one.public == used.public]
    published.public.verify(used.sign(MESSAGE), MESSAGE, algorithm="ES256")
    assert published.revoked_at is None
    assert published.not_before <= clock.now_ms() // 1000 < published.expires_at
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("how", ["planned", "compromised"])
def test_a_rotation_that_is_killed_anywhere_leaves_keys_that_sign_and_is_completed_by_the_next(tmp_path, how):
    clock = StillClock()
    now = clock.now_ms() // 1000
    folders = [new_folder(tmp_path / str(touch), now) for touch in range(TOUCHES_MAX)]
    done = subprocess.run(
        [sys.executable, "-c", ROTATIONS, str(now), how, *folders], capture_output=True, text=True, check=True
    )
    codes = [int(line) for line in done.stdout.split()]
    assert set(codes) == {0, -signal.SIGKILL}, done.stderr
    for folder in folders:
        check_signs(folder, clock)
        newest = rotate_key(folder, now=now, is_compromised=False).key.public.key_id
        check_signs(folder, clock)
        names = {path.name for path in folder.iterdir()}
        signing = RotatingSigner(SigningKeyFiles(folder, clock).now, clock).current().public.key_id
        assert names == {SIGNING_KEYS_FILE, *(f"signing-{one}.pem" for one in (newest, signing))}


# While a hub runs.

AHEAD_S, REMEMBERED_S, POLL_S = 6, 3, 0.1
"""How long the next key is published before it signs here, and how long a partner remembers keys: 2 h and 60 s else."""


class SlowPartner:
    """Reads the hub's keys all the time, and believes those of ``REMEMBERED_S`` ago alone."""

    def __init__(self, trader):
        self.trader, self.read, self._stopped = trader, [], threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()

    def _run(self):
        while not self._stopped.wait(POLL_S):
            self.read.append((time.monotonic(), self.trader.client.caller.get("/.well-known/jwks.json")))

    def remembers(self):
        return bool(self.read) and time.monotonic() - self.read[0][0] > REMEMBERED_S

    def verify(self, contract_id):
        """Verify a contract by remembered keys; return the key of Moneta's signature on it."""
        at = time.monotonic() - REMEMBERED_S
        old = [document for read_at, document in self.read if read_at <= at][-1]

        def fetch(path):
            return old if path.startswith("/.well-known") else self.trader.client.caller.get(path)

        shown = self.trader.client.contract(contract_id)
        Verifier(self.trader.party, Keyring(fetch)).contract(shown.jws)
        headers = [json.loads(base64.urlsafe_b64decode(one["protected"] + "==")) for one in shown.jws["signatures"]]
        return next(one["kid"] for one in headers if one["role"] == "moneta")


def make_older(data):
    """Let the hub's first key have signed for long."""
    [entry] = json.loads((data / SIGNING_KEYS_FILE).read_text())
    entry["nbf"] -= 2 * ROTATION_LEAD_S
    replace_private_file(data / SIGNING_KEYS_FILE, json.dumps([entry]).encode())


@pytest.mark.slow
def test_contracts_are_signed_and_verified_throughout_a_rotation_by_a_hub_that_goes_on_running(tmp_path):
    with running_hub(tmp_path) as hub, trading(hub, tmp_path) as market, SlowPartner(market.mo) as partner:
        pids = hub.children()
        make_older(hub.data)
        wait_until(partner.remembers)
        # As if it had been asked for so long ago that the next key signs in a few seconds.
        new = rotate_key(hub.data, now=int(time.time()) + AHEAD_S - ROTATION_LEAD_S, is_compromised=False).key
        signed_by = []
        while not (signed_by and time.time() > new.not_before + REMEMBERED_S):
            contract_id = f"c-{len(signed_by)}"
            market.submit(contract_id)
            market.mo.client.wait_for(contract_id, {"finalized"})
            signed_by.append(partner.verify(contract_id))
        assert list(dict.fromkeys(signed_by)) == [hub.hub_key, new.public.key_id]
        attempts = [
            attempt
            for one in market.mo.client.caller.get("/deliveries", limit=200)["items"]
            for attempt in one["attempts"]
        ]
        assert {one["status"] // 100 for one in attempts} == {2}
        assert hub.children() == pids


def test_the_command_rotates_once_and_a_compromised_key_at_once(tmp_path):
    data = tmp_path / "hub"
    first = moneta("init", "--data", data).stdout.split()[-1]
    made = moneta("rotate-key", "--data", data)
    assert (made.returncode, made.stdout.splitlines()[1].endswith("; made")) == (0, True)
    again = moneta("rotate-key", "--data", data)
    assert again.stdout == made.stdout.replace("; made", "; made before, and waiting")
    compromised = moneta("rotate-key", "--data", data, "--compromised")
    assert compromised.returncode == 0
    entries = json.loads((data / SIGNING_KEYS_FILE).read_text())
    assert [one["jwk"]["kid"] for one in entries] == [
        text.split()[2] for text in (compromised.stdout, made.stdout, f"hub key {first}")
    ]
    assert ["revoked_at" in one for one in entries] == [False, True, True]


def test_a_backup_taken_while_a_key_waits_is_restored_with_both(tmp_path):
    data, copy, restored = tmp_path / "hub", tmp_path / "copy", tmp_path / "restored"
    moneta("init", "--data", data)
    moneta("rotate-key", "--data", data)
    assert moneta("backup", "--data", data, "--out", copy).returncode == 0
    assert moneta("restore", "--from", copy, "--data", restored).returncode == 0

    def keys(folder: Path):
        return {path.name: path.read_bytes() for path in folder.glob("signing-*")}

    assert keys(restored) == keys(data)
    assert len(keys(data)) == 3


def test_a_directory_that_holds_no_hub_is_refused(tmp_path):
    refused = moneta("rotate-key", "--data", tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert SIGNING_KEYS_FILE in refused.stderr
