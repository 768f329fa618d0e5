"""``GET /status-lists/{id}``: open to anybody, kept for as long as it says, and new within ten seconds of a lock."""

import pytest

from moneta.application import mpasses
from moneta.domain.limits import STATUS_LIST_AGE_S_MAX, STATUS_LIST_TTL_S
from moneta.domain.status_places import list_id
from moneta.signing.status_list import verify_status_list
from tests.http.api_server import serving
from tests.hub import MO
from tests.stores import STORES


@pytest.fixture(scope="module", params=STORES)
def served(tmp_path_factory, request):
    with serving(tmp_path_factory.mktemp("hub"), store=request.param) as served:
        yield served


@pytest.fixture
def mo(served, request):
    return served.test_hub.register(MO, f"M{abs(hash(request.node.name)) % 10**9}")


def path_of(mo, number=0):
    return f"/status-lists/{list_id(mo.organization_id, number)}"


def lock(served, mo, mpass_id):
    hub = served.test_hub.hub
    mpasses.change_mpass_status(hub, served.test_hub.caller(mo), mpass_id, {"status": "Locked"})


def status_in(served, answer, mo, mpass_id):
    hub = served.test_hub.hub
    place = hub.directory.mpasses([mpass_id])[mpass_id].status_place
    uri = hub.base_url + path_of(mo)
    found = verify_status_list(answer.text, lambda *_: hub.signer.current().public, uri=uri, now=hub.now_s())
    return found.status(place.index)


def test_anybody_reads_a_list_and_may_keep_it_for_a_while(served, mo):
    mpass_id = served.test_hub.issue_mpass(mo)
    answer = served.call("GET", path_of(mo))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/statuslist+jwt"
    assert answer.headers["cache-control"] == f"public, max-age={STATUS_LIST_TTL_S}"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert status_in(served, answer, mo, mpass_id) == 0


def test_who_has_a_list_already_is_told_so(served, mo):
    served.test_hub.issue_mpass(mo)
    first = served.call("GET", path_of(mo))
    for tags in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = served.call("GET", path_of(mo), headers={"if-none-match": tags})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert "content-length" not in again.headers
    assert served.call("GET", path_of(mo), headers={"if-none-match": '"other"'}).text == first.text


def test_a_lock_is_in_the_list_within_ten_seconds(served, mo):
    mpass_id = served.test_hub.issue_mpass(mo)
    before = served.call("GET", path_of(mo))
    lock(served, mo, mpass_id)
    served.test_hub.clock.advance(STATUS_LIST_AGE_S_MAX - 1)
    kept = served.call("GET", path_of(mo))
    assert kept.text == before.text
    assert kept.headers["cache-control"] == f"public, max-age={STATUS_LIST_TTL_S - STATUS_LIST_AGE_S_MAX + 1}"
    served.test_hub.clock.advance(1)
    new = served.call("GET", path_of(mo))
    assert new.headers["etag"] != before.headers["etag"]
    assert [status_in(served, one, mo, mpass_id) for one in (before, new)] == [0, 2]


def test_a_list_that_nobody_has_is_not_found(served, mo):
    served.test_hub.issue_mpass(mo)
    for path in (path_of(mo, 1), "/status-lists/nobody.0", "/status-lists/nothing"):
        answer = served.call("GET", path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert served.call("GET", path_of(mo) + "?time=1").json()["code"] == "invalid_parameter"


def test_of_many_lists_the_ones_asked_for_last_are_kept(served, monkeypatch):
    monkeypatch.setattr("moneta.entrypoints.http.status_lists.STATUS_LISTS_KEPT_MAX", 1)
    one, other = (served.test_hub.register(MO, f"KEPT{number}") for number in range(2))
    for each in (one, other):
        served.test_hub.issue_mpass(each)
    first = [served.call("GET", path_of(each)).text for each in (one, other)]
    served.test_hub.clock.advance(1)
    assert served.call("GET", path_of(other)).text == first[1]
    assert served.call("GET", path_of(one)).text != first[0]
