"""What ``moneta verify`` checks, offline: a file, and the keys that its reader knows from elsewhere. No store, no hub.

1. Form: exactly that of protocol section 3, the body exactly the members.
2. Keys: every signer's key is known, from ``--trust``, or shown in the file under a ``kid`` that is its thumbprint. An
   organization that ``--trust`` gives keys for has no others; but for the new one of a rotation, in the payload.
3. Signatures: every one verifies alone, all for one hub, each step carrying the head of the one before; none dated
   after Moneta received it.
4. Receipt: it verifies and names this hub, contract, body, end, act and head.
5. Acts: of this contract, of the kind that leads to the end, and by who may do it where the actor's key is known; the
   receipt vouches for the bytes in any case.
6. View: what the file shows beside the signed bytes is what they say.
7. Anchor: Moneta's signature and the receipt are by keys that the reader knows from elsewhere.

What the anchor carries: Moneta's signature covers, by ``prev``, every signature before it with the ``kid`` in its
header, and the receipt covers, by ``head``, those after. A ``kid`` is the key's thumbprint, so the keys that the file
shows are the ones that Moneta judged. Without an anchor the whole file may have been made up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from moneta.client.errors import ClientError
from moneta.domain.contract_body import PARTY_MEMBERS, ContractBody, parse_body
from moneta.domain.contracts import END_OF_ACT, ActName, EndStatus
from moneta.domain.errors import Refused
from moneta.domain.identifiers import KeyId
from moneta.domain.ijson import Value
from moneta.domain.limits import CLOCK_SKEW_S
from moneta.domain.templates import Role
from moneta.entrypoints.cli.contract_view import check_event, check_view
from moneta.entrypoints.cli.failures import FAILED, NOT_ANCHORED
from moneta.entrypoints.cli.trust import Trust, read_trust
from moneta.entrypoints.cli.verified_file import ContractFile, read_contract_file, shown_keys
from moneta.signing import base64url, jws
from moneta.signing.chain import head_of, new_key_of, to_json, verify_chain, verify_entry
from moneta.signing.jws import ContractJWS, Entry
from moneta.signing.keys import PublicKey
from moneta.signing.statements import ActStatement, parse_act, verify_compact, verify_receipt

ROLE_WIDTH: Final = max(map(len, Role))


class State(StrEnum):
    """How a check ended. ``open``: there is nothing to check it with, and nothing against it."""

    PASSED = "passed"
    FAILED = "failed"
    OPEN = "open"


MARKS: Final = {State.PASSED: "✓", State.FAILED: "✗", State.OPEN: "-"}


class BrokenError(Exception):
    """A check failed; the text says what was expected, what is there, and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One numbered check. ``lines`` go into detail."""

    number: int
    name: str
    state: State
    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a file."""

    checks: tuple[Check, ...]
    contract_id: str | None
    status: str | None
    conclusion: str
    exit_code: int

    def to_text(self) -> str:
        """Return the report for a person: a line a check, the conclusion last."""
        lines = []
        for check in self.checks:
            lines.append(f"{check.number} {MARKS[check.state]} {check.name}: {check.text}")
            lines.extend(f"      {line}" for line in check.lines)
        return "\n".join([*lines, self.conclusion])

    def to_json(self) -> str:
        """Return the report for a program."""
        checks = [
            {"number": check.number, "name": check.name, "state": check.state, "text": check.text}
            for check in self.checks
        ]
        return to_json(
            {
                "contract_id": self.contract_id,
                "status": self.status,
                "is_verified": self.exit_code == 0,
                "conclusion": self.conclusion,
                "checks": checks,
            }
        ).decode()


def verify_file(file: Path, *, hub_keys: frozenset[str], trust: Path | None) -> Report:
    """Return what comes of verifying ``file``.

    Raises:
        CommandError: It, or the trust file, is not what can be verified at all.
    """
    return _Verification(read_contract_file(file), read_trust(hub_keys, trust)).run()


@dataclass(frozen=True, slots=True)
class _Outcome:
    text: str
    lines: tuple[str, ...] = ()
    is_open: bool = False


class _Verification:
    """One run. Each check stands on the ones before it, and the first that fails is the last."""

    def __init__(self, file: ContractFile, trust: Trust) -> None:
        self._file = file
        self._trust = trust
        self._signed: ContractJWS
        self._body: ContractBody
        self._steps: tuple[tuple[Entry, ...], ...] = ()
        self._shown: dict[str, PublicKey] = {}
        self._acts: list[ActStatement] = []
        self._end: EndStatus | None = None
        self._ended_at: Value = None
        self._contract_id: str | None = None

    def run(self) -> Report:
        checks: list[Check] = []
        # fmt: off
        steps: tuple[tuple[str, Callable[[], _Outcome]], ...] = (
            ("form",       self._check_form),
            ("keys",       self._check_keys),
            ("signatures", self._check_signatures),
            ("receipt",    self._check_receipt),
            ("acts",       self._check_acts),
            ("view",       self._check_view),
            ("anchor",     self._check_anchor),
        )
        # fmt: on
        for number, (name, step) in enumerate(steps, 1):
            check = _checked(number, name, step)
            checks.append(check)
            if check.state is State.FAILED:
                break
        return self._report(tuple(checks))

    def _report(self, checks: tuple[Check, ...]) -> Report:
        last = checks[-1]
        status = self._end or self._file.status
        if last.state is State.FAILED:
            conclusion, exit_code = f"broken: {last.name}: {last.text}", FAILED
        elif last.state is State.OPEN:
            conclusion, exit_code = f"consistent, not anchored: {last.text}", NOT_ANCHORED
        elif self._end is None:
            conclusion = f"consistent, without a receipt: {status or 'signatures only'}; nothing proves an end"
            exit_code = NOT_ANCHORED
        else:
            conclusion, exit_code = f"verified: contract {self._contract_id} is {self._end}", 0
        return Report(
            checks=checks, contract_id=self._contract_id, status=status, conclusion=conclusion, exit_code=exit_code
        )

    def _check_form(self) -> _Outcome:
        """(1)."""
        self._signed = jws.parse_contract(self._file.jws)
        self._body = parse_body(self._signed.body_bytes)
        self._contract_id = self._body.contract_id
        count = len(self._signed.entries)
        return _Outcome(f"contract {self._contract_id}, {count} signature{'s' if count > 1 else ''}")

    def _check_keys(self) -> _Outcome:
        """(2)."""
        self._shown = dict(shown_keys(self._file.view))
        lines = []
        for entry in self._signed.entries:
            role = _role(entry)
            key = self._key(role, entry.header.key_id, issued_at=entry.header.issued_at)
            origin = self._origin(role, key.key_id)
            lines.append(f"{role:{ROLE_WIDTH}} {key.algorithm} {key.key_id} {origin}")
        return _Outcome("every signer's key is known, its thumbprint is its kid", tuple(lines))

    def _check_signatures(self) -> _Outcome:
        """(3)."""
        audience = self._signed.entries[0].header.audience or ""
        for entry in self._signed.entries:
            try:
                verify_entry(entry, self._signed.payload, self._entry_key(entry))
            except Refused as error:
                raise BrokenError(f"{entry.header.role}: {error.detail}") from error
        self._steps = verify_chain(
            self._signed,
            audience=audience,
            key_for=lambda role, key_id: self._key(role, key_id, issued_at=None),
        )
        self._check_times()
        self._check_judged()
        roles = " → ".join("+".join(entry.header.role or "" for entry in step) for step in self._steps)
        return _Outcome(f"each verifies, chained: {roles}, for {audience}")

    def _check_times(self) -> None:
        for index, step in enumerate(self._steps):
            received = [entry.header.received_at for entry in step if entry.header.received_at is not None]
            earlier = max((entry.header.issued_at for before in self._steps[:index] for entry in before), default=0)
            if received and earlier > received[0] + CLOCK_SKEW_S:
                raise BrokenError("a signature is dated after Moneta received it")

    def _check_judged(self) -> None:
        """No signature before one of Moneta's is by a key that the trust file says was revoked by then."""
        position: int | None = None
        for entry in reversed(self._signed.entries):
            if entry.header.role == Role.MONETA:
                position = entry.header.registry_seq
                continue
            owner = self._body.party(_role(entry))
            trusted = self._trust.keys.get(owner or "", {}).get(entry.header.key_id)
            if trusted is not None and position is not None:
                trusted.check_judged_at(position)

    def _check_receipt(self) -> _Outcome:
        """(4)."""
        receipt = self._file.receipt
        if receipt is None:
            if self._file.acts or self._file.status in {*EndStatus, "superseded"}:
                raise BrokenError("the file claims an end, and there is no receipt for it")
            return _Outcome("none: the contract is pending, or the file leaves it out", is_open=True)
        issued_at = jws.parse_compact(receipt, jws.RECEIPT_HEADER, what="receipt").entry.header.issued_at
        claims = verify_receipt(
            receipt,
            lambda key_id: self._key(Role.MONETA, key_id, issued_at=issued_at),
            issuer=self._signed.entries[0].header.audience or "",
        )
        end = EndStatus(str(claims["status"])) if claims["status"] in list(EndStatus) else None
        if end is None:
            raise BrokenError(f"status: {claims['status']!r} is no end")
        act = self._file.acts[0] if self._file.acts else None
        expected: dict[str, Value] = {
            "contract_id": self._body.contract_id,
            "body_sha256": base64url.sha256(self._signed.body_bytes),
            "act_sha256": None if act is None else base64url.sha256(act.encode()),
        }
        for name, value in expected.items():
            if claims[name] != value:
                raise BrokenError(f"{name}: expected {value}, got {claims[name]}")
        is_full = end is EndStatus.FINALIZED and act is None
        heads = {head_of(step) for step in (self._steps[-1:] if is_full else self._steps[-2:])}
        if claims["head"] not in heads:
            raise BrokenError(f"head: expected {' or '.join(sorted(heads))}, got {claims['head']}")
        if (act is None and end is not EndStatus.FINALIZED) or (act is not None and _end_of(act) is not end):
            raise BrokenError(f"status {end}, and {'no act made it so' if act is None else 'an act is shown'}")
        self._end, self._ended_at = end, claims["finalized_at"]
        return _Outcome(f"{end}, of this contract, body and head")

    def _check_acts(self) -> _Outcome:
        """(5)."""
        if not self._file.acts:
            return _Outcome("none, and none is needed" if self._end else "none")
        if len(self._file.acts) > 1:  # the receipt vouches for one alone
            raise BrokenError(f"one act ends a contract, got {len(self._file.acts)}")
        return _Outcome("as the receipt names it", (self._check_act(parse_act(self._file.acts[0])),))

    def _check_act(self, act: ActStatement) -> str:
        if act.contract_id != self._body.contract_id or END_OF_ACT.get(act.name) is not self._end:
            raise BrokenError(f"{act.name} of {act.contract_id} does not make {self._contract_id} {self._end}")
        if act.prev not in {head_of(step) for step in self._steps}:
            raise BrokenError(f"{act.name}: prev is not a head of this contract")
        header = act.jws.entry.header
        for role in self._actors_possible(act.name):
            try:
                key = self._key(role, header.key_id, issued_at=header.issued_at)
            except BrokenError:
                continue
            verify_compact(act.jws, key, typ=jws.ACT_TYP, audience=self._signed.entries[0].header.audience)
            return f"{act.name} by {role} {key.key_id}: verifies"
        return f"{act.name} by key {header.key_id}, which is not in the file: its bytes are vouched for by the receipt"

    def _actors_possible(self, act: ActName) -> tuple[Role, ...]:
        signed = [_role(entry) for entry in self._signed.entries]
        match act:
            case ActName.EXPIRE | ActName.DEEM:
                return (Role.MONETA,)
            case ActName.CANCEL:
                return (signed[0],)
            case ActName.DECLINE:
                missing = [role for role in (*PARTY_MEMBERS, Role.MONETA) if role not in signed[:-1]]
                return tuple(Role.ORG if role is Role.ORG_NEW_KEY else role for role in missing)

    def _check_view(self) -> _Outcome:
        """(6)."""
        file = self._file
        if file.view:
            fault = check_view(file.view, self._body, self._signed, end=self._end, ended_at=self._ended_at)
        elif file.event:
            audience = self._signed.entries[0].header.audience or ""
            fault = check_event(file.event, self._body, self._signed, end=self._end, hub=audience)
        else:
            return _Outcome("the file shows nothing beside the signed bytes")
        if fault is not None:
            raise BrokenError(fault)
        return _Outcome(
            "what is shown is what was signed; not signed, and not checked: event_logs, received_at, revision, and what"
            " is not of the protocol"
        )

    def _check_anchor(self) -> _Outcome:
        """(7)."""
        used = [entry.header.key_id for entry in self._signed.entries if entry.header.role == Role.MONETA]
        if self._file.receipt is not None:
            receipt = jws.parse_compact(self._file.receipt, jws.RECEIPT_HEADER, what="receipt")
            used.append(receipt.entry.header.key_id)
        if not self._trust.has_anchor:
            return _Outcome("give the hub's key, from elsewhere: --hub-key THUMBPRINT or --trust FILE", is_open=True)
        for key_id in used:
            if not self._trust.is_anchored(key_id):
                raise BrokenError(f"Moneta's key {key_id} is not one that you know")
        if not used:
            return _Outcome("Moneta has signed nothing in this file", is_open=True)
        return _Outcome(f"Moneta's key {', '.join(sorted(set(used)))} is one that you know")

    def _entry_key(self, entry: Entry) -> PublicKey:
        return self._key(_role(entry), entry.header.key_id, issued_at=entry.header.issued_at)

    def _key(self, role: Role, key_id: str, *, issued_at: int | None) -> PublicKey:
        """Return the key that ``kid`` names for ``role``. ``issued_at``: when a key of the hub's signed with it."""
        if role is Role.MONETA:
            trusted = self._trust.hub.get(key_id)
            if trusted is not None:
                return trusted.public if issued_at is None else trusted.signing_at(issued_at)
        elif role is Role.ORG_NEW_KEY:
            return new_key_of(self._body)  # what the organization's own signature before it vouches for
        else:
            owner = self._body.party(role)
            if owner is None:
                raise BrokenError(f"the body names no {role}")
            theirs = self._trust.keys.get(owner)
            if theirs is not None:
                if key_id not in theirs:
                    raise BrokenError(f"{role}: key {key_id} is not one that --trust gives for {owner}")
                return theirs[key_id].public
        if key_id not in self._shown:
            raise BrokenError(f"{role}: key {key_id} is not in the file; give it with --trust")
        return self._shown[key_id]

    def _origin(self, role: Role, key_id: KeyId) -> str:
        if role is Role.ORG_NEW_KEY:
            return "in the payload that org signed"
        return "trusted" if self._is_trusted(role, key_id) else "shown in the file"

    def _is_trusted(self, role: Role, key_id: KeyId) -> bool:
        if role is Role.MONETA:
            return self._trust.is_anchored(key_id)
        return self._body.party(role) in self._trust.keys


def _checked(number: int, name: str, step: Callable[[], _Outcome]) -> Check:
    try:
        outcome = step()
    except BrokenError as error:
        return Check(number=number, name=name, state=State.FAILED, text=str(error))
    except Refused as error:
        return Check(number=number, name=name, state=State.FAILED, text=error.detail)
    except ClientError as error:
        return Check(number=number, name=name, state=State.FAILED, text=str(error))
    state = State.OPEN if outcome.is_open else State.PASSED
    return Check(number=number, name=name, state=state, text=outcome.text, lines=outcome.lines)


def _end_of(act: str) -> EndStatus:
    return END_OF_ACT[parse_act(act).name]


def _role(entry: Entry) -> Role:
    try:
        return Role(entry.header.role or "")
    except ValueError as error:
        raise BrokenError(f"role: unknown role {(entry.header.role or '')[:32]!r}") from error
