"""One table of scenarios over HTTP alone, the same against every kind of hub (``conftest``).

What another process answers is another's business: each answer is judged by the OpenAPI document (``Target.call``).
What they make is told apart by ids, so that the scenarios may share a hub.
"""

import json

import pytest

from moneta.adapters.template_reader import builtin_templates
from moneta.client import (
    Keyring,
    Role,
    Tokens,
    Verifier,
    build_event,
    cancel,
    decline,
    keys,
    system_clock,
)
from moneta.domain.limits import EVENT_BYTES_MAX, MANAGEMENT_BYTES_MAX, TEMPLATE_BYTES_MAX
from tests.aws_lambda.gateway import is_utf8
from tests.everywhere.target import CLOUD_EVENT, JSON, OUTCOME_S_MAX, new_code, new_id
from tests.http.api_contract import check_described, operations
from tests.http.bad_input import bad_requests
from tests.running_hub import wait_until

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
YAML = {"content-type": "application/yaml"}
ENDED = "moneta.contract.finalized"
PENDING = "pending_publisher_signature"
EXPIRES_S = 3
BAD_REQUESTS = 64


def etag(answer):
    return answer.headers["etag"]


@pytest.fixture
def silent(target, monkeypatch):
    """The market, whose publisher leaves what it is asked to sign for later."""
    monkeypatch.setattr(target.market.publisher, "signs", False)
    return target.market


@pytest.fixture(scope="session")
def finalized(target):
    """The id of a contract that has come to its end."""
    contract_id = new_id("end")
    target.submit(contract_id)
    target.contract(contract_id, "finalized")
    return contract_id


# Organizations and their keys.


def test_an_organization_is_registered_once_for_each_idempotency_key(target):
    member = target.register(Role.MO, status="Pending")
    code = new_code()
    asked = {**member.members, "mic": code, "keys": [member.offered(keys.generate("ES256"), "contract", subject=code)]}
    given = {"idempotency-key": new_id("registration")}
    first = target.call("POST", "/organizations/mo", target.operator, json=asked, headers=given)
    made = first.json()
    assert (first.status_code, made["status"], etag(first)) == (201, "Pending", '"1"')
    assert first.headers["location"] == f"/organizations/mo/{made['id']}"
    again = target.call("POST", "/organizations/mo", target.operator, json=asked, headers=given)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.json() == {**made, "webhook_secret": None}
    other = {**asked, "name": "Another"}
    reused = target.refusal("POST", "/organizations/mo", target.operator, json=other, headers=given)
    assert reused == (422, "idempotency_key_reused")
    assert target.refusal("POST", "/organizations/mo", target.operator, json=asked)[0] == 409


def test_an_organization_is_changed_at_the_revision_that_was_read(target):
    member = target.register(Role.PUBLISHER)
    seen = target.call("GET", member.path, member.token)
    change = {"metadata": {"webhook_url": "https://moved.invalid/"}}
    given = {"if-match": etag(seen)}
    changed = target.call("PUT", member.path, member.token, json=change, headers=given)
    assert (changed.status_code, etag(changed) != etag(seen)) == (200, True)
    assert changed.json()["metadata"]["webhook_url"] == "https://moved.invalid/"
    stale = target.refusal("PUT", member.path, member.token, json=change, headers=given)
    assert stale == (412, "precondition_failed")
    assert etag(target.call("GET", member.path, member.token)) == etag(changed)


@pytest.mark.parametrize(
    ("tag", "status"), [("*", 200), ('"none"', 412), ('W/"1"', 412), ("1", 400), ('"1", "2"', 400), ("", 400)]
)
def test_if_match_is_one_strong_tag(target, tag, status):
    mo = target.market.mo
    path = f"/organizations/mo/{mo.organization_id}"
    change = {"metadata": {"webhook_url": mo.server.url}}
    answer = target.call("PUT", path, target.mo, json=change, headers={"if-match": tag})
    assert answer.status_code == status, answer.text


def test_an_organization_goes_through_its_statuses(target):
    member = target.register(Role.MO, status="Pending")
    for status, by in (
        ("Active", target.operator),
        ("Suspended", member.token),
        ("Active", target.operator),
        ("Destroyed", target.operator),
    ):
        changed = target.done("PUT", f"{member.path}/status", by, json={"status": status, "reason": "a scenario"})
        assert changed["status"] == status
    back = target.call("PUT", f"{member.path}/status", target.operator, json={"status": "Active"})
    assert (back.status_code, back.json()["code"], back.json()["allowed"]) == (409, "transition_refused", [])
    assert target.refusal("PUT", member.path, member.token, json={"metadata": {}}) == (401, "unauthorized")


def test_an_added_key_counts_until_it_is_revoked(target):
    member = target.register(Role.MO)
    key = keys.generate("ES256")
    added = target.call("POST", f"{member.path}/keys", member.token, json=member.offered(key, "auth"))
    assert (added.status_code, added.headers["location"]) == (201, member.path)
    token = Tokens(member.party(key)).current()
    change = {"metadata": {"webhook_url": "https://nobody.invalid/"}}
    assert target.call("PUT", member.path, token, json=change).status_code == 200
    status = f"{member.path}/keys/{added.json()['kid']}/status"
    ended = target.call("PUT", status, member.token, json={"status": "revoked"}, headers={"if-match": etag(added)})
    assert (ended.status_code, ended.json()["status"]) == (200, "revoked")
    assert target.refusal("PUT", member.path, token, json=change) == (401, "unauthorized")
    back = target.refusal("PUT", status, member.token, json={"status": "retired"})
    assert back == (409, "transition_refused")


def test_a_key_stands_with_one_organization(target):
    member, another = target.register(Role.MO), target.register(Role.PUBLISHER)
    offered = another.offered(member.auth_key, "auth")
    assert target.refusal("POST", f"{another.path}/keys", another.token, json=offered) == (409, "key_taken")


def test_a_webhook_secret_is_made_anew_and_shown_once(target):
    member = target.register(Role.PUBLISHER)
    made = target.done("POST", f"{member.path}/webhook-secret", member.token, json={"overlap_s": 60})
    assert made["webhook_secret"].startswith("whsec_")
    assert made["webhook_secret"] not in json.dumps(target.done("GET", member.path, member.token))


# mPasses.


def test_an_mpass_goes_through_its_statuses(target):
    member = target.register(Role.MO)
    given = {"idempotency-key": new_id("mpass")}
    asked = {"mo_id": member.id, "member_ref": "member-1"}
    issued = target.call("POST", "/mpass", member.token, json=asked, headers=given)
    assert (issued.status_code, issued.json()["status"], etag(issued)) == (201, "Pending", '"1"')
    again = target.call("POST", "/mpass", member.token, json=asked, headers=given)
    assert (again.json(), again.headers["idempotency-replayed"]) == (issued.json(), "true")
    place = issued.headers["location"]
    for status, by, shown, locks in (
        ("Active", member.token, "Active", []),
        ("Locked", member.token, "Locked", ["mo"]),
        ("Locked", target.operator, "Locked", ["mo", "admin"]),
        ("Active", member.token, "Locked", ["admin"]),
        ("Active", target.operator, "Active", []),
        ("Revoked", member.token, "Revoked", []),
    ):
        changed = target.done("PUT", f"{place}/status", by, json={"status": status, "reason": "a scenario"})
        assert (changed["status"], sorted(changed["locks"])) == (shown, sorted(locks))
    back = target.refusal("PUT", f"{place}/status", member.token, json={"status": "Active"})
    assert back == (409, "transition_refused")
    assert target.done("GET", place, member.token)["status"] == "Revoked"


def test_an_mpass_tells_what_it_was_and_why(target):
    member = target.register(Role.MO)
    issued = member.issue_mpass()
    place = f"/mpass/{issued['id']}"
    for status in ("Active", "Locked"):
        target.done("PUT", f"{place}/status", member.token, json={"status": status})
    told = target.done("GET", f"{place}/history", member.token)["history"]
    assert [one["status"] for one in told] == ["Pending", "Active", "Locked"]
    assert target.done("GET", f"{place}?at={told[-1]['at']}", member.token)["status"] == "Locked"
    early = target.refusal("GET", f"{place}?at={issued['issued_at'] - 1}", member.token)
    assert early == (400, "invalid_parameter")


def test_mpasses_are_listed_by_status_over_pages(target):
    member = target.register(Role.MO)
    made = [member.issue_mpass()["id"] for _ in range(5)]
    for mpass in made[:2]:
        target.done("PUT", f"/mpass/{mpass}/status", member.token, json={"status": "Active"})

    def listed(query):
        pages = target.pages(f"/mpass?{query}", member.token, limit=2)
        return [one["id"] for page in pages for one in page]

    wait_until(lambda: set(listed("status=Active")) == set(made[:2]), OUTCOME_S_MAX)  # indexes may be late
    wait_until(lambda: set(listed("status=Pending")) == set(made[2:]), OUTCOME_S_MAX)
    everything = listed(f"mo_id={member.id}")
    assert (len(everything), set(everything)) == (len(made), set(made))
    assert listed(f"mo_id={UNKNOWN_ID}") == []


# Templates.


def test_a_template_is_kept_published_deprecated_and_retired(target):
    name = new_id("template")
    payload = _template(name)
    made = target.call("POST", "/templates?status=draft", target.operator, content=payload, headers=YAML)
    assert (made.status_code, made.headers["location"]) == (201, f"/templates/{name}/1")
    place = made.headers["location"]
    assert target.refusal("GET", place, target.mo) == (404, "not_found")
    early = target.refusal("PUT", f"{place}/status", target.operator, json={"status": "retired"})
    assert early == (409, "transition_refused")
    for status in ("published", "deprecated", "retired"):
        answer = target.done("PUT", f"{place}/status", target.operator, json={"status": status})
        assert answer["status"] == status
    assert target.done("GET", place, target.mo)["status"] == "retired"
    other = payload + b"description: other bytes\n"
    again = target.refusal("POST", "/templates", target.operator, content=other, headers=YAML)
    assert again == (409, "template_exists")


def test_lint_tells_what_is_wrong_with_a_template_by_line(target):
    answer = target.done("POST", "/templates/lint", target.mo, content=b"a: 1\n", headers=YAML)
    assert answer["problems"][0]["line"] >= 1
    well = target.done("POST", "/templates/lint", target.mo, content=_template(new_id("template")), headers=YAML)
    assert well["problems"] == []
    refused = target.refusal("POST", "/templates", target.operator, content=b"a: 1\n", headers=YAML)
    assert refused == (422, "template_invalid")


def test_templates_are_listed_over_pages(target):
    pages = target.pages("/templates?status=published", target.mo, limit=5)
    found = [(one["template_name"], one["version"]) for page in pages for one in page]
    assert len(pages) > 1
    assert len(set(found)) == len(found)
    assert ("transaction-contract", 1) in found


def _template(name):
    payload = next(one for one in builtin_templates() if b'template_name: "transaction-contract"' in one)
    return payload.replace(b'template_name: "transaction-contract"', f"template_name: {name}".encode(), 1)


# Events and contracts.


def test_a_contract_is_signed_in_a_webhooks_answer_and_both_parties_are_told(target, finalized):
    shown = target.done("GET", f"/contracts/{finalized}", target.publisher)
    assert (shown["status"], shown["next_signers"], len(shown["jws"]["signatures"])) == ("finalized", [], 3)
    assert [one["event"] for one in shown["event_logs"]][-1] == "contract_finalized"
    assert target.outcome(f"submit-{finalized}", target.mo)["status"] == "processed"
    for trader in (target.market.mo, target.market.publisher):
        wait_until(lambda told=trader.told: (finalized, ENDED) in {one[:2] for one in told}, OUTCOME_S_MAX)
    verifier = Verifier(target.market.publisher.party, Keyring(target.market.publisher.client.caller.get))
    assert verifier.contract(shown["jws"]).body.contract_id == finalized


def test_the_same_event_is_answered_as_before_and_another_under_its_id_is_refused(target):
    contract_id = new_id("same")
    event, _ = target.submission(contract_id)
    first = target.send(event, target.mo)
    assert (first.status_code, first.headers["location"]) == (202, f"/events/{event.event_id}")
    again = target.send(event, target.mo)
    assert (again.status_code, again.content) == (202, first.content)
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    given = {"content-type": CLOUD_EVENT}
    refused = target.refusal("POST", "/event", target.mo, content=event.raw + b" ", headers=given)
    assert refused == (422, "event_id_reused")
    assert target.contract(contract_id, "finalized")["revision"] == 2


def test_a_contract_is_declined_by_whose_turn_it_is(target, silent):
    contract_id = new_id("declined")
    target.submit(contract_id)
    shown = target.contract(contract_id, PENDING)
    publisher, now = silent.publisher, system_clock()
    seen = Verifier(publisher.party, Keyring(publisher.client.caller.get)).contract(shown["jws"])
    act = decline(seen, publisher.party, reason_code="scenario", reason="no", issued_at=now)
    event = build_event(publisher.party, "decline", act, now=now)
    assert target.send(event, target.publisher).status_code == 202
    ended = target.contract(contract_id, "declined")
    assert (len(ended["acts"]), ended["receipt"] is not None) == (1, True)
    assert target.outcome(event.event_id, target.publisher)["status"] == "processed"


def test_a_contract_is_cancelled_by_who_began_it_and_is_closed_then(target, silent):
    contract_id = new_id("cancelled")
    signed = target.submit(contract_id)
    target.contract(contract_id, PENDING)
    now, mo = system_clock(), silent.mo.party
    act = cancel(signed, mo, reason_code="scenario", reason="a mistake", issued_at=now)
    event = build_event(mo, "cancel", act, now=now)
    assert target.send(event, target.mo).status_code == 202
    assert len(target.contract(contract_id, "cancelled")["acts"]) == 1
    later = cancel(signed, mo, reason_code="another", reason="again", issued_at=now)
    second = build_event(mo, "cancel", later, now=now)
    assert target.send(second, target.mo).status_code == 202
    assert target.outcome(second.event_id, target.mo)["status"] in {"processed", "rejected"}
    assert len(target.contract(contract_id, "cancelled")["acts"]) == 1


def test_a_contract_that_nobody_completes_expires(target, silent):
    contract_id = new_id("expired")
    target.submit(contract_id, expires_at=system_clock() + EXPIRES_S)
    ended = target.contract(contract_id, "expired")
    assert [one["event"] for one in ended["event_logs"]][-1] == "contract_expired"
    assert silent.publisher.signs is False


def test_a_contract_that_no_template_allows_is_rejected_with_its_problem(target):
    contract_id = new_id("late")
    event, _ = target.submission(contract_id, expires_at=system_clock() - 1)
    assert target.send(event, target.mo).status_code == 202
    outcome = target.outcome(event.event_id, target.mo)
    assert (outcome["status"], outcome["problem"]["code"]) == ("rejected", "contract_expired")
    assert target.refusal("GET", f"/contracts/{contract_id}", target.mo)[0] == 404


def test_contracts_are_listed_by_filters_over_pages(target):
    mpass = target.market.mo.issue_mpass()
    made = [new_id("listed") for _ in range(3)]
    for contract_id in made:
        target.submit(contract_id, mpass_id=mpass)
    for contract_id in made:
        target.contract(contract_id, "finalized")

    def listed(query, token):
        pages = target.pages(f"/contracts?{query}", token, limit=2)
        return sorted(one["contract_id"] for page in pages for one in page)

    queries = (
        f"mpass_id={mpass}",
        f"mpass_id={mpass}&status=finalized",
        f"mpass_id={mpass}&mo_id={target.market.mo.organization_id}&received_to={system_clock() + 3600}",
    )
    for query in queries:
        wait_until(lambda asked=query: listed(asked, target.mo) == sorted(made), OUTCOME_S_MAX)
        assert listed(query, target.operator) == sorted(made)
    assert listed(f"mpass_id={mpass}&status=declined", target.mo) == []
    assert listed(f"mpass_id={mpass}", target.register(Role.MO).token) == []


def test_what_was_delivered_is_listed_and_sent_again_on_request(target, finalized):
    publisher = target.market.publisher

    def listed():
        pages = target.pages(f"/deliveries?contract_id={finalized}&status=delivered", target.publisher, limit=1)
        return [one["webhook_id"] for page in pages for one in page]

    wait_until(lambda: len(listed()) == 2, OUTCOME_S_MAX)  # asked to sign, and told of the end
    ends = {told[2] for told in publisher.told if told[:2] == (finalized, ENDED)}
    (webhook_id,) = ends & set(listed())
    before = len(target.done("GET", f"/deliveries/{webhook_id}", target.publisher)["attempts"])
    again = target.call("POST", f"/deliveries/{webhook_id}/redeliver", target.publisher)
    assert (again.status_code, again.json()["webhook_id"]) == (202, webhook_id)

    def attempts():
        return target.done("GET", f"/deliveries/{webhook_id}", target.publisher)["attempts"]

    wait_until(lambda: len(attempts()) > before, OUTCOME_S_MAX)
    assert attempts()[-1]["status"] == 200


def test_a_contracts_messages_are_replayed(target, finalized):
    asked = {"contract_id": finalized}
    given = {"idempotency-key": new_id("replay")}
    first = target.call("POST", "/deliveries/replay", target.publisher, json=asked, headers=given)
    assert (first.status_code, first.json()["count"]) == (202, 2)
    again = target.call("POST", "/deliveries/replay", target.publisher, json=asked, headers=given)
    assert (again.headers["idempotency-replayed"], again.json()) == ("true", first.json())


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
        if not is_utf8(request.content):  # the gateway hands on U+FFFD for what is no UTF-8: refused, at another place
            problem.pop("detail", None)
        return answer.status_code, problem


def test_bad_input_is_refused_with_the_same_problem_everywhere(victims):
    one, another = victims
    seen, differing = set(), []
    for mine, its in zip(one.requests(), another.requests(), strict=True):
        expected, got = one.answer(mine), another.answer(its)
        seen.add(expected[0])
        if got != expected:
            differing.append((f"{mine.what} to {mine.method} {mine.path[:200]}", expected, got))
    assert differing == []
    assert seen >= {400, 401, 404, 415, 422}
