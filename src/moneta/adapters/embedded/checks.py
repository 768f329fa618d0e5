"""Whether a store's file is sound: as SQLite sees it, as our tables mean it, and as its contracts were signed.

The questions go to any connection, also one that can't write: what lies on a read-only medium is checked as it is.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import apsw

from moneta.adapters.embedded.database import READER_CACHE_KIB, check_sqlite_version, rows, value
from moneta.adapters.embedded.directory_rows import decode_key
from moneta.adapters.embedded.schema import check_version, get_meta
from moneta.adapters.step_codec import decode_step
from moneta.application.check_stored import check_stored
from moneta.domain.errors import Refused
from moneta.domain.identifiers import MONETA, ContractId, KeyId, OrganizationId
from moneta.domain.limits import CACHE_ENTRIES_MAX, CHECKED_CONTRACTS_MAX
from moneta.signing.keys import PublicKey, parse_public_jwk

FAULTS_SHOWN_MAX: Final = 5
LOG_GAP: Final = "the audit log has a gap"
MMAP_BYTES: Final = 1 << 40
"""More than any store: a check reads every page once, and copying them would take half of its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a store holds: enough to tell one moment of it from another. ``last_leaf``: SHA-256 of the last, in hex."""

    schema_version: int
    base_url: str
    registry_position: int
    leaves: int
    last_leaf: str
    contracts: int
    events: int
    deliveries_pending: int

    def differing_from(self, other: Mapping[str, object]) -> Sequence[str]:
        """Return the names of what is not as ``other`` says."""
        return [name for name, mine in asdict(self).items() if other.get(name) != mine]


def frozen(path: Path) -> apsw.Connection:
    """Return a connection to a file that nobody writes: it makes no file beside it, and looks at none."""
    check_sqlite_version(apsw.sqlite_lib_version())
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)
    for pragma in ("trusted_schema = 0", f"cache_size = -{READER_CACHE_KIB}", f"mmap_size = {MMAP_BYTES}"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def facts_of(connection: apsw.Connection) -> Facts:
    """Return what the store holds. Raises StoreVersionError if it is none of this version."""
    check_version(connection)
    leaves, contracts, events, pending = rows(connection, _COUNTS)[0]
    return Facts(
        schema_version=get_meta(connection, "schema_version"),
        base_url=get_meta(connection, "base_url"),
        registry_position=get_meta(connection, "registry_position"),
        leaves=leaves,
        last_leaf=hashlib.sha256(value(connection, _LAST_LEAF) or b"").hexdigest(),
        contracts=contracts,
        events=events,
        deliveries_pending=pending,
    )


_COUNTS: Final = """
SELECT (SELECT count(*) FROM leaves), (SELECT count(*) FROM contracts), (SELECT count(*) FROM events),
    (SELECT count(*) FROM pending)
"""
_LAST_LEAF: Final = "SELECT entry FROM leaves ORDER BY leaf DESC LIMIT 1"


def page_faults(connection: apsw.Connection, *, is_quick: bool) -> Sequence[str]:
    """Return what SQLite finds wrong with the pages of a file, nothing in a sound one. See ``faults_of``."""
    pragma = f"{'quick' if is_quick else 'integrity'}_check({FAULTS_SHOWN_MAX})"
    return [text for (text,) in rows(connection, f"PRAGMA {pragma}") if text != "ok"]


def faults_of(connection: apsw.Connection, hub_keys: Mapping[KeyId, PublicKey], *, is_quick: bool) -> Sequence[str]:
    """Return everything that is wrong with the store, each as a sentence; empty for a sound one.

    ``is_quick``: leave out whether each index says what its table says, which takes most of the time.
    ``hub_keys``: every key that Moneta ever signed with.
    """
    broken = page_faults(connection, is_quick=is_quick)
    if broken:  # what stands in such a file can't be asked any further
        return [f"SQLite: {text}" for text in broken]
    strays = rows(connection, "SELECT * FROM pragma_foreign_key_check LIMIT ?", (FAULTS_SHOWN_MAX,))
    faults = [f"{table} row {number} leads to no row of {parent}" for table, number, parent, _ in strays]
    faults += [text for text, question in RULES.items() if value(connection, question)]
    return faults or _contract_faults(connection, hub_keys)  # where rows are missing, no contract can be looked at


RULES: Final = {
    # What is wrong, and the question that a sound store answers with nothing or 0.
    LOG_GAP: "SELECT count(*) <> ifnull(max(leaf), 0) FROM leaves",
    "a leaf of the audit log is about a step that is not there": """
        SELECT 1 FROM leaves LEFT JOIN steps USING (leaf) WHERE kind = 0 AND steps.leaf IS NULL LIMIT 1
    """,
    "a contract is not at the revision of its last step": """
        SELECT 1 FROM contracts
        WHERE revision <> (SELECT max(revision) FROM steps WHERE steps.contract = contracts.contract) LIMIT 1
    """,
    "a delivery waits that is settled": """
        SELECT 1 FROM pending JOIN deliveries USING (delivery) WHERE status <> 0 LIMIT 1
    """,
    "an event waits that has its outcome": "SELECT 1 FROM messages JOIN events USING (event) WHERE status <> 0 LIMIT 1",
    "an accepted event has lost its bytes": """
        SELECT 1 FROM events LEFT JOIN messages USING (event) WHERE status = 0 AND raw IS NULL LIMIT 1
    """,
}


def _contract_faults(connection: apsw.Connection, hub_keys: Mapping[KeyId, PublicKey]) -> Sequence[str]:
    """Verify contracts from all over the store, the first and the last among them."""

    @lru_cache(maxsize=CACHE_ENTRIES_MAX)
    def key_of(owner: OrganizationId, key_id: KeyId) -> PublicKey | None:
        if owner == MONETA:
            return hub_keys.get(key_id)
        data = value(connection, _KEY, (key_id, owner))
        return None if data is None else parse_public_jwk(decode_key(data).jwk)

    faults = []
    for contract in _sample(connection):
        found = rows(connection, _STEPS, (contract,))
        contract_id = ContractId(found[0][0])
        try:
            check_stored(contract_id, [decode_step(step, leaf=leaf) for _, step, leaf in found], key_of)
        except Refused as error:
            faults.append(f"contract {contract_id}: {error.detail}")
        except ValueError as error:
            faults.append(f"contract {contract_id}: {error}")
    return faults[:FAULTS_SHOWN_MAX]


_KEY: Final = "SELECT data FROM keys WHERE key_id = ? AND owner = (SELECT ref FROM names WHERE name = ?)"
_STEPS: Final = """
SELECT name, step, entry FROM steps JOIN names ON names.ref = steps.contract JOIN leaves USING (leaf)
WHERE contract = ? ORDER BY revision
"""


def _sample(connection: apsw.Connection) -> Sequence[int]:
    """Return the numbers of the contracts to look at: all, or so many from all over, others each time."""
    first, last, count = rows(connection, "SELECT min(contract), max(contract), count(*) FROM contracts")[0]
    if count <= CHECKED_CONTRACTS_MAX:
        return [contract for (contract,) in rows(connection, "SELECT contract FROM contracts")]
    drawn = [random.randint(first, last) for _ in range(CHECKED_CONTRACTS_MAX - 2)]  # noqa: S311  # no secret
    return sorted({first, last, *(value(connection, _AT_OR_AFTER, (number,)) for number in drawn)})


_AT_OR_AFTER: Final = "SELECT min(contract) FROM contracts WHERE contract >= ?"
