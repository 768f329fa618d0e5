"""Every route x every role x own and other's object. The routes come from the OpenAPI document.

A new route without a row here fails. A row asks for something that changes nothing that another row sees, so that
"allowed" shows by a status of its own: 412 where ``If-Match`` is stale, 422 where a member is missing, 200 where
something is read, 202 where something is sent again.
"""

import json
import uuid
from dataclasses import dataclass, replace

import pytest

from moneta.application.access import RIGHTS, Operation, Scope
from moneta.application.ports import EventType, IdentityRole
from tests.http.api_contract import check_described, operations
from tests.http.api_server import serving
from tests.hub import MO, PUBLISHER
from tests.signing_examples import key_of
from tests.stores import STORES

JSON_TYPE = {"content-type": "application/json"}
YAML_TYPE = {"content-type": "application/yaml"}
STALE = {**JSON_TYPE, "if-match": '"999999"'}
COLUMNS = (
    *("operator", "checker", "auditor"),
    *("mo own", "mo other", "publisher own", "publisher other", "pending own", "suspended own"),
)


@dataclass(frozen=True)
class World:
    """What stands on one side: its own MO, publisher, mPass, contract, event and delivery."""

    mo: object
    publisher: object
    mpass: str
    contract: str
    event: str
    delivery: str


def make_world(test_hub, name):
    mo, publisher = test_hub.register(MO, f"MO{name}"), test_hub.register(PUBLISHER, f"PUB{name}")
    mpass = test_hub.issue_mpass(mo)
    body = test_hub.body(mo, publisher, mpass, contract_id=f"contract-{name}")
    contract = test_hub.submit(mo, body, event_id=f"event-{name}")
    delivery = served_deliveries(test_hub, publisher)[0]
    return World(mo, publisher, mpass, contract, f"event-{name}", delivery)


def served_deliveries(test_hub, party):
    due = test_hub.hub.deliveries.take_due(now=test_hub.hub.clock.now_ms() + 1, limit=100, lease_s=1)
    return [one.owed.webhook_id for one in due if one.owed.organization_id == party.organization_id]


@pytest.fixture(scope="module", params=STORES)
def served(tmp_path_factory, request):
    with serving(tmp_path_factory.mktemp("hub"), store=request.param) as served:
        test_hub = served.test_hub
        served.holders = {
            "operator": test_hub.console,
            "checker": test_hub.add_identity("checker", IdentityRole.CHECKER),
            "auditor": test_hub.add_identity("auditor", IdentityRole.AUDITOR),
        }
        served.worlds = {"own": make_world(test_hub, "A"), "other": make_world(test_hub, "B")}
        served.holders["mo"] = served.worlds["own"].mo
        served.holders["publisher"] = served.worlds["own"].publisher
        served.holders["pending"] = test_hub.register(MO, "PENDING", status="Pending")
        served.holders["suspended"] = test_hub.register(MO, "SUSPENDED", status="Suspended")
        served.destroyed = test_hub.register(MO, "DESTROYED", status="Destroyed")
        yield served


# What each row sends: (path, query, headers, content), given the party whose object it is and its world.


def event(party, _world):
    members = {
        "specversion": "1.0",
        "id": "matrix",
        "source": party.organization_id,
        "type": EventType.SUBMIT,
        "subject": "c",
        "data": {"contract": {}},
    }
    return {}, "", JSON_TYPE, json.dumps(members)


def of_organization(*, content=None, headers=None, **path):
    def ask(party, _world):
        kid = party.auth_key.public.key_id
        given = {"kind": party.kind, "organization_id": party.organization_id, "kid": kid, **path}
        return given, "", headers or {}, content

    return ask


def of_kind(*, content=None):
    def ask(party, _world):
        return {"kind": party.kind}, "", {} if content is None else JSON_TYPE, content

    return ask


def of_world(name, member, *, content=None, headers=None, query=""):
    def ask(party, world):
        return {name: getattr(world, member)}, query.format(party=party), headers or {}, content

    return ask


def plain(*, content=None, headers=None, query="", **path):
    def ask(party, _world):
        given = None if content is None else content.replace("PARTY", party.organization_id)
        return path, query.format(party=party), headers or {}, given

    return ask


METADATA = '{"metadata": {"webhook_url": "https://x.example/"}}'
LISTED = "mo_id={party.organization_id}"
NO_CHANGE = "00000000-0000-4000-8000-000000000000"
TEMPLATE = {"name": "transaction-contract", "version": "1"}

ASKS = {
    "send_event": event,
    "read_event": of_world("event_id", "event", query="source={party.organization_id}"),
    "list_contracts": plain(query=LISTED),
    "read_contract": of_world("contract_id", "contract"),
    "submit_contract": plain(content='{"contract_id": "c"}', headers=JSON_TYPE),
    "list_deliveries": plain(),
    "read_delivery": of_world("webhook_id", "delivery"),
    "redeliver": of_world("webhook_id", "delivery"),
    "replay_deliveries": plain(content='{"contract_id": "matrix"}', headers=JSON_TYPE),
    "list_dead_letters": plain(),
    "redrive": plain(letter_id="1"),
    "create_organization": of_kind(content="{}"),
    "list_organizations": of_kind(),
    "read_organization": of_organization(),
    "update_organization": of_organization(content=METADATA, headers=STALE),
    "change_organization_status": of_organization(content='{"status": "Suspended"}', headers=STALE),
    "add_key": of_organization(content='{"use": ["auth"]}', headers=JSON_TYPE),
    "change_key_status": of_organization(content='{"status": "retired"}', headers=STALE),
    "read_partner_keys": of_organization(),
    "rotate_webhook_secret": of_organization(content='{"overlap_s": 0}', headers=STALE),
    "test_endpoint": of_organization(),
    "issue_mpass": plain(content='{"mo_id": "PARTY"}', headers=JSON_TYPE),
    "list_mpasses": plain(query=LISTED),
    "read_mpass": of_world("mpass_id", "mpass"),
    "read_mpass_history": of_world("mpass_id", "mpass"),
    "change_mpass_status": of_world("mpass_id", "mpass", content='{"status": "Locked"}', headers=STALE),
    "issue_credential": of_world("mpass_id", "mpass"),
    "publish_template": plain(content="a: 1", headers=YAML_TYPE),
    "list_templates": plain(),
    "lint_template": plain(content="a: 1", headers=YAML_TYPE),
    "read_template": plain(name="transaction-contract"),
    "read_template_version": plain(**TEMPLATE),
    "change_template_status": plain(content='{"status": "retired"}', headers=STALE, **TEMPLATE),
    "list_changes": plain(),
    "read_change": plain(change_id=NO_CHANGE),
    "decide_change": plain(content='{"decision": "refuse"}', headers=JSON_TYPE, change_id=NO_CHANGE),
}

# Left to right as in COLUMNS. An organization's "other" object is one of another organization of the same kind.
# fmt: off
EXPECTED = {
    # operation                    identities      MO: own, other; publisher: own, other; Pending and Suspended own
    "send_event":                  (403, 403, 403,  400, 403,  400, 403,  400, 400),
    "read_event":                  (200, 200, 200,  200, 404,  404, 404,  404, 404),
    "list_contracts":              (200, 200, 200,  200, 200,  200, 200,  200, 200),
    "read_contract":               (200, 200, 200,  200, 404,  200, 404,  404, 404),
    "submit_contract":             (422, 403, 403,  403, 403,  403, 403,  403, 403),
    "list_deliveries":             (200, 200, 200,  200, 200,  200, 200,  200, 200),
    "read_delivery":               (200, 200, 200,  404, 404,  200, 404,  404, 404),
    "redeliver":                   (202, 403, 403,  404, 404,  202, 404,  403, 404),
    "replay_deliveries":           (202, 403, 403,  202, 202,  202, 202,  403, 202),
    "list_dead_letters":           (200, 200, 200,  403, 403,  403, 403,  403, 403),
    "redrive":                     (404, 403, 403,  403, 403,  403, 403,  403, 403),
    "create_organization":         (422, 403, 403,  403, 403,  403, 403,  403, 403),
    "list_organizations":          (200, 200, 200,  200, 200,  200, 200,  200, 200),
    "read_organization":           (200, 200, 200,  200, 404,  200, 404,  200, 200),
    "update_organization":         (412, 403, 403,  412, 404,  412, 404,  412, 412),
    "change_organization_status":  (412, 403, 403,  412, 404,  412, 404,  403, 412),
    "add_key":                     (422, 403, 403,  422, 404,  422, 404,  422, 422),
    "change_key_status":           (412, 403, 403,  412, 404,  412, 404,  412, 412),
    "read_partner_keys":           (200, 200, 200,  200, 404,  200, 404,  200, 200),
    "rotate_webhook_secret":       (412, 403, 403,  412, 404,  412, 404,  412, 412),
    "test_endpoint":               (202, 403, 403,  202, 404,  202, 404,  202, 202),
    "issue_mpass":                 (403, 403, 403,  422, 403,  403, 403,  403, 409),
    "list_mpasses":                (200, 200, 200,  200, 200,  403, 403,  403, 200),
    "read_mpass":                  (200, 200, 200,  200, 404,  403, 403,  403, 404),
    "read_mpass_history":          (200, 200, 200,  200, 404,  403, 403,  403, 404),
    "change_mpass_status":         (412, 403, 403,  412, 404,  403, 403,  403, 404),
    "issue_credential":            (403, 403, 403,  422, 404,  403, 403,  403, 404),
    "publish_template":            (422, 403, 403,  403, 403,  403, 403,  403, 403),
    "list_templates":              (200, 200, 200,  200, 200,  200, 200,  200, 200),
    "lint_template":               (200, 200, 200,  200, 200,  200, 200,  403, 200),
    "read_template":               (200, 200, 200,  200, 200,  200, 200,  200, 200),
    "read_template_version":       (200, 200, 200,  200, 200,  200, 200,  200, 200),
    "change_template_status":      (412, 403, 403,  403, 403,  403, 403,  403, 403),
    "list_changes":                (200, 200, 200,  403, 403,  403, 403,  403, 403),
    "read_change":                 (404, 404, 404,  403, 403,  403, 403,  403, 403),
    "decide_change":               (404, 404, 403,  403, 403,  403, 403,  403, 403),
}
# fmt: on

# Answered from what is the caller's, so that no other's can be named at all.
OF_THE_CALLER = {"list_contracts", "list_deliveries", "replay_deliveries", "list_organizations", "list_mpasses"}

PROTECTED = [(method, path, one["operationId"]) for method, path, one in operations() if one["security"]]
CASES = [(*route, column) for route in PROTECTED for column in COLUMNS]


def ask_as(served, method, path, operation, column):
    """Send the row's request for the column's object, and return the answer."""
    role, _, whose = column.partition(" ")
    world = served.worlds[whose or "own"]
    caller = served.holders[role]
    owner = caller if whose == "own" else world.publisher if role == "publisher" else world.mo
    values, query, headers, content = ASKS[operation](owner, world)
    return served.call(method, f"{path.format(**values)}?{query}".rstrip("?"), caller, headers=headers, content=content)


@pytest.mark.parametrize(("method", "path", "operation", "column"), CASES)
def test_who_may_do_what(served, method, path, operation, column):
    answer = ask_as(served, method, path, operation, column)
    expected = EXPECTED[operation][COLUMNS.index(column)]
    assert answer.status_code == expected, f"{operation} as {column}: {answer.text}"
    check_described(answer, method, path)


HIDDEN = [case for case in CASES if case[3].endswith(" other") and EXPECTED[case[2]][COLUMNS.index(case[3])] == 404]


def nowhere(world):
    """Return what stands nowhere, under ids of the same form as those of ``world``."""
    named = {name: str(uuid.uuid4()) for name in ("mpass", "contract", "event", "delivery")}
    parties = {name: replace(getattr(world, name), organization_id=str(uuid.uuid4())) for name in ("mo", "publisher")}
    return replace(world, **named, **parties)


@pytest.mark.parametrize(("method", "path", "operation", "column"), HIDDEN)
def test_anothers_object_is_answered_just_as_none(served, method, path, operation, column):
    served.worlds.setdefault("nowhere", nowhere(served.worlds["other"]))
    role = column.split()[0]
    answers = [ask_as(served, method, path, operation, f"{role} {whose}") for whose in ("other", "nowhere")]
    told = []
    for answer, whose in zip(answers, ("other", "nowhere"), strict=True):
        text = answer.text
        for one in ids_in(served.worlds[whose]):
            text = text.replace(one, "ID")
        told.append((answer.status_code, text, set(answer.headers)))
    assert told[0] == told[1]


def ids_in(world):
    parties = (world.mo.organization_id, world.publisher.organization_id)
    return [*parties, world.mpass, world.contract, world.event, world.delivery]


@pytest.mark.parametrize(("method", "path", "operation"), PROTECTED)
def test_nobody_gets_in_without_a_token_and_a_destroyed_organization_has_none(served, method, path, operation):
    world = served.worlds["own"]
    values, query, headers, content = ASKS[operation](world.mo, world)
    for caller in (None, served.destroyed):
        answer = served.call(
            method, f"{path.format(**values)}?{query}".rstrip("?"), caller, headers=headers, content=content
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        check_described(answer, method, path)


# What a right says of each column: its role, and whether the object is another's. A Suspended organization keeps the
# rights of its kind.
RIGHT_OF = {column: column.split()[0].replace("suspended", "mo") for column in COLUMNS}


@pytest.mark.parametrize("operation", EXPECTED)
def test_what_is_tried_is_what_the_table_of_rights_says(operation):
    right = RIGHTS[Operation(operation.removesuffix("_version"))]
    for column, status in zip(COLUMNS, EXPECTED[operation], strict=True):
        scope = getattr(right, RIGHT_OF[column])
        if scope is Scope.NONE:
            assert status == 403, column
        elif scope is Scope.OWN and column.endswith(" other"):
            # A list or a range holds nothing of another's; who names itself as another is refused outright.
            assert status in {403, 404} or operation in OF_THE_CALLER, column
        else:
            assert status != 403 or operation == "issue_mpass", column


def test_every_row_is_a_route():
    assert set(ASKS) == set(EXPECTED) == {operation for _, _, operation in PROTECTED}


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ("list_contracts", "/contracts"),
        ("list_deliveries", "/deliveries"),
        ("list_mpasses", "/mpass"),
        ("list_organizations", "/organizations/mo"),
    ],
)
@pytest.mark.parametrize("role", ["mo", "publisher"])
def test_a_list_never_shows_anothers(served, operation, path, role):
    answer = served.call("GET", path, served.holders[role])
    if answer.status_code == 403:
        assert (operation, role) == ("list_mpasses", "publisher")
        return
    other = served.worlds["other"]
    foreign = [other.mo.organization_id, other.publisher.organization_id, other.mpass, other.contract, other.delivery]
    assert not [name for name in foreign if name in answer.text]


def test_a_filter_for_anothers_gives_an_empty_list(served):
    other = served.worlds["other"].mo.organization_id
    for path in ("/contracts", "/mpass"):
        assert served.call("GET", f"{path}?mo_id={other}", served.holders["mo"]).json()["items"] == []


def test_an_organization_cannot_give_itself_a_contract_key(served):
    mo = served.holders["mo"]
    members = served.test_hub.new_key(key_of("ES256", "own contract"), mo.organization_id, "contract")
    answer = served.call("POST", f"/organizations/mo/{mo.organization_id}/keys", mo, json=members)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
