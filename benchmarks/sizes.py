"""Reads over HTTP, and the start-up, with 10,000, 100,000 and 1,000,000 contracts.

The store is filled through its own port, without HTTP: batches of copies of contracts that came the long way, each
under an id of its own, in both their steps where they are finalized, with their leaves of the log and every index.
Nobody is owed anything for them; their signatures are those of what they were copied from: nothing that reads looks.
"""

import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, TypeAlias

from benchmarks.generator import FULL, HALF
from benchmarks.hub_process import HubProcess, running_hub
from benchmarks.observations import percentile
from benchmarks.progress import Tell
from benchmarks.sections import Figures
from benchmarks.session import Load, Session, session
from benchmarks.traders import Market
from moneta.application.ports import Change, ContractQuery, Hub
from moneta.application.process_events import contract_change
from moneta.bootstrap import embedded
from moneta.domain.contracts import Contract
from moneta.domain.identifiers import ContractId, Revision, UnixMillis
from moneta.domain.templates import Template
from moneta.settings import Settings

SIZES: Final = {"10k": 10_000, "100k": 100_000, "1M": 1_000_000}
FILL_BATCH: Final = 1_000
PATTERNS: Final = 8
STARTS: Final = 5
READS: Final = 500
PAGE: Final = 20
SETTLE_S: Final = 0.5
SEED: Final = 20_250_615
OWN: Final = "own"
"""The one that an organization asks, not the operator."""

Pattern: TypeAlias = Sequence[Contract]
"""A contract to copy, after each of its steps."""

# ``parties_status`` finds nothing among all that a pair has: there is no list that could have to look through more.
# fmt: off
QUERIES: Final = {
    "contract":         "/contracts/{contract_id}",
    "all":              "/contracts?limit={limit}",
    "mo":               "/contracts?limit={limit}&mo_id={mo_id}",
    "publisher":        "/contracts?limit={limit}&publisher_id={publisher_id}",
    "parties":          "/contracts?limit={limit}&mo_id={mo_id}&publisher_id={publisher_id}",
    "mpass":            "/contracts?limit={limit}&mpass_id={mpass_id}",
    "status":           "/contracts?limit={limit}&status=finalized",
    "mo_status":        "/contracts?limit={limit}&mo_id={mo_id}&status=finalized",
    "publisher_status": "/contracts?limit={limit}&publisher_id={publisher_id}&status=pending_publisher_signature",
    "parties_status":   "/contracts?limit={limit}&mo_id={mo_id}&publisher_id={silent_id}&status=finalized",
    "received":         "/contracts?limit={limit}&mo_id={mo_id}&received_to={received_to}",
    OWN:                "/contracts?limit={limit}",
}
# fmt: on


def size_section(folder: Path, on_progress: Tell, _seconds: float | None) -> Figures:
    """Measure reads over HTTP, and the start-up, as the store grows."""
    with session(folder, on_progress) as running:
        _make_patterns(running)
        hub, market = running.hub, running.market
    figures: Figures = {}
    patterns: Sequence[Pattern] = ()
    for (name, size), filled in zip(SIZES.items(), (0, *SIZES.values()), strict=False):
        started = time.monotonic()
        with embedded(Settings(data_dir=hub.data)) as store:
            patterns = patterns or _patterns(store)
            _fill(store, patterns, filled, size, on_progress)
        figures[f"fill_s_{name}"] = round(time.monotonic() - started, 1)
        figures[f"start_s_{name}"] = _start_s(folder, hub.port, f"start with {size:,}", on_progress)
        with running_hub(folder, port=hub.port) as process:
            time.sleep(SETTLE_S)  # what a hub still loads after it is ready is not a read's to pay
            on_progress(f"read among {size:,}", 0, 0)
            figures |= _reads(process, market, name, size)
    return figures


def _make_patterns(running: Session) -> None:
    for publishers, parts in ((running.market.silent, HALF), (running.market.signing, FULL)):
        events = running.presigned(publishers, PATTERNS, "patterns")
        running.measure(events, Load(parts=parts, seconds=60, concurrency=1, warmup_s=0))


def _patterns(store: Hub) -> Sequence[Pattern]:
    found = store.contracts.list(ContractQuery(visible_to=None, limit=2 * PATTERNS)).items
    places = [[(one.contract_id, Revision(number + 1)) for number in range(one.revision)] for one in found]
    return [[*store.contracts.read_at(steps).values()] for steps in places]


def _fill(store: Hub, patterns: Sequence[Pattern], start: int, stop: int, on_progress: Tell) -> None:
    """Bring the number of copies from ``start`` to ``stop``."""
    for first in range(start, stop, FILL_BATCH):
        last = min(first + FILL_BATCH, stop)
        store.contracts.commit([*_copies(store, patterns, range(first, last), stop)])
        on_progress(f"fill to {stop:,}", last - start, stop - start)


def _copies(store: Hub, patterns: Sequence[Pattern], indices: range, size: int) -> Iterator[Change]:
    now, position = store.clock.now_ms(), store.directory.registry_position()
    for index in indices:
        before = None
        for original in patterns[index % len(patterns)]:
            after = _copy(original, copy_id(index), received_at=UnixMillis(now - size + index))
            template = _template(store, after.body.template_id, after.body.version)
            yield replace(contract_change(store, before, after, template, {}, now=now, registry_seq=position), owed=())
            before = after


def _template(store: Hub, name: str, version: int) -> Template:
    record = store.directory.template(name, version)
    if record is None:
        raise ValueError(f"template {name} version {version}: there is none")
    return store.templates.compile(record.payload).template


def _copy(original: Contract, contract_id: ContractId, *, received_at: UnixMillis) -> Contract:
    return replace(
        original,
        known_body=replace(original.body, contract_id=contract_id),
        body_bytes=original.body_bytes.replace(original.contract_id.encode(), contract_id.encode()),
        received_at=received_at,
    )


def copy_id(index: int) -> ContractId:
    """Return the id of a copy, in no order, as ids are."""
    return ContractId(f"{index * 2_654_435_761 % 2**32:08x}-copy-{index}")


def _start_s(folder: Path, port: int, step: str, on_progress: Tell) -> float:
    """Return the median of how long it takes from the start of ``moneta up`` to its ``ready``."""
    took = []
    for turn in range(STARTS):
        on_progress(step, turn, STARTS)
        started = time.monotonic()
        with running_hub(folder, port=port):
            took.append(time.monotonic() - started)
    return round(statistics.median(took), 3)


def _reads(hub: HubProcess, market: Market, name: str, size: int) -> Figures:
    chosen = random.Random(SEED)  # noqa: S311  # which contracts are read must not be secret
    operator, own = hub.token(), market.mos[0].token()
    figures: Figures = {}
    connection = HTTPConnection("127.0.0.1", hub.port, timeout=30)
    try:
        for query, path in QUERIES.items():
            token = own if query == OWN else operator
            paths = [path.format_map(_any(market, size, chosen)) for _ in range(READS)]
            took = sorted(_read(connection, token, one) for one in paths)
            for percent in (50, 99):
                figures[f"query_{query}_p{percent}_ms_{name}"] = round(percentile(took, percent) or 0.0, 2)
    finally:
        connection.close()
    return figures


def _any(market: Market, size: int, chosen: random.Random) -> Mapping[str, object]:
    """Return something to ask for, under the names that ``QUERIES`` has."""
    mo = chosen.choice(market.mos)
    return {
        "limit": PAGE,
        "contract_id": copy_id(chosen.randrange(size)),
        "mo_id": mo.party.organization_id,
        "mpass_id": chosen.choice(mo.mpass_ids),
        "publisher_id": chosen.choice((*market.silent, *market.signing)).party.organization_id,
        "silent_id": chosen.choice(market.silent).party.organization_id,
        "received_to": int(time.time()) - chosen.randrange(1 + size // 1000),
    }


def _read(connection: HTTPConnection, token: str, path: str) -> float:
    """Return how many milliseconds a read took, from the request to the answer's last byte."""
    started = time.perf_counter()
    connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:  # noqa: PLR2004  # RFC 9110, section 15.3.1
        raise RuntimeError(f"GET {path}: {answer.status} {body!r}")
    return 1000 * (time.perf_counter() - started)
