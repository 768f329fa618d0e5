"""What must be true of a hub that has come to rest, whatever it went through.

1. Every acknowledged event has exactly one outcome, and it is the one that the contract's end says.
2. Every contract's signatures are a prefix of its order and verify, and so does the receipt of its end; it has one end.
3. What is owed is what the contracts and the rejections make the hub owe, each message once, and all of it delivered.
   A test of an endpoint is tried once, and owes nobody anything.
4. The receivers were told exactly that, and what they signed in their answers is there.
5. The numbers agree: leaves without a gap, one for each step and change; an event a row; counters that match the lists.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from moneta.adapters.embedded.database import rows
from moneta.adapters.embedded.store import EmbeddedStore
from moneta.application.deliver_webhooks import contract_jws
from moneta.application.ports import (
    DeliveryQuery,
    DeliveryRecord,
    DeliveryStatus,
    EventRecord,
    EventStatus,
    Hub,
    WebhookType,
)
from moneta.domain.contracts import Contract, end_of
from moneta.domain.errors import Refused
from moneta.domain.identifiers import ContractId, EventId, MPassId, OrganizationId
from moneta.domain.templates import Role
from moneta.signing import jws
from moneta.signing.chain import verify_chain
from moneta.signing.statements import verify_receipt
from tests.signing_examples import HUB
from tests.torture.actions import deliver, expire, process_taken, send, sweep, take
from tests.torture.house import CONTRACT_KEYS, RepeatableSigner
from tests.torture.operating import redrive_all
from tests.torture.partners import Deal
from tests.torture.world import Found, Process, World

ROUNDS_MAX = 200
ROUND_S = 4
PAGE = 200
REFUSALS = {
    # what an event may be refused for, that is no fault of the hub's
    "moneta.contract.submit": {"contract_expired", "key_not_valid"},
    "moneta.contract.sign": {"contract_closed", "key_not_valid"},
    "moneta.contract.decline": {"contract_closed", "key_not_valid"},
    "moneta.contract.cancel": {"contract_closed", "key_not_valid", "unknown_contract"},
}
END_OF = {"moneta.contract.sign": "finalized", "moneta.contract.cancel": "cancelled"}
END_OF |= {"moneta.contract.decline": "declined"}


def send_all(world: World, process: Process) -> None:
    """Have every client send what it has no 202 for."""
    with world.during("ingest"):
        send(world, process, world.partners.waiting())


# fmt: off
QUIET = (
    ("web",       send_all),
    ("web",       redrive_all),
    ("processor", process_taken),
    ("processor", take),
    ("processor", sweep),
    ("processor", expire),
    ("deliverer", deliver),
)
# fmt: on


def settle(world: World) -> None:
    """Let nothing go wrong any more, and everybody do what is left to do, until there is nothing."""
    world.strike_none()
    world.is_quiet, world.may_fail, world.disk.is_full = True, False, False
    for _ in range(ROUNDS_MAX):
        if is_settled(world):
            return
        for name, action in QUIET:
            world.perform(name, action)
            world.check()
        world.clock.advance(ROUND_S)
    raise Found("the hub does not come to rest")


def is_settled(world: World) -> bool:
    """Tell whether there is nothing left to do."""
    with world.looking() as (hub, _):
        return (
            all(one.received_at is not None for one in world.partners.sent.values())
            and hub.queue.depth() == hub.queue.backlog().dead_letters == 0
            and hub.deliveries.backlog().pending == 0
            and hub.contracts.next_expiry() is None
            and hub.directory.swept_to() == hub.directory.registry_position()
        )


def check_end(world: World) -> None:
    """Raise if anything was lost, or happened twice, or in the wrong order."""
    settle(world)
    with world.looking() as (hub, store):
        world.witness.check_all_kept(hub)
        contracts = hub.contracts.read(list(world.partners.deals))
        events = all_events(world, hub)
        deliveries = all_deliveries(hub)
        told = [one for one in deliveries if one.owed.type is not WebhookType.ENDPOINT_TEST]
        for deal in world.partners.deals.values():
            about = [one for one in events.values() if one is not None and one.contract_id == deal.contract_id]
            world.faults.extend(faults_of_deal(deal, contracts.get(deal.contract_id), about))
        world.faults.extend(faults_of_deliveries(contracts, events, told))
        world.faults.extend(faults_of_receivers(world, told))
        world.faults.extend(faults_of_compromise(hub, contracts))
        world.faults.extend(faults_of_issued(hub, world.partners.issued))
        world.faults.extend(faults_of_numbers(store, contracts, events, deliveries))
    world.tally.digests.append(world.digest.hexdigest())
    world.tally.contracts = len(contracts)
    world.tally.finalized = sum(end_of(one) == "finalized" for one in contracts.values())
    world.check()


def faults_of_issued(hub: Hub, issued: Sequence[MPassId]) -> Iterator[str]:
    """Give what is wrong with mPasses whose MO got an answer: each is there, at a place that no other has."""
    found = hub.directory.mpasses(issued)
    places = [(mpass.mo_id, mpass.status_place) for mpass in found.values()]
    yield from (f"mPass {mpass_id}: answered, and not there" for mpass_id in issued if mpass_id not in found)
    yield from (f"status place {place}: given twice" for place in set(places) if places.count(place) > 1)


def all_events(world: World, hub: Hub) -> Mapping[tuple[OrganizationId, EventId], EventRecord | None]:
    """Return every event that there must be: those that were sent, and those that receivers gave in their answers."""
    answers = [
        (organization.organization_id, EventId(webhook_id))
        for organization in world.partners.by_id.values()
        for webhook_id, told in world.partners.told[organization.code].items()
        if told.answer
    ]
    return {name: hub.events.find(*name) for name in [*world.partners.sent, *answers]}


def all_deliveries(hub: Hub) -> Sequence[DeliveryRecord]:
    """Return every delivery."""
    found, cursor = [], None
    while True:
        page = hub.deliveries.list(DeliveryQuery(visible_to=None, limit=PAGE, cursor=cursor))
        found.extend(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return found


# Each gives the faults that it finds, in words.


def faults_of_deal(deal: Deal, contract: Contract | None, events: Sequence[EventRecord]):
    """(1), (2)."""
    status = "none" if contract is None else end_of(contract) or "pending"
    for event in events:
        fault = fault_of_event(event, status, contract)
        if fault is not None:
            yield f"contract {deal.contract_id} is {status}, but event {event.event_id} {fault}"
    done = [END_OF[event.type] for event in events if event.problem is None and event.type in END_OF]
    if status in {"finalized", "cancelled"} and status not in done:
        yield f"contract {deal.contract_id} is {status}, and no event did it"
    if contract is not None:
        yield from faults_of_contract(deal, contract)


def fault_of_event(event: EventRecord, status: str, contract: Contract | None) -> str | None:
    """(1): return what is wrong with an outcome, given how the contract stands."""
    code = None if event.problem is None else json.loads(event.problem)["code"]
    if event.status is EventStatus.ACCEPTED:
        return "has no outcome"
    if code is not None and code not in REFUSALS[event.type]:
        return f"was rejected: {code}"
    if event.type == "moneta.contract.submit":
        return None if (code is None) == (contract is not None) else f"was {event.status}: {code}"
    if code is None:
        return None if status == END_OF[event.type] else "was processed"
    if code == "contract_closed" and contract is not None:
        return fault_of_closed(event, status, contract)
    return None


def fault_of_closed(event: EventRecord, status: str, contract: Contract) -> str | None:
    """(1): return what is wrong with a refusal because the contract had ended."""
    if status == "pending":
        return "was rejected: contract_closed"
    is_in_time = contract.expires_at is not None and event.received_at < contract.expires_at * 1000
    return "was received in time" if status == "expired" and is_in_time else None


def faults_of_contract(deal: Deal, contract: Contract):
    """(2)."""
    name, end = f"contract {deal.contract_id}", end_of(contract)
    order = [role for (role,) in contract.signing_order]
    if list(contract.signed_roles) != order[: len(contract.signed_roles)]:
        yield f"{name}: signed by {contract.signed_roles}"
    if len(contract.acts) > 1 or (contract.acts and len(contract.signed_roles) == len(order)):
        yield f"{name} ended twice"
    events = Counter(line.event for line in contract.log)
    if events["contract_created"] != 1 or sum(events[f"contract_{one}"] for one in (end,)) != (end is not None):
        yield f"{name}: its log says {dict(events)}"
    if contract.revision != 1 + (end is not None) or (contract.receipt is None) != (end is None):
        yield f"{name}: revision {contract.revision}, end {end}, receipt {contract.receipt}"
    try:
        signed = jws.parse_contract(contract_jws(contract))
        verify_chain(signed, audience=HUB, key_for=lambda role, kid: _key(deal, role, kid))
        if contract.receipt is not None:
            claims = verify_receipt(contract.receipt, lambda _: RepeatableSigner().public, issuer=HUB)
            if (claims["contract_id"], claims["status"]) != (deal.contract_id, end):
                yield f"{name}: its receipt says {claims['status']}"
    except Refused as refusal:
        yield f"{name} does not verify: {refusal.detail}"


def _key(deal: Deal, role: Role, key_id: str):
    if role is Role.MONETA:
        return RepeatableSigner().public
    party = deal.initiator if deal.initiator.role is role else deal.counterparty
    keys = [party.party(number).contract_key.public for number in range(CONTRACT_KEYS)]
    return next(key for key in keys if key.key_id == key_id)


def faults_of_deliveries(contracts, events, deliveries: Sequence[DeliveryRecord]):
    """(3)."""
    wanted = Counter(owed_by_contracts(contracts))
    wanted += Counter(
        (source, "rejected", event.contract_id)
        for (source, _), event in events.items()
        if event is not None and event.status is EventStatus.REJECTED
    )
    owed = Counter((one.owed.organization_id, _kind(one), one.owed.contract_id) for one in deliveries)
    for what in sorted(wanted.keys() | owed.keys()):
        if wanted[what] != owed[what]:
            yield f"{what[2]}: {what[1]} was owed {owed[what]} times instead of {wanted[what]}"
    for one in deliveries:
        if one.status is not DeliveryStatus.DELIVERED:
            yield f"delivery {one.owed.webhook_id} is {one.status}"


def owed_by_contracts(contracts: Mapping[ContractId, Contract]):
    """Give each message that the contracts make the hub owe: receiver, kind and contract."""
    for contract_id, contract in contracts.items():
        yield contract.body.party(list(contract.signing_order)[-1][0]), "signature_requested", contract_id
        end = end_of(contract)
        for party in contract.body.parties() if end is not None else ():
            yield party, str(end), contract_id


def faults_of_receivers(world: World, deliveries: Sequence[DeliveryRecord]):
    """(4)."""
    listed = {(world.partners.by_id[one.owed.organization_id].code, one.owed.webhook_id): one for one in deliveries}
    told = {
        (code, webhook_id): one
        for code, all_of in world.partners.told.items()
        for webhook_id, one in all_of.items()
        if one.type != "test"
    }
    for code, webhook_id in listed.keys() - told.keys():
        yield f"delivery {webhook_id} is delivered, and {code} was never told"
    for code, webhook_id in told.keys() - listed.keys():
        yield f"{code} was told {webhook_id}, and the hub knows nothing of it"
    for name in listed.keys() & told.keys():
        if (_kind(listed[name]), listed[name].owed.contract_id) != (told[name].type, told[name].contract_id):
            yield f"delivery {name[1]} is not what {name[0]} was told"


def faults_of_compromise(hub: Hub, contracts: Mapping[ContractId, Contract]):
    """(1): no contract waits for anybody on a signature by a key that was reported as compromised."""
    parties = sorted({party for contract in contracts.values() for party in contract.body.parties()})
    keys = {key_id: key for of_one in hub.directory.keys_of(parties).values() for key_id, key in of_one.items()}
    for contract_id, contract in contracts.items():
        signed = [keys[one.key_id].status for one in contract.signatures if one.key_id in keys]
        if end_of(contract) is None and "compromised" in signed:
            yield f"contract {contract_id} is pending on a signature by a compromised key"


def faults_of_numbers(store: EmbeddedStore, contracts, events, deliveries: Sequence[DeliveryRecord]):
    """(5)."""
    yield from (f"event {event_id} is lost" for (_, event_id), record in events.items() if record is None)
    count = Counter(one.status for one in deliveries)
    with store.database.read() as connection:
        numbers = {name: rows(connection, statement)[0][0] for name, statement in NUMBERS.items()}
    expected = {
        "faults of the file": "ok",
        "references to nothing": 0,
        "leaves missing": 0,
        "leaves of contracts": sum(contract.revision for contract in contracts.values()),
        "events": len(events),
        "events left over": 0,
        "deliveries": len(deliveries),
        **{f"deliveries {status}": count[status] for status in DeliveryStatus},
    }
    yield from (
        f"{name}: {numbers[name]} instead of {number}" for name, number in expected.items() if numbers[name] != number
    )


NUMBERS = {
    "faults of the file": "PRAGMA integrity_check",
    "references to nothing": "SELECT count(*) FROM pragma_foreign_key_check",
    "leaves missing": "SELECT max(leaf) - count(*) FROM leaves",
    "leaves of contracts": "SELECT count(*) FROM leaves WHERE kind = 0",
    "events": "SELECT count(*) FROM events",
    "events left over": "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM dead_letters)",
    "deliveries": "SELECT count(*) FROM deliveries",
    "deliveries pending": "SELECT count(*) FROM pending",
    "deliveries delivered": "SELECT count(*) FROM deliveries WHERE status = 1",
    "deliveries dead": "SELECT count(*) FROM deliveries WHERE status = 2",
}


def _kind(one: DeliveryRecord) -> str:
    return one.owed.type.rpartition(".")[2]
