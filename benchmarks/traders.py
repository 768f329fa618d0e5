"""The organizations of a benchmark: MOs that sign RS256, publishers that sign ES256, registered over HTTP."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.hub_process import HubProcess, free_port
from moneta.client import Caller, Party, Role, keys, registration
from moneta.domain.identifiers import OrganizationId, UnixSeconds

MOS: Final = 4
PUBLISHERS: Final = 4
MPASSES_PER_MO: Final = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Trader:
    """An organization, the port of its webhook endpoint, and for an MO its mPasses."""

    party: Party
    port: int
    key_file: Path
    mpass_ids: tuple[str, ...] = ()

    def token(self) -> str:
        """Return a bearer token, good for ten minutes."""
        return self.party.make_token(now=now_s())


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Who trades. ``silent`` publishers answer 200 and nothing more, ``signing`` ones sign in the answer."""

    mos: Sequence[Trader]
    silent: Sequence[Trader]
    signing: Sequence[Trader]

    @property
    def traders(self) -> Sequence[Trader]:
        """Everybody."""
        return (*self.mos, *self.silent, *self.signing)


def register_market(hub: HubProcess, folder: Path) -> Market:
    """Register everybody with ``hub``; their keys go to ``folder``."""
    folder.mkdir(exist_ok=True)
    operator = hub.token()
    call = Caller(hub.url, lambda: operator)

    def register(role: Role, code: str, algorithm: str) -> Trader:
        return _register(call, hub, role=role, code=code, algorithm=algorithm, folder=folder)

    mos = [_with_mpasses(register(Role.MO, f"MO{number}", "RS256")) for number in range(MOS)]
    silent = [register(Role.PUBLISHER, f"SILENT{number}", "ES256") for number in range(PUBLISHERS)]
    signing = [register(Role.PUBLISHER, f"SIGNING{number}", "ES256") for number in range(PUBLISHERS)]
    return Market(mos=mos, silent=silent, signing=signing)


def now_s() -> UnixSeconds:
    """Return Unix seconds."""
    return UnixSeconds(int(time.time()))


def _register(call: Caller, hub: HubProcess, *, role: Role, code: str, algorithm: str, folder: Path) -> Trader:
    key_file, port = folder / f"{code}.pem", free_port()
    key = keys.load_or_generate(key_file, algorithm)
    auth_key = keys.generate("ES256")
    document = registration(
        role,
        name=f"Benchmark {code}",
        code=code,
        webhook_url=f"http://127.0.0.1:{port}/hooks",
        hub=hub.url,
        auth_key=auth_key,
        contract_key=key,
        now=now_s(),
    )
    organization_id = str(call.send("POST", f"/organizations/{role}", document)["id"])
    call.send("PUT", f"/organizations/{role}/{organization_id}/status", {"status": "Active", "reason": "benchmark"})
    party = Party(
        organization_id=OrganizationId(organization_id), role=role, hub=hub.url, auth_key=auth_key, contract_key=key
    )
    return Trader(party=party, port=port, key_file=key_file)


def _with_mpasses(mo: Trader) -> Trader:
    call = Caller(mo.party.hub, _once(mo.token))
    ids = tuple(_issue_mpass(call, mo, number) for number in range(MPASSES_PER_MO))
    return Trader(party=mo.party, port=mo.port, key_file=mo.key_file, mpass_ids=ids)


def _issue_mpass(call: Caller, mo: Trader, number: int) -> str:
    asked: Mapping[str, object] = {"mo_id": mo.party.organization_id, "member_ref": f"member-{number}"}
    mpass_id = str(call.send("POST", "/mpass", asked)["id"])
    call.send("PUT", f"/mpass/{mpass_id}/status", {"status": "Active", "reason": "benchmark"})
    return mpass_id


def _once(make: Callable[[], str]) -> Callable[[], str]:
    made = make()
    return lambda: made
