"""A hub as its clients have it: an address, and HTTP. Nothing here knows which process answers.

Every answer is judged: it is one that the OpenAPI document describes for what was asked, or the test fails.
"""

import re
import time
import uuid
from functools import cache

import httpx

from moneta.client import Party, Role, Tokens, build_event, keys, registration, sign_first, system_clock
from tests.http.api_contract import check_described, document
from tests.running_hub import wait_until

CALL_S_MAX = 60
OUTCOME_S_MAX = 240
OPERATOR_TOKEN_S = 240
"""For how long a token of the operator's is used: for as long as every process takes it, and some."""
JSON = "application/json"
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
CLOUD_EVENT = "application/cloudevents+json"


def new_code():
    """Return a MIC or MPC that nobody has."""
    return uuid.uuid4().hex[:12].upper()


def new_id(what):
    return f"{what}-{uuid.uuid4().hex[:12]}"


@cache
def templates():
    """Return the paths of the document, those without names first: ``/templates/lint`` is no template's."""
    found = sorted(document()["paths"], key=lambda path: path.count("{"))
    return [(path, re.compile(re.sub(r"{\w+}", "[^/]+", path))) for path in found]


def template_of(path):
    """Return the path of the document that a request's path, without its query, is one of."""
    return next(template for template, pattern in templates() if pattern.fullmatch(path))


class Target:
    """A running hub, with a market of two parties whose webhooks are open. ``kind``: of ``conftest.TARGETS``."""

    def __init__(self, kind, hub, market):
        self.kind, self.hub, self.market = kind, hub, market
        self.client = httpx.Client(base_url=hub.url, timeout=CALL_S_MAX)
        self._tokens = {one.role: Tokens(one.party) for one in (market.mo, market.publisher)}
        self._operator = ("", -OPERATOR_TOKEN_S)

    def close(self):
        self.client.close()

    @property
    def operator(self):
        """A token of the operator's."""
        token, made_at = self._operator
        if time.monotonic() - made_at >= OPERATOR_TOKEN_S:
            token = self.hub.operator_token()
            self._operator = (token, time.monotonic())
        return token

    def call(self, method, path, token=None, *, headers=(), **more):
        """Send one request, and return its answer, which is as the document says. ``token``: None for none."""
        given = {**({} if token is None else {"authorization": f"Bearer {token}"}), **dict(headers)}
        answer = self.client.request(method, path, headers=given, **more)
        check_described(answer, method, template_of(path.partition("?")[0]))
        return answer

    def as_it_is(self, method, path, **more):
        """Send a request whose path goes on the wire just so: the client would tidy it up. Nothing is judged."""
        return self.client.request(method, "/", extensions={"target": path.encode("ascii")}, **more)

    def done(self, method, path, token, **more):
        """Return the document of a call that the hub does."""
        answer = self.call(method, path, token, **more)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def refusal(self, method, path, token=None, **more):
        """Return the (status, code) of a call that the hub refuses."""
        answer = self.call(method, path, token, **more)
        assert answer.headers["content-type"] == "application/problem+json", f"{answer.status_code} {answer.text}"
        return answer.status_code, answer.json()["code"]

    def send(self, event, token):
        """Send an event's bytes, and return the answer."""
        return self.call("POST", "/event", token, content=event.raw, headers={"content-type": CLOUD_EVENT})

    def register(self, role, *, status="Active"):
        """Return a new member of a role, brought to ``status``."""
        member = Member(self, role)
        if status != "Pending":
            self.done("PUT", f"{member.path}/status", self.operator, json={"status": status})
        return member

    def body(self, contract_id, **members):
        """Return the bytes of a contract of the market's."""
        return self.market.body(contract_id, **members)

    def submission(self, contract_id, **members):
        """Return the event that brings a contract of the market's, and the contract as the MO has signed it."""
        mo, now = self.market.mo.party, system_clock()
        signed = sign_first(self.body(contract_id, **members), mo, issued_at=now)
        return build_event(mo, "submit", signed, now=now, event_id=f"submit-{contract_id}"), signed

    def submit(self, contract_id, **members):
        """Have the market's MO submit a contract; return it as signed."""
        event, signed = self.submission(contract_id, **members)
        assert self.send(event, self.mo).status_code == 202
        return signed

    def contract(self, contract_id, *statuses):
        """Wait until a contract has one of ``statuses``, and return it as the market's MO sees it."""
        found = {}

        def is_so():
            answer = self.call("GET", f"/contracts/{contract_id}", self.mo)
            found.update(answer.json())
            return answer.status_code == 200 and found["status"] in statuses

        wait_until(is_so, OUTCOME_S_MAX)
        return found

    def outcome(self, event_id, token):
        """Wait for what becomes of an event, and return that."""
        found = {}

        def is_known():
            found.update(self.done("GET", f"/events/{event_id}", token))
            return found["status"] != "accepted"

        wait_until(is_known, OUTCOME_S_MAX)
        return found

    def pages(self, path, token, *, limit):
        """Return the items of every page of a list, by its cursors."""
        found, cursor = [], ""
        while True:  # ends with the last page
            page = self.done("GET", f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}", token)
            assert len(page["items"]) <= limit
            found.append(page["items"])
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    @property
    def mo(self):
        """A token of the market's MO."""
        return self._tokens[Role.MO].current()

    @property
    def publisher(self):
        """A token of the market's publisher."""
        return self._tokens[Role.PUBLISHER].current()


class Member:
    """A registered organization that nobody else has heard of. Its endpoint answers nobody."""

    def __init__(self, target, role):
        self.target, self.role, self.code = target, role, new_code()
        self.key, self.auth_key = keys.generate("ES256"), keys.generate("EdDSA")
        self.members = registration(
            role,
            name=f"Member {self.code}",
            code=self.code,
            webhook_url="https://nobody.invalid/",
            hub=target.hub.url,
            auth_key=self.auth_key,
            contract_key=self.key,
            now=system_clock(),
        )
        self.id = target.done("POST", f"/organizations/{role}", target.operator, json=self.members)["id"]
        self.path = f"/organizations/{role}/{self.id}"
        self._tokens = Tokens(self.party(self.auth_key))

    def party(self, auth_key):
        """Return this member with another ``auth`` key."""
        return Party(
            organization_id=self.id,
            role=self.role,
            hub=self.target.hub.url,
            auth_key=auth_key,
            contract_key=self.key,
        )

    @property
    def token(self):
        return self._tokens.current()

    def offered(self, key, *use, subject=None):
        """Return the body that registers one more key; ``subject``: of another than this member."""
        proof = keys.key_proof(key, hub=self.target.hub.url, subject=subject or self.id, now=system_clock())
        return {"jwk": dict(keys.public_jwk(key)), "use": list(use), "proof": proof}

    def issue_mpass(self, **members):
        """Return the document of a new mPass, Pending."""
        asked = {"mo_id": self.id, "member_ref": new_id("member"), **members}
        return self.target.done("POST", "/mpass", self.token, json=asked)
