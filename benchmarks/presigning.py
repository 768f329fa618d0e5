"""Contracts signed before they are needed, so that no RSA signature of ours takes CPU from what is measured.

A contract's id says where it belongs: ``b-<section>-<index>-<random>``. The events of a section lie in one file, one
after the other, with their lengths beside them.
"""

import secrets
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.traders import Trader, now_s
from moneta.client import Party, Role, build_contract, build_event, keys, sign_first
from moneta.domain.identifiers import OrganizationId

CHUNK: Final = 200
RANDOM_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerTask:
    """What a signing process needs: no key travels, only the name of its file."""

    hub: str
    mo_id: str
    key_file: Path
    mpass_ids: tuple[str, ...]
    publisher_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFile:
    """Events ready to send: ``path`` holds their bytes, ``path`` with ``.lengths`` their lengths as 32-bit numbers.

    Event ``i`` is by the MO at ``i % len(mos)``.
    """

    path: Path
    section: int
    count: int
    mos: Sequence[Trader]

    @property
    def lengths_path(self) -> Path:
        """Where the lengths are."""
        return self.path.with_suffix(".lengths")


def presign(
    pool: ProcessPoolExecutor,
    mos: Sequence[Trader],
    publishers: Sequence[Trader],
    *,
    path: Path,
    section: int,
    count: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> EventFile:
    """Sign ``count`` contracts, in parallel, and write them to ``path``."""
    tasks = [_task(mo, publishers) for mo in mos]
    starts = range(0, count, CHUNK)
    stops = [min(start + CHUNK, count) for start in starts]
    chunks = pool.map(
        _sign_chunk, *zip(*[(tasks, section, *ends) for ends in zip(starts, stops, strict=True)], strict=True)
    )
    lengths = array("I")
    with path.open("wb") as file:
        for chunk in chunks:
            for event in chunk:
                file.write(event)
                lengths.append(len(event))
            on_progress(len(chunk))
    made = EventFile(path=path, section=section, count=count, mos=mos)
    with made.lengths_path.open("wb") as file:
        lengths.tofile(file)
    return made


def _task(mo: Trader, publishers: Sequence[Trader]) -> SignerTask:
    return SignerTask(
        hub=mo.party.hub,
        mo_id=mo.party.organization_id,
        key_file=mo.key_file,
        mpass_ids=mo.mpass_ids,
        publisher_ids=tuple(one.party.organization_id for one in publishers),
    )


_parties: dict[Path, Party] = {}
"""Of a signing process: keys are loaded once."""


def _sign_chunk(tasks: Sequence[SignerTask], section: int, start: int, stop: int) -> list[bytes]:
    return [
        _signed_event(tasks[index % len(tasks)], section, index, index // len(tasks)) for index in range(start, stop)
    ]


def _signed_event(task: SignerTask, section: int, index: int, turn: int) -> bytes:
    party = _parties.get(task.key_file)
    if party is None:
        key = keys.load(task.key_file)
        party = _parties[task.key_file] = Party(
            organization_id=OrganizationId(task.mo_id), role=Role.MO, hub=task.hub, auth_key=key, contract_key=key
        )
    now = now_s()
    body = build_contract(
        template_id="transaction-contract",
        version=1,
        contract_id=f"b-{section}-{index}-{secrets.token_hex(RANDOM_BYTES)}",
        created_at=now,
        mo_id=task.mo_id,
        publisher_id=task.publisher_ids[turn % len(task.publisher_ids)],
        mpass_id=task.mpass_ids[turn % len(task.mpass_ids)],
        description="Premium service access",
        payload={
            "transaction": {
                "amount": f"{1 + index % 500}.{index % 100:02}",
                "currency": "USD",
                "description": "Premium service access",
            }
        },
    )
    return build_event(party, "submit", sign_first(body, party, issued_at=now), now=now).raw
