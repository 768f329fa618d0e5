"""Processes that write to a store until they are killed, and say what was acknowledged, a line each.

``python -m tests.scenarios.store_writer FOLDER``, and on standard input a line for each process that shall start: the
path of the pipe that it speaks to. Forked, since importing takes longer than all that a process gets to write.
"""

import os
import signal
import sys
from itertools import count
from pathlib import Path

from moneta.adapters.embedded.store import EmbeddedStore
from moneta.adapters.system import SystemClock
from tests.conformance.builders import delivered, new_event, owed_delivery, submitted

LIFE_S_MAX = 120
"""A writer that nobody kills dies of itself."""


def serve(folder: Path) -> None:
    """Fork a writer for every line, until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # The kernel buries the dead.
    for line in sys.stdin:
        pipe = Path(line.rstrip("\n"))
        if os.fork() == 0:
            write_on(folder, pipe)


def write_on(folder: Path, pipe: Path) -> None:
    """Take every kind of write in turn, in batches of a few, for ever: whoever asked for it kills it."""
    signal.alarm(LIFE_S_MAX)
    name, channel = pipe.name, os.open(pipe, os.O_WRONLY)

    def say(*lines: str) -> None:
        os.write(channel, "".join(f"{line}\n" for line in lines).encode())  # Past every buffer of this process.

    say(str(os.getpid()))
    store = EmbeddedStore.open(folder, clock=SystemClock())
    for number in count():
        names = [f"{name}-{number}-{place}" for place in range(3)]
        events = [new_event(one, source=name, contract_id=one) for one in names]
        store.events.accept(events)
        say(*(f"event {one}" for one in names))
        store.queue.take(limit=3, lease_s=60)
        owed = [owed_delivery(f"msg-{one}", to=name, contract_id=one) for one in names]
        changes = [submitted(one.contract_id, event=one, owed=[its]) for one, its in zip(events, owed, strict=True)]
        store.contracts.commit(changes)
        say(*(f"contract {one}" for one in names))
        store.deliveries.record([delivered(one) for one in owed])
        say(*(f"delivered {one}" for one in names))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
