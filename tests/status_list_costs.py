"""What it costs to build a status list of 65,536 mPasses, by how many of them are not valid.

    python -m tests.status_list_costs                                        # the embedded store
    python -m tests.emulators .venv/bin/python -m tests.status_list_costs    # and DynamoDB Local

Each line: the medians of the CPU and of the time that one build takes, signature and all, in milliseconds, and the size
of the token in bytes. On DynamoDB Local the time is the emulator's; what AWS bills is the bytes that are read.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from moneta.adapters.embedded.directory_changes import apply_change
from moneta.adapters.embedded.schema import Writing
from moneta.application.ports import DirectoryChange
from moneta.application.status_lists import build_status_list, take_places
from moneta.domain.limits import STATUS_LIST_PLACES
from moneta.domain.mpasses import LISTED_STATUSES, MPass
from moneta.domain.status_places import StatusPlace, list_id
from tests.conformance.builders import mpass, revoked
from tests.hub import MO, TestHub, make_hub

SHARES = (0, 0.01, 0.1, 1)
ROUNDS = 15
CHUNK = 30
"""mPasses a transaction of DynamoDB's: three items each."""

Write = Callable[[TestHub, Sequence[MPass]], None]


@dataclass(frozen=True)
class Measured:
    """One line."""

    store: str
    not_valid: int
    cpu_ms: float
    elapsed_ms: float
    token_bytes: int

    def to_text(self) -> str:
        """Return the line."""
        figures = f"{self.cpu_ms:8.1f} ms CPU {self.elapsed_ms:8.1f} ms {self.token_bytes:7,} bytes"
        return f"{self.store:9} {self.not_valid:6,} of {STATUS_LIST_PLACES:,} not valid: {figures}"


def fill_embedded(test_hub: TestHub, passes: Sequence[MPass]) -> None:
    """Write every pass in one transaction: how they come there is not what is measured."""
    with test_hub.store.directory._database.write() as connection:
        apply_change(Writing(connection), DirectoryChange(mpasses=tuple(passes)))


def fill_dynamodb(test_hub: TestHub, passes: Sequence[MPass]) -> None:
    """Write what is not valid; a list reads nothing of the others."""
    gone = [one for one in passes if one.standing in LISTED_STATUSES]
    for start in range(0, len(gone), CHUNK):
        test_hub.hub.directory.apply(DirectoryChange(mpasses=tuple(gone[start : start + CHUNK])))


def measure(store: str, share: float, fill: Write, folder: Path) -> Measured:
    """Return the line of one store and one share of passes that are not valid."""
    test_hub = make_hub(folder, store=store)
    try:
        mo = test_hub.register(MO, "ACME").organization_id
        places = take_places(test_hub.hub, mo, STATUS_LIST_PLACES)
        count = int(share * STATUS_LIST_PLACES)
        fill(test_hub, [_pass(mo, place, is_revoked=number < count) for number, place in enumerate(places)])
        rounds = [_build(test_hub, list_id(mo, 0)) for _ in range(ROUNDS)]
    finally:
        test_hub.close()
    cpu, elapsed, sizes = zip(*rounds, strict=True)
    return Measured(store, count, median(cpu) * 1000, median(elapsed) * 1000, sizes[0])


def _pass(mo: str, place: StatusPlace, *, is_revoked: bool) -> MPass:
    made = mpass(f"pass-{place.index}", mo=mo, status_place=place)
    return replace(revoked(made), revision=1) if is_revoked else made


def _build(test_hub: TestHub, asked: str) -> tuple[float, float, int]:
    cpu, started = time.process_time(), time.perf_counter()
    token = build_status_list(test_hub.hub, asked).token
    return time.process_time() - cpu, time.perf_counter() - started, len(token)


def main() -> None:
    """Measure every store that is there."""
    stores: list[tuple[str, Write]] = [("embedded", fill_embedded)]
    if "MONETA_DYNAMODB_URL" in os.environ:
        stores.append(("aws", fill_dynamodb))
    for store, fill in stores:
        for share in SHARES:
            with tempfile.TemporaryDirectory() as folder:
                sys.stdout.write(measure(store, share, fill, Path(folder)).to_text() + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
