"""Management and reading over HTTP: the answers, their headers, and the conditions that requests carry."""

import json
import re

import pytest

from moneta.adapters.template_reader import builtin_templates
from moneta.application.ports import IdentityRole
from moneta.signing import base64url
from moneta.signing.tokens import make_token
from tests.http.api_contract import check_described, document
from tests.http.api_server import parties, serving
from tests.hub import MO, PUBLISHER
from tests.signing_examples import key_of
from tests.stores import STORES

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module", params=STORES)
def served(tmp_path_factory, request):
    with serving(tmp_path_factory.mktemp("hub"), store=request.param) as served:
        served.mo, served.publisher = parties(served.test_hub)
        served.operator = served.test_hub.console
        served.mpass = served.test_hub.issue_mpass(served.mo)
        served.contract = served.test_hub.submit(
            served.mo, served.test_hub.body(served.mo, served.publisher, served.mpass)
        )
        yield served


def path_of(party, *rest):
    return "/".join(["/organizations", str(party.kind), party.organization_id, *rest])


class TestCreation:
    def test_an_organization_is_created_once_a_key(self, served):
        members = served.test_hub.organization_members(MO, "NEWMO")
        headers = {"idempotency-key": "create-1"}
        first = served.call("POST", "/organizations/mo", served.operator, json=members, headers=headers)
        assert first.status_code == 201, first.text
        body = first.json()
        assert (body["mic"], body["status"], first.headers["etag"]) == ("NEWMO", "Pending", '"1"')
        assert body["webhook_secret"].startswith("whsec_")
        assert first.headers["location"] == f"/organizations/mo/{body['id']}"
        again = served.call("POST", "/organizations/mo", served.operator, json=members, headers=headers)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
        assert again.json() == {**body, "webhook_secret": None}
        assert again.headers["location"] == first.headers["location"]
        other = served.call(
            "POST", "/organizations/mo", served.operator, json={**members, "name": "Other"}, headers=headers
        )
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")

    def test_a_code_is_given_out_once(self, served):
        members = served.test_hub.organization_members(PUBLISHER, "TWICE")
        assert served.call("POST", "/organizations/publisher", served.operator, json=members).status_code == 201
        again = served.call("POST", "/organizations/publisher", served.operator, json=members)
        assert (again.status_code, again.json()["code"]) == (409, "code_taken")

    def test_an_mpass_is_issued_and_read(self, served):
        members = {
            "mo_id": served.mo.organization_id,
            "member_ref": "m-1",
            "policy": {"limits": [{"currency": "USD", "per": "day", "amount": 1.50}]},
        }
        issued = served.call("POST", "/mpass", served.mo, json=members)
        assert (issued.status_code, issued.headers["etag"]) == (201, '"1"')
        assert '"amount":1.5' in issued.text
        assert served.call("GET", issued.headers["location"], served.mo).json() == issued.json()

    def test_a_key_is_added_by_its_owner(self, served):
        members = served.test_hub.new_key(key_of("ES256", "added"), served.mo.organization_id, "auth")
        added = served.call("POST", path_of(served.mo, "keys"), served.mo, json=members)
        assert (added.status_code, added.headers["location"]) == (201, path_of(served.mo))
        kid = added.json()["kid"]
        ended = served.call("PUT", path_of(served.mo, "keys", kid, "status"), served.mo, json={"status": "retired"})
        assert (ended.status_code, ended.json()["status"], ended.headers["etag"]) == (200, "retired", '"2"')

    def test_a_template_is_published_from_its_yaml(self, served):
        payload = builtin_templates()[0].replace(b"version: 1", b"version: 77", 1)
        headers = {"content-type": "application/yaml"}
        made = served.call("POST", "/templates?status=draft", served.operator, content=payload, headers=headers)
        assert made.status_code == 201, made.text
        place = made.headers["location"]
        assert place.endswith("/77")
        assert served.call("GET", place, served.operator).json() == made.json()
        assert served.call("GET", place, served.mo).status_code == 404
        status = served.call("PUT", f"{place}/status", served.operator, json={"status": "published"})
        assert (status.status_code, status.json()["status"]) == (200, "published")
        latest = served.call("GET", place.removesuffix("/77"), served.mo)
        assert latest.json()["version"] == 77

    def test_lint_tells_the_lines(self, served):
        headers = {"content-type": "application/yaml"}
        answer = served.call("POST", "/templates/lint", served.mo, content=b"a: 1\n", headers=headers)
        assert answer.status_code == 200
        assert answer.json()["problems"][0]["line"] >= 1


class TestConditions:
    def test_a_change_is_made_to_the_revision_it_was_meant_for(self, served):
        read = served.call("GET", path_of(served.publisher), served.publisher)
        members = {"metadata": {"webhook_url": "https://new.example/hooks"}}
        changed = served.call(
            "PUT", path_of(served.publisher), served.publisher, json=members, headers={"if-match": read.headers["etag"]}
        )
        assert changed.status_code == 200
        assert changed.headers["etag"] != read.headers["etag"]
        stale = served.call(
            "PUT", path_of(served.publisher), served.publisher, json=members, headers={"if-match": read.headers["etag"]}
        )
        assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")

    @pytest.mark.parametrize(
        ("tag", "status"),
        [("*", 200), ('"none"', 412), ('W/"1"', 412), ('"0"', 412), ("1", 400), ('"1", "2"', 400), ("", 400)],
    )
    def test_if_match_is_one_strong_tag(self, served, tag, status):
        members = {"metadata": {"webhook_url": "https://pub.example/hooks"}}
        answer = served.call(
            "PUT", path_of(served.publisher), served.publisher, json=members, headers={"if-match": tag}
        )
        assert answer.status_code == status, answer.text

    @pytest.mark.parametrize("name", ["If-Match", "Idempotency-Key"])
    def test_a_condition_that_comes_twice_is_not_ignored(self, served, name):
        headers = [*served.headers(served.operator).items(), (name, '"1"'), (name, '"2"')]
        path = path_of(served.publisher) if name == "If-Match" else "/organizations/mo"
        method = "PUT" if name == "If-Match" else "POST"
        members = served.test_hub.organization_members(MO, "TWICE")
        answer = served.client.request(method, path, json=members, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
        assert "expected it once" in answer.json()["detail"]

    @pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\x7f"])
    def test_an_idempotency_key_is_visible_ascii(self, served, key):
        members = served.test_hub.organization_members(MO, "NOKEY")
        answer = served.call(
            "POST", "/organizations/mo", served.operator, json=members, headers={"idempotency-key": key}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


class TestJudging:
    def test_token_comes_before_right_and_right_before_body(self, served):
        path = path_of(served.publisher)
        assert served.call("PUT", path, content=b"{").status_code == 401
        assert served.call("PUT", path, served.mo, content=b"{").status_code == 404
        assert served.call("POST", "/organizations/mo", served.mo, content=b"{").status_code == 403
        assert served.call("PUT", path, served.publisher, content=b"{").status_code == 415
        headers = {"content-type": "application/json"}
        assert served.call("PUT", path, served.publisher, content=b"{", headers=headers).status_code == 400

    def test_a_body_that_is_too_large_is_told_to_who_may_send_one(self, served):
        headers, large = {"content-type": "application/json"}, b" " * 300_000
        answer = served.call("POST", "/organizations/mo", served.operator, content=large, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert served.call("POST", "/organizations/mo", content=large, headers=headers).status_code == 401

    def test_a_body_where_none_is_expected_is_refused(self, served):
        answer = served.call("GET", "/contracts", served.mo, content=b"{}")
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")

    @pytest.mark.parametrize(
        "query", ["x=1", "limit=0", "limit=201", "limit=1&limit=2", "cursor=zzz", "limit", "%ff=1", "status=%ff", "&"]
    )
    def test_a_query_is_never_clamped_or_ignored(self, served, query):
        answer = served.call("GET", f"/contracts?{query}", served.mo)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")

    def test_duplicate_names_are_refused(self, served):
        answer = served.call(
            "PUT",
            path_of(served.mo, "status"),
            served.operator,
            content=b'{"status": "Active", "status": "Destroyed"}',
            headers={"content-type": "application/json"},
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")

    @pytest.mark.parametrize(
        "path", ["/organizations/bank", f"/organizations/bank/{UNKNOWN_ID}", "/templates/transaction-contract/01"]
    )
    def test_a_path_that_can_name_nothing_is_not_found(self, served, path):
        answer = served.call("GET", path, served.operator)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    def test_a_token_of_a_key_that_is_not_registered_is_refused(self, served):
        claims = {
            "subject": served.mo.organization_id,
            "audience": served.test_hub.hub.base_url,
            "token_id": "j",
            "issued_at": served.test_hub.hub.now_s(),
        }
        token = make_token(key_of("ES256", "stranger"), **claims)
        answer = served.client.get("/contracts", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 401


class TestReading:
    def test_a_contract_shows_what_was_signed(self, served):
        answer = served.call("GET", f"/contracts/{served.contract}", served.publisher)
        assert answer.status_code == 200
        contract = answer.json()
        assert contract["status"] == "pending_publisher_signature"
        assert contract["payload"]["transaction"]["amount"] == "100.00"
        assert list(contract["signatures_map"]) == ["mo", "moneta"]
        assert answer.headers["etag"] == f'"{contract["revision"]}"'

    def test_a_list_is_walked_by_its_cursor(self, served):
        seen = []
        path = "/deliveries?limit=1"
        while path:
            page = served.call("GET", path, served.operator).json()
            seen += [item["webhook_id"] for item in page["items"]]
            path = page["next_cursor"] and f"/deliveries?limit=1&cursor={page['next_cursor']}"
        assert len(seen) == len(set(seen)) >= 1
        answer = served.call("GET", f"/deliveries/{seen[0]}", served.operator)
        assert answer.json()["webhook_id"] == seen[0]

    def test_partners_read_each_others_keys(self, served):
        keys = served.call("GET", path_of(served.mo, "jwks"), served.publisher).json()["keys"]
        assert [key["kid"] for key in keys] == [served.mo.key.public.key_id]

    def test_head_is_get_without_the_body(self, served):
        answer = served.call("HEAD", "/contracts", served.mo)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) > 0


class TestOpenRoutes:
    def test_the_hub_is_well(self, served):
        assert served.client.get("/health").json() == {"status": "ok"}

    def test_monetas_keys_are_public(self, served):
        [key] = served.client.get("/.well-known/jwks.json").json()["keys"]
        assert (key["kid"], key["use"]) == (served.test_hub.hub.signer.current().public.key_id, "sig")

    def test_metrics_count_what_was_answered(self, served):
        served.send_event(b"{}", served.mo)
        text = served.client.get("/metrics").text
        assert 'moneta_requests_refused_total{code="malformed_request",route="/event"}' in text
        assert "\nmoneta_deliveries_pending " in text
        assert 'moneta_endpoints{status="failing"} 0.0' in text
        assert 'moneta_endpoints{status="disabled"} 0.0' in text
        assert served.mo.organization_id not in text

    def test_a_problem_is_explained_under_its_type(self, served):
        refused = served.call("GET", "/nowhere").json()
        page = served.client.get(refused["type"])
        assert page.json() == {
            "code": "not_found",
            "title": "Not found",
            "status": 404,
            "explanation": page.json()["explanation"],
        }
        assert served.client.get("/problems/none").status_code == 404

    def test_an_open_route_takes_no_query(self, served):
        assert served.client.get("/health?x=1").json()["code"] == "invalid_parameter"

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("DELETE", "/contracts", {"GET", "HEAD", "POST", "OPTIONS"}),
            ("POST", "/health", {"GET", "HEAD", "OPTIONS"}),
            ("PATCH", "/mpass", {"GET", "HEAD", "POST", "OPTIONS"}),
            ("FOO", "/mpass", {"GET", "HEAD", "POST", "OPTIONS"}),
        ],
    )
    def test_another_method_is_answered_405(self, served, method, path, allowed):
        answer = served.client.request(method, path)
        assert answer.json().get("code") in {"method_not_allowed", "malformed_request"}
        if answer.status_code == 405:
            assert set(answer.headers["allow"].split(", ")) == allowed

    @pytest.mark.parametrize("path", [path for path in document()["paths"] if path != "/event"])
    def test_every_path_tells_its_methods(self, served, path):
        described = {method.upper() for method in document()["paths"][path]}
        answer = served.client.options(re.sub(r"{\w+}", "x", path))
        assert answer.status_code == 204
        assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == described | {"OPTIONS"}

    def test_no_answer_allows_another_origin(self, served):
        answer = served.client.options("/contracts", headers={"origin": "https://evil.example"})
        assert answer.status_code == 204
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "subject", ["\x00", "operator\x00", "💥", " ", "..", "x" * 1_000, "'; --", "\ud800", "moneta_core"]
)
@pytest.mark.parametrize("path", ["/contracts", "/event"])
def test_a_token_whose_subject_can_be_nobody_is_refused_like_any_other(served, subject, path):
    now = served.test_hub.hub.now_s()
    claims = {
        "iss": subject,
        "sub": subject,
        "aud": served.test_hub.hub.base_url,
        "iat": now,
        "exp": now + 60,
        "jti": "j",
    }
    header = {"alg": "ES256", "kid": "A" * 43, "typ": "JWT"}
    parts = [base64url.encode(json.dumps(part).encode()) for part in (header, claims)]
    token = ".".join([*parts, base64url.encode(b"\x01" * 64)])
    answer = served.client.request(
        "POST" if path == "/event" else "GET",
        path,
        content=b"{}" if path == "/event" else b"",
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


class TestSendingAgain:
    def delivery(self, served):
        listed = served.call("GET", "/deliveries?contract_id=contract-1", served.publisher).json()
        return listed["items"][0]["webhook_id"]

    def test_a_message_is_owed_again_and_the_worker_woken(self, served):
        served.woken.clear()
        answer = served.call("POST", f"/deliveries/{self.delivery(served)}/redeliver", served.publisher)
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        assert served.woken.is_set()
        check_described(answer, "POST", "/deliveries/{webhook_id}/redeliver")

    @pytest.mark.parametrize(("content", "status"), [(b"", 202), (b"{}", 202), (b"{ }", 400), (b'{"a": 1}', 400)])
    def test_redelivering_takes_no_body(self, served, content, status):
        path = f"/deliveries/{self.delivery(served)}/redeliver"
        answer = served.call("POST", path, served.publisher, content=content)
        assert answer.status_code == status, answer.text

    def test_a_replay_is_answered_once_a_key(self, served):
        served.woken.clear()
        headers = {"idempotency-key": "replay-1"}
        members = {"contract_id": "contract-1"}
        first = served.call("POST", "/deliveries/replay", served.publisher, json=members, headers=headers)
        assert (first.status_code, first.json()) == (202, {"count": 1, "next_cursor": None})
        assert served.woken.is_set()
        again = served.call("POST", "/deliveries/replay", served.publisher, json=members, headers=headers)
        assert (again.status_code, again.json()) == (202, first.json())
        assert again.headers["idempotency-replayed"] == "true"
        assert "etag" not in again.headers
        check_described(again, "POST", "/deliveries/replay")

    def test_a_replay_needs_a_contract_or_a_range(self, served):
        answer = served.call("POST", "/deliveries/replay", served.publisher, json={})
        assert (answer.status_code, answer.json()["code"]) == (422, "missing_field")
        check_described(answer, "POST", "/deliveries/replay")
        answer = served.call("GET", "/deliveries/replay", served.publisher)
        assert answer.status_code in {404, 405}


@pytest.fixture
def two(tmp_path):
    with serving(tmp_path, checkers=2) as served:
        served.operator = served.test_hub.console
        served.checker = served.test_hub.add_identity("checker", IdentityRole.CHECKER)
        served.party = served.test_hub.register(MO, "WAITS", status="Pending")
        yield served


def described(answer, method, path):
    check_described(answer, method, path)
    return answer


class TestChecker:
    def test_what_takes_two_is_kept_then_approved_and_then_it_is_so(self, two):
        path = path_of(two.party, "status")
        asked = two.call("PUT", path, two.operator, json={"status": "Active", "reason": "agreed"})
        described(asked, "PUT", "/organizations/{kind}/{organization_id}/status")
        assert (asked.status_code, asked.json()["state"]) == (202, "awaiting_checker")
        assert "etag" not in asked.headers
        place = asked.headers["location"]
        assert place == f"/changes/{asked.json()['change']}"
        waiting = two.call("GET", "/changes?state=awaiting_checker", two.checker)
        assert [one["id"] for one in described(waiting, "GET", "/changes").json()["items"]] == [place[9:]]
        own = two.call("PUT", place, two.operator, json={"decision": "approve"})
        assert (own.status_code, own.json()["code"]) == (403, "forbidden")
        done = two.call("PUT", place, two.checker, json={"decision": "approve"})
        assert (done.status_code, done.json()["state"], done.headers["etag"]) == (200, "approved", '"2"')
        described(done, "PUT", "/changes/{change_id}")
        assert two.call("GET", path_of(two.party), two.party).json()["status"] == "Active"
        late = two.call("PUT", place, two.checker, json={"decision": "refuse"})
        assert (late.status_code, late.json()["code"]) == (409, "transition_refused")
        read = two.call("GET", place, two.checker)
        assert described(read, "GET", "/changes/{change_id}").json() == done.json()

    def test_what_fails_when_it_is_approved_tells_why_and_shows_it(self, two):
        path = path_of(two.party, "status")
        asked = [two.call("PUT", path, two.operator, json={"status": "Active"}).headers["location"] for _ in "ab"]
        assert two.call("PUT", asked[0], two.checker, json={"decision": "approve"}).status_code == 200
        failed = two.call("PUT", asked[1], two.checker, json={"decision": "approve"})
        assert (failed.status_code, failed.json()["code"]) == (409, "transition_refused")
        read = described(two.call("GET", asked[1], two.checker), "GET", "/changes/{change_id}")
        assert (read.json()["state"], read.json()["problem"]) == ("failed", failed.json())

    def test_the_same_asking_twice_is_one_change(self, two):
        members = two.test_hub.new_key(key_of("ES256", "waits"), two.party.organization_id, "contract")
        headers = {"idempotency-key": "key-1"}
        first, again = (
            two.call("POST", path_of(two.party, "keys"), two.operator, json=members, headers=headers) for _ in "ab"
        )
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json() == again.json()
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]
        described(again, "POST", "/organizations/{kind}/{organization_id}/keys")
