"""The demo's main: sets up, plays the plan, shows what became of it, verifies everything, stops everything."""

import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, Queue
from statistics import median
from time import monotonic
from types import FrameType
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from moneta.client import ClientError, HubProblemError
from moneta.client.caller import Caller
from moneta.entrypoints.demo.judge import Judge, UnprovenError
from moneta.entrypoints.demo.lines import Line
from moneta.entrypoints.demo.plan import KINDS, ORDERS, OUTCOMES, Kind, PlannedContract, make_plan
from moneta.entrypoints.demo.processes import DemoError, PartnerProcess, hub_process, moneta, stop

PLAY_S_MAX: Final = 150.0
SILENCE_S_MAX: Final = 45.0
FINALIZED_MIN: Final = 50
SIGNATURES_MIN: Final = 3
FAULTS_SHOWN: Final = 10
NOT_FOUND: Final = 404
NAMES: Final = {"mo": ("Demo Members", "DEMOMO"), "publisher": ("Demo Press", "DEMOPUB")}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoHub:
    """A hub to play at. ``key``: the id of the key it signs with; ``token``: an operator's."""

    url: str
    key: str
    token: str


@dataclass(slots=True)
class Found:
    """What became of one planned contract, as far as the conductor has seen."""

    planned: PlannedContract
    told: dict[str, str] = field(default_factory=dict)
    code: str | None = None
    duration_ms: int | None = None
    faults: list[str] = field(default_factory=list)
    signatures: int = 0

    @property
    def is_done(self) -> bool:
        """Tell whether nothing more is to come."""
        awaited = 1 if self.planned.row.outcome == "refused" else len(NAMES)
        return bool(self.faults) or self.code is not None or len(self.told) >= awaited

    @property
    def outcome(self) -> str | None:
        """What became of it, by what its parties were told."""
        if self.code is not None:
            return "refused"
        return next(iter(self.told.values()), None)


def run_demo(keep: Path | None) -> int:
    """Play the demo, and return the exit code. ``keep``: where the hub's data is left; it must not be there yet."""
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _folder(keep) as folder:
            return _Demo(console, folder, make_plan()).run()
    except (DemoError, ClientError, OSError) as error:
        console.print(f"demo: {error}", markup=False, soft_wrap=True)
        return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Let SIGTERM end the demo as Ctrl-C does: every process is stopped, and the folder removed."""
    raise KeyboardInterrupt


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        folder = Path(tempfile.mkdtemp(prefix="moneta-demo-"))
    else:
        folder = keep.absolute()
        if folder.exists():
            raise DemoError(f"--keep {keep}: there is something already; name a new directory")
        folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def run_demo_at(hub: DemoHub, folder: Path, *, each_max: int, wait_s_max: float) -> int:
    """Play the demo at a hub that runs already, and return the exit code. ``folder``: where the partners keep theirs.

    ``each_max``: how many contracts of a kind; ``wait_s_max``: for how long; its sweep may come once a minute.
    """
    plan = make_plan(each_max=each_max)
    return _Demo(Console(highlight=False), folder, plan, play_s_max=wait_s_max, silence_s_max=wait_s_max).run_at(hub)


class _Demo:
    def __init__(
        self,
        console: Console,
        folder: Path,
        plan: Sequence[PlannedContract],
        *,
        play_s_max: float = PLAY_S_MAX,
        silence_s_max: float = SILENCE_S_MAX,
    ) -> None:
        self._console = console
        self._folder = folder
        self._play_s_max = play_s_max
        self._silence_s_max = silence_s_max
        self._plan = plan
        self._found = {one.contract_id: Found(one) for one in self._plan}
        self._told: Queue[tuple[str, Line | None]] = Queue()
        self._keys: dict[str, dict[str, Any]] = {}  # JWKs by role
        self._played_s = 0.0

    def run(self) -> int:
        """Play it at a hub of its own."""
        started = monotonic()
        with ExitStack() as stack:
            partners = self._partners(stack)
            hub_key = moneta("init", "--data", self._folder).removeprefix("hub key ")
            log = self._folder / "hub.log"
            url, hub = stack.enter_context(hub_process(self._folder, log))
            token = moneta("token", "--data", self._folder)
            self._play_at(DemoHub(url=url, key=hub_key, token=token), partners)
            exit_code = stop(hub)
            if exit_code != 0:
                raise DemoError(f"the hub exited with {exit_code}; see {log}")
        return self._conclude(monotonic() - started)

    def run_at(self, hub: DemoHub) -> int:
        """Play it at a hub that runs already."""
        started = monotonic()
        with ExitStack() as stack:
            self._play_at(hub, self._partners(stack))
        return self._conclude(monotonic() - started)

    def _partners(self, stack: ExitStack) -> Sequence[PartnerProcess]:
        partners = [PartnerProcess(role, self._folder / "partners" / role, self._told) for role in NAMES]
        for partner in partners:
            stack.callback(partner.close)
        return partners

    def _play_at(self, hub: DemoHub, partners: Sequence[PartnerProcess]) -> None:
        operator = Caller(hub.url, lambda: hub.token)
        self._console.print(f"[bold]{'hub':10}[/] {hub.url}, key {hub.key}", soft_wrap=True)
        ids = self._introduce(operator, hub.url, partners)
        self._play(partners, ids)
        self._verify(operator, self._judge(operator, hub, ids))

    def _introduce(self, operator: Caller, url: str, partners: Sequence[PartnerProcess]) -> Mapping[str, str]:
        """Register both, and return the members of a contract that name them."""
        ids: dict[str, str] = {}
        for partner in partners:
            name, code = NAMES[partner.role]
            offered = partner.ask(hub=url, name=name, code=code)["registration"]
            path = f"/organizations/{partner.role}"
            organization = operator.send("POST", path, offered)
            ids[f"{partner.role}_id"] = str(organization["id"])
            operator.send("PUT", f"{path}/{organization['id']}/status", {"status": "Active"})
            serving = partner.ask(organization_id=organization["id"], webhook_secret=organization["webhook_secret"])
            if serving["mpass_id"] is not None:
                ids["mpass_id"] = serving["mpass_id"]
            self._keys[partner.role] = next(key["jwk"] for key in offered["keys"] if "contract" in key["use"])
            self._console.print(f"[bold]{partner.role:10}[/] {name}, {organization['id']}")
        return ids

    def _play(self, partners: Sequence[PartnerProcess], ids: Mapping[str, str]) -> None:
        started = monotonic()
        for partner in partners:
            partner.tell(ids=ids, records=[asdict(one) for one in self._plan])
            partner.listen()
        with self._progress("contracts") as (progress, task):
            while not all(one.is_done for one in self._found.values()):
                if not self._hear(min(self._silence_s_max, started + self._play_s_max - monotonic())):
                    break
                progress.update(task, completed=sum(one.is_done for one in self._found.values()))
        self._played_s = monotonic() - started

    def _hear(self, wait_s: float) -> bool:
        """Note one thing that a partner tells; tell whether there is more to wait for."""
        try:
            role, line = self._told.get(timeout=max(0.0, wait_s))
        except Empty:
            return False
        if line is None:
            raise DemoError(f"the {role}'s process ended before the demo did")
        match line:
            case {"told": contract_id, "status": status, "ms": duration_ms}:
                found = self._found[contract_id]
                found.told[role] = status
                found.duration_ms = duration_ms or found.duration_ms
            case {"refused": contract_id, "code": code}:
                self._found[contract_id].code = code
            case {"accepted": contract_id}:
                self._found[contract_id].faults.append("the hub accepted it")
            case {"trouble": contract_id, "error": error}:
                self._found[contract_id].faults.append(f"{role}: {error}")
            case _:
                raise DemoError(f"the {role} said what nobody understands: {sorted(line)}")
        return True

    def _judge(self, operator: Caller, hub: DemoHub, ids: Mapping[str, str]) -> Judge:
        published = msgspec.json.decode(
            operator.call("GET", "/.well-known/jwks.json", body=None, headers={}, is_repeatable=True).body
        )
        moneta_keys = [key for key in published["keys"] if key["kid"] == hub.key]
        if not moneta_keys:
            raise DemoError("the hub serves another key than moneta init made")
        return Judge(
            hub=hub.url,
            parties={role: ids[f"{role}_id"] for role in NAMES},
            keys={**self._keys, "moneta": moneta_keys[0]},
            orders=ORDERS,
        )

    def _verify(self, operator: Caller, judge: Judge) -> None:
        with self._progress("verified ") as (progress, task):
            for found in self._found.values():
                fault = self._fault(operator, judge, found)
                if fault is not None:
                    found.faults.append(fault)
                progress.advance(task)

    def _fault(self, operator: Caller, judge: Judge, found: Found) -> str | None:
        """Return why a contract is not what the plan expects, by the documents that the hub answers."""
        planned = found.planned
        path = f"/contracts/{planned.contract_id}"
        if planned.row.outcome == "refused":
            if found.code != planned.row.code:
                return f"expected the problem {planned.row.code}, got {found.code}"
            return None if _is_absent(operator, path) else "refused, and there all the same"
        told = {role: found.told.get(role) for role in NAMES}
        if set(told.values()) != {planned.row.outcome}:
            return f"expected both to be told {planned.row.outcome}, got {told}"
        document = msgspec.json.decode(operator.call("GET", path, body=None, headers={}, is_repeatable=True).body)
        try:
            found.signatures = judge.check(document, contract_id=planned.contract_id, outcome=planned.row.outcome)
        except UnprovenError as error:
            return str(error)
        is_whole = planned.row.outcome != "finalized" or found.signatures >= SIGNATURES_MIN
        return None if is_whole else f"finalized with {found.signatures} signatures"

    def _conclude(self, total_s: float) -> int:
        self._console.print()
        self._console.print(self._table())
        self._console.print()
        durations = [one.duration_ms for one in self._found.values() if one.duration_ms and one.outcome == "finalized"]
        if durations:
            self._console.print(
                f"played in {self._played_s:.1f} s, all in all {total_s:.1f} s; median from submission to the webhook "
                f"that says finalized: {median(durations):.0f} ms",
                soft_wrap=True,
            )
        wrong = [one for one in self._found.values() if one.faults]
        for one in wrong[:FAULTS_SHOWN]:
            self._console.print(f"wrong: {one.planned.contract_id}: {one.faults[0]}", markup=False, soft_wrap=True)
        counts = Counter(one.outcome for one in self._found.values() if not one.faults)
        finalized, declined, cancelled, expired, refused = (counts[outcome] for outcome in OUTCOMES)
        line = (
            f"demo: {len(self._plan)} contracts, {finalized} finalized, {declined} declined, {cancelled} cancelled, "
            f"{expired} expired, {refused} refused as they must be, {len(wrong)} wrong"
        )
        sys.stdout.write(f"{line}\n")
        return 0 if not wrong and finalized >= min(FINALIZED_MIN, self._planned_to_be("finalized")) else 1

    def _planned_to_be(self, outcome: str) -> int:
        return sum(one.row.outcome == outcome for one in self._plan)

    def _table(self) -> Table:
        table = Table("what happens", "by", "became", "right", box=None, pad_edge=False, header_style="bold")
        table.columns[-1].justify = "right"
        for index, kind in enumerate(KINDS):
            found = [one for one in self._found.values() if one.planned.kind == index]
            right = sum(not one.faults for one in found)
            mark = "[green]" if right == len(found) else "[red]"
            table.add_row(kind.title, kind.starter, _became(kind, found), f"{mark}{right}/{len(found)}[/]")
        return table

    @contextmanager
    def _progress(self, what: str) -> Iterator[tuple[Progress, Any]]:  # Any: rich's TaskID
        columns = (TextColumn(f"[bold]{what}[/] "), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            yield progress, progress.add_task(what, total=len(self._plan))


def _became(kind: Kind, found: Sequence[Found]) -> str:
    outcomes = Counter(one.outcome or "nothing" for one in found)
    told = ", ".join(outcome if len(outcomes) == 1 else f"{count} {outcome}" for outcome, count in outcomes.items())
    return f"{told}: {kind.code}" if kind.code is not None else told


def _is_absent(operator: Caller, path: str) -> bool:
    try:
        operator.get(path)
    except HubProblemError as error:
        return error.status == NOT_FOUND
    return False
