"""Organizations with their keys, mPasses and templates, over HTTP, the same at every kind of hub (``conftest``)."""

import json

import pytest

from moneta.adapters.template_reader import builtin_templates
from moneta.client import Role, Tokens, keys
from tests.everywhere.target import OUTCOME_S_MAX, UNKNOWN_ID, new_code, new_id
from tests.running_hub import wait_until

YAML = {"content-type": "application/yaml"}


def etag(answer):
    return answer.headers["etag"]


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
