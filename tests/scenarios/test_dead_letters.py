"""Poison: events that meet a bug at every try end as dead letters, cost nobody else anything, and come back when asked.

The bar is 100 among 10,000; here is a tenth of both. Time is the clock's that the processor sleeps by, so that all the
tries of an event take no time.
"""

import json
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from moneta.application import dead_letters
from moneta.application.ingest_events import EventRequest, ingest_events
from moneta.application.ports import EventStatus, EventType, IdentityRole
from moneta.domain.errors import ForbiddenError, InvalidParameterError, NotFoundError
from moneta.domain.limits import INGEST_BATCH_MAX, LIST_LIMIT_MAX, PROCESS_TRIES_MAX
from moneta.entrypoints.worker.processor import Processor
from tests.hub import MO, PUBLISHER

COUNT, POISON = 1_000, 10


class Poisoned:
    """A store of contracts that some contracts break whoever reads them: a bug that certain bytes set off."""

    def __init__(self, port, poison):
        self.port, self.poison = port, poison

    def __getattr__(self, name):
        return getattr(self.port, name)

    def read(self, contract_ids):
        if self.poison & set(contract_ids):
            raise ZeroDivisionError("planted")
        return self.port.read(contract_ids)


class Market:
    """Many contracts of one pair of parties; ``poison`` breaks every ``nth`` of them until it is emptied."""

    def __init__(self, house):
        self.house, self.poison = house, set()
        self.mo, self.publisher = house.register(MO, "MOA", "EdDSA"), house.register(PUBLISHER, "PUBA")
        self.mpass = house.issue_mpass(self.mo)
        self.hub = replace(house.hub, contracts=Poisoned(house.hub.contracts, self.poison))

    def accept(self, count, *, poison):
        """Accept ``count`` submissions, ``poison`` of them spread among the others."""
        names = [f"c-{number:05}" for number in range(count)]
        self.poison |= set(names[:: count // poison])
        requests = [self.submission(name) for name in names]
        for start in range(0, count, INGEST_BATCH_MAX):
            ingest_events(self.house.hub, requests[start : start + INGEST_BATCH_MAX])
        return names

    def submission(self, name):
        body = self.house.body(self.mo, self.publisher, self.mpass, contract_id=name)
        data = {"contract": self.house.sign_first(self.mo, body)}
        raw = self.house.event(self.mo, EventType.SUBMIT, name, data, f"e-{name}")
        return EventRequest(token=self.house.token(self.mo), raw=raw)

    def work(self):
        """Process until nothing waits any more."""

        def wait(seconds):
            if self.hub.queue.depth() == 0:
                processor.stop()
            self.house.clock.advance(seconds)

        processor = Processor(self.hub, on_progress=lambda: None, wait=wait)
        with capture_logs():  # a trace of each failure: thousands
            processor.run()

    def statuses(self, names):
        events = [self.hub.events.find(self.mo.organization_id, f"e-{name}") for name in names]
        return [event.status for event in events]

    def letters(self, **parameters):
        """Every dead letter, page by page."""
        found, given = [], parameters
        for _ in range(1_000):
            page = dead_letters.list_dead_letters(self.hub, self.house.operator, given).body
            found += page["items"]
            if page["next_cursor"] is None:
                break
            given = {**parameters, "cursor": page["next_cursor"]}
        return found

    def redrive(self, letters):
        for letter in letters:
            assert dead_letters.redrive(self.hub, self.house.operator, letter["id"]).body == letter


@pytest.fixture
def market(house):
    return Market(house)


def test_poison_ends_in_the_dead_letters_and_everything_else_is_done(market):
    names = market.accept(COUNT, poison=POISON)
    poisoned, others = sorted(market.poison), sorted(set(names) - market.poison)
    market.work()
    assert set(market.statuses(others)) == {EventStatus.PROCESSED}
    assert set(market.statuses(poisoned)) == {EventStatus.ACCEPTED}
    letters = market.letters(limit=str(LIST_LIMIT_MAX))
    assert sorted(letter["contract_id"] for letter in letters) == poisoned
    assert {(letter["tries"], letter["reason"]) for letter in letters} == {(PROCESS_TRIES_MAX, "ZeroDivisionError")}

    # Redriven while the bug is still there, each comes back as another letter.
    market.redrive(letters)
    market.work()
    again = market.letters(limit="7")
    assert sorted(letter["event_id"] for letter in again) == [f"e-{name}" for name in poisoned]
    assert not {letter["id"] for letter in letters} & {letter["id"] for letter in again}

    # The bug is mended.
    market.poison.clear()
    market.redrive(again)
    market.work()
    assert market.letters() == []
    assert set(market.statuses(names)) == {EventStatus.PROCESSED}
    found = market.hub.contracts.read(names)
    assert {one.revision for one in found.values()} == {1}
    assert len(found) == COUNT


def test_a_letter_says_what_it_is_without_its_payload(market):
    (name,) = market.accept(1, poison=1)
    market.work()
    (letter,) = market.letters()
    assert letter == {
        "id": "1",
        "queue": "events",
        "source": market.mo.organization_id,
        "event_id": f"e-{name}",
        "contract_id": name,
        "tries": PROCESS_TRIES_MAX,
        "died_at": letter["died_at"],
        "reason": "ZeroDivisionError",
    }
    assert "100.00" not in json.dumps(letter)


def test_a_letter_is_redriven_once(market):
    market.accept(1, poison=1)
    market.work()
    (letter,) = market.letters()
    market.redrive([letter])
    with pytest.raises(NotFoundError):
        dead_letters.redrive(market.hub, market.house.operator, letter["id"])
    assert market.hub.queue.depth() == 1


def test_only_the_operator_redrives(market):
    market.accept(1, poison=1)
    market.work()
    auditor = market.house.caller(market.house.add_identity("auditor", IdentityRole.AUDITOR))
    (letter,) = dead_letters.list_dead_letters(market.hub, auditor, {}).body["items"]
    for caller in (auditor, market.house.caller(market.mo)):
        with pytest.raises(ForbiddenError):
            dead_letters.redrive(market.hub, caller, letter["id"])
    with pytest.raises(ForbiddenError):
        dead_letters.list_dead_letters(market.hub, market.house.caller(market.mo), {})


@pytest.mark.parametrize("parameters", [{"limit": "0"}, {"limit": "201"}, {"cursor": "x"}, {"status": "dead"}])
def test_a_wrong_parameter_is_refused(market, parameters):
    with pytest.raises(InvalidParameterError):
        dead_letters.list_dead_letters(market.hub, market.house.operator, parameters)
