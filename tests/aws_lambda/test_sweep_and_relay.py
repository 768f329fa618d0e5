"""The sweep does each of its parts whatever becomes of the others; the relay completes what a stream tells of."""

import json
from contextlib import nullcontext

import pytest

from moneta.application import organizations
from moneta.application.organization_keys import change_key_status
from moneta.domain.contracts import status_of
from moneta.domain.errors import StoreUnavailableError
from moneta.domain.limits import ANNOUNCE_AHEAD_S, EXPIRY_GRACE_S, PROCESS_BATCH_MAX, SWEEP_RESERVE_S, WARN_EVERY_S
from moneta.entrypoints.aws_lambda import relay, sweep
from moneta.entrypoints.aws_lambda.sweep import PARTS, Sweep, SweepError
from tests.aws_lambda.gateway import new_figures
from tests.aws_lambda.loopback import CALLS_MAX, PORTS, Away, Broken, Crash, Dying, Relay, kept
from tests.certificates import make_certificate
from tests.signing_examples import key_of

AMPLE_MS = 60_000
TERM_S = 60


def sweep_once(loopback, *, left_ms=lambda: AMPLE_MS, figures=None, **changed):
    serverless = loopback.serverless(**changed)
    done = sweep.handle(Sweep(serverless=serverless, figures=figures or new_figures(), left_ms=left_ms))
    return done, serverless


def statuses(loopback, *names):
    found = loopback.test_hub.hub.contracts.read(names)
    return [status_of(found[name]) for name in names]


def submit(loopback, send, name, **changed):
    send(name, **changed)
    loopback.test_hub.process()


def test_what_is_over_expires(loopback, send):
    test_hub = loopback.test_hub
    submit(loopback, send, "c-over", expires_at=test_hub.hub.now_s() + TERM_S)
    submit(loopback, send, "c-open", expires_at=test_hub.hub.now_s() + 2 * TERM_S)
    test_hub.clock.advance(TERM_S + EXPIRY_GRACE_S)
    done, _ = sweep_once(loopback)
    assert done["expired"] == 1
    assert statuses(loopback, "c-over", "c-open") == ["expired", "pending_publisher_signature"]


def test_more_than_a_batch_expires_in_one_sweep(loopback, send):
    test_hub, count = loopback.test_hub, PROCESS_BATCH_MAX + 1
    for number in range(count):
        send(f"c-{number}", expires_at=test_hub.hub.now_s() + TERM_S)
    while test_hub.hub.queue.depth():
        test_hub.process()
    test_hub.clock.advance(TERM_S + EXPIRY_GRACE_S)
    done, _ = sweep_once(loopback)
    assert done["expired"] == count


def test_what_a_compromised_key_has_signed_is_declined(loopback, send):
    test_hub = loopback.test_hub
    submit(loopback, send, "c-1")
    change_key_status(
        test_hub.hub,
        test_hub.operator,
        test_hub.mo.kind,
        test_hub.mo.organization_id,
        test_hub.mo.key.public.key_id,
        {"status": "compromised", "since": test_hub.hub.now_s() - 1},
    )
    done, _ = sweep_once(loopback)
    assert done["declined"] == 1
    assert statuses(loopback, "c-1") == ["declined"]


def test_what_will_be_due_before_the_next_sweep_is_announced_and_the_unfinished_completed(loopback):
    done, serverless = sweep_once(loopback)
    assert serverless.lines.announced_until == loopback.test_hub.hub.clock.now_ms() + ANNOUNCE_AHEAD_S * 1000
    assert (done["announced"], done["completed"]) == (7, 3)


def test_once_an_hour_whoever_has_a_certificate_that_ends_is_told(loopback):
    test_hub, mo = loopback.test_hub, loopback.test_hub.mo
    key = key_of("ES256", f"{mo.code} contract").numbers
    certificate = make_certificate(key=key, ends_at=test_hub.hub.now_s() + 6 * 86_400)
    members = {"certificates": [certificate]}
    organizations.update_organization(test_hub.hub, test_hub.operator, mo.kind, mo.organization_id, members)
    test_hub.clock.advance(-test_hub.hub.now_s() % WARN_EVERY_S + 60)
    assert sweep_once(loopback)[0]["warned"] == 0
    test_hub.clock.advance(-test_hub.hub.now_s() % WARN_EVERY_S + 59)
    assert sweep_once(loopback)[0]["warned"] == 1
    test_hub.clock.advance(WARN_EVERY_S)
    assert sweep_once(loopback)[0]["warned"] == 0


def test_what_waits_is_measured(loopback, send):
    send("c-1")
    loopback.test_hub.clock.advance(30)
    figures = new_figures()
    sweep_once(loopback, figures=figures)
    shown = {}
    for line in figures.take_lines(0):
        shown |= json.loads(line)
    assert (shown["moneta_event_queue_depth"], shown["moneta_event_queue_age_seconds"]) == (1, 30)
    assert (shown["moneta_dead_letters"], shown["moneta_deliveries_dead"]) == (0, 0)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("faulty", [Away(), Broken()], ids=["away", "broken"])
def test_each_part_is_done_whatever_becomes_of_the_others(loopback, port, faulty):
    serverless = loopback.serverless(**{port: faulty})
    with pytest.raises(SweepError) if port != "events" else nullcontext():
        sweep.handle(Sweep(serverless=serverless, figures=new_figures(), left_ms=lambda: AMPLE_MS))
    assert serverless.lines.announced_until is not None


def test_no_part_is_begun_without_the_time_for_it(loopback):
    left = iter([AMPLE_MS, SWEEP_RESERVE_S * 1000, SWEEP_RESERVE_S * 1000 - 1])
    done, _ = sweep_once(loopback, left_ms=lambda: next(left))
    assert list(done) == list(PARTS)[:2]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_sweep_that_dies_at_any_call_is_made_good_by_the_next(loopback, send, moment):
    hub = loopback.test_hub.hub
    for number in range(CALLS_MAX):
        name = f"c-{number}"
        submit(loopback, send, name, expires_at=hub.now_s() + TERM_S)
        loopback.test_hub.clock.advance(TERM_S + EXPIRY_GRACE_S)
        dying = Dying(hub, number, moment)
        try:
            sweep_once(loopback, **dying.ports)
        except Crash:
            sweep_once(loopback)
        assert statuses(loopback, name) == ["expired"]
        assert hub.contracts.read([name])[name].revision == 2
        if dying.calls <= number:
            return
    raise AssertionError(f"the sweep makes more than {CALLS_MAX} calls")


# The relay.


def stream(*records):
    """Return a batch of a table's stream: (event name, contract, seq)."""
    return {
        "Records": [
            {
                "eventID": f"id-{number}",
                "eventName": name,
                "eventSource": "aws:dynamodb",
                "dynamodb": {
                    "Keys": {"contract_id": {"S": contract_id}, "seq": {"N": str(seq)}},
                    "NewImage": {"contract_id": {"S": contract_id}, "seq": {"N": str(seq)}},
                    "SequenceNumber": f"{number}00",
                    "StreamViewType": "NEW_IMAGE",
                },
            }
            for number, (name, contract_id, seq) in enumerate(records)
        ]
    }


def relayed(batch, ready):
    return kept(relay.handle(lambda: ready, batch))


BATCH = stream(
    ("INSERT", "c-1", 1), ("INSERT", "c-1", 0), ("MODIFY", "c-1", 0), ("INSERT", "c-2", 3), ("REMOVE", "c-3", 1)
)


def test_every_new_step_is_completed_and_nothing_else():
    ready = Relay()
    assert relayed(BATCH, ready) == []
    assert ready.completed == [("c-1", 1), ("c-2", 3)]


def test_a_batch_without_a_new_step_asks_for_nothing():
    def make():
        raise AssertionError("nothing is asked of the store")

    assert kept(relay.handle(make, stream(("MODIFY", "c-1", 0)))) == []


def test_a_store_that_is_away_makes_all_records_come_again():
    away = Relay(failing=[("c-2", 3)], error=StoreUnavailableError("DynamoDB: ThrottlingException"))
    assert relayed(BATCH, away) == ["000"]


def test_from_the_first_step_that_meets_a_bug_all_come_again():
    broken = Relay(failing=[("c-2", 3)], error=RuntimeError("a bug"))
    assert relayed(BATCH, broken) == ["300"]
    assert broken.completed == [("c-1", 1)]
