"""What the processes of a hub do by themselves, each with the bad luck that it always has.

Clients do not see their 202 and send again, events come twice and in any order, what was taken is held until its lease
is over, requests and answers of webhooks are lost, messages go out again after they were delivered. Each action takes
the world and the process.
"""

from collections.abc import Sequence
from itertools import pairwise

from moneta.application.deliver_webhooks import PreparedAttempt, prepare_attempts, record_attempts
from moneta.application.end_contracts import decline_compromised, expire_contracts
from moneta.application.ingest_events import Accepted, EventRequest, ingest_events
from moneta.application.ports import Answer, NoAnswer
from moneta.application.process_events import process_or_return
from moneta.domain.errors import EventIdReusedError, StoreUnavailableError
from tests.torture.operating import bury, compromise, forget, probe, redrive_all, replay
from tests.torture.partners import Sent
from tests.torture.world import LEASE_S, Process, World, stop

HELD_MAX = 5
DOUBLES_SHARE = 0.1
ANSWERS_LOST_SHARE = 0.1


def ingest(world: World, process: Process) -> None:
    """Clients send what they have, some of it twice, some of it again though they have their 202."""
    chance, partners = world.chance, world.partners
    for _ in range(chance.choice((0, 1, 1, 2))):
        partners.start_deal()
    waiting = partners.waiting()
    chosen = chance.sample(waiting, min(len(waiting), chance.randint(1, 6)))
    doubles = [one for one in chosen if chance.random() < DOUBLES_SHARE]
    chosen += doubles
    known = [one for one in partners.sent.values() if one.received_at is not None]
    if known and chance.random() < 0.3:
        chosen.append(chance.choice(known))
    chance.shuffle(chosen)
    world.tally.doubled += len(doubles)
    world.tally.out_of_order += out_of_order(world, chosen)
    send(world, process, chosen)
    if known and chance.random() < 0.05:
        reuse(world, process, chance.choice(known))


def out_of_order(world: World, chosen: Sequence[Sent]) -> int:
    """Return how many events are sent after one that its client wrote later."""
    written = {name: number for number, name in enumerate(world.partners.sent)}
    return sum(written[first.name] > written[then.name] for first, then in pairwise(chosen))


def send(world: World, process: Process, chosen: Sequence[Sent]) -> None:
    """Send events in one batch, and note what is acknowledged; some clients never see it."""
    now = process.hub.now_s()
    requests = [EventRequest(token=one.source.token(now), raw=one.raw) for one in chosen]
    for one, answer in zip(chosen, ingest_events(process.hub, requests) if requests else (), strict=True):
        if not isinstance(answer, Accepted):
            world.faults.append(f"event {one.event_id} was refused: {answer}")
        elif not world.is_quiet and world.chance.random() < ANSWERS_LOST_SHARE:
            world.tally.answers_lost += 1
        else:
            world.tally.accepted += one.received_at is None
            world.tally.replayed += answer.is_replay
            if one.received_at not in {None, answer.received_at}:
                world.faults.append(f"event {one.event_id} was acknowledged twice, and not the same")
            one.received_at = answer.received_at


def reuse(world: World, process: Process, one: Sent) -> None:
    """Send other bytes under an id that was acknowledged: they must be refused, whatever became of the first."""
    raw = one.raw.replace(b'"specversion":"1.0"', b'"specversion": "1.0"')
    (answer,) = ingest_events(process.hub, [EventRequest(token=one.source.token(process.hub.now_s()), raw=raw)])
    if not isinstance(answer, EventIdReusedError):
        world.faults.append(f"event {one.event_id}: other bytes under its id were acknowledged")


def take(world: World, process: Process) -> None:
    """Take events, and work on them now or later, perhaps when the lease is over."""
    if len(process.taken) < HELD_MAX:
        events = process.hub.queue.take(limit=world.chance.choice((1, 1, 3, 8)), lease_s=LEASE_S)
        if events:
            process.taken.append(events)
    if world.chance.random() < 0.5:
        process_taken(world, process)


def process_taken(world: World, process: Process) -> None:
    """Process something that was taken, in any order."""
    if not process.taken:
        return
    chance = world.chance
    events = list(process.taken.pop(chance.randrange(len(process.taken))))
    chance.shuffle(events)
    try:
        with world.during("process"):
            again = process_or_return(process.hub, events, world.bug)
            if again:
                process.hub.queue.release(again, delay_s=0)
    except StoreUnavailableError:
        process.taken.append(events)  # as the processor does: tried again, first thing
        raise


def give_back(world: World, process: Process) -> None:
    """Give back what was taken, for now or for later."""
    if process.taken:
        process.hub.queue.release(process.taken.pop(), delay_s=world.chance.choice((0, 1)))


def deliver(world: World, process: Process) -> None:
    """Take what is due, send it through a bad network, and record what came of it, now or later."""
    record(world, process, most=2 if not world.is_quiet else None)
    hub, limit = process.hub, world.chance.choice((1, 4, 16))
    due = hub.deliveries.take_due(now=hub.clock.now_ms(), limit=limit, lease_s=LEASE_S)
    if due:
        prepared = list(prepare_attempts(hub, due))
        world.chance.shuffle(prepared)
        for one in prepared:
            world.reach("sender.send:before")
            process.came.append((one, transmit(world, one)))
            world.reach("sender.send:after")
    if world.chance.random() < 0.8:
        record(world, process)


def transmit(world: World, one: PreparedAttempt) -> Answer | NoAnswer:
    """Send a webhook: it may not arrive, arrive twice, or its answer may be lost."""
    luck = 1.0 if world.is_quiet else world.chance.random()
    if luck < 0.05:
        return NoAnswer(reason="connect", detail="", duration_ms=1)
    answer = world.partners.receive(one.request)
    if luck < 0.15:
        answer = world.partners.receive(one.request)
    if luck > 0.2:
        return answer
    return NoAnswer(reason="timeout", detail="", duration_ms=1)


def record(world: World, process: Process, *, most: int | None = None) -> None:
    """Record attempts in any order; a fifth of what was delivered goes out again, as after a lease that ended."""
    chance = world.chance
    chance.shuffle(process.came)
    batch, process.came = process.came[:most], process.came[len(process.came[:most]) :]
    if not batch:
        return
    try:
        with world.during("record"):
            record_attempts(process.hub, batch)
    except StoreUnavailableError:
        process.came += batch  # as the deliverer does: tried again
        raise
    delivered = [one for one, answer in batch if isinstance(answer, Answer)]
    again = [one for one in delivered if not world.is_quiet and chance.random() < 0.2]
    process.came.extend((one, transmit(world, one)) for one in again)
    world.tally.delivered += len(delivered)
    world.tally.sent_again += len(again)


def expire(_world: World, process: Process) -> None:
    """End the contracts whose term is over."""
    expire_contracts(process.hub)


def sweep(_world: World, process: Process) -> None:
    """Decline the contracts that are pending on a compromised key."""
    decline_compromised(process.hub)


def wait(world: World, _process: Process) -> None:
    """Let time pass, up to and beyond the end of a lease."""
    world.clock.advance(world.chance.choice((1, 3, LEASE_S + 1)))


# fmt: off
ACTIONS = {
    ("web",       ingest):        30,
    ("web",       compromise):     3,
    ("web",       replay):         2,
    ("web",       probe):          1,
    ("web",       redrive_all):    2,
    ("web",       wait):           4,
    ("web",       stop):           1,
    ("processor", take):          22,
    ("processor", process_taken): 16,
    ("processor", give_back):      1,
    ("processor", bury):           1,
    ("processor", expire):         6,
    ("processor", sweep):          4,
    ("processor", forget):         1,
    ("processor", stop):           1,
    ("deliverer", deliver):       24,
    ("deliverer", stop):           1,
}
# fmt: on
