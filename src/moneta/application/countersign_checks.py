"""Contracts whose effect takes two of Moneta's: the party signs, and a checker decides whether Moneta does (ADR 0048).

1. Where Moneta would sign, the party's signature is committed, and a change that waits for a checker with it.
2. Approved: the guards are asked again, Moneta signs, and the contract does what it does, in the write that ends the
   waiting. Refused, or no longer possible: Moneta declines, and says why.
3. A contract that ended meanwhile, by its term or by the party's cancel, is closed to the decision.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from moneta.application.authenticate import Caller
from moneta.application.changes import Decision
from moneta.application.check_effects import COUNTERSIGN, RECEIVED_AT
from moneta.application.circumstances import compiled_template
from moneta.application.countersign import countersigned, ended_by_moneta, is_monetas_turn
from moneta.application.documents import Document
from moneta.application.guards import check_guards
from moneta.application.keyring import check_none_compromised
from moneta.application.ports import Change, DirectoryChange, Hub
from moneta.application.process_events import contract_change
from moneta.application.records import make_record
from moneta.application.submit import circumstances_of
from moneta.domain.contracts import ActName, Contract
from moneta.domain.errors import ContractClosedError
from moneta.domain.identifiers import ContractId, UnixMillis
from moneta.domain.pending_changes import PendingChange

REFUSED_CODE: Final = "refused_by_checker"
REFUSED_REASON: Final = "Moneta does not sign this contract"


def decide_countersign(hub: Hub, caller: Caller, pending: PendingChange) -> Decision:
    """Return the decision to sign for Moneta, as things are now.

    Raises:
        ContractClosedError: The contract does not wait for Moneta any more, or its term is over.
        KeyNotValidError: A signature on it is by a key that was reported as compromised.
        Refused: A guard does not hold, or the effect can't be done.
    """
    contract = _waiting(hub, pending)
    if contract.is_over_at(hub.clock.now_ms()):
        raise ContractClosedError(f"contract {contract.contract_id} has expired", status="expired")
    around = circumstances_of(hub, contract.body)
    around = replace(around, keys=hub.directory.keys_of(contract.body.parties(), is_fresh=True))
    check_none_compromised(contract, around.keys, judged_at=around.registry_seq)
    template = compiled_template(contract.body, around).template
    check_guards(contract.body, template, around, around.now)
    signed = countersigned(
        hub,
        contract,
        received_at=UnixMillis(int(str(pending.members[RECEIVED_AT]))),
        now=around.now,
        registry_seq=around.registry_seq,
    )
    change = contract_change(
        hub, contract, signed, template, around.mpasses, now=around.now, registry_seq=around.registry_seq
    )
    record = make_record(
        hub,
        caller,
        COUNTERSIGN,
        subject=pending.subject,
        change={"contract_id": contract.contract_id},
        registry_seq=around.registry_seq,
    )
    return Decision(
        change=replace(change.directory or DirectoryChange(), record=record),
        contract=change,
        answer=Document(body={}),
    )


def decline_unsigned(hub: Hub, pending: PendingChange, code: str | None, reason: str | None) -> Change | None:
    """Return Moneta's decline of a contract that it does not sign; None if that does not wait any more.

    ``code``: why it can't be signed; None where the checker did not want it.
    """
    try:
        contract = _waiting(hub, pending)
    except ContractClosedError:
        return None
    now, around = hub.clock.now_ms(), circumstances_of(hub, contract.body)
    declined = ended_by_moneta(
        hub,
        contract,
        name=ActName.DECLINE,
        reason_code=code or REFUSED_CODE,
        reason=reason or REFUSED_REASON,
        now=now,
    )
    template = compiled_template(contract.body, around).template
    return contract_change(hub, contract, declined, template, around.mpasses, now=now, registry_seq=around.registry_seq)


def _waiting(hub: Hub, pending: PendingChange) -> Contract:
    target: Mapping[str, str] = pending.target
    contract_id = ContractId(target["contract_id"])
    contract = hub.contracts.read([contract_id])[contract_id]
    if not is_monetas_turn(contract):
        raise ContractClosedError(f"contract {contract_id}: it does not wait for Moneta any more")
    return contract
