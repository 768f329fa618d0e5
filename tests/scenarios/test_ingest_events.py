"""What is checked before the 202, in the protocol's order, and that a request is answered once and for all."""

import json
from dataclasses import replace

import pytest

from moneta.application.ingest_events import Accepted, EventRequest, ingest_events, ingest_of_caller
from moneta.application.organization_keys import change_key_status
from moneta.application.ports import EventType
from moneta.domain.errors import Refused
from moneta.domain.limits import BODY_BYTES_MAX, EVENT_BYTES_MAX
from moneta.signing import base64url
from tests.scenarios.play import Play
from tests.signing_examples import key_of


@pytest.fixture
def play(house):
    return Play(house)


def event(play, **changed):
    """A submission as its members, with some replaced; None leaves one out."""
    data = {"contract": play.house.sign_first(play.mo, play.body)}
    members = json.loads(play.house.event(play.mo, EventType.SUBMIT, "contract-1", data, "e-1"))
    return {name: value for name, value in {**members, **changed}.items() if value is not None}


def send(play, members, *, who="mo"):
    raw = members if isinstance(members, bytes) else json.dumps(members).encode()
    answer = play.house.send(play.parties[who], raw)
    return answer.code if isinstance(answer, Refused) else answer


def contract(play, **changed):
    return {"contract": {**play.house.sign_first(play.mo, play.body), **changed}}


# fmt: off
REFUSED = {
    "no id":                  (lambda _: {"id": None},                               "malformed_request"),
    "no source":              (lambda _: {"source": None},                           "malformed_request"),
    "no subject":             (lambda _: {"subject": None},                          "malformed_request"),
    "no type":                (lambda _: {"type": None},                             "malformed_request"),
    "no data":                (lambda _: {"data": None},                             "malformed_request"),
    "no specversion":         (lambda _: {"specversion": None},                      "malformed_request"),
    "another specversion":    (lambda _: {"specversion": "0.3"},                     "malformed_request"),
    "an id of two dots":      (lambda _: {"id": ".."},                               "malformed_request"),
    "an id with a newline":   (lambda _: {"id": "e-1\n"},                            "malformed_request"),
    "an id too long":         (lambda _: {"id": "e" * 129},                          "malformed_request"),
    "a number for an id":     (lambda _: {"id": 7},                                  "malformed_request"),
    "a number for a time":    (lambda _: {"time": 7},                                "malformed_request"),
    "yesterday for a time":   (lambda _: {"time": "yesterday"},                      "malformed_request"),
    "a day for a time":       (lambda _: {"time": "2026-11-24"},                     "malformed_request"),
    "data twice":             (lambda _: {"data_base64": "e30="},                    "malformed_request"),
    "a number for a source":  (lambda _: {"source": 7},                              "malformed_request"),
    "another type":           (lambda _: {"type": "moneta.contract.rejected"},       "malformed_request"),
    "a list for data":        (lambda _: {"data": []},                               "malformed_request"),
    "an act in a submission": (lambda _: {"data": {"act": "a.b.c"}},                 "malformed_request"),
    "two things in data":     (lambda p: {"data": {**contract(p), "act": "a.b.c"}},  "malformed_request"),
    "another's source":       (lambda p: {"source": p.publisher.organization_id},    "forbidden"),
    "no signature":           (lambda p: {"data": contract(p, signatures=[])},       "malformed_jws"),
    "an unprotected header":  (lambda p: {"data": contract(p, header={})},           "malformed_jws"),
    "padded base64":          (lambda p: {"data": contract(p, payload="e30=")},      "malformed_jws"),
    "a body that is no JSON": (lambda p: {"data": contract(p, payload="e3s")},       "malformed_json"),
    "a body too large": (lambda p: {"data": contract(p, payload=base64url.encode(b"x" * (BODY_BYTES_MAX + 1)))},
                                                                                     "too_large"),
    "another subject":        (lambda _: {"subject": "contract-2"},                  "subject_mismatch"),
    "no contract_id inside":  (lambda p: {"data": contract(p, payload=base64url.encode(b"{}"))}, "subject_mismatch"),
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_an_event_is_refused_before_the_202_and_uses_up_no_id(play, name):
    change, code = REFUSED[name]
    assert send(play, event(play, **change(play))) == code
    assert isinstance(send(play, event(play)), Accepted)


def test_two_signatures_are_no_submission(play):
    signed = play.house.sign_first(play.mo, play.body)
    twice = {**signed, "signatures": signed["signatures"] * 2}
    assert send(play, event(play, data={"contract": twice})) == "malformed_jws"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "malformed_json"),
        (b"[]", "malformed_json"),
        (b"\xff\xfe{\x00}\x00", "malformed_json"),
        (b'{"id": "a", "id": "b"}', "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b" " * (EVENT_BYTES_MAX + 1), "too_large"),
    ],
    ids=["nothing", "a list", "UTF-16", "doubled names", "brackets", "too large"],
)
def test_bytes_that_are_no_event_are_refused(play, raw, code):
    assert send(play, raw) == code


def test_the_token_comes_first(play):
    requests = [EventRequest(token=token, raw=b"") for token in (None, "", "a.b.c")]
    assert [answer.code for answer in ingest_events(play.house.hub, requests)] == ["unauthorized"] * 3


def test_an_operator_sends_no_events(play):
    play.parties["operator"] = play.house.console
    assert send(play, event(play, source="operator"), who="operator") == "forbidden"


def test_a_pending_organization_s_event_is_taken_since_it_may_be_its_onboarding(play):
    play.parties["mo"] = pending = play.house.register(play.mo.kind, "MOP", status="Pending")
    assert isinstance(send(play, event(play, source=pending.organization_id)), Accepted)


def test_what_the_envelope_carries_besides_is_ignored(play):
    extended = event(play, datacontenttype="application/json", dataschema="x", traceparent="00-1", time=None)
    assert isinstance(send(play, extended), Accepted)


def test_the_same_bytes_again_get_the_first_answer(play):
    raw = json.dumps(event(play)).encode()
    first = send(play, raw)
    play.house.clock.advance(5)
    again = send(play, raw)
    assert (first.is_replay, again.is_replay) == (False, True)
    assert again.received_at == first.received_at
    play.house.process()
    assert send(play, raw).is_replay


def test_other_bytes_under_the_same_id_are_refused(play):
    send(play, event(play))
    assert send(play, event(play, time="2026-11-24T11:00:00Z")) == "event_id_reused"


def test_a_used_id_is_told_before_a_wrong_shape(play):
    send(play, event(play))
    assert send(play, event(play, data=contract(play, signatures=[]))) == "event_id_reused"
    assert send(play, event(play, subject="contract-2")) == "event_id_reused"


def test_each_request_of_a_batch_has_its_own_answer(play):
    good, bad = json.dumps(event(play)).encode(), b"{}"
    token = play.house.token(play.mo)
    requests = [EventRequest(token=one, raw=raw) for one, raw in [(token, bad), (token, good), (None, good)]]
    answers = ingest_events(play.house.hub, requests)
    assert [getattr(answer, "code", "accepted") for answer in answers] == [
        "malformed_request",
        "accepted",
        "unauthorized",
    ]


# Tokens against the registry.


def test_a_destroyed_organization_has_no_token(play):
    play.house.set_status(play.mo, "Destroyed")
    assert send(play, event(play)) == "unauthorized"


def test_a_suspended_organization_s_token_stays_valid(play):
    play.house.set_status(play.mo, "Suspended")
    assert isinstance(send(play, event(play)), Accepted)


@pytest.mark.parametrize("status", ["retired", "revoked", "compromised"])
def test_a_token_ends_with_its_key(play, status):
    assert isinstance(send(play, event(play)), Accepted)
    mo = play.mo
    change_key_status(
        play.house.hub,
        play.house.operator,
        mo.kind,
        mo.organization_id,
        mo.auth_key.public.key_id,
        {"status": status},
    )
    assert send(play, event(play, id="e-2")) == "unauthorized"


@pytest.mark.parametrize(
    "changed",
    [
        {"audience": "https://other.example"},
        {"audience": "https://hub.example/"},
        {"lifetime_s": 901},
        {"lifetime_s": 0},
        {"issued_at": 1_795_000_061},
        {"issued_at": 1_794_999_000, "lifetime_s": 900},
        {"subject": "nobody"},
        {"token_id": ""},
    ],
    ids=str,
)
def test_a_token_that_does_not_count_is_unauthorized(play, changed):
    request = EventRequest(token=play.house.token(play.mo, **changed), raw=b"{}")
    assert ingest_events(play.house.hub, [request])[0].code == "unauthorized"


def test_a_contract_key_makes_no_token(play):
    wrong = replace(play.mo, auth_key=play.mo.key)
    assert ingest_events(play.house.hub, [EventRequest(token=play.house.token(wrong), raw=b"{}")])[0].code == (
        "unauthorized"
    )


def test_a_key_that_nobody_registered_makes_no_token(play):
    wrong = replace(play.mo, auth_key=key_of("EdDSA", "nobody"))
    assert ingest_events(play.house.hub, [EventRequest(token=play.house.token(wrong), raw=b"{}")])[0].code == (
        "unauthorized"
    )


def test_an_event_of_a_caller_whom_an_authorizer_knows_needs_no_token(play):
    raw = json.dumps(event(play)).encode()
    answer = ingest_of_caller(play.house.hub, play.house.caller(play.mo), raw)
    assert isinstance(answer, Accepted)
    assert ingest_of_caller(play.house.hub, play.house.caller(play.publisher), raw).code == "forbidden"
    assert play.house.hub.events.find(play.mo.organization_id, answer.event_id).received_at == answer.received_at
