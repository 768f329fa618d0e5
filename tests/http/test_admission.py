"""How many new events are taken while the hub is behind, and by whom: the rule, the measuring, and both in a loop."""

import random
from collections import Counter, deque
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.errors import HubBusyError
from moneta.domain.identifiers import OrganizationId
from moneta.domain.limits import BACKLOG_EVENTS_MAX, BACKLOG_LAG_MS_MAX, BUSY_RETRY_S_MAX
from moneta.entrypoints.heartbeats import Heartbeat
from moneta.entrypoints.http.admission import Load, admitted_per_s, fair_share, retry_spread_s
from moneta.entrypoints.http.back_pressure import BackPressure, is_continuing
from moneta.entrypoints.http.backlog import Backlog

SUBMISSION = b'{"type":"moneta.contract.submit"}'
SIGNATURE = b'{"type":"moneta.contract.sign"}'
START_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("lag_ms", "backlog", "sent_per_s", "admitted"),
    [
        (0, 0, 0, inf),
        (149, 5_000, 2_000, inf),
        (3_000, 255, 2_000, inf),
        (150, 500, 2_000, 2_000),
        (150, 300, 2_000, 2_200),
        (400, 1_500, 2_000, 1_000),
        (2_000, 2_500, 2_000, 0),
        (9_000, 9_000, 2_000, 0),
        (150, 256, 10, 10),
        (9_000, 512, 0, 0),
        (0, BACKLOG_EVENTS_MAX, 50_000, 0),
    ],
    ids=[
        "idle",
        "many and young",
        "old and few",
        "a quarter of a second's worth",
        "less than that",
        "more than that",
        "five quarters",
        "more still",
        "a slow hub may have some in any case",
        "a hub that stands still",
        "too many however young",
    ],
)
def test_what_is_admitted_follows_what_waits(lag_ms, backlog, sent_per_s, admitted):
    load = Load(lag_ms=lag_ms, backlog=backlog, sent_per_s=sent_per_s)
    assert admitted_per_s(load, asked_per_s=5_000, is_holding_back=False) == pytest.approx(admitted)


@pytest.mark.parametrize(
    ("asked_per_s", "backlog", "admitted"),
    [(3_000, 100, 2_400), (2_401, 100, 2_400), (2_400, 100, inf), (2_600, 0, 2_500), (0, 0, inf)],
)
def test_who_was_held_back_is_until_all_that_is_asked_for_fits(asked_per_s, backlog, admitted):
    load = Load(lag_ms=0, backlog=backlog, sent_per_s=2_000)
    assert admitted_per_s(load, asked_per_s=asked_per_s, is_holding_back=True) == admitted


@pytest.mark.parametrize(
    ("demands", "capacity", "share"),
    [
        ([], 0, inf),
        ([5], 5, inf),
        ([6], 5, 5),
        ([1, 2, 3], 6, inf),
        ([10, 10], 10, 5),
        ([1, 10, 10], 9, 4),
        ([1, 2, 100], 10, 7),
        ([3, 3, 3], 0, 0),
    ],
)
def test_a_share_is_the_most_that_each_may_have(demands, capacity, share):
    assert fair_share(demands, capacity) == share


@given(st.lists(st.floats(min_value=0.01, max_value=1e4), max_size=20), st.floats(min_value=0, max_value=1e5))
def test_shares_use_the_capacity_and_no_more(demands, capacity):
    share = fair_share(demands, capacity)
    taken = sum(min(demand, share) for demand in demands)
    assert taken == pytest.approx(min(capacity, sum(demands)), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "admitted", "spread_s"),
    [
        (0, inf, 1),
        (10, 100, 1),
        (300, 100, 3),
        (301, 100, 4),
        (100, 0, BUSY_RETRY_S_MAX),
        (10_000, 1, BUSY_RETRY_S_MAX),
    ],
)
def test_who_is_refused_comes_back_when_there_is_room(asked, admitted, spread_s):
    assert retry_spread_s(asked, admitted) == spread_s


@pytest.mark.parametrize(
    ("raw", "continues"),
    [
        (SUBMISSION, False),
        (SIGNATURE, True),
        (b'{"type":"moneta.contract.decline"}', True),
        (b'{"type":"moneta.contract.cancel"}', True),
        (b'{"type":"moneta.contract.sign","x":"moneta.contract.submit"}', False),
        (b"{}", False),
    ],
)
def test_an_event_that_goes_on_with_a_contract_is_told_by_its_bytes(raw, continues):
    assert is_continuing(raw) is continues


def beat(at_s, lag_ms=0, turn_ms=0):
    return Heartbeat(at_ms=START_MS + round(at_s * 1000), lag_ms=lag_ms, turn_ms=turn_ms)


def looked(*looks, per_s=1_000):
    """Accept ``per_s`` a second, and look at each of ``looks``: (seconds, processor, deliverer). Give the last load."""
    backlog, load = Backlog(), None
    for at_s, processor, deliverer in looks:
        backlog.accepted = round(per_s * at_s)
        load = backlog.look(START_MS + round(at_s * 1000), processor, deliverer)
    return load


IN_TIME = [(second / 5, beat(second / 5), beat(second / 5)) for second in range(16)]


def test_what_is_in_time_leaves_nothing_behind():
    load = looked(*IN_TIME)
    assert (load.lag_ms, round(load.backlog), round(load.sent_per_s)) == (0, 0, 1_000)


@pytest.mark.parametrize(
    ("processor_ms", "deliverer_ms", "lag_ms"), [(400, 0, 400), (0, 400, 400), (300, 300, 600)], ids=str
)
def test_the_ages_of_both_stages_add_up(processor_ms, deliverer_ms, lag_ms):
    late = [(at_s, beat(at_s, processor_ms), beat(at_s, deliverer_ms)) for at_s in (step / 5 for step in range(16, 41))]
    load = looked(*IN_TIME, *late)
    assert load.lag_ms == lag_ms
    assert load.backlog == pytest.approx(lag_ms, abs=1)
    assert load.sent_per_s == pytest.approx(1_000, abs=10)


def test_a_process_that_shows_itself_no_more_is_behind_by_that():
    load = looked(*IN_TIME, (4, beat(4), beat(3)), (5, beat(5), beat(3)), (6, beat(6), beat(3)))
    assert load.lag_ms == load.backlog == 2_700


@pytest.mark.parametrize("at_s", [3.1, 3.2, 3.3])
def test_between_two_heartbeats_a_process_is_taken_to_go_on(at_s):
    load = looked(*IN_TIME, (at_s, beat(3), beat(3)))
    assert (load.lag_ms, round(load.backlog)) == (0, 0)


def test_a_process_that_has_been_at_one_turn_for_long_is_behind_by_that():
    stuck = [(at_s, beat(at_s), beat(at_s, turn_ms=round(1_000 * (at_s - 3)))) for at_s in (3.2, 3.6, 4.0)]
    load = looked(*IN_TIME, *stuck)
    assert load.lag_ms == load.backlog == 1_000


def test_what_waits_to_be_stored_counts_with_its_age():
    load = Backlog().look(START_MS, None, None, waiting=300, waited_ms=200)
    assert (load.lag_ms, load.backlog) == (200, 300)


def test_a_process_that_has_not_shown_itself_yet_is_in_time():
    assert looked((0, None, None), (1, None, None)).lag_ms == 0


class Clock:
    """A clock that moves only when it is told to."""

    moment = START_MS

    def now_ms(self):
        return round(self.moment)


class Shown:
    """What a worker process shows; None for nothing yet."""

    beat = None

    def read(self):
        return self.beat


class Plant:
    """A hub in virtual time: it accepts what back-pressure lets in, processes it, and sends it on, at given speeds."""

    STEP_MS = 10
    BEAT_MS = 100

    def __init__(self, speed, seed=1):
        self.clock, self.speed, self.random = Clock(), speed, random.Random(seed)  # noqa: S311  # no secret
        self.accepted, self.processed = deque(), deque()
        self.beats = (Shown(), Shown())
        self.pressure = BackPressure(self.clock, self.beats, lambda: (0, 0))
        self.beats_at = START_MS
        self.lags = [0, 0]
        self.room = [0.0, 0.0]
        self.taken, self.refused, self.waits = Counter(), Counter(), {}

    @property
    def second(self):
        return (self.clock.now_ms() - START_MS) // 1000

    def offer(self, caller, raw=SUBMISSION):
        try:
            self.pressure.check(caller, raw)
        except HubBusyError:
            self.refused[self.second, caller] += 1
            return False
        self.pressure.accepted()
        self.accepted.append(self.clock.now_ms())
        self.taken[self.second, caller] += 1
        return True

    def run(self, seconds, demands):
        """Offer ``demands`` (events a second by caller) for so long."""
        owed = Counter()
        for _ in range(round(seconds * 1000) // self.STEP_MS):
            for caller, per_s in demands.items():
                owed[caller] += per_s * self.STEP_MS / 1000
                while owed[caller] >= 1:
                    owed[caller] -= 1
                    self.offer(caller)
            self._work()
            self.clock.moment += self.STEP_MS

    def _work(self):
        now = self.clock.now_ms()
        for stage, (source, batch_max) in enumerate(((self.accepted, 128), (self.processed, 32))):
            speed = self.speed(self.second) * (1.15 if stage == 0 else 1.0)
            self.room[stage] += speed * self.STEP_MS / 1000 * self.random.uniform(0.5, 1.5)
            self.room[stage] = min(self.room[stage], batch_max)
            batch = [source.popleft() for _ in range(min(len(source), int(self.room[stage])))]
            self.room[stage] -= len(batch)
            if batch:
                since = batch[0] if stage == 0 else batch[0][1]
                self.lags[stage] = now - since
            elif not source:
                self.lags[stage] = 0
            if stage == 0:
                self.processed.extend((at, now) for at in batch)
            else:
                self.waits.setdefault(self.second, []).extend(now - at for at, _ in batch)
        if now >= self.beats_at:
            for shown, lag in zip(self.beats, self.lags, strict=True):
                shown.beat = Heartbeat(at_ms=now, lag_ms=lag)
            self.beats_at += round(self.BEAT_MS * self.random.uniform(0.95, 1.3))

    def taken_in(self, seconds, *callers):
        return [sum(self.taken[second, caller] for caller in callers) for second in seconds]

    def sent_in(self, seconds):
        return [len(self.waits.get(second, ())) for second in seconds]

    def longest_wait_ms(self, seconds):
        return max(wait for second in seconds for wait in self.waits.get(second, [0]))


A, B, C = OrganizationId("a"), OrganizationId("b"), OrganizationId("c")


@pytest.mark.parametrize("capacity", [300, 1_000, 2_500])
def test_three_times_the_load_is_refused_down_to_what_can_be_sent_on(capacity):
    plant = Plant(lambda _: capacity)
    plant.run(5, {A: 0.1 * capacity})
    plant.run(30, {A: 3 * capacity})
    steady = range(12, 35)
    accepted, sent = plant.taken_in(steady, A), plant.sent_in(steady)
    assert sum(sent) >= 0.95 * sum(accepted)
    assert sum(sent) >= 0.95 * capacity * len(steady)
    assert min(accepted) > 0.6 * capacity
    assert max(accepted) < 1.5 * capacity
    assert plant.longest_wait_ms(range(5, 35)) < 2_500
    assert plant.longest_wait_ms(steady) < 1_500


def test_a_little_too_much_is_refused_and_no_more():
    plant = Plant(lambda _: 1_000)
    plant.run(30, {A: 1_100})
    assert sum(plant.taken_in(range(10, 30), A)) == pytest.approx(20_000, rel=0.05)


def test_it_is_over_when_it_is_over():
    plant = Plant(lambda _: 1_000)
    plant.run(20, {A: 3_000})
    plant.run(10, {A: 300})
    assert plant.taken_in(range(21, 30), A) == [300] * 9
    assert plant.longest_wait_ms(range(22, 30)) < 100


@pytest.mark.parametrize(("load", "stall_s"), [(200, 3), (500, 1), (900, 1)])
def test_a_hub_that_stands_still_for_a_moment_refuses_little(load, stall_s):
    plant = Plant(lambda second: 0 if 10 <= second < 10 + stall_s else 1_000)
    plant.run(30, {A: load})
    refused = sum(plant.refused.values())
    assert refused <= 0.7 * load * stall_s
    assert plant.taken_in(range(20, 30), A) == [load] * 10


def test_a_hub_that_becomes_slower_takes_less_and_recovers():
    plant = Plant(lambda second: 400 if 10 <= second < 20 else 1_000)
    plant.run(35, {A: 3_000})
    assert sum(plant.taken_in(range(14, 20), A)) == pytest.approx(6 * 400, rel=0.2)
    assert sum(plant.taken_in(range(25, 35), A)) == pytest.approx(10 * 1_000, rel=0.1)
    assert plant.longest_wait_ms(range(35)) < 4_000


def test_who_asks_for_little_gets_it_while_another_floods():
    plant = Plant(lambda _: 1_000)
    plant.run(30, {A: 3_000, B: 50, C: 300})
    steady = range(10, 30)
    assert sum(plant.taken_in(steady, B)) == pytest.approx(20 * 50, rel=0.02)
    assert sum(plant.taken_in(steady, C)) >= 0.9 * 20 * 300
    assert sum(plant.taken_in(steady, A)) == pytest.approx(20 * 650, rel=0.1)


def behind(lag_ms):
    """Give back-pressure on a hub that stands still, and is behind by ``lag_ms`` and a thousand events."""
    clock, processor, deliverer = Clock(), Shown(), Shown()
    pressure = BackPressure(clock, (processor, deliverer), lambda: (0, 0))
    pressure.check(A, SUBMISSION)
    for _ in range(1_000):
        pressure.accepted()
    clock.moment += 10_000
    processor.beat = Heartbeat(at_ms=clock.now_ms(), lag_ms=lag_ms)
    deliverer.beat = Heartbeat(at_ms=clock.now_ms())
    return pressure, clock


def is_taken(pressure, raw, caller=A):
    try:
        pressure.check(caller, raw)
    except HubBusyError:
        return False
    return True


@pytest.mark.parametrize(
    ("lag_ms", "submissions", "signatures"),
    [(0, 20, 20), (BACKLOG_LAG_MS_MAX - 1, 1, 20), (BACKLOG_LAG_MS_MAX, 1, 0)],
)
def test_what_goes_on_with_a_contract_is_refused_last(lag_ms, submissions, signatures):
    pressure, _ = behind(lag_ms)
    assert sum(is_taken(pressure, SUBMISSION) for _ in range(20)) == submissions
    assert sum(is_taken(pressure, SIGNATURE) for _ in range(20)) == signatures


def test_those_refused_at_one_moment_are_told_different_times():
    pressure, _ = behind(BACKLOG_LAG_MS_MAX)
    told = Counter()
    for _ in range(200):
        try:
            pressure.check(A, SUBMISSION)
        except HubBusyError as refused:
            told[refused.facts["retry_after_s"]] += 1
    assert told.keys() == set(range(1, BUSY_RETRY_S_MAX + 1))
    assert max(told.values()) - min(told.values()) <= 1


def test_a_clock_that_is_set_back_is_no_reason_to_refuse():
    pressure, clock = behind(BACKLOG_LAG_MS_MAX)
    assert not all(is_taken(pressure, SUBMISSION) for _ in range(20))
    clock.moment -= 3_600_000
    assert is_taken(pressure, SUBMISSION)
