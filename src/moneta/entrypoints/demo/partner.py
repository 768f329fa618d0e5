"""One partner's process: its keys, its webhook receiver, its records, and the contracts that it starts.

Everything that it signs goes through ``moneta.client``, as a real partner's would. It reads what to do from standard
input, tells what happened on standard output, and ends when its input does.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Final

from moneta.client import (
    Decision,
    Decline,
    HubClient,
    HubProblemError,
    Keyring,
    KnownTemplate,
    Later,
    Message,
    MessageType,
    Party,
    Receiver,
    Role,
    Sign,
    SignedContract,
    VerifiedContract,
    Verifier,
    WebhookServer,
    build_contract,
    cancel,
    decline,
    keys,
    registration,
    respond,
    sign_first,
    system_clock,
)
from moneta.domain.identifiers import OrganizationId
from moneta.entrypoints.demo import faults
from moneta.entrypoints.demo.lines import Line, read_line, write_line
from moneta.entrypoints.demo.plan import CAMPAIGN, ORDERS, PlannedContract, Reply, Twist

ALGORITHMS: Final[Mapping[Role, str]] = {Role.MO: "RS256", Role.PUBLISHER: "EdDSA"}
THREADS: Final = 6
EXPIRES_IN_S: Final = 5
TERM_TRIES_MAX: Final = 4
WAIT_S: Final = 60.0
UNSERVED_URL: Final = "https://not-yet.invalid/webhooks"
ENDS: Final[Mapping[MessageType, str]] = {
    MessageType.FINALIZED: "finalized",
    MessageType.DECLINED: "declined",
    MessageType.CANCELLED: "cancelled",
    MessageType.EXPIRED: "expired",
}


class Partner:
    """One party: what it holds and what it was told."""

    def __init__(self, role: Role, folder: Path) -> None:
        self.role = role
        self._auth_key = keys.load_or_generate(folder / "auth.pem")
        self._contract_key = keys.load_or_generate(folder / "contract.pem", ALGORITHMS[role])
        self._lock = Lock()
        self._records: dict[str, PlannedContract] = {}
        self._started: dict[str, float] = {}
        self._ids: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(max_workers=THREADS)
        self._party: Party
        self._hub: HubClient

    def registration(self, hub: str, name: str, code: str) -> Mapping[str, object]:
        """Return what the operator registers. The webhook's address follows once there is a secret for it."""
        return registration(
            self.role,
            name=name,
            code=code,
            webhook_url=UNSERVED_URL,
            hub=hub,
            auth_key=self._auth_key,
            contract_key=self._contract_key,
            now=system_clock(),
        )

    def serve(self, hub: str, organization_id: str, webhook_secret: str) -> WebhookServer:
        """Become the registered organization: open the webhook receiver, and tell the hub where it is."""
        self._party = Party(
            organization_id=OrganizationId(organization_id),
            role=self.role,
            hub=hub,
            auth_key=self._auth_key,
            contract_key=self._contract_key,
        )
        self._hub = HubClient(self._party)
        verifier = Verifier(self._party, Keyring(self._hub.caller.get), [self._known(CAMPAIGN)])
        server = WebhookServer(Receiver(verifier, secrets=[webhook_secret], decide=self._decide, notice=self._notice))
        path = f"/organizations/{self.role}/{organization_id}"
        self._hub.caller.send("PUT", path, {"metadata": {"webhook_url": server.url}})
        return server

    def _known(self, template: str) -> KnownTemplate:
        """Pin a template by its order as we read it: under it we sign before Moneta has."""
        shown = self._hub.caller.get(f"/templates/{template}/1")
        order = tuple(tuple(Role(role) for role in step) for step in ORDERS[template])
        return KnownTemplate(name=template, version=1, sha256=str(shown["sha256"]), signing_order=order)

    def issue_mpass(self) -> str:
        """Issue a member's mPass and activate it; only an MO can."""
        body = {"mo_id": self._party.organization_id, "member_ref": "demo-member"}
        issued = self._hub.caller.send("POST", "/mpass", body)
        self._hub.caller.send("PUT", f"/mpass/{issued['id']}/status", {"status": "Active"})
        return str(issued["id"])

    def play(self, ids: Mapping[str, str], records: Sequence[PlannedContract]) -> None:
        """Start every contract that is this party's to start. ``ids``: the members that name both parties."""
        self._ids = dict(ids)
        self._records = {one.contract_id: one for one in records}
        for planned in records:
            if planned.row.starter == self.role:
                self._pool.submit(self._told_of_trouble, planned, partial(self._start, planned))

    def close(self) -> None:
        """End what is under way."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # Starting.

    def _start(self, planned: PlannedContract) -> None:
        with self._lock:
            self._started[planned.contract_id] = monotonic()
        match planned.row.twist:
            case Twist.NONE:
                self._hub.submit(self._signed(planned))
            case Twist.CANCELS:
                signed = self._signed(planned)
                self._hub.wait_processed(self._hub.submit(signed), timeout_s=WAIT_S)
                self._hub.cancel(cancel(signed, self._party, reason_code="mistake", issued_at=system_clock()))
            case Twist.EXPIRES:
                self._start_with_term(planned)
            case _:
                self._start_wrongly(planned)

    def _start_with_term(self, planned: PlannedContract) -> None:
        """Submit with a short term; where the machine is so slow that it was over before, with a longer one."""
        for attempt in range(TERM_TRIES_MAX):
            expires_at = system_clock() + (EXPIRES_IN_S << attempt)
            accepted = self._hub.submit(self._signed(planned, expires_at=expires_at))
            try:
                self._hub.wait_processed(accepted, timeout_s=WAIT_S)
            except HubProblemError as error:
                if error.code != "contract_expired":
                    raise
            else:
                return

    def _start_wrongly(self, planned: PlannedContract) -> None:
        event = faults.event(planned, self._party, self._body, now=system_clock())
        try:
            self._hub.wait_processed(self._hub.post(event), timeout_s=WAIT_S)
        except HubProblemError as error:
            _tell(refused=planned.contract_id, code=error.code)
        else:
            _tell(accepted=planned.contract_id)

    def _signed(self, planned: PlannedContract, **members: int) -> SignedContract:
        return sign_first(self._body(planned, **members), self._party, issued_at=system_clock())

    def _body(self, planned: PlannedContract, **members: str | int) -> bytes:
        ids = dict(self._ids)
        if planned.row.template == CAMPAIGN:
            del ids["mpass_id"]
        named: dict[str, str | int] = {
            "template_id": planned.row.template,
            "contract_id": planned.contract_id,
            "description": planned.row.title,
            **ids,
            **members,
        }
        template_id, contract_id = str(named.pop("template_id")), str(named.pop("contract_id"))
        return build_contract(
            template_id=template_id,
            version=1,
            contract_id=contract_id,
            payload=faults.payload(planned),
            created_at=system_clock(),
            **named,
        )

    # Answering.

    def _decide(self, contract: VerifiedContract) -> Decision:
        """Compare the contract with our own records, and do what they say."""
        planned = self._records.get(contract.contract_id)
        if planned is None:
            return Decline("unknown", "not in our records")
        money = contract.money("budget" if planned.row.template == CAMPAIGN else "transaction")
        if (money.digits, money.currency) != (planned.amount, "USD"):
            return Decline("amount", "not the amount of our records")
        match planned.row.reply:
            case Reply.SIGN:
                return Sign()
            case Reply.DECLINE:
                return Decline("out_of_stock", "the demo wants it so")
            case Reply.SIGN_LATER | Reply.DECLINE_LATER:
                self._pool.submit(self._told_of_trouble, planned, partial(self._answer_later, planned, contract))
                return Later()
            case Reply.NOTHING:
                return Later()

    def _answer_later(self, planned: PlannedContract, contract: VerifiedContract) -> None:
        if planned.row.reply is Reply.DECLINE_LATER:
            act = decline(contract, self._party, reason_code="out_of_stock", issued_at=system_clock())
            self._hub.decline(act)
            return
        signed = respond(contract, self._party, lambda _: Sign(), issued_at=system_clock())
        if isinstance(signed, SignedContract):
            self._hub.sign(signed)

    def _notice(self, message: Message) -> None:
        if message.type in ENDS:
            with self._lock:
                started = self._started.get(message.subject)
            duration_ms = None if started is None else round((monotonic() - started) * 1000)
            _tell(told=message.subject, status=ENDS[message.type], ms=duration_ms)

    def _told_of_trouble(self, planned: PlannedContract, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001  # whatever it is, the conductor shows it and counts the contract wrong
            _tell(trouble=planned.contract_id, error=f"{type(error).__name__}: {error}")


_output_lock: Final = Lock()


def _tell(**members: object) -> None:
    with _output_lock:
        write_line(sys.stdout.buffer, **members)


def main() -> None:
    """Do what the conductor says: ``introduce``, ``serve``, ``play``; end when it is gone."""
    role, folder = Role(sys.argv[1]), Path(sys.argv[2])
    partner = Partner(role, folder)
    introduction = _next()
    hub = introduction["hub"]
    _tell(registration=partner.registration(hub, introduction["name"], introduction["code"]))
    order = _next()
    with partner.serve(hub, order["organization_id"], order["webhook_secret"]):
        _tell(serving=True, mpass_id=partner.issue_mpass() if role is Role.MO else None)
        order = _next()
        partner.play(order["ids"], [PlannedContract(**record) for record in order["records"]])
        read_line(sys.stdin.buffer)  # until the conductor closes it
    partner.close()


def _next() -> Line:
    line = read_line(sys.stdin.buffer)
    if line is None:
        sys.exit(0)
    return line


if __name__ == "__main__":
    main()
