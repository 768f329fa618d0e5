"""What operators and organizations ask of a hub beside contracts: every other kind of write that its store knows."""

from contextlib import suppress

from moneta.application.authenticate import authenticate
from moneta.application.dead_letters import redrive
from moneta.application.endpoint_tests import send_endpoint_test
from moneta.application.forget_past import forget_past
from moneta.application.mpasses import issue_mpass
from moneta.application.organization_keys import change_key_status
from moneta.application.redelivery import replay_deliveries
from moneta.domain.errors import NotFoundError
from moneta.domain.identifiers import MPassId
from moneta.domain.organizations import OrganizationKind
from moneta.domain.retention import Retention
from moneta.domain.templates import Role
from tests.torture.house import CONTRACT_KEYS, OPERATOR, house, key_of, make_token
from tests.torture.world import Process, World

FORGETS_ANSWERS_AT_ONCE = Retention(answers_days=0)
"""Of the rest nothing is forgotten: a world lasts for minutes, and what is forgotten can't be looked for."""
LETTERS_MAX = 100


def operator_of(process: Process):
    """Return the operator as a caller of that process."""
    hub = process.hub
    return authenticate(hub, make_token(OPERATOR, OPERATOR, hub.now_s()))


def compromise(world: World, process: Process) -> None:
    """Have the operator report a key as compromised; each organization keeps one that is good."""
    one = world.chance.choice(list(house().organizations.values()))
    number = world.chance.randrange(1, CONTRACT_KEYS)
    name = f"{one.code} contract {number}"
    hub, key = process.hub, key_of(name).public
    if name in world.partners.compromised or world.chance.random() < 0.5:
        return
    operator = operator_of(process)
    found = hub.directory.keys_of([one.organization_id], is_fresh=True)[one.organization_id][key.key_id]
    if found.status != "compromised":  # by a change whose answer nobody heard
        world.partners.compromised.add(name)
        change_key_status(
            hub, operator, OrganizationKind(one.role), one.organization_id, key.key_id, {"status": "compromised"}
        )
    world.partners.compromised.add(name)


def issue(world: World, process: Process) -> None:
    """Have an MO issue an mPass; one whose answer it got must be there in the end."""
    one = world.chance.choice([member for member in house().organizations.values() if member.role is Role.MO])
    hub = process.hub
    caller = authenticate(hub, one.token(hub.now_s()))
    members = {"mo_id": one.organization_id, "member_ref": f"member {len(world.partners.issued)}"}
    world.partners.issued.append(MPassId(str(issue_mpass(hub, caller, members).body["id"])))


def replay(world: World, process: Process) -> None:
    """Have an operator ask for all messages of a contract again, under a key that lets the hub know the request."""
    if world.partners.deals:
        asked = {"contract_id": world.chance.choice(list(world.partners.deals))}
        key = f"{asked['contract_id']} {world.chance.randrange(3)}"
        replay_deliveries(process.hub, operator_of(process), asked, idempotency_key=key)


def probe(world: World, process: Process) -> None:
    """Have an organization ask for a test message."""
    one = world.chance.choice(list(house().organizations.values()))
    send_endpoint_test(process.hub, operator_of(process), OrganizationKind(one.role), one.organization_id)


def bury(_world: World, process: Process) -> None:
    """Bury an event, as after its last try, whatever it was that it met."""
    if process.taken:
        event, *others = process.taken.pop(0)
        process.taken += [others] if others else []
        process.hub.queue.bury(event, reason="torture")


def redrive_all(_world: World, process: Process) -> None:
    """Have an operator give the dead letters back."""
    for letter in process.hub.queue.dead_letters(limit=LETTERS_MAX).items:
        with suppress(NotFoundError):  # another operator did it in between
            redrive(process.hub, operator_of(process), letter.letter_id)


def forget(_world: World, process: Process) -> None:
    """Forget what is over."""
    for _ in forget_past(process.hub, FORGETS_ANSWERS_AT_ONCE):
        pass
