"""``python -m benchmarks.recount DIR``: counts again, in the store that a run kept, what the hub had accepted.

The load generator's observations say which events were answered 202. Each of their contracts must be in the store, at
the revision where its flow ends, with every delivery delivered. The store is the hub's word, the observations are not.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import apsw
import msgspec

from benchmarks.generator import FULL, HALF, GeneratorConfig
from benchmarks.hub_process import DATABASE_FILE
from benchmarks.observations import Observations
from moneta.adapters.embedded.schema import DELIVERY_STATUS_CODES
from moneta.application.ports import DeliveryStatus

# fmt: off
REVISION:   Final = {HALF: 1, FULL: 2}
DELIVERIES: Final = {HALF: 1, FULL: 3}
# fmt: on

Ends: TypeAlias = dict[int, tuple[int, int]]
"""By a contract's index: its revision, and how many of its deliveries are delivered."""

_CONTRACTS: Final = """
SELECT names.name, contracts.revision,
    (SELECT count(*) FROM deliveries WHERE deliveries.contract = contracts.contract AND deliveries.status = ?)
FROM contracts JOIN names ON names.ref = contracts.contract
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """``missing``: accepted, and not there. ``unfinished``: there, and not signed or delivered to the end."""

    accepted: int
    missing: int
    unfinished: int
    contracts: int
    database_bytes: int

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing that was accepted is missing anywhere."""
        return self.missing == self.unfinished == 0


def recount(folder: Path) -> Recount:
    """Count in the store that lies in ``folder``; its hub must have stopped."""
    path = folder / "hub" / DATABASE_FILE
    ends = _read_ends(path)
    accepted = missing = unfinished = 0
    for file in sorted(folder.glob("section-*.json")):
        config = msgspec.json.decode(file.read_bytes(), type=GeneratorConfig)
        found = ends.get(config.section, {})
        wanted = (REVISION[config.parts], DELIVERIES[config.parts])
        for index in Observations.read(file.with_suffix(".seen")).accepted():
            accepted += 1
            missing += index not in found
            unfinished += found.get(index, wanted) != wanted
    return Recount(
        accepted=accepted,
        missing=missing,
        unfinished=unfinished,
        contracts=sum(map(len, ends.values())),
        database_bytes=path.stat().st_size,
    )


def _read_ends(path: Path) -> Mapping[int, Ends]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        delivered = DELIVERY_STATUS_CODES[DeliveryStatus.DELIVERED]
        ends: dict[int, Ends] = {}
        for name, revision, deliveries in connection.execute(_CONTRACTS, (delivered,)):
            _, section, index, _ = name.split("-")
            ends.setdefault(int(section), {})[int(index)] = (revision, deliveries)
        # Closed in good order, the WAL is empty and all is in the one file whose size is told.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return ends
    finally:
        connection.close()


if __name__ == "__main__":
    counted = recount(Path(sys.argv[1]))
    print(counted)
    sys.exit(0 if counted.is_whole else 1)
