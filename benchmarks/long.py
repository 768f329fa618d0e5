"""``python -m benchmarks --long``: what takes an hour, or a million contracts.

1. Three times the load that the closed loop carries, for a minute: what is accepted must be delivered meanwhile.
2. Reads and the start-up with 10,000, 100,000 and 1,000,000 contracts. The store is filled through its own port,
   with copies of contracts that came the long way, each under an id of its own, for which nobody is owed anything.
3. An hour at 100 a second: the memory after each minute.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.generator import HALF
from benchmarks.hub_process import HubProcess, running_hub
from benchmarks.observations import percentile
from benchmarks.sections import HALF_CONCURRENCY, TRIAL_FLOWS, Figures, Progress
from benchmarks.session import Load, session
from moneta.application.ports import Change, ContractQuery, Hub
from moneta.application.process_events import contract_change
from moneta.bootstrap import embedded
from moneta.domain.contracts import Contract
from moneta.domain.identifiers import ContractId, UnixMillis
from moneta.settings import Settings

OVERLOAD: Final = 3
OVERLOAD_S: Final = 60.0
SIZES: Final = {"10k": 10_000, "100k": 100_000, "1M": 1_000_000}
FILL_BATCH: Final = 1_000
PATTERNS: Final = 8
READS: Final = 500
MEMORY_S: Final = 3600.0
MINUTE_S: Final = 60.0
MEMORY_RATE: Final = 100
SEED: Final = 20_250_615
MEBIBYTE: Final = 1024 * 1024


def long_sections(folder: Path, on_progress: Progress, seconds: float | None) -> Figures:
    """Measure everything that ``--long`` is for. ``seconds``: of the first and the last, instead of their own."""
    return (
        overload_section(folder / "overload", on_progress, seconds or OVERLOAD_S)
        | size_section(folder / "sizes", on_progress)
        | memory_section(folder / "memory", on_progress, seconds or MEMORY_S)
    )


def overload_section(folder: Path, on_progress: Progress, seconds: float) -> Figures:
    """Offer three times what a closed loop carries."""
    with session(folder, on_progress) as running:
        publishers = running.market.silent
        trial = running.presigned(publishers, TRIAL_FLOWS, "overload, trial")
        closed = Load(parts=HALF, seconds=MINUTE_S, concurrency=HALF_CONCURRENCY, warmup_s=0.3)
        rate = OVERLOAD * running.measure(trial, closed).flows_per_s
        load = Load(parts=HALF, seconds=seconds, rate=rate)
        events = running.presigned(publishers, int(rate * (seconds + load.warmup_s)) + 1, "overload")
        running.on_progress("overload: load", 0, 0)
        measured = running.measure(events, load)
    seen = measured.seen
    refusals = seen.refusals()
    return {
        "overload_offered_per_s": round(rate, 1),
        "overload_accepted_per_s": round(seen.answered_within() / seen.seconds, 1),
        "overload_delivered_per_s": round(measured.flows_per_s, 1),
        "overload_refused_429": refusals[429],
        "overload_refused_503": refusals[503],
        "overload_failed": refusals.total() - refusals[429] - refusals[503],
        "overload_backlog_end": measured.backlog_end,
        "overload_pss_mb": round(measured.pss_bytes / MEBIBYTE, 1),
    }


def size_section(folder: Path, on_progress: Progress) -> Figures:
    """Measure reads over HTTP, and the start-up, as the store grows."""
    figures: Figures = {}
    with session(folder, on_progress) as running:
        events = running.presigned(running.market.silent, PATTERNS, "sizes")
        running.measure(events, Load(parts=HALF, seconds=MINUTE_S, concurrency=1, warmup_s=0))
        hub = running.hub
    filled = 0
    for name, size in SIZES.items():
        _fill(hub, filled, size, on_progress)
        filled = size
        started = time.monotonic()
        with running_hub(folder, port=hub.port) as process:
            figures[f"start_s_{name}"] = round(time.monotonic() - started, 3)
            on_progress(f"sizes: read among {size:,}", 0, 0)
            figures |= _reads(process, name, size)
    return figures


def memory_section(folder: Path, on_progress: Progress, seconds: float) -> Figures:
    """Measure the memory after each minute of an open loop; each minute's contracts are signed before it."""
    after_minutes = []
    with session(folder, on_progress) as running:
        for minute in range(max(1, round(seconds / MINUTE_S))):
            load = Load(parts=HALF, seconds=min(seconds, MINUTE_S), rate=MEMORY_RATE)
            count = int(MEMORY_RATE * (load.seconds + load.warmup_s)) + 1
            events = running.presigned(running.market.silent, count, f"memory, minute {minute + 1}")
            after_minutes.append(round(running.measure(events, load).pss_bytes / MEBIBYTE, 1))
    return {
        "memory_minutes": len(after_minutes),
        "memory_first_mb": after_minutes[0],
        "memory_max_mb": max(after_minutes),
        "memory_last_mb": after_minutes[-1],
    }


def _fill(hub: HubProcess, start: int, stop: int, on_progress: Progress) -> None:
    """Bring the number of copies from ``start`` to ``stop``."""
    settings = Settings(data_dir=hub.data, allow_http_webhooks=True, allow_private_webhooks=True)
    with embedded(settings) as store:
        found = store.contracts.list(ContractQuery(visible_to=None, limit=PATTERNS)).items
        patterns = list(store.contracts.read([one.contract_id for one in found]).values())
        for first in range(start, stop, FILL_BATCH):
            store.contracts.commit(list(_copies(store, patterns, first, min(first + FILL_BATCH, stop))))
            on_progress("sizes: fill", first, stop)


def _copies(hub: Hub, patterns: Sequence[Contract], start: int, stop: int) -> Iterator[Change]:
    now, position = hub.clock.now_ms(), hub.directory.registry_position()
    for index in range(start, stop):
        pattern = patterns[index % len(patterns)]
        contract_id = copy_id(index)
        copy = replace(
            pattern,
            body=replace(pattern.body, contract_id=contract_id),
            body_bytes=pattern.body_bytes.replace(pattern.contract_id.encode(), contract_id.encode()),
            received_at=UnixMillis(now - stop + index),
        )
        yield replace(contract_change(hub, None, copy, now=now, registry_seq=position), owed=())


def copy_id(index: int) -> ContractId:
    """Return the id of a copy, in no order, as ids are."""
    return ContractId(f"{index * 2_654_435_761 % 2**32:08x}-copy-{index}")


def _reads(hub: HubProcess, name: str, size: int) -> Figures:
    chosen, token = random.Random(SEED), hub.token()  # noqa: S311  # which contracts are read must not be secret
    connection = HTTPConnection("127.0.0.1", hub.port, timeout=30)
    try:
        mo_id = _mo_of(connection, token, 0)
        paths = {
            "contract": lambda: f"/contracts/{copy_id(chosen.randrange(size))}",
            "mo": lambda: f"/contracts?mo_id={mo_id}&limit=20",
            "status": lambda: f"/contracts?mo_id={mo_id}&status=pending_publisher_signature&limit=20",
        }
        figures: Figures = {}
        for query, path in paths.items():
            took = sorted(_read(connection, token, path()) for _ in range(READS))
            for percent in (50, 99):
                figures[f"query_{query}_p{percent}_ms_{name}"] = round(percentile(took, percent) or 0.0, 3)
        return figures
    finally:
        connection.close()


def _mo_of(connection: HTTPConnection, token: str, index: int) -> str:
    """Return the MO of a copy."""
    return str(msgspec.json.decode(_get(connection, token, f"/contracts/{copy_id(index)}"))["mo_id"])


def _read(connection: HTTPConnection, token: str, path: str) -> float:
    """Return how many milliseconds a read took, from the request to the answer's last byte."""
    started = time.perf_counter()
    _get(connection, token, path)
    return 1000 * (time.perf_counter() - started)


def _get(connection: HTTPConnection, token: str, path: str) -> bytes:
    connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:  # noqa: PLR2004  # RFC 9110, section 15.3.1
        raise RuntimeError(f"GET {path}: {answer.status} {body!r}")
    return body
