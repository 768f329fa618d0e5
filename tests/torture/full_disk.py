"""A real ``moneta up`` under load, whose small disk is filled and freed again and again.

The disk is a tmpfs in a mount namespace of its own: nobody else sees it, and it is gone with the last process. Where a
user may not have such a namespace there is no disk to fill, and the torture says so and fails. An fsync costs nothing
on a tmpfs: what a power cut takes is for the worlds, this is about room.

A client that is told anything but 202, or 503 with ``Retry-After``, has found something; and so has one that is not
told 202 in the end, for the same bytes. Nobody helps the hub: the same processes go on when there is room again.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Event

from moneta.adapters.embedded.database import connect, value
from moneta.adapters.embedded.store import FILE_NAME
from moneta.client import build_event, sign_first, system_clock
from moneta.client.transport import Transport
from tests.running_hub import running_hub, trading
from tests.torture import processes
from tests.torture.checks import NUMBERS
from tests.torture.world import Found, Tally

NAMESPACE = ("unshare", "--mount", "--map-root-user")
DISK_BYTES = 64 * 1024 * 1024
LEFT_BYTES = (0, 4096, 65_536, 524_288)
"""What is left when the disk is filled, so that it is the hub that takes the last of it, at one write or another."""
FULL_S = (0.5, 1.0, 2.0, 4.0)
FREE_S = (0.5, 1.0, 2.0)
CLIENTS = 8
CLIENT_PAUSE_S = 0.15
AGAIN_S = 0.25
DOUBLES_SHARE = 0.1
ACCEPTED_S_MAX = 120
ACCEPTED, UNAVAILABLE = 202, 503


@dataclass
class Clients:
    """Those who send, until ``ends`` is set. ``answers`` counts what they were told."""

    market: object
    ends: Event
    chance: random.Random
    answers: Counter = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    numbers: count = field(default_factory=count)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Send contracts, each until it is accepted."""
        transport = Transport(self.market.mo.party.hub, timeout_s=30.0)
        while not self.ends.is_set() and not self.faults:
            try:
                self.submit(transport, f"full-{next(self.numbers)}")
            except Exception as error:  # noqa: BLE001  # told to the thread that can fail
                self.faults.append(f"{type(error).__name__}: {error}")
            time.sleep(CLIENT_PAUSE_S)

    def submit(self, transport: Transport, contract_id: str) -> None:
        """Send one contract until it is accepted, and some of them once more."""
        party, now = self.market.mo.party, system_clock()
        signed = sign_first(self.market.body(contract_id), party, issued_at=now)
        event = build_event(party, "submit", signed, now=now, event_id=f"submit-{contract_id}")
        self._send(transport, event.raw)
        self.accepted.append(contract_id)
        if self.chance.random() < DOUBLES_SHARE:
            self._send(transport, event.raw)
            self._count("doubled")

    def _count(self, told: int | str) -> None:
        with self.lock:
            self.answers[told] += 1

    def _send(self, transport: Transport, raw: bytes) -> None:
        deadline = time.monotonic() + ACCEPTED_S_MAX
        while time.monotonic() < deadline:
            token = self.market.mo.party.make_token(now=system_clock())
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/cloudevents+json"}
            reply = transport.send("POST", "/event", headers=headers, body=raw, is_repeatable=False)
            self._count(reply.status)
            if reply.status == ACCEPTED:
                return
            if reply.status != UNAVAILABLE or not reply.headers.get("retry-after", "").isdigit():
                raise Found(f"answered {reply.status} {reply.headers}: {reply.body[:500]!r}")
            time.sleep(AGAIN_S)
        raise Found(f"not accepted within {ACCEPTED_S_MAX} s")


def play(seed: str, seconds: float, reached: Callable[[float], None]) -> Tally:
    """Fill the disk of a hub for so many seconds; return what was done.

    Raises:
        Found: Something was lost, or happened twice, or a client was told something else than 503.
    """
    told: dict[str, object] = {"found": "a disk to fill can't be had: a mount namespace is not allowed here"}
    with tempfile.TemporaryDirectory() as folder:  # made outside, since within it is busy to the end
        command = [*NAMESPACE, sys.executable, "-m", "tests.torture.full_disk", folder, seed, str(seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                told = json.loads(line)
                reached(told.get("seconds", seconds))
    if "found" in told or process.returncode:
        raise Found(f"full disk: {told.get('found', f'ended with {process.returncode}')}")
    return Tally(**told["done"])


def main(folder: Path, seed: str, seconds: float) -> dict[str, object]:
    """Do so, within the namespace."""
    disk = folder / "hub"
    disk.mkdir(mode=0o700)
    mount = ("mount", "--types", "tmpfs", "--options", f"size={DISK_BYTES},mode=700", "none", disk)
    if subprocess.run(mount, check=False).returncode:
        return {"found": "a disk to fill can't be had: mounting is not allowed here"}
    try:
        return {"done": filled_and_freed(folder, disk, random.Random(seed), seconds)}  # noqa: S311
    except Found as found:
        return {"found": str(found)}


def filled_and_freed(folder: Path, disk: Path, chance: random.Random, seconds: float) -> dict[str, int]:
    """Fill and free the disk under load, and look at every contract."""
    with running_hub(folder) as hub, trading(hub, folder / "market") as market:
        before = {name: hub.child(name) for name in ("web", "processor", "deliverer")}
        clients = Clients(market, Event(), random.Random(chance.random()))  # noqa: S311
        threads = [threading.Thread(target=clients.run) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        filled = fill_and_free(disk, clients, chance, seconds)
        clients.ends.set()
        for thread in threads:
            thread.join()
        if clients.faults:
            raise Found(clients.faults[0])
        processes.check(hub, market, clients.accepted)
        if hub.children() != before:
            raise Found(f"the hub's processes were {before}, and are {hub.children()}")
        code, _ = hub.stop()
        if code:
            raise Found(f"the hub ended with {code}")
    check_file(disk / FILE_NAME)
    told = clients.answers
    return {
        "filled": filled,
        "accepted": len(clients.accepted),
        "refused": told[UNAVAILABLE],
        "doubled": told["doubled"],
    }


def fill_and_free(disk: Path, clients: Clients, chance: random.Random, seconds: float) -> int:
    """Fill the disk and free it until the time is over; return how often. Somebody must have been refused."""
    started, filled, ballast = time.monotonic(), 0, disk / "ballast"
    while (passed := time.monotonic() - started) < seconds and not clients.faults:
        print(json.dumps({"seconds": passed}), flush=True)  # noqa: T201  # what ``play`` reads
        fill(ballast, chance.choice(LEFT_BYTES))
        time.sleep(chance.choice(FULL_S))
        ballast.unlink()
        filled += 1
        time.sleep(chance.choice(FREE_S))
    if not clients.answers[UNAVAILABLE] and not clients.faults:
        raise Found(f"the disk was filled {filled} times, and nobody was refused")
    return filled


def fill(ballast: Path, left_bytes: int) -> None:
    """Take all the room there is, but for so many bytes, of which others take some meanwhile."""
    with ballast.open("wb") as file:
        for share in (1.0, 0.5, 0.25):
            room = os.statvfs(ballast)
            size = int((room.f_bavail * room.f_frsize - left_bytes) * share)
            with suppress(OSError):
                if size > 0:
                    os.posix_fallocate(file.fileno(), ballast.stat().st_size, size)
                    break


def check_file(path: Path) -> None:
    """Raise unless the store is whole, with nothing left to do."""
    connection = connect(path, is_reader=True)
    try:
        numbers = {name: value(connection, statement) for name, statement in NUMBERS.items()}
    finally:
        connection.close()
    expected = {"faults of the file": "ok", "references to nothing": 0, "leaves missing": 0, "events left over": 0}
    for name, number in expected.items():
        if numbers[name] != number:
            raise Found(f"{name}: {numbers[name]} instead of {number}")


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))))  # noqa: T201  # what ``play`` reads
