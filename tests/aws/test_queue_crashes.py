"""A process dies before or after any of its calls to table and queue: no event is lost, and each has one outcome."""

import uuid

import pytest
from botocore.exceptions import ConnectTimeoutError

from moneta.application.ports import EventStatus, EventType, Taken
from moneta.domain.errors import StoreUnavailableError
from tests.aws.conftest import Crash, crash_at
from tests.conformance.builders import MO, NOW, delivered, new_event, owed_delivery, owing, race, submitted

pytestmark = pytest.mark.dynamodb

CALLS_MAX = 30
"""More than anything here makes: what does not end by then fails."""
LEASE_S = 60
UNSENT_S = 60
SENDING, REMOVAL = 2, 3
"""The calls of a redrive: it reads the letter, claims it, sends the message, removes the letter."""


class Hand:
    """What a queue is asked to do with an event of its own, by one process after the other."""

    def __init__(self, open_store, services, clock):
        self.open_store, self.services, self.clock = open_store, services, clock
        name = uuid.uuid4().hex
        self.event = new_event(f"event-{name}", contract_id=f"contract-{name}")

    def dies(self, moment, number, do):
        """Tell whether a process dies of doing it."""
        try:
            do(self.open_store(self.services.hooked(**{moment: crash_at(number)})))
        except Crash:
            return True
        return False

    def accept(self):
        self.open_store().events.accept([self.event])

    def take(self, store=None):
        """Take the event, after any lease has ended; return it, None if it is not in the queue."""
        self.clock.advance(LEASE_S)
        taken = (store or self.open_store()).queue.take(limit=100, lease_s=LEASE_S)
        return next((event for event in taken if event.event_id == self.event.event_id), None)

    def letters(self):
        page = self.open_store().queue.dead_letters(limit=100)
        return [letter for letter in page.items if letter.event_id == self.event.event_id]

    def settle(self):
        """Bring the event to its outcome, and say that nothing of it is left in any place."""
        taken = self.take()
        assert (taken.raw, taken.contract_id) == (self.event.raw, self.event.contract_id)
        self.open_store().contracts.commit([submitted(self.event.contract_id, event=self.event)])
        assert (self.take(), self.letters()) == (None, [])


@pytest.fixture
def hand(open_store, services, clock):
    """Return what makes a new event's hand."""
    return lambda: Hand(open_store, services, clock)


def each_death(hand, moment, prepare, do):
    """Give, call by call, a hand whose process died there, and last one whose process did not."""
    for number in range(CALLS_MAX):
        one = hand()
        prepared = prepare(one)
        is_dead = one.dies(moment, number, lambda store, one=one, prepared=prepared: do(one, store, prepared))
        yield one
        if not is_dead:
            return
    raise AssertionError(f"more than {CALLS_MAX} calls")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_event_whose_acceptance_broke_off_is_accepted_by_its_repeat(hand, moment):
    deaths = each_death(hand, moment, lambda one: None, lambda one, store, _: store.events.accept([one.event]))
    for one in deaths:
        (answer,) = one.open_store().events.accept([one.event])
        assert isinstance(answer, Taken)
        one.settle()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_of_two_answers_to_a_message_the_recorded_one_is_processed(hand, moment):
    def prepare(one):
        owed = owed_delivery(one.event.event_id, to=MO, contract_id=one.event.contract_id)
        one.open_store().contracts.commit([owing(owed)])
        return owed

    for one in each_death(
        hand, moment, prepare, lambda one, store, owed: store.deliveries.record([delivered(owed, answer=one.event)])
    ):
        store = one.open_store()
        was_recorded = store.events.find(MO, one.event.event_id) is not None
        owed = owed_delivery(one.event.event_id, to=MO, contract_id=one.event.contract_id)
        other = new_event(one.event.event_id, contract_id=one.event.contract_id, raw=b"{}", kind=EventType.SIGN)
        store.deliveries.record([delivered(owed, at=NOW + 9, answer=other)])
        if not was_recorded:
            one.event = other
        assert store.events.find(MO, one.event.event_id).digest == one.event.digest
        one.settle()


def taken(one):
    one.accept()
    return one.take()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_event_that_was_being_buried_is_in_the_queue_or_among_the_dead(hand, moment):
    for one in each_death(hand, moment, taken, lambda one, store, event: store.queue.bury(event, reason="poison")):
        store = one.open_store()
        again = one.take(store)
        assert one.letters() or again
        if again:
            store.queue.bury(again, reason="again")
        (letter,) = one.letters()
        assert one.take() is None
        assert one.open_store().queue.redrive(letter.letter_id) == letter
        one.settle()


def letter_of(one):
    event = taken(one)
    one.open_store().queue.bury(event, reason="poison")
    (letter,) = one.letters()
    return letter


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_letter_that_was_being_redriven_is_in_one_place_or_can_be_redriven_again(hand, moment):
    for one in each_death(hand, moment, letter_of, lambda one, store, letter: store.queue.redrive(letter.letter_id)):
        one.clock.advance(LEASE_S)
        for letter in one.letters():
            assert one.open_store().queue.redrive(letter.letter_id) == letter
        assert one.letters() == []
        one.settle()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_message_that_was_not_deleted_after_its_outcome_is_deleted_when_it_comes_again(hand, moment):
    def process(one, store, _):
        event = one.take(store)
        store.contracts.commit([submitted(event.contract_id, event=one.event)])

    for one in each_death(hand, moment, lambda one: one.accept(), process):
        if one.open_store().events.find(MO, one.event.event_id).status is EventStatus.ACCEPTED:
            one.open_store().contracts.commit([submitted(one.event.contract_id, event=one.event)])
        assert one.take() is None
        assert one.open_store().queue.depth() == 0


def test_a_letter_that_dies_again_while_it_is_redriven_stays_a_letter(hand):
    one = hand()
    letter = letter_of(one)

    def die_again(number):
        if number == REMOVAL:
            other = one.open_store()
            other.queue.bury(one.take(other), reason="still")

    store = one.open_store(one.services.hooked(before=die_again))
    assert store.queue.redrive(letter.letter_id) == letter
    (second,) = one.letters()
    assert (second.reason, second.letter_id != letter.letter_id) == ("still", True)
    assert one.open_store().queue.redrive(second.letter_id) == second
    one.settle()


def test_an_event_that_two_functions_have_at_once_is_processed_once(hand):
    one = hand()
    one.accept()
    one.accept()
    stores = [one.open_store(), one.open_store()]
    copies = [store.queue.take(limit=1, lease_s=LEASE_S) for store in stores]
    assert [copy[0].raw for copy in copies] == [one.event.raw] * 2
    change = submitted(one.event.contract_id, event=one.event, owed=[owed_delivery(contract_id=one.event.contract_id)])
    answers = race([lambda store=store: store.contracts.commit([change])[0] for store in stores])
    assert set(answers) <= {"committed", "duplicate"}
    assert "committed" in answers
    store = one.open_store()
    assert store.contracts.read([one.event.contract_id])[one.event.contract_id].revision == 1
    assert (one.take(), store.queue.depth()) == (None, 0)


def test_a_letter_of_an_event_that_the_table_does_not_know_is_kept(hand):
    """The table is an older one, restored; what is in the queue was answered 202 all the same."""
    one = hand()
    event = taken(one)
    store = one.open_store()
    key = {"event": {"S": f"{MO}#{one.event.event_id}"}}
    one.services.dynamodb.delete_item(TableName=f"{one.services.names.table_prefix}events", Key=key)
    store.queue.bury(event, reason="poison")
    (letter,) = one.letters()
    assert one.open_store().queue.redrive(letter.letter_id) == letter
    one.settle()


def test_a_letter_that_could_not_be_sent_can_be_redriven_at_once(hand):
    one = hand()
    letter = letter_of(one)

    def refuse(number):
        if number == SENDING:
            raise ConnectTimeoutError(endpoint_url="http://127.0.0.1")

    with pytest.raises(StoreUnavailableError):
        one.open_store(one.services.hooked(before=refuse)).queue.redrive(letter.letter_id)
    assert one.open_store().queue.redrive(letter.letter_id) == letter
    one.settle()


def swept(one):
    """What a sweep sends again; of the module's other events it has nothing to send."""
    return one.open_store().relay.complete_waiting()


def test_an_event_that_could_not_be_sent_is_sent_by_a_sweep_after_a_minute_and_once(hand, clock):
    one = hand()

    def refuse(number):
        if number == 1:
            raise ConnectTimeoutError(endpoint_url="http://127.0.0.1")

    with pytest.raises(StoreUnavailableError):
        one.open_store(one.services.hooked(before=refuse)).events.accept([one.event])
    clock.advance(UNSENT_S - 1)
    assert swept(one) == 0
    clock.advance(1)
    assert [swept(one), swept(one)] == [1, 0]
    one.settle()
    assert not one.open_store().events.has_unprocessed(one.event.contract_id, received_before=clock.now_ms() + 1)


def test_an_event_of_an_answer_whose_process_died_before_it_was_sent_is_sent_by_a_sweep(hand, clock):
    one = hand()
    assert one.dies("before", 1, lambda store: store.events.accept_answers([one.event]))
    clock.advance(UNSENT_S)
    assert [swept(one), swept(one)] == [1, 0]
    one.settle()


def test_what_could_not_be_sent_and_came_to_its_outcome_by_a_repeat_keeps_no_bytes(hand, clock):
    one = hand()

    def lose(number):
        if number == 1:  # it was sent, and nobody heard of it
            one.settle()
            raise ConnectTimeoutError(endpoint_url="http://127.0.0.1")

    with pytest.raises(StoreUnavailableError):
        one.open_store(one.services.hooked(after=lose)).events.accept([one.event])
    key = {"event": {"S": f"{one.event.source}#{one.event.event_id}"}}
    name = f"{one.services.names.table_prefix}events"
    assert "raw" not in one.services.dynamodb.get_item(TableName=name, Key=key)["Item"]
    clock.advance(UNSENT_S)
    assert swept(one) == 0


def test_a_dead_letter_holds_up_an_expiry_for_as_long_as_it_waits(hand, clock):
    one = hand()
    letter_of(one)
    clock.advance(90 * 24 * 3600)
    assert one.open_store().events.has_unprocessed(one.event.contract_id, received_before=NOW * 2)


def test_a_message_that_the_hub_did_not_send_is_left_alone(hand):
    one = hand()
    url = one.services.names.events_queue_url
    one.services.sqs.send_message(QueueUrl=url, MessageBody="hello")
    one.accept()
    assert one.take() is not None
    assert one.open_store().queue.depth() == 2


def test_what_its_function_died_of_becomes_a_letter_and_is_left_for_the_service_to_delete(hand):
    one = hand()
    one.accept()
    (message,) = one.services.messages(one.services.names.events_queue_url)
    attributes = {name: {"stringValue": value["StringValue"]} for name, value in message["MessageAttributes"].items()}
    store = one.open_store(one.services.hooked())
    event = store.messages.event(
        {
            "body": message["Body"],
            "receiptHandle": "of another queue",
            "attributes": message["Attributes"],
            "messageAttributes": attributes,
            "eventSourceARN": "arn:aws:sqs:eu-west-1:1:moneta-events-dead",
        }
    )
    store.queue.bury(event, reason="FunctionDied")
    (letter,) = one.letters()
    assert (letter.reason, letter.tries) == ("FunctionDied", 1)
    assert one.open_store().queue.redrive(letter.letter_id) == letter
    one.settle()
