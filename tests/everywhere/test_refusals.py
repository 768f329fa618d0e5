"""Who may not, what is nobody's, and bad input: the same no, over HTTP, from every kind of hub (``conftest``).

Where a gateway answers in the hub's stead, the row says why (docs/aws.md).
"""

import json

import pytest

from moneta.client import Role, keys
from moneta.domain.limits import EVENT_BYTES_MAX, MANAGEMENT_BYTES_MAX, TEMPLATE_BYTES_MAX
from tests.aws_lambda.gateway import is_utf8
from tests.everywhere.target import CLOUD_EVENT, JSON, UNKNOWN_ID, new_id
from tests.http.api_contract import check_described, operations
from tests.http.bad_input import bad_requests

BAD_REQUESTS = 200


# Who may, and what is nobody's.


def test_without_a_token_every_call_is_refused_alike(target):
    asked = [(method, path) for method, path, operation in operations() if operation.get("security") != []]
    assert len(asked) > 30
    answers = {}
    for method, path in asked:
        headers = {"content-type": CLOUD_EVENT if path == "/event" else JSON}
        named = path.replace("{kind}", "mo").replace("{", "").replace("}", "")
        content = b"{}" if method != "GET" else b""
        answer = target.call(method, named, headers=headers, content=content)
        answers[method, path] = (answer.status_code, answer.json()["code"], answer.headers["www-authenticate"])
    assert set(answers.values()) == {(401, "unauthorized", "Bearer")}


ROLES = {
    "an MO registers": ("mo", "POST", "/organizations/mo", 403),
    "an MO publishes": ("mo", "POST", "/templates", 403),
    "an MO reads the letters": ("mo", "GET", "/dlq", 403),
    "an MO reads changes": ("mo", "GET", "/changes", 403),
    "an MO begins for Moneta": ("mo", "POST", "/contracts", 403),
    "a publisher issues": ("publisher", "POST", "/mpass", 403),
    "a publisher lists mPasses": ("publisher", "GET", "/mpass", 403),
    "an operator issues": ("operator", "POST", "/mpass", 403),
    "an operator sends events": ("operator", "POST", "/event", 403),
}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_not_is_forbidden(target, role):
    by, method, path, status = ROLES[role]
    headers = {"content-type": CLOUD_EVENT if path == "/event" else JSON}
    content = b"" if method == "GET" else b"{}"
    if path == "/event":
        content, headers = target.submission(new_id("foreign"))[0].raw, {"content-type": CLOUD_EVENT}
    answer = target.refusal(method, path, getattr(target, by), content=content, headers=headers)
    assert answer == (status, "forbidden")


def test_anothers_and_nobodys_look_the_same(target, finalized):
    stranger = target.register(Role.MO)
    deliveries = target.done("GET", f"/deliveries?contract_id={finalized}", target.mo)["items"]
    mo = f"/organizations/mo/{target.market.mo.organization_id}"
    nobody = f"/organizations/mo/{UNKNOWN_ID}"
    pairs = (
        ("GET", f"/contracts/{finalized}", "/contracts/nothing"),
        ("GET", f"/events/submit-{finalized}", "/events/nothing"),
        ("GET", f"/deliveries/{deliveries[0]['webhook_id']}", "/deliveries/nothing"),
        ("POST", f"/deliveries/{deliveries[0]['webhook_id']}/redeliver", "/deliveries/nothing/redeliver"),
        ("GET", f"/mpass/{target.market.mpass_id}", f"/mpass/{UNKNOWN_ID}"),
        ("GET", f"/mpass/{target.market.mpass_id}/history", f"/mpass/{UNKNOWN_ID}/history"),
        ("PUT", f"/mpass/{target.market.mpass_id}/status", f"/mpass/{UNKNOWN_ID}/status"),
        ("GET", mo, nobody),
        ("PUT", mo, nobody),
        ("GET", f"{mo}/jwks", f"{nobody}/jwks"),
        ("PUT", f"{mo}/status", f"{nobody}/status"),
        ("POST", f"{mo}/keys", f"{nobody}/keys"),
        ("POST", f"{mo}/webhook-secret", f"{nobody}/webhook-secret"),
        ("POST", f"{mo}/webhook-test", f"{nobody}/webhook-test"),
    )
    for method, anothers, nobodys in pairs:
        has_body = method != "GET" and not anothers.endswith(("redeliver", "webhook-test"))
        more = {"content": b"{}", "headers": {"content-type": JSON}} if has_body else {}
        found = [target.call(method, path, stranger.token, **more) for path in (anothers, nobodys)]
        assert [one.status_code for one in found] == [404, 404], anothers
        first, second = (json.loads(one.text.replace(finalized, "nothing")) for one in found)
        assert first["code"] == second["code"]


# Addresses and methods.


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/.well-known/jwks.json", "/openapi.json", "/problems/not_found"]
)
def test_what_anybody_may_read_is_read_without_a_token(target, path):
    answer = target.call("GET", path)
    assert answer.status_code == 200
    head = target.client.head(path)
    assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", answer.headers["content-type"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/contracts/"),
        ("GET", "//contracts"),
        ("POST", "//event"),
        ("POST", "/event/"),
        ("GET", "/organizations/bank"),
        ("GET", "/templates/transaction-contract/01"),
    ],
)
def test_a_path_that_names_nothing_is_not_found(target, method, path):
    headers = {"authorization": f"Bearer {target.operator}", "content-type": JSON}
    answer = target.as_it_is(method, path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/contracts", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("PATCH", "/mpass", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("POST", "/health", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/event", {"POST", "OPTIONS"}),
    ],
)
def test_another_method_is_answered_with_those_there_are(target, method, path, allowed):
    answer = target.client.request(method, path, headers={"authorization": f"Bearer {target.operator}"})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/contracts", "/mpass", "/organizations/mo"])
def test_head_is_get_without_the_body(target, path):
    headers = {"authorization": f"Bearer {target.operator}"}
    head, got = target.client.head(path, headers=headers), target.client.get(path, headers=headers)
    assert (head.status_code, head.content, got.status_code) == (200, b"", 200)
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("path", ["/contracts", "/mpass", "/organizations/mo", "/event"])
def test_options_tells_the_methods_and_allows_no_other_origin(target, path):
    told = target.client.options(path, headers={"origin": "https://evil.example"})
    assert not [name for name in told.headers if name.startswith("access-control")]
    if target.kind == "deployed":  # MiniStack's gateway answers for an API without CORS; AWS's has it for $default
        assert (told.status_code, told.json()) == (403, {"message": "CORS not configured"})
    else:
        assert (told.status_code, told.content) == (204, b"")
        assert {"POST", "OPTIONS"} <= set(told.headers["allow"].split(", "))


@pytest.mark.parametrize(
    "query", ["x=1", "limit=0", "limit=201", "limit=1&limit=2", "cursor=zzz", "limit", "%ff=1", "status=%ff", "&"]
)
def test_a_query_is_never_clamped_or_ignored(target, query):
    assert target.refusal("GET", f"/contracts?{query}", target.mo) == (400, "invalid_parameter")


def test_the_figures_of_a_process_are_there_where_it_lives_on(target):
    answer = target.client.get("/metrics")
    if target.kind == "deployed":  # one of many short-lived processes: CloudWatch has the figures of all
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    else:
        assert (answer.status_code, "moneta_requests_refused_total" in answer.text) == (200, True)


# Bad input.


@pytest.mark.parametrize(
    ("path", "media_type", "size"),
    [
        ("/event", CLOUD_EVENT, EVENT_BYTES_MAX),
        ("/organizations/mo", JSON, MANAGEMENT_BYTES_MAX),
        ("/templates", "application/yaml", TEMPLATE_BYTES_MAX),
    ],
)
def test_a_body_that_is_too_large_is_refused_by_the_hub_itself(target, path, media_type, size):
    by = target.mo if path == "/event" else target.operator
    refused = target.refusal("POST", path, by, content=b" " * (size + 1), headers={"content-type": media_type})
    assert refused == (413, "too_large")


@pytest.fixture(scope="session")
def victims(embedded, other):
    """Each hub with something to break: those of the embedded one, and of the one that is to answer like it."""
    return Victim(embedded), Victim(other)


class Victim:
    """What bad requests are about, at one hub: the names that stand in them, and who sends them."""

    def __init__(self, target):
        self.target, self.mo, self.organization = target, target.register(Role.MO), target.register(Role.MO)
        self.mpass = self.mo.issue_mpass()["id"]
        self.kid = keys.thumbprint(self.organization.auth_key)

    def requests(self):
        """Return the same requests for every victim, but for the names in them."""
        values = {
            **dict.fromkeys(("event_id", "contract_id", "webhook_id", "letter_id", "change_id"), "none"),
            "kind": "mo",
            "name": "transaction-contract",
            "version": "1",
            "code": "not_found",
            "mpass_id": self.mpass,
        }
        named = {"organization_id": self.organization.id, "kid": self.kid}
        return bad_requests(values=values, target=named, mo=self.mo.id, count=BAD_REQUESTS)

    def answer(self, request):
        """Return the status and, of a refusal, the problem document, in which our own names are blanked."""
        by = self.mo.token if request.template in {"/event", "/mpass"} else self.target.operator
        token = {} if request.is_anonymous else {"authorization": f"Bearer {by}"}
        headers = {name: value.encode("latin-1") for name, value in {**token, **request.headers}.items()}
        answer = self.target.as_it_is(request.method, request.path, headers=headers, content=request.content)
        check_described(answer, request.method, request.template)
        text = answer.text
        for name in (self.mo.id, self.organization.id, self.mpass, self.kid):
            text = text.replace(name, "ours")
        problem = json.loads(text) if answer.status_code >= 400 else {}
        return answer.status_code, problem


def test_bad_input_is_refused_with_the_same_problem_everywhere(victims):
    one, another = victims
    seen, differing = set(), []
    for mine, its in zip(one.requests(), another.requests(), strict=True):
        expected, got = one.answer(mine), another.answer(its)
        seen.add(expected[0])
        # Of JSON that is no UTF-8 the gateway hands on U+FFFD for what is none: it may be refused for something else.
        is_changed = another.target.kind == "deployed" and not is_utf8(mine.content)
        if got != expected and not is_changed:
            differing.append((f"{mine.what} to {mine.method} {mine.path[:200]}", expected, got))
    assert differing == []
    assert seen >= {400, 401, 404, 415, 422}
