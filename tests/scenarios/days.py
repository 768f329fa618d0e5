"""The real pump over days of virtual time: endpoints that behave as they are told, and what they were sent, when."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from moneta.application.organizations import read_organization
from moneta.application.ports import Answer, DeliveryQuery, NoAnswer, OutboundRequest
from moneta.application.webhook_secrets import rotate_webhook_secret
from moneta.domain.organizations import OrganizationKind
from moneta.entrypoints.worker.pump import DeliveryPump
from tests.virtual_time import VirtualTimeLoop

HOUR_S, DAY_S = 3_600, 86_400


def answer(status, retry_after=None):
    return Answer(status=status, content_type="", retry_after=retry_after, body=b"", is_truncated=False, duration_ms=1)


# How an endpoint can behave: after how many seconds it says what.
# fmt: off
WELL     = (0.01, answer(200))
SLOW     = (2.0,  answer(200))
FAILING  = (0.01, answer(500))
REFUSING = (0.0,  NoAnswer(reason="connect", detail="", duration_ms=0))
HANGING  = (15.0, NoAnswer(reason="timeout", detail="", duration_ms=15_000))
# fmt: on


class AllOnes:
    """The longest wait that chance can give."""

    def token(self, size):
        return b"\xff" * size


@dataclass(frozen=True)
class Call:
    """One request that an endpoint got, in seconds from the start."""

    at_s: float
    request: OutboundRequest

    @property
    def webhook_id(self):
        return self.request.headers["webhook-id"]


class Days:
    """``publishers`` by code, each at an endpoint of its own; ``randomness`` None: the house's."""

    def __init__(self, house, *codes, randomness=None):
        self.house = house
        self.hub = house.hub if randomness is None else replace(house.hub, randomness=randomness)
        self.mo = house.register(OrganizationKind.MO, "MOA", "ES256")
        self.mpass_id = house.issue_mpass(self.mo)
        self.publishers = {code: house.register(OrganizationKind.PUBLISHER, code, "ES256") for code in codes}
        self.behaviour = dict.fromkeys(codes, WELL)
        self.calls, self.under_way, self.most_at_once = defaultdict(list), defaultdict(int), defaultdict(int)
        self.start_ms, self.contracts, self.sender = house.clock.moment, 0, self
        self.loop = VirtualTimeLoop(self._set_clock)

    @property
    def now_s(self):
        return self.loop.time()

    def run(self, story):
        """Let the pump work while ``story(self)``, a coroutine, is told."""
        self.loop.run_until_complete(self._run(story))
        self.loop.close()

    def owe(self, code):
        """Make a contract that asks this publisher for its signature, and return the message's id."""
        self.contracts += 1
        contract_id = f"contract-{self.contracts}"
        body = self.house.body(self.mo, self.publishers[code], self.mpass_id, contract_id=contract_id)
        self.house.submit(self.mo, body)
        self.pump.wake()
        query = DeliveryQuery(visible_to=None, limit=1, contract_id=contract_id)
        return self.hub.deliveries.list(query).items[0].owed.webhook_id

    def rotate(self, code, *, overlap_s):
        """Give a publisher a new secret, and return it."""
        party = self.publishers[code]
        caller = self.house.caller(party)
        members = {"overlap_s": overlap_s}
        made = rotate_webhook_secret(self.house.hub, caller, party.kind, party.organization_id, members)
        self.pump.wake()
        return made.body["webhook_secret"]

    def standing(self, code):
        """What the publisher's document says of its webhook."""
        party = self.publishers[code]
        return read_organization(self.hub, self.house.operator, party.kind, party.organization_id).body["webhook"]

    def record(self, webhook_id):
        return self.hub.deliveries.find(webhook_id)

    def attempts_at_s(self, webhook_id):
        return [round((attempt.at - self.start_ms) / 1000) for attempt in self.record(webhook_id).attempts]

    async def send(self, request):
        """See Sender.send."""
        code = urlsplit(request.url).hostname.split(".")[0].upper()
        self.calls[code].append(Call(self.now_s, request))
        self.under_way[code] += 1
        self.most_at_once[code] = max(self.most_at_once[code], self.under_way[code])
        takes_s, came = self.behaviour[code]
        await asyncio.sleep(takes_s)
        self.under_way[code] -= 1
        return came

    async def close(self):
        """See Sender.close."""

    async def _run(self, story):
        self.pump = DeliveryPump(self.hub, self.sender, on_answer=lambda: None)
        running = asyncio.create_task(self.pump.run())
        await story(self)
        self.pump.stop()
        await running

    def _set_clock(self, now_s):
        self.house.clock.moment = self.start_ms + round(now_s * 1000)
