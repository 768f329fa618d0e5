"""How many requests a caller may send, what its answers say of that, and what a false token costs whom."""

import asyncio

import pytest

from moneta.domain.errors import HubBusyError, Refused, TooManyRequestsError, UnauthorizedError
from moneta.domain.identifiers import OrganizationId
from moneta.domain.limits import CACHE_ENTRIES_MAX
from moneta.entrypoints.http.callers import Callers
from moneta.entrypoints.http.held_bytes import HeldBytes
from moneta.entrypoints.http.rate_limits import NS_PER_S, Quota, RateLimits
from tests.http.api_server import parties, serving
from tests.hub import make_hub

A, B = OrganizationId("a"), OrganizationId("b")
LIMIT, BURST = 1, 4


class Clock:
    """A clock that stands still."""

    now = 100 * NS_PER_S

    def advance(self, seconds):
        self.now += int(seconds * NS_PER_S)

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("taken", "after_s", "full_in_s"),
    [
        (0, 0, 0.5),
        (1, 0, 1.0),
        (3, 0, 2.0),
        (4, 0, None),
        (4, 0.4, None),
        (4, 0.5, 2.0),
        (4, 2.0, 0.5),
        (4, 9.0, 0.5),
    ],
    ids=["full", "one less", "the last", "empty", "not yet", "filled by one", "full again", "no fuller than full"],
)
def test_a_bucket_fills_at_its_rate(taken, after_s, full_in_s):
    clock = Clock()
    limits = RateLimits(per_s=2, burst=4, clock=clock)
    for _ in range(taken):
        limits.take(A)
    clock.advance(after_s)
    assert limits.is_empty(A) is (full_in_s is None)
    if full_in_s is None:
        with pytest.raises(TooManyRequestsError) as refused:
            limits.take(A)
        assert refused.value.facts == {"retry_after_s": 1}
    else:
        assert limits.take(A) == full_in_s * NS_PER_S
    assert limits.take(B) == NS_PER_S // 2


def test_a_limit_that_is_none_in_effect_refuses_nobody():
    limits = RateLimits(per_s=10 * NS_PER_S, burst=4, clock=Clock())
    assert limits.take(A) >= 0


def test_asking_in_vain_does_not_prolong_the_wait():
    clock = Clock()
    limits = RateLimits(per_s=1, burst=1, clock=clock)
    limits.take(A)
    for _ in range(10):
        with pytest.raises(TooManyRequestsError):
            limits.take(A)
    clock.advance(1)
    limits.take(A)


def test_buckets_that_are_full_are_not_kept():
    clock = Clock()
    limits = RateLimits(per_s=1, burst=1, clock=clock)
    for number in range(CACHE_ENTRIES_MAX):
        limits.take(OrganizationId(str(number)))
    clock.advance(1)
    limits.take(A)
    assert len(limits._full_at) == 1


def test_the_headers_are_structured_fields():
    quota = Quota(per_s=5_000, burst=10_000, clock=Clock())
    assert quota.take(A) == (
        (b"ratelimit-policy", b'"requests";q=10000;w=2'),
        (b"ratelimit", b'"requests";r=9999;t=1'),
    )


def test_no_limit_says_nothing():
    assert Quota(per_s=0, burst=1).take(A) == ()


def test_bytes_are_held_up_to_a_sum_and_up_to_a_callers_share():
    held = HeldBytes(bytes_max=10, of_caller_max=6)
    with held.of(A) as first, held.of(B) as second:
        first.add(6)
        with pytest.raises(HubBusyError):
            first.add(1)
        second.add(4)
        with pytest.raises(HubBusyError):
            second.add(1)
        assert held.total == 10
    assert held.total == 0
    with held.of(A) as again:
        again.add(6)


def test_bytes_that_did_not_fit_are_not_let_go():
    held = HeldBytes(bytes_max=10)
    with held.of(A) as request:
        request.add(10)
        with pytest.raises(HubBusyError):
            request.add(5)
    assert held.total == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("hub"), rate_limit=LIMIT, rate_burst=BURST) as served:
        yield served


@pytest.fixture
def traders(served, request):
    """An MO and a publisher of this test alone."""
    name = str(abs(hash(request.node.nodeid)))[:9]
    return parties(served.test_hub, f"A{name}", f"B{name}")


@pytest.mark.parametrize("path", ["/event", "/contracts"])
def test_one_too_many_is_answered_429_and_told_when_to_come_back(served, traders, path):
    def ask(holder):
        return served.send_event(b"{}", holder) if path == "/event" else served.call("GET", path, holder)

    mo, publisher = traders
    answers = [ask(mo) for _ in range(BURST + 2)]
    refused = answers[-1]
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.headers["ratelimit-policy"] == f'"requests";q={BURST};w={BURST // LIMIT}'
    assert refused.headers["ratelimit"] == f'"requests";r=0;t={refused.headers["retry-after"]}'
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {refused.headers["ratelimit-policy"]}
    assert answers[0].headers["ratelimit"] == f'"requests";r={BURST - 1};t=1'
    assert ask(publisher).status_code != 429


def test_events_and_calls_are_counted_together(served, traders):
    mo, _ = traders
    answers = [served.call("GET", "/contracts", mo) for _ in range(BURST)]
    assert answers[-1].status_code == 200
    assert served.send_event(b"{}", mo).status_code in {400, 429}
    assert served.send_event(b"{}", mo).status_code == 429


def test_false_tokens_in_a_name_are_not_looked_at_without_end(tmp_path):
    test_hub = make_hub(tmp_path)
    mo, publisher = parties(test_hub)
    head, claims, signature = test_hub.token(mo).split(".")
    false = [f"{head}.{claims}.{number:04}{signature[4:]}" for number in range(1_000, 1_006)]

    async def run():
        callers = Callers(test_hub.hub, false_max=3)
        known = test_hub.token(mo)
        await callers.check(known)
        refusals = [await refusal_of(callers.check(token)) for token in false]
        others = await callers.check(test_hub.token(publisher))
        callers.close()
        return refusals, callers.known(known), others

    refusals, known, others = asyncio.run(run())
    assert refusals == [UnauthorizedError] * 3 + [TooManyRequestsError] * 3
    assert (known, others) == (mo.organization_id, publisher.organization_id)
    test_hub.close()


async def refusal_of(coroutine):
    """Return the class of the refusal that ``coroutine`` ends with."""
    try:
        await coroutine
    except Refused as refusal:
        return type(refusal)


def test_a_token_that_counts_no_longer_is_looked_at_anew(tmp_path):
    with serving(tmp_path) as served:
        mo, _ = parties(served.test_hub)
        headers = served.headers(mo)
        assert served.client.get("/contracts", headers=headers).status_code == 200
        served.test_hub.clock.advance(3_600)
        for _ in range(2):
            assert served.client.get("/contracts", headers=headers).status_code == 401
            assert served.send_event(b"{}", **headers).status_code == 401
