"""Moneta's part: its signature when it is its turn, its acts, the receipt at an end, and the step that holds it all.

1. When it is Moneta's turn the guards are asked again, as of now. On the first step a guard that fails refuses the
   event (``judgement``); on a later one Moneta declines.
2. Moneta's header alone carries ``received_at``, of the event it answers, and ``registry_seq``, the position it judged
   by, and always ``template_sha256``.
3. Every end has a receipt: without one a full chain proves nothing, since the contract may have been cancelled.
4. What is owed is born here, in the same commit: a request to each signer whose step has just begun, or the end to
   every organization that signs, or that the template's ``notify`` names.
5. Once nobody is left but those whose silence counts, the moment is fixed from which it does.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from moneta.application.ports import Hub, OwedDelivery, WebhookType
from moneta.domain.audit import contract_leaf
from moneta.domain.contracts import (
    SUPERSEDED,
    Act,
    ActName,
    Contract,
    EndStatus,
    LogLine,
    Signature,
    Start,
    Step,
    complete_steps,
    end_of,
    next_signers,
    signatures_by_step,
    status_of,
    waits_for_acknowledgement,
)
from moneta.domain.identifiers import (
    MONETA,
    ContractId,
    OrganizationId,
    RegistrySeq,
    Revision,
    UnixMillis,
    UnixSeconds,
    WebhookId,
)
from moneta.domain.templates import Role
from moneta.signing import base64url, chain, statements
from moneta.signing.jws import signing_input

END_WEBHOOK: Final = {
    EndStatus.FINALIZED: WebhookType.FINALIZED,
    EndStatus.DECLINED: WebhookType.DECLINED,
    EndStatus.CANCELLED: WebhookType.CANCELLED,
    EndStatus.EXPIRED: WebhookType.EXPIRED,
}
WEBHOOK_ID_BYTES: Final = 18


def is_monetas_turn(contract: Contract) -> bool:
    """Tell whether Moneta is among the next signers."""
    return Role.MONETA in next_signers(contract)


def countersigned(
    hub: Hub, contract: Contract, *, received_at: UnixMillis, now: UnixMillis, registry_seq: RegistrySeq
) -> Contract:
    """Return the contract with Moneta's signature, whose turn it is. ``received_at``: of the event it answers."""
    key = hub.signer.current()
    protected = chain.contract_header(
        algorithm=key.public.algorithm,
        key_id=key.public.key_id,
        issued_at=UnixSeconds(now // 1000),
        audience=hub.base_url,
        role=Role.MONETA,
        prev=_head(contract),
        template_sha256=contract.template_sha256,
        received_at=received_at // 1000,
        registry_seq=registry_seq,
    )
    signature = Signature(
        role=Role.MONETA,
        key_id=key.public.key_id,
        algorithm=key.public.algorithm,
        issued_at=UnixSeconds(now // 1000),
        protected=protected,
        signature=base64url.encode(key.sign(signing_input(protected, base64url.encode(contract.body_bytes)))),
    )
    return replace(contract, signatures=(*contract.signatures, signature))


def ended_by_moneta(
    hub: Hub, contract: Contract, *, name: ActName, reason_code: str, reason: str, now: UnixMillis
) -> Contract:
    """Return the contract with an act of Moneta's that ends it: an expiry, a decline, or a deem."""
    compact = statements.make_act(
        hub.signer.current(),
        name=name,
        contract_id=contract.contract_id,
        reason_code=reason_code,
        reason=reason,
        prev=_head(contract) or "",
        issued_at=UnixSeconds(now // 1000),
        audience=hub.base_url,
    )
    return replace(contract, acts=(*contract.acts, Act(name=name, actor=MONETA, compact=compact)))


def step_between(
    hub: Hub, before: Contract | None, after: Contract, *, now: UnixMillis, registry_seq: RegistrySeq
) -> Step:
    """Return the step that leads from ``before`` (None: there was no contract) to ``after``."""
    revision = Revision(1 if before is None else before.revision + 1)
    signatures = after.signatures[len(before.signatures) if before else 0 :]
    acts = after.acts[len(before.acts) if before else 0 :]
    end = end_of(after)
    finalized_at = None if end is None else UnixSeconds(now // 1000)
    receipt = None if end is None else _receipt(hub, after, end, now=now, registry_seq=registry_seq)
    return Step(
        revision=revision,
        committed_at=now,
        signatures=signatures,
        acts=acts,
        log=tuple(_log_lines(after, signatures, acts, end, now=now, revision=revision)),
        receipt=receipt,
        finalized_at=finalized_at,
        start=_start(after) if before is None else None,
        deem_at=_deem_at(before, after, now=now) if end is None else None,
        leaf=contract_leaf(
            contract_id=after.contract_id,
            revision=revision,
            committed_at=now,
            status=status_of(after),
            body_bytes=after.body_bytes,
            signatures=signatures,
            acts=acts,
            receipt=receipt,
        ),
    )


def superseding_step(older: Contract, *, by: ContractId, now: UnixMillis) -> Step:
    """Return the step that makes ``older`` superseded. Its receipt stays that of its finalization."""
    revision = Revision(older.revision + 1)
    line = LogLine(event=f"contract_{SUPERSEDED}", timestamp=UnixSeconds(now // 1000), actor=MONETA, revision=revision)
    return Step(
        revision=revision,
        committed_at=now,
        log=(line,),
        superseded_by=by,
        leaf=contract_leaf(
            contract_id=older.contract_id,
            revision=revision,
            committed_at=now,
            status=SUPERSEDED,
            body_bytes=older.body_bytes,
            signatures=(),
            acts=(),
            receipt=None,
            superseded_by=by,
        ),
    )


def owed_between(before: Contract | None, after: Contract, *, now: UnixMillis) -> tuple[OwedDelivery, ...]:
    """Return the messages that the step from ``before`` to ``after`` makes the hub owe."""
    revision = Revision(1 if before is None else before.revision + 1)
    end = end_of(after)
    if end is not None:
        recipients = _organizations_of(after, [*(role for step in after.signing_order for role in step), *after.notify])
        kind = END_WEBHOOK[end]
    elif before is None or _steps_done(after) > _steps_done(before):
        recipients = _organizations_of(after, next_signers(after))
        kind = WebhookType.SIGNATURE_REQUESTED
    else:
        return ()  # a parallel step goes on: its signers were all asked when it began
    return tuple(
        OwedDelivery(
            webhook_id=webhook_id(after.contract_id, str(revision), recipient, kind),
            organization_id=recipient,
            type=kind,
            contract_id=after.contract_id,
            revision=revision,
            owed_at=now,
        )
        for recipient in recipients
    )


def _organizations_of(contract: Contract, roles: Sequence[Role]) -> tuple[OrganizationId, ...]:
    """Return the organizations that have ``roles``, each once; Moneta is none."""
    found = (contract.body.party(role) for role in roles)
    return tuple(dict.fromkeys(one for one in found if one is not None))


def webhook_id(*cause: str) -> WebhookId:
    """Return the id of the message that ``cause`` makes the hub owe: the same cause, the same id; no dots."""
    digest = hashlib.sha256("\n".join(cause).encode("utf-8")).digest()
    return WebhookId("msg_" + base64url.encode(digest[:WEBHOOK_ID_BYTES]))


def _steps_done(contract: Contract) -> int:
    return complete_steps(contract.signing_order, contract.signed_roles)


def _start(contract: Contract) -> Start:
    return Start(
        body_bytes=contract.body_bytes,
        signing_order=contract.signing_order,
        template_sha256=contract.template_sha256,
        received_at=contract.received_at,
        expires_at=contract.expires_at,
        deem_after_s=contract.deem_after_s,
        notify=contract.notify,
    )


def _deem_at(before: Contract | None, after: Contract, *, now: UnixMillis) -> UnixSeconds | None:
    """Return from when silence counts, once only those are left whose silence does; None before."""
    if after.deem_after_s is None or not waits_for_acknowledgement(after):
        return None
    if before is not None and before.deem_at is not None:
        return before.deem_at
    return UnixSeconds(now // 1000 + after.deem_after_s)


def _head(contract: Contract) -> str | None:
    """Return the head of the last complete step; None of a contract that Moneta itself begins."""
    steps = signatures_by_step(contract)
    return chain.head_of(steps[-1]) if steps else None


def _receipt(hub: Hub, contract: Contract, end: EndStatus, *, now: UnixMillis, registry_seq: RegistrySeq) -> str:
    claims = {
        "iss": hub.base_url,
        "contract_id": contract.contract_id,
        "status": end,
        "finalized_at": now // 1000,
        "head": chain.head_of(signatures_by_step(contract)[-1]),
        "body_sha256": base64url.sha256(contract.body_bytes),
        "act_sha256": base64url.sha256(contract.acts[0].compact.encode("ascii")) if contract.acts else None,
        "registry_seq": registry_seq,
    }
    return statements.make_receipt(hub.signer.current(), claims, issued_at=UnixSeconds(now // 1000))


def _log_lines(
    contract: Contract,
    signatures: Sequence[Signature],
    acts: Sequence[Act],
    end: EndStatus | None,
    *,
    now: UnixMillis,
    revision: Revision,
) -> list[LogLine]:
    """Return what the step adds to the event log: a line a signature, and one for the end, by who caused it."""
    first = contract.signatures[0]
    lines = [
        LogLine(
            event="contract_created" if signature is first else "contract_signed",
            timestamp=signature.issued_at,
            actor=contract.body.party(signature.role) or MONETA,
            revision=revision,
        )
        for signature in signatures
    ]
    if end is not None:
        actor = acts[0].actor if acts else MONETA
        moment = UnixSeconds(now // 1000)
        lines.append(LogLine(event=f"contract_{end}", timestamp=moment, actor=actor, revision=revision))
    return lines
