"""A real ``moneta up`` under load, one of whose processes is killed again and again, each in its turn.

In turn, because the supervisor waits longer before it starts again what keeps dying, and its own restart ends that.
"""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle
from pathlib import Path

from moneta.client.messages import MessageType
from tests.running_hub import moneta, running_hub, trading, wait_until
from tests.torture.world import Found, Tally

NAMES = ("web", "processor", "deliverer", "supervisor")
THREADS = 4
CONTRACTS = 4
"""Sent before each kill, while the one before is being recovered from."""
PAUSES_S = (0.0, 0.02, 0.1, 0.3)
SETTLE_S = 180


def kills(reached: Callable[[int], None], *, cycles: int) -> Tally:
    """Kill so many times, then look at every contract."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_hub(Path(folder)) as hub,
        trading(hub, Path(folder) / "market") as market,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        sent: list[Future] = []
        done = 0
        for name, pause_s in zip(cycle(NAMES), cycle(PAUSES_S[1:] + PAUSES_S), strict=False):
            if done >= cycles:
                break
            sent += [pool.submit(market.submit, f"k-{done}-{number}") for number in range(CONTRACTS)]
            time.sleep(pause_s)
            kill(hub, name)
            wait_until(lambda sent=sent: sum(not one.done() for one in sent) <= THREADS, timeout_s=60)
            done += 1
            reached(done)
        accepted = [one.result().contract_id for one in sent]
        check(hub, market, accepted)
        return Tally(killed=done, accepted=len(accepted))


def kill(hub, name: str) -> None:
    """Kill one process; one that is only just being started is killed as soon as it is there."""
    if name == "supervisor":
        hub.kill()
        hub.start()
        return
    with suppress(ProcessLookupError):  # it has died with the supervisor before
        os.kill(hub.child(name), signal.SIGKILL)


def check(hub, market, accepted: list[str]) -> None:
    """Raise unless every acknowledged contract ended once, and each party was told of it once."""
    wait_until(lambda: set(accepted) <= ended(hub), timeout_s=SETTLE_S)
    for trader in (market.mo, market.publisher):
        wait_until(lambda one=trader: {subject for subject, _, _ in one.told} >= {*accepted}, timeout_s=SETTLE_S)
        ends = [webhook_id for subject, kind, webhook_id in trader.told if subject in set(accepted)]
        if len(ends) != len(set(ends)) or len(ends) != len(accepted):
            raise Found(f"{trader.role} was told {len(ends)} times of {len(accepted)} ends")
        if any(kind is not MessageType.FINALIZED for _, kind, _ in trader.told):
            raise Found(f"{trader.role} was told of something else than an end")
    operator = hub.operator()
    for contract_id in accepted:
        shown = operator.get(f"/contracts/{contract_id}")
        events = [line["event"] for line in shown["event_logs"]]
        if events.count("contract_finalized") != 1 or [*shown["signatures_map"]] != ["mo", "moneta", "publisher"]:
            raise Found(f"contract {contract_id}: {events}, signed by {[*shown['signatures_map']]}")


def ended(hub) -> set[str]:
    """Return every finalized contract, as another process reads them from the store."""
    found, cursor = set(), ()
    while True:
        arguments = ("--status", "finalized", "--limit", "200", *cursor)
        page = json.loads(moneta("contracts", "list", *arguments, "--data", hub.data, "--json").stdout)
        found |= {one["contract_id"] for one in page["items"]}
        if page["next_cursor"] is None:
            return found
        cursor = ("--cursor", page["next_cursor"])
