"""Moneta as the first signer: the operator's submission of a contract whose template Moneta begins.

The operator says what the contract says; Moneta dates it, signs it and asks whoever is next. Who asked for it, with
which token, is a signed record in the same commit. It is judged like any submission, but for a sender and a signature.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from moneta.application.access import Operation, check_right
from moneta.application.authenticate import Caller
from moneta.application.changes import Decision, creation, decide_creation
from moneta.application.circumstances import Circumstances, compiled_template
from moneta.application.countersign import countersigned
from moneta.application.documents import Document, check_names, has, required, to_json
from moneta.application.judgement import judge_own
from moneta.application.pending_changes import Asked, with_checker
from moneta.application.ports import DirectoryChange, Hub
from moneta.application.process_events import contract_change
from moneta.application.queries import contract_document
from moneta.application.records import make_record
from moneta.application.spending import keys_of_counters
from moneta.application.supersede import find_superseded
from moneta.domain.contract_body import MEMBERS, ContractBody, parse_body
from moneta.domain.contracts import Contract, assemble
from moneta.domain.errors import TooLargeError
from moneta.domain.ijson import Value, parse_object
from moneta.domain.limits import BODY_BYTES_MAX
from moneta.domain.pending_changes import PendingChange
from moneta.domain.template_verbs import takes_two
from moneta.signing import base64url

SAID_BY_THE_OPERATOR: Final = MEMBERS - {"created_at"}
NONCE_BYTES: Final = 16


def submit_as_moneta(
    hub: Hub, caller: Caller, members: Mapping[str, Value], *, idempotency_key: str | None = None
) -> Document:
    """Begin a contract, signed by Moneta, and return it.

    ``members``: the body's, without ``created_at``; a ``nonce`` is chosen where there is none.

    Raises:
        ForbiddenError: Not the operator.
        ContractExistsError: The id is taken.
        Refused: Whatever refuses a submission; or a party begins contracts of that template.
        TryAgainError: What it was judged by changed every time.

    Where two operators are configured, and an effect of the template takes two, it is kept for the second of them.
    """
    check_right(caller, Operation.SUBMIT_CONTRACT)
    check_names(members, SAID_BY_THE_OPERATOR)
    once = creation(caller, Operation.SUBMIT_CONTRACT, idempotency_key, target="contracts", members=members)
    subject = str(required(members, "contract_id"))
    asked = Asked(operation=Operation.SUBMIT_CONTRACT, subject=subject, target={}, members=members)
    return decide_creation(hub, once, with_checker(hub, caller, asked, lambda: _decide(hub, caller, members)))


def decide_submission(hub: Hub, caller: Caller, pending: PendingChange) -> Decision:
    """Decide anew a submission that waited for a checker: it is dated, judged and signed now."""
    return _decide(hub, caller, pending.members)


def _body_bytes(hub: Hub, members: Mapping[str, Value]) -> bytes:
    nonce = {} if has(members, "nonce") else {"nonce": base64url.encode(hub.randomness.token(NONCE_BYTES))}
    raw = to_json({**members, **nonce, "created_at": hub.now_s()})
    if len(raw) > BODY_BYTES_MAX:
        raise TooLargeError(f"contract body: at most {BODY_BYTES_MAX} bytes", limit=BODY_BYTES_MAX)
    return raw


def _decide(hub: Hub, caller: Caller, members: Mapping[str, Value]) -> Decision:
    raw = _body_bytes(hub, members)
    around = circumstances_of(hub, parse_body(raw))
    begun = judge_own(parse_object(raw, what="contract body"), raw, around)
    signed = countersigned(hub, begun, received_at=around.now, now=around.now, registry_seq=around.registry_seq)
    template = compiled_template(signed.body, around).template
    contract = contract_change(
        hub, None, signed, template, around.mpasses, now=around.now, registry_seq=around.registry_seq
    )
    shown = signed if contract.step is None else assemble([contract.step])
    return Decision(
        change=replace(contract.directory or DirectoryChange(), record=_record(hub, caller, signed, around)),
        contract=contract,
        answer=Document(body=contract_document(hub, shown), revision=shown.revision),
        needs_checker=takes_two(template),
    )


def _record(hub: Hub, caller: Caller, contract: Contract, around: Circumstances) -> bytes:
    body = contract.body
    facts = {
        "template": f"{body.template_id}/{body.version}",
        "body_sha256": base64url.sha256(contract.body_bytes),
    }
    return make_record(
        hub,
        caller,
        Operation.SUBMIT_CONTRACT,
        subject=body.contract_id,
        change=facts,
        registry_seq=around.registry_seq,
    )


def circumstances_of(hub: Hub, body: ContractBody) -> Circumstances:
    """Return what a contract of Moneta's own doing is judged by: no signature of a party's, so no keys."""
    record, now = hub.directory.template(body.template_id, body.version), hub.clock.now_ms()
    mpasses = hub.directory.mpasses([] if body.mpass_id is None else [body.mpass_id])
    counters = keys_of_counters([body], mpasses, now)
    return Circumstances(
        audience=hub.base_url,
        now=now,
        registry_seq=hub.directory.registry_position(),
        contract=hub.contracts.read([body.contract_id]).get(body.contract_id),
        organizations=hub.directory.organizations(body.parties(), is_fresh=True),
        keys={},
        mpasses=mpasses,
        spent=hub.directory.spent(counters) if counters else {},
        record=record,
        compiled=None if record is None else hub.templates.compile(record.payload),
        superseded=find_superseded(hub, body),
    )
