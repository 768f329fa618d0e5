"""Ends that Moneta causes by itself: by a term, by silence that counts, and for a key that was compromised.

An expiry is committed only after everything that the hub received before the term has been processed: a signature
received in time counts (protocol, section 4). What is received later is refused whether or not the expiry is committed,
so nothing depends on how soon this runs.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from moneta.application.countersign import ended_by_moneta
from moneta.application.keyring import compromised_signature
from moneta.application.ports import Change, Committed, Hub
from moneta.application.process_events import contract_change
from moneta.domain.contracts import ActName, Contract, end_of
from moneta.domain.errors import Refused
from moneta.domain.identifiers import ContractId, MPassId, OrganizationId, RegistrySeq, UnixMillis, UnixSeconds
from moneta.domain.keys import RegisteredKey
from moneta.domain.limits import EXPIRY_GRACE_S, LIST_LIMIT_MAX, PROCESS_BATCH_MAX
from moneta.domain.mpasses import MPass
from moneta.domain.templates import Template, TemplateRecord

EXPIRED_REASON = ("expired", "the contract's term is over")
DEEMED_REASON = ("deemed_acknowledged", "whoever was asked was silent for as long as the template waits")
COMPROMISED_REASON = ("key_compromised", "a signature on it is by a key that was reported compromised")


def expire_contracts(hub: Hub) -> int:
    """End up to a batch of contracts that end by themselves, once a grace for messages on their way in is over.

    By their term they expire; by the silence of those who were asked to acknowledge they are finalized.

    Returns:
        How many changes were made; a full batch means that there may be more.
    """
    due = UnixSeconds(hub.now_s() - EXPIRY_GRACE_S)
    found = hub.contracts.read(hub.contracts.due_to_expire(before=due, limit=PROCESS_BATCH_MAX))
    ready = [
        contract
        for contract_id, contract in found.items()
        if contract.ends_at is not None
        and not hub.events.has_unprocessed(contract_id, received_before=UnixMillis(contract.ends_at * 1000))
    ]
    expired = [contract for contract in ready if contract.ends_at == contract.expires_at]
    silent = [contract for contract in ready if contract.ends_at != contract.expires_at]
    spoilt = _signed_by_compromised(hub, silent)  # silence finalizes nothing that the sweep has not come to yet
    outcomes = [
        *_end(hub, expired, ActName.EXPIRE, *EXPIRED_REASON),
        *_end(hub, spoilt, ActName.DECLINE, *COMPROMISED_REASON),
        *_end(hub, [one for one in silent if one not in spoilt], ActName.DEEM, *DEEMED_REASON),
    ]
    return outcomes.count(Committed.COMMITTED)


def next_expiry_ms(hub: Hub) -> UnixMillis | None:
    """Return when ``expire_contracts`` next has something to do; None if no contract ends by itself."""
    term = hub.contracts.next_expiry()
    return None if term is None else UnixMillis((term + EXPIRY_GRACE_S) * 1000)


def decline_compromised(hub: Hub) -> int:
    """Decline the contracts still pending on a signature by a key that was compromised since the last time.

    The position reached is remembered only when all are declined, so that a crash in between, or a contract that
    changed meanwhile, makes it begin again.
    """
    position = hub.directory.registry_position()
    swept = hub.directory.swept_to()
    if position == swept:
        return 0
    keys = hub.directory.compromised_since(swept)
    outcomes = [outcome for key in keys for outcome in _decline_pending_on(hub, key)]
    if Committed.CONFLICT not in outcomes:
        hub.directory.mark_swept(RegistrySeq(position))
    return outcomes.count(Committed.COMMITTED)


def _signed_by_compromised(hub: Hub, contracts: Sequence[Contract]) -> Sequence[Contract]:
    position = hub.directory.registry_position()
    keys = hub.directory.keys_of(sorted({party for contract in contracts for party in contract.body.parties()}))
    return [one for one in contracts if compromised_signature(one, keys, judged_at=position) is not None]


def _decline_pending_on(hub: Hub, key: RegisteredKey) -> Sequence[Committed]:
    outcomes: list[Committed] = []
    for contract_ids in _pages_pending_with(hub, key.owner):
        contracts = hub.contracts.read(contract_ids).values()
        touched = [one for one in contracts if any(signature.key_id == key.key_id for signature in one.signatures)]
        outcomes.extend(_end(hub, touched, ActName.DECLINE, *COMPROMISED_REASON))
    return outcomes


def _pages_pending_with(hub: Hub, organization: OrganizationId) -> Sequence[Sequence[ContractId]]:
    """Return all pages before any is worked on, since what is ended leaves the list under the cursor."""
    pages: list[Sequence[ContractId]] = []
    cursor: str | None = None
    while True:  # ends with the last page: a list is finite, and each page moves the cursor
        page = hub.contracts.pending_with(organization, limit=LIST_LIMIT_MAX, cursor=cursor)
        pages.append(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return pages


def _end(hub: Hub, contracts: Sequence[Contract], name: ActName, reason_code: str, reason: str) -> Sequence[Committed]:
    """End what is still open, and tell what became of each; a conflict is a contract that changed meanwhile."""
    pending = [contract for contract in contracts if end_of(contract) is None]
    templates = _templates_of(hub, pending)
    mpasses = hub.directory.mpasses(sorted({one.body.mpass_id for one in pending if one.body.mpass_id is not None}))
    changes = [
        _change(
            hub,
            contract,
            templates[_template_name(contract)],
            mpasses,
            name=name,
            reason_code=reason_code,
            reason=reason,
        )
        for contract in pending
    ]
    if not changes:
        return ()
    outcomes = hub.contracts.commit(changes)
    hub.observer.committed([None] * len(changes), changes, outcomes)
    return outcomes


def _templates_of(hub: Hub, contracts: Sequence[Contract]) -> Mapping[tuple[str, int], Template]:
    """Return each contract's template: a version that a contract is under is there for ever."""
    found: dict[tuple[str, int], Template] = {}
    for name in {_template_name(contract) for contract in contracts}:
        record = cast("TemplateRecord", hub.directory.template(*name))
        found[name] = hub.templates.compile(record.payload).template
    return found


def _template_name(contract: Contract) -> tuple[str, int]:
    return contract.body.template_id, contract.body.version


def _change(  # one argument a fact that the end rests on
    hub: Hub,
    contract: Contract,
    template: Template,
    mpasses: Mapping[MPassId, MPass],
    *,
    name: ActName,
    reason_code: str,
    reason: str,
) -> Change:
    now, position = hub.clock.now_ms(), hub.directory.registry_position()
    end = partial(ended_by_moneta, hub, contract, now=now)
    change = partial(contract_change, hub, contract, template=template, mpasses=mpasses, now=now, registry_seq=position)
    try:
        return change(end(name=name, reason_code=reason_code, reason=reason))
    except Refused as refusal:  # what silence would finalize can't be done any more
        return change(end(name=ActName.DECLINE, reason_code=refusal.code, reason=refusal.detail))
