"""``python -m benchmarks.generator CONFIG``: the load, from one light process.

Raw sockets under HTTP/1.1 with connections kept alive; the bytes were made before (see ``presigning``), so that a
request costs a write and an answer a few searches. It prints a line ``begin`` when what is measured begins, ``end``
when it ends and ``drained`` when nothing is under way any more, and leaves its observations in a file.
"""

import asyncio
import mmap
import sys
import time
from array import array
from collections import deque
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from typing_extensions import override

from benchmarks.observations import Column, Observations
from benchmarks.sightings import SIGHTING, Kind
from benchmarks.timer import PeriodicTimer

NS_PER_S: Final = 1_000_000_000
CONNECTIONS_MAX: Final = 512
OPEN_CONNECTIONS: Final = 32
START_NS: Final = 50_000_000
REFUSED_PAUSE_S: Final = 0.05
END_OF_HEAD: Final = b"\r\n\r\n"
CONTENT_LENGTH: Final = b"\r\ncontent-length: "
RETRY_AFTER: Final = b"\r\nretry-after: "
ACCEPTED: Final = range(200, 300)
ANSWER_ONLY, HALF, FULL = 1, 2, 4
"""What a flow waits for: its answer, and no, one or three webhooks."""


class GeneratorConfig(msgspec.Struct, frozen=True):
    """What to send, and how.

    ``heads``: the request's head of each MO up to the content's length. ``parts``: ``ANSWER_ONLY``, ``HALF`` or
    ``FULL``. ``concurrency``: of a closed loop; 0 makes it an open one at ``rate`` a second. ``rounds``: how often the
    events are sent, for a target that does not mind.
    """

    port: int
    heads: list[str]
    events: str
    lengths: str
    section: int
    parts: int
    concurrency: int
    rate: float
    warmup_s: float
    seconds: float
    drain_s: float
    notify: str
    observations: str
    rounds: int = 1


class Connection(asyncio.Protocol):
    """One connection to the hub, with at most one request under way."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._buffer = b""
        self._index = -1
        self.transport: asyncio.Transport | None = None

    def send(self, index: int) -> None:
        """Send the event of that index."""
        self._index = index
        if self.transport is not None:
            self.transport.write(self._load.request(index))

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream's transport always writes

    @override
    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(END_OF_HEAD)
        if end < 0:
            return
        size = _number(buffer, CONTENT_LENGTH, end)
        if len(buffer) < end + len(END_OF_HEAD) + size:
            return
        self._buffer = b""
        index, self._index = self._index, -1
        status = int(buffer[9:12])
        retry_after_s = 0 if status in ACCEPTED else _number(buffer, RETRY_AFTER, end)
        self._load.answered(self, index, status, retry_after_s)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._load.lost(self, self._index)


class Sighted(asyncio.Protocol):
    """What the receiver says."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._buffer = b""

    @override
    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        whole = len(buffer) - len(buffer) % SIGHTING.size
        for sighting in SIGHTING.iter_unpack(buffer[:whole]):
            self._load.sighted(*sighting)
        self._buffer = buffer[whole:]


class Load:
    """The events, the connections, and what is under way."""

    def __init__(self, config: GeneratorConfig, events: mmap.mmap, lengths: Column) -> None:
        self._config = config
        self._heads = [head.encode("ascii") for head in config.heads]
        self._events = events
        self._offsets = _offsets(lengths)
        self._sent_once = len(lengths)
        self.count = len(lengths) * config.rounds
        self.seen = Observations.empty(self.count)
        self.next_index = 0
        self.under_way = 0
        self.is_sending = True
        self.on_idle = asyncio.Event()
        self.on_exhausted = asyncio.Event()
        self._missing = bytearray([config.parts]) * self.count
        self._idle: list[Connection] = []
        self._waiting: deque[int] = deque()
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Open one connection more."""
        self._connections += 1
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._config.port)
        self._give(connection)

    def request(self, index: int) -> bytes:
        """Return the bytes of a request."""
        place = index % self._sent_once
        start, stop = self._offsets[place], self._offsets[place + 1]
        return b"%b%d\r\n\r\n%b" % (self._heads[place % len(self._heads)], stop - start, self._events[start:stop])

    def start(self, scheduled_ns: int) -> None:
        """Start the next flow, on an idle connection or as soon as there is one."""
        if self.next_index >= self.count:
            self.on_exhausted.set()
            return
        index, self.next_index = self.next_index, self.next_index + 1
        self.under_way += 1
        self.seen.scheduled[index] = scheduled_ns
        if self._idle:
            self._idle.pop().send(index)
            return
        self._waiting.append(index)
        if self._connections < CONNECTIONS_MAX:
            task = asyncio.get_running_loop().create_task(self.connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def answered(self, connection: Connection, index: int, status: int, retry_after_s: int) -> None:
        """Note an answer of the hub's."""
        self.seen.answered[index] = time.monotonic_ns()
        self.seen.status[index] = status
        self.seen.retry_after_s[index] = retry_after_s
        self._give(connection)
        if status in ACCEPTED:
            self._part_done(index)
        else:
            self._missing[index] = 0
            # A closed loop that came back at once after a "not now" would only ask for the next one.
            asyncio.get_running_loop().call_later(REFUSED_PAUSE_S, self._finished)

    def sighted(self, section: int, kind: int, index: int, seen_ns: int) -> None:
        """Note a webhook."""
        if section != self._config.section:
            return
        seen = self.seen
        if kind == Kind.OTHER:
            seen.others[index] += 1
            return
        times = (
            seen.requested
            if kind == Kind.REQUESTED
            else seen.told_mo
            if kind == Kind.FINALIZED_MO
            else seen.told_publisher
        )
        if times[index]:
            seen.duplicates[index] += 1
            return
        times[index] = seen_ns
        if self._config.parts > ANSWER_ONLY:
            self._part_done(index)

    def lost(self, connection: Connection, index: int) -> None:
        """Note that the hub closed a connection, perhaps with a request under way."""
        self._connections -= 1
        if index >= 0:
            self.seen.status[index] = 0
            self._missing[index] = 0
            self._finished()
        elif connection in self._idle:
            self._idle.remove(connection)

    def _give(self, connection: Connection) -> None:
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _part_done(self, index: int) -> None:
        missing = self._missing[index]
        if missing == 0:
            return
        self._missing[index] = missing - 1
        if missing == 1:
            self.seen.done[index] = time.monotonic_ns()
            self._finished()

    def _finished(self) -> None:
        self.under_way -= 1
        if self.is_sending and self._config.concurrency:
            self.start(time.monotonic_ns())
        elif self.under_way == 0:
            self.on_idle.set()


def _number(head: bytes, name: bytes, end: int) -> int:
    """Return the value of a header, 0 without it. ``name``: with the line's end before it and the colon after it."""
    at = head.find(name, 0, end + 2)
    return 0 if at < 0 else int(head[at + len(name) : head.index(b"\r\n", at + 2)])


def _offsets(lengths: Column) -> Column:
    offsets, total = array("q", [0]), 0
    for length in lengths:
        total += length
        offsets.append(total)
    return offsets


def run(config: GeneratorConfig) -> None:
    """Send the load, and write down what came of it."""
    lengths = array("I")
    lengths.frombytes(Path(config.lengths).read_bytes())
    with Path(config.events).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as events:
        load = Load(config, events, lengths)
        uvloop.run(_generate(load, config))
        load.seen.write(Path(config.observations))


async def _generate(load: Load, config: GeneratorConfig) -> None:
    if config.parts > ANSWER_ONLY:
        await asyncio.get_running_loop().create_unix_connection(lambda: Sighted(load), config.notify)
    for _ in range(config.concurrency or OPEN_CONNECTIONS):
        await load.connect()
    await (_closed_loop(load, config) if config.concurrency else _open_loop(load, config))
    load.is_sending = False
    load.on_idle.clear()
    if load.under_way:
        await _within(load.on_idle, config.drain_s)
    _say("drained")


async def _closed_loop(load: Load, config: GeneratorConfig) -> None:
    for _ in range(config.concurrency):
        load.start(time.monotonic_ns())
    await _within(load.on_exhausted, config.warmup_s)
    load.seen.begin_ns = time.monotonic_ns()
    _say("begin")
    await _within(load.on_exhausted, config.seconds)
    load.seen.end_ns = time.monotonic_ns()
    _say("end")


async def _open_loop(load: Load, config: GeneratorConfig) -> None:
    loop = asyncio.get_running_loop()
    interval_ns = round(NS_PER_S / config.rate)
    first_ns = time.monotonic_ns() + START_NS
    timer = PeriodicTimer(first_ns=first_ns, interval_ns=interval_ns)

    def expired() -> None:
        for _ in range(timer.expirations()):
            load.start(first_ns + load.next_index * interval_ns)

    loop.add_reader(timer.descriptor, expired)
    await asyncio.sleep(config.warmup_s)
    load.seen.begin_ns = time.monotonic_ns()
    _say("begin")
    await _within(load.on_exhausted, config.seconds)
    loop.remove_reader(timer.descriptor)
    timer.close()
    load.seen.end_ns = time.monotonic_ns()
    _say("end")


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=GeneratorConfig))
